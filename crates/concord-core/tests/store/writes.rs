//! Conditional writes and writes of many keys.

use bytes::Bytes;
use concord_core::expr::{Binary, Expr, Expression, Variable};
use concord_core::limits::BATCH_ITEMS_MAX;
use concord_core::reply::{BatchUnit, RequestPart, TouchOutcome};
use concord_core::*;

use crate::support::{Log, at, key, rev, text};

fn put_if(key: &str, value: &str, condition: Condition) -> Command {
    Command::Put {
        key: self::key(key),
        value: Value::text(value).into(),
        lifetime: Lifetime::Forever,
        condition: Some(condition),
        return_previous: false,
    }
}

fn delete_if(key: &str, condition: Condition) -> Command {
    Command::Delete {
        key: self::key(key),
        condition: Some(condition),
        return_previous: false,
    }
}

fn item(key: &str, value: &str) -> PutItem {
    PutItem {
        key: self::key(key),
        value: Value::text(value).into(),
        lifetime: Lifetime::Forever,
    }
}

fn is_refused(reply: &Reply) -> bool {
    matches!(reply, Reply::Rejected(Rejection::ConditionFailed { .. }))
}

/// Each condition holds of the one state that it describes, and of no other.
#[test]
fn a_condition_holds_of_what_it_describes() {
    let stored = |log: &mut Log| log.put("a", "2");
    for (condition, of_absent, of_stored) in [
        (Condition::Absent, true, false),
        (Condition::Present, false, true),
        (Condition::ValueIs(Value::text("2")), false, true),
        (Condition::ValueIs(Value::text("3")), false, false),
        (Condition::ModRevisionIs(rev(3)), false, true),
        (Condition::ModRevisionIs(rev(2)), false, false),
        (Condition::ModRevisionIs(rev(0)), false, false),
        (Condition::VersionIs(2), false, true),
        (Condition::VersionIs(1), false, false),
        (Condition::VersionIs(0), false, false),
    ] {
        for command in [put_if("a", "new", condition.clone()), delete_if("a", condition)] {
            let mut absent = Log::new();
            assert_eq!(
                !is_refused(&absent.run(command.clone())),
                of_absent,
                "{command:?}"
            );
            let mut log = Log::new();
            log.put("a", "1");
            stored(&mut log);
            assert_eq!(!is_refused(&log.run(command.clone())), of_stored, "{command:?}");
        }
    }
}

/// D-DATA-13: no number equals another in another form, and absence is a condition of its own.
#[test]
fn values_are_compared_exactly() {
    let mut log = Log::new();
    log.put("a", "1");
    let document = |document| Value::document(&document).unwrap();
    for other in [
        Value::binary(&b"1"[..]),
        Value::text("1.0"),
        Value::text(""),
        document(Document::integer(1_i64)),
    ] {
        assert!(is_refused(&log.run(put_if("a", "2", Condition::ValueIs(other)))));
    }
    log.run(Command::Put {
        key: key("a"),
        value: document(Document::integer(1_i64)).into(),
        lifetime: Lifetime::Forever,
        condition: None,
        return_previous: false,
    });
    let float = Document::Float(document::Finite::new(1.0).unwrap());
    assert!(is_refused(&log.run(put_if(
        "a",
        "2",
        Condition::ValueIs(document(float))
    ))));
}

#[test]
fn a_failed_condition_answers_with_the_current_record_and_changes_nothing() {
    let mut log = Log::new();
    log.put("a", "1");
    let reply = log.run(put_if("a", "2", Condition::Absent));
    let Reply::Rejected(Rejection::ConditionFailed {
        current: Some(current),
    }) = reply
    else {
        panic!("{reply:?}")
    };
    assert_eq!(
        (
            current.clone().unpack().unwrap().value.as_text(),
            current.mod_revision
        ),
        (Some("1"), rev(2))
    );
    assert_eq!(
        log.run(delete_if("b", Condition::Present)),
        Reply::Rejected(Rejection::ConditionFailed { current: None })
    );
    assert_eq!(log.view().revision(), rev(2));
}

/// D-DATA-4: to a condition an expired key is absent, before anything has collected it.
#[test]
fn an_expired_key_is_absent_to_a_condition() {
    let mut log = Log::new();
    log.put_ttl("a", "1", 50);
    log.clock += 50;
    let replies = log.batch(&[
        put_if("a", "2", Condition::ValueIs(Value::text("1"))),
        put_if("a", "3", Condition::Absent),
    ]);
    assert_eq!(
        replies[0],
        Reply::Rejected(Rejection::ConditionFailed { current: None })
    );
    assert!(!is_refused(&replies[1]));
    assert_eq!(log.view().get(b"a").unwrap().version(), 1);
}

/// D-V3-1, D-DATA-1: a put of many is a put: one revision, events, versions, usage, lifetimes.
#[test]
fn a_put_of_many_is_one_revision_with_an_event_each() {
    let mut log = Log::new();
    log.put("ns:b", "0");
    let with_ttl = PutItem {
        lifetime: Lifetime::Ttl(Millis::new(100)),
        ..item("ns:c", "3")
    };
    let items = vec![item("ns:a", "1"), item("ns:b", "2"), with_ttl, item("ns:a", "4")];
    assert_eq!(
        log.run(Command::PutMany { items }),
        Reply::WrittenMany { revision: rev(3) }
    );
    let view = log.view();
    let events: Vec<_> = view
        .changes(rev(2))
        .unwrap()
        .map(|change| (change.revision(), change.key().to_vec()))
        .collect();
    let keys: [&[u8]; 3] = [b"ns:a", b"ns:b", b"ns:c"];
    assert_eq!(events, keys.map(|key| (rev(3), key.to_vec())));
    // Later duplicates win, and one request is one version.
    assert_eq!(text(&view, "ns:a"), Some("4".into()));
    assert_eq!(view.get(b"ns:a").unwrap().version(), 1);
    assert_eq!(view.get(b"ns:b").unwrap().version(), 2);
    assert_eq!(view.get(b"ns:c").unwrap().expires_at(), Some(at(log.clock + 100)));
    assert_eq!(view.usage(b"ns").keys, 3);
    assert_eq!(invariants::check(&log.store), Ok(()));
}

/// D-DATA-3: each item is judged at apply, the last as well as the first, and names itself.
#[test]
fn one_bad_item_refuses_all_and_is_named() {
    let mut log = Log::new();
    log.put("a", "1");
    let bad_ttl = PutItem {
        lifetime: Lifetime::Ttl(Millis::new(0)),
        ..item("c", "3")
    };
    let items = vec![item("a", "2"), item("b", "2"), bad_ttl];
    let reply = log.run(Command::PutMany { items });
    let cause = Box::new(Rejection::InvalidTtl { ttl_ms: 0 });
    let rejection = Rejection::InPart {
        part: RequestPart::Item,
        index: 2,
        cause,
    };
    assert_eq!(
        (
            rejection.name(),
            rejection.to_string().starts_with("item 2: ttl is 0")
        ),
        ("invalid_ttl", true)
    );
    assert_eq!(reply, Reply::Rejected(rejection));
    assert_eq!(
        (text(&log.view(), "a"), text(&log.view(), "b")),
        (Some("1".into()), None)
    );

    // A key that no client library would let through.
    let mut bytes = Command::DeleteMany { keys: vec![key("a")] }.to_bytes().to_vec();
    bytes[2] = 2;
    bytes.push(0);
    let reply = log.bytes(vec![Bytes::from(bytes)]).remove(0);
    let cause = Box::new(Rejection::InvalidKey(InvalidKey::Empty));
    let index = 1;
    let part = RequestPart::Item;
    assert_eq!(reply, Reply::Rejected(Rejection::InPart { part, index, cause }));
    assert_eq!(log.view().revision(), rev(2));
}

#[test]
fn more_items_than_the_limit_are_refused_at_apply() {
    let mut log = Log::new();
    let keys = |count: usize| (0..count).map(|n| key(&n.to_string())).collect::<Vec<_>>();
    let full = log.run(Command::DeleteMany {
        keys: keys(BATCH_ITEMS_MAX),
    });
    assert!(matches!(full, Reply::DeletedMany { .. }), "{full:?}");
    let over = log.run(Command::DeleteMany {
        keys: keys(BATCH_ITEMS_MAX + 1),
    });
    let rejection = Rejection::BatchTooLarge {
        unit: BatchUnit::Items,
        count: 501,
        limit: 500,
    };
    assert_eq!(rejection.name(), "batch_too_large");
    assert_eq!(over, Reply::Rejected(rejection));
}

/// D-HTTP-2: absent keys in a touch or delete of many are an answer.
#[test]
fn absent_keys_are_no_obstacle_to_deletes_and_touches_of_many() {
    let mut log = Log::new();
    log.put("a", "1");
    let lifetime = Lifetime::Ttl(Millis::new(100));
    let touch = |name| TouchItem {
        key: key(name),
        lifetime,
    };
    let expires_at = Some(at(log.clock + 100));
    assert_eq!(
        log.run(Command::TouchMany {
            items: vec![touch("x"), touch("a")]
        }),
        Reply::TouchedMany {
            revision: rev(3),
            outcomes: vec![TouchOutcome::NotFound, TouchOutcome::Touched { expires_at }],
        }
    );
    // The second of two equal keys finds the first one's work.
    assert_eq!(
        log.run(Command::DeleteMany {
            keys: vec![key("x"), key("a"), key("a")]
        }),
        Reply::DeletedMany {
            revision: rev(4),
            existed: vec![false, true, false],
        }
    );
}

#[test]
fn many_without_items_or_effect_are_no_revision() {
    let mut log = Log::new();
    log.put("a", "1");
    let revision = rev(2);
    assert_eq!(
        log.run(Command::PutMany { items: vec![] }),
        Reply::WrittenMany { revision }
    );
    let existed = vec![false];
    assert_eq!(
        log.run(Command::DeleteMany { keys: vec![key("x")] }),
        Reply::DeletedMany { revision, existed }
    );
    let forever = TouchItem {
        key: key("a"),
        lifetime: Lifetime::Forever,
    };
    let outcomes = vec![TouchOutcome::Touched { expires_at: None }];
    assert_eq!(
        log.run(Command::TouchMany { items: vec![forever] }),
        Reply::TouchedMany { revision, outcomes }
    );
}

/// D-DATA-12: one channel for errors, here as everywhere.
#[test]
fn a_write_on_an_unknown_lease_is_refused() {
    let mut log = Log::new();
    let lease = LeaseId::new(7);
    let reply = log.run(Command::Put {
        key: key("a"),
        value: Value::text("1").into(),
        lifetime: Lifetime::Lease(lease),
        condition: None,
        return_previous: false,
    });
    assert_eq!(reply, Reply::Rejected(Rejection::LeaseNotFound { lease }));
    assert!(log.view().is_empty());
}

/// A predicate is judged on what is stored when it applies; what cannot be judged does not hold.
#[test]
fn a_predicate_is_judged_at_apply() {
    let under_30 = || {
        let field = Expr::Variable(Variable::Value).field("age");
        let root = field.with(Binary::Less, Expr::integer(30_i64));
        Condition::Predicate(Expression::new(root).unwrap())
    };
    let person = |age: i64| {
        let fields = [("age".to_string(), Document::integer(age))];
        Value::document(&Document::Object(fields.into())).unwrap()
    };
    let put = |value, condition| Command::Put {
        key: key("a"),
        value,
        lifetime: Lifetime::Forever,
        condition,
        return_previous: false,
    };
    let mut log = Log::new();
    assert!(
        is_refused(&log.run(put(person(1).into(), Some(under_30())))),
        "absent"
    );
    log.put("a", "text");
    assert!(
        is_refused(&log.run(put(person(1).into(), Some(under_30())))),
        "no such field"
    );
    let replies = log.batch(&[
        put(person(29).into(), None),
        put(person(30).into(), Some(under_30())),
        put(person(31).into(), Some(under_30())),
    ]);
    assert!(!is_refused(&replies[1]));
    assert!(is_refused(&replies[2]));
}
