//! What a program is told, and what its function cannot do to the node. D-TST-2: told, not switched off.

use std::sync::mpsc::{Receiver, channel};

use super::*;
use crate::{Concord, Config, Error};

/// A node whose events come through a channel.
async fn node(directory: &std::path::Path) -> (Concord, Receiver<Event>) {
    let (told, events) = channel();
    let told = parking_lot::Mutex::new(told);
    let config = Config::at(directory).on_event(move |_, event| {
        // The test may have seen enough.
        let _ = told.lock().send(event.clone());
    });
    (Concord::open(config).await.unwrap(), events)
}

/// Waits for an event.
fn next<T>(events: &Receiver<Event>, found: impl Fn(&Event) -> Option<T>) -> T {
    loop {
        let event = events
            .recv_timeout(Duration::from_secs(30))
            .expect("the event comes");
        if let Some(found) = found(&event) {
            return found;
        }
    }
}

/// Waits for an event that is so.
macro_rules! told {
    ($events:expr, $pattern:pat) => {
        next(&$events, |event| matches!(event, $pattern).then_some(()))
    };
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_is_told_of_writes_and_reads() {
    let directory = tempfile::tempdir().unwrap();
    let (db, events) = node(directory.path()).await;
    db.put("secret-key", "secret-value")
        .ttl(Duration::from_millis(50))
        .await
        .unwrap();
    told!(
        events,
        Event::Write {
            operation: "put",
            result: "ok",
            items: 1,
            has_ttl: true,
            has_condition: false,
            ..
        }
    );
    told!(events, Event::Expired { keys: 1, .. });
    db.touch("absent", Duration::from_secs(1)).await.unwrap_err();
    told!(
        events,
        Event::Write {
            operation: "touch",
            result: "not_found",
            ..
        }
    );
    db.get("secret-key").await.unwrap();
    told!(
        events,
        Event::Read {
            operation: "get",
            result: "ok",
            ..
        }
    );
    db.shutdown().await.unwrap();
    told!(events, Event::Stopping);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_is_told_of_what_the_node_does_besides() {
    let directory = tempfile::tempdir().unwrap();
    let (db, events) = node(directory.path()).await;
    told!(
        events,
        Event::Standing {
            role: Role::Leader,
            ..
        }
    );
    let watcher = db.watch().await.unwrap();
    told!(events, Event::WatchOpened);
    drop(watcher);
    told!(events, Event::WatchClosed);
    db.put("k", "v").await.unwrap();
    db.snapshot().await.unwrap();
    told!(events, Event::SnapshotCreated { file_bytes: 1.., .. });
    db.backups().create().await.unwrap();
    told!(
        events,
        Event::Administered {
            action: "backup",
            result: "ok",
            ..
        }
    );
    told!(events, Event::BackupCreated { file_bytes: 1.., .. });
    // Every ten seconds, and so again.
    told!(
        events,
        Event::Status {
            members: 1,
            keys: 1,
            ..
        }
    );
    db.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_are_told_where_they_are_applied_and_events_hold_no_data() {
    let directory = tempfile::tempdir().unwrap();
    let (db, events) = node(directory.path()).await;
    db.put("secret-key", "secret-value").await.unwrap();
    next(&events, |event| {
        assert!(!format!("{event:?}").contains("secret"), "{event:?}");
        let applied = matches!(
            event,
            Event::Applied {
                // The raise of a new cluster may be in the same entry.
                requests: 1..,
                is_own: true,
                ..
            }
        );
        applied.then_some(())
    });
    db.shutdown().await.unwrap();
}

/// A function that is stuck costs events, which are counted, and nothing else.
#[tokio::test(flavor = "multi_thread")]
async fn a_function_that_waits_holds_nobody_up() -> Result<(), Error> {
    let directory = tempfile::tempdir().unwrap();
    let (release, stuck) = channel::<()>();
    let (told, lost) = channel();
    let hands = parking_lot::Mutex::new((stuck, told));
    let config = Config::at(directory.path()).on_event(move |_, event| {
        let (stuck, told) = &*hands.lock();
        if let Event::Lost { events } = event {
            // The test may have seen enough.
            let _ = told.send(*events);
        }
        // Until the test lets go; then it is never stuck again.
        let _ = stuck.recv();
    });
    let db = Concord::open(config).await.unwrap();
    for _ in 0..limits::TELEMETRY_QUEUE_EVENTS + 10 {
        // Each is an event, and takes no part in consensus.
        db.get("k").eventual().await?;
    }
    db.put("k", "v").await?;
    drop(release);
    let lost = loop {
        db.get("k").eventual().await?;
        if let Ok(lost) = lost.try_recv() {
            break lost;
        }
        tokio::task::yield_now().await;
    };
    assert!(lost > 0);
    db.shutdown().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_that_panics_stops_nothing() -> Result<(), Error> {
    let directory = tempfile::tempdir().unwrap();
    let (told, calls) = channel();
    let told = parking_lot::Mutex::new(told);
    let config = Config::at(directory.path()).on_event(move |_, _| {
        // The test may have seen enough.
        let _ = told.lock().send(());
        panic!("this is a test");
    });
    let db = Concord::open(config).await.unwrap();
    for _ in 0..3 {
        db.put("k", "v").await?;
    }
    for _ in 0..5 {
        calls
            .recv_timeout(Duration::from_secs(30))
            .expect("it is called again");
    }
    assert!(db.get("k").await?.is_some());
    db.shutdown().await
}
