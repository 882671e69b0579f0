//! Changes of the policy: each is judged as a whole, and is then a list of records to write.

use bytes::Bytes;
use concord_core::ids::Timestamp;

use super::stored::{self, StoredRole, StoredToken, Totals};
use super::{
    ACLS_MAX, ACLS_PER_ROLE_MAX, Edit, Policy, PolicyError, ROLES_MAX, ROLES_PER_TOKEN_MAX, Records, Subject,
    TOKENS_MAX,
};
use crate::name::{Name, TENANT_ROLE_PREFIX};
use crate::pattern::Pattern;
use crate::permission::Permissions;
use crate::principal::BuiltinRole;
use crate::token::{TokenHash, TokenId};

/// A token to be made. Without roles and permissions it allows nothing.
#[derive(Clone, Debug)]
pub struct NewToken {
    /// The hash of its secret.
    pub hash: TokenHash,
    /// What it is to be called; no two tokens have one name.
    pub name: Option<Name>,
    /// From when to when it is good.
    pub lifetime: Lifetime,
    /// What it allows by itself.
    pub permissions: Permissions,
    /// The roles it has.
    pub roles: Vec<Name>,
}

/// From when to when a token is good, by the replicated clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetime {
    /// The present.
    pub now: Timestamp,
    /// The first moment at which it is not good any more; `None`: it stays good until it is revoked.
    pub expires_at: Option<Timestamp>,
}

pub(super) fn write(key: Bytes, record: Bytes) -> Edit {
    Edit {
        key,
        record: Some(record),
    }
}

pub(super) const fn remove(key: Bytes) -> Edit {
    Edit { key, record: None }
}

pub(super) fn write_totals(totals: Totals) -> Edit {
    write(Bytes::from_static(stored::TOTALS), totals.encode())
}

impl<R: Records> Policy<R> {
    /// Makes a token.
    ///
    /// # Errors
    ///
    /// If the name is taken, a role does not exist, the end is not in the future, or there are too many.
    pub fn create_token(&self, new: &NewToken) -> Result<Vec<Edit>, PolicyError> {
        let mut totals = self.totals()?;
        check_limit("tokens", totals.tokens, TOKENS_MAX)?;
        totals.tokens += 1;
        let Lifetime { now, expires_at } = new.lifetime;
        if let Some(end) = expires_at
            && end <= now
        {
            return Err(PolicyError::Expired {
                expires_at_ms: end.get(),
                now_ms: now.get(),
            });
        }
        let id = new.hash.id();
        if self.records.get(&stored::token_key(id)).is_some() {
            return Err(PolicyError::exists(Subject::Token, id));
        }
        let mut edits = vec![write_totals(totals)];
        if let Some(name) = &new.name {
            if self.id_of(name)?.is_some() {
                return Err(PolicyError::exists(Subject::Token, name));
            }
            edits.push(write(stored::name_key(name), stored::encode_id(id)));
        }
        let mut token = StoredToken {
            hash: new.hash,
            principal: id,
            name: new.name.clone(),
            created_at: now,
            expires_at,
            permissions: new.permissions,
            roles: Vec::new(),
        };
        for role in &new.roles {
            self.add_role(&mut token, role)?;
        }
        edits.push(write(stored::token_key(id), token.encode()));
        Ok(edits)
    }

    /// Ends a token for good, with everything that hangs on it.
    ///
    /// # Errors
    ///
    /// If there is none.
    pub fn revoke_token(&self, id: TokenId) -> Result<Vec<Edit>, PolicyError> {
        let token = self.stored_token(id)?;
        let mut totals = self.totals()?;
        totals.tokens = totals.tokens.saturating_sub(1);
        let mut edits = vec![write_totals(totals), remove(stored::token_key(id))];
        edits.extend(token.name.as_ref().map(|name| remove(stored::name_key(name))));
        edits.extend(self.unmark(id));
        Ok(edits)
    }

    /// Gives a token another secret: the new one has its name, its end, its roles and permissions, and is the same
    /// principal. The old
    /// secret is good until `grace_until`, or not any more if that is not in the future.
    ///
    /// # Errors
    ///
    /// If there is no such token, or there are too many for one more.
    pub fn rotate_token(
        &self,
        id: TokenId,
        hash: TokenHash,
        now: Timestamp,
        grace_until: Timestamp,
    ) -> Result<Vec<Edit>, PolicyError> {
        let old = self.stored_token(id)?;
        if old.expires_at.is_some_and(|end| now >= end) {
            return Err(PolicyError::not_found(Subject::Token, id));
        }
        let fresh = hash.id();
        if self.records.get(&stored::token_key(fresh)).is_some() {
            return Err(PolicyError::exists(Subject::Token, fresh));
        }
        let new = StoredToken {
            hash,
            created_at: now,
            ..old.clone()
        };
        let mut edits = vec![write(stored::token_key(fresh), new.encode())];
        if let Some(name) = &old.name {
            edits.push(write(stored::name_key(name), stored::encode_id(fresh)));
        }
        if grace_until > now {
            let mut totals = self.totals()?;
            check_limit("tokens", totals.tokens, TOKENS_MAX)?;
            totals.tokens += 1;
            edits.push(write_totals(totals));
            let ending = StoredToken {
                name: None,
                expires_at: Some(old.expires_at.map_or(grace_until, |end| end.min(grace_until))),
                ..old
            };
            edits.push(write(stored::token_key(id), ending.encode()));
        } else {
            edits.push(remove(stored::token_key(id)));
            edits.extend(self.unmark(id));
        }
        Ok(edits)
    }

    /// Gives a token a role. Changes nothing if it has it.
    ///
    /// # Errors
    ///
    /// If one of them does not exist, or the token has too many.
    pub fn grant_role(&self, id: TokenId, role: &Name) -> Result<Vec<Edit>, PolicyError> {
        let mut token = self.stored_token(id)?;
        let before = token.clone();
        self.add_role(&mut token, role)?;
        Ok(changed_token(id, &before, &token))
    }

    /// Takes a role from a token. Changes nothing if it does not have it. A token that loses its last role
    /// keeps what it allows by itself, and gains nothing (D-SEC-4).
    ///
    /// # Errors
    ///
    /// If there is no such token.
    pub fn take_role(&self, id: TokenId, role: &Name) -> Result<Vec<Edit>, PolicyError> {
        let mut token = self.stored_token(id)?;
        let before = token.clone();
        token.roles.retain(|(name, _)| name != role);
        Ok(changed_token(id, &before, &token))
    }

    /// Makes a role, which holds at every key until it has an ACL.
    ///
    /// # Errors
    ///
    /// If the name is taken or reserved, or there are too many.
    pub fn create_role(&self, name: &Name, permissions: Permissions) -> Result<Vec<Edit>, PolicyError> {
        check_custom(name)?;
        if self.stored_role(name)?.is_some() {
            return Err(PolicyError::exists(Subject::Role, name));
        }
        let mut totals = self.totals()?;
        check_limit("roles", totals.roles, ROLES_MAX)?;
        totals.roles += 1;
        let role = StoredRole {
            born: self.revision,
            permissions,
            acls: Vec::new(),
        };
        Ok(vec![
            write_totals(totals),
            write(stored::role_key(name), role.encode()),
        ])
    }

    /// Changes what a role allows, for all who have it. Its ACLs stay.
    ///
    /// # Errors
    ///
    /// If there is none, or it is protected.
    pub fn update_role(&self, name: &Name, permissions: Permissions) -> Result<Vec<Edit>, PolicyError> {
        let role = self.custom_role(name)?;
        let updated = StoredRole { permissions, ..role };
        Ok(vec![write(stored::role_key(name), updated.encode())])
    }

    /// Removes a role and its ACLs, from all who have it (D-SEC-7).
    ///
    /// # Errors
    ///
    /// If there is none, or it is protected.
    pub fn delete_role(&self, name: &Name) -> Result<Vec<Edit>, PolicyError> {
        let role = self.custom_role(name)?;
        let mut totals = self.totals()?;
        totals.roles = totals.roles.saturating_sub(1);
        totals.acls = totals.acls.saturating_sub(count(role.acls.len()));
        Ok(vec![write_totals(totals), remove(stored::role_key(name))])
    }

    /// Lets a role hold where this pattern matches, with these permissions at most. A role's first ACL narrows
    /// it; an ACL with the same pattern is replaced.
    ///
    /// # Errors
    ///
    /// If there is no such role, it is protected, or there are too many ACLs.
    pub fn set_acl(
        &self,
        role: &Name,
        pattern: &Pattern,
        permissions: Permissions,
    ) -> Result<Vec<Edit>, PolicyError> {
        let mut stored = self.custom_role(role)?;
        let mut edits = Vec::new();
        match stored.acls.binary_search_by(|(other, _)| other.cmp(pattern)) {
            Ok(place) => {
                if let Some(acl) = stored.acls.get_mut(place) {
                    acl.1 = permissions;
                }
            }
            Err(place) => {
                check_limit(
                    "ACLs of one role",
                    count(stored.acls.len()),
                    count(ACLS_PER_ROLE_MAX),
                )?;
                let mut totals = self.totals()?;
                check_limit("ACLs", totals.acls, ACLS_MAX)?;
                totals.acls += 1;
                edits.push(write_totals(totals));
                stored.acls.insert(place, (pattern.clone(), permissions));
            }
        }
        edits.push(write(stored::role_key(role), stored.encode()));
        Ok(edits)
    }

    /// Removes an ACL of a role. The last one is not removed: a role without ACLs holds at every key, and to
    /// remove something must never give more. Remove the role, or let its ACL allow nothing.
    ///
    /// # Errors
    ///
    /// If there is no such role or ACL, or it is the last.
    pub fn delete_acl(&self, role: &Name, pattern: &Pattern) -> Result<Vec<Edit>, PolicyError> {
        let mut stored = self.custom_role(role)?;
        let Ok(place) = stored.acls.binary_search_by(|(other, _)| other.cmp(pattern)) else {
            return Err(PolicyError::not_found(
                Subject::Acl,
                format!("{pattern} of role {role}"),
            ));
        };
        if stored.acls.len() == 1 {
            return Err(PolicyError::Protected {
                name: role.to_string(),
                reason: "without its last ACL it would hold at every key; delete the role, or set the ACL to none",
            });
        }
        stored.acls.remove(place);
        let mut totals = self.totals()?;
        totals.acls = totals.acls.saturating_sub(1);
        Ok(vec![
            write_totals(totals),
            write(stored::role_key(role), stored.encode()),
        ])
    }

    fn add_role(&self, token: &mut StoredToken, role: &Name) -> Result<(), PolicyError> {
        let born = match BuiltinRole::named(role.as_str()) {
            Some(_) => 0,
            None => match self.stored_role(role)? {
                Some(stored) => stored.born,
                None => return Err(PolicyError::not_found(Subject::Role, role)),
            },
        };
        match token.roles.binary_search_by(|(name, _)| name.cmp(role)) {
            Ok(place) => {
                if let Some(held) = token.roles.get_mut(place) {
                    held.1 = born;
                }
            }
            Err(place) => {
                check_limit(
                    "roles of one token",
                    count(token.roles.len()),
                    count(ROLES_PER_TOKEN_MAX),
                )?;
                token.roles.insert(place, (role.clone(), born));
            }
        }
        Ok(())
    }

    fn custom_role(&self, name: &Name) -> Result<StoredRole, PolicyError> {
        check_custom(name)?;
        self.stored_role(name)?
            .ok_or_else(|| PolicyError::not_found(Subject::Role, name))
    }
}

fn changed_token(id: TokenId, before: &StoredToken, after: &StoredToken) -> Vec<Edit> {
    if before == after {
        return Vec::new();
    }
    vec![write(stored::token_key(id), after.encode())]
}

/// Refuses the names of roles that are not for everybody to change.
fn check_custom(name: &Name) -> Result<(), PolicyError> {
    let reason = if BuiltinRole::named(name.as_str()).is_some() {
        "it always exists and stays as it is"
    } else if name.as_str().starts_with(TENANT_ROLE_PREFIX) {
        "it belongs to a tenant, and changes with it"
    } else {
        return Ok(());
    };
    let name = name.to_string();
    Err(PolicyError::Protected { name, reason })
}

pub(super) const fn check_limit(what: &'static str, present: u64, limit: u64) -> Result<(), PolicyError> {
    if present < limit {
        Ok(())
    } else {
        Err(PolicyError::Limit { what, limit })
    }
}

pub(super) fn count(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}
