//! The store: Concord's state machine.
//!
//! ```text
//!   Batch ──> clock ──> expiry ──> requests ──> compaction ──> replies
//!                          │           │
//!                          └─────┬─────┘
//!                                v
//!                       mutate, the one primitive ──> live, history, changes, usage, expiry queue, indexes
//! ```
//!
//! A request that may change several keys is drafted first, and the draft committed at one
//! revision. Each request is judged first and changes things last: a refusal leaves no trace but its
//! reply, which the session remembers (I3). Work per batch is bounded by the batch and the
//! constants in [`limits`](crate::limits); nothing here grows with the number of keys.

mod bulk;
mod compact;
mod delete_where;
mod draft;
mod expiry;
mod idempotency;
mod index;
mod kv;
mod leases;
mod mutate;
mod namespaces;
mod policy;
mod restore;
mod sessions;
mod subscriptions;
mod txn;
mod usage;

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use bytes::Bytes;

use crate::batch::Batch;
use crate::codec::command::raise;
use crate::codec::{CommandError, DecodeError, SnapshotChunks, StoreRestorer};
use crate::command::Command;
use crate::ids::{Revision, Timestamp};
use crate::machine::{Machine, Meta};
use crate::policy::{Caller, Guard};
use crate::reply::{InvalidRequestReason, Rejection, Reply};
use crate::state::State;
use crate::trace::TraceContext;
use crate::version::{ClusterVersion, MachineVersion};
use crate::view::{ChangeKind, ReadView};

pub(crate) use expiry::ExpiryQueue;
pub(crate) use idempotency::{IdempotencyTable, age_key};
pub(crate) use index::derive_entries;
use index::index_entries;
use mutate::Scratch;
pub(crate) use restore::Staging;
pub(crate) use sessions::{SessionHeader, SessionTable, decode_replies, session_key_parts};
use usage::UsageDelta;
pub(crate) use usage::add as add_usage;

/// The replicated key-value store. See the [module](self).
pub struct Store {
    state: State,
    /// Derived from the live records and the leases: what ends when.
    expiry: ExpiryQueue,
    /// Derived from the session headers: who was idle for longest.
    sessions: SessionTable,
    /// Derived from the idempotency keys: which is the oldest.
    idempotency: IdempotencyTable,
    /// Changes of usage that are not in the state yet; none between batches.
    usage_delta: UsageDelta,
    /// Order of the next change within the revision.
    next_order: u32,
    /// Changes made by the batch that is being applied.
    batch_changes: usize,
    scratch: Scratch,
    /// Whose request is being applied; nobody's between requests.
    caller: Caller,
    /// Works on what is staged; there while something is.
    staging: Option<Staging>,
}

impl Store {
    pub(crate) fn from_state(
        mut state: State,
        expiry: ExpiryQueue,
        sessions: SessionTable,
        idempotency: IdempotencyTable,
    ) -> Self {
        state.session_usage = sessions.usage();
        Self {
            state,
            expiry,
            sessions,
            idempotency,
            usage_delta: UsageDelta::default(),
            next_order: 0,
            batch_changes: 0,
            scratch: Scratch::default(),
            caller: Caller::NOBODY,
            staging: None,
        }
    }

    /// With a restore that is under way.
    pub(crate) fn with_staging(mut self, staging: Option<Staging>) -> Self {
        self.staging = staging;
        self
    }

    pub(crate) const fn staging(&self) -> Option<&Staging> {
        self.staging.as_ref()
    }

    pub(crate) fn state(&self) -> &State {
        &self.state
    }

    pub(crate) fn expiry(&self) -> &ExpiryQueue {
        &self.expiry
    }

    pub(crate) fn idempotency(&self) -> &IdempotencyTable {
        &self.idempotency
    }

    pub(crate) fn sessions(&self) -> &SessionTable {
        &self.sessions
    }

    /// Judges and performs one encoded request. Of which trace it is changes nothing.
    fn request(&mut self, request: &Bytes) -> Reply {
        match TraceContext::take_off(request) {
            Ok(None) => self.perhaps_guarded(request),
            Ok(Some((_, request))) => self.perhaps_guarded(&request),
            Err(error) => Reply::Rejected(error.into()),
        }
    }

    /// On somebody's behalf, if it says so.
    fn perhaps_guarded(&mut self, request: &Bytes) -> Reply {
        match Guard::take_off(request) {
            Ok(None) => self.plain_request(request),
            Ok(Some((guard, request))) => self.guarded(&guard, &request),
            Err(error) => Reply::Rejected(error.into()),
        }
    }

    fn plain_request(&mut self, request: &Bytes) -> Reply {
        // Decoding checks keys and values again, whatever the edge has let through (D-DATA-3).
        // I24: as a program did whose newest machine is that of the state.
        let outcome = match Command::decode_at(request, self.state.version.version) {
            Ok(Command::Idempotent { key, command }) => return self.once(&key, request, *command),
            Ok(command) => self.command(command),
            Err(CommandError::Unsupported { version, code }) => self.perhaps_raised(request, version, code),
            Err(error) => Err(error.into()),
        };
        outcome.unwrap_or_else(Reply::Rejected)
    }

    /// What raises the version is no command: leaders alone make it. A version that this program does not know is
    /// taken over too, and whoever drives it then stops: see [`Machine::version`].
    fn perhaps_raised(&mut self, request: &Bytes, version: u8, code: u8) -> Result<Reply, Rejection> {
        let Some(to) = raise::decode(request).map_err(CommandError::from)? else {
            return Err(Rejection::Unsupported { version, code });
        };
        if to.version > self.state.version.version {
            self.state.version = to;
        }
        Ok(Reply::Configured {
            revision: self.state.revision,
        })
    }

    fn command(&mut self, command: Command) -> Result<Reply, Rejection> {
        match command {
            Command::Put {
                key,
                value,
                lifetime,
                condition,
                return_previous,
            } => self.put(&key, &value, lifetime, condition.as_ref(), return_previous),
            Command::Delete {
                key,
                condition,
                return_previous,
            } => self.delete(&key, condition.as_ref(), return_previous),
            Command::Touch { key, lifetime } => self.touch(&key, lifetime),
            Command::Increment { key, delta, ttl } => self.increment(&key, delta, ttl),
            Command::Compact { revision } => self.compact(revision),
            Command::Configure(settings) => self.configure(settings),
            Command::CreateIndex { definition, fill } => self.create_index(definition, fill),
            Command::DropIndex { name } => self.drop_index(&name),
            Command::Reindex { name } => self.reindex(&name),
            Command::CreateSubscription { name, filter, after } => {
                self.create_subscription(&name, &filter, after)
            }
            Command::DeleteSubscription { name } => self.delete_subscription(&name),
            Command::AckSubscription { name, upto } => self.ack_subscription(&name, upto),
            Command::ResetSubscription { name, after } => self.reset_subscription(&name, after),
            Command::PutMany { items } => self.put_many(&items),
            Command::DeleteMany { keys } => self.delete_many(&keys),
            Command::TouchMany { items } => self.touch_many(&items),
            Command::DeleteWhere { filter, limit } => self.delete_where(&filter, limit),
            Command::Txn(txn) => self.txn(&txn),
            Command::LeaseGrant { lease, ttl } => self.lease_grant(lease, ttl),
            Command::LeaseKeepAlive { lease } => self.lease_keep_alive(lease),
            Command::LeaseRevoke { lease } => self.lease_revoke(lease),
            Command::EditPolicy(change) => self.edit_policy(&change),
            Command::Restore { restore, step } => self.restore(restore, step),
            // Decoding lets no request hold another one of these.
            Command::Idempotent { .. } | Command::Guarded { .. } => Err(Rejection::InvalidRequest {
                reason: InvalidRequestReason::Malformed,
            }),
        }
    }

    /// Moves the replicated clock on and removes what became due, in one revision.
    fn advance_clock(&mut self, proposed_at: Timestamp) {
        // I2: a leader with a slow clock does not turn time back.
        let wanted = proposed_at.max(self.state.now);
        let due = self.expiry.due(wanted);
        self.state.now = due.now;
        let mut keys = due.keys;
        for &lease in &due.leases {
            keys.extend(self.keys_on(lease));
        }
        if !keys.is_empty() {
            self.open_revision();
        }
        for key in keys {
            self.remove_key(&key, ChangeKind::Expire);
        }
        // I19: a lease goes with its keys, none of which is left.
        for lease in due.leases {
            self.end_lease(lease);
        }
    }

    /// Starts the revision of a request that is about to change something.
    fn open_revision(&mut self) -> Revision {
        self.state.revision = self.state.revision.next();
        self.next_order = 0;
        self.state.revision
    }
}

impl Machine for Store {
    type Reply = Reply;
    type View = ReadView;
    type SnapshotChunks = SnapshotChunks;
    type Restorer = StoreRestorer;
    const NEWEST: MachineVersion = MachineVersion::NEWEST;

    fn empty() -> Self {
        Self::from_state(
            State::empty(),
            ExpiryQueue::default(),
            SessionTable::default(),
            IdempotencyTable::default(),
        )
    }

    /// # Panics
    ///
    /// If `meta.index` is not after the last one (I1). The log reader is then at fault, and
    /// carrying on would split this replica from the others.
    fn apply(&mut self, meta: Meta, batch: &Batch) -> Vec<Reply> {
        assert!(meta.index > self.state.applied, "I1: entries apply in log order");
        self.state.applied = meta.index;
        self.batch_changes = 0;
        self.advance_clock(batch.proposed_at);
        self.mark_time();
        self.forget_idle_sessions();
        self.forget_old_names();
        self.forget_idle_restore();
        let mut replies = Vec::with_capacity(batch.groups.iter().map(|group| group.requests.len()).sum());
        for group in &batch.groups {
            self.apply_group(group, &mut replies);
        }
        self.fill_some_indexes();
        self.empty_some_namespaces();
        self.compact_some();
        self.flush_usage();
        self.state.session_usage = self.sessions.usage();
        self.scratch.trim();
        replies
    }

    fn view(&self) -> ReadView {
        ReadView::new(Arc::new(self.state.clone()))
    }

    /// Also `Some` while compaction, an index or a namespace has work left, so that it ends on an idle store, and
    /// while a restore is under way.
    fn next_deadline(&self) -> Option<Timestamp> {
        if self.is_compaction_behind() || self.is_filling_indexes() || self.is_emptying_namespaces() {
            return Some(self.state.now);
        }
        let ends = [self.expiry.first(), self.restore_ends_at()];
        ends.into_iter().flatten().min()
    }

    fn revision_of(view: &ReadView) -> Revision {
        view.revision()
    }

    fn snapshot(view: &ReadView) -> SnapshotChunks {
        SnapshotChunks::new(view.clone())
    }

    /// Leases get it; the deadline of a key is a time of the calendar, and stays.
    fn resume_at(&mut self, now: Timestamp) {
        self.prolong_leases(now.since(self.state.now));
    }

    fn restorer() -> StoreRestorer {
        StoreRestorer::new()
    }

    fn version(&self) -> ClusterVersion {
        self.state.version
    }

    fn version_of(view: &ReadView) -> ClusterVersion {
        view.version()
    }

    fn needs(request: &Bytes) -> MachineVersion {
        raise::needs(request)
    }

    fn raise(to: MachineVersion) -> Option<Bytes> {
        ClusterVersion::known(to).map(ClusterVersion::raise)
    }

    fn trace_of(request: &Bytes) -> Option<TraceContext> {
        TraceContext::of(request)
    }

    fn is_session_expired(reply: &Reply) -> bool {
        matches!(reply, Reply::Rejected(Rejection::SessionExpired))
    }

    fn encode_reply(reply: &Reply, out: &mut Vec<u8>) {
        reply.encode(out);
    }

    fn decode_reply(bytes: &Bytes) -> Result<Reply, DecodeError> {
        Reply::decode(bytes)
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("applied", &self.state.applied)
            .field("revision", &self.state.revision)
            .field("keys", &self.state.live.len())
            .finish_non_exhaustive()
    }
}
