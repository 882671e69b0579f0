//! Answers to commands. A refusal is an answer: it is replicated, remembered and compared
//! like any other.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

use crate::ids::{LeaseId, Millis, Revision, Timestamp};
use crate::index::IndexName;
use crate::key::InvalidKey;
use crate::record::StoredRecord;
use crate::txn::TxnOutcome;
use crate::value::InvalidValue;

/// The answer to one [`crate::Command`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// The value is stored.
    Written {
        /// The revision of the write.
        revision: Revision,
        /// What it replaced, if that was asked for and there was something.
        previous: Option<StoredRecord>,
    },
    /// The key is absent now.
    Deleted {
        /// The revision of the removal, or the current one if there was nothing to remove.
        revision: Revision,
        /// Whether there was something to remove.
        existed: bool,
        /// What was removed, if that was asked for and there was something.
        previous: Option<StoredRecord>,
    },
    /// The key lives until then.
    Touched {
        /// The revision of the write, or the current one if the deadline was the same already.
        revision: Revision,
        /// When the key expires now; `None`: never, or with its lease.
        expires_at: Option<Timestamp>,
    },
    /// The number is changed.
    Incremented {
        /// The revision of the write.
        revision: Revision,
        /// The number after the change.
        value: i64,
    },
    /// History up to and including this revision is gone.
    Compacted {
        /// The oldest revision that is still readable.
        revision: Revision,
    },
    /// The new settings hold.
    Configured {
        /// The current revision.
        revision: Revision,
    },
    /// The index is made, dropped, or about to be filled anew.
    IndexChanged {
        /// The current revision.
        revision: Revision,
    },
    /// The subscription is made, acknowledged, moved, or forgotten.
    SubscriptionChanged {
        /// The current revision.
        revision: Revision,
        /// Up to where it is acknowledged, or was.
        acked: Revision,
    },
    /// All items are stored.
    WrittenMany {
        /// The revision of the writes, or the current one if there were no items.
        revision: Revision,
    },
    /// All keys are absent now.
    DeletedMany {
        /// The revision of the removals, or the current one if there was nothing to remove.
        revision: Revision,
        /// For each key in order: whether there was something to remove.
        existed: Vec<bool>,
    },
    /// All keys that exist have their new lifetime.
    TouchedMany {
        /// The revision of the writes, or the current one if nothing changed.
        revision: Revision,
        /// For each item in order: what became of its key.
        outcomes: Vec<TouchOutcome>,
    },
    /// The transaction is performed.
    Txn {
        /// The revision of its writes, or the current one if it changed nothing.
        revision: Revision,
        /// What it did.
        outcome: TxnOutcome,
    },
    /// The lease exists.
    LeaseGranted {
        /// The current revision: a lease by itself is no change.
        revision: Revision,
        /// Its id.
        lease: LeaseId,
        /// How long it lives from each time that it is kept alive.
        ttl: Millis,
        /// When it ends.
        expires_at: Timestamp,
    },
    /// The lease lives on.
    LeaseKept {
        /// The current revision.
        revision: Revision,
        /// Its id.
        lease: LeaseId,
        /// How long it lives from each time that it is kept alive.
        ttl: Millis,
        /// When it ends now.
        expires_at: Timestamp,
    },
    /// The keys that a filter was about are gone.
    DeletedWhere {
        /// The revision of the removals, or the current one if there was nothing to remove.
        revision: Revision,
        /// How many they were.
        count: u64,
        /// Whether there are others, beyond the limit.
        more: bool,
    },
    /// The lease and its keys are gone.
    LeaseRevoked {
        /// The revision of the removal of its keys, or the current one if it had none.
        revision: Revision,
        /// How many keys it had.
        keys: u64,
    },
    /// The policy is changed.
    PolicyEdited {
        /// The current revision of the keys.
        revision: Revision,
        /// The revision of the policy, which a change from an expected one has moved on.
        policy_revision: u64,
    },
    /// The restore is under way, or forgotten as was asked.
    Restoring {
        /// The current revision.
        revision: Revision,
        /// How many pieces were taken: the number of the next one.
        pieces: u64,
        /// Whether those were all.
        is_complete: bool,
    },
    /// What came is no backup of a store: the restore is forgotten, and the data is as it was.
    RestoreFailed {
        /// The current revision.
        revision: Revision,
    },
    /// What was restored is shown from here on.
    Restored {
        /// The revision at which that happened; everything before it is compacted.
        revision: Revision,
    },
    /// Refused: the request changed nothing (I3).
    Rejected(Rejection),
}

/// What a touch of many did to one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TouchOutcome {
    /// The key is absent.
    NotFound,
    /// The key has its new lifetime.
    Touched {
        /// When it expires now; `None`: never, or with its lease.
        expires_at: Option<Timestamp>,
    },
}

impl Reply {
    /// The reply or the refusal.
    ///
    /// # Errors
    ///
    /// If the request was refused.
    pub fn into_result(self) -> Result<Self, Rejection> {
        match self {
            Self::Rejected(rejection) => Err(rejection),
            Self::Written { .. }
            | Self::Deleted { .. }
            | Self::Touched { .. }
            | Self::Incremented { .. }
            | Self::Compacted { .. }
            | Self::Configured { .. }
            | Self::IndexChanged { .. }
            | Self::SubscriptionChanged { .. }
            | Self::WrittenMany { .. }
            | Self::DeletedMany { .. }
            | Self::TouchedMany { .. }
            | Self::Txn { .. }
            | Self::LeaseGranted { .. }
            | Self::LeaseKept { .. }
            | Self::DeletedWhere { .. }
            | Self::LeaseRevoked { .. }
            | Self::PolicyEdited { .. }
            | Self::Restoring { .. }
            | Self::RestoreFailed { .. }
            | Self::Restored { .. } => Ok(self),
        }
    }
}

/// Why a request was refused by the state machine, on every replica alike.
///
/// Nothing was written by this attempt. Only [`Rejection::SessionExpired`] leaves open
/// whether an earlier attempt of the same request was applied.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// Not a key. Nothing was written.
    #[error("{0}")]
    InvalidKey(#[from] InvalidKey),
    /// A time to live of zero or beyond [`crate::limits::TTL_MS_MAX`]. Nothing was written.
    #[error("ttl is {ttl_ms} ms, must be 1 to {}", crate::limits::TTL_MS_MAX)]
    InvalidTtl {
        /// The one asked for.
        ttl_ms: u64,
    },
    /// The value, given or stored, is not what the operation needs. Nothing was written.
    #[error("{reason}")]
    InvalidValue {
        /// What is wrong with it.
        reason: InvalidValueReason,
    },
    /// Over [`crate::Settings::value_bytes_max`]. Nothing was written.
    #[error("value is {size_bytes} bytes, limit is {limit_bytes}")]
    ValueTooLarge {
        /// Its size.
        size_bytes: u64,
        /// The limit.
        limit_bytes: u64,
    },
    /// The request makes no sense: bytes that are no request, a setting out of range.
    /// Nothing was written.
    #[error("request is invalid: {reason}")]
    InvalidRequest {
        /// What is wrong with it.
        reason: InvalidRequestReason,
    },
    /// The key is absent. Nothing was written.
    #[error("key not found")]
    NotFound,
    /// The revision asked for is already compacted. Nothing was written.
    #[error("history up to revision {compact_revision} is compacted")]
    Compacted {
        /// The oldest revision that is still readable.
        compact_revision: Revision,
    },
    /// The revision asked for does not exist yet. Nothing was written.
    #[error("revision {revision} is the current one")]
    FutureRevision {
        /// The current revision.
        revision: Revision,
    },
    /// A request of a kind or version that this state machine does not know. Nothing was written.
    #[error("request kind {code} of version {version} is not supported")]
    Unsupported {
        /// The version byte.
        version: u8,
        /// The kind, 0 if the version itself is unknown.
        code: u8,
    },
    /// The condition does not hold. Nothing was written.
    #[error("condition does not hold")]
    ConditionFailed {
        /// The record that was judged; `None`: there is none.
        current: Option<Box<StoredRecord>>,
    },
    /// More in one request than it may have. Nothing was written.
    #[error("request has {count} {unit}, limit is {limit}")]
    BatchTooLarge {
        /// What there is too much of.
        unit: BatchUnit,
        /// How much there is.
        count: u64,
        /// How much there may be.
        limit: u64,
    },
    /// A part of the request is refused, and with it the whole. Nothing was written.
    #[error("{part} {index}: {cause}")]
    InPart {
        /// Of which list.
        part: RequestPart,
        /// Its place in the list, from 0.
        index: u64,
        /// Why.
        cause: Box<Self>,
    },
    /// There is no such lease, or it has ended. Nothing was written.
    #[error("lease {lease} not found")]
    LeaseNotFound {
        /// The one asked for.
        lease: LeaseId,
    },
    /// There is a lease of this id. Nothing was written.
    #[error("lease {lease} exists")]
    LeaseExists {
        /// The id asked for.
        lease: LeaseId,
    },
    /// There is as much as there may be. Nothing was written.
    #[error("{quota} are limited to {limit}")]
    QuotaExceeded {
        /// What there is too much of.
        quota: Quota,
        /// How much there may be.
        limit: u64,
    },
    /// A value that an index holds to be unique is another record's. Nothing was written.
    #[error("another key has this value in index `{index}`")]
    UniqueViolation {
        /// Which index.
        index: IndexName,
    },
    /// There is an index of this name. Nothing was written.
    #[error("index already exists")]
    IndexExists,
    /// There is no index of this name. Nothing was written.
    #[error("index not found")]
    IndexNotFound,
    /// There is a subscription of this name. Nothing was written.
    #[error("subscription already exists")]
    SubscriptionExists,
    /// There is no subscription of this name. Nothing was written.
    #[error("subscription not found")]
    SubscriptionNotFound,
    /// The idempotency key was used for another request. Nothing was written.
    #[error("idempotency key was used for another request")]
    IdempotencyConflict,
    /// The policy is not the one by which the request was judged or made, or who asked is nobody any more. It is
    /// to be judged anew. Nothing was written.
    #[error("policy has changed, it is at revision {policy_revision}")]
    PolicyChanged {
        /// The revision of the policy.
        policy_revision: u64,
    },
    /// The tenant has asked as often as it may for now. Nothing was written.
    #[error("too many requests of this tenant, the next is taken in {retry_after_ms} ms")]
    RateLimited {
        /// When it may ask again.
        retry_after_ms: u64,
    },
    /// The keys of the namespace are being deleted: until they are gone it takes no writes. Nothing was written.
    #[error("keys of the namespace are being deleted")]
    NamespaceEmptying,
    /// No such restore is under way: another one has begun since, or nothing was heard of it for too long. Nothing was
    /// written.
    #[error("the restore is no longer under way: another has begun, or it stood still for too long")]
    RestoreNotFound,
    /// The session or its reply is forgotten: this attempt wrote nothing, but an earlier
    /// attempt may have. The caller must look before it tries again under a new session.
    #[error("session is unknown or its reply is forgotten, outcome unknown")]
    SessionExpired,
}

/// What a request can have too much of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum BatchUnit {
    /// Items of a put, delete or touch of many.
    Items,
    /// Compares of a transaction.
    Compares,
    /// Operations of a branch of a transaction.
    Operations,
    /// Transactions within each other.
    Levels,
    /// Compares and operations of a transaction and those within it.
    Parts,
    /// Keys in the ranges of a transaction.
    Keys,
    /// Bytes in the answer to a transaction.
    Bytes,
    /// Expressions evaluated by a transaction.
    Evaluations,
    /// Keys that a delete by filter is about.
    MatchingKeys,
    /// Steps of work that a delete by filter takes.
    Steps,
    /// Edits of the policy.
    PolicyEdits,
    /// Bytes of edits of the policy.
    PolicyBytes,
}

impl fmt::Display for BatchUnit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Items => "items",
            Self::Compares => "compares in a transaction",
            Self::Operations => "operations in a branch",
            Self::Levels => "levels of transactions",
            Self::Parts => "compares and operations",
            Self::Keys => "keys in its ranges",
            Self::Bytes => "bytes to answer with",
            Self::Evaluations => "expressions to evaluate",
            Self::MatchingKeys => "matching keys",
            Self::Steps => "steps of work to find them",
            Self::PolicyEdits => "edits of the policy",
            Self::PolicyBytes => "bytes of edits of the policy",
        })
    }
}

/// What there can be too much of in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Quota {
    /// Leases.
    Leases,
    /// Keys on one lease.
    LeaseKeys,
    /// Subscriptions.
    Subscriptions,
    /// Records of the policy.
    PolicyRecords,
    /// Bytes of the records of the policy.
    PolicyBytes,
    /// Keys of one namespace.
    NamespaceKeys,
    /// Bytes of keys and values of one namespace.
    NamespaceBytes,
    /// Namespaces with a quota.
    Namespaces,
}

impl fmt::Display for Quota {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Leases => "leases",
            Self::LeaseKeys => "keys on one lease",
            Self::Subscriptions => "subscriptions",
            Self::PolicyRecords => "records of the policy",
            Self::PolicyBytes => "bytes of the policy",
            Self::NamespaceKeys => "keys of this namespace",
            Self::NamespaceBytes => "bytes of keys and values of this namespace",
            Self::Namespaces => "namespaces with a quota",
        })
    }
}

/// The lists that a request can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RequestPart {
    /// Items of a put, delete or touch of many.
    Item,
    /// Compares of a transaction.
    Compare,
    /// Its operations for when they hold.
    Success,
    /// Its operations for when they do not.
    Failure,
}

impl RequestPart {
    /// Its name in every interface.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Item => "item",
            Self::Compare => "compare",
            Self::Success => "success",
            Self::Failure => "failure",
        }
    }
}

impl fmt::Display for RequestPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why a value is not what an operation needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidValueReason {
    /// A text value that is not UTF-8.
    #[error("text is not valid utf-8")]
    NotUtf8,
    /// A document value that is not canonical.
    #[error("document is not canonical messagepack")]
    NotCanonical,
    /// The number to increment is not a 64-bit integer.
    #[error("value is not a 64-bit integer")]
    NotAnInteger,
    /// The sum does not fit 64 bits.
    #[error("sum overflows 64 bits")]
    Overflow,
}

/// Why a request makes no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRequestReason {
    /// Its bytes are not an encoded request.
    #[error("malformed bytes")]
    Malformed,
    /// It asks for the order of documents, which have none.
    #[error("documents have no order")]
    DocumentOrder,
    /// Its idempotency key is empty or too long.
    #[error(
        "idempotency key must be 1 to {} bytes",
        crate::limits::IDEMPOTENCY_KEY_BYTES_MAX
    )]
    IdempotencyKey,
    /// It asks for a lease id beyond [`crate::limits::LEASE_ID_MAX`].
    #[error("lease id out of range")]
    LeaseIdOutOfRange,
    /// The filter of its subscription is too long.
    #[error(
        "filter must be at most {} bytes",
        crate::limits::SUBSCRIPTION_FILTER_BYTES_MAX
    )]
    SubscriptionFilter,
    /// A key or a record of the policy is empty or too long.
    #[error(
        "key of a record of the policy must be 1 to {} bytes, the record at most {}",
        crate::limits::POLICY_KEY_BYTES_MAX,
        crate::limits::POLICY_RECORD_BYTES_MAX
    )]
    PolicyRecord,
    /// A namespace to give a quota to is empty or too long, or has a `:`.
    #[error("namespace must be 1 to {} bytes without a `:`", crate::limits::KEY_BYTES_MAX - 1)]
    Namespace,
    /// It sets a limit beyond what the core allows, or to nothing.
    #[error("setting out of range")]
    SettingOutOfRange,
    /// What is no piece of a backup, or not the next one; or not all of them have come.
    #[error("not the next piece of a backup's snapshot, or not all of them")]
    BackupPiece,
    /// The store has as many indexes as it may have.
    #[error("there are {} indexes already", crate::limits::INDEXES_MAX)]
    TooManyIndexes,
}

impl From<InvalidValue> for Rejection {
    fn from(invalid: InvalidValue) -> Self {
        let reason = match invalid {
            InvalidValue::NotUtf8 { .. } => InvalidValueReason::NotUtf8,
            InvalidValue::Document(_) => InvalidValueReason::NotCanonical,
        };
        Self::InvalidValue { reason }
    }
}

impl Rejection {
    /// The error's name in every interface. Stable, unlike the message.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::InvalidKey(_) => "invalid_key",
            Self::InvalidTtl { .. } => "invalid_ttl",
            Self::InvalidValue { .. } => "invalid_value",
            Self::ValueTooLarge { .. } => "value_too_large",
            Self::InvalidRequest { .. } => "invalid_request",
            Self::NotFound | Self::IndexNotFound | Self::SubscriptionNotFound | Self::RestoreNotFound => {
                "not_found"
            }
            Self::UniqueViolation { .. } => "unique_violation",
            Self::IndexExists | Self::SubscriptionExists => "already_exists",
            Self::Compacted { .. } => "compacted",
            Self::FutureRevision { .. } => "future_revision",
            Self::Unsupported { .. } => "unsupported",
            Self::SessionExpired => "outcome_unknown",
            Self::ConditionFailed { .. } => "condition_failed",
            Self::BatchTooLarge { .. } => "batch_too_large",
            Self::LeaseNotFound { .. } => "lease_not_found",
            Self::LeaseExists { .. } => "already_exists",
            Self::IdempotencyConflict => "idempotency_conflict",
            Self::QuotaExceeded { .. } => "quota_exceeded",
            // Whoever judges requests judges again until time runs out.
            Self::PolicyChanged { .. } => "timeout",
            Self::RateLimited { .. } => "rate_limited",
            Self::NamespaceEmptying => "not_ready",
            Self::InPart { cause, .. } => cause.name(),
        }
    }

    /// The refusal of too much.
    pub(crate) fn too_large(unit: BatchUnit, count: usize, limit: usize) -> Self {
        let number = |count| u64::try_from(count).unwrap_or(u64::MAX);
        Self::BatchTooLarge {
            unit,
            count: number(count),
            limit: number(limit),
        }
    }

    /// The refusal of a part of a request.
    pub(crate) fn in_part(self, part: RequestPart, index: usize) -> Self {
        Self::InPart {
            part,
            index: u64::try_from(index).unwrap_or(u64::MAX),
            cause: Box::new(self),
        }
    }
}
