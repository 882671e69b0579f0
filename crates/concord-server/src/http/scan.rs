//! Ranges of keys.

use concord_core::limits::SCAN_PAGE_RECORDS_MAX;
use concord_query::Cursor;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::answer::ok;
use super::app::{App, ReadParams, revision};
use super::docs::ReadRefusals;
use super::error::{ApiError, ApiResult};
use super::query::Query;
use super::record::RecordBody;
use crate::concord::Scan;
use crate::error::Error;
use crate::limits::SCAN_PAGE_DEFAULT;

/// The order of a listing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Order {
    /// Smallest first.
    Asc,
    /// Greatest first.
    Desc,
}

#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(crate) struct ScanParams {
    /// Only keys that start with this.
    prefix: Option<String>,
    /// Only keys from this one on, included. Not together with `prefix`.
    start: Option<String>,
    /// Only keys before this one. Not together with `prefix`.
    end: Option<String>,
    /// Records on the page, 1 to 10,000; 1,000 if missing.
    limit: Option<u64>,
    /// Go on behind an earlier page: its `next_cursor`. The other parameters must be the same.
    cursor: Option<String>,
    /// `asc` (default) or `desc`.
    #[param(inline)]
    order: Option<Order>,
    /// Leave the values out.
    keys_only: bool,
    /// Only count the keys of the range.
    count_only: bool,
    /// Answer with the time that each key has left, too.
    with_ttl: bool,
    /// Read at this revision. Not together with `cursor`, which has its own.
    revision: Option<u64>,
}

/// A page of a scan.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ScanAnswer<'a> {
    /// The records, in order. Missing with `count_only`.
    #[serde(skip_serializing_if = "Option::is_none")]
    items: Option<Vec<RecordBody<'a>>>,
    /// How many records: on this page, or with `count_only` in the whole range.
    count: u64,
    /// `cursor` of the next page; null: this was the last. A page can be short without being the last.
    next_cursor: Option<String>,
    /// The revision that was read at: the same on every page of a scan.
    revision: u64,
}

/// Lists keys, page by page, all pages at one revision.
#[utoipa::path(
    get, path = "/api/v1/kv", tag = "kv",
    params(ScanParams, ReadParams),
    responses(
        (status = 200, description = "A page", body = super::answer::Ok<ScanAnswer>),
        ReadRefusals))]
pub(crate) async fn scan(app: App, Query(params, common, _): Query<ScanParams, ReadParams>) -> ApiResult {
    let mut scan = app
        .concord
        .scan()
        .limit(limit(
            params.limit,
            SCAN_PAGE_DEFAULT as u64,
            SCAN_PAGE_RECORDS_MAX,
        )?)
        .plan(common.plan(&app)?);
    scan = within(scan, &params)?;
    if params.order == Some(Order::Desc) {
        scan = scan.descending();
    }
    scan = match (params.count_only, params.keys_only) {
        (true, true) => {
            return Err(ApiError::invalid_request(
                "keys_only has no effect beside count_only",
            ));
        }
        (true, false) => scan.count(),
        (false, true) => scan.keys_only(),
        (false, false) => scan,
    };
    if let Some(cursor) = &params.cursor {
        scan = scan.cursor(cursor.parse::<Cursor>().map_err(Error::from)?);
    }
    if let Some(past) = revision("revision", params.revision)? {
        scan = scan.revision(past);
    }
    let page = scan.await?;
    let items = page
        .records
        .iter()
        .map(|record| RecordBody::in_page(record, params.keys_only, params.with_ttl.then_some(page.now)));
    let answer = ScanAnswer {
        items: (!params.count_only).then(|| items.collect()),
        count: page.count,
        next_cursor: page.cursor.as_ref().map(ToString::to_string),
        revision: page.revision.get(),
    };
    ok(answer, page.revision)
}

fn within<'a>(scan: Scan<'a>, params: &ScanParams) -> ApiResult<Scan<'a>> {
    match (&params.prefix, &params.start, &params.end) {
        (Some(_), Some(_), _) | (Some(_), _, Some(_)) => Err(ApiError::invalid_request(
            "prefix cannot be together with start or end",
        )),
        (Some(prefix), None, None) => Ok(scan.prefix(prefix)),
        (None, Some(start), Some(end)) => Ok(scan.between(start, end)),
        (None, None, Some(end)) => Ok(scan.between("", end)),
        (None, Some(start), None) => Ok(scan.from(start)),
        (None, None, None) => Ok(scan),
    }
}

/// A page size from a query.
pub(crate) fn limit(asked: Option<u64>, default: u64, most: usize) -> ApiResult<usize> {
    usize::try_from(asked.unwrap_or(default))
        .ok()
        .filter(|limit| (1..=most).contains(limit))
        .ok_or_else(|| {
            ApiError::invalid_request(format!("query parameter `limit` must be 1 to {most}"))
                .with("parameter", "limit".to_owned())
                .with("limit_max", most as u64)
        })
}
