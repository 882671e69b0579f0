//! The requests that change the store, in the form the log keeps for good.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::Bytes;

use crate::expr::Expression;
use crate::filter::Filter;
use crate::idempotency::IdempotencyKey;
use crate::ids::{LeaseId, Millis, Revision};
use crate::index::{IndexDefinition, IndexName};
use crate::key::Key;
use crate::policy::{Guard, PolicyChange};
use crate::restore::{RestoreId, RestoreStep};
use crate::settings::Settings;
use crate::subscription::SubscriptionName;
use crate::txn::Txn;
use crate::value::{StoredValue, Value};

/// A request to change the store.
///
/// Log rule: variants and their codes are only added, never reordered, reused or hidden
/// behind a feature; see `docs/log-format.md`. Deliberately exhaustive: a new variant must
/// not compile until everything that judges commands has decided about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Store `value` under `key`.
    Put {
        /// Where.
        key: Key,
        /// What, packed or not.
        value: StoredValue,
        /// How long the key lives, whatever was set before.
        lifetime: Lifetime,
        /// Only if this holds of what is stored.
        condition: Option<Condition>,
        /// Answer with the record that was replaced.
        return_previous: bool,
    },
    /// Remove `key`. Of an absent key: succeeds and changes nothing.
    Delete {
        /// What to remove.
        key: Key,
        /// Only if this holds of what is stored.
        condition: Option<Condition>,
        /// Answer with the record that was removed.
        return_previous: bool,
    },
    /// Replace the lifetime of `key`, which must exist. Another one is a write of the same
    /// value: new revision, version and event. The one it already has: changes nothing.
    Touch {
        /// Which.
        key: Key,
        /// How long it lives from now on.
        lifetime: Lifetime,
    },
    /// Add `delta` to the 64-bit number under `key`; an absent key counts as 0 and becomes a
    /// document integer. A `text` decimal stays text, a document integer a document.
    Increment {
        /// Which.
        key: Key,
        /// How much; may be negative.
        delta: i64,
        /// `Some`: the key lives this long from now on; `None`: its lifetime stays as it is.
        ttl: Option<Millis>,
    },
    /// Forget the history up to and including `revision`; reads at `revision` still work.
    Compact {
        /// The oldest revision that stays readable.
        revision: Revision,
    },
    /// Replace the settings that decide in apply. Does not count as a revision.
    Configure(Settings),
    /// Make an index of what is written from now on. Does not count as a revision.
    CreateIndex {
        /// What it is; no other has its name.
        definition: Arc<IndexDefinition>,
        /// Whether it is also filled with what was there before, a bit at a time.
        fill: bool,
    },
    /// Forget an index. Does not count as a revision.
    DropIndex {
        /// Which.
        name: IndexName,
    },
    /// Empty an index and fill it with everything, a bit at a time. Does not count as a revision.
    Reindex {
        /// Which.
        name: IndexName,
    },
    /// Store all of these at one revision, or none: one bad item refuses all of them. Of
    /// items with one key the last wins.
    PutMany {
        /// At most [`crate::limits::BATCH_ITEMS_MAX`].
        items: Vec<PutItem>,
    },
    /// Remove all of these at one revision. Absent keys are no obstacle.
    DeleteMany {
        /// At most [`crate::limits::BATCH_ITEMS_MAX`].
        keys: Vec<Key>,
    },
    /// Replace the lifetimes of all of these at one revision, or of none. Absent keys are no
    /// obstacle: the answer tells which. Of items with one key the last wins.
    TouchMany {
        /// At most [`crate::limits::BATCH_ITEMS_MAX`].
        items: Vec<TouchItem>,
    },
    /// Compare, then perform one of two lists of operations, at one revision.
    Txn(Txn),
    /// Make a lease that ends when it was not kept alive for `ttl`.
    LeaseGrant {
        /// Its id; 0: the state machine chooses one.
        lease: LeaseId,
        /// How long it lives from now on, and from each time that it is kept alive.
        ttl: Millis,
    },
    /// Let a lease live for its ttl from now on.
    LeaseKeepAlive {
        /// Which.
        lease: LeaseId,
    },
    /// Apply `command` once, however often it comes under `key`: within the bounds of what is
    /// remembered, a retry gets the first answer, also if that was a refusal. Another request
    /// under the same key is a conflict. A request that cannot even be decoded uses no key.
    Idempotent {
        /// The name of the request.
        key: IdempotencyKey,
        /// The request itself; not another of this kind.
        command: Box<Self>,
    },
    /// Remove every key whose record a filter holds of, at one revision, or none of them.
    DeleteWhere {
        /// Which.
        filter: Filter,
        /// At most so many, the first in the order of keys; `None`: all, and if they are more than
        /// [`crate::limits::DELETE_WHERE_KEYS_MAX`], none.
        limit: Option<u64>,
    },
    /// Remember a place in the change log under a name. Does not count as a revision.
    CreateSubscription {
        /// No other has it.
        name: SubscriptionName,
        /// What it is about: bytes of `concord-query`.
        filter: Bytes,
        /// It begins behind this revision; `None`: behind the current one.
        after: Option<Revision>,
    },
    /// Forget a subscription. Does not count as a revision.
    DeleteSubscription {
        /// Which.
        name: SubscriptionName,
    },
    /// Note that a subscription's consumers are done with all up to a revision. Never leads back.
    /// Does not count as a revision.
    AckSubscription {
        /// Which.
        name: SubscriptionName,
        /// Up to here, included.
        upto: Revision,
    },
    /// Have a subscription begin anew, before or behind where it stands. Does not count as a revision.
    ResetSubscription {
        /// Which.
        name: SubscriptionName,
        /// Behind this revision; `None`: behind the current one.
        after: Option<Revision>,
    },
    /// End a lease. Its keys are deleted at one revision.
    LeaseRevoke {
        /// Which.
        lease: LeaseId,
    },
    /// Change the policy. Does not count as a revision of the keys.
    EditPolicy(PolicyChange),
    /// Go on with the restore of a backup: see [`crate::restore`]. Counts as a revision once, when it ends well.
    Restore {
        /// Which.
        restore: RestoreId,
        /// What to do.
        step: RestoreStep,
    },
    /// Do what `command` says on somebody's behalf, if the policy by which it was allowed still holds. Otherwise
    /// nothing happens, and no idempotency key is used. No interface takes one: the service makes it of a request
    /// that it judged.
    Guarded {
        /// By what it was judged, and whose request it is.
        guard: Guard,
        /// Any but such a request.
        command: Box<Command>,
    },
}

/// What a put of many stores under one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PutItem {
    /// Where.
    pub key: Key,
    /// What, packed or not.
    pub value: StoredValue,
    /// How long the key lives, whatever was set before.
    pub lifetime: Lifetime,
}

/// What a touch of many does to one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TouchItem {
    /// Which.
    pub key: Key,
    /// How long it lives from now on.
    pub lifetime: Lifetime,
}

/// How long a key lives. A key has one lifetime, so a time to live and a lease exclude each
/// other (D-V3-7): who sets one gives up the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lifetime {
    /// Until it is deleted.
    Forever,
    /// This long from the entry's replicated time on.
    Ttl(Millis),
    /// As long as this lease, which must exist.
    Lease(LeaseId),
}

impl From<Option<Millis>> for Lifetime {
    /// A time to live, or none.
    fn from(ttl: Option<Millis>) -> Self {
        ttl.map_or(Self::Forever, Self::Ttl)
    }
}

/// What must hold of the stored record for a write to happen. Judged at apply, on the state
/// that the write changes. A key that has expired is absent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// There is none.
    Absent,
    /// There is one.
    Present,
    /// Its value is this one: same format, same bytes (D-DATA-13).
    ValueIs(Value),
    /// Its last write was at this revision.
    ModRevisionIs(Revision),
    /// It was written this often since its creation.
    VersionIs(u64),
    /// The expression is true of it. Of no record, and by an error, it is not.
    Predicate(Expression),
}
