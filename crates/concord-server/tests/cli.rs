//! The command line against a real node: what it prints, and the codes it exits with.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

#[path = "cli/access.rs"]
mod access;
#[path = "cli/backups.rs"]
mod backups;
#[path = "cli/bench.rs"]
mod bench;
#[path = "cli/contexts.rs"]
mod contexts;
#[path = "cli/leases.rs"]
mod leases;
#[path = "process/mod.rs"]
#[expect(dead_code, reason = "these tests start single nodes and kill none")]
mod process;
#[path = "cli/recipes.rs"]
mod recipes;
#[path = "cli/tenants.rs"]
mod tenants;
#[path = "cli/tls.rs"]
mod tls;
#[path = "cli/top.rs"]
mod top;

use std::net::SocketAddr;
use std::process::{Output, Stdio};

use concord_server::client::Request;
use process::{Cluster, Node, concord, eventually, run, run_with_input};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

/// Runs, expects success and returns what was printed.
#[track_caller]
fn ok(node: &Node, words: &[&str]) -> String {
    let output = run(node, words);
    assert!(output.status.success(), "{words:?}: {}", stderr(&output));
    stdout(&output).to_owned()
}

/// Runs, expects an exit code and the name of the error on standard error, nothing on standard output.
#[track_caller]
fn fails(node: &Node, words: &[&str], exit: i32, code: &str) {
    let output = run(node, words);
    assert_eq!(output.status.code(), Some(exit), "{words:?}: {}", stderr(&output));
    assert!(stderr(&output).contains(code), "{words:?}: {}", stderr(&output));
    assert_eq!(stdout(&output), "", "{words:?}");
}

#[tokio::test]
async fn values_of_every_format_come_back_as_they_were_put() {
    let cluster = Cluster::start(1).await;
    let node = &cluster.nodes[0];

    ok(node, &["put", "text", "grüße"]);
    assert_eq!(ok(node, &["get", "text"]), "grüße\n");
    assert_eq!(ok(node, &["get", "text", "--raw"]), "grüße");

    ok(
        node,
        &[
            "put",
            "doc",
            r#"{"b":[1,2.5,null],"a":18446744073709551615}"#,
            "--json",
        ],
    );
    let printed: Value = serde_json::from_str(&ok(node, &["get", "doc"])).unwrap();
    assert_eq!(printed["a"].as_u64(), Some(u64::MAX));

    let bytes = [0_u8, 255, 10, 13, 0];
    assert!(
        run_with_input(node, &["put", "bin", "-"], &bytes)
            .status
            .success()
    );
    assert_eq!(run(node, &["get", "bin", "--raw"]).stdout, bytes);

    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "from a file").unwrap();
    ok(node, &["put", "file", "--file", file.path().to_str().unwrap()]);
    assert_eq!(ok(node, &["get", "file"]), "from a file\n");
    ok(node, &["put", "empty", ""]);
    assert_eq!(ok(node, &["get", "empty", "--raw"]), "");
}

#[tokio::test]
async fn odd_keys_survive_the_way_to_the_node_and_back() {
    let cluster = Cluster::start(1).await;
    let node = &cluster.nodes[0];
    for key in [
        "a/b",
        "a b",
        "a%2Fb",
        "ключ",
        "a?b=c&d#e",
        "-",
        "\u{1}",
        "..x",
        "+",
    ] {
        let value = format!("of {key}");
        ok(node, &["put", "--text", "--", key, &value]);
        assert_eq!(ok(node, &["get", "--raw", "--", key]), value, "{key:?}");
    }
    fails(node, &["get", ""], 4, "invalid_key");
    fails(node, &["put", &"k".repeat(1025), "v"], 4, "invalid_key");
}

#[tokio::test]
async fn times_to_live_and_numbers_behave_as_documented() {
    let cluster = Cluster::start(1).await;
    let node = &cluster.nodes[0];
    ok(node, &["put", "k", "v", "--ttl", "1h"]);
    let left = ok(node, &["ttl", "k"]);
    assert!(left.starts_with("59m") || left.starts_with("1h"), "{left}");
    ok(node, &["touch", "k"]);
    assert_eq!(ok(node, &["ttl", "k"]), "never expires\n");
    ok(node, &["touch", "k", "--ttl", "5m"]);
    fails(node, &["touch", "absent", "--ttl", "5m"], 3, "not_found");
    for ttl in ["0", "-1", "1.5", "abc", "1000000000000000000000000000000"] {
        fails(node, &["put", "k", "other", "--ttl", ttl], 4, "invalid_ttl");
    }
    assert_eq!(ok(node, &["get", "k"]), "v\n", "a refusal changes nothing (I3)");

    assert_eq!(ok(node, &["incr", "n"]), "1\n");
    assert_eq!(ok(node, &["incr", "n", "--by", "-5"]), "-4\n");
    fails(node, &["incr", "k"], 4, "invalid_value");

    ok(node, &["put", "short", "v", "--ttl", "200ms"]);
    eventually("the key expires", async || {
        (run(node, &["get", "short"]).status.code() == Some(3)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn scans_follow_cursors_in_both_directions_at_one_revision() {
    let cluster = Cluster::start(1).await;
    let node = &cluster.nodes[0];
    for number in 0..25 {
        ok(node, &["put", &format!("s:{number:02}"), "v"]);
    }
    ok(node, &["put", "t:0", "v"]);
    let up = ok(node, &["scan", "s:", "--keys-only", "--limit", "10", "--all"]);
    assert_eq!(up.lines().count(), 25);
    assert_eq!(
        (up.lines().next(), up.lines().last()),
        (Some("s:00"), Some("s:24"))
    );
    let down = ok(
        node,
        &[
            "scan",
            "--prefix",
            "s:",
            "--reverse",
            "--keys-only",
            "--limit",
            "10",
            "--all",
        ],
    );
    assert_eq!(
        down.lines().collect::<Vec<_>>(),
        up.lines().rev().collect::<Vec<_>>()
    );
    let range = ok(node, &["scan", "--start", "s:03", "--end", "s:06", "--keys-only"]);
    assert_eq!(range, "s:03\ns:04\ns:05\n");

    let page = ok(node, &["scan", "s:", "--limit", "3"]);
    assert!(
        page.contains("s:02") && !page.contains("s:03") && page.contains("--cursor "),
        "{page}"
    );
    let pages = ok(
        node,
        &["scan", "s:", "--limit", "10", "--all", "--output", "json"],
    );
    let pages: Vec<Value> = pages
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert!(pages.len() >= 3);
    assert!(pages.iter().all(|page| page["revision"] == pages[0]["revision"]));
    fails(
        node,
        &["scan", "s:", "--cursor", "tampered"],
        4,
        "invalid_request",
    );
}

#[tokio::test]
async fn reads_reach_into_the_past_until_it_is_compacted() {
    let cluster = Cluster::start(1).await;
    let node = &cluster.nodes[0];
    let revision = |words: &[&str]| -> u64 {
        let answer: Value = serde_json::from_str(&ok(node, words)).unwrap();
        answer["revision"].as_u64().unwrap()
    };
    let first = revision(&["put", "k", "one", "--output", "json"]);
    let second = revision(&["put", "k", "two", "--output", "json"]);
    assert_eq!(second, first + 1);
    assert_eq!(ok(node, &["get", "k", "--revision", &first.to_string()]), "one\n");
    for level in ["strong", "leader", "eventual"] {
        assert_eq!(ok(node, &["get", "k", "--consistency", level]), "two\n");
    }
    let history = ok(node, &["history", "k"]);
    assert!(history.contains("one") && history.contains("two"), "{history}");
    fails(node, &["get", "k", "--revision", "1000000"], 4, "future_revision");
    ok(node, &["cluster", "compact", &second.to_string()]);
    fails(
        node,
        &["get", "k", "--revision", &first.to_string()],
        4,
        "compacted",
    );
}

#[tokio::test]
async fn watches_print_the_past_and_what_comes() {
    let cluster = Cluster::start(1).await;
    let node = &cluster.nodes[0];
    ok(node, &["put", "w:a", "1"]);
    ok(node, &["put", "w:a", "2"]);
    ok(node, &["delete", "w:a"]);
    let words = [
        "watch",
        "w:",
        "--from-revision",
        "2",
        "--limit",
        "3",
        "--previous",
    ];
    let table = ok(node, &words);
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(
        lines,
        [
            "       2  put     w:a  1",
            "       3  put     w:a  2  was 1",
            "       4  delete  w:a  was 2"
        ]
    );
    let json = ok(
        node,
        &[
            "watch",
            "--key",
            "w:a",
            "--events",
            "delete",
            "--from-revision",
            "2",
            "--limit",
            "1",
            "--output",
            "json",
        ],
    );
    let event: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(
        (&event["event"], &event["mod_revision"]),
        (&"delete".into(), &4.into())
    );

    // One that waits for what comes.
    let child = concord()
        .env("CONCORD_ENDPOINTS", node.http.to_string())
        .args(["watch", "--glob", "w:*", "--limit", "1"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let client = node.client();
    eventually("the watch is open", async || {
        let listed: Value = client
            .send(&Request::get("/api/v1/watches"))
            .await
            .ok()?
            .data()
            .ok()?;
        (listed["count"] == 1).then_some(())
    })
    .await;
    ok(node, &["put", "w:b", "3"]);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    assert!(stdout(&output).contains("w:b  3"), "{}", stdout(&output));

    ok(node, &["cluster", "compact", "4"]);
    fails(node, &["watch", "--from-revision", "4"], 4, "compacted");
    fails(node, &["watch", "--events", "created"], 4, "invalid_request");
}

#[tokio::test]
async fn deletes_say_what_they_did_and_absent_keys_are_not_found() {
    let cluster = Cluster::start(1).await;
    let node = &cluster.nodes[0];
    ok(node, &["put", "a", "1"]);
    ok(node, &["delete", "a"]);
    fails(node, &["get", "a"], 3, "not_found");
    let json = run(node, &["get", "a", "--output", "json"]);
    let error: Value = serde_json::from_str(stderr(&json)).unwrap();
    assert_eq!(error["status"], "error");
    assert_eq!(error["error"]["code"], "not_found");
    fails(node, &["ttl", "a"], 3, "not_found");
}

/// A way to a node that loses the first answer: the node has applied what it was asked.
async fn lossy_way_to(node: &Node) -> SocketAddr {
    let target = node.http;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let mut is_first = true;
        while let Ok((mut near, _)) = listener.accept().await {
            let mut far = TcpStream::connect(target).await.unwrap();
            if std::mem::take(&mut is_first) {
                let mut request = [0_u8; 4096];
                let read = near.read(&mut request).await.unwrap();
                far.write_all(request.get(..read).unwrap()).await.unwrap();
                assert!(far.read(&mut request).await.unwrap() > 0, "it was answered");
            } else {
                tokio::spawn(async move { tokio::io::copy_bidirectional(&mut near, &mut far).await });
            }
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_lost_does_not_make_a_write_happen_twice() {
    let cluster = Cluster::start(1).await;
    let node = &cluster.nodes[0];
    let way = lossy_way_to(node).await.to_string();
    let output = concord()
        .args(["--endpoints", &way, "incr", "n"])
        .output()
        .unwrap();
    assert_eq!(stdout(&output), "1\n", "{}", stderr(&output));
    assert_eq!(ok(node, &["get", "n"]), "1\n");

    // Two runs of the same command under one key are one request; another request is refused.
    let named = ["incr", "m", "--idempotency-key", "order-7"];
    assert_eq!(ok(node, &named), "1\n");
    assert_eq!(ok(node, &named), "1\n");
    fails(
        node,
        &["incr", "m", "--by", "2", "--idempotency-key", "order-7"],
        4,
        "idempotency_conflict",
    );
    fails(node, &["get", "nowhere"], 3, "no such key: nowhere");
}

#[tokio::test]
async fn status_and_members_show_the_node_to_people_and_programs() {
    let cluster = Cluster::start(1).await;
    let node = &cluster.nodes[0];
    assert_eq!(ok(node, &["ready"]), "ready\n");
    assert_eq!(ok(node, &["ready", "-o", "json"]), "{\"ready\":true}\n");
    let table = ok(node, &["status"]);
    assert!(table.contains("leader") && table.contains("revision"), "{table}");
    let status: Value = serde_json::from_str(&ok(node, &["status", "--output", "json"])).unwrap();
    assert_eq!(status["role"], "leader");
    assert_eq!(status["leader"], status["node_id"]);
    assert!(ok(node, &["members"]).contains("leader"));
    ok(node, &["cluster", "snapshot"]);
}

#[tokio::test]
async fn conditions_of_writes_exit_with_5_when_they_fail() {
    let cluster = Cluster::start(1).await;
    let node = &cluster.nodes[0];
    ok(node, &["put", "k", "one", "--if-absent"]);
    fails(node, &["put", "k", "two", "--if-absent"], 5, "condition_failed");
    fails(
        node,
        &["put", "k", "two", "--if-value", "1"],
        5,
        "condition_failed",
    );
    ok(node, &["put", "k", "[1, 2]", "--json", "--if-value", "one"]);
    ok(node, &["put", "k", "three", "--if-json", "[1,2]"]);
    ok(node, &["put", "k", "four", "--if-version", "3"]);
    fails(
        node,
        &["delete", "k", "--if-mod-revision", "1"],
        5,
        "condition_failed",
    );
    let record: Value = serde_json::from_str(&ok(node, &["get", "k", "--output", "json"])).unwrap();
    let revision = record["mod_revision"].to_string();
    ok(node, &["delete", "k", "--if-mod-revision", &revision]);
    fails(node, &["put", "k", "v", "--if-present"], 5, "condition_failed");
    fails(
        node,
        &["put", "k", "v", "--if-present", "--if-absent"],
        2,
        "cannot be used with",
    );
    fails(node, &["put", "k", "v", "--if-json", "{"], 4, "invalid_value");
    let error = run(node, &["put", "k", "v", "--if-version", "7", "--output", "json"]);
    let error: Value = serde_json::from_str(stderr(&error)).unwrap();
    assert_eq!(error["error"]["details"]["current"], Value::Null);
}

#[tokio::test]
async fn many_keys_are_one_request() {
    let cluster = Cluster::start(1).await;
    let node = &cluster.nodes[0];
    let lines = b"{\"key\":\"a\",\"value\":18446744073709551615}\n{\"key\":\"bulk\",\"value\":\"x\",\"ttl\":\"1h\"}\n";
    let put = run_with_input(node, &["put-many", "-"], lines);
    assert!(put.status.success(), "{}", stderr(&put));
    let both = ok(node, &["get", "a", "bulk"]);
    assert!(
        both.contains("18446744073709551615") && both.contains('x'),
        "{both}"
    );
    assert_eq!(ok(node, &["touch", "a", "bulk", "--ttl", "30m"]), "revision 3\n");
    ok(node, &["touch", "bulk"]);
    assert_eq!(ok(node, &["ttl", "bulk"]), "never expires\n");

    let partly = run(node, &["get", "a", "none"]);
    assert_eq!(partly.status.code(), Some(3));
    assert!(stdout(&partly).contains("18446744073709551615") && stderr(&partly).contains("none"));
    assert_eq!(
        ok(node, &["delete", "a", "bulk", "none"]),
        "revision 5, 2 deleted\n"
    );

    let bad = run_with_input(
        node,
        &["put-many", "-"],
        b"{\"key\":\"a\",\"value\":1}\n{\"key\":\"\",\"value\":1}\n",
    );
    assert_eq!(bad.status.code(), Some(4));
    assert!(
        stderr(&bad).contains("invalid_key") && stderr(&bad).contains("item 1"),
        "{}",
        stderr(&bad)
    );
    fails(node, &["get", "a"], 3, "not_found");
    fails(node, &["delete", "a", "b", "--if-present"], 2, "one key");
}

#[tokio::test]
async fn transactions_are_read_from_files_and_answered_step_by_step() {
    let cluster = Cluster::start(1).await;
    let node = &cluster.nodes[0];
    let txn = br#"{"compare":[{"key":"a","exists":false}],
        "success":[{"put":{"key":"a","value":18446744073709551615}}],"failure":[{"get":{"key":"a"}}]}"#;
    let first = run_with_input(node, &["txn", "--file", "-"], txn);
    assert_eq!(
        stdout(&first).lines().next(),
        Some("revision 2: succeeded"),
        "{}",
        stderr(&first)
    );
    let second = run_with_input(node, &["txn", "--file", "-", "--output", "json"], txn);
    let answer: Value = serde_json::from_str(stdout(&second)).unwrap();
    assert_eq!(answer["succeeded"], false);
    assert_eq!(
        answer["results"][0]["get"]["records"][0]["value"].as_u64(),
        Some(u64::MAX)
    );
    let bad = run_with_input(
        node,
        &["txn", "--file", "-"],
        br#"{"success":[{"get":{"key":""}}]}"#,
    );
    assert_eq!(bad.status.code(), Some(4));
    assert!(
        stderr(&bad).contains("invalid_key") && stderr(&bad).contains("success 0"),
        "{}",
        stderr(&bad)
    );
    fails(node, &["txn", "--file", "/no/such/file"], 1, "io");
    ok(node, &["put", "a", "2", "--json", "--if-true", "value > 7"]);
    fails(
        node,
        &["put", "a", "3", "--if-true", "value > 7"],
        5,
        "condition_failed",
    );
    fails(
        node,
        &["put", "a", "3", "--if-true", "value >"],
        4,
        "invalid_request",
    );
}

#[tokio::test]
async fn indexes_are_made_shown_and_asked() {
    let cluster = Cluster::start(1).await;
    let node = &cluster.nodes[0];
    for (key, value) in [
        ("u:1", r#"{"n":2,"t":["a"]}"#),
        ("u:2", r#"{"n":1,"t":["a","7"]}"#),
    ] {
        ok(node, &["put", key, value, "--json"]);
    }
    let made = ok(node, &["index", "create", "n", "$.n", "--prefix", "u:", "--wait"]);
    assert!(made.contains("ready") && made.contains("$.n"), "{made}");
    ok(node, &["index", "create", "t", "$.t[*]", "--unique"]);
    assert_eq!(ok(node, &["index", "lookup", "n", "--keys-only"]), "u:2\nu:1\n");
    assert_eq!(ok(node, &["index", "lookup", "n", "2", "--keys-only"]), "u:1\n");
    assert_eq!(
        ok(node, &["index", "lookup", "n", "--before", "2", "--keys-only"]),
        "u:2\n"
    );
    let page = ok(node, &["index", "lookup", "n", "--limit", "1", "--keys-only"]);
    assert!(page.starts_with("u:2\nmore: --cursor "), "{page}");
    let all = ok(
        node,
        &[
            "index", "lookup", "n", "--limit", "1", "--all", "--output", "json",
        ],
    );
    assert_eq!(all.lines().count(), 2, "{all}");
    assert!(ok(node, &["index", "list"]).contains("failed at u:2"));
    fails(node, &["index", "lookup", "t", "a"], 5, "unique_violation");
    ok(node, &["index", "drop", "t"]);
    ok(node, &["index", "create", "t", "$.t[*]", "--wait"]);
    assert_eq!(ok(node, &["index", "lookup", "t", "7", "--keys-only"]), "");
    assert_eq!(
        ok(node, &["index", "lookup", "t", "7", "--text", "--keys-only"]),
        "u:2\n"
    );
    assert!(ok(node, &["index", "reindex", "t", "--wait"]).contains("ready"));
    assert!(ok(node, &["index", "show", "t"]).contains("ready"));
    fails(node, &["index", "show", "x"], 3, "not_found");
    fails(node, &["index", "create", "t", "$.x"], 5, "already_exists");
    fails(node, &["index", "create", "x", "$.x["], 4, "invalid_request");
}

#[tokio::test]
async fn queries_find_count_explain_and_delete() {
    let cluster = Cluster::start(1).await;
    let node = &cluster.nodes[0];
    for (key, age) in [("u:1", "30"), ("u:2", "20"), ("u:3", "40")] {
        ok(node, &["put", key, &format!(r#"{{"age":{age}}}"#), "--json"]);
    }
    let by_age = [
        "query",
        "--prefix",
        "u:",
        "--order-by",
        "$.age",
        "--reverse",
        "--keys-only",
    ];
    assert_eq!(ok(node, &by_age), "u:3\nu:1\nu:2\n");
    assert_eq!(ok(node, &["query", "value.age >= 30", "--count"]), "2\n");
    let page = ok(node, &["query", "--limit", "1", "--keys-only"]);
    assert!(page.starts_with("u:1\nmore: --cursor "), "{page}");
    let all = ok(node, &["query", "--limit", "1", "--all", "--output", "json"]);
    assert_eq!(all.lines().count(), 3, "{all}");
    let shown = ok(
        node,
        &[
            "query",
            "--range",
            "u:2",
            "u:2",
            "--select",
            "twice=value.age * 2",
        ],
    );
    assert!(shown.contains(r#"{"twice":40}"#), "{shown}");
    let plan = ok(node, &["query", "value.age == 30", "--explain"]);
    assert!(
        plan.contains("all keys") && plan.contains("value.age == 30"),
        "{plan}"
    );
    // Pages that looked at as much as they may and found nothing are no end.
    let bounded = ["query", "value.age == 99", "--max-scanned", "1", "--keys-only"];
    fails(node, &bounded, 4, "batch_too_large");
    let found = [
        "query",
        "key == 'u:3' || version > 9",
        "--max-scanned",
        "1",
        "--keys-only",
        "--all",
    ];
    assert_eq!(ok(node, &found), "u:3\n");
    let gone = ok(node, &["query", "value.age < 35", "--delete"]);
    assert!(gone.contains("2 keys deleted"), "{gone}");
    assert_eq!(ok(node, &["query", "--keys-only"]), "u:3\n");
    fails(node, &["query", "value."], 4, "invalid_request");
    fails(node, &["query", "--pattern", "("], 4, "invalid_request");
}

#[tokio::test]
async fn settings_are_shown_and_changed_one_by_one() {
    let cluster = Cluster::start(1).await;
    let node = &cluster.nodes[0];
    let before = ok(node, &["cluster", "settings"]);
    assert!(before.contains("keep") && before.contains("1h"), "{before}");
    ok(
        node,
        &[
            "cluster",
            "settings",
            "set",
            "--keep",
            "30m",
            "--keep-revisions",
            "none",
        ],
    );
    let after: Value = serde_json::from_str(&ok(node, &["cluster", "settings", "--output", "json"])).unwrap();
    assert_eq!(after["compaction"]["keep_ms"], 1_800_000);
    assert_eq!(after["compaction"]["keep_revisions"], Value::Null);
    assert_eq!(after["value_bytes_max"], 16 << 20, "what is not named stays");
    for words in [
        &["--keep", "soon"][..],
        &["--keep-bytes", "-1"],
        &["--value-bytes-max", "none"],
        &[],
    ] {
        fails(node, &[&["cluster", "settings", "set"], words].concat(), 2, "");
    }
    fails(
        node,
        &["cluster", "settings", "set", "--value-bytes-max", "0"],
        4,
        "invalid_request",
    );
}

/// D-OPS-1, D-OPS-5: `start` needs nothing, and keeps what it has here and not where a reboot cleans up.
#[tokio::test]
async fn a_node_without_flags_uses_data_here_and_port_0_finds_a_free_one() {
    let here = tempfile::tempdir().unwrap();
    let mut child = concord()
        .args(["start", "--http", "127.0.0.1:0"])
        .current_dir(here.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().unwrap()));
    let address = lines
        .find_map(|line| {
            line.unwrap()
                .strip_prefix("http listening on ")
                .map(str::to_owned)
        })
        .unwrap();
    let put = concord()
        .args(["put", "k", "v", "--endpoints", &address])
        .output()
        .unwrap();
    assert!(put.status.success(), "{}", stderr(&put));
    assert!(here.path().join("data/identity").exists());
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    assert!(child.wait().unwrap().success(), "Ctrl-C stops it in order");
}

#[test]
fn wrong_usage_exits_with_2_and_nobody_there_with_7() {
    for words in [
        &["get"][..],
        &["get", "k", "--colour"],
        &["frobnicate"],
        &["put", "k"],
        &["incr", "k", "--by", "x"],
    ] {
        let output = concord().args(words).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{words:?}");
        assert_eq!(stdout(&output), "");
    }
    let nobody = process::free_address().to_string();
    let output = concord()
        .args(["ready", "--wait", "150ms", "--endpoints", &nobody])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(7), "{}", stderr(&output));
    let output = concord()
        .args(["put", "k", "v", "--endpoints", &nobody])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(7), "{}", stderr(&output));
    assert!(stderr(&output).contains("unreachable") && stderr(&output).contains(&nobody));
    let output = concord()
        .args(["watch", "--endpoints", &nobody])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(7), "{}", stderr(&output));
    let output = concord()
        .args(["get", "k", "--endpoints", "ftp://x"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(4), "{}", stderr(&output));
}

#[test]
fn configuration_errors_name_the_place_and_exit_with_2() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c.toml");
    std::fs::write(&path, "data_dir = \"d\"\nnoed_id = 1\n").unwrap();
    for command in [&["config", "check"][..], &["config", "show"], &["start"]] {
        let output = concord()
            .args(command)
            .arg("--config")
            .arg(&path)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(2));
        assert!(
            stderr(&output).contains("c.toml:2") && stderr(&output).contains("node_id"),
            "{}",
            stderr(&output)
        );
    }
    let output = concord()
        .args(["config", "show", "--node-id", "7"])
        .output()
        .unwrap();
    assert!(
        stdout(&output).contains("node_id = 7 # --node-id"),
        "{}",
        stdout(&output)
    );
    let output = concord().args(["start", "--node-id", "0"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
}

#[test]
fn completions_are_printed_and_a_closed_pipe_is_no_error() {
    let output = concord().args(["completions", "bash"]).output().unwrap();
    assert!(stdout(&output).contains("concord"));

    let mut child = concord()
        .args(["completions", "zsh"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    assert_eq!(stderr(&output), "");
}
