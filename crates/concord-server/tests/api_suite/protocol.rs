//! What HTTP adds: raw values, entity tags, limits, hosts, heads, many forms of a TTL.

use std::time::Duration;

use concord_server::{Concord, Config, HttpConfig, RootToken, Secret};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::cluster::{Cluster, ROOT};
use crate::wire::{exchange, send};

const JSON: &str = "content-type: application/json";

#[tokio::test]
async fn raw_values_keep_their_bytes_and_type() {
    let cluster = Cluster::start(1).await;
    let url = cluster.url(0);
    let every_byte: Vec<u8> = (0..=255).collect();
    for (content_type, bytes, format, answered_as) in [
        (
            "application/octet-stream",
            every_byte.as_slice(),
            "binary",
            "application/octet-stream",
        ),
        (
            "text/plain",
            "é\0\n".as_bytes(),
            "text",
            "text/plain; charset=utf-8",
        ),
        (
            "text/plain; charset=\"UTF-8\"",
            b"",
            "text",
            "text/plain; charset=utf-8",
        ),
        (
            "application/octet-stream",
            b"",
            "binary",
            "application/octet-stream",
        ),
    ] {
        let stored = send(
            &url,
            "PUT",
            "/api/v1/kv/raw",
            &format!("content-type: {content_type}"),
            bytes,
        )
        .await;
        assert_eq!(stored.status, 200);
        let raw = send(
            &url,
            "GET",
            "/api/v1/kv/raw",
            "accept: application/octet-stream, text/plain",
            b"",
        )
        .await;
        assert_eq!(
            (raw.header("content-type"), raw.body.as_slice()),
            (Some(answered_as), bytes)
        );
        let json = send(&url, "GET", "/api/v1/kv/raw", "accept: */*", b"")
            .await
            .json();
        assert_eq!(json["data"]["format"], format);
    }
    // JSON carries any bytes too.
    let body = json!({"value": "AP/+", "format": "binary"}).to_string();
    send(&url, "PUT", "/api/v1/kv/raw", JSON, body.as_bytes()).await;
    assert_eq!(
        send(&url, "GET", "/api/v1/kv/raw", "accept: text/plain", b"")
            .await
            .body,
        [0, 255, 254]
    );
    assert_eq!(
        send(&url, "GET", "/api/v1/kv/raw", "", b"").await.json()["data"]["value"],
        "AP/+"
    );
    send(
        &url,
        "PUT",
        "/api/v1/kv/raw",
        JSON,
        b"{\"value\": {\"b\": 1, \"a\": 2}}",
    )
    .await;
    let document = send(&url, "GET", "/api/v1/kv/raw", "accept: text/plain", b"").await;
    assert_eq!(
        (document.header("content-type"), document.body.as_slice()),
        (Some("application/json"), &b"{\"a\":2,\"b\":1}"[..])
    );
    cluster.stop().await;
}

/// D-HTTP-1: no form is checked and then forgotten.
#[tokio::test]
async fn every_form_of_a_ttl_is_kept_to_the_millisecond() {
    let cluster = Cluster::start(1).await;
    let url = cluster.url(0);
    for (ttl, millis) in [
        ("30", 30_000),
        ("\"30s\"", 30_000),
        ("\"30\"", 30_000),
        ("\"1h30m\"", 5_400_000),
        ("\"90500ms\"", 90_500),
    ] {
        let body = format!("{{\"value\":1,\"ttl\":{ttl}}}");
        assert_eq!(
            send(&url, "PUT", "/api/v1/kv/t", JSON, body.as_bytes())
                .await
                .status,
            200,
            "{ttl}"
        );
        let found = send(&url, "GET", "/api/v1/kv/t?with_ttl=1", "", b"").await.json();
        let left = found["data"]["ttl_ms"].as_u64().unwrap();
        assert!(left <= millis && left > millis - 10_000, "{ttl}: {left}");
        assert_eq!(
            found["data"]["ttl"].as_u64().unwrap(),
            left.div_ceil(1_000),
            "seconds, rounded up"
        );
        let body = format!("{{\"ttl\":{ttl}}}");
        assert_eq!(
            send(&url, "POST", "/api/v1/kv/t/touch", JSON, body.as_bytes())
                .await
                .status,
            200,
            "{ttl}"
        );
    }
    assert_eq!(
        send(
            &url,
            "PUT",
            "/api/v1/kv/t?ttl=1h",
            "content-type: text/plain",
            b"x"
        )
        .await
        .status,
        200
    );
    assert!(send(&url, "GET", "/api/v1/kv/t/ttl", "", b"").await.json()["data"]["ttl"].is_u64());
    assert_eq!(
        send(&url, "PUT", "/api/v1/kv/t", JSON, b"{\"value\":1,\"ttl\":null}")
            .await
            .status,
        200
    );
    let cleared = send(&url, "GET", "/api/v1/kv/t?with_ttl", "", b"").await.json();
    assert!(
        cleared["data"]["ttl"].is_null() && cleared["data"].as_object().unwrap().contains_key("ttl"),
        "{cleared}"
    );
    cluster.stop().await;
}

#[tokio::test]
async fn entity_tags_are_revisions() {
    let cluster = Cluster::start(1).await;
    let url = cluster.url(0);
    let put = send(&url, "PUT", "/api/v1/kv/e", JSON, b"{\"value\":1}").await;
    let revision = put.json()["data"]["revision"].to_string();
    let tag = format!("\"{revision}\"");
    assert_eq!(
        (put.header("etag"), put.header("x-concord-revision")),
        (Some(tag.as_str()), Some(revision.as_str()))
    );
    let get = send(&url, "GET", "/api/v1/kv/e", "", b"").await;
    assert_eq!(get.header("etag"), Some(tag.as_str()));
    let same = send(&url, "GET", "/api/v1/kv/e", &format!("if-none-match: {tag}"), b"").await;
    assert_eq!(
        (same.status, same.body.len(), same.header("etag")),
        (304, 0, Some(tag.as_str()))
    );
    assert_eq!(
        send(&url, "GET", "/api/v1/kv/e", "if-none-match: \"1\"", b"")
            .await
            .status,
        200
    );
    let head = send(&url, "HEAD", "/api/v1/kv/e", "", b"").await;
    assert_eq!(
        (head.status, head.body.len(), head.header("etag")),
        (200, 0, Some(tag.as_str()))
    );
    assert_eq!(
        head.header("content-length"),
        Some(get.body.len().to_string().as_str())
    );
    let missing = send(&url, "HEAD", "/api/v1/kv/none", "", b"").await;
    assert_eq!((missing.status, missing.body.len()), (404, 0));
    cluster.stop().await;
}

/// Keys that URL libraries take for "here" and "up" are keys like any other.
#[tokio::test]
async fn dots_are_keys() {
    let cluster = Cluster::start(1).await;
    let url = cluster.url(0);
    for key in [".", "..", "%2E%2e"] {
        let target = format!("/api/v1/kv/{key}");
        assert_eq!(
            send(&url, "PUT", &target, JSON, b"{\"value\":1}").await.status,
            200,
            "{key}"
        );
        assert_eq!(send(&url, "GET", &target, "", b"").await.status, 200, "{key}");
    }
    cluster.stop().await;
}

/// Starts a node with small limits.
async fn small() -> (Concord, String, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let mut http = HttpConfig::new("127.0.0.1:0");
    http.body_bytes_max = 4_096;
    http.connections_max = 2;
    http.header_timeout = Duration::from_millis(100);
    http.allowed_hosts = Some(vec!["db.example".to_owned()]);
    let db = Concord::open(Config::at(dir.path()).http_config(http).value_bytes_max(1_024))
        .await
        .unwrap();
    let url = format!("http://{}", db.http_address().unwrap());
    (db, url, dir)
}

#[tokio::test]
async fn bodies_and_values_over_their_limits_are_refused() {
    let (db, url, _dir) = small().await;
    let text = "content-type: text/plain";
    let before = db.revision();
    assert_eq!(
        send(&url, "PUT", "/api/v1/kv/b", text, &[b'x'; 1_024])
            .await
            .status,
        200
    );
    let value = send(&url, "PUT", "/api/v1/kv/b", text, &[b'x'; 1_025]).await;
    assert_eq!((value.status, value.code().as_str()), (413, "value_too_large"));
    // Declared, and found out only while reading.
    let declared = send(&url, "PUT", "/api/v1/kv/b", text, &[b'x'; 5_000]).await;
    assert_eq!(
        (declared.status, declared.code().as_str()),
        (413, "value_too_large")
    );
    let mut chunked = format!(
        "PUT /api/v1/kv/b HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n{text}\r\ntransfer-encoding: chunked\r\n\r\n",
        &url[7..]
    )
    .into_bytes();
    for _ in 0..5 {
        chunked.extend_from_slice(b"400\r\n");
        chunked.extend_from_slice(&[b'x'; 0x400]);
        chunked.extend_from_slice(b"\r\n");
    }
    chunked.extend_from_slice(b"0\r\n\r\n");
    let found_out = exchange(&url[7..], &chunked).await;
    assert_eq!(
        (found_out.status, found_out.code().as_str()),
        (413, "value_too_large")
    );
    assert_eq!(
        db.revision().get(),
        before.get() + 1,
        "only the first was written"
    );
    db.shutdown().await.unwrap();
}

#[tokio::test]
async fn foreign_host_names_are_refused() {
    let (db, url, _dir) = small().await;
    for (host, status) in [
        ("db.example", 200),
        ("DB.example:4000", 200),
        ("127.0.0.1", 200),
        ("localhost:1", 200),
        ("evil.example", 403),
    ] {
        let reply = send(&url, "GET", "/api/v1/status", &format!("host: {host}"), b"").await;
        assert_eq!(reply.status, status, "{host}");
        if status == 403 {
            assert_eq!(reply.code(), "forbidden");
        }
    }
    db.shutdown().await.unwrap();
}

/// D-HTTP-8: pages of origins that are named see answers, refusals too, and are told before they ask; others see nothing.
#[tokio::test]
async fn pages_of_named_origins_may_ask() {
    const APP: &str = "https://app.example";
    let cluster = Cluster::start_as(1, |config| {
        let mut http = HttpConfig::new("127.0.0.1:0");
        http.allowed_origins = vec![APP.to_owned()];
        config
            .http_config(http)
            .with_auth()
            .root_token(RootToken::Given(Secret::new(ROOT)))
    })
    .await;
    let url = cluster.url(0);
    let allowed = "access-control-allow-origin";
    let question = |origin: &str| {
        format!(
            "origin: {origin}\r\naccess-control-request-method: PUT\r\naccess-control-request-headers: authorization,if-match"
        )
    };
    // No token: a browser shows none before it knows that it may.
    let told = send(&url, "OPTIONS", "/api/v1/kv/k", &question(APP), b"").await;
    assert_eq!((told.status, told.header(allowed)), (200, Some(APP)));
    assert!(
        told.header("access-control-allow-methods")
            .unwrap()
            .contains("PUT")
    );
    let headers = told.header("access-control-allow-headers").unwrap();
    assert!(
        headers.contains("authorization") && headers.contains("if-match"),
        "{headers}"
    );
    assert_eq!(
        told.header("access-control-allow-credentials"),
        None,
        "no cookies"
    );
    for other in [
        "https://evil.example",
        "http://app.example",
        "https://app.example:444",
        "null",
    ] {
        let reply = send(&url, "OPTIONS", "/api/v1/kv/k", &question(other), b"").await;
        assert_eq!(reply.header(allowed), None, "{other}");
    }
    let bare = format!("origin: {APP}\r\ncontent-type: application/json");
    let refused = send(&url, "PUT", "/api/v1/kv/k", &bare, br#"{"value":1}"#).await;
    assert_eq!((refused.status, refused.header(allowed)), (401, Some(APP)));
    let signed = format!("{bare}\r\nauthorization: Bearer {ROOT}");
    let written = send(&url, "PUT", "/api/v1/kv/k", &signed, br#"{"value":1}"#).await;
    assert_eq!((written.status, written.header(allowed)), (200, Some(APP)));
    let exposed = written.header("access-control-expose-headers").unwrap();
    assert!(
        exposed.contains("x-concord-revision") && exposed.contains("etag"),
        "{exposed}"
    );
    assert!(written.header("x-concord-revision").is_some());
    assert_eq!(
        written.header("vary").map(|vary| vary.contains("origin")),
        Some(true)
    );
    cluster.stop().await;
}

/// Connections over the cap wait; who says nothing, or not enough, is cut off and so makes room.
#[tokio::test]
async fn idle_connections_cannot_lock_others_out() {
    let (db, url, _dir) = small().await;
    // Nothing; what may become the preface of HTTP/2; half a head of HTTP/1; a preface and no more.
    for said in [
        &b""[..],
        b"P",
        b"GET /health HTTP/1.1\r\nhost: lo",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ] {
        let mut slow = Vec::new();
        for _ in 0..4 {
            let mut stream = TcpStream::connect(&url[7..]).await.unwrap();
            stream.write_all(said).await.unwrap();
            slow.push(stream);
        }
        assert_eq!(
            send(&url, "GET", "/health", "", b"").await.status,
            200,
            "{said:?}"
        );
        let mut rest = Vec::new();
        slow[0].read_to_end(&mut rest).await.unwrap();
    }
    db.shutdown().await.unwrap();
}

/// D-HTTP-9: also what is refused before it is a request has the one shape.
#[tokio::test]
async fn heads_that_are_no_request_are_refused_in_the_same_shape() {
    let cluster = Cluster::start(1).await;
    let url = cluster.url(0);
    let large = format!(
        "GET /health HTTP/1.1\r\nhost: localhost\r\nx-large: {}\r\n\r\n",
        "x".repeat(70_000)
    );
    let many = format!(
        "GET /health HTTP/1.1\r\nhost: localhost\r\n{}\r\n",
        "a: b\r\n".repeat(200)
    );
    for (bytes, status) in [
        (large.as_bytes(), 431),
        (many.as_bytes(), 431),
        (b"nonsense\r\n\r\n", 400),
        (b"GET /a b HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nno colon\r\n\r\n", 400),
        (
            b"POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: -1\r\n\r\n",
            400,
        ),
    ] {
        let reply = exchange(&url[7..], bytes).await;
        let start = String::from_utf8_lossy(&bytes[..bytes.len().min(40)]).into_owned();
        assert_eq!(
            (reply.status, reply.code().as_str()),
            (status, "invalid_request"),
            "{start}"
        );
        assert_eq!(
            reply.header("content-length"),
            Some(reply.body.len().to_string().as_str())
        );
    }
    cluster.stop().await;
}

/// What the library says of a later head stays as it is: it could be an answer's.
#[tokio::test]
async fn answers_are_never_taken_for_rejections() {
    let cluster = Cluster::start(1).await;
    let url = cluster.url(0);
    let rejection = "HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\n\r\n";
    let put = send(
        &url,
        "PUT",
        "/api/v1/kv/r",
        "content-type: text/plain",
        rejection.as_bytes(),
    )
    .await;
    assert_eq!(put.status, 200);
    let raw = send(&url, "GET", "/api/v1/kv/r", "accept: text/plain", b"").await;
    assert_eq!(raw.body, rejection.as_bytes());
    let second = b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\nnonsense\r\n\r\n";
    let both = exchange(&url[7..], second).await;
    assert_eq!(both.status, 200);
    let rest = String::from_utf8(both.body).unwrap();
    assert!(rest.contains("HTTP/1.1 400"), "{rest}");
    cluster.stop().await;
}

#[tokio::test]
async fn settings_are_read_and_replaced_as_a_whole() {
    let cluster = Cluster::start(1).await;
    let url = cluster.url(0);
    let path = "/api/v1/cluster/settings";
    let mut settings = send(&url, "GET", path, "", b"").await.json()["data"].clone();
    assert_eq!(settings["value_bytes_max"], 16 << 20);
    assert_eq!(settings["compaction"]["keep_ms"], 3_600_000);
    settings["value_bytes_max"] = json!(10);
    settings["compaction"]["keep_ms"] = json!(null);
    let changed = send(&url, "PUT", path, JSON, settings.to_string().as_bytes()).await;
    assert_eq!((changed.status, &changed.json()["data"]), (200, &settings));
    assert_eq!(send(&url, "GET", path, "", b"").await.json()["data"], settings);
    let held = cluster.node(0).settings().await.unwrap();
    assert_eq!((held.value_bytes_max, held.compaction.keep_ms), (10, None));
    let refused = send(
        &url,
        "PUT",
        "/api/v1/kv/k",
        "content-type: text/plain",
        b"12345678901",
    )
    .await;
    assert_eq!(
        (refused.status, refused.code().as_str()),
        (413, "value_too_large")
    );
    cluster.stop().await;
}

#[tokio::test]
async fn entity_tags_guard_writes() {
    let cluster = Cluster::start(1).await;
    let url = cluster.url(0);
    let path = "/api/v1/kv/guarded";
    let text = "content-type: text/plain";
    let only = |condition: &str| format!("{text}\r\n{condition}");
    let made = send(&url, "PUT", path, &only("if-none-match: *"), b"1").await;
    assert_eq!(made.status, 200);
    let again = send(&url, "PUT", path, &only("if-none-match: *"), b"2").await;
    assert_eq!((again.status, again.code().as_str()), (412, "condition_failed"));
    let details = &again.json()["error"]["details"];
    assert_eq!(
        details["current"]["value"], "1",
        "the record that was judged: {details}"
    );
    let tag = format!("if-match: {}", made.header("etag").unwrap());
    assert_eq!(send(&url, "PUT", path, &only(&tag), b"3").await.status, 200);
    assert_eq!(send(&url, "PUT", path, &only(&tag), b"4").await.status, 412);
    assert_eq!(send(&url, "DELETE", path, &tag, b"").await.status, 412);
    assert_eq!(send(&url, "DELETE", path, "if-match: *", b"").await.status, 200);
    let absent = send(&url, "PUT", path, &only("if-match: *"), b"5").await;
    assert!(absent.json()["error"]["details"]["current"].is_null());
    // Bytes can be expected too.
    let binary = "content-type: application/octet-stream";
    assert_eq!(send(&url, "PUT", path, binary, b"\0\xff").await.status, 200);
    let body = json!({"value": 1, "expected": "AP8=", "expected_format": "binary"}).to_string();
    assert_eq!(send(&url, "PUT", path, JSON, body.as_bytes()).await.status, 200);
    cluster.stop().await;
}

/// `bulk` is a key like any other, and where its path means something else, `%62ulk` is its name.
#[tokio::test]
async fn a_key_named_bulk_can_be_reached() {
    let cluster = Cluster::start(1).await;
    let url = cluster.url(0);
    let path = "/api/v1/kv/bulk";
    assert_eq!(send(&url, "PUT", path, JSON, b"{\"value\":7}").await.status, 200);
    assert_eq!(send(&url, "GET", path, "", b"").await.json()["data"]["value"], 7);
    assert_eq!(
        send(&url, "POST", &format!("{path}/increment"), "", b"")
            .await
            .json()["data"]["value"],
        8
    );
    assert_eq!(
        send(&url, "GET", &format!("{path}/ttl"), "", b"").await.status,
        200
    );
    let touched = send(&url, "POST", "/api/v1/kv/%62ulk/touch", JSON, b"{\"ttl\":60}").await;
    assert!(
        touched.json()["data"]["expires_at"].is_u64(),
        "{:?}",
        touched.json()
    );
    assert_eq!(
        send(&url, "DELETE", path, "", b"").await.json()["data"]["existed"],
        true
    );
    cluster.stop().await;
}

/// Exactly once: a request that is sent again under its name is answered, not applied again.
#[tokio::test]
async fn a_named_request_is_applied_once() {
    let cluster = Cluster::start(1).await;
    let url = cluster.url(0);
    let path = "/api/v1/kv/once/increment";
    let named = "idempotency-key: order-7";
    for _ in 0..3 {
        let answer = send(&url, "POST", path, named, b"").await;
        assert_eq!((answer.status, &answer.json()["data"]["value"]), (200, &json!(1)));
    }
    let other = send(&url, "DELETE", "/api/v1/kv/once", named, b"").await;
    assert_eq!(
        (other.status, other.code().as_str()),
        (409, "idempotency_conflict")
    );
    let db = cluster.node(0);
    let embedded = db.increment("once", 1).idempotency_key("order-7").await.unwrap();
    assert_eq!(embedded.value, 1, "the name is the cluster's, not a door's");
    assert_eq!(
        db.increment("once", 1)
            .idempotency_key("order-8")
            .await
            .unwrap()
            .value,
        2
    );
    for name in [String::new(), "x".repeat(256)] {
        let refused = db.put("once", "x").idempotency_key(name).await.unwrap_err();
        assert_eq!(refused.code(), "invalid_request");
    }
    cluster.stop().await;
}
