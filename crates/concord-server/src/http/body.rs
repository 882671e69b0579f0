//! Request bodies: bounded, typed, and refused in the standard shape.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody as _};
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use bytes::BytesMut;
use futures::TryStreamExt as _;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::app::Shared;
use super::error::{ApiError, ApiResult};
use crate::error::ErrorKind;
use crate::limits;
use concord_query::duration;

/// What a body claims to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MediaType {
    Json,
    Text,
    Binary,
}

/// The content type of a request, judged when it is needed: an empty body needs none.
#[derive(Debug)]
pub(crate) struct Declared(ApiResult<MediaType>);

impl Declared {
    /// The type, which must be one of those taken here.
    pub(crate) fn media_type(self) -> ApiResult<MediaType> {
        self.0
    }

    /// Requires JSON to be declared: a web page can make a browser send other types to
    /// this node without asking, but not this one.
    pub(crate) fn require_json(self) -> ApiResult<()> {
        match self.0? {
            MediaType::Json => Ok(()),
            MediaType::Text | MediaType::Binary => {
                Err(unsupported_type("content type must be application/json"))
            }
        }
    }
}

/// A body that must be a JSON object.
#[derive(Debug)]
pub(crate) struct Json<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequest<Shared> for Json<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &Shared) -> ApiResult<Self> {
        let declared = Declared(media_type(request.headers()));
        declared.require_json()?;
        let bytes = read(request.into_body(), app.body_bytes_max).await?;
        json(&bytes).map(Self)
    }
}

/// A body that may be empty, and is a JSON object otherwise.
#[derive(Debug)]
pub(crate) struct MaybeJson<T>(pub(crate) T);

impl<T: DeserializeOwned + Default> FromRequest<Shared> for MaybeJson<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &Shared) -> ApiResult<Self> {
        let declared = Declared(media_type(request.headers()));
        let bytes = read(request.into_body(), app.body_bytes_max).await?;
        if bytes.is_empty() {
            return Ok(Self(T::default()));
        }
        declared.require_json()?;
        json(&bytes).map(Self)
    }
}

impl<S: Sync> FromRequestParts<S> for Declared {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self(media_type(&parts.headers)))
    }
}

fn media_type(headers: &HeaderMap) -> ApiResult<MediaType> {
    let Some(value) = headers.get(CONTENT_TYPE) else {
        return Err(unsupported_type("content type is missing"));
    };
    let text = value
        .to_str()
        .map_err(|_| unsupported_type("content type is not text"))?;
    let mut parts = text.split(';').map(str::trim);
    let essence = parts.next().unwrap_or_default();
    let charset = parts.find_map(|part| {
        let (name, value) = part.split_once('=')?;
        name.trim()
            .eq_ignore_ascii_case("charset")
            .then(|| value.trim().trim_matches('"'))
    });
    if charset.is_some_and(|charset| {
        !charset.eq_ignore_ascii_case("utf-8") && !charset.eq_ignore_ascii_case("utf8")
    }) {
        return Err(unsupported_type("charset must be utf-8"));
    }
    if essence.eq_ignore_ascii_case("application/json") {
        Ok(MediaType::Json)
    } else if essence.eq_ignore_ascii_case("text/plain") {
        Ok(MediaType::Text)
    } else if essence.eq_ignore_ascii_case("application/octet-stream") {
        Ok(MediaType::Binary)
    } else {
        Err(unsupported_type("content type is not supported"))
    }
}

fn unsupported_type(message: &str) -> ApiError {
    ApiError::new(ErrorKind::Unsupported, message)
        .status(StatusCode::UNSUPPORTED_MEDIA_TYPE)
        .with(
            "supported",
            "application/json, text/plain, application/octet-stream".to_owned(),
        )
}

/// Reads the whole body.
pub(crate) async fn read(body: Body, limit_bytes: usize) -> ApiResult<Bytes> {
    let too_large = || {
        ApiError::new(
            ErrorKind::ValueTooLarge,
            format!("request body is over {limit_bytes} bytes"),
        )
        .with("limit_bytes", u64::try_from(limit_bytes).unwrap_or(u64::MAX))
    };
    // Known too large: refused before a byte of it is read.
    if usize::try_from(body.size_hint().lower()).map_or(true, |bytes| bytes > limit_bytes) {
        return Err(too_large());
    }
    match tokio::time::timeout(limits::HTTP_BODY_TIMEOUT, collect(body, limit_bytes)).await {
        Ok(Ok(Some(bytes))) => Ok(bytes),
        Ok(Ok(None)) => Err(too_large()),
        Ok(Err(_)) => Err(ApiError::invalid_request(
            "request body ended early or is malformed",
        )),
        Err(_) => Err(ApiError::new(ErrorKind::Timeout, "request body took too long")),
    }
}

/// All bytes of a body; `None` if they are more than `limit_bytes`. A body that came in one
/// piece is not copied.
async fn collect(body: Body, limit_bytes: usize) -> Result<Option<Bytes>, axum::Error> {
    let mut stream = body.into_data_stream();
    let Some(first) = stream.try_next().await? else {
        return Ok(Some(Bytes::new()));
    };
    if first.len() > limit_bytes {
        return Ok(None);
    }
    let Some(second) = stream.try_next().await? else {
        return Ok(Some(first));
    };
    let mut whole = BytesMut::from(first);
    let mut next = Some(second);
    while let Some(piece) = next {
        if whole.len().saturating_add(piece.len()) > limit_bytes {
            return Ok(None);
        }
        whole.extend_from_slice(&piece);
        next = stream.try_next().await?;
    }
    Ok(Some(whole.freeze()))
}

/// Reads a JSON object into the struct `T`, whose unknown fields are errors.
pub(crate) fn json<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> ApiResult<T> {
    // A list of a struct's fields in their order is one to serde, but to nobody else.
    if bytes.trim_ascii_start().first() == Some(&b'[') {
        return Err(ApiError::invalid_request(
            "body must be a JSON object, not a list",
        ));
    }
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let read = serde_path_to_error::deserialize(&mut deserializer);
    let value = read.map_err(|error| {
        let path = error.path().to_string();
        let message = error.inner().to_string();
        // The message alone tells which field is unknown; the path ends where it was found.
        let unknown = message
            .strip_prefix("unknown field `")
            .and_then(|rest| rest.split('`').next());
        match unknown {
            Some(field) => ApiError::invalid_request(format!("there is no field `{field}` here"))
                .with("field", field.to_owned()),
            None if path == "." || path == "?" => {
                ApiError::invalid_request(format!("body is invalid: {message}"))
            }
            None => {
                ApiError::invalid_request(format!("field `{path}` is invalid: {message}")).with("field", path)
            }
        }
    })?;
    deserializer
        .end()
        .map_err(|error| ApiError::invalid_request(format!("body is invalid: {error}")))?;
    Ok(value)
}

/// A field that may be null, told from one that is missing.
pub(crate) fn present<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Box<RawValue>>, D::Error> {
    Box::<RawValue>::deserialize(deserializer).map(Some)
}

/// A TTL as it is written in JSON: a whole number of seconds or a text such as `"1h30m"`.
pub(crate) fn ttl(raw: &RawValue) -> ApiResult<Duration> {
    let written = raw.get();
    let length = match serde_json::from_str::<&str>(written) {
        Ok(text) => duration::parse(text),
        Err(_) => written
            .bytes()
            .all(|byte| byte.is_ascii_digit())
            .then(|| duration::parse(written))
            .flatten(),
    };
    check_ttl(length, written)
}

/// A TTL as it is written in a query: `30`, `30s`, `1h30m`.
pub(crate) fn ttl_text(text: &str) -> ApiResult<Duration> {
    check_ttl(duration::parse(text), text)
}

fn check_ttl(length: Option<Duration>, written: &str) -> ApiResult<Duration> {
    length.filter(|length| !length.is_zero()).ok_or_else(|| {
        let message = format!(
            "ttl must be a whole number of seconds above 0 or a duration such as \"1h30m\" or \"500ms\", not {written:.40}"
        );
        ApiError::new(ErrorKind::InvalidTtl, message)
    })
}
