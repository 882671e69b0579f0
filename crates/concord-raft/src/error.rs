//! What a caller can do about an error: one closed list for all operations.

/// The class of an operational error. Stable, unlike message texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Nothing was written. The same call may succeed later: overload, no quorum, no leader yet.
    Retry,
    /// The deadline passed and nothing was written.
    Timeout,
    /// The write may have happened, or may yet.
    OutcomeUnknown,
    /// The request can never succeed as it is. Nothing was written.
    Invalid,
    /// This node stops. Nothing was written by this call.
    ShuttingDown,
    /// This node's storage failed; it must be restarted.
    Fatal,
}
