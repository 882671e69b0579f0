//! The changes that a watcher is due, read from a view.

use concord_core::ids::Revision;
use concord_core::key::Key;
use concord_core::record::Record;
use concord_core::view::{Change, ChangeKind, Changes, KeyFilter, ReadView, ViewError};

use super::filter::Filter;
use super::position::Position;
use crate::limits::STEPS_A_VISIT;

/// One change of one key, with its records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchEvent {
    /// What happened.
    pub kind: ChangeKind,
    /// To which key.
    pub key: Key,
    /// The revision that it belongs to.
    pub revision: Revision,
    /// The record that was written; none if the key was removed.
    pub record: Option<Record>,
    /// The record that was there before, if that was asked for and there was one.
    pub previous: Option<Record>,
}

/// Changes of one revision, in the order of their application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchBatch {
    /// All of them belong to it.
    pub revision: Revision,
    /// Those that the filter lets through. None at all: a progress notification.
    pub events: Vec<WatchEvent>,
    /// Where to go on behind this batch. Within the revision only if it has more changes
    /// than fit on a page: then the rest comes in the next batch.
    pub position: Position,
}

impl WatchBatch {
    /// Whether nothing more of this revision follows.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        self.position.order().is_none()
    }

    /// Whether it only says how far the watcher has come.
    #[must_use]
    pub const fn is_progress(&self) -> bool {
        self.events.is_empty()
    }
}

/// How much one page may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageLimits {
    /// Events, at least 1.
    pub events: usize,
    /// Bytes of keys and values. The event that reaches it is the last, so that any event fits.
    pub bytes: usize,
    /// Changes looked at, matching or not; each [`STEPS_A_VISIT`] steps of a filter are one more.
    pub visits: usize,
}

/// What one reading found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// One batch a revision, in order.
    pub batches: Vec<WatchBatch>,
    /// Everything up to here was looked at.
    pub position: Position,
    /// Bytes of keys and values on the page.
    pub bytes: usize,
}

/// Reads the changes behind `after`, up to and including revision `upto`, that pass `filter`.
///
/// # Errors
///
/// [`ViewError::Compacted`] if changes behind `after` are forgotten, [`ViewError::Corrupt`] if a
/// value is damaged.
pub fn read(
    view: &ReadView,
    filter: &Filter,
    with_previous: bool,
    after: Position,
    upto: Revision,
    limits: PageLimits,
) -> Result<Page, ViewError> {
    read_shown(view, filter, None, with_previous, (after, upto), limits)
}

/// As [`read`], of the keys that `shown` shows; reads behind and up to `span`.
///
/// # Errors
///
/// As [`read`].
pub fn read_shown(
    view: &ReadView,
    filter: &Filter,
    shown: Option<&dyn KeyFilter>,
    with_previous: bool,
    span: (Position, Revision),
    limits: PageLimits,
) -> Result<Page, ViewError> {
    let (after, upto) = span;
    // I16: a page never shows more than the view it is read from.
    let upto = upto.min(view.revision());
    let mut page = Page {
        batches: Vec::new(),
        position: after,
        bytes: 0,
    };
    if after.next_revision() > upto {
        return Ok(page);
    }
    let (mut visits, mut events) = (0_usize, 0_usize);
    for change in open(view, after)? {
        if change.revision() > upto {
            break;
        }
        if events >= limits.events || page.bytes >= limits.bytes || visits >= limits.visits {
            settle(&mut page, change.revision());
            return Ok(page);
        }
        let mut work = 0;
        let is_shown = shown.is_none_or(|shown| shown.shows(change.key()));
        let admits = is_shown && filter.admits(&change, &mut work);
        // A costly filter looks at fewer changes before others get their turn.
        let more = usize::try_from(work / STEPS_A_VISIT).unwrap_or(usize::MAX);
        visits = visits.saturating_add(1).saturating_add(more);
        page.position = Position::within(change.revision(), change.order());
        if admits {
            events = events.saturating_add(1);
            let event = event(&change, with_previous)?;
            page.bytes = page.bytes.saturating_add(size_bytes(&event));
            push(&mut page, event);
        }
    }
    page.position = Position::behind(upto);
    if let Some(last) = page.batches.last_mut() {
        last.position = Position::behind(last.revision);
    }
    Ok(page)
}

/// That everything behind `after` can still be told from `view`.
///
/// # Errors
///
/// [`ViewError::Compacted`] if not.
pub fn check(view: &ReadView, after: Position) -> Result<(), ViewError> {
    open(view, after).map(drop)
}

fn open(view: &ReadView, after: Position) -> Result<Changes<'_>, ViewError> {
    match after.order() {
        None => view.changes(after.revision()),
        Some(order) => view.changes_within(after.revision(), order),
    }
}

/// The page is full and the next change is of revision `next`: whether the last one is complete.
fn settle(page: &mut Page, next: Revision) {
    if page.position.revision() < next {
        page.position = Position::before(next);
    }
    let reached = page.position;
    if let Some(last) = page.batches.last_mut() {
        last.position = reached.min(Position::behind(last.revision));
    }
}

fn push(page: &mut Page, event: WatchEvent) {
    let revision = event.revision;
    if let Some(last) = page.batches.last_mut() {
        if last.revision == revision {
            last.events.push(event);
            return;
        }
        last.position = Position::behind(last.revision);
    }
    page.batches.push(WatchBatch {
        revision,
        events: vec![event],
        position: page.position,
    });
}

fn event(change: &Change<'_>, with_previous: bool) -> Result<WatchEvent, ViewError> {
    // A change stands in the log with its key and both records: nothing is guessed (D-EVT-1).
    let record = change.record().map(|record| record.to_record()).transpose()?;
    Ok(WatchEvent {
        kind: change.kind(),
        // One copy of the key for both.
        key: record
            .as_ref()
            .map_or_else(|| change.to_key(), |record| record.key.clone()),
        revision: change.revision(),
        record,
        previous: with_previous
            .then(|| change.previous())
            .flatten()
            .map(|record| record.to_record())
            .transpose()?,
    })
}

fn size_bytes(event: &WatchEvent) -> usize {
    let value = |record: &Option<Record>| record.as_ref().map_or(0, |record| record.value.bytes().len());
    event
        .key
        .as_bytes()
        .len()
        .saturating_add(value(&event.record))
        .saturating_add(value(&event.previous))
}
