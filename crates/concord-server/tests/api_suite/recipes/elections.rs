//! The election.

use concord_server::ErrorKind;
use futures::TryStreamExt as _;

use super::{LONG, open, soon, take_away, until};
use crate::cluster::Cluster;

/// Claim: everybody sees the same leaders in the same order, and each with a greater token (D-REC-1).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leaders_follow_each_other_and_every_node_sees_them() {
    let cluster = Cluster::start(3).await;
    let observed = cluster.node(2).election("head").observe().unwrap();
    let mut observed = Box::pin(observed);
    assert_eq!(
        soon("the state now", observed.try_next()).await.unwrap(),
        Some(None)
    );

    let first = cluster.node(0).election("head").ttl(LONG);
    let first = first.campaign("first").await.unwrap();
    let told = soon("the first", observed.try_next()).await.unwrap();
    let told = told.unwrap().expect("somebody leads");
    assert_eq!((told.text(), told.token), (Some("first"), first.token()));

    let second = cluster.node(1).election("head").ttl(LONG);
    let campaign = tokio::spawn({
        let second = second.clone();
        async move { second.campaign("second").await.unwrap() }
    });
    until("it is a candidate", async || {
        second.candidates().await.unwrap().len() == 2
    })
    .await;
    first.proclaim("first, elsewhere").await.unwrap();
    let told = soon("the news", observed.try_next()).await.unwrap().unwrap();
    let told = told.expect("it still leads");
    assert_eq!(
        (told.text(), told.token),
        (Some("first, elsewhere"), first.token())
    );
    assert_eq!(second.leader().await.unwrap(), Some(told));

    let token = first.token();
    first.resign().await.unwrap();
    let second = soon("its turn", campaign).await.unwrap();
    assert!(second.token() > token);
    let told = soon("the second", observed.try_next()).await.unwrap().unwrap();
    assert_eq!(told.map(|leader| leader.token), Some(second.token()));
    drop(second);
    assert_eq!(soon("none", observed.try_next()).await.unwrap(), Some(None));
    cluster.stop().await;
}

/// D-REC-3: who does not lead any more does not speak as the leader.
#[tokio::test]
async fn a_leader_that_is_deposed_proclaims_nothing() {
    let (db, _dir) = open().await;
    let election = db.election("head");
    let old = election.campaign("old").await.unwrap();
    take_away(&db, &old).await;
    assert!(!old.is_held());
    let new = election.campaign("new").await.unwrap();
    let late = old.proclaim("still me").await.unwrap_err();
    assert_eq!(late.kind(), ErrorKind::ConditionFailed);
    let leader = election.leader().await.unwrap().unwrap();
    assert_eq!((leader.text(), leader.lease), (Some("new"), new.lease()));
    let others = election.campaign_within(std::time::Duration::from_millis(20), "other");
    assert!(others.await.unwrap().is_none());
    new.resign().await.unwrap();
    until("nobody leads", async || {
        election.leader().await.unwrap().is_none()
    })
    .await;
    db.shutdown().await.unwrap();
}

/// What happens while nobody looks is not told one by one, but the leader of now is.
#[tokio::test]
async fn an_observer_that_was_overtaken_by_compaction_sees_the_leader_of_now() {
    let (db, _dir) = open().await;
    let election = db.election("head").ttl(LONG);
    let mut observed = Box::pin(election.observe().unwrap());
    assert_eq!(observed.try_next().await.unwrap(), Some(None));
    let mut tokens = Vec::new();
    for _ in 0..3 {
        let leadership = election.campaign("x").await.unwrap();
        tokens.push(leadership.token());
        leadership.resign().await.unwrap();
    }
    let last = election.campaign("last").await.unwrap();
    db.compact(db.revision()).await.unwrap();
    let told = soon("the leader", async {
        loop {
            let leader = observed.try_next().await.unwrap().expect("it does not end");
            if let Some(leader) = leader.filter(|leader| !tokens.contains(&leader.token)) {
                break leader;
            }
        }
    });
    assert_eq!(told.await.text(), Some("last"));
    drop(last);
    db.shutdown().await.unwrap();
}
