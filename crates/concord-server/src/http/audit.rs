//! The audit log of the node that is asked.

use axum::body::Body;
use axum::http::HeaderValue;
use axum::http::header::CACHE_CONTROL;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};

use super::answer::{ok, with_body};
use super::app::App;
use super::docs::ReadRefusals;
use super::error::{ApiError, ApiResult};
use super::query::{NoQuery, Query};
use super::scan::limit;
use crate::audit::{AuditCursor, AuditReport, AuditStatus, Filter, Moment};
use crate::limits::{AUDIT_PAGE_DEFAULT, AUDIT_PAGE_MAX};

/// Which lines; all of them together.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(crate) struct FilterParams {
    /// From this time on: `2026-11-22`, RFC 3339, or milliseconds since the Unix epoch.
    from: Option<String>,
    /// Up to this time, included.
    to: Option<String>,
    /// The id or name of a token, or a kind of caller: `token`, `anonymous`, `embedder`.
    principal: Option<String>,
    /// Such as `put`.
    operation: Option<String>,
    /// `ok`, the name of an error, `error` for all of these, or `denied`.
    result: Option<String>,
    /// Requests about this key.
    key: Option<String>,
    /// Requests about keys that begin so.
    prefix: Option<String>,
    /// Requests of this tenant.
    tenant: Option<String>,
}

impl FilterParams {
    fn into_filter(self) -> ApiResult<Filter> {
        if self.key.is_some() && self.prefix.is_some() {
            return Err(ApiError::invalid_request("key cannot be together with prefix"));
        }
        Ok(Filter {
            from: moment("from", self.from)?.map(|moment| moment.first),
            upto: moment("to", self.to)?.map(|moment| moment.last),
            principal: self.principal,
            operation: self.operation,
            result: self.result,
            key: self.key.map(String::into_bytes),
            prefix: self.prefix.map(String::into_bytes),
            tenant: self.tenant,
        })
    }
}

fn moment(name: &'static str, text: Option<String>) -> ApiResult<Option<Moment>> {
    let parse = |text: String| {
        Moment::parse(&text).ok_or_else(|| {
            ApiError::invalid_request(format!(
                "query parameter `{name}` must be a time such as 2026-11-22 or 2026-11-22T05:49:09Z, not `{text:.40}`"
            ))
            .with("parameter", name.to_owned())
        })
    };
    text.map(parse).transpose()
}

/// Which page.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(crate) struct PageParams {
    /// `newest` (default) or `oldest`: which lines come first.
    #[param(inline)]
    first: Option<First>,
    /// At most so many lines: 100 unless said otherwise, 1,000 at most.
    limit: Option<u64>,
    /// Where the page before ended.
    cursor: Option<String>,
}

/// Which lines come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum First {
    /// The newest.
    Newest,
    /// The oldest.
    Oldest,
}

/// A page of lines.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AuditPage)]
pub(crate) struct AuditPageBody {
    /// Lines of the audit log, as they are in the file: see docs/audit.md.
    #[schema(value_type = Vec<Object>)]
    lines: Vec<Box<RawValue>>,
    /// Where to go on; null: there are no more. A page that is not full may have one: a request looks at a
    /// million lines at most.
    next_cursor: Option<String>,
}

/// Finds lines of this node's audit log.
#[utoipa::path(
    get, path = "/api/v1/audit", tag = "audit",
    params(FilterParams, PageParams),
    responses(
        (status = 200, description = "Lines", body = super::answer::Ok<AuditPageBody>),
        ReadRefusals))]
pub(crate) async fn query(app: App, Query(filter, page, _): Query<FilterParams, PageParams>) -> ApiResult {
    let mut query = app
        .concord
        .audit()
        .query()
        .filter(filter.into_filter()?)
        .limit(limit(page.limit, AUDIT_PAGE_DEFAULT as u64, AUDIT_PAGE_MAX)?);
    if page.first == Some(First::Oldest) {
        query = query.oldest_first();
    }
    if let Some(cursor) = page.cursor {
        query = query.cursor(cursor.parse::<AuditCursor>()?);
    }
    let found = query.await?;
    let shown = |line: String| {
        // What is no JSON any more is shown as the text that it is.
        RawValue::from_string(line).or_else(|broken| serde_json::value::to_raw_value(&broken.to_string()))
    };
    let lines: Result<Vec<_>, serde_json::Error> = found.lines.into_iter().map(shown).collect();
    let answer = AuditPageBody {
        lines: lines.unwrap_or_default(),
        next_cursor: found.cursor.map(|cursor| cursor.to_string()),
    };
    ok(answer, app.concord.revision())
}

/// Every line that matches, the oldest first, without limit: the file format itself, one JSON object a line.
#[utoipa::path(
    get, path = "/api/v1/audit/export", tag = "audit",
    params(FilterParams),
    responses(
        (status = 200, description = "The lines", body = String, content_type = "application/x-ndjson"),
        ReadRefusals))]
pub(crate) async fn export(app: App, Query(filter, _, _): Query<FilterParams>) -> ApiResult {
    let chunks = app
        .concord
        .audit()
        .query()
        .filter(filter.into_filter()?)
        .export()
        .await?;
    let body = Body::from_stream(chunks);
    let mut response = with_body(
        body,
        HeaderValue::from_static("application/x-ndjson"),
        app.concord.revision(),
    );
    response
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// What the check of the log has come to.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AuditReport)]
pub(crate) struct AuditReportBody {
    #[serde(flatten)]
    #[schema(value_type = Object)]
    report: AuditReport,
}

/// Checks every line of this node's audit log, and that it ends as the node remembers.
#[utoipa::path(
    get, path = "/api/v1/audit/verify", tag = "audit",
    responses(
        (status = 200, description = "What was found; `intact` says whether anything was", body = super::answer::Ok<AuditReportBody>),
        ReadRefusals))]
pub(crate) async fn verify(app: App, _: NoQuery) -> ApiResult {
    let report = app.concord.audit().verify().await?;
    ok(AuditReportBody { report }, app.concord.revision())
}

/// How an audit log is doing.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AuditStatus)]
pub(crate) struct AuditStatusBody {
    /// Whether there is one.
    enabled: bool,
    /// Lines written since the node started.
    lines: u64,
    /// Bytes of them.
    bytes: u64,
    /// Lines that could not be kept since the node started.
    lost: u64,
    /// Why nothing can be written now, if so.
    failure: Option<String>,
    /// The number of the file being written.
    file: u64,
    /// The number of the last line.
    last_seq: u64,
    /// Its hash: worth noting elsewhere, together with the number.
    last_hash: String,
}

impl From<AuditStatus> for AuditStatusBody {
    fn from(status: AuditStatus) -> Self {
        Self {
            enabled: status.enabled,
            lines: status.lines,
            bytes: status.bytes,
            lost: status.lost,
            failure: status.failure,
            file: status.file,
            last_seq: status.last_seq,
            last_hash: status.last_hash,
        }
    }
}

/// How this node's audit log is doing.
#[utoipa::path(
    get, path = "/api/v1/audit/status", tag = "audit",
    responses(
        (status = 200, description = "How it is doing", body = super::answer::Ok<AuditStatusBody>),
        ReadRefusals))]
pub(crate) async fn status(app: App, _: NoQuery) -> ApiResult {
    let status = app.concord.audit().status()?;
    ok(AuditStatusBody::from(status), app.concord.revision())
}
