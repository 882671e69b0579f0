//! Every maximum of consensus in one place. Checked at the edge, asserted inside.

/// Entries kept behind a snapshot at most: more than openraft's snapshot threshold would
/// make a follower that needs them wait for a snapshot it does not get.
pub const LOG_ENTRIES_KEPT_MAX: u64 = 10_000_000;

/// Bytes of a peer's address, `host:port`.
pub const ADDRESS_BYTES_MAX: usize = 300;
