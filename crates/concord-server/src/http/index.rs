//! Secondary indexes.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use concord_core::index::{IndexProgress, IndexStatus};
use concord_core::limits::SCAN_PAGE_RECORDS_MAX;
use concord_query::IndexCursor;
use serde::{Deserialize, Serialize};
use serde_json::Value as JsonValue;
use utoipa::{IntoParams, ToSchema};

use super::answer::ok;
use super::app::{App, ReadParams, WriteParams, revision};
use super::body::Json;
use super::condition::NoConditions;
use super::decode::percent_decode;
use super::docs::{ReadRefusals, WriteRefusals};
use super::error::{ApiError, ApiResult};
use super::once::Once;
use super::query::{Nothing, Query};
use super::record::RecordBody;
use super::scan::{Order, limit};
use crate::concord::{IndexValue, Lookup};
use crate::error::Error;
use crate::limits::SCAN_PAGE_DEFAULT;

/// Where indexes begin in a path.
const INDEXES: &str = "/api/v1/indexes/";

/// The name of an index in a path, percent-decoded.
#[derive(Debug)]
pub(crate) struct PathIndex(String);

impl<S: Sync> FromRequestParts<S> for PathIndex {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> ApiResult<Self> {
        let rest = parts.uri.path().strip_prefix(INDEXES).unwrap_or_default();
        let segment = rest.split('/').next().unwrap_or_default();
        let name = percent_decode(segment, false)
            .map_err(|malformed| ApiError::invalid_request(format!("index name {}", malformed.reason())))?;
        Ok(Self(name.into_owned()))
    }
}

/// An index to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateIndexBody {
    /// Its name, 1 to 255 bytes.
    name: String,
    /// A path into documents, such as `$.email` or `$.tags[*]`, or an expression.
    extractor: String,
    /// Only of keys that start with this.
    #[serde(default)]
    prefix: String,
    /// Whether no two records may have a value in common.
    #[serde(default)]
    unique: bool,
    /// Whether it is filled with what is there already: true if missing.
    #[serde(default = "yes")]
    fill: bool,
}

const fn yes() -> bool {
    true
}

/// An index was made, dropped or is about to be filled.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct IndexChangeAnswer {
    /// The current revision: an index is no change of a key.
    revision: u64,
}

/// Makes an index.
#[utoipa::path(
    post, path = "/api/v1/indexes", tag = "indexes",
    params(WriteParams),
    request_body = CreateIndexBody,
    responses(
        (status = 200, description = "It is kept from now on, and filled", body = super::answer::Ok<IndexChangeAnswer>),
        WriteRefusals))]
pub(crate) async fn create(
    app: App,
    Query(Nothing {}, common, _): Query<Nothing, WriteParams>,
    _: NoConditions,
    once: Once,
    Json(body): Json<CreateIndexBody>,
) -> ApiResult {
    let mut create = app
        .concord
        .create_index(&body.name, &body.extractor)
        .prefix(body.prefix);
    if body.unique {
        create = create.unique();
    }
    if !body.fill {
        create = create.without_existing();
    }
    let revision = common.shape(&app, once, create)?.await?;
    ok(
        IndexChangeAnswer {
            revision: revision.get(),
        },
        revision,
    )
}

/// Forgets an index.
#[utoipa::path(
    delete, path = "/api/v1/indexes/{name}", tag = "indexes",
    params(("name" = String, Path, description = "The index"), WriteParams),
    responses(
        (status = 200, description = "It is gone", body = super::answer::Ok<IndexChangeAnswer>),
        WriteRefusals))]
pub(crate) async fn drop_index(
    app: App,
    PathIndex(name): PathIndex,
    Query(Nothing {}, common, _): Query<Nothing, WriteParams>,
    _: NoConditions,
    once: Once,
) -> ApiResult {
    let revision = common.shape(&app, once, app.concord.drop_index(name))?.await?;
    ok(
        IndexChangeAnswer {
            revision: revision.get(),
        },
        revision,
    )
}

/// Empties an index and fills it anew.
#[utoipa::path(
    post, path = "/api/v1/indexes/{name}/reindex", tag = "indexes",
    params(("name" = String, Path, description = "The index"), WriteParams),
    responses(
        (status = 200, description = "It is being filled", body = super::answer::Ok<IndexChangeAnswer>),
        WriteRefusals))]
pub(crate) async fn reindex(
    app: App,
    PathIndex(name): PathIndex,
    Query(Nothing {}, common, _): Query<Nothing, WriteParams>,
    _: NoConditions,
    once: Once,
) -> ApiResult {
    let revision = common.shape(&app, once, app.concord.reindex(name))?.await?;
    ok(
        IndexChangeAnswer {
            revision: revision.get(),
        },
        revision,
    )
}

/// An index.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Index)]
pub(crate) struct IndexBody {
    /// Its name.
    name: String,
    /// How values are found.
    extractor: String,
    /// The start of the keys that it is about; empty: all keys.
    prefix: String,
    /// Whether no two records may have a value in common.
    unique: bool,
    /// `ready`; `filling`; `partial`: it is about what was written after `since_revision`; `failed`: two
    /// records had a value that was to be unique.
    state: &'static str,
    /// Keys that were looked at, of one that is being filled.
    #[serde(skip_serializing_if = "Option::is_none")]
    keys_visited: Option<u64>,
    /// Of a partial one.
    #[serde(skip_serializing_if = "Option::is_none")]
    since_revision: Option<u64>,
    /// The second of the records with one value, of one that has failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    duplicate: Option<String>,
    /// How many entries it has.
    entries: u64,
}

impl IndexBody {
    fn new(status: &IndexStatus) -> Self {
        let definition = &status.definition;
        let (mut keys_visited, mut since_revision, mut duplicate) = (None, None, None);
        let state = match &status.progress {
            IndexProgress::Ready => "ready",
            IndexProgress::Filling { keys } => {
                keys_visited = Some(*keys);
                "filling"
            }
            IndexProgress::WritesSince(since) => {
                since_revision = Some(since.get());
                "partial"
            }
            IndexProgress::Failed { duplicate: key } => {
                duplicate = Some(key.to_string());
                "failed"
            }
        };
        Self {
            name: definition.name().to_string(),
            extractor: definition.extractor().to_string(),
            prefix: String::from_utf8_lossy(definition.prefix()).into_owned(),
            unique: definition.is_unique(),
            state,
            keys_visited,
            since_revision,
            duplicate,
            entries: u64::try_from(status.entries).unwrap_or(u64::MAX),
        }
    }
}

/// Every index, in order of names.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct IndexListAnswer {
    /// The indexes.
    indexes: Vec<IndexBody>,
}

/// Lists indexes.
#[utoipa::path(
    get, path = "/api/v1/indexes", tag = "indexes",
    params(ReadParams),
    responses(
        (status = 200, description = "All of them", body = super::answer::Ok<IndexListAnswer>),
        ReadRefusals))]
pub(crate) async fn list(app: App, Query(Nothing {}, common, _): Query<Nothing, ReadParams>) -> ApiResult {
    let found = app.concord.indexes().plan(common.plan(&app)?).await?;
    let answer = IndexListAnswer {
        indexes: found.iter().map(IndexBody::new).collect(),
    };
    ok(answer, found.revision)
}

/// An index and how far it is.
#[utoipa::path(
    get, path = "/api/v1/indexes/{name}", tag = "indexes",
    params(("name" = String, Path, description = "The index"), ReadParams),
    responses(
        (status = 200, description = "It exists", body = super::answer::Ok<IndexBody>),
        ReadRefusals))]
pub(crate) async fn show(
    app: App,
    PathIndex(name): PathIndex,
    Query(Nothing {}, common, _): Query<Nothing, ReadParams>,
) -> ApiResult {
    let found = app.concord.index(name).plan(common.plan(&app)?).await?;
    ok(IndexBody::new(&found), found.revision)
}

#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(crate) struct LookupParams {
    /// Only records with this value: a JSON string, number or bool. Not together with bounds.
    value: Option<String>,
    /// Only values from this one on, included.
    from: Option<String>,
    /// Only values after this one.
    after: Option<String>,
    /// Only values up to this one, included.
    upto: Option<String>,
    /// Only values before this one.
    before: Option<String>,
    /// Records on the page, 1 to 10,000; 1,000 if missing.
    limit: Option<u64>,
    /// Go on behind an earlier page: its `next_cursor`. The other parameters must be the same.
    cursor: Option<String>,
    /// `asc` (default) or `desc`.
    #[param(inline)]
    order: Option<Order>,
    /// Leave the records' own values out.
    keys_only: bool,
    /// Answer with the time that each key has left, too.
    with_ttl: bool,
    /// Read at this revision. Not together with `cursor`, which has its own.
    revision: Option<u64>,
}

/// A page of a lookup.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LookupAnswer<'a> {
    /// The records, in the order of the values that they were found by.
    items: Vec<RecordBody<'a>>,
    /// How many there are on the page.
    count: u64,
    /// `cursor` of the next page; null: this was the last. A page can be short without being the last.
    next_cursor: Option<String>,
    /// The revision that was read at: the same on every page of a lookup.
    revision: u64,
}

/// Finds records by value or by a range of values, page by page, all pages at one revision.
#[utoipa::path(
    get, path = "/api/v1/indexes/{name}/lookup", tag = "indexes",
    params(("name" = String, Path, description = "The index"), LookupParams, ReadParams),
    responses(
        (status = 200, description = "A page", body = super::answer::Ok<LookupAnswer>),
        ReadRefusals))]
pub(crate) async fn lookup(
    app: App,
    PathIndex(name): PathIndex,
    Query(params, common, _): Query<LookupParams, ReadParams>,
) -> ApiResult {
    let limit = limit(params.limit, SCAN_PAGE_DEFAULT as u64, SCAN_PAGE_RECORDS_MAX)?;
    let lookup = app.concord.lookup(name).limit(limit).plan(common.plan(&app)?);
    let mut lookup = within(lookup, &params)?;
    if params.order == Some(Order::Desc) {
        lookup = lookup.descending();
    }
    if params.keys_only {
        lookup = lookup.keys_only();
    }
    if let Some(cursor) = &params.cursor {
        lookup = lookup.cursor(cursor.parse::<IndexCursor>().map_err(Error::from)?);
    }
    if let Some(past) = revision("revision", params.revision)? {
        lookup = lookup.revision(past);
    }
    let page = lookup.await?;
    let items = page
        .records
        .iter()
        .map(|record| RecordBody::in_page(record, params.keys_only, params.with_ttl.then_some(page.now)));
    let answer = LookupAnswer {
        items: items.collect(),
        count: u64::try_from(page.records.len()).unwrap_or(u64::MAX),
        next_cursor: page.cursor.as_ref().map(ToString::to_string),
        revision: page.revision.get(),
    };
    ok(answer, page.revision)
}

fn within<'a>(mut lookup: Lookup<'a>, params: &LookupParams) -> ApiResult<Lookup<'a>> {
    let bounds = [&params.from, &params.after, &params.upto, &params.before];
    if params.value.is_some() && bounds.iter().any(|bound| bound.is_some()) {
        return Err(ApiError::invalid_request("value cannot be together with bounds"));
    }
    for (first, second, names) in [
        (&params.from, &params.after, "from and after"),
        (&params.upto, &params.before, "upto and before"),
    ] {
        if first.is_some() && second.is_some() {
            return Err(ApiError::invalid_request(format!("{names} exclude each other")));
        }
    }
    if let Some(text) = &params.value {
        lookup = lookup.equal(value_of("value", text)?);
    }
    if let Some(text) = &params.from {
        lookup = lookup.from(value_of("from", text)?);
    }
    if let Some(text) = &params.after {
        lookup = lookup.after(value_of("after", text)?);
    }
    if let Some(text) = &params.upto {
        lookup = lookup.upto(value_of("upto", text)?);
    }
    if let Some(text) = &params.before {
        lookup = lookup.before(value_of("before", text)?);
    }
    Ok(lookup)
}

/// A value as it is written in a query: JSON.
fn value_of(name: &'static str, text: &str) -> ApiResult<IndexValue> {
    let refused = || {
        let message = format!(
            "query parameter `{name}` must be a JSON string, number or bool such as \"a\" or 7, not `{text:.40}`"
        );
        ApiError::invalid_request(message).with("parameter", name.to_owned())
    };
    let value: JsonValue = serde_json::from_str(text).map_err(|_| refused())?;
    Ok(match value {
        JsonValue::Bool(value) => value.into(),
        JsonValue::String(value) => value.into(),
        JsonValue::Number(number) => match (number.as_i64(), number.as_u64(), number.as_f64()) {
            (Some(value), _, _) => value.into(),
            (None, Some(value), _) => value.into(),
            // A whole number beyond 64 bits is not rounded to another one.
            (None, None, Some(value)) if text.contains(['.', 'e', 'E']) => value.into(),
            (None, None, _) => return Err(refused()),
        },
        JsonValue::Null | JsonValue::Array(_) | JsonValue::Object(_) => return Err(refused()),
    })
}

#[cfg(test)]
mod tests {
    use concord_core::expr::Literal;

    use super::*;

    fn read(text: &str) -> Option<IndexValue> {
        value_of("value", text).ok()
    }

    #[test]
    fn values_are_json_scalars_and_exact() {
        assert_eq!(read("\"a\""), Some("a".into()));
        assert_eq!(read("7"), Some(7_i64.into()));
        assert_eq!(read("18446744073709551615"), Some(u64::MAX.into()));
        assert_eq!(read("1.5"), Some(1.5.into()));
        assert_eq!(read("true"), Some(Literal::Bool(true).into()));
        for text in [
            "a",
            "",
            "null",
            "[1]",
            "{}",
            "NaN",
            "1e999",
            "18446744073709551616",
            "7 8",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
