//! Committed bytes of the requests and replies that came with conditions, bulk and what follows.

use std::collections::BTreeMap;

use concord_core::expr::{Binary, Expr, Expression, Variable};
use concord_core::reply::{BatchUnit, InvalidRequestReason, Quota, RequestPart, TouchOutcome};
use concord_core::*;

use crate::golden;

const FILE: &str = "data-plane-v1.hex";

fn key(text: &str) -> Key {
    Key::try_from(text).unwrap()
}

fn rev(revision: u64) -> Revision {
    Revision::new(revision)
}

fn predicate() -> Expression {
    let field = Expr::Variable(Variable::Value).field("age");
    Expression::new(field.with(Binary::GreaterOrEqual, Expr::integer(30_i64))).unwrap()
}

fn conditions() -> Vec<(&'static str, Condition)> {
    vec![
        ("absent", Condition::Absent),
        ("present", Condition::Present),
        ("value", Condition::ValueIs(Value::text("old"))),
        ("mod revision", Condition::ModRevisionIs(rev(300))),
        ("version", Condition::VersionIs(2)),
        ("predicate", Condition::Predicate(predicate())),
    ]
}

fn commands() -> Vec<(String, Command)> {
    let ttl = Lifetime::Ttl(Millis::new(30_000));
    let lease = Lifetime::Lease(LeaseId::new(300));
    let put = |lifetime, condition| Command::Put {
        key: key("k"),
        value: Value::text("v").into(),
        lifetime,
        condition,
        return_previous: true,
    };
    let mut all: Vec<(String, Command)> = Vec::new();
    for (name, condition) in conditions() {
        let delete = Command::Delete {
            key: key("k"),
            condition: Some(condition.clone()),
            return_previous: false,
        };
        all.push((format!("put if {name}"), put(ttl, Some(condition))));
        all.push((format!("delete if {name}"), delete));
    }
    let item = |name, lifetime| PutItem {
        key: key(name),
        value: Value::binary(&b"v"[..]).into(),
        lifetime,
    };
    let touch = |name, lifetime| TouchItem {
        key: key(name),
        lifetime,
    };
    let rest = [
        ("put on a lease", put(lease, None)),
        (
            "touch to a lease",
            Command::Touch {
                key: key("k"),
                lifetime: lease,
            },
        ),
        (
            "put many",
            Command::PutMany {
                items: vec![item("a", Lifetime::Forever), item("b", ttl), item("c", lease)],
            },
        ),
        ("put none", Command::PutMany { items: vec![] }),
        (
            "delete many",
            Command::DeleteMany {
                keys: vec![key("a"), key("b")],
            },
        ),
        (
            "touch many",
            Command::TouchMany {
                items: vec![touch("a", Lifetime::Forever), touch("b", ttl), touch("c", lease)],
            },
        ),
    ];
    all.extend(rest.map(|(name, command)| (name.into(), command)));
    let others = lease_commands().into_iter().chain(txn_commands());
    all.extend(others.map(|(name, command)| (name.into(), command)));
    all.push(("txn".into(), Command::Txn(txn(item("a", ttl), touch("b", lease)))));
    all
}

fn lease_commands() -> Vec<(&'static str, Command)> {
    let lease = LeaseId::new(300);
    let ttl = Millis::new(30_000);
    vec![
        ("lease grant", Command::LeaseGrant { lease, ttl }),
        ("lease keep alive", Command::LeaseKeepAlive { lease }),
        ("lease revoke", Command::LeaseRevoke { lease }),
        ("idempotent", idempotent()),
    ]
}

fn idempotent() -> Command {
    let lease = LeaseId::new(300);
    Command::Idempotent {
        key: IdempotencyKey::new("name").unwrap(),
        command: Box::new(Command::LeaseKeepAlive { lease }),
    }
}

fn txn_commands() -> Vec<(&'static str, Command)> {
    let asks = Compare {
        keys: Keys::One(key("k")),
        test: Test::Predicate(predicate()),
    };
    let asking = Txn {
        compares: vec![asks],
        ..Txn::default()
    };
    vec![
        ("txn of nothing", Command::Txn(Txn::default())),
        ("txn if predicate", Command::Txn(asking)),
    ]
}

/// A transaction with one of everything.
fn txn(item: PutItem, touch: TouchItem) -> Txn {
    let one = || Keys::One(key("k"));
    let compare = |keys, test| Compare { keys, test };
    let operations = vec![
        Operation::Get {
            keys: one(),
            limit: None,
        },
        Operation::Get {
            keys: Keys::Range(KeyRange::prefix("k")),
            limit: Some(300),
        },
        Operation::Put {
            item,
            return_previous: true,
        },
        Operation::Delete {
            keys: Keys::Range(KeyRange::all()),
            return_previous: true,
        },
        Operation::Touch(touch),
    ];
    let nested = Txn {
        success: vec![],
        failure: operations.clone(),
        compares: vec![],
    };
    Txn {
        compares: vec![
            compare(one(), Test::Value(Operator::Equal, Value::text("v"))),
            compare(one(), Test::ModRevision(Operator::NotEqual, rev(300))),
            compare(one(), Test::CreateRevision(Operator::Less, rev(300))),
            compare(one(), Test::Version(Operator::Greater, 300)),
            compare(one(), Test::Lease(Operator::Equal, LeaseId::new(0))),
            compare(Keys::Range(KeyRange::from("k")), Test::Exists(true)),
        ],
        success: operations,
        failure: vec![Operation::Txn(nested)],
    }
}

fn record() -> Record {
    Record {
        key: key("k"),
        value: Value::text("v"),
        create_revision: rev(2),
        mod_revision: rev(300),
        version: 7,
        expires_at: None,
        lease: Some(LeaseId::new(9)),
    }
}

fn answers() -> Vec<(&'static str, Reply)> {
    let outcomes = vec![
        TouchOutcome::NotFound,
        TouchOutcome::Touched { expires_at: None },
        TouchOutcome::Touched {
            expires_at: Some(Timestamp::new(300)),
        },
    ];
    let outcome = |results| TxnOutcome {
        succeeded: true,
        results,
    };
    let results = vec![
        OperationResult::Records {
            records: vec![record().into()],
            more: true,
        },
        OperationResult::Written { previous: None },
        OperationResult::Deleted {
            count: 300,
            previous: vec![record().into()],
        },
        OperationResult::Touched(TouchOutcome::NotFound),
        OperationResult::Txn(outcome(vec![])),
    ];
    vec![
        (
            "txn",
            Reply::Txn {
                revision: rev(300),
                outcome: outcome(results),
            },
        ),
        ("written many", Reply::WrittenMany { revision: rev(300) }),
        (
            "deleted many",
            Reply::DeletedMany {
                revision: rev(300),
                existed: vec![true, false],
            },
        ),
        (
            "touched many",
            Reply::TouchedMany {
                revision: rev(300),
                outcomes,
            },
        ),
    ]
}

fn lease_answers() -> Vec<(&'static str, Reply)> {
    let (revision, lease) = (rev(300), LeaseId::new(301));
    let (ttl, expires_at) = (Millis::new(302), Timestamp::new(303));
    let granted = Reply::LeaseGranted {
        revision,
        lease,
        ttl,
        expires_at,
    };
    let kept = Reply::LeaseKept {
        revision,
        lease,
        ttl,
        expires_at,
    };
    let reason = InvalidRequestReason::LeaseIdOutOfRange;
    let refused = |quota| Reply::Rejected(Rejection::QuotaExceeded { quota, limit: 300 });
    vec![
        ("lease granted", granted),
        ("lease kept", kept),
        ("lease revoked", Reply::LeaseRevoked { revision, keys: 300 }),
        ("lease exists", Reply::Rejected(Rejection::LeaseExists { lease })),
        (
            "lease id out of range",
            Reply::Rejected(Rejection::InvalidRequest { reason }),
        ),
        (
            "idempotency conflict",
            Reply::Rejected(Rejection::IdempotencyConflict),
        ),
        (
            "odd idempotency key",
            Reply::Rejected(Rejection::InvalidRequest {
                reason: InvalidRequestReason::IdempotencyKey,
            }),
        ),
        ("too many leases", refused(Quota::Leases)),
        ("too many keys on a lease", refused(Quota::LeaseKeys)),
    ]
}

fn refusals() -> Vec<(&'static str, Reply)> {
    let rejected = Reply::Rejected;
    vec![
        (
            "documents have no order",
            rejected(Rejection::InvalidRequest {
                reason: InvalidRequestReason::DocumentOrder,
            }),
        ),
        (
            "condition failed",
            rejected(Rejection::ConditionFailed {
                current: Some(Box::new(record().into())),
            }),
        ),
        (
            "condition failed on nothing",
            rejected(Rejection::ConditionFailed { current: None }),
        ),
        (
            "too many items",
            rejected(Rejection::BatchTooLarge {
                unit: BatchUnit::Items,
                count: 501,
                limit: 500,
            }),
        ),
        (
            "bad item",
            rejected(Rejection::InPart {
                part: RequestPart::Item,
                index: 300,
                cause: Box::new(Rejection::InvalidTtl { ttl_ms: 0 }),
            }),
        ),
        (
            "lease not found",
            rejected(Rejection::LeaseNotFound {
                lease: LeaseId::new(300),
            }),
        ),
    ]
}

fn replies() -> impl Iterator<Item = (&'static str, Reply)> {
    answers().into_iter().chain(lease_answers()).chain(refusals())
}

/// Some of what snapshots of version 2 hold besides what those of version 1 do.
fn store() -> Store {
    let lease = LeaseId::new(1);
    let commands = [
        Command::LeaseGrant {
            lease: LeaseId::new(0),
            ttl: Millis::new(30_000),
        },
        Command::LeaseGrant {
            lease: LeaseId::new(300),
            ttl: Millis::new(60_000),
        },
        Command::Put {
            key: key("k"),
            value: Value::text("v").into(),
            lifetime: Lifetime::Lease(lease),
            condition: None,
            return_previous: false,
        },
    ];
    golden::store_after(commands.into_iter().chain([idempotent()]))
}

/// Everything by name, as it is written now.
fn written() -> BTreeMap<String, Vec<u8>> {
    let mut all = golden::messages(commands(), replies());
    golden::add_snapshot("snapshot of version 2, chunk", &store(), &mut all);
    all
}

#[test]
fn golden_bytes_of_the_data_plane_are_written_and_read_as_ever() {
    let title = "# Requests and replies of version 1 that came with the data plane.";
    let committed = golden::committed(FILE, title, written);
    assert_eq!(written(), committed);
    golden::assert_read(&committed, commands(), replies());
    let restored = golden::restored(&committed, "snapshot of version 2, chunk 0");
    let leases = |store: &Store| store.view().leases(None).collect::<Vec<_>>();
    assert_eq!(leases(&restored), leases(&store()));
}
