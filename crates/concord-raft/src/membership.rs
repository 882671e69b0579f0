//! Who belongs: changes of the membership and of leadership, from any node.
//!
//! Any node takes a change and passes it to the leader; the leader checks it and has it
//! committed. Every change can be repeated: what is done already is answered with success,
//! so a lost answer is no problem.
//!
//! Rules: ids are never used again; a voter must have caught up; nothing is removed if the
//! rest would have no quorum; one change at a time.

mod leader;

pub(crate) use leader::{invitation, lag_of};

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use concord_core::ids::NodeId;
use concord_core::machine::Machine;
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::time::Instant;

use crate::bootstrap::Formation;
use crate::config::Timing;
use crate::consensus::{Consensus, LeaderRef};
use crate::engine::Engine;
use crate::error::MembershipError;
use crate::message::admin::{MembershipAnswer, MembershipChange};
use crate::message::{self, Kind, Refusal};
use crate::ports::{Lane, PeerAddress, Transport};

/// How long a change may take before its outcome is reported as unknown.
const CHANGE_TIMEOUT: Duration = Duration::from_secs(20);
/// How long one attempt at another node may take.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(8);
/// Wait before a node that does not lead any more is asked again.
const RETRY: Duration = Duration::from_millis(100);

/// Changes who belongs.
pub(crate) struct Members<M: Machine> {
    engine: Arc<Engine<M>>,
    formation: Arc<Formation<M>>,
    transport: Arc<dyn Transport>,
    timing: Timing,
    /// Held by the leader during a change, so that changes do not race.
    one_at_a_time: tokio::sync::Mutex<()>,
}

impl<M: Machine> Members<M> {
    pub(crate) fn new(
        engine: Arc<Engine<M>>,
        formation: Arc<Formation<M>>,
        transport: Arc<dyn Transport>,
        timing: Timing,
    ) -> Self {
        Self {
            engine,
            formation,
            transport,
            timing,
            one_at_a_time: tokio::sync::Mutex::new(()),
        }
    }

    /// Makes a change, wherever the leader is.
    // Boxed, like everything that runs far into openraft: its futures nest so deeply that
    // the compiler gives up on those who embed them.
    pub(crate) fn change(&self, change: MembershipChange) -> BoxFuture<'_, MembershipAnswer> {
        self.change_anywhere(change).boxed()
    }

    async fn change_anywhere(&self, change: MembershipChange) -> MembershipAnswer {
        if self.formation.identity().cluster_id.is_none() {
            return Err(MembershipError::NoCluster);
        }
        let began = Instant::now();
        let mut sent = false;
        let deadline = began + CHANGE_TIMEOUT;
        loop {
            if let Some(reason) = self.engine.stop.reason() {
                return Err(MembershipError::Stopped(reason));
            }
            let answer = self.attempt(&change, &mut sent).await;
            if !matches!(
                answer,
                Err(MembershipError::NoLeader
                    | MembershipError::OutcomeUnknown { .. }
                    | MembershipError::InProgress)
            ) {
                return answer;
            }
            if Instant::now() + RETRY >= deadline {
                let waited_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
                return if sent {
                    Err(MembershipError::OutcomeUnknown { waited_ms })
                } else {
                    answer
                };
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    async fn attempt(&self, change: &MembershipChange, sent: &mut bool) -> MembershipAnswer {
        let leader = self.engine.leadership().borrow().leader.clone();
        match leader {
            None => Err(MembershipError::NoLeader),
            Some(LeaderRef::Local) => {
                let answer = self.lead(change).await;
                *sent |= matches!(answer, Err(MembershipError::OutcomeUnknown { .. }));
                answer
            }
            Some(LeaderRef::Remote(peer)) => {
                let request = message::encode(Kind::Membership, change);
                *sent = true;
                match self.forward(&peer, request).await {
                    Ok(answer) => answer,
                    Err(_) => Err(MembershipError::NoLeader),
                }
            }
        }
    }

    async fn forward(&self, leader: &PeerAddress, request: Bytes) -> Result<MembershipAnswer, String> {
        let answer = self
            .transport
            .call(leader, Lane::Forward, request, ATTEMPT_TIMEOUT)
            .await;
        let answer = answer.map_err(|error| error.to_string())?;
        match message::decode_answer::<MembershipAnswer>(&answer) {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(Refusal { reason, .. })) => Err(reason),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Answers a change that another node passed on: only if this node leads.
    pub(crate) async fn serve(&self, change: MembershipChange) -> MembershipAnswer {
        let leads = self.engine.leadership().borrow().leader == Some(LeaderRef::Local);
        if !leads {
            return Err(MembershipError::NoLeader);
        }
        match tokio::time::timeout(ATTEMPT_TIMEOUT, self.lead(&change)).await {
            Ok(answer) => answer,
            Err(_) => Err(MembershipError::OutcomeUnknown {
                waited_ms: u64::try_from(ATTEMPT_TIMEOUT.as_millis()).unwrap_or(u64::MAX),
            }),
        }
    }

    /// Lets this node vote once it has caught up, if it was told to join. Runs until it
    /// votes or the node stops.
    pub(crate) async fn seek_vote(self: Arc<Self>) {
        let own = self.engine.node_id;
        loop {
            let is_voter = self.engine.membership().voter_ids().any(|id| id == own.get());
            if is_voter || self.engine.stop.reason().is_some() {
                return;
            }
            match self.change(MembershipChange::Promote(own)).await {
                Ok(()) => return,
                Err(MembershipError::Invalid { reason } | MembershipError::Conflict { reason }) => {
                    tracing::warn!(%reason, "this node stays a learner");
                    return;
                }
                Err(error) => tracing::debug!(%error, "not a voter yet"),
            }
            tokio::time::sleep(self.timing.election_min).await;
        }
    }

    /// While this node leads: ends a change of voters that an earlier leader left half
    /// way. Runs until the node stops.
    pub(crate) async fn finish_changes(self: Arc<Self>) {
        loop {
            let half_way = self
                .engine
                .until_server(|metrics| {
                    let effective = &metrics.membership_config;
                    metrics.state == openraft::ServerState::Leader
                        && effective.membership().get_joint_config().len() > 1
                        && effective == &metrics.committed_membership_config
                })
                .await;
            if !half_way || self.engine.stop.reason().is_some() {
                return;
            }
            // A change of our own ends by itself, and holds this lock until it has.
            let _turn = self.one_at_a_time.lock().await;
            if let Err(error) = self.flatten().await {
                tracing::warn!(%error, "a change of voters is still half way");
            }
            tokio::time::sleep(self.timing.election_min).await;
        }
    }

    /// Keeps the membership as it is while it is held on the leader.
    pub(crate) async fn hold(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.one_at_a_time.lock().await
    }

    /// The way to other nodes.
    pub(crate) const fn transport(&self) -> &Arc<dyn Transport> {
        &self.transport
    }

    /// The id of the member at an address.
    pub(crate) fn member_at(&self, address: &str) -> Option<NodeId> {
        let membership = self.engine.membership();
        let found = membership.nodes().find(|(_, peer)| peer.address == address);
        found.map(|(id, _)| NodeId::new(*id))
    }
}
