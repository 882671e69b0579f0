//! Lines of reads, of backups, and of those who are turned away.

use concord_server::{RootToken, Secret};

use super::*;
use crate::cluster::ROOT;
use crate::wire::send;

async fn open_with_auth(dir: &TempDir, audit: AuditConfig) -> Concord {
    let config = Config::at(dir.path())
        .http("127.0.0.1:0")
        .audit(audit)
        .with_auth()
        .root_token(RootToken::Given(Secret::new(ROOT)));
    let db = Concord::open(config).await.unwrap();
    assert!(db.root_token().await.is_none());
    db
}

fn events<'a>(lines: &'a [Value], operation: &str) -> Vec<&'a Value> {
    let is_wanted = |line: &&Value| line["kind"] == "event" && line["operation"] == operation;
    lines.iter().filter(is_wanted).collect()
}

/// D-AUD-2: who is refused leaves a line at every door, with where it came from; no secret is in any.
#[tokio::test]
async fn refused_reads_and_strangers_leave_lines_without_secrets() {
    let dir = tempfile::tempdir().unwrap();
    let db = open_with_auth(&dir, AuditConfig::new()).await;
    let url = format!("http://{}", db.http_address().unwrap());
    db.put("k", "CANARY-VALUE").await.unwrap();
    let token = db.create_token().name("ada").await.unwrap();
    let shown = |token: &str| {
        format!(
            "authorization: Bearer {token}\r\nx-request-id: req-7\r\n\
             traceparent: 00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01"
        )
    };
    let canary = "sk_concord_CANARYCANARYCANARYCANARYCANARYCANARYCANARY0";
    for (headers, status) in [
        (shown(token.secret.expose()), 403),
        (shown(canary), 401),
        (format!("x-request-id: {canary}"), 401),
        (String::new(), 401),
        (shown(ROOT), 200),
    ] {
        let reply = send(&url, "GET", "/api/v1/kv/k?consistency=eventual", &headers, b"").await;
        assert_eq!(reply.status, status);
    }
    let query = format!("/api/v1/kv/k?token={canary}");
    assert_eq!(send(&url, "GET", &query, "", b"").await.status, 401);
    db.as_principal(token.secret.expose()).get("k").await.unwrap_err();
    db.as_principal(canary).get("k").eventual().await.unwrap_err();

    let lines = lines(&db).await;
    let gets = events(&lines, "get");
    let results: Vec<_> = gets.iter().map(|line| line["result"].as_str().unwrap()).collect();
    assert_eq!(
        results,
        ["forbidden", "forbidden", "unauthorized"],
        "what is answered leaves none"
    );
    assert_eq!(gets[0]["principal"]["name"], "ada");
    assert_eq!(gets[0]["key"], "k");
    assert_eq!(gets[0]["source"], "127.0.0.1");
    assert_eq!(gets[0]["request_id"], "req-7");
    assert_eq!(gets[0]["trace_id"], "0af7651916cd43dd8448eb211c80319c");
    assert!(gets[1].get("source").is_none(), "it came from within");
    assert_eq!(gets[2]["principal"]["kind"], "unknown");
    let strangers = events(&lines, "authenticate");
    assert_eq!(strangers.len(), 4);
    assert!(
        strangers
            .iter()
            .all(|line| line["result"] == "unauthorized" && line["source"] == "127.0.0.1")
    );
    let denied = db.audit().query().result("denied").limit(100).await.unwrap();
    assert_eq!(denied.lines.len(), 7);
    let text = serde_json::to_string(&lines).unwrap();
    for secret in ["CANARY", ROOT, token.secret.expose()] {
        assert!(!text.contains(secret), "{secret}");
    }
    db.shutdown().await.unwrap();
}

/// With `log_reads` each read at each door leaves a line, and none leaves two.
#[tokio::test]
async fn every_read_leaves_a_line_where_reads_are_logged() {
    let dir = tempfile::tempdir().unwrap();
    let mut audit = AuditConfig::new();
    audit.log_reads = true;
    let db = open_with_auth(&dir, audit).await;
    let root = db.as_principal(ROOT);
    root.create_index("by-n", "$.n").await.unwrap();
    root.get("a").await.unwrap();
    root.get("a").eventual().await.unwrap();
    root.get("a").strong().await.unwrap();
    root.exists("a").await.unwrap();
    root.ttl("a").await.unwrap();
    root.history("a").await.unwrap();
    root.get_many(["a", "b"]).await.unwrap();
    root.scan().await.unwrap();
    root.scan().count().await.unwrap();
    root.query().prefix("a").pairs().await.unwrap();
    root.query().prefix("a").explain().await.unwrap();
    root.leases().await.unwrap();
    root.settings().await.unwrap();
    root.indexes().await.unwrap();
    root.whoami().await.unwrap();
    root.tokens(None).await.unwrap();
    root.status().unwrap();
    drop(root.watch().await.unwrap());
    let url = format!("http://{}", db.http_address().unwrap());
    let bearer = format!("authorization: Bearer {ROOT}");
    assert_eq!(send(&url, "GET", "/api/v1/kv/a", &bearer, b"").await.status, 404);
    let lines = lines(&db).await;
    let of_root = |line: &&Value| line["kind"] == "event" && line["principal"]["name"] == "root";
    let operations: Vec<_> = lines
        .iter()
        .filter(of_root)
        .map(|line| line["operation"].as_str().unwrap())
        .collect();
    assert_eq!(
        operations,
        [
            "create_index",
            "get",
            "get",
            "get",
            "get",
            "get",
            "history",
            "get",
            "scan",
            "scan",
            "query",
            "explain",
            "lease",
            "settings",
            "list_indexes",
            "whoami",
            "policy",
            "status",
            "watch",
            "get",
        ]
    );
    let many = &events(&lines, "get")[5];
    assert_eq!(many["keys"]["count"], 2, "{many}");
    db.shutdown().await.unwrap();
}

/// Everything that there is leaves in a backup: whoever looks for one, checks one or takes one leaves a line, once.
#[tokio::test]
async fn whoever_touches_backups_leaves_a_line() {
    let dir = tempfile::tempdir().unwrap();
    let db = open_with_auth(&dir, AuditConfig::new()).await;
    let viewer = db.create_token().name("v").role("viewer").await.unwrap();
    let made = db.backups().create().await.unwrap();
    db.backups().list().await.unwrap();
    db.backups().verify(&made.name).await.unwrap();
    assert_eq!(db.backups().restore_progress().await.unwrap(), None);
    let asks = db.as_principal(viewer.secret.expose());
    asks.backups().restore_progress().await.unwrap_err();
    let url = format!("http://{}", db.http_address().unwrap());
    let path = format!("/api/v1/backups/{}", made.name);
    for (token, status) in [(ROOT, 200), (viewer.secret.expose(), 403)] {
        let bearer = format!("authorization: Bearer {token}");
        assert_eq!(send(&url, "GET", &path, &bearer, b"").await.status, status);
    }
    db.backups().remove(&made.name).await.unwrap();
    db.backups().remove("no name of a backup\n").await.unwrap_err();
    let lines = lines(&db).await;
    let told: Vec<_> = events(&lines, "backup")
        .iter()
        .map(|line| {
            let change = line["metadata"]["change"].as_str().unwrap();
            (
                change,
                line["result"].as_str().unwrap(),
                line["metadata"]["name"].is_string(),
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            ("create", "ok", false),
            ("list", "ok", false),
            ("verify", "ok", true),
            ("restore_progress", "ok", false),
            ("restore_progress", "forbidden", false),
            ("download", "ok", true),
            ("download", "forbidden", true),
            ("remove", "ok", true),
            ("remove", "invalid_request", false),
        ]
    );
    db.shutdown().await.unwrap();
}

/// D-AUD-2: of whoever looks through many keys it is told which, allowed or not; of what index; and never by which values.
#[tokio::test]
async fn lines_tell_what_was_looked_through() {
    let dir = tempfile::tempdir().unwrap();
    let mut audit = AuditConfig::new();
    audit.log_reads = true;
    let db = open_with_auth(&dir, audit).await;
    let root = db.as_principal(ROOT);
    root.create_index("by-mail", "$.mail").await.unwrap();
    let nobody = db.create_token().name("ada").await.unwrap();
    for asks in [&root, &db.as_principal(nobody.secret.expose())] {
        let _ = asks.scan().prefix("user:").await;
        let _ = asks.scan().between("a", "c").count().await;
        let filter = "value.mail == 'CANARY'";
        let _ = asks.query().pattern("^user:7").filter(filter).keys().await;
        let _ = asks.query().range("a", "b").explain().await;
        let _ = asks.lookup("by-mail").equal("CANARY").await;
        let _ = asks.watch().key("user:7").await;
        let _ = asks.watch().glob("user:*:mail").await;
    }
    let url = format!("http://{}", db.http_address().unwrap());
    let bearer = format!("authorization: Bearer {}", nobody.secret.expose());
    let reply = send(&url, "GET", "/api/v1/kv?prefix=a%2F", &bearer, b"").await;
    assert_eq!(reply.status, 403);
    let lines = lines(&db).await;
    let range = |start: &str, end: &str| serde_json::json!({"range": {"start": start, "end": end}});
    let key = serde_json::json!({"key": "user:7"});
    let index = serde_json::json!({"metadata": {"index": "by-mail"}});
    let users = range("user:", "user;");
    let expected = [
        ("scan", users.clone()),
        ("scan", range("a", "c")),
        ("query", range("user:7", "user:8")),
        ("explain", range("a", "b\0")),
        ("lookup", index),
        ("watch", key),
        ("watch", users),
    ];
    let places = ["key", "range", "keys", "metadata"];
    for (who, result, more) in [
        ("root", "ok", None),
        ("ada", "forbidden", Some(range("a/", "a0"))),
    ] {
        let told: Vec<_> = lines
            .iter()
            .filter(|line| line["principal"]["name"] == who && line["operation"] != "create_index")
            .map(|line| {
                assert_eq!(line["result"], result, "{line}");
                let about = places
                    .iter()
                    .filter_map(|place| Some((*place, line.get(place)?.clone())));
                let about: serde_json::Map<_, _> = about.map(|(name, of)| (name.to_owned(), of)).collect();
                (line["operation"].as_str().unwrap(), Value::from(about))
            })
            .collect();
        let wanted: Vec<_> = expected
            .iter()
            .cloned()
            .chain(more.map(|more| ("scan", more)))
            .collect();
        assert_eq!(told, wanted, "{who}");
    }
    assert!(!serde_json::to_string(&lines).unwrap().contains("CANARY"));
    let of_seven = root.audit().query().key("user:7").operation("scan").limit(100);
    assert_eq!(of_seven.await.unwrap().lines.len(), 2, "who may have seen it");
    db.shutdown().await.unwrap();
}
