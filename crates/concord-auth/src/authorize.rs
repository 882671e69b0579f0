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
#[error("{principal} may not {}: it needs {needs}", .action.name())]
pub struct Denied {
    /// Who asked.
    pub principal: Principal,
    /// For what.
    pub action: Action,
    /// What that needs.
    pub needs: Permissions,
}

/// Judges a request. Deny is the default: every right must be held at every place that it is needed at.
///
/// # Errors
///
/// If a right is missing somewhere.
pub fn authorize<T: Request>(principal: &Principal, request: T) -> Result<Authorized<T>, Denied> {
    authorize_or_return(principal, request).map_err(|(denied, _)| denied)
}

/// As [`authorize`], for who may ask again: gives back what it refuses.
///
/// # Errors
///
/// If a right is missing somewhere.
pub fn authorize_or_return<T: Request>(
    principal: &Principal,
    request: T,
) -> Result<Authorized<T>, (Denied, T)> {
    let rights = principal.rights();
    let mut missing = Permissions::NONE;
    // Whoever may do everything is not asked where.
    if !rights.covers_everywhere(Permissions::ALL) {
        request.demands(&mut |place, needed| {
            if !rights.in_place(place).covers(needed) {
                missing = missing.union(needed);
            }
        });
    }
    if missing == Permissions::NONE {
        return Ok(Authorized { request });
    }
    let denied = Denied {
        principal: principal.clone(),
        action: request.action(),
        needs: request.needs(),
    };
    Err((denied, request))
}

#[cfg(test)]
mod tests;
