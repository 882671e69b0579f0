//! Walking the keys as they were at an older revision: live records and tombstones, merged,
//! each followed back to the version in force then.

use core::cmp::Ordering;
use core::ops::{Bound, ControlFlow};

use super::scan::Direction;
use crate::ids::Revision;
use crate::record::RecordRef;
use crate::state::{State, VersionCell};
use crate::tree;

/// What a walk saw at one key.
pub(crate) enum Step<'a> {
    /// The key existed then.
    Record(RecordRef<'a>),
    /// It did not.
    Absent(&'a [u8]),
}

/// Calls `visit` for each key within `bounds` that exists or whose removal is known, in order,
/// with what it was at `revision`.
pub(crate) fn walk<'a>(
    state: &'a State,
    bounds: (Bound<&[u8]>, Bound<&[u8]>),
    direction: Direction,
    revision: Revision,
    mut visit: impl FnMut(Step<'a>) -> ControlFlow<()>,
) {
    let mut live = Ordered {
        range: state.live.range(bounds),
        direction,
    }
    .peekable();
    let mut graves = Ordered {
        range: state.graves.range(bounds),
        direction,
    }
    .peekable();
    loop {
        // A key is in one of both at most.
        let is_live_first = match (live.peek(), graves.peek()) {
            (None, None) => return,
            (Some(_), None) => true,
            (None, Some(_)) => false,
            (Some((live, _)), Some((grave, _))) => match direction {
                Direction::Ascending => live.cmp(grave) == Ordering::Less,
                Direction::Descending => live.cmp(grave) == Ordering::Greater,
            },
        };
        let Some((key, newest)) = (if is_live_first { live.next() } else { graves.next() }) else {
            return;
        };
        let then = state.in_force(Some(newest), revision);
        let flow = match then.and_then(|version| RecordRef::new(key, version)) {
            Some(record) => visit(Step::Record(record)),
            None => visit(Step::Absent(key)),
        };
        if flow.is_break() {
            return;
        }
    }
}

/// The newest versions of keys, in either direction.
struct Ordered<'a> {
    range: tree::Range<'a>,
    direction: Direction,
}

impl<'a> Iterator for Ordered<'a> {
    type Item = (&'a [u8], VersionCell<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let (key, cell) = match self.direction {
            Direction::Ascending => self.range.next(),
            Direction::Descending => self.range.next_back(),
        }?;
        Some((key, VersionCell::alone(cell)))
    }
}
