//! Tenants over HTTP, as somebody new would make them.

use serde_json::Value as Json;

use crate::access::paths::{ask, root};
use crate::cluster::{Cluster, ROOT};

/// A tenant of an operator who has read a page about it.
#[tokio::test]
async fn a_tenant_is_made_used_changed_and_removed_over_http() {
    let cluster = Cluster::start_with_auth(1).await;
    the_life_of_a_tenant(&cluster.url(0), &cluster.url(0)).await;
    cluster.stop().await;
}

/// The same where nobody asks the node that leads, nor both the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tenants_are_the_same_on_three_nodes_over_http() {
    let cluster = Cluster::start_with_auth(3).await;
    the_life_of_a_tenant(&cluster.url(1), &cluster.url(2)).await;
    cluster.stop().await;
}

async fn the_life_of_a_tenant(url: &str, member: &str) {
    let made = r#"{"id":"acme","name":"Acme-Inc","max_keys":2,"max_ops_per_sec":"unlimited"}"#;
    let made = root(url, "POST", "/tenants", made).await;
    assert_eq!(made["role"], "tenant_acme");
    assert_eq!(made["namespace"], "acme:*");
    assert_eq!(made["quota"]["max_storage_bytes"], 100_000_000);
    let issued = root(url, "POST", "/tokens", r#"{"roles":["tenant_acme"]}"#).await;
    let token = issued["token"].as_str().unwrap();
    for (key, status) in [
        ("acme:1", 200),
        ("acme:2", 200),
        ("acme:3", 507),
        ("other:1", 403),
    ] {
        let put = ask(member, token, "PUT", &format!("/kv/{key}"), r#"{"value":"x"}"#).await;
        assert_eq!(put.status, status, "{key}");
        if status == 507 {
            let details = &put.json()["error"]["details"];
            assert_eq!(
                (put.code().as_str(), &details["limit"]),
                ("quota_exceeded", &Json::from(2))
            );
        }
    }
    let whoami = ask(member, token, "GET", "/whoami", "").await.json();
    assert_eq!(whoami["data"]["tenant"], "acme");
    let usage = ask(member, token, "GET", "/tenants/acme/usage", "").await;
    let usage = usage.json()["data"].clone();
    assert_eq!(usage["usage"]["keys"], 2);
    assert_eq!(usage["quota"]["max_ops_per_sec"], "unlimited");
    assert_eq!(usage["usage"]["operations_left"], Json::Null);
    assert_eq!(ask(member, token, "GET", "/tenants/acme", "").await.status, 403);

    root(url, "PATCH", "/tenants/acme", r#"{"max_keys":3}"#).await;
    let put = ask(member, token, "PUT", "/kv/acme:3", r#"{"value":"x"}"#).await;
    assert_eq!(put.status, 200);
    let shown = root(url, "GET", "/tenants/acme", "").await;
    assert_eq!(
        (&shown["usage"]["keys"], &shown["name"]),
        (&Json::from(3), &Json::from("Acme-Inc"))
    );
    let listed = root(url, "GET", "/tenants", "").await;
    assert_eq!(listed["tenants"][0], shown);
    assert_eq!(listed["next"], Json::Null);
    let twice = ask(url, ROOT, "POST", "/tenants", r#"{"id":"acme"}"#).await;
    assert_eq!((twice.status, twice.code().as_str()), (409, "already_exists"));

    root(url, "DELETE", "/tenants/acme?delete_keys=true", "").await;
    assert_eq!(ask(member, token, "GET", "/kv/acme:1", "").await.status, 403);
    assert_eq!(ask(url, ROOT, "GET", "/kv/acme:1", "").await.status, 404);
    assert_eq!(ask(url, ROOT, "GET", "/tenants/acme", "").await.status, 404);
}

/// Whatever is no quota, no id or no field is refused, and the field is named.
#[tokio::test]
async fn quotas_that_are_none_are_refused_with_their_field() {
    let cluster = Cluster::start_with_auth(1).await;
    let url = &cluster.url(0);
    root(url, "POST", "/tenants", r#"{"id":"acme"}"#).await;
    for (field, written) in [
        ("max_keys", "-1"),
        ("max_storage_bytes", "1e30"),
        ("max_storage_bytes", "1000000000000000000000000000000"),
        ("max_ops_per_sec", "\"many\""),
        ("max_keys", "\"7\""),
        ("max_keys", "\"\""),
        ("max_keys", "1.5"),
        ("max_keys", "null"),
        ("max_keys", "true"),
        ("max_keys", "[1]"),
        ("max_storage_bytes", "\"Unlimited\""),
        ("max_storage_bytes", "18446744073709551616"),
        ("namespace", "\"b:*\""),
        ("max_watches", "7"),
    ] {
        let update = format!(r#"{{"{field}":{written}}}"#);
        let create = format!(r#"{{"id":"b","{field}":{written}}}"#);
        for reply in [
            ask(url, ROOT, "PATCH", "/tenants/acme", &update).await,
            ask(url, ROOT, "POST", "/tenants", &create).await,
        ] {
            assert_eq!(
                (reply.status, reply.code().as_str()),
                (400, "invalid_request"),
                "{update}"
            );
            assert_eq!(reply.json()["error"]["details"]["field"], field, "{update}");
        }
    }
    let long = format!(r#"{{"id":"{}"}}"#, "x".repeat(122));
    for (body, field) in [
        (r#"{"id":""}"#, "id"),
        (r#"{"id":"a:b"}"#, "id"),
        (r#"{"id":"lock"}"#, "id"),
        (long.as_str(), "id"),
        (r#"{"id":7}"#, "id"),
        (r#"{"id":"b","name":"two words"}"#, "name"),
    ] {
        let reply = ask(url, ROOT, "POST", "/tenants", body).await;
        assert_eq!(
            (reply.status, reply.code().as_str()),
            (400, "invalid_request"),
            "{body}"
        );
        assert_eq!(reply.json()["error"]["details"]["field"], field, "{body}");
    }
    assert_eq!(ask(url, ROOT, "POST", "/tenants", "{}").await.status, 400);
    assert_eq!(
        ask(url, ROOT, "DELETE", "/tenants/acme?delete_keys=maybe", "")
            .await
            .status,
        400
    );
    let listed = root(url, "GET", "/tenants", "").await;
    assert_eq!(listed["tenants"].as_array().unwrap().len(), 1, "nothing was made");
    cluster.stop().await;
}

/// An export, by a client that puts its pieces together, and its revision.
async fn export(url: &str, query: &str, content_type: &str) -> (String, String) {
    let request = crate::http_client().get(format!("{url}/api/v1/usage{query}"));
    let reply = request.bearer_auth(ROOT).send().await.unwrap();
    let header = |name: &str| reply.headers()[name].to_str().unwrap().to_owned();
    assert_eq!(
        (reply.status().as_u16(), header("content-type").as_str()),
        (200, content_type)
    );
    let revision = header("x-concord-revision");
    (reply.text().await.unwrap(), revision)
}

/// What a bill is made of: exact, of one revision, in both formats the same.
#[tokio::test]
async fn the_export_is_a_line_for_each_tenant_at_one_revision() {
    let cluster = Cluster::start_with_auth(1).await;
    let url = &cluster.url(0);
    for id in ["beta", "acme"] {
        let body = format!(r#"{{"id":"{id}","max_keys":"unlimited"}}"#);
        root(url, "POST", "/tenants", &body).await;
    }
    root(url, "PUT", "/kv/acme:k", r#"{"value":"value"}"#).await;
    let (text, revision) = export(url, "", "application/x-ndjson").await;
    let parsed: Vec<Json> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let tenants: Vec<_> = parsed
        .iter()
        .map(|line| line["tenant"].as_str().unwrap())
        .collect();
    assert_eq!(tenants, ["acme", "beta"]);
    assert_eq!(
        (&parsed[0]["keys"], &parsed[0]["storage_bytes"]),
        (&Json::from(1), &Json::from(11))
    );
    assert_eq!(parsed[0]["max_keys"], "unlimited");
    assert_eq!(parsed[0]["revision"], parsed[1]["revision"]);
    assert_eq!(parsed[0]["revision"].to_string(), revision);

    let (csv, _) = export(url, "?format=csv", "text/csv; charset=utf-8").await;
    let mut rows = csv.lines().map(|row| row.split(',').collect::<Vec<_>>());
    let head = rows.next().unwrap();
    for (row, line) in rows.zip(&parsed) {
        for (name, cell) in head.iter().zip(row) {
            let value = &line[*name];
            let shown = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            // The clock may have moved on between the two.
            assert!(shown == cell || *name == "at", "{name}");
        }
    }
    assert_eq!(ask(url, ROOT, "GET", "/usage?format=xml", "").await.status, 400);
    cluster.stop().await;
}

/// D-HTTP-8: who has a rate is told with every answer what is left of it, and when it is refused how long to wait.
#[tokio::test]
async fn answers_tell_a_tenant_how_often_it_may_still_ask() {
    let cluster = Cluster::start_with_auth(1).await;
    let url = &cluster.url(0);
    root(url, "POST", "/tenants", r#"{"id":"acme","max_ops_per_sec":3}"#).await;
    root(
        url,
        "POST",
        "/tenants",
        r#"{"id":"free","max_ops_per_sec":"unlimited"}"#,
    )
    .await;
    root(url, "POST", "/tenants", r#"{"id":"none","max_ops_per_sec":0}"#).await;
    let issue = async |role: &str| {
        let body = format!(r#"{{"roles":["{role}"]}}"#);
        root(url, "POST", "/tokens", &body).await["token"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let (acme, free, none) = (
        issue("tenant_acme").await,
        issue("tenant_free").await,
        issue("tenant_none").await,
    );
    let first = ask(url, &acme, "GET", "/kv/acme:1", "").await;
    assert_eq!(first.status, 404);
    assert_eq!(first.header("x-ratelimit-limit"), Some("3"));
    assert_eq!(first.header("x-ratelimit-remaining"), Some("2"));
    assert_eq!(first.header("x-ratelimit-reset"), Some("1"));
    let mut refused = None;
    for _ in 0..1_000 {
        let reply = ask(url, &acme, "PUT", "/kv/acme:1", r#"{"value":1}"#).await;
        if reply.status != 200 {
            refused = Some(reply);
            break;
        }
    }
    let refused = refused.expect("nobody writes a thousand times in a second of three");
    assert_eq!((refused.status, refused.code().as_str()), (429, "rate_limited"));
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert_eq!(refused.header("x-ratelimit-remaining"), Some("0"));
    for (token, target) in [(free.as_str(), "/kv/free:1"), (ROOT, "/kv/acme:2")] {
        let reply = ask(url, token, "GET", target, "").await;
        assert_eq!((reply.status, reply.header("x-ratelimit-limit")), (404, None));
    }
    let never = ask(url, &none, "GET", "/kv/none:1", "").await;
    assert_eq!(
        (never.status, never.header("x-ratelimit-limit")),
        (429, Some("0"))
    );
    assert_eq!(never.header("retry-after"), Some("60"));
    cluster.stop().await;
}
