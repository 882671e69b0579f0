//! Pages of other origins (cross-origin resource sharing, <https://fetch.spec.whatwg.org/#http-cors-protocol>): none may read
//! an answer, but for those of `http.allowed_origins`.

use std::time::Duration;

use axum::http::header::{
    AUTHORIZATION, CONTENT_TYPE, ETAG, IF_MATCH, IF_NONE_MATCH, InvalidHeaderValue, RETRY_AFTER,
};
use axum::http::{HeaderName, HeaderValue, Method};
use tower_http::cors::{AllowOrigin, CorsLayer};

use super::gate::REVISION;

/// How long a browser may remember what it was told.
const REMEMBERED: Duration = Duration::from_mins(10);

/// What pages of these origins may do; `None` where there are none. Cookies are never taken: a token is a header that the page has
/// to know.
pub(super) fn layer(origins: &[String]) -> Result<Option<CorsLayer>, InvalidHeaderValue> {
    if origins.is_empty() {
        return Ok(None);
    }
    let origins: Vec<HeaderValue> = origins
        .iter()
        .map(|origin| origin.parse())
        .collect::<Result<_, _>>()?;
    let named = HeaderName::from_static;
    let layer = CorsLayer::new()
        .allow_origin(AllowOrigin::list(origins))
        .allow_methods([
            Method::GET,
            Method::HEAD,
            Method::PUT,
            Method::POST,
            Method::DELETE,
        ])
        .allow_headers([
            AUTHORIZATION,
            CONTENT_TYPE,
            IF_MATCH,
            IF_NONE_MATCH,
            named("idempotency-key"),
            named("last-event-id"),
            named("traceparent"),
            named("tracestate"),
            named("x-api-key"),
            named("x-request-id"),
        ])
        .expose_headers([
            ETAG,
            RETRY_AFTER,
            REVISION,
            named("traceparent"),
            named("x-ratelimit-limit"),
            named("x-ratelimit-remaining"),
            named("x-ratelimit-reset"),
        ])
        .max_age(REMEMBERED);
    Ok(Some(layer))
}
