//! The one primitive that changes a record. It alone writes the live tree, and keeps change log,
//! tombstones, expiry queue and usage right with it (D-DATA-1).

use alloc::vec::Vec;

use super::Store;
use crate::key::namespace_of;
use crate::record::cell::{self, Header, Link, Place, StoredCell};
use crate::state::{State, change};
use crate::tree::OwnedCell;
use crate::view::ChangeKind;

/// Buffers that outlive one mutation, so that it need not allocate them.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    cell: Vec<u8>,
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
    /// It holds this now. `behind` is the link of the live record that goes, if there is one.
    Put {
        header: Header,
        value: &'a [u8],
        behind: Option<Link>,
    },
    /// It is gone, in this way. It must have been there.
    Remove { kind: ChangeKind },
}

/// What is left to know of a record that was replaced or removed.
struct Replaced {
    header: Header,
    value_bytes: usize,
}

impl Store {
    /// Changes one key at the revision that is open. A request changes each key at most once.
    pub(super) fn mutate(&mut self, key: &[u8], mutation: Mutation<'_>) {
        let place = Place {
            revision: self.state.revision,
            order: self.next_order,
        };
        self.next_order = self.next_order.saturating_add(1);
        self.batch_changes = self.batch_changes.saturating_add(1);
        match mutation {
            Mutation::Put {
                header,
                value,
                behind,
            } => {
                debug_assert_eq!(
                    header.mod_revision, place.revision,
                    "a version bears the open revision"
                );
                // A key that comes back follows the tombstone of its removal.
                let grave = if behind.is_none() {
                    self.take_grave(key)
                } else {
                    None
                };
                let behind = behind.or_else(|| grave.as_deref().map(|grave| *cell::stored(grave).link()));
                let link = self.link(place, behind);
                self.scratch.cell.clear();
                cell::encode(&header, &link, value, &mut self.scratch.cell);
                let old = self.state.live.insert(key, &self.scratch.cell);
                let replaced = old.as_deref().map(replaced);
                self.log_change(place, ChangeKind::Put, key, old.or(grave));
                self.follow_up(key, Some((header, value.len())), replaced);
            }
            Mutation::Remove { kind } => {
                let old = self.state.live.remove(key);
                let link = self.link(place, old.as_deref().map(|old| *cell::stored(old).link()));
                self.scratch.cell.clear();
                cell::encode_tombstone(kind, &link, &mut self.scratch.cell);
                self.state.graves.set(key, &self.scratch.cell);
                self.grow_history(key.len() + self.scratch.cell.len());
                let replaced = old.as_deref().map(replaced);
                self.log_change(place, kind, key, old);
                self.follow_up(key, None, replaced);
            }
        }
    }

    /// The link of the version that is made at `place`.
    fn link(&self, place: Place, behind: Option<Link>) -> Link {
        // What is compacted is never followed, so a chain begins anew behind it and stays short.
        match behind.filter(|behind| behind.place.revision > self.state.compact_revision) {
            Some(behind) => Link::following(&behind, place),
            None => Link::first(place),
        }
    }

    /// Removes the tombstone of a key; returns it.
    pub(super) fn take_grave(&mut self, key: &[u8]) -> Option<OwnedCell> {
        if self.state.graves.is_empty() {
            return None;
        }
        let grave = self.state.graves.remove(key)?;
        self.shrink_history(key.len() + grave.len());
        Some(grave)
    }

    /// Appends to the change log, with the version that goes (I11: until compaction).
    fn log_change(&mut self, place: Place, kind: ChangeKind, key: &[u8], before: Option<OwnedCell>) {
        let place = change::key(place);
        let is_apart = before.as_deref().is_some_and(State::is_kept_apart);
        let version = match before.as_deref() {
            None => change::Before::Nothing,
            Some(_) if is_apart => change::Before::Apart,
            Some(version) => change::Before::Here(version),
        };
        self.scratch.change.clear();
        change::encode(
            change::Entry {
                kind,
                key,
                before: version,
            },
            &mut self.scratch.change,
        );
        self.state.changes.set(&place, &self.scratch.change);
        self.grow_history(place.len() + self.scratch.change.len());
        if let Some(version) = before.filter(|_| is_apart) {
            self.grow_history(place.len() + version.len());
            self.state.replaced.insert_owned(&place, version);
        }
    }

    fn grow_history(&mut self, len: usize) {
        self.state.history_bytes = self.state.history_bytes.saturating_add(bytes(len));
    }

    pub(super) fn shrink_history(&mut self, len: usize) {
        self.state.history_bytes = self.state.history_bytes.saturating_sub(bytes(len));
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
        StoredCell::Record { header, value, .. } => Replaced {
            header,
            value_bytes: value.len(),
        },
        StoredCell::Tombstone { .. } => unreachable!("the live tree holds records only; a restore checks it"),
    }
}

/// A length as the counters keep it.
pub(super) fn bytes(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}

fn signed(len: usize) -> i64 {
    i64::try_from(len).unwrap_or(i64::MAX)
}
