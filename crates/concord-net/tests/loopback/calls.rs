//! Calls: what comes back, and what is said when nothing does.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use concord_net::{NetConfig, RefusalReason};
use concord_raft::ports::{Lane, PeerIdentity, Transport, TransportError};
use futures::future::join_all;

use crate::support::{self, Node, PATIENCE, config, identity, transport, wait_until};

const LANES: [Lane; 4] = [Lane::Control, Lane::Append, Lane::Snapshot, Lane::Forward];

#[tokio::test]
async fn call_is_answered_on_every_lane_over_one_connection_each() {
    let node = Node::start(2).await;
    let transport = transport(1, 1);
    for round in 0..3_u8 {
        for lane in LANES {
            let request = Bytes::from(format!("{lane:?} {round}"));
            let answer = transport
                .call(&node.peer(), lane, request.clone(), PATIENCE)
                .await
                .unwrap();
            assert_eq!(answer, request);
        }
    }
    assert_eq!(transport.stats().established, 4);
    assert_eq!(node.serving.stats().calls, 12);
    assert_eq!(node.engine.seen.lock()[0], (identity(1), Lane::Control));
}

#[tokio::test]
async fn answers_may_overtake_each_other_on_one_connection() {
    let node = Node::start(2).await;
    let transport = transport(1, 1);
    let peer = node.peer();
    let slow = tokio::spawn(transport.call(&peer, Lane::Append, Bytes::from("hold"), PATIENCE));
    node.engine.take_held().await;
    let calls = (0..100).map(|n| transport.call(&peer, Lane::Append, Bytes::from(format!("{n}")), PATIENCE));
    for (n, answer) in join_all(calls).await.into_iter().enumerate() {
        assert_eq!(answer.unwrap(), n.to_string());
    }
    assert!(!slow.is_finished());
    node.engine.release(1);
    assert_eq!(slow.await.unwrap().unwrap(), "hold");
    assert_eq!(transport.stats().established, 1);
}

#[tokio::test]
async fn message_of_the_largest_size_passes_and_one_byte_more_does_not() {
    let config = NetConfig {
        payload_bytes_max: 8 << 20,
        ..config()
    };
    let node = Node::start_with(2, 1, config.clone()).await;
    let transport = support::transport_with(1, 1, config);
    let request = Bytes::from(vec![0xa5; 8 << 20]);
    let answer = transport
        .call(&node.peer(), Lane::Append, request.clone(), PATIENCE)
        .await
        .unwrap();
    assert!(answer == request);
    let request = Bytes::from(vec![0; (8 << 20) + 1]);
    let error = transport
        .call(&node.peer(), Lane::Append, request, PATIENCE)
        .await
        .unwrap_err();
    let (size_bytes, limit_bytes) = ((8 << 20) + 1, 8 << 20);
    assert_eq!(
        error,
        TransportError::TooLarge {
            size_bytes,
            limit_bytes
        }
    );
    assert_eq!(transport.stats().established, 1);
}

#[tokio::test]
async fn default_limit_takes_the_largest_request_of_the_product() {
    let node = Node::start(2).await;
    let transport = transport(1, 1);
    let request = Bytes::from(vec![0x5a; (64 << 20) + 1000]);
    let answer = transport
        .call(&node.peer(), Lane::Forward, request.clone(), PATIENCE)
        .await
        .unwrap();
    assert!(answer == request);
}

#[tokio::test]
async fn message_over_the_listeners_limit_ends_the_connection_and_may_have_arrived() {
    let node = Node::start_with(
        2,
        1,
        NetConfig {
            payload_bytes_max: 1000,
            ..config()
        },
    )
    .await;
    let transport = transport(1, 1);
    let request = Bytes::from(vec![0; 1001]);
    let error = transport
        .call(&node.peer(), Lane::Append, request, PATIENCE)
        .await
        .unwrap_err();
    assert_eq!(
        error,
        TransportError::Interrupted {
            address: node.peer().address
        }
    );
    wait_until(|| node.serving.stats().refused(RefusalReason::Protocol) == 1).await;
    assert!(node.engine.seen.lock().is_empty());
}

#[tokio::test]
async fn answer_over_the_limit_interrupts_its_call_and_no_other() {
    let node = Node::start_with(
        2,
        1,
        NetConfig {
            payload_bytes_max: 1000,
            ..config()
        },
    )
    .await;
    let transport = transport(1, 1);
    let error = transport
        .call(&node.peer(), Lane::Append, Bytes::from("huge"), PATIENCE)
        .await
        .unwrap_err();
    assert_eq!(
        error,
        TransportError::Interrupted {
            address: node.peer().address
        }
    );
    assert!(
        transport
            .call(&node.peer(), Lane::Append, Bytes::from("x"), PATIENCE)
            .await
            .is_ok()
    );
    assert_eq!(transport.stats().established, 1);
}

async fn refusal(transport: &impl Transport, node: &Node) -> String {
    match transport
        .call(&node.peer(), Lane::Control, Bytes::from("x"), PATIENCE)
        .await
    {
        Err(TransportError::Refused { address, reason }) => {
            assert_eq!(address, node.peer().address);
            reason
        }
        other => panic!("not refused: {other:?}"),
    }
}

#[tokio::test]
async fn dialer_with_another_secret_is_refused_and_learns_nothing() {
    let node = Node::start(2).await;
    let transport = transport(1, 9);
    let reason = refusal(&transport, &node).await;
    assert_eq!(
        reason,
        "the peer did not accept this node's proof: the cluster secrets differ"
    );
    wait_until(|| node.serving.stats().refused(RefusalReason::Proof) == 1).await;
    assert_eq!(node.engine.admissions.load(Ordering::Relaxed), 0);
    assert_eq!(transport.stats().refused(RefusalReason::Proof), 1);
    assert!(transport.open(&node.peer(), Lane::Forward).await.is_err());
}

#[tokio::test]
async fn peer_that_the_engine_does_not_admit_hears_why() {
    let node = Node::start(2).await;
    let foreign = PeerIdentity {
        cluster_id: Some(0xbad),
        ..identity(1)
    };
    let transport = support::transport_as(Arc::new(move || foreign), 1, config());
    assert_eq!(refusal(&transport, &node).await, "node 1 is of another cluster");
    wait_until(|| node.serving.stats().refused(RefusalReason::NotAdmitted) == 1).await;
    assert!(node.engine.seen.lock().is_empty());
}

#[tokio::test]
async fn another_node_at_the_address_is_noticed() {
    let node = Node::start(3).await;
    let transport = transport(1, 1);
    let mut peer = node.peer();
    peer.node_id = Some(identity(2).node_id);
    let error = transport
        .call(&peer, Lane::Control, Bytes::from("x"), PATIENCE)
        .await
        .unwrap_err();
    let reason = "node 3 answers there, not node 2".to_owned();
    assert_eq!(
        error,
        TransportError::Refused {
            address: peer.address,
            reason
        }
    );
    // A seed, of which only the address is known, may be anybody.
    assert!(
        transport
            .call(&node.seed(), Lane::Control, Bytes::from("x"), PATIENCE)
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn call_to_nobody_is_unreachable() {
    let peer = support::nobody().await;
    let error = transport(1, 1)
        .call(&peer, Lane::Control, Bytes::from("x"), PATIENCE)
        .await
        .unwrap_err();
    assert!(matches!(error, TransportError::Unreachable { .. }), "{error:?}");
    let unknown = concord_raft::ports::PeerAddress {
        node_id: None,
        address: "no port".into(),
    };
    let error = transport(1, 1)
        .call(&unknown, Lane::Control, Bytes::from("x"), PATIENCE)
        .await
        .unwrap_err();
    assert!(matches!(error, TransportError::Unreachable { .. }), "{error:?}");
}

/// Callers that ask again and again do not have the peer dialled as often.
#[tokio::test]
async fn failed_dials_are_spaced_out() {
    let (transport, peer) = (transport(1, 1), support::nobody().await);
    let began = std::time::Instant::now();
    let mut calls = 0;
    while began.elapsed() < Duration::from_millis(400) {
        let short = Duration::from_millis(2);
        let error = transport
            .call(&peer, Lane::Control, Bytes::from("x"), short)
            .await
            .unwrap_err();
        assert!(matches!(error, TransportError::Unreachable { .. }), "{error:?}");
        calls += 1;
        tokio::task::yield_now().await;
    }
    let dials = transport.stats().attempted;
    assert!(dials <= 12, "{dials} dials for {calls} calls");
}

#[tokio::test]
async fn call_that_was_taken_is_interrupted_when_its_peer_goes() {
    let node = Node::start(2).await;
    let transport = transport(1, 1);
    let peer = node.peer();
    let call = tokio::spawn(transport.call(&peer, Lane::Append, Bytes::from("hold"), PATIENCE));
    node.engine.take_held().await;
    node.serving.shutdown().await;
    assert_eq!(
        call.await.unwrap(),
        Err(TransportError::Interrupted {
            address: peer.address
        })
    );
}

#[tokio::test]
async fn call_without_an_answer_times_out_and_its_connection_lives_on() {
    let node = Node::start(2).await;
    let transport = transport(1, 1);
    let short = Duration::from_millis(50);
    let error = transport
        .call(&node.peer(), Lane::Append, Bytes::from("hold"), short)
        .await
        .unwrap_err();
    assert!(
        matches!(error, TransportError::Timeout { waited_ms: 50.., .. }),
        "{error:?}"
    );
    node.engine.release(1);
    assert!(
        transport
            .call(&node.peer(), Lane::Append, Bytes::from("x"), PATIENCE)
            .await
            .is_ok()
    );
    assert_eq!(transport.stats().established, 1);
}

#[tokio::test]
async fn restarted_peer_is_dialled_again() {
    let node = Node::start(2).await;
    let transport = transport(1, 1);
    let peer = node.peer();
    assert!(
        transport
            .call(&peer, Lane::Control, Bytes::from("x"), PATIENCE)
            .await
            .is_ok()
    );
    node.serving.shutdown().await;
    let gone = transport
        .call(&peer, Lane::Control, Bytes::from("x"), PATIENCE)
        .await;
    assert!(
        matches!(gone, Err(TransportError::Unreachable { .. })),
        "{gone:?}"
    );
    let _again = Node::start_at(2, 1, config(), &peer.address).await;
    let mut last = None;
    for _ in 0..50 {
        last = Some(
            transport
                .call(&peer, Lane::Control, Bytes::from("x"), PATIENCE)
                .await,
        );
        if last.as_ref().is_some_and(Result::is_ok) {
            return;
        }
    }
    panic!("never reached again: {last:?}");
}

#[tokio::test]
async fn new_identity_is_told_on_a_new_connection() {
    let node = Node::start(2).await;
    let own = Arc::new(parking_lot::Mutex::new(PeerIdentity {
        cluster_id: None,
        ..identity(1)
    }));
    let source = Arc::clone(&own);
    let transport = support::transport_as(Arc::new(move || *source.lock()), 1, config());
    transport
        .call(&node.peer(), Lane::Control, Bytes::from("x"), PATIENCE)
        .await
        .unwrap();
    *own.lock() = identity(1);
    transport
        .call(&node.peer(), Lane::Control, Bytes::from("x"), PATIENCE)
        .await
        .unwrap();
    let clusters: Vec<_> = node
        .engine
        .seen
        .lock()
        .iter()
        .map(|(peer, _)| peer.cluster_id)
        .collect();
    assert_eq!(clusters, [None, identity(1).cluster_id]);
    assert_eq!(transport.stats().established, 2);
    wait_until(|| transport.stats().open == 1).await;
}

/// A peer was admitted while this node belonged to no cluster; once it does, the peer is
/// judged again before its next call.
#[tokio::test]
async fn admission_is_judged_again_when_this_node_changes() {
    let node = Node::start(2).await;
    node.engine.identity.lock().cluster_id = None;
    let foreign = PeerIdentity {
        cluster_id: Some(0xbad),
        ..identity(1)
    };
    let transport = support::transport_as(Arc::new(move || foreign), 1, config());
    transport
        .call(&node.peer(), Lane::Control, Bytes::from("x"), PATIENCE)
        .await
        .unwrap();
    node.engine.identity.lock().cluster_id = identity(2).cluster_id;
    let outcome = transport
        .call(&node.peer(), Lane::Control, Bytes::from("x"), PATIENCE)
        .await;
    assert!(outcome.is_err(), "{outcome:?}");
    assert_eq!(node.engine.seen.lock().len(), 1);
}

#[tokio::test]
async fn closed_transport_ends_waiting_calls_and_refuses_new_ones() {
    let node = Node::start(2).await;
    let transport = transport(1, 1);
    let call = tokio::spawn(transport.call(&node.peer(), Lane::Append, Bytes::from("hold"), PATIENCE));
    node.engine.take_held().await;
    transport.close();
    assert_eq!(
        call.await.unwrap(),
        Err(TransportError::Interrupted {
            address: node.peer().address
        })
    );
    let error = transport
        .call(&node.peer(), Lane::Append, Bytes::from("x"), PATIENCE)
        .await
        .unwrap_err();
    assert!(matches!(error, TransportError::Unreachable { .. }), "{error:?}");
    assert!(transport.open(&node.peer(), Lane::Append).await.is_err());
    wait_until(|| node.serving.stats().open == 0).await;
}

#[tokio::test]
async fn engine_that_drops_a_call_interrupts_it() {
    let node = Node::start(2).await;
    let transport = transport(1, 1);
    let error = transport
        .call(&node.peer(), Lane::Append, Bytes::from("panic"), PATIENCE)
        .await
        .unwrap_err();
    assert_eq!(
        error,
        TransportError::Interrupted {
            address: node.peer().address
        }
    );
    assert!(
        transport
            .call(&node.peer(), Lane::Append, Bytes::from("x"), PATIENCE)
            .await
            .is_ok()
    );
}

/// The engine takes only so many calls of one connection at once; the others wait in the
/// sockets and are served when there is room.
#[tokio::test]
async fn listener_works_on_a_bounded_number_of_calls() {
    let config = NetConfig {
        calls_served_max: 4,
        ..config()
    };
    let node = Node::start_with(2, 1, config).await;
    let transport = transport(1, 1);
    let calls: Vec<_> = (0..40)
        .map(|_| tokio::spawn(transport.call(&node.peer(), Lane::Append, Bytes::from("hold"), PATIENCE)))
        .collect();
    for _ in 0..4 {
        node.engine.take_held().await;
    }
    node.engine.release(40);
    for call in calls {
        assert_eq!(call.await.unwrap().unwrap(), "hold");
    }
    assert_eq!(node.engine.most_working.load(Ordering::Relaxed), 4);
}

#[tokio::test]
async fn calls_beyond_the_limit_in_flight_wait_and_say_that_they_were_not_sent() {
    let node = Node::start(2).await;
    let transport = support::transport_with(
        1,
        1,
        NetConfig {
            calls_in_flight_max: 1,
            ..config()
        },
    );
    let held = tokio::spawn(transport.call(&node.peer(), Lane::Append, Bytes::from("hold"), PATIENCE));
    node.engine.take_held().await;
    let short = Duration::from_millis(50);
    let error = transport
        .call(&node.peer(), Lane::Append, Bytes::from("x"), short)
        .await
        .unwrap_err();
    assert!(matches!(error, TransportError::Unreachable { .. }), "{error:?}");
    node.engine.release(1);
    held.await.unwrap().unwrap();
    assert_eq!(node.engine.seen.lock().len(), 1);
}
