//! Values as JSON, both ways, exactly.
//!
//! A JSON integer becomes a document integer or is refused, never a float; a fraction
//! becomes the nearest double, as everywhere; a field twice in one object is refused,
//! since readers would disagree on which one counts.

mod read;
mod write;

pub use self::read::InvalidJson;
pub use self::write::JsonDocument;

use concord_core::document::Document;

/// Reads one JSON value.
///
/// # Errors
///
/// If it is not JSON, or has an integer beyond 64 bits, a number beyond a double, a field
/// twice, or more levels than a document may have.
///
/// ```
/// use concord_server::{document_from_json, document_to_json};
///
/// let document = document_from_json(r#"{"b": 18446744073709551615, "a": 0.1}"#)?;
/// assert_eq!(document_to_json(&document), r#"{"a":0.1,"b":18446744073709551615}"#);
/// assert!(document_from_json("18446744073709551616").is_err());
/// # Ok::<(), concord_server::InvalidJson>(())
/// ```
pub fn document_from_json(text: &str) -> Result<Document, InvalidJson> {
    read::document(text)
}

/// A JSON value that was parsed elsewhere, as a document.
pub(crate) fn document_from_value(value: &serde_json::Value) -> Result<Document, InvalidJson> {
    read::tree(value)
}

/// The JSON text of a document: no spaces, fields in order of their names.
pub fn document_to_json(document: &Document) -> String {
    // Documents have text keys and finite numbers only, so there is nothing JSON lacks.
    serde_json::to_string(&JsonDocument(document)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip(text: &str) -> String {
        document_to_json(&document_from_json(text).unwrap())
    }

    #[test]
    fn integers_stay_exact_to_their_last_digit() {
        for text in [
            "0",
            "-1",
            "9007199254740993",
            "9223372036854775807",
            "-9223372036854775808",
            "18446744073709551615",
        ] {
            assert_eq!(round_trip(text), text);
        }
    }

    #[test]
    fn integers_beyond_64_bits_are_refused_wherever_they_are() {
        for text in [
            "18446744073709551616",
            "-9223372036854775809",
            "[1, {\"a\": 100000000000000000000}]",
            "1234567890123456789012345678901234567890",
        ] {
            let error = document_from_json(text).unwrap_err().to_string();
            assert!(error.contains("does not fit 64 bits"), "{text}: {error}");
        }
        // Digits inside of text are not numbers, also behind an escaped quote.
        assert_eq!(
            round_trip(r#""a\"18446744073709551616""#),
            r#""a\"18446744073709551616""#
        );
    }

    #[test]
    fn fractions_are_the_nearest_double() {
        for text in [
            "0.1",
            "1.0",
            "-2.5",
            "1e300",
            "5e-324",
            "0.30000000000000004",
            "1.7976931348623157e308",
        ] {
            let Document::Float(found) = document_from_json(text).unwrap() else {
                panic!("{text} is a float")
            };
            assert_eq!(found.get(), text.parse::<f64>().unwrap(), "{text}");
        }
        assert_eq!(round_trip("1.0"), "1.0");
        // A fraction with the digits of a large integer is still a fraction.
        assert!(document_from_json("18446744073709551616.0").is_ok());
        assert!(document_from_json("100000000000000000000e1").is_ok());
    }

    #[test]
    fn everything_else_is_refused() {
        for text in [
            "",
            "nul",
            "1e400",
            "-1e400",
            "{\"a\":1,\"a\":2}",
            "[1,]",
            "{a:1}",
            "NaN",
            "01",
            "1 2",
            "\"\\ud800\"",
            "'a'",
        ] {
            assert!(document_from_json(text).is_err(), "{text}");
        }
        let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
        assert!(document_from_json(&deep).is_err());
    }

    #[test]
    fn trees_keep_their_shape_and_sort_their_fields() {
        assert_eq!(
            round_trip(r#" {"z": [null, true, "\u00e9\n"], "a": {"": -1.5}} "#),
            r#"{"a":{"":-1.5},"z":[null,true,"é\n"]}"#
        );
    }
}
