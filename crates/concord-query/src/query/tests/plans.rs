//! What plans look at: all that matches, and nothing else where an index says so.

use super::*;

/// A record for each of some values, under keys in another order than the values; an index of them.
fn mixed() -> Log {
    let mut log = Log::new();
    log.index("n", "$.n", "");
    let numbers = (0..10).map(int);
    let texts = ["", "a", "b", "b\0", "b\0a", "ba", "bb", "c"].map(text);
    let others = [
        Document::Bool(false),
        Document::Bool(true),
        Document::Null,
        object(&[("a", int(1))]),
        Document::Array(vec![int(3), int(4)]),
    ];
    for (place, value) in numbers.chain(texts).chain(others).enumerate() {
        log.put(&format!("k{:02}", (place * 7) % 23), object(&[("n", value)]));
    }
    log
}

fn by_index(log: &Log, predicate: &str) -> Found {
    let query = built(|query| query.filter(predicate));
    let view = log.store.view();
    let explained = query.explain(&view).unwrap();
    assert!(
        matches!(explained.reads, Reads::Index(_)),
        "{predicate}: {explained:?}"
    );
    let found = query.run(&view, Output::Pairs, &Start::Now, || false).unwrap();
    assert_eq!(
        explained.records,
        usize::try_from(found.scanned).unwrap(),
        "{predicate}: what explain counts is what is looked at"
    );
    found
}

/// Bounds are exact: one that is too wide looks at more than it finds, one that is too narrow misses something.
#[test]
fn an_index_looks_at_what_matches_and_at_nothing_else() {
    let log = mixed();
    for (predicate, matches) in [
        ("value.n == 2", 1),
        ("value.n == 'b'", 1),
        ("value.n == true", 1),
        ("value.n == 77", 0),
        ("value.n < true", 1),
        ("value.n >= false", 2),
        ("value.n <= 'b'", 3),
        ("value.n > 'b'", 5),
        ("value.n >= 'b'", 6),
        ("value.n.startsWith('b')", 5),
        ("value.n.startsWith('')", 8),
        ("value.n in [1]", 1),
        ("value.n in [5, 1, 'b', true, 88, 5]", 4),
        ("value.n in []", 0),
        ("value.n in [1, 1.0, 1.5]", 1),
        ("value.n == 0 || value.n == 9", 2),
        ("9 == value.n || value.n in [0, 1]", 3),
        ("value.n in [0, 1, 2, 5] && value.n in [2, 5, 8]", 2),
        ("(value.n == 0 || value.n == 9) && value.n != 9 && value.n < 9", 1),
        ("value.n == 0 || value.n == 9 && has(value.n)", 2),
        ("value.n.startsWith('b') || value.n == 'ba' || value.n == 'a'", 6),
        ("value.n in [0, 9] || value.n.startsWith('c')", 3),
    ] {
        let found = by_index(&log, predicate);
        assert_eq!((found.count, found.scanned), (matches, matches), "{predicate}");
    }
    // A list in the index under a number is looked at, and judged: it is not that number.
    for (predicate, matches, scanned) in [
        ("value.n < 4", 4, 5),
        ("value.n <= 4", 5, 7),
        ("value.n > 4", 5, 5),
        ("value.n >= 4", 6, 7),
        ("value.n > 3 && value.n <= 5", 2, 3),
        ("value.n > 5 && value.n < 3", 0, 0),
        ("value.n in [3, 4]", 2, 4),
        ("value.n < 2 || value.n > 7", 4, 4),
    ] {
        let found = by_index(&log, predicate);
        assert_eq!((found.count, found.scanned), (matches, scanned), "{predicate}");
    }
}

/// What an index does not have cannot be found by it.
#[test]
fn a_condition_of_what_is_not_indexed_is_no_reason_to_ask_an_index() {
    let log = mixed();
    for predicate in [
        "value.n in [1, null]",
        "value.n in [1, [2]]",
        "value.n in [1, value.m]",
        "value.n == 1 || value.m == 1",
        "value.n == 1 || has(value.m)",
        "!(value.n == 1)",
        "value.n == 1 ? true : false",
        "value.n != 1 || value.n == 2",
    ] {
        let query = built(|query| query.filter(predicate));
        let explained = query.explain(&log.store.view()).unwrap();
        assert_eq!(explained.reads, Reads::FullScan, "{predicate}");
    }
}

#[test]
fn a_list_of_keys_is_looked_for_between_the_first_and_the_last() {
    let view = mixed().store.view();
    let explained = |predicate: &str| {
        let query = built(|query| query.filter(predicate));
        (query.explain(&view).unwrap().reads, found(&view, &query))
    };
    assert_eq!(
        explained("key in ['k05', 'k03', 'k04']"),
        (
            Reads::KeyRange(KeyRange::between("k03", "k05\0")),
            vec!["k03".to_owned(), "k04".to_owned(), "k05".to_owned()]
        )
    );
    // A number is no key: but an item of the list may be one.
    assert_eq!(
        explained("key in ['k05', 3]"),
        (Reads::FullScan, vec!["k05".to_owned()])
    );
    assert_eq!(explained("key in []"), (Reads::FullScan, vec![]));
}

/// Several values of an index come in its order, over any pages, in both directions; in the order of keys they are sorted.
#[test]
fn several_values_come_in_the_order_that_is_asked_for() {
    let log = mixed();
    let view = log.store.view();
    for predicate in [
        "value.n in [1, 7, 'b', 5]",
        "value.n == 5 || value.n == 'b' || value.n == 7 || value.n == 1",
        "value.n.startsWith('b')",
    ] {
        for (order, descending) in [
            (None, false),
            (None, true),
            (Some("$.n"), false),
            (Some("$.n"), true),
        ] {
            let mut query = built(|query| query.filter(predicate));
            if let Some(order) = order {
                query.order_by(order).unwrap();
            }
            if descending {
                query.descending();
            }
            let explained = query.explain(&view).unwrap();
            assert_eq!(explained.is_in_order, order.is_some(), "{predicate} {order:?}");
            query.limit(2);
            let (mut all, mut start) = (Vec::new(), Start::Now);
            loop {
                let page = query.run(&view, Output::Pairs, &start, || false).unwrap();
                all.extend(page.records);
                let Some(cursor) = page.cursor else { break };
                start = Start::Behind(cursor);
            }
            let mut sorted = all.clone();
            sorted.sort_by_key(|record| match order {
                None => (Vec::new(), record.key.clone()),
                // Of equal documents with one field, the bytes are in the order of these values.
                Some(_) => (record.value.bytes().to_vec(), record.key.clone()),
            });
            if descending {
                sorted.reverse();
            }
            assert!(all.len() >= 4, "{predicate}");
            if order.is_none() || !predicate.starts_with("value.n.") {
                assert_eq!(all, sorted, "{predicate} {order:?} {descending}");
            }
        }
    }
}

/// A list that is longer than a plan has parts is looked for in one go, and found all the same.
#[test]
fn a_very_long_list_is_looked_for_as_one_part() {
    let mut log = Log::new();
    log.index("n", "$.n", "");
    for place in 0..700 {
        log.put(&format!("k{place:03}"), object(&[("n", int(place))]));
    }
    let list = |count: i64| {
        let items: Vec<String> = (0..count).map(|place| (place * 2).to_string()).collect();
        format!("value.n in [{}]", items.join(","))
    };
    let view = log.store.view();
    let run = |predicate: &str| {
        let query = built(|query| query.filter(predicate));
        let found = query.run(&view, Output::Pairs, &Start::Now, || false).unwrap();
        (found.count, found.scanned)
    };
    assert_eq!(run(&list(256)), (256, 256));
    assert_eq!(run(&list(257)), (257, 513));
}

/// A delete of the first keys in order takes those, not the first ones of the index.
#[test]
fn a_limited_delete_by_several_values_takes_the_first_keys() {
    for predicate in [
        "value.n.startsWith('b')",
        "value.n in ['b', 'ba', 'bb', 'b\\x00', 'b\\x00a']",
    ] {
        let mut log = mixed();
        let mut query = built(|query| query.filter(predicate));
        let all = found(&log.store.view(), &query);
        query.limit(2);
        let reply = log.run(&Command::DeleteWhere {
            filter: query.to_filter().unwrap(),
            limit: Some(2),
        });
        assert!(
            matches!(
                reply,
                Reply::DeletedWhere {
                    count: 2,
                    more: true,
                    ..
                }
            ),
            "{reply:?}"
        );
        query.limit(100);
        assert_eq!(found(&log.store.view(), &query), all[2..], "{predicate}");
    }
}
