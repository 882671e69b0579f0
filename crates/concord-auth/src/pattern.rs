//! Patterns of keys in ACLs: `*` is any run of bytes, also none; everything else stands for itself, and the
//! whole key must match (D-SEC-6). Not the globs of watches and queries: there `?` and `\` mean something,
//! and a rule about who may read must have no second reading.

use core::fmt;

use bytes::Bytes;
use concord_core::key::KeyRange;
use concord_core::limits::KEY_BYTES_MAX;

/// The byte that stands for any run.
const RUN: u8 = b'*';

/// A pattern of keys. Matching takes no memory, and at most the product of both lengths in steps.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pattern(Bytes);

/// Bytes that are no pattern of keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a pattern is {size_bytes} bytes, must be 1 to {KEY_BYTES_MAX}")]
pub struct InvalidPattern {
    /// Their length.
    pub size_bytes: usize,
}

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    ///
    /// If it is empty or longer than the longest key.
    pub fn new(source: impl Into<Bytes>) -> Result<Self, InvalidPattern> {
        let source: Bytes = source.into();
        match source.len() {
            1..=KEY_BYTES_MAX => Ok(Self(source)),
            size_bytes => Err(InvalidPattern { size_bytes }),
        }
    }

    /// As it was written.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// What every key that matches starts with.
    #[must_use]
    pub fn literal(&self) -> &[u8] {
        self.0.split(|byte| *byte == RUN).next().unwrap_or_default()
    }

    /// The literal start, and what follows it.
    pub(crate) fn parts(&self) -> (&[u8], &[u8]) {
        self.0.split_at(self.literal().len())
    }

    /// Whether all of the key matches.
    #[must_use]
    pub fn matches(&self, key: &[u8]) -> bool {
        matches(&self.0, key)
    }

    /// Whether every key of a range matches. Only a pattern that ends in `*` and has no other can
    /// say so of a range; for others the answer is no, which is on the safe side.
    #[must_use]
    pub fn covers(&self, range: &KeyRange) -> bool {
        let (literal, tail) = self.parts();
        tail_of(tail) == Tail::AnyRun && prefix_covers(literal, range)
    }
}

/// What can follow the literal start of a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tail {
    /// Nothing: only the start itself matches.
    Empty,
    /// `*`: whatever begins with the start.
    AnyRun,
    /// `*` and more.
    Glob,
}

pub(crate) fn tail_of(tail: &[u8]) -> Tail {
    match tail {
        [] => Tail::Empty,
        tail if tail.iter().all(|byte| *byte == RUN) => Tail::AnyRun,
        _ => Tail::Glob,
    }
}

/// Whether every key of a range begins with this.
pub(crate) fn prefix_covers(literal: &[u8], range: &KeyRange) -> bool {
    // The first bytes that are behind all that begin with it end in its last byte that can be greater by one.
    let behind = literal.iter().rposition(|byte| *byte != u8::MAX);
    let ends_within = match (range.end(), behind) {
        (_, None) => true,
        (None, Some(_)) => false,
        (Some(end), Some(last)) => {
            let limit = literal.iter().take(last).copied();
            let limit = limit.chain(literal.get(last).map(|byte| byte.saturating_add(1)));
            end.iter().copied().le(limit)
        }
    };
    range.start() >= literal && ends_within
}

/// Whether all of a key matches a pattern.
pub(crate) fn matches(mut pattern: &[u8], key: &[u8]) -> bool {
    let mut rest = key;
    // Where to go on if what follows the last run does not fit: one byte of the key further.
    let mut retry: Option<(&[u8], &[u8])> = None;
    loop {
        match (pattern.split_first(), rest.split_first()) {
            (Some((&RUN, after)), _) => {
                retry = Some((after, rest));
                pattern = after;
            }
            (Some((expected, after)), Some((found, others))) if expected == found => {
                (pattern, rest) = (after, others);
            }
            (None, None) => return true,
            (Some(_) | None, _) => {
                let Some((after, [_, others @ ..])) = retry else {
                    return false;
                };
                retry = Some((after, others));
                (pattern, rest) = (after, others);
            }
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pattern({})", self.0.escape_ascii())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(source: &'static str) -> Pattern {
        Pattern::new(source).unwrap()
    }

    #[test]
    fn a_star_is_any_run_and_the_whole_key_must_match() {
        for (source, matching, others) in [
            ("*", &["", "a", "a:b"][..], &[][..]),
            ("a:*", &["a:", "a:b", "a:b:c"], &["a", "ba:b", "A:b"]),
            (
                "*:config",
                &["a:config", ":config", "a:b:config"],
                &["a:configs", "config"],
            ),
            ("a*b*c", &["abc", "axxbxxc", "abbcbc"], &["ab", "acb", "abcx"]),
            ("plain", &["plain"], &["plai", "plain2"]),
            ("**a", &["a", "xa"], &["ab"]),
        ] {
            for key in matching {
                assert!(pattern(source).matches(key.as_bytes()), "{source} {key}");
            }
            for key in others {
                assert!(!pattern(source).matches(key.as_bytes()), "{source} {key}");
            }
        }
    }

    /// D-SEC-6: no other character means anything.
    #[test]
    fn everything_else_stands_for_itself() {
        for source in ["a.b:x", "a+", "[ab]", "(a|b)", "^a$", "\\d", "a?", "a{2}"] {
            assert!(pattern(source).matches(source.as_bytes()), "{source}");
        }
        assert!(!pattern("a.b:*").matches(b"aXb:1"));
        assert!(!pattern("a?").matches(b"ab"));
        assert!(!pattern("\\*").matches(b"*"), "a backslash is a backslash");
    }

    /// A pattern made to be slow takes no more than both lengths' product.
    #[test]
    fn a_hostile_pattern_ends() {
        let source = "*a".repeat(KEY_BYTES_MAX / 2);
        assert!(
            !Pattern::new(source)
                .unwrap()
                .matches(&[b'a'; KEY_BYTES_MAX / 2 - 1])
        );
        assert!(!pattern("*a*a*a*a*a*a*a*b").matches(&[b'a'; KEY_BYTES_MAX]));
    }

    #[test]
    fn only_a_prefix_covers_a_range() {
        let users = KeyRange::prefix("user:");
        assert!(pattern("*").covers(&KeyRange::all()));
        assert!(pattern("user:*").covers(&users));
        assert!(pattern("us*").covers(&users));
        assert!(pattern("user:**").covers(&KeyRange::between("user:a", "user:b")));
        for (source, range) in [
            ("user:*", KeyRange::all()),
            ("user:*", KeyRange::from("user:a")),
            ("user:*", KeyRange::between("user:a", "user;b")),
            ("user:*", KeyRange::between("usea", "user:b")),
            ("user:*a", users.clone()),
            ("*user:*", users.clone()),
            ("user:", users),
        ] {
            assert!(!pattern(source).covers(&range), "{source} {range:?}");
        }
    }

    #[test]
    fn patterns_have_bounds() {
        assert_eq!(Pattern::new(""), Err(InvalidPattern { size_bytes: 0 }));
        assert!(Pattern::new(vec![b'*'; KEY_BYTES_MAX]).is_ok());
        assert_eq!(
            Pattern::new(vec![b'a'; 1025]),
            Err(InvalidPattern { size_bytes: 1025 })
        );
    }
}
