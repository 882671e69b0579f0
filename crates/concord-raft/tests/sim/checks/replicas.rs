//! What the replicas themselves show while they run: I4, I8, I9, I16.

use std::collections::BTreeMap;

use concord_core::ids::{LogIndex, NodeId, Term};
use concord_raft::Published;
use concord_raft::status::{NodeStatus, Role};

use super::watches::Watches;
use super::{indexes, leases, restores};
use crate::trace;
use crate::workload::StoreLike;

/// All that was seen of the replicas so far.
#[derive(Debug, Default)]
pub(crate) struct Replicas {
    leaders: BTreeMap<Term, NodeId>,
    /// The latest applied index of each life of each seat.
    applied: BTreeMap<(usize, u64), LogIndex>,
    /// By the last batch in a state: what its snapshot looks like, and who showed it.
    states: BTreeMap<LogIndex, (u64, usize)>,
    /// States of different nodes that were compared.
    pub(crate) compared: u64,
    /// Indexes that were compared with all records.
    pub(crate) indexes_compared: u64,
    /// Whether backups are restored, and how many views showed one.
    pub(crate) has_restores: bool,
    pub(crate) backups_seen: u64,
    /// Who watches them.
    pub(crate) watches: Watches,
}

impl Replicas {
    pub(crate) fn new(watches: Watches, has_restores: bool) -> Self {
        watches.with(|book| book.has_restores = has_restores);
        Self {
            watches,
            has_restores,
            ..Self::default()
        }
    }

    /// Looks at one replica.
    pub(crate) fn look<M: StoreLike>(
        &mut self,
        seat: usize,
        life: u64,
        status: &NodeStatus,
        published: &Published<M::View>,
    ) -> Result<(), String> {
        if status.role == Role::Leader {
            let leader = *self.leaders.entry(status.term).or_insert(status.node_id);
            if leader != status.node_id {
                return Err(format!(
                    "I8: nodes {leader} and {} lead term {}",
                    status.node_id, status.term
                ));
            }
        }
        let before = self.applied.insert((seat, life), published.applied);
        if before.is_some_and(|before| before > published.applied) {
            return Err(format!(
                "I16: node {seat} had published {before:?}, now {}",
                published.applied
            ));
        }
        self.watches.look(seat, &published.view)?;
        leases::look(&published.view)?;
        if self.has_restores {
            self.backups_seen += u64::from(restores::look(&published.view)?);
        }
        self.indexes_compared += u64::from(indexes::look(&published.view)?);
        let state = fingerprint::<M>(&published.view);
        let (other, whose) = *self
            .states
            .entry(published.view.applied())
            .or_insert((state, seat));
        if whose != seat {
            self.compared += 1;
        }
        if other != state {
            return Err(format!(
                "I9: nodes {whose} and {seat} differ after batch {}: {other:x} and {state:x}",
                published.view.applied()
            ));
        }
        Ok(())
    }

    /// How many terms had a leader.
    pub(crate) fn terms_led(&self) -> usize {
        self.leaders.len()
    }
}

/// The snapshot's bytes in a number (I4: equal states have equal bytes).
pub(crate) fn fingerprint<M: StoreLike>(view: &M::View) -> u64 {
    M::snapshot(view).fold(trace::START, |hash, chunk| trace::mix(hash, &chunk))
}
