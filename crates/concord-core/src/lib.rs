//! What the store *is*: the state, the commands that change it, the views that read it.
//!
//! Not here: agreement (`concord-raft`), who may do what (`concord-auth`), bytes on a
//! socket (`concord-net`). This crate has no clock, no randomness and no I/O; it is
//! `no_std`, so it could not have them by accident.
//!
//! ```text
//!   Command ──> Batch ──> log entry ──> Store::apply ──> Reply, to the caller
//!                                            │
//!                                            └──> state ──> ReadView at a Revision
//! ```
//!
//! [`Store::apply`](machine::Machine::apply) is the only door in, [`ReadView`] the only door out.
//!
//! Keeps I1 (log order), I2 (time never runs back), I3 (a refusal changes nothing), I4 (equal
//! logs give equal bytes), I7 (once per session and sequence), I10 (exact usage), I11 (reads of
//! the past), I15 (views never change), I17 (expiry), I19 (leases), I20 (indexes), I22 (nothing is done by a right that is gone) and I24 (replicas of all releases apply alike). See `docs/invariants.md`.

#![no_std]

extern crate alloc;
// Lets a file of `tests/` run as a unit test too.
#[cfg(test)]
extern crate self as concord_core;

pub mod batch;
mod changelog;
mod check;
pub mod codec;
pub mod command;
mod crc32c;
pub mod document;
pub mod expr;
pub mod filter;
pub mod glob;
pub mod idempotency;
pub mod ids;
pub mod index;
pub mod invariants;
pub mod key;
pub mod lease;
pub mod limits;
pub mod machine;
pub mod namespace;
mod packing;
pub mod pattern;
pub mod policy;
pub mod record;
pub mod reply;
pub mod restore;
pub mod select;
pub mod settings;
mod state;
pub mod store;
pub mod subscription;
pub mod trace;
pub mod tree;
pub mod txn;
pub mod value;
pub mod version;
pub mod view;

pub use batch::{Batch, Group};
pub use command::{Command, Condition, Lifetime, PutItem, TouchItem};
pub use document::Document;
pub use expr::Expression;
pub use filter::{Filter, KeyTest};
pub use idempotency::IdempotencyKey;
pub use ids::{LeaseId, LogIndex, Millis, NodeId, Revision, SessionId, Term, Timestamp};
pub use key::{InvalidKey, Key, KeyRange};
pub use lease::Lease;
pub use machine::{Machine, Meta, Restorer};
pub use namespace::{NamespaceEdit, NamespaceQuota, NamespaceStatus};
pub use policy::{Guard, PolicyChange, PolicyEdit, PrincipalId};
pub use record::{PinnedRecord, Record, RecordRef, StoredRecord};
pub use reply::{Rejection, Reply};
pub use restore::{RestoreId, RestoreStatus, RestoreStep};
pub use settings::{Compaction, Settings};
pub use store::Store;
pub use subscription::{Subscription, SubscriptionName};
pub use txn::{Compare, Keys, Operation, OperationResult, Operator, Test, Txn, TxnOutcome};
pub use value::{CorruptValue, InvalidValue, StoredRef, StoredValue, Value, ValueFormat};
pub use version::{ClusterVersion, MachineVersion, Release};
pub use view::{
    Change, ChangeKind, Changes, Direction, HistoryPage, HistoryRequest, IndexPage, IndexPosition,
    IndexRequest, ReadView, ScanOutput, ScanPage, ScanPosition, ScanRequest, Usage, Version, ViewError,
};
