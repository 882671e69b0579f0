//! Walking the keys as they were at an older revision: live records and replaced ones, merged.

use alloc::vec::Vec;
use core::cmp::Ordering;
use core::iter::Peekable;
use core::ops::{Bound, ControlFlow};

use super::scan::Direction;
use crate::ids::Revision;
use crate::record::RecordRef;
use crate::state::{State, history_key};
use crate::tree::{self, Cell, Tree};

/// What a walk saw at one key.
pub(super) enum Step<'a> {
    /// The key existed then.
    Record(RecordRef<'a>),
    /// It did not.
    Absent(&'a [u8]),
}

/// Calls `visit` for each key within `bounds` that exists now or is in the history, in order,
/// with what it was at `revision`.
pub(super) fn walk(
    state: &State,
    bounds: (Bound<&[u8]>, Bound<&[u8]>),
    direction: Direction,
    revision: Revision,
    mut visit: impl FnMut(Step<'_>) -> ControlFlow<()>,
) {
    let mut live = Live {
        range: state.live.range(bounds),
        direction,
    }
    .peekable();
    let mut past = PastKeys::new(&state.history, bounds, direction).peekable();
    loop {
        let order = match (live.peek(), past.peek()) {
            (None, None) => return,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some((live, _)), Some(past)) => match direction {
                Direction::Ascending => (*live).cmp(&past.key),
                Direction::Descending => past.key.as_slice().cmp(live),
            },
        };
        let (current, replaced) = take(&mut live, &mut past, order);
        let flow = if let Some(record) = current
            .and_then(|(key, cell)| RecordRef::new(key, cell))
            .filter(|record| record.mod_revision() <= revision)
        {
            visit(Step::Record(record))
        } else if let Some(replaced) = &replaced {
            let then = state.superseded_at(&replaced.prefix, revision);
            match then.and_then(|cell| RecordRef::new(&replaced.key, cell)) {
                Some(record) => visit(Step::Record(record)),
                None => visit(Step::Absent(&replaced.key)),
            }
        } else {
            visit(Step::Absent(current.map_or(&[], |(key, _)| key)))
        };
        if flow.is_break() {
            return;
        }
    }
}

/// The next key of whichever side comes first; of both if they are at the same key.
fn take<'a>(
    live: &mut Peekable<Live<'a>>,
    past: &mut Peekable<PastKeys<'_>>,
    order: Ordering,
) -> (Option<(&'a [u8], Cell<'a>)>, Option<PastKey>) {
    match order {
        Ordering::Less => (live.next(), None),
        Ordering::Greater => (None, past.next()),
        Ordering::Equal => (live.next(), past.next()),
    }
}

/// Live records in either direction.
struct Live<'a> {
    range: tree::Range<'a>,
    direction: Direction,
}

impl<'a> Iterator for Live<'a> {
    type Item = (&'a [u8], Cell<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        match self.direction {
            Direction::Ascending => self.range.next(),
            Direction::Descending => self.range.next_back(),
        }
    }
}

/// A key of the history, encoded and not.
struct PastKey {
    prefix: Vec<u8>,
    key: Vec<u8>,
}

/// The keys that the history knows, each once. Steps from key to key by seeking, so that a
/// key with many versions costs no more than another.
struct PastKeys<'a> {
    history: &'a Tree,
    lower: Bound<Vec<u8>>,
    upper: Bound<Vec<u8>>,
    direction: Direction,
}

impl<'a> PastKeys<'a> {
    fn new(history: &'a Tree, bounds: (Bound<&[u8]>, Bound<&[u8]>), direction: Direction) -> Self {
        // Versions of a key sort behind its prefix: below it lie only smaller keys.
        let all_versions =
            |key: &[u8]| history_key::join(&history_key::prefix_of(key), Revision::new(u64::MAX));
        let lower = match bounds.0 {
            Bound::Included(key) => Bound::Included(history_key::prefix_of(key)),
            Bound::Excluded(key) => Bound::Excluded(all_versions(key)),
            Bound::Unbounded => Bound::Unbounded,
        };
        let upper = match bounds.1 {
            Bound::Included(key) => Bound::Included(all_versions(key)),
            Bound::Excluded(key) => Bound::Excluded(history_key::prefix_of(key)),
            Bound::Unbounded => Bound::Unbounded,
        };
        Self {
            history,
            lower,
            upper,
            direction,
        }
    }
}

impl Iterator for PastKeys<'_> {
    type Item = PastKey;

    fn next(&mut self) -> Option<PastKey> {
        let bounds = (as_slice(&self.lower), as_slice(&self.upper));
        let mut range = self.history.range(bounds);
        let (whole, _) = match self.direction {
            Direction::Ascending => range.next(),
            Direction::Descending => range.next_back(),
        }?;
        let (prefix, _) = history_key::split(whole).expect("history keys are checked on restore");
        let prefix = prefix.to_vec();
        let key = history_key::decode_prefix(&prefix).expect("history keys are checked on restore");
        match self.direction {
            Direction::Ascending => {
                self.lower = Bound::Excluded(history_key::join(&prefix, Revision::new(u64::MAX)));
            }
            Direction::Descending => self.upper = Bound::Excluded(prefix.clone()),
        }
        Some(PastKey { prefix, key })
    }
}

fn as_slice(bound: &Bound<Vec<u8>>) -> Bound<&[u8]> {
    match bound {
        Bound::Included(bytes) => Bound::Included(bytes),
        Bound::Excluded(bytes) => Bound::Excluded(bytes),
        Bound::Unbounded => Bound::Unbounded,
    }
}
