//! Every path of the OpenAPI document, with every kind of token, against a golden table.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value as Json;

use crate::cluster::{Cluster, ROOT};
use crate::wire::{Reply, send};

/// What a request to a path needs so that nothing but the right to it is missing.
fn body_of(route: &str) -> &'static str {
    match route {
        "put /api/v1/kv/{key}" => r#"{"value":1}"#,
        "post /api/v1/kv/bulk" => r#"{"operations":[{"key":"k","value":1}]}"#,
        "post /api/v1/kv/bulk/get" | "post /api/v1/kv/bulk/delete" => r#"{"keys":["k"]}"#,
        "post /api/v1/kv/bulk/touch" => r#"{"operations":[{"key":"k","ttl":9}]}"#,
        "post /api/v1/kv/{key}/touch" => r#"{"ttl":9}"#,
        "post /api/v1/kv/{key}/increment" => r#"{"delta":1}"#,
        "post /api/v1/txn" => r#"{"success":[{"put":{"key":"k","value":1}}]}"#,
        "post /api/v1/query" => r#"{"prefix":"k"}"#,
        "post /api/v1/indexes" => r#"{"name":"i","extractor":"$.n"}"#,
        "post /api/v1/leases" => r#"{"ttl":9}"#,
        "post /api/v1/locks/{name}/keep_alive"
        | "post /api/v1/elections/{name}/keep_alive"
        | "post /api/v1/services/{service}/instances/{instance}/keep_alive" => r#"{"lease":1}"#,
        "put /api/v1/elections/{name}" => r#"{"lease":1,"value":"v"}"#,
        "post /api/v1/elections/{name}" => r#"{"value":"v"}"#,
        "put /api/v1/services/{service}/instances/{instance}" => r#"{"value":"v"}"#,
        "post /api/v1/subscriptions" => r#"{"name":"s"}"#,
        "post /api/v1/subscriptions/{name}/ack" => r#"{"revision":1}"#,
        "post /api/v1/cluster/members" => r#"{"address":"127.0.0.1:1"}"#,
        "post /api/v1/cluster/members/{id}/replace" => r#"{"with":2}"#,
        "post /api/v1/cluster/compact" => r#"{"revision":1}"#,
        "put /api/v1/cluster/settings" => {
            r#"{"value_bytes_max":1,"compaction":{"keep_ms":null,"keep_revisions":null,"keep_bytes":null}}"#
        }
        "post /api/v1/tokens" => r#"{"roles":["admin"]}"#,
        "post /api/v1/roles" => r#"{"role":"r","permissions":["*"]}"#,
        "put /api/v1/roles/{role}" => r#"{"permissions":["*"]}"#,
        "put /api/v1/acls" => r#"{"role":"r","pattern":"*","permissions":["*"]}"#,
        "post /api/v1/tenants" => r#"{"id":"t"}"#,
        "patch /api/v1/tenants/{id}" => r#"{"max_keys":1}"#,
        _ => "{}",
    }
}

fn target_of(route: &str, path: &str) -> String {
    let id = if path.contains("/leases/") || path.contains("/members/") {
        "7"
    } else {
        "x"
    };
    let mut target = String::new();
    for part in path.split_inclusive('/') {
        match part.strip_prefix('{') {
            Some(rest) if rest.ends_with('/') => target.push_str(&format!("{id}/")),
            Some(_) => target.push_str(id),
            None => target.push_str(part),
        }
    }
    let query = match route {
        "get /api/v1/watch" => "?wait=1ms",
        "get /api/v1/subscriptions/{name}/events" => "?wait=1ms",
        "get /api/v1/can-i" => "?action=read&key=k",
        "get /api/v1/tokens/{token}/access" => "?key=k",
        "get /api/v1/acls" => "?role=r",
        "delete /api/v1/acls" => "?role=r&pattern=a",
        "delete /api/v1/locks/{name}"
        | "delete /api/v1/elections/{name}"
        | "delete /api/v1/services/{service}/instances/{instance}" => "?lease=1",
        // A stream would never end.
        _ if path.ends_with("/observe") => "?unknown",
        _ => "",
    };
    format!("{target}{query}")
}

/// D-SEC-2, D-SEC-3, and CVE-2026-33413 of etcd: no path is without an owner. One that is added to the router is in the
/// document, and has to have a line here.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_path_asks_who_it_is() {
    let cluster = Cluster::start_with_auth(1).await;
    let (db, url) = (cluster.node(0), cluster.url(0));
    let token = |ttl: Option<Duration>, role: &'static str| {
        let create = db.create_token().role(role);
        async move {
            let create = match ttl {
                Some(ttl) => create.ttl(ttl),
                None => create,
            };
            create.await.unwrap()
        }
    };
    let expired = token(Some(Duration::from_millis(1)), "admin").await;
    let revoked = token(None, "admin").await;
    db.revoke_token(&revoked.id.to_string()).await.unwrap();
    let viewer = token(None, "viewer").await;
    let scoped = super::confined(db, "scoped", &["own:*"]).await;
    drop(scoped);
    let scoped = db.rotate_token("scoped", Duration::ZERO).await.unwrap();
    // tidy-allow(sleep): the end of a token is a matter of time.
    tokio::time::sleep(Duration::from_millis(20)).await;

    let document: Json = serde_json::from_str(&concord_server::http::openapi_json().unwrap()).unwrap();
    let mut routes = BTreeMap::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys() {
            let route = format!("{method} {path}");
            routes.insert(route.clone(), (method.to_uppercase(), target_of(&route, path)));
        }
    }
    let mut table = String::from("nobody viewer scoped\n");
    for (route, (method, target)) in &routes {
        let ask = async |token: Option<&str>| {
            let header = token.map_or(String::new(), |token| {
                format!("\r\nauthorization: Bearer {token}")
            });
            let headers = format!("content-type: application/json{header}");
            send(&url, method, target, &headers, body_of(route).as_bytes()).await
        };
        let nobody = ask(None).await;
        for other in [
            Some("nonsense"),
            Some("sk_concord_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"),
            Some(expired.secret.expose()),
            Some(revoked.secret.expose()),
        ] {
            let reply = ask(other).await;
            assert_eq!(reply.status, nobody.status, "{route} {other:?}");
            if nobody.status == 401 {
                assert_eq!(reply.body, nobody.body, "{route} {other:?}");
                assert_eq!(reply.header("www-authenticate"), Some("Bearer"), "{route}");
                assert_eq!(reply.code(), "unauthorized");
            }
        }
        let (viewer, scoped) = (
            ask(Some(viewer.secret.expose())).await,
            ask(Some(scoped.secret.expose())).await,
        );
        table.push_str(&format!(
            "{}    {}    {}    {route}\n",
            nobody.status, viewer.status, scoped.status
        ));
    }
    let expected = include_str!("../../testdata/paths.txt");
    assert_eq!(table, expected, "tests/testdata/paths.txt should be:\n{table}");
    assert!(
        db.scan().count().await.unwrap().count == 0,
        "nobody has written anything"
    );
    cluster.stop().await;
}

/// Also of paths and methods that do not exist, and under any name of the header.
#[tokio::test]
async fn only_whoever_is_somebody_learns_what_exists() {
    let cluster = Cluster::start_with_auth(1).await;
    let url = cluster.url(0);
    let own = format!("authorization: bearer {ROOT}");
    let key = format!("x-api-key: {ROOT}");
    for (method, target, status) in [
        ("GET", "/api/v1/none", 404),
        ("PATCH", "/api/v1/kv/k", 405),
        ("GET", "/api/v1/kv/%zz", 400),
        ("GET", "/", 404),
        ("GET", "/docs/../api/v1/kv/k", 404),
    ] {
        if !target.starts_with("/docs") {
            assert_eq!(send(&url, method, target, "", b"").await.status, 401, "{target}");
        }
        assert_eq!(
            send(&url, method, target, &own, b"").await.status,
            status,
            "{target}"
        );
        assert_eq!(
            send(&url, method, target, &key, b"").await.status,
            status,
            "{target}"
        );
    }
    for open in [
        "/health",
        "/ready",
        "/api/v1/health",
        "/api/v1/ready",
        "/openapi.json",
        "/api/v1/openapi.json",
        "/docs/",
    ] {
        assert_eq!(send(&url, "GET", open, "", b"").await.status, 200, "{open}");
        assert_eq!(
            send(&url, "GET", open, "authorization: Bearer wrong", b"")
                .await
                .status,
            200,
            "{open}"
        );
    }
    // A body is not read for nobody.
    let reply = send(
        &url,
        "PUT",
        "/api/v1/kv/k",
        "content-type: application/json",
        b"{",
    )
    .await;
    assert_eq!((reply.status, reply.code().as_str()), (401, "unauthorized"));
    cluster.stop().await;
}

/// D-HTTP-4: with authentication off no token is asked for, and one that is shown does not matter.
#[tokio::test]
async fn without_authentication_tokens_are_not_asked_for() {
    let cluster = Cluster::start(1).await;
    let url = cluster.url(0);
    for headers in ["", "authorization: Bearer nonsense", "x-api-key: nonsense"] {
        let put = send(&url, "DELETE", "/api/v1/kv/k", headers, b"").await;
        assert_eq!(put.status, 200, "{headers}");
    }
    cluster.stop().await;
}

/// A request with a token.
pub(crate) async fn ask(url: &str, token: &str, method: &str, target: &str, body: &str) -> Reply {
    let headers = format!("content-type: application/json\r\nauthorization: Bearer {token}");
    send(
        url,
        method,
        &format!("/api/v1{target}"),
        &headers,
        body.as_bytes(),
    )
    .await
}

/// A request of the root token that succeeds.
pub(crate) async fn root(url: &str, method: &str, target: &str, body: &str) -> Json {
    let reply = ask(url, ROOT, method, target, body).await;
    assert_eq!(
        reply.status,
        200,
        "{method} {target} {}",
        String::from_utf8_lossy(&reply.body)
    );
    reply.json()["data"].clone()
}

/// Tokens, roles and ACLs over HTTP as somebody new would use them.
#[tokio::test]
async fn the_policy_is_made_and_shown_over_http() {
    let cluster = Cluster::start_with_auth(1).await;
    let url = &cluster.url(0);
    root(
        url,
        "POST",
        "/roles",
        r#"{"role":"sales","permissions":["read","write"]}"#,
    )
    .await;
    let acl = r#"{"role":"sales","pattern":"orders:*","permissions":["read"]}"#;
    root(url, "PUT", "/acls", acl).await;
    let issued = r#"{"name":"report","roles":["sales"],"ttl":"30d"}"#;
    let issued = root(url, "POST", "/tokens", issued).await;
    let secret = issued["token"].as_str().unwrap();
    assert!(issued["expires_at"].is_u64());
    assert_eq!(ask(url, secret, "GET", "/kv/orders:1", "").await.status, 404);
    assert_eq!(ask(url, secret, "GET", "/kv/payroll:1", "").await.status, 403);
    assert_eq!(
        ask(url, secret, "PUT", "/kv/orders:1", r#"{"value":1}"#)
            .await
            .status,
        403
    );
    let can = ask(url, secret, "GET", "/can-i?action=read&key=orders:1", "").await;
    assert_eq!(can.json()["data"]["allowed"], true);
    let whoami = ask(url, secret, "GET", "/whoami", "").await.json();
    assert_eq!(whoami["data"]["token"]["name"], "report");
    let why = root(url, "GET", "/tokens/report/access?key=orders:1", "").await;
    assert_eq!(why["because"][0]["source"], "acl");
    assert_eq!(why["because"][0]["pattern"], "orders:*");
    let listed = root(url, "GET", "/tokens", "").await;
    assert_eq!(listed["tokens"].as_array().unwrap().len(), 2);
    assert!(!listed.to_string().contains("sk_concord_"));
    assert_eq!(
        root(url, "GET", "/roles", "").await["roles"]
            .as_array()
            .unwrap()
            .len(),
        5
    );
    assert_eq!(
        root(url, "GET", "/acls?role=sales", "").await[0]["pattern"],
        "orders:*"
    );
    let fresh = root(url, "POST", "/tokens/report/rotate", r#"{"grace":"1h"}"#).await;
    let fresh = fresh["token"].as_str().unwrap();
    assert_eq!(
        ask(url, secret, "GET", "/kv/orders:1", "").await.status,
        404,
        "grace"
    );
    assert_eq!(ask(url, fresh, "GET", "/kv/orders:1", "").await.status, 404);
    root(url, "DELETE", "/tokens/report", "").await;
    assert_eq!(ask(url, fresh, "GET", "/kv/orders:1", "").await.status, 401);
    cluster.stop().await;
}

#[tokio::test]
async fn a_policy_that_makes_no_sense_is_refused_over_http() {
    let cluster = Cluster::start_with_auth(1).await;
    let url = &cluster.url(0);
    for (body, status) in [
        (r#"{"name":"_bad"}"#, 400),
        (r#"{"permissions":["fly"]}"#, 400),
        (r#"{"roles":["none-such"]}"#, 404),
        (r#"{"name":"root"}"#, 409),
        (r#"{"ttl":0}"#, 400),
    ] {
        assert_eq!(
            ask(url, ROOT, "POST", "/tokens", body).await.status,
            status,
            "{body}"
        );
    }
    for role in ["admin", "tenant_x"] {
        let body = format!(r#"{{"role":"{role}","permissions":["*"]}}"#);
        assert_eq!(
            ask(url, ROOT, "POST", "/roles", &body).await.status,
            403,
            "{role}"
        );
    }
    cluster.stop().await;
}
