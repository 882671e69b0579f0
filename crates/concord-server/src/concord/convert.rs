//! What can be stored as a value, and what is a time to live.

use std::time::Duration;

use bytes::Bytes;
use concord_core::command::Lifetime;
use concord_core::document::Document;
use concord_core::ids::{LeaseId, Millis};
use concord_core::limits;
use concord_core::value::{InvalidValue, Value};

use crate::error::{Error, ErrorKind};
use crate::json;

/// What can be stored: text, bytes, documents, and JSON values, which become documents.
pub trait IntoValue {
    /// The value to store.
    ///
    /// # Errors
    ///
    /// `invalid_value` if it cannot be kept exactly.
    fn into_value(self) -> Result<Value, Error>;
}

impl IntoValue for Value {
    fn into_value(self) -> Result<Value, Error> {
        Ok(self)
    }
}

impl IntoValue for &str {
    fn into_value(self) -> Result<Value, Error> {
        Ok(Value::text(self))
    }
}

impl IntoValue for String {
    fn into_value(self) -> Result<Value, Error> {
        Ok(Value::text(self))
    }
}

impl IntoValue for &String {
    fn into_value(self) -> Result<Value, Error> {
        Ok(Value::text(self.as_str()))
    }
}

impl IntoValue for Bytes {
    fn into_value(self) -> Result<Value, Error> {
        Ok(Value::binary(self))
    }
}

impl IntoValue for Vec<u8> {
    fn into_value(self) -> Result<Value, Error> {
        Ok(Value::binary(self))
    }
}

impl IntoValue for &[u8] {
    fn into_value(self) -> Result<Value, Error> {
        Ok(Value::binary(Bytes::copy_from_slice(self)))
    }
}

impl<const N: usize> IntoValue for &[u8; N] {
    fn into_value(self) -> Result<Value, Error> {
        self.as_slice().into_value()
    }
}

impl IntoValue for &Document {
    fn into_value(self) -> Result<Value, Error> {
        Ok(Value::document(self)?)
    }
}

impl IntoValue for Document {
    fn into_value(self) -> Result<Value, Error> {
        (&self).into_value()
    }
}

impl IntoValue for serde_json::Value {
    fn into_value(self) -> Result<Value, Error> {
        let invalid = |reason: String| Error::new(ErrorKind::InvalidValue, reason);
        json::document_from_value(&self)
            .map_err(|error| invalid(error.to_string()))?
            .into_value()
    }
}

impl From<InvalidValue> for Error {
    fn from(error: InvalidValue) -> Self {
        let message = match &error {
            InvalidValue::NotUtf8 { .. } => error.to_string(),
            InvalidValue::Document(cause) => cause.to_string(),
        };
        Self::new(ErrorKind::InvalidValue, message)
    }
}

/// How long a key lives: a time to live or a lease, not both (D-V3-7).
pub(super) fn lifetime(
    ttl: Result<Option<Millis>, Error>,
    lease: Option<LeaseId>,
) -> Result<Lifetime, Error> {
    match (ttl?, lease) {
        (Some(_), Some(_)) => Err(Error::invalid_request("a key has a ttl or a lease, not both")),
        (ttl, None) => Ok(ttl.into()),
        (None, Some(lease)) => Ok(Lifetime::Lease(lease)),
    }
}

/// A time to live in whole milliseconds. Less than one would be rounded to none at all.
pub(crate) fn ttl_millis(ttl: Duration) -> Result<Millis, Error> {
    let millis = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
    if millis == 0 || millis > limits::TTL_MS_MAX {
        let message = format!("ttl is {millis} ms, must be 1 to {}", limits::TTL_MS_MAX);
        return Err(Error::new(ErrorKind::InvalidTtl, message)
            .with("ttl_ms", millis)
            .with("ttl_ms_max", limits::TTL_MS_MAX));
    }
    Ok(Millis::new(millis))
}
