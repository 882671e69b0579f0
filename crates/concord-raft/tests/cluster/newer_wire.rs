//! Messages of a release that is not written yet: refused with what is wrong, and everything else goes on. I24.

use std::time::Duration;

use bytes::Bytes;
use concord_core::version::MachineVersion;
use concord_raft::ports::{Duplex, Lane, PeerAddress};

use crate::cluster::{Cluster, PATIENCE, put};

const VERSION: u8 = 1;
const VERSIONS: u8 = 21;
const PROPOSALS: u8 = 0x40;
/// Kinds of messages that nobody knows, at every end of what is known.
const UNKNOWN: [u8; 8] = [0, 5, 7, 11, 15, 22, 0x3f, 0xff];

fn address(cluster: &Cluster, n: usize) -> PeerAddress {
    PeerAddress {
        node_id: Some(cluster.id(n)),
        address: cluster.places[n].address.clone(),
    }
}

/// One node says something to another one and hears the answer.
async fn call(cluster: &Cluster, from: usize, to: usize, lane: Lane, message: &[u8]) -> Bytes {
    let request = Bytes::copy_from_slice(message);
    let timeout = Duration::from_secs(2);
    cluster
        .voice(from)
        .call(&address(cluster, to), lane, request, timeout)
        .await
        .expect("the connection goes on")
}

async fn open(cluster: &Cluster, from: usize, to: usize, lane: Lane) -> Duplex {
    let opened = cluster.voice(from).open(&address(cluster, to), lane);
    opened.await.expect("a member is let in")
}

async fn next(duplex: &mut Duplex) -> Option<Bytes> {
    let next = duplex.receiver.recv();
    tokio::time::timeout(PATIENCE, next)
        .await
        .expect("an answer or an end")
}

/// What a refusal says; it must say that asking again does not help.
#[track_caller]
fn refusal(answer: &[u8]) -> &str {
    let [1, 1, 0, rest @ ..] = answer else {
        panic!("not a refusal for good: {answer:?}")
    };
    std::str::from_utf8(&rest[4..]).unwrap()
}

/// A question that every release answers since there are versions.
async fn is_answered(cluster: &Cluster, from: usize, to: usize, more: &[u8]) {
    let newer = MachineVersion::NEWEST.get() + 1;
    let message = [&[VERSION, VERSIONS, newer, 2, 0, 0, 0, b'9', b'9'], more].concat();
    let answer = call(cluster, from, to, Lane::Forward, &message).await;
    assert_eq!(
        answer[..3],
        [VERSION, 0, MachineVersion::NEWEST.get()],
        "{answer:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn calls_of_unknown_kinds_are_refused_and_what_follows_is_answered() {
    let cluster = Cluster::of_three().await;
    for lane in [Lane::Control, Lane::Forward] {
        for kind in UNKNOWN {
            let answer = call(&cluster, 0, 1, lane, &[VERSION, kind, 0, 0]).await;
            assert!(
                refusal(&answer).contains("unknown message kind"),
                "{lane:?} {kind}"
            );
            is_answered(&cluster, 0, 1, &[]).await;
        }
        let answer = call(&cluster, 0, 1, lane, &[VERSION + 1, VERSIONS, 2, 0, 0, 0, 0]).await;
        assert!(refusal(&answer).contains("unknown message version"), "{lane:?}");
    }
    // What a later release says besides is let by.
    is_answered(&cluster, 0, 1, &[7, 7, 7]).await;
}

/// A group of proposals; one without requests opens its session.
fn group(session: u128, requests: &[Bytes]) -> Bytes {
    let mut out = vec![VERSION, PROPOSALS, u8::from(requests.is_empty())];
    out.extend_from_slice(&session.to_le_bytes());
    out.extend_from_slice(&1_u64.to_le_bytes());
    out.extend_from_slice(&1_u64.to_le_bytes());
    out.extend_from_slice(&u32::try_from(requests.len()).unwrap().to_le_bytes());
    for request in requests {
        out.extend_from_slice(&u32::try_from(request.len()).unwrap().to_le_bytes());
        out.extend_from_slice(request);
    }
    Bytes::from(out)
}

#[tokio::test(start_paused = true)]
async fn a_stream_of_unknown_messages_ends_and_no_other_one_does() {
    let cluster = Cluster::of_three().await;
    let leader = cluster.leader().await;
    let (other, term) = ((leader + 1) % 3, cluster.node(leader).status().term);
    for kind in UNKNOWN {
        let mut going_on = open(&cluster, other, leader, Lane::Forward).await;
        for lane in [Lane::Append, Lane::Snapshot, Lane::Forward] {
            let mut ended = open(&cluster, other, leader, lane).await;
            let message = Bytes::copy_from_slice(&[VERSION, kind, 0, 0]);
            ended.sender.send(message).await.unwrap();
            if lane != Lane::Forward {
                let answer = next(&mut ended).await.expect("a refusal");
                assert!(
                    refusal(&answer).contains("unknown message kind"),
                    "{lane:?} {kind}"
                );
            }
            assert_eq!(next(&mut ended).await, None, "{lane:?} {kind}");
        }
        let request = put(&format!("by hand/{kind}"), "x");
        for requests in [&[][..], &[request][..]] {
            let sent = group(1_000 + u128::from(kind), requests);
            going_on.sender.send(sent).await.unwrap();
            let replies = next(&mut going_on).await.expect("replies");
            assert_eq!(replies[..3], [VERSION, PROPOSALS + 1, 1], "complete: {replies:?}");
        }
        let found = cluster.get(other, &format!("by hand/{kind}")).await;
        assert_eq!(found.as_deref(), Some("x"));
    }
    for n in 0..3 {
        cluster.put(n, "k", "behind").await;
    }
    assert_eq!(
        cluster.node(leader).status().term,
        term,
        "nobody stood for election"
    );
    cluster.converge().await;
}
