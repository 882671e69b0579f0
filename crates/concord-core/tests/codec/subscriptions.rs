//! Committed bytes of subscriptions: requests, replies, a snapshot with one.

use std::collections::BTreeMap;

use bytes::Bytes;
use concord_core::reply::{InvalidRequestReason, Quota};
use concord_core::*;

use crate::golden;

const FILE: &str = "subscription-v1.hex";

fn commands() -> Vec<(&'static str, Command)> {
    let name = || SubscriptionName::new("s").unwrap();
    vec![
        (
            "create",
            Command::CreateSubscription {
                name: name(),
                filter: Bytes::from_static(b"filter"),
                after: Some(Revision::new(1)),
            },
        ),
        (
            "create from now",
            Command::CreateSubscription {
                name: name(),
                filter: Bytes::new(),
                after: None,
            },
        ),
        ("delete", Command::DeleteSubscription { name: name() }),
        (
            "ack",
            Command::AckSubscription {
                name: name(),
                upto: Revision::new(300),
            },
        ),
        (
            "reset",
            Command::ResetSubscription {
                name: name(),
                after: Some(Revision::new(300)),
            },
        ),
    ]
}

fn replies() -> Vec<(&'static str, Reply)> {
    vec![
        (
            "changed",
            Reply::SubscriptionChanged {
                revision: Revision::new(300),
                acked: Revision::new(7),
            },
        ),
        ("exists", Reply::Rejected(Rejection::SubscriptionExists)),
        ("not found", Reply::Rejected(Rejection::SubscriptionNotFound)),
        (
            "long filter",
            Reply::Rejected(Rejection::InvalidRequest {
                reason: InvalidRequestReason::SubscriptionFilter,
            }),
        ),
        (
            "too many",
            Reply::Rejected(Rejection::QuotaExceeded {
                quota: Quota::Subscriptions,
                limit: 300,
            }),
        ),
    ]
}

fn store() -> Store {
    golden::store_after([commands().swap_remove(0).1])
}

fn written() -> BTreeMap<String, Vec<u8>> {
    let mut all = golden::messages(commands(), replies());
    golden::add_snapshot("snapshot chunk", &store(), &mut all);
    all
}

#[test]
fn golden_bytes_of_subscriptions_are_written_and_read_as_ever() {
    let title = "# Requests, replies and a snapshot of version 2 with subscriptions.";
    let committed = golden::committed(FILE, title, written);
    assert_eq!(written(), committed);
    golden::assert_read(&committed, commands(), replies());
    let restored = golden::restored(&committed, "snapshot chunk 0");
    let found = |store: &Store| store.view().subscriptions().collect::<Vec<_>>();
    assert_eq!(found(&restored), found(&store()));
    assert_eq!(found(&restored).len(), 1);
}
