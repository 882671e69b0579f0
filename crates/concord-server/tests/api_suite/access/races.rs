//! Rights that change while somebody uses them.

use std::time::{Duration, Instant};

use concord_server::ErrorKind;

use super::{EDIT, READ, confined};
use crate::cluster::Cluster;

/// A watch ends when its token does: within one apply and 100 ms, also while nothing is written (CVE-2024-23944 of
/// `ZooKeeper`: what is told is judged when it is told).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cve_2024_23944_a_watch_ends_with_its_token() {
    let cluster = Cluster::start(1).await;
    let db = cluster.node(0);
    let mut took = Vec::new();
    // A machine with other work may stand still for that long, but not each time.
    while took.len() < 5 && took.iter().all(|took| *took >= Duration::from_millis(100)) {
        let reader = confined(db, &format!("reader-{}", took.len()), &["a:*"]).await;
        let mut watcher = reader.watch().await.unwrap();
        db.put("b:1", "hidden").await.unwrap();
        db.put("a:1", "x").await.unwrap();
        let batch = watcher.next().await.unwrap().unwrap();
        assert_eq!(batch.events.len(), 1);
        assert_eq!(batch.events[0].key.to_string(), "a:1");
        let waiting = tokio::spawn(async move {
            let error = watcher.next().await.unwrap().unwrap_err();
            (error, Instant::now(), watcher.next().await.is_none())
        });
        db.revoke_token(&format!("reader-{}", took.len())).await.unwrap();
        let revoked = Instant::now();
        let (error, ended, is_over) = waiting.await.unwrap();
        assert_eq!(error.kind(), ErrorKind::Unauthorized);
        assert!(is_over);
        took.push(ended.saturating_duration_since(revoked));
    }
    assert!(took.last() < Some(&Duration::from_millis(100)), "{took:?}");
    cluster.stop().await;
}

/// What was read for a watcher and not taken yet is not told any more when the right to it is gone.
#[tokio::test]
async fn events_that_wait_are_judged_when_they_are_told() {
    let cluster = Cluster::start(1).await;
    let db = cluster.node(0);
    let reader = confined(db, "reader", &["a:*", "b:*"]).await;
    let first = db.revision();
    for key in ["a:1", "b:1", "a:2", "b:2", "a:3"] {
        db.put(key, "x").await.unwrap();
    }
    let mut watcher = reader.watch().from_revision(first.next()).await.unwrap();
    let told = watcher.next().await.unwrap().unwrap();
    assert_eq!(told.events[0].key.to_string(), "a:1");
    db.delete_acl("reader", "b:*").await.unwrap();
    for expected in ["a:2", "a:3"] {
        let told = watcher.next().await.unwrap().unwrap();
        assert_eq!(told.events[0].key.to_string(), expected);
    }
    db.delete_role("reader").await.unwrap();
    assert_eq!(
        watcher.next().await.unwrap().unwrap_err().kind(),
        ErrorKind::Forbidden
    );
    cluster.stop().await;
}

/// A watch ends when its token's time is over, although nothing happens.
#[tokio::test]
async fn a_watch_ends_with_the_time_of_its_token() {
    let cluster = Cluster::start(1).await;
    let db = cluster.node(0);
    let token = db
        .create_token()
        .role("viewer")
        .ttl(Duration::from_millis(300))
        .await
        .unwrap();
    let mut watcher = db.as_principal(token.secret.expose()).watch().await.unwrap();
    let ended = tokio::time::timeout(Duration::from_secs(10), watcher.next()).await;
    assert_eq!(
        ended.unwrap().unwrap().unwrap_err().kind(),
        ErrorKind::Unauthorized
    );
    cluster.stop().await;
}

/// No write of a token is applied behind its revocation, and none is refused before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_write_follows_a_revocation() {
    let cluster = Cluster::start(3).await;
    let token = cluster
        .node(0)
        .create_token()
        .name("w")
        .role("editor")
        .await
        .unwrap();
    let mut writers = Vec::new();
    for node in 0..3 {
        let writer = cluster.node(node).as_principal(token.secret.expose());
        writers.push(tokio::spawn(async move {
            let mut last = None;
            for number in 0_u64.. {
                match writer.put(format!("w:{node}"), number.to_string()).await {
                    Ok(written) => last = Some(written.revision),
                    Err(error) => {
                        assert_eq!(error.kind(), ErrorKind::Unauthorized, "{error}");
                        break;
                    }
                }
            }
            last
        }));
    }
    while cluster.node(0).get("w:2").await.unwrap().as_ref().is_none() {
        tokio::task::yield_now().await;
    }
    cluster.node(1).revoke_token("w").await.unwrap();
    let at = cluster.node(1).get("none").strong().await.unwrap().revision;
    for writer in writers {
        let last = writer.await.unwrap();
        assert!(last.is_none_or(|last| last <= at), "{last:?} is behind {at}");
    }
    cluster.stop().await;
}

/// A change of rights that are not one's own is not felt.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_go_on_while_the_policy_of_others_changes() {
    let cluster = Cluster::start(1).await;
    let db = cluster.node(0);
    let writer = confined(db, "writer", &["w:*"]).await;
    db.create_role("other", EDIT).await.unwrap();
    let changing = {
        let db = db.clone();
        tokio::spawn(async move {
            for number in 0..50 {
                let permissions = if number % 2 == 0 { READ } else { EDIT };
                db.update_role("other", permissions).await.unwrap();
            }
        })
    };
    for number in 0..100 {
        writer
            .put("w:1", number.to_string())
            .idempotency_key(format!("{number}"))
            .await
            .unwrap();
    }
    changing.await.unwrap();
    let found = db.get("w:1").await.unwrap();
    assert_eq!(
        found.as_ref().map(|entry| entry.version()),
        Some(100),
        "each was applied once"
    );
    cluster.stop().await;
}
