//! A node's status, put together from what openraft says.

use concord_core::ids::{LogIndex, NodeId, Term};
use concord_core::machine::Machine;
use concord_core::version::MachineVersion;
use openraft::metrics::RaftMetrics;
use openraft::{Instant, ServerState};

use super::Inner;
use crate::consensus::Consensus;
use crate::membership::lag_of;
use crate::status::{MemberStatus, NodeStatus, Role};
use crate::types::{LogId, Peer, TypeConfig};

fn index(id: Option<LogId>) -> LogIndex {
    LogIndex::new(id.map_or(0, |id| id.index))
}

impl<M: Machine> Inner<M> {
    pub(super) fn report(&self) -> NodeStatus {
        let metrics = self.engine.metrics();
        let identity = self.formation.identity();
        let stopped = self.engine.stop.reason();
        let published = self.engine.views().load();
        let role = match (&stopped, identity.cluster_id) {
            (Some(_), _) => Role::Stopped,
            (None, None) => Role::Outside,
            (None, Some(_)) => role_of(metrics.state),
        };
        let quorum_silent = self.engine.quorum_silence(&metrics);
        let machine = M::version_of(&published.view);
        NodeStatus {
            node_id: identity.node_id,
            store_id: identity.store_id,
            cluster_id: identity.cluster_id,
            role,
            term: Term::new(metrics.current_term),
            leader: metrics
                .current_leader
                .filter(|_| stopped.is_none() && (role == Role::Leader || self.hears_a_leader()))
                .map(NodeId::new),
            last_index: LogIndex::new(metrics.last_log_index.unwrap_or_default()),
            commit_index: index(metrics.local_committed),
            applied_index: published.applied,
            snapshot_index: index(metrics.snapshot),
            purged_index: index(metrics.purged),
            revision: M::revision_of(&published.view),
            members: self.members_of(&metrics),
            changing_members: metrics.membership_config.membership().get_joint_config().len() > 1,
            quorum_silent_ms: quorum_silent.filter(|_| role == Role::Leader).map(super::millis),
            withholds_votes: self.engine.votes.is_withheld(),
            receiving_snapshot: self.server.inbox.progress(),
            disk_full: self.log.is_full(),
            warnings: warnings(&metrics, self.log.is_full()),
            machine,
            machine_known: self.engine.versions.own().machine,
            held_back_by: self.held_back_by(machine.version),
            stopped,
        }
    }

    /// The members that keep the cluster from the machine that this node knows.
    pub(super) fn held_back_by(&self, cluster: MachineVersion) -> Vec<NodeId> {
        let membership = self.engine.membership();
        let members = membership.nodes().map(|(id, _)| *id);
        self.engine
            .versions
            .held_back_by(members, self.engine.node_id, cluster)
    }

    /// A follower that cannot win an election keeps the name of the leader that it lost: what
    /// counts is whether that one still talks.
    fn hears_a_leader(&self) -> bool {
        self.engine.silence() < self.config.timing.election_max * 2
    }

    fn members_of(&self, metrics: &RaftMetrics<TypeConfig<M>>) -> Vec<MemberStatus> {
        let voters: Vec<u64> = metrics.membership_config.voter_ids().collect();
        let leads = metrics.state == ServerState::Leader;
        let member = |(id, peer): (&u64, &Peer)| {
            let other = leads && *id != self.engine.node_id.get();
            let matched = metrics
                .replication
                .as_ref()
                .and_then(|all| all.get(id).copied().flatten());
            let heard = metrics
                .heartbeat
                .as_ref()
                .and_then(|all| all.get(id).cloned().flatten());
            let versions = &self.engine.versions;
            let known = if *id == self.engine.node_id.get() {
                Some(versions.own().clone())
            } else {
                versions.of(*id)
            };
            MemberStatus {
                node_id: NodeId::new(*id),
                address: peer.address.clone(),
                store_id: peer.store_id,
                voter: voters.contains(id),
                matched: matched.filter(|_| other).map(|id| LogIndex::new(id.index)),
                lag_entries: other.then(|| lag_of(metrics, NodeId::new(*id))),
                silent_ms: heard.filter(|_| other).map(|at| super::millis(at.elapsed())),
                machine: known.as_ref().map(|known| known.machine),
                product: known
                    .map(|known| known.product)
                    .filter(|product| !product.is_empty()),
            }
        };
        metrics.membership_config.nodes().map(member).collect()
    }
}

pub(crate) const fn role_of(state: ServerState) -> Role {
    match state {
        ServerState::Learner => Role::Learner,
        ServerState::Follower => Role::Follower,
        ServerState::Candidate => Role::Candidate,
        ServerState::Leader => Role::Leader,
        ServerState::Shutdown => Role::Stopped,
    }
}

fn warnings<M: Machine>(metrics: &RaftMetrics<TypeConfig<M>>, disk_full: bool) -> Vec<String> {
    let mut warnings = Vec::new();
    if disk_full {
        warnings.push("the disk is full: this node takes no new data".to_owned());
    }
    let voters = metrics.membership_config.voter_ids().count();
    if voters > 0 && voters.is_multiple_of(2) {
        warnings.push(format!(
            "{voters} voters survive no more failures than {} would",
            voters - 1
        ));
    }
    if voters > 7 {
        warnings.push(format!(
            "{voters} voters make every write wait for {}",
            voters / 2 + 1
        ));
    }
    if metrics.membership_config.membership().get_joint_config().len() > 1 {
        warnings.push("a change of voters is half way".to_owned());
    }
    warnings
}
