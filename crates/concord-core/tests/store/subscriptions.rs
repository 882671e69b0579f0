//! Subscriptions: places in the change log that only move on, and outlive the node.

use bytes::Bytes;
use concord_core::limits::{SUBSCRIPTION_FILTER_BYTES_MAX, SUBSCRIPTIONS_MAX};
use concord_core::*;

use crate::support::{Log, restored, rev, snapshot};

fn name(text: &str) -> SubscriptionName {
    SubscriptionName::new(text).unwrap()
}

fn create(text: &str, after: Option<u64>) -> Command {
    Command::CreateSubscription {
        name: name(text),
        filter: Bytes::from_static(b"filter"),
        after: after.map(rev),
    }
}

fn ack(text: &str, upto: u64) -> Command {
    Command::AckSubscription {
        name: name(text),
        upto: rev(upto),
    }
}

fn reset(text: &str, after: Option<u64>) -> Command {
    Command::ResetSubscription {
        name: name(text),
        after: after.map(rev),
    }
}

fn compact(revision: u64) -> Command {
    Command::Compact {
        revision: rev(revision),
    }
}

fn acked(log: &Log, text: &str) -> u64 {
    log.view().subscription(&name(text)).unwrap().acked.get()
}

fn moved(revision: u64, acked: u64) -> Reply {
    Reply::SubscriptionChanged {
        revision: rev(revision),
        acked: rev(acked),
    }
}

/// A store at revision 10 with a subscription from revision 3 on.
fn log() -> Log {
    let mut log = Log::new();
    for n in 2..=10 {
        log.put("k", &n.to_string());
    }
    assert_eq!(log.run(create("s", Some(3))), moved(10, 3));
    log
}

#[test]
fn acknowledgements_only_lead_on() {
    let mut log = log();
    for (upto, expected) in [(5, 5), (4, 5), (5, 5), (9, 9), (1, 9), (10, 10)] {
        assert_eq!(log.run(ack("s", upto)), moved(10, expected));
        assert_eq!(acked(&log, "s"), expected);
    }
    assert_eq!(
        log.run(ack("s", 11)),
        Reply::Rejected(Rejection::FutureRevision { revision: rev(10) })
    );
    assert_eq!(log.view().revision(), rev(10), "none of it is a revision");
}

#[test]
fn names_are_given_once_and_forgotten() {
    let mut log = log();
    assert_eq!(
        log.run(create("s", None)),
        Reply::Rejected(Rejection::SubscriptionExists)
    );
    assert_eq!(acked(&log, "s"), 3, "a refusal changes nothing");
    assert_eq!(log.run(create("now", None)), moved(10, 10));
    let names: Vec<_> = log.view().subscriptions().map(|found| found.name).collect();
    assert_eq!(names, [name("now"), name("s")]);
    assert_eq!(
        log.run(Command::DeleteSubscription { name: name("s") }),
        moved(10, 3)
    );
    let missing = Reply::Rejected(Rejection::SubscriptionNotFound);
    assert_eq!(log.run(Command::DeleteSubscription { name: name("s") }), missing);
    assert_eq!(log.run(ack("s", 4)), missing);
    assert_eq!(log.run(reset("s", None)), missing);
}

/// D-EVT-4: nothing is held back for who is slow, and the way out is explicit.
#[test]
fn who_falls_behind_compaction_begins_anew() {
    let mut log = log();
    log.run(compact(6));
    assert_eq!(acked(&log, "s"), 3, "what was acknowledged stays what it was");
    let behind = Reply::Rejected(Rejection::Compacted {
        compact_revision: rev(6),
    });
    assert_eq!(log.run(reset("s", Some(5))), behind);
    assert_eq!(log.run(create("late", Some(5))), behind);
    assert_eq!(log.run(reset("s", Some(6))), moved(10, 6));
    assert_eq!(log.run(ack("s", 9)), moved(10, 9));
    assert_eq!(
        log.run(reset("s", Some(7))),
        moved(10, 7),
        "a reset leads back, too"
    );
    assert_eq!(log.run(reset("s", None)), moved(10, 10));
}

#[test]
fn subscriptions_are_in_snapshots() {
    let mut log = log();
    let before = snapshot(&log.view());
    log.run(ack("s", 8));
    log.run(create("t", None));
    assert_ne!(snapshot(&log.view()), before);
    let replica = restored(&log.view());
    let found = |view: &ReadView| view.subscriptions().collect::<Vec<_>>();
    assert_eq!(found(&replica.view()), found(&log.view()));
    assert_eq!(invariants::check(&replica), Ok(()));
    assert_eq!(snapshot(&replica.view()), snapshot(&log.view()), "I4");
}

#[test]
fn there_are_only_so_many_and_no_filter_is_too_long() {
    let mut log = Log::new();
    let long = Command::CreateSubscription {
        name: name("long"),
        filter: Bytes::from(vec![0; SUBSCRIPTION_FILTER_BYTES_MAX + 1]),
        after: None,
    };
    assert!(matches!(
        log.run(long),
        Reply::Rejected(Rejection::InvalidRequest { .. })
    ));
    let all: Vec<Command> = (0..SUBSCRIPTIONS_MAX)
        .map(|n| create(&format!("s{n}"), None))
        .collect();
    log.batch(&all);
    assert!(matches!(
        log.run(create("one more", None)),
        Reply::Rejected(Rejection::QuotaExceeded { .. })
    ));
    log.run(Command::DeleteSubscription { name: name("s7") });
    assert_eq!(log.run(create("one more", None)), moved(1, 1));
    assert!(SubscriptionName::new("").is_err());
    assert!(SubscriptionName::new("x".repeat(256)).is_err());
}
