//! Routing and reading against a naive filter over all changes.

use std::sync::Arc;

use concord_core::batch::{Batch, Group};
use concord_core::ids::{LogIndex, Millis, Revision, SessionId, Term, Timestamp};
use concord_core::key::{Key, KeyRange};
use concord_core::machine::{Machine as _, Meta};
use concord_core::view::{ChangeKind, ReadView, ViewError};
use concord_core::{Command, Store, Value};
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::Glob;

const ROOMY: PageLimits = PageLimits {
    events: 1_000,
    bytes: 1 << 20,
    visits: 1_000,
};

/// A store behind a log of its own.
struct Log {
    store: Store,
    index: u64,
    sequence: u64,
    clock: u64,
}

impl Log {
    fn new() -> Self {
        let mut log = Self {
            store: Store::empty(),
            index: 0,
            sequence: 1,
            clock: 1,
        };
        log.apply(true, &[]);
        log
    }

    fn apply(&mut self, opens: bool, commands: &[Command]) {
        self.index += 1;
        let group = Group {
            session: SessionId::new(1),
            opens,
            acked_below: self.sequence,
            first_sequence: self.sequence,
            requests: commands.iter().map(Command::to_bytes).collect(),
        };
        self.sequence += commands.len() as u64;
        let meta = Meta {
            index: LogIndex::new(self.index),
            term: Term::new(1),
        };
        let batch = Batch {
            proposed_at: Timestamp::new(self.clock),
            groups: vec![group],
        };
        self.store.apply(meta, &batch);
    }

    fn run(&mut self, command: Command) {
        self.apply(false, &[command]);
    }

    fn put(&mut self, key: &str, ttl_ms: Option<u64>) {
        self.run(Command::Put {
            key: Key::try_from(key).unwrap(),
            value: Value::text(format!("{key} at {}", self.sequence)).into(),
            lifetime: ttl_ms.map(Millis::new).into(),
            condition: None,
            return_previous: false,
        });
    }

    fn delete(&mut self, key: &str) {
        self.run(Command::Delete {
            key: Key::try_from(key).unwrap(),
            condition: None,
            return_previous: false,
        });
    }

    fn view(&self) -> ReadView {
        self.store.view()
    }
}

fn key(text: &str) -> Key {
    Key::try_from(text).unwrap()
}

fn everything() -> Filter {
    Filter::new(Selector::all())
}

/// Reads page after page until the view's end.
fn read_all(view: &ReadView, filter: &Filter, from: Position, limits: PageLimits) -> Vec<WatchBatch> {
    let (mut batches, mut at) = (Vec::new(), from);
    loop {
        let page = read(view, filter, true, at, view.revision(), limits).unwrap();
        assert!(page.batches.iter().all(|batch| batch.position <= page.position));
        batches.extend(page.batches);
        if page.position == at {
            return batches;
        }
        at = page.position;
    }
}

/// D-EVT-1, D-EVT-5: every event has its key, revision and both records, expiry included; no
/// filter lets anything pass that it cannot see.
#[test]
fn events_tell_what_was_and_what_is() {
    let mut log = Log::new();
    log.put("a", Some(10));
    log.put("a", Some(20));
    log.clock = 100;
    log.put("b", None);
    log.delete("b");
    let batches = read_all(
        &log.view(),
        &everything(),
        Position::behind(Revision::new(1)),
        ROOMY,
    );
    let told: Vec<_> = batches
        .iter()
        .flat_map(|batch| &batch.events)
        .map(|event| {
            let text = |record: &Option<concord_core::Record>| {
                record
                    .as_ref()
                    .map(|record| record.value.as_text().unwrap().to_owned())
            };
            let key = event.key.to_string();
            (
                event.revision.get(),
                event.kind,
                key,
                text(&event.record),
                text(&event.previous),
            )
        })
        .collect();
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(
        told,
        [
            (2, ChangeKind::Put, "a".to_owned(), some("a at 1"), None),
            (3, ChangeKind::Put, "a".to_owned(), some("a at 2"), some("a at 1")),
            (4, ChangeKind::Expire, "a".to_owned(), None, some("a at 2")),
            (5, ChangeKind::Put, "b".to_owned(), some("b at 3"), None),
            (6, ChangeKind::Delete, "b".to_owned(), None, some("b at 3")),
        ]
    );
}

/// A revision with more changes than a page holds is split, and nothing is lost or doubled.
#[test]
fn a_large_revision_is_delivered_in_parts() {
    let mut log = Log::new();
    for number in 0..10 {
        log.put(&format!("k{number}"), Some(10));
    }
    log.clock = 100;
    log.put("after", None);
    let from = Position::behind(Revision::new(11));
    let limits = PageLimits { events: 4, ..ROOMY };
    let batches = read_all(&log.view(), &everything(), from, limits);
    let parts: Vec<_> = batches
        .iter()
        .map(|batch| (batch.events.len(), batch.position.to_string()))
        .collect();
    let expected = [(4, "12.3"), (4, "12.7"), (2, "12"), (1, "13")];
    assert_eq!(
        parts,
        expected.map(|(count, position)| (count, position.to_owned()))
    );
    assert!(!batches[0].is_complete() && batches[2].is_complete());
    // Whoever was cut off in the middle goes on there.
    let rest = read_all(&log.view(), &everything(), "12.7".parse().unwrap(), ROOMY);
    assert_eq!(rest, batches[2..]);
}

#[test]
fn one_event_fits_on_any_page() {
    let mut log = Log::new();
    log.put("a", None);
    log.put("b", None);
    let limits = PageLimits {
        events: 10,
        bytes: 1,
        visits: 10,
    };
    let page = read(
        &log.view(),
        &everything(),
        false,
        Position::behind(Revision::new(1)),
        Revision::new(3),
        limits,
    )
    .unwrap();
    assert_eq!(
        (page.batches.len(), page.position.to_string()),
        (1, "2".to_owned())
    );
}

/// D-V3-4: who is behind compaction is told so instead of missing changes.
#[test]
fn compacted_changes_are_refused_to_the_exact_revision() {
    let mut log = Log::new();
    for number in 0..10 {
        log.put(&format!("k{number}"), None);
    }
    log.run(Command::Compact {
        revision: Revision::new(5),
    });
    let view = log.view();
    let from = |position| read(&view, &everything(), false, position, view.revision(), ROOMY);
    let compacted = ViewError::Compacted {
        compact_revision: Revision::new(5),
    };
    assert_eq!(from(Position::behind(Revision::new(4))), Err(compacted));
    assert_eq!(from(Position::within(Revision::new(5), 0)), Err(compacted));
    let page = from(Position::behind(Revision::new(5))).unwrap();
    assert_eq!(page.batches.first().map(|batch| batch.revision.get()), Some(6));
}

#[test]
fn positions_read_back_and_anything_else_is_refused() {
    for text in ["0", "41", "41.0", "41.1023", "18446744073709551615.7"] {
        assert_eq!(text.parse::<Position>().unwrap().to_string(), text);
    }
    for text in [
        "",
        "x",
        "-1",
        "+1",
        "1.",
        ".1",
        "1.x",
        "1.4294967295",
        "1.2.3",
        " 1",
    ] {
        assert_eq!(text.parse::<Position>(), Err(InvalidPosition), "{text}");
    }
    let order: Vec<Position> = ["1", "2.0", "2.1", "2", "3"]
        .map(|text| text.parse().unwrap())
        .into();
    assert!(order.is_sorted());
}

/// A pattern that is much work for a long key: who routes for all does not wait for it, and who reads looks at fewer
/// changes at a time.
#[test]
fn a_costly_pattern_costs_only_who_asks_for_it() {
    let pattern = Arc::new(KeyPattern::new("(a|b|ab){20}c$").unwrap());
    let filter = Filter::new(Selector::Pattern(pattern));
    let mut router = Router::default();
    router.insert(7, &filter);
    let whom = |key: &str| {
        let mut found = Vec::new();
        router.route(key.as_bytes(), ChangeKind::Put, |watcher| found.push(*watcher));
        found
    };
    assert_eq!(whom("ab"), [], "short: it is known that it does not match");
    let long = "ab".repeat(200);
    assert_eq!(whom(&long), [7], "long: it may match");

    let mut log = Log::new();
    for _ in 0..10 {
        log.put(&long, None);
    }
    log.put(&format!("{long}c"), None);
    let view = log.view();
    let limits = PageLimits { visits: 20, ..ROOMY };
    let start = Position::behind(Revision::new(1));
    let page = read(&view, &filter, false, start, view.revision(), limits).unwrap();
    assert_eq!(page.batches, []);
    assert!(
        page.position < Position::behind(Revision::new(11)),
        "{:?}",
        page.position
    );
    let all = read_all(&view, &filter, start, limits);
    let told: Vec<_> = all.iter().flat_map(|batch| &batch.events).collect();
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].revision, Revision::new(12));
}

fn keys() -> impl Strategy<Value = String> {
    vec(prop::sample::select(vec!["a", "b", "\u{0}", "é"]), 1..5).prop_map(|parts| parts.concat())
}

fn selectors() -> impl Strategy<Value = Selector> {
    let glob = vec(prop::sample::select(vec!["a", "b", "*", "?"]), 1..5)
        .prop_map(|parts| Selector::Glob(Glob::new(parts.concat()).unwrap()));
    prop_oneof![
        keys().prop_map(|text| Selector::Key(key(&text))),
        keys().prop_map(|text| Selector::Prefix(text.into())),
        Just(Selector::all()),
        (keys(), keys()).prop_map(|(start, end)| Selector::Range(KeyRange::between(start, end))),
        keys().prop_map(|start| Selector::Range(KeyRange::from(start))),
        glob,
        prop::sample::select(vec!["a", "^a", "^ab+$", "^(a|b)a", "b$", "^é?b", "^a|b", "[^a]"])
            .prop_map(|text| Selector::Pattern(Arc::new(KeyPattern::new(text).unwrap()))),
    ]
}

fn filters() -> impl Strategy<Value = Filter> {
    let kinds = prop::sample::select(vec![
        Kinds::ALL,
        Kinds::of(&[ChangeKind::Put]),
        Kinds::of(&[ChangeKind::Delete, ChangeKind::Expire]),
    ]);
    (selectors(), kinds).prop_map(|(selector, kinds)| Filter {
        selector,
        kinds,
        predicate: None,
    })
}

fn kinds() -> impl Strategy<Value = ChangeKind> {
    prop::sample::select(vec![ChangeKind::Put, ChangeKind::Delete, ChangeKind::Expire])
}

proptest! {
    /// D-EVT-3: everybody whose filter lets a change through is found, once, and nobody else.
    #[test]
    fn the_router_finds_whom_a_filter_would(
        filters in vec(filters(), 0..20),
        removed in vec(any::<bool>(), 20),
        changes in vec((keys(), kinds()), 1..10),
    ) {
        let mut router = Router::default();
        for (watcher, filter) in filters.iter().enumerate() {
            router.insert(watcher, filter);
        }
        let stays = |watcher: &usize| !removed[*watcher];
        for (watcher, filter) in filters.iter().enumerate().filter(|(watcher, _)| !stays(watcher)) {
            router.remove(&watcher, filter);
            router.remove(&watcher, filter);
        }
        prop_assert_eq!(router.len(), (0..filters.len()).filter(stays).count());
        for (key, kind) in changes {
            let mut found = Vec::new();
            router.route(key.as_bytes(), kind, |watcher| found.push(*watcher));
            found.sort_unstable();
            let expected: Vec<usize> = (0..filters.len())
                .filter(stays)
                .filter(|watcher| filters[*watcher].kinds.contains(kind)
                    && filters[*watcher].selector.matches(key.as_bytes(), &mut 0))
                .collect();
            prop_assert_eq!(found, expected, "{:?} {:?}", key, kind);
        }
        for (watcher, filter) in filters.iter().enumerate() {
            router.remove(&watcher, filter);
        }
        prop_assert!(router.is_empty());
        let empty = format!("{:?}", Router::<usize>::default());
        prop_assert_eq!(format!("{:?}", router), empty, "nothing is left behind");
    }

    /// D-V3-3: however small the pages, the events are those of one large page: none is
    /// dropped after so many, none comes twice, and revisions never go back.
    #[test]
    fn pages_of_any_size_give_the_same_events(
        filter in filters(),
        writes in vec((keys(), 0..3_u8), 1..40),
        events in 1..5_usize,
        visits in 1..5_usize,
    ) {
        let mut log = Log::new();
        for (key, what) in &writes {
            log.clock += 1;
            match what {
                0 => log.put(key, None),
                1 => log.put(key, Some(3)),
                _ => log.delete(key),
            }
        }
        let view = log.view();
        let start = Position::behind(Revision::new(1));
        let flat = |batches: Vec<WatchBatch>| -> Vec<WatchEvent> {
            batches.into_iter().flat_map(|batch| batch.events).collect()
        };
        let small = flat(read_all(&view, &filter, start, PageLimits { events, visits, ..ROOMY }));
        prop_assert!(small.is_sorted_by_key(|event| event.revision));
        let naive: Vec<(u64, ChangeKind, Vec<u8>)> = view
            .changes(Revision::new(1))
            .unwrap()
            .filter(|change| filter.kinds.contains(change.kind()) && filter.selector.matches(change.key(), &mut 0))
            .map(|change| (change.revision().get(), change.kind(), change.key().to_vec()))
            .collect();
        let found: Vec<_> = small
            .iter()
            .map(|event| (event.revision.get(), event.kind, event.key.as_bytes().to_vec()))
            .collect();
        prop_assert_eq!(found, naive);
        for event in &small {
            prop_assert_eq!(event.record.is_some(), event.kind == ChangeKind::Put);
            let before = Revision::new(event.revision.get() - 1);
            let previous = view.get_at(event.key.as_bytes(), before).unwrap();
            prop_assert_eq!(event.previous.clone(), previous.map(|record| record.to_record().unwrap()));
        }
    }
}
