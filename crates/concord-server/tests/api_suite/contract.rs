//! The OpenAPI document is true: every documented path answers, every route is documented.

use std::collections::BTreeSet;

use serde_json::Value as Json;

use crate::cluster::Cluster;
use crate::wire::send;

fn document() -> Json {
    serde_json::from_str(&concord_server::http::openapi_json().unwrap()).unwrap()
}

/// D-V3-9: the OpenAPI document names what there is, and nothing else.
/// D-HTTP-7: what is documented is there.
#[tokio::test]
async fn every_documented_path_answers() {
    let cluster = Cluster::start(1).await;
    let url = cluster.url(0);
    let served = send(&url, "GET", "/api/v1/openapi.json", "", b"").await.json();
    assert_eq!(served, document());
    assert!(served["openapi"].as_str().unwrap().starts_with("3.1"));
    assert_eq!(send(&url, "GET", "/openapi.json", "", b"").await.json(), served);
    for (path, methods) in served["paths"].as_object().unwrap() {
        let target = path
            .replace("{key}", "k")
            .replace("{id}", "0")
            .replace("{service}", "s")
            .replace("{instance}", "i")
            .replace("{name}", "n");
        // A stream would never end.
        let target = match path.as_str() {
            "/api/v1/watch" => format!("{target}?wait=1ms"),
            _ if path.ends_with("/observe") => format!("{target}?unknown"),
            _ => target,
        };
        for method in methods.as_object().unwrap().keys() {
            let reply = send(&url, &method.to_uppercase(), &target, "", b"").await;
            assert_ne!(reply.status, 405, "{method} {path}");
            let body = String::from_utf8_lossy(&reply.body).into_owned();
            assert!(!body.contains("there is no such path"), "{method} {path}: {body}");
        }
    }
    cluster.stop().await;
}

/// The paths that the product promises.
const PROMISED: &[&str] = &[
    "delete /api/v1/cluster/members/{id}",
    "delete /api/v1/kv/{key}",
    "get /api/v1/cluster/members",
    "get /api/v1/cluster/settings",
    "get /api/v1/audit",
    "get /api/v1/audit/export",
    "get /api/v1/audit/status",
    "get /api/v1/audit/verify",
    "put /api/v1/cluster/settings",
    "get /api/v1/health",
    "get /api/v1/kv",
    "post /api/v1/txn",
    "post /api/v1/query",
    "get /api/v1/indexes",
    "post /api/v1/indexes",
    "get /api/v1/indexes/{name}",
    "delete /api/v1/indexes/{name}",
    "post /api/v1/indexes/{name}/reindex",
    "get /api/v1/indexes/{name}/lookup",
    "get /api/v1/leases",
    "post /api/v1/leases",
    "get /api/v1/leases/{id}",
    "delete /api/v1/leases/{id}",
    "post /api/v1/leases/{id}/keep_alive",
    "get /api/v1/locks",
    "get /api/v1/locks/{name}",
    "post /api/v1/locks/{name}",
    "delete /api/v1/locks/{name}",
    "post /api/v1/locks/{name}/keep_alive",
    "get /api/v1/elections",
    "get /api/v1/elections/{name}",
    "post /api/v1/elections/{name}",
    "put /api/v1/elections/{name}",
    "delete /api/v1/elections/{name}",
    "post /api/v1/elections/{name}/keep_alive",
    "get /api/v1/elections/{name}/observe",
    "get /api/v1/services",
    "get /api/v1/services/{service}",
    "get /api/v1/services/{service}/observe",
    "put /api/v1/services/{service}/instances/{instance}",
    "delete /api/v1/services/{service}/instances/{instance}",
    "post /api/v1/services/{service}/instances/{instance}/keep_alive",
    "post /api/v1/kv/bulk",
    "post /api/v1/kv/bulk/get",
    "post /api/v1/kv/bulk/delete",
    "post /api/v1/kv/bulk/touch",
    "get /api/v1/kv/{key}",
    "get /api/v1/kv/{key}/history",
    "get /api/v1/kv/{key}/ttl",
    "get /api/v1/ready",
    "get /api/v1/status",
    "get /api/v1/watch",
    "delete /api/v1/subscriptions/{name}",
    "get /api/v1/subscriptions",
    "get /api/v1/subscriptions/{name}",
    "get /api/v1/subscriptions/{name}/events",
    "post /api/v1/subscriptions",
    "post /api/v1/subscriptions/{name}/ack",
    "post /api/v1/subscriptions/{name}/reset",
    "get /api/v1/watches",
    "get /health",
    "get /metrics",
    "get /ready",
    "post /api/v1/cluster/compact",
    "post /api/v1/cluster/members",
    "post /api/v1/cluster/members/{id}/promote",
    "post /api/v1/cluster/members/{id}/replace",
    "post /api/v1/cluster/snapshot",
    "post /api/v1/cluster/transfer",
    "post /api/v1/kv/{key}/increment",
    "post /api/v1/kv/{key}/touch",
    "put /api/v1/kv/{key}",
    "get /api/v1/backups",
    "post /api/v1/backups",
    "get /api/v1/backups/now",
    "post /api/v1/backups/cleanup",
    "post /api/v1/backups/restore",
    "get /api/v1/backups/restore",
    "post /api/v1/backups/{name}/restore",
    "get /api/v1/backups/{name}",
    "delete /api/v1/backups/{name}",
    "post /api/v1/backups/{name}/verify",
    "delete /api/v1/acls",
    "get /api/v1/acls",
    "put /api/v1/acls",
    "get /api/v1/can-i",
    "get /api/v1/whoami",
    "get /api/v1/roles",
    "post /api/v1/roles",
    "delete /api/v1/roles/{role}",
    "get /api/v1/roles/{role}",
    "put /api/v1/roles/{role}",
    "get /api/v1/tenants",
    "post /api/v1/tenants",
    "delete /api/v1/tenants/{id}",
    "get /api/v1/tenants/{id}",
    "patch /api/v1/tenants/{id}",
    "get /api/v1/tenants/{id}/usage",
    "get /api/v1/usage",
    "get /api/v1/tokens",
    "post /api/v1/tokens",
    "delete /api/v1/tokens/{token}",
    "get /api/v1/tokens/{token}",
    "get /api/v1/tokens/{token}/access",
    "post /api/v1/tokens/{token}/rotate",
    "delete /api/v1/tokens/{token}/roles/{role}",
    "put /api/v1/tokens/{token}/roles/{role}",
];

/// D-HTTP-7: whoever adds a path adds it to the document too, because the router is made from the same list.
#[test]
fn the_document_lists_the_promised_paths() {
    let document = document();
    let found: BTreeSet<String> = document["paths"]
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(path, methods)| {
            methods
                .as_object()
                .unwrap()
                .keys()
                .map(move |method| format!("{method} {path}"))
        })
        .collect();
    let promised: BTreeSet<String> = PROMISED.iter().map(|path| (*path).to_owned()).collect();
    assert_eq!(found, promised);
}

/// Every `$ref` leads somewhere, and parameters are the ones that handlers read.
#[test]
fn the_document_is_complete() {
    let document = document();
    let text = document.to_string();
    for reference in text
        .split("\"#/")
        .skip(1)
        .filter_map(|rest| rest.split('"').next())
    {
        let pointer = format!("/{reference}").replace("~1", "/");
        assert!(document.pointer(&pointer).is_some(), "{reference} leads nowhere");
    }
    let names = |path: &str, method: &str| -> BTreeSet<String> {
        document["paths"][path][method]["parameters"]
            .as_array()
            .unwrap()
            .iter()
            .map(|parameter| parameter["name"].as_str().unwrap().to_owned())
            .collect()
    };
    let get = [
        "consistency",
        "key",
        "min_revision",
        "revision",
        "timeout",
        "with_ttl",
    ];
    assert_eq!(names("/api/v1/kv/{key}", "get"), get.map(str::to_owned).into());
    assert!(names("/api/v1/kv", "get").contains("count_only"));
}

/// The console is served whole, by its own policy; what it holds is the same for everybody, so it asks for no token, and
/// what it shows it gets from routes that do.
#[tokio::test]
async fn the_console_needs_no_internet_and_runs_nothing_else() {
    let cluster = Cluster::start_with_auth(1).await;
    let url = cluster.url(0);
    let redirected = send(&url, "GET", "/console", "", b"").await;
    assert_eq!(
        (redirected.status, redirected.header("location")),
        (303, Some("/console/"))
    );
    let mut wanted = vec![String::new()];
    let mut seen = Vec::new();
    while let Some(name) = wanted.pop() {
        let page = send(&url, "GET", &format!("/console/{name}"), "", b"").await;
        assert_eq!(page.status, 200, "{name}");
        let policy = page.header("content-security-policy").unwrap();
        assert!(
            policy.starts_with("default-src 'none'; ") && !policy.contains("unsafe"),
            "{policy}"
        );
        let text = String::from_utf8(page.body).unwrap();
        for danger in ["innerHTML", "eval(", "document.write", "style=", "onclick"] {
            assert!(!text.contains(danger), "{name} has {danger}");
        }
        let elsewhere = text.replace("http://www.w3.org/2000/svg", "").contains("://");
        assert!(!elsewhere, "{name} names another host");
        let named = text.split('"').map(|part| part.trim_start_matches("./"));
        let named = named.filter(|part| [".js", ".css", ".svg"].iter().any(|end| part.ends_with(end)));
        seen.push(name);
        for other in named.map(str::to_owned) {
            if !seen.contains(&other) && !wanted.contains(&other) {
                wanted.push(other);
            }
        }
    }
    assert_eq!(seen.len(), 11, "{seen:?}");
    let asked = send(&url, "GET", "/api/v1/status", "", b"").await;
    assert_eq!(asked.status, 401);
    let missing = send(&url, "GET", "/console/other.js", "", b"").await;
    assert_eq!(missing.status, 404);
    cluster.stop().await;
}

#[tokio::test]
async fn the_pages_need_no_internet() {
    let cluster = Cluster::start(1).await;
    let url = cluster.url(0);
    let redirected = send(&url, "GET", "/api/docs", "", b"").await;
    assert_eq!(
        (redirected.status, redirected.header("location")),
        (303, Some("/docs/"))
    );
    let page = send(&url, "GET", "/docs/", "", b"").await;
    assert_eq!(page.status, 200);
    let html = String::from_utf8(page.body).unwrap();
    let sources: Vec<&str> = html
        .split(['"', '\''])
        .filter(|part| part.ends_with(".js") || part.ends_with(".css"))
        .collect();
    assert!(!sources.is_empty(), "{html}");
    for source in sources {
        assert!(!source.contains("//"), "{source} is elsewhere");
        let target = format!("/docs/{}", source.trim_start_matches("./"));
        assert_eq!(send(&url, "GET", &target, "", b"").await.status, 200, "{target}");
    }
    let set_up = send(&url, "GET", "/docs/swagger-initializer.js", "", b"").await;
    assert!(
        String::from_utf8(set_up.body)
            .unwrap()
            .contains("/api/v1/openapi.json")
    );
    cluster.stop().await;
}
