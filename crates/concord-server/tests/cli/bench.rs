//! `concord bench`: against a node, without one, and stopped.

use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::process::{Cluster, concord, eventually, free_address};
use super::{ok, stderr, stdout};

#[tokio::test]
async fn a_bench_counts_what_it_has_checked_and_leaves_nothing() {
    let cluster = Cluster::start(1).await;
    let node = &cluster.nodes[0];
    ok(node, &["put", "mine", "v"]);
    let short = [
        "bench",
        "--duration",
        "300ms",
        "--callers",
        "4",
        "--keys",
        "10",
        "--value-bytes",
        "40",
    ];
    let found: Value = serde_json::from_str(&ok(node, &[&short[..], &["-o", "json"]].concat())).unwrap();
    for kind in ["writes", "reads"] {
        let of = &found[kind];
        assert!(of["operations"].as_u64() > Some(0), "{found}");
        assert_eq!(of["failed"], 0);
        let latency = |name: &str| of["latency_us"][name].as_u64().unwrap();
        assert!(latency("p50") > 0 && latency("p50") <= latency("max"), "{found}");
    }
    assert_eq!(found["errors"], serde_json::json!({}));
    // Only writes, and for people.
    let text = ok(
        node,
        &[&short[..], &["--reads", "0", "--prefix", "elsewhere/"]].concat(),
    );
    let rows: Vec<Vec<&str>> = text
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    let count = |name: &str| {
        rows.iter()
            .find(|row| row.first() == Some(&name))
            .unwrap()
            .clone()
    };
    assert!(count("write")[1].parse::<u64>().unwrap() > 0, "{text}");
    assert_eq!(count("read")[2], "0", "behind its level: {text}");
    assert_eq!(ok(node, &["scan", "--keys-only"]).trim(), "mine");
    assert_eq!(
        ok(node, &["lease", "list", "-o", "json"])
            .matches("\"id\"")
            .count(),
        0
    );
}

#[tokio::test]
async fn a_bench_that_is_interrupted_says_what_it_has_and_cleans_up() {
    let cluster = Cluster::start(1).await;
    let node = &cluster.nodes[0];
    let bench = concord()
        .args([
            "bench",
            "--endpoints",
            &node.http.to_string(),
            "--duration",
            "1h",
            "--callers",
            "2",
            "--keys",
            "5",
        ])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // The fifth key is there twice: it has filled them, and asks.
    eventually("it is at work", async || {
        let listed: Value =
            serde_json::from_str(&ok(node, &["scan", "concord-bench/", "-o", "json"])).unwrap();
        let again = |item: &Value| item["version"].as_u64() > Some(1);
        listed["items"]
            .as_array()
            .is_some_and(|items| items.iter().any(again))
            .then_some(())
    })
    .await;
    let pid = Pid::from_raw(i32::try_from(bench.id()).unwrap()).unwrap();
    kill_process(pid, Signal::INT).unwrap();
    let output = bench.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(stdout(&output).contains("write"), "{}", stdout(&output));
    assert_eq!(ok(node, &["scan", "--keys-only"]).trim(), "");
}

#[tokio::test]
async fn a_bench_of_nobody_or_of_too_much_is_an_error() {
    let nobody = concord()
        .args([
            "bench",
            "--endpoints",
            &free_address().to_string(),
            "--timeout",
            "1s",
        ])
        .output()
        .unwrap();
    assert_eq!(nobody.status.code(), Some(7), "{}", stderr(&nobody));
    for (wrong, reason) in [
        (&["--callers", "0"][..], "callers"),
        (&["--reads", "101"], "reads"),
        (&["--duration", "0s"], "duration"),
        (&["--keys", "10001"], "keys"),
        (&["--keys", "10000", "--value-bytes", "1000000"], "1 GiB"),
    ] {
        let output = concord().arg("bench").args(wrong).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{wrong:?}");
        assert!(stderr(&output).contains(reason), "{}", stderr(&output));
    }
}
