//! Watches: a stream of server-sent events, or one answer to a long poll.
//!
//! ```text
//!   GET /watch            ──> Watcher ──> event: changes  id: 41   data: {revision, events}
//!     Last-Event-ID: 41   <── reconnect   event: progress id: 57   data: {revision}
//!   GET /watch?wait=30s   ──> Watcher ──> {"status":"ok","data":{events, position, revision}}
//! ```
//!
//! An `id` is a position in the change log, good on any node: who reconnects with the last one
//! misses nothing and gets nothing twice.

mod body;
mod events;
pub(super) mod subscriptions;

use std::time::Duration;

use axum::http::HeaderMap;
use axum::http::header::HeaderName;
use concord_core::view::ChangeKind;
use concord_query::duration;
use concord_query::watch::{Position, WatchBatch};
use concord_raft::ReadConsistency;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, timeout_at};
use utoipa::{IntoParams, ToSchema};

use self::body::{ChangesBody, EventBody};
use self::events::streamed;
use super::answer::ok;
use super::app::{App, ReadParams, revision};
use super::error::{ApiError, ApiResult};
use super::query::{NoQuery, Query};
use crate::concord::Watch;
use crate::limits;
use crate::watch::{Watcher, WatcherStatus};

/// The position that a client reconnects with.
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(crate) struct WatchParams {
    /// Only this key. One of `key`, `prefix`, `start` and `end`, `glob`, `pattern`; none: all keys.
    key: Option<String>,
    /// Only keys that start with this.
    prefix: Option<String>,
    /// Only keys from this one on, included.
    start: Option<String>,
    /// Only keys before this one.
    end: Option<String>,
    /// Only keys that match: `*` any run of characters, `?` one, `\` takes the next as it is.
    glob: Option<String>,
    /// Only keys in which this regular expression is found.
    pattern: Option<String>,
    /// Only these kinds of change, comma-separated: `put`, `delete`, `expire`.
    events: Option<String>,
    /// Only if this expression is true of the record that was written, or of the one that was removed.
    #[serde(rename = "where")]
    #[param(rename = "where")]
    only_where: Option<String>,
    /// Each event brings the record that was there before.
    with_previous: bool,
    /// From this revision on, included; missing: from now on.
    from_revision: Option<u64>,
    /// Go on behind an earlier event or answer: its `id` or `position`. The header `Last-Event-ID` goes before it.
    after: Option<String>,
    /// Streams: say how far they have come after this long without an event, `100ms` to `10m`; 10 s if missing.
    progress: Option<String>,
    /// Answer at once with the first events, or with none after this long, `1ms` to `10m`, instead of a stream.
    wait: Option<String>,
}

/// The answer to a long poll.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct WatchAnswer<'a> {
    /// The changes, in order. None: the time was over.
    events: Vec<EventBody<'a>>,
    /// `after` of the next request.
    position: String,
    /// Everything up to this revision has been told.
    revision: u64,
}

/// Changes of keys, as they happen or from any revision that is kept: every committed change once, in order.
///
/// A stream of server-sent events, unless `wait` asks for one answer. The first event is `progress`: where the stream begins. Then
/// `changes`, one for each revision, and `progress` when nothing happens. `error` ends the stream, with the usual error as its data.
#[utoipa::path(
    get, path = "/api/v1/watch", tag = "watch",
    params(WatchParams, ReadParams, ("last-event-id" = Option<String>, Header, description = "The `id` of the last event that was received")),
    responses(
        (status = 200, description = "A stream, or with `wait` an answer", content(
            (WatchAnswer = "application/json"),
            (ChangesBody = "text/event-stream"))),
        (status = 409, description = "`compacted`: changes in between are forgotten; `restart_revision` says from where they are kept",
            body = super::docs::ErrorBody),
        super::docs::ReadRefusals))]
pub(crate) async fn watch(
    app: App,
    headers: HeaderMap,
    Query(params, common, _): Query<WatchParams, ReadParams>,
) -> ApiResult {
    let plan = common.plan(&app)?;
    let mut watch = watching(app.concord.watch(), &params)?.plan(plan);
    if params.with_previous {
        watch = watch.with_previous();
    }
    if let Some(position) = beginning(&headers, &params)? {
        watch = watch.after(position);
    }
    let interval = length("progress", params.progress.as_deref(), limits::WATCH_PROGRESS_MIN)?;
    match length("wait", params.wait.as_deref(), Duration::from_millis(1))? {
        Some(_) if interval.is_some() => Err(ApiError::invalid_request(
            "progress is for streams: it has no effect beside wait",
        )),
        Some(wait) => answer(watch.await?, wait).await,
        None => {
            let interval = interval.unwrap_or(limits::WATCH_PROGRESS_DEFAULT);
            let needs_cluster = plan.consistency != ReadConsistency::Eventual;
            let watcher = watch.progress(interval).await?;
            Ok(streamed(app, watcher, needs_cluster))
        }
    }
}

/// What is watched.
fn watching<'a>(watch: Watch<'a>, params: &WatchParams) -> ApiResult<Watch<'a>> {
    let mut watch = narrowed(watch, params)?;
    if let Some(kinds) = &params.events {
        watch = watch.kinds(&kinds_of(kinds)?);
    }
    if let Some(expression) = &params.only_where {
        watch = watch.only_if(expression);
    }
    Ok(watch)
}

fn narrowed<'a>(watch: Watch<'a>, params: &WatchParams) -> ApiResult<Watch<'a>> {
    let several = || {
        ApiError::invalid_request("only one of key, prefix, glob, pattern, and start with end can be given")
    };
    if let Some(pattern) = &params.pattern {
        let others = [
            &params.key,
            &params.prefix,
            &params.start,
            &params.end,
            &params.glob,
        ];
        return match others.iter().any(|other| other.is_some()) {
            true => Err(several()),
            false => Ok(watch.pattern(pattern)),
        };
    }
    match (
        &params.key,
        &params.prefix,
        &params.start,
        &params.end,
        &params.glob,
    ) {
        (None, None, None, None, None) => Ok(watch),
        (Some(key), None, None, None, None) => Ok(watch.key(key)),
        (None, Some(prefix), None, None, None) => Ok(watch.prefix(prefix)),
        (None, None, Some(start), Some(end), None) => Ok(watch.between(start, end)),
        (None, None, Some(start), None, None) => Ok(watch.from(start)),
        (None, None, None, Some(end), None) => Ok(watch.between("", end)),
        (None, None, None, None, Some(glob)) => Ok(watch.glob(glob)),
        _ => Err(several()),
    }
}

fn kinds_of(list: &str) -> ApiResult<Vec<ChangeKind>> {
    list.split(',')
        .map(|name| match name {
            "put" => Ok(ChangeKind::Put),
            "delete" => Ok(ChangeKind::Delete),
            "expire" => Ok(ChangeKind::Expire),
            other => Err(ApiError::invalid_request(format!(
                "query parameter `events` must be some of put, delete, expire, not `{other:.40}`"
            ))
            .with("parameter", "events".to_owned())),
        })
        .collect()
}

/// Where to begin. A browser that reconnects sends the parameters it began with and adds the header.
fn beginning(headers: &HeaderMap, params: &WatchParams) -> ApiResult<Option<Position>> {
    let from = revision("from_revision", params.from_revision)?;
    let after = match &params.after {
        Some(_) if from.is_some() => {
            return Err(ApiError::invalid_request(
                "after cannot be together with from_revision",
            ));
        }
        Some(text) => Some(position(text).map_err(|error| {
            ApiError::invalid_request(format!("query parameter `after` {error}"))
                .with("parameter", "after".to_owned())
        })?),
        None => from.map(Position::before),
    };
    let Some(header) = headers.get(LAST_EVENT_ID).filter(|header| !header.is_empty()) else {
        return Ok(after);
    };
    let malformed = || {
        ApiError::invalid_request("header last-event-id is not the id of an event")
            .with("header", "last-event-id".to_owned())
    };
    let text = header.to_str().map_err(|_| malformed())?;
    position(text).map(Some).map_err(|_| malformed())
}

fn position(text: &str) -> Result<Position, concord_query::watch::InvalidPosition> {
    text.parse()
}

fn length(name: &'static str, written: Option<&str>, least: Duration) -> ApiResult<Option<Duration>> {
    let Some(text) = written else { return Ok(None) };
    match duration::parse(text) {
        Some(length) if (least..=limits::REQUEST_TIMEOUT_MAX).contains(&length) => Ok(Some(length)),
        Some(_) | None => Err(ApiError::invalid_request(format!(
            "query parameter `{name}` must be a duration from {}ms to 10m such as \"5s\", not `{text:.40}`",
            least.as_millis()
        ))
        .with("parameter", name.to_owned())),
    }
}

/// Waits for the first events and takes what is there with them.
async fn answer(mut watcher: Watcher, wait: Duration) -> ApiResult {
    let deadline = Instant::now() + wait;
    let mut batches: Vec<WatchBatch> = Vec::new();
    let mut count = 0;
    loop {
        // Once there is something, only what needs no wait is added.
        let until = if batches.is_empty() {
            deadline
        } else {
            Instant::now()
        };
        let Ok(next) = timeout_at(until, watcher.next()).await else {
            break;
        };
        match next {
            Some(Ok(batch)) => {
                count += batch.events.len();
                batches.push(batch);
            }
            // What was read is delivered; the next request meets the same error.
            Some(Err(_)) if !batches.is_empty() => break,
            Some(Err(error)) => return Err(error.into()),
            None => break,
        }
        if count >= limits::WATCH_PAGE_EVENTS {
            break;
        }
    }
    let position = match batches.last() {
        Some(last) => last.position,
        None => watcher.position(),
    };
    let complete = Position::before(position.next_revision()).revision();
    let answer = WatchAnswer {
        events: batches
            .iter()
            .flat_map(|batch| &batch.events)
            .map(EventBody::new)
            .collect(),
        position: position.to_string(),
        revision: complete.get(),
    };
    ok(answer, complete)
}

/// The open watches of a node.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct WatchesAnswer {
    /// How many there are.
    count: usize,
    /// Oldest first, without their keys' values.
    watches: Vec<WatcherBody>,
}

/// One open watch.
#[derive(Debug, Serialize, ToSchema)]
struct WatcherBody {
    /// Its number on this node.
    id: u64,
    /// What it watches, in words.
    selector: String,
    /// For how long it has been open.
    open_ms: u64,
    /// Events that it was given.
    events: u64,
    /// Bytes of their keys and values.
    bytes: u64,
    /// It was given everything up to this revision.
    revision: u64,
    /// Revisions that it is behind.
    lag: u64,
}

impl From<WatcherStatus> for WatcherBody {
    fn from(status: WatcherStatus) -> Self {
        Self {
            id: status.id,
            selector: status.selector,
            open_ms: u64::try_from(status.open_for.as_millis()).unwrap_or(u64::MAX),
            events: status.events,
            bytes: status.bytes,
            revision: status.revision.get(),
            lag: status.lag,
        }
    }
}

/// The watches that are open on the node that is asked.
#[utoipa::path(get, path = "/api/v1/watches", tag = "watch",
    responses(
        (status = 200, description = "The watches", body = super::answer::Ok<WatchesAnswer>),
        (status = "4XX", description = "The request is wrong", body = super::docs::ErrorBody)))]
pub(crate) async fn watches(app: App, _: NoQuery) -> ApiResult {
    let watches: Vec<WatcherBody> = app
        .concord
        .watchers()?
        .into_iter()
        .map(WatcherBody::from)
        .collect();
    let answer = WatchesAnswer {
        count: watches.len(),
        watches,
    };
    ok(answer, app.concord.revision())
}
