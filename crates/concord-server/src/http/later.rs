//! Parts of the interface that later versions have: named in a request they are refused
//! as `unsupported`, because ignoring one would change what the request means.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;

use super::error::{ApiError, ApiResult};
use crate::error::ErrorKind;

/// Whether a body field or query parameter of this name will mean something.
pub(crate) fn is_field(name: &str) -> bool {
    matches!(name, "compress" | "idempotency_key")
}

/// A request that does not ask to be applied once over several attempts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OneAttempt;

impl<S: Sync> FromRequestParts<S> for OneAttempt {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> ApiResult<Self> {
        const NAME: &str = "idempotency-key";
        if parts.headers.contains_key(NAME) {
            let message = format!("header {NAME} is not supported by this version; nothing was written");
            return Err(ApiError::new(ErrorKind::Unsupported, message).with("header", NAME.to_owned()));
        }
        Ok(Self)
    }
}
