//! Cluster administration and readiness.

use std::time::Duration;

use concord_auth::AdminAction;
use concord_core::Store;
use concord_core::ids::{LogIndex, NodeId};
use concord_raft::node::Node;
use concord_raft::{MembershipError, NodeStatus, Role};
use futures::future::{BoxFuture, FutureExt as _};
use tokio::time::Instant;

use super::Concord;
use crate::audit::{AdminRequest, Facts};
use crate::error::{Error, ErrorKind};
use crate::limits;
use crate::service::node_id;

/// A change under way. Boxed: the engine's futures are too deep for the compiler to nest.
type Change<'a, T> = BoxFuture<'a, Result<T, MembershipError>>;

/// Whether a node can serve, and if not, why.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Readiness {
    /// It is a member, knows a leader, has applied what it knows to be committed, and somebody can be let in.
    Ready,
    /// It cannot serve everything yet, or any more.
    NotReady {
        /// Why, in words.
        reason: String,
    },
}

impl Concord {
    /// Whether this node can serve, without any wait.
    pub fn readiness(&self) -> Readiness {
        let (status, running) = (self.service().node().status(), self.running());
        let judged = readiness(&status, running.trouble(), running.patience());
        if judged == Readiness::Ready && running.waits_for_root() {
            let reason = "the first token is not made yet".to_owned();
            return Readiness::NotReady { reason };
        }
        judged
    }

    /// Waits until this node can serve.
    ///
    /// # Errors
    ///
    /// `not_ready` with the reason when the time is over; at once if it can never be: the
    /// cluster refused this node, or it stops.
    pub async fn wait_until_ready(&self, timeout: Duration) -> Result<(), Error> {
        let deadline = Instant::now() + timeout;
        loop {
            if let Some(trouble) = self.running().trouble() {
                return Err(Error::new(ErrorKind::NotReady, trouble));
            }
            let reason = match self.readiness() {
                Readiness::Ready => return Ok(()),
                Readiness::NotReady { reason } => reason,
            };
            if Instant::now() >= deadline {
                return Err(Error::new(ErrorKind::NotReady, reason));
            }
            // Leadership, membership and apply each change what the status says: looking at
            // it at a steady pace is simpler than waiting for three things at once.
            tokio::time::sleep(limits::READY_POLL_INTERVAL).await;
        }
    }

    /// Adds the node that listens for peers at `address` as a learner, and gives its id. It
    /// must run and belong to no cluster. Adding a member again does nothing.
    ///
    /// # Errors
    ///
    /// `invalid_request`, `already_exists`, `not_ready`, `no_quorum`; `outcome_unknown`, after
    /// which it can safely be asked again.
    pub async fn add_learner(&self, address: impl Into<String>) -> Result<NodeId, Error> {
        let address = address.into();
        let facts = vec![
            ("change", "add_learner".to_owned().into()),
            ("address", address.clone().into()),
        ];
        self.change(facts, async |node| {
            bounded(node.add_learner(address).boxed()).await
        })
        .await
    }

    /// Lets a learner vote, once it has caught up.
    ///
    /// # Errors
    ///
    /// `not_ready` with how far it is behind, `not_found`, and as [`Concord::add_learner`].
    pub async fn promote(&self, member: u64) -> Result<(), Error> {
        let member = node_id(member)?;
        let facts = change_of("promote", [("member", member)]);
        self.change(facts, async |node| bounded(node.promote(member).boxed()).await)
            .await
    }

    /// Removes a member, alive or dead. Its id is never used again.
    ///
    /// # Errors
    ///
    /// `not_found`, `invalid_request` for the last voter, and as [`Concord::add_learner`].
    pub async fn remove_member(&self, member: u64) -> Result<(), Error> {
        let member = node_id(member)?;
        let facts = change_of("remove", [("member", member)]);
        self.change(facts, async |node| bounded(node.remove(member).boxed()).await)
            .await
    }

    /// Removes a member and lets the learner `joining` vote in its place, in one change.
    ///
    /// # Errors
    ///
    /// As [`Concord::promote`] and [`Concord::remove_member`].
    pub async fn replace_member(&self, leaving: u64, joining: u64) -> Result<(), Error> {
        let (leaving, joining) = (node_id(leaving)?, node_id(joining)?);
        let facts = change_of("replace", [("leaving", leaving), ("joining", joining)]);
        self.change(facts, async |node| {
            bounded(node.replace(leaving, joining).boxed()).await
        })
        .await
    }

    /// Moves leadership to a voter, or to the one that has caught up most. Returns when
    /// another node leads.
    ///
    /// # Errors
    ///
    /// As [`Concord::add_learner`]; leadership may have moved nevertheless.
    pub async fn transfer_leadership(&self, to: Option<u64>) -> Result<(), Error> {
        let to = to.map(node_id).transpose()?;
        let facts = to.map(|to| ("to", to.get().into())).into_iter().collect();
        let action = AdminAction::TransferLeadership;
        let transfer = async |node: Node<Store>| bounded(node.transfer_leadership(to).boxed()).await;
        self.administer(action, facts, transfer).await
    }

    /// Writes a snapshot of this node's state now, and cuts its log behind it. Gives the last
    /// entry in it.
    ///
    /// # Errors
    ///
    /// `storage_failed` or `shutting_down`; `timeout` if it takes longer than ten minutes, in
    /// which case it goes on.
    pub async fn snapshot(&self) -> Result<LogIndex, Error> {
        let snapshot = async |node: Node<Store>| {
            tokio::time::timeout(limits::REQUEST_TIMEOUT_MAX, node.snapshot_now().boxed())
                .await
                .map_err(|_| {
                    Error::new(ErrorKind::Timeout, "the snapshot takes longer than ten minutes")
                })??;
            Ok(node.status().snapshot_index)
        };
        self.administer(AdminAction::Snapshot, Facts::new(), snapshot)
            .await
    }

    async fn change<T>(
        &self,
        facts: Facts,
        change: impl AsyncFnOnce(Node<Store>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.administer(AdminAction::ChangeMembers, facts, change).await
    }

    pub(super) async fn administer<T>(
        &self,
        action: AdminAction,
        facts: Facts,
        change: impl AsyncFnOnce(Node<Store>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let request = AdminRequest { action, facts };
        let timeout = self.request_timeout();
        self.service()
            .administer(self.caller(), request, timeout, change)
            .await
    }
}

fn change_of<const N: usize>(change: &str, nodes: [(&'static str, NodeId); N]) -> Facts {
    let nodes = nodes.into_iter().map(|(name, node)| (name, node.get().into()));
    std::iter::once(("change", change.to_owned().into()))
        .chain(nodes)
        .collect()
}

/// Nobody waits without limit: a change that takes too long may still happen.
async fn bounded<T>(change: Change<'_, T>) -> Result<T, Error> {
    match tokio::time::timeout(limits::CHANGE_TIMEOUT, change).await {
        Ok(outcome) => Ok(outcome?),
        Err(_) => Err(Error::new(
            ErrorKind::OutcomeUnknown,
            "no answer in time, outcome unknown",
        )),
    }
}

/// Judges a status. `trouble` is why the node cannot come to belong to a cluster.
fn readiness(status: &NodeStatus, trouble: Option<String>, patience: Duration) -> Readiness {
    let quorum_silent = status.quorum_silent_ms.map(Duration::from_millis);
    let reason = if let Some(stopped) = &status.stopped {
        stopped.to_string()
    } else if let Some(trouble) = trouble {
        trouble
    } else if status.cluster_id.is_none() {
        "this node belongs to no cluster yet".to_owned()
    } else if status.receiving_snapshot.is_some() {
        "this node receives a snapshot from the leader".to_owned()
    } else if status.leader.is_none() {
        "no leader is known".to_owned()
    } else if !status.is_member() || status.applied_index.get() == 0 {
        "this node has received nothing of its cluster yet".to_owned()
    } else if status.role == Role::Leader && quorum_silent.is_some_and(|silent| silent > patience) {
        "this node leads but cannot reach a majority".to_owned()
    } else if status.disk_full {
        "the disk is full: this node takes no new data".to_owned()
    } else if status.applied_index < status.commit_index {
        let behind = status
            .commit_index
            .get()
            .saturating_sub(status.applied_index.get());
        format!("this node is {behind} entries behind")
    } else {
        return Readiness::Ready;
    };
    Readiness::NotReady { reason }
}
