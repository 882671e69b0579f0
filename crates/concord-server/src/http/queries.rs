//! Queries and deletes by filter.

use std::collections::BTreeMap;

use concord_query::QueryCursor;
use concord_query::limits::QUERY_LIMIT_MAX;
use concord_query::query::{Explanation, Reads};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::answer::ok;
use super::app::{App, ReadParams, revision};
use super::body::Json;
use super::condition::NoConditions;
use super::docs::WriteRefusals;
use super::error::{ApiError, ApiResult};
use super::once::Once;
use super::query::{Nothing, Query};
use super::record::RecordBody;
use super::scan::Order;
use crate::concord::Query as Asked;
use crate::error::Error;

/// What is asked of a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Verb {
    /// Records.
    Where,
    /// Keys.
    Keys,
    /// How many records match, whatever limit and offset are.
    Count,
    /// Removes all that match at one revision.
    DeleteWhere,
    /// How it would be answered.
    Explain,
}

/// A query. Filters add up: all of them must hold.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct QueryBody {
    /// `where` (default), `keys`, `count`, `delete_where` or `explain`.
    #[schema(inline)]
    verb: Option<Verb>,
    /// Only keys that start with this.
    prefix: Option<String>,
    /// Only keys that end with this.
    suffix: Option<String>,
    /// Only keys that this is in.
    contains: Option<String>,
    /// Only keys that match: `*` any run of characters, `?` one, `\` takes the next as it is.
    glob: Option<String>,
    /// Only keys of which a part matches this regular expression.
    pattern: Option<String>,
    /// Only keys from one to another, both included.
    range: Option<RangeBody>,
    /// Only keys from this one on, included.
    start: Option<String>,
    /// Only keys before this one.
    end: Option<String>,
    /// Only records of which this expression is true.
    #[serde(rename = "where")]
    only_where: Option<String>,
    /// What to order by, if not by key: a path such as `$.age`, or an expression.
    order_by: Option<String>,
    /// `asc` (default) or `desc`.
    #[schema(inline)]
    order: Option<Order>,
    /// Leave out the first so many that match.
    offset: Option<u64>,
    /// Records on the page, 1 to 10,000; 1,000 if missing. Of a delete: keys, all if missing.
    limit: Option<u64>,
    /// Go on behind an earlier page: its `next_cursor`. The other fields must be the same.
    cursor: Option<String>,
    /// Fields to show instead of values: expressions by name.
    #[serde(default)]
    select: BTreeMap<String, String>,
    /// Records to look at in this request; 100,000 if missing.
    max_scanned: Option<u64>,
    /// Answer with the time that each key has left, too.
    #[serde(default)]
    with_ttl: bool,
    /// Read at this revision. Not together with `cursor`, which has its own.
    revision: Option<u64>,
}

/// Keys from one to another.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct RangeBody {
    /// The first.
    start: String,
    /// The last: it belongs to the range.
    end: String,
}

/// The answer to a query, by its verb.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(crate) struct QueryAnswer<'a> {
    /// The records in order, of `where` and `keys`.
    #[serde(skip_serializing_if = "Option::is_none")]
    items: Option<Vec<RecordBody<'a>>>,
    /// How many: on the page; that match; that were deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<u64>,
    /// `cursor` of the next page; null: this was the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<Option<String>>,
    /// Why the page is short although there may be more: `max_scanned` or `deadline`.
    #[serde(skip_serializing_if = "Option::is_none")]
    stopped: Option<&'static str>,
    /// How many records were looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    scanned: Option<u64>,
    /// Of a delete: whether there are others that match, beyond the limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    more: Option<bool>,
    /// Of `explain`.
    #[serde(skip_serializing_if = "Option::is_none")]
    plan: Option<PlanBody>,
    /// The revision that was read at, or of the removals.
    revision: u64,
}

/// How a query would be answered.
#[derive(Debug, Serialize, ToSchema)]
struct PlanBody {
    /// `full_scan`, `key_range`, `index`, or `nothing`: no key can match.
    reads: &'static str,
    /// The index.
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<String>,
    /// The first key that can match, of a range.
    #[serde(skip_serializing_if = "Option::is_none")]
    start: Option<String>,
    /// The key before which the range ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    end: Option<String>,
    /// The conditions that the index answers.
    by_index: Vec<String>,
    /// What every record that is read is asked.
    filters: Vec<String>,
    /// Whether records are found in the order that is asked for; if not, all are looked at before the first is shown.
    in_order: bool,
    /// How many records there are to look at, as far as they were counted.
    records: u64,
    /// Whether there are more.
    more_records: bool,
}

impl PlanBody {
    fn new(plan: &Explanation) -> Self {
        let (mut index, mut start, mut end) = (None, None, None);
        match &plan.reads {
            Reads::Nothing | Reads::FullScan => {}
            Reads::Index(name) => index = Some(name.to_string()),
            Reads::KeyRange(range) => {
                let text = |key: &[u8]| String::from_utf8_lossy(key).into_owned();
                start = Some(text(range.start()));
                end = range.end().map(text);
            }
        }
        Self {
            reads: plan.reads.name(),
            index,
            start,
            end,
            by_index: plan.by_index.clone(),
            filters: plan.filters.clone(),
            in_order: plan.is_in_order,
            records: u64::try_from(plan.records).unwrap_or(u64::MAX),
            more_records: plan.is_more,
        }
    }
}

/// Finds, counts or deletes records by what their keys and values are.
#[utoipa::path(
    post, path = "/api/v1/query", tag = "query",
    params(ReadParams),
    request_body = QueryBody,
    responses(
        (status = 200, description = "A page, a number, or a plan", body = super::answer::Ok<QueryAnswer>),
        WriteRefusals))]
pub(crate) async fn query(
    app: App,
    Query(Nothing {}, common, _): Query<Nothing, ReadParams>,
    _: NoConditions,
    once: Once,
    Json(body): Json<QueryBody>,
) -> ApiResult {
    let asked = asked(&app, &body)?.plan(common.plan(&app)?);
    match body.verb.unwrap_or(Verb::Where) {
        Verb::Where => page(asked.clone().pairs().await?, &body),
        Verb::Keys => page(asked.clone().keys().await?, &body),
        Verb::Count => {
            let found = asked.clone().count().await?;
            let answer = QueryAnswer {
                count: Some(found.data),
                revision: found.revision.get(),
                ..QueryAnswer::default()
            };
            ok(answer, found.revision)
        }
        Verb::DeleteWhere => delete_where(asked, once).await,
        Verb::Explain => {
            let plan = asked.clone().explain().await?;
            let answer = QueryAnswer {
                plan: Some(PlanBody::new(&plan)),
                revision: plan.revision.get(),
                ..QueryAnswer::default()
            };
            ok(answer, plan.revision)
        }
    }
}

fn page(page: crate::concord::QueryPage, body: &QueryBody) -> ApiResult {
    let keys_only = body.verb == Some(Verb::Keys);
    let ttl_at = body.with_ttl.then_some(page.now);
    let items = page
        .records
        .iter()
        .map(|record| RecordBody::in_page(record, keys_only, ttl_at));
    let answer = QueryAnswer {
        count: Some(u64::try_from(page.records.len()).unwrap_or(u64::MAX)),
        items: Some(items.collect()),
        next_cursor: Some(page.cursor.as_ref().map(ToString::to_string)),
        stopped: page.stopped.map(concord_query::query::Stop::name),
        scanned: Some(page.scanned),
        revision: page.revision.get(),
        ..QueryAnswer::default()
    };
    ok(answer, page.revision)
}

async fn delete_where(asked: Asked<'_>, once: Once) -> ApiResult {
    let mut delete = asked.delete_where();
    if let Some(name) = once.0 {
        delete = delete.idempotency_key(name);
    }
    let deleted = delete.await?;
    let answer = QueryAnswer {
        count: Some(deleted.count),
        more: Some(deleted.more),
        revision: deleted.revision.get(),
        ..QueryAnswer::default()
    };
    ok(answer, deleted.revision)
}

fn asked<'a>(app: &'a App, body: &QueryBody) -> ApiResult<Asked<'a>> {
    let mut asked = within(app.concord.query(), body);
    if let Some(text) = &body.only_where {
        asked = asked.filter(text);
    }
    if let Some(text) = &body.order_by {
        asked = asked.order_by(text);
    }
    if body.order == Some(Order::Desc) {
        asked = asked.descending();
    }
    if let Some(offset) = body.offset {
        asked = asked.offset(offset);
    }
    if let Some(limit) = body.limit {
        // What does not fit is beyond every limit.
        asked = asked.limit(usize::try_from(limit).unwrap_or(QUERY_LIMIT_MAX + 1));
    }
    if let Some(cursor) = &body.cursor {
        asked = asked.cursor(cursor.parse::<QueryCursor>().map_err(Error::from)?);
    }
    for (name, text) in &body.select {
        asked = asked.select(name, text);
    }
    if let Some(max_scanned) = body.max_scanned {
        asked = asked.max_scanned(max_scanned);
    }
    match revision("revision", body.revision) {
        Ok(Some(past)) => Ok(asked.revision(past)),
        Ok(None) => Ok(asked),
        Err(_) => Err(ApiError::invalid_request("field `revision` must be 1 or more")
            .with("field", "revision".to_owned())),
    }
}

fn within<'a>(mut asked: Asked<'a>, body: &QueryBody) -> Asked<'a> {
    if let Some(prefix) = &body.prefix {
        asked = asked.prefix(prefix);
    }
    if let Some(suffix) = &body.suffix {
        asked = asked.suffix(suffix);
    }
    if let Some(part) = &body.contains {
        asked = asked.contains(part);
    }
    if let Some(glob) = &body.glob {
        asked = asked.glob(glob);
    }
    if let Some(pattern) = &body.pattern {
        asked = asked.pattern(pattern);
    }
    if let Some(range) = &body.range {
        asked = asked.range(&range.start, &range.end);
    }
    match (&body.start, &body.end) {
        (Some(start), Some(end)) => asked.between(start, end),
        (None, Some(end)) => asked.between("", end),
        (Some(start), None) => asked.from(start),
        (None, None) => asked,
    }
}
