//! Packed values: whoever asks sees what was put, by any road. Two stores that differ only in that are asked alike.

use std::ops::Bound;

use concord_core::expr::Literal;
use concord_core::index::IndexName;
use concord_core::view::IndexRequest;
use concord_core::*;

use super::super::*;
use super::{Log, built, int, object, text};
use crate::expression;
use crate::watch::{self, Kinds, PageLimits, Position, Selector};

/// A document long enough to be packed.
fn document(n: i64, role: &str) -> Value {
    let lines = (0..40).map(|line| text(&format!("line {line} of {role}, and so on, and so on")));
    let fields = [
        ("n", int(n)),
        ("role", text(role)),
        ("lines", Document::Array(lines.collect())),
    ];
    Value::document(&object(&fields)).unwrap()
}

fn put(key: &str, value: Value, packs: bool, condition: Option<Condition>) -> Command {
    let mut value = StoredValue::from(value);
    if packs {
        value.pack(1);
        assert!(value.is_packed(), "{key}");
    }
    Command::Put {
        key: Key::try_from(key).unwrap(),
        value,
        lifetime: Lifetime::Forever,
        condition,
        return_previous: false,
    }
}

/// The same history, with packed values or without; half of it before there are indexes, half behind.
fn filled(packs: bool) -> Log {
    let mut log = Log::new();
    for n in 0..20 {
        if n == 10 {
            log.index("n", "$.n", "");
            log.index("role", "value.role", "k");
            log.index("line", "$.lines[*]", "");
        }
        let role = ["admin", "owner", "guest"][n % 3];
        let value = document(i64::try_from(n).unwrap(), role);
        log.run(&put(&format!("k{n:02}"), value, packs, None));
    }
    let long = Value::text("a text that says the same again and again ".repeat(50));
    log.run(&put("text", long, packs, None));
    log.run(&put("k03", document(33, "admin"), packs, None));
    log
}

const ASKED: [&str; 12] = [
    "value.n == 7",
    "value.n in [3, 5, 33]",
    "value.n >= 5 && value.n < 9",
    "value.role == 'admin' && value.n > 3",
    "value.role.startsWith('o')",
    "'line 7 of guest, and so on, and so on' in value.lines",
    "size(value.lines) == 40 && value.n % 2 == 0",
    "value.n == 1 || value.role == 'owner'",
    "has(value.lines)",
    "value.contains('same again')",
    "size(value) == 2100",
    "value == 'else'",
];

/// D-DATA-2: queries, counts, projections and what explain says, by index or not.
#[test]
fn queries_find_what_is_in_packed_values() {
    let (packed, plain) = (filled(true).store.view(), filled(false).store.view());
    assert_eq!(packed.statistics().packed.values, 21);
    assert_eq!(plain.statistics().packed.values, 0);
    for predicate in ASKED {
        let mut query = built(|query| query.filter(predicate));
        for order in [None, Some("$.n"), Some("value.role")] {
            if let Some(order) = order {
                query.order_by(order).unwrap();
            }
            let run = |view| query.run(view, Output::Pairs, &Start::Now, || false).unwrap();
            let (packed_found, plain_found) = (run(&packed), run(&plain));
            assert_eq!(packed_found.records, plain_found.records, "{predicate} {order:?}");
            assert_eq!(packed_found.scanned, plain_found.scanned, "{predicate} {order:?}");
            assert_eq!(query.explain(&packed).unwrap(), query.explain(&plain).unwrap());
            let is_none = plain_found.records.is_empty();
            assert_eq!(is_none, predicate == "value == 'else'", "{predicate}");
        }
    }
    let mut query = built(|query| query.filter("value.n == 7"));
    query.select("role", "value.role").unwrap();
    let shown = query.run(&packed, Output::Pairs, &Start::Now, || false).unwrap();
    let expected = object(&[("role", text("owner"))]);
    assert_eq!(shown.records[0].value.to_document(), Some(expected));
}

#[test]
fn indexes_of_packed_values_have_what_is_in_them() {
    let (packed, plain) = (filled(true), filled(false));
    assert_eq!(concord_core::invariants::check(&packed.store), Ok(()));
    let (packed, plain) = (packed.store.view(), plain.store.view());
    let lookups = [
        (
            "n",
            Bound::Included(Literal::Integer(5_i64.into())),
            Bound::Unbounded,
            16,
        ),
        (
            "role",
            Bound::Included(Literal::String("admin".into())),
            Bound::Unbounded,
            20,
        ),
        (
            "line",
            Bound::Unbounded,
            Bound::Excluded(Literal::String("line 1 ".into())),
            20,
        ),
    ];
    for (name, from, to, count) in lookups {
        let request = IndexRequest::range(IndexName::new(name).unwrap(), from, to);
        let (packed, plain) = (packed.lookup(&request).unwrap(), plain.lookup(&request).unwrap());
        assert_eq!(packed, plain, "{name}");
        assert_eq!(packed.records.len(), count, "{name}");
    }
    // As they were, too.
    for predicate in ASKED {
        let query = built(|query| query.filter(predicate));
        let then = Start::At(Revision::new(9));
        let count = |view| query.run(view, Output::Count, &then, || false).unwrap().count;
        assert_eq!(count(&packed), count(&plain), "{predicate}");
    }
}

#[test]
fn a_delete_by_filter_removes_what_is_in_packed_values() {
    for predicate in ASKED {
        let filter = built(|query| query.filter(predicate)).to_filter().unwrap();
        let removed = |packs| {
            let mut log = filled(packs);
            let reply = log.run(&Command::DeleteWhere {
                filter: filter.clone(),
                limit: None,
            });
            assert_eq!(concord_core::invariants::check(&log.store), Ok(()));
            let left = Query::all(1_000);
            let left = left.run(&log.store.view(), Output::Pairs, &Start::Now, || false);
            (reply, left.unwrap().records)
        };
        assert_eq!(removed(true), removed(false), "{predicate}");
    }
}

/// The values of events, and the predicate that lets them pass.
#[test]
fn watches_see_what_is_in_packed_values() {
    for predicate in ASKED {
        let filter = watch::Filter {
            selector: Selector::all(),
            kinds: Kinds::ALL,
            predicate: Some(expression::parse(predicate).unwrap()),
        };
        let told = |packs| {
            let mut log = filled(packs);
            log.run(&Command::Delete {
                key: Key::try_from("k07").unwrap(),
                condition: None,
                return_previous: false,
            });
            let view = log.store.view();
            let limits = PageLimits {
                events: 1_000,
                bytes: 1 << 20,
                visits: 1_000_000,
            };
            let start = Position::behind(Revision::new(1));
            watch::read(&view, &filter, true, start, view.revision(), limits)
                .unwrap()
                .batches
        };
        let batches = told(true);
        assert_eq!(batches, told(false), "{predicate}");
        assert_eq!(batches.is_empty(), predicate == "value == 'else'", "{predicate}");
    }
}

/// D-DATA-13, of packed values: conditions and compares are about what was put.
#[test]
fn conditions_compare_what_is_in_packed_values() {
    let predicate = |text: &str| expression::parse(text).unwrap();
    let key = || Key::try_from("k07").unwrap();
    let conditions = [
        (Condition::ValueIs(document(7, "owner")), true),
        (Condition::ValueIs(document(7, "ownes")), false),
        (
            Condition::Predicate(predicate("value.n == 7 && size(value.lines) == 40")),
            true,
        ),
        (Condition::Predicate(predicate("value.n != 7")), false),
    ];
    for (condition, holds) in conditions {
        let mut log = filled(true);
        let reply = log.run(&put("k07", document(8, "owner"), true, Some(condition.clone())));
        assert_eq!(
            matches!(reply, Reply::Written { .. }),
            holds,
            "{condition:?}: {reply:?}"
        );
    }
    let tests = [
        (Test::Value(Operator::Equal, document(7, "owner")), true),
        (Test::Value(Operator::NotEqual, document(7, "owner")), false),
        (Test::Predicate(predicate("value.role == 'owner'")), true),
        (Test::Predicate(predicate("value.role == 'guest'")), false),
    ];
    for (test, holds) in tests {
        let txn = Txn {
            compares: vec![Compare {
                keys: Keys::One(key()),
                test: test.clone(),
            }],
            ..Txn::default()
        };
        let reply = filled(true).run(&Command::Txn(txn));
        let Reply::Txn { outcome, .. } = &reply else {
            panic!("{reply:?}")
        };
        assert_eq!(outcome.succeeded, holds, "{test:?}");
    }
}
