//! Changes of who belongs and who leads, asked of any node.

use std::time::Duration;

use concord_core::ids::NodeId;
use concord_raft::{MembershipError, ReadConsistency, Role, StartMode, StopReason};

use crate::cluster::Cluster;
use crate::network::pass;

#[tokio::test(start_paused = true)]
async fn a_joining_node_learns_and_then_votes() {
    let mut cluster = Cluster::of_three().await;
    cluster.put(0, "k", "v").await;
    let new = cluster.add_place();
    cluster.start(new).await.unwrap();
    let leader = cluster.leader().await;
    let follower = (leader + 1) % 3;
    let join = StartMode::Join(cluster.places[follower].address.clone());
    cluster.node(new).form(join).await.unwrap();
    cluster
        .until(new, "a voter", |status| status.role == Role::Follower)
        .await;
    cluster.converge().await;
    let status = cluster.node(leader).status();
    assert_eq!(status.voters().count(), 4);
    assert!(
        status.warnings.iter().any(|warning| warning.contains("4 voters")),
        "{:?}",
        status.warnings
    );
    assert_eq!(cluster.get(new, "k").await.as_deref(), Some("v"));
}

#[tokio::test(start_paused = true)]
async fn a_cluster_of_one_grows_to_three() {
    let mut cluster = Cluster::new(3);
    cluster.start(0).await.unwrap();
    cluster.node(0).form(StartMode::Alone).await.unwrap();
    cluster.put(0, "k", "v").await;
    let fresh_now = |cluster: &Cluster| cluster.node(0).read_now(ReadConsistency::Strong).is_some();
    assert!(fresh_now(&cluster), "the only voter asks nobody");
    let join = StartMode::Join(cluster.places[0].address.clone());
    for n in 1..3 {
        cluster.start(n).await.unwrap();
        cluster.node(n).form(join.clone()).await.unwrap();
        cluster
            .until(n, "a voter", |status| status.role == Role::Follower)
            .await;
        assert!(!fresh_now(&cluster), "one voter of several must ask");
    }
    cluster.crash(0).await;
    let leader = cluster.leader_other_than(0).await;
    assert_eq!(cluster.get(leader, "k").await.as_deref(), Some("v"));
}

#[tokio::test(start_paused = true)]
async fn an_invited_node_stays_a_learner_until_promoted() {
    let mut cluster = Cluster::of_three().await;
    let new = cluster.add_place();
    cluster.start(new).await.unwrap();
    let leader = cluster.leader().await;
    let follower = (leader + 1) % 3;
    let address = cluster.places[new].address.clone();
    let id = cluster.node(follower).add_learner(address.clone()).await.unwrap();
    assert_eq!(id, cluster.id(new));
    cluster
        .until(new, "a learner", |status| status.role == Role::Learner)
        .await;
    pass(Duration::from_secs(5)).await;
    assert_eq!(cluster.node(new).status().role, Role::Learner);
    assert_eq!(
        cluster.node(leader).add_learner(address).await,
        Ok(id),
        "adding again does nothing"
    );
    let member = cluster.node(leader).status().learners().next().cloned().unwrap();
    assert_eq!((member.node_id, member.lag_entries), (id, Some(0)));
    cluster.node(follower).promote(id).await.unwrap();
    cluster
        .until(new, "a voter", |status| status.role == Role::Follower)
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_learner_that_is_behind_is_not_promoted() {
    let mut cluster = Cluster::of_three().await;
    let new = cluster.add_place();
    cluster.start(new).await.unwrap();
    let leader = cluster.leader().await;
    let id = cluster
        .node(leader)
        .add_learner(cluster.places[new].address.clone())
        .await
        .unwrap();
    cluster
        .until(new, "a learner", |status| status.role == Role::Learner)
        .await;
    cluster.crash(new).await;
    pass(Duration::from_secs(5)).await;
    let error = cluster.node(leader).promote(id).await.unwrap_err();
    assert!(matches!(error, MembershipError::Silent { .. }), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_removed_node_stops_and_its_id_is_never_used_again() {
    let mut cluster = Cluster::of_three().await;
    let leader = cluster.leader().await;
    let (gone, asked) = ((leader + 1) % 3, (leader + 2) % 3);
    let id = cluster.id(gone);
    cluster.node(asked).remove(id).await.unwrap();
    cluster.node(asked).remove(id).await.unwrap();
    cluster
        .until(gone, "stopped", |status| status.role == Role::Stopped)
        .await;
    assert_eq!(cluster.node(gone).status().stopped, Some(StopReason::Removed));
    assert_eq!(cluster.node(leader).status().members.len(), 2);
    cluster.stop(gone).await;
    cluster.places[gone].disk = concord_raft::sim_disk::SimDisk::new(9);
    cluster.start(gone).await.unwrap();
    let join = StartMode::Join(cluster.places[leader].address.clone());
    let error = cluster.node(gone).form(join).await.unwrap_err();
    assert!(error.to_string().contains("never used again"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_leader_can_be_removed() {
    let cluster = Cluster::of_three().await;
    let leader = cluster.leader().await;
    let id = cluster.id(leader);
    cluster.node((leader + 1) % 3).remove(id).await.unwrap();
    let new = cluster.leader_other_than(leader).await;
    cluster.put(new, "k", "v").await;
    cluster
        .until(leader, "stopped", |status| status.role == Role::Stopped)
        .await;
    assert_eq!(cluster.node(leader).status().stopped, Some(StopReason::Removed));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_removed_that_a_quorum_needs() {
    let mut cluster = Cluster::of_three().await;
    let leader = cluster.leader().await;
    let (dead, alive) = ((leader + 1) % 3, (leader + 2) % 3);
    let (dead_id, alive_id) = (cluster.id(dead), cluster.id(alive));
    cluster.crash(dead).await;
    pass(Duration::from_secs(5)).await;
    let error = cluster.node(leader).remove(alive_id).await.unwrap_err();
    assert!(matches!(error, MembershipError::Invalid { .. }), "{error}");
    cluster.node(leader).remove(dead_id).await.unwrap();
    cluster.node(leader).remove(alive_id).await.unwrap();
    let error = cluster.node(leader).remove(cluster.id(leader)).await.unwrap_err();
    assert!(error.to_string().contains("last voter"), "{error}");
    let error = cluster.node(leader).remove(NodeId::new(55)).await.unwrap_err();
    assert_eq!(
        error,
        MembershipError::UnknownNode {
            node: NodeId::new(55)
        }
    );
    cluster.put(leader, "k", "v").await;
}

#[tokio::test(start_paused = true)]
async fn a_dead_voter_is_replaced_in_one_step() {
    let mut cluster = Cluster::of_three().await;
    let leader = cluster.leader().await;
    let dead = (leader + 1) % 3;
    let dead_id = cluster.id(dead);
    cluster.crash(dead).await;
    let new = cluster.add_place();
    cluster.start(new).await.unwrap();
    let new_id = cluster
        .node(leader)
        .add_learner(cluster.places[new].address.clone())
        .await
        .unwrap();
    cluster
        .until(leader, "caught up", |status| {
            status.learners().all(|member| member.lag_entries == Some(0))
        })
        .await;
    cluster.node(leader).replace(dead_id, new_id).await.unwrap();
    cluster.node(leader).replace(dead_id, new_id).await.unwrap();
    let status = cluster.node(leader).status();
    let voters: Vec<NodeId> = status.voters().map(|member| member.node_id).collect();
    assert_eq!(voters.len(), 3);
    assert!(
        voters.contains(&new_id) && !voters.contains(&dead_id),
        "{voters:?}"
    );
    cluster.converge().await;
}

#[tokio::test(start_paused = true)]
async fn leadership_moves_to_whom_it_is_given() {
    let cluster = Cluster::of_three().await;
    let leader = cluster.leader().await;
    let (to, asked) = ((leader + 1) % 3, (leader + 2) % 3);
    cluster
        .node(asked)
        .transfer_leadership(Some(cluster.id(to)))
        .await
        .unwrap();
    cluster
        .until(to, "leading", |status| status.role == Role::Leader)
        .await;
    cluster.put(asked, "k", "v").await;
    cluster.node(to).transfer_leadership(None).await.unwrap();
    let new = cluster.leader_other_than(to).await;
    let id = cluster.id(new);
    cluster.node(new).transfer_leadership(Some(id)).await.unwrap();
    let unknown = cluster
        .node(new)
        .transfer_leadership(Some(NodeId::new(9)))
        .await
        .unwrap_err();
    assert_eq!(unknown, MembershipError::UnknownNode { node: NodeId::new(9) });
}

/// A leader that was elected a moment ago has heard nobody yet; that is no reason to call a member silent, or behind
/// by the whole log. Method: asked within the millisecond in which it begins to lead, which is how long a message takes.
#[tokio::test(start_paused = true)]
async fn a_leader_judges_members_only_after_it_could_hear_them() {
    let cluster = Cluster::of_three().await;
    let mut leader = cluster.leader().await;
    for step in 1..=6 {
        let to = (leader + 1 + step % 2) % 3;
        let given = cluster
            .node(leader)
            .transfer_leadership(Some(cluster.id(to)))
            .await;
        given.unwrap_or_else(|error| panic!("transfer {step}: {error}"));
        while cluster.node(to).status().role != Role::Leader {
            pass(Duration::from_millis(1)).await;
        }
        leader = to;
    }
    let gone = cluster.id((leader + 1) % 3);
    cluster.node(leader).remove(gone).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn members_change_while_writes_go_on() {
    let mut cluster = Cluster::of_three().await;
    let leader = cluster.leader().await;
    let writer = cluster.node((leader + 1) % 3).clone();
    let writing = tokio::spawn(async move {
        let mut acknowledged = Vec::new();
        for n in 0..200 {
            let deadline = tokio::time::Instant::now() + crate::cluster::PATIENCE;
            let key = format!("w{n}");
            writer
                .propose(crate::cluster::put(&key, "v"), deadline)
                .await
                .unwrap();
            acknowledged.push(key);
            pass(Duration::from_millis(20)).await;
        }
        acknowledged
    });
    let new = cluster.add_place();
    cluster.start(new).await.unwrap();
    let join = StartMode::Join(cluster.places[leader].address.clone());
    cluster.node(new).form(join).await.unwrap();
    cluster
        .until(new, "a voter", |status| status.role == Role::Follower)
        .await;
    let gone = cluster.id(leader);
    cluster.node(new).remove(gone).await.unwrap();
    let acknowledged = writing.await.unwrap();
    cluster
        .until(leader, "stopped", |status| status.role == Role::Stopped)
        .await;
    cluster.stop(leader).await;
    for key in acknowledged {
        assert_eq!(cluster.get(new, &key).await.as_deref(), Some("v"), "{key}");
    }
    cluster.converge().await;
}
