//! Committed bytes of the policy: its changes, guarded requests, replies, a snapshot with records and an owned lease.

use std::collections::BTreeMap;

use bytes::Bytes;
use concord_core::reply::{BatchUnit, InvalidRequestReason, Quota};
use concord_core::*;

use crate::golden;

const FILE: &str = "policy-v1.hex";

fn edits() -> Vec<PolicyEdit> {
    let edit = |key: &'static str, record: Option<&'static str>| PolicyEdit {
        key: Bytes::from(key),
        record: record.map(Bytes::from),
    };
    vec![edit("t1", Some("record")), edit("t2", None)]
}

fn namespaces() -> Vec<NamespaceEdit> {
    let quota = NamespaceQuota {
        max_keys: Some(300),
        max_storage_bytes: None,
        max_ops_per_sec: Some(2),
    };
    vec![
        NamespaceEdit {
            namespace: Bytes::from_static(b"acme"),
            quota,
            delete_keys: false,
        },
        NamespaceEdit {
            namespace: Bytes::from_static(b"gone"),
            quota: NamespaceQuota::UNLIMITED,
            delete_keys: true,
        },
    ]
}

fn guard(policy_revision: u64) -> Guard {
    Guard {
        policy_revision,
        expires_at: Some(Timestamp::new(1_800_000_000_300)),
        principal: PrincipalId::new(b"principal").unwrap(),
        is_confined: true,
        tenant: Some(Bytes::from_static(b"acme")),
    }
}

fn guarded(guard: Guard, command: Command) -> Command {
    let command = Box::new(command);
    Command::Guarded { guard, command }
}

fn commands() -> Vec<(&'static str, Command)> {
    let lease = Command::LeaseGrant {
        lease: LeaseId::new(7),
        ttl: Millis::new(60_000),
    };
    let once = |command| Command::Idempotent {
        key: IdempotencyKey::new("once").unwrap(),
        command: Box::new(command),
    };
    let unguarded = Guard {
        policy_revision: 0,
        expires_at: None,
        principal: PrincipalId::NOBODY,
        is_confined: false,
        tenant: None,
    };
    vec![
        ("edit", Command::EditPolicy(PolicyChange::new(0, edits()))),
        (
            "edit unjudged",
            Command::EditPolicy(PolicyChange::unjudged(edits())),
        ),
        (
            "edit with namespaces",
            Command::EditPolicy(PolicyChange::new(1, Vec::new()).with_namespaces(namespaces())),
        ),
        ("guarded", guarded(guard(2), once(lease.clone()))),
        ("guarded by nothing", guarded(unguarded, lease)),
    ]
}

fn replies() -> Vec<(&'static str, Reply)> {
    let too_many = |quota| Reply::Rejected(Rejection::QuotaExceeded { quota, limit: 300 });
    let too_large = |unit| {
        Reply::Rejected(Rejection::BatchTooLarge {
            unit,
            count: 301,
            limit: 300,
        })
    };
    vec![
        (
            "edited",
            Reply::PolicyEdited {
                revision: Revision::new(300),
                policy_revision: 7,
            },
        ),
        (
            "changed",
            Reply::Rejected(Rejection::PolicyChanged { policy_revision: 300 }),
        ),
        (
            "record",
            Reply::Rejected(Rejection::InvalidRequest {
                reason: InvalidRequestReason::PolicyRecord,
            }),
        ),
        (
            "rate limited",
            Reply::Rejected(Rejection::RateLimited { retry_after_ms: 300 }),
        ),
        ("emptying", Reply::Rejected(Rejection::NamespaceEmptying)),
        (
            "namespace",
            Reply::Rejected(Rejection::InvalidRequest {
                reason: InvalidRequestReason::Namespace,
            }),
        ),
        ("too many keys of a namespace", too_many(Quota::NamespaceKeys)),
        ("too many bytes of a namespace", too_many(Quota::NamespaceBytes)),
        ("too many namespaces", too_many(Quota::Namespaces)),
        ("too many records", too_many(Quota::PolicyRecords)),
        ("too many bytes", too_many(Quota::PolicyBytes)),
        ("too many edits", too_large(BatchUnit::PolicyEdits)),
        ("too large an edit", too_large(BatchUnit::PolicyBytes)),
    ]
}

fn store() -> Store {
    golden::store_after(commands().into_iter().map(|(_, command)| command))
}

fn written() -> BTreeMap<String, Vec<u8>> {
    let mut all = golden::messages(commands(), replies());
    golden::add_snapshot("snapshot chunk", &store(), &mut all);
    all
}

#[test]
fn golden_bytes_of_the_policy_are_written_and_read_as_ever() {
    let title = "# Requests, replies and a snapshot of version 2 with records of the policy.";
    let committed = golden::committed(FILE, title, written);
    assert_eq!(written(), committed);
    golden::assert_read(&committed, commands(), replies());
    let restored = golden::restored(&committed, "snapshot chunk 0").view();
    assert_eq!(restored.policy_revision(), 2);
    let acme = restored.namespace(b"acme");
    assert_eq!(
        (acme.quota, acme.operations_left),
        (namespaces()[0].quota, Some(1))
    );
    assert!(!restored.namespace(b"gone").is_emptying, "it had no keys");
    assert_eq!(restored.policy_get(b"t1").as_deref(), Some(&b"record"[..]));
    let owner = restored.lease(LeaseId::new(7)).unwrap().owner;
    assert_eq!(owner, guard(1).principal);
}

/// A snapshot of before there was a policy has none.
#[test]
fn older_snapshots_restore_without_a_policy() {
    let older = golden::read("subscription-v1.hex");
    let restored = golden::restored(&older, "snapshot chunk 0").view();
    assert_eq!(restored.policy_revision(), 0);
    assert!(restored.policy_list(b"", None, 10).is_empty());
}
