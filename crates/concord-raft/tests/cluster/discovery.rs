//! Nodes that join what somebody tells them of (I14): suggestions decide nothing.

use std::sync::Arc;
use std::time::Duration;

use concord_core::ids::NodeId;
use concord_raft::ports::{Discovery, Suggestion};
use concord_raft::{Role, StartError, StartMode};
use parking_lot::Mutex;

use crate::cluster::Cluster;
use crate::network::pass;

/// Tells what it was told to tell.
#[derive(Debug, Default)]
struct Told(Mutex<Vec<Suggestion>>);

impl Discovery for Told {
    fn members(&self) -> Vec<Suggestion> {
        self.0.lock().clone()
    }
}

fn cluster_id(cluster: &Cluster, n: usize) -> u128 {
    cluster.node(n).status().cluster_id.expect("it belongs to one")
}

fn member(cluster: &Cluster, n: usize) -> Suggestion {
    Suggestion {
        cluster_id: cluster_id(cluster, n),
        node_id: cluster.id(n),
        address: cluster.places[n].address.clone(),
    }
}

/// A cluster of three, a node beside it that looks for one, and its attempt.
async fn seeker() -> (
    Cluster,
    usize,
    Arc<Told>,
    tokio::task::JoinHandle<Result<(), StartError>>,
) {
    let mut cluster = Cluster::of_three().await;
    let new = cluster.add_place();
    cluster.start(new).await.unwrap();
    let told = Arc::new(Told::default());
    let mode = StartMode::Discover(Arc::<Told>::clone(&told));
    let node = cluster.node(new).clone();
    let forming = tokio::spawn(async move { node.form(mode).await });
    (cluster, new, told, forming)
}

/// D-RAFT-10: a node that hears of nobody waits; it makes no cluster of those that happen to be there.
#[tokio::test(start_paused = true)]
async fn a_node_joins_the_cluster_that_it_is_told_of() {
    let (cluster, new, told, forming) = seeker().await;
    pass(Duration::from_secs(60)).await;
    assert!(!forming.is_finished(), "it waits until it is told of a member");
    assert_eq!(cluster.node(new).status().role, Role::Outside);
    // The first is gone, which the second makes up for.
    let mut gone = member(&cluster, 0);
    gone.address = "nowhere:1".to_owned();
    *told.0.lock() = vec![gone, member(&cluster, 1)];
    forming.await.unwrap().unwrap();
    cluster
        .until(new, "a voter", |status| status.role == Role::Follower)
        .await;
    cluster.converge().await;
    assert_eq!(cluster.node(0).status().voters().count(), 4);
}

/// Claim: a suggestion that is stale, forged or of a node outside brings nobody into any cluster (I14).
#[tokio::test(start_paused = true)]
async fn a_wrong_suggestion_makes_nobody_a_member() {
    let (mut cluster, new, told, forming) = seeker().await;
    let outside = cluster.add_place();
    cluster.start(outside).await.unwrap();
    let foreign = Suggestion {
        cluster_id: cluster_id(&cluster, 0) ^ 1,
        ..member(&cluster, 0)
    };
    let stranger = Suggestion {
        node_id: cluster.id(outside),
        address: cluster.places[outside].address.clone(),
        ..foreign.clone()
    };
    *told.0.lock() = vec![foreign, stranger];
    pass(Duration::from_secs(60)).await;
    assert!(!forming.is_finished());
    for n in [new, outside] {
        assert_eq!(cluster.node(n).status().role, Role::Outside);
    }
    assert_eq!(cluster.node(0).status().members.len(), 3);
    *told.0.lock() = vec![member(&cluster, 2)];
    forming.await.unwrap().unwrap();
}

/// Claim: a node that is told of two clusters belongs to neither until somebody says which (I14).
#[tokio::test(start_paused = true)]
async fn a_node_that_is_told_of_two_clusters_joins_neither() {
    let (mut cluster, new, told, forming) = seeker().await;
    let other = cluster.add_place();
    cluster.start(other).await.unwrap();
    cluster.node(other).form(StartMode::Alone).await.unwrap();
    *told.0.lock() = vec![member(&cluster, 0), member(&cluster, other)];
    pass(Duration::from_secs(60)).await;
    assert!(!forming.is_finished());
    assert_eq!(cluster.node(new).status().role, Role::Outside);
    assert_eq!(cluster.node(0).status().members.len(), 3);
    assert_eq!(cluster.node(other).status().members.len(), 1);
    // The other one is heard of no more.
    *told.0.lock() = vec![member(&cluster, 0)];
    forming.await.unwrap().unwrap();
    assert_eq!(cluster_id(&cluster, new), cluster_id(&cluster, 0));
}

/// Claim: what every member refuses for good is not asked for for ever: the node says why.
#[tokio::test(start_paused = true)]
async fn a_removed_node_is_told_so_by_those_that_it_hears_of() {
    let mut cluster = Cluster::of_three().await;
    let leader = cluster.leader().await;
    let removed = (leader + 1) % 3;
    let id: NodeId = cluster.id(removed);
    let told = Told(Mutex::new(vec![member(&cluster, leader)]));
    cluster.crash(removed).await;
    cluster.node(leader).remove(id).await.unwrap();
    cluster.places[removed].disk = concord_raft::sim_disk::SimDisk::new(99);
    cluster.start(removed).await.unwrap();
    let mode = StartMode::Discover(Arc::new(told));
    match cluster.node(removed).form(mode).await {
        Err(StartError::Refused { reason }) => assert!(reason.contains("was removed"), "{reason}"),
        other => panic!("not refused: {other:?}"),
    }
}
