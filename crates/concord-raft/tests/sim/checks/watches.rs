//! What watchers see: every change once and in order, the same on every replica, whatever
//! becomes of the nodes in between.

use std::collections::BTreeMap;

use concord_core::ids::Revision;
use concord_core::view::ChangeKind;
use concord_core::{ReadView, ViewError};

use crate::trace;

/// Where a change stands: its revision, and its order within it.
type Place = (u64, u32);

/// What a change is: its kind, its key, and its records before and after, as a number.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Event {
    kind: ChangeKind,
    key: Vec<u8>,
    records: u64,
}

/// One watcher of each seat, who goes on where it was when the node comes back, and one who
/// asks whichever node is looked at.
#[derive(Debug, Default)]
pub(crate) struct Watches {
    /// All events that anybody saw.
    told: BTreeMap<Place, Event>,
    seats: BTreeMap<usize, Revision>,
    roaming: Revision,
    /// Events that a watcher saw after another one had.
    pub(crate) compared: u64,
}

impl Watches {
    /// The watchers of a node read on in its view.
    pub(crate) fn look(&mut self, seat: usize, view: &ReadView) -> Result<(), String> {
        let after = self.seats.get(&seat).copied().unwrap_or(Revision::EMPTY);
        let reached = self.read(&format!("of node {seat}"), after, view)?;
        self.seats.insert(seat, reached);
        let after = self.roaming.max(Revision::EMPTY);
        self.roaming = self.read("who roams", after, view)?;
        Ok(())
    }

    /// Reads what is behind `after`, and says how far it came.
    fn read(&mut self, who: &str, after: Revision, view: &ReadView) -> Result<Revision, String> {
        if after >= view.revision() {
            return Ok(after);
        }
        let changes = match view.changes(after) {
            Ok(changes) => changes,
            // It is told, and begins again there.
            Err(ViewError::Compacted { compact_revision }) => return Ok(compact_revision),
            Err(error) => return Err(format!("the watcher {who} cannot read: {error}")),
        };
        let mut expected = (after.get(), u32::MAX);
        for change in changes {
            let place = (change.revision().get(), change.order());
            // Each revision has a change, and the first of each has order 0.
            let follows = expected.1.checked_add(1).map(|order| (expected.0, order));
            let is_next = Some(place) == follows || place == (expected.0 + 1, 0);
            if !is_next {
                return Err(format!(
                    "D-EVT-4: the watcher {who} got {place:?} after {expected:?}"
                ));
            }
            expected = place;
            let event = Event {
                kind: change.kind(),
                key: change.key().to_vec(),
                records: records(&change),
            };
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
        }
        let reached = (view.revision().get(), u32::MAX);
        let missed = self.told.range(expected..reached).nth(1);
        if expected.0 != view.revision().get() || missed.is_some() {
            return Err(format!(
                "D-EVT-4: the watcher {who} got nothing between {expected:?} and {}, where {missed:?} was",
                view.revision()
            ));
        }
        Ok(view.revision())
    }
}

fn records(change: &concord_core::Change<'_>) -> u64 {
    [change.previous(), change.record()]
        .iter()
        .fold(trace::START, |hash, record| match record {
            None => trace::mix(hash, b"none"),
            Some(record) => {
                let hash = trace::mix(hash, &record.mod_revision().get().to_be_bytes());
                trace::mix(hash, record.value())
            }
        })
}
