//! The change log: what happened after a revision, in order.

use bytes::Bytes;

use super::{ReadView, ViewError};
use crate::changelog;
use crate::ids::Revision;
use crate::key::Key;
use crate::record::RecordRef;
use crate::record::cell::Place;
use crate::state::{State, change};

/// What happened to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ChangeKind {
    /// It was written.
    Put,
    /// It was removed by a request.
    Delete,
    /// It was removed because its time had come.
    Expire,
}

impl ChangeKind {
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Put => 1,
            Self::Delete => 2,
            Self::Expire => 3,
        }
    }

    pub(crate) const fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Put),
            2 => Some(Self::Delete),
            3 => Some(Self::Expire),
            _ => None,
        }
    }

    /// Whether the key is gone after it.
    #[must_use]
    pub const fn is_removal(self) -> bool {
        match self {
            Self::Put => false,
            Self::Delete | Self::Expire => true,
        }
    }

    /// The name in every interface: `put`, `delete`, `expire`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Put => "put",
            Self::Delete => "delete",
            Self::Expire => "expire",
        }
    }
}

/// One change of one key. Its records are looked up when asked for.
#[derive(Clone, Copy)]
pub struct Change<'a> {
    state: &'a State,
    place: Place,
    entry: change::Entry<'a>,
}

impl<'a> Change<'a> {
    /// The revision that it belongs to. All changes of one request share it.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.place.revision
    }

    /// Its place among the changes of its revision, from 0.
    #[must_use]
    pub fn order(&self) -> u32 {
        self.place.order
    }

    /// What happened.
    #[must_use]
    pub fn kind(&self) -> ChangeKind {
        self.entry.kind
    }

    /// To which key.
    #[must_use]
    pub fn key(&self) -> &'a [u8] {
        self.entry.key
    }

    /// The key on its own.
    #[must_use]
    pub fn to_key(&self) -> Key {
        Key::trusted(Bytes::copy_from_slice(self.entry.key))
    }

    /// The record that was written; `None` if the key was removed.
    #[must_use]
    pub fn record(&self) -> Option<RecordRef<'a>> {
        match self.entry.kind {
            ChangeKind::Put => {
                let version = self
                    .state
                    .in_force(self.state.newest(self.entry.key), self.place.revision);
                RecordRef::new(self.entry.key, version?)
            }
            ChangeKind::Delete | ChangeKind::Expire => None,
        }
    }

    /// The record that was there before; `None` if there was none.
    #[must_use]
    pub fn previous(&self) -> Option<RecordRef<'a>> {
        RecordRef::new(self.entry.key, self.state.version_before(self.place, self.entry)?)
    }
}

impl core::fmt::Debug for Change<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Change")
            .field("place", &self.place)
            .field("kind", &self.entry.kind)
            .finish_non_exhaustive()
    }
}

/// Changes in order of revision. See [`ReadView::changes`].
#[derive(Clone, Debug)]
pub struct Changes<'a> {
    state: &'a State,
    changes: changelog::Iter<'a>,
}

impl<'a> Iterator for Changes<'a> {
    type Item = Change<'a>;

    fn next(&mut self) -> Option<Change<'a>> {
        let (place, cell) = self.changes.next()?;
        let entry = change::stored(cell);
        Some(Change {
            state: self.state,
            place,
            entry,
        })
    }
}

impl ReadView {
    /// Every change after revision `after` that the view contains, in order of revision and,
    /// within one, in the order of application. Of a revision still to come: none yet.
    ///
    /// # Errors
    ///
    /// If changes after `after` have been compacted: what happened in between cannot be told.
    pub fn changes(&self, after: Revision) -> Result<Changes<'_>, ViewError> {
        let compact_revision = self.state.compact_revision;
        if after < compact_revision {
            return Err(ViewError::Compacted { compact_revision });
        }
        Ok(self.changes_behind(Place {
            revision: after,
            order: u32::MAX,
        }))
    }

    /// The changes of `revision` behind the one at `order` within it, then those of every
    /// later revision: for a reader that had to stop in the middle.
    ///
    /// # Errors
    ///
    /// If the rest of `revision` has been compacted.
    pub fn changes_within(&self, revision: Revision, order: u32) -> Result<Changes<'_>, ViewError> {
        let compact_revision = self.state.compact_revision;
        if revision <= compact_revision {
            return Err(ViewError::Compacted { compact_revision });
        }
        Ok(self.changes_behind(Place { revision, order }))
    }

    fn changes_behind(&self, place: Place) -> Changes<'_> {
        Changes {
            state: &self.state,
            changes: self.state.changes.after(place),
        }
    }
}
