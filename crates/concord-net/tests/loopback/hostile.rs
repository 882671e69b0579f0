//! Peers that misbehave: what they cost and how they go.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use concord_net::{NetConfig, RefusalReason};
use concord_raft::ports::{Lane, Transport, TransportError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::support::{self, Node, PATIENCE, config, transport, wait_until};

/// Whether the other side has ended the connection.
async fn is_ended(stream: &mut TcpStream) -> bool {
    let mut rest = Vec::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut rest)).await;
    match read.expect("the connection was left open") {
        Ok(_) => true,
        Err(error) => matches!(
            error.kind(),
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe
        ),
    }
}

async fn connect(node: &Node) -> TcpStream {
    TcpStream::connect(node.serving.local_addr()).await.unwrap()
}

#[tokio::test]
async fn random_bytes_are_dropped_and_honest_peers_served() {
    let node = Node::start(2).await;
    for noise in [
        vec![0; 14],
        vec![0xff; 100_000],
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
    ] {
        let mut stream = connect(&node).await;
        let _ = stream.write_all(&noise).await;
        assert!(is_ended(&mut stream).await);
    }
    wait_until(|| node.serving.stats().refused(RefusalReason::Malformed) == 3).await;
    wait_until(|| node.serving.stats().open == 0).await;
    assert!(
        transport(1, 1)
            .call(&node.peer(), Lane::Control, Bytes::from("x"), PATIENCE)
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn silent_connection_is_dropped_at_the_handshake_deadline() {
    let config = NetConfig {
        handshake_timeout: Duration::from_millis(100),
        ..config()
    };
    let node = Node::start_with(2, 1, config).await;
    let mut stream = connect(&node).await;
    assert!(is_ended(&mut stream).await);
    assert_eq!(node.serving.stats().refused(RefusalReason::HandshakeTimeout), 1);
}

/// Connections that say nothing take every unproven place, again and again; an honest
/// peer gets in all the same, for the oldest of them makes room.
#[tokio::test]
async fn flood_of_silent_connections_locks_nobody_out() {
    let node = Node::start_with(
        2,
        1,
        NetConfig {
            unproven_max: 8,
            ..config()
        },
    )
    .await;
    let mut flood = Vec::new();
    for _ in 0..100 {
        flood.push(connect(&node).await);
    }
    let answer = transport(1, 1)
        .call(&node.peer(), Lane::Control, Bytes::from("x"), PATIENCE)
        .await;
    assert!(answer.is_ok(), "{answer:?}");
    wait_until(|| node.serving.stats().refused(RefusalReason::TooMany) >= 92).await;
    wait_until(|| node.serving.stats().open <= 9).await;
}

#[tokio::test]
async fn proven_connections_are_capped_for_each_peer() {
    let config = NetConfig {
        connections_per_peer_max: 2,
        ..config()
    };
    let node = Node::start_with(2, 1, config).await;
    let first = transport(1, 1);
    let kept = first.open(&node.peer(), Lane::Forward).await.unwrap();
    let _also = first.open(&node.peer(), Lane::Forward).await.unwrap();
    let error = first.open(&node.peer(), Lane::Forward).await.unwrap_err();
    let reason = "this peer has too many connections".to_owned();
    assert_eq!(
        error,
        TransportError::Refused {
            address: node.peer().address,
            reason
        }
    );
    assert!(
        transport(3, 1).open(&node.peer(), Lane::Forward).await.is_ok(),
        "another peer has its own share"
    );
    drop(kept);
    wait_until(|| node.serving.stats().open <= 1).await;
    let mut again = first.open(&node.peer(), Lane::Forward).await;
    for _ in 0..20 {
        if again.is_ok() {
            break;
        }
        again = first.open(&node.peer(), Lane::Forward).await;
    }
    assert!(again.is_ok(), "{again:?}");
}

#[tokio::test]
async fn connection_cap_keeps_proven_peers_and_turns_others_away() {
    let config = NetConfig {
        connections_max: 1,
        ..config()
    };
    let node = Node::start_with(2, 1, config).await;
    let first = transport(1, 1);
    assert!(
        first
            .call(&node.peer(), Lane::Control, Bytes::from("x"), PATIENCE)
            .await
            .is_ok()
    );
    let short = Duration::from_millis(300);
    let error = transport(3, 1)
        .call(&node.peer(), Lane::Control, Bytes::from("x"), short)
        .await
        .unwrap_err();
    assert!(matches!(error, TransportError::Unreachable { .. }), "{error:?}");
    assert!(node.serving.stats().refused(RefusalReason::TooMany) >= 1);
    assert!(
        first
            .call(&node.peer(), Lane::Control, Bytes::from("x"), PATIENCE)
            .await
            .is_ok()
    );
    assert_eq!(first.stats().established, 1);
}

/// A listener that accepts and says nothing, as a stopped process does.
#[tokio::test]
async fn peer_that_never_answers_the_hello_is_unreachable() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let peer = concord_raft::ports::PeerAddress {
        node_id: None,
        address: silent.local_addr().unwrap().to_string(),
    };
    let config = NetConfig {
        handshake_timeout: Duration::from_millis(100),
        ..config()
    };
    let transport = support::transport_with(1, 1, config);
    let error = transport
        .call(&peer, Lane::Control, Bytes::from("x"), PATIENCE)
        .await
        .unwrap_err();
    assert!(matches!(error, TransportError::Unreachable { .. }), "{error:?}");
}

/// The path between two nodes goes dead without a word: no reset, no end. Both sides
/// notice, and the call that waited says that it may have arrived.
#[tokio::test]
async fn dead_path_is_noticed_by_both_sides() {
    let fast = NetConfig {
        keepalive_interval: Duration::from_millis(100),
        dead_after: Duration::from_millis(1_000),
        ..config()
    };
    let node = Node::start_with(2, 1, fast.clone()).await;
    let relay = Relay::start(&node).await;
    let transport = support::transport_with(1, 1, fast);
    let peer = relay.peer(&node);
    assert!(
        transport
            .call(&peer, Lane::Append, Bytes::from("x"), PATIENCE)
            .await
            .is_ok()
    );
    let call = tokio::spawn(transport.call(&peer, Lane::Append, Bytes::from("hold"), PATIENCE));
    node.engine.take_held().await;
    relay.freeze();
    assert_eq!(
        call.await.unwrap(),
        Err(TransportError::Interrupted {
            address: peer.address
        })
    );
    wait_until(|| node.serving.stats().refused(RefusalReason::Silent) == 1).await;
    wait_until(|| transport.stats().refused(RefusalReason::Silent) == 1).await;
    node.engine.release(1);
    wait_until(|| node.serving.stats().open == 0).await;
}

/// A damaged byte within the traffic ends the connection, and nothing of the frame is used.
#[tokio::test]
async fn damaged_traffic_ends_the_connection() {
    let node = Node::start(2).await;
    let relay = Relay::start(&node).await;
    let transport = transport(1, 1);
    let peer = relay.peer(&node);
    assert!(
        transport
            .call(&peer, Lane::Append, Bytes::from("x"), PATIENCE)
            .await
            .is_ok()
    );
    relay.damage();
    let outcome = transport
        .call(&peer, Lane::Append, Bytes::from("y"), PATIENCE)
        .await;
    assert!(
        matches!(outcome, Err(TransportError::Interrupted { .. })),
        "{outcome:?}"
    );
    wait_until(|| node.serving.stats().refused(RefusalReason::Protocol) == 1).await;
    assert_eq!(node.engine.seen.lock().len(), 1);
}

/// A peer that sends calls and never takes an answer: the engine's work stays bounded and
/// the connection goes.
#[tokio::test]
async fn peer_that_takes_no_answers_is_dropped() {
    let fast = NetConfig {
        keepalive_interval: Duration::from_millis(20),
        call_stall_timeout: Duration::from_millis(200),
        calls_served_max: 4,
        ..config()
    };
    let node = Node::start_with(2, 1, fast.clone()).await;
    let relay = Relay::start(&node).await;
    let transport = support::transport_with(1, 1, fast);
    let peer = relay.peer(&node);
    assert!(
        transport
            .call(&peer, Lane::Append, Bytes::from("x"), PATIENCE)
            .await
            .is_ok()
    );
    relay.hold_answers();
    let request = Bytes::from(vec![0; 1 << 20]);
    let calls: Vec<_> = (0..100)
        .map(|_| tokio::spawn(transport.call(&peer, Lane::Append, request.clone(), PATIENCE)))
        .collect();
    wait_until(|| node.serving.stats().refused(RefusalReason::Silent) == 1).await;
    assert!(
        node.engine.seen.lock().len() < 50,
        "{} calls were taken",
        node.engine.seen.lock().len()
    );
    transport.close();
    for call in calls {
        assert!(call.await.unwrap().is_err());
    }
}

/// Stands between a dialer and a node and interferes when told.
struct Relay {
    address: String,
    mood: tokio::sync::watch::Sender<Mood>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mood {
    Honest,
    Frozen,
    Damaging,
    HoldingAnswers,
}

impl Relay {
    async fn start(node: &Node) -> Self {
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap().to_string();
        let target = node.serving.local_addr();
        let (mood, moods) = tokio::sync::watch::channel(Mood::Honest);
        tokio::spawn(async move {
            while let Ok((here, _)) = socket.accept().await {
                let there = TcpStream::connect(target).await.unwrap();
                let (from_dialer, to_dialer) = here.into_split();
                let (from_node, to_node) = there.into_split();
                tokio::spawn(pass(from_dialer, to_node, moods.clone(), Mood::Frozen));
                tokio::spawn(pass(from_node, to_dialer, moods.clone(), Mood::HoldingAnswers));
            }
        });
        Self { address, mood }
    }

    fn peer(&self, node: &Node) -> concord_raft::ports::PeerAddress {
        concord_raft::ports::PeerAddress {
            address: self.address.clone(),
            ..node.peer()
        }
    }

    fn freeze(&self) {
        self.mood.send_replace(Mood::Frozen);
    }

    fn damage(&self) {
        self.mood.send_replace(Mood::Damaging);
    }

    fn hold_answers(&self) {
        self.mood.send_replace(Mood::HoldingAnswers);
    }
}

/// Passes bytes on; stops for good in `stop_in` or when frozen.
async fn pass(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    mut moods: tokio::sync::watch::Receiver<Mood>,
    stop_in: Mood,
) {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let count = match from.read(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(count) => count,
        };
        let mood = *moods.borrow_and_update();
        if mood == Mood::Frozen || mood == stop_in {
            // Keeps both sockets and reads nothing more.
            std::future::pending::<()>().await;
        }
        if mood == Mood::Damaging {
            buffer[count - 1] ^= 1;
        }
        if to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}
