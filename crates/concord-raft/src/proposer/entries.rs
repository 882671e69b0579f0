//! The leader's entry builder: groups of this node and of others become entries.
//!
//! A few entries are in flight at a time. While they are, groups gather; so under load an
//! entry carries many requests, and an idle leader proposes the first one at once.

use std::collections::VecDeque;

use concord_core::batch::{Batch, Group};
use concord_core::ids::{SessionId, Timestamp};
use concord_core::machine::Machine;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::forward::{ForwardedGroup, ForwardedReplies};
use super::session::{Budget, Session};
use crate::consensus::{AppendError, AppendOutcome, BatchReplies};
use crate::limits;

/// Whom the replies to a group belong to.
#[derive(Debug)]
pub(super) enum Origin<M: Machine> {
    /// This node's session.
    Local,
    /// The stream of another node.
    Forwarded(mpsc::UnboundedSender<ForwardedReplies<M>>),
}

/// An entry in flight: the groups in it, and its outcome to come.
pub(super) struct Entry<M: Machine> {
    groups: Vec<(Origin<M>, usize)>,
    outcome: AppendOutcome<M>,
}

/// What became of an entry.
pub(super) struct Finished<M: Machine> {
    /// The groups in it, with their numbers of requests.
    pub(super) groups: Vec<(Origin<M>, usize)>,
    pub(super) outcome: Result<BatchReplies<M>, AppendError>,
}

/// Builds entries and keeps those in flight, in log order.
pub(super) struct Entries<M: Machine> {
    in_flight: VecDeque<Entry<M>>,
    /// Groups of other nodes, in order of arrival.
    forwarded: VecDeque<ForwardedGroup<M>>,
    /// The latest stamp given: a leader's stamps do not run back even if its clock does.
    stamped: Timestamp,
    /// Whether the next entry begins with this node's group: in turns, so that neither
    /// side can take all the room for ever.
    local_first: bool,
}

/// A batch ready to be proposed and whom its groups belong to.
pub(super) struct Built<M: Machine> {
    pub(super) batch: Batch,
    pub(super) groups: Vec<(Origin<M>, usize)>,
}

impl<M: Machine> Entries<M> {
    pub(super) fn new() -> Self {
        Self {
            in_flight: VecDeque::new(),
            forwarded: VecDeque::new(),
            stamped: Timestamp::new(0),
            local_first: true,
        }
    }

    /// Takes in a group of another node.
    pub(super) fn enqueue(&mut self, group: ForwardedGroup<M>) {
        self.forwarded.push_back(group);
    }

    /// How many more groups of other nodes may be taken in now.
    pub(super) fn room(&self) -> usize {
        limits::FORWARDED_GROUPS_MAX.saturating_sub(self.forwarded.len())
    }

    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    pub(super) fn has_in_flight(&self) -> bool {
        !self.in_flight.is_empty()
    }

    /// Whether another entry should be proposed now, given this many local requests to send.
    ///
    /// One in flight and one behind it keep the log busy; further ones only when they
    /// would be well filled, or the entries would be many and small.
    pub(super) fn wants_entry(&self, local_unsent: usize) -> bool {
        let waiting = self
            .forwarded
            .iter()
            .map(|group| group.group.requests.len().max(1))
            .sum::<usize>()
            + local_unsent;
        match self.in_flight.len() {
            0 | 1 => waiting > 0,
            in_flight if in_flight < limits::ENTRIES_IN_FLIGHT_MAX => waiting >= WELL_FILLED_REQUESTS,
            _ => false,
        }
    }

    /// The stamp for an entry proposed now. I2 holds at apply whatever is stamped here;
    /// this only keeps stamps plausible.
    pub(super) fn stamp(&mut self, wall_clock: Timestamp) -> Timestamp {
        self.stamped = self.stamped.max(wall_clock);
        self.stamped
    }

    /// Gathers what waits into a batch. It may have no groups.
    pub(super) fn build(
        &mut self,
        session: &mut Session<M>,
        wall_clock: Timestamp,
        now: Instant,
        fresh_id: impl FnOnce() -> SessionId,
    ) -> Built<M> {
        let mut budget = Budget::FULL;
        let mut built = Built {
            batch: Batch {
                proposed_at: self.stamp(wall_clock),
                groups: Vec::new(),
            },
            groups: Vec::new(),
        };
        let local_first = self.local_first;
        self.local_first = !local_first;
        if !local_first {
            self.take_forwarded(&mut budget, &mut built);
        }
        if let Some(group) = session.next_group(&mut budget, now, fresh_id) {
            built.push(Origin::Local, group);
        }
        if local_first {
            self.take_forwarded(&mut budget, &mut built);
        }
        built
    }

    fn take_forwarded(&mut self, budget: &mut Budget, built: &mut Built<M>) {
        while let Some(next) = self.forwarded.front() {
            if !budget.take_group(next.group.requests.len(), next.request_bytes) {
                return;
            }
            let Some(next) = self.forwarded.pop_front() else {
                return;
            };
            built.push(Origin::Forwarded(next.replies), next.group);
        }
    }

    /// Consensus has taken the entry in.
    pub(super) fn begun(&mut self, groups: Vec<(Origin<M>, usize)>, outcome: AppendOutcome<M>) {
        self.in_flight.push_back(Entry { groups, outcome });
    }

    /// Waits for the oldest entry. Can be dropped and called again.
    pub(super) async fn finished(&mut self) -> Finished<M> {
        let Some(oldest) = self.in_flight.front_mut() else {
            return std::future::pending().await;
        };
        let outcome = (&mut oldest.outcome).await;
        let groups = self
            .in_flight
            .pop_front()
            .map(|entry| entry.groups)
            .unwrap_or_default();
        Finished { groups, outcome }
    }

    /// Gives up everything: other nodes are told, and this node's session is reset by the caller.
    pub(super) fn abandon(&mut self) {
        for entry in self.in_flight.drain(..) {
            close(entry.groups);
        }
        for group in self.forwarded.drain(..) {
            // The stream may have ended already.
            let _ = group.replies.send(None);
        }
    }
}

impl<M: Machine> Built<M> {
    fn push(&mut self, origin: Origin<M>, group: Group) {
        self.groups.push((origin, group.requests.len()));
        self.batch.groups.push(group);
    }
}

/// Whether this node's session has a group among these.
pub(super) fn has_local<M: Machine>(groups: &[(Origin<M>, usize)]) -> bool {
    groups.iter().any(|(origin, _)| matches!(origin, Origin::Local))
}

/// Tells other nodes that groups of theirs will not be answered here.
pub(super) fn close<M: Machine>(groups: Vec<(Origin<M>, usize)>) {
    for (origin, _) in groups {
        if let Origin::Forwarded(replies) = origin {
            // The stream may have ended already.
            let _ = replies.send(None);
        }
    }
}

/// Requests that make a third or fourth entry, or group, in flight worth its cost.
pub(super) const WELL_FILLED_REQUESTS: usize = 256;
