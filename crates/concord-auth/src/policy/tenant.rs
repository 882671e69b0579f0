//! Tenants: a namespace of keys, the role that reaches just there, and its quota, made and removed at once.
//!
//! A tenant is a record with its name and times, the role `tenant_<id>` with the one ACL `<id>:*`, and the quota of
//! the namespace `<id>`, which the store keeps and judges. All of it comes and goes by one command (D-SEC-9). Who
//! holds the role belongs to the tenant. What a tenant uses is what its namespace holds: nobody reports it.

use core::fmt;

use concord_core::ids::Timestamp;
use concord_core::{NamespaceEdit, NamespaceQuota, PolicyChange};

use super::change::{check_limit, count, remove, write, write_totals};
use super::stored::{self, StoredRole, StoredTenant};
use super::{ACLS_MAX, PAGE_MAX, Policy, PolicyError, ROLES_MAX, Records, Subject, TENANTS_MAX, Unreadable};
use crate::name::{InvalidName, NAME_BYTES_MAX, Name, TENANT_ROLE_PREFIX};
use crate::pattern::Pattern;
use crate::principal::BuiltinRole;

/// Ids that no tenant has: namespaces of keys that the store's own recipes use, for everybody.
pub const RESERVED_TENANT_IDS: [&str; 9] = [
    "barrier",
    "double-barrier",
    "election",
    "lock",
    "rate-limiter",
    "rwlock",
    "semaphore",
    "sequence",
    "service",
];

/// The longest id of a tenant: with it the name of its role is as long as a name can be.
pub const TENANT_ID_BYTES_MAX: usize = NAME_BYTES_MAX - TENANT_ROLE_PREFIX.len();

/// The id of a tenant, which is its namespace too: as a [`Name`], of at most [`TENANT_ID_BYTES_MAX`] bytes, and none
/// of [`RESERVED_TENANT_IDS`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TenantId {
    /// The id behind [`TENANT_ROLE_PREFIX`].
    role: Name,
}

/// Text that is no id of a tenant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTenantId {
    /// It is no name.
    #[error("id of a tenant: {0}")]
    Name(#[from] InvalidName),
    /// It is too long.
    #[error("id of a tenant is {size_bytes} bytes, limit is {TENANT_ID_BYTES_MAX}")]
    TooLong {
        /// Its length.
        size_bytes: usize,
    },
    /// The store keeps keys of its own there.
    #[error("`{id}` is reserved for the keys of recipes")]
    Reserved {
        /// The id.
        id: String,
    },
}

impl TenantId {
    /// Reads an id.
    ///
    /// # Errors
    ///
    /// If it is empty, too long, has other characters than a name, or is reserved.
    pub fn new(text: impl Into<String>) -> Result<Self, InvalidTenantId> {
        let text = text.into();
        let size_bytes = text.len();
        if size_bytes > TENANT_ID_BYTES_MAX {
            return Err(InvalidTenantId::TooLong { size_bytes });
        }
        let id = Name::new(text)?;
        if RESERVED_TENANT_IDS.contains(&id.as_str()) {
            let id = id.to_string();
            return Err(InvalidTenantId::Reserved { id });
        }
        let role = Name::new(format!("{TENANT_ROLE_PREFIX}{id}"))?;
        Ok(Self { role })
    }

    /// The tenant whose role this is, if it is one of a tenant.
    #[must_use]
    pub fn of_role(role: &Name) -> Option<Self> {
        let id = role.as_str().strip_prefix(TENANT_ROLE_PREFIX)?;
        Self::new(id).ok()
    }

    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        let role = self.role.as_str();
        role.strip_prefix(TENANT_ROLE_PREFIX).unwrap_or(role)
    }

    /// The namespace of its keys: see [`concord_core::key::namespace_of`].
    #[must_use]
    pub fn namespace(&self) -> &[u8] {
        self.as_str().as_bytes()
    }

    /// The role of those who belong to it.
    #[must_use]
    pub const fn role(&self) -> &Name {
        &self.role
    }

    /// The keys of its namespace, `<id>:*`.
    fn pattern(&self) -> Pattern {
        Pattern::new(format!("{self}:*")).expect("an id is far shorter than a pattern may be")
    }

    fn edit(&self, quota: NamespaceQuota, delete_keys: bool) -> NamespaceEdit {
        NamespaceEdit {
            namespace: self.namespace().to_vec().into(),
            quota,
            delete_keys,
        }
    }
}

impl fmt::Display for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A tenant. Its quota and what it uses are those of its namespace in the view that the policy is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TenantInfo {
    /// Its id.
    pub id: TenantId,
    /// What it is called.
    pub name: Name,
    /// When it was made, by the replicated clock.
    pub created_at: Timestamp,
    /// When it or its quota was last changed.
    pub updated_at: Timestamp,
}

/// A tenant to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewTenant {
    /// Its id; no other has it.
    pub id: TenantId,
    /// What it is called; its id, if that is not said.
    pub name: Option<Name>,
    /// How much its namespace may hold, and how often it may ask.
    pub quota: NamespaceQuota,
    /// The present, by the replicated clock.
    pub now: Timestamp,
}

impl<R: Records> Policy<R> {
    /// A tenant by its id.
    ///
    /// # Errors
    ///
    /// If there is none, or its record cannot be read.
    pub fn tenant(&self, id: &TenantId) -> Result<TenantInfo, PolicyError> {
        match self.stored_tenant(id)? {
            Some(tenant) => Ok(TenantInfo::of(id.clone(), tenant)),
            None => Err(PolicyError::not_found(Subject::Tenant, id)),
        }
    }

    /// Tenants in the order of their ids, up to `limit` of those after `after`.
    ///
    /// # Errors
    ///
    /// If a record cannot be read.
    pub fn tenants(&self, after: Option<&TenantId>, limit: usize) -> Result<Vec<TenantInfo>, PolicyError> {
        let after = after.map(stored::tenant_key);
        let found = self
            .records
            .list(stored::TENANTS, after.as_deref(), limit.min(PAGE_MAX));
        found
            .into_iter()
            .map(|(key, record)| {
                let id = String::from_utf8_lossy(key.get(1..).unwrap_or_default()).into_owned();
                let id = TenantId::new(id).map_err(|error| Unreadable {
                    key: key.escape_ascii().to_string(),
                    reason: error.to_string(),
                })?;
                Ok(TenantInfo::of(id, StoredTenant::decode(&key, &record)?))
            })
            .collect()
    }

    /// Makes a tenant with its role, its ACL and its quota. Keys that are in its namespace already are its own.
    ///
    /// # Errors
    ///
    /// If there is one of this id, or there are too many.
    pub fn create_tenant(&self, new: &NewTenant) -> Result<PolicyChange, PolicyError> {
        let id = &new.id;
        if self.stored_tenant(id)?.is_some() {
            return Err(PolicyError::exists(Subject::Tenant, id));
        }
        let name = match &new.name {
            Some(name) => name.clone(),
            None => Name::new(id.as_str())?,
        };
        let mut totals = self.totals()?;
        check_limit("tenants", totals.tenants, TENANTS_MAX)?;
        check_limit("roles", totals.roles, ROLES_MAX)?;
        check_limit("ACLs", totals.acls, ACLS_MAX)?;
        totals.tenants += 1;
        totals.roles += 1;
        totals.acls += 1;
        let permissions = BuiltinRole::Editor.permissions();
        let role = StoredRole {
            // A token that held the role of an earlier tenant of this id holds nothing of this one (D-SEC-7).
            born: self.revision,
            permissions,
            acls: vec![(id.pattern(), permissions)],
        };
        let tenant = StoredTenant {
            name,
            created_at: new.now,
            updated_at: new.now,
        };
        let edits = vec![
            write_totals(totals),
            write(stored::role_key(id.role()), role.encode()),
            write(stored::tenant_key(id), tenant.encode()),
        ];
        Ok(PolicyChange::new(self.revision, edits).with_namespaces(vec![id.edit(new.quota, false)]))
    }

    /// Gives a tenant another quota. What it uses and what it has asked stays counted.
    ///
    /// # Errors
    ///
    /// If there is none.
    pub fn update_tenant(
        &self,
        id: &TenantId,
        quota: NamespaceQuota,
        now: Timestamp,
    ) -> Result<PolicyChange, PolicyError> {
        let tenant = self.stored_tenant(id)?;
        let tenant = tenant.ok_or_else(|| PolicyError::not_found(Subject::Tenant, id))?;
        let updated = StoredTenant {
            updated_at: now,
            ..tenant
        };
        let edits = vec![write(stored::tenant_key(id), updated.encode())];
        Ok(PolicyChange::new(self.revision, edits).with_namespaces(vec![id.edit(quota, false)]))
    }

    /// Removes a tenant with its role, its ACL and its quota; its keys too if that is asked for, or they stay, for
    /// administrators and for whoever is made a tenant of this id. Tokens keep what else they have.
    ///
    /// # Errors
    ///
    /// If there is none.
    pub fn delete_tenant(&self, id: &TenantId, delete_keys: bool) -> Result<PolicyChange, PolicyError> {
        if self.stored_tenant(id)?.is_none() {
            return Err(PolicyError::not_found(Subject::Tenant, id));
        }
        let mut totals = self.totals()?;
        totals.tenants = totals.tenants.saturating_sub(1);
        if let Some(role) = self.stored_role(id.role())? {
            totals.roles = totals.roles.saturating_sub(1);
            totals.acls = totals.acls.saturating_sub(count(role.acls.len()));
        }
        let edits = vec![
            write_totals(totals),
            remove(stored::role_key(id.role())),
            remove(stored::tenant_key(id)),
        ];
        let namespace = id.edit(NamespaceQuota::UNLIMITED, delete_keys);
        Ok(PolicyChange::new(self.revision, edits).with_namespaces(vec![namespace]))
    }

    fn stored_tenant(&self, id: &TenantId) -> Result<Option<StoredTenant>, PolicyError> {
        let key = stored::tenant_key(id);
        let record = self.records.get(&key);
        Ok(record
            .map(|record| StoredTenant::decode(&key, &record))
            .transpose()?)
    }
}

impl TenantInfo {
    fn of(id: TenantId, tenant: StoredTenant) -> Self {
        Self {
            id,
            name: tenant.name,
            created_at: tenant.created_at,
            updated_at: tenant.updated_at,
        }
    }
}

#[cfg(test)]
mod tests;
