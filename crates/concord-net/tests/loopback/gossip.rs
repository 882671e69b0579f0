//! Gossip through real sockets: nodes that find each other, and strangers that send what they like.

use std::sync::Arc;

use concord_net::gossip::{DropReason, Gossip, GossipConfig};
use concord_net::limits::{GOSSIP_PACKET_BYTES, GOSSIP_PACKETS_PER_ROUND_MAX};
use concord_net::{ClusterSecret, IdentitySource};
use concord_raft::ports::PeerIdentity;
use tokio::net::UdpSocket;

use crate::support::{identity, secret, wait_until};

async fn start(node: PeerIdentity, secret: ClusterSecret, listen: &str, seeds: Vec<String>) -> Gossip {
    let config = GossipConfig {
        listen: listen.to_owned(),
        seeds,
        peer_address: format!("node-{}:4100", node.node_id),
    };
    let source: IdentitySource = Arc::new(move || node);
    Gossip::start(config, source, secret).await.unwrap()
}

fn address(gossip: &Gossip) -> Vec<String> {
    vec![gossip.local_addr().to_string()]
}

fn outside(id: u64) -> PeerIdentity {
    PeerIdentity {
        cluster_id: None,
        ..identity(id)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_hears_of_a_member_through_one_that_is_none() {
    // An IPv6 socket hears who comes by IPv4, and the other way round.
    let member = start(identity(1), secret(1), "[::]:0", Vec::new()).await;
    let named = vec![format!("localhost:{}", member.local_addr().port())];
    let between = start(outside(2), secret(1), "127.0.0.1:0", named).await;
    let seeker = start(outside(3), secret(1), "127.0.0.1:0", address(&between)).await;
    let discovery = seeker.discovery();
    wait_until(|| !discovery.members().is_empty()).await;
    let found = discovery.members();
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].node_id.get(), found[0].cluster_id), (1, 7));
    assert_eq!(found[0].address, "node-1:4100");
    wait_until(|| member.stats().contacts == 2).await;
    for gossip in [&member, &between, &seeker] {
        let stats = gossip.stats();
        assert!(stats.sent > 0 && stats.received > 0, "{stats:?}");
        assert!(
            DropReason::ALL.iter().all(|reason| stats.dropped(*reason) == 0),
            "{stats:?}"
        );
    }
}

/// D-SEC-13: whoever does not know the secret, or is of another cluster, is dropped, counted, and told nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_are_dropped_counted_and_told_nothing() {
    let member = start(identity(1), secret(1), "127.0.0.1:0", Vec::new()).await;
    let stranger = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let mut garbage = [0x5a; GOSSIP_PACKET_BYTES];
    let mut future = garbage;
    future[..10].copy_from_slice(b"CONCORD~\0\x02");
    let mut forged = future;
    forged[9] = 1;
    for (bytes, reason) in [
        (&b""[..], DropReason::Size),
        (&forged[..GOSSIP_PACKET_BYTES - 1], DropReason::Size),
        (&[1; 9_000][..], DropReason::Size),
        (&garbage, DropReason::Malformed),
        (&future, DropReason::Version),
        (&forged, DropReason::Proof),
    ] {
        let before = member.stats().dropped(reason);
        stranger.send_to(bytes, member.local_addr()).await.unwrap();
        wait_until(|| member.stats().dropped(reason) == before + 1).await;
    }
    let foreign = PeerIdentity {
        cluster_id: Some(8),
        ..identity(2)
    };
    let _foreign = start(foreign, secret(1), "127.0.0.1:0", address(&member)).await;
    let _unproven = start(outside(3), secret(2), "127.0.0.1:0", address(&member)).await;
    wait_until(|| member.stats().dropped(DropReason::Cluster) > 0).await;
    wait_until(|| member.stats().dropped(DropReason::Proof) > 1).await;
    assert_eq!((member.stats().sent, member.stats().contacts), (0, 0));
    let heard = stranger.try_recv(&mut garbage).unwrap_err();
    assert_eq!(heard.kind(), std::io::ErrorKind::WouldBlock, "nobody answered");
}

/// Claim: a flood costs its reading and no more, and does not keep a node from asking.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_is_dropped_and_leaves_the_rounds_to_the_node() {
    let member = start(identity(1), secret(1), "127.0.0.1:0", Vec::new()).await;
    let seeker = start(outside(2), secret(1), "127.0.0.1:0", address(&member)).await;
    let stranger = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let discovery = seeker.discovery();
    let mut sent = 0;
    while seeker.stats().dropped(DropReason::Flood) == 0 {
        stranger.send_to(b"x", seeker.local_addr()).await.unwrap();
        sent += 1;
        assert!(sent < 1_000 * GOSSIP_PACKETS_PER_ROUND_MAX, "all were looked at");
    }
    wait_until(|| !discovery.members().is_empty()).await;
}
