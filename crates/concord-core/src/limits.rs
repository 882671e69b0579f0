//! Every maximum of the core in one place. Checked at the edge, asserted inside.

/// A snapshot chunk is closed when it reaches this many bytes.
pub const SNAPSHOT_CHUNK_BYTES: usize = 1 << 20;

/// A proposer keeps at most this many requests of its session unanswered: sequence
/// numbers in use span at most this window above `acked_below`.
pub const SESSION_WINDOW: u64 = 16_384;
