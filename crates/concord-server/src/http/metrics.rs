//! What Prometheus reads.

use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};

use super::app::App;
use super::error::ApiError;
use crate::error::{Error, ErrorKind};
use crate::metrics::{self, Reading};

/// Everything that this node measures, as OpenMetrics text. Needs the right to see the status.
#[utoipa::path(get, path = "/metrics", tag = "health",
    responses((status = 200, description = "The figures of this node", content_type = "application/openmetrics-text", body = String)))]
pub(crate) async fn metrics(app: App) -> Result<Response, ApiError> {
    let reading = Reading::take(&app.concord)?;
    // With many tenants that takes a while.
    let rendered = tokio::task::spawn_blocking(move || metrics::render(reading)).await;
    let text = rendered.map_err(|_| Error::new(ErrorKind::ShuttingDown, "the node stops"))??;
    Ok(([(CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response())
}
