//! What consensus needs of a state machine, and nothing about any particular one.
//!
//! `concord-raft` replicates whatever implements [`Machine`]; [`crate::Store`] is the
//! one that makes Concord. The contract is determinism: equal batches in equal order
//! give equal states, equal replies and equal snapshot bytes on every node.
//!
//! ```text
//!   proposer ──> Batch ──> log entry ──> Machine::apply(Meta, Batch) ──> replies, in order
//!                                              │
//!                                              └──> Machine::view() ──> readers, snapshots
//! ```

use alloc::vec::Vec;
use core::fmt;

use bytes::Bytes;

use crate::batch::Batch;
use crate::codec::DecodeError;
use crate::ids::{LogIndex, Revision, Term, Timestamp};
use crate::trace::TraceContext;
use crate::version::{ClusterVersion, MachineVersion};

/// What the log says about the entry that is being applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meta {
    /// Position of the entry in the log; directly follows the last applied *batch or blank* entry.
    pub index: LogIndex,
    /// Term in which the entry was proposed.
    pub term: Term,
}

/// A deterministic state machine that can be replicated, read and snapshotted.
///
/// Implementations have no clock, no randomness and no I/O; time arrives in
/// [`Batch::proposed_at`]. They never panic on any batch.
pub trait Machine: Send + 'static {
    /// The answer to one request. Refusals are replies too.
    type Reply: Clone + fmt::Debug + Send + Sync + 'static;
    /// An immutable picture of the state: cheap to clone, never blocks apply.
    type View: Clone + Send + Sync + 'static;
    /// Yields a view's snapshot in deterministic chunks of bounded size.
    type SnapshotChunks: Iterator<Item = Bytes> + Send + 'static;
    /// Rebuilds a machine from snapshot chunks.
    type Restorer: Restorer<Machine = Self>;
    /// The newest version of the machine that this program knows.
    const NEWEST: MachineVersion = MachineVersion::BASE;

    /// A machine without data: revision 1, clock 0.
    fn empty() -> Self;

    /// Applies one committed batch and returns one reply per request, in order of
    /// groups and of requests within them.
    ///
    /// A batch without requests only moves the replicated clock on.
    fn apply(&mut self, meta: Meta, batch: &Batch) -> Vec<Self::Reply>;

    /// The state after the last applied batch. O(1).
    fn view(&self) -> Self::View;

    /// When the clock must next move for something to expire, if anything can.
    fn next_deadline(&self) -> Option<Timestamp>;

    /// The revision that a view shows.
    fn revision_of(view: &Self::View) -> Revision;

    /// The chunks of a snapshot of `view`; each at most [`crate::limits::SNAPSHOT_CHUNK_BYTES`]
    /// plus one record.
    fn snapshot(view: &Self::View) -> Self::SnapshotChunks;

    /// Gives what runs out by itself the time that it had left when the clock stood, counted
    /// from `now`. For a machine that was out of use, such as one out of a backup; outside the
    /// log, so before any other replica has it.
    fn resume_at(&mut self, now: Timestamp) {
        let _ = now;
    }

    /// As what machine it applies, after the last batch. Over [`Machine::NEWEST`], or over what the node can do: it
    /// must not be driven on, nor shown, for it would differ from the others (I24).
    fn version(&self) -> ClusterVersion {
        ClusterVersion::BASE
    }

    /// The version of the machine that a view is of.
    fn version_of(view: &Self::View) -> ClusterVersion {
        let _ = view;
        ClusterVersion::BASE
    }

    /// The version that the machine must have for an encoded request to be done.
    fn needs(request: &Bytes) -> MachineVersion {
        let _ = request;
        MachineVersion::BASE
    }

    /// The request that raises the machine to a version. `None`: this program does not know it.
    fn raise(to: MachineVersion) -> Option<Bytes> {
        let _ = to;
        None
    }

    /// Starts to rebuild a machine from snapshot chunks.
    fn restorer() -> Self::Restorer;

    /// Whether a reply says that the group's session is unknown: this attempt wrote
    /// nothing, and what became of earlier attempts cannot be told any more.
    fn is_session_expired(reply: &Self::Reply) -> bool;

    /// Of which trace an encoded request is, if it says so. Called for every request while somebody records traces.
    fn trace_of(request: &Bytes) -> Option<TraceContext> {
        let _ = request;
        None
    }

    /// Appends the wire form of a reply, for a proposer on another node.
    fn encode_reply(reply: &Self::Reply, out: &mut Vec<u8>);

    /// Reads a reply back from its wire form.
    ///
    /// # Errors
    ///
    /// If the bytes are not a reply of a known version.
    fn decode_reply(bytes: &Bytes) -> Result<Self::Reply, DecodeError>;
}

/// Rebuilds a machine from the chunks that [`Machine::snapshot`] yielded.
pub trait Restorer: Send + 'static {
    /// What is rebuilt.
    type Machine;

    /// The version of what is rebuilt, once the first chunk was looked at, be it understood or not.
    fn version(&self) -> ClusterVersion {
        ClusterVersion::BASE
    }

    /// Takes the next chunk.
    ///
    /// # Errors
    ///
    /// If the chunk is malformed, out of order or of an unknown version.
    fn feed(&mut self, chunk: &Bytes) -> Result<(), DecodeError>;

    /// Ends the rebuild.
    ///
    /// # Errors
    ///
    /// If chunks are missing or totals do not add up.
    fn finish(self) -> Result<Self::Machine, DecodeError>;
}
