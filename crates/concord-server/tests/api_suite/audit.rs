//! The audit log at every door, and it is on (D-TST-2).

mod reads;

use std::time::Duration;

use concord_server::txn::key;
use concord_server::{AuditConfig, Concord, Config, ErrorKind, Settings};
use serde_json::Value;
use tempfile::TempDir;

async fn open(dir: &TempDir) -> Concord {
    let config = Config::at(dir.path())
        .http("127.0.0.1:0")
        .audit(AuditConfig::new());
    Concord::open(config).await.unwrap()
}

async fn lines(db: &Concord) -> Vec<Value> {
    let page = db.audit().query().oldest_first().limit(1_000).await.unwrap();
    assert!(page.cursor.is_none());
    page.lines
        .iter()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

async fn get(db: &Concord, path: &str) -> (u16, Value) {
    let url = format!("http://{}/api/v1/audit{path}", db.http_address().unwrap());
    let answer = crate::http_client().get(url).send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

/// The operations of [`change_everything`], in its order.
const OPERATIONS: [&str; 23] = [
    "put",
    "put",
    "increment",
    "touch",
    "put_many",
    "touch_many",
    "txn",
    "create_index",
    "reindex",
    "drop_index",
    "create_subscription",
    "delete_subscription",
    "lease_grant",
    "lease_keep_alive",
    "lease_revoke",
    "delete_where",
    "delete_many",
    "delete",
    "configure",
    "compact",
    "snapshot",
    "change_members",
    "increment",
];

/// One of each way to change something; the last two are refused.
async fn change_everything(db: &Concord) {
    db.put("a", "CANARY-VALUE")
        .ttl(Duration::from_secs(60))
        .await
        .unwrap();
    db.put("n", "1").await.unwrap();
    db.increment("n", 5).await.unwrap();
    db.touch("a", Duration::from_secs(90)).await.unwrap();
    db.put_many([("m:1", "CANARY-VALUE"), ("m:2", "CANARY-VALUE")])
        .await
        .unwrap();
    db.touch_many([("m:1", Duration::from_secs(5))]).await.unwrap();
    db.txn().then(key("t").put("CANARY-VALUE")).await.unwrap();
    db.create_index("by-mail", "$.mail").await.unwrap();
    db.reindex("by-mail").await.unwrap();
    db.drop_index("by-mail").await.unwrap();
    db.create_subscription("feed", db.watch().prefix("m:"))
        .await
        .unwrap();
    db.delete_subscription("feed").await.unwrap();
    let lease = db.lease_grant(Duration::from_secs(60)).await.unwrap();
    db.lease_keep_alive(lease.id).await.unwrap();
    db.lease_revoke(lease.id).await.unwrap();
    db.query().prefix("m:").delete_where().await.unwrap();
    db.delete_many(["m:1"]).await.unwrap();
    db.delete("absent").idempotency_key("once").await.unwrap();
    db.configure(Settings::INITIAL).await.unwrap();
    db.compact(db.revision()).await.unwrap();
    db.snapshot().await.unwrap();
    db.add_learner("127.0.0.1:1").await.unwrap_err();
    db.increment("a", 1).await.unwrap_err();
}

/// D-AUD-2: whatever changes something leaves a line that says what, on what, by whom, and what came of it.
#[tokio::test]
async fn every_write_and_every_change_of_the_cluster_leaves_a_line() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(&dir).await;
    change_everything(&db).await;

    let events: Vec<Value> = lines(&db)
        .await
        .into_iter()
        .filter(|line| line["kind"] == "event")
        .collect();
    let operations: Vec<&str> = events
        .iter()
        .map(|line| line["operation"].as_str().unwrap())
        .collect();
    assert_eq!(operations, OPERATIONS);
    assert_eq!(events[0]["key"], "a");
    assert_eq!(events[0]["result"], "ok");
    assert_eq!(events[0]["revision"], 2);
    assert_eq!(events[0]["principal"]["kind"], "embedder");
    assert_eq!(events[0]["metadata"]["ttl_ms"], 60_000);
    assert_eq!(events[4]["keys"]["count"], 2);
    assert_eq!(events[15]["range"]["start"], "m:");
    assert_eq!(events[21]["metadata"]["address"], "127.0.0.1:1");
    assert_ne!(events[21]["result"], "ok");
    assert_eq!(events[22]["result"], "invalid_value");
    assert!(events.iter().all(|line| line["node"] == db.node_id().get()));
    let text = serde_json::to_string(&events).unwrap();
    assert!(!text.contains("CANARY"), "no value is in any line");
    assert!(db.audit().verify().await.unwrap().intact);
    db.shutdown().await.unwrap();
}

/// The log cannot be read: that is said by a name of its own, at every door, and is no failure of the store.
#[tokio::test]
async fn a_log_that_cannot_be_read_is_told_as_audit_failed() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(&dir).await;
    db.put("a", "1").await.unwrap();
    assert!(db.audit().verify().await.unwrap().intact);
    // Opening it succeeds, and reading fails, whoever asks.
    std::fs::create_dir(dir.path().join("audit/audit-0000000099.jsonl")).unwrap();
    let verified = db.audit().verify().await.unwrap_err();
    let asked = db.audit().query().await.unwrap_err();
    for error in [verified, asked] {
        assert_eq!(error.kind(), ErrorKind::AuditFailed, "{error}");
        assert!(!error.may_have_written());
    }
    for path in ["", "/verify"] {
        let (status, answer) = get(&db, path).await;
        assert_eq!(
            (status, &answer["error"]["code"]),
            (500, &Value::from("audit_failed")),
            "{answer}"
        );
    }
    assert_eq!(get(&db, "/status").await.0, 200);
    db.put("a", "2").await.unwrap();
    db.shutdown().await.unwrap();
}

#[tokio::test]
async fn the_log_is_read_over_http() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(&dir).await;
    let base = format!("http://{}/api/v1", db.http_address().unwrap());
    let client = crate::http_client();
    for number in 0..5 {
        let put = client
            .put(format!("{base}/kv/k{number}"))
            .body("{\"value\":\"v\"}")
            .header("content-type", "application/json");
        assert!(put.send().await.unwrap().status().is_success());
        db.put(format!("e{number}"), "v").await.unwrap();
    }
    let (status, page) = get(&db, "?limit=3&operation=put&principal=embedder").await;
    assert_eq!(status, 200, "{page}");
    let found: Vec<&str> = page["data"]["lines"]
        .as_array()
        .unwrap()
        .iter()
        .map(|line| line["key"].as_str().unwrap())
        .collect();
    assert_eq!(found, ["e4", "e3", "e2"], "the newest come first");
    let cursor = page["data"]["next_cursor"].as_str().unwrap();
    let (_, page) = get(
        &db,
        &format!("?limit=3&operation=put&principal=embedder&cursor={cursor}"),
    )
    .await;
    assert_eq!(page["data"]["lines"].as_array().unwrap().len(), 2);
    assert_eq!(page["data"]["next_cursor"], Value::Null);

    let url = format!("{base}/audit/export");
    let exported = crate::http_client().get(&url).send().await.unwrap();
    assert_eq!(exported.headers()["content-type"], "application/x-ndjson");
    let exported = exported.text().await.unwrap();
    let all = lines(&db).await;
    assert_eq!(exported.lines().count(), all.len());
    let (status, report) = get(&db, "/verify").await;
    assert_eq!(
        (status, &report["data"]["intact"]),
        (200, &Value::Bool(true)),
        "{report}"
    );
    let (_, state) = get(&db, "/status").await;
    assert_eq!(state["data"]["enabled"], true);
    assert_eq!(state["data"]["last_seq"], all.len());
    db.shutdown().await.unwrap();
}

#[tokio::test]
async fn wrong_questions_are_refused_and_an_edit_is_found_by_the_running_node() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(&dir).await;
    db.put("e1", "v").await.unwrap();
    for wrong in [
        "?limit=0",
        "?limit=1001",
        "?from=yesterday",
        "?cursor=x1",
        "?cursor=o1-0",
        "?colour=red",
        "?key=a&prefix=b",
        "?first=last",
    ] {
        let (status, answer) = get(&db, wrong).await;
        assert_eq!(
            (status, answer["error"]["code"].as_str()),
            (400, Some("invalid_request")),
            "{wrong}"
        );
    }

    // A check waits for the lines that are on their way to the file.
    let (status, report) = get(&db, "/verify").await;
    assert_eq!(
        (status, &report["data"]["intact"]),
        (200, &Value::Bool(true)),
        "{report}"
    );
    // Somebody edits the file: the running node finds it.
    let file = dir.path().join("audit/audit-0000000001.jsonl");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("\"key\":\"e1\"", "\"key\":\"x1\"")).unwrap();
    let (status, report) = get(&db, "/verify").await;
    assert_eq!(
        (status, &report["data"]["intact"]),
        (200, &Value::Bool(false)),
        "{report}"
    );
    assert_eq!(
        report["data"]["findings_total"], 1,
        "one edit is one finding: {report}"
    );
    db.shutdown().await.unwrap();
}

/// D-AUD-3: the chain goes on across restarts, and what a node without a log is asked says so.
#[tokio::test]
async fn a_restarted_node_continues_its_log_and_another_has_none() {
    let dir = tempfile::tempdir().unwrap();
    for round in 0..2 {
        let db = open(&dir).await;
        db.put(format!("k{round}"), "v").await.unwrap();
        db.shutdown().await.unwrap();
    }
    let db = open(&dir).await;
    let report = db.audit().verify().await.unwrap();
    assert!(report.intact, "{report:?}");
    assert_eq!((report.events, report.files), (2, 3));
    db.shutdown().await.unwrap();

    let db = Concord::open(Config::at(dir.path()).http("127.0.0.1:0"))
        .await
        .unwrap();
    assert!(!db.audit().status().unwrap().enabled);
    let (status, answer) = get(&db, "").await;
    assert_eq!(
        (status, answer["error"]["code"].as_str()),
        (400, Some("unsupported"))
    );
    db.shutdown().await.unwrap();
}
