//! The leader's part of a change: check it, have it committed.

use std::collections::{BTreeMap, BTreeSet};

use concord_core::ids::NodeId;
use concord_core::machine::Machine;
use concord_core::version::MachineVersion;
use futures::FutureExt;
use openraft::errors::{ChangeMembershipError, ClientWriteError, RaftError};
use openraft::metrics::RaftMetrics;
use openraft::raft::Precondition;
use openraft::{ChangeMembers, Instant};

use super::Members;
use crate::bootstrap::{self, Formation};
use crate::error::MembershipError;
use crate::limits;
use crate::message::admin::{Acquaintance, Joined, MembershipAnswer, MembershipChange, Seat};
use crate::types::{Membership, Peer, TypeConfig};
use crate::versions;

type Change = ChangeMembers<u64, Peer>;

fn invalid(reason: impl Into<String>) -> MembershipError {
    MembershipError::Invalid {
        reason: reason.into(),
    }
}

fn conflict(reason: impl Into<String>) -> MembershipError {
    MembershipError::Conflict {
        reason: reason.into(),
    }
}

impl<M: Machine> Members<M> {
    pub(super) async fn lead(&self, change: &MembershipChange) -> MembershipAnswer {
        let _turn = self.one_at_a_time.lock().await;
        self.check_belongs()?;
        match change {
            MembershipChange::AddLearner(address) => self.add_at(address).await,
            MembershipChange::Admit(seat) => self.admit(seat.clone()).await,
            MembershipChange::Promote(node) => self.promote(*node).await,
            MembershipChange::Remove(node) => self.remove(*node).await,
            MembershipChange::Replace { old, new } => self.replace(*old, *new).await,
            MembershipChange::Transfer(to) => self.transfer(*to).await,
            MembershipChange::Move(seat) => self.move_to(seat.clone()).await,
        }
    }

    /// Refuses a change on a leader that has removed itself. It goes on leading for a moment, so
    /// that the others learn of it, and then one of them leads: the change is theirs to make.
    ///
    /// openraft takes a node for a leader only while it is a member, and asserts that when it
    /// appends a membership. A membership that changes after this check fails the precondition
    /// of [`Self::commit_once`].
    fn check_belongs(&self) -> MembershipAnswer {
        let own = self.engine.node_id.get();
        match self.engine.membership().membership().get_node(&own) {
            Some(_) => Ok(()),
            None => Err(MembershipError::NoLeader),
        }
    }

    async fn add_at(&self, address: &str) -> MembershipAnswer {
        crate::config::check_address(address).map_err(|reason| invalid(format!("the address {reason}")))?;
        let found = bootstrap::describe(&*self.transport, address, self.formation.seat())
            .await
            .map_err(|reason| invalid(format!("no node can be added from {address}: {reason}")))?;
        let ours = self.formation.identity().cluster_id;
        let seat = Seat {
            node_id: found.node.node_id,
            // The operator's address is the one that works from here.
            peer: Peer {
                address: address.to_owned(),
                store_id: found.node.peer.store_id,
            },
        };
        if let Some(other) = found.cluster_id
            && Some(other) != ours
        {
            return Err(conflict(format!(
                "the node at {address} belongs to cluster {other:032x}"
            )));
        }
        if self.check_new(&seat)?.is_none() {
            self.check_version(&seat).await?;
        }
        let into = invitation(&self.formation, &self.engine.roster.removed());
        bootstrap::invite(&*self.transport, &seat, &into)
            .await
            .map_err(|reason| conflict(format!("the node at {address} does not come: {reason}")))?;
        self.admit(seat).await
    }

    /// Adds a node that wants to belong, as a learner.
    async fn admit(&self, seat: Seat) -> MembershipAnswer {
        if let Some(known) = self.check_new(&seat)? {
            return if known.address == seat.peer.address {
                Ok(())
            } else {
                self.move_to(seat).await
            };
        }
        let membership = self.engine.membership();
        if membership.nodes().count() >= limits::MEMBERS_MAX {
            return Err(invalid(format!(
                "the cluster has {} members already",
                limits::MEMBERS_MAX
            )));
        }
        self.check_version(&seat).await?;
        let nodes = BTreeMap::from([(seat.node_id.get(), seat.peer)]);
        self.commit(ChangeMembers::AddNodes(nodes), true).await
    }

    /// Refuses a node whose program does not know the machine that the cluster is (I24). It would stop by itself, but
    /// as a member.
    async fn check_version(&self, seat: &Seat) -> MembershipAnswer {
        let cluster = self.engine.cluster_version();
        if cluster.version == MachineVersion::BASE {
            return Ok(());
        }
        let node = seat.node_id;
        let own = self.engine.versions.own();
        match versions::ask(&*self.transport, node, &seat.peer, own).await {
            Some(known) if known.machine >= cluster.version => Ok(()),
            Some(known) => {
                let what = format!("node {node} at {} cannot join: the cluster", seat.peer.address);
                Err(conflict(versions::too_old(&what, cluster, known.machine)))
            }
            None => Err(MembershipError::Silent { node }),
        }
    }

    /// Refuses a node that must not come in; its present seat if it is in already.
    fn check_new(&self, seat: &Seat) -> Result<Option<Peer>, MembershipError> {
        match bootstrap::acquaintance(&self.engine, seat) {
            Acquaintance::Removed => Err(conflict(bootstrap::removed(seat.node_id))),
            Acquaintance::Replaced(known) => Err(conflict(bootstrap::wiped(&known))),
            Acquaintance::Unknown => Ok(None),
            Acquaintance::Member => Ok(self
                .engine
                .membership()
                .membership()
                .get_node(&seat.node_id.get())
                .cloned()),
        }
    }

    async fn promote(&self, node: NodeId) -> MembershipAnswer {
        if !self.check_can_vote(node).await? {
            return Ok(());
        }
        let voters = self.engine.membership().voter_ids().count();
        if voters >= limits::VOTERS_MAX {
            return Err(invalid(format!("there are {voters} voters, which is the limit")));
        }
        self.commit(ChangeMembers::AddVoterIds(BTreeSet::from([node.get()])), true)
            .await
    }

    /// Whether a member is a learner that has caught up; `false` if it votes already.
    async fn check_can_vote(&self, node: NodeId) -> Result<bool, MembershipError> {
        let membership = self.engine.membership();
        if membership.membership().get_node(&node.get()).is_none() {
            return Err(MembershipError::UnknownNode { node });
        }
        if membership.voter_ids().any(|id| id == node.get()) {
            return Ok(false);
        }
        self.check_keeps_up(node).await?;
        Ok(true)
    }

    async fn remove(&self, node: NodeId) -> MembershipAnswer {
        let membership = self.engine.membership();
        if membership.membership().get_node(&node.get()).is_none() {
            let gone = self.engine.roster.is_removed(node);
            return if gone {
                Ok(())
            } else {
                Err(MembershipError::UnknownNode { node })
            };
        }
        let id = node.get();
        if membership.voter_ids().any(|voter| voter == id) {
            self.check_quorum_without(node, None).await?;
            self.commit(ChangeMembers::RemoveVoters(BTreeSet::from([id])), false)
                .await
        } else {
            self.commit(ChangeMembers::RemoveNodes(BTreeSet::from([id])), false)
                .await
        }
    }

    async fn replace(&self, old: NodeId, new: NodeId) -> MembershipAnswer {
        if old == new {
            return Err(invalid("a node cannot replace itself"));
        }
        let membership = self.engine.membership();
        let has_old = membership.membership().get_node(&old.get()).is_some();
        let promote = self.check_can_vote(new).await?;
        if !has_old && !self.engine.roster.is_removed(old) {
            return Err(MembershipError::UnknownNode { node: old });
        }
        if !has_old && !promote {
            return Ok(());
        }
        let mut steps: Vec<Change> = vec![ChangeMembers::AddVoterIds(BTreeSet::from([new.get()]))];
        if has_old {
            let gone = BTreeSet::from([old.get()]);
            if membership.voter_ids().any(|voter| voter == old.get()) {
                self.check_quorum_without(old, Some(new)).await?;
                steps.push(ChangeMembers::RemoveVoters(gone));
            } else {
                steps.push(ChangeMembers::RemoveNodes(gone));
            }
        }
        self.commit(ChangeMembers::Batch(steps), false).await
    }

    /// Refuses a removal after which no quorum would answer, or nobody would vote.
    async fn check_quorum_without(&self, gone: NodeId, added: Option<NodeId>) -> Result<(), MembershipError> {
        let mut rest: BTreeSet<u64> = self.engine.membership().voter_ids().collect();
        rest.extend(added.map(NodeId::get));
        rest.remove(&gone.get());
        if rest.is_empty() {
            return Err(invalid(format!(
                "node {gone} is the last voter; a cluster cannot be without one"
            )));
        }
        let metrics = self.hear(&rest, rest.len() / 2 + 1).await;
        let alive = rest.iter().filter(|id| self.answers(&metrics, **id)).count();
        if alive * 2 <= rest.len() {
            return Err(invalid(format!(
                "without node {gone} only {alive} of {} voters would answer, which is no quorum; bring others \
                 back, or add and promote a node, first",
                rest.len()
            )));
        }
        Ok(())
    }

    /// Whether a member has answered this leader lately.
    fn answers(&self, metrics: &RaftMetrics<TypeConfig<M>>, id: u64) -> bool {
        if id == self.engine.node_id.get() {
            return true;
        }
        let heard = metrics
            .heartbeat
            .as_ref()
            .and_then(|heard| heard.get(&id).cloned().flatten());
        heard.is_some_and(|at| at.elapsed() < self.timing.election_max * 2)
    }

    async fn transfer(&self, to: Option<NodeId>) -> MembershipAnswer {
        let metrics = self.engine.metrics();
        let own = self.engine.node_id;
        let target = match to {
            Some(node) if node == own => return Ok(()),
            Some(node) if metrics.membership_config.voter_ids().any(|id| id == node.get()) => node,
            Some(node)
                if metrics
                    .membership_config
                    .membership()
                    .get_node(&node.get())
                    .is_some() =>
            {
                return Err(invalid(format!("node {node} is a learner; promote it first")));
            }
            Some(node) => return Err(MembershipError::UnknownNode { node }),
            None => self
                .best_successor()
                .await
                .ok_or_else(|| invalid("no other voter answers"))?,
        };
        self.check_keeps_up(target).await?;
        let stopped = |_| MembershipError::NoLeader;
        self.engine
            .raft
            .trigger()
            .transfer_leader(target.get())
            .await
            .map_err(stopped)?;
        let moved = self.engine.until(|metrics| {
            metrics.current_leader.is_some_and(|leader| leader != own.get()) || metrics.running_state.is_err()
        });
        match tokio::time::timeout(self.timing.election_max * 3, moved).await {
            Ok(_) => Ok(()),
            Err(_) => Err(MembershipError::OutcomeUnknown {
                waited_ms: u64::try_from((self.timing.election_max * 3).as_millis()).unwrap_or(u64::MAX),
            }),
        }
    }

    /// The voter that holds most of the log, among those that answer.
    async fn best_successor(&self) -> Option<NodeId> {
        let own = self.engine.node_id.get();
        let mut others: BTreeSet<u64> = self.engine.membership().voter_ids().collect();
        others.remove(&own);
        let metrics = self.hear(&others, others.len().div_ceil(2)).await;
        others
            .into_iter()
            .filter(|id| self.answers(&metrics, *id))
            .map(NodeId::new)
            .min_by_key(|node| lag_of(&metrics, *node))
    }

    /// Refuses a member that is silent or far behind: it could not vote or lead.
    async fn check_keeps_up(&self, node: NodeId) -> MembershipAnswer {
        let metrics = self.hear(&BTreeSet::from([node.get()]), 1).await;
        if !self.answers(&metrics, node.get()) {
            return Err(MembershipError::Silent { node });
        }
        let lag_entries = lag_of(&metrics, node);
        if lag_entries > limits::PROMOTE_LAG_MAX {
            let limit_entries = limits::PROMOTE_LAG_MAX;
            return Err(MembershipError::NotCaughtUp {
                node,
                lag_entries,
                limit_entries,
            });
        }
        Ok(())
    }

    /// Waits until at least `enough` of these members have told this leader how they stand, for one
    /// election at most. A leader that was elected a moment ago has heard nobody, not even those that
    /// elected it: without the wait it would call them silent, or behind by the whole log.
    async fn hear(&self, members: &BTreeSet<u64>, enough: usize) -> RaftMetrics<TypeConfig<M>> {
        let own = self.engine.node_id.get();
        let told = |metrics: &RaftMetrics<TypeConfig<M>>, id: u64| {
            let matched = metrics.replication.as_ref().and_then(|all| all.get(&id));
            id == own || (self.answers(metrics, id) && matched.is_some_and(Option::is_some))
        };
        let heard = self.engine.until(|metrics| {
            metrics.current_leader != Some(own)
                || members.iter().filter(|id| told(metrics, **id)).count() >= enough
        });
        // After the wait the caller judges by what there is.
        tokio::time::timeout(self.timing.election_max, heard).await.ok();
        self.engine.metrics()
    }

    /// A member is at another address now. Refused while its old address still answers as
    /// that member: then one of the two directories is a copy.
    async fn move_to(&self, seat: Seat) -> MembershipAnswer {
        let known = match self.check_new(&seat)? {
            Some(known) => known,
            None => return Err(MembershipError::UnknownNode { node: seat.node_id }),
        };
        if known.address == seat.peer.address {
            return Ok(());
        }
        if let Some(other) = self.member_at(&seat.peer.address) {
            return Err(conflict(format!(
                "node {other} is at {} already",
                seat.peer.address
            )));
        }
        let old = bootstrap::describe(&*self.transport, &known.address, self.formation.seat()).await;
        if old.is_ok_and(|old| old.node.node_id == seat.node_id && old.node.peer.store_id == known.store_id) {
            let (id, here, there) = (seat.node_id, &known.address, &seat.peer.address);
            return Err(conflict(format!(
                "node {id} runs at {here}; the directory at {there} is a copy of its, and must not be used"
            )));
        }
        let nodes = BTreeMap::from([(seat.node_id.get(), seat.peer)]);
        self.commit(ChangeMembers::SetNodes(nodes), true).await
    }

    /// Ends a change that was left half way. Call it with the turn in hand.
    pub(super) async fn flatten(&self) -> MembershipAnswer {
        let is_joint = |membership: &Membership| membership.get_joint_config().len() > 1;
        if !is_joint(self.engine.membership().membership()) {
            return Ok(());
        }
        self.commit_once(ChangeMembers::AddVoterIds(BTreeSet::new()), false)
            .await
    }

    async fn commit(&self, change: Change, retain: bool) -> MembershipAnswer {
        self.flatten().await?;
        self.commit_once(change, retain).await
    }

    async fn commit_once(&self, change: Change, retain: bool) -> MembershipAnswer {
        // The checks were made on this membership; it must not have changed since.
        let unchanged = Precondition::LastMembershipLogId {
            last_membership_log_id: *self.engine.membership().log_id(),
        };
        let raft = self.engine.raft.clone();
        let changed = self
            .engine
            .seeds
            .scope(async move { raft.change_membership_if(change, retain, [unchanged]).await })
            .boxed()
            .await;
        match changed {
            Ok(_) => Ok(()),
            Err(RaftError::APIError(error)) => Err(map_error(error)),
            Err(RaftError::Fatal(_)) => Err(match self.engine.stop.reason() {
                Some(reason) => MembershipError::Stopped(reason),
                None => MembershipError::NoLeader,
            }),
        }
    }
}

fn map_error<M: Machine>(error: ClientWriteError<TypeConfig<M>>) -> MembershipError {
    match error {
        ClientWriteError::ForwardToLeader(_) => MembershipError::NoLeader,
        ClientWriteError::LogEntryDiscarded(_) => MembershipError::OutcomeUnknown { waited_ms: 0 },
        // Somebody else changed the membership between the checks and now: check again.
        ClientWriteError::PreconditionFailed(_) => MembershipError::InProgress,
        ClientWriteError::ChangeMembershipError(error) => match error {
            ChangeMembershipError::InProgress(_) | ChangeMembershipError::UncommittedLeaderLog(_) => {
                MembershipError::InProgress
            }
            ChangeMembershipError::LearnerNotFound(missing) => MembershipError::UnknownNode {
                node: NodeId::new(missing.node_id),
            },
            error @ (ChangeMembershipError::EmptyMembership(_)
            | ChangeMembershipError::UnsupportedMembershipTransition(_)
            | ChangeMembershipError::NodeMetadataChanged(_)) => invalid(error.to_string()),
        },
    }
}

/// How many entries a member is behind this leader's log; the whole log if it never answered.
pub(crate) fn lag_of<M: Machine>(metrics: &RaftMetrics<TypeConfig<M>>, node: NodeId) -> u64 {
    let last = metrics.last_log_index.map_or(0, |index| index.saturating_add(1));
    if metrics.id == node.get() {
        return 0;
    }
    let matched = metrics
        .replication
        .as_ref()
        .and_then(|all| all.get(&node.get()).cloned().flatten());
    last.saturating_sub(matched.map_or(0, |id| id.index.saturating_add(1)))
}

/// What a node is told that is to belong.
pub(crate) fn invitation<M: Machine>(formation: &Formation<M>, removed: &BTreeSet<u64>) -> Joined {
    Joined {
        cluster_id: formation.identity().cluster_id.unwrap_or_default(),
        removed: removed.iter().copied().collect(),
    }
}
