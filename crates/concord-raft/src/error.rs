//! What can go wrong with a node as a whole, and what a caller can do about any error.
//!
//! Each operation has an enum of its own: proposals and reads beside their code, starting
//! and membership here. A refusal *by* the machine is not an error: it is a reply.

use concord_core::ids::NodeId;

/// The class of an operational error: what the caller can do. Stable, unlike message texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Nothing was written. The same call may succeed later: overload, no quorum, no leader yet.
    Retry,
    /// The deadline passed and nothing was written.
    Timeout,
    /// The write may have happened, or may yet.
    OutcomeUnknown,
    /// The request can never succeed as it is. Nothing was written.
    Invalid,
    /// Not every member of the cluster knows how yet. Nothing was written.
    Unsupported,
    /// What it names does not exist. Nothing was written.
    NotFound,
    /// It contradicts what is. Nothing was written.
    Conflict,
    /// This node or directory may not take part; an operator must act. Nothing was written.
    Refused,
    /// Stored data is damaged; an operator must act.
    Corrupt,
    /// This node stops. Nothing was written by this call.
    ShuttingDown,
    /// This node's storage failed; it must be restarted.
    Fatal,
}

/// Why a node serves no longer: it must be restarted, perhaps repaired first.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StopReason {
    /// [`crate::node::Node::shutdown`] was called.
    #[error("the node is shutting down")]
    Shutdown,
    /// The log device failed. What was acknowledged is safe; nothing more is (I12).
    #[error("storage failed: {reason}")]
    Storage {
        /// The first failure, with its file.
        reason: String,
    },
    /// A committed entry or a snapshot cannot be read: this replica would differ from the
    /// others, so it stops.
    #[error("stored data is damaged: {reason}")]
    Corrupt {
        /// What and where.
        reason: String,
    },
    /// An entry or a snapshot is of a newer machine than this program knows: it would apply what follows differently
    /// from the others, so it stops (I24). An operator must start the node with a newer release.
    #[error("{reason}")]
    TooOld {
        /// What was met and where, and which release knows it.
        reason: String,
    },
    /// The cluster removed this node. Its id is never used again.
    #[error("this node was removed from the cluster")]
    Removed,
    /// The same data directory runs elsewhere: one of the two is a copy.
    #[error("{reason}")]
    Copied {
        /// Where the other one is, and what to do.
        reason: String,
    },
    /// A defect: consensus stopped by itself.
    #[error("consensus stopped: {reason}")]
    Defect {
        /// What it said.
        reason: String,
    },
}

impl StopReason {
    /// What the caller can do about it.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Shutdown => ErrorKind::ShuttingDown,
            Self::Storage { .. } | Self::Defect { .. } => ErrorKind::Fatal,
            Self::Corrupt { .. } => ErrorKind::Corrupt,
            Self::Removed | Self::Copied { .. } | Self::TooOld { .. } => ErrorKind::Refused,
        }
    }
}

/// Why a change of the members did not happen, or may not have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MembershipError {
    /// The node belongs to no cluster yet. Nothing was written.
    #[error("this node belongs to no cluster yet")]
    NoCluster,
    /// No leader is known, or it was lost before it took the change. Nothing was written.
    #[error("no leader to ask")]
    NoLeader,
    /// The change makes no sense as asked. Nothing was written.
    #[error("{reason}")]
    Invalid {
        /// Why, and what to do instead.
        reason: String,
    },
    /// No such member. Nothing was written.
    #[error("node {node} is not a member")]
    UnknownNode {
        /// Whom it named.
        node: NodeId,
    },
    /// The id, the address or the data directory is taken, or was in use once: node ids
    /// are never used again. Nothing was written.
    #[error("{reason}")]
    Conflict {
        /// What is taken and by whom.
        reason: String,
    },
    /// The learner is too far behind to vote. Nothing was written; retry later.
    #[error("node {node} is {lag_entries} entries behind, limit for a voter is {limit_entries}")]
    NotCaughtUp {
        /// The learner.
        node: NodeId,
        /// How far it is behind.
        lag_entries: u64,
        /// How far it may be.
        limit_entries: u64,
    },
    /// The member has not answered the leader lately, so it cannot vote or lead. Nothing
    /// was written; retry when it is back.
    #[error("node {node} does not answer the leader")]
    Silent {
        /// The member.
        node: NodeId,
    },
    /// Another change is under way. Nothing was written; retry later.
    #[error("another membership change is under way")]
    InProgress,
    /// The outcome is not known: the change may have happened or may yet. Look at the
    /// status, then ask again; every change here can be repeated safely.
    #[error("no answer within {waited_ms} ms, outcome unknown")]
    OutcomeUnknown {
        /// How long it waited.
        waited_ms: u64,
    },
    /// The node has stopped. Nothing was written by this call.
    #[error(transparent)]
    Stopped(#[from] StopReason),
}

impl MembershipError {
    /// What the caller can do about it.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::NoCluster
            | Self::NotCaughtUp { .. }
            | Self::Silent { .. }
            | Self::InProgress
            | Self::NoLeader => ErrorKind::Retry,
            Self::Invalid { .. } => ErrorKind::Invalid,
            Self::UnknownNode { .. } => ErrorKind::NotFound,
            Self::Conflict { .. } => ErrorKind::Conflict,
            Self::OutcomeUnknown { .. } => ErrorKind::OutcomeUnknown,
            Self::Stopped(reason) => reason.kind(),
        }
    }
}

/// Why a node did not start, or did not come to belong to a cluster.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A setting cannot work. Nothing was written.
    #[error("{reason}")]
    InvalidConfig {
        /// Which, and why.
        reason: String,
    },
    /// The data directory cannot be used as it is: another process has it, or it belongs
    /// to another node. Nothing was written.
    #[error("{reason}")]
    Directory {
        /// What is wrong and what to do.
        reason: String,
    },
    /// Stored data is of a newer release. Nothing was written.
    #[error("{reason}")]
    TooOld {
        /// What was met and where, and what to do.
        reason: String,
    },
    /// Stored data is damaged. Nothing was written.
    #[error("stored data is damaged: {reason}")]
    Corrupt {
        /// File, offset and what is wrong there.
        reason: String,
    },
    /// Reading or writing the data directory failed. What was acknowledged is safe.
    #[error("storage failed: {reason}")]
    Storage {
        /// What failed, with its file.
        reason: String,
    },
    /// A peer refused this node, or the seeds contradict each other. No cluster was formed
    /// by this node, and it joined none.
    #[error("{reason}")]
    Refused {
        /// Who refused, why, and what to do.
        reason: String,
    },
    /// The node was stopped while it waited for its peers.
    #[error(transparent)]
    Stopped(#[from] StopReason),
}

impl StartError {
    /// What the caller can do about it.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::InvalidConfig { .. } => ErrorKind::Invalid,
            Self::Directory { .. } | Self::Refused { .. } | Self::TooOld { .. } => ErrorKind::Refused,
            Self::Corrupt { .. } => ErrorKind::Corrupt,
            Self::Storage { .. } => ErrorKind::Fatal,
            Self::Stopped(reason) => reason.kind(),
        }
    }
}

impl From<crate::storage_error::StorageError> for StartError {
    fn from(error: crate::storage_error::StorageError) -> Self {
        use crate::storage_error::StorageError as E;
        let reason = match std::error::Error::source(&error) {
            Some(cause) => format!("{error}: {cause}"),
            None => error.to_string(),
        };
        match error {
            E::Version { .. } | E::NewerMachine { .. } => Self::TooOld { reason },
            E::Corrupt { .. } | E::Foreign { .. } => Self::Corrupt { reason },
            E::Locked { .. } | E::OtherNode { .. } | E::OtherCluster { .. } => Self::Directory { reason },
            E::Full { .. } | E::Io { .. } | E::TooLarge { .. } | E::Misuse { .. } | E::Closed => {
                Self::Storage { reason }
            }
        }
    }
}
