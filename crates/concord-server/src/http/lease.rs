//! Leases.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use concord_core::Key;
use concord_core::ids::{LeaseId, Timestamp};
use concord_core::limits::SCAN_PAGE_RECORDS_MAX;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};

use super::answer::ok;
use super::app::{App, ReadParams, WriteParams};
use super::body::{self, Json};
use super::condition::NoConditions;
use super::docs::{ReadRefusals, WriteRefusals};
use super::error::{ApiError, ApiResult};
use super::once::Once;
use super::query::{Nothing, Query};
use super::scan::limit;
use crate::concord::Leased;
use crate::limits::SCAN_PAGE_DEFAULT;

/// Where leases begin in a path.
const LEASES: &str = "/api/v1/leases/";

/// The id of a lease in a path.
#[derive(Debug)]
pub(crate) struct PathLease(LeaseId);

impl<S: Sync> FromRequestParts<S> for PathLease {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> ApiResult<Self> {
        let rest = parts.uri.path().strip_prefix(LEASES).unwrap_or_default();
        let segment = rest.split('/').next().unwrap_or_default();
        match segment.parse() {
            Ok(id) if id > 0 => Ok(Self(LeaseId::new(id))),
            _ => Err(ApiError::invalid_request(format!(
                "lease must be the id of one, not `{segment:.40}`"
            ))),
        }
    }
}

/// A lease to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct GrantBody {
    /// How long it lives from each time that it is kept alive: whole seconds, or a text such as "1m30s".
    #[schema(value_type = Object)]
    ttl: Box<RawValue>,
    /// The id to have; missing: the cluster chooses one.
    #[serde(default)]
    id: Option<u64>,
}

/// A lease.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Lease)]
pub(crate) struct LeaseBody {
    /// Its id.
    id: u64,
    /// Milliseconds that it lives from each time that it is kept alive.
    ttl_ms: u64,
    /// When it ends unless it is kept alive: milliseconds since the Unix epoch, by the cluster's clock.
    expires_at: u64,
}

impl LeaseBody {
    fn new(lease: Leased) -> Self {
        Self {
            id: lease.id.get(),
            ttl_ms: u64::try_from(lease.ttl.as_millis()).unwrap_or(u64::MAX),
            expires_at: lease.expires_at.get(),
        }
    }
}

/// Makes a lease.
#[utoipa::path(
    post, path = "/api/v1/leases", tag = "leases",
    params(WriteParams),
    request_body = GrantBody,
    responses(
        (status = 200, description = "It lives", body = super::answer::Ok<LeaseBody>),
        WriteRefusals))]
pub(crate) async fn grant(
    app: App,
    Query(Nothing {}, common, _): Query<Nothing, WriteParams>,
    _: NoConditions,
    once: Once,
    Json(body): Json<GrantBody>,
) -> ApiResult {
    let mut grant = app.concord.lease_grant(body::ttl(&body.ttl)?);
    if let Some(id) = body.id {
        if id == 0 {
            return Err(ApiError::invalid_request("the id of a lease must be 1 or more"));
        }
        grant = grant.id(LeaseId::new(id));
    }
    let lease = common.shape(&app, once, grant)?.await?;
    ok(LeaseBody::new(lease), app.concord.revision())
}

/// Lets a lease live for its whole time again.
#[utoipa::path(
    post, path = "/api/v1/leases/{id}/keep_alive", tag = "leases",
    params(("id" = u64, Path, description = "The lease"), WriteParams),
    responses(
        (status = 200, description = "It lives on", body = super::answer::Ok<LeaseBody>),
        WriteRefusals))]
pub(crate) async fn keep_alive(
    app: App,
    PathLease(id): PathLease,
    Query(Nothing {}, common, _): Query<Nothing, WriteParams>,
    _: NoConditions,
    once: Once,
) -> ApiResult {
    let lease = common
        .shape(&app, once, app.concord.lease_keep_alive(id))?
        .await?;
    ok(LeaseBody::new(lease), app.concord.revision())
}

/// The end of a lease.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RevokeAnswer {
    /// The revision of the removal of its keys, or the current one if it had none.
    revision: u64,
    /// How many keys it had.
    keys: u64,
}

/// Ends a lease and removes its keys at one revision.
#[utoipa::path(
    delete, path = "/api/v1/leases/{id}", tag = "leases",
    params(("id" = u64, Path, description = "The lease"), WriteParams),
    responses(
        (status = 200, description = "It has ended", body = super::answer::Ok<RevokeAnswer>),
        WriteRefusals))]
pub(crate) async fn revoke(
    app: App,
    PathLease(id): PathLease,
    Query(Nothing {}, common, _): Query<Nothing, WriteParams>,
    _: NoConditions,
    once: Once,
) -> ApiResult {
    let revoked = common.shape(&app, once, app.concord.lease_revoke(id))?.await?;
    let answer = RevokeAnswer {
        revision: revoked.revision.get(),
        keys: revoked.keys,
    };
    ok(answer, revoked.revision)
}

#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(crate) struct KeysParams {
    /// Keys on the page, 1 to 10,000; 1,000 if missing.
    limit: Option<u64>,
    /// Go on behind an earlier page: its `next_cursor`.
    cursor: Option<String>,
}

/// A lease with its keys.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LeaseInfoBody {
    #[serde(flatten)]
    #[schema(inline)]
    lease: LeaseBody,
    /// Milliseconds that it has left.
    remaining_ms: u64,
    /// The keys that hang on it, in order.
    keys: Vec<String>,
    /// `cursor` of the next page of keys; null: this was the last.
    next_cursor: Option<String>,
}

fn remaining_ms(lease: Leased, now: Timestamp) -> u64 {
    lease.expires_at.since(now).get()
}

/// A lease and the keys that hang on it.
#[utoipa::path(
    get, path = "/api/v1/leases/{id}", tag = "leases",
    params(("id" = u64, Path, description = "The lease"), KeysParams, ReadParams),
    responses(
        (status = 200, description = "It lives", body = super::answer::Ok<LeaseInfoBody>),
        ReadRefusals))]
pub(crate) async fn info(
    app: App,
    PathLease(id): PathLease,
    Query(params, common, _): Query<KeysParams, ReadParams>,
) -> ApiResult {
    let limit = limit(params.limit, SCAN_PAGE_DEFAULT as u64, SCAN_PAGE_RECORDS_MAX)?;
    let mut info = app.concord.lease_info(id).limit(limit).plan(common.plan(&app)?);
    if let Some(cursor) = &params.cursor {
        info = info.after(last_key(cursor)?);
    }
    let found = info.await?;
    let answer = LeaseInfoBody {
        lease: LeaseBody::new(found.lease),
        remaining_ms: remaining_ms(found.lease, found.now),
        keys: found.keys.iter().map(ToString::to_string).collect(),
        next_cursor: found
            .next
            .as_ref()
            .map(|key| BASE64_URL_SAFE_NO_PAD.encode(key.as_bytes())),
    };
    ok(answer, found.revision)
}

/// Whatever the key is made of, its cursor can stand in a URL.
fn last_key(cursor: &str) -> ApiResult<Key> {
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(cursor).ok();
    let key = bytes.and_then(|bytes| Key::copy_of(&bytes).ok());
    key.ok_or_else(|| {
        ApiError::invalid_request("query parameter `cursor` must be the `next_cursor` of an earlier page")
            .with("parameter", "cursor".to_owned())
    })
}

#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListParams {
    /// Leases on the page, 1 to 10,000; 1,000 if missing.
    limit: Option<u64>,
    /// Go on behind this lease: `next` of the page before.
    after: Option<u64>,
}

/// A lease in a list.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ListedLease {
    #[serde(flatten)]
    #[schema(inline)]
    lease: LeaseBody,
    /// Milliseconds that it has left.
    remaining_ms: u64,
    /// How many keys hang on it.
    keys: u64,
}

/// Leases, in order of their ids.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ListAnswer {
    /// The leases of the page.
    leases: Vec<ListedLease>,
    /// `after` of the next page; null: this was the last.
    next: Option<u64>,
}

/// Lists leases, in order of their ids.
#[utoipa::path(
    get, path = "/api/v1/leases", tag = "leases",
    params(ListParams, ReadParams),
    responses(
        (status = 200, description = "A page", body = super::answer::Ok<ListAnswer>),
        ReadRefusals))]
pub(crate) async fn list(app: App, Query(params, common, _): Query<ListParams, ReadParams>) -> ApiResult {
    let limit = limit(params.limit, SCAN_PAGE_DEFAULT as u64, SCAN_PAGE_RECORDS_MAX)?;
    let mut list = app.concord.leases().limit(limit).plan(common.plan(&app)?);
    if let Some(after) = params.after {
        list = list.after(LeaseId::new(after));
    }
    let found = list.await?;
    let is_full = found.len() == limit;
    let answer = ListAnswer {
        leases: found
            .iter()
            .map(|(lease, keys)| ListedLease {
                lease: LeaseBody::new(*lease),
                remaining_ms: remaining_ms(*lease, found.now),
                keys: *keys,
            })
            .collect(),
        next: found.last().filter(|_| is_full).map(|(lease, _)| lease.id.get()),
    };
    ok(answer, found.revision)
}
