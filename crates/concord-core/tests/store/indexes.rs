//! Secondary indexes: what they find is what a full scan finds, after every history.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use concord_core::expr::{Binary, Expr, Literal, Variable};
use concord_core::index::{Extractor, IndexDefinition, IndexName, IndexProgress, InvalidIndex, PathStep};
use concord_core::limits::{INDEX_FILL_KEYS_PER_BATCH, INDEXES_MAX};
use concord_core::*;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use crate::support::{Log, key, put_command, restored, snapshot};

const CHANGED: fn(&Reply) -> bool = |reply| matches!(reply, Reply::IndexChanged { .. });

fn name(text: &str) -> IndexName {
    IndexName::new(text).unwrap()
}

fn path(field: &str) -> Extractor {
    Extractor::Path(vec![PathStep::Field(field.into())])
}

fn create(index: &str, prefix: &'static str, extractor: Extractor, unique: bool, fill: bool) -> Command {
    let definition = IndexDefinition::new(name(index), prefix.as_bytes(), extractor, unique).unwrap();
    Command::CreateIndex {
        definition: Arc::new(definition),
        fill,
    }
}

fn document(fields: &[(&str, Document)]) -> Value {
    let fields = fields
        .iter()
        .map(|(name, value)| ((*name).to_owned(), value.clone()));
    Value::document(&Document::Object(fields.collect())).unwrap()
}

fn email(text: &str) -> Value {
    document(&[("email", Document::String(text.into()))])
}

fn put(key: &str, value: Value) -> Command {
    let Command::Put {
        key,
        lifetime,
        condition,
        return_previous,
        ..
    } = put_command(key, "")
    else {
        unreachable!("a put")
    };
    Command::Put {
        key,
        value: value.into(),
        lifetime,
        condition,
        return_previous,
    }
}

fn put_many(items: &[(&str, Value)]) -> Command {
    let item = |(key, value): &(&str, Value)| PutItem {
        key: self::key(key),
        value: value.clone().into(),
        lifetime: Lifetime::Forever,
    };
    Command::PutMany {
        items: items.iter().map(item).collect(),
    }
}

/// A transaction of deletes, then puts.
fn txn(deleted: &[Key], items: Vec<PutItem>) -> Command {
    let delete = |key: &Key| Operation::Delete {
        keys: Keys::One(key.clone()),
        return_previous: false,
    };
    let put = |item| Operation::Put {
        item,
        return_previous: false,
    };
    Command::Txn(Txn {
        compares: vec![],
        success: deleted
            .iter()
            .map(delete)
            .chain(items.into_iter().map(put))
            .collect(),
        failure: vec![],
    })
}

fn string(text: &str) -> Literal {
    Literal::String(text.into())
}

fn found(view: &ReadView, request: &IndexRequest) -> Vec<String> {
    let mut request = request.clone();
    let mut keys = Vec::new();
    loop {
        let page = view.lookup(&request).unwrap();
        keys.extend(page.records.iter().map(|record| record.key.to_string()));
        let Some(next) = page.next else { return keys };
        request.after = Some(next);
    }
}

fn equal(view: &ReadView, index: &str, value: &str) -> Vec<String> {
    found(view, &IndexRequest::equal(name(index), string(value)))
}

fn violates(reply: &Reply) -> bool {
    matches!(reply, Reply::Rejected(Rejection::UniqueViolation { .. }))
}

/// D-DATA-1: every way to change a key keeps its entries.
#[test]
fn entries_follow_every_way_to_change_a_key() {
    let mut log = Log::new();
    assert!(CHANGED(&log.run(create(
        "mail",
        "user:",
        path("email"),
        false,
        false
    ))));
    log.run(put("user:1", email("a")));
    log.run(put("other:1", email("a")));
    log.run(put_many(&[
        ("user:2", email("a")),
        ("user:3", email("b")),
        ("user:3", email("c")),
    ]));
    assert_eq!(equal(&log.view(), "mail", "a"), ["user:1", "user:2"]);
    assert_eq!(
        equal(&log.view(), "mail", "b"),
        [""; 0],
        "the later duplicate wins"
    );
    log.run(put("user:1", email("c")));
    assert_eq!(equal(&log.view(), "mail", "c"), ["user:1", "user:3"]);
    log.run(put("user:1", Value::text("a")));
    log.delete("user:2");
    log.run(Command::DeleteMany {
        keys: vec![key("user:3")],
    });
    assert_eq!(log.view().index(&name("mail")).unwrap().entries, 0);
    assert_eq!(invariants::check(&log.store), Ok(()));
}

/// D-DATA-9: a lookup never finds an expired key.
#[test]
fn a_lookup_finds_no_expired_key() {
    let mut log = Log::new();
    log.run(create("mail", "", path("email"), true, false));
    let Command::Put { key, value, .. } = put("k", email("a")) else {
        unreachable!("a put")
    };
    log.run(Command::Put {
        key,
        value,
        lifetime: Lifetime::Ttl(Millis::new(50)),
        condition: None,
        return_previous: false,
    });
    assert!(violates(&log.run(put("l", email("a")))));
    log.tick(1_049);
    assert_eq!(equal(&log.view(), "mail", "a"), ["k"]);
    log.tick(1_050);
    assert_eq!(equal(&log.view(), "mail", "a"), [""; 0]);
    log.run(put("l", email("a")));
    assert_eq!(equal(&log.view(), "mail", "a"), ["l"]);
}

/// D-RAFT-2: an extractor is data, and one that fails finds nothing and fails nothing.
#[test]
fn extractors_find_scalars_and_items_and_never_fail() {
    let text = |text: &str| Document::String(text.into());
    let list = |items: Vec<Document>| Document::Array(items);
    let object = |value| Document::Object([("v".to_owned(), value)].into());
    let each = Extractor::Path(vec![
        PathStep::Field("tags".into()),
        PathStep::Each,
        PathStep::Field("v".into()),
    ]);
    let value = || Expr::Variable(Variable::Value);
    let sum = value().field("a").with(Binary::Divide, value().field("b"));
    let mut log = Log::new();
    log.run(create("tags", "", path("tags"), false, false));
    log.run(create("each", "", each, false, false));
    log.run(create(
        "sum",
        "",
        Extractor::Expression(Expression::new(sum).unwrap()),
        false,
        false,
    ));
    let tags = vec![
        text("x"),
        Document::Null,
        object(text("y")),
        text("x"),
        list(vec![text("z")]),
    ];
    log.run(put("list", document(&[("tags", list(tags))])));
    log.run(put("one", document(&[("tags", text("x"))])));
    log.run(put("none", document(&[("tags", Document::Null)])));
    let numbers = |b: i64| document(&[("a", Document::integer(7_i64)), ("b", Document::integer(b))]);
    assert!(matches!(log.run(put("fails", numbers(0))), Reply::Written { .. }));
    log.run(put("works", numbers(2)));
    log.run(put("binary", Value::binary(&b"x"[..])));

    let view = log.view();
    assert_eq!(equal(&view, "tags", "x"), ["list", "one"]);
    assert_eq!(equal(&view, "each", "y"), ["list"]);
    assert_eq!(
        found(
            &view,
            &IndexRequest::equal(name("sum"), Literal::Integer(3_i64.into()))
        ),
        ["works"]
    );
    let entries: Vec<_> = view
        .indexes()
        .map(|index| (index.definition.name().to_string(), index.entries))
        .collect();
    let expected = [("each", 1), ("sum", 1), ("tags", 2)].map(|(name, entries)| (name.to_owned(), entries));
    assert_eq!(entries, expected);
}

#[test]
fn a_unique_index_refuses_the_second_writer_and_changes_nothing() {
    let mut log = Log::new();
    log.run(create("mail", "", path("email"), true, false));
    log.run(put_many(&[("a", email("1")), ("b", email("2"))]));
    let before = log.view();
    assert!(violates(&log.run(put("c", email("1")))));
    assert!(violates(&log.run(put("a", email("2")))));
    assert!(
        violates(&log.run(put_many(&[("c", email("3")), ("d", email("3"))]))),
        "within one request"
    );
    assert!(violates(
        &log.run(put_many(&[("c", email("3")), ("d", email("1"))]))
    ));
    assert_eq!(log.view().revision(), before.revision(), "I3");
    assert_eq!(invariants::check(&log.store), Ok(()));

    assert!(!violates(&log.run(put("a", email("1")))), "its own value");
    let exchange = put_many(&[("a", email("2")), ("b", email("1"))]);
    assert!(!violates(&log.run(exchange)), "what the request leaves is judged");
    assert_eq!(equal(&log.view(), "mail", "1"), ["b"]);
    let item = |key: &str, value| PutItem {
        key: self::key(key),
        value,
        lifetime: Lifetime::Forever,
    };
    assert!(violates(
        &log.run(txn(&[key("a")], vec![item("c", email("1").into())]))
    ));
    assert!(
        !violates(&log.run(txn(&[key("b")], vec![item("c", email("1").into())]))),
        "it goes in the same request"
    );
    assert_eq!(equal(&log.view(), "mail", "1"), ["c"]);
    log.delete("c");
    assert!(!violates(&log.run(put("d", email("1")))));
    assert_eq!(invariants::check(&log.store), Ok(()));
}

#[test]
fn indexes_are_made_and_dropped_by_name() {
    let mut log = Log::new();
    let make = |name: &str| create(name, "", path("email"), false, false);
    assert!(CHANGED(&log.run(make("a"))));
    assert_eq!(log.run(make("a")), Reply::Rejected(Rejection::IndexExists));
    let missing = Reply::Rejected(Rejection::IndexNotFound);
    assert_eq!(log.run(Command::DropIndex { name: name("b") }), missing);
    assert_eq!(log.run(Command::Reindex { name: name("b") }), missing);
    let lookup = IndexRequest::equal(name("b"), string("x"));
    assert_eq!(log.view().lookup(&lookup), Err(ViewError::IndexNotFound));
    assert!(CHANGED(&log.run(Command::DropIndex { name: name("a") })));
    assert_eq!(log.view().indexes().count(), 0);
    assert_eq!(log.view().revision(), Revision::EMPTY);

    for n in 0..INDEXES_MAX {
        assert!(CHANGED(&log.run(make(&n.to_string()))));
    }
    assert!(matches!(
        log.run(make("more")),
        Reply::Rejected(Rejection::InvalidRequest { .. })
    ));
    let timed = Expression::new(Expr::Variable(Variable::Ttl)).unwrap();
    assert_eq!(
        IndexDefinition::new(name("t"), "", Extractor::Expression(timed), false),
        Err(InvalidIndex::ReadsTime)
    );
    assert_eq!(IndexName::new(""), Err(InvalidIndex::Name));
    assert_eq!(IndexName::new("x".repeat(256)), Err(InvalidIndex::Name));
}

/// D-RAFT-7: filling is replicated, a bounded bit in each batch, and goes on after a restore.
#[test]
fn what_was_there_before_is_filled_in_by_bits() {
    let keys = 2 * INDEX_FILL_KEYS_PER_BATCH + 500;
    let mut log = Log::new();
    let items: Vec<_> = (0..keys)
        .map(|n| (format!("u:{n:05}"), email(&format!("{}", n % 7))))
        .collect();
    for chunk in items.chunks(500) {
        let chunk: Vec<_> = chunk
            .iter()
            .map(|(key, value)| (key.as_str(), value.clone()))
            .collect();
        log.run(put_many(&chunk));
    }
    log.run(create("mail", "u:", path("email"), false, true));
    let progress = |store: &Store| store.view().index(&name("mail")).unwrap().progress;
    let filled = u64::try_from(INDEX_FILL_KEYS_PER_BATCH).unwrap();
    assert_eq!(progress(&log.store), IndexProgress::Filling { keys: filled });
    let lookup = IndexRequest::equal(name("mail"), string("new"));
    assert_eq!(log.view().lookup(&lookup), Err(ViewError::IndexNotReady));
    assert_eq!(
        log.store.next_deadline(),
        Some(log.view().now()),
        "it goes on without writes"
    );

    log.run(put("u:00003", email("new")));
    log.run(put("u:99999", email("new")));
    assert_eq!(invariants::check(&log.store), Ok(()), "I20");
    let mut replica = restored(&log.view());
    assert_eq!(invariants::check(&replica), Ok(()), "I20");
    for store in [&mut log.store, &mut replica] {
        for index in 1_000..1_003 {
            let meta = Meta {
                index: LogIndex::new(index),
                term: Term::new(1),
            };
            let proposed_at = Timestamp::new(2_000);
            store.apply(
                meta,
                &Batch {
                    proposed_at,
                    groups: vec![],
                },
            );
        }
        assert_eq!(progress(store), IndexProgress::Ready);
        assert_eq!(invariants::check(store), Ok(()), "I20");
        assert_eq!(found(&store.view(), &lookup), ["u:00003", "u:99999"]);
        assert_eq!(store.next_deadline(), None);
    }
    assert_eq!(snapshot(&log.view()), snapshot(&replica.view()), "I4");
}

#[test]
fn without_a_fill_an_index_is_about_what_is_written_from_then_on() {
    let mut log = Log::new();
    log.run(put_many(&[("a", email("1")), ("b", email("1"))]));
    log.run(create("mail", "", path("email"), false, false));
    log.run(put("b", email("1")));
    assert_eq!(equal(&log.view(), "mail", "1"), ["b"]);
    assert_eq!(equal(&restored(&log.view()).view(), "mail", "1"), ["b"]);
    log.run(Command::Reindex { name: name("mail") });
    assert_eq!(equal(&log.view(), "mail", "1"), ["a", "b"]);
    assert_eq!(invariants::check(&log.store), Ok(()));
}

#[test]
fn a_unique_index_of_what_is_not_unique_fails_and_says_where() {
    let mut log = Log::new();
    log.run(put_many(&[("a", email("1")), ("b", email("1"))]));
    log.run(create("mail", "", path("email"), true, true));
    let status = log.view().index(&name("mail")).unwrap();
    assert_eq!(status.progress, IndexProgress::Failed { duplicate: key("b") });
    assert_eq!(status.entries, 0);
    assert!(!violates(&log.run(put("c", email("1")))), "it refuses nothing");
    assert_eq!(
        restored(&log.view())
            .view()
            .index(&name("mail"))
            .unwrap()
            .progress,
        status.progress
    );
    let lookup = IndexRequest::equal(name("mail"), string("1"));
    assert_eq!(log.view().lookup(&lookup), Err(ViewError::IndexFailed));
    log.run(Command::DeleteMany {
        keys: vec![key("b"), key("c")],
    });
    log.run(Command::Reindex { name: name("mail") });
    assert!(violates(&log.run(put("c", email("1")))));
}

#[test]
fn lookups_are_in_the_order_of_values_in_both_directions_and_by_pages() {
    let mut log = Log::new();
    log.run(create("n", "", path("n"), false, false));
    let number = |n: Document| document(&[("n", n)]);
    let half = Document::Float(document::Finite::new(2.5).unwrap());
    for (key, value) in [
        ("a", Document::integer(10_i64)),
        ("b", Document::integer(-3_i64)),
        ("c", half),
        ("d", Document::integer(2_i64)),
        ("e", Document::String("2".into())),
        ("f", Document::integer(2_i64)),
    ] {
        log.run(put(key, number(value)));
    }
    let int = |n: i64| Literal::Integer(n.into());
    let view = log.view();
    let cases = [
        (Bound::Unbounded, Bound::Unbounded, "bdfcae"),
        (Bound::Included(int(2)), Bound::Excluded(int(10)), "dfc"),
        (Bound::Excluded(int(2)), Bound::Included(int(10)), "ca"),
        (Bound::Included(int(5)), Bound::Included(int(1)), ""),
        (Bound::Unbounded, Bound::Included(int(2)), "bdf"),
        (Bound::Included(string("")), Bound::Unbounded, "e"),
        (Bound::Included(Literal::Null), Bound::Unbounded, ""),
    ];
    for (from, to, expected) in cases {
        for limit in [1, 2, 100] {
            let mut request = IndexRequest::range(name("n"), from.clone(), to.clone());
            request.limit = limit;
            assert_eq!(found(&view, &request).concat(), expected);
            request.direction = Direction::Descending;
            let reversed: String = expected.chars().rev().collect();
            assert_eq!(found(&view, &request).concat(), reversed);
        }
    }
}

const KEYS: [&str; 5] = ["a:1", "a:2", "a:3", "b", "c"];

fn arb_value() -> impl Strategy<Value = Value> {
    let scalar = prop_oneof![
        (0_i64..4).prop_map(Document::integer),
        Just(Document::String("x".into())),
        Just(Document::Null),
        Just(Document::Bool(true)),
    ];
    prop_oneof![
        4 => scalar.clone().prop_map(|value| document(&[("e", value)])),
        2 => vec(scalar, 0..3).prop_map(|items| document(&[("e", Document::Array(items))])),
        1 => Just(document(&[])),
        1 => Just(Value::text("1")),
    ]
}

fn arb_command() -> impl Strategy<Value = Command> {
    let a_key = || proptest::sample::select(&KEYS[..]).prop_map(key);
    let lifetime = || {
        prop_oneof![3 => Just(None), 1 => (1_u64..20).prop_map(|ms| Some(Millis::new(ms)))]
            .prop_map(Lifetime::from)
    };
    let item = || {
        (a_key(), arb_value(), lifetime()).prop_map(|(key, value, lifetime)| PutItem {
            key,
            value: value.into(),
            lifetime,
        })
    };
    let index = || proptest::sample::select(&["i", "j"][..]);
    let prefix = proptest::sample::select(&["", "a:"][..]);
    prop_oneof![
        6 => item().prop_map(|PutItem { key, value, lifetime }| Command::Put {
            key, value, lifetime, condition: None, return_previous: false,
        }),
        3 => vec(item(), 0..4).prop_map(|items| Command::PutMany { items }),
        2 => a_key().prop_map(|key| Command::Delete { key, condition: None, return_previous: false }),
        1 => vec(a_key(), 0..3).prop_map(|keys| Command::DeleteMany { keys }),
        2 => (vec(a_key(), 0..3), vec(item(), 0..3)).prop_map(|(deleted, items)| txn(&deleted, items)),
        1 => (a_key(), lifetime()).prop_map(|(key, lifetime)| Command::Touch { key, lifetime }),
        1 => a_key().prop_map(|key| Command::Increment { key, delta: 1, ttl: None }),
        2 => (index(), prefix, any::<bool>(), any::<bool>())
            .prop_map(|(index, prefix, unique, fill)| create(index, prefix, path("e"), unique, fill)),
        1 => index().prop_map(|index| Command::DropIndex { name: name(index) }),
        1 => index().prop_map(|index| Command::Reindex { name: name(index) }),
    ]
}

/// What a scan finds: for each value the keys that have it, by the documents themselves.
fn scanned(view: &ReadView, prefix: &str, since: Option<Revision>) -> BTreeMap<String, Vec<String>> {
    scanned_at(view, prefix, since, view.revision())
}

fn scanned_at(
    view: &ReadView,
    prefix: &str,
    since: Option<Revision>,
    revision: Revision,
) -> BTreeMap<String, Vec<String>> {
    let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let request = ScanRequest {
        revision: Some(revision),
        ..ScanRequest::new(KeyRange::prefix(prefix.as_bytes().to_vec()))
    };
    for record in view.scan(&request).unwrap().records {
        let Some(Document::Object(mut fields)) = record.value.to_document() else {
            continue;
        };
        let values = match fields.remove("e") {
            Some(Document::Array(items)) => items,
            Some(value) => vec![value],
            None => vec![],
        };
        let is_covered = since.is_none_or(|since| record.mod_revision > since);
        let mut values: Vec<_> = values.iter().map(|value| format!("{value:?}")).collect();
        values.sort();
        values.dedup();
        for value in values.into_iter().filter(|value| is_covered && value != "Null") {
            all.entry(value).or_default().push(record.key.to_string());
        }
    }
    all
}

/// I11, I20: a lookup at any readable revision finds what a scan at that revision finds, in both
/// directions and over pages, each of which is resumed at the revision of the first.
fn check_past_lookups(view: &ReadView) {
    for status in view.indexes() {
        let prefix = std::str::from_utf8(status.definition.prefix()).unwrap();
        let since = match &status.progress {
            IndexProgress::Ready => None,
            IndexProgress::WritesSince(since) => Some(*since),
            IndexProgress::Failed { .. } | IndexProgress::Filling { .. } => continue,
        };
        for revision in 1..=view.revision().get() {
            let revision = Revision::new(revision);
            let expected = scanned_at(view, prefix, since, revision);
            let index = status.definition.name().clone();
            for (shown, literal) in [
                ("Integer(1)", Literal::Integer(1_i64.into())),
                ("String(\"x\")", string("x")),
            ] {
                let mut request = IndexRequest::equal(index.clone(), literal);
                (request.revision, request.limit) = (Some(revision), 1);
                let mut keys = found(view, &request);
                let expected = expected.get(shown).cloned().unwrap_or_default();
                assert_eq!(keys, expected, "{shown} at {revision}");
                request.direction = Direction::Descending;
                keys.reverse();
                assert_eq!(found(view, &request), keys, "{shown} at {revision}, descending");
            }
            let mut all = IndexRequest::range(index, Bound::Unbounded, Bound::Unbounded);
            (all.revision, all.limit) = (Some(revision), 2);
            let count: usize = expected.values().map(Vec::len).sum();
            assert_eq!(found(view, &all).len(), count, "all at {revision}");
        }
    }
}

#[test]
fn positions_of_lookups_read_back_and_foreign_ones_are_refused() {
    let mut log = Log::new();
    log.run(create("i", "", path("email"), false, true));
    log.run(put_many(&[
        ("a", email("1")),
        ("b", email("1")),
        ("c", email("2")),
    ]));
    let mut request = IndexRequest::equal(name("i"), string("1"));
    request.limit = 1;
    let view = log.view();
    let next = view.lookup(&request).unwrap().next.unwrap();
    assert_eq!(IndexPosition::decode(&next.encode()), Ok(next.clone()));
    let mut damaged = next.encode();
    damaged[2] ^= 1;
    assert_eq!(IndexPosition::decode(&damaged), Err(ViewError::InvalidPosition));
    // A position of one value is not a place among those of another.
    let mut other = IndexRequest::equal(name("i"), string("2"));
    other.after = Some(next.clone());
    assert_eq!(view.lookup(&other), Err(ViewError::InvalidPosition));
    // Whatever is written in between, the next page shows the revision of the first.
    log.run(put("b", email("9")));
    log.run(put("bb", email("1")));
    request.after = Some(next);
    let page = log.view().lookup(&request).unwrap();
    assert_eq!(page.revision, view.revision());
    let keys: Vec<String> = page.records.iter().map(|record| record.key.to_string()).collect();
    assert_eq!((keys, page.next), (vec!["b".to_owned()], None));
    assert_eq!(page.records[0].value, email("1"));
}

#[test]
fn lookups_of_the_past_step_back_over_a_bounded_number_of_changes() {
    let mut log = Log::new();
    log.run(create("i", "", path("email"), false, true));
    let then = log.view().revision();
    let mut request = IndexRequest::equal(name("i"), string("1"));
    request.revision = Some(then);
    let items: Vec<(String, Value)> = (0..500).map(|n| (format!("k{n}"), email("1"))).collect();
    let items: Vec<(&str, Value)> = items
        .iter()
        .map(|(key, value)| (key.as_str(), value.clone()))
        .collect();
    let many = put_many(&items);
    for _ in 0..limits::INDEX_PAST_CHANGES_MAX / 500 {
        log.run(many.clone());
    }
    assert_eq!(log.view().lookup(&request).unwrap().records, []);
    log.run(put("k", email("1")));
    let refused = ViewError::TooManyChanges { revision: then };
    assert_eq!(log.view().lookup(&request), Err(refused));
}

fn check_lookups(view: &ReadView) {
    for status in view.indexes() {
        let prefix = std::str::from_utf8(status.definition.prefix()).unwrap();
        let expected = match &status.progress {
            IndexProgress::Ready => scanned(view, prefix, None),
            IndexProgress::WritesSince(since) => scanned(view, prefix, Some(*since)),
            IndexProgress::Failed { .. } | IndexProgress::Filling { .. } => continue,
        };
        let literals = (0..5_i64)
            .map(|n| (format!("Integer({n})"), Literal::Integer(n.into())))
            .chain([
                ("String(\"x\")".into(), string("x")),
                ("Bool(true)".into(), Literal::Bool(true)),
                ("Null".into(), Literal::Null),
            ]);
        for (shown, literal) in literals {
            let keys = found(
                view,
                &IndexRequest::equal(status.definition.name().clone(), literal),
            );
            assert_eq!(
                Some(&keys).filter(|keys| !keys.is_empty()),
                expected.get(&shown),
                "{shown}"
            );
        }
        assert_eq!(status.entries, expected.values().map(Vec::len).sum::<usize>());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    /// I20, D-DATA-1, D-RAFT-4: over all writes, expiry, drops, refills and a restore anywhere.
    #[test]
    fn lookups_find_what_a_scan_finds_after_every_history(
        batches in vec((vec(arb_command(), 0..4), 0_u64..8), 1..30),
        cut in any::<Index>(),
    ) {
        let cut = cut.index(batches.len());
        let mut log = Log::new();
        let mut replica: Option<Log> = None;
        for (n, (commands, ms)) in batches.into_iter().enumerate() {
            log.clock += ms;
            let replies = log.batch(&commands);
            prop_assert_eq!(invariants::check(&log.store), Ok(()));
            check_lookups(&log.view());
            if let Some(replica) = &mut replica {
                replica.clock = log.clock;
                prop_assert_eq!(replica.batch(&commands), replies);
                prop_assert_eq!(snapshot(&replica.view()), snapshot(&log.view()), "I4");
            }
            if n == cut {
                replica = Some(Log {
                    store: restored(&log.view()),
                    ..log
                });
                let store = restored(&log.view());
                prop_assert_eq!(invariants::check(&store), Ok(()));
                check_lookups(&store.view());
                check_past_lookups(&store.view());
            }
        }
        check_past_lookups(&log.view());
    }
}
