//! Reads that leave out what may not be seen.

use concord_server::{Concord, IntoValue as _, Page};
use futures::TryStreamExt as _;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::json;

use super::{READ, confined};
use crate::cluster::Cluster;

async fn scanned(db: &Concord, limit: usize) -> Vec<String> {
    let mut scan = db.scan().limit(limit);
    let mut found = Vec::new();
    loop {
        let Page { records, cursor, .. } = scan.clone().await.unwrap();
        found.extend(records.iter().map(|record| record.key.to_string()));
        let Some(cursor) = cursor else { return found };
        // As a client keeps it.
        scan = scan.cursor(cursor.to_string().parse().unwrap());
    }
}

/// Filters come before limits: what is hidden takes no place and is not counted.
#[tokio::test]
async fn scans_queries_lookups_and_counts_show_what_may_be_seen() {
    let cluster = Cluster::start(1).await;
    let db = cluster.node(0);
    db.create_index("by-n", "$.n").await.unwrap();
    for number in 0..20 {
        for name in ["a", "b", "c"] {
            db.put(
                format!("{name}:{number:02}"),
                json!({"n": number}).into_value().unwrap(),
            )
            .await
            .unwrap();
        }
    }
    let reader = confined(db, "reader", &["a:*", "*:07"]).await;
    let mut expected: Vec<String> = (0..20).map(|number| format!("a:{number:02}")).collect();
    expected.extend(["b:07".to_owned(), "c:07".to_owned()]);
    for limit in [1, 3, 1_000] {
        assert_eq!(scanned(&reader, limit).await, expected);
    }
    assert_eq!(reader.scan().count().await.unwrap().count, 22);
    assert_eq!(reader.query().count().await.unwrap().into_inner(), 22);
    let page = reader
        .query()
        .filter("value.n == 7")
        .limit(10)
        .pairs()
        .await
        .unwrap();
    let found: Vec<String> = page.keys().map(ToString::to_string).collect();
    assert_eq!(found, ["a:07", "b:07", "c:07"]);
    assert!(page.scanned <= 22, "{}", page.scanned);
    let found: Vec<_> = reader
        .lookup("by-n")
        .from(6)
        .upto(8)
        .limit(2)
        .records()
        .try_collect()
        .await
        .unwrap();
    let found: Vec<String> = found.iter().map(|record| record.key.to_string()).collect();
    assert_eq!(found, ["a:06", "a:07", "b:07", "c:07", "a:08"]);
    let past = reader
        .scan()
        .revision(concord_server::Revision::new(10))
        .await
        .unwrap();
    assert!(
        past.records
            .iter()
            .all(|record| expected.contains(&record.key.to_string()))
    );
    cluster.stop().await;
}

/// A cursor that stands at a key that its reader may not see says nothing of it, works on any node, and only for those
/// whom it was made for.
#[tokio::test]
async fn cursors_tell_nothing_of_hidden_keys() {
    let cluster = Cluster::start(1).await;
    let db = cluster.node(0);
    for number in 0..6 {
        db.put(format!("topsecret:{number}:x"), "v").await.unwrap();
        db.put(format!("topsecret:{number}:y"), "v").await.unwrap();
    }
    let reader = confined(db, "reader", &["*:y"]).await;
    let page = reader.scan().limit(2).await.unwrap();
    let cursor = page.cursor.unwrap().to_string();
    let plain: String = b"topsecret".iter().map(|byte| format!("{byte:02x}")).collect();
    assert!(!cursor.contains(&plain), "{cursor}");
    let longer = reader.scan().limit(4).await.unwrap().cursor.unwrap().to_string();
    assert_eq!(cursor.len(), longer.len());
    let next = reader
        .scan()
        .limit(2)
        .cursor(cursor.parse().unwrap())
        .await
        .unwrap();
    assert_eq!(next.records[0].key.to_string(), "topsecret:2:y");
    // Whoever may see everything has cursors as they always were, and cannot read sealed ones.
    assert!(db.scan().cursor(cursor.parse().unwrap()).await.is_err());
    let mut forged = cursor.clone();
    forged.replace_range(40..42, if &cursor[40..42] == "00" { "01" } else { "00" });
    assert!(reader.scan().cursor(forged.parse().unwrap()).await.is_err());
    cluster.stop().await;
}

/// A page that passes over too much that is hidden ends with where to go on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_filtered_page_does_bounded_work() {
    let cluster = Cluster::start(1).await;
    let db = cluster.node(0);
    let hidden = concord_core::limits::HIDDEN_KEYS_MAX + 50;
    let keys: Vec<String> = (0..hidden).map(|number| format!("k:{number:07}")).collect();
    for chunk in keys.chunks(500) {
        db.put_many(chunk.iter().map(|key| (key, "v"))).await.unwrap();
    }
    db.put("k:zzz:mine", "v").await.unwrap();
    let reader = confined(db, "reader", &["k:*:mine"]).await;
    let page = reader.scan().await.unwrap();
    assert!(page.records.is_empty() && page.cursor.is_some());
    let next = reader.scan().cursor(page.cursor.unwrap()).await.unwrap();
    assert_eq!(next.records.len(), 1);
    assert_eq!(scanned(&reader, 10).await, ["k:zzz:mine"]);
    let stopped = reader.query().glob("k:*").pairs().await.unwrap_err();
    assert!(!stopped.to_string().contains("k:"), "{stopped}");
    let records: Vec<_> = reader.query().records().try_collect().await.unwrap();
    assert_eq!(records.len(), 1);
    cluster.stop().await;
}

const KEYS: [&str; 6] = ["a:1", "a:2", "a:secret", "b:1", "b:2", "c"];

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    /// Over random policies and histories: through every door an authorised read shows no key outside the rights, and
    /// no write changes one.
    #[test]
    fn nothing_outside_the_rights_is_shown_or_changed(
        patterns in vec(select(&["a:*", "b:1", "*2", "c*", "a:s*t", "*"][..]), 1..3),
        is_reader in any::<bool>(),
        writes in vec((select(&KEYS[..]), 0_u8..3), 1..12),
        attempts in vec((select(&KEYS[..]), 0_u8..4), 1..8),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let cluster = Cluster::start(1).await;
            let db = cluster.node(0);
            db.create_index("by-n", "$.n").await.unwrap();
            let first = db.revision();
            for (key, what) in &writes {
                match what {
                    0 => drop(db.delete(key).await.unwrap()),
                    number => drop(db.put(key, json!({"n": number}).into_value().unwrap()).await.unwrap()),
                }
            }
            let who = confined(db, "r", &patterns).await;
            if is_reader {
                db.update_role("r", READ).await.unwrap();
            }
            let matches = |key: &str| patterns.iter().any(|pattern| match pattern.split_once('*') {
                Some((start, end)) => key.len() >= start.len() + end.len() && key.starts_with(start) && key.ends_with(end),
                None => key == *pattern,
            });
            let visible = |keys: Vec<String>| -> Vec<String> { keys.into_iter().filter(|key| matches(key)).collect() };
            let expected = visible(scanned(db, 100).await);
            prop_assert_eq!(&scanned(&who, 2).await, &expected);
            let queried: Vec<_> = who.query().limit(1).records().try_collect().await.unwrap();
            let queried: Vec<String> = queried.iter().map(|record| record.key.to_string()).collect();
            prop_assert_eq!(&queried, &expected);
            prop_assert_eq!(who.query().count().await.unwrap().into_inner(), expected.len() as u64);
            let indexed: Vec<_> = who.lookup("by-n").limit(1).records().try_collect().await.unwrap();
            prop_assert!(indexed.iter().all(|record| matches(&record.key.to_string())));
            prop_assert_eq!(indexed.len(), expected.len());
            let mut events = who.watch().from_revision(first.next()).with_previous().await.unwrap();
            let told = tokio::time::timeout(std::time::Duration::from_millis(50), async {
                let mut told = Vec::new();
                while let Some(Ok(batch)) = events.next().await {
                    told.extend(batch.events.into_iter().map(|event| event.key.to_string()));
                    if told.len() >= writes.len() { break }
                }
                told
            });
            if let Ok(told) = told.await {
                prop_assert!(told.iter().all(|key| matches(key)), "{:?}", told);
            }
            for (key, what) in &attempts {
                let before = db.get(key).await.unwrap().into_inner().map(|entry| entry.mod_revision());
                let read = who.get(key).await;
                prop_assert_eq!(read.is_ok(), matches(key), "{}", key);
                let changed = match what {
                    0 => who.put(key, "mine").await.map(drop),
                    1 => who.delete(key).return_previous().await.map(drop),
                    2 => who.put_many([(*key, "x"), ("b:1", "y")]).await.map(drop),
                    _ => {
                        let txn = who.txn().when(concord_server::txn::key(*key).is_absent());
                        txn.otherwise(concord_server::txn::key(*key).put("t")).await.map(drop)
                    }
                };
                if is_reader || !matches(key) {
                    prop_assert!(changed.is_err(), "{}", key);
                    let after = db.get(key).await.unwrap().into_inner().map(|entry| entry.mod_revision());
                    prop_assert_eq!(before, after);
                }
            }
            cluster.stop().await;
            Ok(())
        })?;
    }
}
