//! Liveness and readiness, for probes and load balancers.

use serde::Serialize;
use utoipa::ToSchema;

use super::answer::ok;
use super::app::App;
use super::error::{ApiError, ApiResult};
use crate::concord::Readiness;
use crate::error::ErrorKind;

/// A sign of life.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct HealthAnswer {
    /// Always `alive`.
    health: &'static str,
}

/// A node that can serve.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ReadyAnswer {
    /// Always true.
    ready: bool,
}

/// Whether the process answers. Says nothing about the cluster: see `/ready`.
#[utoipa::path(get, path = "/health", tag = "health",
    responses((status = 200, description = "Alive", body = super::answer::Ok<HealthAnswer>)))]
pub(crate) async fn health(app: App) -> ApiResult {
    alive(&app)
}

/// The same as `/health`.
#[utoipa::path(get, path = "/api/v1/health", tag = "health",
    responses((status = 200, description = "Alive", body = super::answer::Ok<HealthAnswer>)))]
pub(crate) async fn api_health(app: App) -> ApiResult {
    alive(&app)
}

/// Whether the node can serve: it has a leader with a majority, and has caught up.
#[utoipa::path(get, path = "/ready", tag = "health",
    responses(
        (status = 200, description = "Ready", body = super::answer::Ok<ReadyAnswer>),
        (status = 503, description = "Not ready, with the reason", body = super::docs::ErrorBody)))]
pub(crate) async fn ready(app: App) -> ApiResult {
    readiness(&app)
}

/// The same as `/ready`.
#[utoipa::path(get, path = "/api/v1/ready", tag = "health",
    responses(
        (status = 200, description = "Ready", body = super::answer::Ok<ReadyAnswer>),
        (status = 503, description = "Not ready, with the reason", body = super::docs::ErrorBody)))]
pub(crate) async fn api_ready(app: App) -> ApiResult {
    readiness(&app)
}

fn alive(app: &App) -> ApiResult {
    ok(HealthAnswer { health: "alive" }, app.concord.revision())
}

fn readiness(app: &App) -> ApiResult {
    match app.concord.readiness() {
        Readiness::Ready => ok(ReadyAnswer { ready: true }, app.concord.revision()),
        Readiness::NotReady { reason } => {
            Err(ApiError::new(ErrorKind::NotReady, format!("not ready: {reason}")).with("reason", reason))
        }
    }
}
