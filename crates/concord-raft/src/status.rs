//! What a node tells about itself: for people, health checks and metrics.

use concord_core::ids::{LogIndex, NodeId, Revision, Term};
use concord_core::version::{ClusterVersion, MachineVersion};

use crate::error::StopReason;

/// What a node is doing in its cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// It belongs to no cluster yet.
    Outside,
    /// It receives the log but does not vote.
    Learner,
    /// It votes and follows.
    Follower,
    /// It asks for votes.
    Candidate,
    /// It leads.
    Leader,
    /// It has stopped; see [`NodeStatus::stopped`].
    Stopped,
}

impl Role {
    /// The name that interfaces show.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Outside => "outside",
            Self::Learner => "learner",
            Self::Follower => "follower",
            Self::Candidate => "candidate",
            Self::Leader => "leader",
            Self::Stopped => "stopped",
        }
    }
}

/// One seat in the membership.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemberStatus {
    /// The node.
    pub node_id: NodeId,
    /// `host:port` of its peer listener.
    pub address: String,
    /// The id of its data directory.
    pub store_id: u128,
    /// Whether it votes.
    pub voter: bool,
    /// The last entry it is known to hold. Only the leader knows, and only of others.
    pub matched: Option<LogIndex>,
    /// How many entries it is behind the leader's log. Only the leader knows.
    pub lag_entries: Option<u64>,
    /// Milliseconds since it last answered. Only the leader knows.
    pub silent_ms: Option<u64>,
    /// The newest machine that its program knows; `None`: it did not say when it was last asked.
    pub machine: Option<MachineVersion>,
    /// The release of its program; `None`: it did not say.
    pub product: Option<String>,
}

impl MemberStatus {
    /// A seat of which nothing else is known: for those who judge seats, and their tests.
    pub const fn seat(node_id: NodeId, voter: bool, silent_ms: Option<u64>) -> Self {
        Self {
            node_id,
            address: String::new(),
            store_id: 0,
            voter,
            matched: None,
            lag_entries: None,
            silent_ms,
            machine: None,
            product: None,
        }
    }
}

/// How far the installation of a snapshot from the leader has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotProgress {
    /// Bytes received.
    pub received_bytes: u64,
    /// Bytes in all.
    pub total_bytes: u64,
}

/// A node and its view of the cluster, at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NodeStatus {
    /// This node.
    pub node_id: NodeId,
    /// The id of its data directory.
    pub store_id: u128,
    /// Its cluster, once it belongs to one.
    pub cluster_id: Option<u128>,
    /// What it does there.
    pub role: Role,
    /// The current term.
    pub term: Term,
    /// The current leader, if this node knows one and has heard of it within two election timeouts.
    pub leader: Option<NodeId>,
    /// The last entry in its log; 0 when empty.
    pub last_index: LogIndex,
    /// The last entry it knows to be committed; 0 when none.
    pub commit_index: LogIndex,
    /// The last entry its machine has applied; 0 when none.
    pub applied_index: LogIndex,
    /// The last entry in its newest snapshot; 0 when none.
    pub snapshot_index: LogIndex,
    /// The last entry that was dropped from its log; 0 when none.
    pub purged_index: LogIndex,
    /// The revision that its machine shows.
    pub revision: Revision,
    /// All members, by node id.
    pub members: Vec<MemberStatus>,
    /// Whether a change of voters is half way (joint consensus).
    pub changing_members: bool,
    /// Milliseconds since a quorum last confirmed this node as leader; leader only.
    pub quorum_silent_ms: Option<u64>,
    /// Whether the node still withholds its votes after a restart.
    pub withholds_votes: bool,
    /// The snapshot that it is receiving, if any.
    pub receiving_snapshot: Option<SnapshotProgress>,
    /// Whether its disk has no room for more log: see [`crate::Node::is_disk_full`].
    pub disk_full: bool,
    /// What an operator should know.
    pub warnings: Vec<String>,
    /// As what machine the cluster applies entries, as far as this node has.
    pub machine: ClusterVersion,
    /// The newest machine that this node knows.
    pub machine_known: MachineVersion,
    /// The members that keep the cluster from it: they know less, or do not answer.
    pub held_back_by: Vec<NodeId>,
    /// Why it has stopped, if it has.
    pub stopped: Option<StopReason>,
}

impl NodeStatus {
    /// The members that vote.
    pub fn voters(&self) -> impl Iterator<Item = &MemberStatus> {
        self.members.iter().filter(|member| member.voter)
    }

    /// The members that only receive the log.
    pub fn learners(&self) -> impl Iterator<Item = &MemberStatus> {
        self.members.iter().filter(|member| !member.voter)
    }

    /// Whether it finds itself among the members. A node that joins knows its leader a moment before it has received
    /// anything of the cluster.
    pub fn is_member(&self) -> bool {
        self.members.iter().any(|member| member.node_id == self.node_id)
    }

    /// Whether it is a member, knows a leader, and has applied something, and all that it knows to be committed.
    pub fn is_ready(&self) -> bool {
        self.stopped.is_none()
            && self.leader.is_some()
            && self.is_member()
            && self.applied_index >= self.commit_index
            && self.applied_index.get() > 0
    }
}
