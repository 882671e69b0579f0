//! One key: store, read, remove.

use std::convert::Infallible;

use axum::body::Body;
use axum::extract::FromRequestParts;
use axum::http::header::{ACCEPT, IF_NONE_MATCH};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue};
use concord_core::ids::{LeaseId, Revision};
use concord_core::value::{Value, ValueFormat};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};

use super::answer::{etag, not_modified, ok, ok_sized, tagged, with_body};
use super::app::{App, PathKey, ReadParams, WriteParams, revision};
use super::body::{self, Declared, MediaType};
use super::condition::{ConditionHeaders, ConditionParams, Conditions, expected};
use super::docs::{ReadRefusals, WriteRefusals};
use super::error::{ApiError, ApiResult};
use super::once::Once;
use super::query::Query;
use super::record::RecordBody;
use super::value::{Format, text, value_of};
use crate::answer::Entry;
use crate::error::ErrorKind;
use crate::json;

/// What a JSON answer is about larger than its value.
const ENVELOPE_BYTES: usize = 256;

#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(crate) struct PutParams {
    /// How long the key lives: seconds, or a duration such as `1h30m` or `500ms`. For raw bodies.
    ttl: Option<String>,
    /// The lease that the key hangs on, instead of a time to live.
    lease: Option<u64>,
    /// Answer with the record that was replaced.
    return_previous: bool,
    /// Compress the value however small it is, or do not; else the node's settings decide.
    compress: Option<bool>,
}

/// A value to store.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PutBody<'a> {
    /// The value. A string is kept as text, anything else as a document.
    #[serde(borrow)]
    #[schema(value_type = Value)]
    value: &'a RawValue,
    /// How long the key lives: whole seconds, or a text such as "1h30m" or "500ms"; null or missing: for ever.
    #[serde(borrow, default)]
    #[schema(value_type = Option<Object>)]
    ttl: Option<&'a RawValue>,
    /// The lease that the key hangs on, instead of a time to live.
    #[serde(default)]
    lease: Option<u64>,
    /// What to keep the value as, if not as described there. Binary values are given in Base64.
    #[serde(default)]
    format: Option<Format>,
    /// Answer with the record that was replaced.
    #[serde(default)]
    return_previous: bool,
    /// Compress the value however small it is, or do not; else the node's settings decide.
    #[serde(default)]
    compress: Option<bool>,
    /// Only if this is the stored value, given like `value`.
    #[serde(borrow, default, deserialize_with = "given")]
    #[schema(value_type = Option<Value>)]
    expected: Option<&'a RawValue>,
    /// What `expected` is kept as.
    #[serde(default)]
    expected_format: Option<Format>,
}

/// With a function of its own null is a value.
fn given<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

/// The answer to a put.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PutAnswer<'a> {
    /// The revision of the write.
    revision: u64,
    /// What was replaced, if that was asked for; null: nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<RecordBody>)]
    previous: Option<Option<RecordBody<'a>>>,
}

/// Stores a value.
#[utoipa::path(
    put, path = "/api/v1/kv/{key}", tag = "kv",
    params(("key" = String, Path, description = "The key, percent-encoded"), PutParams, WriteParams, ConditionParams, ConditionHeaders),
    request_body(
        content((PutBody = "application/json"), (String = "text/plain"), (Vec<u8> = "application/octet-stream")),
        description = "JSON with the value, or the raw value"),
    responses(
        (status = 200, description = "Stored", body = super::answer::Ok<PutAnswer>),
        WriteRefusals))]
pub(crate) async fn put(
    app: App,
    key: PathKey,
    Query(params, common, conditions): Query<PutParams, WriteParams, ConditionParams>,
    headers: Conditions,
    once: Once,
    declared: Declared,
    body: Body,
) -> ApiResult {
    let media_type = declared.media_type()?;
    let mut condition = headers.with(&conditions)?;
    let bytes = body::read(body, app.body_bytes_max).await?;
    let mut return_previous = params.return_previous;
    let mut lease = params.lease;
    let mut compress = params.compress;
    let mut ttl = params.ttl.as_deref().map(body::ttl_text).transpose()?;
    let value = match media_type {
        MediaType::Text => text(bytes)?,
        MediaType::Binary => Value::binary(bytes),
        MediaType::Json => {
            let body: PutBody<'_> = body::json(&bytes)?;
            return_previous |= body.return_previous;
            if let Some(id) = body.lease
                && lease.replace(id).is_some()
            {
                return Err(ApiError::invalid_request(
                    "lease is given twice, in the query and in the body",
                ));
            }
            if let Some(choice) = body.compress
                && compress.replace(choice).is_some()
            {
                return Err(ApiError::invalid_request(
                    "compress is given twice, in the query and in the body",
                ));
            }
            if let Some(written) = body.ttl {
                if ttl.is_some() {
                    return Err(ApiError::invalid_request(
                        "ttl is given twice, in the query and in the body",
                    ));
                }
                ttl = Some(body::ttl(written)?);
            }
            if let Some(value) = body.expected {
                condition.add(expected(value, body.expected_format)?)?;
            }
            value_of(body.value, body.format)?
        }
    };
    let mut put = common.shape(&app, once, app.concord.put(&key, value).compress(compress))?;
    if let Some(ttl) = ttl {
        put = put.ttl(ttl);
    }
    if let Some(id) = lease {
        put = put.lease(LeaseId::new(id));
    }
    if let Some(condition) = condition.get() {
        put = put.only_if(Ok(condition));
    }
    if return_previous {
        put = put.return_previous();
    }
    let written = put.await?;
    let previous = return_previous.then(|| written.previous.as_ref().map(RecordBody::new));
    let answer = PutAnswer {
        revision: written.revision.get(),
        previous,
    };
    Ok(tagged(ok(answer, written.revision)?, written.revision))
}

#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(crate) struct GetParams {
    /// Answer with the time that the key has left, too.
    with_ttl: bool,
    /// Read at this revision.
    revision: Option<u64>,
}

/// Reads a key.
///
/// With `Accept: text/plain` or `application/octet-stream` the answer is the value alone,
/// with its own type.
#[utoipa::path(
    get, path = "/api/v1/kv/{key}", tag = "kv",
    params(("key" = String, Path, description = "The key, percent-encoded"), GetParams, ReadParams),
    responses(
        (status = 200, description = "Found", body = super::answer::Ok<RecordBody>),
        (status = 304, description = "Still the version named in `If-None-Match`"),
        ReadRefusals))]
pub(crate) async fn get(
    app: App,
    key: PathKey,
    Query(params, common, _): Query<GetParams, ReadParams>,
    wanted: Wanted,
) -> ApiResult {
    let mut get = app.concord.get(&key).plan(common.plan(&app)?);
    if let Some(past) = revision("revision", params.revision)? {
        get = get.revision(past);
    }
    let found = get.await?;
    let Some(entry) = &found.data else {
        return Err(ApiError::new(ErrorKind::NotFound, "key not found"));
    };
    if wanted
        .unless
        .is_some_and(|known| known == etag(entry.mod_revision()))
    {
        return Ok(not_modified(entry.mod_revision(), found.revision));
    }
    let response = if wanted.raw {
        raw(entry, found.revision)?
    } else {
        let mut record = RecordBody::of_entry(key.as_bytes(), entry);
        if params.with_ttl {
            record = record.with_ttl(entry.expires_at(), found.now);
        }
        ok_sized(
            record,
            found.revision,
            entry.bytes().len() + key.as_bytes().len() + ENVELOPE_BYTES,
        )?
    };
    Ok(tagged(response, entry.mod_revision()))
}

#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(crate) struct DeleteParams {
    /// Answer with the record that was removed.
    return_previous: bool,
}

/// The answer to a delete.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DeleteAnswer<'a> {
    /// The revision of the removal, or the current one if there was nothing to remove.
    revision: u64,
    /// Whether there was something to remove.
    existed: bool,
    /// What was removed, if that was asked for; null: nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<RecordBody>)]
    previous: Option<Option<RecordBody<'a>>>,
}

/// Removes a key. Succeeds also if there is none.
#[utoipa::path(
    delete, path = "/api/v1/kv/{key}", tag = "kv",
    params(("key" = String, Path, description = "The key, percent-encoded"), DeleteParams, WriteParams, ConditionParams, ConditionHeaders),
    responses(
        (status = 200, description = "Absent now", body = super::answer::Ok<DeleteAnswer>),
        WriteRefusals))]
pub(crate) async fn delete(
    app: App,
    key: PathKey,
    Query(params, common, conditions): Query<DeleteParams, WriteParams, ConditionParams>,
    headers: Conditions,
    once: Once,
) -> ApiResult {
    let mut delete = common.shape(&app, once, app.concord.delete(&key))?;
    if let Some(condition) = headers.with(&conditions)?.get() {
        delete = delete.only_if(Ok(condition));
    }
    if params.return_previous {
        delete = delete.return_previous();
    }
    let deleted = delete.await?;
    let previous = params
        .return_previous
        .then(|| deleted.previous.as_ref().map(RecordBody::new));
    let answer = DeleteAnswer {
        revision: deleted.revision.get(),
        existed: deleted.existed,
        previous,
    };
    ok(answer, deleted.revision)
}

/// In which form the caller wants the value, if at all. Extracted, so that the headers need
/// not be copied.
#[derive(Debug)]
pub(crate) struct Wanted {
    /// The value alone.
    raw: bool,
    /// Not if it is still this version.
    unless: Option<HeaderValue>,
}

impl<S: Sync> FromRequestParts<S> for Wanted {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self {
            raw: wants_raw(&parts.headers),
            unless: parts.headers.get(IF_NONE_MATCH).cloned(),
        })
    }
}

/// Whether the caller wants the value alone. A caller that takes JSON too gets JSON.
fn wants_raw(headers: &HeaderMap) -> bool {
    let mut raw = false;
    for accepted in headers
        .get_all(ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|text| text.split(','))
    {
        match accepted.split(';').next().unwrap_or_default().trim() {
            "text/plain" | "application/octet-stream" => raw = true,
            "application/json" | "application/*" | "*/*" => return false,
            _ => {}
        }
    }
    raw
}

/// The value alone, with its own type.
fn raw(entry: &Entry, revision: Revision) -> ApiResult {
    let (body, content_type) = match entry.format() {
        ValueFormat::Binary => (entry.bytes().to_vec(), "application/octet-stream"),
        ValueFormat::Text => (entry.bytes().to_vec(), "text/plain; charset=utf-8"),
        ValueFormat::Document => {
            let document = entry
                .document()
                .ok_or_else(|| ApiError::new(ErrorKind::Corrupt, "stored document is damaged"))?;
            (json::document_to_json(&document).into_bytes(), "application/json")
        }
    };
    Ok(with_body(
        Body::from(body),
        HeaderValue::from_static(content_type),
        revision,
    ))
}
