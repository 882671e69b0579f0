//! Keys, ranges of keys, and the namespace a key lives in. Ordered bytewise.

use core::borrow::Borrow;
use core::fmt;
use core::ops::Bound;

use bytes::Bytes;

use crate::limits::KEY_BYTES_MAX;

/// A key: 1 to [`KEY_BYTES_MAX`] bytes of any kind.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Bytes);

/// Bytes that cannot be a key. Nothing was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKey {
    /// It has no bytes.
    #[error("key is empty")]
    Empty,
    /// It has too many.
    #[error("key is {size_bytes} bytes, limit is {KEY_BYTES_MAX}")]
    TooLong {
        /// Its length.
        size_bytes: usize,
    },
}

impl Key {
    /// Checks and wraps `bytes`.
    ///
    /// # Errors
    ///
    /// If they are none or more than [`KEY_BYTES_MAX`].
    pub fn new(bytes: impl Into<Bytes>) -> Result<Self, InvalidKey> {
        let bytes = bytes.into();
        check_key(&bytes)?;
        Ok(Self(bytes))
    }

    /// Checks and copies `bytes`.
    ///
    /// # Errors
    ///
    /// If they are none or more than [`KEY_BYTES_MAX`].
    pub fn copy_of(bytes: &[u8]) -> Result<Self, InvalidKey> {
        check_key(bytes)?;
        Ok(Self(Bytes::copy_from_slice(bytes)))
    }

    /// Wraps bytes that come from the keyspace, where only valid keys live.
    pub(crate) fn trusted(bytes: Bytes) -> Self {
        debug_assert!(check_key(&bytes).is_ok(), "only valid keys are stored");
        Self(bytes)
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The bytes, without copying them.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        self.0
    }

    /// The namespace: what stands before the first `:`, or nothing.
    #[must_use]
    pub fn namespace(&self) -> &[u8] {
        namespace_of(&self.0)
    }
}

/// Whether `bytes` can be a key.
///
/// # Errors
///
/// If they are none or more than [`KEY_BYTES_MAX`].
pub fn check_key(bytes: &[u8]) -> Result<(), InvalidKey> {
    match bytes.len() {
        0 => Err(InvalidKey::Empty),
        1..=KEY_BYTES_MAX => Ok(()),
        size_bytes => Err(InvalidKey::TooLong { size_bytes }),
    }
}

/// The namespace of a key: the bytes before its first `:`; empty if it has none.
#[must_use]
pub fn namespace_of(key: &[u8]) -> &[u8] {
    let end = key.iter().position(|&byte| byte == b':').unwrap_or(0);
    key.get(..end).unwrap_or_default()
}

/// Keys are ordered, equal and hashed as their bytes.
impl Borrow<[u8]> for Key {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl AsRef<[u8]> for Key {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl TryFrom<&str> for Key {
    type Error = InvalidKey;

    fn try_from(text: &str) -> Result<Self, InvalidKey> {
        Self::copy_of(text.as_bytes())
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", self.0.escape_ascii())
    }
}

/// Shows text as it is and other bytes escaped.
impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match core::str::from_utf8(&self.0) {
            Ok(text) => f.write_str(text),
            Err(_) => write!(f, "{}", self.0.escape_ascii()),
        }
    }
}

/// A contiguous run of keys, start included, end excluded.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct KeyRange {
    start: Bytes,
    end: Option<Bytes>,
}

impl KeyRange {
    /// Every key.
    #[must_use]
    pub const fn all() -> Self {
        Self {
            start: Bytes::new(),
            end: None,
        }
    }

    /// Every key that starts with `prefix`.
    #[must_use]
    pub fn prefix(prefix: impl Into<Bytes>) -> Self {
        let start = prefix.into();
        let end = prefix_end(&start);
        Self { start, end }
    }

    /// The keys from `start` (included) to `end` (excluded). None at all if `end` is not after `start`.
    #[must_use]
    pub fn between(start: impl Into<Bytes>, end: impl Into<Bytes>) -> Self {
        Self {
            start: start.into(),
            end: Some(end.into()),
        }
    }

    /// The keys from `start` (included) on.
    #[must_use]
    pub fn from(start: impl Into<Bytes>) -> Self {
        Self {
            start: start.into(),
            end: None,
        }
    }

    /// The first key of the range, if it exists.
    #[must_use]
    pub fn start(&self) -> &[u8] {
        &self.start
    }

    /// The first key after the range; `None`: it has no end.
    #[must_use]
    pub fn end(&self) -> Option<&[u8]> {
        self.end.as_deref()
    }

    /// Whether `key` lies in the range.
    #[must_use]
    pub fn contains(&self, key: &[u8]) -> bool {
        key >= self.start() && self.end().is_none_or(|end| key < end)
    }

    /// The keys that lie in both ranges.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        let end = match (&self.end, &other.end) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (Some(end), None) | (None, Some(end)) => Some(end),
            (None, None) => None,
        };
        Self {
            start: (&self.start).max(&other.start).clone(),
            end: end.cloned(),
        }
    }

    /// Whether no key can lie in the range.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.end().is_some_and(|end| end <= self.start())
    }

    pub(crate) fn bounds(&self) -> (Bound<&[u8]>, Bound<&[u8]>) {
        (
            Bound::Included(self.start()),
            self.end().map_or(Bound::Unbounded, Bound::Excluded),
        )
    }
}

impl fmt::Debug for KeyRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyRange[{}..", self.start.escape_ascii())?;
        if let Some(end) = &self.end {
            write!(f, "{}", end.escape_ascii())?;
        }
        f.write_str(")")
    }
}

/// The first byte string after all those that start with `prefix`. There is none when it
/// consists of 0xff bytes only: appending a 0xff instead would miss keys (D-V3-7).
fn prefix_end(prefix: &[u8]) -> Option<Bytes> {
    let last = prefix.iter().rposition(|&byte| byte != u8::MAX)?;
    let mut end = prefix.get(..=last)?.to_vec();
    let byte = end.last_mut()?;
    *byte = byte.checked_add(1)?;
    Some(Bytes::from(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_length_is_checked() {
        assert_eq!(Key::copy_of(b""), Err(InvalidKey::Empty));
        assert!(Key::copy_of(&[0; 1024]).is_ok());
        assert_eq!(
            Key::copy_of(&[0; 1025]),
            Err(InvalidKey::TooLong { size_bytes: 1025 })
        );
    }

    #[test]
    fn namespace_ends_before_the_first_colon() {
        assert_eq!(namespace_of(b"tenant:a:b"), b"tenant");
        assert_eq!(namespace_of(b":a"), b"");
        assert_eq!(namespace_of(b"plain"), b"");
    }

    /// D-V3-7: the upper bound of a prefix is not prefix + 0xff.
    #[test]
    fn prefix_range_holds_keys_beyond_one_0xff() {
        let range = KeyRange::prefix(&b"a\xff"[..]);
        assert!(range.contains(b"a\xff\xff\xff"));
        assert!(!range.contains(b"b"));
        assert_eq!(KeyRange::prefix(&b"\xff\xff"[..]).end(), None);
        assert_eq!(KeyRange::prefix(&b""[..]), KeyRange::all());
    }
}
