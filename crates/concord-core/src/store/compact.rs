//! Forgetting history: by request, by age, by count, by size.
//!
//! The compaction revision moves at once and decides what readers may ask for; what it makes
//! unreachable is removed in the order of the change log, a bounded number of changes per
//! batch. A change at revision r makes the version before it unreachable once r is compacted,
//! and a removal also its own tombstone; both go with the change.

use alloc::sync::Arc;

use super::Store;
use super::mutate::bytes;
use crate::ids::{Millis, Revision};
use crate::limits::{COMPACTION_MARKS, COMPACTION_MARKS_MAX, COMPACTIONS_PER_BATCH, VALUE_BYTES_MAX};
use crate::record::cell::{self, Place};
use crate::reply::{InvalidRequestReason, Rejection, Reply};
use crate::settings::{Compaction, Settings};
use crate::state::{Mark, change};

impl Store {
    pub(super) fn compact(&mut self, revision: Revision) -> Result<Reply, Rejection> {
        let compact_revision = self.state.compact_revision;
        if revision <= compact_revision {
            return Err(Rejection::Compacted { compact_revision });
        }
        if revision > self.state.revision {
            return Err(Rejection::FutureRevision {
                revision: self.state.revision,
            });
        }
        self.state.compact_revision = revision;
        Ok(Reply::Compacted { revision })
    }

    pub(super) fn configure(&mut self, settings: Settings) -> Result<Reply, Rejection> {
        let Settings {
            value_bytes_max,
            compaction,
        } = settings;
        let Compaction {
            keep_ms,
            keep_revisions,
            keep_bytes,
        } = compaction;
        let bounds = [
            Some(value_bytes_max),
            keep_ms.map(Millis::get),
            keep_revisions,
            keep_bytes,
        ];
        if value_bytes_max > VALUE_BYTES_MAX || bounds.contains(&Some(0)) {
            return Err(Rejection::InvalidRequest {
                reason: InvalidRequestReason::SettingOutOfRange,
            });
        }
        self.state.settings = settings;
        Ok(Reply::Configured {
            revision: self.state.revision,
        })
    }

    /// Notes which revision is current now, to know later what is how old.
    pub(super) fn mark_time(&mut self) {
        let Some(keep) = self.state.settings.compaction.keep_ms else {
            if !self.state.marks.is_empty() {
                self.state.marks = Arc::default();
            }
            return;
        };
        let spacing = (keep.get() / bytes(COMPACTION_MARKS)).max(1);
        let is_due = self
            .state
            .marks
            .last()
            .is_none_or(|mark| self.state.now.since(mark.at).get() >= spacing);
        if is_due {
            let mark = Mark {
                at: self.state.now,
                revision: self.state.revision,
            };
            let marks = Arc::make_mut(&mut self.state.marks);
            marks.push(mark);
            // Periods that were lengthened again and again leave too many: thin out the oldest.
            if marks.len() > COMPACTION_MARKS_MAX {
                marks.remove(1);
            }
        }
        // The newest mark that is old enough says what to compact; those before it say no more.
        let old = self
            .state
            .marks
            .partition_point(|mark| mark.at.plus(keep) <= self.state.now);
        if old > 1 {
            Arc::make_mut(&mut self.state.marks).drain(..old.saturating_sub(1));
        }
    }

    /// Applies the policy and removes some of what is unreachable.
    pub(super) fn compact_some(&mut self) {
        let Compaction {
            keep_ms,
            keep_revisions,
            keep_bytes,
        } = self.state.settings.compaction;
        if let Some(keep) = keep_revisions {
            let revision = Revision::new(self.state.revision.get().saturating_sub(keep));
            self.state.compact_revision = self.state.compact_revision.max(revision);
        }
        if let Some(keep) = keep_ms
            && let Some(mark) = self
                .state
                .marks
                .first()
                .filter(|mark| mark.at.plus(keep) <= self.state.now)
        {
            self.state.compact_revision = self.state.compact_revision.max(mark.revision);
        }
        // Twice what came in, so that what is left over from before shrinks under load.
        let budget = COMPACTIONS_PER_BATCH.saturating_add(self.batch_changes.saturating_mul(2));
        for _ in 0..budget {
            let Some(revision) = self.oldest_change() else {
                return;
            };
            let is_over_bytes = keep_bytes.is_some_and(|keep| self.state.history_bytes > keep);
            if revision > self.state.compact_revision {
                if !is_over_bytes {
                    return;
                }
                self.state.compact_revision = revision;
            }
            self.remove_oldest_change();
        }
    }

    /// Whether a batch has left something to remove.
    pub(super) fn is_compaction_behind(&self) -> bool {
        let keep_bytes = self.state.settings.compaction.keep_bytes;
        let is_over_bytes = keep_bytes.is_some_and(|keep| self.state.history_bytes > keep);
        self.oldest_change()
            .is_some_and(|oldest| is_over_bytes || oldest <= self.state.compact_revision)
    }

    fn oldest_change(&self) -> Option<Revision> {
        self.state.changes.first().map(|(place, _)| place.revision)
    }

    fn remove_oldest_change(&mut self) {
        let Some((place, cell)) = self.state.changes.first() else {
            return;
        };
        let entry = change::stored(cell);
        let is_apart = matches!(entry.before, change::Before::Apart);
        let removed = entry.kind.is_removal().then(|| entry.key.to_vec());
        let key = change::key(place);
        let mut freed = key.len() + cell.len();
        self.state.changes.drop_first();
        if is_apart && let Some(version) = self.state.replaced.remove(&key) {
            freed += key.len() + version.len();
        }
        self.shrink_history(freed);
        if let Some(removed) = removed.filter(|removed| self.is_grave_of(removed, place)) {
            self.take_grave(&removed);
        }
    }

    /// Whether the tombstone of `key` was made by the change at `place`, and not by a later one.
    fn is_grave_of(&self, key: &[u8], place: Place) -> bool {
        let grave = self.state.graves.get(key);
        grave.is_some_and(|grave| cell::stored(grave.as_bytes()).link().place == place)
    }
}
