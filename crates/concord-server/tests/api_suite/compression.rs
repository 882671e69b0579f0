//! Compressed values: at every door as if they were not.

use concord_server::txn::key;
use reqwest::Method;
use serde_json::{Value as Json, json};

use crate::cluster::Cluster;
use crate::data_plane::Only;
use crate::door::{Door, Outcome, encode, kept, number, of_record};
use crate::watches::Watching;
use crate::wire::send;

/// What is written about compression: nothing, to do it, not to do it.
const CHOICES: [Option<bool>; 3] = [None, Some(true), Some(false)];

impl Door {
    async fn put_compressed(&self, key: &str, value: &Json, compress: Option<bool>) -> Outcome<u64> {
        match self {
            Self::Embedded(db) => Ok(db.put(key, kept(value)).compress(compress).await?.revision.get()),
            Self::Http { .. } => {
                let query = compress.map_or_else(String::new, |choice| format!("?compress={choice}"));
                let path = format!("kv/{}{query}", encode(key));
                let data = self
                    .send(Method::PUT, &path, Some(json!({"value": value})))
                    .await?;
                Ok(number(&data["revision"]))
            }
        }
    }

    /// The values under a prefix, in order of their keys.
    async fn values(&self, prefix: &str) -> Vec<Json> {
        match self {
            Self::Embedded(db) => {
                let page = db.scan().prefix(prefix).await.unwrap();
                page.records
                    .iter()
                    .map(|record| of_record(record).value)
                    .collect()
            }
            Self::Http { .. } => {
                let data = self
                    .fetch(&format!("kv?prefix={}", encode(prefix)))
                    .await
                    .unwrap();
                let items = data["items"].as_array().unwrap().iter();
                items.map(|item| item["value"].clone()).collect()
            }
        }
    }

    /// What a transaction reads under a key if its value is this one and its `n` at least 1.
    async fn read_in_txn(&self, name: &str, value: &Json) -> (bool, Json) {
        match self {
            Self::Embedded(db) => {
                let done = db
                    .txn()
                    .when(key(name).value().is(kept(value)))
                    .then(key(name).get())
                    .await
                    .unwrap();
                let found = done.records(0).first().map(|record| of_record(record).value);
                (done.succeeded, found.unwrap_or_default())
            }
            Self::Http { .. } => {
                let body = json!({
                    "compare": [{"key": name, "value": value}],
                    "success": [{"get": {"key": name}}],
                });
                let done = self.send(Method::POST, "txn", Some(body)).await.unwrap();
                let found = done.pointer("/results/0/get/records/0/value").cloned();
                (done["succeeded"] == true, found.unwrap_or_default())
            }
        }
    }
}

fn long_text() -> Json {
    json!("what is said again and again ".repeat(200))
}

fn long_document() -> Json {
    let lines: Vec<Json> = (0..200).map(|n| json!({"line": n, "text": "the same"})).collect();
    json!({"n": 7, "lines": lines})
}

pub(crate) async fn run_all(door: &Door) {
    every_read_gives_back_what_was_put(door).await;
    conditions_are_about_the_content(door).await;
    filters_and_indexes_see_the_content(door).await;
    numbers_are_counted_however_they_are_kept(door).await;
}

/// D-DATA-2: one boundary, so that no way to read shows packed bytes.
async fn every_read_gives_back_what_was_put(door: &Door) {
    for (place, value) in [long_text(), long_document()].iter().enumerate() {
        for (nth, compress) in CHOICES.into_iter().enumerate() {
            let name = format!("packed:{place}:{nth}");
            let name = name.as_str();
            let first = door.put_compressed(name, value, compress).await.unwrap();
            assert_eq!(&door.get(name).await.unwrap().unwrap().value, value);
            let past = door.get_with(name, &[("revision", &first.to_string())]).await;
            assert_eq!(&past.unwrap().unwrap().value, value);
            let many = door.get_many(&[name, "packed:none", name]).await.unwrap();
            let many: Vec<_> = many.iter().flatten().map(|found| &found.value).collect();
            assert_eq!(many, [value, value]);
            assert_eq!(door.values(name).await, std::slice::from_ref(value));
            assert_eq!(door.read_in_txn(name, value).await, (true, value.clone()));
            assert!(!door.read_in_txn(name, &json!("else")).await.0);

            let other = json!("other");
            let (second, previous) = door.put_previous(name, other.clone(), None).await.unwrap();
            assert_eq!(&previous.unwrap().value, value);
            let past = door.get_with(name, &[("revision", &first.to_string())]).await;
            assert_eq!(&past.unwrap().unwrap().value, value, "from the history");
            let versions = door.history(name).await.unwrap();
            assert_eq!(versions, [Some(other.clone()), Some(value.clone())]);
            let from = first.to_string();
            let mut watching = Watching::open(door, &[("key", name), ("from_revision", &from)])
                .await
                .unwrap();
            let events = watching.take(2).await;
            assert_eq!((&events[0].value, events[0].revision), (value, first));
            assert_eq!((&events[1].value, &events[1].previous), (&other, value));
            assert_eq!(events[1].revision, second);
        }
    }
}

/// D-DATA-13, of values that are kept packed.
async fn conditions_are_about_the_content(door: &Door) {
    for compress in CHOICES {
        let (value, key) = (long_document(), "packed:if");
        door.put_compressed(key, &value, compress).await.unwrap();
        let mut almost = value.clone();
        almost["lines"][199]["text"] = json!("the sama");
        for wrong in [almost, json!(value.to_string()), json!(null)] {
            let refusal = door.put_if(key, json!(1), Only::Value(wrong)).await.unwrap_err();
            assert_eq!(refusal.code, "condition_failed");
            assert_eq!(refusal.current.unwrap().value, value, "the answer shows it whole");
        }
        door.put_if(key, value.clone(), Only::Value(value.clone()))
            .await
            .unwrap();
        let predicate = "value.n == 7 && size(value.lines) == 200";
        let is_true = match door {
            Door::Embedded(db) => db.put(key, json!(2)).if_true(predicate).await.is_ok(),
            Door::Http { .. } => {
                let path = format!("kv/{}?where={}", encode(key), encode(predicate));
                let put = door.send(Method::PUT, &path, Some(json!({"value": 2}))).await;
                put.is_ok()
            }
        };
        assert!(is_true, "{compress:?}");
    }
}

/// Queries, lookups, watches by predicate and deletes by filter, of values that are kept packed.
async fn filters_and_indexes_see_the_content(door: &Door) {
    let numbered = |n: u64| {
        let mut document = long_document();
        document["n"] = json!(n);
        document
    };
    let from = door
        .put_compressed("packed:f:0", &numbered(0), Some(true))
        .await
        .unwrap();
    for (n, compress) in (1..6).zip(CHOICES.into_iter().cycle()) {
        let name = format!("packed:f:{n}");
        door.put_compressed(&name, &numbered(n), compress).await.unwrap();
    }
    let only = "value.n in [2, 4] || value.n == 5 && size(value.lines) == 200";
    let query = json!({"prefix": "packed:f:", "where": only, "order_by": "$.n", "order": "desc"});
    let found = door.keys_of_query(query).await;
    assert_eq!(found, ["packed:f:5", "packed:f:4", "packed:f:2"]);
    let query = [
        ("prefix", "packed:f:"),
        ("where", only),
        ("from_revision", &from.to_string()),
    ];
    let mut watching = Watching::open(door, &query).await.unwrap();
    let told: Vec<_> = watching
        .take(3)
        .await
        .into_iter()
        .map(|event| event.value)
        .collect();
    assert_eq!(told, [numbered(2), numbered(4), numbered(5)]);
    let gone = json!({"verb": "delete_where", "prefix": "packed:f:", "where": only});
    assert_eq!(door.deleted_by(&gone).await, 3);
    let left = door.keys_of_query(json!({"prefix": "packed:f:"})).await;
    assert_eq!(left, ["packed:f:0", "packed:f:1", "packed:f:3"]);
}

async fn numbers_are_counted_however_they_are_kept(door: &Door) {
    let digits = json!(format!("{:0>2000}", 41));
    door.put_compressed("packed:count", &digits, Some(true))
        .await
        .unwrap();
    assert_eq!(door.increment("packed:count", 1).await.unwrap(), 42);
    assert_eq!(
        door.get("packed:count").await.unwrap().unwrap().value,
        json!("42")
    );
}

/// Settings, what a write says itself, and the figures that tell.
#[tokio::test]
async fn statistics_tell_what_is_compressed() {
    let cluster = Cluster::start(1).await;
    let db = cluster.node(0);
    let packed = || db.statistics().unwrap().packed.values;
    let text = "abc ".repeat(256);
    db.put("auto", text.as_str()).await.unwrap();
    assert_eq!(packed(), 1, "1,024 bytes");
    db.put("short", &text[1..]).await.unwrap();
    assert_eq!(packed(), 1, "one byte less than the threshold");
    db.put("forced", &text[..200]).compress(true).await.unwrap();
    assert_eq!(packed(), 2, "D-DATA-11: what is forced has no threshold");
    db.put("skipped", text.as_str()).compress(false).await.unwrap();
    assert_eq!(packed(), 2);
    let noise: Vec<u8> = (0..4_000_u32)
        .map(|n| {
            (n.wrapping_mul(2_654_435_761) >> 13).to_be_bytes()[3]
                ^ (n.wrapping_mul(97) >> 5).to_be_bytes()[3]
        })
        .collect();
    db.put("noise", noise.as_slice()).await.unwrap();
    assert_eq!(db.get("noise").await.unwrap().as_ref().unwrap().bytes(), noise);

    let statistics = db.statistics().unwrap();
    assert!(statistics.usage.bytes < statistics.raw_bytes());
    let status = send(&cluster.url(0), "GET", "/api/v1/status", "", b"")
        .await
        .json();
    let storage = &status["data"]["storage"];
    assert_eq!(storage["bytes"], statistics.usage.bytes);
    assert_eq!(storage["raw_bytes"], statistics.raw_bytes());
    assert_eq!(storage["compressed_values"], statistics.packed.values);
    assert_eq!(storage["compressed_bytes"], statistics.packed.stored_bytes);
    assert_eq!(storage["compressed_raw_bytes"], statistics.packed.raw_bytes);
    for name in ["auto", "forced", "noise"] {
        db.delete(name).await.unwrap();
    }
    let left = db.statistics().unwrap();
    assert_eq!((left.packed.values, left.packed.raw_bytes), (0, 0));
    assert_eq!(left.usage.bytes, left.raw_bytes());
    cluster.stop().await;
}

/// The limit of a value is that of what was put, and raw bodies come back as they were.
#[tokio::test]
async fn large_values_keep_their_limit_and_their_bytes() {
    let cluster = Cluster::start(1).await;
    let db = cluster.node(0);
    let refused = db.put("big", vec![0; (16 << 20) + 1]).await.unwrap_err();
    assert_eq!(refused.code(), "value_too_large", "however small it would be");
    let big = vec![b'x'; 16 << 20];
    db.put("big", big.clone()).await.unwrap();
    assert!(db.statistics().unwrap().usage.bytes < 64 << 10);
    let accept = "accept: application/octet-stream";
    let raw = send(&cluster.url(0), "GET", "/api/v1/kv/big", accept, b"").await;
    assert!(raw.body == big, "16 MiB");
    // Small to send, far too much to answer with: unpacking is bounded.
    let keys = ["big"; 5];
    let refused = db.get_many(keys).await.unwrap_err();
    assert_eq!(refused.code(), "batch_too_large");
    assert_eq!(db.get_many(&keys[..4]).await.unwrap().iter().flatten().count(), 4);
    let page = db.scan().prefix("big").await.unwrap();
    assert_eq!(page.records[0].value.bytes().len(), big.len());
    let replaced = db.put("big", "small").return_previous().await.unwrap();
    assert_eq!(replaced.previous.unwrap().value.bytes().len(), big.len());
    cluster.stop().await;
}

/// A retry is the same request, whatever a node makes of its values.
#[tokio::test]
async fn a_retry_may_be_compressed_another_way() {
    let cluster = Cluster::start(1).await;
    let db = cluster.node(0);
    let text = "again ".repeat(500);
    let mut revisions = Vec::new();
    for compress in CHOICES {
        let put = db.put("once", text.as_str()).compress(compress);
        revisions.push(put.idempotency_key("the same").await.unwrap().revision);
    }
    assert!(revisions.iter().all(|revision| *revision == revisions[0]));
    let other = db.put("once", text + "!").idempotency_key("the same").await;
    assert_eq!(other.unwrap_err().code(), "idempotency_conflict");
    cluster.stop().await;
}
