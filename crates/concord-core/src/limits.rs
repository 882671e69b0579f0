//! Every maximum of the core in one place. Checked at the edge, asserted inside.

/// A snapshot chunk is closed when it reaches this many bytes.
pub const SNAPSHOT_CHUNK_BYTES: usize = 1 << 20;
