//! Names that people give: to tokens and roles.

use core::fmt;

/// The longest name, in bytes.
pub const NAME_BYTES_MAX: usize = 128;

/// What the role of a tenant starts with: only a tenant's own creation makes such a role.
pub const TENANT_ROLE_PREFIX: &str = "tenant_";

/// The name of a token or a role: 1 to [`NAME_BYTES_MAX`] of the characters `A-Z a-z 0-9 _ - . @`, of which the
/// first is a letter or a digit. So it needs no quotes in a shell, a path or a log line.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(String);

/// Text that is no name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidName {
    /// It has no characters.
    #[error("a name must have at least one character")]
    Empty,
    /// It is too long.
    #[error("a name is {size_bytes} bytes, limit is {NAME_BYTES_MAX}")]
    TooLong {
        /// Its length.
        size_bytes: usize,
    },
    /// It has a character that names do not have.
    #[error(
        "a name has only the characters A-Z a-z 0-9 _ - . @ and begins with a letter or a digit; byte {at} is another"
    )]
    Character {
        /// Where the first such character begins.
        at: usize,
    },
}

impl Name {
    /// Reads a name.
    ///
    /// # Errors
    ///
    /// If it is empty, too long or has other characters.
    pub fn new(text: impl Into<String>) -> Result<Self, InvalidName> {
        let text = text.into();
        match text.len() {
            0 => return Err(InvalidName::Empty),
            1..=NAME_BYTES_MAX => {}
            size_bytes => return Err(InvalidName::TooLong { size_bytes }),
        }
        let is_wrong = |(at, byte): &(usize, u8)| {
            !(byte.is_ascii_alphanumeric() || *at > 0 && matches!(byte, b'_' | b'-' | b'.' | b'@'))
        };
        match text.bytes().enumerate().find(is_wrong) {
            Some((at, _)) => Err(InvalidName::Character { at }),
            None => Ok(Self(text)),
        }
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Name({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_and_plain() {
        for text in ["a", "7", "ops-team", "a_b.c@d", &"x".repeat(NAME_BYTES_MAX)] {
            assert_eq!(Name::new(text).unwrap().as_str(), text);
        }
        assert_eq!(Name::new(""), Err(InvalidName::Empty));
        assert_eq!(
            Name::new("x".repeat(129)),
            Err(InvalidName::TooLong { size_bytes: 129 })
        );
        for (text, at) in [
            ("_a", 0),
            ("a b", 1),
            ("a/b", 1),
            ("ä", 0),
            ("a\n", 1),
            ("a*", 1),
            ("a:b", 1),
        ] {
            assert_eq!(Name::new(text), Err(InvalidName::Character { at }), "{text}");
        }
    }
}
