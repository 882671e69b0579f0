//! Members that come, go, or come back without their memory.

use concord_server::client::Request;
use serde_json::Value;

use crate::alone;
use crate::load::Load;
use crate::process::{Cluster, eventually, ready, run, status};

/// The members by id, and whether each votes.
async fn members(cluster: &Cluster) -> Vec<(u64, bool)> {
    let request = Request::get("/api/v1/cluster/members");
    let answer: Value = eventually("the members are listed", async || {
        cluster.client().send(&request).await.ok()?.data().ok()
    })
    .await;
    let members = answer["members"].as_array().unwrap();
    members
        .iter()
        .map(|member| {
            (
                member["node_id"].as_u64().unwrap(),
                member["voter"].as_bool().unwrap(),
            )
        })
        .collect()
}

/// Claim: a member that lost its disk cannot vote under its old name (I13), and its seat can
/// be taken by a fresh member while writes go on. Method: wipe, restart (refused), remove,
/// join under a new id, promote.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_lost_its_disk_is_refused_and_rejoins_as_a_fresh_one() {
    let _alone = alone().await;
    let mut cluster = Cluster::start(3).await;
    let load = Load::start(&cluster, 4, 16);
    load.progress(200).await;

    let lost = (1..=3).find(|id| *id != 1).unwrap();
    cluster.node(lost).kill();
    cluster.node(lost).wipe();
    cluster.node(lost).start();
    // Either it ends with the reason, or it runs and never becomes ready: it must not be a voter again.
    let reason = eventually("the wiped member is refused", async || {
        let log = cluster.nodes.iter().find(|node| node.id == lost)?.log();
        log.lines()
            .find(|line| line.contains("another data directory"))
            .map(str::to_owned)
    })
    .await;
    println!("refused: {reason}");
    cluster.node(lost).kill();

    let removed = run(cluster.node(1), &["cluster", "remove", &lost.to_string()]);
    assert!(removed.status.success(), "{removed:?}");
    cluster.add_joining(4).start();
    ready(cluster.node(4)).await;
    eventually("node 4 votes", async || {
        let is_voter = members(&cluster).await.contains(&(4, true));
        is_voter.then_some(())
    })
    .await;
    assert!(members(&cluster).await.iter().all(|(id, _)| *id != lost));

    // It counts: with another member down, the quorum is node 4 and one more.
    load.progress(200).await;
    cluster.node(1).kill();
    load.progress(200).await;
    cluster.node(1).start();
    ready(cluster.node(1)).await;
    let ledger = load.finish().await;
    ledger.check(&cluster.node(4).client()).await;
}

/// Claim: a follower whose entries were purged meanwhile catches up by snapshot, under load.
/// Method: stop it, write until snapshots have taken the place of what it lacks, start it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_far_behind_catches_up_by_snapshot_under_load() {
    let _alone = alone().await;
    let mut cluster = Cluster::of(3);
    for node in &cluster.nodes {
        node.settings("[snapshot]\nafter_entries = 200\nlog_entries_kept = 50\n");
    }
    cluster.start_all();
    cluster.ready().await;
    let load = Load::start(&cluster, 4, 64);
    load.progress(50).await;
    let leader = cluster.leader().await;
    let follower = (1..=3).find(|id| *id != leader).unwrap();
    let behind = status(&cluster.node(follower).client()).await.unwrap()["log"]["applied"]
        .as_u64()
        .unwrap();
    cluster.node(follower).kill();

    eventually("the leader has purged what the follower lacks", async || {
        load.progress(100).await;
        let leader = cluster.nodes.iter().find(|node| node.id == leader)?;
        let purged = status(&leader.client()).await.ok()?["log"]["purged"].as_u64()?;
        (purged > behind).then_some(())
    })
    .await;

    cluster.node(follower).start();
    let client = cluster.node(follower).client();
    eventually("the follower gets a snapshot", async || {
        let snapshot = status(&client).await.ok()?["log"]["snapshot"].as_u64()?;
        (snapshot > behind).then_some(())
    })
    .await;
    ready(cluster.node(follower)).await;
    load.progress(100).await;
    load.finish().await.check(&cluster.node(follower).client()).await;
}

/// Claim: a new node joins a running cluster, is promoted once it has caught up, and a member
/// can be replaced and leadership moved, all by the command line.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_join_lead_and_leave_by_the_command_line() {
    let _alone = alone().await;
    let mut cluster = Cluster::start(3).await;
    let load = Load::start(&cluster, 2, 16);
    cluster.add_joining(4).start();
    ready(cluster.node(4)).await;
    eventually("node 4 votes", async || {
        members(&cluster).await.contains(&(4, true)).then_some(())
    })
    .await;

    let moved = run(cluster.node(1), &["cluster", "transfer", "4"]);
    assert!(moved.status.success(), "{moved:?}");
    eventually("node 4 leads", async || {
        (cluster.leader().await == 4).then_some(())
    })
    .await;

    let removed = run(cluster.node(2), &["cluster", "remove", "4"]);
    assert!(removed.status.success(), "{removed:?}");
    eventually("somebody else leads", async || {
        let leads = status(&cluster.nodes.first()?.client()).await.ok()?["leader"].as_u64()?;
        (leads != 4).then_some(())
    })
    .await;
    assert_eq!(members(&cluster).await.len(), 3);
    load.progress(100).await;
    load.finish().await.check(&cluster.node(1).client()).await;
}
