//! The policy: which tokens and roles there are, what they allow, and how that is changed.
//!
//! Pure: it reads the records that the store replicates ([`Records`]), and a change of it is a list of records to
//! write ([`Edit`]), to be applied only if the policy is still at the revision that the change was made from. So
//! two changes at once cannot undo each other, and each is whole or not at all.
//!
//! Nothing is kept in memory between two questions, so a change costs what it changes; who asks often keeps the
//! [`Principal`](crate::Principal) and asks again when the revision of the policy has moved.

mod access;
mod change;
mod error;
mod stored;
mod subject;
mod tenant;
#[cfg(test)]
mod tests;
mod used;

use bytes::Bytes;
use concord_core::ids::Timestamp;
use concord_core::{PolicyEdit, PrincipalId, ReadView};
use zeroize::Zeroizing;

pub use access::{Because, Explanation};
pub use change::{Lifetime, NewToken};
pub use error::{PolicyError, Subject};
pub use stored::Unreadable;
pub use subject::subject_of;
pub use tenant::{
    InvalidTenantId, NewTenant, RESERVED_TENANT_IDS, TENANT_ID_BYTES_MAX, TenantId, TenantInfo,
};

use crate::name::Name;
use crate::pattern::Pattern;
use crate::permission::Permissions;
use crate::principal::BuiltinRole;
use crate::seal::{SEAL_KEY_BYTES, SealKey};
use crate::token::TokenId;
use stored::{StoredRole, StoredToken, Totals};

/// How many tokens there may be.
pub const TOKENS_MAX: u64 = 100_000;
/// How many tenants there may be.
pub const TENANTS_MAX: u64 = 100_000;
/// How many custom roles there may be, those of tenants included.
pub const ROLES_MAX: u64 = 100_000;
/// How many ACLs there may be, all roles together.
pub const ACLS_MAX: u64 = 100_000;
/// How many ACLs one role may have.
pub const ACLS_PER_ROLE_MAX: usize = 1_000;
/// How many roles one token may have.
pub const ROLES_PER_TOKEN_MAX: usize = 64;
/// How many tokens or roles one page of a list has at most.
pub const PAGE_MAX: usize = 1_000;

/// The replicated records of the policy, at one revision.
pub trait Records {
    /// The record under a key.
    fn get(&self, key: &[u8]) -> Option<Bytes>;

    /// Keys and records in order: up to `limit` whose keys start with `prefix` and come after `after`.
    fn list(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Vec<(Bytes, Bytes)>;
}

/// A record to write, or to remove.
pub type Edit = PolicyEdit;

/// The policy that a view of the store shows.
impl Records for &ReadView {
    fn get(&self, key: &[u8]) -> Option<Bytes> {
        self.policy_get(key)
    }

    fn list(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Vec<(Bytes, Bytes)> {
        self.policy_list(prefix, after, limit)
    }
}

/// The policy at one revision.
#[derive(Debug)]
pub struct Policy<R> {
    records: R,
    revision: u64,
}

/// A token, without anything secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenInfo {
    /// Its public name.
    pub id: TokenId,
    /// What it is known by in the store. The same for all secrets that it has had, so that what it made stays its
    /// own when it is rotated.
    pub principal: PrincipalId,
    /// The name that it was given.
    pub name: Option<Name>,
    /// When it was made, by the replicated clock.
    pub created_at: Timestamp,
    /// When it ends, by the replicated clock.
    pub expires_at: Option<Timestamp>,
    /// The last day on which it was shown, in days since the Unix epoch; `None`: it never was.
    pub last_used_day: Option<u32>,
    /// What it allows by itself.
    pub permissions: Permissions,
    /// The roles it has, sorted; those that were removed since are not among them.
    pub roles: Vec<Name>,
}

/// A role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleInfo {
    /// What it is called.
    pub name: Name,
    /// What it allows, at most.
    pub permissions: Permissions,
    /// If there are any: the only keys that it is about, and what it allows there at most. Sorted.
    pub acls: Vec<(Pattern, Permissions)>,
    /// Whether it is one of those that always exist, and cannot be changed.
    pub is_builtin: bool,
}

impl<'a> Policy<&'a ReadView> {
    /// The policy that a view of the store shows.
    #[must_use]
    pub fn of(view: &'a ReadView) -> Self {
        Self::new(view, view.policy_revision())
    }
}

impl<R: Records> Policy<R> {
    /// The policy in these records, which are at this revision.
    pub const fn new(records: R, revision: u64) -> Self {
        Self { records, revision }
    }

    /// The revision of the policy: grows with every change of it.
    pub const fn revision(&self) -> u64 {
        self.revision
    }

    /// What it is read from.
    pub const fn records(&self) -> &R {
        &self.records
    }

    /// A token by its id.
    ///
    /// # Errors
    ///
    /// If there is none, or its record cannot be read.
    pub fn token(&self, id: TokenId) -> Result<TokenInfo, PolicyError> {
        let token = self.stored_token(id)?;
        self.info_of(id, token)
    }

    /// A token by the name that it was given.
    ///
    /// # Errors
    ///
    /// If there is none, or its record cannot be read.
    pub fn token_named(&self, name: &Name) -> Result<TokenInfo, PolicyError> {
        let id = self
            .id_of(name)?
            .ok_or_else(|| PolicyError::not_found(Subject::Token, name))?;
        self.token(id)
    }

    /// Tokens in the order of their ids, up to `limit` of those after `after`.
    ///
    /// # Errors
    ///
    /// If a record cannot be read.
    pub fn tokens(&self, after: Option<TokenId>, limit: usize) -> Result<Vec<TokenInfo>, PolicyError> {
        let after = after.map(stored::token_key);
        let found = self
            .records
            .list(stored::TOKENS, after.as_deref(), limit.min(PAGE_MAX));
        found
            .into_iter()
            .map(|(key, record)| {
                let token = StoredToken::decode(&key, &record)?;
                self.info_of(token.hash.id(), token)
            })
            .collect()
    }

    /// A role by its name, custom or builtin.
    ///
    /// # Errors
    ///
    /// If there is none, or its record cannot be read.
    pub fn role(&self, name: &Name) -> Result<RoleInfo, PolicyError> {
        if let Some(builtin) = BuiltinRole::named(name.as_str()) {
            return Ok(RoleInfo {
                name: name.clone(),
                permissions: builtin.permissions(),
                acls: Vec::new(),
                is_builtin: true,
            });
        }
        match self.stored_role(name)? {
            Some(role) => Ok(RoleInfo::of(name.clone(), role)),
            None => Err(PolicyError::not_found(Subject::Role, name)),
        }
    }

    /// Custom roles in the order of their names, up to `limit` of those after `after`.
    ///
    /// # Errors
    ///
    /// If a record cannot be read.
    pub fn roles(&self, after: Option<&Name>, limit: usize) -> Result<Vec<RoleInfo>, PolicyError> {
        let after = after.map(stored::role_key);
        let found = self
            .records
            .list(stored::ROLES, after.as_deref(), limit.min(PAGE_MAX));
        found
            .into_iter()
            .map(|(key, record)| {
                let name = String::from_utf8_lossy(key.get(1..).unwrap_or_default()).into_owned();
                let name = Name::new(name).map_err(|error| Unreadable {
                    key: key.escape_ascii().to_string(),
                    reason: error.to_string(),
                })?;
                Ok(RoleInfo::of(name, StoredRole::decode(&key, &record)?))
            })
            .collect()
    }

    /// Whether nobody could show any token.
    ///
    /// # Errors
    ///
    /// If a record cannot be read.
    pub fn has_no_tokens(&self) -> Result<bool, PolicyError> {
        Ok(self.totals()?.tokens == 0)
    }

    /// The key that cursors are sealed with, once the policy has one.
    #[must_use]
    pub fn seal_key(&self) -> Option<SealKey> {
        let record = self.records.get(stored::SEAL)?;
        let bytes = <[u8; SEAL_KEY_BYTES]>::try_from(record.as_ref()).ok()?;
        Some(SealKey::new(Zeroizing::new(bytes)))
    }

    /// Gives the policy this key to seal cursors with, unless it has one.
    #[must_use]
    pub fn add_seal_key(&self, key: &SealKey) -> Vec<Edit> {
        if self.seal_key().is_some() {
            return Vec::new();
        }
        vec![Edit {
            key: Bytes::from_static(stored::SEAL),
            record: Some(Bytes::copy_from_slice(key.as_bytes())),
        }]
    }

    fn info_of(&self, id: TokenId, token: StoredToken) -> Result<TokenInfo, PolicyError> {
        let mut roles = Vec::with_capacity(token.roles.len());
        for (name, born) in token.roles {
            if self.is_held(&name, born)? {
                roles.push(name);
            }
        }
        Ok(TokenInfo {
            id,
            principal: stored::principal_id(token.principal),
            name: token.name,
            created_at: token.created_at,
            expires_at: token.expires_at,
            last_used_day: self.last_used_day(id)?,
            permissions: token.permissions,
            roles,
        })
    }

    /// Whether the role that a token was given still exists, and is still the same.
    fn is_held(&self, name: &Name, born: u64) -> Result<bool, PolicyError> {
        let is_builtin = BuiltinRole::named(name.as_str()).is_some();
        Ok(is_builtin || self.stored_role(name)?.is_some_and(|role| role.born == born))
    }

    fn stored_token(&self, id: TokenId) -> Result<StoredToken, PolicyError> {
        let key = stored::token_key(id);
        match self.records.get(&key) {
            Some(record) => Ok(StoredToken::decode(&key, &record)?),
            None => Err(PolicyError::not_found(Subject::Token, id)),
        }
    }

    fn stored_role(&self, name: &Name) -> Result<Option<StoredRole>, PolicyError> {
        let key = stored::role_key(name);
        let record = self.records.get(&key);
        Ok(record
            .map(|record| StoredRole::decode(&key, &record))
            .transpose()?)
    }

    fn id_of(&self, name: &Name) -> Result<Option<TokenId>, PolicyError> {
        let key = stored::name_key(name);
        let record = self.records.get(&key);
        Ok(record
            .map(|record| stored::decode_id(&key, &record))
            .transpose()?)
    }

    fn totals(&self) -> Result<Totals, PolicyError> {
        let record = self.records.get(stored::TOTALS);
        Ok(record.map_or(Ok(Totals::default()), |record| Totals::decode(&record))?)
    }
}

impl RoleInfo {
    fn of(name: Name, role: StoredRole) -> Self {
        Self {
            name,
            permissions: role.permissions,
            acls: role.acls,
            is_builtin: false,
        }
    }
}
