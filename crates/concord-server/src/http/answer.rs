//! Successful answers: `{"status":"ok","data":...}`.

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, ETAG};
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use concord_core::ids::Revision;
use serde::Serialize;
use utoipa::ToSchema;

use super::error::{ApiError, ApiResult};
use super::gate::REVISION;
use crate::error::ErrorKind;

/// Room for a small answer, so that writing it does not move it.
const SMALL_ANSWER_BYTES: usize = 256;

#[derive(Serialize)]
struct Envelope<T> {
    status: &'static str,
    data: T,
}

/// The envelope, for the documentation only.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Ok<T> {
    /// Always `ok`.
    status: String,
    /// The answer itself.
    data: T,
}

/// A successful answer that shows `revision`.
pub(crate) fn ok(data: impl Serialize, revision: Revision) -> ApiResult {
    ok_sized(data, revision, SMALL_ANSWER_BYTES)
}

/// The same, with a guess at its size.
pub(crate) fn ok_sized(data: impl Serialize, revision: Revision, size_bytes: usize) -> ApiResult {
    let mut body = Vec::with_capacity(size_bytes);
    serde_json::to_writer(&mut body, &Envelope { status: "ok", data }).map_err(|error| {
        ApiError::new(
            ErrorKind::Corrupt,
            format!("stored value cannot be shown: {error}"),
        )
    })?;
    Result::Ok(with_body(
        Body::from(body),
        HeaderValue::from_static("application/json"),
        revision,
    ))
}

/// An answer of any type.
pub(crate) fn with_body(body: Body, content_type: HeaderValue, revision: Revision) -> Response {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, content_type);
    headers.insert(REVISION, HeaderValue::from(revision.get()));
    response
}

/// Adds the entity tag of a record: its `mod_revision`.
pub(crate) fn tagged(mut response: Response, mod_revision: Revision) -> Response {
    response.headers_mut().insert(ETAG, etag(mod_revision));
    response
}

pub(crate) fn etag(mod_revision: Revision) -> HeaderValue {
    // Quoted digits are always a valid header value.
    HeaderValue::try_from(format!("\"{mod_revision}\"")).unwrap_or(HeaderValue::from_static("\"0\""))
}

/// `304`: the caller has this version already.
pub(crate) fn not_modified(mod_revision: Revision, revision: Revision) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NOT_MODIFIED;
    response
        .headers_mut()
        .insert(REVISION, HeaderValue::from(revision.get()));
    tagged(response, mod_revision)
}
