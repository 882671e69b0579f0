//! The rate limiter.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use concord_server::recipes::{Decision, Rate, RateLimiter};

use super::{open, soon};
use crate::cluster::Cluster;

async fn is_granted(limiter: &RateLimiter, permits: u32) -> bool {
    matches!(
        limiter.try_acquire(permits).await.unwrap(),
        Decision::Granted { .. }
    )
}

/// Claim: however many ask on however many nodes, no more is granted than the bucket holds and
/// gets back meanwhile, and never less (D-REC-1).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_is_granted_than_allowed_on_three_nodes() {
    const BURST: u64 = 20;
    let period = Duration::from_secs(3_600);
    let cluster = Cluster::start(3).await;
    let rate = Rate::new(1, period).unwrap().burst(20);
    let granted = Arc::new(AtomicU64::new(0));
    let mut tasks = Vec::new();
    for place in [0, 1, 2, 0, 1, 2] {
        let limiter = cluster.node(place).rate_limiter("api", rate);
        let granted = granted.clone();
        tasks.push(tokio::spawn(async move {
            let mut tokens = Vec::new();
            for permits in [1, 2, 1, 1, 3, 1, 1] {
                if let Decision::Granted { token } = limiter.try_acquire(permits).await.unwrap() {
                    granted.fetch_add(u64::from(permits), Ordering::SeqCst);
                    tokens.push(token);
                }
            }
            assert!(tokens.is_sorted_by(|one, next| one < next));
        }));
    }
    for task in tasks {
        soon("all are answered", task).await.unwrap();
    }
    // One more may have come back, if the hour was full in between.
    let granted = granted.load(Ordering::SeqCst);
    assert!((BURST..=BURST + 1).contains(&granted), "{granted}");
    let limiter = cluster.node(1).rate_limiter("api", rate);
    let Decision::Denied { retry_after } = limiter.try_acquire(2).await.unwrap() else {
        panic!("nothing is left");
    };
    assert!(
        retry_after <= period * 2 && retry_after > Duration::ZERO,
        "{retry_after:?}"
    );
    // Another name and another rate are other buckets.
    assert!(is_granted(&cluster.node(2).rate_limiter("api:2", rate), 20).await);
    let other = Rate::new(2, period).unwrap();
    assert!(is_granted(&cluster.node(2).rate_limiter("api", other), 1).await);
    cluster.stop().await;
}

#[tokio::test]
async fn permits_come_back_with_time_and_not_faster() {
    let (db, _dir) = open().await;
    let rate = Rate::new(20, Duration::from_secs(1)).unwrap().burst(3);
    let limiter = db.rate_limiter("steady", rate);
    let started = Instant::now();
    let mut last = limiter.acquire(3).await.unwrap();
    for _ in 0..20 {
        let token = limiter.acquire(1).await.unwrap();
        assert!(token > last);
        last = token;
    }
    // The ticks go by whole periods, and the cluster's clock in steps.
    let took = started.elapsed();
    assert!(took >= Duration::from_millis(550), "{took:?}");
    let patience = Duration::from_millis(1);
    while limiter.acquire_within(patience, 3).await.unwrap().is_some() {}
    soon("they come back", limiter.acquire(3)).await.unwrap();
    // A bucket that is full again takes no room.
    super::until("the key goes", async || {
        let page = db.scan().prefix("rate-limiter:").await.unwrap();
        page.records.is_empty()
    })
    .await;
    db.shutdown().await.unwrap();
}

/// While nothing can expire nobody moves the clock: a bucket that was judged by an old one must not
/// get back permits for time that had passed before.
#[tokio::test]
async fn a_clock_that_stood_still_gives_nothing_away() {
    let (db, _dir) = open().await;
    db.put("before", "x").await.unwrap();
    let stood_still = Instant::now();
    while stood_still.elapsed() < Duration::from_secs(2) {
        tokio::task::yield_now().await;
    }
    let rate = Rate::new(100, Duration::from_secs(10)).unwrap().burst(20);
    let limiter = db.rate_limiter("idle", rate);
    let started = Instant::now();
    assert!(is_granted(&limiter, 20).await, "it is full");
    let mut granted = 0;
    while is_granted(&limiter, 1).await {
        granted += 1;
    }
    let back = started.elapsed().as_millis() / 100 + 4;
    assert!(granted <= back, "{granted}, but only {back} can have come back");
    db.shutdown().await.unwrap();
}

#[tokio::test]
async fn rates_that_make_no_sense_are_refused() {
    let (db, _dir) = open().await;
    let second = Duration::from_secs(1);
    for (permits, per) in [(0, second), (1, Duration::ZERO), (2_000_000, second)] {
        assert_eq!(Rate::new(permits, per).unwrap_err().code(), "invalid_request");
    }
    let limiter = db.rate_limiter("small", Rate::new(2, second).unwrap());
    for permits in [0, 3] {
        let refused = limiter.try_acquire(permits).await.unwrap_err();
        assert_eq!(refused.code(), "invalid_request");
    }
    db.put("rate-limiter:small#500000us", "x").await.unwrap();
    assert_eq!(limiter.try_acquire(1).await.unwrap_err().code(), "invalid_value");
    db.shutdown().await.unwrap();
}
