//! Looking at the candidates of an access.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::ops::{Bound, ControlFlow};

use super::{Access, IndexAccess};
use crate::ids::Revision;
use crate::index::{Index, Strays};
use crate::key::KeyRange;
use crate::record::RecordRef;
use crate::state::{State, VersionCell};
use crate::view::{Direction, ReadView, Step, ViewError, past, walk_entries};

/// How candidates are gone through.
#[derive(Clone, Copy, Debug)]
pub struct Walk<'p> {
    /// In which order.
    pub direction: Direction,
    /// As they were when.
    pub revision: Revision,
    /// Only those behind this value and key; the value is empty where keys decide.
    pub after: Option<(&'p [u8], &'p [u8])>,
}

/// What is looked at.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a, 'v> {
    /// The key.
    pub key: &'v [u8],
    /// The value, encoded, that an index knows it by; empty where keys are gone through.
    pub value: &'v [u8],
    /// The record; `None`: the key did not exist then.
    pub record: Option<RecordRef<'a>>,
}

impl ReadView {
    /// Calls `visit` for each candidate of an access, once: in the order of keys, or of the
    /// index and then of keys. Says whether that is so: records that an index knows in part come first, without order.
    ///
    /// # Errors
    ///
    /// If the revision is compacted or still to come, or lies too many changes back for an index.
    pub fn candidates<'a>(
        &'a self,
        access: &Access,
        walk: Walk<'_>,
        visit: impl FnMut(Candidate<'a, '_>) -> ControlFlow<()>,
    ) -> Result<(), ViewError> {
        self.check_revision(walk.revision)?;
        candidates(self.state(), access, walk, visit)
    }

    /// Whether candidates come in order: not if there are some that the index knows in part.
    ///
    /// # Errors
    ///
    /// As [`ReadView::candidates`].
    pub fn is_in_order(&self, access: &Access, revision: Revision) -> Result<bool, ViewError> {
        self.check_revision(revision)?;
        let Access::Index(access) = access else {
            return Ok(true);
        };
        are_strays(self.state(), access, revision).map(|are_some| !are_some)
    }
}

/// Whether there are records that the index knows in part, of the state as it is.
pub(crate) fn has_strays(state: &State, access: &IndexAccess) -> bool {
    are_strays(state, access, state.revision) != Ok(false)
}

fn are_strays(state: &State, access: &IndexAccess, revision: Revision) -> Result<bool, ViewError> {
    let index = find(state, access).ok_or(ViewError::IndexNotFound)?;
    let mut are_some = false;
    walk_strays(state, index, access.strays, revision, |_, _| {
        are_some = true;
        ControlFlow::Break(())
    })?;
    Ok(are_some)
}

pub(crate) fn candidates<'a>(
    state: &'a State,
    access: &Access,
    walk: Walk<'_>,
    visit: impl FnMut(Candidate<'a, '_>) -> ControlFlow<()>,
) -> Result<(), ViewError> {
    match access {
        Access::Nothing => Ok(()),
        Access::Keys(range) => {
            keys(state, range, walk, visit);
            Ok(())
        }
        Access::Index(access) => entries(state, access, walk, visit),
    }
}

fn keys<'a>(
    state: &'a State,
    range: &KeyRange,
    walk: Walk<'_>,
    mut visit: impl FnMut(Candidate<'a, '_>) -> ControlFlow<()>,
) {
    let (mut start, mut end) = range.bounds();
    if let Some((_, key)) = walk.after {
        // A place outside the range must not widen it.
        match walk.direction {
            Direction::Ascending if key >= range.start() => start = Bound::Excluded(key),
            Direction::Descending if range.end().is_none_or(|end| key < end) => end = Bound::Excluded(key),
            Direction::Ascending | Direction::Descending => {}
        }
    }
    let mut show = |key: &[u8], record| {
        visit(Candidate {
            key,
            value: &[],
            record,
        })
    };
    if is_crossed(start, end) {
        return;
    }
    if walk.revision != state.revision {
        past::walk(
            state,
            (start, end),
            walk.direction,
            walk.revision,
            |step| match step {
                Step::Record(record) => show(record.key(), Some(record)),
                Step::Absent(key) => show(key, None),
            },
        );
        return;
    }
    let mut live = state.live.range((start, end));
    loop {
        let next = match walk.direction {
            Direction::Ascending => live.next(),
            Direction::Descending => live.next_back(),
        };
        let Some((key, cell)) = next else { return };
        let record = RecordRef::new(key, VersionCell::alone(cell));
        if show(key, record).is_break() {
            return;
        }
    }
}

fn is_crossed(start: Bound<&[u8]>, end: Bound<&[u8]>) -> bool {
    match (start, end) {
        (Bound::Included(start) | Bound::Excluded(start), Bound::Included(end) | Bound::Excluded(end)) => {
            start > end
        }
        (Bound::Unbounded, _) | (_, Bound::Unbounded) => false,
    }
}

fn find<'a>(state: &'a State, access: &IndexAccess) -> Option<&'a Index> {
    let place = state
        .indexes
        .binary_search_by(|index| index.definition.name().cmp(access.name()));
    state.indexes.get(place.ok()?)
}

fn entries<'a>(
    state: &'a State,
    access: &IndexAccess,
    walk: Walk<'_>,
    mut visit: impl FnMut(Candidate<'a, '_>) -> ControlFlow<()>,
) -> Result<(), ViewError> {
    let index = find(state, access).ok_or(ViewError::IndexNotFound)?;
    // A record can be known in part by a value that is looked for: it comes once.
    let mut strays = BTreeSet::new();
    let mut is_over = false;
    walk_strays(state, index, access.strays, walk.revision, |key, record| {
        if !strays.insert(key.to_vec()) {
            return ControlFlow::Continue(());
        }
        let flow = visit(Candidate {
            key,
            value: &[],
            record: Some(record),
        });
        is_over = flow.is_break();
        flow
    })?;
    let after = walk.after.map(|(value, key)| {
        // Where keys decide, all entries have one value.
        let value = match access.spans.point() {
            Some(point) if value.is_empty() => point,
            Some(_) | None => value,
        };
        [value, key].concat()
    });
    let rest: Vec<_> = access
        .spans
        .iter()
        .filter_map(|span| rest_of(span, walk.direction, after.as_deref()))
        .collect();
    if is_over || rest.is_empty() {
        return Ok(());
    }
    walk_entries(
        state,
        index,
        &rest,
        walk.direction,
        walk.revision,
        |entry, record| {
            let key = record.key();
            if strays.contains(key) {
                return ControlFlow::Continue(());
            }
            let value = entry
                .get(..entry.len().saturating_sub(key.len()))
                .unwrap_or_default();
            visit(Candidate {
                key,
                value,
                record: Some(record),
            })
        },
    )
}

type Bounds<'s> = (Bound<&'s [u8]>, Bound<&'s [u8]>);

/// What of a span lies behind a place.
fn rest_of<'s>(
    (start, end): (&'s [u8], &'s [u8]),
    direction: Direction,
    after: Option<&'s [u8]>,
) -> Option<Bounds<'s>> {
    let bounds = match (direction, after) {
        (Direction::Ascending, Some(after)) if after >= start => {
            (Bound::Excluded(after), Bound::Excluded(end))
        }
        (Direction::Descending, Some(after)) if after < end => {
            (Bound::Included(start), Bound::Excluded(after))
        }
        (Direction::Ascending | Direction::Descending, _) => (Bound::Included(start), Bound::Excluded(end)),
    };
    (!is_crossed(bounds.0, bounds.1)).then_some(bounds)
}

fn walk_strays<'a>(
    state: &'a State,
    index: &'a Index,
    strays: Strays,
    revision: Revision,
    mut visit: impl FnMut(&[u8], RecordRef<'a>) -> ControlFlow<()>,
) -> Result<(), ViewError> {
    let start = strays.start();
    let bounds = (Bound::Included(&start[..]), Bound::Unbounded);
    walk_entries(
        state,
        index,
        &[bounds],
        Direction::Ascending,
        revision,
        |_, record| visit(record.key(), record),
    )
}
