//! Secondary indexes: the same through every door.

use std::time::Duration;

use concord_server::{IndexCursor, IndexProgress, IndexValue, Lookup, Revision};
use reqwest::Method;
use serde_json::{Value as Json, json};

use crate::door::{Door, Outcome, encode, number};
use crate::patience::eventually;

/// A page of a lookup.
#[derive(Debug)]
struct Found {
    keys: Vec<String>,
    cursor: Option<String>,
    revision: u64,
}

impl Door {
    async fn create_index(&self, name: &str, extractor: &str, prefix: &str, unique: bool) -> Outcome<u64> {
        match self {
            Self::Embedded(db) => {
                let create = db.create_index(name, extractor).prefix(prefix);
                let create = if unique { create.unique() } else { create };
                Ok(create.await?.get())
            }
            Self::Http { .. } => {
                let body = json!({"name": name, "extractor": extractor, "prefix": prefix, "unique": unique});
                let data = self.send(Method::POST, "indexes", Some(body)).await?;
                Ok(number(&data["revision"]))
            }
        }
    }

    async fn drop_index(&self, name: &str) -> Outcome<()> {
        match self {
            Self::Embedded(db) => {
                db.drop_index(name).await?;
            }
            Self::Http { .. } => {
                let path = format!("indexes/{}", encode(name));
                self.send(Method::DELETE, &path, None).await?;
            }
        }
        Ok(())
    }

    async fn reindex(&self, name: &str) -> Outcome<()> {
        match self {
            Self::Embedded(db) => {
                db.reindex(name).await?;
            }
            Self::Http { .. } => {
                let path = format!("indexes/{}/reindex", encode(name));
                self.send(Method::POST, &path, None).await?;
            }
        }
        Ok(())
    }

    /// The state of an index by name, and its entries.
    async fn index(&self, name: &str) -> Outcome<(String, u64)> {
        match self {
            Self::Embedded(db) => {
                let found = db.index(name).await?;
                let state = match &found.progress {
                    IndexProgress::Ready => "ready",
                    IndexProgress::Filling { .. } => "filling",
                    IndexProgress::WritesSince(_) => "partial",
                    IndexProgress::Failed { .. } => "failed",
                };
                Ok((state.to_owned(), found.entries as u64))
            }
            Self::Http { .. } => {
                let data = self.fetch(&format!("indexes/{}", encode(name))).await?;
                Ok((
                    data["state"].as_str().unwrap().to_owned(),
                    number(&data["entries"]),
                ))
            }
        }
    }

    async fn index_names(&self) -> Outcome<Vec<String>> {
        match self {
            Self::Embedded(db) => {
                let found = db.indexes().await?;
                Ok(found
                    .iter()
                    .map(|status| status.definition.name().to_string())
                    .collect())
            }
            Self::Http { .. } => {
                let data = self.fetch("indexes").await?;
                let indexes = data["indexes"].as_array().unwrap().iter();
                Ok(indexes
                    .map(|index| index["name"].as_str().unwrap().to_owned())
                    .collect())
            }
        }
    }

    /// Looks up with query parameters by name, whose values are JSON.
    async fn lookup(&self, name: &str, narrowing: &[(&str, Json)]) -> Outcome<Found> {
        match self {
            Self::Embedded(db) => {
                let mut lookup = db.lookup(name);
                for (name, value) in narrowing {
                    lookup = narrowed(lookup, name, value)?;
                }
                let page = lookup.await?;
                Ok(Found {
                    keys: page.records.iter().map(|record| record.key.to_string()).collect(),
                    cursor: page.cursor.map(|cursor| cursor.to_string()),
                    revision: page.revision.get(),
                })
            }
            Self::Http { .. } => {
                let query: Vec<String> = narrowing
                    .iter()
                    .map(|(name, value)| match (*name, value) {
                        ("cursor" | "order", Json::String(text)) => format!("{name}={text}"),
                        (name, value) => format!("{name}={}", encode(&value.to_string())),
                    })
                    .collect();
                let path = format!("indexes/{}/lookup?{}", encode(name), query.join("&"));
                let data = self.fetch(&path).await?;
                let items = data["items"].as_array().unwrap().iter();
                Ok(Found {
                    keys: items
                        .map(|item| item["key"].as_str().unwrap().to_owned())
                        .collect(),
                    cursor: data["next_cursor"].as_str().map(str::to_owned),
                    revision: number(&data["revision"]),
                })
            }
        }
    }

    /// The keys under one value.
    async fn keys_under(&self, name: &str, value: Json) -> Vec<String> {
        self.lookup(name, &[("value", value)]).await.unwrap().keys
    }

    /// Waits until an index is filled.
    async fn filled(&self, name: &str) {
        eventually("the index is filled", async || {
            (self.index(name).await.unwrap().0 != "filling").then_some(())
        })
        .await;
    }
}

fn narrowed<'a>(lookup: Lookup<'a>, name: &str, value: &Json) -> Outcome<Lookup<'a>> {
    let index_value = || match value {
        Json::String(text) => IndexValue::from(text.as_str()),
        Json::Bool(flag) => IndexValue::from(*flag),
        Json::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => number.into(),
            (None, Some(number)) => number.into(),
            (None, None) => number.as_f64().unwrap().into(),
        },
        other @ (Json::Null | Json::Array(_) | Json::Object(_)) => panic!("no value to look up: {other}"),
    };
    Ok(match name {
        "value" => lookup.equal(index_value()),
        "from" => lookup.from(index_value()),
        "after" => lookup.after(index_value()),
        "upto" => lookup.upto(index_value()),
        "before" => lookup.before(index_value()),
        "limit" => lookup.limit(usize::try_from(number(value)).unwrap()),
        "order" => lookup.descending(),
        "revision" => lookup.revision(Revision::new(number(value))),
        "cursor" => {
            let cursor = value.as_str().unwrap().parse::<IndexCursor>();
            lookup.cursor(cursor.map_err(concord_server::Error::from)?)
        }
        other => panic!("no such option: {other}"),
    })
}

pub(crate) async fn run_all(door: &Door) {
    an_index_finds_what_is_there_and_what_comes(door).await;
    lookups_by_range_are_in_the_order_of_values(door).await;
    pages_of_a_lookup_show_one_revision(door).await;
    a_unique_index_refuses_the_second_writer(door).await;
    indexes_that_are_not_there_are_not_found(door).await;
    requests_about_indexes_that_make_no_sense_are_refused(door).await;
}

/// D-RAFT-7: an index is the same on whatever node is asked; D-DATA-9: no expired key is found.
async fn an_index_finds_what_is_there_and_what_comes(door: &Door) {
    let person = |mail: &str, tags: &[&str]| json!({"mail": mail, "tags": tags});
    door.put("idx:1", person("a", &["x", "y"]), None).await.unwrap();
    door.put("elsewhere:1", person("a", &["x"]), None).await.unwrap();
    let before = door.put("idx:2", json!("no document"), None).await.unwrap();
    // An index is no change of a key.
    assert_eq!(
        door.create_index("mail", "$.mail", "idx:", false).await,
        Ok(before)
    );
    door.create_index("tag", "$.tags[*]", "idx:", false)
        .await
        .unwrap();
    door.create_index("both", "value.mail + key", "idx:", false)
        .await
        .unwrap();
    assert_eq!(door.index_names().await.unwrap(), ["both", "mail", "tag"]);
    for name in ["both", "mail", "tag"] {
        door.filled(name).await;
    }
    assert_eq!(door.index("tag").await.unwrap(), ("ready".to_owned(), 2));
    door.put("idx:3", person("a", &["y"]), None).await.unwrap();
    assert_eq!(door.keys_under("mail", json!("a")).await, ["idx:1", "idx:3"]);
    assert_eq!(door.keys_under("tag", json!("y")).await, ["idx:1", "idx:3"]);
    assert_eq!(door.keys_under("both", json!("aidx:3")).await, ["idx:3"]);
    door.put("idx:1", person("b", &[]), None).await.unwrap();
    door.delete("idx:3").await.unwrap();
    assert_eq!(door.keys_under("mail", json!("a")).await, [""; 0]);
    assert_eq!(door.keys_under("mail", json!("b")).await, ["idx:1"]);
    let brief = Some(Duration::from_millis(30));
    door.put("idx:4", person("brief", &[]), brief).await.unwrap();
    while door.exists("idx:4").await.unwrap() {
        tokio::task::yield_now().await;
    }
    assert_eq!(door.keys_under("mail", json!("brief")).await, [""; 0]);
    door.reindex("mail").await.unwrap();
    door.filled("mail").await;
    assert_eq!(door.keys_under("mail", json!("b")).await, ["idx:1"]);
    for name in ["both", "mail", "tag"] {
        door.drop_index(name).await.unwrap();
    }
    assert_eq!(door.index_names().await.unwrap(), [""; 0]);
}

async fn lookups_by_range_are_in_the_order_of_values(door: &Door) {
    door.create_index("n", "$.n", "range:", false).await.unwrap();
    for (key, n) in [
        ("range:a", json!(10)),
        ("range:b", json!(-3)),
        ("range:c", json!(2.5)),
        ("range:d", json!(2)),
        ("range:e", json!("2")),
        ("range:f", json!(18_446_744_073_709_551_615_u64)),
    ] {
        door.put(key, json!({"n": n}), None).await.unwrap();
    }
    let cases: [(&[(&str, Json)], &str); 7] = [
        (&[], "bdcafe"),
        (&[("order", json!("desc"))], "efacdb"),
        (&[("from", json!(2)), ("before", json!(10))], "dc"),
        (&[("after", json!(2)), ("upto", json!(10.0))], "ca"),
        (&[("upto", json!(2))], "bd"),
        (&[("value", json!(18_446_744_073_709_551_615_u64))], "f"),
        (&[("from", json!(11)), ("before", json!(9))], ""),
    ];
    for (narrowing, expected) in cases {
        let keys = door.lookup("n", narrowing).await.unwrap().keys;
        let found: String = keys.iter().map(|key| &key["range:".len()..]).collect();
        assert_eq!(found, expected, "{narrowing:?}");
    }
    door.drop_index("n").await.unwrap();
}

async fn pages_of_a_lookup_show_one_revision(door: &Door) {
    door.create_index("page", "$.p", "page:", false).await.unwrap();
    for place in 0..6 {
        door.put(&format!("page:{place}"), json!({"p": place % 2}), None)
            .await
            .unwrap();
    }
    let first = door.lookup("page", &[("limit", json!(2))]).await.unwrap();
    assert_eq!(first.keys, ["page:0", "page:2"]);
    // What happens in between changes nothing of the lookup under way.
    door.delete("page:4").await.unwrap();
    door.put("page:3", json!({"p": 0}), None).await.unwrap();
    let mut keys = first.keys.clone();
    let mut cursor = first.cursor;
    while let Some(text) = cursor {
        let page = door
            .lookup("page", &[("limit", json!(2)), ("cursor", json!(text))])
            .await
            .unwrap();
        assert_eq!(page.revision, first.revision);
        keys.extend(page.keys);
        cursor = page.cursor;
    }
    assert_eq!(keys, ["page:0", "page:2", "page:4", "page:1", "page:3", "page:5"]);
    assert_eq!(
        door.keys_under("page", json!(0)).await,
        ["page:0", "page:2", "page:3"]
    );
    let past = [("value", json!(0)), ("revision", json!(first.revision))];
    let then = door.lookup("page", &past).await.unwrap();
    assert_eq!(then.keys, ["page:0", "page:2", "page:4"]);
    door.drop_index("page").await.unwrap();
}

async fn a_unique_index_refuses_the_second_writer(door: &Door) {
    door.create_index("one", "$.mail", "one:", true).await.unwrap();
    let first = door.put("one:a", json!({"mail": "x"}), None).await.unwrap();
    let refusal = door.put("one:b", json!({"mail": "x"}), None).await.unwrap_err();
    assert_eq!(
        (refusal.code.as_str(), refusal.may_have_written),
        ("unique_violation", false)
    );
    // Its own value is no obstacle to a record.
    assert_eq!(door.put("one:a", json!({"mail": "x"}), None).await, Ok(first + 1));
    door.delete("one:a").await.unwrap();
    door.put("one:b", json!({"mail": "x"}), None).await.unwrap();
    door.drop_index("one").await.unwrap();
    door.put("one:c", json!({"mail": "x"}), None).await.unwrap();
    // Made over two records with one value it fails, and says so.
    door.create_index("one", "$.mail", "one:", true).await.unwrap();
    door.filled("one").await;
    assert_eq!(door.index("one").await.unwrap(), ("failed".to_owned(), 0));
    let refusal = door.lookup("one", &[]).await.unwrap_err();
    assert_eq!(refusal.code, "unique_violation");
    door.drop_index("one").await.unwrap();
}

/// D-DATA-12: there is one channel for errors.
async fn indexes_that_are_not_there_are_not_found(door: &Door) {
    for refusal in [
        door.drop_index("nobody").await.unwrap_err(),
        door.reindex("nobody").await.unwrap_err(),
        door.index("nobody").await.unwrap_err(),
        door.lookup("nobody", &[]).await.unwrap_err(),
    ] {
        assert_eq!(
            (refusal.code.as_str(), refusal.may_have_written),
            ("not_found", false)
        );
    }
    door.create_index("twice", "$.a", "", false).await.unwrap();
    let again = door.create_index("twice", "$.b", "", false).await.unwrap_err();
    assert_eq!(again.code, "already_exists");
    door.drop_index("twice").await.unwrap();
}

/// D-RAFT-2: extractors are data, and are judged before anything is proposed.
async fn requests_about_indexes_that_make_no_sense_are_refused(door: &Door) {
    let before = door.put("index:before", json!(0), None).await.unwrap();
    let long = "n".repeat(256);
    for (name, extractor) in [
        ("", "$.a"),
        (long.as_str(), "$.a"),
        ("i", "$.a["),
        ("i", "value."),
        ("i", "ttl"),
        ("i", ""),
        ("i", "value.matches('a')"),
    ] {
        let refusal = door.create_index(name, extractor, "", false).await.unwrap_err();
        assert_eq!(refusal.code, "invalid_request", "{name} {extractor}");
    }
    door.create_index("sense", "$.a", "", false).await.unwrap();
    door.filled("sense").await;
    for key in ["sense:1", "sense:2"] {
        door.put(key, json!({"a": 1}), None).await.unwrap();
    }
    let page = door
        .lookup("sense", &[("value", json!(1)), ("limit", json!(1))])
        .await
        .unwrap();
    let cursor = page.cursor.unwrap();
    let mut tampered = cursor.clone();
    let last = if tampered.pop() == Some('0') { '1' } else { '0' };
    tampered.push(last);
    let cases: [&[(&str, Json)]; 5] = [
        &[("limit", json!(0))],
        &[("limit", json!(10_001))],
        &[("value", json!(1)), ("cursor", json!(tampered))],
        // Of another value.
        &[("value", json!(2)), ("cursor", json!(cursor))],
        &[("cursor", json!("zz"))],
    ];
    for narrowing in cases {
        let refusal = door.lookup("sense", narrowing).await.unwrap_err();
        assert_eq!(refusal.code, "invalid_request", "{narrowing:?}");
    }
    let future = [("revision", json!(u64::MAX))];
    assert_eq!(
        door.lookup("sense", &future).await.unwrap_err().code,
        "future_revision"
    );
    door.drop_index("sense").await.unwrap();
    let after = door.put("index:after", json!(0), None).await.unwrap();
    assert_eq!(after, before + 3, "nothing else was written");
}

#[tokio::test]
async fn a_faulty_extractor_is_shown_with_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let db = concord_server::Concord::open(concord_server::Config::at(dir.path()))
        .await
        .unwrap();
    for (extractor, offset) in [("$.tags[0]", 6), ("value.a +", 9), ("$.größe b", 9)] {
        let error = db.create_index("i", extractor).await.unwrap_err();
        assert_eq!(error.number("offset"), Some(offset), "{error}");
        assert!(error.message().contains(extractor), "{error}");
    }
    let error = db.lookup("i").equal(f64::NAN).await.unwrap_err();
    assert_eq!(error.code(), "invalid_request");
    db.shutdown().await.unwrap();
}

/// A partial index is about later writes only, until it is filled anew. Streams read all of it.
#[tokio::test]
async fn an_index_without_what_was_there_is_completed_by_a_reindex() {
    use futures::TryStreamExt as _;

    let dir = tempfile::tempdir().unwrap();
    let db = concord_server::Concord::open(concord_server::Config::at(dir.path()))
        .await
        .unwrap();
    db.put("old", json!({"a": 1})).await.unwrap();
    db.create_index("i", "$.a").without_existing().await.unwrap();
    db.put("new", json!({"a": 1})).await.unwrap();
    let keys = |page: concord_server::LookupPage| -> Vec<String> {
        page.records.iter().map(|record| record.key.to_string()).collect()
    };
    assert_eq!(keys(db.lookup("i").equal(1).await.unwrap()), ["new"]);
    let progress = db.index("i").await.unwrap().progress.clone();
    assert!(matches!(progress, IndexProgress::WritesSince(_)));
    db.reindex("i").await.unwrap();
    while db.index("i").await.unwrap().progress != IndexProgress::Ready {
        tokio::task::yield_now().await;
    }
    let page = db.lookup("i").equal(1).keys_only().await.unwrap();
    assert!(page.records.iter().all(|record| record.value.bytes().is_empty()));
    assert_eq!(keys(page), ["new", "old"]);
    let revision = db.revision();
    let streamed = db.lookup("i").limit(1).revision(revision).records();
    let streamed: Vec<_> = streamed.try_collect().await.unwrap();
    assert_eq!(streamed.len(), 2);
    db.shutdown().await.unwrap();
}
