//! Input that is made to do harm: it is refused by name, by every road, and the node goes on as before.

use super::JSON;
use crate::cluster::Cluster;
use crate::wire::send;

/// 10 MB of lists within each other.
fn deep() -> String {
    let levels = 5 << 20;
    "[".repeat(levels) + &"]".repeat(levels)
}

/// A document that no parser may follow to its end, in every place that takes one.
#[tokio::test]
async fn deep_nesting_is_refused_wherever_a_document_can_stand() {
    let cluster = Cluster::start(1).await;
    let (url, before) = (cluster.url(0), cluster.node(0).revision());
    let deep = deep();
    for (method, target, body) in [
        ("PUT", "/kv/k", format!("{{\"value\":{deep}}}")),
        (
            "POST",
            "/kv/bulk",
            format!("{{\"items\":[{{\"key\":\"k\",\"value\":{deep}}}]}}"),
        ),
        (
            "POST",
            "/txn",
            format!("{{\"success\":[{{\"put\":{{\"key\":\"k\",\"value\":{deep}}}}}]}}"),
        ),
        (
            "POST",
            "/txn",
            format!("{{\"compare\":[{{\"key\":\"k\",\"value\":{deep}}}]}}"),
        ),
        ("POST", "/txn", format!("{{\"success\":{deep}}}")),
        ("POST", "/query", format!("{{\"where\":{deep}}}")),
        ("POST", "/indexes", format!("{{\"name\":{deep}}}")),
        (
            "POST",
            "/subscriptions",
            format!("{{\"name\":\"s\",\"where\":{deep}}}"),
        ),
        ("PUT", "/kv/k", deep.clone()),
    ] {
        let reply = send(&url, method, &format!("/api/v1{target}"), JSON, body.as_bytes()).await;
        let code = reply.code();
        assert!(
            (400..=422).contains(&reply.status)
                && ["invalid_request", "invalid_value"].contains(&code.as_str()),
            "{method} {target}: {} {code}",
            reply.status
        );
    }
    assert_eq!(cluster.node(0).revision(), before, "nothing was written");
    cluster.node(0).put("k", "alive").await.unwrap();
    cluster.stop().await;
}

/// Expressions, patterns and cursors that cost more to read or to run than they may.
#[tokio::test]
async fn poisonous_texts_are_refused_wherever_they_can_stand() {
    let cluster = Cluster::start(1).await;
    let (url, before) = (cluster.url(0), cluster.node(0).revision());
    let expressions = [
        "(".repeat(10 << 20),
        "!".repeat(10 << 20),
        "[".repeat(4_000),
        format!("value{}", ".a".repeat(2_000)),
        format!("1{}", "+1".repeat(2_000)),
        "value == NaN".to_owned(),
        "value == 1e999".to_owned(),
        "\\u0000\\ud800".to_owned(),
    ];
    let patterns = [
        "(".repeat(10 << 20),
        "(a*)*".repeat(1_000),
        "(a{1000}){1000}".to_owned(),
        "[a-z".to_owned(),
        "\\\\1".to_owned(),
    ];
    let mut bodies = Vec::new();
    for text in &expressions {
        bodies.push(("/query", format!("{{\"where\":\"{text}\"}}")));
        bodies.push(("/query", format!("{{\"order_by\":\"{text}\"}}")));
        bodies.push(("/query", format!("{{\"select\":{{\"a\":\"{text}\"}}}}")));
        bodies.push((
            "/query",
            format!("{{\"verb\":\"delete_where\",\"where\":\"{text}\"}}"),
        ));
        bodies.push(("/indexes", format!("{{\"name\":\"i\",\"extractor\":\"{text}\"}}")));
        bodies.push((
            "/subscriptions",
            format!("{{\"name\":\"s\",\"where\":\"{text}\"}}"),
        ));
        bodies.push((
            "/txn",
            format!("{{\"compare\":[{{\"key\":\"k\",\"where\":\"{text}\"}}]}}"),
        ));
    }
    for text in &patterns {
        bodies.push(("/query", format!("{{\"pattern\":\"{text}\"}}")));
        bodies.push((
            "/subscriptions",
            format!("{{\"name\":\"s\",\"pattern\":\"{text}\"}}"),
        ));
    }
    for cursor in ["", "00", "zz", &"f".repeat(10 << 20)] {
        bodies.push(("/query", format!("{{\"cursor\":\"{cursor}\"}}")));
    }
    for (target, body) in &bodies {
        let reply = send(&url, "POST", &format!("/api/v1{target}"), JSON, body.as_bytes()).await;
        let shown = (reply.status, reply.code());
        assert_eq!(shown, (400, "invalid_request".to_owned()), "{target} {body:.120}");
    }
    assert_eq!(cluster.node(0).revision(), before, "nothing was written");
    cluster.stop().await;
}

/// What two parsers could read in two ways is read by none.
#[tokio::test]
async fn documents_with_two_meanings_are_refused() {
    let cluster = Cluster::start(1).await;
    let (url, before) = (cluster.url(0), cluster.node(0).revision());
    let bodies: [&[u8]; 7] = [
        b"{\"value\":{\"a\":1,\"a\":2}}",
        b"{\"value\":[{\"b\":{\"a\":1,\"\\u0061\":2}}]}",
        b"{\"value\":NaN}",
        b"{\"value\":-Infinity}",
        b"{\"value\":1e999}",
        b"{\"value\":\"\xff\xfe\"}",
        b"{\"value\":\"\\ud800\"}",
    ];
    for body in bodies {
        let reply = send(&url, "PUT", "/api/v1/kv/k", JSON, body).await;
        let code = reply.code();
        assert!(
            (400..=422).contains(&reply.status)
                && ["invalid_request", "invalid_value"].contains(&code.as_str()),
            "{}: {} {code}",
            String::from_utf8_lossy(body),
            reply.status
        );
    }
    assert_eq!(cluster.node(0).revision(), before, "nothing was written");
    cluster.stop().await;
}
