//! Transactions, one fact a test.

use concord_core::expr::{Expr, Expression, Literal};
use concord_core::limits::{TXN_COMPARES_MAX, TXN_DEPTH_MAX, TXN_KEYS_MAX, TXN_OPERATIONS_MAX};
use concord_core::reply::{BatchUnit, InvalidRequestReason, RequestPart};
use concord_core::*;

use crate::support::{Log, at, key, rev, text};

fn put(key: &str, value: &str) -> Operation {
    Operation::Put {
        item: PutItem {
            key: self::key(key),
            value: Value::text(value).into(),
            lifetime: Lifetime::Forever,
        },
        return_previous: false,
    }
}

fn one(key: &str) -> Keys {
    Keys::One(self::key(key))
}

fn get(keys: Keys) -> Operation {
    Operation::Get { keys, limit: None }
}

fn delete(keys: Keys) -> Operation {
    Operation::Delete {
        keys,
        return_previous: false,
    }
}

fn compare(key: &str, test: Test) -> Compare {
    Compare { keys: one(key), test }
}

fn all() -> Keys {
    Keys::Range(KeyRange::all())
}

fn success(operations: Vec<Operation>) -> Txn {
    Txn {
        success: operations,
        ..Txn::default()
    }
}

fn outcome(reply: Reply) -> (u64, TxnOutcome) {
    let Reply::Txn { revision, outcome } = reply else {
        panic!("{reply:?}")
    };
    (revision.get(), outcome)
}

fn values(result: &OperationResult) -> Vec<(String, u64)> {
    let OperationResult::Records { records, .. } = result else {
        panic!("{result:?}")
    };
    let value = |record: &StoredRecord| {
        let record = record.clone().into_plain().unwrap();
        (record.value.as_text().unwrap().to_string(), record.version)
    };
    records.iter().map(value).collect()
}

fn too_large(reply: &Reply) -> BatchUnit {
    let Reply::Rejected(mut rejection) = reply.clone() else {
        panic!("{reply:?}")
    };
    assert_eq!(rejection.name(), "batch_too_large");
    while let Rejection::InPart { cause, .. } = rejection {
        rejection = *cause;
    }
    let Rejection::BatchTooLarge { unit, .. } = rejection else {
        panic!("{rejection:?}")
    };
    unit
}

/// D-REC-2: money that moves in one transaction is never lost or made.
#[test]
fn a_transfer_happens_as_a_whole_or_not_at_all() {
    let mut log = Log::new();
    log.put("alice", "10");
    log.put("bob", "0");
    let transfer = Txn {
        compares: vec![
            compare("alice", Test::ModRevision(Operator::Equal, rev(2))),
            compare("bob", Test::ModRevision(Operator::Equal, rev(3))),
        ],
        success: vec![put("alice", "3"), put("bob", "7")],
        failure: vec![get(one("alice")), get(one("bob"))],
    };
    let (revision, first) = outcome(log.run(Command::Txn(transfer.clone())));
    assert_eq!((revision, first.succeeded), (4, true));
    // Tried once more it finds that both have changed.
    let (revision, second) = outcome(log.run(Command::Txn(transfer)));
    assert_eq!((revision, second.succeeded), (4, false));
    assert_eq!(
        second.results.iter().flat_map(values).collect::<Vec<_>>(),
        [("3".to_string(), 2), ("7".to_string(), 2)]
    );
}

#[test]
fn operations_see_the_writes_before_them() {
    let mut log = Log::new();
    log.put("b", "0");
    let nested = Txn {
        compares: vec![compare("a", Test::Exists(true))],
        success: vec![put("c", "nested")],
        failure: vec![],
    };
    let txn = success(vec![
        put("a", "1"),
        get(all()),
        delete(one("b")),
        put("a", "2"),
        Operation::Txn(nested),
        get(all()),
    ]);
    let (_, outcome) = outcome(log.run(Command::Txn(txn)));
    let own = |text: &str| (text.to_string(), 1);
    assert_eq!(values(&outcome.results[1]), [own("1"), own("0")]);
    assert_eq!(values(&outcome.results[5]), [own("2"), own("nested")]);
}

/// All changes of a transaction share one revision, and a key changes once: what was created
/// and deleted again leaves no trace.
#[test]
fn a_key_changes_once_to_what_the_last_write_left() {
    let mut log = Log::new();
    log.put("old", "0");
    let txn = success(vec![
        put("new", "1"),
        put("new", "2"),
        put("gone", "1"),
        delete(one("gone")),
        delete(one("old")),
        put("old", "again"),
    ]);
    assert_eq!(outcome(log.run(Command::Txn(txn))).0, 3);
    let view = log.view();
    let changes: Vec<_> = view
        .changes(rev(2))
        .unwrap()
        .map(|change| (change.key().to_vec(), change.kind(), change.order()))
        .collect();
    assert_eq!(
        changes,
        [
            (b"new".to_vec(), ChangeKind::Put, 0),
            (b"old".to_vec(), ChangeKind::Put, 1)
        ]
    );
    // It was deleted and came back: another life, but its past can still be read.
    let old = view.get(b"old").unwrap();
    assert_eq!((old.create_revision(), old.version()), (rev(3), 1));
    let before = view.get_at(b"old", rev(2)).unwrap().unwrap();
    assert_eq!(&*before.value().unwrap(), b"0");
    assert_eq!(invariants::check(&log.store), Ok(()));
}

#[test]
fn a_transaction_that_changes_nothing_is_no_revision() {
    let mut log = Log::new();
    log.put("a", "1");
    for txn in [
        Txn::default(),
        success(vec![get(all())]),
        success(vec![put("b", "1"), delete(one("b"))]),
        success(vec![delete(one("b"))]),
    ] {
        assert_eq!(outcome(log.run(Command::Txn(txn))).0, 2);
    }
    assert_eq!(log.view().changes(rev(2)).unwrap().count(), 0);
}

/// etcd: the numbers of an absent key are 0, and no test of its value holds.
#[test]
fn an_absent_key_has_zeros_and_no_value() {
    let mut log = Log::new();
    log.put("a", "1");
    let mut holds = |keys: Keys, test: Test| {
        let txn = Txn {
            compares: vec![Compare { keys, test }],
            ..Txn::default()
        };
        outcome(log.run(Command::Txn(txn))).1.succeeded
    };
    let nothing = || Keys::Range(KeyRange::prefix(&b"zz"[..]));
    for keys in [one("x"), nothing()] {
        assert!(holds(keys.clone(), Test::ModRevision(Operator::Equal, rev(0))));
        assert!(holds(keys.clone(), Test::CreateRevision(Operator::Less, rev(1))));
        assert!(holds(keys.clone(), Test::Version(Operator::Equal, 0)));
        assert!(holds(keys.clone(), Test::Lease(Operator::Equal, LeaseId::new(0))));
        assert!(holds(keys.clone(), Test::Exists(false)));
        for operator in [
            Operator::Equal,
            Operator::NotEqual,
            Operator::Less,
            Operator::Greater,
        ] {
            assert!(!holds(keys.clone(), Test::Value(operator, Value::text(""))));
        }
    }
    // Of different formats: unequal, without an order.
    let binary = || Value::binary(&b"0"[..]);
    assert!(holds(one("a"), Test::Value(Operator::NotEqual, binary())));
    assert!(!holds(one("a"), Test::Value(Operator::Greater, binary())));
    assert!(holds(one("a"), Test::Value(Operator::Greater, Value::text("0"))));
}

#[test]
fn a_compare_of_a_range_must_hold_for_every_key_in_it() {
    let mut log = Log::new();
    log.put("a:1", "1");
    log.put("a:2", "1");
    log.put("b", "1");
    let mut holds = |prefix: &'static str, limit| {
        let compare = Compare {
            keys: Keys::Range(KeyRange::prefix(prefix)),
            test: Test::ModRevision(Operator::Less, rev(limit)),
        };
        let txn = Txn {
            compares: vec![compare],
            ..Txn::default()
        };
        outcome(log.run(Command::Txn(txn))).1.succeeded
    };
    assert!(holds("a:", 4));
    assert!(!holds("a:", 3));
    assert!(!holds("", 4));
}

#[test]
fn a_refused_operation_refuses_all_and_is_named() {
    let mut log = Log::new();
    log.put("a", "1");
    let bad = |lifetime| {
        Operation::Touch(TouchItem {
            key: key("a"),
            lifetime,
        })
    };
    let (ttl, lease) = (Lifetime::Ttl(Millis::new(0)), Lifetime::Lease(LeaseId::new(5)));
    // Judged at once: also in a branch that is not performed.
    let txn = Txn {
        failure: vec![put("a", "2"), bad(ttl)],
        ..Txn::default()
    };
    let Reply::Rejected(Rejection::InPart { part, index, cause }) = log.run(Command::Txn(txn)) else {
        panic!("a bad ttl is refused")
    };
    assert_eq!(
        (part, index, cause.name()),
        (RequestPart::Failure, 1, "invalid_ttl")
    );
    // Judged when it comes to it: in the branch, within a nested transaction.
    let txn = success(vec![
        put("a", "2"),
        Operation::Txn(success(vec![put("b", "3"), bad(lease)])),
    ]);
    let reply = log.run(Command::Txn(txn));
    let Reply::Rejected(rejection) = reply else {
        panic!("an unknown lease is refused")
    };
    assert_eq!(rejection.name(), "lease_not_found");
    assert_eq!(rejection.to_string(), "success 1: success 1: lease 5 not found");
    assert_eq!((text(&log.view(), "a"), log.view().len()), (Some("1".into()), 1));
    assert_eq!(log.view().revision(), rev(2));
}

/// D-V3-8: the limits on transactions are enforced, at apply.
#[test]
fn transactions_keep_their_limits() {
    let mut log = Log::new();
    let branch = |count| (0..count).map(|n| put(&n.to_string(), "1")).collect::<Vec<_>>();
    outcome(log.run(Command::Txn(success(branch(TXN_OPERATIONS_MAX)))));
    let over = log.run(Command::Txn(success(branch(TXN_OPERATIONS_MAX + 1))));
    assert_eq!(too_large(&over), BatchUnit::Operations);

    let compares = |count| Txn {
        compares: vec![compare("0", Test::Exists(true)); count],
        ..Txn::default()
    };
    assert!(
        outcome(log.run(Command::Txn(compares(TXN_COMPARES_MAX))))
            .1
            .succeeded
    );
    let over = log.run(Command::Txn(compares(TXN_COMPARES_MAX + 1)));
    assert_eq!(too_large(&over), BatchUnit::Compares);

    let nested = |levels| (1..levels).fold(Txn::default(), |txn, _| success(vec![Operation::Txn(txn)]));
    outcome(log.run(Command::Txn(nested(TXN_DEPTH_MAX))));
    let over = log.run(Command::Txn(nested(TXN_DEPTH_MAX + 1)));
    assert_eq!(too_large(&over), BatchUnit::Levels);

    let wide = success(vec![Operation::Txn(success(branch(128))); 40]);
    assert_eq!(too_large(&log.run(Command::Txn(wide.clone()))), BatchUnit::Parts);
    assert!(
        Command::Txn(wide).check(1 << 20).is_err(),
        "the edge says so as well"
    );
}

/// A transaction looks at a bounded number of keys and answers with a bounded number of bytes,
/// whatever its ranges hold.
#[test]
fn ranges_in_transactions_are_bounded() {
    let mut log = Log::new();
    for first in (0..TXN_KEYS_MAX + 1).step_by(500) {
        let item = |n: usize| PutItem {
            key: key(&format!("{n:05}")),
            value: Value::text("1").into(),
            lifetime: Lifetime::Forever,
        };
        let last = (first + 500).min(TXN_KEYS_MAX + 1);
        let items = (first..last).map(item).collect();
        log.run(Command::PutMany { items });
    }
    let reads = [get(all()), delete(all())];
    for operation in reads {
        let over = log.run(Command::Txn(success(vec![operation])));
        assert_eq!(too_large(&over), BatchUnit::Keys);
    }
    let holds = Compare {
        keys: all(),
        test: Test::Exists(true),
    };
    let over = Txn {
        compares: vec![holds],
        ..Txn::default()
    };
    assert_eq!(too_large(&log.run(Command::Txn(over))), BatchUnit::Keys);
    let some = Operation::Get {
        keys: all(),
        limit: Some(2),
    };
    let (_, outcome) = outcome(log.run(Command::Txn(success(vec![some]))));
    let OperationResult::Records { records, more } = &outcome.results[0] else {
        panic!("{outcome:?}")
    };
    assert_eq!((records.len(), *more), (2, true));

    let evaluates = Compare {
        keys: all(),
        test: Test::Predicate(Expression::new(Expr::Literal(Literal::Bool(true))).unwrap()),
    };
    let over = Txn {
        compares: vec![evaluates],
        ..Txn::default()
    };
    assert_eq!(too_large(&log.run(Command::Txn(over))), BatchUnit::Evaluations);

    let large = Command::Put {
        key: key("large"),
        value: Value::binary(vec![0; 9 << 20]).into(),
        lifetime: Lifetime::Forever,
        condition: None,
        return_previous: false,
    };
    log.run(large);
    let twice = success(vec![get(one("large")), get(one("large"))]);
    assert_eq!(too_large(&log.run(Command::Txn(twice))), BatchUnit::Bytes);
}

#[test]
fn documents_have_no_order() {
    let mut log = Log::new();
    let document = Value::document(&Document::Null).unwrap();
    let txn = Txn {
        compares: vec![compare("a", Test::Value(Operator::Less, document))],
        ..Txn::default()
    };
    let reason = InvalidRequestReason::DocumentOrder;
    let cause = Box::new(Rejection::InvalidRequest { reason });
    let (part, index) = (RequestPart::Compare, 0);
    assert_eq!(
        log.run(Command::Txn(txn)),
        Reply::Rejected(Rejection::InPart { part, index, cause })
    );
}

/// D-V3-7: within a transaction a lifetime is what it is outside.
#[test]
fn lifetimes_in_transactions_count_from_the_entry() {
    let mut log = Log::new();
    log.put("a", "1");
    let touch = Operation::Touch(TouchItem {
        key: key("a"),
        lifetime: Lifetime::Ttl(Millis::new(40)),
    });
    log.run(Command::Txn(success(vec![touch])));
    assert_eq!(
        log.view().get(b"a").unwrap().expires_at(),
        Some(at(log.clock + 40))
    );
    log.tick(log.clock + 40);
    assert!(log.view().is_empty());
}
