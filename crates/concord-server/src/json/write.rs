//! Documents to JSON text.

use concord_core::document::Document;
use serde::{Serialize, Serializer};

/// Serialises a document as the JSON value that it is.
#[derive(Clone, Copy, Debug)]
pub struct JsonDocument<'a>(pub &'a Document);

impl Serialize for JsonDocument<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Document::Null => serializer.serialize_unit(),
            Document::Bool(flag) => serializer.serialize_bool(*flag),
            Document::Integer(number) => match (number.as_i64(), number.as_u64()) {
                (Some(number), _) => serializer.serialize_i64(number),
                (None, Some(number)) => serializer.serialize_u64(number),
                // An integer fits one of the two by construction.
                (None, None) => serializer.serialize_unit(),
            },
            Document::Float(number) => serializer.serialize_f64(number.get()),
            Document::String(text) => serializer.serialize_str(text),
            Document::Array(items) => serializer.collect_seq(items.iter().map(JsonDocument)),
            Document::Object(fields) => {
                serializer.collect_map(fields.iter().map(|(name, value)| (name, JsonDocument(value))))
            }
        }
    }
}
