//! A backup comes in piece by piece, and then takes the place of what is there.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::mem;

use bytes::Bytes;

use super::{Store, UsageDelta, index_entries};
use crate::codec::StoreRestorer;
use crate::idempotency::Remembered;
use crate::ids::{Millis, Timestamp};
use crate::limits::{
    IDEMPOTENCY_BYTES_MAX, IDEMPOTENCY_KEYS_MAX, REQUEST_BYTES_MAX, RESTORE_IDLE_MS, RESTORE_PIECE_BYTES_MAX,
    SNAPSHOT_CHUNK_BYTES,
};
use crate::machine::{Machine, Restorer};
use crate::reply::{InvalidRequestReason, Rejection, Reply};
use crate::restore::{Indexed, RestoreId, RestoreStep, Staged};
use crate::tree::Tree;

/// What works on a staged state.
#[derive(Debug)]
pub(crate) enum Staging {
    /// Pieces come.
    Fed(Box<StoreRestorer>),
    /// All have come.
    Whole(Box<Store>),
}

/// The refusal of a piece that is none, or that is not the next; and of a commit before the last.
const BAD_PIECE: Rejection = Rejection::InvalidRequest {
    reason: InvalidRequestReason::BackupPiece,
};

impl Store {
    pub(super) fn restore(&mut self, restore: RestoreId, step: RestoreStep) -> Result<Reply, Rejection> {
        if let RestoreStep::Begin { keep_policy } = step {
            // The last one wins: whoever drove the one before may be gone, and is told if not.
            self.forget_restore();
            let staged = Staged::new(restore, keep_policy, self.state.now);
            self.state.staged = Some(Arc::new(staged));
            self.staging = Some(Staging::Fed(Box::new(StoreRestorer::nested())));
            return Ok(self.restoring());
        }
        if !matches!(&self.state.staged, Some(staged) if staged.restore == restore) {
            return Err(Rejection::RestoreNotFound);
        }
        match step {
            RestoreStep::Begin { .. } => Ok(self.restoring()),
            RestoreStep::Piece {
                number,
                ends_chunk,
                bytes,
            } => self.take_piece(number, ends_chunk, bytes),
            RestoreStep::Commit => self.commit_restore(),
            RestoreStep::Abort => {
                self.forget_restore();
                Ok(self.restoring())
            }
        }
    }

    fn restoring(&self) -> Reply {
        let staged = self.state.staged.as_ref();
        Reply::Restoring {
            revision: self.state.revision,
            pieces: staged.map_or(0, |staged| staged.pieces),
            is_complete: staged.is_some_and(|staged| staged.indexed.is_some()),
        }
    }

    /// What has come is of no use, nor is what would follow.
    fn restore_failed(&mut self) -> Reply {
        self.forget_restore();
        Reply::RestoreFailed {
            revision: self.state.revision,
        }
    }

    pub(super) fn forget_restore(&mut self) {
        self.state.staged = None;
        self.staging = None;
    }

    /// Forgets a restore that nobody drives any more.
    pub(super) fn forget_idle_restore(&mut self) {
        if self.restore_ends_at().is_some_and(|end| end <= self.state.now) {
            self.forget_restore();
        }
    }

    /// When the restore that is under way is forgotten, if nothing is asked of it.
    pub(super) fn restore_ends_at(&self) -> Option<Timestamp> {
        let staged = self.state.staged.as_ref()?;
        Some(staged.touched_at.plus(Millis::new(RESTORE_IDLE_MS)))
    }

    fn take_piece(&mut self, number: u64, ends_chunk: bool, bytes: Bytes) -> Result<Reply, Rejection> {
        let (now, machine) = (self.state.now, self.state.version.version);
        let (Some(staged), Some(staging)) = (self.state.staged_mut(), &mut self.staging) else {
            return Err(Rejection::RestoreNotFound);
        };
        if number < staged.pieces {
            return Ok(self.restoring());
        }
        let Staging::Fed(restorer) = staging else {
            return Err(BAD_PIECE);
        };
        if number > staged.pieces || bytes.len() > RESTORE_PIECE_BYTES_MAX {
            return Err(BAD_PIECE);
        }
        staged.touched_at = now;
        staged.pieces = staged.pieces.saturating_add(1);
        staged.pending.push(bytes);
        if !ends_chunk {
            let pending = staged.pending.iter().map(Bytes::len).sum::<usize>();
            // More than any chunk has.
            if pending > REQUEST_BYTES_MAX.saturating_add(SNAPSHOT_CHUNK_BYTES) {
                return Ok(self.restore_failed());
            }
            return Ok(self.restoring());
        }
        restorer.set_machine(machine);
        if restorer.feed(&staged.take_pending()).is_err() {
            return Ok(self.restore_failed());
        }
        restorer.note(staged);
        if restorer.is_done()
            && let Some(Staging::Fed(restorer)) = self.staging.take()
        {
            let mut whole = restorer.into_store();
            // Leases were not in use: they have the time left that they had.
            whole.resume_at(now);
            staged.indexed = Some(Indexed::default());
            staged.state = whole.state.clone();
            self.staging = Some(Staging::Whole(Box::new(whole)));
        }
        Ok(self.restoring())
    }

    fn commit_restore(&mut self) -> Result<Reply, Rejection> {
        let now = self.state.now;
        let (Some(staged), Some(Staging::Whole(whole))) = (self.state.staged_mut(), &mut self.staging) else {
            return Err(BAD_PIECE);
        };
        let is_indexed = match &mut staged.indexed {
            Some(indexed) => index_entries(&mut whole.state, indexed),
            None => false,
        };
        if is_indexed {
            // I17: what is due by now is not shown for a moment.
            whole.advance_clock(now);
            whole.flush_usage();
        }
        let is_ready = is_indexed && whole.state.now >= now;
        staged.state = whole.state.clone();
        staged.touched_at = now;
        // I23: what is staged is shown whole or never.
        if !is_ready {
            return Ok(self.restoring());
        }
        let keeps_policy = staged.keeps_policy;
        self.state.staged = None;
        match self.staging.take() {
            Some(Staging::Whole(whole)) => self.swap(*whole, keeps_policy),
            Some(Staging::Fed(_)) | None => {}
        }
        Ok(Reply::Restored {
            revision: self.state.revision,
        })
    }

    /// Puts what was restored in the place of what is here.
    fn swap(&mut self, restored: Self, keeps_policy: bool) {
        self.flush_usage();
        let old = mem::replace(&mut self.state, restored.state);
        let state = &mut self.state;
        state.applied = old.applied;
        // I24: the replicas are what they were, whatever wrote the backup; it was taken for no newer one's.
        state.version = old.version;
        state.now = old.now.max(state.now);
        // Both pasts are behind it, and neither leads here: whoever watched finds that theirs is compacted.
        state.revision = old.revision.max(state.revision).next();
        state.compact_revision = state.revision;
        state.graves = Tree::new();
        state.changes = crate::changelog::ChangeLog::default();
        state.replaced = Tree::new();
        state.history_bytes = 0;
        state.marks = Arc::default();
        // No id is given out twice by this cluster.
        state.last_lease = old.last_lease.max(state.last_lease);
        // I7: the sessions are those of the nodes that run, this request's among them.
        state.sessions = old.sessions;
        // I22: whatever was judged before is judged anew.
        let policy_revision = old.policy_revision.max(state.policy_revision);
        if keeps_policy {
            state.policy = old.policy;
            state.policy_bytes = old.policy_bytes;
            state.namespaces = old.namespaces;
            state.emptying = old.emptying;
        }
        state.policy_revision = policy_revision.saturating_add(1);
        let names = mem::replace(&mut state.idempotency, old.idempotency);
        self.expiry = restored.expiry;
        self.usage_delta = UsageDelta::default();
        self.next_order = 0;
        self.remember_names(&names);
    }

    /// I21: what was answered before the backup is answered so again, beside what was answered since.
    fn remember_names(&mut self, names: &Tree) {
        for (name, cell) in names.iter() {
            let at = Remembered::stored(&cell).at;
            if self.is_too_old(at) || self.state.idempotency.contains_key(name) {
                continue;
            }
            let is_full = self.state.idempotency.len() >= IDEMPOTENCY_KEYS_MAX
                || self
                    .idempotency
                    .bytes()
                    .saturating_add(super::mutate::bytes(name.len().saturating_add(cell.len())))
                    > IDEMPOTENCY_BYTES_MAX;
            if is_full {
                break;
            }
            self.idempotency.insert(at, name, cell.as_bytes());
            self.state.idempotency.set(name, &cell);
        }
    }
}
