//! Why an operation was refused or failed: one name each, in every interface.
//!
//! Not here: what each interface makes of a name (HTTP statuses, exit codes).

use std::error::Error as StdError;
use std::fmt;

use concord_core::ids::Revision;
use concord_core::record::Record;
use concord_core::reply::RequestPart;

/// The name of an error. Stable, unlike the message text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A key without bytes, or with more than 1,024. Nothing was written.
    InvalidKey,
    /// A time to live that is not one, or out of range. Nothing was written.
    InvalidTtl,
    /// A value, given or stored, is not what the operation needs. Nothing was written.
    InvalidValue,
    /// A value or request over its limit. Nothing was written.
    ValueTooLarge,
    /// More items than one request may have. Nothing was written.
    BatchTooLarge,
    /// The request itself makes no sense. Nothing was written.
    InvalidRequest,
    /// What was named does not exist. Nothing was written.
    NotFound,
    /// There is no such lease, or it has ended. Nothing was written.
    LeaseNotFound,
    /// There is as much as there may be of something. Nothing was written.
    QuotaExceeded,
    /// The tenant has asked as often as it may for now. Nothing was written.
    RateLimited,
    /// The idempotency key was used for another request. Nothing was written.
    IdempotencyConflict,
    /// A condition of the request does not hold. Nothing was written.
    ConditionFailed,
    /// What was to be made exists, or contradicts what does. Nothing was written.
    AlreadyExists,
    /// A value that must be unique is another record's. Nothing was written.
    UniqueViolation,
    /// The revision asked for is compacted away. Nothing was written.
    Compacted,
    /// The revision asked for does not exist yet. Nothing was written.
    FutureRevision,
    /// The caller has shown no token that is good. Nothing was written.
    Unauthorized,
    /// The caller may not do this. Nothing was written.
    Forbidden,
    /// Time ran out. Nothing was written.
    Timeout,
    /// Time ran out, or an answer was lost: the write may have happened, or may yet.
    OutcomeUnknown,
    /// No majority of the cluster can be reached. Nothing was written.
    NoQuorum,
    /// The node has no leader yet, or has not caught up. Nothing was written.
    NotReady,
    /// Too much is waiting. Nothing was written.
    Overloaded,
    /// This version or build cannot do that. Nothing was written.
    Unsupported,
    /// Stored data is damaged. Nothing was written by this operation.
    Corrupt,
    /// The disk failed; this node must be restarted. What was acknowledged is safe.
    StorageFailed,
    /// The directory or bucket of backups, or what is in it, could not be read or written. The data and the node are well.
    BackupFailed,
    /// The audit log could not be read. The data and the node are well.
    AuditFailed,
    /// The node is stopping. Nothing was written.
    ShuttingDown,
}

impl ErrorKind {
    /// The name, as in `not_found`.
    pub const fn code(self) -> &'static str {
        match self {
            Self::InvalidKey => "invalid_key",
            Self::InvalidTtl => "invalid_ttl",
            Self::InvalidValue => "invalid_value",
            Self::ValueTooLarge => "value_too_large",
            Self::BatchTooLarge => "batch_too_large",
            Self::InvalidRequest => "invalid_request",
            Self::NotFound => "not_found",
            Self::LeaseNotFound => "lease_not_found",
            Self::QuotaExceeded => "quota_exceeded",
            Self::RateLimited => "rate_limited",
            Self::IdempotencyConflict => "idempotency_conflict",
            Self::ConditionFailed => "condition_failed",
            Self::AlreadyExists => "already_exists",
            Self::UniqueViolation => "unique_violation",
            Self::Compacted => "compacted",
            Self::FutureRevision => "future_revision",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::Timeout => "timeout",
            Self::OutcomeUnknown => "outcome_unknown",
            Self::NoQuorum => "no_quorum",
            Self::NotReady => "not_ready",
            Self::Overloaded => "overloaded",
            Self::Unsupported => "unsupported",
            Self::Corrupt => "corrupt",
            Self::StorageFailed => "storage_failed",
            Self::BackupFailed => "backup_failed",
            Self::AuditFailed => "audit_failed",
            Self::ShuttingDown => "shutting_down",
        }
    }

    /// Whether the operation may have changed something. `false` is a promise.
    pub const fn may_have_written(self) -> bool {
        matches!(self, Self::OutcomeUnknown)
    }

    /// Whether the same request may succeed later, without any danger in trying.
    pub const fn is_retryable(self) -> bool {
        matches!(
            self,
            Self::Timeout
                | Self::NoQuorum
                | Self::NotReady
                | Self::Overloaded
                | Self::RateLimited
                | Self::ShuttingDown
        )
    }

    /// What the caller can do.
    pub const fn advice(self) -> &'static str {
        match self {
            Self::InvalidKey
            | Self::InvalidTtl
            | Self::InvalidValue
            | Self::ValueTooLarge
            | Self::BatchTooLarge
            | Self::InvalidRequest => "correct the request; as it is it will fail again",
            Self::NotFound => "check the name; the key may have been deleted or have expired",
            Self::LeaseNotFound => "grant a new lease and write what hung on the old one again",
            Self::QuotaExceeded => {
                "remove what is not needed, spread it over more leases, or have the quota raised"
            }
            Self::RateLimited => "try again after the time that is told",
            Self::IdempotencyConflict => "give each request a key of its own",
            Self::ConditionFailed => "read the current state and decide again",
            Self::AlreadyExists => "look at what exists; use another name or remove it first",
            Self::UniqueViolation => "use another value, or remove it from the record that has it",
            Self::Compacted => "read at the oldest readable revision or a later one",
            Self::FutureRevision => "read at the current revision or an earlier one",
            Self::Unauthorized => "show a token that is good",
            Self::Forbidden => "use a node or an identity that may do this",
            Self::Timeout => "try again, or allow more time; nothing was written",
            Self::OutcomeUnknown => "read the key to see whether the write happened before trying again",
            Self::NoQuorum => "try again when a majority of the nodes can reach each other",
            Self::NotReady => "try again shortly, or ask another node",
            Self::Overloaded => "try again after a pause",
            Self::Unsupported => "do without, or use a version or build that can do it",
            Self::Corrupt => "restore the node from its peers or from a backup",
            Self::StorageFailed => "look after the disk and restart the node",
            Self::BackupFailed => {
                "look at the directory or bucket of backups: whether it can be reached, and may be used"
            }
            Self::AuditFailed => {
                "look at the directory of the audit log: its disk, and whether the node's user may use it"
            }
            Self::ShuttingDown => "ask another node, or this one after its restart",
        }
    }
}

/// A fact about an error that a program may need.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Detail {
    /// A number.
    Number(u64),
    /// A word or a sentence.
    Text(String),
}

/// Why an operation was refused or failed.
///
/// ```
/// # use concord_server::{Error, ErrorKind};
/// fn is_worth_a_retry(error: &Error) -> bool {
///     error.kind() != ErrorKind::OutcomeUnknown && error.kind().is_retryable()
/// }
/// ```
#[derive(Clone)]
pub struct Error(Box<Parts>);

#[derive(Clone)]
struct Parts {
    kind: ErrorKind,
    message: String,
    details: Vec<(&'static str, Detail)>,
    current: Option<Record>,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Parts {
            kind,
            message: message.into(),
            details: Vec::new(),
            current: None,
        }))
    }

    pub(crate) fn with(mut self, name: &'static str, detail: impl Into<Detail>) -> Self {
        self.0.details.push((name, detail.into()));
        self
    }

    pub(crate) fn with_message(mut self, message: impl Into<String>) -> Self {
        self.0.message = message.into();
        self
    }

    pub(crate) fn with_current(mut self, current: Option<Record>) -> Self {
        self.0.current = current;
        self
    }

    /// The refusal of one part of a request: says which.
    pub(crate) fn in_part(self, part: RequestPart, place: usize) -> Self {
        let message = format!("{part} {place}: {}", self.message());
        let place = u64::try_from(place).unwrap_or(u64::MAX);
        self.with_message(message).with(part.name(), place)
    }

    pub(crate) fn invalid_request(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::InvalidRequest, message)
    }

    /// Which error it is.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Its name, as in `not_found`.
    pub fn code(&self) -> &'static str {
        self.0.kind.code()
    }

    /// Whether the operation may have changed something. `false` is a promise.
    pub fn may_have_written(&self) -> bool {
        self.0.kind.may_have_written()
    }

    /// What happened, for people.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// Facts for programs, by name.
    pub fn details(&self) -> impl Iterator<Item = (&'static str, &Detail)> {
        self.0.details.iter().map(|(name, detail)| (*name, detail))
    }

    /// The fact of this name, if it is a number.
    pub fn number(&self, name: &str) -> Option<u64> {
        self.details().find_map(|(found, detail)| match detail {
            Detail::Number(number) if found == name => Some(*number),
            Detail::Number(_) | Detail::Text(_) => None,
        })
    }

    /// The oldest revision that can be read, where the error says so.
    pub fn compact_revision(&self) -> Option<Revision> {
        self.number(COMPACT_REVISION).map(Revision::new)
    }

    /// The record that a condition was judged by; `None` if there was none, or no condition.
    pub fn current_record(&self) -> Option<&Record> {
        self.0.current.as_ref()
    }

    /// The current revision, where the error says so.
    pub fn current_revision(&self) -> Option<Revision> {
        self.number(CURRENT_REVISION).map(Revision::new)
    }
}

pub(crate) const COMPACT_REVISION: &str = "compact_revision";
pub(crate) const CURRENT_REVISION: &str = "current_revision";
pub(crate) const RETRY_AFTER_MS: &str = "retry_after_ms";

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Error({}: {}", self.code(), self.0.message)?;
        for (name, detail) in &self.0.details {
            write!(f, ", {name}={detail:?}")?;
        }
        f.write_str(")")
    }
}

impl StdError for Error {}

impl From<u64> for Detail {
    fn from(number: u64) -> Self {
        Self::Number(number)
    }
}

impl From<String> for Detail {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}
