//! Restoring a backup into a store that is in use: the chunks of its snapshot come through the log, a piece at a time,
//! into a second state that nobody sees; one more request puts it in the place of the first.
//!
//! ```text
//!   begin ──> piece ──> piece ── ... ──> commit ── ... ──> commit: swapped, at a new revision
//!                │                         bounded work each: entries of indexes, what has expired meanwhile
//!                └── nothing is asked of it for a minute, or another begins: forgotten
//! ```
//!
//! What is staged is in snapshots, so a replica that starts anew or falls behind goes on with it. It lies beside the
//! data that is used: while a restore is under way there is room for both, and for no third copy.

use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::Bytes;

use crate::codec::reader::Reader;
use crate::codec::{DecodeError, writer};
use crate::ids::Timestamp;
use crate::state::State;

/// Which restore is meant: 128 random bits, drawn by whoever drives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RestoreId(u128);

impl RestoreId {
    /// Wraps raw random bits.
    #[must_use]
    pub const fn new(raw: u128) -> Self {
        Self(raw)
    }

    /// The raw bits.
    #[must_use]
    pub const fn get(self) -> u128 {
        self.0
    }
}

/// A step of a restore.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RestoreStep {
    /// Begin. A restore that was under way is forgotten.
    Begin {
        /// Tokens, roles, tenants and quotas stay as they are now, whatever the backup has.
        keep_policy: bool,
    },
    /// Take the next bytes of the backup's snapshot. A piece that was taken already is taken for that.
    Piece {
        /// Its number, from 0.
        number: u64,
        /// Whether a chunk of the snapshot ends with it. None goes on into the next piece.
        ends_chunk: bool,
        /// At most [`crate::limits::RESTORE_PIECE_BYTES_MAX`].
        bytes: Bytes,
    },
    /// Do some more of what is left, and once nothing is, show the restored data instead of the present.
    Commit,
    /// Forget it.
    Abort,
}

/// How far a restore is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RestoreStatus {
    /// Which.
    pub restore: RestoreId,
    /// How many pieces were taken.
    pub pieces: u64,
    /// Whether those were all.
    pub is_complete: bool,
    /// Keys so far.
    pub keys: usize,
    /// Records of the policy so far.
    pub policy_records: usize,
}

/// What a restore has brought together so far. A part of the [`State`].
#[derive(Clone, Debug)]
pub(crate) struct Staged {
    pub(crate) restore: RestoreId,
    pub(crate) keeps_policy: bool,
    /// When something was asked of it last.
    pub(crate) touched_at: Timestamp,
    /// Number of the next piece.
    pub(crate) pieces: u64,
    /// The pieces of a chunk whose end has not come.
    pub(crate) pending: Vec<Bytes>,
    /// Version of the chunks; 0 before the first.
    pub(crate) version: u8,
    /// Number of the next chunk.
    pub(crate) chunks: u64,
    /// All pieces have come: up to where the entries of its indexes are made.
    pub(crate) indexed: Option<Indexed>,
    /// Without anything staged itself.
    pub(crate) state: State,
}

/// A place among the indexes and keys of a store, in the order in which entries are made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Indexed {
    /// So many indexes are done.
    pub(crate) indexes: usize,
    /// The next one is done up to this key.
    pub(crate) upto: Option<Bytes>,
}

const KEEPS_POLICY: u8 = 0x01;
const COMPLETE: u8 = 0x02;
const WITHIN_INDEX: u8 = 0x04;

impl Staged {
    pub(crate) fn new(restore: RestoreId, keeps_policy: bool, now: Timestamp) -> Self {
        Self {
            restore,
            keeps_policy,
            touched_at: now,
            pieces: 0,
            pending: Vec::new(),
            version: 0,
            chunks: 0,
            indexed: None,
            state: State::empty(),
        }
    }

    /// Takes the chunk whose last piece has come.
    pub(crate) fn take_pending(&mut self) -> Bytes {
        let mut pending = core::mem::take(&mut self.pending);
        match (pending.len(), pending.pop()) {
            // Most chunks are one piece: it is not copied.
            (1, Some(only)) => only,
            (_, last) => pending
                .into_iter()
                .chain(last)
                .fold(Vec::new(), |mut chunk, piece| {
                    chunk.extend_from_slice(&piece);
                    chunk
                })
                .into(),
        }
    }

    /// All but the state, for a snapshot.
    pub(crate) fn encode_head(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let flag = |is: bool, flag: u8| if is { flag } else { 0 };
        let within = self.indexed.as_ref().and_then(|indexed| indexed.upto.as_ref());
        out.extend_from_slice(&self.restore.get().to_be_bytes());
        out.push(
            flag(self.keeps_policy, KEEPS_POLICY)
                | flag(self.indexed.is_some(), COMPLETE)
                | flag(within.is_some(), WITHIN_INDEX),
        );
        for number in [
            self.touched_at.get(),
            self.pieces,
            u64::from(self.version),
            self.chunks,
        ] {
            writer::number(number, &mut out);
        }
        if let Some(indexed) = &self.indexed {
            writer::count(indexed.indexes, &mut out);
        }
        if let Some(upto) = within {
            writer::bytes(upto, &mut out);
        }
        for piece in &self.pending {
            out.extend_from_slice(piece);
        }
        out
    }

    /// Reads what [`Self::encode_head`] wrote.
    pub(crate) fn decode_head(cell: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(cell);
        let restore = RestoreId::new(u128::from_be_bytes(reader.array()?));
        let flags = reader.u8()?;
        if flags & !(KEEPS_POLICY | COMPLETE | WITHIN_INDEX) != 0
            || flags & (COMPLETE | WITHIN_INDEX) == WITHIN_INDEX
        {
            return Err(reader.error("unknown flags of a restore"));
        }
        let mut staged = Self::new(
            restore,
            flags & KEEPS_POLICY != 0,
            Timestamp::new(reader.number()?),
        );
        staged.pieces = reader.number()?;
        staged.version =
            u8::try_from(reader.number()?).map_err(|_| reader.error("unknown snapshot version"))?;
        staged.chunks = reader.number()?;
        if flags & COMPLETE != 0 {
            let indexes = usize::try_from(reader.number()?);
            let upto = match flags & WITHIN_INDEX {
                0 => None,
                _ => Some(Bytes::copy_from_slice(reader.bytes()?)),
            };
            staged.indexed = Some(Indexed {
                indexes: indexes.map_err(|_| reader.error("too many indexes"))?,
                upto,
            });
        }
        let pending = reader.rest();
        if !pending.is_empty() {
            staged.pending.push(Bytes::copy_from_slice(pending));
        }
        Ok(staged)
    }

    pub(crate) fn status(&self) -> RestoreStatus {
        RestoreStatus {
            restore: self.restore,
            pieces: self.pieces,
            is_complete: self.indexed.is_some(),
            keys: self.state.live.len(),
            policy_records: self.state.policy.len(),
        }
    }
}

impl State {
    /// The restore that is under way, to go on with. Shared with views only: a copy costs nothing that grows.
    pub(crate) fn staged_mut(&mut self) -> Option<&mut Staged> {
        self.staged.as_mut().map(Arc::make_mut)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_staged_reads_back() {
        let mut staged = Staged::new(RestoreId::new(7), true, Timestamp::new(300));
        let same = |staged: &Staged| {
            let read = Staged::decode_head(&staged.encode_head()).unwrap();
            assert_eq!(read.encode_head(), staged.encode_head());
            assert_eq!(
                (read.status(), read.indexed),
                (staged.status(), staged.indexed.clone())
            );
        };
        same(&staged);
        (staged.pieces, staged.chunks, staged.version) = (300, 299, 2);
        staged.pending = alloc::vec![Bytes::from_static(b"a"), Bytes::from_static(b"bc")];
        same(&staged);
        assert_eq!(staged.take_pending(), &b"abc"[..]);
        for upto in [None, Some(Bytes::from_static(b"k"))] {
            staged.indexed = Some(Indexed { indexes: 3, upto });
            same(&staged);
        }
        assert!(Staged::decode_head(b"short").is_err());
    }
}
