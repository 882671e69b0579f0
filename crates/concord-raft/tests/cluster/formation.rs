//! How clusters come to be, and how nodes are kept out of them (I13, I14).

use std::time::Duration;

use concord_core::ids::NodeId;
use concord_raft::ports::{Lane, PeerIdentity};
use concord_raft::sim_disk::SimDisk;
use concord_raft::{Role, StartError, StartMode, StopReason};

use crate::cluster::Cluster;
use crate::network::pass;

fn refused(outcome: Result<(), StartError>) -> String {
    match outcome {
        Err(StartError::Refused { reason }) => reason,
        Ok(()) => panic!("not refused"),
        Err(error) => panic!("not refused: {error}"),
    }
}

/// I14, D-RAFT-10: who belongs is decided once, not by who happens to be connected.
#[tokio::test(start_paused = true)]
async fn seeds_started_in_any_order_form_one_cluster() {
    for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0], [2, 0, 1]] {
        let mut cluster = Cluster::new(3);
        let mode = cluster.seeds();
        let mut forming = Vec::new();
        for n in order {
            cluster.start(n).await.unwrap();
            let (node, mode) = (cluster.node(n).clone(), mode.clone());
            forming.push(tokio::spawn(async move { node.form(mode).await }));
            pass(Duration::from_secs(2)).await;
        }
        for formed in forming {
            formed.await.unwrap().unwrap();
        }
        cluster.leader().await;
        let statuses = cluster.statuses();
        assert!(
            statuses
                .iter()
                .all(|status| status.cluster_id == statuses[0].cluster_id)
        );
        assert_eq!(statuses[0].voters().count(), 3);
    }
}

#[tokio::test(start_paused = true)]
async fn forming_goes_on_where_a_crash_of_any_seed_interrupted_it() {
    for crashed in 0..3 {
        let mut cluster = Cluster::new(3);
        let mode = cluster.seeds();
        for n in 0..3 {
            cluster.start(n).await.unwrap();
        }
        let spawn = |cluster: &Cluster, n: usize| {
            let (node, mode) = (cluster.node(n).clone(), mode.clone());
            tokio::spawn(async move { node.form(mode).await })
        };
        let mut forming: Vec<_> = (0..3).map(|n| spawn(&cluster, n)).collect();
        // In the middle of describing and promising: each message takes 1 ms.
        pass(Duration::from_millis(5)).await;
        cluster.crash(crashed).await;
        cluster.start(crashed).await.unwrap();
        forming[crashed] = spawn(&cluster, crashed);
        for formed in forming {
            formed.await.unwrap().unwrap();
        }
        cluster.leader().await;
        let statuses = cluster.statuses();
        assert!(
            statuses
                .iter()
                .all(|status| status.cluster_id == statuses[0].cluster_id)
        );
    }
}

/// D-RAFT-11: a start over existing data is a start, not an error.
#[tokio::test(start_paused = true)]
async fn forming_again_changes_nothing() {
    let mut cluster = Cluster::of_three().await;
    let before = cluster.node(0).status().cluster_id;
    cluster.node(0).form(cluster.seeds()).await.unwrap();
    cluster.node(0).form(StartMode::Alone).await.unwrap();
    cluster.stop(0).await;
    cluster.start(0).await.unwrap();
    cluster.node(0).form(StartMode::Alone).await.unwrap();
    assert_eq!(cluster.node(0).status().cluster_id, before);
    assert_eq!(cluster.node(0).status().members.len(), 3);
}

/// I14: asking twice at once is as good as once.
#[tokio::test(start_paused = true)]
async fn forming_twice_at_once_forms_one_cluster() {
    let mut cluster = Cluster::new(3);
    let mode = cluster.seeds();
    for n in 0..3 {
        cluster.start(n).await.unwrap();
    }
    let forming = (0..6).map(|n| {
        let (node, mode) = (cluster.node(n % 3).clone(), mode.clone());
        async move { node.form(mode).await }
    });
    for formed in futures::future::join_all(forming).await {
        formed.unwrap();
    }
    cluster.leader().await;
    let statuses = cluster.statuses();
    assert!(
        statuses
            .iter()
            .all(|status| status.cluster_id == statuses[0].cluster_id)
    );
}

#[tokio::test(start_paused = true)]
async fn seeds_with_different_lists_are_told_so() {
    let mut cluster = Cluster::new(3);
    for n in 0..3 {
        cluster.start(n).await.unwrap();
    }
    let addresses = cluster.addresses();
    let (two, node) = (StartMode::Seeds(addresses[..2].to_vec()), cluster.node(1).clone());
    let other = tokio::spawn(async move { node.form(two).await });
    tokio::task::yield_now().await;
    let reason = refused(cluster.node(0).form(cluster.seeds()).await);
    assert!(reason.contains("give all the same list"), "{reason}");
    other.abort();
}

#[tokio::test(start_paused = true)]
async fn two_seeds_with_one_id_are_told_so() {
    let mut cluster = Cluster::new(2);
    cluster.places[1].config.node_id = Some(NodeId::new(1));
    for n in 0..2 {
        cluster.start(n).await.unwrap();
    }
    let reason = refused(cluster.node(0).form(cluster.seeds()).await);
    assert!(reason.contains("node id 1"), "{reason}");
}

#[tokio::test(start_paused = true)]
async fn a_new_node_among_the_seeds_of_an_old_cluster_is_sent_to_join() {
    let mut cluster = Cluster::of_three().await;
    let new = cluster.add_place();
    cluster.start(new).await.unwrap();
    let reason = refused(cluster.node(new).form(cluster.seeds()).await);
    assert!(reason.contains("--join"), "{reason}");
    assert_eq!(cluster.node(new).status().role, Role::Outside);
}

/// Claim: a member whose disk was wiped neither votes nor forms anything, whichever way
/// it is started, and says what to do (I13).
#[tokio::test(start_paused = true)]
async fn a_wiped_member_is_refused() {
    let mut cluster = Cluster::of_three().await;
    let leader = cluster.leader().await;
    let wiped = (leader + 1) % 3;
    cluster.crash(wiped).await;
    cluster.places[wiped].disk = SimDisk::new(77);
    cluster.start(wiped).await.unwrap();
    let reason = refused(cluster.node(wiped).form(cluster.seeds()).await);
    assert!(reason.contains("Remove node"), "{reason}");
    let join = StartMode::Join(cluster.places[leader].address.clone());
    let reason = refused(cluster.node(wiped).form(join.clone()).await);
    assert!(reason.contains("Remove node"), "{reason}");
    // With another id, but at the address of the one it was.
    cluster.stop(wiped).await;
    cluster.places[wiped].disk = SimDisk::new(78);
    cluster.places[wiped].config.node_id = Some(NodeId::new(99));
    cluster.start(wiped).await.unwrap();
    let reason = refused(cluster.node(wiped).form(join.clone()).await);
    assert!(reason.contains("Remove node"), "{reason}");
    // Doing what it says helps.
    cluster
        .node(leader)
        .remove(NodeId::new(wiped as u64 + 1))
        .await
        .unwrap();
    cluster.node(wiped).form(join).await.unwrap();
    cluster
        .until(wiped, "a voter", |status| status.role == Role::Follower)
        .await;
    cluster.converge().await;
}

#[tokio::test(start_paused = true)]
async fn a_copied_directory_at_another_address_stops() {
    let mut cluster = Cluster::of_three().await;
    cluster.leader().await;
    let copy = cluster.add_place();
    cluster.places[copy].disk = cluster.places[1].disk.fork(5);
    cluster.places[copy].disk.kill();
    cluster.places[copy].config.node_id = Some(NodeId::new(2));
    cluster.start(copy).await.unwrap();
    cluster
        .until(copy, "stopped", |status| status.role == Role::Stopped)
        .await;
    let reason = cluster.node(copy).status().stopped.unwrap();
    assert!(
        matches!(&reason, StopReason::Copied { reason } if reason.contains("is a copy")),
        "{reason}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_member_that_moved_is_found_at_its_new_address() {
    let mut cluster = Cluster::of_three().await;
    let leader = cluster.leader().await;
    let moved = (leader + 1) % 3;
    cluster.stop(moved).await;
    cluster.places[moved].address = "elsewhere:1".to_owned();
    cluster.places[moved].config.peer_address = Some("elsewhere:1".to_owned());
    cluster.start(moved).await.unwrap();
    let id = cluster.id(moved);
    cluster
        .until(leader, "told the new address", |status| {
            status
                .members
                .iter()
                .any(|member| member.node_id == id && member.address == "elsewhere:1")
        })
        .await;
    cluster.put(leader, "k", "v").await;
    cluster.converge().await;
}

#[tokio::test(start_paused = true)]
async fn a_node_of_another_cluster_is_refused() {
    let mut cluster = Cluster::of_three().await;
    let foreign = cluster.add_place();
    cluster.start(foreign).await.unwrap();
    cluster.node(foreign).form(StartMode::Alone).await.unwrap();
    let leader = cluster.leader().await;
    let address = cluster.places[foreign].address.clone();
    let refused = cluster.node(leader).add_learner(address).await.unwrap_err();
    assert!(refused.to_string().contains("belongs to cluster"), "{refused}");
    let peer = PeerIdentity {
        node_id: cluster.id(foreign),
        store_id: 1,
        cluster_id: cluster.node(foreign).status().cluster_id,
    };
    let inbound = cluster.node(leader).inbound();
    let refused = inbound
        .admit(&peer, concord_raft::ports::Lane::Control)
        .unwrap_err();
    assert!(refused.contains("belongs to cluster"), "{refused}");
}

/// I13: what counts is the data directory, not the number on it.
#[tokio::test(start_paused = true)]
async fn a_member_is_known_by_its_directory() {
    let cluster = Cluster::of_three().await;
    let status = cluster.node(1).status();
    let inbound = cluster.node(0).inbound();
    let member = PeerIdentity {
        node_id: status.node_id,
        store_id: status.store_id,
        cluster_id: status.cluster_id,
    };
    let impostor = PeerIdentity {
        store_id: 5,
        ..member
    };
    let newcomer = PeerIdentity {
        cluster_id: None,
        ..impostor
    };
    let early = PeerIdentity {
        cluster_id: None,
        ..member
    };
    let itself = PeerIdentity {
        node_id: cluster.id(0),
        ..member
    };
    for lane in [Lane::Control, Lane::Append, Lane::Snapshot] {
        assert_eq!(inbound.admit(&member, lane), Ok(()));
        assert_eq!(
            inbound.admit(&early, lane),
            Ok(()),
            "it said hello before it belonged"
        );
        assert!(
            inbound
                .admit(&impostor, lane)
                .unwrap_err()
                .contains("another data directory")
        );
        assert!(
            inbound
                .admit(&newcomer, lane)
                .unwrap_err()
                .contains("same cluster yet")
        );
        assert!(
            inbound
                .admit(&itself, lane)
                .unwrap_err()
                .contains("two nodes have the id")
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_alone_stays_its_own_quorum_while_idle() {
    let mut cluster = Cluster::new(1);
    cluster.start(0).await.unwrap();
    cluster.node(0).form(StartMode::Alone).await.unwrap();
    cluster.leader().await;
    pass(Duration::from_secs(60)).await;
    let status = cluster.node(0).status();
    assert_eq!((status.role, status.quorum_silent_ms), (Role::Leader, Some(0)));
    assert_eq!(status.leader, Some(status.node_id));
}
