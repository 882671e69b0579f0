//! How do replicas agree on the order of entries, and keep them for good?
//!
//! Not here: what a key is (`concord-core`), who may write it (`concord-auth`), how
//! bytes reach a peer (`concord-net`). Generic over [`concord_core::machine::Machine`].

pub mod config;
mod consensus;
pub mod error;
pub mod limits;
pub mod ports;
pub mod proposer;
pub mod read;
pub mod status;
pub mod types;

pub use config::{LogConfig, NodeConfig, SnapshotConfig, StartMode, Timing};
pub use consensus::{Published, Views};
pub use error::{ErrorKind, MembershipError, StartError, StopReason};
pub use proposer::ProposeError;
pub use read::{ReadConsistency, ReadError, ReadRequest};
pub use status::{MemberStatus, NodeStatus, Role};
