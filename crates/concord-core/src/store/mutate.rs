//! The one primitive that changes a record. It alone writes the live tree, and keeps history,
//! change log, expiry queue and usage right with it (D-DATA-1).

use alloc::vec::Vec;

use super::Store;
use crate::key::namespace_of;
use crate::record::cell::{self, Header, StoredCell};
use crate::state::{change, history_key};
use crate::view::ChangeKind;

/// Buffers that outlive one mutation, so that it need not allocate them.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    cell: Vec<u8>,
    history_key: Vec<u8>,
    change: Vec<u8>,
}

/// A larger buffer is given back after the batch.
const SCRATCH_BYTES_KEPT: usize = 64 << 10;

impl Scratch {
    /// Gives back what a rare large value took.
    pub(super) fn trim(&mut self) {
        if self.cell.capacity() > SCRATCH_BYTES_KEPT {
            self.cell = Vec::new();
        }
    }
}

/// What becomes of a key.
#[derive(Clone, Copy, Debug)]
pub(super) enum Mutation<'a> {
    /// It holds this now.
    Put { header: Header, value: &'a [u8] },
    /// It is gone, in this way. It must have been there.
    Remove { kind: ChangeKind },
}

/// What is left to know of a version that was replaced or removed.
struct Replaced {
    header: Header,
    value_bytes: usize,
}

impl Store {
    /// Changes one key at the revision that is open. A request changes each key at most once.
    pub(super) fn mutate(&mut self, key: &[u8], mutation: Mutation<'_>) {
        let revision = self.state.revision;
        let Scratch {
            cell, history_key, ..
        } = &mut self.scratch;
        let (kind, written, old) = match mutation {
            Mutation::Put { header, value } => {
                debug_assert_eq!(header.mod_revision, revision, "a version bears the open revision");
                cell.clear();
                cell::encode(&header, value, cell);
                (
                    ChangeKind::Put,
                    Some((header, value.len())),
                    self.state.live.insert(key, cell),
                )
            }
            Mutation::Remove { kind } => (kind, None, self.state.live.remove(key)),
        };

        // I11: what goes is kept under the revision that made it, until compaction.
        history_key.clear();
        history_key::prefix(key, history_key);
        let prefix_bytes = history_key.len();
        let mut history_bytes = 0;
        let replaced = old.map(|old| {
            let replaced = replaced(&old);
            history_key.extend_from_slice(&replaced.header.mod_revision.get().to_be_bytes());
            history_bytes += history_key.len() + old.len();
            self.state.history.insert_owned(history_key, old);
            replaced
        });
        if kind.is_removal() {
            let tombstone = cell::tombstone(kind);
            history_key.truncate(prefix_bytes);
            history_key.extend_from_slice(&revision.get().to_be_bytes());
            history_bytes += history_key.len() + tombstone.len();
            self.state.history.set(history_key, &tombstone);
        }
        history_bytes += self.log_change(key, kind, replaced.as_ref());
        self.state.history_bytes = self.state.history_bytes.saturating_add(bytes(history_bytes));
        self.follow_up(key, written, replaced);
    }

    /// Appends to the change log; says how many bytes that took.
    fn log_change(&mut self, key: &[u8], kind: ChangeKind, replaced: Option<&Replaced>) -> usize {
        let previous = replaced.map(|replaced| replaced.header.mod_revision);
        let place = change::key(self.state.revision, self.next_order);
        self.scratch.change.clear();
        change::encode(change::Entry { kind, previous, key }, &mut self.scratch.change);
        self.state.changes.set(&place, &self.scratch.change);
        self.next_order = self.next_order.saturating_add(1);
        self.batch_changes = self.batch_changes.saturating_add(1);
        place.len() + self.scratch.change.len()
    }

    /// Keeps what is derived from the live records: expiry queue and usage.
    fn follow_up(&mut self, key: &[u8], written: Option<(Header, usize)>, replaced: Option<Replaced>) {
        let deadline_before = replaced.as_ref().and_then(|replaced| replaced.header.expires_at);
        let deadline = written.and_then(|(header, _)| header.expires_at);
        if deadline_before != deadline {
            if let Some(deadline) = deadline_before {
                self.expiry.remove(deadline, key);
            }
            if let Some(deadline) = deadline {
                self.expiry.insert(deadline, key);
            }
        }

        // I10: usage follows from what changed here, never from what a caller says.
        let keys = i64::from(written.is_some()) - i64::from(replaced.is_some());
        let size = |value_bytes: usize| signed(key.len().saturating_add(value_bytes));
        let after = written.map_or(0, |(_, value_bytes)| size(value_bytes));
        let before = replaced.map_or(0, |replaced| size(replaced.value_bytes));
        if keys != 0 || after != before {
            self.count_usage(namespace_of(key), keys, after.saturating_sub(before));
        }
    }
}

fn replaced(cell: &[u8]) -> Replaced {
    match cell::stored(cell) {
        StoredCell::Record { header, value } => Replaced {
            header,
            value_bytes: value.len(),
        },
        StoredCell::Tombstone(_) => unreachable!("the live tree holds records only; a restore checks it"),
    }
}

/// A length as the counters keep it.
pub(super) fn bytes(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}

fn signed(len: usize) -> i64 {
    i64::try_from(len).unwrap_or(i64::MAX)
}
