//! What cannot be seen from outside: who is woken, what is held, and that no mark is lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use concord_core::ids::Revision;
use concord_core::view::ChangeKind;
use concord_query::watch::{Filter, Selector};
use futures::Stream as _;
use tempfile::TempDir;

use super::crowd::Crowds;
use super::slot::{Due, Slot};
use crate::{Concord, Config, Watcher, limits};

async fn open() -> (Concord, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    (Concord::open(Config::at(dir.path())).await.unwrap(), dir)
}

#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// A write wakes those whom it concerns, however many others wait.
#[tokio::test]
async fn only_those_concerned_are_woken() {
    let (db, _dir) = open().await;
    let mut waiting = Vec::new();
    for number in 0..200 {
        let watch = if number % 2 == 0 {
            db.watch().key(format!("key:{number}"))
        } else {
            db.watch().prefix(format!("prefix:{number}:"))
        };
        let (mut watcher, count) = (watch.await.unwrap(), Arc::new(Count::default()));
        let waker = Waker::from(Arc::clone(&count));
        let polled = std::pin::Pin::new(&mut watcher).poll_next(&mut Context::from_waker(&waker));
        assert!(polled.is_pending());
        waiting.push((watcher, count));
    }
    let mut heard = db.watch().prefix("key:8").await.unwrap();
    for key in ["key:8", "key:8:more", "key:8"] {
        db.put(key, "x").await.unwrap();
        // When the next one is heard, all wakes for the one before are done.
        heard.next().await.unwrap().unwrap();
    }
    let woken: Vec<usize> = (0..200)
        .filter(|number| waiting[*number].1.0.load(Ordering::SeqCst) > 0)
        .collect();
    assert_eq!(woken, [8]);
    db.shutdown().await.unwrap();
}

/// D-EVT-4: what a watcher has not taken yet is not held for it, but for one page.
#[tokio::test]
async fn a_watcher_holds_one_page_at_most() {
    let (db, _dir) = open().await;
    let mut many = db.watch().prefix("many").await.unwrap();
    let mut large = db.watch().prefix("large").await.unwrap();
    for number in 0..limits::WATCH_PAGE_EVENTS + 500 {
        db.put(format!("many:{number}"), "x").await.unwrap();
    }
    let value = "x".repeat(limits::WATCH_PAGE_BYTES / 2 + 1);
    for number in 0..6 {
        db.put(format!("large:{number}"), value.as_str()).await.unwrap();
    }
    many.next().await.unwrap().unwrap();
    assert_eq!(many.held(), limits::WATCH_PAGE_EVENTS - 1);
    large.next().await.unwrap().unwrap();
    assert_eq!(large.held(), 1);
    db.shutdown().await.unwrap();
}

/// Where a value lies that a watcher was given.
async fn value_of_next(watcher: &mut Watcher) -> *const u8 {
    let batch = watcher.next().await.unwrap().unwrap();
    let [event] = &batch.events[..] else {
        panic!("one event: {batch:?}")
    };
    event.record.as_ref().unwrap().value.bytes().as_ptr()
}

/// What is read for one watcher serves the others of the same filter, and nobody else: a value that a thousand
/// watch is unpacked once.
#[tokio::test]
async fn watchers_of_one_filter_share_what_is_read() {
    let (db, _dir) = open().await;
    let value = "a value that is worth packing ".repeat(1_000);
    let mut alike = Vec::new();
    for _ in 0..10 {
        alike.push(db.watch().key("k").await.unwrap());
    }
    let mut with_previous = db.watch().key("k").with_previous().await.unwrap();
    let mut puts = db.watch().key("k").kinds(&[ChangeKind::Put]).await.unwrap();
    for round in 0..2 {
        db.put("k", value.as_str()).await.unwrap();
        let shared = value_of_next(&mut alike[0]).await;
        for watcher in &mut alike[1..] {
            assert_eq!(value_of_next(watcher).await, shared, "one copy, round {round}");
        }
        assert_ne!(value_of_next(&mut puts).await, shared, "another filter");
        let batch = with_previous.next().await.unwrap().unwrap();
        assert_eq!(batch.events[0].previous.is_some(), round > 0);
        assert_eq!(alike[0].held(), 0, "who waits holds nothing");
    }
    db.shutdown().await.unwrap();
}

/// Without watchers nothing looks at what is written.
#[tokio::test]
async fn routing_ends_with_the_last_watcher_and_begins_with_the_next() {
    let (db, _dir) = open().await;
    for round in 0..3 {
        let mut watcher = db.watch().key("k").await.unwrap();
        db.put("k", "x").await.unwrap();
        assert_eq!(watcher.next().await.unwrap().unwrap().events.len(), 1, "{round}");
        assert!(db.service().is_routing());
        drop(watcher);
        db.put("k", "y").await.unwrap();
        while db.service().is_routing() {
            tokio::task::yield_now().await;
        }
        db.put("k", "z").await.unwrap();
    }
    db.shutdown().await.unwrap();
}

/// Marks and takes at the same time: every marked revision is taken, in order, and a watcher that
/// finds nothing has nothing up to the revision that it looked at.
#[test]
fn no_mark_is_lost_between_routing_and_reading() {
    const LAST: u64 = 200_000;
    let filter = Filter::new(Selector::all());
    let crowd = Crowds::default().join(&filter);
    let slot = Slot::new(1, filter, crowd);
    let routed = AtomicU64::new(1);
    let concerns = |revision: u64| revision % 7 < 2;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut from = 2;
            // Batches of different lengths, as apply makes them.
            for length in (1..9).cycle() {
                let upto = (from + length).min(LAST);
                for revision in (from..=upto).filter(|revision| concerns(*revision)) {
                    slot.mark(Revision::new(revision), Revision::new(revision));
                }
                routed.store(upto, Ordering::Release);
                slot.wake();
                if upto == LAST {
                    return;
                }
                from = upto + 1;
            }
        });
        let (mut seen, mut covered) = (0_u64, 1_u64);
        while covered < LAST {
            let upto = routed.load(Ordering::Acquire);
            match slot.take(Revision::new(upto), Waker::noop()) {
                Due::Between(first, last) => {
                    let (first, last) = (first.get(), last.get());
                    assert!(first <= last && last <= upto);
                    let skipped = (covered + 1..first).find(|revision| concerns(*revision));
                    assert_eq!(skipped, None, "a revision was passed over");
                    let missed = (last + 1..=upto).find(|revision| concerns(*revision));
                    assert_eq!(missed, None, "something was behind the last one");
                    seen += (first.max(covered + 1)..=last)
                        .filter(|revision| concerns(*revision))
                        .count() as u64;
                }
                Due::Nothing => {
                    let missed = (covered + 1..=upto).find(|revision| concerns(*revision));
                    assert_eq!(missed, None, "nothing was due, they say");
                }
                Due::Closed => panic!("nobody closes it"),
            }
            covered = covered.max(upto);
        }
        assert_eq!(
            seen,
            (2..=LAST).filter(|revision| concerns(*revision)).count() as u64
        );
    });
    assert!(matches!(
        slot.take(Revision::new(LAST), Waker::noop()),
        Due::Nothing
    ));
    let status = slot.status(Revision::new(LAST));
    assert_eq!((status.lag, status.revision), (0, Revision::new(LAST)));
}

/// Two watchers of one key do not take from each other (D-EVT-3), and one that was not polled yet
/// is found by the next write.
#[tokio::test]
async fn watchers_that_were_never_polled_are_not_forgotten() {
    let (db, _dir) = open().await;
    let mut first = db.watch().key("k").await.unwrap();
    let second = db.watch().key("k").await.unwrap();
    db.put("k", "1").await.unwrap();
    assert_eq!(first.next().await.unwrap().unwrap().events.len(), 1);
    let waiting = tokio::spawn(async move {
        let mut second = second;
        let one = second.next().await.unwrap().unwrap();
        let two = second.next().await.unwrap().unwrap();
        (one.events.len(), two.events.len())
    });
    db.put("k", "2").await.unwrap();
    assert_eq!(waiting.await.unwrap(), (1, 1));
    let mut nothing = db.watch().key("other").await.unwrap();
    let polled = std::pin::Pin::new(&mut nothing).poll_next(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(polled, Poll::Pending));
    db.shutdown().await.unwrap();
}
