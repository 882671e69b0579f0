//! How do replicas agree on the order of entries, and keep them for good?
//!
//! Not here: what a key is (`concord-core`), who may write it (`concord-auth`), how
//! bytes reach a peer (`concord-net`). Generic over [`concord_core::machine::Machine`].

pub mod ports;
pub mod types;
