//! Queries case by case; over all of them: see [`properties`].

mod packed;
mod plans;
mod properties;

use concord_core::document::Document;
use concord_core::index::{IndexDefinition, IndexName, IndexProgress};
use concord_core::*;

use super::*;
use crate::extractor;

/// A store behind a log of its own.
struct Log {
    store: Store,
    index: u64,
    sequence: u64,
}

impl Log {
    fn new() -> Self {
        let mut log = Self {
            store: Store::empty(),
            index: 0,
            sequence: 1,
        };
        log.group(true, vec![]);
        log
    }

    fn group(&mut self, opens: bool, requests: Vec<bytes::Bytes>) -> Vec<Reply> {
        self.index += 1;
        let meta = Meta {
            index: LogIndex::new(self.index),
            term: Term::new(1),
        };
        let group = Group {
            session: SessionId::new(1),
            opens,
            acked_below: self.sequence,
            first_sequence: self.sequence,
            requests,
        };
        self.sequence += group.requests.len() as u64;
        let batch = Batch {
            proposed_at: Timestamp::new(1_000),
            groups: vec![group],
        };
        self.store.apply(meta, &batch)
    }

    fn run(&mut self, command: &Command) -> Reply {
        self.group(false, vec![command.to_bytes()]).pop().unwrap()
    }

    fn put(&mut self, key: &str, json: Document) {
        let reply = self.run(&Command::Put {
            key: Key::try_from(key).unwrap(),
            value: Value::document(&json).unwrap().into(),
            lifetime: Lifetime::Forever,
            condition: None,
            return_previous: false,
        });
        assert!(matches!(reply, Reply::Written { .. }), "{reply:?}");
    }

    fn index(&mut self, name: &str, text: &str, prefix: &str) {
        let name = IndexName::new(name).unwrap();
        let extractor = extractor::parse(text).unwrap();
        let definition = IndexDefinition::new(name, prefix.as_bytes().to_vec(), extractor, false).unwrap();
        self.run(&Command::CreateIndex {
            definition: definition.into(),
            fill: true,
        });
        while !self
            .store
            .view()
            .indexes()
            .all(|index| index.progress == IndexProgress::Ready)
        {
            self.group(false, vec![]);
        }
    }
}

fn object(fields: &[(&str, Document)]) -> Document {
    let fields = fields
        .iter()
        .map(|(name, value)| ((*name).to_owned(), value.clone()));
    Document::Object(fields.collect())
}

fn int(value: i64) -> Document {
    Document::integer(value)
}

fn text(value: &str) -> Document {
    Document::String(value.to_owned())
}

fn keys(found: &Found) -> Vec<String> {
    found
        .records
        .iter()
        .map(|record| record.key.to_string())
        .collect()
}

fn built(build: impl FnOnce(&mut Query) -> Result<(), InvalidQuery>) -> Query {
    let mut query = Query::all(1_000);
    build(&mut query).unwrap();
    query
}

fn found(view: &ReadView, query: &Query) -> Vec<String> {
    keys(&query.run(view, Output::Keys, &Start::Now, || false).unwrap())
}

fn people() -> Log {
    let mut log = Log::new();
    for (key, age, tags) in [
        ("user:1", 30, &["a", "b"][..]),
        ("user:2", 20, &["b"]),
        ("user:3", 40, &[]),
        ("user:4", 30, &["c"]),
        ("team:1", 30, &["a"]),
    ] {
        let tags = Document::Array(tags.iter().map(|tag| text(tag)).collect());
        log.put(key, object(&[("age", int(age)), ("tags", tags)]));
    }
    log
}

#[test]
fn every_filter_narrows_what_the_others_leave() {
    let view = people().store.view();
    let all =
        |build: &dyn Fn(&mut Query) -> Result<(), InvalidQuery>| found(&view, &built(|query| build(query)));
    let cases: [(Vec<String>, &[&str]); 9] = [
        (
            all(&|query| {
                query.prefix(b"user:");
                query.suffix(b"3");
                Ok(())
            }),
            &["user:3"],
        ),
        (
            all(&|query| {
                query.contains(b"m:");
                Ok(())
            }),
            &["team:1"],
        ),
        (all(&|query| query.glob("*:1")), &["team:1", "user:1"]),
        (all(&|query| query.pattern("^user:[12]$")), &["user:1", "user:2"]),
        // Both ends belong to it.
        (
            all(&|query| {
                query.range(b"user:2", b"user:3");
                Ok(())
            }),
            &["user:2", "user:3"],
        ),
        (
            all(&|query| {
                query.range(b"user:2", b"user:2");
                Ok(())
            }),
            &["user:2"],
        ),
        (
            all(&|query| query.filter("value.age >= 30 && key != 'user:1'")),
            &["team:1", "user:3", "user:4"],
        ),
        (
            all(&|query| {
                query.filter("value.age == 30")?;
                query.filter("'a' in value.tags")
            }),
            &["team:1", "user:1"],
        ),
        (
            all(&|query| {
                query.prefix(b"user:");
                query.prefix(b"team:");
                Ok(())
            }),
            &[],
        ),
    ];
    for (found, expected) in cases {
        assert_eq!(found, expected);
    }
}

/// D-DATA-10: a limit counts what passes the filter, not what is looked at.
#[test]
fn filters_come_before_limits_and_offsets() {
    let mut log = Log::new();
    for place in 0..600 {
        log.put(&format!("k{place:03}"), object(&[("n", int(place))]));
    }
    let mut query = built(|query| query.filter("value.n % 100 == 99"));
    query.limit(2);
    query.offset(3);
    let view = log.store.view();
    let first = query.run(&view, Output::Pairs, &Start::Now, || false).unwrap();
    assert_eq!(keys(&first), ["k399", "k499"]);
    let behind = Start::Behind(first.cursor.unwrap());
    let second = query.run(&view, Output::Pairs, &behind, || false).unwrap();
    assert_eq!((keys(&second), second.cursor), (vec!["k599".to_owned()], None));
    let count = query.run(&view, Output::Count, &Start::Now, || false).unwrap();
    assert_eq!(
        (count.count, count.scanned),
        (6, 600),
        "whatever limit and offset are"
    );
}

#[test]
fn plans_use_the_order_of_keys_and_indexes() {
    let mut log = people();
    log.index("age", "$.age", "user:");
    log.index("tag", "$.tags[*]", "");
    for place in 0..20 {
        log.put(&format!("user:x{place}"), object(&[("age", int(place))]));
    }
    let view = log.store.view();
    let explained = |build: &dyn Fn(&mut Query) -> Result<(), InvalidQuery>| {
        built(|query| build(query)).explain(&view).unwrap()
    };
    let index = |name: &str| Reads::Index(IndexName::new(name).unwrap());
    assert_eq!(explained(&|_| Ok(())).reads, Reads::FullScan);
    let narrow = explained(&|query| query.filter("key.startsWith('user:1') && value.age > 3"));
    assert_eq!(
        narrow.reads,
        Reads::KeyRange(KeyRange::prefix("user:1")),
        "fewer than by age"
    );
    for (texts, reads) in [
        (&["key == 'user:1'"][..], None),
        (&["key.startsWith('user:') && value.age == 30"], Some("age")),
        (
            &["key.startsWith('user:')", "30 <= value.age && value.age < 41"],
            Some("age"),
        ),
        (&["'c' in value.tags"], Some("tag")),
        // Not all keys have their ages in the index.
        (&["value.age == 30"], None),
        // Nothing of this can be found by an index.
        (
            &["key.startsWith('user:') && (value.age == 30 || value.b == 1)"],
            None,
        ),
        (&["key.startsWith('user:') && value.age != 30"], None),
        (&["key.startsWith('user:') && value.age == null"], None),
    ] {
        let plan = explained(&|query| texts.iter().try_for_each(|text| query.filter(text)));
        let by_index = reads.map(index);
        assert_eq!(
            matches!(plan.reads, Reads::Index(_)).then_some(plan.reads),
            by_index,
            "{texts:?}"
        );
    }
    let plan =
        explained(&|query| query.filter("key.startsWith('user:') && value.age >= 30 && value.age < 40"));
    assert_eq!(plan.by_index, ["value.age >= 30", "value.age < 40"]);
    assert_eq!((plan.records, plan.is_more, plan.is_in_order), (2, false, false));
    let plan = explained(&|query| {
        query.filter("key.startsWith('user:') && value.age >= 30")?;
        query.order_by("$.age")
    });
    assert!(plan.is_in_order, "the index has the order that is asked for");
    assert_eq!(
        explained(&|query| {
            query.prefix(b"b");
            query.prefix(b"c");
            Ok(())
        })
        .reads,
        Reads::Nothing
    );
    // An anchored pattern and a glob say how keys begin.
    assert_eq!(
        explained(&|query| query.pattern("^team:.*1$")).reads,
        Reads::KeyRange(KeyRange::prefix("team:"))
    );
    assert_eq!(
        explained(&|query| query.glob("team:*")).reads,
        Reads::KeyRange(KeyRange::prefix("team:"))
    );
}

/// A query that an index answers looks at what matches, however large the store is.
#[test]
fn a_query_by_index_does_not_go_through_the_store() {
    let mut log = Log::new();
    for place in 0..2_000 {
        log.put(&format!("k{place}"), object(&[("n", int(place))]));
    }
    log.index("n", "$.n", "");
    let view = log.store.view();
    let scanned = |build: &dyn Fn(&mut Query) -> Result<(), InvalidQuery>, output| {
        built(|query| build(query))
            .run(&view, output, &Start::Now, || false)
            .unwrap()
            .scanned
    };
    assert_eq!(scanned(&|query| query.filter("value.n == 7"), Output::Pairs), 1);
    assert_eq!(
        scanned(
            &|query| query.filter("value.n >= 7 && value.n < 17"),
            Output::Count
        ),
        10
    );
    let first_of_many = |query: &mut Query| {
        query.limit(5);
        query.descending();
        query.filter("value.n >= 0")?;
        query.order_by("$.n")
    };
    assert_eq!(scanned(&first_of_many, Output::Pairs), 6);
}

#[test]
fn an_index_is_used_only_when_it_has_everything() {
    let mut log = people();
    let definition = IndexDefinition::new(
        IndexName::new("late").unwrap(),
        "",
        extractor::parse("$.age").unwrap(),
        false,
    );
    log.run(&Command::CreateIndex {
        definition: definition.unwrap().into(),
        fill: false,
    });
    let query = built(|query| query.filter("value.age == 20"));
    let view = log.store.view();
    assert_eq!(query.explain(&view).unwrap().reads, Reads::FullScan);
    assert_eq!(found(&view, &query), ["user:2"]);
}

/// Objects have no order and long lists are known in part, but `in` finds what is in them.
#[test]
fn what_an_index_knows_in_part_is_found_all_the_same() {
    let mut log = Log::new();
    log.index("t", "$.t[*]", "");
    log.index("u", "$.t", "");
    log.put(
        "list",
        object(&[("t", Document::Array(vec![text("x"), text("y")]))]),
    );
    log.put("object", object(&[("t", object(&[("x", int(1))]))]));
    let long = (0..2_000)
        .map(|place| text(&format!("a{place:04}")))
        .chain([text("x")]);
    log.put("long", object(&[("t", Document::Array(long.collect()))]));
    log.put("scalar", object(&[("t", text("x"))]));
    log.put("other", object(&[("t", text("y"))]));
    let view = log.store.view();
    let within = built(|query| query.filter("'x' in value.t"));
    assert!(matches!(within.explain(&view).unwrap().reads, Reads::Index(_)));
    assert_eq!(found(&view, &within), ["list", "long", "object"]);
    let equal = built(|query| query.filter("value.t == 'x'"));
    assert!(matches!(equal.explain(&view).unwrap().reads, Reads::Index(_)));
    assert_eq!(found(&view, &equal), ["scalar"]);
    // A cut string stands for all that begin like it.
    let long = "z".repeat(600);
    log.put("z1", object(&[("t", text(&format!("{long}1")))]));
    log.put("z2", object(&[("t", text(&format!("{long}2")))]));
    let view = log.store.view();
    for (operation, expected) in [("==", &["z1"][..]), (">", &["z2"]), (">=", &["z1", "z2"])] {
        let query = built(|query| query.filter(&format!("value.t {operation} '{long}1'")));
        assert!(matches!(query.explain(&view).unwrap().reads, Reads::Index(_)));
        assert_eq!(found(&view, &query), expected, "{operation}");
    }
}

#[test]
fn a_query_that_reaches_its_bound_says_where_to_go_on() {
    let mut log = Log::new();
    for place in 0..100 {
        log.put(&format!("k{place:02}"), object(&[("n", int(place))]));
    }
    let view = log.store.view();
    let mut query = built(|query| query.filter("value.n == 75"));
    query.max_scanned(30);
    let mut start = Start::Now;
    let mut scanned = 0;
    let found = loop {
        match query.run(&view, Output::Keys, &start, || false) {
            Ok(page) => break page,
            Err(QueryError::Stopped {
                stopped: Stop::MaxScanned,
                scanned: looked,
                cursor: Some(cursor),
            }) => {
                scanned += looked;
                start = Start::Behind(cursor);
            }
            Err(error) => panic!("{error}"),
        }
    };
    assert_eq!((scanned, keys(&found)), (60, vec!["k75".to_owned()]));
    assert_eq!(found.stopped, Some(Stop::MaxScanned), "a short page says why");
    let rest = query
        .run(&view, Output::Keys, &Start::Behind(found.cursor.unwrap()), || {
            false
        })
        .unwrap();
    assert_eq!((keys(&rest), rest.cursor, rest.stopped), (vec![], None, None));
    // A count goes on counting.
    let mut every = Query::all(10);
    every.max_scanned(40);
    let mut start = Start::Now;
    let total = loop {
        match every.run(&view, Output::Count, &start, || false) {
            Ok(page) => break page.count,
            Err(QueryError::Stopped {
                cursor: Some(cursor), ..
            }) => start = Start::Behind(cursor),
            Err(error) => panic!("{error}"),
        }
    };
    assert_eq!(total, 100);
    // What must be sorted is looked at in one go, or not at all.
    let mut sorted = built(|query| query.order_by("$.n"));
    sorted.max_scanned(99);
    let refused = sorted.run(&view, Output::Keys, &Start::Now, || false);
    assert!(
        matches!(refused, Err(QueryError::Stopped { cursor: None, .. })),
        "{refused:?}"
    );
}

#[test]
fn a_query_ends_when_its_time_is_over() {
    let mut log = Log::new();
    for place in 0..3_000 {
        log.put(&format!("k{place:04}"), int(place));
    }
    let view = log.store.view();
    let query = built(|query| query.filter("value < 0"));
    let stopped = query.run(&view, Output::Keys, &Start::Now, || true);
    let Err(QueryError::Stopped {
        stopped: Stop::Deadline,
        scanned,
        cursor: Some(cursor),
    }) = stopped
    else {
        panic!("{stopped:?}")
    };
    assert!(scanned < 2_000, "{scanned}");
    let rest = query
        .run(&view, Output::Keys, &Start::Behind(cursor), || false)
        .unwrap();
    assert_eq!(rest.scanned, 3_000 - scanned);
}

#[test]
fn a_projection_shows_fields_and_leaves_out_what_is_not_there() {
    let view = people().store.view();
    let query = built(|query| {
        query.prefix(b"user:3");
        query.select("age", "value.age")?;
        query.select("twice", "value.age * 2")?;
        query.select("none", "value.nobody")?;
        query.select("version", "version")
    });
    let page = query.run(&view, Output::Pairs, &Start::Now, || false).unwrap();
    let expected = object(&[("age", int(40)), ("twice", int(80)), ("version", int(1))]);
    assert_eq!(page.records[0].value.to_document(), Some(expected));
}

#[test]
fn cursors_are_of_one_query_and_tell_when_they_were_changed() {
    let view = people().store.view();
    let mut query = built(|query| query.filter("value.age >= 30"));
    query.limit(1);
    let cursor = query
        .run(&view, Output::Keys, &Start::Now, || false)
        .unwrap()
        .cursor
        .unwrap();
    let text = cursor.to_string();
    assert_eq!(text.parse(), Ok(cursor.clone()));
    for place in 0..text.len() {
        let mut bytes = text.clone().into_bytes();
        bytes[place] = if bytes[place] == b'0' { b'1' } else { b'0' };
        let changed = String::from_utf8(bytes).unwrap().parse::<QueryCursor>();
        assert!(
            !changed.is_ok_and(|cursor| cursor.position_in(&query).is_some()),
            "digit {place}"
        );
    }
    let other = built(|query| query.filter("value.age >= 31"));
    let refused = other.run(&view, Output::Keys, &Start::Behind(cursor), || false);
    assert!(matches!(refused, Err(QueryError::ForeignCursor)));
}

#[test]
fn queries_that_make_no_sense_are_refused_with_their_part() {
    let mut query = Query::all(10);
    for (part, error) in [
        ("pattern", query.pattern("(").unwrap_err()),
        ("glob", query.glob("a\\").unwrap_err()),
        ("where", query.filter("value.").unwrap_err()),
        ("where", query.filter(&"(".repeat(10 << 20)).unwrap_err()),
        ("order_by", query.order_by("$.a[").unwrap_err()),
        ("order_by", query.order_by("ttl").unwrap_err()),
        ("select", query.select("a", "1 +").unwrap_err()),
    ] {
        assert_eq!(error.part(), part);
    }
    type Change = fn(&mut Query);
    let cases: [(&str, Change); 5] = [
        ("limit", |query| query.limit(0)),
        ("limit", |query| query.limit(10_001)),
        ("offset", |query| query.offset(100_001)),
        ("max_scanned", |query| query.max_scanned(0)),
        ("filter", |query| query.suffix(&[b'a'; 1_025])),
    ];
    for (part, change) in cases {
        let mut query = Query::all(10);
        change(&mut query);
        assert_eq!(query.check().unwrap_err().part(), part);
    }
    let mut many = Query::all(10);
    (0..17).for_each(|_| many.contains(b"a"));
    assert!(many.check().is_err());
}
