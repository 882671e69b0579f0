//! Why a node did not start.

use std::io;

use concord_raft::{StartError, StorageError};

use crate::audit::AuditOpenError;
use crate::config::ConfigError;

/// Why a node did not start. Nothing runs; what was stored before is unharmed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The configuration cannot be.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The data directory cannot be used: in use, another node's, damaged, of a newer
    /// version, read-only, full.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The node did not recover or was refused by its peers.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The audit log cannot be opened. A node that is to keep one does not run without.
    #[error(transparent)]
    Audit(#[from] AuditOpenError),
    /// An address cannot be listened on.
    #[error("cannot listen for {purpose} on {address}")]
    Listen {
        /// For whom.
        purpose: &'static str,
        /// Where.
        address: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The data belongs to a cluster of several nodes and no peer listener is configured.
    #[error("the data directory belongs to a cluster of {members} members: set peers.listen to reach them")]
    PeersMissing {
        /// How many.
        members: usize,
    },
    /// This build lacks what the configuration asks for.
    #[error("this build has no {what}")]
    Unsupported {
        /// What.
        what: &'static str,
    },
}

/// Why a node did not start, in kind. Stable, unlike the message text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OpenErrorKind {
    /// The configuration must be corrected.
    Config,
    /// Another process has the data directory open.
    InUse,
    /// The data directory belongs to another node or cluster, or the peers refuse this node.
    Refused,
    /// Stored data is damaged.
    Corrupt,
    /// Stored data is of a newer version.
    NewerVersion,
    /// The file system is full, read-only, or fails.
    StorageFailed,
    /// An address is in use or not this machine's.
    Address,
}

impl OpenError {
    /// What is in the way.
    pub fn kind(&self) -> OpenErrorKind {
        match self {
            Self::Config(_) | Self::Unsupported { .. } | Self::PeersMissing { .. } => OpenErrorKind::Config,
            Self::Listen { .. } => OpenErrorKind::Address,
            Self::Audit(_) => OpenErrorKind::StorageFailed,
            Self::Storage(error) => storage_kind(error),
            Self::Start(StartError::TooOld { .. }) => OpenErrorKind::NewerVersion,
            Self::Start(error) => match error.kind() {
                concord_raft::ErrorKind::Invalid => OpenErrorKind::Config,
                concord_raft::ErrorKind::Corrupt => OpenErrorKind::Corrupt,
                concord_raft::ErrorKind::Fatal => OpenErrorKind::StorageFailed,
                concord_raft::ErrorKind::Retry
                | concord_raft::ErrorKind::Timeout
                | concord_raft::ErrorKind::OutcomeUnknown
                | concord_raft::ErrorKind::NotFound
                | concord_raft::ErrorKind::Conflict
                | concord_raft::ErrorKind::Refused
                | concord_raft::ErrorKind::ShuttingDown
                | _ => OpenErrorKind::Refused,
            },
        }
    }
}

fn storage_kind(error: &StorageError) -> OpenErrorKind {
    match error {
        StorageError::Locked { .. } => OpenErrorKind::InUse,
        StorageError::Version { .. } | StorageError::NewerMachine { .. } => OpenErrorKind::NewerVersion,
        StorageError::Corrupt { .. } => OpenErrorKind::Corrupt,
        StorageError::Foreign { .. } | StorageError::OtherNode { .. } | StorageError::OtherCluster { .. } => {
            OpenErrorKind::Refused
        }
        StorageError::Full { .. }
        | StorageError::Io { .. }
        | StorageError::TooLarge { .. }
        | StorageError::Misuse { .. }
        | StorageError::Closed
        | _ => OpenErrorKind::StorageFailed,
    }
}
