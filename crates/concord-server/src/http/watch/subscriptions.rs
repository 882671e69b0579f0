//! Durable subscriptions: made, shown, consumed, acknowledged.

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::request::Parts;
use concord_core::ids::Revision;
use concord_raft::ReadConsistency;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::body::ChangesBody;
use super::events::streamed;
use super::{LAST_EVENT_ID, WatchAnswer, WatchParams, answer, beginning, length, watching};
use crate::concord::SubscriptionInfo;
use crate::http::answer::ok;
use crate::http::app::{App, ReadParams, WriteParams, revision};
use crate::http::body::{Json, MaybeJson};
use crate::http::condition::NoConditions;
use crate::http::decode::percent_decode;
use crate::http::docs::{ReadRefusals, WriteRefusals};
use crate::http::error::{ApiError, ApiResult};
use crate::http::once::Once;
use crate::http::query::{Nothing, Query};
use crate::limits;

/// Where subscriptions begin in a path.
const SUBSCRIPTIONS: &str = "/api/v1/subscriptions/";

/// The name of a subscription in a path.
#[derive(Debug)]
pub(crate) struct PathSubscription(String);

impl<S: Sync> FromRequestParts<S> for PathSubscription {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> ApiResult<Self> {
        let rest = parts.uri.path().strip_prefix(SUBSCRIPTIONS).unwrap_or_default();
        let segment = rest.split('/').next().unwrap_or_default();
        let name = percent_decode(segment, false).map_err(|malformed| {
            ApiError::invalid_request(format!("subscription name {}", malformed.reason()))
        })?;
        Ok(Self(name.into_owned()))
    }
}

/// A subscription to be made. Of which keys and changes: as the parameters of `GET /watch`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateSubscriptionBody {
    /// Its name, 1 to 255 bytes.
    name: String,
    /// Only this key. One of `key`, `prefix`, `start` and `end`, `glob`, `pattern`; none: all keys.
    #[serde(default)]
    key: Option<String>,
    /// Only keys that start with this.
    #[serde(default)]
    prefix: Option<String>,
    /// Only keys from this one on, included.
    #[serde(default)]
    start: Option<String>,
    /// Only keys before this one.
    #[serde(default)]
    end: Option<String>,
    /// Only keys that match: `*` any run of characters, `?` one, `\` takes the next as it is.
    #[serde(default)]
    glob: Option<String>,
    /// Only keys in which this regular expression is found.
    #[serde(default)]
    pattern: Option<String>,
    /// Only these kinds of change, comma-separated: `put`, `delete`, `expire`.
    #[serde(default)]
    events: Option<String>,
    /// Only if this expression is true of the record that was written, or of the one that was removed.
    #[serde(default, rename = "where")]
    only_where: Option<String>,
    /// From this revision on, included; missing: from now on.
    #[serde(default)]
    from_revision: Option<u64>,
}

/// Up to where a subscription is acknowledged.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AckedAnswer {
    /// The cluster's revision.
    revision: u64,
    /// Consumers go on behind this revision.
    acked: u64,
}

impl AckedAnswer {
    fn new(acked: crate::concord::Acked) -> Self {
        Self {
            revision: acked.revision.get(),
            acked: acked.acked.get(),
        }
    }
}

/// Makes a subscription.
#[utoipa::path(
    post, path = "/api/v1/subscriptions", tag = "watch",
    params(WriteParams),
    request_body = CreateSubscriptionBody,
    responses(
        (status = 200, description = "It is made", body = crate::http::answer::Ok<AckedAnswer>),
        WriteRefusals))]
pub(crate) async fn create(
    app: App,
    Query(Nothing {}, common, _): Query<Nothing, WriteParams>,
    _: NoConditions,
    once: Once,
    Json(body): Json<CreateSubscriptionBody>,
) -> ApiResult {
    let params = WatchParams {
        key: body.key,
        prefix: body.prefix,
        start: body.start,
        end: body.end,
        glob: body.glob,
        pattern: body.pattern,
        events: body.events,
        only_where: body.only_where,
        ..WatchParams::default()
    };
    let mut watch = watching(app.concord.watch(), &params)?;
    if let Some(from) = revision("from_revision", body.from_revision)? {
        watch = watch.from_revision(from);
    }
    let create = app.concord.create_subscription(body.name, watch);
    let made = common.shape(&app, once, create)?.await?;
    ok(AckedAnswer::new(made), made.revision)
}

/// Forgets a subscription.
#[utoipa::path(
    delete, path = "/api/v1/subscriptions/{name}", tag = "watch",
    params(("name" = String, Path, description = "The subscription"), WriteParams),
    responses(
        (status = 200, description = "It is gone", body = crate::http::answer::Ok<AckedAnswer>),
        WriteRefusals))]
pub(crate) async fn delete(
    app: App,
    PathSubscription(name): PathSubscription,
    Query(Nothing {}, common, _): Query<Nothing, WriteParams>,
    _: NoConditions,
    once: Once,
) -> ApiResult {
    let gone = common
        .shape(&app, once, app.concord.delete_subscription(name))?
        .await?;
    ok(AckedAnswer::new(gone), gone.revision)
}

/// What is done with.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AckBody {
    /// Everything up to this revision, included.
    revision: u64,
}

/// Acknowledges what a consumer is done with. An earlier revision than is known changes nothing.
#[utoipa::path(
    post, path = "/api/v1/subscriptions/{name}/ack", tag = "watch",
    params(("name" = String, Path, description = "The subscription"), WriteParams),
    request_body = AckBody,
    responses(
        (status = 200, description = "It is noted", body = crate::http::answer::Ok<AckedAnswer>),
        WriteRefusals))]
pub(crate) async fn ack(
    app: App,
    PathSubscription(name): PathSubscription,
    Query(Nothing {}, common, _): Query<Nothing, WriteParams>,
    _: NoConditions,
    once: Once,
    Json(body): Json<AckBody>,
) -> ApiResult {
    let ack = app.concord.ack(name, Revision::new(body.revision));
    let acked = common.shape(&app, once, ack)?.await?;
    ok(AckedAnswer::new(acked), acked.revision)
}

/// Where to begin anew.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ResetBody {
    /// From this revision on, included; missing: from now on.
    #[serde(default)]
    from_revision: Option<u64>,
}

/// Has a subscription begin anew, wherever it stands.
#[utoipa::path(
    post, path = "/api/v1/subscriptions/{name}/reset", tag = "watch",
    params(("name" = String, Path, description = "The subscription"), WriteParams),
    request_body = Option<ResetBody>,
    responses(
        (status = 200, description = "It begins there", body = crate::http::answer::Ok<AckedAnswer>),
        WriteRefusals))]
pub(crate) async fn reset(
    app: App,
    PathSubscription(name): PathSubscription,
    Query(Nothing {}, common, _): Query<Nothing, WriteParams>,
    _: NoConditions,
    once: Once,
    MaybeJson(body): MaybeJson<ResetBody>,
) -> ApiResult {
    let mut reset = app.concord.reset_subscription(name);
    if let Some(from) = revision("from_revision", body.from_revision)? {
        reset = reset.from_revision(from);
    }
    let moved = common.shape(&app, once, reset)?.await?;
    ok(AckedAnswer::new(moved), moved.revision)
}

/// A subscription.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Subscription)]
pub(crate) struct SubscriptionBody {
    /// Its name.
    name: String,
    /// What it is about, in words.
    selector: String,
    /// What must be true of a record; null: nothing.
    r#where: Option<String>,
    /// Its consumers are done with all up to here.
    acked: u64,
    /// Revisions since, whether they concern it or not.
    lag: u64,
    /// When it was made: milliseconds since the Unix epoch, by the cluster's clock.
    created_at: u64,
    /// When it last moved, likewise.
    acked_at: u64,
}

impl From<&SubscriptionInfo> for SubscriptionBody {
    fn from(info: &SubscriptionInfo) -> Self {
        Self {
            name: info.name.clone(),
            selector: info.selector.clone(),
            r#where: info.predicate.clone(),
            acked: info.acked.get(),
            lag: info.lag,
            created_at: info.created_at.get(),
            acked_at: info.acked_at.get(),
        }
    }
}

/// A subscription, and how far its consumers are.
#[utoipa::path(
    get, path = "/api/v1/subscriptions/{name}", tag = "watch",
    params(("name" = String, Path, description = "The subscription"), ReadParams),
    responses(
        (status = 200, description = "Found", body = crate::http::answer::Ok<SubscriptionBody>),
        ReadRefusals))]
pub(crate) async fn info(
    app: App,
    PathSubscription(name): PathSubscription,
    Query(Nothing {}, common, _): Query<Nothing, ReadParams>,
) -> ApiResult {
    let found = app.concord.subscription(name).plan(common.plan(&app)?).await?;
    ok(SubscriptionBody::from(&found.data), found.revision)
}

/// All subscriptions.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SubscriptionsAnswer {
    /// In the order of names.
    subscriptions: Vec<SubscriptionBody>,
}

/// Lists subscriptions.
#[utoipa::path(
    get, path = "/api/v1/subscriptions", tag = "watch",
    params(ReadParams),
    responses(
        (status = 200, description = "All of them", body = crate::http::answer::Ok<SubscriptionsAnswer>),
        ReadRefusals))]
pub(crate) async fn list(app: App, Query(Nothing {}, common, _): Query<Nothing, ReadParams>) -> ApiResult {
    let found = app.concord.subscriptions().plan(common.plan(&app)?).await?;
    let answer = SubscriptionsAnswer {
        subscriptions: found.iter().map(SubscriptionBody::from).collect(),
    };
    ok(answer, found.revision)
}

#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(crate) struct ConsumeParams {
    /// Each event brings the record that was there before.
    with_previous: bool,
    /// Streams: say how far they have come after this long without an event, `100ms` to `10m`; 10 s if missing.
    progress: Option<String>,
    /// Answer at once with the first events, or with none after this long, `1ms` to `10m`, instead of a stream.
    wait: Option<String>,
}

/// What a subscription is about, from behind what is acknowledged, as `GET /watch` tells it: every change at
/// least once. Nothing is acknowledged by itself. Two consumers at once get the same.
#[utoipa::path(
    get, path = "/api/v1/subscriptions/{name}/events", tag = "watch",
    params(("name" = String, Path, description = "The subscription"), ConsumeParams, ReadParams,
        ("last-event-id" = Option<String>, Header, description = "The `id` of the last event that this consumer has: goes on behind it instead")),
    responses(
        (status = 200, description = "A stream, or with `wait` an answer", content(
            (WatchAnswer = "application/json"),
            (ChangesBody = "text/event-stream"))),
        (status = 409, description = "`compacted`: it has fallen behind; `restart_revision` is for `reset`",
            body = crate::http::docs::ErrorBody),
        ReadRefusals))]
pub(crate) async fn consume(
    app: App,
    headers: HeaderMap,
    PathSubscription(name): PathSubscription,
    Query(params, common, _): Query<ConsumeParams, ReadParams>,
) -> ApiResult {
    let plan = common.plan(&app)?;
    let mut consume = app.concord.consume(name).plan(plan);
    if params.with_previous {
        consume = consume.with_previous();
    }
    if headers.contains_key(LAST_EVENT_ID)
        && let Some(position) = beginning(&headers, &WatchParams::default())?
    {
        consume = consume.after(position);
    }
    let interval = length("progress", params.progress.as_deref(), limits::WATCH_PROGRESS_MIN)?;
    if let Some(wait) = length(
        "wait",
        params.wait.as_deref(),
        std::time::Duration::from_millis(1),
    )? {
        if interval.is_some() {
            return Err(ApiError::invalid_request(
                "progress is for streams: it has no effect beside wait",
            ));
        }
        return answer(consume.await?, wait).await;
    }
    let interval = interval.unwrap_or(limits::WATCH_PROGRESS_DEFAULT);
    let needs_cluster = plan.consistency != ReadConsistency::Eventual;
    let watcher = consume.progress(interval).await?;
    Ok(streamed(app, watcher, needs_cluster))
}
