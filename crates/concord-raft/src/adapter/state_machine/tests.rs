//! Applying outside a cluster: order, publication, and what must stop the node.

use std::path::Path;

use bytes::Bytes;
use concord_core::ids::{NodeId, SessionId};
use concord_core::store::Store;
use concord_core::version::Release;

use super::*;
use crate::consensus::Views;
use crate::identity::DataDirectory;
use crate::log::Host;
use crate::os::OsEntropy;
use crate::ports::Disk;
use crate::sim_disk::SimDisk;
use crate::sole_voter::SoleVoter;
use crate::types::{EncodedBatch, Membership, log_id};

struct Bench {
    machine: StateMachine<Store>,
    views: Views<<Store as Machine>::View>,
    stop: Stop,
    roster: Arc<Roster>,
}

fn bench() -> Bench {
    let disk: Arc<dyn Disk> = Arc::new(SimDisk::new(1));
    let root = Path::new("/data");
    let directory = DataDirectory::open(root, Some(NodeId::new(1)), Arc::clone(&disk), &OsEntropy).unwrap();
    let roster = Arc::new(Roster::open(root, Arc::clone(&disk)).unwrap());
    let stop = Stop::new();
    let publisher = Publisher::new(Store::empty().view(), LogIndex::new(0));
    let views = publisher.views();
    let files = Files {
        store: SnapshotStore::open(&directory.snapshots(), disk).unwrap(),
        identity: directory.identity(),
        blocking: Blocking::new(Host::Task),
        stop: stop.clone(),
        known: Store::NEWEST,
        stats: Arc::default(),
        watching: None,
    };
    let sole_voter = Arc::new(SoleVoter::new(NodeId::new(1)));
    let backlog = Arc::new(Backlog::new(u64::MAX));
    let machine = StateMachine::new(
        publisher,
        Arc::default(),
        Arc::clone(&roster),
        sole_voter,
        backlog,
        files,
    );
    Bench {
        machine,
        views,
        stop,
        roster,
    }
}

fn membership(index: u64, ids: &[u64]) -> Entry {
    let nodes: std::collections::BTreeMap<u64, Peer> = ids.iter().map(|id| (*id, Peer::default())).collect();
    let membership = Membership::new(vec![ids.iter().copied().collect()], nodes).unwrap();
    Entry {
        log_id: log_id(1, index),
        payload: Payload::Membership(membership),
    }
}

/// An entry that opens a session: it changes no key, but the state.
fn opening(index: u64) -> Entry {
    let mut bytes = Vec::new();
    let group = concord_core::batch::Group {
        session: SessionId::new(u128::from(index)),
        opens: true,
        acked_below: 1,
        first_sequence: 1,
        requests: vec![],
    };
    Batch {
        proposed_at: Timestamp::new(index),
        groups: vec![group],
    }
    .encode(&mut bytes);
    Entry {
        log_id: log_id(1, index),
        payload: Payload::Normal(EncodedBatch::new(Bytes::from(bytes))),
    }
}

async fn apply(machine: &mut StateMachine<Store>, entries: Vec<Entry>) -> Result<(), io::Error> {
    let items = entries.into_iter().map(|entry| Ok((entry, None)));
    RaftStateMachine::apply(machine, futures::stream::iter(items)).await
}

/// I1, I16: entries apply in order, and every burst is published.
#[tokio::test]
async fn entries_apply_in_order_and_are_published() {
    let mut bench = bench();
    apply(&mut bench.machine, vec![membership(0, &[1]), opening(1)])
        .await
        .unwrap();
    assert_eq!(bench.views.load().applied, LogIndex::new(1));
    let many = (2..300).map(opening).collect();
    apply(&mut bench.machine, many).await.unwrap();
    let published = bench.views.load();
    assert_eq!(published.applied, LogIndex::new(299));
    assert_eq!(published.view.now(), Timestamp::new(299));
}

/// I1: a gap or a repetition means that the log reader is at fault; the node stops.
#[tokio::test]
async fn a_gap_or_a_repeated_entry_stops_the_node() {
    for wrong in [2, 0] {
        let mut bench = bench();
        apply(&mut bench.machine, vec![membership(0, &[1])])
            .await
            .unwrap();
        assert!(apply(&mut bench.machine, vec![opening(wrong)]).await.is_err());
        let reason = bench.stop.reason().expect("it must stop");
        assert!(
            matches!(&reason, StopReason::Corrupt { reason } if reason.contains("I1")),
            "{reason}"
        );
    }
}

#[tokio::test]
async fn a_committed_entry_that_cannot_be_read_stops_the_node() {
    let mut bench = bench();
    let garbage = Payload::Normal(EncodedBatch::new(Bytes::from_static(b"\x01\xff")));
    let entry = Entry {
        log_id: log_id(1, 0),
        payload: garbage,
    };
    assert!(apply(&mut bench.machine, vec![entry]).await.is_err());
    let reason = bench.stop.reason().expect("it must stop").to_string();
    assert!(reason.contains("committed entry 0 cannot be read"), "{reason}");
}

/// An entry that makes the cluster a machine of this version.
fn raise(index: u64, version: u8) -> Entry {
    let to = ClusterVersion {
        version: MachineVersion::new(version),
        release: Release::new(7, 8, 9),
    };
    let group = |opens, requests| concord_core::batch::Group {
        session: SessionId::new(u128::from(index)),
        opens,
        acked_below: 1,
        first_sequence: 1,
        requests,
    };
    let mut bytes = Vec::new();
    Batch {
        proposed_at: Timestamp::new(index),
        groups: vec![group(true, vec![]), group(false, vec![to.raise()])],
    }
    .encode(&mut bytes);
    Entry {
        log_id: log_id(1, index),
        payload: Payload::Normal(EncodedBatch::new(Bytes::from(bytes))),
    }
}

/// I24: a node that does not know the machine which an entry makes of the cluster stops there, and shows nothing of it.
#[tokio::test]
async fn an_entry_that_makes_a_newer_machine_stops_the_node_with_what_to_do() {
    let mut bench = bench();
    let known = raise(1, Store::NEWEST.get());
    apply(&mut bench.machine, vec![membership(0, &[1]), known])
        .await
        .unwrap();
    assert_eq!(bench.views.load().view.version().version, Store::NEWEST);
    assert!(
        apply(&mut bench.machine, vec![opening(2), raise(3, 99)])
            .await
            .is_err()
    );
    let reason = bench.stop.reason().expect("it must stop");
    assert!(matches!(&reason, StopReason::TooOld { .. }), "{reason:?}");
    let text = reason.to_string();
    for part in ["entry 3", "version 99", "Concord 7.8.9"] {
        assert!(text.contains(part), "{text}");
    }
    assert_eq!(bench.views.load().view.version().version, Store::NEWEST);
}

#[tokio::test]
async fn an_entry_of_a_newer_form_stops_the_node_with_what_to_do() {
    let mut bench = bench();
    let entry = Entry {
        log_id: log_id(1, 0),
        payload: Payload::Normal(EncodedBatch::new(Bytes::from_static(b"\x09\xff"))),
    };
    assert!(apply(&mut bench.machine, vec![entry]).await.is_err());
    let reason = bench.stop.reason().expect("it must stop");
    assert!(matches!(&reason, StopReason::TooOld { .. }), "{reason:?}");
    assert!(reason.to_string().contains("entry 0"), "{reason}");
}

/// I4: a machine restored from a snapshot has the state that it was taken of.
#[tokio::test]
async fn a_snapshot_restores_to_the_same_bytes() {
    let mut one = bench();
    apply(
        &mut one.machine,
        vec![membership(0, &[1, 2]), opening(1), opening(2)],
    )
    .await
    .unwrap();
    let mut builder = one.machine.try_create_snapshot_builder(true).await.unwrap();
    let built = builder.build_snapshot().await.unwrap();
    assert_eq!(built.meta.last_log_id, Some(log_id(1, 2)));
    let current = one.machine.get_current_snapshot().await.unwrap().unwrap();
    assert_eq!(current.meta, built.meta);
    let mut two = bench();
    two.machine
        .install_snapshot(&current.meta, current.snapshot)
        .await
        .unwrap();
    let bytes = |views: &Views<_>| Store::snapshot(&views.load().view).collect::<Vec<Bytes>>();
    assert_eq!(bytes(&one.views), bytes(&two.views));
    assert_eq!(two.views.load().applied, LogIndex::new(2));
    // And it goes on from there.
    apply(&mut two.machine, vec![opening(3)]).await.unwrap();
}

#[tokio::test]
async fn who_leaves_the_membership_is_noted() {
    let mut bench = bench();
    apply(
        &mut bench.machine,
        vec![membership(0, &[1, 2]), membership(1, &[1])],
    )
    .await
    .unwrap();
    assert!(bench.roster.is_removed(NodeId::new(2)));
    assert!(!bench.roster.is_removed(NodeId::new(1)));
}

#[tokio::test]
async fn nothing_can_expire_in_an_empty_machine() {
    assert_eq!(Deadline::default().get(), None);
    let deadline = Deadline::default();
    deadline.set(Some(Timestamp::new(7)));
    assert_eq!(deadline.get(), Some(Timestamp::new(7)));
}
