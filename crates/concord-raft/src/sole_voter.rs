//! Whether this node decides alone, so that its own latest view is fresh for every reader.
//!
//! While a node is the only voter and leads, nobody else can commit anything, and it answers
//! writers only after it has published what they wrote. A view that was taken then shows every
//! write that was acknowledged before (I6): no round, no lease and no clock are needed.
//!
//! The gate must be shut before anybody else can decide, not soon after. So it hangs on the log:
//! a membership or a vote that lets others decide passes through it before it is on the disk,
//! and so before any peer can learn of it. openraft's metrics would be too late for that.
//!
//! ```text
//!   vote for another, any new membership ──▶ shut ──▶ log ──▶ peers
//!   an entry of this node's own term applied, and the newest membership is this node ──▶ open
//! ```
//!
//! A reader takes the view first and looks at the gate then: see [`SoleVoter::decides`].

use std::sync::atomic::{AtomicBool, Ordering};

use concord_core::ids::NodeId;
use openraft::vote::RaftVote;
use parking_lot::Mutex;

use crate::types::{Entry, LeaderId, LogId, Payload, StoredMembership};

/// The gate.
#[derive(Debug)]
pub(crate) struct SoleVoter {
    node_id: NodeId,
    open: AtomicBool,
    facts: Mutex<Facts>,
}

#[derive(Debug, Default)]
struct Facts {
    /// Whom this node last voted for, or followed.
    leader: Option<LeaderId>,
    /// The newest membership appended since the start. Older ones are applied before any
    /// entry of a term that this node leads.
    membership_at: Option<u64>,
    /// The node stops: never open again.
    ended: bool,
}

impl SoleVoter {
    /// A gate that is shut, for this node.
    pub(crate) fn new(node_id: NodeId) -> Self {
        Self {
            node_id,
            open: AtomicBool::new(false),
            facts: Mutex::default(),
        }
    }

    /// Whether this node decides alone. What it had published *before* this was asked is then fresh
    /// for a reader who came before.
    pub(crate) fn decides(&self) -> bool {
        self.open.load(Ordering::SeqCst)
    }

    /// A vote is about to be saved.
    pub(crate) fn voting(&self, vote: &impl RaftVote<LeaderId = LeaderId>) {
        let mut facts = self.facts.lock();
        let leader = vote.leader_id();
        if facts.leader.as_ref() != Some(leader) {
            self.open.store(false, Ordering::SeqCst);
            facts.leader = Some(*leader);
        }
    }

    /// Entries are about to be appended.
    pub(crate) fn appending(&self, entries: &[Entry]) {
        let newest = entries
            .iter()
            .rfind(|entry| matches!(entry.payload, Payload::Membership(_)));
        if let Some(newest) = newest {
            let mut facts = self.facts.lock();
            self.open.store(false, Ordering::SeqCst);
            facts.membership_at = Some(newest.log_id.index);
        }
    }

    /// Everything up to `last` is applied and published; `membership` is the last one applied.
    pub(crate) fn published(&self, last: Option<LogId>, membership: &StoredMembership) {
        // Only what passes through the log can shut an open gate.
        if self.decides() {
            return;
        }
        let Some(last) = last else { return };
        let facts = self.facts.lock();
        let leads = facts.leader.is_some_and(|leader| {
            leader.voted_for == self.node_id.get() && leader.term == last.leader_id.term
        });
        let is_newest = facts
            .membership_at
            .is_none_or(|index| membership.log_id().is_some_and(|log_id| log_id.index == index));
        let alone = membership.membership().get_joint_config().len() == 1
            && membership.voter_ids().eq([self.node_id.get()]);
        if leads && is_newest && alone && !facts.ended {
            self.open.store(true, Ordering::SeqCst);
        }
    }

    /// The node stops.
    pub(crate) fn end(&self) {
        let mut facts = self.facts.lock();
        facts.ended = true;
        self.open.store(false, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests;
