//! What a refusal is about that says only that something is not there.

use concord_core::command::Command;
use concord_core::reply::Rejection;

use crate::error::{Error, ErrorKind};

/// A thing with a name that a request may not find.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Named {
    /// An index.
    Index(String),
    /// A subscription.
    Subscription(String),
}

impl Named {
    /// What the refusal of a command would be about. Only commands that look for a thing by its name cost the copy.
    pub(crate) fn in_command(command: &Command) -> Option<Self> {
        match command {
            Command::DropIndex { name } | Command::Reindex { name } => Some(Self::index(name.as_str())),
            Command::DeleteSubscription { name }
            | Command::AckSubscription { name, .. }
            | Command::ResetSubscription { name, .. } => Some(Self::Subscription(name.as_str().to_owned())),
            Command::Idempotent { command, .. } | Command::Guarded { command, .. } => {
                Self::in_command(command)
            }
            Command::Put { .. }
            | Command::Delete { .. }
            | Command::Touch { .. }
            | Command::Increment { .. }
            | Command::PutMany { .. }
            | Command::DeleteMany { .. }
            | Command::TouchMany { .. }
            | Command::Txn(_)
            | Command::Compact { .. }
            | Command::Configure(_)
            | Command::CreateIndex { .. }
            | Command::CreateSubscription { .. }
            | Command::LeaseGrant { .. }
            | Command::LeaseKeepAlive { .. }
            | Command::LeaseRevoke { .. }
            | Command::DeleteWhere { .. }
            | Command::EditPolicy(_)
            | Command::Restore { .. } => None,
        }
    }

    pub(crate) fn index(name: &str) -> Self {
        Self::Index(name.to_owned())
    }

    /// That it is not there.
    pub(crate) fn not_found(self) -> Error {
        let (kind, name) = match self {
            Self::Index(name) => ("index", name),
            Self::Subscription(name) => ("subscription", name),
        };
        Error::new(ErrorKind::NotFound, format!("there is no {kind} `{name}`")).with(kind, name)
    }
}

/// The refusal of a command that was about something with a name.
pub(crate) fn refusal(rejection: Rejection, about: Option<Named>) -> Error {
    match (&rejection, about) {
        (Rejection::IndexNotFound | Rejection::SubscriptionNotFound, Some(named)) => named.not_found(),
        _ => rejection.into(),
    }
}
