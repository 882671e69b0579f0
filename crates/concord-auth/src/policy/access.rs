//! Who shows this secret, what may they do, and why.

use concord_core::ids::Timestamp;

use super::stored::{self, StoredToken};
use super::{Policy, PolicyError, Records, Subject, TenantId};
use crate::name::Name;
use crate::pattern::Pattern;
use crate::permission::Permissions;
use crate::principal::{BuiltinRole, Principal, Who};
use crate::rights::Rights;
use crate::token::{Secret, TokenHash, TokenId, Unauthorized};

/// Why somebody may do what they may do at a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// All of it together.
    pub permissions: Permissions,
    /// What gives it; also what gives nothing at this key, so that the reason for a refusal shows.
    pub because: Vec<Because>,
}

/// One source of permissions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Because {
    /// The token allows it by itself.
    Token {
        /// What it allows.
        permissions: Permissions,
    },
    /// A role without ACLs.
    Role {
        /// Which.
        role: Name,
        /// What it allows.
        permissions: Permissions,
    },
    /// An ACL of a role that matches the key.
    Acl {
        /// Whose.
        role: Name,
        /// Which.
        pattern: Pattern,
        /// What is in both, the ACL and the role.
        permissions: Permissions,
    },
    /// A role with ACLs of which none matches: it allows nothing here.
    NoAcl {
        /// Which.
        role: Name,
    },
    /// A role that the token was given and that was removed since: it allows nothing.
    Removed {
        /// Which.
        role: Name,
    },
}

impl<R: Records> Policy<R> {
    /// Who shows this secret. The answer is good until the token ends or the policy changes.
    ///
    /// # Errors
    ///
    /// One and the same, whether there is no such token, it has ended or its record cannot be read.
    pub fn authenticate(&self, secret: &Secret, now: Timestamp) -> Result<Principal, Unauthorized> {
        self.recognize(&secret.hash(), now)
    }

    /// As [`Policy::authenticate`], of who has shown the secret of this hash before.
    ///
    /// # Errors
    ///
    /// As [`Policy::authenticate`].
    pub fn recognize(&self, hash: &TokenHash, now: Timestamp) -> Result<Principal, Unauthorized> {
        let id = hash.id();
        let token = self.stored_token(id).map_err(|_| Unauthorized)?;
        if token.hash != *hash {
            return Err(Unauthorized);
        }
        self.principal_of(id, token, now)
    }

    /// As [`Policy::authenticate`], of who has proven in another way to be the one that a token is named after.
    ///
    /// # Errors
    ///
    /// As [`Policy::authenticate`].
    pub fn recognize_named(&self, name: &Name, now: Timestamp) -> Result<Principal, Unauthorized> {
        let id = self.id_of(name).map_err(|_| Unauthorized)?.ok_or(Unauthorized)?;
        let token = self.stored_token(id).map_err(|_| Unauthorized)?;
        if token.name.as_ref() != Some(name) {
            return Err(Unauthorized);
        }
        self.principal_of(id, token, now)
    }

    fn principal_of(
        &self,
        id: TokenId,
        token: StoredToken,
        now: Timestamp,
    ) -> Result<Principal, Unauthorized> {
        if has_ended(&token, now) {
            return Err(Unauthorized);
        }
        let token_end = token.expires_at;
        let rights = self.rights(&token).map_err(|_| Unauthorized)?;
        let tenant = self.tenant_of(&token.roles).map_err(|_| Unauthorized)?;
        let principal = stored::principal_id(token.principal);
        let token = Who::Token {
            id,
            principal,
            name: token.name,
            tenant,
        };
        Ok(Principal::token(token, token_end, rights))
    }

    /// Why a token may do what it may do at a key.
    ///
    /// # Errors
    ///
    /// If there is no such token, it has ended, or a record cannot be read.
    pub fn explain(&self, id: TokenId, key: &[u8], now: Timestamp) -> Result<Explanation, PolicyError> {
        let token = self.stored_token(id)?;
        if has_ended(&token, now) {
            return Err(PolicyError::not_found(Subject::Token, id));
        }
        let mut because = Vec::new();
        if token.permissions != Permissions::NONE {
            let permissions = token.permissions;
            because.push(Because::Token { permissions });
        }
        for (role, born) in &token.roles {
            self.explain_role(role, *born, key, &mut because)?;
        }
        let sum = because
            .iter()
            .fold(Permissions::NONE, |sum, one| sum.union(one.permissions()));
        Ok(Explanation {
            permissions: sum,
            because,
        })
    }

    fn explain_role(
        &self,
        name: &Name,
        born: u64,
        key: &[u8],
        because: &mut Vec<Because>,
    ) -> Result<(), PolicyError> {
        let role = name.clone();
        if !self.is_held(name, born)? {
            because.push(Because::Removed { role });
            return Ok(());
        }
        let found = self.role(name)?;
        if found.acls.is_empty() {
            let permissions = found.permissions;
            because.push(Because::Role { role, permissions });
            return Ok(());
        }
        let before = because.len();
        for (pattern, permissions) in found.acls {
            if pattern.matches(key) {
                because.push(Because::Acl {
                    role: name.clone(),
                    pattern,
                    permissions: permissions.intersection(found.permissions),
                });
            }
        }
        if because.len() == before {
            because.push(Because::NoAcl { role });
        }
        Ok(())
    }

    /// The tenant of those who hold these roles.
    fn tenant_of(&self, roles: &[(Name, u64)]) -> Result<Option<TenantId>, PolicyError> {
        for (role, born) in roles {
            if let Some(tenant) = TenantId::of_role(role)
                && self.is_held(role, *born)?
            {
                return Ok(Some(tenant));
            }
        }
        Ok(None)
    }

    fn rights(&self, token: &StoredToken) -> Result<Rights, PolicyError> {
        let (mut everywhere, mut scoped) = (token.permissions, Vec::new());
        for (name, born) in &token.roles {
            if let Some(builtin) = BuiltinRole::named(name.as_str()) {
                everywhere = everywhere.union(builtin.permissions());
                continue;
            }
            let Some(role) = self.stored_role(name)?.filter(|role| role.born == *born) else {
                continue;
            };
            if role.acls.is_empty() {
                everywhere = everywhere.union(role.permissions);
            }
            let most = role.permissions;
            let acls = role.acls.into_iter();
            scoped.extend(acls.map(|(pattern, permissions)| (pattern, permissions.intersection(most))));
        }
        Ok(Rights::new(everywhere, scoped))
    }
}

impl Because {
    /// What this source gives at the key.
    #[must_use]
    pub const fn permissions(&self) -> Permissions {
        match self {
            Self::Token { permissions } | Self::Role { permissions, .. } | Self::Acl { permissions, .. } => {
                *permissions
            }
            Self::NoAcl { .. } | Self::Removed { .. } => Permissions::NONE,
        }
    }
}

/// Ended when now >= `expires_at`, as everything that expires.
fn has_ended(token: &StoredToken, now: Timestamp) -> bool {
    token.expires_at.is_some_and(|end| now >= end)
}
