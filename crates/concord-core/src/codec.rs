//! Versioned byte forms of what the log, the wire and snapshots keep.
//!
//! Each form begins with a version byte; the layouts are in `docs/log-format.md`, and bytes
//! of every version are kept under `testdata/`. Decoders are total: any input gives a value
//! or a [`DecodeError`], and allocates no more than the input justifies. Numbers are LEB128
//! in their shortest form, so that equal values are equal bytes.

mod batch;
pub(crate) mod command;
pub(crate) mod reader;
mod reply;
mod snapshot;
pub(crate) mod writer;

pub use command::CommandError;
pub use snapshot::{SnapshotChunks, StoreRestorer};

/// Bytes that are not what they should be. The offset counts from the start of the
/// decoded unit (a batch, a request, a reply, a snapshot chunk).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} at byte {offset}")]
pub struct DecodeError {
    /// What was expected or found, in words.
    pub what: &'static str,
    /// Where.
    pub offset: usize,
}
