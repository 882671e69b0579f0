//! The one primitive that changes a record. It alone writes the live tree, and keeps change log,
//! tombstones, expiry queue, usage and indexes right with it (D-DATA-1).

use alloc::vec::Vec;

use super::Store;
use crate::changelog::ChangeLog;
use crate::key::namespace_of;
use crate::record::cell::{self, Header, Link, Place, StoredCell};
use crate::state::{State, change};
use crate::tree::OwnedCell;
use crate::value::StoredRef;
use crate::view::ChangeKind;

/// Buffers that outlive one mutation, so that it need not allocate them.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    cell: Vec<u8>,
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

/// What there is to know of a record that comes or goes.
struct Outline {
    header: Header,
    value_bytes: usize,
    /// What a packed value is when it is unpacked; 0 if it is not packed.
    unpacked_bytes: usize,
}

impl Outline {
    fn of(header: Header, value: &[u8]) -> Self {
        let unpacked_bytes = if header.is_packed {
            StoredRef::new(header.format, true, value).raw_len()
        } else {
            0
        };
        Self {
            header,
            value_bytes: value.len(),
            unpacked_bytes,
        }
    }
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
        if !self.state.indexes.is_empty() {
            let after = match &mutation {
                Mutation::Put { header, value, .. } => Some((*header, *value)),
                Mutation::Remove { .. } => None,
            };
            self.update_indexes(key, after);
        }
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
                let replaced = self.store_live(place, key);
                if replaced.is_none() {
                    self.log_change(place, ChangeKind::Put, key, grave.as_deref());
                }
                self.follow_up(key, Some(Outline::of(header, value)), replaced);
            }
            Mutation::Remove { kind } => {
                let old = self.state.live.remove(key);
                let link = self.link(place, old.as_deref().map(|old| *cell::stored(old).link()));
                self.scratch.cell.clear();
                cell::encode_tombstone(kind, &link, &mut self.scratch.cell);
                self.state.graves.set(key, &self.scratch.cell);
                self.grow_history(key.len() + self.scratch.cell.len());
                let replaced = old.as_deref().map(replaced);
                self.log_change(place, kind, key, old.as_deref());
                if let Some(version) = old.filter(|version| State::is_kept_apart(version)) {
                    self.state.replaced.insert_owned(&change::key(place), version);
                }
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

    /// Appends to the change log, with the version that goes (I11: until compaction).    ///
    /// One that lies apart is for the caller to put into `replaced`.
    fn log_change(&mut self, place: Place, kind: ChangeKind, key: &[u8], before: Option<&[u8]>) {
        let grown = append(&mut self.state.changes, place, kind, key, before);
        self.grow_history(grown);
    }

    /// Stores the cell in `scratch` as the live record of `key`. If that replaces one, the change
    /// is logged with it straight from where it lies.
    fn store_live(&mut self, place: Place, key: &[u8]) -> Option<Outline> {
        let State {
            live,
            changes,
            replaced: apart,
            ..
        } = &mut self.state;
        let (replaced, grown) = live.replace(key, &self.scratch.cell, |old| {
            if State::is_kept_apart(&old) {
                apart.set_cell(&change::key(place), old);
            }
            let grown = append(changes, place, ChangeKind::Put, key, Some(&old));
            (replaced(&old), grown)
        })?;
        self.grow_history(grown);
        Some(replaced)
    }

    fn grow_history(&mut self, len: usize) {
        self.state.history_bytes = self.state.history_bytes.saturating_add(bytes(len));
    }

    pub(super) fn shrink_history(&mut self, len: usize) {
        self.state.history_bytes = self.state.history_bytes.saturating_sub(bytes(len));
    }

    /// Keeps what is derived from the live records: expiry queue, keys of leases and usage.
    fn follow_up(&mut self, key: &[u8], written: Option<Outline>, replaced: Option<Outline>) {
        let deadline_before = replaced.as_ref().and_then(|replaced| replaced.header.expires_at);
        let deadline = written.as_ref().and_then(|written| written.header.expires_at);
        if deadline_before != deadline {
            if let Some(deadline) = deadline_before {
                self.expiry.remove(deadline, key);
            }
            if let Some(deadline) = deadline {
                self.expiry.insert(deadline, key);
            }
        }

        let lease_before = replaced.as_ref().and_then(|replaced| replaced.header.lease);
        let lease = written.as_ref().and_then(|written| written.header.lease);
        if lease_before != lease {
            self.follow_lease(key, lease_before, lease);
        }

        // I10: usage follows from what changed here, never from what a caller says.
        let keys = i64::from(written.is_some()) - i64::from(replaced.is_some());
        let size = |value_bytes: usize| signed(key.len().saturating_add(value_bytes));
        let after = written.as_ref().map_or(0, |written| size(written.value_bytes));
        let before = replaced.as_ref().map_or(0, |replaced| size(replaced.value_bytes));
        if keys != 0 || after != before {
            self.count_usage(namespace_of(key), keys, after.saturating_sub(before));
        }
        if let Some(gone) = replaced.filter(|replaced| replaced.header.is_packed) {
            self.state.packed.remove(gone.value_bytes, gone.unpacked_bytes);
        }
        if let Some(come) = written.filter(|written| written.header.is_packed) {
            self.state.packed.add(come.value_bytes, come.unpacked_bytes);
        }
    }
}

/// Appends a change; says how many bytes the history grows by.
fn append(
    changes: &mut ChangeLog,
    place: Place,
    kind: ChangeKind,
    key: &[u8],
    before: Option<&[u8]>,
) -> usize {
    let (before, apart) = match before {
        None => (change::Before::Nothing, 0),
        Some(version) if State::is_kept_apart(version) => {
            (change::Before::Apart, change::key(place).len() + version.len())
        }
        Some(version) => (change::Before::Here(version), 0),
    };
    let entry = change::Entry { kind, key, before };
    changes.push(place, |out| change::encode(entry, out)) + apart
}

fn replaced(cell: &[u8]) -> Outline {
    match cell::stored(cell) {
        StoredCell::Record { header, value, .. } => Outline::of(header, value),
        StoredCell::Tombstone { .. } => unreachable!("the live tree holds records only; a restore checks it"),
    }
}

/// A length as the counters keep it.
pub(super) fn bytes(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}

pub(super) fn signed(len: usize) -> i64 {
    i64::try_from(len).unwrap_or(i64::MAX)
}
