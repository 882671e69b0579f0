//! Snapshots: all replicated state as a stream of chunks, and back.
//!
//! ```text
//! chunk:    version  number  item...        items never span chunks
//! items:    HEAD  LIVE*  GRAVE*  CHANGE*  REPLACED*  SESSION*  LEASE*  INDEX*  IDEMPOTENCY*  SUBSCRIPTION*  POLICY*  NAMESPACE*  STAGED*  END
//! ```
//!
//! Items of a section are in key order, so equal states are equal bytes (I4) whatever the
//! trees look like inside. What is derived (usage, expiry queue, sizes) is left out and
//! counted again. Version 1 had no leases, version 2 no version of the machine; both are still read, and version 2 is written while
//! the cluster is of a machine that knows no other. Checksums and compression are the business of whoever stores the chunks.

mod restore;

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Bound;

use bytes::Bytes;

pub use restore::StoreRestorer;

use super::writer;
use crate::limits::SNAPSHOT_CHUNK_BYTES;
use crate::restore::Staged;
use crate::state::{State, change};
use crate::tree::Tree;
use crate::version::MachineVersion;
use crate::view::ReadView;

/// Begins with the version of the machine, in each format that is to come too.
const VERSION: u8 = 3;
/// The version of machines that keep none.
const VERSION_2: u8 = 2;
/// The version without leases.
const VERSION_1: u8 = 1;

const HEAD: u8 = 1;
const LIVE: u8 = 2;
const GRAVE: u8 = 3;
const CHANGE: u8 = 4;
const REPLACED: u8 = 5;
const SESSION: u8 = 6;
const END: u8 = 7;
const LEASE: u8 = 8;
const INDEX: u8 = 32;
const IDEMPOTENCY: u8 = 9;
const SUBSCRIPTION: u8 = 48;
const POLICY: u8 = 56;
const NAMESPACE: u8 = 57;
const STAGED: u8 = 64;

/// The chunks of a snapshot, made as they are asked for.
#[derive(Debug)]
pub struct SnapshotChunks {
    view: ReadView,
    number: u64,
    stage: Stage,
    /// The last key of the section that is done.
    last: Option<Vec<u8>>,
    /// Ends without saying so: what it is of is not whole yet.
    is_partial: bool,
    /// The chunks of what is staged, and the number of the next, once its head is out.
    staged: Option<(u64, Box<Self>)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Head,
    Section(Section),
    End,
    Done,
}

/// The parts of the state that are lists of keys and cells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Section {
    Live,
    Graves,
    Changes,
    Replaced,
    Sessions,
    Leases,
    Indexes,
    Idempotency,
    Subscriptions,
    Policy,
    Namespaces,
    Staged,
}

impl Section {
    /// In the order of the snapshot.
    const ALL: [Self; 12] = [
        Self::Live,
        Self::Graves,
        Self::Changes,
        Self::Replaced,
        Self::Sessions,
        Self::Leases,
        Self::Indexes,
        Self::Idempotency,
        Self::Subscriptions,
        Self::Policy,
        Self::Namespaces,
        Self::Staged,
    ];
    /// How many of them are counted at the end also if there are none.
    const COUNT_ALWAYS: usize = 8;
    /// How many of them version 1 has.
    const COUNT_1: usize = 5;

    const fn tag(self) -> u8 {
        match self {
            Self::Live => LIVE,
            Self::Graves => GRAVE,
            Self::Changes => CHANGE,
            Self::Replaced => REPLACED,
            Self::Sessions => SESSION,
            Self::Leases => LEASE,
            Self::Indexes => INDEX,
            Self::Idempotency => IDEMPOTENCY,
            Self::Subscriptions => SUBSCRIPTION,
            Self::Policy => POLICY,
            Self::Namespaces => NAMESPACE,
            Self::Staged => STAGED,
        }
    }

    const fn from_tag(tag: u8) -> Option<Self> {
        match tag {
            LIVE => Some(Self::Live),
            GRAVE => Some(Self::Graves),
            CHANGE => Some(Self::Changes),
            REPLACED => Some(Self::Replaced),
            SESSION => Some(Self::Sessions),
            LEASE => Some(Self::Leases),
            INDEX => Some(Self::Indexes),
            IDEMPOTENCY => Some(Self::Idempotency),
            SUBSCRIPTION => Some(Self::Subscriptions),
            POLICY => Some(Self::Policy),
            NAMESPACE => Some(Self::Namespaces),
            STAGED => Some(Self::Staged),
            _ => None,
        }
    }

    const fn next(self) -> Stage {
        match self {
            Self::Live => Stage::Section(Self::Graves),
            Self::Graves => Stage::Section(Self::Changes),
            Self::Changes => Stage::Section(Self::Replaced),
            Self::Replaced => Stage::Section(Self::Sessions),
            Self::Sessions => Stage::Section(Self::Leases),
            Self::Leases => Stage::Section(Self::Indexes),
            Self::Indexes => Stage::Section(Self::Idempotency),
            Self::Idempotency => Stage::Section(Self::Subscriptions),
            Self::Subscriptions => Stage::Section(Self::Policy),
            Self::Policy => Stage::Section(Self::Namespaces),
            Self::Namespaces => Stage::Section(Self::Staged),
            Self::Staged => Stage::End,
        }
    }

    /// How many items it has.
    fn len(self, state: &State) -> usize {
        match self {
            Self::Live => state.live.len(),
            Self::Graves => state.graves.len(),
            Self::Changes => state.changes.len(),
            Self::Replaced => state.replaced.len(),
            Self::Sessions => state.sessions.len(),
            Self::Leases => state.leases.len(),
            Self::Indexes => state.indexes.len(),
            Self::Idempotency => state.idempotency.len(),
            Self::Subscriptions => state.subscriptions.len(),
            // Its revision is an item of its own, once it has one.
            Self::Policy => (state.policy.len()).saturating_add(usize::from(state.policy_revision > 0)),
            Self::Namespaces => state.namespaces.len(),
            // One, however many items that takes.
            Self::Staged => usize::from(state.staged.is_some()),
        }
    }
}

impl SnapshotChunks {
    pub(crate) fn new(view: ReadView) -> Self {
        Self {
            view,
            number: 0,
            stage: Stage::Head,
            last: None,
            is_partial: false,
            staged: None,
        }
    }

    /// What was restored so far, in chunks from which it can be gone on with.
    fn of_staged(staged: &Staged) -> Self {
        let view = ReadView::new(Arc::new(staged.state.clone()));
        Self {
            is_partial: staged.indexed.is_none(),
            stage: if staged.chunks == 0 {
                Stage::Done
            } else {
                Stage::Head
            },
            ..Self::new(view)
        }
    }

    /// Appends what is staged: its head under no key, then its chunks under their numbers.
    fn staged(&mut self, out: &mut Vec<u8>) {
        let Some(staged) = &self.view.state().staged else {
            self.stage = Section::Staged.next();
            return;
        };
        let (number, chunks) = self.staged.get_or_insert_with(|| {
            out.push(STAGED);
            writer::bytes(&[], out);
            writer::bytes(&staged.encode_head(), out);
            (0, Box::new(Self::of_staged(staged)))
        });
        while out.len() < SNAPSHOT_CHUNK_BYTES {
            let Some(chunk) = chunks.next() else {
                self.stage = Section::Staged.next();
                return;
            };
            out.push(STAGED);
            writer::bytes(&number.to_be_bytes(), out);
            writer::bytes(&chunk, out);
            *number = number.saturating_add(1);
        }
    }

    /// Appends items of a section until it or the chunk is at its end.
    fn section(&mut self, section: Section, out: &mut Vec<u8>) {
        if section == Section::Staged {
            self.staged(out);
            return;
        }
        let state = self.view.state();
        let last = self.last.as_deref();
        self.last = match section {
            Section::Live => items(section, behind(&state.live, last), out),
            Section::Graves => items(section, behind(&state.graves, last), out),
            Section::Changes => {
                let behind = match last {
                    Some(last) => state.changes.after(change::stored_key(last)),
                    None => state.changes.iter(),
                };
                items(
                    section,
                    behind.map(|(place, cell)| (change::key(place), cell)),
                    out,
                )
            }
            Section::Replaced => items(section, behind(&state.replaced, last), out),
            Section::Sessions => items(section, behind(&state.sessions, last), out),
            Section::Leases => items(section, behind(&state.leases, last), out),
            Section::Indexes => {
                let indexes = state.indexes.iter().map(|index| {
                    let mut cell = Vec::new();
                    index.encode(&mut cell);
                    (index.definition.name().as_str().as_bytes(), cell)
                });
                items(
                    section,
                    indexes.filter(|(name, _)| last.is_none_or(|last| *name > last)),
                    out,
                )
            }
            Section::Idempotency => items(section, behind(&state.idempotency, last), out),
            Section::Subscriptions => items(section, behind(&state.subscriptions, last), out),
            Section::Policy => items(section, policy(state, last), out),
            Section::Namespaces => items(section, behind(&state.namespaces, last), out),
            Section::Staged => None,
        };
        if self.last.is_none() {
            self.stage = section.next();
        }
    }
}

impl Iterator for SnapshotChunks {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        if self.stage == Stage::Done {
            return None;
        }
        let expected = self
            .view
            .state()
            .live
            .len()
            .saturating_mul(64)
            .saturating_add(1024);
        let mut out = Vec::with_capacity(SNAPSHOT_CHUNK_BYTES.min(expected));
        out.push(version(self.view.state()));
        writer::number(self.number, &mut out);
        self.number += 1;
        while out.len() < SNAPSHOT_CHUNK_BYTES && self.stage != Stage::Done {
            match self.stage {
                Stage::Head => {
                    head(self.view.state(), &mut out);
                    self.stage = Stage::Section(Section::Live);
                }
                Stage::Section(section) => self.section(section, &mut out),
                Stage::End => {
                    if !self.is_partial {
                        end(self.view.state(), &mut out);
                    }
                    self.stage = Stage::Done;
                }
                Stage::Done => {}
            }
        }
        Some(Bytes::from(out))
    }
}

/// The revision of the policy under no key at all, and its records.
fn policy<'a>(state: &'a State, last: Option<&[u8]>) -> impl Iterator<Item = (&'a [u8], Cow<'a, [u8]>)> {
    let has_revision = last.is_none() && state.policy_revision > 0;
    let revision = has_revision.then(|| {
        let mut revision = Vec::with_capacity(2);
        writer::number(state.policy_revision, &mut revision);
        ([].as_slice(), Cow::Owned(revision))
    });
    let records = behind(&state.policy, last).map(|(key, record)| (key, Cow::Borrowed(record)));
    revision.into_iter().chain(records)
}

/// What a tree holds behind `last`.
fn behind<'a>(tree: &'a Tree, last: Option<&[u8]>) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
    let start = last.map_or(Bound::Unbounded, Bound::Excluded);
    let range = tree.range((start, Bound::Unbounded));
    range.map(|(key, cell)| (key, cell.as_bytes()))
}

/// Appends items until there are none or the chunk is full; then returns the key of the last.
fn items<K: AsRef<[u8]>, C: AsRef<[u8]>>(
    section: Section,
    items: impl Iterator<Item = (K, C)>,
    out: &mut Vec<u8>,
) -> Option<Vec<u8>> {
    for (key, cell) in items {
        out.push(section.tag());
        writer::bytes(key.as_ref(), out);
        writer::bytes(cell.as_ref(), out);
        if out.len() >= SNAPSHOT_CHUNK_BYTES {
            return Some(key.as_ref().to_vec());
        }
    }
    None
}

/// I24: what a machine of an older version writes and reads.
fn version(state: &State) -> u8 {
    if state.version.version < MachineVersion::KEEPS_VERSION {
        VERSION_2
    } else {
        VERSION
    }
}

/// What the state holds besides its trees.
fn head(state: &State, out: &mut Vec<u8>) {
    out.push(HEAD);
    if version(state) == VERSION {
        state.version.encode(out);
    }
    writer::number(state.applied.get(), out);
    writer::number(state.revision.get(), out);
    writer::number(state.compact_revision.get(), out);
    writer::number(state.now.get(), out);
    writer::number(state.last_lease.get(), out);
    state.settings.encode(out);
    writer::count(state.marks.len(), out);
    for mark in state.marks.iter() {
        writer::number(mark.at.get(), out);
        writer::number(mark.revision.get(), out);
    }
}

/// How many items each section had.
fn end(state: &State, out: &mut Vec<u8>) {
    out.push(END);
    // What came later is counted from when there is some of it: until then a snapshot stays as it was.
    let mut count = Section::COUNT_ALWAYS;
    for (place, section) in Section::ALL.into_iter().enumerate() {
        if section.len(state) > 0 {
            count = count.max(place.saturating_add(1));
        }
    }
    writer::count(count, out);
    for section in Section::ALL.into_iter().take(count) {
        writer::count(section.len(state), out);
    }
}
