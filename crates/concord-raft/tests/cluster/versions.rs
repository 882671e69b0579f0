//! Members of two releases: what they do together, and when the cluster goes on. I24.

use std::time::Duration;

use bytes::Bytes;
use concord_core::machine::Machine;
use concord_core::store::Store;
use concord_core::version::MachineVersion;
use concord_raft::{ErrorKind, ProposeError, StartError, StartMode, StopReason};
use tokio::time::Instant;

use crate::cluster::{Cluster, PATIENCE};
use crate::network::pass;

const OLD: MachineVersion = MachineVersion::BASE;
const NEW: MachineVersion = Store::NEWEST;

/// Three nodes, of which these are of the release before.
async fn cluster(old: &[usize]) -> Cluster {
    let mut cluster = Cluster::new(3);
    for n in old {
        cluster.places[*n].config.machine_upto = Some(OLD);
    }
    cluster.form_all().await;
    cluster
}

async fn restart_as(cluster: &mut Cluster, n: usize, upto: Option<MachineVersion>) -> Result<(), StartError> {
    cluster.stop(n).await;
    cluster.places[n].config.machine_upto = upto;
    cluster.start(n).await
}

async fn is_raised(cluster: &Cluster, n: usize) {
    cluster
        .until(n, "raised", |status| status.machine.version == NEW)
        .await;
}

/// A request that a machine of this version may know.
async fn ask_for(cluster: &Cluster, n: usize, version: MachineVersion) -> Result<(), ProposeError> {
    let request = Bytes::from(vec![version.get(), 250]);
    let answer = cluster.node(n).propose(request, Instant::now() + PATIENCE).await;
    answer.map(drop)
}

#[tokio::test(start_paused = true)]
async fn a_new_cluster_becomes_the_newest_machine_by_itself() {
    let cluster = cluster(&[]).await;
    for n in 0..3 {
        is_raised(&cluster, n).await;
        let status = cluster.node(n).status();
        assert_eq!((status.machine_known, &status.held_back_by[..]), (NEW, &[][..]));
    }
    cluster.converge().await;
}

#[tokio::test(start_paused = true)]
async fn a_cluster_goes_on_when_the_last_member_is_of_the_new_release() {
    let mut cluster = cluster(&[0, 1, 2]).await;
    for n in 0..3 {
        cluster.put(n, "k", "before").await;
        if n < 2 {
            restart_as(&mut cluster, n, None).await.unwrap();
            cluster.leader().await;
        }
    }
    let old = cluster.id(2);
    for n in [0, 1] {
        cluster
            .until(n, "held back by one", |status| status.held_back_by == [old])
            .await;
        let status = cluster.node(n).status();
        assert_eq!(status.machine.version, OLD);
        let member = status
            .members
            .iter()
            .find(|member| member.node_id == old)
            .unwrap();
        assert_eq!(member.machine, Some(OLD));
        let refused = ask_for(&cluster, n, NEW).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Unsupported);
        assert!(
            refused.to_string().contains(&format!("held back by node {old}")),
            "{refused}"
        );
    }
    restart_as(&mut cluster, 2, None).await.unwrap();
    for n in 0..3 {
        is_raised(&cluster, n).await;
        ask_for(&cluster, n, NEW).await.unwrap();
        cluster.put(n, "k", "behind").await;
    }
    cluster.converge().await;
}

#[tokio::test(start_paused = true)]
async fn a_dead_member_holds_the_cluster_back_until_it_is_removed() {
    let mut cluster = cluster(&[0, 1, 2]).await;
    let dead = cluster.id(2);
    cluster.crash(2).await;
    for n in [0, 1] {
        restart_as(&mut cluster, n, None).await.unwrap();
        cluster.leader().await;
    }
    cluster
        .until(0, "held back by the dead", |status| status.held_back_by == [dead])
        .await;
    pass(Duration::from_secs(20)).await;
    assert_eq!(cluster.node(0).status().machine.version, OLD);
    cluster.node(0).remove(dead).await.unwrap();
    for n in [0, 1] {
        is_raised(&cluster, n).await;
    }
}

/// Before it can vote, and with what to do about it.
#[tokio::test(start_paused = true)]
async fn an_old_node_is_not_taken_into_a_newer_cluster() {
    let mut cluster = cluster(&[]).await;
    is_raised(&cluster, 0).await;
    let n = cluster.add_place();
    cluster.places[n].config.machine_upto = Some(OLD);
    cluster.start(n).await.unwrap();
    let joined = cluster.node(n).form(StartMode::Join("node-0:1".to_owned())).await;
    let refused = joined.unwrap_err().to_string();
    for part in ["machine version 2", "up to 1", "Concord 0.1.0 or newer"] {
        assert!(refused.contains(part), "{refused}");
    }
    let added = cluster.node(0).add_learner(format!("node-{n}:1")).await;
    assert_eq!(added.unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(cluster.node(0).status().members.len(), 3);
    restart_as(&mut cluster, n, None).await.unwrap();
    cluster
        .node(n)
        .form(StartMode::Join("node-0:1".to_owned()))
        .await
        .unwrap();
}

/// No way back: an older program would apply what follows differently.
#[tokio::test(start_paused = true)]
async fn a_member_of_a_newer_cluster_does_not_start_as_an_old_one() {
    let mut cluster = cluster(&[]).await;
    for (n, has_snapshot) in [(1, false), (2, true)] {
        is_raised(&cluster, n).await;
        if has_snapshot {
            cluster.node(n).snapshot_now().await.unwrap();
        }
        let error = restart_as(&mut cluster, n, Some(OLD)).await.unwrap_err();
        assert!(matches!(error, StartError::TooOld { .. }), "{error:?}");
        let text = error.to_string();
        let place = if has_snapshot { ".snap" } else { "from entry" };
        for part in [place, "machine version 2", "Concord 0.1.0 or newer"] {
            assert!(text.contains(part), "{text}");
        }
        cluster.places[n].config.machine_upto = None;
        cluster.start(n).await.unwrap();
        cluster.leader().await;
    }
    cluster.converge().await;
}

/// A member that was away while the others went on, and comes back as what it was: it stops where they did.
#[tokio::test(start_paused = true)]
async fn an_old_member_that_meets_the_raise_stops_and_says_why() {
    let mut cluster = cluster(&[0]).await;
    pass(Duration::from_secs(3)).await;
    let old = cluster.id(0);
    cluster.stop(0).await;
    // It answers once as a new one, which is enough for the others, and then goes back.
    cluster.places[0].config.machine_upto = None;
    cluster.start(0).await.unwrap();
    cluster.leader().await;
    is_raised(&cluster, 1).await;
    cluster.stop(0).await;
    cluster.places[0].config.machine_upto = Some(OLD);
    match cluster.start(0).await {
        Err(StartError::TooOld { .. }) => {}
        Err(other) => panic!("{other}"),
        Ok(()) => {
            cluster
                .until(0, "stopped", |status| status.stopped.is_some())
                .await;
            let stopped = cluster.node(0).status().stopped.unwrap();
            assert!(matches!(stopped, StopReason::TooOld { .. }), "{stopped}");
        }
    }
    assert!(
        cluster
            .node(1)
            .status()
            .members
            .iter()
            .any(|member| member.node_id == old)
    );
}
