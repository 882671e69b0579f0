//! Looks after a node for traces and events: what consensus does, and what happens without a request.

use concord_core::ids::{NodeId, Revision};
use concord_core::view::{ChangeKind, ReadView};
use concord_raft::{AppliedEntry, Observer, SnapshotTaken, Standing, Views};
use tokio::time::{MissedTickBehavior, interval};

use super::{Event, Telemetry};
use crate::concord::WeakConcord;
use crate::limits;
use crate::trace::Traces;

/// What the node of consensus tells.
#[derive(Debug)]
pub(crate) struct Watchman {
    pub(crate) node_id: NodeId,
    pub(crate) traces: Traces,
    pub(crate) telemetry: Telemetry,
}

impl Observer for Watchman {
    fn entry(&self, entry: &AppliedEntry) {
        self.traces.entry_applied(self.node_id, entry);
        self.telemetry.tell(|| Event::Applied {
            index: entry.index,
            term: entry.term,
            requests: entry.requests,
            is_own: entry.is_own,
            duration: entry.applied.end.saturating_duration_since(entry.applied.start),
        });
    }

    fn snapshot(&self, snapshot: &SnapshotTaken) {
        let SnapshotTaken {
            index,
            file_bytes,
            took,
        } = *snapshot;
        self.telemetry.tell(|| match took {
            Some(duration) => Event::SnapshotCreated {
                index,
                file_bytes,
                duration,
            },
            None => Event::SnapshotInstalled { index, file_bytes },
        });
    }

    fn standing(&self, standing: Standing) {
        let Standing { role, term, leader } = standing;
        self.telemetry.tell(|| Event::Standing { role, term, leader });
    }
}

/// Tells what happens without a request: keys that run out, and how the node is, until it is gone.
pub(crate) async fn watch_state(concord: WeakConcord, mut views: Views<ReadView>, telemetry: Telemetry) {
    let mut ticks = interval(limits::TELEMETRY_STATUS_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut told = views.load().view.revision();
    loop {
        let is_tick = tokio::select! {
            biased; // the rarer one first, or it might never come
            _ = ticks.tick() => true,
            goes_on = views.changed() => match goes_on {
                true => false,
                false => return,
            },
        };
        if is_tick {
            let Some(concord) = concord.upgrade() else { return };
            telemetry.tell(|| status(&concord));
        }
        told = expired(&views.load().view, told, &telemetry);
    }
}

/// Tells of keys that ran out behind a revision. Says up to which it has looked.
fn expired(view: &ReadView, told: Revision, telemetry: &Telemetry) -> Revision {
    let latest = view.revision();
    // What was compacted in the meantime, nobody can tell any more.
    let Ok(changes) = view.changes(told) else {
        return latest;
    };
    let mut found: Option<(Revision, usize)> = None;
    let tell = |found: Option<(Revision, usize)>| {
        if let Some((revision, keys)) = found {
            telemetry.tell(|| Event::Expired { revision, keys });
        }
    };
    for change in changes {
        if change.kind() != ChangeKind::Expire {
            continue;
        }
        found = match found {
            Some((revision, keys)) if revision == change.revision() => {
                Some((revision, keys.saturating_add(1)))
            }
            Some(_) | None => {
                tell(found);
                Some((change.revision(), 1))
            }
        };
    }
    tell(found);
    latest
}

fn status(concord: &crate::Concord) -> Event {
    let service = concord.service();
    let status = service.node().status();
    let published = service.node().published();
    let usage = published.view.statistics().usage;
    Event::Status {
        role: status.role,
        term: status.term,
        members: status.members.len(),
        commit_index: status.commit_index,
        applied_index: status.applied_index,
        revision: published.view.revision(),
        keys: usage.keys,
        stored_bytes: usage.bytes,
        watches: service.count_watches(),
    }
}
