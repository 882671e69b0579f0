//! Why the policy is not changed, or not read.

use core::fmt;

use super::stored::Unreadable;
use crate::name::InvalidName;

/// What a refusal is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A token.
    Token,
    /// A role.
    Role,
    /// An ACL of a role.
    Acl,
    /// A tenant.
    Tenant,
}

/// Why the policy is not changed, or not read. Nothing was written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// There is no such thing.
    #[error("there is no {subject} {name}")]
    NotFound {
        /// What.
        subject: Subject,
        /// Which.
        name: String,
    },
    /// There is such a thing already.
    #[error("there is a {subject} {name} already")]
    Exists {
        /// What.
        subject: Subject,
        /// Which.
        name: String,
    },
    /// A name that cannot be given.
    #[error(transparent)]
    Name(#[from] InvalidName),
    /// A role that always exists and stays as it is, or that belongs to a tenant.
    #[error("role {name} is protected: {reason}")]
    Protected {
        /// Which.
        name: String,
        /// Why.
        reason: &'static str,
    },
    /// A token that would have ended before it began.
    #[error("the token would end at {expires_at_ms} ms, which is not after the present {now_ms} ms")]
    Expired {
        /// When it would have ended.
        expires_at_ms: u64,
        /// What time it is, by the replicated clock.
        now_ms: u64,
    },
    /// There are as many as there may be.
    #[error("there are {limit} {what} already, which is the limit")]
    Limit {
        /// Of what.
        what: &'static str,
        /// How many.
        limit: u64,
    },
    /// A record that this version cannot read.
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
}

impl PolicyError {
    pub(super) fn not_found(subject: Subject, name: impl fmt::Display) -> Self {
        let name = name.to_string();
        Self::NotFound { subject, name }
    }

    pub(super) fn exists(subject: Subject, name: impl fmt::Display) -> Self {
        let name = name.to_string();
        Self::Exists { subject, name }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Token => "token",
            Self::Role => "role",
            Self::Acl => "ACL",
            Self::Tenant => "tenant",
        })
    }
}
