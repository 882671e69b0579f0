//! Traces of requests that come in by HTTP: W3C trace context in and out, and a span around all that is done for one.

use std::convert::Infallible;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::header::USER_AGENT;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Request};
use axum::response::Response;
use tracing::Instrument as _;

use super::door::{Door, is_open};
use super::gate::answered;
use super::routes::Routes;
use crate::limits;
use crate::trace::{Active, Arrival, SpanKind, TraceParent, Traces, unsampled, within};

const TRACE_PARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACE_STATE: HeaderName = HeaderName::from_static("tracestate");
/// Asked for at intervals by machines: nobody wants to see that.
const METRICS: &str = "/metrics";

/// Decides which requests of a listener are traced, and under which name.
#[derive(Clone, Debug)]
pub(crate) struct Tracer {
    traces: Traces,
    routes: Arc<Routes>,
    scheme: &'static str,
}

impl Tracer {
    pub(super) fn new(traces: &Traces, routes: Arc<Routes>, is_secure: bool) -> Self {
        Self {
            traces: traces.clone(),
            routes,
            scheme: if is_secure { "https" } else { "http" },
        }
    }

    /// Of a listener whose requests are never traced.
    pub(super) fn off() -> Self {
        Self::new(&Traces::off(), Arc::default(), false)
    }

    /// What is to be done about a request. Makes nothing for one that is not traced.
    pub(super) fn arrive<B>(&self, request: &Request<B>) -> Arrival {
        let path = request.uri().path();
        if !self.traces.is_on() || path == METRICS || is_open(path) {
            return Arrival::Off;
        }
        let parent = parent_of(request.headers());
        let mut arrival = self.traces.arrive(parent, SpanKind::Server);
        if let Arrival::Sampled(span) = &mut arrival {
            let method = method_of(request.method());
            let route = self.routes.template_of(path);
            span.rename(match route {
                Some(route) => format!("{method} {route}"),
                None => method.to_owned(),
            });
            span.set("http.request.method", method);
            if let Some(route) = route {
                span.set("http.route", route.to_owned());
            }
            span.set("url.scheme", self.scheme);
            if let Some(program) = request
                .headers()
                .get(USER_AGENT)
                .and_then(|text| text.to_str().ok())
            {
                let program: String = program.chars().take(limits::TRACE_TEXT_BYTES_MAX).collect();
                span.set("user_agent.original", program);
            }
        }
        arrival
    }
}

/// The one header that a request has; several are nobody's.
fn parent_of(headers: &HeaderMap) -> Option<TraceParent> {
    let mut all = headers.get_all(TRACE_PARENT).iter();
    let first = all.next()?;
    match all.next() {
        None => first.to_str().ok()?.parse().ok(),
        Some(_) => None,
    }
}

/// Methods that are known; anybody can make up others.
fn method_of(method: &Method) -> &'static str {
    const KNOWN: [&str; 7] = ["GET", "PUT", "POST", "DELETE", "HEAD", "OPTIONS", "PATCH"];
    let known = KNOWN.into_iter().find(|known| *known == method.as_str());
    known.unwrap_or("_OTHER")
}

/// Has a request handled that is not traced. Whoever sent a context gets it back.
pub(super) async fn untraced(
    router: Router,
    door: &Door,
    request: Request<Body>,
) -> Result<Response, Infallible> {
    let sent = request.headers().get(TRACE_PARENT).cloned();
    let mut response = unsampled(answered(router, door, request)).await?;
    if let Some(sent) = sent {
        response.headers_mut().insert(TRACE_PARENT, sent);
    }
    Ok(response)
}

/// Has a request handled under its span, which ends when the answer is made. D-TRC-1: around the handler, with the status
/// that it gave.
pub(super) async fn traced(
    mut span: Active,
    router: Router,
    door: &Door,
    request: Request<Body>,
) -> Result<Response, Infallible> {
    let state = request.headers().get(TRACE_STATE).cloned();
    let Some(context) = span.context() else {
        return answered(router, door, request).await;
    };
    let parent = TraceParent::sampled(context);
    // Log lines say of which trace they are.
    let lines = tracing::info_span!(
        "request",
        trace_id = %format_args!("{:032x}", context.trace_id()),
        span_id = %format_args!("{:016x}", context.span_id()),
    );
    let mut response = within(Some(&span), answered(router, door, request))
        .instrument(lines)
        .await?;
    let status = response.status();
    span.set("http.response.status_code", u64::from(status.as_u16()));
    if status.is_server_error() {
        span.fail(status.as_str().to_owned());
    }
    let headers = response.headers_mut();
    if let Ok(parent) = HeaderValue::from_str(&parent.to_string()) {
        headers.insert(TRACE_PARENT, parent);
    }
    if let Some(state) = state {
        headers.insert(TRACE_STATE, state);
    }
    span.finish();
    Ok(response)
}

#[cfg(test)]
mod tests {
    use concord_core::ids::NodeId;

    use super::*;
    use crate::config::{SpanSink, TraceExporter, TracesConfig};

    #[test]
    fn several_contexts_are_none() {
        let text = "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01";
        let mut headers = HeaderMap::new();
        assert_eq!(parent_of(&headers), None);
        headers.append(TRACE_PARENT, HeaderValue::from_static(text));
        assert!(parent_of(&headers).is_some());
        headers.append(TRACE_PARENT, HeaderValue::from_static(text));
        assert_eq!(parent_of(&headers), None);
    }

    #[test]
    fn methods_that_somebody_made_up_share_a_name() {
        assert_eq!(method_of(&Method::PUT), "PUT");
        assert_eq!(method_of(&Method::from_bytes(b"SECRET").unwrap()), "_OTHER");
    }

    #[tokio::test]
    async fn a_request_that_is_not_traced_has_nothing_made_for_it() {
        let exporter = TraceExporter::Sink(SpanSink::new(|_| {}));
        let traces = Traces::start(&TracesConfig::new(exporter).sample(0.0), NodeId::new(1)).unwrap();
        let tracer = Tracer::new(&traces, Arc::default(), false);
        let request = |text: &'static str| {
            let mut request = Request::new(());
            *request.uri_mut() = "/api/v1/kv/k".parse().unwrap();
            if !text.is_empty() {
                request
                    .headers_mut()
                    .insert(TRACE_PARENT, HeaderValue::from_static(text));
            }
            request
        };
        let requests = [
            request(""),
            request("00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-00"),
            request("nonsense"),
        ];
        let asked = allocation_counter::measure(|| {
            for request in &requests {
                assert!(matches!(tracer.arrive(request), Arrival::Unsampled));
            }
        });
        assert_eq!(asked.count_total, 0);
    }
}
