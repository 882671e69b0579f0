//! What is done to a data directory while no node runs in it: make one out of a backup,
//! make a cluster of its own out of a survivor's, look at one.
//!
//! Not here: what the machine holds. Calls block, and must not be made on a thread that
//! runs async tasks.
//!
//! ```text
//!   backup ──────────▶ restore ──┐
//!                                ├──▶ found: snapshot, log, and at last the identity
//!   survivor's dir ──▶ recover ──┘        a new store id and a new cluster id
//! ```
//!
//! The identity is written last: a directory that has data and no identity is refused when
//! a node starts, so one that was left half done is never taken for a whole one (I13).

mod doctor;
mod found;
mod readonly;
mod recover;
mod restore;

use std::path::PathBuf;

pub use doctor::{Examination, Finding, LogFacts, SegmentFacts, Severity, SnapshotFacts, examine};
pub use recover::{Forced, Survivor, SurvivorFacts};
pub use restore::{Restored, restore};

use crate::storage_error::StorageError;

/// Why nothing was done to a data directory.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OfflineError {
    /// A file cannot be read, written or believed.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// There is something in the directory that is to be made.
    #[error("{} is not empty: {entry} is in it", directory.display())]
    NotEmpty {
        /// The directory.
        directory: PathBuf,
        /// The first thing in it.
        entry: String,
    },
    /// The directory has no data of a cluster's member.
    #[error("{} is not the data directory of a cluster's member", directory.display())]
    NoMember {
        /// The directory.
        directory: PathBuf,
    },
}
