//! Errors as HTTP answers: one shape for every one of them.

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use concord_core::reply::RequestPart;
use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};

use super::record::RecordBody;
use crate::error::{Detail, Error, ErrorKind, RETRY_AFTER_MS};

/// Seconds after which a refused request is worth another try.
const RETRY_SECONDS: HeaderValue = HeaderValue::from_static("1");

/// An error on its way to an HTTP client. The status follows from its name, except
/// where HTTP itself has a more exact one.
#[derive(Debug)]
pub(crate) struct ApiError {
    error: Error,
    status: StatusCode,
}

pub(crate) type ApiResult<T = Response> = Result<T, ApiError>;

impl ApiError {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Error::new(kind, message).into()
    }

    pub(crate) fn invalid_request(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::InvalidRequest, message)
    }

    /// Answers with another status than the name's own.
    pub(crate) fn status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    /// Says which part of the request it is about.
    pub(crate) fn in_part(mut self, part: RequestPart, place: usize) -> Self {
        self.error = self.error.in_part(part, place);
        self
    }

    pub(crate) fn with(mut self, name: &'static str, detail: impl Into<Detail>) -> Self {
        self.error = self.error.with(name, detail);
        self
    }
}

impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        let status = status_of(error.kind());
        Self { error, status }
    }
}

/// The status of each error name.
pub(crate) fn status_of(kind: ErrorKind) -> StatusCode {
    match kind {
        ErrorKind::InvalidKey
        | ErrorKind::InvalidTtl
        | ErrorKind::InvalidRequest
        | ErrorKind::Unsupported => StatusCode::BAD_REQUEST,
        ErrorKind::Unauthorized => StatusCode::UNAUTHORIZED,
        ErrorKind::Forbidden => StatusCode::FORBIDDEN,
        ErrorKind::NotFound | ErrorKind::LeaseNotFound => StatusCode::NOT_FOUND,
        ErrorKind::Timeout | ErrorKind::OutcomeUnknown => StatusCode::REQUEST_TIMEOUT,
        ErrorKind::AlreadyExists
        | ErrorKind::UniqueViolation
        | ErrorKind::IdempotencyConflict
        | ErrorKind::Compacted
        | ErrorKind::FutureRevision => StatusCode::CONFLICT,
        ErrorKind::ConditionFailed => StatusCode::PRECONDITION_FAILED,
        ErrorKind::ValueTooLarge | ErrorKind::BatchTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        ErrorKind::InvalidValue => StatusCode::UNPROCESSABLE_ENTITY,
        ErrorKind::NoQuorum
        | ErrorKind::NotReady
        | ErrorKind::Overloaded
        | ErrorKind::ShuttingDown
        | ErrorKind::StorageFailed => StatusCode::SERVICE_UNAVAILABLE,
        ErrorKind::QuotaExceeded => StatusCode::INSUFFICIENT_STORAGE,
        ErrorKind::RateLimited => StatusCode::TOO_MANY_REQUESTS,
        ErrorKind::Corrupt | ErrorKind::BackupFailed | ErrorKind::AuditFailed => {
            StatusCode::INTERNAL_SERVER_ERROR
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let retry = self.status == StatusCode::SERVICE_UNAVAILABLE && self.error.kind().is_retryable();
        let mut response = Response::new(Body::from(body_of(&self)));
        *response.status_mut() = self.status;
        response
            .headers_mut()
            .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if self.status == StatusCode::UNAUTHORIZED {
            response
                .headers_mut()
                .insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(wait) = wait_seconds(&self.error) {
            response
                .headers_mut()
                .insert(RETRY_AFTER, HeaderValue::from(wait));
        } else if retry {
            response.headers_mut().insert(RETRY_AFTER, RETRY_SECONDS);
        }
        response
    }
}

/// How long to wait, if the error says so: whole seconds, and no shorter than it says.
fn wait_seconds(error: &Error) -> Option<u64> {
    let ms = error.number(RETRY_AFTER_MS)?;
    Some(ms.div_ceil(1_000))
}

/// An error as JSON.
pub(crate) fn body_of(error: &ApiError) -> Vec<u8> {
    let envelope = Envelope {
        status: "error",
        error: Shape(&error.error),
    };
    // Only text and numbers are serialised: nothing that JSON could refuse.
    serde_json::to_vec(&envelope).unwrap_or_default()
}

#[derive(Serialize)]
struct Envelope<'a> {
    status: &'static str,
    error: Shape<'a>,
}

struct Shape<'a>(&'a Error);

impl Serialize for Shape<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(3))?;
        map.serialize_entry("code", self.0.code())?;
        map.serialize_entry("message", self.0.message())?;
        map.serialize_entry("details", &Facts(self.0))?;
        map.end()
    }
}

struct Facts<'a>(&'a Error);

impl Serialize for Facts<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("may_have_written", &self.0.may_have_written())?;
        map.serialize_entry("retryable", &self.0.kind().is_retryable())?;
        map.serialize_entry("advice", self.0.kind().advice())?;
        for (name, detail) in self.0.details() {
            match detail {
                Detail::Number(number) => map.serialize_entry(name, number)?,
                Detail::Text(text) => map.serialize_entry(name, text)?,
            }
        }
        if self.0.kind() == ErrorKind::ConditionFailed {
            map.serialize_entry("current", &self.0.current_record().map(RecordBody::new))?;
        }
        map.end()
    }
}
