//! What watchers see: every change once and in order, the same on every replica, whatever
//! becomes of the nodes in between (D-EVT-2, D-EVT-4).
//!
//! All that anybody was told is kept in one book. It is the change log against which the
//! requests are judged, and in the end each watcher's own account is compared with it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use concord_core::ids::Revision;
use concord_core::view::ChangeKind;
use concord_core::{Direction, KeyRange, ReadView, Record, ViewError};

/// Where a change stands: its revision, and its order within it.
pub(crate) type Place = (u64, u32);

/// The live records at a revision.
pub(crate) type State = BTreeMap<Vec<u8>, Arc<Record>>;

/// A change as a watcher sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) kind: ChangeKind,
    pub(crate) key: Vec<u8>,
    pub(crate) record: Option<Arc<Record>>,
    pub(crate) previous: Option<Arc<Record>>,
}

/// Somebody who watches: what outlives the nodes that are asked.
#[derive(Clone, Debug)]
struct Watcher {
    prefix: Vec<u8>,
    /// Stands behind this change.
    at: Place,
    /// What concerned it, as it came.
    got: Vec<Place>,
    /// From where to which revision it had to jump because history was compacted.
    jumps: Vec<(Place, u64)>,
}

/// All that is known of the changes.
#[derive(Debug, Default)]
pub(crate) struct Book {
    /// All events that anybody saw.
    pub(crate) told: BTreeMap<Place, Event>,
    /// Whole states that were read where changes were compacted.
    pub(crate) states: BTreeMap<u64, State>,
    /// The earliest replicated time at which a revision was seen.
    pub(crate) clock: BTreeMap<u64, u64>,
    /// The revisions that somebody asked to compact.
    compactions: BTreeSet<u64>,
    watchers: BTreeMap<String, Watcher>,
    /// Events that a watcher saw after another one had.
    pub(crate) compared: u64,
    /// Watchers that were told that what they want is compacted.
    pub(crate) jumps: u64,
    /// Backups are restored, each of which compacts what was before it.
    pub(crate) has_restores: bool,
    /// Nobody rests any more: it is to be seen that everybody arrives.
    pub(crate) hurry: bool,
    /// What a watcher found wrong while nobody asked.
    violation: Option<String>,
}

/// The book of a run, shared by all watchers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Watches(Arc<Mutex<Book>>);

impl Watches {
    pub(crate) fn with<T>(&self, act: impl FnOnce(&mut Book) -> T) -> T {
        act(&mut self.0.lock().expect("nobody panics while holding the book"))
    }

    /// Somebody is about to ask for this.
    pub(crate) fn compaction_asked(&self, revision: u64) {
        self.with(|book| book.compactions.insert(revision));
    }

    /// A watcher of a seat, who goes on where it was when the node comes back, and one who
    /// asks whichever node is looked at, read on.
    pub(crate) fn look(&self, seat: usize, view: &ReadView) -> Result<(), String> {
        self.with(|book| {
            if let Some(violation) = book.violation.take() {
                return Err(violation);
            }
            book.read(&format!("of node {seat}"), b"", view, usize::MAX)?;
            book.read("who roams", b"", view, usize::MAX)?;
            Ok(())
        })
    }

    /// A watcher of keys that begin with `prefix` reads on, at most `page` changes, and stops
    /// anywhere. Says whether there is more.
    pub(crate) fn read(&self, who: &str, prefix: &[u8], view: &ReadView, page: usize) -> bool {
        self.with(|book| match book.read(who, prefix, view, page) {
            Ok(more) => more,
            Err(violation) => {
                book.violation.get_or_insert(violation);
                false
            }
        })
    }

    /// Whether the watchers of a seat have seen everything up to `revision`.
    pub(crate) fn have_reached(&self, seat: usize, revision: Revision) -> bool {
        let of_seat = format!("of node {seat}");
        self.with(|book| {
            let mut watchers = book.watchers.iter().filter(|(who, _)| who.starts_with(&of_seat));
            watchers.all(|(_, watcher)| watcher.at.0 >= revision.get())
        })
    }

    /// Compares what each watcher got with all that there was.
    pub(crate) fn check(&self) -> Result<(), String> {
        self.with(|book| {
            if let Some(violation) = book.violation.take() {
                return Err(violation);
            }
            book.watchers
                .iter()
                .try_for_each(|(who, watcher)| book.check_account(who, watcher))
        })
    }
}

impl Book {
    fn read(&mut self, who: &str, prefix: &[u8], view: &ReadView, page: usize) -> Result<bool, String> {
        let (revision, now) = (view.revision().get(), view.now().get());
        let earliest = self.clock.entry(revision).or_insert(now);
        *earliest = now.min(*earliest);
        let mut watcher = self.watchers.remove(who).unwrap_or_else(|| Watcher {
            prefix: prefix.to_vec(),
            at: (Revision::EMPTY.get(), u32::MAX),
            got: Vec::new(),
            jumps: Vec::new(),
        });
        let more = self.read_on(who, &mut watcher, view, page);
        self.watchers.insert(who.to_owned(), watcher);
        more
    }

    fn read_on(
        &mut self,
        who: &str,
        watcher: &mut Watcher,
        view: &ReadView,
        page: usize,
    ) -> Result<bool, String> {
        let (revision, order) = watcher.at;
        if revision > view.revision().get() || watcher.at == (view.revision().get(), u32::MAX) {
            return Ok(false);
        }
        let revision = Revision::new(revision);
        let changes = if order == u32::MAX {
            view.changes(revision)
        } else {
            view.changes_within(revision, order)
        };
        let changes = match changes {
            Ok(changes) => changes,
            // It is told, and begins again there.
            Err(ViewError::Compacted { compact_revision }) => {
                self.jump(who, watcher, compact_revision, view)?;
                return Ok(true);
            }
            Err(error) => return Err(format!("the watcher {who} cannot read: {error}")),
        };
        for (number, change) in changes.enumerate() {
            if number == page {
                return Ok(true);
            }
            let place = (change.revision().get(), change.order());
            // Each revision has a change, and the first of each has order 0.
            let follows = watcher.at.1.checked_add(1).map(|order| (watcher.at.0, order));
            if Some(place) != follows && place != (watcher.at.0 + 1, 0) {
                return Err(format!(
                    "D-EVT-4: the watcher {who} got {place:?} after {:?}",
                    watcher.at
                ));
            }
            watcher.at = place;
            if change.key().starts_with(&watcher.prefix) {
                watcher.got.push(place);
            }
            let event = Event {
                kind: change.kind(),
                key: change.key().to_vec(),
                record: change
                    .record()
                    .map(|record| Arc::new(record.to_record().expect("no value is damaged here"))),
                previous: change
                    .previous()
                    .map(|record| Arc::new(record.to_record().expect("no value is damaged here"))),
            };
            self.note(who, place, event)?;
        }
        if watcher.at.0 != view.revision().get() {
            return Err(format!(
                "D-EVT-4: the watcher {who} got nothing between {:?} and {}",
                watcher.at,
                view.revision()
            ));
        }
        watcher.at.1 = u32::MAX;
        Ok(false)
    }

    fn note(&mut self, who: &str, place: Place, event: Event) -> Result<(), String> {
        match self.told.get(&place) {
            None => {
                self.told.insert(place, event);
            }
            Some(known) if *known == event => self.compared += 1,
            Some(known) => {
                return Err(format!(
                    "D-EVT-2: the watcher {who} got {event:?} at {place:?}, another {known:?}"
                ));
            }
        }
        Ok(())
    }

    /// A watcher was told that it is behind compaction: it takes the state of that revision,
    /// and goes on behind it.
    fn jump(
        &mut self,
        who: &str,
        watcher: &mut Watcher,
        compacted: Revision,
        view: &ReadView,
    ) -> Result<(), String> {
        let is_behind = watcher.at < (compacted.get(), u32::MAX);
        if !is_behind || !(self.has_restores || self.compactions.contains(&compacted.get())) {
            return Err(format!(
                "D-EVT-4: the watcher {who} at {:?} was told of a compaction of {compacted}, which nobody asked for",
                watcher.at
            ));
        }
        let all = KeyRange::all();
        let mut state = State::new();
        for record in view.records(&all, Direction::Ascending) {
            state.insert(
                record.key().to_vec(),
                Arc::new(record.to_record().expect("no value is damaged here")),
            );
        }
        self.states.entry(view.revision().get()).or_insert(state);
        self.jumps += 1;
        watcher.jumps.push((watcher.at, compacted.get()));
        watcher.at = (compacted.get(), u32::MAX);
        Ok(())
    }

    /// Lets a watcher forget its last event, to see that it is found out.
    pub(crate) fn spoil(&mut self, who: &str) {
        let watcher = self.watchers.get_mut(who).expect("a watcher");
        watcher.got.pop();
    }

    /// Exactly once and in order, whatever part of it was not jumped over.
    fn check_account(&self, who: &str, watcher: &Watcher) -> Result<(), String> {
        let jumped = |place: &Place| {
            let within = |(from, to): &(Place, u64)| place > from && place.0 <= *to;
            watcher.jumps.iter().any(within)
        };
        let concerns = |(place, event): &(&Place, &Event)| {
            event.key.starts_with(&watcher.prefix) && **place <= watcher.at && !jumped(place)
        };
        let expected = self.told.iter().filter(concerns).map(|(place, _)| place);
        if let Some((got, expected)) = watcher
            .got
            .iter()
            .map(Some)
            .chain(std::iter::repeat(None))
            .zip(expected.map(Some).chain([None]))
            .find(|(got, expected)| got != expected)
        {
            return Err(format!(
                "D-EVT-4: the watcher {who} got {got:?} where {expected:?} was to come"
            ));
        }
        Ok(())
    }
}
