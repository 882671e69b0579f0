//! Why stored state could not be read or written.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use concord_core::version::{ClusterVersion, MachineVersion};

/// A failure of the data directory, the log or a snapshot.
///
/// Each names the file; there is nothing to retry within the process except
/// [`StorageError::Full`]. Cheap to clone: a failed log gives the first failure to
/// everyone who asks afterwards.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StorageError {
    /// The bytes are not what was written there. Nothing was changed (I18).
    #[error("{} is damaged at byte {offset}: {what}", file.display())]
    Corrupt {
        /// The file.
        file: PathBuf,
        /// Where in it.
        offset: u64,
        /// What was expected or found, in words.
        what: String,
    },
    /// A newer release wrote the file. Nothing was changed.
    #[error("{} has format version {found}, this release reads up to {supported}", file.display())]
    Version {
        /// The file.
        file: PathBuf,
        /// Its version.
        found: u32,
        /// The newest version that this release reads.
        supported: u32,
    },
    /// What the file holds is of a newer machine than this program knows. Nothing was changed.
    #[error("{}", crate::versions::too_old(&format!("{} in {}", what, file.display()), *needs, *known))]
    NewerMachine {
        /// The file or directory.
        file: PathBuf,
        /// What in it.
        what: String,
        /// The version that it is of.
        needs: ClusterVersion,
        /// The newest version that is known here.
        known: MachineVersion,
    },
    /// The file belongs to another data directory or cluster. Nothing was changed.
    #[error("{} belongs to {found:032x}, not to {expected:032x}", file.display())]
    Foreign {
        /// The file.
        file: PathBuf,
        /// Whose it is.
        found: u128,
        /// Whose it should be.
        expected: u128,
    },
    /// The file system is full. What was to be written is not stored; space may come back.
    #[error("no space left to {action} {} at byte {offset}", file.display())]
    Full {
        /// What was being done.
        action: &'static str,
        /// The file.
        file: PathBuf,
        /// Where in it.
        offset: u64,
    },
    /// The operating system refused. A write may be stored in part, and is not acknowledged.
    #[error("cannot {action} {} at byte {offset}", file.display())]
    Io {
        /// What was being done.
        action: &'static str,
        /// The file or directory.
        file: PathBuf,
        /// Where in it.
        offset: u64,
        /// Why.
        #[source]
        source: Arc<io::Error>,
    },
    /// Another process has the data directory open. Nothing was changed.
    #[error("{} is in use by another process", directory.display())]
    Locked {
        /// The directory.
        directory: PathBuf,
    },
    /// The data directory belongs to another node than the one configured. Nothing was changed.
    #[error("{} belongs to node {found}, the configuration says node {configured}", directory.display())]
    OtherNode {
        /// The directory.
        directory: PathBuf,
        /// Its node.
        found: u64,
        /// The configured node.
        configured: u64,
    },
    /// The node already belongs to another cluster. Nothing was changed.
    #[error("{} belongs to cluster {found:032x}, not to {wanted:032x}", directory.display())]
    OtherCluster {
        /// The directory.
        directory: PathBuf,
        /// Its cluster.
        found: u128,
        /// The cluster it was asked to join.
        wanted: u128,
    },
    /// Bigger than the format can hold. Nothing was written.
    #[error("{what} is {size_bytes} bytes, limit is {limit_bytes}")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// Its size.
        size_bytes: usize,
        /// The limit.
        limit_bytes: usize,
    },
    /// The log was used out of order. Nothing was written; the caller is at fault.
    #[error("log misuse: {what}")]
    Misuse {
        /// What was wrong, in words.
        what: String,
    },
    /// The log writer has ended. What was handed to it last may or may not be stored.
    #[error("the log is closed")]
    Closed,
}

impl StorageError {
    /// Wraps an operating system error, telling a full file system from the rest.
    pub fn io(action: &'static str, file: &Path, offset: u64, source: io::Error) -> Self {
        let full = matches!(
            source.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
        );
        let file = file.to_path_buf();
        if full {
            Self::Full { action, file, offset }
        } else {
            Self::Io {
                action,
                file,
                offset,
                source: Arc::new(source),
            }
        }
    }

    /// Damage at a place in a file.
    pub(crate) fn corrupt(file: &Path, offset: u64, what: impl Into<String>) -> Self {
        Self::Corrupt {
            file: file.to_path_buf(),
            offset,
            what: what.into(),
        }
    }

    /// Whether the cause is a full file system.
    pub const fn is_full(&self) -> bool {
        matches!(self, Self::Full { .. })
    }
}

/// openraft speaks `io::Error`; the storage error stays inside as its source.
impl From<StorageError> for io::Error {
    fn from(error: StorageError) -> Self {
        let kind = match &error {
            StorageError::Corrupt { .. }
            | StorageError::Version { .. }
            | StorageError::NewerMachine { .. }
            | StorageError::Foreign { .. } => io::ErrorKind::InvalidData,
            StorageError::Full { .. } => io::ErrorKind::StorageFull,
            StorageError::Io { source, .. } => source.kind(),
            StorageError::Locked { .. } => io::ErrorKind::WouldBlock,
            StorageError::OtherNode { .. } | StorageError::OtherCluster { .. } => {
                io::ErrorKind::PermissionDenied
            }
            StorageError::TooLarge { .. } | StorageError::Misuse { .. } => io::ErrorKind::InvalidInput,
            StorageError::Closed => io::ErrorKind::BrokenPipe,
        };
        Self::new(kind, error)
    }
}
