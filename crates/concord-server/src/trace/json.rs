//! Spans in the JSON form of OTLP: what collectors take over HTTP, and what standard output gets.

use serde_json::{Value, json};

use super::span::{Span, SpanKind, SpanValue};

const ERROR: u8 = 2;

/// The body of a request to `/v1/traces`.
#[cfg(feature = "otlp")]
pub(super) fn request(service: &str, node_id: concord_core::ids::NodeId, spans: &[Span]) -> Value {
    let text = |key: &str, value: &str| json!({ "key": key, "value": { "stringValue": value } });
    json!({ "resourceSpans": [{
        "resource": { "attributes": [
            text("service.name", service),
            text("service.version", env!("CARGO_PKG_VERSION")),
            text("service.instance.id", &node_id.to_string()),
        ] },
        "scopeSpans": [{
            "scope": { "name": "concord", "version": env!("CARGO_PKG_VERSION") },
            "spans": spans.iter().map(of).collect::<Vec<Value>>(),
        }],
    }] })
}

/// One span. 64-bit numbers are text, as in every JSON of Protocol Buffers.
pub(super) fn of(span: &Span) -> Value {
    let attributes: Vec<Value> = span
        .attributes
        .iter()
        .map(|(key, value)| {
            let value = match value {
                SpanValue::Text(text) => json!({ "stringValue": text }),
                SpanValue::Number(number) => json!({ "intValue": number.to_string() }),
            };
            json!({ "key": key, "value": value })
        })
        .collect();
    let mut out = json!({
        "traceId": format!("{:032x}", span.trace_id),
        "spanId": format!("{:016x}", span.span_id),
        "name": span.name,
        "kind": match span.kind {
            SpanKind::Internal => 1,
            SpanKind::Server => 2,
        },
        "startTimeUnixNano": span.start_unix_nanos.to_string(),
        "endTimeUnixNano": span.end_unix_nanos.to_string(),
        "attributes": attributes,
    });
    if let Some(fields) = out.as_object_mut() {
        if let Some(parent) = span.parent_id {
            fields.insert("parentSpanId".to_owned(), json!(format!("{parent:016x}")));
        }
        if let Some(error) = &span.error {
            fields.insert("status".to_owned(), json!({ "code": ERROR, "message": error }));
        }
    }
    out
}
