//! Every maximum of consensus in one place. Checked at the edge, asserted inside.

use std::time::Duration;

/// Entries kept behind a snapshot at most: more than openraft's snapshot threshold would
/// make a follower that needs them wait for a snapshot it does not get.
pub const LOG_ENTRIES_KEPT_MAX: u64 = 10_000_000;

/// Bytes of a peer's address, `host:port`.
pub const ADDRESS_BYTES_MAX: usize = 300;

/// Members, voters and learners, that a stored membership may have.
pub const MEMBERS_MAX: usize = 1024;

/// The smallest log segment, for tests and tiny disks.
pub const LOG_SEGMENT_BYTES_MIN: u64 = 8 << 10;

/// The largest log segment: a frame's length is 32 bits.
pub const LOG_SEGMENT_BYTES_MAX: u64 = 1 << 30;

/// Requests that may wait for the log writer; the next one waits for a place.
pub const LOG_QUEUE_REQUESTS: usize = 1024;

/// The log writer closes a frame when it holds this many bytes; a larger entry makes its own.
pub const LOG_FRAME_BYTES: usize = 4 << 20;

/// Bytes of one read when the log is replayed or read back.
pub const LOG_READ_BYTES: usize = 1 << 20;

/// The sparse index of the log keeps one position for about this many bytes.
pub const LOG_POSITION_EVERY_BYTES: u64 = 32 << 10;

/// Entries handed out by one read for replication stay under this, but for the first.
pub const LOG_READ_ENTRIES_BYTES: usize = 2 << 20;

/// Bytes of the newest entries that stay in memory, unless configured otherwise: twice what
/// may be on its way to a follower. Who is further behind is served from the page cache.
pub const LOG_TAIL_BYTES: usize = 2 * APPEND_IN_FLIGHT_BYTES;

/// Bytes of a small file such as the identity, and of a snapshot's header.
pub const SMALL_FILE_BYTES: usize = 1 << 20;

/// Bytes of the largest chunk in a snapshot file: a full chunk, and one record of the
/// largest size, which may be a chunk of what is being restored.
pub const SNAPSHOT_CHUNK_BYTES: usize =
    2 * concord_core::limits::SNAPSHOT_CHUNK_BYTES + REQUEST_BYTES_MAX + (64 << 10);

/// Bytes of one request.
pub const REQUEST_BYTES_MAX: usize = 64 << 20;

/// Requests that wait or are in flight on one node; more are refused as overload.
pub const PROPOSALS_MAX: u64 = 16_384;

/// Their bytes.
pub const PROPOSAL_BYTES_MAX: u64 = 256 << 20;

/// Requests sent and not answered: with the numbers of answered ones between them they
/// must fit into the machine's session window, with room to spare.
pub const PROPOSALS_SENT_MAX: usize = 8_192;

/// Bytes of requests in one group or entry, unless it is a single larger request.
pub const ENTRY_BYTES_MAX: usize = 1 << 20;

/// Requests in one group or entry.
pub const ENTRY_REQUESTS_MAX: usize = 4_096;

/// Entries that a leader has in flight, and groups that a proposer has on its way to one.
pub const ENTRIES_IN_FLIGHT_MAX: usize = 4;

/// Groups of other nodes that wait for the leader's next entry.
pub const FORWARDED_GROUPS_MAX: usize = 256;

/// Groups of one peer that wait or are in flight; more are not read from its stream.
pub const FORWARDED_GROUPS_PER_PEER_MAX: usize = 2 * ENTRIES_IN_FLIGHT_MAX;

/// Bytes of replies in one message to another proposer, unless it is a single larger reply.
pub const REPLY_MESSAGE_BYTES_MAX: usize = 1 << 20;

/// Reads that wait on one node.
pub const READS_WAITING_MAX: usize = 65_536;

/// The longest a read round may take before it is tried again.
pub const READ_ROUND_MAX: Duration = Duration::from_secs(1);

/// Bytes of a reason in words that a peer sends.
pub const REASON_BYTES_MAX: usize = 1_000;

/// The longest name of a release that a node tells others.
pub const PRODUCT_BYTES_MAX: usize = 64;

/// Voters in a membership. More than seven make every write slower and nothing safer.
pub const VOTERS_MAX: usize = 15;

/// Sets of voters in a membership: one, or two while a change is half way.
pub(crate) const VOTER_SETS_MAX: usize = 2;

/// Terms and log indexes above this are refused from peers: no cluster reaches them, and
/// arithmetic on them must not overflow.
pub(crate) const NUMBER_MAX: u64 = 1 << 62;

/// Entries in one append request.
pub(crate) const APPEND_ENTRIES_MAX: usize = 1_024;

/// Bytes of the largest entry: one request of the largest size, and its batch around it.
pub const LARGEST_ENTRY_BYTES: usize = REQUEST_BYTES_MAX + (4 << 10);

/// Append requests to one follower whose answers are outstanding. Deep pipelines hurt
/// batching on a LAN (hashicorp/raft#541); a few cover the round trip.
pub(crate) const APPEND_IN_FLIGHT: usize = 8;

/// Bytes of entries to one follower whose answers are outstanding.
pub(crate) const APPEND_IN_FLIGHT_BYTES: usize = 8 << 20;

/// Bytes of a snapshot file in one message.
pub(crate) const SNAPSHOT_MESSAGE_BYTES: usize = 1 << 20;

/// Bytes of the largest message between peers: one entry of the largest size and the
/// fields around it.
pub const PEER_MESSAGE_BYTES_MAX: usize = LARGEST_ENTRY_BYTES + (32 << 10);

/// Entries applied before their view is published and their callers are answered.
pub(crate) const APPLY_BURST_ENTRIES: usize = 64;

/// Bytes of entries applied before their view is published.
pub(crate) const APPLY_BURST_BYTES: usize = 1 << 20;

/// Snapshots kept on disk. An older one is of no use: the log that follows it is purged.
pub(crate) const SNAPSHOTS_KEPT: usize = 1;

/// Removed node ids that a joining node is told.
pub(crate) const REMOVED_MAX: usize = 16_384;

/// How many entries a learner may be behind to become a voter.
pub const PROMOTE_LAG_MAX: u64 = 1_000;

/// Suggested members that a node which looks for a cluster asks in one round.
pub(crate) const SUGGESTIONS_ASKED_MAX: usize = 8;
