//! The console: pages for people, which ask the public API in the name of whoever's token the tab was given. The files
//! are those beside this one, as they are: no build, no internet, and no rights of their own.

use axum::Router;
use axum::body::Bytes;
use axum::http::HeaderValue;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::response::{IntoResponse, Redirect};
use axum::routing::get;

/// Nothing but these files, and no request but to the node that served them. A key or a value that were taken for
/// markup could load nothing and run nothing.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; \
     form-action 'none'; frame-ancestors 'none'",
);

struct Page {
    path: &'static str,
    media_type: HeaderValue,
    content: &'static [u8],
}

macro_rules! pages {
    ($($path:literal: $file:literal $media_type:literal,)*) => {
        [$(Page {
            path: concat!("/console/", $path),
            media_type: HeaderValue::from_static($media_type),
            content: include_bytes!(concat!("console/", $file)),
        }),*]
    };
}

const PAGES: [Page; 11] = pages! {
    "": "index.html" "text/html; charset=utf-8",
    "style.css": "style.css" "text/css; charset=utf-8",
    "icon.svg": "icon.svg" "image/svg+xml",
    "app.js": "app.js" "text/javascript; charset=utf-8",
    "api.js": "api.js" "text/javascript; charset=utf-8",
    "dom.js": "dom.js" "text/javascript; charset=utf-8",
    "cluster.js": "cluster.js" "text/javascript; charset=utf-8",
    "keys.js": "keys.js" "text/javascript; charset=utf-8",
    "watch.js": "watch.js" "text/javascript; charset=utf-8",
    "access.js": "access.js" "text/javascript; charset=utf-8",
    "tenants.js": "tenants.js" "text/javascript; charset=utf-8",
};

/// The routes of the console.
pub(super) fn routes() -> Router {
    let router = Router::new().route("/console", get(|| async { Redirect::to("/console/") }));
    PAGES.into_iter().fold(router, |router, page| {
        let headers = [
            (CONTENT_TYPE, page.media_type),
            (CONTENT_SECURITY_POLICY, POLICY),
            (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
            (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
            // A node of another version has other files under these names.
            (CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        ];
        let answer = (headers, Bytes::from_static(page.content));
        router.route(page.path, get(move || async move { answer.into_response() }))
    })
}
