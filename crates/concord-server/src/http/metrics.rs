//! What Prometheus reads.

use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};

use super::app::App;
use super::error::ApiError;
use crate::metrics;

/// Everything that this node measures, as OpenMetrics text. Needs the right to see the status.
#[utoipa::path(get, path = "/metrics", tag = "health",
    responses((status = 200, description = "The figures of this node", content_type = "application/openmetrics-text", body = String)))]
pub(crate) async fn metrics(app: App) -> Result<Response, ApiError> {
    let text = metrics::render(&app.concord)?;
    Ok(([(CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response())
}
