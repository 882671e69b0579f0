//! Versioned byte forms of what the log, the wire and snapshots keep.

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
