//! Stopping and starting: what is on disk is enough, and votes wait out the lease.

use std::time::Duration;

use concord_raft::{Role, StartMode};
use tokio::time::Instant;

use crate::cluster::Cluster;

/// I5, I12: acknowledged means durable on a majority, so the power may fail everywhere.
#[tokio::test(start_paused = true)]
async fn everything_acknowledged_survives_the_crash_of_all() {
    let mut cluster = Cluster::of_three().await;
    for n in 0..30 {
        cluster.put(n % 3, &format!("k{n}"), "v").await;
    }
    for n in 0..3 {
        cluster.crash(n).await;
    }
    for n in 0..3 {
        cluster.start(n).await.unwrap();
    }
    let leader = cluster.leader().await;
    for n in 0..30 {
        assert_eq!(
            cluster.get(leader, &format!("k{n}")).await.as_deref(),
            Some("v"),
            "k{n}"
        );
    }
    cluster.put(0, "again", "v").await;
    cluster.converge().await;
}

/// I6: it may have confirmed a leader's lease just before it stopped.
#[tokio::test(start_paused = true)]
async fn a_restarted_voter_withholds_its_vote_for_one_lease() {
    let mut cluster = Cluster::of_three().await;
    let leader = cluster.leader().await;
    let follower = (leader + 1) % 3;
    cluster.crash(follower).await;
    let began = Instant::now();
    cluster.start(follower).await.unwrap();
    assert!(cluster.node(follower).status().withholds_votes);
    cluster
        .until(follower, "voting", |status| !status.withholds_votes)
        .await;
    assert!(began.elapsed() >= cluster.places[follower].config.timing.election_max);
}

#[tokio::test(start_paused = true)]
async fn a_first_start_and_a_lone_voter_wait_for_nothing() {
    let mut cluster = Cluster::new(1);
    let began = Instant::now();
    cluster.start(0).await.unwrap();
    assert!(!cluster.node(0).status().withholds_votes);
    cluster.node(0).form(StartMode::Alone).await.unwrap();
    cluster.put(0, "k", "v").await;
    assert!(
        began.elapsed() < Duration::from_millis(200),
        "{:?}",
        began.elapsed()
    );
    cluster.crash(0).await;
    cluster.start(0).await.unwrap();
    cluster
        .until(0, "leading", |status| status.role == Role::Leader)
        .await;
    assert!(!cluster.node(0).status().withholds_votes);
    assert_eq!(cluster.get(0, "k").await.as_deref(), Some("v"));
}

#[tokio::test(start_paused = true)]
async fn a_graceful_stop_hands_leadership_over_first() {
    let mut cluster = Cluster::of_three().await;
    let leader = cluster.leader().await;
    let other = (leader + 1) % 3;
    cluster.stop(leader).await;
    // No election timeout had to pass: somebody leads already.
    let status = cluster.node(other).status();
    assert!(
        status.leader.is_some_and(|id| id.get() != leader as u64 + 1),
        "{status:#?}"
    );
    cluster.put(other, "k", "v").await;
    cluster.start(leader).await.unwrap();
    cluster.converge().await;
}

#[tokio::test(start_paused = true)]
async fn a_stopped_node_gives_its_directory_back_and_can_be_stopped_again() {
    let mut cluster = Cluster::new(1);
    cluster.start(0).await.unwrap();
    cluster.node(0).form(StartMode::Alone).await.unwrap();
    cluster.put(0, "k", "v").await;
    let node = cluster.node(0).clone();
    cluster.stop(0).await;
    node.shutdown().await;
    assert_eq!(node.status().role, Role::Stopped);
    // The old handle still exists, and yet the lock is free.
    cluster.start(0).await.unwrap();
    assert_eq!(cluster.get(0, "k").await.as_deref(), Some("v"));
}
