//! Many keys in one request: all at one revision, or none.

use std::collections::BTreeMap;

use concord_core::Timestamp;
use concord_core::ids::LeaseId;
use concord_core::limits::BATCH_ITEMS_MAX;
use concord_core::reply::RequestPart;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};

use super::answer::ok;
use super::app::{App, CompressParams, ReadParams, WriteParams, revision};
use super::body::{self, Json};
use super::condition::NoConditions;
use super::docs::{ReadRefusals, WriteRefusals};
use super::error::ApiResult;
use super::once::Once;
use super::query::{Nothing, Query};
use super::record::RecordBody;
use super::value::{Format, value_of};
use crate::concord::Item;
use crate::service::batch_too_large;

/// Values to store.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BulkPutBody {
    /// Up to 500. Of those with one key the last wins.
    operations: Vec<BulkPutItem>,
}

/// A value to store.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct BulkPutItem {
    /// The key.
    key: String,
    /// The value. A string is kept as text, anything else as a document.
    #[schema(value_type = Value)]
    value: Box<RawValue>,
    /// How long the key lives: whole seconds, or a text such as "1h30m"; null or missing: for ever.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    ttl: Option<Box<RawValue>>,
    /// The lease that the key hangs on, instead of a time to live.
    #[serde(default)]
    lease: Option<u64>,
    /// What to keep the value as, if not as described there.
    #[serde(default)]
    format: Option<Format>,
}

/// The answer to a bulk request.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BulkAnswer<T> {
    /// The revision of the request, or the current one if it changed nothing.
    revision: u64,
    /// By key.
    results: BTreeMap<String, T>,
}

/// Refuses what is too much before any of it is looked at.
fn check_count(count: usize) -> ApiResult<()> {
    if count > BATCH_ITEMS_MAX {
        return Err(batch_too_large(count).into());
    }
    Ok(())
}

/// Says which item is wrong.
fn each<T, U>(items: Vec<T>, read: impl Fn(T) -> ApiResult<U>) -> ApiResult<Vec<U>> {
    check_count(items.len())?;
    items
        .into_iter()
        .enumerate()
        .map(|(place, item)| read(item).map_err(|error| error.in_part(RequestPart::Item, place)))
        .collect()
}

/// Stores many values.
#[utoipa::path(
    post, path = "/api/v1/kv/bulk", tag = "kv",
    params(CompressParams, WriteParams),
    request_body = BulkPutBody,
    responses(
        (status = 200, description = "All are stored", body = super::answer::Ok<BulkAnswer<String>>),
        WriteRefusals))]
pub(crate) async fn put_many(
    app: App,
    Query(packing, common, _): Query<CompressParams, WriteParams>,
    _: NoConditions,
    once: Once,
    Json(body): Json<BulkPutBody>,
) -> ApiResult {
    let results = body
        .operations
        .iter()
        .map(|item| (item.key.clone(), "ok"))
        .collect();
    let items = each(body.operations, |item| {
        let mut ready = Item::new(&item.key, value_of(&item.value, item.format)?);
        if let Some(ttl) = item.ttl {
            ready = ready.ttl(body::ttl(&ttl)?);
        }
        if let Some(id) = item.lease {
            ready = ready.lease(LeaseId::new(id));
        }
        Ok(ready)
    })?;
    let put = app.concord.put_many(items).compress(packing.compress);
    let written = common.shape(&app, once, put)?.await?;
    let answer = BulkAnswer {
        revision: written.revision.get(),
        results,
    };
    ok(answer, written.revision)
}

/// Keys.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct KeysBody {
    /// Up to 500.
    keys: Vec<String>,
}

#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(crate) struct BulkGetParams {
    /// Answer with the time that each key has left, too.
    with_ttl: bool,
    /// Read at this revision.
    revision: Option<u64>,
}

/// Reads many keys, all at one revision. A key that does not exist is null in the answer.
#[utoipa::path(
    post, path = "/api/v1/kv/bulk/get", tag = "kv",
    params(BulkGetParams, ReadParams),
    request_body = KeysBody,
    responses(
        (status = 200, description = "What was found", body = super::answer::Ok<BulkAnswer<Option<RecordBody>>>),
        ReadRefusals))]
pub(crate) async fn get_many(
    app: App,
    Query(params, common, _): Query<BulkGetParams, ReadParams>,
    Json(body): Json<KeysBody>,
) -> ApiResult {
    check_count(body.keys.len())?;
    let mut get = app.concord.get_many(&body.keys).plan(common.plan(&app)?);
    if let Some(past) = revision("revision", params.revision)? {
        get = get.revision(past);
    }
    let found = get.await?;
    let results = body.keys.iter().zip(found.iter()).map(|(key, entry)| {
        let record = entry.as_ref().map(|entry| {
            let record = RecordBody::of_entry(key.as_bytes(), entry);
            match params.with_ttl {
                true => record.with_ttl(entry.expires_at(), found.now),
                false => record,
            }
        });
        (key.clone(), record)
    });
    let answer = BulkAnswer {
        revision: found.revision.get(),
        results: results.collect(),
    };
    ok(answer, found.revision)
}

/// What a delete of many did to one key.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BulkDeleted {
    /// Whether there was something to remove.
    existed: bool,
}

/// Removes many keys. Absent ones are no obstacle.
#[utoipa::path(
    post, path = "/api/v1/kv/bulk/delete", tag = "kv",
    params(WriteParams),
    request_body = KeysBody,
    responses(
        (status = 200, description = "All are absent now", body = super::answer::Ok<BulkAnswer<BulkDeleted>>),
        WriteRefusals))]
pub(crate) async fn delete_many(
    app: App,
    Query(Nothing {}, common, _): Query<Nothing, WriteParams>,
    _: NoConditions,
    once: Once,
    Json(body): Json<KeysBody>,
) -> ApiResult {
    check_count(body.keys.len())?;
    let deleted = common
        .shape(&app, once, app.concord.delete_many(&body.keys))?
        .await?;
    let mut results = BTreeMap::new();
    for (key, existed) in body.keys.into_iter().zip(deleted.existed) {
        // A key that is named twice existed if it did for the first.
        results.entry(key).or_insert(BulkDeleted { existed });
    }
    let answer = BulkAnswer {
        revision: deleted.revision.get(),
        results,
    };
    ok(answer, deleted.revision)
}

/// New times to live.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BulkTouchBody {
    /// Up to 500. Of those with one key the last wins.
    operations: Vec<BulkTouchItem>,
}

/// A new time to live.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct BulkTouchItem {
    /// The key.
    key: String,
    /// Whole seconds, or a text such as "1h30m"; null: the key no longer expires.
    #[schema(value_type = Option<Object>)]
    ttl: Box<RawValue>,
}

/// What a touch of many did to one key.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BulkTouched {
    /// When the key expires: milliseconds since the Unix epoch, by the cluster's clock; null: never.
    expires_at: Option<u64>,
}

/// Resets the time that many keys have left. A key that does not exist is null in the answer.
#[utoipa::path(
    post, path = "/api/v1/kv/bulk/touch", tag = "kv",
    params(WriteParams),
    request_body = BulkTouchBody,
    responses(
        (status = 200, description = "Reset", body = super::answer::Ok<BulkAnswer<Option<BulkTouched>>>),
        WriteRefusals))]
pub(crate) async fn touch_many(
    app: App,
    Query(Nothing {}, common, _): Query<Nothing, WriteParams>,
    _: NoConditions,
    once: Once,
    Json(body): Json<BulkTouchBody>,
) -> ApiResult {
    let keys: Vec<String> = body.operations.iter().map(|item| item.key.clone()).collect();
    let items = each(body.operations, |item| {
        let ttl = match item.ttl.get() {
            "null" => None,
            _ => Some(body::ttl(&item.ttl)?),
        };
        Ok((item.key, ttl))
    })?;
    let touched = common.shape(&app, once, app.concord.touch_all(items))?.await?;
    let results = keys.into_iter().zip(touched.expires_at).map(|(key, outcome)| {
        let outcome = outcome.map(|expires_at| BulkTouched {
            expires_at: expires_at.map(Timestamp::get),
        });
        (key, outcome)
    });
    let answer = BulkAnswer {
        revision: touched.revision.get(),
        results: results.collect(),
    };
    ok(answer, touched.revision)
}
