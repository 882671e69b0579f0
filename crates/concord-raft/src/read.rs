//! Reads: how a caller gets a view that is fresh enough for it.

use concord_core::ids::Revision;

use crate::error::ErrorKind;

/// How fresh a read must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadConsistency {
    /// Linearizable under any clock behaviour: a quorum confirms the leader, waiting
    /// reads share the confirmation.
    Strong,
    /// Linearizable while clocks drift less than the configured bound.
    Leader,
    /// What this node has applied; never goes back on one node. Works without a quorum.
    Eventual,
}

/// What a read asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadRequest {
    /// How fresh.
    pub consistency: ReadConsistency,
    /// At least this revision: read your own writes on any node.
    pub min_revision: Option<Revision>,
}

impl From<ReadConsistency> for ReadRequest {
    fn from(consistency: ReadConsistency) -> Self {
        Self {
            consistency,
            min_revision: None,
        }
    }
}

/// Why a read got no view. A read never writes anything.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// A leader is known, but no quorum confirmed it in time.
    #[error("no quorum confirmed the read within {waited_ms} ms")]
    NoQuorum {
        /// How long the read waited.
        waited_ms: u64,
    },
    /// No leader is known to this node.
    #[error("no leader was known within {waited_ms} ms")]
    NotReady {
        /// How long the read waited.
        waited_ms: u64,
    },
    /// This node did not reach the confirmed index, or the asked revision, in time.
    #[error("this node did not catch up within {waited_ms} ms")]
    Timeout {
        /// How long the read waited.
        waited_ms: u64,
    },
    /// Too many reads wait on this node.
    #[error("over {limit} reads are waiting")]
    Overloaded {
        /// The limit.
        limit: usize,
    },
    /// This node stops.
    #[error("the node is shutting down")]
    ShuttingDown,
}

impl ReadError {
    /// What the caller can do about it. Stable, unlike the message text.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::NoQuorum { .. } | Self::NotReady { .. } | Self::Overloaded { .. } => ErrorKind::Retry,
            Self::Timeout { .. } => ErrorKind::Timeout,
            Self::ShuttingDown => ErrorKind::ShuttingDown,
        }
    }
}
