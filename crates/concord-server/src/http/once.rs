//! The header `Idempotency-Key`: the name under which a request is applied once.

use axum::extract::FromRequestParts;
use axum::http::HeaderValue;
use axum::http::request::Parts;

use super::error::{ApiError, ApiResult};
use crate::error::ErrorKind;

const NAME: &str = "idempotency-key";

/// The name under which a request is applied once, if it has one.
#[derive(Debug)]
pub(crate) struct Once(pub(crate) Option<HeaderValue>);

impl Once {
    /// Refuses a request that has a name, where none can keep its promise.
    pub(crate) async fn refuse(parts: &mut Parts, why: &'static str) -> ApiResult<()> {
        match Self::from_request_parts(parts, &()).await? {
            Self(None) => Ok(()),
            Self(Some(_)) => Err(ApiError::new(ErrorKind::Unsupported, why)),
        }
    }
}

impl<S: Sync> FromRequestParts<S> for Once {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> ApiResult<Self> {
        let mut names = parts.headers.get_all(NAME).iter();
        let name = names.next().cloned();
        if names.next().is_some() {
            let message = format!("header {NAME} is given twice");
            return Err(ApiError::invalid_request(message).with("header", NAME.to_owned()));
        }
        Ok(Self(name))
    }
}
