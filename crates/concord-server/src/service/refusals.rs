//! What consensus refuses, and why it ends, as errors of requests.

use concord_raft::{MembershipError, StopReason};

use crate::error::{Error, ErrorKind};

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
            StopReason::Shutdown | StopReason::Removed | StopReason::Defect { .. } | _ => {
                ErrorKind::ShuttingDown
            }
        };
        Self::new(kind, reason.to_string())
    }
}
