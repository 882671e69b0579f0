//! How others were broken: each fault that was found in a store of this kind, tried here. Those that are tried elsewhere are in the table of
//! `docs/security.md`.

use std::time::Duration;

use concord_server::txn::{Transaction, key};
use concord_server::{Concord, ErrorKind, IntoValue as _};
use futures::TryStreamExt as _;

use super::{EDIT, confined};
use crate::cluster::{Cluster, ROOT};
use crate::wire::send;

fn kind<T>(outcome: Result<T, concord_server::Error>) -> Option<ErrorKind> {
    outcome.err().map(|error| error.kind())
}

/// GHSA-xg4h-6gfc-h4m8 of etcd: a right to one key, and a watch without an end showed every later key. Whatever takes a range
/// is tried with every shape of one.
#[tokio::test]
async fn ghsa_xg4h_a_right_to_one_key_opens_no_range() {
    let cluster = Cluster::start(1).await;
    let db = cluster.node(0);
    db.create_index("by-n", "$.n").await.unwrap();
    let first = db.revision();
    for name in ["a", "m", "m\0", "m1", "z"] {
        db.put(name, serde_json::json!({"n": 1}).into_value().unwrap())
            .await
            .unwrap();
    }
    let one = confined(db, "one", &["m"]).await;
    let ranges: [(&str, Option<&str>); 6] = [
        ("", None),
        ("m", None),
        ("m", Some("m\0")),
        ("a", Some("zz")),
        ("m\0", None),
        ("zz", Some("a")),
    ];
    for (start, end) in ranges {
        let scan = match end {
            Some(end) => one.scan().between(start, end),
            None => one.scan().from(start),
        };
        let Ok(page) = scan.await else { continue };
        assert!(
            page.records.iter().all(|record| record.key.as_bytes() == b"m"),
            "{start:?} {end:?}"
        );
    }
    let seen: Vec<_> = one.query().from("m").records().try_collect().await.unwrap();
    assert_eq!(seen.len(), 1);
    let seen: Vec<_> = one.lookup("by-n").equal(1).records().try_collect().await.unwrap();
    assert_eq!(seen.len(), 1);
    let mut watches = [
        one.watch().from("m").from_revision(first.next()).await.unwrap(),
        one.watch().prefix("").from_revision(first.next()).await.unwrap(),
        one.watch()
            .from_revision(first.next())
            .with_previous()
            .await
            .unwrap(),
    ];
    for name in ["z", "m1", "m"] {
        db.delete(name).await.unwrap();
    }
    for watch in &mut watches {
        let mut told = Vec::new();
        while told.len() < 2 {
            let batch = tokio::time::timeout(Duration::from_secs(30), watch.next()).await;
            let batch = batch.expect("both changes come").unwrap().unwrap();
            told.extend(batch.events.into_iter().map(|event| event.key.to_string()));
        }
        assert_eq!(told, ["m", "m"]);
    }
    for (start, end) in [("m", "n"), ("m", "m1"), ("", "zz")] {
        let delete = one.query().between(start, end).delete_where().await;
        assert_eq!(kind(delete), Some(ErrorKind::Forbidden), "{start:?}");
    }
    assert_eq!(kind(one.query().delete_where().await), Some(ErrorKind::Forbidden));
    assert!(db.exists("a").await.unwrap().data && db.exists("m\0").await.unwrap().data);
    cluster.stop().await;
}

/// CVE-2026-33343 and CVE-2026-44283 of etcd: steps of transactions in transactions, what they bind and what they read, are each
/// judged, whichever branch is performed.
#[tokio::test]
async fn cve_2026_33343_every_step_of_a_nested_transaction_is_judged() {
    let cluster = Cluster::start(1).await;
    let db = cluster.node(0);
    db.put("b", "secret").await.unwrap();
    let a = confined(db, "a", &["a*"]).await;
    let nested = |depth: usize, put: &'static str| {
        let mut inner = Transaction::new().then(key(put).put("x"));
        for level in 1..depth {
            inner = Transaction::new()
                .then(key(format!("a-{level}")).put("y"))
                .then(inner);
        }
        a.txn().then(key("a1").put("y")).then(inner)
    };
    for depth in 1..=3 {
        assert_eq!(
            kind(nested(depth, "b").await),
            Some(ErrorKind::Forbidden),
            "{depth}"
        );
        assert_eq!(kind(nested(depth, "a2").await), None, "{depth}");
    }
    // Neither the branch that is not taken, nor what only reads.
    let other = a
        .txn()
        .when(key("a1").exists())
        .then(key("a3").put("x"))
        .otherwise(key("b").put("x"));
    assert_eq!(kind(other.await), Some(ErrorKind::Forbidden));
    assert_eq!(
        kind(a.txn().when(key("b").exists()).then(key("a3").put("x")).await),
        Some(ErrorKind::Forbidden)
    );
    assert_eq!(
        kind(a.txn().then(key("b").get()).await),
        Some(ErrorKind::Forbidden)
    );
    assert_eq!(
        db.get("b").await.unwrap().as_ref().unwrap().text(),
        Some("secret")
    );
    cluster.stop().await;
}

/// PR 22386 of etcd: a store that raised an alarm built its layers anew without the one that judges. Here a node that has lost its
/// cluster judges as before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn etcd_22386_a_node_without_its_cluster_judges_as_before() {
    let cluster = Cluster::start_with_auth(3).await;
    let url = cluster.url(0);
    let db = cluster.node(0);
    db.put("b", "secret").await.unwrap();
    let a = confined(db, "a", &["a*"]).await;
    let revoked = db.create_token().role("admin").await.unwrap();
    db.revoke_token(&revoked.id.to_string()).await.unwrap();
    for node in [1, 2] {
        cluster.node(node).shutdown().await.unwrap();
    }
    let patience = Duration::from_millis(300);
    assert_eq!(
        kind(a.get("b").eventual().timeout(patience).await),
        Some(ErrorKind::Forbidden)
    );
    assert_eq!(
        kind(a.put("b", "x").timeout(patience).await),
        Some(ErrorKind::Forbidden)
    );
    let found: Vec<_> = a.scan().eventual().records().try_collect().await.unwrap();
    assert!(found.is_empty(), "{found:?}");
    for (token, status) in [("nonsense", 401), (revoked.secret.expose(), 401), (ROOT, 200)] {
        let headers = format!("authorization: Bearer {token}");
        let target = "/api/v1/kv/b?consistency=eventual&timeout=300ms";
        assert_eq!(
            send(&url, "GET", target, &headers, b"").await.status,
            status,
            "{token}"
        );
    }
    assert_eq!(
        send(&url, "PUT", "/api/v1/kv/b", "content-type: text/plain", b"x")
            .await
            .status,
        401
    );
    cluster.stop().await;
}

/// CVE-2018-1098 and CVE-2018-1099 of etcd: what a web page can have a browser send without asking (no token, a form's or plain text's
/// type, another name for the host) writes nothing, also where nobody is asked who they are.
#[tokio::test]
async fn cve_2018_1098_a_web_page_writes_nothing() {
    let cluster = Cluster::start(1).await;
    let (db, url) = (cluster.node(0), cluster.url(0));
    for content in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
    ] {
        for (target, body) in [
            ("/api/v1/txn", r#"{"success":[{"put":{"key":"k","value":1}}]}"#),
            ("/api/v1/kv/bulk", r#"{"operations":[{"key":"k","value":1}]}"#),
            ("/api/v1/tokens", r#"{"roles":["admin"]}"#),
        ] {
            let headers = format!("content-type: {content}\r\norigin: https://evil.example");
            let reply = send(&url, "POST", target, &headers, body.as_bytes()).await;
            assert_eq!(reply.status, 415, "{target} as {content}");
            assert_eq!(reply.header("access-control-allow-origin"), None);
        }
    }
    let headers = "content-type: application/json\r\nhost: evil.example";
    let reply = send(&url, "POST", "/api/v1/tokens", headers, br#"{"roles":["admin"]}"#).await;
    assert_eq!(reply.status, 403, "the name of the host is another");
    let preflight = "origin: https://evil.example\r\naccess-control-request-method: PUT";
    let reply = send(&url, "OPTIONS", "/api/v1/kv/k", preflight, b"").await;
    assert_eq!(
        reply.header("access-control-allow-origin"),
        None,
        "no page is allowed to do more"
    );
    assert!(!db.exists("k").await.unwrap().data);
    assert!(db.tokens(None).await.unwrap().is_empty());
    cluster.stop().await;
}

/// CVE-2025-58457 of `ZooKeeper`: whoever may read every key may not take all of them away, nor look at what others took.
#[tokio::test]
async fn cve_2025_58457_backups_need_more_than_reading_everything() {
    let cluster = Cluster::start(1).await;
    let db = cluster.node(0);
    let made = db.backups().create().await.unwrap();
    let token = db
        .create_token()
        .name("e")
        .role("editor")
        .permissions(EDIT)
        .await
        .unwrap();
    let editor: Concord = db.as_principal(token.secret.expose());
    let backups = editor.backups();
    let refused = [
        kind(backups.create().await),
        kind(backups.stream().await),
        kind(backups.list().await),
        kind(backups.verify(&made.name).await),
        kind(backups.verify("no name").await),
        kind(backups.remove(&made.name).await),
        kind(
            backups
                .clean_up(concord_server::KeepBackups::default(), true)
                .await,
        ),
    ];
    assert!(
        refused
            .iter()
            .all(|refused| *refused == Some(ErrorKind::Forbidden)),
        "{refused:?}"
    );
    assert_eq!(db.backups().list().await.unwrap().len(), 1);
    cluster.stop().await;
}

/// Who merely lacks the right to delete has no hand in others' leases: their end is a delete.
#[tokio::test]
async fn who_may_not_delete_ends_no_lease_of_others() {
    use concord_server::access::{Permission, Permissions};
    let cluster = Cluster::start(1).await;
    let db = cluster.node(0);
    let writes = Permissions::of(&[Permission::Read, Permission::Write]);
    let token = db.create_token().name("w").permissions(writes).await.unwrap();
    let writer = db.as_principal(token.secret.expose());
    let foreign = db.lease_grant(Duration::from_secs(60)).await.unwrap();
    db.put("k", "v").lease(foreign.id).await.unwrap();
    assert_eq!(
        kind(writer.lease_revoke(foreign.id).await),
        Some(ErrorKind::Forbidden)
    );
    assert_eq!(
        kind(writer.lease_keep_alive(foreign.id).await),
        Some(ErrorKind::LeaseNotFound)
    );
    assert_eq!(
        kind(writer.put("mine", "v").lease(foreign.id).await),
        Some(ErrorKind::LeaseNotFound)
    );
    let own = writer.lease_grant(Duration::from_secs(60)).await.unwrap();
    writer.put("mine", "v").lease(own.id).await.unwrap();
    writer.lease_keep_alive(own.id).await.unwrap();
    // Who may do all of it has a hand in every lease.
    let editor = db.create_token().name("e").role("editor").await.unwrap();
    let editor = db.as_principal(editor.secret.expose());
    editor.lease_keep_alive(own.id).await.unwrap();
    editor.lease_revoke(foreign.id).await.unwrap();
    assert!(!db.exists("k").await.unwrap().data);
    // A token that loses a right keeps what it has made.
    db.take_role("e", "editor").await.unwrap();
    cluster.stop().await;
}
