//! Who asks: the one place where a request gets the node that its handler works with.
//!
//! With authentication on every path needs a token, those that do not exist too, but for the few that are listed here:
//! probes, and pages that show what there is. They get a node in nobody's name, which answers nothing else.

use std::sync::Arc;

use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, HeaderValue};
use tower_http::cors::CorsLayer;

use super::app::App;
use super::secure::ClientCertificate;
use crate::concord::Concord;
use crate::config::{AuthMode, Config};
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

/// What the listeners of a node take for who somebody is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Proofs {
    auth: AuthMode,
    /// A certificate, besides tokens.
    certificates: bool,
}

impl Proofs {
    pub(crate) const fn of(config: &Config) -> Self {
        Self {
            auth: config.auth,
            certificates: config.auth_by_certificate,
        }
    }
}

/// Finds out who sends a request.
#[derive(Clone, Debug)]
pub(crate) struct Door {
    /// In nobody's name.
    concord: Concord,
    proofs: Proofs,
    body_bytes_max: usize,
    /// Pages of other origins that may see answers, and ask.
    pages: Option<Arc<CorsLayer>>,
}

impl Door {
    pub(super) fn new(concord: &Concord, proofs: Proofs, body_bytes_max: usize) -> Self {
        Self {
            concord: concord.on_behalf_of(Caller::Nobody),
            proofs,
            body_bytes_max,
            pages: None,
        }
    }

    /// With pages of other origins that may ask and see answers.
    pub(super) fn showing(mut self, pages: Option<CorsLayer>) -> Self {
        self.pages = pages.map(Arc::new);
        self
    }

    pub(super) fn pages(&self) -> Option<&CorsLayer> {
        self.pages.as_deref()
    }

    /// The node, for what needs nobody's rights.
    pub(super) fn concord(&self) -> &Concord {
        &self.concord
    }

    /// Whether requests leave audit lines.
    pub(super) fn is_audited(&self) -> bool {
        self.concord.service().audit().is_on()
    }

    /// What the handler of a request works with.
    pub(super) async fn admit(
        &self,
        path: &str,
        headers: &HeaderMap,
        certificate: Option<&ClientCertificate>,
    ) -> Result<App, Error> {
        let caller = match self.proofs.auth {
            AuthMode::Off => Caller::Anonymous,
            AuthMode::On if is_open(path) => Caller::Nobody,
            AuthMode::On => {
                let certificate = certificate.filter(|_| self.proofs.certificates);
                let caller = caller_of(headers, certificate.and_then(ClientCertificate::common_name));
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

/// Who a request is from: whoever its token is of, and only where it shows none at all, whoever its certificate names. So a token
/// narrows what a certificate allows, and one that is no good is not made up for. Two tokens that differ are nobody's.
fn caller_of(headers: &HeaderMap, certified: Option<&str>) -> Caller {
    let bearers = headers.get_all(AUTHORIZATION).iter().map(bearer);
    let keys = headers.get_all(API_KEY).iter().map(|value| value.to_str().ok());
    let mut shown = bearers.chain(keys);
    let token = match shown.next() {
        None => return certified.map_or(Caller::Nobody, Caller::called),
        Some(None) => return Caller::Nobody,
        Some(Some(token)) => token,
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
        matches!(
            caller_of(&HeaderMap::from_iter(pairs), Some("ada")),
            Caller::Token(_)
        )
    }

    #[test]
    fn a_certificate_counts_only_where_nothing_else_is_shown() {
        let certified =
            |headers: &HeaderMap, name| matches!(caller_of(headers, name), Caller::Certificate(_));
        let mut headers = HeaderMap::new();
        assert!(certified(&headers, Some("ada")));
        assert!(!certified(&headers, None));
        for name in ["", "two words", "sk/..", "ada;root"] {
            assert!(!certified(&headers, Some(name)), "{name}");
        }
        headers.insert(API_KEY, HeaderValue::from_static(""));
        assert!(!certified(&headers, Some("ada")));
        headers.remove(API_KEY);
        headers.insert(AUTHORIZATION, HeaderValue::from_static("Basic eA=="));
        assert!(!certified(&headers, Some("ada")));
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
