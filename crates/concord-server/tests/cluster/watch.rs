//! Watches while the nodes that serve them die.

use std::process::Stdio;

use concord_server::client::Request;
use serde_json::Value;

use crate::alone;
use crate::process::{Cluster, concord, eventually};

const WRITES: u64 = 60;

/// Claim: `concord watch` tells every change once and in order while the node that serves it is
/// killed, again and again (D-EVT-2, D-V3-4). Method: the history of the key is the truth.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_survives_the_nodes_that_serve_it() {
    let _alone = alone().await;
    let mut cluster = Cluster::start(3).await;
    let endpoints: Vec<String> = cluster.nodes.iter().map(|node| node.http.to_string()).collect();
    let limit = WRITES.to_string();
    let child = concord()
        .args([
            "watch",
            "--key",
            "k",
            "--from-revision",
            "2",
            "--limit",
            &limit,
            "--output",
            "json",
        ])
        .args(["--timeout", "60s", "--endpoints", &endpoints.join(",")])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    for number in 1..=WRITES {
        let value = number.to_string();
        // Killing the leader leaves some outcomes unknown: written again is one more version.
        let put = Request::put("/api/v1/kv/k").body("text/plain", value.into());
        let client = cluster.client();
        eventually("a write is taken", async || client.send(&put).await.ok()).await;
        if [15, 30].contains(&number) {
            let serving = serving(&cluster).await;
            cluster.node(serving).kill();
            cluster.node(serving).start();
            cluster.ready().await;
        }
    }
    let output = child.wait_with_output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let told: Vec<(u64, String)> = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|line| version(&serde_json::from_str(line).unwrap()))
        .collect();
    let history = Request::get("/api/v1/kv/k/history").query("order", Some("asc"));
    let history: Value = cluster.client().send(&history).await.unwrap().data().unwrap();
    let versions = history["versions"].as_array().unwrap();
    let truth: Vec<_> = versions.iter().map(version).take(told.len()).collect();
    assert_eq!(told, truth);
}

fn version(record: &Value) -> (u64, String) {
    let value = record["value"].as_str().unwrap().to_owned();
    (record["mod_revision"].as_u64().unwrap(), value)
}

/// The node that serves the watch now.
async fn serving(cluster: &Cluster) -> u64 {
    eventually("a node serves the watch", async || {
        for node in &cluster.nodes {
            let listed = node.client().send(&Request::get("/api/v1/watches")).await.ok()?;
            let listed: Value = listed.data().ok()?;
            if listed["count"] == 1 {
                return Some(node.id);
            }
        }
        None
    })
    .await
}
