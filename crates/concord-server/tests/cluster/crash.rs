//! Nodes that die, one, some or all at once.

use std::time::{Duration, Instant};

use concord_server::client::Request;

use crate::alone;
use crate::load::Load;
use crate::process::{Cluster, eventually, status};

/// The longest election timeout of the default configuration.
const ELECTION_TIMEOUT: Duration = Duration::from_millis(1000);
/// What a machine with other work may add to it.
const SLACK: Duration = Duration::from_millis(500);

/// Claim: when the leader is killed under load, writes go on within two election timeouts
/// and nothing acknowledged is lost (I5, I8). Method: SIGKILL, longest silence of the writers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killing_the_leader_stops_writes_for_less_than_two_election_timeouts() {
    let _alone = alone().await;
    let mut cluster = Cluster::start(3).await;
    let load = Load::start(&cluster, 4, 16);
    load.progress(200).await;

    let leader = cluster.leader().await;
    let killed = Instant::now();
    cluster.node(leader).kill();
    load.progress(200).await;
    let silence = load.longest_silence(killed);
    println!(
        "leader killed: {} ms without an acknowledgement",
        silence.as_millis()
    );
    assert!(
        silence < 2 * ELECTION_TIMEOUT + SLACK,
        "writes stood still for {silence:?}"
    );
    assert_ne!(cluster.leader().await, leader);

    cluster.node(leader).start();
    cluster.ready().await;
    let ledger = load.finish().await;
    for node in &cluster.nodes {
        ledger.check(&node.client()).await;
    }
}

/// Claim: what was acknowledged survives SIGKILL of every node at once (I5, I12), also a
/// second time. Method: kill all under load, start all, read everything through each node.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killing_every_node_at_once_loses_no_acknowledged_write() {
    let _alone = alone().await;
    let mut cluster = Cluster::start(3).await;
    for round in 1..=2 {
        let load = Load::start(&cluster, 8, 16);
        load.progress(300).await;
        for node in &mut cluster.nodes {
            node.kill();
        }
        let ledger = load.finish().await;
        let started = Instant::now();
        cluster.start_all();
        cluster.ready().await;
        println!(
            "round {round}: ready {} ms after the restart of all",
            started.elapsed().as_millis()
        );
        ledger.check(&cluster.client()).await;
    }
}

/// Claim: a value that no segment of the log has room for (these have 1 MiB) stops nobody, and is there on every node after all were
/// killed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_value_larger_than_a_segment_stops_no_node() {
    let _alone = alone().await;
    let mut cluster = Cluster::start(3).await;
    // Nothing that packs well.
    let mut seed = 1_u64;
    let noise = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        char::from(b'0' + u8::try_from(seed >> 58).unwrap())
    };
    let value: String = std::iter::repeat_with(noise)
        .filter(char::is_ascii_alphanumeric)
        .take(3 << 20)
        .collect();
    for key in ["a", "b"] {
        let put = Request::put(format!("/api/v1/kv/{key}")).body("text/plain", value.clone().into());
        cluster.client().send(&put).await.unwrap();
    }
    for node in &mut cluster.nodes {
        node.kill();
    }
    cluster.start_all();
    cluster.ready().await;
    for node in &cluster.nodes {
        let found = node.client().send(&Request::get("/api/v1/kv/b")).await.unwrap();
        assert!(String::from_utf8_lossy(&found.body).contains(&value));
    }
}

/// One node is a complete store: the same promise without any peer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killing_a_single_node_loses_no_acknowledged_write() {
    let _alone = alone().await;
    let mut cluster = Cluster::start(1).await;
    for _ in 0..3 {
        let load = Load::start(&cluster, 8, 16);
        load.progress(300).await;
        cluster.node(1).kill();
        let ledger = load.finish().await;
        cluster.start_all();
        cluster.ready().await;
        ledger.check(&cluster.client()).await;
    }
}

/// Claim: a minority refuses writes without having written, and serves `eventual` reads.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_without_quorum_refuses_writes_and_still_reads() {
    use concord_server::client::Request;
    let _alone = alone().await;
    let mut cluster = Cluster::start(3).await;
    let put = Request::put("/api/v1/kv/a").body("text/plain", "1".into());
    cluster.client().send(&put).await.unwrap();
    let survivor = cluster.node(1).client();
    // The survivor must have applied the write before it is alone with it.
    let local = Request::get("/api/v1/kv/a")
        .query("consistency", Some("eventual"))
        .accept("text/plain");
    eventually("node 1 has the write", async || survivor.send(&local).await.ok()).await;
    cluster.node(2).kill();
    cluster.node(3).kill();

    let error = survivor
        .send(&Request::put("/api/v1/kv/b").body("text/plain", "2".into()))
        .await
        .unwrap_err();
    let is_honest = ["no_quorum", "timeout", "not_ready", "outcome_unknown"].contains(&error.code());
    assert!(is_honest, "{}: {error}", error.code());
    assert_eq!(survivor.send(&local).await.unwrap().body, "1");
    let strong = Request::get("/api/v1/kv/a").query("consistency", Some("strong"));
    assert!(
        survivor.send(&strong).await.is_err(),
        "a strong read needs a quorum (I6)"
    );
    eventually("it says that it is not ready", async || {
        survivor.send(&Request::get("/ready")).await.err()
    })
    .await;
    assert!(survivor.send(&Request::get("/health")).await.is_ok());
}

/// Claim: a leader that is asked to stop hands its leadership over first, so that writes
/// hardly pause. Method: SIGTERM, longest silence, exit code 0.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_stopped_hands_leadership_over_first() {
    let _alone = alone().await;
    let mut cluster = Cluster::start(3).await;
    let load = Load::start(&cluster, 4, 16);
    load.progress(200).await;

    let leader = cluster.leader().await;
    let term = status(&cluster.node(leader).client()).await.unwrap()["term"]
        .as_u64()
        .unwrap();
    let asked = Instant::now();
    cluster.node(leader).terminate();
    let exit = cluster.node(leader).exited().await;
    assert!(exit.success(), "{exit}");
    load.progress(200).await;
    let silence = load.longest_silence(asked);
    println!(
        "leader stopped: {} ms without an acknowledgement",
        silence.as_millis()
    );
    // A follower that has to notice the loss waits at least the shortest election timeout.
    assert!(
        silence < ELECTION_TIMEOUT / 2,
        "leadership was not handed over: {silence:?}"
    );
    let next = cluster.leader().await;
    let term_now = status(&cluster.node(next).client()).await.unwrap()["term"]
        .as_u64()
        .unwrap();
    assert!(next != leader && term_now > term);

    cluster.node(leader).start();
    cluster.ready().await;
    load.finish().await.check(&cluster.client()).await;
}
