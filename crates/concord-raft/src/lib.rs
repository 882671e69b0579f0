//! How do replicas agree on the order of entries, and keep them for good?
//!
//! Not here: what a key is (`concord-core`), who may write it (`concord-auth`), how
//! bytes reach a peer (`concord-net`). Generic over [`concord_core::machine::Machine`].
//!
//! Feature `test-util`: `sim_disk`, a disk in memory that loses what was not synced.

mod adapter;
pub mod backup;
pub mod blocking;
mod bootstrap;
pub mod config;
mod consensus;
mod engine;
pub mod error;
#[cfg(test)]
mod fake;
mod inbound;
pub mod limits;
mod membership;
mod message;
pub mod node;
pub mod observe;
pub mod offline;
pub mod ports;
pub mod proposer;
pub mod read;
mod roster;
mod sole_voter;
pub mod status;
mod stop;
pub mod types;

pub mod identity;
pub mod log;
pub mod os;
pub mod snapshot_store;
pub mod stats;
pub mod storage_error;
mod versions;

mod codec;
mod container;
mod small_file;

#[cfg(any(test, feature = "test-util"))]
pub mod sim_disk;

pub use config::{LogConfig, NodeConfig, SnapshotConfig, StartMode, Timing};
pub use consensus::{Published, Views};
pub use error::{ErrorKind, MembershipError, StartError, StopReason};
pub use identity::{DataDirectory, Identity};
pub use node::Node;
pub use observe::{AppliedEntry, Observer, SnapshotTaken, Standing};
pub use proposer::ProposeError;
pub use read::{ReadConsistency, ReadError, ReadRequest};
pub use status::{MemberStatus, NodeStatus, Role};
pub use storage_error::StorageError;
