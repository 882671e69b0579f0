//! What traces cost nobody, and what they lose.

use std::sync::mpsc::channel;

use super::*;
use crate::config::{SpanSink, TraceExporter};
use crate::limits;

const UNSAMPLED: &str = "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-00";

fn started(sample: f64, sink: SpanSink) -> Traces {
    let config = TracesConfig::new(TraceExporter::Sink(sink)).sample(sample);
    Traces::start(&config, NodeId::new(1)).unwrap()
}

#[tokio::test]
async fn a_request_that_is_not_traced_has_nothing_made_for_it() {
    let traces = started(0.0, SpanSink::new(|_| {}));
    // The task-local's slot is made with its first use on a thread.
    assert!(traces.begin("warm").is_none());
    let asked = allocation_counter::measure(|| {
        for _ in 0..100 {
            assert!(traces.begin("concord.write").is_none());
            assert!(traces.child("concord.propose").is_none());
            let parent: TraceParent = UNSAMPLED.parse().unwrap();
            let scope = Scope::Unsampled;
            assert!(!parent.is_sampled());
            SCOPE.sync_scope(scope, || assert!(traces.begin("concord.read").is_none()));
        }
    });
    assert_eq!(asked.count_total, 0);
}

#[tokio::test]
async fn what_is_within_a_request_is_decided_once() {
    let (told, spans) = channel();
    let sink = SpanSink::new(move |some: &[Span]| {
        // The test may have seen enough.
        let _ = told.send(some.to_vec());
    });
    let traces = started(1.0, sink);
    SCOPE.sync_scope(Scope::Unsampled, || assert!(traces.begin("within").is_none()));
    assert!(traces.child("nobody's").is_none());
    let outer = traces.begin("outer").unwrap();
    let inner = within(Some(&outer), async { traces.child("inner").unwrap() }).await;
    let lost = traces.begin("dropped").unwrap();
    drop(lost);
    inner.finish();
    outer.finish();
    traces.flush().await;
    let spans = spans.try_recv().unwrap();
    let names: Vec<&str> = spans.iter().map(|span| &*span.name).collect();
    assert_eq!(names, ["inner", "outer"]);
    assert_eq!(spans[0].trace_id, spans[1].trace_id);
    assert_eq!(spans[0].parent_id, Some(spans[1].span_id));
    assert_eq!(spans[1].parent_id, None);
}

/// An exporter that is stuck costs spans, which are counted, and nobody waits.
#[tokio::test(flavor = "multi_thread")]
async fn spans_that_find_no_room_are_counted() {
    let (release, stuck) = channel::<()>();
    let stuck = parking_lot::Mutex::new(stuck);
    let traces = started(
        1.0,
        SpanSink::new(move |_| {
            // Until the test lets go.
            let _ = stuck.lock().recv();
        }),
    );
    let total = limits::TRACE_QUEUE_SPANS * 2 + limits::TRACE_EXPORT_SPANS;
    for _ in 0..total {
        traces.begin("span").unwrap().finish();
    }
    let dropped = traces
        .shared
        .as_ref()
        .unwrap()
        .counts
        .dropped
        .load(Ordering::Relaxed);
    assert!(dropped > 0);
    drop(release);
}

/// A function of the program that panics loses its spans, and is called again.
#[tokio::test(flavor = "multi_thread")]
async fn a_sink_that_panics_stops_nothing() {
    let (told, calls) = channel();
    let told = parking_lot::Mutex::new(told);
    let traces = started(
        1.0,
        SpanSink::new(move |_| {
            // The test may have seen enough.
            let _ = told.lock().send(());
            panic!("this is a test");
        }),
    );
    for _ in 0..2 {
        traces.begin("span").unwrap().finish();
        traces.flush().await;
        calls.recv_timeout(Duration::from_secs(30)).unwrap();
    }
    let counts = &traces.shared.as_ref().unwrap().counts;
    assert_eq!(counts.failed.load(Ordering::Relaxed), 2);
}
