//! Clusters that form, change, lose a majority and get it back.

use std::net::TcpListener;
use std::time::Duration;

use concord_server::{Concord, Config, PeerConfig, Readiness};
use serde_json::{Value as Json, json};
use tempfile::TempDir;

use crate::cluster::{Cluster, secret};
use crate::patience::{PATIENCE, eventually};
use crate::wire::{Reply, send};

async fn post(url: &str, target: &str, body: Json) -> Reply {
    let body = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    send(
        url,
        "POST",
        &format!("/api/v1{target}"),
        "content-type: application/json",
        body.as_bytes(),
    )
    .await
}

fn url(node: &Concord) -> String {
    format!("http://{}", node.http_address().unwrap())
}

/// Asks until the answer is what it should be.
/// A name stands for whatever addresses it has when a connection is made, of which each is tried.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_joins_by_a_dns_name() {
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let peers = || PeerConfig::new("127.0.0.1:0", secret());
    let first = Concord::open(Config::at(dirs[0].path()).peers(peers()))
        .await
        .unwrap();
    first.wait_until_ready(PATIENCE).await.unwrap();
    let address = first.peer_address().unwrap();
    let port = address.rsplit(':').next().unwrap();
    let named = peers().join(format!("localhost:{port}"));
    let second = Concord::open(Config::at(dirs[1].path()).peers(named))
        .await
        .unwrap();
    second.wait_until_ready(PATIENCE).await.unwrap();
    assert_eq!(second.status().unwrap().members.len(), 2);
    for node in [second, first] {
        node.shutdown().await.unwrap();
    }
}

/// Three nodes that are given the same list, in any order of starting, are one cluster.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn seeds_form_one_cluster() {
    // All three ports are held until all are known; each is given back just before its use.
    let held: Vec<TcpListener> = (0..3)
        .map(|_| TcpListener::bind("127.0.0.1:0").unwrap())
        .collect();
    let seeds: Vec<String> = held
        .iter()
        .map(|socket| socket.local_addr().unwrap().to_string())
        .collect();
    let mut nodes = Vec::new();
    let dirs: Vec<TempDir> = seeds.iter().map(|_| tempfile::tempdir().unwrap()).collect();
    for ((dir, socket), seed) in dirs.iter().zip(held).zip(&seeds) {
        drop(socket);
        let peers = PeerConfig::new(seed, secret()).seeds(seeds.clone());
        nodes.push(Concord::open(Config::at(dir.path()).peers(peers)).await.unwrap());
    }
    for node in &nodes {
        node.wait_until_ready(PATIENCE).await.unwrap();
    }
    let ids: Vec<_> = nodes
        .iter()
        .map(|node| node.status().unwrap().cluster_id.unwrap())
        .collect();
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    nodes[0].put("k", "v").await.unwrap();
    assert_eq!(
        nodes[2]
            .get("k")
            .strong()
            .await
            .unwrap()
            .as_ref()
            .and_then(|entry| entry.text()),
        Some("v")
    );
    for node in &nodes {
        node.shutdown().await.unwrap();
    }
}

/// Adds, promotes, moves leadership, replaces and removes, all over HTTP and through any node.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_change_over_http() {
    let dirs: Vec<TempDir> = (0..3).map(|_| tempfile::tempdir().unwrap()).collect();
    let mut nodes = Vec::new();
    for (place, dir) in dirs.iter().enumerate() {
        let mut peers = PeerConfig::new("127.0.0.1:0", secret());
        if place > 0 {
            peers = peers.wait();
        }
        nodes.push(
            Concord::open(Config::at(dir.path()).http("127.0.0.1:0").peers(peers))
                .await
                .unwrap(),
        );
    }
    let (first, second, third) = (&nodes[0], &nodes[1], &nodes[2]);
    first.put("k", "v").await.unwrap();
    assert!(
        matches!(second.readiness(), Readiness::NotReady { .. }),
        "it waits to be added"
    );

    add(first, second).await;
    add(first, second).await;
    let listed = send(&url(second), "GET", "/api/v1/cluster/members", "", b"")
        .await
        .json();
    let members = listed["data"]["members"].as_array().unwrap();
    let voters = members.iter().filter(|member| member["voter"] == true).count();
    assert_eq!(
        (members.len(), voters),
        (2, 1),
        "it learns, and does not vote: {listed}"
    );
    promote(first, second).await;
    let moved = post(
        &url(first),
        "/cluster/transfer",
        json!({"to": second.node_id().get()}),
    )
    .await;
    assert_eq!(
        (moved.status, &moved.json()["data"]["leader"]),
        (200, &json!(second.node_id().get()))
    );
    first.put("k", "through the old leader").await.unwrap();

    add(first, third).await;
    replace(second, first, third).await;
    let snapshot = post(&url(third), "/cluster/snapshot", Json::Null).await;
    assert!(
        snapshot.json()["data"]["log_index"]
            .as_u64()
            .is_some_and(|index| index > 0),
        "{snapshot:?}"
    );
    let target = format!("/api/v1/cluster/members/{}", third.node_id());
    assert_eq!(send(&url(second), "DELETE", &target, "", b"").await.status, 200);
    let last = format!("/api/v1/cluster/members/{}", second.node_id());
    let refused = send(&url(second), "DELETE", &last, "", b"").await;
    assert_eq!(
        (refused.status, refused.code().as_str()),
        (400, "invalid_request"),
        "the last voter stays"
    );
    second.put("k", "alone").await.unwrap();
    for node in &nodes {
        // A node that was removed has stopped by itself, and says why.
        let _ = node.shutdown().await;
    }
}

/// Adding a member again does nothing.
async fn add(asked: &Concord, joining: &Concord) {
    let added = post(
        &url(asked),
        "/cluster/members",
        json!({"address": joining.peer_address().unwrap()}),
    )
    .await;
    assert_eq!(
        (added.status, &added.json()["data"]["node_id"]),
        (200, &json!(joining.node_id().get()))
    );
    joining.wait_until_ready(PATIENCE).await.unwrap();
}

async fn replace(asked: &Concord, leaving: &Concord, joining: &Concord) {
    let target = format!("/cluster/members/{}/replace", leaving.node_id());
    eventually("the learner takes the seat", async || {
        let reply = post(&url(asked), &target, json!({"with": joining.node_id().get()})).await;
        (reply.status == 200).then_some(())
    })
    .await;
    let status = send(&url(joining), "GET", "/api/v1/status", "", b"").await.json();
    let members = status["data"]["members"].as_array().unwrap();
    assert_eq!(members.len(), 2, "{status}");
    assert!(members.iter().all(|member| member["voter"] == true), "{status}");
    let found = joining.get("k").strong().await.unwrap();
    assert_eq!(
        found.as_ref().and_then(|entry| entry.text()),
        Some("through the old leader")
    );
}

async fn promote(asked: &Concord, learner: &Concord) {
    let target = format!("/cluster/members/{}/promote", learner.node_id());
    eventually("the learner votes", async || {
        let reply = post(&url(asked), &target, Json::Null).await;
        assert!(
            reply.status == 200 || reply.code() == "not_ready",
            "{:?}",
            reply.json()
        );
        (reply.status == 200).then_some(())
    })
    .await;
}

/// Without a majority a node refuses, and says so; what needs none still works.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_minority_refuses_and_says_so() {
    let cluster = Cluster::start(3).await;
    cluster.node(0).put("k", "v").await.unwrap();
    let leader = cluster.node(0).status().unwrap().leader.unwrap();
    // The leader is left over: it must notice that it leads nobody.
    let left = (0..3)
        .find(|place| cluster.node(*place).node_id() == leader)
        .unwrap();
    for place in (0..3).filter(|place| *place != left) {
        cluster.node(place).shutdown().await.unwrap();
    }
    let url = cluster.url(left);
    let reply = eventually("not ready", async || {
        let reply = send(&url, "GET", "/ready", "", b"").await;
        (reply.status == 503).then_some(reply)
    })
    .await;
    assert_eq!(reply.code(), "not_ready");
    let read = send(&url, "GET", "/api/v1/kv/k?timeout=300ms", "", b"").await;
    assert_eq!(read.status, 503, "{:?}", read.json());
    assert!(
        ["no_quorum", "not_ready"].contains(&read.code().as_str()),
        "{:?}",
        read.json()
    );
    let local = send(&url, "GET", "/api/v1/kv/k?consistency=eventual", "", b"").await;
    assert_eq!(local.json()["data"]["value"], "v");
    let write = send(
        &url,
        "PUT",
        "/api/v1/kv/k?timeout=300ms",
        "content-type: text/plain",
        b"x",
    )
    .await;
    let code = write.code();
    let may_have_written = write.json()["error"]["details"]["may_have_written"] == true;
    assert!(
        matches!(
            (write.status, code.as_str(), may_have_written),
            (408, "outcome_unknown", true) | (503, "no_quorum", false) | (408, "timeout", false)
        ),
        "{:?}",
        write.json()
    );
    cluster.node(left).shutdown().await.unwrap();
}

/// A member that is gone for long is removed, where that is asked for, and told of.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_is_silent_for_too_long_is_removed_if_that_is_asked_for() {
    let cluster = Cluster::start_as(4, |mut config| {
        config.timing.heartbeat = Duration::from_millis(40);
        config.timing.election_min = Duration::from_millis(150);
        config.timing.election_max = Duration::from_millis(300);
        config.remove_dead_after = Some(Duration::from_secs(3));
        config
    })
    .await;
    cluster.node(3).shutdown().await.unwrap();
    eventually("three are left", async || {
        (cluster.node(0).status().unwrap().members.len() == 3).then_some(())
    })
    .await;
    // The change is seen a moment before its end is.
    eventually("the one that led tells", async || {
        let mut told = 0;
        for place in 0..3 {
            let metrics = send(&cluster.url(place), "GET", "/metrics", "", b"").await;
            let metrics = String::from_utf8(metrics.body).unwrap();
            told += metrics.matches("\nconcord_members_removed_total 1").count();
        }
        (told == 1).then_some(())
    })
    .await;
    cluster.node(1).put("k", "v").await.unwrap();
    for place in 0..3 {
        cluster.node(place).shutdown().await.unwrap();
    }
}
