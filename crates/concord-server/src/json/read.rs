//! JSON text to documents.

use std::collections::BTreeMap;
use std::fmt;

use concord_core::document::{Document, Finite};
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

/// Why text is not a JSON value that can be kept exactly.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidJson(String);

pub(super) fn document(text: &str) -> Result<Document, InvalidJson> {
    check_integers(text)?;
    let invalid = |error: serde_json::Error| InvalidJson(error.to_string());
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let document = deserializer.deserialize_any(Tree).map_err(invalid)?;
    deserializer.end().map_err(invalid)?;
    Ok(document)
}

pub(super) fn tree(value: &serde_json::Value) -> Result<Document, InvalidJson> {
    value
        .deserialize_any(Tree)
        .map_err(|error| InvalidJson(error.to_string()))
}

/// Refuses integers beyond 64 bits, which the parser would hand on as rounded floats.
fn check_integers(text: &str) -> Result<(), InvalidJson> {
    let mut rest = text;
    // Only a run of this many digits can be beyond 64 bits, so most texts end here.
    while let Some(start) = rest.find(|c: char| c == '"' || c == '-' || c.is_ascii_digit()) {
        let token = rest.get(start..).unwrap_or_default();
        if let Some(inside) = token.strip_prefix('"') {
            rest = inside.get(string_length(inside)..).unwrap_or_default();
            continue;
        }
        let is_number = |c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.' | 'e' | 'E');
        let end = token.find(|c: char| !is_number(c)).unwrap_or(token.len());
        let (number, tail) = token.split_at(end);
        let is_integer = number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
        if is_integer && number.len() > 18 && number.parse::<u64>().is_err() && number.parse::<i64>().is_err()
        {
            return Err(InvalidJson(format!("integer {number:.40} does not fit 64 bits")));
        }
        rest = tail;
    }
    Ok(())
}

/// Bytes up to and including the quote that ends a string.
fn string_length(inside: &str) -> usize {
    let mut escaped = false;
    for (position, byte) in inside.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return position + 1,
            _ => {}
        }
    }
    inside.len()
}

struct Tree;

impl<'de> DeserializeSeed<'de> for Tree {
    type Value = Document;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Document, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Tree {
    type Value = Document;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Document, E> {
        Ok(Document::Null)
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Document, E> {
        Ok(Document::Bool(flag))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Document, E> {
        Ok(Document::integer(number))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Document, E> {
        Ok(Document::integer(number))
    }

    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<Document, E> {
        Finite::new(number)
            .map(Document::Float)
            .ok_or_else(|| E::custom("number is not finite"))
    }

    fn visit_str<E>(self, text: &str) -> Result<Document, E> {
        Ok(Document::String(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Document, E> {
        Ok(Document::String(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Document, A::Error> {
        // No capacity from a hint: the input has not justified it yet.
        let mut array = Vec::new();
        while let Some(item) = items.next_element_seed(Tree)? {
            array.push(item);
        }
        Ok(Document::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Document, A::Error> {
        let mut object = BTreeMap::new();
        while let Some(name) = fields.next_key::<String>()? {
            let value = fields.next_value_seed(Tree)?;
            if object.contains_key(&name) {
                return Err(A::Error::custom(format_args!("field `{name}` appears twice")));
            }
            object.insert(name, value);
        }
        Ok(Document::Object(object))
    }
}
