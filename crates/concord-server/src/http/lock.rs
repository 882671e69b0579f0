//! Locks.

use concord_core::value::Value;
use serde::Deserialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::app::{App, ReadParams};
use super::body::{Json, MaybeJson};
use super::condition::NoConditions;
use super::docs::{ReadRefusals, WriteRefusals};
use super::error::ApiResult;
use super::hold::{self, LeaseOfBody, LeaseOfParams, NamesParams, NoIdempotencyKey, PathName, Wish};
use super::query::{NoQuery, Nothing, Query};
use crate::recipes::{Kind, Place};

/// How a lock is wanted.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct AcquireBody {
    /// How long the holder lives without being kept alive: whole seconds, or a text such as "30s"; 10 s if missing.
    #[schema(value_type = Option<Object>)]
    ttl: Option<Box<RawValue>>,
    /// A lease of the caller's to hold it by, instead of one that is made for it. Its place in the line stays
    /// when the wait is over, and who asks again gets on in it.
    lease: Option<u64>,
    /// How long to wait for it, such as "30s", up to "10m"; missing: not at all.
    wait: Option<String>,
    /// What others see of the holder.
    owner: String,
}

/// Takes a lock, at once or after those who came before. 412 `condition_failed`: somebody else holds it, whose lease and
/// token are in `holder` and `token` of the details.
#[utoipa::path(
    post, path = "/api/v1/locks/{name}", tag = "locks",
    params(("name" = String, Path, description = "The name, percent-encoded")),
    request_body(content = AcquireBody, description = "May be empty"),
    responses(
        (status = 200, description = "It is held", body = super::answer::Ok<hold::HeldBody>),
        WriteRefusals))]
pub(crate) async fn acquire(
    app: App,
    PathName(name): PathName,
    _: NoQuery,
    _: NoConditions,
    _: NoIdempotencyKey,
    MaybeJson(body): MaybeJson<AcquireBody>,
) -> ApiResult {
    let wish = Wish {
        ttl: body.ttl,
        lease: body.lease,
        wait: body.wait,
        value: Value::text(body.owner),
    };
    hold::take(&app, Kind::Lock, name, wish).await
}

/// Lets a holder, or one who waits, live for its whole time again.
#[utoipa::path(
    post, path = "/api/v1/locks/{name}/keep_alive", tag = "locks",
    params(("name" = String, Path, description = "The name, percent-encoded")),
    request_body = LeaseOfBody,
    responses(
        (status = 200, description = "It lives on", body = super::answer::Ok<hold::HeldBody>),
        WriteRefusals))]
pub(crate) async fn keep_alive(
    app: App,
    PathName(name): PathName,
    _: NoQuery,
    _: NoConditions,
    _: NoIdempotencyKey,
    Json(body): Json<LeaseOfBody>,
) -> ApiResult {
    hold::keep_alive(&app, Kind::Lock, &name, body.lease).await
}

/// Releases a lock, or leaves its line. The lease ends with it if nothing else hangs on it.
#[utoipa::path(
    delete, path = "/api/v1/locks/{name}", tag = "locks",
    params(("name" = String, Path, description = "The name, percent-encoded"), LeaseOfParams),
    responses(
        (status = 200, description = "It is released", body = super::answer::Ok<hold::ReleasedBody>),
        WriteRefusals))]
pub(crate) async fn release(
    app: App,
    PathName(name): PathName,
    Query(params, ..): Query<LeaseOfParams>,
    _: NoConditions,
    _: NoIdempotencyKey,
) -> ApiResult {
    let held = Place::new(Kind::Lock, name.clone())?.key("", hold::lease_id(params.lease)?);
    hold::release(&app, &name, &held, params.lease).await
}

/// Who holds a lock, and who waits for it.
#[utoipa::path(
    get, path = "/api/v1/locks/{name}", tag = "locks",
    params(("name" = String, Path, description = "The name, percent-encoded"), ReadParams),
    responses(
        (status = 200, description = "The line; also of a lock that nobody holds", body = super::answer::Ok<hold::LineBody>),
        ReadRefusals))]
pub(crate) async fn show(
    app: App,
    PathName(name): PathName,
    Query(Nothing {}, common, _): Query<Nothing, ReadParams>,
) -> ApiResult {
    hold::show(&app, Kind::Lock, name, &common).await
}

/// Locks that somebody holds, in order of their names.
#[utoipa::path(
    get, path = "/api/v1/locks", tag = "locks",
    params(NamesParams, ReadParams),
    responses(
        (status = 200, description = "A page", body = super::answer::Ok<hold::NamesAnswer>),
        ReadRefusals))]
pub(crate) async fn list(app: App, Query(params, common, _): Query<NamesParams, ReadParams>) -> ApiResult {
    hold::names(&app, Kind::Lock, params, &common).await
}
