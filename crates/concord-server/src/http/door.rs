//! Who asks: the one place where a request gets the node that its handler works with.
//!
//! With authentication on every path needs a token, those that do not exist too, but for the few that are listed here:
//! probes, and pages that show what there is. They get a node in nobody's name, which answers nothing else.

use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, HeaderValue};

use super::app::App;
use crate::concord::Concord;
use crate::config::AuthMode;
use crate::error::Error;
use crate::judge::Caller;

/// The other header for a token; `Authorization` is the first.
const API_KEY: &str = "x-api-key";

/// What is shown to everybody.
const OPEN: [&str; 9] = [
    "/health",
    "/ready",
    "/api/v1/health",
    "/api/v1/ready",
    "/openapi.json",
    super::docs::DOCUMENT,
    "/api/docs",
    "/docs",
    "/console",
];

/// What begins so is shown to everybody, too. The pages of the console hold nothing: what they show they ask for.
const OPEN_PAGES: [&str; 2] = ["/docs/", "/console/"];

/// Finds out who sends a request.
#[derive(Clone, Debug)]
pub(crate) struct Door {
    /// In nobody's name.
    concord: Concord,
    auth: AuthMode,
    body_bytes_max: usize,
}

impl Door {
    pub(super) fn new(concord: &Concord, auth: AuthMode, body_bytes_max: usize) -> Self {
        Self {
            concord: concord.on_behalf_of(Caller::Nobody),
            auth,
            body_bytes_max,
        }
    }

    /// The node, for what needs nobody's rights.
    pub(super) fn concord(&self) -> &Concord {
        &self.concord
    }

    /// What the handler of a request works with.
    pub(super) async fn admit(&self, path: &str, headers: &HeaderMap) -> Result<App, Error> {
        let caller = match self.auth {
            AuthMode::Off => Caller::Anonymous,
            AuthMode::On if is_open(path) => Caller::Nobody,
            AuthMode::On => {
                let caller = caller_of(headers);
                let timeout = self.concord.request_timeout();
                self.concord.service().authenticate(&caller, timeout).await?;
                caller
            }
        };
        Ok(App {
            concord: self.concord.on_behalf_of(caller),
            body_bytes_max: self.body_bytes_max,
        })
    }
}

pub(super) fn is_open(path: &str) -> bool {
    OPEN.contains(&path) || OPEN_PAGES.iter().any(|pages| path.starts_with(pages))
}

/// Who a request says it is from. Two tokens that differ are nobody's.
fn caller_of(headers: &HeaderMap) -> Caller {
    let bearers = headers.get_all(AUTHORIZATION).iter().map(bearer);
    let keys = headers.get_all(API_KEY).iter().map(|value| value.to_str().ok());
    let mut shown = bearers.chain(keys);
    let Some(Some(token)) = shown.next() else {
        return Caller::Nobody;
    };
    if shown.any(|other| other != Some(token)) {
        return Caller::Nobody;
    }
    Caller::showing(token)
}

/// The token of `Bearer TOKEN`.
fn bearer(value: &HeaderValue) -> Option<&str> {
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "sk_concord_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";

    fn is_somebody(headers: &[(&'static str, &str)]) -> bool {
        let pairs = headers
            .iter()
            .map(|(name, value)| ((*name).parse().unwrap(), value.parse().unwrap()));
        matches!(caller_of(&HeaderMap::from_iter(pairs)), Caller::Token(_))
    }

    #[test]
    fn a_token_comes_in_either_header_and_two_must_agree() {
        let (bearer, other) = (format!("Bearer {TOKEN}"), TOKEN.replace("AAEC", "BBBB"));
        assert!(is_somebody(&[("authorization", &bearer)]));
        assert!(is_somebody(&[("authorization", &format!("bEARER  {TOKEN}"))]));
        assert!(is_somebody(&[("x-api-key", TOKEN)]));
        assert!(is_somebody(&[("authorization", &bearer), ("x-api-key", TOKEN)]));
        for headers in [
            &[][..],
            &[("authorization", TOKEN)],
            &[("authorization", "Bearer ")],
            &[("authorization", &format!("Basic {TOKEN}"))],
            &[("x-api-key", &bearer)],
            &[("authorization", &bearer), ("x-api-key", &other)],
            &[("authorization", "Basic eA=="), ("x-api-key", TOKEN)],
        ] {
            assert!(!is_somebody(headers), "{headers:?}");
        }
    }

    #[test]
    fn only_probes_and_pages_are_open() {
        for path in [
            "/health",
            "/api/v1/ready",
            "/docs/",
            "/docs/index.html",
            "/openapi.json",
        ] {
            assert!(is_open(path), "{path}");
        }
        for path in [
            "/",
            "/api/v1/kv/a",
            "/health/",
            "/docsx",
            "/api/v1/status",
            "//health",
            "/API/v1/health",
        ] {
            assert!(!is_open(path), "{path}");
        }
    }
}
