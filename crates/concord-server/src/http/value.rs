//! Values as requests carry them.

use axum::body::Bytes;
use concord_core::document::Document;
use concord_core::value::{Value, ValueFormat};
use serde::Deserialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::error::{ApiError, ApiResult};
use crate::error::ErrorKind;
use crate::json;

/// What a value is kept as.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Format {
    /// Any bytes.
    Binary,
    /// UTF-8.
    Text,
    /// A JSON tree.
    Document,
}

/// Bytes that must be text.
pub(crate) fn text(bytes: Bytes) -> ApiResult<Value> {
    Value::new(ValueFormat::Text, bytes).map_err(|error| invalid_value(error.to_string()))
}

/// A JSON value as the value to keep.
pub(crate) fn value_of(raw: &RawValue, format: Option<Format>) -> ApiResult<Value> {
    let is_string = raw.get().starts_with('"');
    let format = format.unwrap_or(if is_string { Format::Text } else { Format::Document });
    match format {
        Format::Text | Format::Binary if !is_string => {
            Err(invalid_value("value must be a string to be of that format"))
        }
        Format::Text => Ok(Value::text(string(raw)?)),
        Format::Binary => {
            use base64::Engine as _;
            let bytes = base64::prelude::BASE64_STANDARD
                .decode(string(raw)?)
                .map_err(|error| invalid_value(format!("value is not Base64: {error}")))?;
            Ok(Value::binary(bytes))
        }
        Format::Document => {
            let document: Document =
                json::document_from_json(raw.get()).map_err(|error| invalid_value(error.to_string()))?;
            Value::document(&document).map_err(|error| crate::Error::from(error).into())
        }
    }
}

fn string(raw: &RawValue) -> ApiResult<String> {
    serde_json::from_str(raw.get()).map_err(|error| invalid_value(error.to_string()))
}

fn invalid_value(message: impl Into<String>) -> ApiError {
    ApiError::new(ErrorKind::InvalidValue, message)
}
