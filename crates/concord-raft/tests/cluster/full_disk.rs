//! Full disks: what is told of them, and that a cluster goes on by those that have room.

use std::time::Duration;

use tokio::time::Instant;

use crate::cluster::Cluster;
use crate::network::pass;

/// A full disk is told in the status while there is room for what gives space back, and is
/// over by itself. Reads are served meanwhile.
#[tokio::test(start_paused = true)]
async fn a_full_disk_shows_in_the_status_and_passes() {
    let mut cluster = Cluster::new(1);
    cluster.form_all().await;
    let value = "v".repeat(4_000);
    cluster.put(0, "before", &value).await;
    assert!(!cluster.node(0).status().disk_full);
    // The next segment exists already; the one after it will find no room.
    cluster.places[0].disk.set_capacity(Some(0));
    for n in 0..12 {
        cluster.put(0, &format!("k{n}"), &value).await;
    }
    while !cluster.node(0).is_disk_full() {
        cluster.put(0, "more", &value).await;
    }
    let status = cluster.node(0).status();
    assert!(status.disk_full && !status.warnings.is_empty(), "{status:#?}");
    assert_eq!(cluster.get(0, "before").await.as_deref(), Some(&*value));
    cluster.put(0, "small", "there is room for it").await;
    cluster.places[0].disk.set_capacity(None);
    while cluster.node(0).is_disk_full() {
        cluster.put(0, "after", &value).await;
    }
    assert!(!cluster.node(0).status().disk_full);
    cluster.crash(0).await;
    cluster.start(0).await.unwrap();
    cluster.converge().await;
    assert_eq!(cluster.get(0, "after").await.as_deref(), Some(&*value));
}

/// What comes by another node goes through the leader's log: the leader hands over while it can.
#[tokio::test(start_paused = true)]
async fn a_leader_with_a_full_disk_hands_over_to_one_that_has_room() {
    let cluster = Cluster::of_three().await;
    let full = cluster.leader().await;
    let other = (full + 1) % 3;
    let value = "v".repeat(4_000);
    cluster.places[full].disk.set_capacity(Some(0));
    let mut acknowledged = 0;
    // What is written by another node stays within the segment that the full node has made before.
    while !cluster.node(full).is_disk_full() {
        cluster.put(other, &format!("k{acknowledged}"), &value).await;
        acknowledged += 1;
    }
    let leader = cluster.leader_other_than(full).await;
    for _ in 0..10 {
        cluster.put(other, &format!("k{acknowledged}"), &value).await;
        acknowledged += 1;
    }
    assert_eq!(cluster.leader().await, leader, "nobody takes it back");
    assert!(cluster.node(full).is_disk_full());
    cluster.places[full].disk.set_capacity(None);
    while cluster.node(full).is_disk_full() {
        cluster.put(other, &format!("k{acknowledged}"), &value).await;
        acknowledged += 1;
    }
    cluster.converge().await;
    for n in 0..acknowledged {
        assert_eq!(
            cluster.get(full, &format!("k{n}")).await.as_deref(),
            Some(&*value),
            "k{n}"
        );
    }
}

/// If nobody has room it is of no use to hand over again and again.
#[tokio::test(start_paused = true)]
async fn leadership_goes_round_slowly_where_every_disk_is_full() {
    let cluster = Cluster::of_three().await;
    let value = "v".repeat(4_000);
    for place in &cluster.places {
        place.disk.set_capacity(Some(0));
    }
    let first = cluster.leader().await;
    while (0..3).any(|n| !cluster.node(n).is_disk_full()) {
        cluster.put(first, "k", &value).await;
    }
    let term = |cluster: &Cluster| cluster.statuses().iter().map(|status| status.term.get()).max();
    let before = term(&cluster).unwrap();
    let election = cluster.places[first].config.timing.election_max;
    let until = Instant::now() + election * 60;
    while Instant::now() < until {
        pass(Duration::from_millis(50)).await;
    }
    let moved = term(&cluster).unwrap() - before;
    assert!(
        (1..=12).contains(&moved),
        "{moved} elections in 60 election timeouts"
    );
    cluster.put(first, "small", "there is room for it").await;
}
