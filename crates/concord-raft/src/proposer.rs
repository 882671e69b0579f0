//! Proposals: how a request of a caller on any node is applied exactly once.

use crate::error::ErrorKind;

/// Why a proposal got no answer from the state machine.
///
/// A refusal *by* the machine is a reply, not an error.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProposeError {
    /// Over the size limit. Nothing was written; a retry fails alike.
    #[error("request is {size_bytes} bytes, limit is {limit_bytes}")]
    TooLarge {
        /// Its size.
        size_bytes: usize,
        /// The limit.
        limit_bytes: usize,
    },
    /// Too much is waiting on this node. Nothing was written; try again later.
    #[error("too many requests are waiting on this node")]
    Overloaded,
    /// No leader was known until the deadline. Nothing was written.
    #[error("no leader was known within {waited_ms} ms")]
    NoQuorum {
        /// How long the request waited.
        waited_ms: u64,
    },
    /// The deadline passed before the request was handed to a leader. Nothing was written.
    #[error("not proposed within {waited_ms} ms")]
    Timeout {
        /// How long the request waited.
        waited_ms: u64,
    },
    /// No answer in time, or its reply is lost: it may have been applied, or may yet be.
    #[error("no answer within {waited_ms} ms, outcome unknown")]
    OutcomeUnknown {
        /// How long the request waited.
        waited_ms: u64,
    },
    /// This node stops. Nothing was written.
    #[error("the node is shutting down")]
    ShuttingDown,
}

impl ProposeError {
    /// What the caller can do about it. Stable, unlike the message text.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::TooLarge { .. } => ErrorKind::Invalid,
            Self::Overloaded | Self::NoQuorum { .. } => ErrorKind::Retry,
            Self::Timeout { .. } => ErrorKind::Timeout,
            Self::OutcomeUnknown { .. } => ErrorKind::OutcomeUnknown,
            Self::ShuttingDown => ErrorKind::ShuttingDown,
        }
    }
}
