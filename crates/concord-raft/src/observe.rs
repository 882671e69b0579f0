//! What a node tells while it works, to whoever watches over it: for traces and for programs that embed it.
//!
//! ```text
//!   log takes entries ──> times by index ──┐
//!   log has synced    ──> times by index ──┤
//!   entry is applied, its view is shown ───┴──> Observer::entry
//! ```
//!
//! Without an observer nothing is noted. With one, the figures of an entry are put together where it is applied, so that
//! its bytes are read once. Nothing is told of entries that a start replays.

use std::fmt::Debug;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use concord_core::batch::Batch;
use concord_core::ids::{LogIndex, NodeId, Term};
use concord_core::machine::Machine;
use concord_core::trace::TraceContext;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::status::Role;
use crate::types::{Entry, LogId};

/// Entries whose times are remembered: more than can be between the log and apply.
const REMEMBERED: usize = 1_024;

/// Watches over a node. Called from its tasks: it must neither wait nor panic.
pub trait Observer: Debug + Send + Sync + 'static {
    /// A batch was applied, and its view is shown.
    fn entry(&self, entry: &AppliedEntry);

    /// A snapshot is on disk.
    fn snapshot(&self, snapshot: &SnapshotTaken);

    /// The node has another role, term or leader.
    fn standing(&self, standing: Standing);
}

/// An entry that was applied.
#[derive(Clone, Debug)]
pub struct AppliedEntry {
    /// Where it is in the log.
    pub index: LogIndex,
    /// The term that it was proposed in.
    pub term: Term,
    /// Whether this node led and proposed it.
    pub is_own: bool,
    /// Requests in it.
    pub requests: usize,
    /// Those of them that say of which trace they are.
    pub traced: Vec<TraceContext>,
    /// When the log took it, and had it on disk; `None` if that was before this start, or too long ago.
    pub logged: Option<Range<Instant>>,
    /// From its turn until its view was shown.
    pub applied: Range<Instant>,
}

/// A snapshot that a node has.
#[derive(Clone, Debug)]
pub struct SnapshotTaken {
    /// The last entry in it.
    pub index: LogIndex,
    /// Its size on disk.
    pub file_bytes: u64,
    /// How long it took to write; `None`: it came from the leader.
    pub took: Option<Duration>,
}

/// A node's place in its cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// What it is.
    pub role: Role,
    /// The term that it knows.
    pub term: Term,
    /// Who leads, if that is known.
    pub leader: Option<NodeId>,
}

/// An observer with what is remembered for it.
#[derive(Debug)]
pub(crate) struct Watching {
    pub(crate) observer: Arc<dyn Observer>,
    times: Mutex<Vec<Times>>,
    standing: Mutex<Option<Standing>>,
}

#[derive(Clone, Copy, Debug)]
struct Times {
    index: u64,
    taken: Instant,
    synced: Option<Instant>,
}

impl Watching {
    pub(crate) fn new(observer: Arc<dyn Observer>) -> Self {
        Self {
            observer,
            times: Mutex::default(),
            standing: Mutex::default(),
        }
    }

    /// Tells where the node stands, if that is new.
    pub(crate) fn standing(&self, now: Standing) {
        if self.standing.lock().replace(now) != Some(now) {
            self.observer.standing(now);
        }
    }

    /// The log takes these. Gives what to say when they are on disk.
    pub(crate) fn taken(&self, entries: &[Entry]) -> Range<u64> {
        let (Some(first), Some(last)) = (entries.first(), entries.last()) else {
            return 0..0;
        };
        let taken = Instant::now();
        let range = first.log_id.index..last.log_id.index.saturating_add(1);
        let mut times = self.times.lock();
        for index in range.clone() {
            let now = Times {
                index,
                taken,
                synced: None,
            };
            let at = place(index);
            match times.get_mut(at) {
                Some(slot) => *slot = now,
                // The ring fills as indexes come; what is skipped is never asked for.
                None => times.resize(at.saturating_add(1), now),
            }
        }
        range
    }

    /// These are on disk.
    pub(crate) fn synced(&self, range: Range<u64>) {
        let synced = Instant::now();
        let mut times = self.times.lock();
        for index in range {
            if let Some(slot) = times.get_mut(place(index)).filter(|slot| slot.index == index) {
                slot.synced = Some(synced);
            }
        }
    }

    fn logged(&self, index: u64) -> Option<Range<Instant>> {
        let times = self.times.lock();
        let slot = times.get(place(index)).filter(|slot| slot.index == index)?;
        // A leader may apply what the others have on disk before it has it there itself.
        Some(slot.taken..slot.synced.unwrap_or_else(Instant::now))
    }

    /// What is known of an entry that is about to be applied.
    pub(crate) fn entry<M: Machine>(&self, log_id: LogId, batch: &Batch, is_own: bool) -> AppliedEntry {
        let requests = || batch.groups.iter().flat_map(|group| &group.requests);
        let traced: Vec<TraceContext> = requests().filter_map(M::trace_of).collect();
        let began = Instant::now();
        AppliedEntry {
            index: LogIndex::new(log_id.index),
            term: Term::new(log_id.leader_id.term),
            is_own,
            requests: requests().count(),
            logged: if traced.is_empty() {
                None
            } else {
                self.logged(log_id.index)
            },
            traced,
            applied: began..began,
        }
    }
}

fn place(index: u64) -> usize {
    usize::try_from(index).unwrap_or_default() % REMEMBERED
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{Payload, log_id};

    #[derive(Debug)]
    struct Nobody;

    impl Observer for Nobody {
        fn entry(&self, _: &AppliedEntry) {}
        fn snapshot(&self, _: &SnapshotTaken) {}
        fn standing(&self, _: Standing) {}
    }

    fn entries(indexes: Range<u64>) -> Vec<Entry> {
        indexes
            .map(|index| Entry {
                log_id: log_id(1, index),
                payload: Payload::Blank,
            })
            .collect()
    }

    #[tokio::test(start_paused = true)]
    async fn the_times_of_an_entry_are_its_own() {
        let watching = Watching::new(Arc::new(Nobody));
        let began = Instant::now();
        let range = watching.taken(&entries(5..8));
        assert_eq!(range, 5..8);
        tokio::time::advance(Duration::from_millis(3)).await;
        watching.synced(5..7);
        tokio::time::advance(Duration::from_millis(4)).await;
        let took = |index| watching.logged(index).map(|times| times.end - times.start);
        assert_eq!(watching.logged(5).map(|times| times.start), Some(began));
        assert_eq!(took(6), Some(Duration::from_millis(3)));
        assert_eq!(took(7), Some(Duration::from_millis(7)), "not on disk yet");
        assert_eq!(took(8), None);
        assert_eq!(took(3), None, "skipped, and never taken");
    }

    #[tokio::test(start_paused = true)]
    async fn only_so_many_times_are_remembered() {
        let watching = Watching::new(Arc::new(Nobody));
        let many = REMEMBERED as u64 * 3;
        watching.taken(&entries(1..many));
        assert_eq!(watching.times.lock().len(), REMEMBERED);
        assert!(watching.logged(1).is_none());
        assert!(watching.logged(many - 1).is_some());
        // What was overwritten is not taken for the entry that took its place.
        watching.synced(1..2);
        assert_eq!(watching.taken(&[]), 0..0);
    }
}
