//! Patterns of keys: `*` is any run of bytes, `?` one character, `\` takes the next one as it is.
//! Everything else stands for itself, so that no character of a key is special by accident (D-SEC-6).

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use bytes::Bytes;

use crate::limits::KEY_BYTES_MAX;

/// A pattern of keys. Matching takes no memory and at most the product of both lengths.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Glob {
    source: Bytes,
    /// What every key that matches starts with.
    literal: Bytes,
}

/// Text that is not a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidGlob {
    /// It has no bytes, so that no key matches it.
    #[error("glob is empty")]
    Empty,
    /// It is longer than the longest key.
    #[error("glob is {size_bytes} bytes, limit is {KEY_BYTES_MAX}")]
    TooLong {
        /// Its length.
        size_bytes: usize,
    },
    /// It ends with a `\` that escapes nothing.
    #[error("glob ends with a \\ that escapes nothing")]
    Escape,
}

/// One step of a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Byte(u8),
    /// Any run of bytes.
    Run,
    /// One character.
    One,
}

impl Glob {
    /// Reads a pattern.
    ///
    /// # Errors
    ///
    /// If it is empty, too long, or ends in the middle of an escape.
    pub fn new(source: impl Into<Bytes>) -> Result<Self, InvalidGlob> {
        let source: Bytes = source.into();
        match source.len() {
            0 => return Err(InvalidGlob::Empty),
            1..=KEY_BYTES_MAX => {}
            size_bytes => return Err(InvalidGlob::TooLong { size_bytes }),
        }
        let mut literal = Vec::new();
        let mut is_literal = true;
        let mut rest = &source[..];
        while !rest.is_empty() {
            let (step, after) = step(rest).ok_or(InvalidGlob::Escape)?;
            rest = after;
            match step {
                Step::Byte(byte) if is_literal => literal.push(byte),
                Step::Byte(_) => {}
                Step::Run | Step::One => is_literal = false,
            }
        }
        Ok(Self {
            source,
            literal: literal.into(),
        })
    }

    /// The pattern as it was written.
    #[must_use]
    pub fn source(&self) -> &[u8] {
        &self.source
    }

    /// What every key that matches starts with.
    #[must_use]
    pub fn literal_prefix(&self) -> &Bytes {
        &self.literal
    }

    /// Whether the whole of `key` matches.
    #[must_use]
    pub fn matches(&self, key: &[u8]) -> bool {
        let (mut pattern, mut rest) = (&self.source[..], key);
        // Where to go on if what follows the last `*` does not fit: one byte further. An
        // earlier `*` need not be tried again, since this one can take whatever it would have.
        let mut retry: Option<(&[u8], &[u8])> = None;
        loop {
            let fits = match step(pattern) {
                Some((Step::Run, after)) => {
                    retry = Some((after, rest));
                    Some((after, rest))
                }
                Some((Step::One, after)) => character(rest).map(|others| (after, others)),
                Some((Step::Byte(byte), after)) => match rest.split_first() {
                    Some((first, others)) if *first == byte => Some((after, others)),
                    Some(_) | None => None,
                },
                None if rest.is_empty() => return true,
                None => None,
            };
            (pattern, rest) = match (fits, retry) {
                (Some(next), _) => next,
                (None, Some((after, from))) => {
                    let Some((_, from)) = from.split_first() else {
                        return false;
                    };
                    retry = Some((after, from));
                    (after, from)
                }
                (None, None) => return false,
            };
        }
    }
}

/// The first step of a pattern and what follows it; none at its end and of a lone `\`.
fn step(pattern: &[u8]) -> Option<(Step, &[u8])> {
    let (first, rest) = pattern.split_first()?;
    match first {
        b'*' => Some((Step::Run, rest)),
        b'?' => Some((Step::One, rest)),
        b'\\' => rest.split_first().map(|(byte, rest)| (Step::Byte(*byte), rest)),
        byte => Some((Step::Byte(*byte), rest)),
    }
}

/// What follows the first character; a byte that begins no UTF-8 counts as one.
fn character(key: &[u8]) -> Option<&[u8]> {
    let (first, rest) = key.split_first()?;
    let more = match first {
        0xc0..=0xdf => 1,
        0xe0..=0xef => 2,
        0xf0..=0xf7 => 3,
        _ => 0,
    };
    let continued = rest
        .iter()
        .take(more)
        .take_while(|byte| matches!(**byte, 0x80..=0xbf))
        .count();
    rest.get(continued..)
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.source))
    }
}

impl fmt::Debug for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Glob({})", self.source.escape_ascii())
    }
}

#[cfg(test)]
mod tests {
    use alloc::borrow::ToOwned as _;
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn matches(glob: &str, key: &str) -> bool {
        Glob::new(glob.to_owned()).unwrap().matches(key.as_bytes())
    }

    /// D-SEC-6: characters that mean something elsewhere mean themselves.
    #[test]
    fn only_three_characters_are_special() {
        assert!(matches("a.b:*", "a.b:1"));
        assert!(!matches("a.b:*", "aXb:1"));
        assert!(matches("[ab]+(c)|^$", "[ab]+(c)|^$"));
        assert!(matches(r"\*\?\\", r"*?\"));
        assert!(!matches(r"\*", "a"));
    }

    #[test]
    fn the_whole_key_must_match() {
        for (glob, key, expected) in [
            ("user:*:mail", "user:7:mail", true),
            ("user:*:mail", "user:7:8:mail", true),
            ("user:*:mail", "user:7:mail2", false),
            ("*", "anything/at:all", true),
            ("?", "é", true),
            ("?", "ab", false),
            ("a?c", "a\u{10ffff}c", true),
            ("*a*b*c", "xxaxbxbxc", true),
            ("*a*b*c", "xxaxcxb", false),
            ("a*", "a", true),
            ("a", "", false),
        ] {
            assert_eq!(matches(glob, key), expected, "{glob} {key}");
        }
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        assert_eq!(Glob::new(""), Err(InvalidGlob::Empty));
        assert_eq!(Glob::new("a\\"), Err(InvalidGlob::Escape));
        assert_eq!(
            Glob::new("a".repeat(1025)),
            Err(InvalidGlob::TooLong { size_bytes: 1025 })
        );
    }

    /// Tries every way; exponential, hence short keys only.
    fn naive(pattern: &[u8], key: &[u8]) -> bool {
        match step(pattern) {
            None => key.is_empty(),
            Some((Step::Run, rest)) => (0..=key.len()).any(|taken| naive(rest, &key[taken..])),
            Some((Step::One, rest)) => character(key).is_some_and(|key| naive(rest, key)),
            Some((Step::Byte(byte), rest)) => key.first() == Some(&byte) && naive(rest, &key[1..]),
        }
    }

    proptest! {
        #[test]
        fn matching_agrees_with_trying_every_way(
            glob in vec(prop::sample::select(b"ab*?\\".to_vec()), 1..8),
            key in vec(prop::sample::select(b"ab*".to_vec()), 0..8),
        ) {
            if let Ok(glob) = Glob::new(glob) {
                prop_assert_eq!(glob.matches(&key), naive(glob.source(), &key));
                prop_assert!(!glob.matches(&key) || key.starts_with(glob.literal_prefix()));
            }
        }
    }
}
