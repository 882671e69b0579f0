//! Who may do what: the words that [`Concord`]'s handles are made and judged by.
//!
//! ```
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let directory = tempfile::tempdir()?;
//! # let db = concord_server::Concord::open(concord_server::Config::at(directory.path()).with_auth()).await?;
//! use concord_server::access::{Permission, Permissions};
//!
//! let reads = Permissions::of(&[Permission::Read]);
//! db.create_role("sales", reads).await?;
//! db.set_acl("sales", "orders:*", reads).await?;
//! let token = db.create_token().name("report").role("sales").await?;
//! let sales = db.as_principal(token.secret.expose());
//! assert!(sales.can_i(Permission::Read, "orders:7").await?);
//! assert!(!sales.can_i(Permission::Read, "payroll:7").await?);
//! # db.shutdown().await?;
//! # Ok(())
//! # }
//! ```

use std::future::IntoFuture;
use std::time::Duration;

use concord_auth::policy::{Lifetime, NewToken, PAGE_MAX};
use concord_auth::token::ENTROPY_BYTES;
use concord_auth::{InvalidName, InvalidPattern, Policy, PolicyError, Read, Records};
use concord_core::PolicyChange;
use concord_core::ids::{Revision, Timestamp};
use concord_core::view::ReadView;

pub use concord_auth::policy::{Because, Explanation, RoleInfo, TokenInfo};
pub use concord_auth::token::{Secret, TokenId};
pub use concord_auth::{BuiltinRole, Edit, Name, Pattern, Permission, Permissions};

use super::Concord;
use super::operation::Operation;
use crate::error::{Error, ErrorKind};
use crate::judge::present;
use crate::service::{Seen, random};

/// A token that was made just now.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct IssuedToken {
    /// What its holder shows. It is nowhere else, and cannot be had again.
    pub secret: Secret,
    /// Its public name.
    pub id: TokenId,
    /// When it ends, by the cluster's clock.
    pub expires_at: Option<Timestamp>,
}

/// Who a handle asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Whoami {
    /// In words: `embedder`, `anonymous`, or `token` and its name or id.
    pub principal: String,
    /// The token, if it is one.
    pub token: Option<TokenInfo>,
    /// The tenant that it belongs to, whose quotas its requests count for.
    pub tenant: Option<String>,
    /// What holds at every key, and in the cluster.
    pub everywhere: Permissions,
}

type Change<T> = Result<(Vec<Edit>, T), PolicyError>;

impl Concord {
    /// Makes a token. Without roles and permissions it allows nothing.
    ///
    /// # Errors
    ///
    /// `already_exists` for a name that is taken, `not_found` for a role that does not exist, `quota_exceeded`;
    /// `forbidden`; else as [`Concord::put`].
    pub fn create_token(&self) -> CreateToken<'_> {
        CreateToken {
            concord: self,
            name: None,
            roles: Vec::new(),
            permissions: Permissions::NONE,
            ttl: None,
        }
    }

    /// Tokens in the order of their ids behind `after`, up to 1,000. Never their secrets.
    ///
    /// # Errors
    ///
    /// `forbidden`; else as [`Concord::get`].
    pub async fn tokens(&self, after: Option<TokenId>) -> Result<Vec<TokenInfo>, Error> {
        let seen = self.policy_view().await?;
        Ok(policy(&seen).tokens(after, PAGE_MAX)?)
    }

    /// A token by its id or name.
    ///
    /// # Errors
    ///
    /// `not_found`, `forbidden`; else as [`Concord::get`].
    pub async fn token(&self, token: &str) -> Result<TokenInfo, Error> {
        let seen = self.policy_view().await?;
        Ok(find(&policy(&seen), token)?)
    }

    /// Ends a token for good. Once this answers, no write of it is applied any more, its watches end, and no node that
    /// hears of it serves it.
    ///
    /// # Errors
    ///
    /// `not_found`, `forbidden`; else as [`Concord::put`].
    pub async fn revoke_token(&self, token: &str) -> Result<Revision, Error> {
        self.change_policy(|policy, _| Ok((policy.revoke_token(find(policy, token)?.id)?, ())))
            .await
    }

    /// Gives a token another secret; the old one is good for as long as `grace` says. Name, end, roles and permissions
    /// stay.
    ///
    /// # Errors
    ///
    /// `not_found`, `forbidden`; else as [`Concord::put`].
    pub async fn rotate_token(&self, token: &str, grace: Duration) -> Result<IssuedToken, Error> {
        let secret = Secret::from_entropy(&random::<ENTROPY_BYTES>()?);
        let hash = secret.hash();
        let ((id, expires_at), _) = self
            .change_with(|policy, now| {
                let old = find(policy, token)?;
                let edits = policy.rotate_token(old.id, hash, now, later(now, grace))?;
                Ok((edits, (hash.id(), old.expires_at)))
            })
            .await?;
        Ok(IssuedToken {
            secret,
            id,
            expires_at,
        })
    }

    /// Gives a token a role.
    ///
    /// # Errors
    ///
    /// `not_found`, `forbidden`; else as [`Concord::put`].
    pub async fn grant_role(&self, token: &str, role: &str) -> Result<Revision, Error> {
        let role = name_of(role)?;
        self.change_policy(|policy, _| Ok((policy.grant_role(find(policy, token)?.id, &role)?, ())))
            .await
    }

    /// Takes a role from a token.
    ///
    /// # Errors
    ///
    /// As [`Concord::grant_role`].
    pub async fn take_role(&self, token: &str, role: &str) -> Result<Revision, Error> {
        let role = name_of(role)?;
        self.change_policy(|policy, _| Ok((policy.take_role(find(policy, token)?.id, &role)?, ())))
            .await
    }

    /// Makes a role, which holds at every key until it has an ACL.
    ///
    /// # Errors
    ///
    /// `already_exists`; `forbidden`, also for a name that is reserved; else as [`Concord::put`].
    pub async fn create_role(&self, role: &str, permissions: Permissions) -> Result<Revision, Error> {
        let role = name_of(role)?;
        self.change_policy(|policy, _| Ok((policy.create_role(&role, permissions)?, ())))
            .await
    }

    /// Changes what a role allows, for all who have it.
    ///
    /// # Errors
    ///
    /// `not_found`, `forbidden`; else as [`Concord::put`].
    pub async fn update_role(&self, role: &str, permissions: Permissions) -> Result<Revision, Error> {
        let role = name_of(role)?;
        self.change_policy(|policy, _| Ok((policy.update_role(&role, permissions)?, ())))
            .await
    }

    /// Removes a role with its ACLs, from all who have it.
    ///
    /// # Errors
    ///
    /// As [`Concord::update_role`].
    pub async fn delete_role(&self, role: &str) -> Result<Revision, Error> {
        let role = name_of(role)?;
        self.change_policy(|policy, _| Ok((policy.delete_role(&role)?, ())))
            .await
    }

    /// A role by its name, with its ACLs.
    ///
    /// # Errors
    ///
    /// `not_found`, `forbidden`; else as [`Concord::get`].
    pub async fn role(&self, role: &str) -> Result<RoleInfo, Error> {
        let role = name_of(role)?;
        let seen = self.policy_view().await?;
        Ok(policy(&seen).role(&role)?)
    }

    /// Roles in the order of their names behind `after`, up to 1,000; the first page begins with those that always exist.
    ///
    /// # Errors
    ///
    /// `forbidden`; else as [`Concord::get`].
    pub async fn roles(&self, after: Option<&str>) -> Result<Vec<RoleInfo>, Error> {
        let after = after.map(name_of).transpose()?;
        let seen = self.policy_view().await?;
        let policy = policy(&seen);
        let mut roles = Vec::new();
        if after.is_none() {
            for role in BuiltinRole::ALL {
                roles.push(policy.role(&name_of(role.name())?)?);
            }
        }
        roles.extend(policy.roles(after.as_ref(), PAGE_MAX)?);
        Ok(roles)
    }

    /// Lets a role hold where this pattern matches (`*` is any run of characters, everything else is as it is), with these
    /// permissions at most. Its first ACL narrows a role; one with the same pattern is replaced.
    ///
    /// # Errors
    ///
    /// `not_found`, `invalid_request`, `quota_exceeded`, `forbidden`; else as [`Concord::put`].
    pub async fn set_acl(
        &self,
        role: &str,
        pattern: impl AsRef<[u8]>,
        permissions: Permissions,
    ) -> Result<Revision, Error> {
        let (role, pattern) = (name_of(role)?, pattern_of(pattern)?);
        self.change_policy(|policy, _| Ok((policy.set_acl(&role, &pattern, permissions)?, ())))
            .await
    }

    /// Removes an ACL of a role. The last one stays: without it the role would hold at every key.
    ///
    /// # Errors
    ///
    /// As [`Concord::set_acl`].
    pub async fn delete_acl(&self, role: &str, pattern: impl AsRef<[u8]>) -> Result<Revision, Error> {
        let (role, pattern) = (name_of(role)?, pattern_of(pattern)?);
        self.change_policy(|policy, _| Ok((policy.delete_acl(&role, &pattern)?, ())))
            .await
    }

    /// Who this handle asks for.
    ///
    /// # Errors
    ///
    /// `unauthorized`; else as [`Concord::get`].
    pub async fn whoami(&self) -> Result<Whoami, Error> {
        let seen = self.look(|()| Read::Whoami, &self.read_plan()).await?;
        let principal = seen.principal();
        let id = principal.token_id();
        Ok(Whoami {
            principal: principal.to_string(),
            token: id.map(|id| policy(&seen).token(id)).transpose()?,
            tenant: principal
                .tenant()
                .map(|id| String::from_utf8_lossy(id).into_owned()),
            everywhere: principal.rights().at_every_key(),
        })
    }

    /// Whether this handle has a permission at a key. `admin` is no permission of keys: it is had or not.
    ///
    /// # Errors
    ///
    /// As [`Concord::whoami`].
    pub async fn can_i(&self, permission: Permission, key: impl AsRef<[u8]>) -> Result<bool, Error> {
        let seen = self.look(|()| Read::Whoami, &self.read_plan()).await?;
        let rights = seen.principal().rights();
        let found = match permission {
            Permission::Admin => rights.at_every_key(),
            Permission::Read | Permission::Write | Permission::Delete => rights.at(key.as_ref()),
        };
        Ok(found.covers(Permissions::of(&[permission])))
    }

    /// Why a token may do what it may do at a key: the roles and ACLs that decide.
    ///
    /// # Errors
    ///
    /// `not_found`, `forbidden`; else as [`Concord::get`].
    pub async fn explain_access(&self, token: &str, key: impl AsRef<[u8]>) -> Result<Explanation, Error> {
        let seen = self.policy_view().await?;
        let policy = policy(&seen);
        let id = find(&policy, token)?.id;
        Ok(policy.explain(id, key.as_ref(), present(seen.view()))?)
    }

    async fn policy_view(&self) -> Result<Seen, Error> {
        self.look(|()| Read::Policy, &self.read_plan()).await
    }

    async fn change_policy(
        &self,
        change: impl Fn(&Policy<&ReadView>, Timestamp) -> Change<()>,
    ) -> Result<Revision, Error> {
        let ((), revision) = self.change_with(change).await?;
        Ok(revision)
    }

    async fn change_with<T>(
        &self,
        change: impl Fn(&Policy<&ReadView>, Timestamp) -> Change<T>,
    ) -> Result<(T, Revision), Error> {
        let (caller, timeout) = (self.caller(), self.request_timeout());
        let change = |policy: &Policy<&ReadView>, now| {
            let (edits, outcome) = change(policy, now)?;
            Ok((PolicyChange::new(policy.revision(), edits), outcome))
        };
        self.service().change_policy(caller, change, timeout).await
    }
}

fn policy(seen: &Seen) -> Policy<&ReadView> {
    Policy::of(seen.view())
}

/// A token by its id or, if that is none, by its name.
fn find<R: Records>(policy: &Policy<R>, token: &str) -> Result<TokenInfo, PolicyError> {
    match TokenId::parse(token) {
        Ok(id) => policy.token(id),
        Err(_) => policy.token_named(&Name::new(token)?),
    }
}

fn later(now: Timestamp, by: Duration) -> Timestamp {
    let millis = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
    Timestamp::new(now.get().saturating_add(millis))
}

fn name_of(text: &str) -> Result<Name, Error> {
    Ok(Name::new(text)?)
}

fn pattern_of(pattern: impl AsRef<[u8]>) -> Result<Pattern, Error> {
    Ok(Pattern::new(pattern.as_ref().to_vec())?)
}

impl From<InvalidName> for Error {
    fn from(invalid: InvalidName) -> Self {
        Self::invalid_request(invalid.to_string())
    }
}

impl From<InvalidPattern> for Error {
    fn from(invalid: InvalidPattern) -> Self {
        Self::invalid_request(invalid.to_string())
    }
}

/// A token to be made by awaiting this: see [`Concord::create_token`].
#[derive(Clone, Debug)]
#[must_use = "nothing happens until it is awaited"]
pub struct CreateToken<'a> {
    concord: &'a Concord,
    name: Option<String>,
    roles: Vec<String>,
    permissions: Permissions,
    ttl: Option<Duration>,
}

impl CreateToken<'_> {
    /// Gives it a name, which no other token has.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Gives it a role.
    pub fn role(mut self, role: impl Into<String>) -> Self {
        self.roles.push(role.into());
        self
    }

    /// Lets it do this by itself, at every key.
    pub fn permissions(mut self, permissions: Permissions) -> Self {
        self.permissions = self.permissions.union(permissions);
        self
    }

    /// Lets it end after this long. Without it, it is good until it is revoked.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Some(ttl);
        self
    }

    async fn create(self) -> Result<IssuedToken, Error> {
        if self.ttl.is_some_and(|ttl| ttl < Duration::from_millis(1)) {
            return Err(Error::new(
                ErrorKind::InvalidTtl,
                "a token lives for 1 ms or more",
            ));
        }
        let secret = Secret::from_entropy(&random::<ENTROPY_BYTES>()?);
        let hash = secret.hash();
        let name = self.name.as_deref().map(name_of).transpose()?;
        let roles = self.roles.iter().map(|role| name_of(role));
        let roles = roles.collect::<Result<Vec<_>, _>>()?;
        let made = self.concord.change_with(|policy, now| {
            let expires_at = self.ttl.map(|ttl| later(now, ttl));
            let token = NewToken {
                hash,
                name: name.clone(),
                lifetime: Lifetime { now, expires_at },
                permissions: self.permissions,
                roles: roles.clone(),
            };
            Ok((policy.create_token(&token)?, expires_at))
        });
        let (expires_at, _) = made.await?;
        Ok(IssuedToken {
            secret,
            id: hash.id(),
            expires_at,
        })
    }
}

impl<'a> IntoFuture for CreateToken<'a> {
    type Output = Result<IssuedToken, Error>;
    type IntoFuture = Operation<'a, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Operation::waiting(self.create())
    }
}
