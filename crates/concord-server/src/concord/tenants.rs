//! Tenants: who shares the store, with how much of it, and what of that they use.
//!
//! A tenant has an id, the keys `<id>:...`, the role `tenant_<id>` that reaches just there, and quotas. All of it is made
//! and removed by one command. What it uses is what its keys are: nobody reports it, and nothing resets it.
//!
//! Not here: the judging of quotas, which is `concord-core`'s at apply; that of rates of reads, which is
//! `rates`'.

mod limit;

use std::future::IntoFuture;

use concord_auth::policy::{InvalidTenantId, NewTenant, PAGE_MAX, TenantInfo};
use concord_auth::{Policy, Read};
use concord_core::NamespaceQuota;
use concord_core::ids::{Revision, Timestamp};
use concord_core::key::KeyRange;
use concord_core::view::{ReadView, Usage};

pub use concord_auth::Name;
pub use concord_auth::policy::TenantId;

pub use self::limit::{InvalidLimit, Limit, Quota};

use super::Concord;
use super::operation::Operation;
use crate::error::Error;
use crate::rates::operations_left;
use crate::service::Seen;

/// A tenant, as it is at one revision.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tenant {
    /// Its id. Its keys are those that begin with this and a `:`.
    pub id: TenantId,
    /// What it is called.
    pub name: Name,
    /// How much it may take, and how often it may ask.
    pub quota: Quota,
    /// What it takes.
    pub usage: TenantUsage,
    /// When it was made, by the cluster's clock.
    pub created_at: Timestamp,
    /// When it or its quota was last changed.
    pub updated_at: Timestamp,
}

impl Tenant {
    /// The role of those who belong to it.
    pub fn role(&self) -> &Name {
        self.id.role()
    }

    /// The pattern of its keys.
    pub fn namespace(&self) -> String {
        format!("{}:*", self.id)
    }

    fn of(info: TenantInfo, view: &ReadView) -> Self {
        let (quota, usage) = of_namespace(view, info.id.namespace());
        Self {
            id: info.id,
            name: info.name,
            quota,
            usage,
            created_at: info.created_at,
            updated_at: info.updated_at,
        }
    }
}

/// What a tenant takes: exactly what its keys are at that revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TenantUsage {
    /// Its keys.
    pub keys: u64,
    /// The bytes of its keys, and of their values as they are stored.
    pub storage_bytes: u64,
    /// How many writes it could make at once; `None`: as many as it wants.
    pub operations_left: Option<u64>,
    /// Whether keys of an earlier tenant of this id are still being deleted; until they are gone it takes no writes.
    pub is_emptying: bool,
}

fn of_namespace(view: &ReadView, namespace: &[u8]) -> (Quota, TenantUsage) {
    let status = view.namespace(namespace);
    let Usage { keys, bytes, .. } = view.usage(namespace);
    let usage = TenantUsage {
        keys,
        storage_bytes: bytes,
        operations_left: operations_left(view, namespace),
        is_emptying: status.is_emptying,
    };
    (status.quota.into(), usage)
}

/// The tenants of a cluster: see [`Concord::tenants`].
#[derive(Clone, Copy, Debug)]
pub struct Tenants<'a> {
    concord: &'a Concord,
}

impl Concord {
    /// The tenants that share this store.
    ///
    /// ```
    /// use concord_server::tenants::Limit;
    /// use concord_server::{Concord, Config, Error, ErrorKind};
    ///
    /// # async fn example(db: &Concord) -> Result<(), Error> {
    /// db.tenants().create("acme").max_keys(2).max_ops_per_sec(Limit::Unlimited).await?;
    /// let token = db.create_token().role("tenant_acme").await?;
    ///
    /// let acme = db.as_principal(token.secret.expose());
    /// acme.put("acme:a", "1").await?;
    /// acme.put("acme:b", "2").await?;
    /// let refused = acme.put("acme:c", "3").await.unwrap_err();
    /// assert_eq!(refused.kind(), ErrorKind::QuotaExceeded);
    /// let foreign = acme.get("other:a").await.unwrap_err();
    /// assert_eq!(foreign.kind(), ErrorKind::Forbidden);
    ///
    /// assert_eq!(db.tenants().usage("acme").await?.keys, 2);
    /// db.tenants().update("acme").max_keys(3).await?;
    /// acme.put("acme:c", "3").await?;
    /// db.tenants().delete("acme").with_keys().await?;
    /// # Ok(())
    /// # }
    /// # let directory = std::env::temp_dir().join(format!("concord-doc-tenants-{}", std::process::id()));
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// #     let db = Concord::open(Config::at(&directory)).await.unwrap();
    /// #     example(&db).await.unwrap();
    /// #     db.shutdown().await.unwrap();
    /// # });
    /// # std::fs::remove_dir_all(directory).unwrap();
    /// ```
    pub fn tenants(&self) -> Tenants<'_> {
        Tenants { concord: self }
    }
}

impl<'a> Tenants<'a> {
    /// Makes a tenant with its role and its quotas, which are those of [`Quota::INITIAL`] unless they are given. Keys that
    /// are in its namespace already are its own.
    ///
    /// # Errors
    ///
    /// `invalid_request` for an id that is none or is reserved, `already_exists`, `quota_exceeded` if there are too
    /// many tenants; `forbidden`; else as [`Concord::put`].
    pub fn create(&self, id: impl Into<String>) -> CreateTenant<'a> {
        CreateTenant {
            concord: self.concord,
            id: id.into(),
            name: None,
            quota: Quota::INITIAL,
        }
    }

    /// A tenant with its quotas and what it takes.
    ///
    /// # Errors
    ///
    /// `not_found`, `forbidden`; else as [`Concord::get`].
    pub async fn get(&self, id: &str) -> Result<Tenant, Error> {
        let id = tenant_id(id)?;
        let seen = self.look().await?;
        Ok(Tenant::of(policy(&seen).tenant(&id)?, seen.view()))
    }

    /// Tenants in the order of their ids behind `after`, up to 1,000.
    ///
    /// # Errors
    ///
    /// `forbidden`; else as [`Concord::get`].
    pub async fn list(&self, after: Option<&str>) -> Result<Vec<Tenant>, Error> {
        let after = after.map(tenant_id).transpose()?;
        let seen = self.look().await?;
        page(&seen, after.as_ref())
    }

    /// Changes quotas of a tenant: those that are given, the others stay. What it takes and what it has asked stays counted.
    ///
    /// # Errors
    ///
    /// `not_found`, `forbidden`; else as [`Concord::put`].
    pub fn update(&self, id: impl Into<String>) -> UpdateTenant<'a> {
        UpdateTenant {
            concord: self.concord,
            id: id.into(),
            change: QuotaChange::default(),
        }
    }

    /// Removes a tenant with its role and quotas. Its keys stay, unless that is [asked for](DeleteTenant::with_keys); its tokens
    /// stay too, without what its role gave them.
    ///
    /// # Errors
    ///
    /// `not_found`, `forbidden`; else as [`Concord::put`].
    pub fn delete(&self, id: impl Into<String>) -> DeleteTenant<'a> {
        DeleteTenant {
            concord: self.concord,
            id: id.into(),
            delete_keys: false,
        }
    }

    /// What a tenant takes. Also for whoever may read all of its keys, such as itself.
    ///
    /// # Errors
    ///
    /// `not_found`, `forbidden`; else as [`Concord::get`].
    pub async fn usage(&self, id: &str) -> Result<TenantUsage, Error> {
        Ok(self.quota_and_usage(id).await?.1)
    }

    /// The same, with its quotas.
    ///
    /// # Errors
    ///
    /// As [`Tenants::usage`].
    pub async fn quota_and_usage(&self, id: &str) -> Result<(Quota, TenantUsage), Error> {
        let id = tenant_id(id)?;
        let keys = KeyRange::prefix([id.namespace(), b":"].concat());
        let plan = self.concord.read_plan();
        let now = self
            .concord
            .service()
            .read_now(self.concord.caller(), &Read::Usage(&keys), &plan);
        let seen = match now {
            Some(seen) => seen?,
            None => {
                let (_, seen) = self
                    .concord
                    .service()
                    .read(self.concord.caller(), keys, |keys| Read::Usage(keys), &plan)
                    .await?;
                seen
            }
        };
        policy(&seen).tenant(&id)?;
        Ok(of_namespace(seen.view(), id.namespace()))
    }

    /// What all tenants take at one revision, to be billed by. However many there are: they are looked up when they
    /// are asked for.
    ///
    /// # Errors
    ///
    /// `forbidden`; else as [`Concord::get`].
    pub async fn export(&self) -> Result<TenantExport, Error> {
        let seen = self.look().await?;
        Ok(TenantExport {
            seen,
            page: Vec::new().into_iter(),
            after: None,
            is_over: false,
        })
    }

    async fn look(&self) -> Result<Seen, Error> {
        self.concord
            .look(|()| Read::Policy, &self.concord.read_plan())
            .await
    }
}

fn policy(seen: &Seen) -> Policy<&ReadView> {
    Policy::of(seen.view())
}

fn page(seen: &Seen, after: Option<&TenantId>) -> Result<Vec<Tenant>, Error> {
    let found = policy(seen).tenants(after, PAGE_MAX)?;
    let tenants = found.into_iter().map(|info| Tenant::of(info, seen.view()));
    Ok(tenants.collect())
}

fn tenant_id(text: &str) -> Result<TenantId, Error> {
    Ok(TenantId::new(text)?)
}

impl From<InvalidTenantId> for Error {
    fn from(invalid: InvalidTenantId) -> Self {
        Self::invalid_request(invalid.to_string())
    }
}

/// All tenants at one revision, in the order of their ids: see [`Tenants::export`].
#[derive(Debug)]
pub struct TenantExport {
    seen: Seen,
    page: std::vec::IntoIter<Tenant>,
    after: Option<TenantId>,
    is_over: bool,
}

impl TenantExport {
    /// The revision at which it is so.
    pub fn revision(&self) -> Revision {
        self.seen.view().revision()
    }

    /// The time of the cluster's clock then.
    pub fn at(&self) -> Timestamp {
        self.seen.view().now()
    }

    fn turn(&mut self) -> Result<(), Error> {
        let tenants = page(&self.seen, self.after.as_ref())?;
        self.is_over = tenants.len() < PAGE_MAX;
        self.after = tenants.last().map(|tenant| tenant.id.clone());
        self.page = tenants.into_iter();
        Ok(())
    }
}

impl Iterator for TenantExport {
    type Item = Result<Tenant, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.page.len() == 0
            && !self.is_over
            && let Err(unreadable) = self.turn()
        {
            self.is_over = true;
            return Some(Err(unreadable));
        }
        self.page.next().map(Ok)
    }
}

/// Quotas that are to be changed.
#[derive(Clone, Copy, Debug, Default)]
struct QuotaChange {
    keys: Option<Limit>,
    storage_bytes: Option<Limit>,
    ops_per_sec: Option<Limit>,
}

impl QuotaChange {
    fn of(self, quota: Quota) -> Quota {
        Quota {
            max_keys: self.keys.unwrap_or(quota.max_keys),
            max_storage_bytes: self.storage_bytes.unwrap_or(quota.max_storage_bytes),
            max_ops_per_sec: self.ops_per_sec.unwrap_or(quota.max_ops_per_sec),
        }
    }
}

/// A tenant to be made by awaiting this: see [`Tenants::create`].
#[derive(Clone, Debug)]
#[must_use = "nothing happens until it is awaited"]
pub struct CreateTenant<'a> {
    concord: &'a Concord,
    id: String,
    name: Option<String>,
    quota: Quota,
}

impl CreateTenant<'_> {
    /// What it is called; its id, if that is not said.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// How many keys it may have.
    pub fn max_keys(mut self, limit: impl Into<Limit>) -> Self {
        self.quota.max_keys = limit.into();
        self
    }

    /// How many bytes its keys and their stored values may have.
    pub fn max_storage_bytes(mut self, limit: impl Into<Limit>) -> Self {
        self.quota.max_storage_bytes = limit.into();
        self
    }

    /// How many requests a second its tokens may make together.
    pub fn max_ops_per_sec(mut self, limit: impl Into<Limit>) -> Self {
        self.quota.max_ops_per_sec = limit.into();
        self
    }

    /// All quotas at once.
    pub fn quota(mut self, quota: Quota) -> Self {
        self.quota = quota;
        self
    }

    async fn create(self) -> Result<Revision, Error> {
        let id = TenantId::new(self.id)?;
        let name = self.name.map(Name::new).transpose()?;
        let quota = NamespaceQuota::from(self.quota);
        let (service, caller) = (self.concord.service(), self.concord.caller());
        let made = service.change_policy(
            caller,
            |policy, now| {
                let new = NewTenant {
                    id: id.clone(),
                    name: name.clone(),
                    quota,
                    now,
                };
                Ok((policy.create_tenant(&new)?, ()))
            },
            self.concord.request_timeout(),
        );
        Ok(made.await?.1)
    }
}

/// A tenant whose quotas are changed by awaiting this: see [`Tenants::update`].
#[derive(Clone, Debug)]
#[must_use = "nothing happens until it is awaited"]
pub struct UpdateTenant<'a> {
    concord: &'a Concord,
    id: String,
    change: QuotaChange,
}

impl UpdateTenant<'_> {
    /// How many keys it may have. Fewer than it has: it gets no more.
    pub fn max_keys(mut self, limit: impl Into<Limit>) -> Self {
        self.change.keys = Some(limit.into());
        self
    }

    /// How many bytes its keys and their stored values may have. Fewer than it has: it gets no more.
    pub fn max_storage_bytes(mut self, limit: impl Into<Limit>) -> Self {
        self.change.storage_bytes = Some(limit.into());
        self
    }

    /// How many requests a second its tokens may make together.
    pub fn max_ops_per_sec(mut self, limit: impl Into<Limit>) -> Self {
        self.change.ops_per_sec = Some(limit.into());
        self
    }

    /// All quotas at once.
    pub fn quota(self, quota: Quota) -> Self {
        self.max_keys(quota.max_keys)
            .max_storage_bytes(quota.max_storage_bytes)
            .max_ops_per_sec(quota.max_ops_per_sec)
    }

    async fn update(self) -> Result<Revision, Error> {
        let id = TenantId::new(self.id)?;
        let change = self.change;
        let (service, caller) = (self.concord.service(), self.concord.caller());
        let made = service.change_policy(
            caller,
            |policy, now| {
                // By the view that the policy is of, so that two changes at once are both made.
                let before = policy.records().namespace(id.namespace()).quota;
                let after = change.of(before.into());
                Ok((policy.update_tenant(&id, after.into(), now)?, ()))
            },
            self.concord.request_timeout(),
        );
        Ok(made.await?.1)
    }
}

/// A tenant that is removed by awaiting this: see [`Tenants::delete`].
#[derive(Clone, Debug)]
#[must_use = "nothing happens until it is awaited"]
pub struct DeleteTenant<'a> {
    concord: &'a Concord,
    id: String,
    delete_keys: bool,
}

impl DeleteTenant<'_> {
    /// Deletes its keys too: a thousand at a revision, behind this one. Until all are gone nobody writes there, and
    /// readers see those that are left.
    pub fn with_keys(mut self) -> Self {
        self.delete_keys = true;
        self
    }

    async fn delete(self) -> Result<Revision, Error> {
        let id = TenantId::new(self.id)?;
        let delete_keys = self.delete_keys;
        let (service, caller) = (self.concord.service(), self.concord.caller());
        let made = service.change_policy(
            caller,
            |policy, _| Ok((policy.delete_tenant(&id, delete_keys)?, ())),
            self.concord.request_timeout(),
        );
        Ok(made.await?.1)
    }
}

impl<'a> IntoFuture for CreateTenant<'a> {
    type Output = Result<Revision, Error>;
    type IntoFuture = Operation<'a, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Operation::waiting(self.create())
    }
}

impl<'a> IntoFuture for UpdateTenant<'a> {
    type Output = Result<Revision, Error>;
    type IntoFuture = Operation<'a, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Operation::waiting(self.update())
    }
}

impl<'a> IntoFuture for DeleteTenant<'a> {
    type Output = Result<Revision, Error>;
    type IntoFuture = Operation<'a, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Operation::waiting(self.delete())
    }
}
