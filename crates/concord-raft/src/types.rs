//! The type configuration that openraft is instantiated with, and short names for the
//! openraft types that this crate uses.
//!
//! Only [`Replies`] depends on the machine. Log ids, votes and entries do not, so the
//! write-ahead log, the snapshot files and the peer messages are written for concrete
//! types and compiled once; `TypeConfig<M>` appears where openraft itself is called.
//!
//! None of openraft's serde forms is ever stored or sent: `log/record.rs` and
//! `message.rs` have byte layouts of their own.

use std::cmp::Ordering;
use std::fmt;
use std::marker::PhantomData;

use bytes::Bytes;
use concord_core::machine::Machine;
use openraft::impls::{BoxedErrorSource, InlineBatch, OneshotResponder, TokioRuntime};
use openraft::vote::leader_id_std;
use openraft::{EntryPayload, OptionalSend, RaftTypeConfig};
use openraft_rt::deterministic_rng::DeterministicRng;

/// A batch in the byte form that the log keeps: what an entry carries.
///
/// Cheap to clone. Printing shows the size only: contents are callers' data.
#[derive(Clone, PartialEq, Eq)]
pub struct EncodedBatch(Bytes);

impl EncodedBatch {
    /// Wraps the encoded form of a [`concord_core::batch::Batch`].
    pub const fn new(bytes: Bytes) -> Self {
        Self(bytes)
    }

    /// The encoded form.
    pub const fn bytes(&self) -> &Bytes {
        &self.0
    }
}

impl fmt::Debug for EncodedBatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "batch of {} bytes", self.0.len())
    }
}

impl fmt::Display for EncodedBatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// The replies to the requests of one entry, in their order; none for a blank or
/// membership entry.
pub struct Replies<M: Machine>(Vec<M::Reply>);

impl<M: Machine> Replies<M> {
    /// Wraps the replies to one batch.
    pub const fn new(replies: Vec<M::Reply>) -> Self {
        Self(replies)
    }

    /// The replies, in the order of the requests.
    pub fn into_inner(self) -> Vec<M::Reply> {
        self.0
    }
}

// By hand: deriving would ask for `M: Debug`, which a machine need not be.
impl<M: Machine> fmt::Debug for Replies<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} replies", self.0.len())
    }
}

/// How a member is reached and recognised: what the membership stores for each node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Peer {
    /// `host:port` of its peer listener.
    pub address: String,
    /// The random id of its data directory; a wiped disk comes back with another.
    pub store_id: u128,
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (store {:032x})", self.address, self.store_id)
    }
}

/// openraft's types for a replicated machine `M`. Never constructed.
///
/// openraft wants its configuration to be `Copy`, ordered and printable. The derives
/// would put those bounds on `M`; the function pointer in the marker keeps the type
/// `Send + Sync` whatever `M` is.
pub struct TypeConfig<M>(PhantomData<fn() -> M>);

impl<M> Clone for TypeConfig<M> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<M> Copy for TypeConfig<M> {}

impl<M> Default for TypeConfig<M> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<M> fmt::Debug for TypeConfig<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TypeConfig")
    }
}

impl<M> PartialEq for TypeConfig<M> {
    fn eq(&self, _other: &Self) -> bool {
        true
    }
}

impl<M> Eq for TypeConfig<M> {}

impl<M> PartialOrd for TypeConfig<M> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<M> Ord for TypeConfig<M> {
    fn cmp(&self, _other: &Self) -> Ordering {
        Ordering::Equal
    }
}

impl<M: Machine> RaftTypeConfig for TypeConfig<M> {
    type D = EncodedBatch;
    type R = Replies<M>;
    type NodeId = u64;
    type Node = Peer;
    type Term = u64;
    // At most one leader a term (I8): a log id is then (term, index), as on disk.
    type LeaderId = LeaderId;
    type Vote = Vote;
    type Payload = Payload;
    type Entry = Entry;
    // Randomness from a seed in a task-local scope, so that a simulated cluster is
    // reproducible; production draws the seed from `Entropy`.
    type AsyncRuntime = Runtime;
    type Responder<T>
        = OneshotResponder<Self, T>
    where
        T: OptionalSend + 'static;
    type Batch<T>
        = InlineBatch<T>
    where
        T: OptionalSend + 'static;
    type ErrorSource = BoxedErrorSource;
}

/// The runtime that openraft's tasks run on.
pub type Runtime = DeterministicRng<TokioRuntime>;
/// A candidate or leader: term and node.
pub type LeaderId = leader_id_std::LeaderId<u64, u64>;
/// A leader that a quorum accepted: its term.
pub type CommittedLeaderId = leader_id_std::CommittedLeaderId<u64>;
/// Term and index of an entry.
pub type LogId = openraft::LogId<CommittedLeaderId>;
/// Whom this node voted for, and whether a quorum did.
pub type Vote = openraft::Vote<LeaderId>;
/// What an entry carries.
pub type Payload = EntryPayload<EncodedBatch, u64, Peer>;
/// A log entry.
pub type Entry = openraft::Entry<CommittedLeaderId, Payload>;
/// Voters, possibly joint, and learners.
pub type Membership = openraft::Membership<u64, Peer>;
/// A membership and the entry that set it.
pub type StoredMembership = openraft::StoredMembership<CommittedLeaderId, u64, Peer>;
/// What a snapshot is of.
pub type SnapshotMeta = openraft::SnapshotMeta<CommittedLeaderId, u64, Peer>;

/// Builds a log id.
pub fn log_id(term: u64, index: u64) -> LogId {
    LogId::new(CommittedLeaderId::new(term), index)
}
