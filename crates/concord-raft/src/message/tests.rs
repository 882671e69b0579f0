//! Round trips, and hostile bytes.

use bytes::Bytes;
use concord_core::ids::NodeId;
use proptest::prelude::*;

use super::admin::*;
use super::raft::*;
use super::*;
use crate::error::MembershipError;
use crate::types::{
    EncodedBatch, Entry, LogId, Membership, Payload, Peer, SnapshotMeta, StoredMembership, Vote, log_id,
};

fn arb_log_id() -> impl Strategy<Value = LogId> {
    (0..1u64 << 40, 0..1u64 << 40).prop_map(|(term, index)| log_id(term, index))
}

fn arb_vote() -> impl Strategy<Value = Vote> {
    (0..9u64, 1..9u64, any::<bool>()).prop_map(|(term, node, committed)| {
        if committed {
            Vote::new_committed(term, node)
        } else {
            Vote::new(term, node)
        }
    })
}

fn arb_peer() -> impl Strategy<Value = Peer> {
    ("[a-z]{1,9}:[1-9][0-9]{0,3}", any::<u128>()).prop_map(|(address, store_id)| Peer { address, store_id })
}

fn arb_seat() -> impl Strategy<Value = Seat> {
    (1..9u64, arb_peer()).prop_map(|(id, peer)| Seat {
        node_id: NodeId::new(id),
        peer,
    })
}

fn arb_membership() -> impl Strategy<Value = Membership> {
    let nodes = proptest::collection::btree_map(1..9u64, arb_peer(), 1..6);
    (nodes, any::<bool>()).prop_map(|(nodes, joint)| {
        let ids: std::collections::BTreeSet<u64> = nodes.keys().copied().collect();
        let first = ids.iter().copied().take(2).collect();
        let sets = if joint { vec![first, ids] } else { vec![first] };
        Membership::new(sets, nodes).unwrap()
    })
}

fn arb_payload() -> impl Strategy<Value = Payload> {
    prop_oneof![
        Just(Payload::Blank),
        proptest::collection::vec(any::<u8>(), 0..64)
            .prop_map(|bytes| Payload::Normal(EncodedBatch::new(Bytes::from(bytes)))),
        arb_membership().prop_map(Payload::Membership),
    ]
}

fn arb_append() -> impl Strategy<Value = AppendRequest> {
    let payloads = proptest::collection::vec(arb_payload(), 0..4);
    let prev = proptest::option::of(arb_log_id());
    (any::<u64>(), prev, proptest::option::of(arb_log_id()), payloads).prop_map(
        |(session, prev, commit, payloads)| {
            let first = prev.map_or(0, |prev| prev.index + 1);
            let term = prev.map_or(1, |prev| prev.leader_id.term);
            let entries = payloads
                .into_iter()
                .zip(first..)
                .map(|(payload, index)| Entry {
                    log_id: log_id(term, index),
                    payload,
                })
                .collect();
            AppendRequest {
                session,
                vote: Vote::new_committed(term + 1, 3),
                prev,
                commit,
                entries,
            }
        },
    )
}

fn round_trip<T: Body + PartialEq + std::fmt::Debug>(kind: Kind, body: &T) {
    let bytes = encode(kind, body);
    assert_eq!(kind_of(&bytes).unwrap(), kind);
    assert_eq!(&decode::<T>(&bytes).unwrap(), body);
    for cut in 0..bytes.len() {
        assert!(decode::<T>(&bytes.slice(..cut)).is_err(), "cut at {cut}");
    }
    let mut longer = bytes.to_vec();
    longer.push(0);
    assert!(decode::<T>(&Bytes::from(longer)).is_err(), "a byte too many");
}

proptest! {
    #[test]
    fn raft_messages_read_back_as_written(
        append in arb_append(),
        vote in arb_vote(),
        last in proptest::option::of(arb_log_id()),
        id in arb_log_id(),
        membership in arb_membership(),
        flag in any::<bool>(),
    ) {
        prop_assert_eq!(append.encode(), encode(Kind::Append, &append));
        round_trip(Kind::Append, &append);
        let candidate = Vote::new(vote.leader_id.term, vote.leader_id.voted_for);
        round_trip(Kind::Vote, &VoteRequest { vote: candidate, last, transfer: flag });
        round_trip(Kind::PreVote, &VoteAnswer { vote, granted: flag, last });
        round_trip(Kind::Transfer, &TransferRequest { from: vote, to: 4, last });
        for outcome in [
            AppendOutcome::Matched(last),
            AppendOutcome::Conflict(id),
            AppendOutcome::HigherVote(vote),
        ] {
            round_trip(Kind::Append, &AppendAnswer { session: 7, outcome });
        }
        for answer in [
            TransferAnswer::Accepted,
            TransferAnswer::VoteChanged(vote),
            TransferAnswer::Behind(last),
        ] {
            round_trip(Kind::Transfer, &answer);
        }
        round_trip(Kind::SnapshotBegin, &SnapshotBegin {
            vote: Vote::new_committed(5, 2),
            meta: SnapshotMeta {
                last_log_id: Some(id),
                last_membership: StoredMembership::new(None, membership),
            },
            total_bytes: 99,
        });
    }

    #[test]
    fn admin_messages_read_back_as_written(seat in arb_seat(), other in arb_seat(), id in any::<u128>()) {
        let node = seat.node_id;
        round_trip(Kind::Describe, &Describe { asker: seat.clone() });
        for acquaintance in [
            Acquaintance::Unknown,
            Acquaintance::Member,
            Acquaintance::Replaced(other.clone()),
            Acquaintance::Removed,
        ] {
            round_trip(Kind::Describe, &Description {
                node: seat.clone(),
                cluster_id: Some(id),
                acquaintance,
            });
        }
        round_trip(Kind::Promise, &PromiseRequest {
            initiator: node,
            round: 3,
            cluster_id: id,
            members: vec![seat.clone(), other.clone()],
        });
        round_trip(Kind::Join, &Join { joiner: seat.clone() });
        round_trip(Kind::Join, &Joined { cluster_id: id, removed: vec![1, 2] });
        for change in [
            MembershipChange::AddLearner("host:1".to_owned()),
            MembershipChange::Promote(node),
            MembershipChange::Remove(node),
            MembershipChange::Replace { old: node, new: other.node_id },
            MembershipChange::Transfer(None),
            MembershipChange::Transfer(Some(node)),
            MembershipChange::Move(seat.clone()),
            MembershipChange::Admit(seat.clone()),
        ] {
            round_trip(Kind::Membership, &change);
        }
        for error in [
            MembershipError::NoCluster,
            MembershipError::NoLeader,
            MembershipError::Invalid { reason: "a".to_owned() },
            MembershipError::UnknownNode { node },
            MembershipError::Conflict { reason: "b".to_owned() },
            MembershipError::NotCaughtUp { node, lag_entries: 2, limit_entries: 1 },
            MembershipError::InProgress,
            MembershipError::Silent { node },
            MembershipError::OutcomeUnknown { waited_ms: 4 },
        ] {
            round_trip::<MembershipAnswer>(Kind::Membership, &Err(error));
        }
    }

    /// Claim: no bytes from a peer panic, whatever they are decoded as. Method: random
    /// bytes, and real messages with some bytes changed, which get deeper.
    #[test]
    fn hostile_bytes_are_refused_not_fatal(
        noise in proptest::collection::vec(any::<u8>(), 0..200),
        append in arb_append(),
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..4),
    ) {
        decode_as_everything(&Bytes::from(noise));
        let mut bytes = append.encode().to_vec();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        decode_as_everything(&Bytes::from(bytes));
    }
}

fn decode_as_everything(bytes: &Bytes) {
    let _ = kind_of(bytes);
    let _ = decode::<AppendRequest>(bytes);
    let _ = decode::<AppendAnswer>(bytes);
    let _ = decode::<VoteRequest>(bytes);
    let _ = decode::<VoteAnswer>(bytes);
    let _ = decode::<TransferRequest>(bytes);
    let _ = decode::<TransferAnswer>(bytes);
    let _ = decode::<SnapshotBegin>(bytes);
    let _ = decode::<SnapshotChunk>(bytes);
    let _ = decode_answer::<SnapshotAnswer>(bytes);
    let _ = decode::<Describe>(bytes);
    let _ = decode_answer::<Description>(bytes);
    let _ = decode::<PromiseRequest>(bytes);
    let _ = decode::<Join>(bytes);
    let _ = decode_answer::<Joined>(bytes);
    let _ = decode::<MembershipChange>(bytes);
    let _ = decode_answer::<MembershipAnswer>(bytes);
}

/// A name, and what to break.
type Breakage = (&'static str, fn(&mut AppendRequest));

#[test]
fn entries_that_raft_would_choke_on_are_refused() {
    let entry = |term, index| Entry {
        log_id: log_id(term, index),
        payload: Payload::Blank,
    };
    let good = AppendRequest {
        session: 1,
        vote: Vote::new_committed(3, 1),
        prev: Some(log_id(2, 7)),
        commit: None,
        entries: vec![entry(2, 8), entry(3, 9)],
    };
    round_trip(Kind::Append, &good);
    let breakages: [Breakage; 6] = [
        ("uncommitted vote", |r| r.vote = Vote::new(3, 1)),
        ("gap after prev", |r| r.prev = Some(log_id(2, 6))),
        ("gap inside", |r| r.entries[1].log_id.index = 10),
        ("terms run back", |r| r.entries[1].log_id = log_id(1, 9)),
        ("entry after the leader's term", |r| {
            r.entries[1].log_id = log_id(4, 9)
        }),
        ("no term is that high", |r| {
            r.vote = Vote::new_committed(u64::MAX, 1)
        }),
    ];
    for (name, breakage) in breakages {
        let mut bad = good.clone();
        breakage(&mut bad);
        assert!(decode::<AppendRequest>(&bad.encode()).is_err(), "{name}");
    }
}

#[test]
fn a_count_never_allocates_more_than_the_message() {
    // 1,024 entries are within the limit, but not within these few bytes.
    let mut bytes = encode(
        Kind::Append,
        &AppendRequest {
            session: 0,
            vote: Vote::new_committed(1, 1),
            prev: None,
            commit: None,
            entries: vec![],
        },
    )
    .to_vec();
    let at = bytes.len() - 4;
    bytes[at..].copy_from_slice(&1_024u32.to_le_bytes());
    let error = decode::<AppendRequest>(&Bytes::from(bytes)).unwrap_err();
    assert_eq!(error.what, "count over limit");
}

#[test]
fn answers_carry_bodies_and_refusals() {
    let joined = Joined {
        cluster_id: 5,
        removed: vec![],
    };
    let bytes = encode_answer(&Ok(joined.clone()));
    assert_eq!(decode_answer::<Joined>(&bytes).unwrap(), Ok(joined));
    let refusal = Refusal::for_now("x".repeat(5_000));
    let bytes = encode_answer::<Joined>(&Err(refusal));
    let read = decode_answer::<Joined>(&bytes).unwrap().unwrap_err();
    assert_eq!(read.reason.len(), crate::limits::REASON_BYTES_MAX);
    assert!(read.retry);
}
