//! How often a tenant may still ask, told with every answer to one of its tokens.

use axum::http::{HeaderMap, HeaderName, HeaderValue};

use crate::concord::Concord;

const LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
const RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");

/// Adds what the caller has left, if its requests are limited.
pub(super) fn tell(concord: &Concord, headers: &mut HeaderMap) {
    let caller = concord.caller();
    if !caller.is_judged() {
        return;
    }
    if let Some(allowance) = concord.service().allowance(caller) {
        headers.insert(LIMIT, HeaderValue::from(allowance.limit));
        headers.insert(REMAINING, HeaderValue::from(allowance.remaining));
        headers.insert(RESET, HeaderValue::from(allowance.reset_seconds));
    }
}
