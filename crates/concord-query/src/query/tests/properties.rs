//! Every query over every store: against looking at everything.

use std::collections::BTreeMap;
use std::ops::Bound;

use concord_core::document::Document;
use concord_core::expr::Scope;
use concord_core::index::IndexName;
use concord_core::view::{IndexRequest, KeyFilter, ScanOutput, ScanRequest};
use concord_core::*;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::super::*;
use super::{Log, built, int, keys, object, text};
use crate::{expression, extractor};

const KEYS: [&str; 8] = ["a:1", "a:2", "a:3", "a:40", "b:1", "b:2", "c", "a:1:x"];

fn arb_document() -> impl Strategy<Value = Document> {
    let scalar = prop_oneof![
        4 => (0_i64..4).prop_map(Document::integer),
        2 => select(&["x", "y", "", "xa", "x\0", "xb"][..]).prop_map(text),
        1 => any::<bool>().prop_map(Document::Bool),
        1 => Just(Document::Null),
    ];
    let value = prop_oneof![
        4 => scalar.clone(),
        1 => vec(scalar.clone(), 0..3).prop_map(Document::Array),
        1 => scalar.prop_map(|value| object(&[("x", value)])),
    ];
    let field = select(&["n", "m"][..]).prop_map(str::to_owned);
    let fields = proptest::collection::btree_map(field, value, 0..3);
    prop_oneof![8 => fields.prop_map(Document::Object), 1 => Just(int(1))]
}

/// A put, or without a document a delete.
type Write = (&'static str, Option<Document>);

fn arb_writes() -> impl Strategy<Value = Vec<Write>> {
    vec(
        (select(&KEYS[..]), proptest::option::weighted(0.8, arb_document())),
        0..12,
    )
}

fn write(log: &mut Log, writes: &[Write]) {
    for (key, document) in writes {
        match document {
            Some(document) => log.put(key, document.clone()),
            None => {
                log.run(&Command::Delete {
                    key: Key::try_from(*key).unwrap(),
                    condition: None,
                    return_previous: false,
                });
            }
        }
    }
}

const PREDICATES: [&str; 28] = [
    "value.n == 1",
    "value.n >= 1",
    "2 > value.n",
    "value.n > 0 && value.n <= 2",
    "value.n == 'x'",
    "value.n.startsWith('x')",
    "value.n == true",
    "1 in value.n",
    "'x' in value.n",
    "'x' in value.n && 1 in value.n",
    "value.n == 1 || value.m == 1",
    "!(value.n == 1)",
    "has(value.m)",
    "value.n + value.m == 3",
    "value == 1",
    "key >= 'a:2' && key < 'b'",
    "key.startsWith('a:') && value.m < 2",
    "value.n == -1 || version > 1",
    "value.n in [0, 2, 'x']",
    "value.n in [3, 1, 1.0, true]",
    "value.n in [1, null]",
    "value.n in []",
    "value.n == 0 || 2 == value.n || value.n > 2",
    "value.n in [0, 1, 2] && (value.n < 1 || value.n in ['y', 2])",
    "value.n > 0 || value.n < 2 && value.m == 1",
    "key in ['a:2', 'b:1', 'c']",
    "key in ['b:1', 'a:1'] && value.n in [1, 2]",
    "value.n < 1 || value.n.startsWith('x')",
];

#[derive(Clone, Debug)]
struct Asked {
    predicates: Vec<&'static str>,
    prefix: Option<&'static str>,
    glob: Option<&'static str>,
    pattern: Option<&'static str>,
    range: Option<(&'static str, &'static str)>,
    order: Option<&'static str>,
    is_descending: bool,
    offset: u64,
    limit: usize,
    max_scanned: u64,
}

fn arb_asked() -> impl Strategy<Value = Asked> {
    let maybe = |values: &'static [&'static str]| proptest::option::weighted(0.3, select(values));
    let text = (
        vec(select(&PREDICATES[..]), 0..3),
        maybe(&["a:", "b:", "a:1", "z"]),
        maybe(&["*1", "a:*", "?:1", "a:1*"]),
        maybe(&["1$", "^a:[12]", "b|c", "^(a|b):"]),
        proptest::option::weighted(0.2, (select(&KEYS[..]), select(&KEYS[..]))),
        maybe(&["$.n", "$.m", "value.n", "version", "$.n[*]"]),
    );
    let numbers = (
        any::<bool>(),
        0_u64..3,
        1_usize..5,
        prop_oneof![Just(1_u64), Just(3), Just(1_000)],
    );
    (text, numbers).prop_map(|(text, numbers)| {
        let (predicates, prefix, glob, pattern, range, order) = text;
        let (is_descending, offset, limit, max_scanned) = numbers;
        Asked {
            predicates,
            prefix,
            glob,
            pattern,
            range,
            order,
            is_descending,
            offset,
            limit,
            max_scanned,
        }
    })
}

impl Asked {
    fn query(&self) -> Query {
        built(|query| {
            self.predicates.iter().try_for_each(|text| query.filter(text))?;
            if let Some(prefix) = self.prefix {
                query.prefix(prefix.as_bytes());
            }
            if let Some((first, last)) = self.range {
                query.range(first.as_bytes(), last.as_bytes());
            }
            self.glob.map_or(Ok(()), |text| query.glob(text))?;
            self.pattern.map_or(Ok(()), |text| query.pattern(text))?;
            self.order.map_or(Ok(()), |text| query.order_by(text))?;
            if self.is_descending {
                query.descending();
            }
            query.offset(self.offset);
            query.limit(self.limit);
            query.max_scanned(self.max_scanned);
            Ok(())
        })
    }

    /// The keys of the answer, by looking at everything.
    fn naive(&self, view: &ReadView) -> Vec<String> {
        let predicates: Vec<Expression> = self
            .predicates
            .iter()
            .map(|text| expression::parse(text).unwrap())
            .collect();
        let glob = self.glob.map(|text| crate::Glob::new(text).unwrap());
        let pattern = self.pattern.map(|text| regex::Regex::new(text).unwrap());
        let order = self.order.map(|text| extractor::parse(text).unwrap());
        let mut found = BTreeMap::new();
        for record in view.records(&KeyRange::all(), Direction::Ascending) {
            let key = std::str::from_utf8(record.key()).unwrap();
            let scope = Scope::of(&record, view.now());
            let matches = predicates.iter().all(|predicate| predicate.holds(&scope))
                && self.prefix.is_none_or(|prefix| key.starts_with(prefix))
                && self
                    .range
                    .is_none_or(|(first, last)| (first..=last).contains(&key))
                && glob.as_ref().is_none_or(|glob| glob.matches(key.as_bytes()))
                && pattern.as_ref().is_none_or(|pattern| pattern.is_match(key));
            if matches {
                let value = order.as_ref().map(|order| order.sort_key(&record));
                found.insert((value, key.to_owned()), ());
            }
        }
        let mut keys: Vec<String> = found.into_keys().map(|(_, key)| key).collect();
        if self.is_descending {
            keys.reverse();
        }
        keys
    }
}

/// Keys of these sources: a key, or with a star at the end all that begin so.
#[derive(Debug)]
struct Shown {
    sources: Vec<&'static str>,
    ranges: Vec<KeyRange>,
}

impl Shown {
    fn new(mut sources: Vec<&'static str>) -> Self {
        sources.sort_unstable();
        let mut starts: Vec<&str> = Vec::new();
        for source in &sources {
            // A star in the middle hides some of what its start is that of.
            let start = source.split('*').next().unwrap();
            if !starts.last().is_some_and(|last| start.starts_with(last)) {
                starts.push(start);
            }
        }
        let ranges = starts.into_iter().map(KeyRange::prefix).collect();
        Self { sources, ranges }
    }
}

impl KeyFilter for Shown {
    fn shows(&self, key: &[u8]) -> bool {
        self.sources.iter().any(|source| match source.split_once('*') {
            Some((start, end)) => key.starts_with(start.as_bytes()) && key.ends_with(end.as_bytes()),
            None => key == source.as_bytes(),
        })
    }

    fn ranges(&self) -> &[KeyRange] {
        &self.ranges
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    /// What is hidden takes no place on any page, and counts nowhere.
    #[test]
    fn a_reader_is_shown_what_would_be_there_without_the_hidden_keys(
        writes in arb_writes(),
        later in arb_writes(),
        sources in vec(select(&["a:*", "a:1*", "b:*", "c", "a:2", "*1", "*"][..]), 0..3),
        index in proptest::option::of(select(&["$.n", "$.n[*]", "$.m"][..])),
        is_past in any::<bool>(),
        asked in arb_asked(),
    ) {
        let shown = Shown::new(sources);
        let mut log = Log::new();
        if let Some(text) = index {
            log.index("i", text, "");
        }
        write(&mut log, &writes);
        let then = log.store.view();
        let mut expected = asked.naive(&then);
        expected.retain(|key| shown.shows(key.as_bytes()));
        let count = expected.len() as u64;
        expected.drain(..expected.len().min(usize::try_from(asked.offset).unwrap()));
        let revision = is_past.then(|| then.revision());
        if is_past {
            write(&mut log, &later);
        }
        let view = log.store.view();
        let mut query = asked.query();
        query.max_scanned(1_000);
        let begin = || revision.map_or(Start::Now, Start::At);
        let (mut start, mut found) = (begin(), Vec::new());
        loop {
            let page = query.run_shown(&view, Some(&shown), Output::Pairs, &start, || false).unwrap();
            let visible = KEYS.iter().filter(|key| shown.shows(key.as_bytes())).count() as u64;
            prop_assert!(page.scanned <= visible, "a key has few values here, and hidden ones do not count");
            found.extend(keys(&page));
            let Some(cursor) = page.cursor else { break };
            start = Start::Behind(cursor);
        }
        prop_assert_eq!(found, expected);
        let counted = query.run_shown(&view, Some(&shown), Output::Count, &begin(), || false).unwrap();
        prop_assert_eq!(counted.count, count);
    }

    /// Of scans and lookups, too, over any pages, in both directions, now and in the past.
    #[test]
    fn scans_and_lookups_leave_out_what_is_hidden(
        writes in arb_writes(),
        later in arb_writes(),
        sources in vec(select(&["a:*", "a:1*", "b:*", "c", "a:2", "*1", "*"][..]), 0..3),
        (is_descending, is_past) in any::<(bool, bool)>(),
        limit in 1_usize..4,
    ) {
        let shown = Shown::new(sources);
        let mut log = Log::new();
        log.index("i", "$.n", "");
        write(&mut log, &writes);
        let direction = if is_descending { Direction::Descending } else { Direction::Ascending };
        let revision = is_past.then(|| log.store.view().revision());
        let mut scan = ScanRequest { direction, revision, ..ScanRequest::new(KeyRange::from("a:1")) };
        let name = IndexName::new("i").unwrap();
        let mut lookup = IndexRequest { direction, revision, ..IndexRequest::range(name, Bound::Unbounded, Bound::Unbounded) };
        let before = log.store.view();
        let visible = |records: Vec<Record>| -> Vec<Record> {
            records.into_iter().filter(|record| shown.shows(record.key.as_bytes())).collect()
        };
        let (all, entries) = (before.scan(&scan).unwrap().records, before.lookup(&lookup).unwrap().records);
        let (all, entries) = (visible(all), visible(entries));
        if is_past {
            write(&mut log, &later);
        }
        let view = log.store.view();
        (scan.limit, lookup.limit) = (limit, limit);
        let (mut found, mut looked_up) = (Vec::new(), Vec::new());
        loop {
            let page = view.scan_shown(&scan, Some(&shown)).unwrap();
            prop_assert!(page.records.len() == limit || page.next.is_none());
            found.extend(page.records);
            scan.after = page.next;
            if scan.after.is_none() { break; }
        }
        loop {
            let page = view.lookup_shown(&lookup, Some(&shown)).unwrap();
            looked_up.extend(page.records);
            lookup.after = page.next;
            if lookup.after.is_none() { break; }
        }
        prop_assert_eq!(&found, &all);
        prop_assert_eq!(looked_up, entries);
        scan.output = ScanOutput::Count;
        prop_assert_eq!(view.scan_shown(&scan, Some(&shown)).unwrap().count, all.len() as u64);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever the plan is: pages find each record once that looking at all of them finds, in the order asked for, at
    /// the revision of the first page, whatever is written, dropped or indexed in between.
    #[test]
    fn plans_find_what_a_full_scan_finds_over_any_pages(
        first in arb_writes(),
        between in arb_writes(),
        indexes in vec((select(&["$.n", "$.n[*]", "$.m", "value.n", "value", "value.n + value.m"][..]),
            select(&["", "a:"][..])), 0..4),
        is_late in any::<bool>(),
        drops in any::<bool>(),
        asked in arb_asked(),
    ) {
        let mut log = Log::new();
        if is_late {
            write(&mut log, &first);
        }
        for (place, (text, prefix)) in indexes.iter().enumerate() {
            log.index(&format!("i{place}"), text, prefix);
        }
        if !is_late {
            write(&mut log, &first);
        }
        let query = asked.query();
        let then = log.store.view();
        let all = asked.naive(&then);
        let expected: Vec<String> = all.iter().skip(usize::try_from(asked.offset).unwrap()).cloned().collect();

        let (mut start, mut pages, mut found) = (Start::Now, 0, Vec::new());
        loop {
            match query.run(&log.store.view(), Output::Pairs, &start, || false) {
                Ok(page) => {
                    prop_assert_eq!(page.revision, then.revision());
                    prop_assert!(page.records.len() <= asked.limit);
                    found.extend(keys(&page));
                    let Some(cursor) = page.cursor else { break };
                    start = Start::Behind(cursor.to_string().parse().unwrap());
                }
                Err(QueryError::Stopped { cursor: Some(cursor), scanned, .. }) => {
                    prop_assert!(scanned <= asked.max_scanned);
                    start = Start::Behind(cursor);
                }
                // What must be sorted cannot be looked at in parts.
                Err(QueryError::Stopped { cursor: None, .. }) => {
                    prop_assert!(asked.max_scanned < 1_000);
                    return Ok(());
                }
                Err(error) => return Err(TestCaseError::fail(error.to_string())),
            }
            pages += 1;
            prop_assert!(pages < 200, "it comes to an end");
            if pages == 1 {
                write(&mut log, &between);
                if drops && !indexes.is_empty() {
                    log.run(&Command::DropIndex { name: IndexName::new("i0").unwrap() });
                }
            }
        }
        prop_assert_eq!(&found, &expected, "{:?} {:?}", &asked, query.explain(&then).unwrap());
        // The past can be asked for, too.
        write(&mut log, &between);
        let mut whole = query.clone();
        whole.max_scanned(1_000);
        let past = whole.run(&log.store.view(), Output::Count, &Start::At(then.revision()), || false).unwrap();
        prop_assert_eq!(past.count, all.len() as u64);
    }

    /// A delete removes what a query finds at the same place, and counts it.
    #[test]
    fn a_delete_by_filter_removes_what_the_query_finds(
        writes in arb_writes(),
        indexes in vec((select(&["$.n", "$.n[*]", "$.m", "value"][..]), select(&["", "a:"][..])), 0..3),
        asked in arb_asked(),
        limit in proptest::option::of(0_u64..4),
    ) {
        let mut log = Log::new();
        for (place, (text, prefix)) in indexes.iter().enumerate() {
            log.index(&format!("i{place}"), text, prefix);
        }
        write(&mut log, &writes);
        let before = log.store.view();
        let asked = Asked { order: None, is_descending: false, ..asked };
        let doomed = asked.naive(&before);
        let most = limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap());
        let (gone, left) = doomed.split_at(most.min(doomed.len()));
        let filter = asked.query().to_filter().unwrap();
        let reply = log.run(&Command::DeleteWhere { filter, limit });
        let revision = if gone.is_empty() { before.revision() } else { before.revision().next() };
        let expected = Reply::DeletedWhere { revision, count: gone.len() as u64, more: !left.is_empty() };
        prop_assert_eq!(reply, expected);
        let after = log.store.view();
        let keys = |view: &ReadView| -> Vec<String> {
            let page = view.scan(&ScanRequest::new(KeyRange::all())).unwrap();
            page.records.iter().map(|record| record.key.to_string()).collect()
        };
        let mut expected = keys(&before);
        expected.retain(|key| !gone.contains(key));
        prop_assert_eq!(keys(&after), expected);
        prop_assert_eq!(concord_core::invariants::check(&log.store), Ok(()));
    }
}
