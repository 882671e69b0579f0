//! Cursors: where a scan or a lookup stands, as text for callers to keep.
//!
//! ```text
//! hex( fingerprint of the request: 8 bytes | position with its checksum )
//! ```
//!
//! Where the position is a key that the caller is not shown, all of it is sealed.

use std::fmt;
use std::ops::Bound;
use std::str::FromStr;

use concord_core::key::KeyRange;
use concord_core::view::{Direction, IndexPosition, IndexRequest, ScanPosition};

pub(crate) const FINGERPRINT_BYTES: usize = 8;

/// Hides what a cursor says from whom it is given to: a place can be a key that they are not shown.
pub trait Seal {
    /// Text that tells nothing, not even how long it was, and cannot be made by others.
    fn seal(&self, text: &[u8]) -> Vec<u8>;

    /// What was sealed; `None` if it was not.
    fn open(&self, sealed: &[u8]) -> Option<Vec<u8>>;
}

/// A place as a cursor has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Held<P> {
    /// As it is, and of which request.
    Plain([u8; FINGERPRINT_BYTES], P),
    /// For the nodes' eyes only.
    Sealed(Vec<u8>),
}

/// A place with a byte form.
pub(crate) trait Bytes: Sized {
    fn encode(&self) -> Vec<u8>;
    fn decode(bytes: &[u8]) -> Option<Self>;
}

impl Bytes for ScanPosition {
    fn encode(&self) -> Vec<u8> {
        Self::encode(self)
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        Self::decode(bytes).ok()
    }
}

impl Bytes for IndexPosition {
    fn encode(&self) -> Vec<u8> {
        Self::encode(self)
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        Self::decode(bytes).ok()
    }
}

/// What sealed text starts with: no digit of the other.
const SEALED: &str = "s";

impl<P: Bytes> Held<P> {
    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Plain(fingerprint, place) => [fingerprint.as_slice(), &place.encode()].concat(),
            Self::Sealed(bytes) => bytes.clone(),
        }
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (fingerprint, place) = bytes.split_first_chunk()?;
        Some(Self::Plain(*fingerprint, P::decode(place)?))
    }

    pub(crate) fn parse(text: &str) -> Result<Self, InvalidCursor> {
        let held = match text.strip_prefix(SEALED) {
            Some(sealed) => unhex(sealed).map(Self::Sealed),
            None => unhex(text).and_then(|bytes| Self::from_bytes(&bytes)),
        };
        held.ok_or(InvalidCursor)
    }

    pub(crate) fn sealed(self, seal: &dyn Seal) -> Self {
        match self {
            Self::Plain(..) => Self::Sealed(seal.seal(&self.bytes())),
            Self::Sealed(_) => self,
        }
    }

    pub(crate) fn opened(self, seal: &dyn Seal) -> Result<Self, InvalidCursor> {
        match self {
            Self::Plain(..) => Ok(self),
            Self::Sealed(bytes) => {
                let bytes = seal.open(&bytes).ok_or(InvalidCursor)?;
                Self::from_bytes(&bytes).ok_or(InvalidCursor)
            }
        }
    }

    pub(crate) fn of(&self, request: [u8; FINGERPRINT_BYTES]) -> Option<&P> {
        match self {
            Self::Plain(fingerprint, place) => (*fingerprint == request).then_some(place),
            Self::Sealed(_) => None,
        }
    }

    pub(crate) fn write(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if matches!(self, Self::Sealed(_)) {
            f.write_str(SEALED)?;
        }
        self.bytes().iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Where a scan stands. Opaque text: it is only good for the same range and direction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor(Held<ScanPosition>);

/// Text that is no cursor, or one that was changed on the way. Nothing was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cursor is damaged or was not made here")]
pub struct InvalidCursor;

impl Cursor {
    /// The cursor of a scan of `range` in `direction` that goes on at `position`.
    pub fn new(range: &KeyRange, direction: Direction, position: ScanPosition) -> Self {
        Self(Held::Plain(fingerprint(range, direction), position))
    }

    /// The position, if the cursor was made by a scan of this range and direction, and is not sealed.
    pub fn position_in(&self, range: &KeyRange, direction: Direction) -> Option<&ScanPosition> {
        self.0.of(fingerprint(range, direction))
    }

    /// The same, telling nothing.
    #[must_use]
    pub fn sealed(self, seal: &dyn Seal) -> Self {
        Self(self.0.sealed(seal))
    }

    /// The same, as it was before it was sealed, if it was.
    ///
    /// # Errors
    ///
    /// If it was sealed by another.
    pub fn opened(self, seal: &dyn Seal) -> Result<Self, InvalidCursor> {
        self.0.opened(seal).map(Self)
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.write(f)
    }
}

impl FromStr for Cursor {
    type Err = InvalidCursor;

    fn from_str(text: &str) -> Result<Self, InvalidCursor> {
        Held::parse(text).map(Self)
    }
}

/// Where a lookup in an index stands. Opaque text: it is only good for the same index, values and
/// direction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexCursor(Held<IndexPosition>);

impl IndexCursor {
    /// The cursor of `lookup` that goes on at `position`.
    pub fn new(lookup: &IndexRequest, position: IndexPosition) -> Self {
        Self(Held::Plain(lookup_fingerprint(lookup), position))
    }

    /// The position, if the cursor was made by this lookup, and is not sealed.
    pub fn position_in(&self, lookup: &IndexRequest) -> Option<&IndexPosition> {
        self.0.of(lookup_fingerprint(lookup))
    }

    /// As [`Cursor::sealed`].
    #[must_use]
    pub fn sealed(self, seal: &dyn Seal) -> Self {
        Self(self.0.sealed(seal))
    }

    /// As [`Cursor::opened`].
    ///
    /// # Errors
    ///
    /// If it was sealed by another.
    pub fn opened(self, seal: &dyn Seal) -> Result<Self, InvalidCursor> {
        self.0.opened(seal).map(Self)
    }
}

impl fmt::Display for IndexCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.write(f)
    }
}

impl FromStr for IndexCursor {
    type Err = InvalidCursor;

    fn from_str(text: &str) -> Result<Self, InvalidCursor> {
        Held::parse(text).map(Self)
    }
}

/// Lower-case hexadecimal only, so that there is one text for a cursor.
fn unhex(text: &str) -> Option<Vec<u8>> {
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
