//! What locks, elections and services have in common over HTTP: names, leases, who holds what.
//!
//! Whoever holds something is known by its lease: without naming it nobody releases it by accident.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::FromRequestParts;
use axum::http::HeaderValue;
use axum::http::header::CACHE_CONTROL;
use axum::http::request::Parts;
use axum::response::Response;
use concord_core::ids::{LeaseId, Revision};
use concord_core::value::Value;
use concord_query::duration;
use futures::{Stream, StreamExt as _, stream};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::time::timeout;
use utoipa::{IntoParams, ToSchema};

use super::answer::{ok, with_body};
use super::app::{App, ReadParams};
use super::body;
use super::decode::percent_decode;
use super::error::{self, ApiError, ApiResult};
use super::once::Once;
use super::record::ValueBody;
use super::scan::limit;
use crate::concord::{Concord, Leased};
use crate::error::{Error, ErrorKind};
use crate::limits::{REQUEST_TIMEOUT_MAX, SCAN_PAGE_DEFAULT, WATCH_PROGRESS_DEFAULT};
use crate::recipes::{Application, Holder, Home, Kind, Place, within};
use crate::txn::key;
use concord_core::limits::SCAN_PAGE_RECORDS_MAX;

/// The name in a path: the segment behind the first below the base.
#[derive(Debug)]
pub(crate) struct PathName(pub(crate) String);

/// The name of an instance in a path.
#[derive(Debug)]
pub(crate) struct PathInstance(pub(crate) String);

impl<S: Sync> FromRequestParts<S> for PathName {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> ApiResult<Self> {
        segment(parts, 1).map(Self)
    }
}

impl<S: Sync> FromRequestParts<S> for PathInstance {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> ApiResult<Self> {
        segment(parts, 3).map(Self)
    }
}

fn segment(parts: &Parts, place: usize) -> ApiResult<String> {
    let rest = parts.uri.path().strip_prefix("/api/v1/").unwrap_or_default();
    let segment = rest.split('/').nth(place).unwrap_or_default();
    let name = percent_decode(segment, false)
        .map_err(|malformed| ApiError::invalid_request(format!("name {}", malformed.reason())))?;
    Ok(name.into_owned())
}

/// For requests that wait for others: a retry of one under an idempotency key could not get the first
/// answer while the first still waits.
#[derive(Debug)]
pub(crate) struct NoIdempotencyKey;

impl<S: Sync> FromRequestParts<S> for NoIdempotencyKey {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> ApiResult<Self> {
        let why =
            "name a lease instead of an idempotency key: who asks again with its lease gets the same answer";
        Once::refuse(parts, why).await.map(|()| Self)
    }
}

/// By which lease.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LeaseOfBody {
    /// The lease of the holder.
    pub(crate) lease: u64,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct LeaseOfParams {
    /// The lease of the holder.
    pub(crate) lease: u64,
}

/// What is held.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct HeldBody {
    /// The name.
    name: String,
    /// The key that stands for the holder: exists with this `create_revision` for as long as it holds.
    key: String,
    /// The fencing token: greater than that of every holder before. It is the key's `create_revision`.
    token: u64,
    /// The lease of the holder. To be kept alive, and named to release.
    lease: u64,
    /// Milliseconds that the lease lives from each time that it is kept alive.
    ttl_ms: u64,
    /// When it ends unless it is kept alive: milliseconds since the Unix epoch, by the cluster's clock.
    expires_at: u64,
}

impl HeldBody {
    pub(crate) fn new(name: &str, holder: &Holder, lease: Leased) -> Self {
        Self {
            name: name.to_owned(),
            key: holder.key.to_string(),
            token: holder.token.get(),
            lease: lease.id.get(),
            ttl_ms: u64::try_from(lease.ttl.as_millis()).unwrap_or(u64::MAX),
            expires_at: lease.expires_at.get(),
        }
    }
}

/// One who holds or waits.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct HolderBody<'a> {
    /// Its lease.
    lease: u64,
    /// Its fencing token.
    token: u64,
    /// Its key.
    key: String,
    /// What it says about itself.
    #[schema(value_type = Object)]
    value: ValueBody<'a>,
    /// What that is: `document`, `text` or `binary`.
    format: &'static str,
}

impl<'a> HolderBody<'a> {
    pub(crate) fn new(holder: &'a Holder) -> Self {
        Self {
            lease: holder.lease.get(),
            token: holder.token.get(),
            key: holder.key.to_string(),
            value: ValueBody::new(&holder.value),
            format: holder.value.format().name(),
        }
    }
}

/// Who holds a name, and who waits for it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LineBody<'a> {
    /// The name.
    name: String,
    /// Who holds it; null: nobody.
    holder: Option<HolderBody<'a>>,
    /// Who waits for it, in order.
    waiting: Vec<HolderBody<'a>>,
}

#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(crate) struct NamesParams {
    /// Only names that start with this; `ID#` those of a tenant.
    prefix: String,
    /// Names on the page, 1 to 10,000; 1,000 if missing.
    limit: Option<u64>,
    /// Go on behind this name: `next` of the page before.
    after: Option<String>,
}

/// Names, in order.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct NamesAnswer {
    /// The names of the page that somebody holds.
    names: Vec<NameBody>,
    /// `after` of the next page; null: this was the last.
    next: Option<String>,
}

/// A name that somebody holds.
#[derive(Debug, Serialize, ToSchema)]
struct NameBody {
    /// The name.
    name: String,
    /// The lease of its holder.
    lease: u64,
    /// The fencing token of its holder.
    token: u64,
    /// How many wait for it.
    waiting: u64,
}

/// What somebody wants to hold.
#[derive(Debug)]
pub(crate) struct Wish {
    pub(crate) ttl: Option<Box<RawValue>>,
    pub(crate) lease: Option<u64>,
    pub(crate) wait: Option<String>,
    pub(crate) value: Value,
}

/// Takes a name, at once or within the time that the request allows.
pub(crate) async fn take(app: &App, kind: Kind, name: String, wish: Wish) -> ApiResult {
    let mut application = Application::new(&app.concord, Place::new(kind, name.clone()));
    application.value = Ok(wish.value);
    match (wish.ttl, wish.lease) {
        (Some(_), Some(_)) => {
            return Err(ApiError::invalid_request(
                "a lease that is named has a ttl already",
            ));
        }
        (Some(ttl), None) => application.ttl = body::ttl(&ttl)?,
        (None, lease) => application.lease = lease.map(lease_id).transpose()?,
    }
    let wait = match wish.wait {
        None => Duration::ZERO,
        Some(text) => wait_of(&text)?,
    };
    let claim = if wait.is_zero() {
        application.try_alone().await?
    } else {
        within(wait, application.wait_alone()).await?
    };
    let Some(claim) = claim else {
        return Err(held_by_another(&application, &name).await?.into());
    };
    let (lease, token) = (claim.lease(), claim.token());
    claim.hand_over();
    let found = held(app, &application, lease).await?;
    let (holder, leased) = found.ok_or_else(|| not_held(&name, lease))?;
    ok(HeldBody::new(&name, &holder, leased), token)
}

async fn held_by_another(application: &Application, name: &str) -> Result<Error, Error> {
    let message = format!("`{name}` is held by another");
    let error = Error::new(ErrorKind::ConditionFailed, message);
    Ok(match application.line().await?.into_first() {
        Some(holder) => error
            .with("holder", holder.lease.get())
            .with("token", holder.token.get()),
        None => error,
    })
}

/// Who has this lease among those who hold or wait, with the lease.
async fn held(
    app: &App,
    application: &Application,
    lease: LeaseId,
) -> Result<Option<(Holder, Leased)>, Error> {
    let line = application.line().await?;
    let holder = line.holders.into_iter().find(|holder| holder.lease == lease);
    let Some(holder) = holder else { return Ok(None) };
    let info = app.concord.lease_info(lease).await?.into_inner();
    Ok(Some((holder, info.lease)))
}

/// Lets the lease of somebody who holds or waits live on.
pub(crate) async fn keep_alive(app: &App, kind: Kind, name: &str, lease: u64) -> ApiResult {
    let lease = lease_id(lease)?;
    let application = Application::new(&app.concord, Place::new(kind, name));
    let line = application.line().await?;
    let holder = line.holders.into_iter().find(|holder| holder.lease == lease);
    let holder = holder.ok_or_else(|| not_held(name, lease))?;
    let leased = app.concord.lease_keep_alive(lease).await?;
    ok(HeldBody::new(name, &holder, leased), app.concord.revision())
}

/// The answer to a release.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ReleasedBody {
    /// The revision of the release.
    revision: u64,
}

/// Takes the key of a holder away, and its lease if nothing else hangs on it.
pub(crate) async fn release(app: &App, name: &str, held: &str, lease: u64) -> ApiResult {
    let (concord, lease) = (&app.concord, lease_id(lease)?);
    let is_mine = key(held).lease().is(lease);
    let done = concord.txn().when(is_mine).then(key(held).delete()).await?;
    if !done.succeeded {
        return Err(not_held(name, lease).into());
    }
    end_if_unused(concord, lease).await;
    let answer = ReleasedBody {
        revision: done.revision.get(),
    };
    ok(answer, done.revision)
}

/// A lease that was made for one key is of no use without it. If it is not ended here it
/// ends by its time.
async fn end_if_unused(concord: &Concord, lease: LeaseId) {
    let info = concord.lease_info(lease).limit(1).await;
    if info.is_ok_and(|info| !info.is_used) {
        concord.lease_revoke(lease).await.ok();
    }
}

/// Who holds a name and waits for it.
pub(crate) async fn show(app: &App, kind: Kind, name: String, common: &ReadParams) -> ApiResult {
    let application = Application::new(&app.concord, Place::new(kind, name.clone()));
    let plan = common.plan(app)?;
    let scan = app.concord.scan().prefix(application.place?.prefix()).plan(plan);
    let page = scan.limit(SCAN_PAGE_RECORDS_MAX).await?;
    let mut holders: Vec<Holder> = page.records.into_iter().map(Holder::new).collect();
    holders.sort_by_key(|holder| holder.token);
    let mut line = holders.iter().map(HolderBody::new);
    let answer = LineBody {
        name,
        holder: line.next(),
        waiting: line.collect(),
    };
    ok(answer, page.revision)
}

/// Names of a kind that somebody holds.
pub(crate) async fn names(app: &App, kind: Kind, params: NamesParams, common: &ReadParams) -> ApiResult {
    let limit = limit(params.limit, SCAN_PAGE_DEFAULT as u64, SCAN_PAGE_RECORDS_MAX)?;
    let (home, beginning) = Home::of(kind, &params.prefix)?;
    let root = home.root();
    let start = match &params.after {
        None => format!("{root}{beginning}"),
        Some(after) => match Home::of(kind, after)? {
            // `$` comes right behind the `#` that ends a name.
            (other, name) if other == home => format!("{root}{name}$"),
            _ => {
                let message = "query parameter `after` must be a name of the same tenant as `prefix`";
                return Err(ApiError::invalid_request(message).with("parameter", "after".to_owned()));
            }
        },
    };
    let mut scan = app.concord.scan().from(start).plan(common.plan(app)?);
    scan = scan.keys_only();
    let mut names: Vec<NameBody> = Vec::new();
    let mut next = None;
    let pages = scan.pages();
    futures::pin_mut!(pages);
    let mut revision = Revision::EMPTY;
    'pages: while let Some(page) = pages.next().await {
        let page = page?;
        revision = page.revision;
        for record in page.records {
            let Some((name, _)) = home.split(&record.key) else {
                break 'pages;
            };
            if !name.starts_with(&params.prefix) {
                break 'pages;
            }
            let holder = Holder::new(record.clone());
            let is_full = names.len() == limit;
            match names.last_mut() {
                Some(last) if last.name == name => last.join(&holder),
                Some(last) if is_full => {
                    next = Some(last.name.clone());
                    break 'pages;
                }
                Some(_) | None => names.push(NameBody::new(&name, &holder)),
            }
        }
    }
    ok(NamesAnswer { names, next }, revision)
}

impl NameBody {
    fn new(name: &str, holder: &Holder) -> Self {
        Self {
            name: name.to_owned(),
            lease: holder.lease.get(),
            token: holder.token.get(),
            waiting: 0,
        }
    }

    fn join(&mut self, holder: &Holder) {
        self.waiting = self.waiting.saturating_add(1);
        if holder.token.get() < self.token {
            (self.lease, self.token) = (holder.lease.get(), holder.token.get());
        }
    }
}

pub(crate) fn lease_id(id: u64) -> Result<LeaseId, Error> {
    if id == 0 {
        return Err(Error::invalid_request("the id of a lease must be 1 or more"));
    }
    Ok(LeaseId::new(id))
}

pub(crate) fn not_held(name: &str, lease: LeaseId) -> Error {
    let message = format!("`{name}` is neither held nor waited for by lease {lease}");
    Error::new(ErrorKind::LeaseNotFound, message).with("lease", lease.get())
}

fn wait_of(text: &str) -> ApiResult<Duration> {
    let parsed = duration::parse(text).filter(|wait| *wait <= REQUEST_TIMEOUT_MAX);
    parsed.ok_or_else(|| {
        let message = format!("field `wait` must be a duration up to 10m such as \"30s\", not {text:.40}");
        ApiError::invalid_request(message).with("field", "wait".to_owned())
    })
}

/// A stream of server-sent events: each the state of now, so that who reconnects misses
/// nothing that still matters.
pub(crate) fn stream_of<T>(
    event: &'static str,
    states: impl Stream<Item = Result<T, Error>> + Send + 'static,
    revision: Revision,
    show: impl Fn(&T) -> Vec<u8> + Send + 'static,
) -> Response {
    let states = Some((Box::pin(states), show));
    let events = stream::unfold(states, move |states| async move {
        let (mut states, show) = states?;
        match timeout(WATCH_PROGRESS_DEFAULT, states.next()).await {
            // A sign of life.
            Err(_) => Some((written("progress", b"{}"), Some((states, show)))),
            Ok(Some(Ok(state))) => Some((written(event, &show(&state)), Some((states, show)))),
            Ok(Some(Err(failure))) => Some((written("error", &error::body_of(&failure.into())), None)),
            Ok(None) => None,
        }
    });
    let body = Body::from_stream(events.map(Ok::<_, std::convert::Infallible>));
    let mut response = with_body(body, HeaderValue::from_static("text/event-stream"), revision);
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // Reverse proxies hold answers back otherwise.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

/// JSON has no line ends, so it is always one line of data.
fn written(event: &str, json: &[u8]) -> Bytes {
    let mut text = format!("event: {event}\ndata: ").into_bytes();
    text.extend_from_slice(json);
    text.extend_from_slice(b"\n\n");
    text.into()
}
