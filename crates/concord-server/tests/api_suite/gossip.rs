//! Nodes that find their cluster by gossip.

use std::net::SocketAddr;

use concord_server::{Concord, Config, NodeStatus, OpenErrorKind, PeerConfig, Readiness, Secret};
use tempfile::TempDir;
use tokio::net::UdpSocket;

use crate::cluster::secret;
use crate::patience::{PATIENCE, eventually};
use crate::wire::send;

/// A node that gossips, and asks these whom they know.
fn peers(secret: Secret, seeds: &[SocketAddr]) -> PeerConfig {
    PeerConfig::new("127.0.0.1:0", secret).gossip("127.0.0.1:0", seeds.iter().map(ToString::to_string))
}

async fn open(dir: &TempDir, peers: PeerConfig) -> Concord {
    let config = Config::at(dir.path()).http("127.0.0.1:0").peers(peers);
    Concord::open(config).await.unwrap()
}

/// The figure of a series, which stands in a scrape with its labels.
async fn figure(node: &Concord, series: &str) -> Option<f64> {
    let url = format!("http://{}", node.http_address().unwrap());
    let reply = send(&url, "GET", "/metrics", "", b"").await;
    let text = String::from_utf8(reply.body).unwrap();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))?;
    Some(line.parse().unwrap())
}

async fn until_at_least(node: &Concord, series: &str, least: f64) {
    eventually(&format!("{series} at {least}"), async || {
        (figure(node, series).await >= Some(least)).then_some(())
    })
    .await;
}

fn cluster_of(status: &NodeStatus) -> (Option<u128>, usize) {
    (status.cluster_id, status.members.len())
}

/// The contract: a cluster starts from gossip, and the log decides. The third node knows where the second gossips, and
/// nobody's peer address. D-RAFT-10: nobody becomes a member by being heard of.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_knows_where_one_other_gossips_joins_its_cluster() {
    let dirs: Vec<TempDir> = (0..4).map(|_| tempfile::tempdir().unwrap()).collect();
    let first = open(&dirs[0], peers(secret(), &[])).await;
    first.wait_until_ready(PATIENCE).await.unwrap();
    let mut nodes = vec![first];
    for dir in &dirs[1..3] {
        let last = nodes.last().unwrap().gossip_address().unwrap();
        let next = open(dir, peers(secret(), &[last]).discover()).await;
        next.wait_until_ready(PATIENCE).await.unwrap();
        nodes.push(next);
    }
    let first = &nodes[0];
    first.put("k", "v").await.unwrap();
    let read = nodes[2].get("k").strong().await.unwrap();
    assert_eq!(read.as_ref().and_then(|entry| entry.text()), Some("v"));
    for node in &nodes {
        until_at_least(node, "concord_gossip_contacts", 2.0).await;
        assert_eq!(
            cluster_of(&node.status().unwrap()),
            (first.status().unwrap().cluster_id, 3)
        );
    }
    assert!(figure(first, "concord_gossip_packets_total{direction=\"in\"}").await > Some(0.0));
    assert!(figure(first, "concord_gossip_packets_total{direction=\"out\"}").await > Some(0.0));

    // One that is heard, but does not look for a cluster, belongs to none.
    let waits = open(
        &dirs[3],
        peers(secret(), &[first.gossip_address().unwrap()]).wait(),
    )
    .await;
    until_at_least(&waits, "concord_gossip_contacts", 3.0).await;
    assert_eq!(cluster_of(&waits.status().unwrap()).0, None);
    assert_eq!(cluster_of(&first.status().unwrap()).1, 3);
    for node in nodes.iter().chain([&waits]).rev() {
        node.shutdown().await.unwrap();
    }
}

/// D-SEC-13: a node with another secret, and whoever sends packets without any, is dropped and counted, and finds nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_find_no_cluster_by_gossip() {
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let member = open(&dirs[0], peers(secret(), &[])).await;
    let gossip = member.gossip_address().unwrap();
    let other = Secret::new("another secret altogether");
    let stranger = open(&dirs[1], peers(other, &[gossip]).discover()).await;
    until_at_least(&member, "concord_gossip_dropped_total{reason=\"proof\"}", 1.0).await;
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.send_to(&[7; 2_000], gossip).await.unwrap();
    until_at_least(&member, "concord_gossip_dropped_total{reason=\"size\"}", 1.0).await;
    assert_eq!(figure(&member, "concord_gossip_contacts").await, Some(0.0));
    assert_eq!(
        figure(&member, "concord_gossip_packets_total{direction=\"out\"}").await,
        Some(0.0),
        "nobody was told anything"
    );
    assert!(matches!(stranger.readiness(), Readiness::NotReady { .. }));
    assert_eq!(cluster_of(&stranger.status().unwrap()).0, None);
    for node in [stranger, member] {
        node.shutdown().await.unwrap();
    }
}

#[tokio::test]
async fn an_address_of_gossip_that_is_taken_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let taken = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let peers = PeerConfig::new("127.0.0.1:0", secret()).gossip(&address, [""; 0]);
    let refused = Concord::open(Config::at(dir.path()).peers(peers))
        .await
        .unwrap_err();
    assert_eq!(refused.kind(), OpenErrorKind::Address);
    assert_eq!(
        refused.to_string(),
        format!("cannot listen for gossip on {address}")
    );
}
