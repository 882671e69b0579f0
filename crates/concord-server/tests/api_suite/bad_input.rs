//! Bad input: for each kind the exact status and name, and nothing written.

mod data_plane;
mod indexes;
mod poison;

use self::data_plane::DATA_PLANE;
use self::indexes::INDEXES;
use crate::cluster::Cluster;
use crate::wire::send;

const JSON: &str = "content-type: application/json";
const TEXT: &str = "content-type: text/plain";

/// Method, target below the base, header lines, body, status, name.
type Case = (
    &'static str,
    &'static str,
    &'static str,
    &'static [u8],
    u16,
    &'static str,
);

const CASES: &[Case] = &[
    // Keys.
    ("PUT", "/kv/", JSON, b"{\"value\":1}", 400, "invalid_key"),
    ("GET", "/kv/", "", b"", 400, "invalid_key"),
    ("POST", "/kv//touch", JSON, b"{\"ttl\":1}", 400, "invalid_key"),
    ("GET", "/kv/%FF", "", b"", 400, "invalid_key"),
    ("PUT", "/kv/%C3%28", JSON, b"{\"value\":1}", 400, "invalid_key"),
    ("PUT", "/kv/%zz", JSON, b"{\"value\":1}", 400, "invalid_key"),
    ("PUT", "/kv/%", JSON, b"{\"value\":1}", 400, "invalid_key"),
    ("DELETE", "/kv/%2", "", b"", 400, "invalid_key"),
    // TTLs, wherever they can stand.
    (
        "PUT",
        "/kv/k",
        JSON,
        b"{\"value\":1,\"ttl\":0}",
        400,
        "invalid_ttl",
    ),
    (
        "PUT",
        "/kv/k",
        JSON,
        b"{\"value\":1,\"ttl\":-1}",
        400,
        "invalid_ttl",
    ),
    (
        "PUT",
        "/kv/k",
        JSON,
        b"{\"value\":1,\"ttl\":1.5}",
        400,
        "invalid_ttl",
    ),
    (
        "PUT",
        "/kv/k",
        JSON,
        b"{\"value\":1,\"ttl\":1e30}",
        400,
        "invalid_ttl",
    ),
    (
        "PUT",
        "/kv/k",
        JSON,
        b"{\"value\":1,\"ttl\":\"abc\"}",
        400,
        "invalid_ttl",
    ),
    (
        "PUT",
        "/kv/k",
        JSON,
        b"{\"value\":1,\"ttl\":\"0s\"}",
        400,
        "invalid_ttl",
    ),
    (
        "PUT",
        "/kv/k",
        JSON,
        b"{\"value\":1,\"ttl\":\"\"}",
        400,
        "invalid_ttl",
    ),
    (
        "PUT",
        "/kv/k",
        JSON,
        b"{\"value\":1,\"ttl\":true}",
        400,
        "invalid_ttl",
    ),
    (
        "PUT",
        "/kv/k",
        JSON,
        b"{\"value\":1,\"ttl\":{}}",
        400,
        "invalid_ttl",
    ),
    (
        "PUT",
        "/kv/k",
        JSON,
        b"{\"value\":1,\"ttl\":99999999999999999999}",
        400,
        "invalid_ttl",
    ),
    (
        "PUT",
        "/kv/k",
        JSON,
        b"{\"value\":1,\"ttl\":\"200000d\"}",
        400,
        "invalid_ttl",
    ),
    ("PUT", "/kv/k?ttl=0", TEXT, b"x", 400, "invalid_ttl"),
    ("PUT", "/kv/k?ttl=1.5", TEXT, b"x", 400, "invalid_ttl"),
    (
        "POST",
        "/kv/k/touch",
        JSON,
        b"{\"ttl\":\"1h1h\"}",
        400,
        "invalid_ttl",
    ),
    (
        "POST",
        "/kv/k/increment",
        JSON,
        b"{\"ttl\":0}",
        400,
        "invalid_ttl",
    ),
    // Values.
    (
        "PUT",
        "/kv/k",
        JSON,
        b"{\"value\":18446744073709551616}",
        422,
        "invalid_value",
    ),
    (
        "PUT",
        "/kv/k",
        JSON,
        b"{\"value\":{\"a\":[1e400]}}",
        422,
        "invalid_value",
    ),
    (
        "PUT",
        "/kv/k",
        JSON,
        b"{\"value\":{\"a\":1,\"a\":2}}",
        422,
        "invalid_value",
    ),
    (
        "PUT",
        "/kv/k",
        JSON,
        b"{\"value\":\"\\ud800\"}",
        422,
        "invalid_value",
    ),
    (
        "PUT",
        "/kv/k",
        JSON,
        b"{\"value\":1,\"format\":\"text\"}",
        422,
        "invalid_value",
    ),
    (
        "PUT",
        "/kv/k",
        JSON,
        b"{\"value\":\"*\",\"format\":\"binary\"}",
        422,
        "invalid_value",
    ),
    ("PUT", "/kv/k", TEXT, b"\xff", 422, "invalid_value"),
    (
        "POST",
        "/kv/k/increment",
        JSON,
        b"{\"delta\":1.5}",
        422,
        "invalid_value",
    ),
    (
        "POST",
        "/kv/k/increment",
        JSON,
        b"{\"delta\":9223372036854775808}",
        422,
        "invalid_value",
    ),
    (
        "POST",
        "/kv/k/increment",
        JSON,
        b"{\"delta\":\"1\"}",
        422,
        "invalid_value",
    ),
    // Bodies.
    ("PUT", "/kv/k", JSON, b"", 400, "invalid_request"),
    ("PUT", "/kv/k", JSON, b"{", 400, "invalid_request"),
    ("PUT", "/kv/k", JSON, b"not json", 400, "invalid_request"),
    ("PUT", "/kv/k", JSON, b"[]", 400, "invalid_request"),
    ("PUT", "/kv/k", JSON, b"{}", 400, "invalid_request"),
    ("PUT", "/kv/k", JSON, b"{\"ttl\":1}", 400, "invalid_request"),
    ("PUT", "/kv/k", JSON, b"{\"value\":1}x", 400, "invalid_request"),
    (
        "PUT",
        "/kv/k",
        JSON,
        b"{\"value\":1,\"value\":2}",
        400,
        "invalid_request",
    ),
    (
        "PUT",
        "/kv/k",
        JSON,
        b"{\"value\":1,\"tll\":1}",
        400,
        "invalid_request",
    ),
    (
        "PUT",
        "/kv/k",
        JSON,
        b"{\"value\":1,\"format\":\"yaml\"}",
        400,
        "invalid_request",
    ),
    (
        "PUT",
        "/kv/k",
        JSON,
        b"{\"value\":1,\"return_previous\":\"yes\"}",
        400,
        "invalid_request",
    ),
    (
        "PUT",
        "/kv/k",
        JSON,
        b"{\"value\":\"\xff\"}",
        400,
        "invalid_request",
    ),
    (
        "PUT",
        "/kv/k?ttl=1",
        JSON,
        b"{\"value\":1,\"ttl\":1}",
        400,
        "invalid_request",
    ),
    ("POST", "/kv/k/touch", JSON, b"{}", 400, "invalid_request"),
    (
        "POST",
        "/kv/k/increment",
        JSON,
        b"{\"by\":1}",
        400,
        "invalid_request",
    ),
    ("POST", "/cluster/members", JSON, b"{}", 400, "invalid_request"),
    (
        "POST",
        "/cluster/members",
        JSON,
        b"{\"address\":\"nowhere\"}",
        400,
        "invalid_request",
    ),
    (
        "POST",
        "/cluster/members/1/replace",
        JSON,
        b"{\"with\":0}",
        400,
        "invalid_request",
    ),
    (
        "POST",
        "/cluster/transfer",
        JSON,
        b"{\"to\":0}",
        400,
        "invalid_request",
    ),
    (
        "POST",
        "/cluster/compact",
        JSON,
        b"{\"revision\":\"1\"}",
        400,
        "invalid_request",
    ),
    ("PUT", "/cluster/settings", JSON, b"{}", 400, "invalid_request"),
    (
        "PUT",
        "/cluster/settings",
        JSON,
        b"{\"value_bytes_max\":1,\"compaction\":{\"keep_ms\":null,\"keep_bytes\":null}}",
        400,
        "invalid_request",
    ),
    (
        "PUT",
        "/cluster/settings",
        JSON,
        b"{\"value_bytes_max\":0,\"compaction\":{\"keep_ms\":null,\"keep_revisions\":1,\"keep_bytes\":null}}",
        400,
        "invalid_request",
    ),
    // Content types.
    ("PUT", "/kv/k", "", b"{\"value\":1}", 415, "unsupported"),
    (
        "PUT",
        "/kv/k",
        "content-type: application/xml",
        b"<a/>",
        415,
        "unsupported",
    ),
    (
        "PUT",
        "/kv/k",
        "content-type: text/plain; charset=latin1",
        b"x",
        415,
        "unsupported",
    ),
    ("POST", "/kv/k/touch", TEXT, b"{\"ttl\":1}", 415, "unsupported"),
    (
        "POST",
        "/kv/k/increment",
        TEXT,
        b"{\"delta\":1}",
        415,
        "unsupported",
    ),
    (
        "POST",
        "/cluster/compact",
        "",
        b"{\"revision\":1}",
        415,
        "unsupported",
    ),
    // Queries.
    ("PUT", "/kv/k?tll=1", TEXT, b"x", 400, "invalid_request"),
    ("PUT", "/kv/k?timeout=0s", TEXT, b"x", 400, "invalid_request"),
    ("PUT", "/kv/k?timeout=1h", TEXT, b"x", 400, "invalid_request"),
    ("DELETE", "/kv/k?force", "", b"", 400, "invalid_request"),
    ("GET", "/kv/k?consistency=quorum", "", b"", 400, "invalid_request"),
    (
        "GET",
        "/kv/k?consistency=strong&consistency=strong",
        "",
        b"",
        400,
        "invalid_request",
    ),
    ("GET", "/kv/k?revision=0", "", b"", 400, "invalid_request"),
    ("GET", "/kv/k?revision=-1", "", b"", 400, "invalid_request"),
    ("GET", "/kv/k?with_ttl=maybe", "", b"", 400, "invalid_request"),
    ("GET", "/kv?limit=0", "", b"", 400, "invalid_request"),
    ("GET", "/kv?limit=10001", "", b"", 400, "invalid_request"),
    ("GET", "/kv?limit=abc", "", b"", 400, "invalid_request"),
    ("GET", "/kv?prefix=a&start=b", "", b"", 400, "invalid_request"),
    ("GET", "/kv?prefix=%FF", "", b"", 400, "invalid_request"),
    ("GET", "/kv?order=up", "", b"", 400, "invalid_request"),
    ("GET", "/kv?cursor=zz", "", b"", 400, "invalid_request"),
    ("GET", "/kv?cursor=%C3%A9", "", b"", 400, "invalid_request"),
    ("GET", "/kv?keys_only&count_only", "", b"", 400, "invalid_request"),
    ("GET", "/kv/k/history?limit=0", "", b"", 400, "invalid_request"),
    ("GET", "/status?verbose", "", b"", 400, "invalid_request"),
    ("DELETE", "/cluster/members/zero", "", b"", 400, "invalid_request"),
    ("DELETE", "/cluster/members/0", "", b"", 400, "invalid_request"),
    (
        "PUT",
        "/kv/k?compress=true",
        JSON,
        b"{\"value\":1,\"compress\":true}",
        400,
        "invalid_request",
    ),
    ("PUT", "/kv/k?compress=maybe", TEXT, b"x", 400, "invalid_request"),
    (
        "PUT",
        "/kv/k",
        "content-type: text/plain\r\nidempotency-key: a\r\nidempotency-key: b",
        b"x",
        400,
        "invalid_request",
    ),
    (
        "PUT",
        "/kv/k",
        "content-type: text/plain\r\nidempotency-key:",
        b"x",
        400,
        "invalid_request",
    ),
    // Things that are not there.
    ("GET", "/kv/k", "", b"", 404, "not_found"),
    ("GET", "/kv/k/ttl", "", b"", 404, "not_found"),
    ("POST", "/kv/k/touch", JSON, b"{\"ttl\":1}", 404, "not_found"),
    ("GET", "/kv/k/other", "", b"", 404, "not_found"),
    ("GET", "/kv/a/b/c", "", b"", 404, "not_found"),
    ("GET", "/nothing", "", b"", 404, "not_found"),
    ("GET", "", "", b"", 404, "not_found"),
    ("DELETE", "/cluster/members/987654321", "", b"", 404, "not_found"),
    ("GET", "/kv/k?revision=999999", "", b"", 409, "future_revision"),
    ("GET", "/kv?revision=999999", "", b"", 409, "future_revision"),
    (
        "POST",
        "/cluster/compact",
        JSON,
        b"{\"revision\":999999}",
        409,
        "future_revision",
    ),
    (
        "GET",
        "/kv/k?min_revision=999999&timeout=50ms",
        "",
        b"",
        408,
        "timeout",
    ),
    // Methods.
    ("POST", "/kv/k", JSON, b"{\"value\":1}", 405, "unsupported"),
    ("PATCH", "/kv/k", JSON, b"{\"value\":1}", 405, "unsupported"),
    ("PUT", "/kv", JSON, b"{\"value\":1}", 405, "unsupported"),
    ("GET", "/kv/k/touch", "", b"", 405, "unsupported"),
    ("DELETE", "/status", "", b"", 405, "unsupported"),
];

#[tokio::test]
async fn bad_input_is_refused_by_name_and_writes_nothing() {
    let cluster = Cluster::start(1).await;
    let url = cluster.url(0);
    let before = cluster.node(0).revision();
    let mut wrong = Vec::new();
    for (method, target, headers, body, status, code) in CASES.iter().chain(DATA_PLANE).chain(INDEXES) {
        let reply = send(&url, method, &format!("/api/v1{target}"), headers, body).await;
        let found = (reply.status, reply.code());
        if found != (*status, (*code).to_owned()) {
            let body = String::from_utf8_lossy(body);
            wrong.push(format!(
                "{method} {target} {headers} {body}\n  {found:?}, not {:?}\n  {}",
                (status, code),
                reply.json()
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(cluster.node(0).revision(), before, "nothing was written");
    cluster.stop().await;
}

#[tokio::test]
async fn errors_name_what_is_wrong() {
    let cluster = Cluster::start(1).await;
    let url = cluster.url(0);
    for (method, target, headers, body, name, value) in [
        ("PUT", "/kv/k?tll=1", TEXT, "x", "parameter", "tll"),
        ("PUT", "/kv/k", JSON, "{\"value\":1,\"tll\":1}", "field", "tll"),
        (
            "PUT",
            "/kv/k",
            JSON,
            "{\"value\":1,\"compress\":1}",
            "field",
            "compress",
        ),
        ("GET", "/kv?limit=x", "", "", "parameter", "limit"),
        ("POST", "/kv/k/touch", "if-match: *", "", "header", "if-match"),
        ("GET", "/nothing", "", "", "path", "/api/v1/nothing"),
        // What is not there is named.
        ("GET", "/indexes/mine", "", "", "index", "mine"),
        ("DELETE", "/indexes/mine", "", "", "index", "mine"),
        ("POST", "/indexes/mine/reindex", "", "", "index", "mine"),
        ("GET", "/indexes/mine/lookup?value=1", "", "", "index", "mine"),
        ("GET", "/subscriptions/mine", "", "", "subscription", "mine"),
        ("DELETE", "/subscriptions/mine", "", "", "subscription", "mine"),
        (
            "POST",
            "/subscriptions/mine/ack",
            JSON,
            "{\"revision\":1}",
            "subscription",
            "mine",
        ),
    ] {
        let reply = send(
            &url,
            method,
            &format!("/api/v1{target}"),
            headers,
            body.as_bytes(),
        )
        .await;
        let json = reply.json();
        assert_eq!(json["error"]["details"][name], value, "{json}");
        assert!(
            json["error"]["message"].as_str().unwrap().contains(value),
            "{json}"
        );
    }
    let long = format!("/api/v1/kv/{}", "k".repeat(1025));
    assert_eq!(send(&url, "PUT", &long, TEXT, b"x").await.code(), "invalid_key");
    cluster.stop().await;
}
