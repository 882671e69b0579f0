//! Limits in JSON: a whole number, or the word `unlimited`.

use std::fmt;

use serde::de::{Deserializer, Error, Visitor};
use serde::{Serialize as _, Serializer};

use crate::tenants::Limit;

struct Written;

impl Visitor<'_> for Written {
    type Value = Limit;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a whole number from 0 to {} or \"unlimited\"", u64::MAX)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Limit, E> {
        Ok(Limit::AtMost(number))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Limit, E> {
        match text.parse() {
            // A number in quotes is a mistake somewhere.
            Ok(Limit::Unlimited) => Ok(Limit::Unlimited),
            Ok(Limit::AtMost(_)) | Err(_) => Err(E::invalid_value(serde::de::Unexpected::Str(text), &self)),
        }
    }
}

/// Reads a limit that is there. Null is none: it could be meant as 0 or as no limit.
pub(super) fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Limit>, D::Error> {
    deserializer.deserialize_any(Written).map(Some)
}

pub(super) fn shown<S: Serializer>(limit: &Limit, serializer: S) -> Result<S::Ok, S::Error> {
    match limit {
        Limit::AtMost(number) => number.serialize(serializer),
        Limit::Unlimited => limit.to_string().serialize(serializer),
    }
}
