//! Sessions: a request that comes twice applies once (I7).
//!
//! A session remembers the replies of its latest requests until its proposer has them all.
//! Replies are kept in blocks, one per run of requests that came together. A sequence number
//! is known if a block covers it; below a floor all are forgotten, and refused rather than
//! guessed at. Requests may come in any order: each still applies once.
//!
//! Bounds: sessions, idle time, replies and bytes per session, bytes in all; passing one
//! forgets the oldest, and who then retries is told that the outcome cannot be known.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::ops::Bound;

use bytes::Bytes;

use super::Store;
use super::mutate::bytes;
use crate::batch::Group;
use crate::codec::reader::Reader;
use crate::codec::{DecodeError, writer};
use crate::ids::{Millis, SessionId, Timestamp};
use crate::limits::{
    SESSION_BLOCK_BYTES, SESSION_IDLE_MS, SESSION_REPLY_BYTES_MAX, SESSION_WINDOW,
    SESSIONS_FORGOTTEN_PER_BATCH, SESSIONS_MAX, SESSIONS_REPLY_BYTES_MAX,
};
use crate::reply::{InvalidRequestReason, Rejection, Reply};
use crate::view::SessionUsage;

/// What is known of a session besides its replies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SessionHeader {
    pub(crate) last_used: Timestamp,
    /// Sequence numbers below this are answered or forgotten.
    pub(crate) floor: u64,
    /// Replies remembered.
    pub(crate) replies: u64,
    /// Bytes of their blocks.
    pub(crate) reply_bytes: u64,
}

impl SessionHeader {
    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(24);
        for number in [self.last_used.get(), self.floor, self.replies, self.reply_bytes] {
            writer::number(number, &mut out);
        }
        out
    }

    pub(crate) fn decode(cell: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(cell);
        let header = Self {
            last_used: Timestamp::new(reader.number()?),
            floor: reader.number()?,
            replies: reader.number()?,
            reply_bytes: reader.number()?,
        };
        reader.end()?;
        Ok(header)
    }
}

/// Derived from the headers, so it is in no snapshot.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct SessionTable {
    /// Longest idle first.
    pub(crate) by_last_use: BTreeSet<(Timestamp, SessionId)>,
    pub(crate) reply_bytes: u64,
}

impl SessionTable {
    pub(crate) fn usage(&self) -> SessionUsage {
        SessionUsage {
            count: self.by_last_use.len(),
            reply_bytes: self.reply_bytes,
        }
    }
}

/// Reads the replies of a block: how many, then each behind its length.
pub(crate) fn decode_replies(cell: &[u8]) -> Result<Vec<&[u8]>, DecodeError> {
    let mut reader = Reader::new(cell);
    let count = reader.count(2)?;
    let mut replies = Vec::with_capacity(count);
    for _ in 0..count {
        replies.push(reader.bytes()?);
    }
    reader.end()?;
    Ok(replies)
}

/// A key of the session tree: the session and, for a block, its first sequence number.
pub(crate) fn session_key_parts(key: &[u8]) -> Result<(SessionId, Option<u64>), DecodeError> {
    let mut reader = Reader::new(key);
    let session = SessionId::new(u128::from_be_bytes(reader.array()?));
    let first = if reader.left() == 0 {
        None
    } else {
        Some(u64::from_be_bytes(reader.array()?))
    };
    reader.end()?;
    Ok((session, first))
}

fn header_key(session: SessionId) -> [u8; 16] {
    session.get().to_be_bytes()
}

fn block_key(session: SessionId, first: u64) -> [u8; 24] {
    let mut key = [0; 24];
    let (high, low) = key.split_at_mut(16);
    high.copy_from_slice(&header_key(session));
    low.copy_from_slice(&first.to_be_bytes());
    key
}

/// Replies that are being collected into a block.
#[derive(Default)]
struct Block {
    first: u64,
    count: u64,
    replies: Vec<u8>,
}

impl Store {
    /// Applies a group's requests, or answers them from memory.
    pub(super) fn apply_group(&mut self, group: &Group, replies: &mut Vec<Reply>) {
        let count = group.requests.len();
        let Some(mut session) = self.session(group.session) else {
            // I7: only an empty group opens a session in earnest. If requests came along, this
            // could be a late copy of a group whose requests have been applied and forgotten.
            if group.opens {
                self.open_session(group.session);
            }
            replies.extend(core::iter::repeat_n(
                Reply::Rejected(Rejection::SessionExpired),
                count,
            ));
            return;
        };
        self.acknowledge(group.session, &mut session, group.acked_below);

        let Some(end) = group.first_sequence.checked_add(bytes(count)) else {
            let reason = InvalidRequestReason::Malformed;
            replies.extend(core::iter::repeat_n(
                Reply::Rejected(Rejection::InvalidRequest { reason }),
                count,
            ));
            return;
        };
        let is_known_in_part = self.last_known_before(group.session, end) > group.first_sequence;
        let mut block = Block::default();
        for (sequence, request) in (group.first_sequence..end).zip(&group.requests) {
            let reply = if sequence < session.floor {
                Some(Reply::Rejected(Rejection::SessionExpired))
            } else if is_known_in_part {
                self.recall(group.session, sequence)
            } else {
                None
            };
            if let Some(reply) = reply {
                self.remember(group.session, &mut session, core::mem::take(&mut block));
                replies.push(reply);
                continue;
            }
            let reply = self.request(request);
            if block.count == 0 {
                block.first = sequence;
            }
            block.count += 1;
            encode_behind_length(&reply, &mut block.replies);
            replies.push(reply);
            if bytes(block.replies.len()) >= SESSION_BLOCK_BYTES {
                // Previous records can be large: what is collected stays bounded.
                self.remember(group.session, &mut session, core::mem::take(&mut block));
                self.keep_bounds(group.session, &mut session);
            }
        }
        self.remember(group.session, &mut session, block);
        self.keep_bounds(group.session, &mut session);
        self.store_session(group.session, session);
    }

    fn session(&self, id: SessionId) -> Option<SessionHeader> {
        let cell = self.state.sessions.get(&header_key(id))?;
        Some(SessionHeader::decode(&cell).expect("session headers are checked on restore"))
    }

    fn open_session(&mut self, id: SessionId) {
        while self.sessions.by_last_use.len() >= SESSIONS_MAX {
            let Some(&(_, oldest)) = self.sessions.by_last_use.first() else {
                break;
            };
            self.forget_session(oldest);
        }
        let session = SessionHeader {
            last_used: self.state.now,
            floor: 1,
            ..SessionHeader::default()
        };
        self.sessions.by_last_use.insert((session.last_used, id));
        self.state.sessions.set(&header_key(id), &session.encode());
    }

    fn store_session(&mut self, id: SessionId, mut session: SessionHeader) {
        if session.last_used != self.state.now {
            self.sessions.by_last_use.remove(&(session.last_used, id));
            session.last_used = self.state.now;
            self.sessions.by_last_use.insert((session.last_used, id));
        }
        self.state.sessions.set(&header_key(id), &session.encode());
    }

    /// Where the known sequence numbers that begin before `end` end.
    fn last_known_before(&self, id: SessionId, end: u64) -> u64 {
        let (start, end) = (block_key(id, 0), block_key(id, end));
        let mut blocks = self
            .state
            .sessions
            .range((Bound::Included(&start), Bound::Excluded(&end)));
        let Some((key, cell)) = blocks.next_back() else {
            return 0;
        };
        first_of(key).saturating_add(count_of(&cell))
    }

    /// The reply to an earlier copy of a request.
    fn recall(&self, id: SessionId, sequence: u64) -> Option<Reply> {
        let (start, end) = (block_key(id, 0), block_key(id, sequence));
        let mut blocks = self
            .state
            .sessions
            .range((Bound::Included(&start), Bound::Included(&end)));
        let (key, cell) = blocks.next_back()?;
        let place = usize::try_from(sequence.saturating_sub(first_of(key))).ok()?;
        let replies = decode_replies(cell.as_bytes()).expect("replies are checked on restore");
        let reply = Bytes::copy_from_slice(replies.get(place)?);
        Some(Reply::decode(&reply).expect("replies are checked on restore"))
    }

    fn remember(&mut self, id: SessionId, session: &mut SessionHeader, block: Block) {
        if block.count == 0 {
            return;
        }
        let mut cell = Vec::with_capacity(block.replies.len().saturating_add(4));
        writer::number(block.count, &mut cell);
        cell.extend_from_slice(&block.replies);
        session.replies = session.replies.saturating_add(block.count);
        session.reply_bytes = session.reply_bytes.saturating_add(bytes(cell.len()));
        self.sessions.reply_bytes = self.sessions.reply_bytes.saturating_add(bytes(cell.len()));
        self.state
            .sessions
            .insert_owned(&block_key(id, block.first), cell.into());
    }

    /// Drops the replies that the proposer has.
    fn acknowledge(&mut self, id: SessionId, session: &mut SessionHeader, acked_below: u64) {
        if acked_below <= session.floor {
            return;
        }
        session.floor = acked_below;
        while let Some((first, count, _)) = self.oldest_block(id) {
            if first.saturating_add(count) > acked_below {
                break;
            }
            self.drop_block(id, session, first);
        }
    }

    fn oldest_block(&self, id: SessionId) -> Option<(u64, u64, u64)> {
        let (start, end) = (block_key(id, 0), block_key(id, u64::MAX));
        let mut blocks = self
            .state
            .sessions
            .range((Bound::Included(&start), Bound::Included(&end)));
        let (key, cell) = blocks.next()?;
        Some((first_of(key), count_of(&cell), bytes(cell.len())))
    }

    fn drop_block(&mut self, id: SessionId, session: &mut SessionHeader, first: u64) {
        let Some(cell) = self.state.sessions.remove(&block_key(id, first)) else {
            return;
        };
        session.replies = session.replies.saturating_sub(count_of(&cell));
        session.reply_bytes = session.reply_bytes.saturating_sub(bytes(cell.len()));
        self.sessions.reply_bytes = self.sessions.reply_bytes.saturating_sub(bytes(cell.len()));
    }

    /// Forgets what is too much: this session's oldest replies, then the longest idle sessions.
    fn keep_bounds(&mut self, id: SessionId, session: &mut SessionHeader) {
        while session.replies > SESSION_WINDOW || session.reply_bytes > SESSION_REPLY_BYTES_MAX {
            let Some((first, count, _)) = self.oldest_block(id) else {
                break;
            };
            session.floor = session.floor.max(first.saturating_add(count));
            self.drop_block(id, session, first);
        }
        while self.sessions.reply_bytes > SESSIONS_REPLY_BYTES_MAX {
            let mut others = self.sessions.by_last_use.iter().map(|&(_, other)| other);
            let Some(oldest) = others.find(|&other| other != id) else {
                break;
            };
            self.forget_session(oldest);
        }
    }

    /// Forgets sessions that were idle for too long; a few per batch.
    pub(super) fn forget_idle_sessions(&mut self) {
        for _ in 0..SESSIONS_FORGOTTEN_PER_BATCH {
            match self.sessions.by_last_use.first() {
                Some(&(last_used, id)) if last_used.plus(Millis::new(SESSION_IDLE_MS)) <= self.state.now => {
                    self.forget_session(id);
                }
                Some(_) | None => return,
            }
        }
    }

    fn forget_session(&mut self, id: SessionId) {
        let Some(mut session) = self.session(id) else {
            return;
        };
        while let Some((first, ..)) = self.oldest_block(id) {
            self.drop_block(id, &mut session, first);
        }
        self.sessions.by_last_use.remove(&(session.last_used, id));
        self.state.sessions.remove(&header_key(id));
    }
}

fn first_of(key: &[u8]) -> u64 {
    let parts = session_key_parts(key).expect("session keys are checked on restore");
    parts.1.unwrap_or_default()
}

fn count_of(cell: &[u8]) -> u64 {
    Reader::new(cell)
        .number()
        .expect("replies are checked on restore")
}

/// Appends a reply behind its length, without a buffer of its own.
fn encode_behind_length(reply: &Reply, out: &mut Vec<u8>) {
    let start = out.len();
    // Most replies are shorter than 128 bytes: their length takes one.
    out.push(0);
    reply.encode(out);
    let len = out.len().saturating_sub(start).saturating_sub(1);
    match (u8::try_from(len), out.get_mut(start)) {
        (Ok(short @ 0..=0x7f), Some(place)) => *place = short,
        (_, _) => {
            let mut prefix = Vec::with_capacity(5);
            writer::count(len, &mut prefix);
            out.splice(start..=start, prefix);
        }
    }
}
