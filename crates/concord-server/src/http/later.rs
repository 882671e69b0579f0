//! Parts of the interface that later versions have: named in a request they are refused
//! as `unsupported`, because ignoring a condition would change what the request means.

use axum::extract::FromRequestParts;
use axum::http::header::{IF_MATCH, IF_NONE_MATCH, IF_UNMODIFIED_SINCE};
use axum::http::request::Parts;

use super::error::{ApiError, ApiResult};
use crate::error::ErrorKind;

/// Whether a body field or query parameter of this name will mean something.
pub(crate) fn is_field(name: &str) -> bool {
    matches!(
        name,
        "absent"
            | "compress"
            | "expected"
            | "idempotency_key"
            | "if_revision"
            | "if_version"
            | "lease"
            | "mod_revision"
            | "present"
            | "version"
            | "where"
    )
}

/// A request without conditions. Extracted by every handler that writes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Unconditional;

impl<S: Sync> FromRequestParts<S> for Unconditional {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> ApiResult<Self> {
        let conditions = [
            IF_MATCH.as_str(),
            IF_NONE_MATCH.as_str(),
            IF_UNMODIFIED_SINCE.as_str(),
            "idempotency-key",
        ];
        match conditions
            .into_iter()
            .find(|name| parts.headers.contains_key(*name))
        {
            Some(name) => {
                let message = format!("header {name} is not supported by this version; nothing was written");
                Err(ApiError::new(ErrorKind::Unsupported, message).with("header", name.to_owned()))
            }
            None => Ok(Self),
        }
    }
}
