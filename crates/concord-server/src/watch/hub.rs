//! The routing task, and the list of watchers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use concord_core::ids::Revision;
use concord_core::view::ReadView;
use concord_query::watch::{Filter, Position, Router};
use concord_raft::{StopReason, Views};
use parking_lot::Mutex;
use tokio::sync::watch;

use super::crowd::{Crowds, Pages};
use super::slot::{Slot, WatcherStatus};
use crate::error::{Error, ErrorKind};
use crate::limits;
use crate::telemetry::{Event, Telemetry};

/// The watchers of one node. The last handle closes it.
#[derive(Debug)]
pub(crate) struct Hub {
    shared: Arc<Shared>,
}

/// What the routing task and the watchers hold on to.
#[derive(Debug)]
pub(super) struct Shared {
    views: Views<ReadView>,
    /// Why the node has stopped, once it has.
    stopped: watch::Receiver<Option<StopReason>>,
    /// The revision up to which every change has been marked with those it concerns. Written
    /// behind the marks, so that who reads it first finds every mark up to it.
    routed: AtomicU64,
    registry: Mutex<Registry>,
    pages: Pages,
    watchers_max: usize,
    telemetry: Telemetry,
}

#[derive(Debug, Default)]
struct Registry {
    router: Router<Arc<Slot>>,
    slots: BTreeMap<u64, Arc<Slot>>,
    crowds: Crowds,
    next_id: u64,
    is_routing: bool,
    is_closed: bool,
    /// The policy that every watcher was last woken for.
    policy_revision: u64,
}

impl Hub {
    pub(crate) fn new(
        views: Views<ReadView>,
        stopped: watch::Receiver<Option<StopReason>>,
        watchers_max: usize,
        telemetry: Telemetry,
    ) -> Self {
        let shared = Shared {
            views,
            stopped,
            routed: AtomicU64::new(0),
            registry: Mutex::default(),
            pages: Pages::default(),
            watchers_max,
            telemetry,
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Adds a watcher of everything behind `after`. Must be called inside a tokio runtime.
    pub(super) fn open(&self, filter: Filter, after: Position) -> Result<Registration, Error> {
        let mut registry = self.shared.registry.lock();
        if registry.is_closed {
            return Err(self.shared.reason());
        }
        let limit = self.shared.watchers_max;
        if registry.slots.len() >= limit {
            let message = format!("{limit} watches are open on this node, which is the limit");
            let limit = u64::try_from(limit).unwrap_or(u64::MAX);
            return Err(Error::new(ErrorKind::Overloaded, message).with("limit", limit));
        }
        if !registry.is_routing {
            // What was before nobody waits for: watchers look back into history themselves.
            let latest = self.shared.views.load().view.revision();
            self.shared.routed.store(latest.get(), Ordering::Release);
            registry.is_routing = true;
            tokio::spawn(route(Arc::clone(&self.shared)));
        }
        registry.next_id = registry.next_id.saturating_add(1);
        let crowd = registry.crowds.join(&filter);
        let slot = Arc::new(Slot::new(registry.next_id, filter, crowd));
        // Up to here changes were marked before this watcher was there. Nothing is routed
        // meanwhile, since that needs the lock.
        let routed = self.shared.routed();
        if after.next_revision() <= routed {
            slot.mark(after.next_revision(), routed);
            // It looks by itself at first; marks from here on are to wake it.
            slot.wake();
        }
        slot.delivered(after);
        registry.router.insert(Arc::clone(&slot), &slot.filter);
        registry.slots.insert(slot.id, Arc::clone(&slot));
        self.shared.telemetry.tell(|| Event::WatchOpened);
        Ok(Registration {
            shared: Arc::clone(&self.shared),
            slot,
        })
    }

    /// Ends every watch, and those to come.
    pub(crate) fn close(&self) {
        self.shared.close();
    }

    /// The open watches, oldest first.
    pub(crate) fn list(&self) -> Vec<WatcherStatus> {
        let routed = self.shared.routed();
        let registry = self.shared.registry.lock();
        registry.slots.values().map(|slot| slot.status(routed)).collect()
    }
}

#[cfg(test)]
impl Hub {
    /// Whether the routing task runs.
    pub(crate) fn is_routing(&self) -> bool {
        self.shared.registry.lock().is_routing
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        self.shared.close();
    }
}

/// A watcher's place in the hub; it goes with this.
#[derive(Debug)]
pub(super) struct Registration {
    pub(super) shared: Arc<Shared>,
    pub(super) slot: Arc<Slot>,
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut registry = self.shared.registry.lock();
        registry.router.remove(&self.slot, &self.slot.filter);
        registry.slots.remove(&self.slot.id);
        registry.crowds.leave(&self.slot.crowd);
        self.shared.telemetry.tell(|| Event::WatchClosed);
    }
}

impl Shared {
    pub(super) fn routed(&self) -> Revision {
        Revision::new(self.routed.load(Ordering::Acquire))
    }

    pub(super) const fn pages(&self) -> &Pages {
        &self.pages
    }

    pub(super) fn views(&self) -> &Views<ReadView> {
        &self.views
    }

    /// Why a watch ended with its node.
    pub(super) fn reason(&self) -> Error {
        match &*self.stopped.borrow() {
            Some(reason) => reason.clone().into(),
            None => Error::new(ErrorKind::ShuttingDown, "the node is shutting down"),
        }
    }

    fn close(&self) {
        let mut registry = self.registry.lock();
        registry.is_closed = true;
        let slots: Vec<_> = registry.slots.values().cloned().collect();
        drop(registry);
        for slot in slots {
            slot.close();
        }
    }

    /// Marks whom the changes of `view` concern, a bounded number of them. Says whether there
    /// are more; `None`: nobody watches any more.
    fn route_some(&self, view: &ReadView, touched: &mut Vec<Arc<Slot>>) -> Option<bool> {
        let mut registry = self.registry.lock();
        if registry.slots.is_empty() || registry.is_closed {
            registry.is_routing = false;
            self.pages.clear();
            return None;
        }
        if view.policy_revision() != registry.policy_revision {
            // Each looks whether it may still see what it watches. A change of the policy is no revision of its own.
            registry.policy_revision = view.policy_revision();
            touched.extend(registry.slots.values().cloned());
        }
        let (from, latest) = (self.routed(), view.revision());
        if from >= latest {
            return Some(false);
        }
        let Ok(changes) = view.changes(from) else {
            // This node took over a snapshot, and what happened in between is not in it.
            // Everybody has to find out whether it missed something.
            for slot in registry.slots.values() {
                if slot.mark(from.next(), latest) {
                    touched.push(Arc::clone(slot));
                }
            }
            self.routed.store(latest.get(), Ordering::Release);
            return Some(false);
        };
        let (mut routed, mut work) = (latest, 0_usize);
        let mut revision = from;
        for change in changes {
            if change.revision() != revision {
                // Between revisions only: one is routed as a whole.
                if work >= limits::WATCH_ROUTED_AT_ONCE {
                    routed = revision;
                    break;
                }
                revision = change.revision();
            }
            work = work.saturating_add(1);
            registry.router.route(change.key(), change.kind(), |slot| {
                work = work.saturating_add(1);
                if slot.mark(revision, revision) {
                    touched.push(Arc::clone(slot));
                }
            });
        }
        self.routed.store(routed.get(), Ordering::Release);
        Some(routed < latest)
    }
}

/// Runs while somebody watches and the node lives.
async fn route(shared: Arc<Shared>) {
    let (mut views, mut stopped) = (shared.views.clone(), shared.stopped.clone());
    let mut touched = Vec::new();
    loop {
        let latest = views.load();
        loop {
            let Some(has_more) = shared.route_some(&latest.view, &mut touched) else {
                return;
            };
            // Behind the lock and `routed`: who is woken finds all of it.
            for slot in touched.drain(..) {
                slot.wake();
            }
            if !has_more {
                break;
            }
            tokio::task::yield_now().await;
        }
        drop(latest);
        let goes_on = tokio::select! {
            // A node that stopped may keep its last view for long, and nothing will follow.
            biased;
            _ = stopped.wait_for(Option::is_some) => false,
            changed = views.changed() => changed,
        };
        if !goes_on {
            shared.close();
            return;
        }
    }
}
