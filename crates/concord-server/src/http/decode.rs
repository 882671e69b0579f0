//! Percent-decoding that refuses what the usual libraries let pass: a `%` without two
//! digits, and text that is not UTF-8.

use std::borrow::Cow;

/// Text that is not properly percent-encoded UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Malformed {
    /// A `%` is not followed by two hexadecimal digits.
    Escape,
    /// The decoded bytes are not UTF-8.
    Utf8,
}

impl Malformed {
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::Escape => "has a % that is not followed by two hexadecimal digits",
            Self::Utf8 => "is not valid utf-8",
        }
    }
}

/// Decodes a part of a path or query. `+` is a space in queries only.
pub(crate) fn percent_decode(text: &str, plus_is_space: bool) -> Result<Cow<'_, str>, Malformed> {
    if !text
        .bytes()
        .any(|byte| byte == b'%' || (plus_is_space && byte == b'+'))
    {
        return Ok(Cow::Borrowed(text));
    }
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => {
                let high = bytes.next().and_then(hex).ok_or(Malformed::Escape)?;
                let low = bytes.next().and_then(hex).ok_or(Malformed::Escape)?;
                high << 4 | low
            }
            b'+' if plus_is_space => b' ',
            other => other,
        });
    }
    String::from_utf8(decoded)
        .map(Cow::Owned)
        .map_err(|_| Malformed::Utf8)
}

fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_decoded_and_anything_else_kept() {
        assert_eq!(percent_decode("a%2Fb%00%C3%a9+", false).as_deref(), Ok("a/b\0é+"));
        assert_eq!(percent_decode("a+b%2B", true).as_deref(), Ok("a b+"));
        assert!(matches!(
            percent_decode("plain", true),
            Ok(Cow::Borrowed("plain"))
        ));
    }

    #[test]
    fn malformed_text_is_refused() {
        for text in ["%", "%2", "%zz", "a%2"] {
            assert_eq!(percent_decode(text, false), Err(Malformed::Escape), "{text}");
        }
        for text in ["%FF", "%C3", "%C0%80", "%ED%A0%80"] {
            assert_eq!(percent_decode(text, false), Err(Malformed::Utf8), "{text}");
        }
    }
}
