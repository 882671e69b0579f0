//! Cursors: where a scan or a lookup stands, as text for callers to keep.
//!
//! ```text
//! hex( fingerprint of the request: 8 bytes | position with its checksum )
//! ```

use std::fmt;
use std::ops::Bound;
use std::str::FromStr;

use concord_core::key::KeyRange;
use concord_core::view::{Direction, IndexPosition, IndexRequest, ScanPosition};

const FINGERPRINT_BYTES: usize = 8;

/// Where a scan stands. Opaque text: it is only good for the same range and direction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    fingerprint: [u8; FINGERPRINT_BYTES],
    position: ScanPosition,
}

/// Text that is no cursor, or one that was changed on the way. Nothing was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cursor is damaged or was not made here")]
pub struct InvalidCursor;

impl Cursor {
    /// The cursor of a scan of `range` in `direction` that goes on at `position`.
    pub fn new(range: &KeyRange, direction: Direction, position: ScanPosition) -> Self {
        Self {
            fingerprint: fingerprint(range, direction),
            position,
        }
    }

    /// The position, if the cursor was made by a scan of this range and direction.
    pub fn position_in(&self, range: &KeyRange, direction: Direction) -> Option<&ScanPosition> {
        (self.fingerprint == fingerprint(range, direction)).then_some(&self.position)
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex(self.fingerprint, &self.position.encode(), f)
    }
}

impl FromStr for Cursor {
    type Err = InvalidCursor;

    fn from_str(text: &str) -> Result<Self, InvalidCursor> {
        let bytes = unhex(text).ok_or(InvalidCursor)?;
        let (fingerprint, position) = bytes.split_first_chunk().ok_or(InvalidCursor)?;
        let position = ScanPosition::decode(position).map_err(|_| InvalidCursor)?;
        Ok(Self {
            fingerprint: *fingerprint,
            position,
        })
    }
}

/// Where a lookup in an index stands. Opaque text: it is only good for the same index, values and
/// direction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexCursor {
    fingerprint: [u8; FINGERPRINT_BYTES],
    position: IndexPosition,
}

impl IndexCursor {
    /// The cursor of `lookup` that goes on at `position`.
    pub fn new(lookup: &IndexRequest, position: IndexPosition) -> Self {
        Self {
            fingerprint: lookup_fingerprint(lookup),
            position,
        }
    }

    /// The position, if the cursor was made by this lookup.
    pub fn position_in(&self, lookup: &IndexRequest) -> Option<&IndexPosition> {
        (self.fingerprint == lookup_fingerprint(lookup)).then_some(&self.position)
    }
}

impl fmt::Display for IndexCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex(self.fingerprint, &self.position.encode(), f)
    }
}

impl FromStr for IndexCursor {
    type Err = InvalidCursor;

    fn from_str(text: &str) -> Result<Self, InvalidCursor> {
        let bytes = unhex(text).ok_or(InvalidCursor)?;
        let (fingerprint, position) = bytes.split_first_chunk().ok_or(InvalidCursor)?;
        let position = IndexPosition::decode(position).map_err(|_| InvalidCursor)?;
        Ok(Self {
            fingerprint: *fingerprint,
            position,
        })
    }
}

/// Lower-case hexadecimal only, so that there is one text for a cursor.
pub(crate) fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    pairs
        .iter()
        .map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?))
        .collect()
}

pub(crate) fn hex(
    fingerprint: [u8; FINGERPRINT_BYTES],
    position: &[u8],
    f: &mut fmt::Formatter<'_>,
) -> fmt::Result {
    fingerprint
        .iter()
        .chain(position)
        .try_for_each(|byte| write!(f, "{byte:02x}"))
}

fn fingerprint(range: &KeyRange, direction: Direction) -> [u8; FINGERPRINT_BYTES] {
    let mut hash = Fingerprint::new(direction);
    hash.bytes(range.start());
    hash.byte(u8::from(range.end().is_some()));
    hash.bytes(range.end().unwrap_or_default());
    hash.finish()
}

fn lookup_fingerprint(lookup: &IndexRequest) -> [u8; FINGERPRINT_BYTES] {
    let mut hash = Fingerprint::new(lookup.direction);
    hash.bytes(lookup.name.as_str().as_bytes());
    for bound in [&lookup.from, &lookup.to] {
        let (kind, value) = match bound {
            Bound::Unbounded => (0, None),
            Bound::Included(value) => (1, Some(value)),
            Bound::Excluded(value) => (2, Some(value)),
        };
        hash.byte(kind);
        // A constant is written in one way.
        hash.bytes(format!("{value:?}").as_bytes());
    }
    hash.finish()
}

/// FNV-1a: tells requests apart, guards nothing.
pub(crate) struct Fingerprint(u64);

impl Fingerprint {
    pub(crate) fn new(direction: Direction) -> Self {
        let mut hash = Self(0xcbf2_9ce4_8422_2325_u64);
        hash.byte(match direction {
            Direction::Ascending => 0,
            Direction::Descending => 1,
        });
        hash
    }

    pub(crate) fn byte(&mut self, byte: u8) {
        self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }

    /// The length keeps the end of one part apart from the start of the next.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        bytes
            .len()
            .to_be_bytes()
            .into_iter()
            .for_each(|byte| self.byte(byte));
        bytes.iter().for_each(|byte| self.byte(*byte));
    }

    pub(crate) fn finish(self) -> [u8; FINGERPRINT_BYTES] {
        self.0.to_be_bytes()
    }
}

#[cfg(test)]
mod tests {
    use concord_core::expr::Literal;
    use concord_core::ids::Revision;
    use concord_core::index::{Extractor, IndexDefinition, IndexName};
    use concord_core::key::Key;
    use concord_core::{
        Command, Group, LogIndex, Machine as _, Meta, SessionId, Store, Term, Timestamp, Value,
    };

    use super::*;

    fn cursor() -> Cursor {
        let position = ScanPosition::new(Key::copy_of(b"user:7").unwrap(), Revision::new(41));
        Cursor::new(&KeyRange::prefix(&b"user:"[..]), Direction::Ascending, position)
    }

    #[test]
    fn a_cursor_reads_back() {
        let text = cursor().to_string();
        assert_eq!(text.parse::<Cursor>().unwrap(), cursor());
    }

    #[test]
    fn every_changed_digit_is_noticed() {
        let text = cursor().to_string();
        let range = KeyRange::prefix(&b"user:"[..]);
        for place in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[place] = if bytes[place] == b'0' { b'1' } else { b'0' };
            let changed = String::from_utf8(bytes).unwrap().parse::<Cursor>();
            let accepted =
                changed.is_ok_and(|found| found.position_in(&range, Direction::Ascending).is_some());
            assert!(!accepted, "digit {place}");
        }
        for text in [
            "",
            "zz",
            "0",
            "é",
            &text[..text.len() - 2],
            &format!("{text}00"),
            &text.to_uppercase(),
        ] {
            assert!(text.parse::<Cursor>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_cursor_is_of_one_scan_only() {
        let found = cursor();
        let others = [
            (KeyRange::prefix(&b"user:"[..]), Direction::Descending),
            (KeyRange::prefix(&b"user"[..]), Direction::Ascending),
            (KeyRange::from(&b"user:"[..]), Direction::Ascending),
            (KeyRange::all(), Direction::Ascending),
        ];
        for (range, direction) in others {
            assert!(found.position_in(&range, direction).is_none(), "{range:?}");
        }
    }

    /// A view with two records under one value of an index, and a lookup of it.
    fn looked_up() -> (Store, IndexRequest) {
        let name = IndexName::new("i").unwrap();
        let extractor = crate::extractor::parse("value").unwrap();
        assert!(matches!(extractor, Extractor::Expression(_)));
        let definition = IndexDefinition::new(name.clone(), "", extractor, false).unwrap();
        let put = |key: &str| Command::Put {
            key: Key::try_from(key).unwrap(),
            value: Value::text("v").into(),
            lifetime: None.into(),
            condition: None,
            return_previous: false,
        };
        let create = Command::CreateIndex {
            definition: definition.into(),
            fill: true,
        };
        let mut store = Store::empty();
        let requests = [create, put("a"), put("b")].map(|command| command.to_bytes());
        for (index, opens, requests) in [(1, true, vec![]), (2, false, requests.to_vec())] {
            let group = Group {
                session: SessionId::new(1),
                opens,
                acked_below: 0,
                first_sequence: 1,
                requests,
            };
            let meta = Meta {
                index: LogIndex::new(index),
                term: Term::new(1),
            };
            let batch = concord_core::Batch {
                proposed_at: Timestamp::new(1),
                groups: vec![group],
            };
            store.apply(meta, &batch);
        }
        let mut lookup = IndexRequest::equal(name, Literal::String("v".into()));
        lookup.limit = 1;
        (store, lookup)
    }

    #[test]
    fn a_cursor_of_an_index_reads_back_and_every_changed_digit_is_noticed() {
        let (store, lookup) = looked_up();
        let next = store.view().lookup(&lookup).unwrap().next.unwrap();
        let cursor = IndexCursor::new(&lookup, next);
        let text = cursor.to_string();
        assert_eq!(text.parse(), Ok(cursor.clone()));
        for place in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[place] = if bytes[place] == b'0' { b'1' } else { b'0' };
            let changed = String::from_utf8(bytes).unwrap().parse::<IndexCursor>();
            assert!(
                !changed.is_ok_and(|found| found.position_in(&lookup).is_some()),
                "digit {place}"
            );
        }
        // A cursor of a scan is none of a lookup, and the other way round.
        let scan = KeyRange::all();
        let mistaken = text.parse::<Cursor>();
        assert!(!mistaken.is_ok_and(|found| found.position_in(&scan, Direction::Ascending).is_some()));
        assert!(cursor.position_in(&lookup).is_some());
        let mut other = lookup.clone();
        other.direction = Direction::Descending;
        assert!(cursor.position_in(&other).is_none());
        let other = IndexRequest::equal(lookup.name.clone(), Literal::String("w".into()));
        assert!(cursor.position_in(&other).is_none());
    }
}
