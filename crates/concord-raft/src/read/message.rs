//! The read-index call between nodes; little-endian, headed like all of `message`.
//!
//! ```text
//!  request:  version, 0x42, wait_ms 4
//!  answer:   version, 0x43, outcome, index 8       outcome: 0 index, 1 not leader, 2 no quorum, 3 stopped
//! ```

use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use concord_core::ids::LogIndex;

use crate::consensus::ReadIndexError;
use crate::limits;

const VERSION: u8 = 1;
/// The kind byte of the request.
pub(super) const REQUEST: u8 = 0x42;
const ANSWER: u8 = 0x43;
const REQUEST_BYTES: usize = 2 + 4;
const ANSWER_BYTES: usize = 3 + 8;

/// The request to be told a read index within `wait`.
pub(super) fn encode_request(wait: Duration) -> Bytes {
    let mut out = BytesMut::with_capacity(REQUEST_BYTES);
    out.put_slice(&[VERSION, REQUEST]);
    out.put_u32_le(u32::try_from(wait.as_millis()).unwrap_or(u32::MAX));
    out.freeze()
}

/// How long the other node waits. `None` for anything but a request.
pub(super) fn decode_request(message: &Bytes) -> Option<Duration> {
    let mut message = message.clone();
    if message.len() != REQUEST_BYTES || message.get_u8() != VERSION || message.get_u8() != REQUEST {
        return None;
    }
    let wait = Duration::from_millis(u64::from(message.get_u32_le()));
    Some(wait.min(limits::READ_ROUND_MAX))
}

/// The answer to a request.
pub(super) fn encode_answer(answer: Result<LogIndex, ReadIndexError>) -> Bytes {
    let (outcome, index) = match answer {
        Ok(index) => (0, index.get()),
        Err(ReadIndexError::NotLeader) => (1, 0),
        Err(ReadIndexError::NoQuorum) => (2, 0),
        Err(ReadIndexError::Stopped) => (3, 0),
    };
    let mut out = BytesMut::with_capacity(ANSWER_BYTES);
    out.put_slice(&[VERSION, ANSWER, outcome]);
    out.put_u64_le(index);
    out.freeze()
}

/// Reads an answer. Anything malformed counts as "not the leader": ask again.
pub(super) fn decode_answer(mut message: Bytes) -> Result<LogIndex, ReadIndexError> {
    if message.len() != ANSWER_BYTES || message.get_u8() != VERSION || message.get_u8() != ANSWER {
        return Err(ReadIndexError::NotLeader);
    }
    match message.get_u8() {
        0 => Ok(LogIndex::new(message.get_u64_le())),
        2 => Err(ReadIndexError::NoQuorum),
        // Its stop is not this node's: another leader will follow.
        _ => Err(ReadIndexError::NotLeader),
    }
}
