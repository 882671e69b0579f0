//! What policy, store and consensus refuse, and why a node ends, as errors of requests.

use concord_auth::{Denied, PolicyError};
use concord_core::limits as core_limits;
use concord_core::reply::Rejection;
use concord_core::view::ViewError;
use concord_query::InvalidCursor;
use concord_raft::{MembershipError, ProposeError, ReadError, StopReason};

use super::number;
use crate::error::{COMPACT_REVISION, CURRENT_REVISION, Error, ErrorKind, RETRY_AFTER_MS};

impl From<MembershipError> for Error {
    fn from(error: MembershipError) -> Self {
        let message = error.to_string();
        match error {
            MembershipError::NoCluster | MembershipError::InProgress => {
                Self::new(ErrorKind::NotReady, message)
            }
            MembershipError::NoLeader => Self::new(ErrorKind::NoQuorum, message),
            MembershipError::Invalid { .. } => Self::new(ErrorKind::InvalidRequest, message),
            MembershipError::UnknownNode { node } => {
                Self::new(ErrorKind::NotFound, message).with("node_id", node.get())
            }
            MembershipError::Conflict { .. } => Self::new(ErrorKind::AlreadyExists, message),
            MembershipError::Silent { node } => {
                Self::new(ErrorKind::NotReady, message).with("node_id", node.get())
            }
            MembershipError::NotCaughtUp {
                node,
                lag_entries,
                limit_entries,
            } => Self::new(ErrorKind::NotReady, message)
                .with("node_id", node.get())
                .with("lag_entries", lag_entries)
                .with("limit_entries", limit_entries),
            MembershipError::Stopped(reason) => reason.into(),
            MembershipError::OutcomeUnknown { .. } | _ => Self::new(ErrorKind::OutcomeUnknown, message),
        }
    }
}

impl From<StopReason> for Error {
    fn from(reason: StopReason) -> Self {
        let kind = match &reason {
            StopReason::Storage { .. } => ErrorKind::StorageFailed,
            StopReason::Corrupt { .. } => ErrorKind::Corrupt,
            StopReason::TooOld { .. } => ErrorKind::Unsupported,
            StopReason::Shutdown | StopReason::Removed | StopReason::Defect { .. } | _ => {
                ErrorKind::ShuttingDown
            }
        };
        Self::new(kind, reason.to_string())
    }
}

impl From<Denied> for Error {
    fn from(denied: Denied) -> Self {
        Self::new(ErrorKind::Forbidden, denied.to_string())
    }
}

impl From<PolicyError> for Error {
    fn from(error: PolicyError) -> Self {
        let message = error.to_string();
        let kind = match &error {
            PolicyError::NotFound { .. } => ErrorKind::NotFound,
            PolicyError::Exists { .. } => ErrorKind::AlreadyExists,
            PolicyError::Name(_) | PolicyError::Expired { .. } => ErrorKind::InvalidRequest,
            PolicyError::Protected { .. } => ErrorKind::Forbidden,
            PolicyError::Limit { limit, .. } => {
                return Self::new(ErrorKind::QuotaExceeded, message).with("limit", *limit);
            }
            PolicyError::Unreadable(_) => ErrorKind::Unsupported,
        };
        Self::new(kind, message)
    }
}

impl From<InvalidCursor> for Error {
    fn from(invalid: InvalidCursor) -> Self {
        Self::invalid_request(invalid.to_string())
    }
}

impl From<Rejection> for Error {
    fn from(rejection: Rejection) -> Self {
        let message = rejection.to_string();
        match rejection {
            Rejection::InvalidKey(_) => Self::new(ErrorKind::InvalidKey, message),
            Rejection::InvalidTtl { ttl_ms } => Self::new(ErrorKind::InvalidTtl, message)
                .with("ttl_ms", ttl_ms)
                .with("ttl_ms_max", core_limits::TTL_MS_MAX),
            Rejection::InvalidValue { .. } => Self::new(ErrorKind::InvalidValue, message),
            Rejection::ValueTooLarge {
                size_bytes,
                limit_bytes,
            } => Self::new(ErrorKind::ValueTooLarge, message)
                .with("size_bytes", size_bytes)
                .with("limit_bytes", limit_bytes),
            Rejection::InvalidRequest { .. } => Self::new(ErrorKind::InvalidRequest, message),
            Rejection::UniqueViolation { index } => {
                Self::new(ErrorKind::UniqueViolation, message).with("index", index.to_string())
            }
            Rejection::SubscriptionExists => Self::new(ErrorKind::AlreadyExists, message),
            Rejection::IndexExists => Self::new(ErrorKind::AlreadyExists, message),
            Rejection::NotFound
            | Rejection::IndexNotFound
            | Rejection::SubscriptionNotFound
            | Rejection::RestoreNotFound => Self::new(ErrorKind::NotFound, message),
            Rejection::Compacted { compact_revision } => {
                Self::new(ErrorKind::Compacted, message).with(COMPACT_REVISION, compact_revision.get())
            }
            Rejection::FutureRevision { revision } => {
                Self::new(ErrorKind::FutureRevision, message).with(CURRENT_REVISION, revision.get())
            }
            Rejection::Unsupported { .. } => Self::new(ErrorKind::Unsupported, message),
            Rejection::SessionExpired => Self::new(ErrorKind::OutcomeUnknown, message),
            Rejection::ConditionFailed { current } => {
                let current = current.and_then(|current| current.into_plain());
                Self::new(ErrorKind::ConditionFailed, message).with_current(current)
            }
            Rejection::BatchTooLarge { count, limit, .. } => Self::new(ErrorKind::BatchTooLarge, message)
                .with("count", count)
                .with("limit", limit),
            Rejection::LeaseNotFound { lease } => {
                Self::new(ErrorKind::LeaseNotFound, message).with("lease", lease.get())
            }
            Rejection::LeaseExists { lease } => {
                Self::new(ErrorKind::AlreadyExists, message).with("lease", lease.get())
            }
            Rejection::QuotaExceeded { quota, limit } => Self::new(ErrorKind::QuotaExceeded, message)
                .with("quota", quota.to_string())
                .with("limit", limit),
            // For whoever judges: it judges again, and only time running out ends that.
            Rejection::PolicyChanged { .. } => Self::new(ErrorKind::Timeout, message),
            Rejection::RateLimited { retry_after_ms } => {
                Self::new(ErrorKind::RateLimited, message).with(RETRY_AFTER_MS, retry_after_ms)
            }
            Rejection::NamespaceEmptying => Self::new(ErrorKind::NotReady, message),
            Rejection::IdempotencyConflict => Self::new(ErrorKind::IdempotencyConflict, message),
            // The outer message says where, the inner error what.
            Rejection::InPart { part, index, cause } => {
                Self::from(*cause).with(part.name(), index).with_message(message)
            }
        }
    }
}

impl From<ViewError> for Error {
    fn from(error: ViewError) -> Self {
        let message = error.to_string();
        match error {
            ViewError::Compacted { compact_revision } => {
                Self::new(ErrorKind::Compacted, message).with(COMPACT_REVISION, compact_revision.get())
            }
            ViewError::FutureRevision { revision } => {
                Self::new(ErrorKind::FutureRevision, message).with(CURRENT_REVISION, revision.get())
            }
            ViewError::PageLimit { limit_max, .. } => {
                Self::new(ErrorKind::InvalidRequest, message).with("limit_max", number(limit_max))
            }
            ViewError::Corrupt(_) => Self::new(ErrorKind::Corrupt, message),
            ViewError::IndexNotFound => Self::new(ErrorKind::NotFound, message),
            ViewError::IndexNotReady => Self::new(ErrorKind::NotReady, message),
            ViewError::IndexFailed => Self::new(ErrorKind::UniqueViolation, message),
            ViewError::TooManyChanges { .. } => Self::new(ErrorKind::BatchTooLarge, message)
                .with("limit", number(core_limits::INDEX_PAST_CHANGES_MAX)),
            // Also what a later core may add: a read that the view does not understand.
            ViewError::InvalidPosition | _ => Self::new(ErrorKind::InvalidRequest, message),
        }
    }
}

impl From<ReadError> for Error {
    fn from(error: ReadError) -> Self {
        let kind = match &error {
            ReadError::NoQuorum { .. } => ErrorKind::NoQuorum,
            ReadError::NotReady { .. } => ErrorKind::NotReady,
            ReadError::Overloaded { .. } => ErrorKind::Overloaded,
            ReadError::ShuttingDown => ErrorKind::ShuttingDown,
            // A read never writes, so anything else is a wait in vain.
            ReadError::Timeout { .. } | _ => ErrorKind::Timeout,
        };
        Self::new(kind, error.to_string())
    }
}

impl From<ProposeError> for Error {
    fn from(error: ProposeError) -> Self {
        let kind = match &error {
            ProposeError::TooLarge { .. } => ErrorKind::ValueTooLarge,
            ProposeError::Overloaded => ErrorKind::Overloaded,
            ProposeError::NoQuorum { .. } => ErrorKind::NoQuorum,
            ProposeError::Timeout { .. } => ErrorKind::Timeout,
            ProposeError::ShuttingDown => ErrorKind::ShuttingDown,
            ProposeError::NotYet { needs, cluster, .. } => {
                return Self::new(ErrorKind::Unsupported, error.to_string())
                    .with("machine_needed", u64::from(needs.get()))
                    .with("machine", u64::from(cluster.get()));
            }
            // The careful answer to whatever else there may be.
            ProposeError::OutcomeUnknown { .. } | _ => ErrorKind::OutcomeUnknown,
        };
        Self::new(kind, error.to_string())
    }
}
