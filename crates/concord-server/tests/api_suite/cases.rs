//! The cases, each on keys of its own.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::door::{Door, Found, Narrowing};
use crate::watches;

/// Runs every case. Those that compact come last: they take the history of all.
pub(crate) async fn run_all(door: &Door) {
    values_read_back_with_their_metadata(door).await;
    deletes_are_idempotent(door).await;
    puts_answer_with_what_they_replaced(door).await;
    documents_stay_exact(door).await;
    any_utf8_key_works(door).await;
    every_read_level_sees_an_acknowledged_write(door).await;
    keys_expire_on_time_and_not_before(door).await;
    touch_resets_and_put_clears_a_ttl(door).await;
    numbers_add_up(door).await;
    scans_keep_to_their_range_and_order(door).await;
    pages_of_a_scan_show_one_revision(door).await;
    foreign_cursors_are_refused(door).await;
    history_and_past_revisions_can_be_read(door).await;
    unreachable_revisions_are_refused(door).await;
    invalid_arguments_are_refused(door).await;
    watches::every_change_is_told_and_nothing_else(door).await;
    watches::each_watcher_gets_what_its_filter_lets_through(door).await;
    watches::a_watch_begins_at_any_revision(door).await;
    crate::data_plane::run_all(door).await;
    crate::txns::run_all(door).await;
    crate::leases::run_all(door).await;
    crate::indexes::run_all(door).await;
    crate::queries::run_all(door).await;
    crate::compression::run_all(door).await;
    crate::subscriptions::run_all(door).await;
    compacted_revisions_are_refused(door).await;
    watches::a_compacted_beginning_is_refused(door).await;
    crate::subscriptions::who_is_behind_compaction_is_told_where_to_begin(door).await;
}

async fn values_read_back_with_their_metadata(door: &Door) {
    assert_eq!(door.get("meta").await.unwrap(), None);
    assert!(!door.exists("meta").await.unwrap());
    let first = door.put("meta", json!("one"), None).await.unwrap();
    let second = door.put("meta", json!({"two": 2}), None).await.unwrap();
    assert_eq!(second, first + 1, "each write is one revision");
    let expected = Found {
        value: json!({"two": 2}),
        format: "document".to_owned(),
        create_revision: first,
        mod_revision: second,
        version: 2,
    };
    assert_eq!(door.get("meta").await.unwrap(), Some(expected));
    assert!(door.exists("meta").await.unwrap());
    door.delete("meta").await.unwrap();
    let third = door.put("meta", json!("three"), None).await.unwrap();
    let found = door.get("meta").await.unwrap().unwrap();
    assert_eq!(
        (found.create_revision, found.version, found.format.as_str()),
        (third, 1, "text")
    );
}

async fn deletes_are_idempotent(door: &Door) {
    let put = door.put("gone", json!(1), None).await.unwrap();
    assert_eq!(door.delete("gone").await.unwrap(), (true, put + 1));
    assert_eq!(door.get("gone").await.unwrap(), None);
    assert_eq!(
        door.delete("gone").await.unwrap(),
        (false, put + 1),
        "a delete of nothing is no revision"
    );
}

async fn puts_answer_with_what_they_replaced(door: &Door) {
    let (first, nothing) = door.put_previous("previous", json!([1]), None).await.unwrap();
    assert_eq!(nothing, None);
    let (_, replaced) = door.put_previous("previous", json!([2]), None).await.unwrap();
    let replaced = replaced.unwrap();
    assert_eq!((replaced.value, replaced.mod_revision), (json!([1]), first));
}

async fn documents_stay_exact(door: &Door) {
    let documents = [
        "null",
        "true",
        "18446744073709551615",
        "-9223372036854775808",
        "9007199254740993",
        "0.1",
        "1.0",
        "5e-324",
        "[]",
        r#"{"":{"a":[null,false,"\u0000é\n"]},"z":-1.5}"#,
    ];
    for text in documents {
        let value: serde_json::Value = serde_json::from_str(text).unwrap();
        door.put("exact", value.clone(), None).await.unwrap();
        assert_eq!(door.get("exact").await.unwrap().unwrap().value, value, "{text}");
    }
    for text in ["", "plain", "\u{0}\u{7f}é\u{10ffff}\"\\"] {
        door.put("exact", json!(text), None).await.unwrap();
        assert_eq!(
            door.get("exact").await.unwrap().unwrap().value,
            json!(text),
            "{text:?}"
        );
    }
}

async fn any_utf8_key_works(door: &Door) {
    let longest = "k".repeat(1024);
    for key in [
        "a/b",
        "/",
        "%2F",
        "a b+c",
        "é\u{10ffff}",
        "\u{0}",
        "q?x=1#f",
        "bulk",
        "a..b",
        longest.as_str(),
    ] {
        door.put(key, json!(key), None).await.unwrap();
        assert_eq!(door.get(key).await.unwrap().unwrap().value, json!(key), "{key:?}");
        assert!(door.delete(key).await.unwrap().0, "{key:?}");
    }
}

async fn every_read_level_sees_an_acknowledged_write(door: &Door) {
    for round in 0..10 {
        let revision = door.put("level", json!(round), None).await.unwrap().to_string();
        let reads = [
            vec![("consistency", "leader")],
            vec![("consistency", "strong")],
            vec![("consistency", "eventual"), ("min_revision", revision.as_str())],
        ];
        for options in reads {
            let found = door.get_with("level", &options).await.unwrap().unwrap();
            assert_eq!(found.value, json!(round), "{options:?}");
        }
    }
}

async fn keys_expire_on_time_and_not_before(door: &Door) {
    let ttl = Duration::from_millis(300);
    // The clock of the test starts before the request, the key's after it arrived: a key
    // that is gone earlier than the ttl by the test's clock expired early (I17).
    let started = Instant::now();
    door.put("brief", json!("here"), Some(ttl)).await.unwrap();
    // On a slow machine it may be gone by now.
    if let Some(left) = door.ttl("brief").await.unwrap() {
        assert!(left.is_some_and(|left| left <= 300), "{left:?} ms left");
    }
    loop {
        let is_there = door.exists("brief").await.unwrap();
        let elapsed = started.elapsed();
        if !is_there {
            assert!(elapsed >= ttl, "gone after {elapsed:?}");
            break;
        }
        assert!(elapsed < Duration::from_secs(20), "still there after {elapsed:?}");
        // tidy-allow(sleep): watches a key until it expires; there is no event for that yet.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(door.get("brief").await.unwrap(), None);
    assert_eq!(door.ttl("brief").await.unwrap(), None);
    assert_eq!(
        door.touch("brief", Some(ttl)).await.unwrap_err().code,
        "not_found"
    );
    assert!(!door.delete("brief").await.unwrap().0);
    assert_eq!(door.scan(&[("prefix", "brief")]).await.unwrap().count, 0);
}

async fn touch_resets_and_put_clears_a_ttl(door: &Door) {
    let (short, long) = (Duration::from_secs(100), Duration::from_secs(10_000));
    door.put("timed", json!(1), Some(short)).await.unwrap();
    let left = door.ttl("timed").await.unwrap().unwrap().unwrap();
    assert!((1..=100_000).contains(&left), "{left}");
    door.touch("timed", Some(long)).await.unwrap();
    let left = door.ttl("timed").await.unwrap().unwrap().unwrap();
    assert!((100_001..=10_000_000).contains(&left), "{left}");
    door.touch("timed", None).await.unwrap();
    assert_eq!(door.ttl("timed").await.unwrap(), Some(None));
    door.touch("timed", Some(long)).await.unwrap();
    door.put("timed", json!(2), None).await.unwrap();
    assert_eq!(
        door.ttl("timed").await.unwrap(),
        Some(None),
        "a put without ttl clears it"
    );
    assert_eq!(
        door.touch("timeless", Some(long)).await.unwrap_err().code,
        "not_found"
    );
    assert_eq!(door.ttl("timeless").await.unwrap(), None);
}

async fn numbers_add_up(door: &Door) {
    assert_eq!(door.increment("number", 5).await.unwrap(), 5);
    assert_eq!(door.increment("number", -7).await.unwrap(), -2);
    assert_eq!(door.get("number").await.unwrap().unwrap().value, json!(-2));
    door.put("number", json!("41"), None).await.unwrap();
    assert_eq!(door.increment("number", 1).await.unwrap(), 42);
    let found = door.get("number").await.unwrap().unwrap();
    assert_eq!(
        (found.value, found.format.as_str()),
        (json!("42"), "text"),
        "text stays text"
    );
    for (value, delta) in [
        (json!("x"), 1),
        (json!([1]), 1),
        (json!(1.5), 1),
        (json!(i64::MAX), 1),
        (json!(i64::MIN), -1),
    ] {
        door.put("number", value.clone(), None).await.unwrap();
        assert_eq!(
            door.increment("number", delta).await.unwrap_err().code,
            "invalid_value",
            "{value}"
        );
        assert_eq!(
            door.get("number").await.unwrap().unwrap().value,
            value,
            "a refusal changes nothing"
        );
    }
}

async fn scans_keep_to_their_range_and_order(door: &Door) {
    for key in ["scan:a", "scan:b", "scan:c", "scan:d", "scan;", "scam"] {
        door.put(key, json!(key), None).await.unwrap();
    }
    let cases: [(Narrowing<'_>, &[&str]); 6] = [
        (&[("prefix", "scan:")], &["scan:a", "scan:b", "scan:c", "scan:d"]),
        (
            &[("prefix", "scan:"), ("order", "desc")],
            &["scan:d", "scan:c", "scan:b", "scan:a"],
        ),
        (&[("start", "scan:b"), ("end", "scan:d")], &["scan:b", "scan:c"]),
        (&[("start", "scan:d"), ("end", "scan:b")], &[]),
        (&[("prefix", "scan:"), ("limit", "2")], &["scan:a", "scan:b"]),
        (
            &[("prefix", "scan:"), ("keys_only", "true")],
            &["scan:a", "scan:b", "scan:c", "scan:d"],
        ),
    ];
    for (narrowing, keys) in cases {
        assert_eq!(door.scan(narrowing).await.unwrap().keys, keys, "{narrowing:?}");
    }
    let counted = door
        .scan(&[("prefix", "scan:"), ("count_only", "true")])
        .await
        .unwrap();
    assert_eq!((counted.count, counted.keys.len()), (4, 0));
}

/// A scan is a consistent cut: what is written between its pages does not show.
async fn pages_of_a_scan_show_one_revision(door: &Door) {
    let key = |number: usize| format!("page:{number:02}");
    for number in 0..10 {
        door.put(&key(number), json!(0), None).await.unwrap();
    }
    for order in ["asc", "desc"] {
        let narrowing = if order == "asc" {
            vec![("prefix", "page:"), ("limit", "3")]
        } else {
            vec![("prefix", "page:"), ("limit", "3"), ("order", "desc")]
        };
        let mut page = door.scan(&narrowing).await.unwrap();
        let (mut keys, revision) = (page.keys, page.revision);
        while let Some(cursor) = page.cursor {
            door.put(&format!("page:{order}:new"), json!(1), None)
                .await
                .unwrap();
            door.delete(&key(5)).await.unwrap();
            let mut narrowing = narrowing.clone();
            narrowing.push(("cursor", &cursor));
            page = door.scan(&narrowing).await.unwrap();
            assert_eq!(page.revision, revision);
            keys.append(&mut page.keys);
        }
        let mut expected: Vec<String> = (0..10).map(key).collect();
        if order == "desc" {
            expected.reverse();
        }
        keys.retain(|key| !key.ends_with(":new"));
        assert_eq!(keys, expected, "{order}");
        door.put(&key(5), json!(0), None).await.unwrap();
        door.delete(&format!("page:{order}:new")).await.unwrap();
    }
}

async fn foreign_cursors_are_refused(door: &Door) {
    for number in 0..3 {
        door.put(&format!("cursor:{number}"), json!(0), None)
            .await
            .unwrap();
    }
    let page = door.scan(&[("prefix", "cursor:"), ("limit", "1")]).await.unwrap();
    let cursor = page.cursor.unwrap();
    let mut changed = cursor.clone().into_bytes();
    let last = changed.last_mut().unwrap();
    *last = if *last == b'0' { b'1' } else { b'0' };
    let changed = String::from_utf8(changed).unwrap();
    for (prefix, cursor) in [
        ("cursor:", changed.as_str()),
        ("cursor:", "zz"),
        ("other:", cursor.as_str()),
    ] {
        let refusal = door
            .scan(&[("prefix", prefix), ("limit", "1"), ("cursor", cursor)])
            .await
            .unwrap_err();
        assert_eq!(refusal.code, "invalid_request", "{prefix} {cursor}");
    }
}

async fn history_and_past_revisions_can_be_read(door: &Door) {
    let first = door.put("past", json!(1), None).await.unwrap();
    let second = door.put("past", json!(2), None).await.unwrap();
    let (_, deleted) = door.delete("past").await.unwrap();
    door.put("past", json!(3), None).await.unwrap();
    let history = door.history("past").await.unwrap();
    assert_eq!(history, [Some(json!(3)), None, Some(json!(2)), Some(json!(1))]);
    for (revision, value) in [
        (first, Some(json!(1))),
        (second, Some(json!(2))),
        (deleted, None),
        (first - 1, None),
    ] {
        let found = door
            .get_with("past", &[("revision", &revision.to_string())])
            .await
            .unwrap();
        assert_eq!(found.map(|found| found.value), value, "at {revision}");
    }
    let page = door
        .scan(&[("prefix", "past"), ("revision", &second.to_string())])
        .await
        .unwrap();
    assert_eq!((page.keys, page.revision), (vec!["past".to_owned()], second));
}

async fn unreachable_revisions_are_refused(door: &Door) {
    let current = door.put("future", json!(1), None).await.unwrap();
    let future = (current + 1_000).to_string();
    let refusal = door
        .get_with("future", &[("revision", &future)])
        .await
        .unwrap_err();
    assert_eq!(
        (refusal.code.as_str(), refusal.may_have_written),
        ("future_revision", false)
    );
    assert!(
        refusal.revision.is_some_and(|found| found >= current),
        "{refusal:?}"
    );
    let waited = door
        .get_with("future", &[("min_revision", &future), ("timeout_ms", "50")])
        .await
        .unwrap_err();
    assert_eq!(
        (waited.code.as_str(), waited.may_have_written),
        ("timeout", false)
    );
}

async fn invalid_arguments_are_refused(door: &Door) {
    let too_long = "k".repeat(1025);
    for key in ["", too_long.as_str()] {
        assert_eq!(door.get(key).await.unwrap_err().code, "invalid_key");
        let refusal = door.put(key, json!(1), None).await.unwrap_err();
        assert_eq!(
            (refusal.code.as_str(), refusal.may_have_written),
            ("invalid_key", false)
        );
        assert_eq!(door.delete(key).await.unwrap_err().code, "invalid_key");
        assert_eq!(door.increment(key, 1).await.unwrap_err().code, "invalid_key");
        assert_eq!(door.touch(key, None).await.unwrap_err().code, "invalid_key");
        assert_eq!(door.history(key).await.unwrap_err().code, "invalid_key");
    }
    let too_much = Duration::from_secs(200 * 365 * 24 * 3_600);
    for ttl in [Duration::ZERO, too_much] {
        assert_eq!(
            door.put("invalid", json!(1), Some(ttl)).await.unwrap_err().code,
            "invalid_ttl",
            "{ttl:?}"
        );
    }
    assert_eq!(door.get("invalid").await.unwrap(), None, "nothing was written");
    for limit in ["0", "10001"] {
        assert_eq!(
            door.scan(&[("limit", limit)]).await.unwrap_err().code,
            "invalid_request",
            "{limit}"
        );
    }
}

async fn compacted_revisions_are_refused(door: &Door) {
    let first = door.put("compact", json!(1), None).await.unwrap();
    let second = door.put("compact", json!(2), None).await.unwrap();
    let third = door.put("compact", json!(3), None).await.unwrap();
    assert_eq!(door.compact(second).await.unwrap(), second);
    let refusal = door
        .get_with("compact", &[("revision", &first.to_string())])
        .await
        .unwrap_err();
    assert_eq!(
        (refusal.code.as_str(), refusal.revision),
        ("compacted", Some(second))
    );
    let kept = door
        .get_with("compact", &[("revision", &second.to_string())])
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        kept.value,
        json!(2),
        "the compaction revision itself stays readable"
    );
    assert_eq!(
        door.history("compact").await.unwrap(),
        [Some(json!(3)), Some(json!(2))]
    );
    assert_eq!(door.compact(first).await.unwrap_err().code, "compacted");
    assert_eq!(
        door.compact(third + 1_000).await.unwrap_err().code,
        "future_revision"
    );
}
