//! Traces: one for all that becomes of a request, on every node that has a part in it; and they are on (D-TST-2).

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use concord_server::trace::{Span, SpanKind, SpanValue, TraceParent, scope};
use concord_server::{Config, SpanSink, TraceExporter, TracesConfig};
use parking_lot::Mutex;
use serde_json::Value as Json;
use tokio::sync::mpsc;

use crate::cluster::Cluster;
use crate::wire::{Reply, send};

const JSON: &str = "content-type: application/json\r\nx-api-key: secret-token";
const TRACE: u128 = 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c;
const SENDER: u64 = 0x00f0_67aa_0ba9_02b7;
const SAMPLED: &str = "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01";
const UNSAMPLED: &str = "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-00";

/// The spans of all nodes of a cluster.
#[derive(Clone, Default)]
struct Collected(Arc<Mutex<Vec<Span>>>);

impl Collected {
    fn exporter(&self) -> TraceExporter {
        let spans = Arc::clone(&self.0);
        TraceExporter::Sink(SpanSink::new(move |some| spans.lock().extend_from_slice(some)))
    }

    /// A cluster that traces what it is told to, and this part of the rest.
    async fn cluster(&self, size: usize, sample: f64) -> Cluster {
        let traces = TracesConfig::new(self.exporter()).sample(sample);
        Cluster::start_as(size, |config: Config| config.traces(traces.clone())).await
    }

    fn named(&self, name: &str) -> Vec<Span> {
        let spans = self.0.lock();
        spans.iter().filter(|span| span.name == name).cloned().collect()
    }

    fn one(&self, name: &str) -> Span {
        let mut named = self.named(name);
        assert_eq!(named.len(), 1, "{name}: {:#?}", self.0.lock());
        named.remove(0)
    }
}

fn number(span: &Span, name: &str) -> u64 {
    match span.attribute(name) {
        Some(SpanValue::Number(number)) => *number,
        other => panic!("{name} of {span:?} is {other:?}"),
    }
}

fn text<'a>(span: &'a Span, name: &str) -> &'a str {
    match span.attribute(name) {
        Some(SpanValue::Text(text)) => text,
        other => panic!("{name} of {span:?} is {other:?}"),
    }
}

async fn put(cluster: &Cluster, node: usize, headers: &str) -> Reply {
    let url = cluster.url(node);
    let headers = match headers {
        "" => JSON.to_owned(),
        more => format!("{JSON}\r\n{more}"),
    };
    let body = br#"{"value":"secret-value"}"#;
    send(&url, "PUT", "/api/v1/kv/secret-key", &headers, body).await
}

/// All nodes have applied what this one has.
async fn settle(cluster: &Cluster, size: usize, revision: u64) {
    for place in 0..size {
        let target = format!("/api/v1/kv/secret-key?consistency=eventual&min_revision={revision}");
        assert_eq!(
            send(&cluster.url(place), "GET", &target, "", b"").await.status,
            200
        );
    }
}

/// D-TRC-1: the span is around the handler and has the status that it gave, and the context crosses consensus.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_through_a_follower_is_one_trace_on_every_replica() {
    let collected = Collected::default();
    let cluster = collected.cluster(3, 0.0).await;
    let leader = cluster.node(0).status().unwrap().leader.unwrap();
    let asked = (0..3)
        .find(|place| cluster.node(*place).node_id() != leader)
        .unwrap();
    let reply = put(
        &cluster,
        asked,
        &format!("traceparent: {SAMPLED}\r\ntracestate: a=b"),
    )
    .await;
    assert_eq!(reply.status, 200);
    let revision: u64 = reply.header("x-concord-revision").unwrap().parse().unwrap();
    settle(&cluster, 3, revision).await;
    cluster.stop().await;

    let request = collected.one("PUT /api/v1/kv/{key}");
    assert_eq!((request.trace_id, request.parent_id), (TRACE, Some(SENDER)));
    assert_eq!(request.kind, SpanKind::Server);
    assert_eq!(request.error, None);
    assert_eq!(number(&request, "http.response.status_code"), 200);
    assert_eq!(text(&request, "http.request.method"), "PUT");
    assert_eq!(text(&request, "http.route"), "/api/v1/kv/{key}");
    let answered: TraceParent = reply.header("traceparent").unwrap().parse().unwrap();
    assert_eq!(answered.context().trace_id(), TRACE);
    assert_eq!(answered.context().span_id(), request.span_id);
    assert_eq!(reply.header("tracestate"), Some("a=b"));

    let write = collected.one("concord.write");
    assert_eq!(write.parent_id, Some(request.span_id));
    assert_eq!(text(&write, "concord.operation"), "put");
    let propose = collected.one("concord.propose");
    assert_eq!(propose.parent_id, Some(write.span_id));
    let commit = collected.one("concord.commit");
    assert_eq!(number(&commit, "concord.node.id"), leader.get());
    for (name, nodes) in [("concord.log", 3), ("concord.commit", 1), ("concord.apply", 3)] {
        let steps = collected.named(name);
        let ids: BTreeSet<u64> = steps.iter().map(|step| number(step, "concord.node.id")).collect();
        assert_eq!((steps.len(), ids.len()), (nodes, nodes), "{name}");
        for step in steps {
            assert_eq!(step.parent_id, Some(propose.span_id), "{name}");
            assert_eq!(
                number(&step, "concord.raft.index"),
                number(&commit, "concord.raft.index")
            );
        }
    }
    let all = collected.0.lock();
    let ids: BTreeSet<u64> = all.iter().map(|span| span.span_id).collect();
    assert_eq!(ids.len(), all.len(), "no id is given twice");
    for span in all.iter() {
        assert_eq!(span.trace_id, TRACE, "{span:?}");
        assert!(span.start_unix_nanos <= span.end_unix_nanos, "{span:?}");
        assert!(!format!("{span:?}").contains("secret"), "{span:?}");
    }
    for inner in [&write, &propose] {
        assert!(request.start_unix_nanos <= inner.start_unix_nanos);
        assert!(inner.end_unix_nanos <= request.end_unix_nanos);
    }
}

#[tokio::test]
async fn whoever_began_a_trace_decides_and_the_rest_is_chance() {
    let collected = Collected::default();
    let never = collected.cluster(1, 0.0).await;
    for (headers, answered) in [
        (String::new(), None),
        (format!("traceparent: {UNSAMPLED}"), Some(UNSAMPLED)),
        ("traceparent: nonsense".to_owned(), Some("nonsense")),
    ] {
        let reply = put(&never, 0, &headers).await;
        assert_eq!(reply.status, 200);
        assert_eq!(reply.header("traceparent"), answered);
    }
    never.stop().await;
    assert!(collected.0.lock().is_empty(), "{:?}", collected.0.lock());

    let always = collected.cluster(1, 1.0).await;
    let reply = put(&always, 0, "").await;
    let root: TraceParent = reply.header("traceparent").unwrap().parse().unwrap();
    assert!(put(&always, 0, &format!("traceparent: {UNSAMPLED}")).await.status == 200);
    // Probes and scrapes are nobody's trace.
    for target in ["/health", "/ready", "/metrics"] {
        assert_eq!(
            send(&always.url(0), "GET", target, "", b"")
                .await
                .header("traceparent"),
            None
        );
    }
    always.stop().await;
    let request = collected.one("PUT /api/v1/kv/{key}");
    assert_eq!(request.parent_id, None);
    assert_eq!(request.trace_id, root.context().trace_id());
    assert_eq!(request.span_id, root.context().span_id());
}

/// D-TRC-1: a refusal is no failure of the node, and a read is a part of its request.
#[tokio::test]
async fn reads_and_refusals_are_told_as_they_were() {
    let collected = Collected::default();
    let cluster = collected.cluster(1, 0.0).await;
    let context = format!("traceparent: {SAMPLED}");
    for (target, status) in [
        ("/api/v1/kv/absent", 404),
        ("/nothing/here", 404),
        ("/api/v1/kv?limit=x", 400),
    ] {
        let reply = send(&cluster.url(0), "GET", target, &context, b"").await;
        assert_eq!(reply.status, status, "{target}");
    }
    let context = format!("{JSON}\r\n{context}");
    let target = "/api/v1/kv/absent/touch";
    let refused = send(&cluster.url(0), "POST", target, &context, br#"{"ttl":60}"#).await;
    assert_eq!(refused.status, 404);
    cluster.stop().await;
    let request = collected.one("GET /api/v1/kv/{key}");
    assert_eq!(number(&request, "http.response.status_code"), 404);
    assert_eq!(request.error, None);
    let read = collected.one("concord.read");
    assert_eq!(read.parent_id, Some(request.span_id));
    assert_eq!(text(&read, "concord.operation"), "get");
    assert_eq!(collected.one("GET").attribute("http.route"), None);
    assert_eq!(collected.one("concord.write").error.as_deref(), Some("not_found"));
}

#[tokio::test]
async fn a_program_continues_its_own_trace() {
    let collected = Collected::default();
    let cluster = collected.cluster(1, 0.0).await;
    let parent: TraceParent = SAMPLED.parse().unwrap();
    scope(parent, async { cluster.node(0).put("k", "v").await })
        .await
        .unwrap();
    cluster.node(0).put("k", "untraced").await.unwrap();
    cluster.stop().await;
    let write = collected.one("concord.write");
    assert_eq!((write.trace_id, write.parent_id), (TRACE, Some(SENDER)));
    assert_eq!(collected.named("concord.apply").len(), 1);
}

#[cfg(feature = "otlp")]
async fn collector(status: u16) -> (String, mpsc::UnboundedReceiver<Json>) {
    use axum::extract::State;
    use axum::http::StatusCode;
    use axum::routing::post;
    use axum::{Json as Body, Router};

    let (bodies, received) = mpsc::unbounded_channel();
    let take = move |State(bodies): State<mpsc::UnboundedSender<Json>>, Body(body): Body<Json>| async move {
        // The test may have seen enough.
        let _ = bodies.send(body);
        StatusCode::from_u16(status).unwrap()
    };
    let router = Router::new().route("/v1/traces", post(take)).with_state(bodies);
    let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", socket.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(socket, router).await });
    (url, received)
}

#[cfg(feature = "otlp")]
#[tokio::test]
async fn a_collector_gets_spans_as_otlp() {
    let (endpoint, mut received) = collector(200).await;
    let traces = TracesConfig::new(TraceExporter::Otlp { endpoint });
    let cluster = Cluster::start_as(1, |config: Config| config.traces(traces.clone())).await;
    let node_id = cluster.node(0).node_id().to_string();
    assert_eq!(
        put(&cluster, 0, &format!("traceparent: {SAMPLED}")).await.status,
        200
    );
    cluster.stop().await;
    let mut spans = Vec::new();
    while spans.len() < 6 {
        let body = tokio::time::timeout(Duration::from_secs(30), received.recv()).await;
        let body = body.expect("the collector is asked").unwrap();
        let resource = &body["resourceSpans"][0];
        let instance = resource["resource"]["attributes"]
            .as_array()
            .unwrap()
            .iter()
            .find(|attribute| attribute["key"] == "service.instance.id")
            .unwrap();
        assert_eq!(instance["value"]["stringValue"].as_str(), Some(node_id.as_str()));
        spans.extend(resource["scopeSpans"][0]["spans"].as_array().unwrap().clone());
    }
    let named = |name: &str| spans.iter().find(|span| span["name"] == name).unwrap();
    let request = named("PUT /api/v1/kv/{key}");
    assert_eq!(request["traceId"], "0af7651916cd43dd8448eb211c80319c");
    assert_eq!(request["parentSpanId"], "00f067aa0ba902b7");
    assert_eq!(request["kind"], 2);
    assert_eq!(named("concord.write")["parentSpanId"], request["spanId"]);
    let nanos = |field: &str| request[field].as_str().unwrap().parse::<u64>().unwrap();
    let (start, end) = (nanos("startTimeUnixNano"), nanos("endTimeUnixNano"));
    assert!(start <= end && start > 1_700_000_000_000_000_000, "{request}");
    named("concord.apply");
}

/// Nobody waits for a collector, and what it does not take is counted.
#[cfg(feature = "otlp")]
#[tokio::test]
async fn a_collector_that_fails_fails_no_request() {
    let (endpoint, mut received) = collector(503).await;
    let traces = TracesConfig::new(TraceExporter::Otlp { endpoint }).sample(1.0);
    let cluster = Cluster::start_as(1, |config: Config| config.traces(traces.clone())).await;
    assert_eq!(put(&cluster, 0, "").await.status, 200);
    received.recv().await.unwrap();
    assert_eq!(put(&cluster, 0, "").await.status, 200);
    let failed = async {
        loop {
            let scrape = send(&cluster.url(0), "GET", "/metrics", "", b"").await;
            let text = String::from_utf8(scrape.body).unwrap();
            let line = text
                .lines()
                .find(|line| line.starts_with("concord_trace_spans_total{result=\"failed\"}"))
                .unwrap()
                .to_owned();
            if !line.ends_with(" 0") {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), failed)
        .await
        .expect("it is counted");
    cluster.stop().await;
}
