//! The change log as watchers saw it, and the state at each revision that follows from it.
//!
//! The log must be sound in itself: a key changes at most once a revision (I3), each record
//! says truly when it came into being and how often it was written, what was replaced is what
//! was there.

use std::sync::Arc;

use concord_core::Record;
use concord_core::view::ChangeKind;

use super::watches::{Book, Event, State};

/// The state after each revision, where it is known, and the changes that made it.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// By revision.
    states: Vec<Option<Arc<State>>>,
    changes: Vec<Vec<Event>>,
}

impl Ledger {
    pub(crate) fn new(book: &Book) -> Result<Self, String> {
        let last_told = book.told.keys().next_back().map_or(1, |place| place.0);
        let last_state = book.states.keys().next_back().copied().unwrap_or(1);
        let last = usize::try_from(last_told.max(last_state)).expect("a short run");
        let mut changes = vec![Vec::new(); last + 1];
        for ((revision, _), event) in &book.told {
            changes[usize::try_from(*revision).expect("a short run")].push(event.clone());
        }
        // Nothing is before revision 1, at which the store is empty.
        let mut states = vec![None, Some(Arc::new(State::new()))];
        for revision in 2..=last {
            let number = revision as u64;
            let events = &changes[revision];
            let before = states[revision - 1].as_ref().filter(|_| !events.is_empty());
            let followed = match before {
                Some(before) => Some(follow(before, number, events)?),
                None => None,
            };
            let read = book.states.get(&number);
            if let (Some(followed), Some(read)) = (&followed, read)
                && followed != read
            {
                return Err(format!(
                    "I11: revision {number} was read as {read:?}, but changes made {followed:?}"
                ));
            }
            states.push(followed.or_else(|| read.cloned()).map(Arc::new));
        }
        Ok(Self { states, changes })
    }

    /// The last revision.
    pub(crate) fn last(&self) -> u64 {
        self.states.len() as u64 - 1
    }

    /// The state at a revision, if it is known.
    pub(crate) fn state(&self, revision: u64) -> Option<&State> {
        let revision = usize::try_from(revision).ok()?;
        self.states.get(revision)?.as_deref()
    }

    /// The changes of a revision, in order; none if they were compacted before anybody looked.
    pub(crate) fn changes(&self, revision: u64) -> &[Event] {
        let revision = usize::try_from(revision).unwrap_or(usize::MAX);
        self.changes.get(revision).map_or(&[], Vec::as_slice)
    }
}

/// What the changes of a revision make of the state before it.
fn follow(before: &State, revision: u64, events: &[Event]) -> Result<State, String> {
    let mut state = before.clone();
    for event in events {
        let wrong = |what: &str| Err(format!("I3: {what} at revision {revision}: {event:?}"));
        let current = before.get(&event.key);
        if state.get(&event.key) != current {
            return wrong("a key changed twice");
        }
        if event.previous.as_deref() != current.map(Arc::as_ref) {
            return wrong("another record was replaced than was there");
        }
        match (&event.record, event.kind) {
            (Some(record), ChangeKind::Put) => {
                if !is_lineage(record, current.map(Arc::as_ref), revision) {
                    return wrong("a record with a false history");
                }
                state.insert(event.key.clone(), Arc::clone(record));
            }
            (None, ChangeKind::Delete | ChangeKind::Expire) if current.is_some() => {
                state.remove(&event.key);
            }
            _ => return wrong("no such change can be"),
        }
    }
    Ok(state)
}

fn is_lineage(record: &Record, before: Option<&Record>, revision: u64) -> bool {
    // A transaction may remove a key and bring it back.
    let is_new = record.create_revision.get() == revision && record.version == 1;
    let goes_on = before.is_some_and(|before| {
        record.create_revision == before.create_revision && record.version == before.version + 1
    });
    record.mod_revision.get() == revision && (is_new || goes_on)
}
