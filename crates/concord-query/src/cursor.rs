//! Cursors: where a scan stands, as text for callers to keep.
//!
//! ```text
//! hex( fingerprint of range and direction: 8 bytes | position with its checksum )
//! ```

use std::fmt;
use std::str::FromStr;

use concord_core::key::KeyRange;
use concord_core::view::{Direction, ScanPosition};

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
        for byte in self.fingerprint.iter().chain(&self.position.encode()) {
            write!(f, "{byte:02x}")?;
        }
        Ok(())
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

/// FNV-1a over direction and bounds: tells scans apart, guards nothing.
fn fingerprint(range: &KeyRange, direction: Direction) -> [u8; FINGERPRINT_BYTES] {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut add = |byte: u8| hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    add(match direction {
        Direction::Ascending => 0,
        Direction::Descending => 1,
    });
    // The length keeps the end of one bound apart from the start of the other.
    range.start().len().to_be_bytes().into_iter().for_each(&mut add);
    range.start().iter().copied().for_each(&mut add);
    add(u8::from(range.end().is_some()));
    range.end().unwrap_or_default().iter().copied().for_each(&mut add);
    hash.to_be_bytes()
}

#[cfg(test)]
mod tests {
    use concord_core::ids::Revision;
    use concord_core::key::Key;

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
}
