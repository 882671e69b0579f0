//! The one door: the only place where an [`Authorized`] is made.

use crate::action::{Action, Request};
use crate::permission::Permissions;
use crate::principal::Principal;

/// A request together with the proof that somebody may make it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authorized<T> {
    request: T,
}

impl<T> Authorized<T> {
    /// The request.
    #[must_use]
    pub const fn request(&self) -> &T {
        &self.request
    }

    /// The request, giving up the proof.
    #[must_use]
    pub fn into_request(self) -> T {
        self.request
    }
}

/// The principal may not do that. Nothing was written, and nothing is said about whether
/// the key exists.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{principal} may not {action:?}: it needs {needs}")]
pub struct Denied {
    /// Who asked.
    pub principal: Principal,
    /// For what.
    pub action: Action,
    /// What that needs.
    pub needs: Permissions,
}

/// Judges a request. Deny is the default: every right that it needs must be held.
///
/// # Errors
///
/// If a right is missing.
pub fn authorize<T: Request>(principal: &Principal, request: T) -> Result<Authorized<T>, Denied> {
    let needs = request.needs();
    if principal.permissions().covers(needs) {
        Ok(Authorized { request })
    } else {
        Err(Denied {
            principal: principal.clone(),
            action: request.action(),
            needs,
        })
    }
}
