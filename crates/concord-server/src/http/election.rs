//! Elections.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::answer::ok;
use super::app::{App, ReadParams};
use super::body::Json;
use super::condition::NoConditions;
use super::docs::{ReadRefusals, WriteRefusals};
use super::error::ApiResult;
use super::hold::{
    self, HolderBody, LeaseOfBody, LeaseOfParams, NamesParams, NoIdempotencyKey, PathName, Wish,
};
use super::query::{NoQuery, Nothing, Query};
use super::value::{Format, value_of};
use crate::error::{Error, ErrorKind};
use crate::recipes::{Application, Kind, Place};
use crate::txn::key;

/// A candidate.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CampaignBody {
    /// What others see of the leader: a string is text, anything else a document.
    #[schema(value_type = Object)]
    value: Box<RawValue>,
    /// What the value is kept as, if not so.
    #[serde(default)]
    format: Option<Format>,
    /// How long the candidate lives without being kept alive: whole seconds, or a text such as "30s"; 10 s if missing.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    ttl: Option<Box<RawValue>>,
    /// A lease of the caller's to stand by, instead of one that is made for it. It stays a candidate when the wait is
    /// over, and who asks again gets on.
    #[serde(default)]
    lease: Option<u64>,
    /// How long to wait for the victory, such as "30s", up to "10m"; missing: not at all.
    #[serde(default)]
    wait: Option<String>,
}

/// Stands for election. 412 `condition_failed`: somebody else leads, whose lease and token are in `holder` and `token` of the
/// details.
#[utoipa::path(
    post, path = "/api/v1/elections/{name}", tag = "elections",
    params(("name" = String, Path, description = "The name, percent-encoded")),
    request_body = CampaignBody,
    responses(
        (status = 200, description = "It is won", body = super::answer::Ok<hold::HeldBody>),
        WriteRefusals))]
pub(crate) async fn campaign(
    app: App,
    PathName(name): PathName,
    _: NoQuery,
    _: NoConditions,
    _: NoIdempotencyKey,
    Json(body): Json<CampaignBody>,
) -> ApiResult {
    let wish = Wish {
        value: value_of(&body.value, body.format)?,
        ttl: body.ttl,
        lease: body.lease,
        wait: body.wait,
    };
    hold::take(&app, Kind::Election, name, wish).await
}

/// What a leader says.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ProclaimBody {
    /// The lease of the leader.
    lease: u64,
    /// What others see of it from now on: a string is text, anything else a document.
    #[schema(value_type = Object)]
    value: Box<RawValue>,
    /// What the value is kept as, if not so.
    #[serde(default)]
    format: Option<Format>,
}

/// The answer to a proclamation.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ProclaimedBody {
    /// The revision of the write.
    revision: u64,
}

/// Changes what others see of the leader, if it leads: else 412 `condition_failed`.
#[utoipa::path(
    put, path = "/api/v1/elections/{name}", tag = "elections",
    params(("name" = String, Path, description = "The name, percent-encoded")),
    request_body = ProclaimBody,
    responses(
        (status = 200, description = "Everybody will see it", body = super::answer::Ok<ProclaimedBody>),
        WriteRefusals))]
pub(crate) async fn proclaim(
    app: App,
    PathName(name): PathName,
    _: NoQuery,
    _: NoConditions,
    _: NoIdempotencyKey,
    Json(body): Json<ProclaimBody>,
) -> ApiResult {
    let value = value_of(&body.value, body.format)?;
    let lease = hold::lease_id(body.lease)?;
    let application = Application::new(&app.concord, Place::new(Kind::Election, name.clone()));
    let leader = application.line().await?.into_first();
    let not_leading = || {
        let message = format!("lease {lease} does not lead `{name}`");
        Error::new(ErrorKind::ConditionFailed, message).with("lease", lease.get())
    };
    let leader = leader
        .filter(|leader| leader.lease == lease)
        .ok_or_else(not_leading)?;
    // Who is first stays first until its key goes.
    let leads = key(&leader.key).create_revision().is(leader.token);
    let put = key(&leader.key).put(value).lease(lease);
    let done = app.concord.txn().when(leads).then(put).await?;
    if !done.succeeded {
        return Err(not_leading().into());
    }
    let answer = ProclaimedBody {
        revision: done.revision.get(),
    };
    ok(answer, done.revision)
}

/// Lets a candidate live for its whole time again.
#[utoipa::path(
    post, path = "/api/v1/elections/{name}/keep_alive", tag = "elections",
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
    hold::keep_alive(&app, Kind::Election, &name, body.lease).await
}

/// Resigns, or withdraws. The lease ends with it if nothing else hangs on it.
#[utoipa::path(
    delete, path = "/api/v1/elections/{name}", tag = "elections",
    params(("name" = String, Path, description = "The name, percent-encoded"), LeaseOfParams),
    responses(
        (status = 200, description = "It is no candidate any more", body = super::answer::Ok<hold::ReleasedBody>),
        WriteRefusals))]
pub(crate) async fn resign(
    app: App,
    PathName(name): PathName,
    Query(params, ..): Query<LeaseOfParams>,
    _: NoConditions,
    _: NoIdempotencyKey,
) -> ApiResult {
    let held = Place::new(Kind::Election, name.clone())?.key("", hold::lease_id(params.lease)?);
    hold::release(&app, &name, &held, params.lease).await
}

/// Who leads, and who would follow.
#[utoipa::path(
    get, path = "/api/v1/elections/{name}", tag = "elections",
    params(("name" = String, Path, description = "The name, percent-encoded"), ReadParams),
    responses(
        (status = 200, description = "The candidates; also of an election without any", body = super::answer::Ok<hold::LineBody>),
        ReadRefusals))]
pub(crate) async fn show(
    app: App,
    PathName(name): PathName,
    Query(Nothing {}, common, _): Query<Nothing, ReadParams>,
) -> ApiResult {
    hold::show(&app, Kind::Election, name, &common).await
}

/// Elections that somebody leads, in order of their names.
#[utoipa::path(
    get, path = "/api/v1/elections", tag = "elections",
    params(NamesParams, ReadParams),
    responses(
        (status = 200, description = "A page", body = super::answer::Ok<hold::NamesAnswer>),
        ReadRefusals))]
pub(crate) async fn list(app: App, Query(params, common, _): Query<NamesParams, ReadParams>) -> ApiResult {
    hold::names(&app, Kind::Election, params, &common).await
}

/// The leader, as an event has it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LeaderBody<'a> {
    /// Who leads; null: nobody.
    leader: Option<HolderBody<'a>>,
}

/// Follows the leader: a stream of `leader` events, the first with the leader of now, and a `progress` event as a sign of life.
#[utoipa::path(
    get, path = "/api/v1/elections/{name}/observe", tag = "elections",
    params(("name" = String, Path, description = "The name, percent-encoded")),
    responses(
        (status = 200, description = "Events, until the client is gone", body = LeaderBody, content_type = "text/event-stream"),
        ReadRefusals))]
pub(crate) async fn observe(app: App, PathName(name): PathName, _: NoQuery) -> ApiResult {
    let leaders = app.concord.election(name).observe()?;
    let show = |leader: &Option<crate::recipes::Holder>| {
        let body = LeaderBody {
            leader: leader.as_ref().map(HolderBody::new),
        };
        serde_json::to_vec(&body).unwrap_or_default()
    };
    Ok(hold::stream_of("leader", leaders, app.concord.revision(), show))
}
