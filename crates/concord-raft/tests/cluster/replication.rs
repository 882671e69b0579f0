//! The ordinary life of a cluster: elections, writes, lost leaders, snapshots.

use std::time::Duration;

use concord_raft::{ReadConsistency, ReadError, Role};
use tokio::time::Instant;

use crate::cluster::{Cluster, PATIENCE};
use crate::network::pass;

#[tokio::test(start_paused = true)]
async fn three_nodes_elect_and_replicate() {
    let cluster = Cluster::of_three().await;
    for n in 0..3 {
        cluster.put(n, &format!("key-{n}"), "value").await;
    }
    for n in 0..3 {
        for key in 0..3 {
            assert_eq!(
                cluster.get(n, &format!("key-{key}")).await.as_deref(),
                Some("value")
            );
        }
    }
    cluster.converge().await;
    let leaders = cluster
        .statuses()
        .iter()
        .filter(|status| status.role == Role::Leader)
        .count();
    assert_eq!(leaders, 1);
}

/// Whoever has a reply finds its effect in the view of the node that applied it.
#[tokio::test(start_paused = true)]
async fn a_reply_is_never_ahead_of_the_view() {
    let cluster = Cluster::of_three().await;
    let leader = cluster.leader().await;
    for n in 0..50 {
        let key = format!("k{n}");
        cluster.put(leader, &key, "v").await;
        assert!(
            cluster.node(leader).published().view.contains_key(key.as_bytes()),
            "{key}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_leader_is_replaced_and_catches_up_later() {
    let mut cluster = Cluster::of_three().await;
    let old = cluster.leader().await;
    cluster.put(old, "before", "1").await;
    cluster.crash(old).await;
    let new = cluster.leader_other_than(old).await;
    assert_eq!(cluster.get(new, "before").await.as_deref(), Some("1"));
    cluster.put(new, "after", "2").await;
    cluster.start(old).await.unwrap();
    cluster.converge().await;
    assert_eq!(cluster.get(old, "after").await.as_deref(), Some("2"));
}

/// I6, D-RAFT-12: the deposed leader refuses rather than answer with the past, at either level
/// that promises the present. I8: it steps down.
#[tokio::test(start_paused = true)]
async fn an_isolated_leader_serves_no_read_of_the_present_and_steps_down() {
    let cluster = Cluster::of_three().await;
    let old = cluster.leader().await;
    cluster.put(old, "x", "1").await;
    cluster
        .web
        .isolate(&cluster.places[old].address, &cluster.addresses());
    let new = cluster.leader_other_than(old).await;
    cluster.put(new, "x", "2").await;
    for level in [ReadConsistency::Leader, ReadConsistency::Strong] {
        let deadline = Instant::now() + Duration::from_secs(3);
        let stale = cluster.node(old).read(level, deadline).await;
        assert!(
            matches!(
                stale,
                Err(ReadError::NoQuorum { .. } | ReadError::NotReady { .. })
            ),
            "{level:?}: {stale:?}"
        );
    }
    cluster.web.heal();
    cluster.converge().await;
    assert_eq!(cluster.get(old, "x").await.as_deref(), Some("2"));
}

#[tokio::test(start_paused = true)]
async fn writes_go_on_while_one_follower_is_away() {
    let mut cluster = Cluster::of_three().await;
    let leader = cluster.leader().await;
    let follower = (leader + 1) % 3;
    cluster.crash(follower).await;
    for n in 0..50 {
        cluster.put(leader, &format!("k{n}"), "v").await;
    }
    cluster.start(follower).await.unwrap();
    cluster.converge().await;
}

/// Claim: snapshots are taken by the bytes of the log too, and let it be purged: few large
/// entries do not make a long replay. Method: small segments and no limit by entries.
#[tokio::test(start_paused = true)]
async fn large_entries_bring_snapshots_and_purges_by_their_bytes() {
    const SEGMENT_BYTES: u64 = 32 << 10;
    let mut cluster = Cluster::new(1);
    let config = &mut cluster.places[0].config;
    config.log.segment_bytes = SEGMENT_BYTES;
    config.snapshot.after_bytes = 2 * SEGMENT_BYTES;
    config.snapshot.log_bytes_kept = SEGMENT_BYTES;
    cluster.form_all().await;
    let value = "v".repeat(4_000);
    for n in 0..100 {
        cluster.put(0, &format!("k{}", n % 5), &value).await;
    }
    cluster.converge().await;
    let status = cluster.node(0).status();
    assert!(status.snapshot_index.get() > 50, "{status:#?}");
    assert!(status.purged_index.get() > 25, "{status:#?}");
    assert!(
        status.purged_index.get() + 6 < status.snapshot_index.get(),
        "as much stays as was asked for: {status:#?}"
    );
    cluster.crash(0).await;
    cluster.start(0).await.unwrap();
    cluster.converge().await;
    assert_eq!(cluster.get(0, "k4").await.as_deref(), Some(&*value));
}

/// Claim: a follower that is further behind than the log reaches back gets a snapshot,
/// while writes go on, and ends with the same state. Method: small snapshots, cut it off,
/// write far more than is kept, heal, keep writing.
#[tokio::test(start_paused = true)]
async fn a_follower_far_behind_gets_a_snapshot_under_writes() {
    let mut cluster = Cluster::new(3);
    for place in &mut cluster.places {
        place.config.snapshot.after_entries = 40;
        place.config.snapshot.log_entries_kept = 5;
    }
    cluster.form_all().await;
    let leader = cluster.leader().await;
    let behind = (leader + 1) % 3;
    cluster
        .web
        .isolate(&cluster.places[behind].address, &cluster.addresses());
    let value = "v".repeat(2_000);
    for n in 0..300 {
        cluster.put(leader, &format!("k{n}"), &value).await;
    }
    let purged = cluster.node(leader).status().purged_index;
    assert!(
        purged > cluster.node(behind).status().last_index,
        "the log must not reach back far enough"
    );
    cluster.web.heal();
    for n in 300..400 {
        cluster.put(leader, &format!("k{n}"), &value).await;
    }
    cluster.converge().await;
    let status = cluster.node(behind).status();
    assert!(
        status.snapshot_index >= purged,
        "it came by a snapshot: {status:#?}"
    );
    // And it survives its own restart from what it got.
    cluster.crash(behind).await;
    cluster.start(behind).await.unwrap();
    cluster.converge().await;
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_on_demand_is_on_disk_when_it_returns() {
    let cluster = Cluster::of_three().await;
    cluster.put(0, "k", "v").await;
    let applied = cluster.node(0).published().applied;
    cluster.node(0).snapshot_now().await.unwrap();
    assert!(cluster.node(0).status().snapshot_index >= applied);
    assert!(
        cluster.places[0]
            .disk
            .paths()
            .iter()
            .any(|path| path.extension().is_some_and(|e| e == "snap"))
    );
}

/// Claim: a failed sync stops the node for good, with its reason, and the others go on.
#[tokio::test(start_paused = true)]
async fn a_failed_disk_stops_its_node_only() {
    let cluster = Cluster::of_three().await;
    let leader = cluster.leader().await;
    cluster.put(leader, "x", "1").await;
    let operation = concord_raft::sim_disk::Operation::Sync;
    cluster.places[leader]
        .disk
        .fail(operation, 0, 1, std::io::ErrorKind::Other);
    let deadline = Instant::now() + Duration::from_secs(2);
    drop(
        cluster
            .node(leader)
            .propose(crate::cluster::put("y", "1"), deadline)
            .await,
    );
    cluster
        .until(leader, "stopped", |status| status.role == Role::Stopped)
        .await;
    let stopped = cluster.node(leader).status().stopped;
    assert!(
        matches!(stopped, Some(concord_raft::StopReason::Storage { .. })),
        "{stopped:?}"
    );
    let new = cluster.leader_other_than(leader).await;
    cluster.put(new, "z", "1").await;
    let refused = cluster
        .node(leader)
        .propose(crate::cluster::put("w", "1"), Instant::now() + PATIENCE)
        .await;
    assert!(refused.is_err(), "{refused:?}");
}

/// Claim: a peer that is down costs a few attempts a second, not a busy loop. Method: cut
/// the leader off for ten seconds, when it and its successor both look for each other.
#[tokio::test(start_paused = true)]
async fn a_peer_that_is_down_is_not_hammered() {
    let cluster = Cluster::of_three().await;
    let old = cluster.leader().await;
    cluster
        .web
        .isolate(&cluster.places[old].address, &cluster.addresses());
    pass(Duration::from_secs(10)).await;
    let attempts = cluster.web.failed_attempts();
    assert!((1..1_000).contains(&attempts), "{attempts} attempts in 10 s");
}
