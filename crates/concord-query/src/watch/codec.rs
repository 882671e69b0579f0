//! Filters as the store keeps them with a subscription.
//!
//! ```text
//! filter:    version u8 (1)  flags u8  selector  [expression]     0x01 put · 0x02 delete · 0x04 expire · 0x08 expression
//! selector:  kind u8, bytes...        0 key · 1 prefix · 2 range: start, end · 3 range: start · 4 glob · 5 pattern
//! bytes:     length u32, big-endian, and as many
//! ```

use std::sync::Arc;

use bytes::Bytes;
use concord_core::expr::Expression;
use concord_core::key::{Key, KeyRange};

use super::filter::{Filter, KeyPattern, Kinds, Selector};
use concord_core::glob::Glob;

const VERSION: u8 = 1;
const HAS_PREDICATE: u8 = 0x08;

const KEY: u8 = 0;
const PREFIX: u8 = 1;
const RANGE: u8 = 2;
const FROM: u8 = 3;
const GLOB: u8 = 4;
const PATTERN: u8 = 5;

/// Bytes that are no filter of a known version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("stored filter is malformed: {what}")]
pub struct InvalidFilter {
    what: &'static str,
}

impl Filter {
    /// The filter in the form that the store keeps.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        let has_predicate = if self.predicate.is_some() {
            HAS_PREDICATE
        } else {
            0
        };
        let mut out = vec![VERSION, self.kinds.bits() | has_predicate];
        match &self.selector {
            Selector::Key(key) => put(&mut out, KEY, &[key.as_bytes()]),
            Selector::Prefix(prefix) => put(&mut out, PREFIX, &[prefix]),
            Selector::Range(range) => match range.end() {
                Some(end) => put(&mut out, RANGE, &[range.start(), end]),
                None => put(&mut out, FROM, &[range.start()]),
            },
            Selector::Glob(glob) => put(&mut out, GLOB, &[glob.source()]),
            // The text: a program can be longer than a filter may be. Nothing in the log depends on what it means.
            Selector::Pattern(pattern) => put(&mut out, PATTERN, &[pattern.text().as_bytes()]),
        }
        if let Some(predicate) = &self.predicate {
            bytes(&mut out, &predicate.to_bytes());
        }
        Bytes::from(out)
    }

    /// Reads a filter back.
    ///
    /// # Errors
    ///
    /// If the bytes are none, or of a version that this one does not know.
    pub fn from_bytes(stored: &[u8]) -> Result<Self, InvalidFilter> {
        let wrong = |what| InvalidFilter { what };
        let mut rest = stored;
        let [version, flags, kind] = *rest.split_off(..3).ok_or(wrong("cut short"))? else {
            return Err(wrong("cut short"));
        };
        if version != VERSION {
            return Err(wrong("unknown version"));
        }
        let kinds = Kinds::from_bits(flags & !HAS_PREDICATE).ok_or(wrong("unknown flags"))?;
        let mut part = || take(&mut rest).ok_or(wrong("cut short"));
        let selector = match kind {
            KEY => Selector::Key(Key::copy_of(part()?).map_err(|_| wrong("no key"))?),
            PREFIX => Selector::Prefix(Bytes::copy_from_slice(part()?)),
            RANGE => {
                let start = Bytes::copy_from_slice(part()?);
                Selector::Range(KeyRange::between(start, Bytes::copy_from_slice(part()?)))
            }
            FROM => Selector::Range(KeyRange::from(Bytes::copy_from_slice(part()?))),
            GLOB => {
                let glob = Glob::new(Bytes::copy_from_slice(part()?));
                Selector::Glob(glob.map_err(|_| wrong("no pattern"))?)
            }
            PATTERN => {
                let text = str::from_utf8(part()?).map_err(|_| wrong("no text"))?;
                let pattern = KeyPattern::new(text).map_err(|_| wrong("no regular expression"))?;
                Selector::Pattern(Arc::new(pattern))
            }
            _ => return Err(wrong("unknown selector")),
        };
        let predicate = if flags & HAS_PREDICATE == 0 {
            None
        } else {
            Some(Expression::decode(part()?).map_err(|_| wrong("no expression"))?)
        };
        if !rest.is_empty() {
            return Err(wrong("bytes after the end"));
        }
        Ok(Self {
            selector,
            kinds,
            predicate,
        })
    }
}

fn put(out: &mut Vec<u8>, kind: u8, parts: &[&[u8]]) {
    out.push(kind);
    for part in parts {
        bytes(out, part);
    }
}

fn bytes(out: &mut Vec<u8>, part: &[u8]) {
    let len = u32::try_from(part.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&len.to_be_bytes());
    out.extend_from_slice(part);
}

fn take<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (len, behind) = rest.split_first_chunk::<4>()?;
    let len = usize::try_from(u32::from_be_bytes(*len)).ok()?;
    let (part, behind) = behind.split_at_checked(len)?;
    *rest = behind;
    Some(part)
}

#[cfg(test)]
mod tests {
    use concord_core::view::ChangeKind;

    use super::*;

    fn filters() -> Vec<(Filter, &'static str)> {
        let filter = |selector, kinds: &[ChangeKind], predicate: Option<&str>| Filter {
            selector,
            kinds: Kinds::of(kinds),
            predicate: predicate.map(|text| crate::expression::parse(text).unwrap()),
        };
        let glob = Glob::new(&b"a*?"[..]).unwrap();
        vec![
            (
                filter(
                    Selector::Key(Key::copy_of(b"k").unwrap()),
                    &[ChangeKind::Put],
                    None,
                ),
                "010100000000016b",
            ),
            (Filter::new(Selector::all()), "01070100000000"),
            (
                filter(
                    Selector::Range(KeyRange::between(&b"a"[..], &b"b"[..])),
                    &[ChangeKind::Delete],
                    None,
                ),
                "01020200000001610000000162",
            ),
            (
                filter(
                    Selector::Range(KeyRange::from(&b"a"[..])),
                    &[ChangeKind::Expire],
                    Some("version > 1"),
                ),
                "010c03000000016100000006012408030301",
            ),
            (filter(Selector::Glob(glob), &[], None), "0100040000000361 2a3f"),
            (
                filter(
                    Selector::Pattern(Arc::new(KeyPattern::new("^a+$").unwrap())),
                    &[ChangeKind::Put],
                    None,
                ),
                "010105000000045e612b24",
            ),
        ]
    }

    /// Kept in stores, so it never changes.
    #[test]
    fn filters_are_written_and_read_as_ever() {
        for (filter, committed) in filters() {
            let bytes = filter.to_bytes();
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(hex, committed.replace(' ', ""), "{filter:?}");
            assert_eq!(Filter::from_bytes(&bytes), Ok(filter));
            for cut in 0..bytes.len() {
                assert!(Filter::from_bytes(&bytes[..cut]).is_err());
            }
            let mut more = bytes.to_vec();
            more.push(0);
            assert!(Filter::from_bytes(&more).is_err());
        }
        assert!(
            Filter::from_bytes(&[2, 7, 1, 0, 0, 0, 0]).is_err(),
            "a later version"
        );
        assert!(
            Filter::from_bytes(&[1, 0x17, 1, 0, 0, 0, 0]).is_err(),
            "unknown flags"
        );
        assert!(
            Filter::from_bytes(&[1, 1, 5, 0, 0, 0, 1, b'(']).is_err(),
            "no regular expression"
        );
        assert!(
            Filter::from_bytes(&[1, 1, 5, 0, 0, 0, 1, 0xff]).is_err(),
            "no text"
        );
    }
}
