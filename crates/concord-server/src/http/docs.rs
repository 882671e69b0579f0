//! The OpenAPI document, and the pages that show it. Neither needs the internet.

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::response::{Redirect, Response};
use axum::routing::get;
use serde::Serialize;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{Components, OpenApi as Document};
use utoipa::{IntoResponses, Modify, OpenApi, ToSchema};
use utoipa_swagger_ui::{Config, SwaggerUi};

/// Where the document is served.
pub(crate) const DOCUMENT: &str = "/api/v1/openapi.json";

/// The parts of the document that no handler says.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Concord",
        description = "A strongly consistent key-value store. Every answer carries `X-Concord-Revision`. Errors are always \
                       `{\"status\":\"error\",\"error\":{\"code\",\"message\",\"details\"}}`.",
        license(name = "MIT OR Apache-2.0")
    ),
    modifiers(&TokenSchemes),
    security(("bearer" = []), ("api_key" = [])),
    tags(
        (name = "kv", description = "Keys and values"),
        (name = "watch", description = "Changes as they happen"),
        (name = "query", description = "Records by what they are"),
        (name = "indexes", description = "Values that records are found by"),
        (name = "leases", description = "What clients keep alive, with keys that go when it ends"),
        (name = "locks", description = "Locks with fencing tokens"),
        (name = "elections", description = "Elections with fencing tokens"),
        (name = "services", description = "Who serves what, for as long as it lives"),
        (name = "access", description = "Tokens, roles, ACLs, and who may do what"),
        (name = "tenants", description = "Who shares the store, with how much of it"),
        (name = "cluster", description = "Status and administration"),
        (name = "audit", description = "Who did what on the asked node"),
        (name = "backups", description = "Consistent cuts of everything that is replicated"),
        (name = "health", description = "Probes")
    )
)]
pub(crate) struct Skeleton;

/// How a token is shown, where authentication is on.
struct TokenSchemes;

impl Modify for TokenSchemes {
    fn modify(&self, document: &mut Document) {
        let components = document.components.get_or_insert_with(Components::new);
        components.add_security_scheme("bearer", SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)));
        let key = ApiKey::Header(ApiKeyValue::new("X-API-Key"));
        components.add_security_scheme("api_key", SecurityScheme::ApiKey(key));
    }
}

/// Any error.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Error)]
pub(crate) struct ErrorBody {
    /// Always `error`.
    status: String,
    /// The error.
    error: ErrorPart,
}

/// What went wrong.
#[derive(Debug, Serialize, ToSchema)]
struct ErrorPart {
    /// The name, such as `not_found`. Stable.
    code: String,
    /// What happened, for people.
    message: String,
    /// Facts, by name.
    details: ErrorDetails,
}

/// Facts about an error. There may be more, by name.
#[derive(Debug, Serialize, ToSchema)]
struct ErrorDetails {
    /// Whether the request may have changed something. `false` is a promise.
    may_have_written: bool,
    /// Whether the same request may succeed later, without any danger in trying.
    retryable: bool,
    /// What the caller can do.
    advice: String,
}

/// How writes are refused.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "read by the document only")]
pub(crate) enum WriteRefusals {
    /// Nothing was written, but for 408 `outcome_unknown`.
    #[response(status = "4XX")]
    Refused(ErrorBody),
    /// Nothing was written; try again.
    #[response(status = 503)]
    NotNow(ErrorBody),
}

/// How reads are refused.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "read by the document only")]
pub(crate) enum ReadRefusals {
    /// Not found, or the request is wrong.
    #[response(status = "4XX")]
    Refused(ErrorBody),
    /// Cannot be answered now; try again.
    #[response(status = 503)]
    NotNow(ErrorBody),
}

/// The routes that show `document`.
pub(super) fn routes(document: &Document, with_pages: bool) -> Result<Router, serde_json::Error> {
    let json = Bytes::from(serde_json::to_vec(document)?);
    let serve = move || {
        let json = json.clone();
        async move {
            let mut response = Response::new(Body::from(json));
            response
                .headers_mut()
                .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            response
        }
    };
    let router = Router::new()
        .route(DOCUMENT, get(serve.clone()))
        .route("/openapi.json", get(serve));
    if !with_pages {
        return Ok(router);
    }
    let pages = SwaggerUi::new("/docs").config(Config::from(DOCUMENT).validator_url("none"));
    Ok(router
        .merge(Router::from(pages))
        .route("/api/docs", get(|| async { Redirect::to("/docs/") })))
}
