//! A batch: the requests of many callers in one log entry with one timestamp.
//!
//! The machine's requests travel as opaque bytes, so consensus neither parses nor
//! copies them. The byte layout is in `docs/log-format.md`.

use alloc::vec::Vec;

use bytes::Bytes;

use crate::ids::{SessionId, Timestamp};

/// The payload of one log entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// The leader's clock when it proposed the entry. The replicated clock moves to
    /// it unless it is already ahead.
    pub proposed_at: Timestamp,
    /// Requests by proposer. Empty: the batch only moves the clock on.
    pub groups: Vec<Group>,
}

/// Consecutive requests of one proposer's session.
///
/// Between groups, sequence numbers may be skipped for good (a request that its caller
/// gave up on), and a group or a part of it may come again, late and in any place. A
/// number is applied at most once (I7); one below `acked_below` of any group applied
/// before is not applied, whatever was remembered of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Whose requests these are. Retries under the same session and sequence apply once.
    pub session: SessionId,
    /// The session is created if it is unknown. An unknown session is otherwise refused,
    /// because its replies are gone. Set on a group without requests, which a proposer sends
    /// until it is answered, before anything else: if an opening group had requests, a late
    /// copy of it could bring a session back that had run out, and apply them again (I7).
    pub opens: bool,
    /// Every sequence number below this has been answered and its reply can be dropped.
    pub acked_below: u64,
    /// The sequence number of the first request; the others follow without gaps. Starts at 1.
    pub first_sequence: u64,
    /// The encoded requests.
    pub requests: Vec<Bytes>,
}
