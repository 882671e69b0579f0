//! Who asks.

use std::fmt;
use std::sync::Arc;

use concord_core::ids::Timestamp;
use concord_core::{Guard, PrincipalId};

use crate::name::Name;
use crate::permission::{Permission, Permissions};
use crate::policy::TenantId;
use crate::rights::Rights;
use crate::token::TokenId;

/// The roles that always exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BuiltinRole {
    /// Everything.
    Admin,
    /// Read, write and delete.
    Editor,
    /// Read.
    Viewer,
    /// Nothing.
    None,
}

impl BuiltinRole {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Admin, Self::Editor, Self::Viewer, Self::None];

    /// Its name in every interface.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Editor => "editor",
            Self::Viewer => "viewer",
            Self::None => "none",
        }
    }

    /// The role of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.name() == name)
    }

    /// What it allows.
    #[must_use]
    pub const fn permissions(self) -> Permissions {
        match self {
            Self::Admin => Permissions::ALL,
            Self::Editor => Permissions::of(&[Permission::Read, Permission::Write, Permission::Delete]),
            Self::Viewer => Permissions::of(&[Permission::Read]),
            Self::None => Permissions::NONE,
        }
    }
}

/// Who asks, and what they may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    who: Who,
    expires_at: Option<Timestamp>,
    rights: Arc<Rights>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    Embedder,
    Anonymous,
    Role(BuiltinRole),
    Token {
        id: TokenId,
        principal: PrincipalId,
        name: Option<Name>,
        /// The tenant that it belongs to: the first, in the order of ids, of those whose role it holds.
        tenant: Option<TenantId>,
    },
}

impl Principal {
    /// The process that embeds the store: it holds the data anyway, so it may do everything.
    #[must_use]
    pub fn embedder() -> Self {
        Self::unscoped(Who::Embedder, Permissions::ALL)
    }

    /// Whoever reaches a node that runs without authentication: may do everything. That such a
    /// node listens on the loopback address unless told otherwise is the server's concern.
    #[must_use]
    pub fn anonymous() -> Self {
        Self::unscoped(Who::Anonymous, Permissions::ALL)
    }

    /// Somebody with one role.
    #[must_use]
    pub fn with_role(role: BuiltinRole) -> Self {
        Self::unscoped(Who::Role(role), role.permissions())
    }

    pub(crate) fn token(token: Who, expires_at: Option<Timestamp>, rights: Rights) -> Self {
        Self {
            who: token,
            expires_at,
            rights: Arc::new(rights),
        }
    }

    /// A token that was given these rights.
    #[cfg(test)]
    pub(crate) fn holding(rights: Rights) -> Self {
        let id = TokenId::from_bytes([7; TokenId::BYTES]);
        let token = Who::Token {
            id,
            principal: PrincipalId::new(id.as_bytes()).unwrap(),
            name: None,
            tenant: None,
        };
        Self::token(token, None, rights)
    }

    fn unscoped(who: Who, permissions: Permissions) -> Self {
        Self {
            who,
            expires_at: None,
            rights: Arc::new(Rights::everywhere(permissions)),
        }
    }

    /// What they may do where.
    #[must_use]
    pub fn rights(&self) -> &Rights {
        &self.rights
    }

    pub(crate) const fn shared_rights(&mut self) -> &mut Arc<Rights> {
        &mut self.rights
    }

    /// The token that was shown, if it was one.
    #[must_use]
    pub const fn token_id(&self) -> Option<TokenId> {
        match &self.who {
            Who::Token { id, .. } => Some(*id),
            Who::Embedder | Who::Anonymous | Who::Role(_) => None,
        }
    }

    /// What this is known by in the store; nobody in particular unless it is a token.
    #[must_use]
    pub const fn id(&self) -> PrincipalId {
        match &self.who {
            Who::Token { principal, .. } => *principal,
            Who::Embedder | Who::Anonymous | Who::Role(_) => PrincipalId::NOBODY,
        }
    }

    /// The namespace of the tenant that it belongs to, if it belongs to one: whose quota its requests count for.
    #[must_use]
    pub fn tenant(&self) -> Option<&[u8]> {
        match &self.who {
            Who::Token { tenant, .. } => tenant.as_ref().map(TenantId::namespace),
            Who::Embedder | Who::Anonymous | Who::Role(_) => None,
        }
    }

    /// Whether its rights over keys are less than all of them at every key, so that it has a hand in its own leases only.
    ///
    /// Also who merely lacks one of the three counts. A lease is all three at once: its answers tell keys, to hang a key on it
    /// is to write, and its end deletes whatever hangs on it, whoever put it there. Were somebody without `delete` not confined, ending a
    /// stranger's lease, or letting a stranger's keys hang on one that only it keeps alive, would be a delete. To be confined takes
    /// nothing else away: reads are filtered by the right to read alone ([`Principal::sight`]), keys are judged one by one, and a lease
    /// belongs to who made it, whatever its rights become, so locks and elections work all the same.
    #[must_use]
    pub fn is_confined(&self) -> bool {
        !self.rights.covers_everywhere(BuiltinRole::Editor.permissions())
    }

    /// What the requests of a token are to be wrapped in, once they are allowed by the policy of this revision.
    /// `None`: the rights of this one come from no policy.
    #[must_use]
    pub fn guard(&self, policy_revision: u64) -> Option<Guard> {
        match &self.who {
            Who::Token {
                principal, tenant, ..
            } => Some(Guard {
                policy_revision,
                expires_at: self.expires_at,
                principal: *principal,
                is_confined: self.is_confined(),
                tenant: tenant.as_ref().map(|tenant| tenant.namespace().to_vec().into()),
            }),
            Who::Embedder | Who::Anonymous | Who::Role(_) => None,
        }
    }

    /// What kind of caller this is, in a word.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match &self.who {
            Who::Embedder => "embedder",
            Who::Anonymous => "anonymous",
            Who::Role(_) => "role",
            Who::Token { .. } => "token",
        }
    }

    /// The name of the role, or that of the token if it has one.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        match &self.who {
            Who::Role(role) => Some(role.name()),
            Who::Token { name, .. } => name.as_ref().map(Name::as_str),
            Who::Embedder | Who::Anonymous => None,
        }
    }

    /// The rights, to filter by what is read for them; `None`: they may read every key.
    #[must_use]
    pub fn sight(&self) -> Option<&Rights> {
        let reads = Permissions::of(&[Permission::Read]);
        (!self.rights.covers_everywhere(reads)).then_some(&*self.rights)
    }

    /// From when on this is nobody any more: expired when now >= this, by the replicated clock.
    #[must_use]
    pub const fn expires_at(&self) -> Option<Timestamp> {
        self.expires_at
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.who {
            Who::Embedder => f.write_str("embedder"),
            Who::Anonymous => f.write_str("anonymous"),
            Who::Role(role) => f.write_str(role.name()),
            Who::Token { name: Some(name), .. } => write!(f, "token {name}"),
            Who::Token { id, name: None, .. } => write!(f, "token {id}"),
        }
    }
}
