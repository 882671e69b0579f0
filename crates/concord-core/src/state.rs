//! The replicated state: what a view shows and a snapshot holds, and the byte forms of its keys.
//!
//! | tree | key | cell |
//! | --- | --- | --- |
//! | `live` | user key | record (`record::cell`) |
//! | `history` | escaped user key, revision | the record that a later change replaced, or a tombstone |
//! | `changes` | revision, order within it | kind, revision of the version before, user key |
//! | `sessions` | session; session, first sequence | header; remembered replies |
//! | `usage` | namespace | keys, bytes |
//!
//! The version of a key in force at revision R is the one with the greatest revision not above
//! R in `live` and `history` together; a tombstone or nothing means absent.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Bound;

use crate::codec::DecodeError;
use crate::codec::reader::Reader;
use crate::codec::writer;
use crate::ids::{LogIndex, Revision, Timestamp};
use crate::settings::Settings;
use crate::tree::{Cell, Tree};
use crate::view::{ChangeKind, Usage};

/// All replicated state. A clone is O(1) and never changes (I15).
#[derive(Clone, Debug)]
pub(crate) struct State {
    pub(crate) live: Tree,
    pub(crate) history: Tree,
    pub(crate) changes: Tree,
    pub(crate) sessions: Tree,
    /// Derived from `live`, kept by `store::usage`.
    pub(crate) usage: Tree,
    /// Derived from `usage`: all namespaces together.
    pub(crate) total: Usage,
    /// Derived: bytes of keys and cells in `history` and `changes`.
    pub(crate) history_bytes: u64,
    /// The last applied entry (I1).
    pub(crate) applied: LogIndex,
    pub(crate) revision: Revision,
    /// The oldest readable revision. What it makes unreachable is removed a bit per batch.
    pub(crate) compact_revision: Revision,
    /// The replicated clock (I2).
    pub(crate) now: Timestamp,
    pub(crate) settings: Settings,
    /// When which revision was current, oldest first; for compaction by age.
    pub(crate) marks: Arc<Vec<Mark>>,
}

/// A point of replicated time with the revision that was current then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) at: Timestamp,
    pub(crate) revision: Revision,
}

impl State {
    pub(crate) fn empty() -> Self {
        Self {
            live: Tree::new(),
            history: Tree::new(),
            changes: Tree::new(),
            sessions: Tree::new(),
            usage: Tree::new(),
            total: Usage::default(),
            history_bytes: 0,
            applied: LogIndex::new(0),
            revision: Revision::EMPTY,
            compact_revision: Revision::new(0),
            now: Timestamp::new(0),
            settings: Settings::INITIAL,
            marks: Arc::new(Vec::new()),
        }
    }

    /// The history's cell in force at `revision`, of the key that `prefix` encodes.
    pub(crate) fn superseded_at(&self, prefix: &[u8], revision: Revision) -> Option<Cell<'_>> {
        let last = history_key::join(prefix, revision);
        let versions = self
            .history
            .range((Bound::Included(prefix), Bound::Included(&last)));
        versions.map(|(_, cell)| cell).next_back()
    }
}

/// Keys of the history: order-preserving, all versions of a key together, oldest first.
pub(crate) mod history_key {
    use super::{DecodeError, Revision, Vec};

    /// Bytes of the revision at the end.
    const REVISION_BYTES: usize = 8;

    /// Appends the encoded user key: zeros become `00 ff`, the end `00 00`, so that no key's
    /// form is the start of another's and the order is that of the keys.
    pub(crate) fn prefix(key: &[u8], out: &mut Vec<u8>) {
        let mut rest = key;
        while let Some(zero) = rest.iter().position(|&byte| byte == 0) {
            let (head, tail) = rest
                .split_at_checked(zero.saturating_add(1))
                .unwrap_or((rest, &[]));
            out.extend_from_slice(head);
            out.push(0xff);
            rest = tail;
        }
        out.extend_from_slice(rest);
        out.extend_from_slice(&[0, 0]);
    }

    /// The encoded user key on its own.
    pub(crate) fn prefix_of(key: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(key.len().saturating_add(2 + REVISION_BYTES));
        prefix(key, &mut out);
        out
    }

    /// An encoded user key with a revision.
    pub(crate) fn join(prefix: &[u8], revision: Revision) -> Vec<u8> {
        let mut out = Vec::with_capacity(prefix.len().saturating_add(REVISION_BYTES));
        out.extend_from_slice(prefix);
        out.extend_from_slice(&revision.get().to_be_bytes());
        out
    }

    /// Splits into the encoded user key and the revision.
    pub(crate) fn split(bytes: &[u8]) -> Result<(&[u8], Revision), DecodeError> {
        let malformed = DecodeError {
            what: "malformed history key",
            offset: 0,
        };
        let (prefix, revision) = bytes.split_last_chunk::<REVISION_BYTES>().ok_or(malformed)?;
        Ok((prefix, Revision::new(u64::from_be_bytes(*revision))))
    }

    /// The user key that `prefix` encodes.
    pub(crate) fn decode_prefix(prefix: &[u8]) -> Result<Vec<u8>, DecodeError> {
        let mut key = Vec::with_capacity(prefix.len());
        let mut bytes = prefix.iter().enumerate();
        while let Some((offset, &byte)) = bytes.next() {
            if byte != 0 {
                key.push(byte);
                continue;
            }
            match bytes.next() {
                Some((_, 0xff)) => key.push(0),
                Some((_, 0)) if bytes.len() == 0 => return Ok(key),
                Some(_) | None => {
                    return Err(DecodeError {
                        what: "malformed history key",
                        offset,
                    });
                }
            }
        }
        Err(DecodeError {
            what: "history key without an end",
            offset: prefix.len(),
        })
    }
}

/// Keys and cells of the change log.
pub(crate) mod change {
    use super::{ChangeKind, DecodeError, Reader, Revision, Vec, writer};

    /// A change's place: its revision, then its order within it.
    pub(crate) fn key(revision: Revision, order: u32) -> [u8; 12] {
        let mut key = [0; 12];
        let (high, low) = key.split_at_mut(8);
        high.copy_from_slice(&revision.get().to_be_bytes());
        low.copy_from_slice(&order.to_be_bytes());
        key
    }

    pub(crate) fn decode_key(bytes: &[u8]) -> Result<(Revision, u32), DecodeError> {
        let mut reader = Reader::new(bytes);
        let revision = Revision::new(u64::from_be_bytes(reader.array()?));
        let order = u32::from_be_bytes(reader.array()?);
        reader.end()?;
        Ok((revision, order))
    }

    /// What a change did.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) struct Entry<'a> {
        pub(crate) kind: ChangeKind,
        /// The `mod_revision` of the version that it replaced or removed.
        pub(crate) previous: Option<Revision>,
        pub(crate) key: &'a [u8],
    }

    pub(crate) fn encode(entry: Entry<'_>, out: &mut Vec<u8>) {
        out.push(entry.kind.code());
        // No version has revision 0, so it can stand for none.
        writer::number(entry.previous.map_or(0, Revision::get), out);
        out.extend_from_slice(entry.key);
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Entry<'_>, DecodeError> {
        let mut reader = Reader::new(bytes);
        let kind =
            ChangeKind::from_code(reader.u8()?).ok_or_else(|| reader.error("unknown kind of change"))?;
        let previous = match reader.number()? {
            0 => None,
            revision => Some(Revision::new(revision)),
        };
        Ok(Entry {
            kind,
            previous,
            key: reader.rest(),
        })
    }

    /// Reads an entry of the store.
    ///
    /// # Panics
    ///
    /// If it is damaged: see [`crate::record::cell::stored`].
    pub(crate) fn stored(bytes: &[u8]) -> Entry<'_> {
        decode(bytes).expect("changes in the store are written by this module and checked on restore")
    }

    /// Reads a key of the change log.
    ///
    /// # Panics
    ///
    /// As [`stored`].
    pub(crate) fn stored_key(bytes: &[u8]) -> (Revision, u32) {
        decode_key(bytes).expect("changes in the store are written by this module and checked on restore")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn history_keys_keep_the_order_of_keys_and_revisions() {
        let keys: [&[u8]; 9] = [
            b"", b"\0", b"\0\0", b"\0\x01", b"\0\xff", b"\x01", b"a", b"a\0", b"a\0b",
        ];
        let mut encoded = Vec::new();
        for key in keys {
            for revision in [0, 1, 255, 256, u64::MAX] {
                let whole = history_key::join(&history_key::prefix_of(key), Revision::new(revision));
                let (prefix, read) = history_key::split(&whole).unwrap();
                assert_eq!(read, Revision::new(revision));
                assert_eq!(history_key::decode_prefix(prefix).unwrap(), key);
                encoded.push(whole);
            }
        }
        assert!(encoded.is_sorted());
    }

    #[test]
    fn malformed_history_keys_are_refused() {
        for bytes in [&b""[..], b"a", b"a\0", b"\0\x01\0\0", b"\0\0\0\0", b"a\0\0b\0\0"] {
            assert!(history_key::decode_prefix(bytes).is_err(), "{bytes:?}");
        }
        assert!(history_key::split(&[0; 7]).is_err());
    }

    #[test]
    fn changes_read_back() {
        for previous in [None, Some(Revision::new(300))] {
            let entry = change::Entry {
                kind: ChangeKind::Expire,
                previous,
                key: b"k",
            };
            let mut out = Vec::new();
            change::encode(entry, &mut out);
            assert_eq!(change::decode(&out), Ok(entry));
        }
        let key = change::key(Revision::new(7), 9);
        assert_eq!(change::decode_key(&key), Ok((Revision::new(7), 9)));
    }
}
