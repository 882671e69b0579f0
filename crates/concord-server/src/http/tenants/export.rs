//! What all tenants take, at one revision: to be billed by.

use axum::body::{Body, Bytes};
use axum::http::HeaderValue;
use axum::http::header::CACHE_CONTROL;
use futures::stream;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::super::answer::with_body;
use super::super::app::App;
use super::super::docs::ReadRefusals;
use super::super::error::ApiResult;
use super::super::query::Query;
use super::limit;
use crate::error::Error;
use crate::tenants::{Limit, Tenant, TenantExport};

/// Tenants that are written at once.
const CHUNK_TENANTS: usize = 256;

/// How the export is written.
#[derive(Clone, Copy, Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ExportFormat {
    /// A JSON object a line.
    #[default]
    Jsonl,
    /// Comma-separated values under a line with their names.
    Csv,
}

/// How the export is written.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(crate) struct ExportParams {
    /// `jsonl` (default) or `csv`.
    #[param(inline)]
    format: ExportFormat,
}

/// A line of the export. The fields and their order are stable; later versions may add some behind them.
#[derive(Debug, Serialize)]
struct Line<'a> {
    at: u64,
    revision: u64,
    tenant: &'a str,
    name: &'a str,
    keys: u64,
    storage_bytes: u64,
    #[serde(serialize_with = "limit::shown")]
    max_keys: Limit,
    #[serde(serialize_with = "limit::shown")]
    max_storage_bytes: Limit,
    #[serde(serialize_with = "limit::shown")]
    max_ops_per_sec: Limit,
    created_at: u64,
}

/// What stands above the values.
const CSV_HEAD: &str =
    "at,revision,tenant,name,keys,storage_bytes,max_keys,max_storage_bytes,max_ops_per_sec,created_at\n";

impl<'a> Line<'a> {
    fn of(tenant: &'a Tenant, at: u64, revision: u64) -> Self {
        Self {
            at,
            revision,
            tenant: tenant.id.as_str(),
            name: tenant.name.as_str(),
            keys: tenant.usage.keys,
            storage_bytes: tenant.usage.storage_bytes,
            max_keys: tenant.quota.max_keys,
            max_storage_bytes: tenant.quota.max_storage_bytes,
            max_ops_per_sec: tenant.quota.max_ops_per_sec,
            created_at: tenant.created_at.get(),
        }
    }

    fn write(&self, format: ExportFormat, out: &mut Vec<u8>) {
        match format {
            // Only text and numbers: nothing that JSON could refuse.
            ExportFormat::Jsonl => out.extend(serde_json::to_vec(self).unwrap_or_default()),
            // Ids and names have no character that would need quotes.
            ExportFormat::Csv => {
                let Self {
                    at,
                    revision,
                    tenant,
                    name,
                    keys,
                    storage_bytes,
                    ..
                } = self;
                let Self {
                    max_keys,
                    max_storage_bytes,
                    max_ops_per_sec,
                    created_at,
                    ..
                } = self;
                let line = format!(
                    "{at},{revision},{tenant},{name},{keys},{storage_bytes},{max_keys},{max_storage_bytes},\
                     {max_ops_per_sec},{created_at}"
                );
                out.extend_from_slice(line.as_bytes());
            }
        }
        out.push(b'\n');
    }
}

/// The next lines behind what is begun, and whether they are the last.
fn chunk(export: &mut TenantExport, format: ExportFormat, mut out: Vec<u8>) -> Result<(Bytes, bool), Error> {
    let (at, revision) = (export.at().get(), export.revision().get());
    for _ in 0..CHUNK_TENANTS {
        match export.next().transpose()? {
            Some(tenant) => Line::of(&tenant, at, revision).write(format, &mut out),
            None => return Ok((out.into(), true)),
        }
    }
    Ok((out.into(), false))
}

/// What all tenants take and may take, at one revision: to be billed by.
#[utoipa::path(
    get, path = "/api/v1/usage", tag = "tenants",
    params(ExportParams),
    responses(
        (status = 200, description = "A line for each tenant, in the order of their ids", content_type = "application/x-ndjson", body = String),
        ReadRefusals))]
pub(crate) async fn export(app: App, Query(params, ..): Query<ExportParams>) -> ApiResult {
    let export = app.concord.tenants().export().await?;
    let (revision, format) = (export.revision(), params.format);
    let (content_type, head) = match format {
        ExportFormat::Jsonl => ("application/x-ndjson", ""),
        ExportFormat::Csv => ("text/csv; charset=utf-8", CSV_HEAD),
    };
    let state = Some((export, Vec::from(head)));
    let chunks = stream::unfold(state, move |state| async move {
        let (mut export, begun) = state?;
        match chunk(&mut export, format, begun) {
            Ok((chunk, true)) => Some((Ok(chunk), None)),
            Ok((chunk, false)) => Some((Ok(chunk), Some((export, Vec::new())))),
            // The answer breaks off: nobody bills by a part of it.
            Err(unreadable) => Some((Err(unreadable), None)),
        }
    });
    let body = Body::from_stream(chunks);
    let mut response = with_body(body, HeaderValue::from_static(content_type), revision);
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}
