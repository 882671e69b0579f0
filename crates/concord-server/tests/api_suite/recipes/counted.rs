//! What several may hold at once, or must: read-write locks, semaphores, barriers, sequences.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::FutureExt as _;

use super::{LONG, open, soon, until};
use crate::cluster::Cluster;

#[tokio::test]
async fn readers_share_and_a_writer_is_alone_and_passed_by_nobody() {
    let (db, _dir) = open().await;
    let lock = db.rw_lock("catalogue").ttl(LONG);
    let first = lock.read().await.unwrap();
    let second = lock.try_read().await.unwrap().expect("readers share");
    assert!(second.token() > first.token());
    assert!(lock.try_write().await.unwrap().is_none());
    let writing = tokio::spawn({
        let lock = lock.clone();
        async move { lock.write().await.unwrap() }
    });
    until("the writer waits", async || lock.line().await.unwrap().len() == 3).await;
    // Who comes behind a writer waits for it, so that it does not starve.
    assert!(lock.try_read().await.unwrap().is_none());
    let millis = Duration::from_millis(20);
    assert!(lock.read_within(millis).await.unwrap().is_none());
    let reading = tokio::spawn({
        let lock = lock.clone();
        async move { lock.read().await.unwrap() }
    });
    first.release().await.unwrap();
    assert!(!writing.is_finished(), "one reader is left");
    second.release().await.unwrap();
    let writer = soon("all readers have left", writing).await.unwrap();
    assert!(lock.write_within(millis).await.unwrap().is_none());
    assert!(!reading.is_finished());
    let token = writer.token();
    drop(writer);
    let third = soon("the writer has left", reading).await.unwrap();
    assert!(third.token() > token);
    third.put("seen", "x").await.unwrap();
    third.release().await.unwrap();
    let writer = soon("it is free", lock.write()).await.unwrap();
    writer.release().await.unwrap();
    assert!(lock.line().await.unwrap().is_empty());
    db.shutdown().await.unwrap();
}

/// Claim: never more permits are held than there are, from wherever they are asked for, and
/// every one asked for is granted in the end (D-REC-1).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_permits_are_held_than_there_are_on_three_nodes() {
    const PERMITS: u64 = 3;
    let cluster = Cluster::start(3).await;
    let held = Arc::new(AtomicU64::new(0));
    let most = Arc::new(AtomicU64::new(0));
    let mut tasks = Vec::new();
    for (place, count) in [(0, 1), (1, 2), (2, 3), (0, 2), (1, 1), (2, 1)] {
        let semaphore = cluster.node(place).semaphore("exports", PERMITS).ttl(LONG);
        let (held, most) = (held.clone(), most.clone());
        tasks.push(tokio::spawn(async move {
            for _ in 0..5 {
                let guard = semaphore.acquire(count).await.unwrap();
                let now = held.fetch_add(count, Ordering::SeqCst) + count;
                assert!(now <= PERMITS, "{now} are held");
                most.fetch_max(now, Ordering::SeqCst);
                guard.put("export", "x").await.unwrap();
                held.fetch_sub(count, Ordering::SeqCst);
                guard.release().await.unwrap();
            }
        }));
    }
    for task in tasks {
        soon("all get their turns", task).await.unwrap();
    }
    assert!(most.load(Ordering::SeqCst) > 1, "several at once");
    cluster.stop().await;
}

#[tokio::test]
async fn permits_are_given_back_and_their_number_is_agreed_on() {
    let (db, _dir) = open().await;
    let semaphore = db.semaphore("slots", 2).ttl(LONG);
    let one = semaphore.try_acquire(1).await.unwrap().expect("two are free");
    let other = semaphore.acquire(1).await.unwrap();
    assert!(other.token() > one.token());
    assert!(semaphore.try_acquire(1).await.unwrap().is_none());
    assert!(
        semaphore
            .acquire_within(Duration::from_millis(20), 2)
            .await
            .unwrap()
            .is_none()
    );
    let disagreeing = db.semaphore("slots", 5).acquire(1).await.unwrap_err();
    assert_eq!(disagreeing.code(), "condition_failed");
    assert_eq!(disagreeing.number("permits"), Some(2));
    for wrong in [0, 3] {
        let refused = semaphore.acquire(wrong).await.unwrap_err();
        assert_eq!(refused.code(), "invalid_request");
        let refused = semaphore.try_acquire(wrong).await.unwrap_err();
        assert_eq!(refused.code(), "invalid_request");
    }
    one.release().await.unwrap();
    drop(other);
    let both = soon("both are free", semaphore.acquire(2)).await.unwrap();
    both.release().await.unwrap();
    until("nothing stays", async || db.leases().await.unwrap().is_empty()).await;
    db.shutdown().await.unwrap();
}

#[tokio::test]
async fn all_who_wait_at_a_gate_go_on_when_it_opens() {
    let (db, _dir) = open().await;
    let gate = db.barrier("migration");
    gate.wait().await.unwrap();
    let closed = gate.close().await.unwrap();
    assert_eq!(gate.close().await.unwrap(), closed, "it is closed already");
    assert!(gate.is_closed().await.unwrap());
    assert!(!gate.wait_within(Duration::from_millis(20)).await.unwrap());
    let waiting: Vec<_> = (0..3)
        .map(|_| {
            let gate = gate.clone();
            tokio::spawn(async move { gate.wait().await })
        })
        .collect();
    until("they wait", async || db.watchers().unwrap().len() == 3).await;
    assert!(gate.open().await.unwrap());
    assert!(!gate.open().await.unwrap());
    for one in waiting {
        soon("it is open", one).await.unwrap().unwrap();
    }
    db.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_goes_on_before_all_have_come_or_all_have_left() {
    const ALL: u64 = 3;
    let cluster = Cluster::start(3).await;
    let (came, left) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let mut tasks = Vec::new();
    for place in 0..3 {
        let meeting = cluster.node(place).double_barrier("shuffle", 3).ttl(LONG);
        let (came, left) = (came.clone(), left.clone());
        tasks.push(tokio::spawn(async move {
            for round in 1..=4 {
                came.fetch_add(1, Ordering::SeqCst);
                let arrived = meeting.enter().await.unwrap();
                assert!(came.load(Ordering::SeqCst) >= ALL * round);
                left.fetch_add(1, Ordering::SeqCst);
                arrived.leave().await.unwrap();
                assert!(left.load(Ordering::SeqCst) >= ALL * round);
            }
        }));
    }
    for task in tasks {
        soon("every round ends", task).await.unwrap();
    }
    let meeting = cluster.node(0).double_barrier("shuffle", 2);
    assert!(
        meeting
            .enter_within(Duration::from_millis(20))
            .await
            .unwrap()
            .is_none()
    );
    until("nobody has come", async || {
        meeting.line().await.unwrap().is_empty()
    })
    .await;
    let mut waiting = Box::pin(meeting.enter());
    until("it has come", async || {
        assert!(waiting.as_mut().now_or_never().is_none());
        meeting.line().await.unwrap().len() == 1
    })
    .await;
    let lost = meeting.line().await.unwrap().remove(0);
    cluster.node(1).delete(&lost.key).await.unwrap();
    let told = soon("it is told", waiting).await.unwrap_err();
    assert_eq!(told.code(), "lease_not_found");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_number_is_given_out_twice() {
    let cluster = Cluster::start(3).await;
    let mut tasks = Vec::new();
    for place in 0..3 {
        let sequence = cluster.node(place).sequence("orders");
        tasks.push(tokio::spawn(async move {
            let mut numbers = Vec::new();
            for _ in 0..10 {
                let issued = sequence.next().await.unwrap();
                assert!(numbers.last().is_none_or(|last| *last < issued.number));
                numbers.push(issued.number);
                let block = sequence.take(5).await.unwrap();
                assert!(block.token > issued.token);
                assert_eq!(block.last - block.first, 4);
                numbers.extend(block.first..=block.last);
            }
            numbers
        }));
    }
    let mut all = BTreeSet::new();
    for task in tasks {
        for number in task.await.unwrap() {
            assert!(all.insert(number), "{number} was given out twice");
        }
    }
    assert_eq!((all.first(), all.last(), all.len()), (Some(&1), Some(&180), 180));
    let db = cluster.node(0);
    assert_eq!(
        db.sequence("orders").take(0).await.unwrap_err().code(),
        "invalid_request"
    );
    db.put("sequence:other", serde_json::json!(-7)).await.unwrap();
    assert_eq!(
        db.sequence("other").next().await.unwrap_err().code(),
        "invalid_value"
    );
    cluster.stop().await;
}
