//! The lock.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use concord_server::recipes::Guard;
use concord_server::txn::key;
use concord_server::{Concord, Revision};
use futures::FutureExt as _;
use parking_lot::Mutex;

use super::{LONG, open, soon, take_away, until, until_in_line};
use crate::cluster::Cluster;

/// Claim: at most one holds a lock at any moment, and tokens grow from holder to holder, whatever
/// node they come from and while leadership moves (D-REC-1). Method: what holders do between is read and
/// write without any other protection.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_holds_at_a_time_and_tokens_grow_on_three_nodes() {
    const ROUNDS: u64 = 6;
    let cluster = Cluster::start(3).await;
    let inside = Arc::new(AtomicU64::new(0));
    let tokens: Arc<Mutex<Vec<Revision>>> = Arc::default();
    let mut tasks = Vec::new();
    for place in [0, 1, 2, 0, 1, 2] {
        let (db, inside, tokens) = (cluster.node(place).clone(), inside.clone(), tokens.clone());
        tasks.push(tokio::spawn(async move {
            let lock = db.lock("contended").ttl(LONG);
            for _ in 0..ROUNDS {
                let guard = lock.acquire().await.unwrap();
                assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0, "somebody else is in");
                tokens.lock().push(guard.token());
                let found = db.get("total").strong().await.unwrap();
                let before: u64 = found.as_ref().map_or(0, |entry| entry.to_doc().unwrap());
                guard.put("total", serde_json::json!(before + 1)).await.unwrap();
                assert_eq!(inside.fetch_sub(1, Ordering::SeqCst), 1);
                guard.release().await.unwrap();
            }
        }));
    }
    for (round, to) in [(1, 1), (2, 2), (3, 0)] {
        until("some have had it", async || tokens.lock().len() >= round * 6).await;
        let to = cluster.node(to).node_id();
        cluster.move_leadership(Some(to)).await;
    }
    for task in tasks {
        soon("all get their turns", task).await.unwrap();
    }
    let tokens = tokens.lock().clone();
    assert!(tokens.is_sorted_by(|one, next| one < next), "{tokens:?}");
    let total = cluster.node(1).get_doc::<u64>("total").await.unwrap();
    assert_eq!(total.into_inner(), Some(6 * ROUNDS), "no update was lost");
    assert_eq!(cluster.node(0).lock("contended").holder().await.unwrap(), None);
    cluster.stop().await;
}

/// D-REC-3: who held a lock and has lost it writes nothing any more.
#[tokio::test]
async fn who_has_lost_a_lock_cannot_write_under_it() {
    let (db, _dir) = open().await;
    let first = db.lock("account").acquire().await.unwrap();
    first.put("balance", "100").await.unwrap();
    take_away(&db, &first).await;
    let second = db.lock("account").acquire().await.unwrap();
    assert!(second.token() > first.token());
    assert!(!first.is_held() && second.is_held());

    let late = first.put("balance", "0").await.unwrap_err();
    assert_eq!(
        (late.code(), late.may_have_written()),
        ("condition_failed", false)
    );
    let late = first.txn().then(key("balance").delete()).await.unwrap();
    assert!(!late.succeeded);
    // The condition holds for whoever has it by message, and in transactions put together elsewhere.
    let fence = second.fence();
    let done = db
        .txn()
        .when(&fence)
        .then(key("balance").put("70"))
        .await
        .unwrap();
    assert!(done.succeeded);
    let done = db.txn().when(first.fence()).await.unwrap();
    assert!(!done.succeeded);
    assert_eq!(
        db.get("balance")
            .await
            .unwrap()
            .as_ref()
            .and_then(|entry| entry.text()),
        Some("70")
    );
    let lost = first.release().await.unwrap_err();
    assert_eq!(lost.code(), "lease_not_found");
    assert!(
        second.is_held(),
        "the late release is about the first lease alone"
    );
    second.release().await.unwrap();
    db.shutdown().await.unwrap();
}

#[tokio::test]
async fn those_who_wait_get_their_turn_in_order() {
    let (db, _dir) = open().await;
    let lock = db.lock("fair").ttl(LONG);
    let first = lock.acquire().await.unwrap();
    let (sender, mut order) = tokio::sync::mpsc::unbounded_channel();
    let mut tasks = Vec::new();
    for number in 0..5 {
        let (lock, sender) = (lock.clone().owner(number.to_string()), sender.clone());
        tasks.push(tokio::spawn(async move {
            let guard = lock.acquire().await.unwrap();
            sender.send((number, guard.token())).unwrap();
            guard.release().await.unwrap();
        }));
        until_in_line(&lock_of(&db), number + 2).await;
    }
    // Each waits for the one before it alone: no herd.
    let line = lock.line().await.unwrap();
    let owners: Vec<_> = line
        .iter()
        .map(|holder| holder.text().unwrap_or_default())
        .collect();
    assert_eq!(owners, ["", "0", "1", "2", "3", "4"]);
    until("all watch", async || db.watchers().unwrap().len() == 10).await;
    for holder in &line {
        let watchers = db.watchers().unwrap();
        let watching = watchers
            .iter()
            .filter(|watcher| watcher.selector.contains(&holder.key.to_string()));
        // The one behind it, and a waiter itself.
        let most = if holder.token == first.token() || holder.text() == Some("4") {
            1
        } else {
            2
        };
        assert_eq!(watching.count(), most, "{}", holder.key);
    }
    first.release().await.unwrap();
    let mut last = line[0].token;
    for expected in 0..5 {
        let (number, token) = soon("the next one", order.recv()).await.unwrap();
        assert_eq!(number, expected);
        assert!(token > last);
        last = token;
    }
    for task in tasks {
        task.await.unwrap();
    }
    db.shutdown().await.unwrap();
}

fn lock_of(db: &Concord) -> concord_server::recipes::Lock {
    db.lock("fair")
}

#[tokio::test]
async fn a_waiter_that_gives_up_leaves_nothing_behind() {
    let (db, _dir) = open().await;
    let lock = db.lock("busy").ttl(LONG);
    let guard = lock.acquire().await.unwrap();
    assert!(lock.try_acquire().await.unwrap().is_none());
    assert!(
        lock.acquire_within(Duration::from_millis(20))
            .await
            .unwrap()
            .is_none()
    );
    // Dropped while it waits.
    let mut waiting = Box::pin(lock.acquire());
    until("it stands in line", async || {
        assert!(waiting.as_mut().now_or_never().is_none());
        lock.line().await.unwrap().len() == 2
    })
    .await;
    drop(waiting);
    until_in_line(&lock, 1).await;
    until("their leases are gone", async || {
        db.leases().await.unwrap().len() == 1
    })
    .await;
    // And dropped at every other step.
    for steps in 1..40 {
        let mut waiting = Box::pin(lock.acquire());
        for _ in 0..steps {
            assert!(waiting.as_mut().now_or_never().is_none(), "somebody holds it");
            tokio::task::yield_now().await;
        }
    }
    until_in_line(&lock, 1).await;
    assert!(guard.is_held());
    drop(guard);
    // Dropped without a word, it is given up too.
    until_in_line(&lock, 0).await;
    let guard = lock.try_acquire().await.unwrap().expect("nobody has it");
    guard.release().await.unwrap();
    db.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_holder_learns_at_once_that_it_has_lost() {
    let (db, _dir) = open().await;
    let ended = async |end: fn(&Concord, &Guard) -> concord_server::Key| {
        let guard = db.lock("short").ttl(LONG).acquire().await.unwrap();
        assert!(guard.lost().now_or_never().is_none());
        let mut lost = Box::pin(guard.lost());
        assert!(lost.as_mut().now_or_never().is_none());
        db.delete(end(&db, &guard)).await.unwrap();
        soon("it is told", lost).await;
        assert!(!guard.is_held());
        soon("and again", guard.lost()).await;
    };
    ended(|_, guard| guard.key().clone()).await;
    // Long after the revision at which it was taken is forgotten.
    let guard = db.lock("short").ttl(LONG).acquire().await.unwrap();
    db.put("other", "x").await.unwrap();
    let last = db.put("other", "y").await.unwrap().revision;
    db.compact(last).await.unwrap();
    assert!(guard.is_held());
    let mut lost = Box::pin(guard.lost());
    assert!(lost.as_mut().now_or_never().is_none());
    take_away(&db, &guard).await;
    soon("it is told", &mut lost).await;
    drop(lost);
    assert!(!guard.is_held());
    // A node that stops holds nothing.
    let guard = db.lock("short").acquire().await.unwrap();
    let stopping = tokio::spawn({
        let db = db.clone();
        async move { db.shutdown().await }
    });
    soon("it is told", guard.lost()).await;
    stopping.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_waiter_whose_place_is_taken_away_is_told() {
    let (db, _dir) = open().await;
    let lock = db.lock("line").ttl(LONG);
    let guard = lock.acquire().await.unwrap();
    let waiting = tokio::spawn({
        let lock = lock.clone();
        async move { lock.acquire().await }
    });
    until_in_line(&lock, 2).await;
    let second = lock.line().await.unwrap().remove(1);
    db.delete(&second.key).await.unwrap();
    let told = soon("it is told", waiting).await.unwrap().unwrap_err();
    assert_eq!(told.code(), "lease_not_found");
    assert!(guard.is_held());
    guard.release().await.unwrap();
    db.shutdown().await.unwrap();
}

/// D-V3-2: a lease ends by itself, so a process that is gone frees what it held.
#[tokio::test]
async fn a_lock_is_free_when_the_lease_of_its_holder_ends() {
    let (db, _dir) = open().await;
    let lease = db.lease_grant(Duration::from_millis(500)).await.unwrap();
    // What a holder leaves that is killed: its key, and a lease that nobody keeps alive.
    let dead = format!("lock:gone#{:016x}", lease.id.get());
    db.put(&dead, "").lease(lease.id).await.unwrap();
    let guard = soon("its time is over", db.lock("gone").acquire()).await.unwrap();
    assert!(db.get(&dead).await.unwrap().is_none());
    assert!(guard.is_held());
    guard.release().await.unwrap();
    db.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guard_survives_a_change_of_the_leader_but_not_the_loss_of_the_cluster() {
    const TTL: Duration = Duration::from_secs(3);
    let cluster = Cluster::start(3).await;
    let guard = cluster.node(2).lock("kept").ttl(TTL).acquire().await.unwrap();
    let started = Instant::now();
    cluster.move_leadership(Some(cluster.node(2).node_id())).await;
    while started.elapsed() < TTL + TTL / 2 {
        assert!(guard.is_held(), "after {:?}", started.elapsed());
        tokio::task::yield_now().await;
    }
    guard.put("still", "mine").await.unwrap();
    // Cut off: nobody can end the lease, and still the holder stops believing in time.
    let cut_off = Instant::now();
    for place in [0, 1] {
        cluster.node(place).shutdown().await.unwrap();
    }
    soon("it stops believing", guard.lost()).await;
    assert!(!guard.is_held());
    assert!(
        cut_off.elapsed() < TTL + Duration::from_secs(2),
        "within its time: {:?}",
        cut_off.elapsed()
    );
    drop(guard);
    cluster.stop().await;
}

#[tokio::test]
async fn bad_names_and_times_are_refused() {
    let (db, _dir) = open().await;
    let before = db.put("before", "x").await.unwrap().revision;
    for name in ["", "a#b#c", "lock#b", "a\nb"] {
        let lock = db.lock(name);
        assert_eq!(lock.acquire().await.unwrap_err().code(), "invalid_request");
        assert_eq!(lock.try_acquire().await.unwrap_err().code(), "invalid_request");
        assert_eq!(lock.holder().await.unwrap_err().code(), "invalid_request");
    }
    let never = db.lock("a").ttl(Duration::ZERO).acquire().await.unwrap_err();
    assert_eq!(never.code(), "invalid_ttl");
    assert_eq!(db.put("after", "x").await.unwrap().revision, before.next());
    db.shutdown().await.unwrap();
}
