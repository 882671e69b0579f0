//! One key: its time to live, its number, its versions.

use concord_core::ids::Revision;
use concord_core::limits::HISTORY_PAGE_MAX;
use concord_core::view::{ChangeKind, Version};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};

use super::answer::{ok, tagged};
use super::app::{App, PathKey, ReadParams, WriteParams, revision};
use super::body::{self, Json, MaybeJson};
use super::condition::NoConditions;
use super::docs::{ReadRefusals, WriteRefusals};
use super::error::{ApiError, ApiResult};
use super::once::Once;
use super::query::{Nothing, Query};
use super::record::{RecordBody, TtlBody};
use super::scan::Order;
use crate::error::ErrorKind;

/// Versions on a page unless the request says otherwise.
const HISTORY_PAGE_DEFAULT: u64 = 100;

/// A new time to live.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TouchBody {
    /// Whole seconds, or a text such as "1h30m" or "500ms"; null: the key no longer expires.
    #[serde(default, deserialize_with = "body::present")]
    #[schema(value_type = Option<Object>)]
    ttl: Option<Box<RawValue>>,
}

/// The answer to a touch.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TouchAnswer {
    /// The revision of the write.
    revision: u64,
    /// When the key expires: milliseconds since the Unix epoch, by the cluster's clock; null: never.
    expires_at: Option<u64>,
}

/// Resets the time that a key has left.
#[utoipa::path(
    post, path = "/api/v1/kv/{key}/touch", tag = "kv",
    params(("key" = String, Path, description = "The key, percent-encoded"), WriteParams),
    request_body = TouchBody,
    responses(
        (status = 200, description = "Reset", body = super::answer::Ok<TouchAnswer>),
        WriteRefusals))]
pub(crate) async fn touch(
    app: App,
    key: PathKey,
    Query(Nothing {}, common, _): Query<Nothing, WriteParams>,
    _: NoConditions,
    once: Once,
    Json(body): Json<TouchBody>,
) -> ApiResult {
    let Some(written) = body.ttl else {
        return Err(ApiError::invalid_request("field `ttl` is missing").with("field", "ttl".to_owned()));
    };
    let touch = if written.get() == "null" {
        app.concord.persist(&key)
    } else {
        app.concord.touch(&key, body::ttl(&written)?)
    };
    let touched = common.shape(&app, once, touch)?.await?;
    let answer = TouchAnswer {
        revision: touched.revision.get(),
        expires_at: touched.expires_at.map(concord_core::Timestamp::get),
    };
    ok(answer, touched.revision)
}

/// What to add.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct IncrementBody {
    /// A whole number, may be negative; 1 if missing.
    #[serde(default)]
    #[schema(value_type = Option<i64>)]
    delta: Option<Box<RawValue>>,
    /// How long the key lives from now on; missing or null: its deadline stays as it is.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    ttl: Option<Box<RawValue>>,
}

/// The answer to an increment.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct IncrementAnswer {
    /// The number after the change.
    value: i64,
    /// The revision of the write.
    revision: u64,
}

/// Adds to a 64-bit number. An absent key counts as 0.
#[utoipa::path(
    post, path = "/api/v1/kv/{key}/increment", tag = "kv",
    params(("key" = String, Path, description = "The key, percent-encoded"), WriteParams),
    request_body(content = IncrementBody, description = "May be empty: adds 1"),
    responses(
        (status = 200, description = "Added", body = super::answer::Ok<IncrementAnswer>),
        WriteRefusals))]
pub(crate) async fn increment(
    app: App,
    key: PathKey,
    Query(Nothing {}, common, _): Query<Nothing, WriteParams>,
    _: NoConditions,
    once: Once,
    MaybeJson(body): MaybeJson<IncrementBody>,
) -> ApiResult {
    let delta = match body.delta {
        None => 1,
        Some(written) => written.get().parse().map_err(|_| {
            ApiError::new(
                ErrorKind::InvalidValue,
                format!(
                    "delta must be a whole number of 64 bits, not {:.40}",
                    written.get()
                ),
            )
        })?,
    };
    let mut increment = common.shape(&app, once, app.concord.increment(&key, delta))?;
    if let Some(written) = body.ttl {
        increment = increment.ttl(body::ttl(&written)?);
    }
    let done = increment.await?;
    let answer = IncrementAnswer {
        value: done.value,
        revision: done.revision.get(),
    };
    Ok(tagged(ok(answer, done.revision)?, done.revision))
}

/// How long a key has left.
#[utoipa::path(
    get, path = "/api/v1/kv/{key}/ttl", tag = "kv",
    params(("key" = String, Path, description = "The key, percent-encoded"), ReadParams),
    responses(
        (status = 200, description = "The key exists", body = super::answer::Ok<TtlBody>),
        ReadRefusals))]
pub(crate) async fn ttl(
    app: App,
    key: PathKey,
    Query(Nothing {}, common, _): Query<Nothing, ReadParams>,
) -> ApiResult {
    let found = app.concord.get(&key).plan(common.plan(&app)?).await?;
    let Some(entry) = &found.data else {
        return Err(ApiError::new(ErrorKind::NotFound, "key not found"));
    };
    ok(TtlBody::new(entry.expires_at(), found.now), found.revision)
}

#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(crate) struct HistoryParams {
    /// Versions on the page, 1 to 10,000; 100 if missing.
    limit: Option<u64>,
    /// Go on behind this revision, in the order of the listing: `next` of the page before.
    after: Option<u64>,
    /// `desc` (default): newest first.
    #[param(inline)]
    order: Option<Order>,
}

/// The versions of a key.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct HistoryAnswer<'a> {
    /// In the order asked for.
    versions: Vec<VersionBody<'a>>,
    /// `after` of the next page; null: this was the last.
    next: Option<u64>,
    /// Older versions are forgotten, but for the one in force at this revision; 0: none were.
    compact_revision: u64,
    /// The revision that the answer shows.
    revision: u64,
}

/// What a key was from a revision on.
#[derive(Debug, Serialize, ToSchema)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(crate) enum VersionBody<'a> {
    /// This record.
    Put(#[schema(inline)] RecordBody<'a>),
    /// Absent, because it was deleted.
    Delete {
        /// From here on.
        mod_revision: u64,
    },
    /// Absent, because its time was over.
    Expire {
        /// From here on.
        mod_revision: u64,
    },
}

impl<'a> VersionBody<'a> {
    fn new(version: &'a Version) -> Self {
        match version {
            Version::Record(record) => Self::Put(RecordBody::new(record)),
            Version::Removed { revision, kind } => {
                let mod_revision = revision.get();
                match kind {
                    ChangeKind::Expire => Self::Expire { mod_revision },
                    ChangeKind::Put | ChangeKind::Delete => Self::Delete { mod_revision },
                }
            }
        }
    }
}

/// The versions of a key that are still kept. Empty for a key that has none.
#[utoipa::path(
    get, path = "/api/v1/kv/{key}/history", tag = "kv",
    params(("key" = String, Path, description = "The key, percent-encoded"), HistoryParams, ReadParams),
    responses(
        (status = 200, description = "The versions", body = super::answer::Ok<HistoryAnswer>),
        ReadRefusals))]
pub(crate) async fn history(
    app: App,
    key: PathKey,
    Query(params, common, _): Query<HistoryParams, ReadParams>,
) -> ApiResult {
    let limit = super::scan::limit(params.limit, HISTORY_PAGE_DEFAULT, HISTORY_PAGE_MAX)?;
    let mut history = app.concord.history(&key).limit(limit).plan(common.plan(&app)?);
    if params.order == Some(Order::Asc) {
        history = history.ascending();
    }
    if let Some(after) = revision("after", params.after)? {
        history = history.after(after);
    }
    let found = history.await?;
    let answer = HistoryAnswer {
        versions: found.versions.iter().map(VersionBody::new).collect(),
        next: found.next.map(Revision::get),
        compact_revision: found.compact_revision.get(),
        revision: found.revision.get(),
    };
    ok(answer, found.revision)
}
