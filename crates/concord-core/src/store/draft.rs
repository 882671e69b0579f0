//! A request with several writes, before it is performed: what each key will hold.
//!
//! Every condition and limit is judged while the draft is made, against the state as the
//! draft leaves it. Only a draft without a refusal is committed, so a refusal changes nothing
//! (I3); and a key changes at most once at a revision, to its final content.

use alloc::collections::{BTreeMap, btree_map};
use alloc::vec::Vec;
use core::cmp::Ordering;
use core::iter::Peekable;
use core::ops::Bound;

use bytes::Bytes;

use super::Store;
use super::kv::Ends;
use super::mutate::Mutation;
use crate::command::{Lifetime, PutItem};
use crate::ids::{LeaseId, Revision};
use crate::key::{Key, KeyRange};
use crate::record::RecordRef;
use crate::record::cell::Header;
use crate::reply::{Rejection, TouchOutcome};
use crate::state::VersionCell;
use crate::tree;
use crate::view::ChangeKind;

/// What the keys of a request will hold.
#[derive(Debug, Default)]
pub(super) struct Draft {
    /// Keys in the order of their first write.
    order: Vec<Key>,
    staged: BTreeMap<Key, Staged>,
    /// How many keys have come to each lease, less those that went.
    attached: BTreeMap<LeaseId, i64>,
}

/// What a key will hold.
#[derive(Debug)]
enum Staged {
    Record { header: Header, value: Bytes },
    Absent,
}

impl Draft {
    fn attached(&mut self, lease: LeaseId) -> &mut i64 {
        self.attached.entry(lease).or_default()
    }

    /// Each key that it changes, with the size of the value that it leaves there, if it leaves one.
    pub(super) fn outcome(&self) -> impl Iterator<Item = (&Key, Option<usize>)> {
        self.order.iter().map(|key| match self.staged.get(key) {
            Some(Staged::Record { value, .. }) => (key, Some(value.len())),
            Some(Staged::Absent) | None => (key, None),
        })
    }

    fn stage(&mut self, key: &Key, staged: Staged) {
        if self.staged.insert(key.clone(), staged).is_none() {
            self.order.push(key.clone());
        }
    }
}

/// Live records and staged ones, merged. See [`Store::drafted_range`].
pub(super) struct DraftedRange<'a> {
    live: Peekable<tree::Range<'a>>,
    staged: Peekable<btree_map::Range<'a, Key, Staged>>,
}

impl<'a> Iterator for DraftedRange<'a> {
    type Item = RecordRef<'a>;

    fn next(&mut self) -> Option<RecordRef<'a>> {
        loop {
            let order = match (self.live.peek(), self.staged.peek()) {
                (Some((live, _)), Some((staged, _))) => (*live).cmp(staged.as_bytes()),
                (Some(_), None) => Ordering::Less,
                (None, _) => Ordering::Greater,
            };
            if order.is_lt() {
                let (key, cell) = self.live.next()?;
                return RecordRef::new(key, VersionCell::alone(cell));
            }
            if order.is_eq() {
                self.live.next();
            }
            match self.staged.next()? {
                (key, Staged::Record { header, value }) => {
                    return Some(RecordRef::staged(key.as_bytes(), *header, value));
                }
                (_, Staged::Absent) => {}
            }
        }
    }
}

impl Store {
    /// The record of a key as the draft leaves it.
    pub(super) fn drafted<'a>(&'a self, draft: &'a Draft, key: &'a Key) -> Option<RecordRef<'a>> {
        match draft.staged.get(key) {
            Some(Staged::Record { header, value }) => Some(RecordRef::staged(key.as_bytes(), *header, value)),
            Some(Staged::Absent) => None,
            None => self.live(key).map(|(record, _)| record),
        }
    }

    /// The records of a range as the draft leaves them, in order.
    pub(super) fn drafted_range<'a>(&'a self, draft: &'a Draft, range: &'a KeyRange) -> DraftedRange<'a> {
        let bounds = if range.is_empty() {
            // The map panics at bounds that are crossed.
            (Bound::Included(range.start()), Bound::Excluded(range.start()))
        } else {
            range.bounds()
        };
        DraftedRange {
            live: self.state.live.range(bounds).peekable(),
            staged: draft.staged.range::<[u8], _>(bounds).peekable(),
        }
    }

    /// Drafts that a key goes from one lease to another.
    fn draft_lease(
        &self,
        draft: &mut Draft,
        before: Option<LeaseId>,
        after: Option<LeaseId>,
    ) -> Result<(), Rejection> {
        if before == after {
            return Ok(());
        }
        if let Some(lease) = after {
            let drafted = draft.attached(lease);
            self.check_room(lease, *drafted)?;
            *drafted = drafted.saturating_add(1);
        }
        if let Some(lease) = before {
            let drafted = draft.attached(lease);
            *drafted = drafted.saturating_sub(1);
        }
        Ok(())
    }

    /// Drafts a put.
    pub(super) fn draft_put(&self, draft: &mut Draft, item: &PutItem) -> Result<(), Rejection> {
        let PutItem { key, value, lifetime } = item;
        self.check_value(value)?;
        let (expires_at, lease) = self.lifetime(*lifetime)?;
        let revision = self.state.revision.next();
        let current = self.drafted(draft, key);
        let lease_before = current.and_then(|current| current.lease());
        let header = match current {
            // A second write of one request is no further version: they share the revision.
            Some(current) if current.mod_revision() == revision => current.header(),
            Some(current) => Header {
                version: current.version().saturating_add(1),
                ..current.header()
            },
            None => Header {
                format: value.format(),
                is_packed: value.is_packed(),
                create_revision: revision,
                mod_revision: revision,
                version: 1,
                expires_at,
                lease,
            },
        };
        let header = Header {
            format: value.format(),
            is_packed: value.is_packed(),
            mod_revision: revision,
            expires_at,
            lease,
            ..header
        };
        let value = value.bytes().clone();
        self.draft_lease(draft, lease_before, lease)?;
        draft.stage(key, Staged::Record { header, value });
        Ok(())
    }

    /// Drafts a delete; says whether there was something to remove.
    pub(super) fn draft_delete(&self, draft: &mut Draft, key: &Key) -> bool {
        let Some(current) = self.drafted(draft, key) else {
            return false;
        };
        if let Some(lease) = current.lease() {
            let drafted = draft.attached(lease);
            *drafted = drafted.saturating_sub(1);
        }
        draft.stage(key, Staged::Absent);
        true
    }

    /// Drafts a touch.
    pub(super) fn draft_touch(
        &self,
        draft: &mut Draft,
        key: &Key,
        lifetime: Lifetime,
    ) -> Result<TouchOutcome, Rejection> {
        let wanted = self.wanted(lifetime)?;
        let Some(current) = self.drafted(draft, key) else {
            return Ok(TouchOutcome::NotFound);
        };
        if (current.expires_at(), current.lease()) == wanted {
            return Ok(TouchOutcome::Touched { expires_at: wanted.0 });
        }
        let (expires_at, lease): Ends = self.placed(wanted);
        let (header, revision) = (current.header(), self.state.revision.next());
        let is_first = header.mod_revision != revision;
        let header = Header {
            mod_revision: revision,
            version: header.version.saturating_add(u64::from(is_first)),
            expires_at,
            lease,
            ..header
        };
        let (value, lease_before) = (current.to_stored_value().bytes().clone(), current.lease());
        self.draft_lease(draft, lease_before, lease)?;
        draft.stage(key, Staged::Record { header, value });
        Ok(TouchOutcome::Touched { expires_at })
    }

    /// Performs a draft at one revision, or at none if it changes nothing; says which one holds.
    /// What it leaves must be unique where an index says so: its keys may exchange their values.
    pub(super) fn commit(&mut self, mut draft: Draft) -> Result<Revision, Rejection> {
        // What was created and removed again is no change.
        let state = &self.state;
        draft.order.retain(|key| match draft.staged.get(key) {
            Some(Staged::Record { .. }) => true,
            Some(Staged::Absent) | None => state.live.contains_key(key.as_bytes()),
        });
        if draft.order.is_empty() {
            return Ok(self.state.revision);
        }
        self.check_quota_draft(&draft)?;
        self.check_unique_draft(&draft)?;
        let revision = self.open_revision();
        for key in &draft.order {
            match draft.staged.get(key) {
                Some(Staged::Record { header, value }) => {
                    let behind = self.live(key).map(|(_, link)| link);
                    self.mutate(
                        key.as_bytes(),
                        Mutation::Put {
                            header: *header,
                            value,
                            behind,
                        },
                    );
                }
                Some(Staged::Absent) | None => self.mutate(
                    key.as_bytes(),
                    Mutation::Remove {
                        kind: ChangeKind::Delete,
                    },
                ),
            }
        }
        Ok(revision)
    }

    fn check_unique_draft(&self, draft: &Draft) -> Result<(), Rejection> {
        let writes = draft.order.iter().filter_map(|key| match draft.staged.get(key) {
            Some(Staged::Record { header, value }) => Some((key.as_bytes(), *header, value.as_ref())),
            Some(Staged::Absent) | None => None,
        });
        self.check_unique(writes, |key| draft.staged.contains_key(key))
    }
}
