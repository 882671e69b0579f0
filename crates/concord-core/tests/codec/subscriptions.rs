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
    let mut store = Store::empty();
    let group = |opens, requests| Group {
        session: SessionId::new(7),
        opens,
        acked_below: 1,
        first_sequence: 1,
        requests,
    };
    let create = commands().swap_remove(0).1.to_bytes();
    for (index, group) in (1..).zip([group(true, vec![]), group(false, vec![create])]) {
        let meta = Meta {
            index: LogIndex::new(index),
            term: Term::new(1),
        };
        let batch = Batch {
            proposed_at: Timestamp::new(1_800_000_000_000 + index),
            groups: vec![group],
        };
        store.apply(meta, &batch);
    }
    store
}

fn written() -> BTreeMap<String, Vec<u8>> {
    let mut all = BTreeMap::new();
    for (name, command) in commands() {
        all.insert(format!("request {name}"), command.to_bytes().to_vec());
    }
    for (name, reply) in replies() {
        let mut bytes = Vec::new();
        reply.encode(&mut bytes);
        all.insert(format!("reply {name}"), bytes);
    }
    for (n, chunk) in Store::snapshot(&store().view()).enumerate() {
        all.insert(format!("snapshot chunk {n}"), chunk.to_vec());
    }
    all
}

#[test]
fn golden_bytes_of_subscriptions_are_written_and_read_as_ever() {
    let title = "# Requests, replies and a snapshot of version 2 with subscriptions.";
    let committed = golden::committed(FILE, title, written);
    assert_eq!(written(), committed);
    let bytes = |name: String| Bytes::from(committed[&name].clone());
    for (name, command) in commands() {
        assert_eq!(Command::decode(&bytes(format!("request {name}"))), Ok(command));
    }
    for (name, reply) in replies() {
        assert_eq!(Reply::decode(&bytes(format!("reply {name}"))), Ok(reply));
    }
    let mut restorer = Store::restorer();
    restorer.feed(&bytes("snapshot chunk 0".into())).unwrap();
    let restored = restorer.finish().unwrap();
    let found = |store: &Store| store.view().subscriptions().collect::<Vec<_>>();
    assert_eq!(found(&restored), found(&store()));
    assert_eq!(found(&restored).len(), 1);
}
