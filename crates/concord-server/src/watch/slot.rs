//! What the routing task and one watcher share.

use std::cmp::Ordering;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::Waker;
use std::time::Duration;

use std::sync::Arc;

use concord_core::ids::Revision;
use concord_query::watch::{Filter, Position};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::crowd::Crowd;

/// One watcher as the node sees it.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) id: u64,
    pub(super) filter: Filter,
    /// It and the other watchers of the same filter.
    pub(super) crowd: Arc<Crowd>,
    opened_at: Instant,
    mark: Mutex<Mark>,
    events: AtomicU64,
    bytes: AtomicU64,
    /// The revision up to which everything was handed out.
    delivered: AtomicU64,
}

/// What waits for a watcher. Revisions begin at 1, so 0 stands for none.
#[derive(Debug, Default)]
struct Mark {
    /// The first revision that has something for it.
    first: Revision,
    /// The last one.
    last: Revision,
    /// Whether it was marked since it was last woken.
    is_fresh: bool,
    is_closed: bool,
    waker: Option<Waker>,
}

/// What there is for a watcher up to some revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// Changes between these revisions, both included, and none outside of them.
    Between(Revision, Revision),
    /// Nothing. The waker is kept.
    Nothing,
    /// The node stops.
    Closed,
}

const NONE: Revision = Revision::new(0);

impl Slot {
    pub(super) fn new(id: u64, filter: Filter, crowd: Arc<Crowd>) -> Self {
        Self {
            id,
            filter,
            crowd,
            opened_at: Instant::now(),
            mark: Mutex::default(),
            events: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            delivered: AtomicU64::new(0),
        }
    }

    /// Notes that there is something from `first` to `last`. Says whether the watcher has
    /// to be woken and was not noted for that yet.
    pub(super) fn mark(&self, first: Revision, last: Revision) -> bool {
        let mut mark = self.mark.lock();
        if mark.first == NONE {
            mark.first = first;
        }
        mark.last = mark.last.max(last);
        !std::mem::replace(&mut mark.is_fresh, true)
    }

    /// What there is up to `routed`, a revision of which every change was marked before.
    pub(super) fn take(&self, routed: Revision, waker: &Waker) -> Due {
        let mut mark = self.mark.lock();
        if mark.is_closed {
            return Due::Closed;
        }
        if mark.first == NONE || mark.first > routed {
            match &mut mark.waker {
                Some(kept) => kept.clone_from(waker),
                kept => *kept = Some(waker.clone()),
            }
            return Due::Nothing;
        }
        let due = Due::Between(mark.first, mark.last.min(routed));
        // What was marked behind `routed` lies somewhere up to `last`.
        mark.first = if mark.last > routed { routed.next() } else { NONE };
        due
    }

    /// Wakes the watcher to look at what was marked.
    pub(super) fn wake(&self) {
        let mut mark = self.mark.lock();
        mark.is_fresh = false;
        let waker = mark.waker.take();
        drop(mark);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    pub(super) fn close(&self) {
        self.mark.lock().is_closed = true;
        self.wake();
    }

    pub(super) fn count(&self, events: usize, bytes: usize) {
        let add = |counter: &AtomicU64, count| counter.fetch_add(u64::try_from(count).unwrap_or(0), Relaxed);
        add(&self.events, events);
        add(&self.bytes, bytes);
    }

    pub(super) fn delivered(&self, position: Position) {
        // Within a revision: that one is not complete.
        let complete = position.next_revision().get().saturating_sub(1);
        self.delivered.store(complete, Relaxed);
    }

    pub(super) fn status(&self, routed: Revision) -> WatcherStatus {
        let (first, delivered) = (
            self.mark.lock().first,
            Revision::new(self.delivered.load(Relaxed)),
        );
        let is_behind = first != NONE && first <= routed;
        WatcherStatus {
            id: self.id,
            selector: self.filter.selector.to_string(),
            open_for: self.opened_at.elapsed(),
            events: self.events.load(Relaxed),
            bytes: self.bytes.load(Relaxed),
            // Nothing waits for it, so it has come as far as everybody.
            revision: if is_behind {
                delivered
            } else {
                delivered.max(routed)
            },
            lag: if is_behind {
                routed.get().saturating_sub(delivered.get())
            } else {
                0
            },
        }
    }
}

impl PartialEq for Slot {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Eq for Slot {}

impl PartialOrd for Slot {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Slot {
    fn cmp(&self, other: &Self) -> Ordering {
        self.id.cmp(&other.id)
    }
}

/// One watcher of a node, for operators.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WatcherStatus {
    /// Its number on this node, while it is open.
    pub id: u64,
    /// What it watches, in words.
    pub selector: String,
    /// For how long.
    pub open_for: Duration,
    /// Events that it was given.
    pub events: u64,
    /// Bytes of their keys and values.
    pub bytes: u64,
    /// It was given everything up to this revision.
    pub revision: Revision,
    /// Revisions that it is behind, if something waits for it.
    pub lag: u64,
}
