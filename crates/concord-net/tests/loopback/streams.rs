//! Streams: order, ends, slow owners.

use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use concord_net::NetConfig;
use concord_raft::ports::{Lane, Transport, TransportError};

use crate::support::{self, Node, PATIENCE, config, transport, wait_until};

#[tokio::test]
async fn messages_arrive_in_order_both_ways() {
    let node = Node::start(2).await;
    let transport = transport(1, 1);
    let mut duplex = transport.open(&node.peer(), Lane::Forward).await.unwrap();
    let sender = duplex.sender.clone();
    let sending = tokio::spawn(async move {
        for n in 0..2_000_u32 {
            let mut message = n.to_be_bytes().to_vec();
            message.resize(4 + usize::try_from(n).unwrap() * 37 % 9_000, 1);
            sender.send(message.into()).await.unwrap();
        }
    });
    for n in 0..2_000_u32 {
        let message = duplex.receiver.recv().await.unwrap();
        assert_eq!(message[..4], n.to_be_bytes());
        assert_eq!(message.len(), 4 + usize::try_from(n).unwrap() * 37 % 9_000);
    }
    sending.await.unwrap();
}

#[tokio::test]
async fn last_word_arrives_after_the_senders_half_has_ended() {
    // No signs of life: an end must not wait for one to take it along.
    let quiet = NetConfig {
        keepalive_interval: PATIENCE * 10,
        dead_after: PATIENCE * 30,
        ..config()
    };
    let node = Node::start_with(2, 1, quiet.clone()).await;
    let transport = support::transport_with(1, 1, quiet);
    let mut duplex = transport.open(&node.peer(), Lane::Snapshot).await.unwrap();
    for _ in 0..20 {
        duplex.sender.send(Bytes::from(vec![3; 1 << 20])).await.unwrap();
    }
    drop(duplex.sender);
    assert_eq!(
        duplex.receiver.recv().await.unwrap(),
        format!("{} bytes", 20 << 20)
    );
    assert_eq!(duplex.receiver.recv().await, None);
    wait_until(|| node.serving.stats().open == 0 && transport.stats().open == 0).await;
}

#[tokio::test]
async fn dropped_stream_still_delivers_what_was_sent() {
    let node = Node::start(2).await;
    let transport = transport(1, 1);
    let duplex = transport.open(&node.peer(), Lane::Snapshot).await.unwrap();
    for _ in 0..10 {
        duplex.sender.send(Bytes::from(vec![3; 100_000])).await.unwrap();
    }
    drop(duplex);
    wait_until(|| node.engine.streamed.load(Ordering::Relaxed) == 1_000_000).await;
    wait_until(|| node.serving.stats().open == 0 && transport.stats().open == 0).await;
}

/// The sender drops its stream while the other side, slow to take messages, keeps
/// sending signs of life. Closing the socket at once would answer them with a reset, and
/// the messages in the receiver's socket would be lost.
#[tokio::test]
async fn dropped_stream_reaches_a_slow_owner_in_full() {
    let lively = NetConfig {
        keepalive_interval: Duration::from_millis(20),
        ..config()
    };
    let node = Node::start_with(2, 1, lively.clone()).await;
    let transport = support::transport_with(1, 1, lively);
    let duplex = transport.open(&node.peer(), Lane::Append).await.unwrap();
    for _ in 0..40 {
        duplex.sender.send(Bytes::from(vec![3; 64 << 10])).await.unwrap();
    }
    drop(duplex);
    // tidy-allow(sleep): lets signs of life pass, which nobody is told of.
    tokio::time::sleep(Duration::from_millis(300)).await;
    node.engine.release(1);
    wait_until(|| node.engine.streamed.load(Ordering::Relaxed) == 40 * (64 << 10)).await;
    wait_until(|| node.serving.stats().open == 0 && transport.stats().open == 0).await;
}

#[tokio::test]
async fn stream_ends_when_its_owner_stops_listening() {
    let node = Node::start(2).await;
    let transport = transport(1, 1);
    let mut duplex = transport.open(&node.peer(), Lane::Forward).await.unwrap();
    duplex.sender.send(Bytes::from("x")).await.unwrap();
    assert_eq!(duplex.receiver.recv().await.unwrap(), "x");
    drop(duplex.receiver);
    // At once, not after the time that a peer's end leaves for a last word.
    let soon = Duration::from_secs(3);
    assert!(tokio::time::timeout(soon, duplex.sender.closed()).await.is_ok());
    wait_until(|| node.engine.streams.load(Ordering::Relaxed) == 0).await;
    wait_until(|| node.serving.stats().open == 0 && transport.stats().open == 0).await;
}

#[tokio::test]
async fn stream_ends_when_its_peer_hangs_up() {
    let node = Node::start(2).await;
    let transport = transport(1, 1);
    let mut duplex = transport.open(&node.peer(), Lane::Control).await.unwrap();
    assert_eq!(duplex.receiver.recv().await, None);
    let ended = tokio::time::timeout(PATIENCE, duplex.sender.closed()).await;
    assert!(ended.is_ok(), "the sending half went on");
}

#[tokio::test]
async fn stream_ends_when_its_peer_shuts_down() {
    let node = Node::start(2).await;
    let transport = transport(1, 1);
    let mut duplex = transport.open(&node.peer(), Lane::Forward).await.unwrap();
    duplex.sender.send(Bytes::from("x")).await.unwrap();
    assert_eq!(duplex.receiver.recv().await.unwrap(), "x");
    node.serving.shutdown().await;
    assert_eq!(duplex.receiver.recv().await, None);
    assert!(
        tokio::time::timeout(PATIENCE, duplex.sender.closed())
            .await
            .is_ok()
    );
    assert_eq!(
        node.engine.streams.load(Ordering::Relaxed),
        1,
        "the engine's stream was dropped, not finished"
    );
}

/// Each stream has a connection of its own: one that nobody reads holds up no other.
#[tokio::test]
async fn stream_that_is_not_read_holds_up_neither_streams_nor_calls() {
    let node = Node::start(2).await;
    let transport = transport(1, 1);
    let stuck = transport.open(&node.peer(), Lane::Append).await.unwrap();
    while tokio::time::timeout(
        Duration::from_millis(100),
        stuck.sender.send(Bytes::from(vec![0; 1 << 20])),
    )
    .await
    .is_ok()
    {}
    let mut other = transport.open(&node.peer(), Lane::Forward).await.unwrap();
    other.sender.send(Bytes::from("x")).await.unwrap();
    assert_eq!(other.receiver.recv().await.unwrap(), "x");
    assert!(
        transport
            .call(&node.peer(), Lane::Append, Bytes::from("x"), PATIENCE)
            .await
            .is_ok()
    );
}

/// A slow owner is no dead peer: its stream outlives the time after which silence is
/// taken for death, and goes on when the owner does; meanwhile what waits is bounded.
#[tokio::test]
async fn slow_owner_keeps_its_stream_and_takes_bounded_memory() {
    let fast = NetConfig {
        keepalive_interval: Duration::from_millis(100),
        dead_after: Duration::from_millis(1_000),
        ..config()
    };
    let node = Node::start_with(2, 1, fast.clone()).await;
    let transport = support::transport_with(1, 1, fast);
    let duplex = transport.open(&node.peer(), Lane::Append).await.unwrap();
    let mut sent = 0_usize;
    while tokio::time::timeout(
        Duration::from_millis(2_500),
        duplex.sender.send(Bytes::from(vec![0; 1 << 20])),
    )
    .await
    .is_ok()
    {
        sent += 1;
        assert!(sent < 64, "{sent} MiB were taken for an owner that reads nothing");
    }
    assert!(!duplex.sender.is_closed());
    node.engine.release(1);
    for _ in 0..32 {
        duplex.sender.send(Bytes::from(vec![0; 1 << 20])).await.unwrap();
    }
    drop(duplex);
    wait_until(|| node.engine.streamed.load(Ordering::Relaxed) == (sent + 32) << 20).await;
}

#[tokio::test]
async fn idle_stream_lives_on_signs_of_life() {
    let fast = NetConfig {
        keepalive_interval: Duration::from_millis(100),
        dead_after: Duration::from_millis(1_000),
        ..config()
    };
    let node = Node::start_with(2, 1, fast.clone()).await;
    let transport = support::transport_with(1, 1, fast);
    let mut duplex = transport.open(&node.peer(), Lane::Forward).await.unwrap();
    let quiet = tokio::time::timeout(Duration::from_millis(2_500), duplex.receiver.recv()).await;
    assert!(quiet.is_err(), "the stream ended: {quiet:?}");
    duplex.sender.send(Bytes::from("x")).await.unwrap();
    assert_eq!(duplex.receiver.recv().await.unwrap(), "x");
}

#[tokio::test]
async fn message_over_the_limit_ends_its_stream() {
    let node = Node::start(2).await;
    let small = NetConfig {
        payload_bytes_max: 1000,
        ..config()
    };
    let transport = support::transport_with(1, 1, small);
    let mut duplex = transport.open(&node.peer(), Lane::Forward).await.unwrap();
    duplex.sender.send(Bytes::from(vec![0; 1001])).await.unwrap();
    assert_eq!(duplex.receiver.recv().await, None);
    assert_eq!(node.engine.streamed.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn stream_to_nobody_is_unreachable() {
    let error = transport(1, 1)
        .open(&support::nobody().await, Lane::Forward)
        .await
        .unwrap_err();
    assert!(matches!(error, TransportError::Unreachable { .. }), "{error:?}");
}
