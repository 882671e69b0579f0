//! The gate opens only for a node that decides alone, and shuts before others can decide.

use std::collections::{BTreeMap, BTreeSet};

use concord_core::ids::NodeId;

use super::SoleVoter;
use crate::types::{Entry, LogId, Membership, Payload, Peer, StoredMembership, Vote, log_id};

const OWN: u64 = 1;
const OTHER: u64 = 2;

fn membership(voters: &[&[u64]]) -> Membership {
    let voters: Vec<BTreeSet<u64>> = voters.iter().map(|set| set.iter().copied().collect()).collect();
    let peer = |id: u64| Peer {
        address: format!("node-{id}:1"),
        store_id: u128::from(id),
    };
    let peers: BTreeMap<u64, Peer> = voters.iter().flatten().map(|id| (*id, peer(*id))).collect();
    Membership::new(voters, peers).expect("every voter has a peer")
}

fn stored(at: LogId, voters: &[&[u64]]) -> StoredMembership {
    StoredMembership::new(Some(at), membership(voters))
}

fn entry(at: LogId, payload: Payload) -> Entry {
    Entry { log_id: at, payload }
}

/// A node that leads term 2 alone and has applied its first entry of that term.
fn alone() -> SoleVoter {
    let gate = SoleVoter::new(NodeId::new(OWN));
    gate.voting(&Vote::new(2, OWN));
    gate.published(Some(log_id(2, 5)), &stored(log_id(1, 1), &[&[OWN]]));
    gate
}

#[test]
fn the_only_voter_decides_once_it_has_applied_an_entry_of_its_own_term() {
    let gate = SoleVoter::new(NodeId::new(OWN));
    let own = stored(log_id(1, 1), &[&[OWN]]);
    // Recovered entries say nothing: more may have been acknowledged behind them.
    gate.published(Some(log_id(1, 4)), &own);
    assert!(!gate.decides());
    gate.voting(&Vote::new(2, OWN));
    gate.published(Some(log_id(1, 4)), &own);
    assert!(!gate.decides(), "the first entry of the term is not applied yet");
    gate.published(Some(log_id(2, 5)), &own);
    assert!(gate.decides());
    gate.voting(&Vote::new_committed(2, OWN));
    assert!(gate.decides(), "the same leader changes nothing");
}

#[test]
fn a_voter_among_others_never_decides_alone() {
    for voters in [
        &[[OWN, OTHER].as_slice()][..],
        &[&[OWN], &[OWN, OTHER]],
        &[&[OTHER]],
    ] {
        let gate = SoleVoter::new(NodeId::new(OWN));
        gate.voting(&Vote::new(2, OWN));
        gate.published(Some(log_id(2, 5)), &stored(log_id(1, 1), voters));
        assert!(!gate.decides(), "{voters:?}");
    }
}

#[test]
fn a_vote_for_another_shuts_the_gate() {
    let gate = alone();
    gate.voting(&Vote::new(3, OTHER));
    assert!(!gate.decides());
    // What the other leader has appended since may be acknowledged and not applied here.
    gate.published(Some(log_id(3, 6)), &stored(log_id(1, 1), &[&[OWN]]));
    assert!(!gate.decides());
}

#[test]
fn a_new_membership_shuts_the_gate_before_it_is_in_the_log() {
    let gate = alone();
    let joint = membership(&[&[OWN], &[OWN, OTHER]]);
    gate.appending(&[
        entry(log_id(2, 6), Payload::Membership(joint)),
        entry(log_id(2, 7), Payload::Blank),
    ]);
    assert!(!gate.decides());
    // The old membership is still the applied one.
    gate.published(Some(log_id(2, 5)), &stored(log_id(1, 1), &[&[OWN]]));
    assert!(!gate.decides());
    // Alone again, and that is the newest membership: it opens.
    gate.appending(&[entry(log_id(2, 8), Payload::Membership(membership(&[&[OWN]])))]);
    gate.published(Some(log_id(2, 8)), &stored(log_id(2, 8), &[&[OWN]]));
    assert!(gate.decides());
}

#[test]
fn entries_without_a_membership_change_nothing() {
    let gate = alone();
    gate.appending(&[entry(log_id(2, 6), Payload::Blank)]);
    assert!(gate.decides());
}

#[test]
fn a_node_that_stops_never_decides_again() {
    let gate = alone();
    gate.end();
    assert!(!gate.decides());
    gate.published(Some(log_id(2, 6)), &stored(log_id(1, 1), &[&[OWN]]));
    assert!(!gate.decides());
}
