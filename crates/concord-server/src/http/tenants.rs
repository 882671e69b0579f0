//! Tenants: who shares the store, with how much of it, and what they use.

mod export;
mod limit;

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::access::{AfterParams, ChangedBody, NoIdempotencyKey, next_of};
use super::answer::ok;
use super::app::App;
use super::body::Json;
use super::condition::NoConditions;
use super::docs::{ReadRefusals, WriteRefusals};
use super::error::{ApiError, ApiResult};
use super::hold::PathName;
use super::query::{NoQuery, Query};
use crate::tenants::{Limit, Quota, Tenant, TenantId, TenantUsage};

pub(super) use self::export::__path_export;
pub(super) use self::export::export;

/// A tenant to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateTenantBody {
    /// Its id: 1 to 121 of the characters `A-Z a-z 0-9 _ - . @`, a letter or digit first. Its keys begin with this and a `:`.
    id: String,
    /// What it is called; its id, if this is missing.
    #[serde(default)]
    name: Option<String>,
    /// How many keys it may have: a whole number or "unlimited"; 10,000 if missing.
    #[serde(default, deserialize_with = "limit::given")]
    #[schema(value_type = Option<Object>)]
    max_keys: Option<Limit>,
    /// How many bytes its keys and stored values may have: a whole number or "unlimited"; 100,000,000 if missing.
    #[serde(default, deserialize_with = "limit::given")]
    #[schema(value_type = Option<Object>)]
    max_storage_bytes: Option<Limit>,
    /// How many requests a second its tokens may make together: a whole number or "unlimited"; 1,000 if missing.
    #[serde(default, deserialize_with = "limit::given")]
    #[schema(value_type = Option<Object>)]
    max_ops_per_sec: Option<Limit>,
}

/// Quotas to be changed; those that are missing stay.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct UpdateTenantBody {
    /// How many keys it may have: a whole number or "unlimited".
    #[serde(default, deserialize_with = "limit::given")]
    #[schema(value_type = Option<Object>)]
    max_keys: Option<Limit>,
    /// How many bytes its keys and stored values may have: a whole number or "unlimited".
    #[serde(default, deserialize_with = "limit::given")]
    #[schema(value_type = Option<Object>)]
    max_storage_bytes: Option<Limit>,
    /// How many requests a second its tokens may make together: a whole number or "unlimited".
    #[serde(default, deserialize_with = "limit::given")]
    #[schema(value_type = Option<Object>)]
    max_ops_per_sec: Option<Limit>,
}

/// How much a tenant may take.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct QuotaBody {
    /// Keys: a number or "unlimited".
    #[serde(serialize_with = "limit::shown")]
    #[schema(value_type = Object)]
    max_keys: Limit,
    /// Bytes of keys and stored values: a number or "unlimited".
    #[serde(serialize_with = "limit::shown")]
    #[schema(value_type = Object)]
    max_storage_bytes: Limit,
    /// Requests a second: a number or "unlimited".
    #[serde(serialize_with = "limit::shown")]
    #[schema(value_type = Object)]
    max_ops_per_sec: Limit,
}

/// What a tenant takes.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct UsageBody {
    /// Its keys.
    keys: u64,
    /// The bytes of its keys, and of their values as they are stored.
    storage_bytes: u64,
    /// How many writes it could make at once; null: as many as it wants.
    operations_left: Option<u64>,
    /// Whether keys of an earlier tenant of this id are still being deleted; until they are gone it takes no writes.
    emptying: bool,
}

/// What a tenant takes, and may take.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct UsageAnswer {
    /// Its id.
    id: String,
    /// How much it may take.
    quota: QuotaBody,
    /// What it takes.
    usage: UsageBody,
}

/// A tenant.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TenantBody {
    /// Its id.
    id: String,
    /// What it is called.
    name: String,
    /// The pattern of its keys.
    namespace: String,
    /// The role of those who belong to it.
    role: String,
    /// How much it may take.
    quota: QuotaBody,
    /// What it takes.
    usage: UsageBody,
    /// When it was made: milliseconds since the Unix epoch, by the cluster's clock.
    created_at: u64,
    /// When it or its quotas were last changed.
    updated_at: u64,
}

/// Tenants.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TenantsBody {
    /// In the order of their ids.
    tenants: Vec<TenantBody>,
    /// `after` of the next page; null: this was the last.
    next: Option<String>,
}

/// A tenant that was made.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CreatedTenantBody {
    /// Its id.
    id: String,
    /// The pattern of its keys.
    namespace: String,
    /// The role to give to its tokens.
    role: String,
    /// How much it may take.
    quota: QuotaBody,
}

/// What becomes of the keys.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(crate) struct DeleteTenantParams {
    /// `true`: its keys are deleted too. They stay if this is missing.
    delete_keys: bool,
}

impl QuotaBody {
    fn new(quota: Quota) -> Self {
        Self {
            max_keys: quota.max_keys,
            max_storage_bytes: quota.max_storage_bytes,
            max_ops_per_sec: quota.max_ops_per_sec,
        }
    }
}

impl UsageBody {
    fn new(usage: TenantUsage) -> Self {
        Self {
            keys: usage.keys,
            storage_bytes: usage.storage_bytes,
            operations_left: usage.operations_left,
            emptying: usage.is_emptying,
        }
    }
}

impl TenantBody {
    fn new(tenant: &Tenant) -> Self {
        Self {
            id: tenant.id.to_string(),
            name: tenant.name.to_string(),
            namespace: tenant.namespace(),
            role: tenant.role().to_string(),
            quota: QuotaBody::new(tenant.quota),
            usage: UsageBody::new(tenant.usage),
            created_at: tenant.created_at.get(),
            updated_at: tenant.updated_at.get(),
        }
    }
}

/// Makes a tenant: its namespace, its role and its quotas, by one command. Tokens belong to it that have its role.
#[utoipa::path(
    post, path = "/api/v1/tenants", tag = "tenants",
    request_body = CreateTenantBody,
    responses(
        (status = 200, description = "It exists", body = super::answer::Ok<CreatedTenantBody>),
        WriteRefusals))]
pub(crate) async fn create(
    app: App,
    _: NoQuery,
    _: NoConditions,
    _: NoIdempotencyKey,
    Json(body): Json<CreateTenantBody>,
) -> ApiResult {
    let quota = Quota {
        max_keys: body.max_keys.unwrap_or(Quota::INITIAL.max_keys),
        max_storage_bytes: body.max_storage_bytes.unwrap_or(Quota::INITIAL.max_storage_bytes),
        max_ops_per_sec: body.max_ops_per_sec.unwrap_or(Quota::INITIAL.max_ops_per_sec),
    };
    let id = TenantId::new(body.id).map_err(|invalid| in_field("id", &invalid))?;
    let mut create = app.concord.tenants().create(id.as_str()).quota(quota);
    if let Some(name) = body.name {
        let name = crate::tenants::Name::new(name).map_err(|invalid| in_field("name", &invalid))?;
        create = create.name(name.as_str());
    }
    let revision = create.await?;
    let made = CreatedTenantBody {
        namespace: format!("{id}:*"),
        role: id.role().to_string(),
        id: id.to_string(),
        quota: QuotaBody::new(quota),
    };
    ok(made, revision)
}

fn in_field(field: &str, invalid: &dyn std::fmt::Display) -> ApiError {
    ApiError::invalid_request(format!("field `{field}` is invalid: {invalid}"))
        .with("field", field.to_owned())
}

/// Tenants with their quotas and what they take.
#[utoipa::path(
    get, path = "/api/v1/tenants", tag = "tenants",
    params(AfterParams),
    responses(
        (status = 200, description = "Up to 1,000 tenants", body = super::answer::Ok<TenantsBody>),
        ReadRefusals))]
pub(crate) async fn list(app: App, Query(params, ..): Query<AfterParams>) -> ApiResult {
    let tenants = app.concord.tenants().list(params.after.as_deref()).await?;
    let body = TenantsBody {
        next: next_of(&tenants, |tenant| tenant.id.to_string()),
        tenants: tenants.iter().map(TenantBody::new).collect(),
    };
    ok(body, app.concord.revision())
}

/// A tenant with its quotas and what it takes.
#[utoipa::path(
    get, path = "/api/v1/tenants/{id}", tag = "tenants",
    params(("id" = String, Path, description = "Its id")),
    responses(
        (status = 200, description = "The tenant", body = super::answer::Ok<TenantBody>),
        ReadRefusals))]
pub(crate) async fn show(app: App, PathName(id): PathName, _: NoQuery) -> ApiResult {
    let tenant = app.concord.tenants().get(&id).await?;
    ok(TenantBody::new(&tenant), app.concord.revision())
}

/// Changes quotas of a tenant. What it takes, and what it has asked, stays counted.
#[utoipa::path(
    patch, path = "/api/v1/tenants/{id}", tag = "tenants",
    params(("id" = String, Path, description = "Its id")),
    request_body = UpdateTenantBody,
    responses(
        (status = 200, description = "They hold", body = super::answer::Ok<ChangedBody>),
        WriteRefusals))]
pub(crate) async fn update(
    app: App,
    PathName(id): PathName,
    _: NoQuery,
    _: NoConditions,
    _: NoIdempotencyKey,
    Json(body): Json<UpdateTenantBody>,
) -> ApiResult {
    let mut update = app.concord.tenants().update(id);
    if let Some(limit) = body.max_keys {
        update = update.max_keys(limit);
    }
    if let Some(limit) = body.max_storage_bytes {
        update = update.max_storage_bytes(limit);
    }
    if let Some(limit) = body.max_ops_per_sec {
        update = update.max_ops_per_sec(limit);
    }
    let revision = update.await?;
    ok(ChangedBody::new(), revision)
}

/// Removes a tenant with its role and quotas. Its keys stay unless that is asked for; its tokens stay, without its role.
#[utoipa::path(
    delete, path = "/api/v1/tenants/{id}", tag = "tenants",
    params(("id" = String, Path, description = "Its id"), DeleteTenantParams),
    responses(
        (status = 200, description = "It does not exist", body = super::answer::Ok<ChangedBody>),
        WriteRefusals))]
pub(crate) async fn remove(
    app: App,
    PathName(id): PathName,
    Query(params, ..): Query<DeleteTenantParams>,
    _: NoConditions,
    _: NoIdempotencyKey,
) -> ApiResult {
    let delete = app.concord.tenants().delete(id);
    let delete = if params.delete_keys {
        delete.with_keys()
    } else {
        delete
    };
    let revision = delete.await?;
    ok(ChangedBody::new(), revision)
}

/// What a tenant takes, and may take. Also for whoever may read all of its keys, such as itself.
#[utoipa::path(
    get, path = "/api/v1/tenants/{id}/usage", tag = "tenants",
    params(("id" = String, Path, description = "Its id")),
    responses(
        (status = 200, description = "What its keys are now", body = super::answer::Ok<UsageAnswer>),
        ReadRefusals))]
pub(crate) async fn usage(app: App, PathName(id): PathName, _: NoQuery) -> ApiResult {
    let (quota, usage) = app.concord.tenants().quota_and_usage(&id).await?;
    let answer = UsageAnswer {
        id,
        quota: QuotaBody::new(quota),
        usage: UsageBody::new(usage),
    };
    ok(answer, app.concord.revision())
}
