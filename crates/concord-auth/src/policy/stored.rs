//! How the policy is stored: records of bytes under keys of bytes, which the store replicates without knowing
//! what they mean.
//!
//! ```text
//! key                 record
//! t <token id>        version, hash, principal, name, created_at, expires_at, permissions, roles [(name, born)]
//! n <name of a token> its id
//! r <name of a role>  version, born, permissions, ACLs [(pattern, permissions)]
//! o <id of a tenant>  version, name, created_at, updated_at
//! c                   version, how many tokens, roles, ACLs and tenants there are
//! u <token id>        version, the last day on which the token was shown
//! s                   the key that cursors are sealed with
//! ```
//!
//! Records are `MessagePack` arrays. A role is *born* at the revision of the policy that it was made in, and a
//! token holds a role of one birth: a role that is made anew under an old name gives nothing to those who held
//! the old one (D-SEC-7), and to remove a role it is enough to remove one record.

use bytes::Bytes;
use concord_core::PrincipalId;
use concord_core::ids::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::tenant::TenantId;
use crate::name::Name;
use crate::pattern::Pattern;
use crate::permission::Permissions;
use crate::token::{TokenHash, TokenId};

const VERSION: u8 = 1;

/// A record that this version cannot read. Whoever depends on it gets no rights from it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("record {key} of the policy cannot be read: {reason}")]
pub struct Unreadable {
    /// The key of the record, printable.
    pub key: String,
    /// What is wrong.
    pub reason: String,
}

/// A token as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StoredToken {
    pub(super) hash: TokenHash,
    /// The id of the first token of those that this one was rotated from: whatever the store keeps for it
    /// (leases, idempotency keys) is kept under that.
    pub(super) principal: TokenId,
    pub(super) name: Option<Name>,
    pub(super) created_at: Timestamp,
    pub(super) expires_at: Option<Timestamp>,
    pub(super) permissions: Permissions,
    /// Sorted by name.
    pub(super) roles: Vec<(Name, u64)>,
}

/// A custom role as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StoredRole {
    pub(super) born: u64,
    pub(super) permissions: Permissions,
    /// Sorted by pattern.
    pub(super) acls: Vec<(Pattern, Permissions)>,
}

/// A tenant as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StoredTenant {
    pub(super) name: Name,
    pub(super) created_at: Timestamp,
    pub(super) updated_at: Timestamp,
}

/// How much there is, so that limits are checked without counting.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Totals {
    pub(super) tokens: u64,
    pub(super) roles: u64,
    pub(super) acls: u64,
    pub(super) tenants: u64,
}

pub(super) fn token_key(id: TokenId) -> Bytes {
    keyed(b't', id.as_bytes())
}

pub(super) fn name_key(name: &Name) -> Bytes {
    keyed(b'n', name.as_str().as_bytes())
}

pub(super) fn role_key(name: &Name) -> Bytes {
    keyed(b'r', name.as_str().as_bytes())
}

pub(super) fn tenant_key(id: &TenantId) -> Bytes {
    keyed(b'o', id.as_str().as_bytes())
}

/// Beside the token: this changes without the policy.
pub(super) fn used_key(id: TokenId) -> Bytes {
    keyed(b'u', id.as_bytes())
}

pub(super) const TENANTS: &[u8] = b"o";
pub(super) const TOKENS: &[u8] = b"t";
pub(super) const NAMES: &[u8] = b"n";
pub(super) const ROLES: &[u8] = b"r";
pub(super) const TOTALS: &[u8] = b"c";
pub(super) const SEAL: &[u8] = b"s";

fn keyed(kind: u8, name: &[u8]) -> Bytes {
    [&[kind], name].concat().into()
}

#[derive(Serialize, Deserialize)]
struct TokenRecord {
    version: u8,
    hash: [u8; 32],
    principal: [u8; TokenId::BYTES],
    name: Option<String>,
    created_at: u64,
    expires_at: Option<u64>,
    permissions: u8,
    roles: Vec<(String, u64)>,
}

#[derive(Serialize, Deserialize)]
struct RoleRecord {
    version: u8,
    born: u64,
    permissions: u8,
    acls: Vec<(serde_bytes::ByteBuf, u8)>,
}

impl StoredToken {
    pub(super) fn encode(&self) -> Bytes {
        encode(&TokenRecord {
            version: VERSION,
            hash: *self.hash.as_bytes(),
            principal: *self.principal.as_bytes(),
            name: self.name.as_ref().map(|name| name.as_str().to_owned()),
            created_at: self.created_at.get(),
            expires_at: self.expires_at.map(Timestamp::get),
            permissions: self.permissions.bits(),
            roles: self
                .roles
                .iter()
                .map(|(name, born)| (name.as_str().to_owned(), *born))
                .collect(),
        })
    }

    pub(super) fn decode(key: &[u8], record: &[u8]) -> Result<Self, Unreadable> {
        let unreadable = |reason: String| unreadable(key, reason);
        let record: TokenRecord = decode(key, record)?;
        check_version(key, record.version)?;
        let name = |text: String| Name::new(text).map_err(|error| unreadable(error.to_string()));
        Ok(Self {
            hash: TokenHash::from_bytes(record.hash),
            principal: TokenId::from_bytes(record.principal),
            name: record.name.map(name).transpose()?,
            created_at: Timestamp::new(record.created_at),
            expires_at: record.expires_at.map(Timestamp::new),
            permissions: permissions(key, record.permissions)?,
            roles: record
                .roles
                .into_iter()
                .map(|(role, born)| Ok((name(role)?, born)))
                .collect::<Result<_, _>>()?,
        })
    }
}

impl StoredRole {
    pub(super) fn encode(&self) -> Bytes {
        let acl = |(pattern, permissions): &(Pattern, Permissions)| {
            (serde_bytes::ByteBuf::from(pattern.as_bytes()), permissions.bits())
        };
        encode(&RoleRecord {
            version: VERSION,
            born: self.born,
            permissions: self.permissions.bits(),
            acls: self.acls.iter().map(acl).collect(),
        })
    }

    pub(super) fn decode(key: &[u8], record: &[u8]) -> Result<Self, Unreadable> {
        let record: RoleRecord = decode(key, record)?;
        check_version(key, record.version)?;
        let acl = |(pattern, bits): (serde_bytes::ByteBuf, u8)| {
            let pattern =
                Pattern::new(pattern.into_vec()).map_err(|error| unreadable(key, error.to_string()))?;
            Ok((pattern, permissions(key, bits)?))
        };
        Ok(Self {
            born: record.born,
            permissions: permissions(key, record.permissions)?,
            acls: record.acls.into_iter().map(acl).collect::<Result<_, _>>()?,
        })
    }
}

impl StoredTenant {
    pub(super) fn encode(&self) -> Bytes {
        let (created_at, updated_at) = (self.created_at.get(), self.updated_at.get());
        encode(&(VERSION, self.name.as_str(), created_at, updated_at))
    }

    pub(super) fn decode(key: &[u8], record: &[u8]) -> Result<Self, Unreadable> {
        let (version, name, created_at, updated_at): (u8, String, u64, u64) = decode(key, record)?;
        check_version(key, version)?;
        Ok(Self {
            name: Name::new(name).map_err(|error| unreadable(key, error.to_string()))?,
            created_at: Timestamp::new(created_at),
            updated_at: Timestamp::new(updated_at),
        })
    }
}

impl Totals {
    pub(super) fn encode(self) -> Bytes {
        encode(&(VERSION, self))
    }

    pub(super) fn decode(record: &[u8]) -> Result<Self, Unreadable> {
        let (version, totals) = decode(TOTALS, record)?;
        check_version(TOTALS, version)?;
        Ok(totals)
    }
}

/// What the store knows a token by.
pub(super) fn principal_id(first: TokenId) -> PrincipalId {
    PrincipalId::new(first.as_bytes()).expect("ids of tokens are shorter than those of principals may be")
}

pub(super) fn encode_id(id: TokenId) -> Bytes {
    Bytes::copy_from_slice(id.as_bytes())
}

pub(super) fn decode_id(key: &[u8], record: &[u8]) -> Result<TokenId, Unreadable> {
    let id = record
        .try_into()
        .map_err(|_| unreadable(key, "it is no token id".to_owned()))?;
    Ok(TokenId::from_bytes(id))
}

pub(super) fn encode_day(day: u32) -> Bytes {
    encode(&(VERSION, day))
}

pub(super) fn decode_day(key: &[u8], record: &[u8]) -> Result<u32, Unreadable> {
    let (version, day) = decode(key, record)?;
    check_version(key, version)?;
    Ok(day)
}

fn encode<T: Serialize>(record: &T) -> Bytes {
    // Writing numbers, text and arrays of them to memory cannot fail.
    rmp_serde::to_vec(record).unwrap_or_default().into()
}

fn decode<T: DeserializeOwned>(key: &[u8], record: &[u8]) -> Result<T, Unreadable> {
    rmp_serde::from_slice(record).map_err(|error| unreadable(key, error.to_string()))
}

fn check_version(key: &[u8], version: u8) -> Result<(), Unreadable> {
    match version {
        VERSION => Ok(()),
        other => Err(unreadable(
            key,
            format!("it is of version {other}, this is {VERSION}"),
        )),
    }
}

fn permissions(key: &[u8], bits: u8) -> Result<Permissions, Unreadable> {
    Permissions::from_bits(bits).ok_or_else(|| unreadable(key, format!("there are no permissions {bits}")))
}

fn unreadable(key: &[u8], reason: String) -> Unreadable {
    Unreadable {
        key: key.escape_ascii().to_string(),
        reason,
    }
}
