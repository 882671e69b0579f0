//! What every request passes: the host check and the question who asks on its way in, the revision on its way out.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::header::HOST;
use axum::http::{HeaderName, HeaderValue, Request};
use axum::response::{IntoResponse as _, Response};
use hyper::body::Incoming;
use hyper::service::{Service, service_fn};
use tower::{Layer as _, Service as _, ServiceExt as _};

use super::courtesy::Asked;
use super::door::Door;
use super::error::ApiError;
use super::rate;
use super::secure::ClientCertificate;
use super::traced::{self, Tracer};
use crate::audit::Origin;
use crate::concord::Concord;
use crate::error::ErrorKind;
use crate::metrics::HttpStats;
use crate::trace::Arrival;

/// The revision that an answer was served at.
pub(crate) const REVISION: HeaderName = HeaderName::from_static("x-concord-revision");

/// The service of one connection.
#[derive(Clone, Debug)]
pub(crate) struct Gate {
    router: Router,
    door: Door,
    hosts: Arc<Hosts>,
    tracer: Tracer,
    /// Where requests are counted, if they are.
    stats: Option<Arc<HttpStats>>,
}

/// Under which names clients may address this node.
#[derive(Debug)]
pub(crate) enum Hosts {
    /// Any.
    Any,
    /// IP addresses, `localhost` and these.
    Only(Vec<String>),
}

impl Hosts {
    /// A web page whose name an attacker points at this machine (DNS rebinding) is of the
    /// same origin as this node in the browser's eyes, but its requests carry that name.
    fn allows(&self, host: Option<&str>) -> bool {
        let Self::Only(names) = self else { return true };
        // HTTP/1.0 and hand-made requests have no name, and no browser behind them.
        let Some(host) = host else { return true };
        let name = match host.strip_prefix('[') {
            Some(address) => address.split(']').next().unwrap_or_default(),
            None => host.split(':').next().unwrap_or_default(),
        };
        name.eq_ignore_ascii_case("localhost")
            || name.parse::<IpAddr>().is_ok()
            || names.iter().any(|allowed| allowed.eq_ignore_ascii_case(name))
    }
}

impl Gate {
    pub(super) fn new(router: Router, door: Door, hosts: Hosts, tracer: Tracer) -> Self {
        Self {
            router,
            door,
            hosts: Arc::new(hosts),
            tracer,
            stats: None,
        }
    }

    /// Has the requests counted there.
    pub(super) fn counted(mut self, stats: Arc<HttpStats>) -> Self {
        self.stats = Some(stats);
        self
    }

    pub(super) fn stats(&self) -> Option<&Arc<HttpStats>> {
        self.stats.as_ref()
    }

    pub(super) fn concord(&self) -> &Concord {
        self.door.concord()
    }

    /// What a connection serves. Not boxed: this runs for every request.
    pub(super) fn into_service(
        self,
        asked: Asked,
        client: Option<ClientCertificate>,
        source: Option<IpAddr>,
    ) -> impl Service<Request<Incoming>, Response = Response, Error = Infallible, Future: Send>
    + Clone
    + Send
    + 'static {
        service_fn(move |mut request: Request<Incoming>| {
            asked.set();
            let stats = self.stats.as_ref();
            let underway = stats.map(|stats| stats.arrived(request.method(), request.uri().path()));
            if let Some(client) = &client {
                request.extensions_mut().insert(client.clone());
            }
            let host = match request.uri().host() {
                Some(host) => Some(host),
                None => request
                    .headers()
                    .get(HOST)
                    .map(|host| host.to_str().unwrap_or("?")),
            };
            let is_allowed = self.hosts.allows(host);
            let (router, door) = (self.router.clone(), self.door.clone());
            let arrival = self.tracer.arrive(&request);
            let origin = door.is_audited().then(|| origin_of(&request, source));
            let answer = async move {
                let request = request.map(Body::new);
                if !is_allowed {
                    let message = "this host name is not among http.allowed_hosts";
                    return Ok(stamped(
                        ApiError::new(ErrorKind::Forbidden, message).into_response(),
                        &door,
                    ));
                }
                match arrival {
                    Arrival::Off => answered(router, &door, request).await,
                    Arrival::Unsampled => traced::untraced(router, &door, request).await,
                    // Boxed, so that it makes the others no larger.
                    Arrival::Sampled(span) => Box::pin(traced::traced(span, router, &door, request)).await,
                }
            };
            async move {
                let answer: Result<Response, Infallible> = match origin {
                    Some(origin) => origin.scope(answer).await,
                    None => answer.await,
                };
                if let (Some(underway), Ok(response)) = (underway, &answer) {
                    underway.answered(response.status());
                }
                answer
            }
        })
    }
}

/// What the audit lines of a request say of where it came from.
fn origin_of<B>(request: &Request<B>, source: Option<IpAddr>) -> Origin {
    let text = |name: &str| request.headers().get(name)?.to_str().ok();
    Origin::new(source, text("traceparent"), text("x-request-id"))
}

/// Has a request handled, for pages of other origins as they are allowed to.
pub(super) async fn answered(
    router: Router,
    door: &Door,
    request: Request<Body>,
) -> Result<Response, Infallible> {
    let response = match door.pages() {
        None => admitted(router, door, request).await?,
        // Around the question who asks: a browser's own question before the request carries no token.
        Some(pages) => {
            let admitted = tower::service_fn(|request| admitted(router.clone(), door, request));
            Box::pin(pages.layer(admitted).oneshot(request)).await?
        }
    };
    Ok(stamped(response, door))
}

/// Asks who it is, and has the request handled.
async fn admitted(
    mut router: Router,
    door: &Door,
    mut request: Request<Body>,
) -> Result<Response, Infallible> {
    let certificate = request.extensions().get::<ClientCertificate>();
    let admitted = door
        .admit(request.uri().path(), request.headers(), certificate)
        .await;
    let app = match admitted {
        Ok(app) => app,
        Err(refused) => return Ok(ApiError::from(refused).into_response()),
    };
    let concord = app.concord.clone();
    request.extensions_mut().insert(app);
    let mut response = router.call(request).await?;
    rate::tell(&concord, response.headers_mut());
    Ok(response)
}

/// Handlers that looked at a view have said its revision; the others get the latest.
fn stamped(mut response: Response, door: &Door) -> Response {
    response
        .headers_mut()
        .entry(REVISION)
        .or_insert_with(|| HeaderValue::from(door.concord().revision().get()));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_names_are_refused_only_where_names_are_listed() {
        let only = Hosts::Only(vec!["db.example".to_owned()]);
        for host in [
            "localhost:4000",
            "127.0.0.1",
            "127.0.0.1:4000",
            "[::1]:4000",
            "LOCALHOST",
            "DB.example:1",
        ] {
            assert!(only.allows(Some(host)), "{host}");
        }
        for host in ["evil.example", "localhost.evil.example:4000", "?", ""] {
            assert!(!only.allows(Some(host)), "{host}");
        }
        assert!(only.allows(None));
        assert!(Hosts::Any.allows(Some("evil.example")));
    }
}
