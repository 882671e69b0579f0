//! Queries: the same through every door.

use concord_server::{Query, QueryCursor, Revision};
use reqwest::Method;
use serde_json::{Value as Json, json};

use crate::door::{Door, Outcome, number};

/// A page of a query, a number, or a plan.
#[derive(Debug, Default)]
struct Found {
    keys: Vec<String>,
    cursor: Option<String>,
    revision: u64,
    count: u64,
    more: bool,
    reads: String,
}

impl Door {
    /// Asks with the fields of the HTTP body.
    async fn query(&self, body: &Json) -> Outcome<Found> {
        match self {
            Self::Embedded(db) => ask(db.query(), body).await,
            Self::Http { .. } => {
                let data = self.send(Method::POST, "query", Some(body.clone())).await?;
                let items = data["items"].as_array().cloned().unwrap_or_default();
                Ok(Found {
                    keys: items
                        .iter()
                        .map(|item| item["key"].as_str().unwrap().to_owned())
                        .collect(),
                    cursor: data["next_cursor"].as_str().map(str::to_owned),
                    revision: number(&data["revision"]),
                    count: data["count"].as_u64().unwrap_or_default(),
                    more: data["more"].as_bool().unwrap_or_default(),
                    reads: data["plan"]["reads"].as_str().unwrap_or_default().to_owned(),
                })
            }
        }
    }

    pub(crate) async fn keys_of_query(&self, body: Json) -> Vec<String> {
        self.query(&body).await.unwrap().keys
    }

    /// How many keys a delete by filter removed.
    pub(crate) async fn deleted_by(&self, body: &Json) -> u64 {
        self.query(body).await.unwrap().count
    }
}

async fn ask(mut query: Query<'_>, body: &Json) -> Outcome<Found> {
    let mut verb = "where";
    for (name, value) in body.as_object().unwrap() {
        let text = || value.as_str().unwrap();
        query = match name.as_str() {
            "verb" => {
                verb = text();
                query
            }
            "prefix" => query.prefix(text()),
            "suffix" => query.suffix(text()),
            "contains" => query.contains(text()),
            "glob" => query.glob(text()),
            "pattern" => query.pattern(text()),
            "range" => query.range(value["start"].as_str().unwrap(), value["end"].as_str().unwrap()),
            "where" => query.filter(text()),
            "order_by" => query.order_by(text()),
            "order" => query.descending(),
            "offset" => query.offset(number(value)),
            "limit" => query.limit(usize::try_from(number(value)).unwrap()),
            "max_scanned" => query.max_scanned(number(value)),
            "revision" => query.revision(Revision::new(number(value))),
            "cursor" => {
                let cursor = text().parse::<QueryCursor>();
                query.cursor(cursor.map_err(concord_server::Error::from)?)
            }
            other => panic!("no such field: {other}"),
        };
    }
    answered(query, verb).await
}

async fn answered(query: Query<'_>, verb: &str) -> Outcome<Found> {
    match verb {
        "count" => {
            let count = query.count().await?;
            Ok(Found {
                count: count.data,
                revision: count.revision.get(),
                ..Found::default()
            })
        }
        "delete_where" => {
            let deleted = query.delete_where().await?;
            Ok(Found {
                count: deleted.count,
                more: deleted.more,
                revision: deleted.revision.get(),
                ..Found::default()
            })
        }
        "explain" => {
            let plan = query.explain().await?;
            Ok(Found {
                reads: plan.reads.name().to_owned(),
                ..Found::default()
            })
        }
        verb => {
            let asked = if verb == "keys" {
                query.keys()
            } else {
                query.pairs()
            };
            let page = asked.await?;
            Ok(Found {
                keys: page.keys().map(ToString::to_string).collect(),
                count: page.records.len() as u64,
                cursor: page.cursor.map(|cursor| cursor.to_string()),
                revision: page.revision.get(),
                ..Found::default()
            })
        }
    }
}

pub(crate) async fn run_all(door: &Door) {
    for (key, age, role) in [
        ("q:ada", 36, "admin"),
        ("q:bob", 30, "user"),
        ("q:cid", 41, "admin"),
        ("q:dan", 30, "user"),
        ("q:eve", 25, "admin"),
    ] {
        door.put(key, json!({"age": age, "role": role}), None)
            .await
            .unwrap();
    }
    filters_and_orders_find_what_they_say(door).await;
    pages_of_a_query_show_one_revision(door).await;
    bounds_of_work_are_errors_with_a_cursor(door).await;
    queries_that_make_no_sense_are_refused(door).await;
    a_delete_by_filter_is_atomic(door).await;
}

async fn filters_and_orders_find_what_they_say(door: &Door) {
    let cases = [
        (
            json!({"prefix": "q:", "where": "value.age >= 30 && value.role == 'admin'"}),
            "ac",
        ),
        (json!({"prefix": "q:", "suffix": "n"}), "d"),
        (json!({"prefix": "q:", "contains": "o"}), "b"),
        (json!({"glob": "q:?a?"}), "d"),
        (json!({"pattern": "^q:[a-c]"}), "abc"),
        // Both ends belong to a range.
        (json!({"range": {"start": "q:bob", "end": "q:dan"}}), "bcd"),
        (
            json!({"prefix": "q:", "order_by": "$.age", "order": "desc", "limit": 2}),
            "ca",
        ),
        (json!({"prefix": "q:", "order_by": "$.age", "offset": 1}), "bdac"),
        (
            json!({"verb": "keys", "prefix": "q:", "where": "value.age < 0"}),
            "",
        ),
    ];
    for (body, expected) in &cases {
        let keys = door.keys_of_query(body.clone()).await;
        let found: String = keys.iter().map(|key| &key[2..3]).collect();
        assert_eq!(&found, expected, "{body}");
    }
    let count = json!({"verb": "count", "prefix": "q:", "where": "value.age == 30", "limit": 1});
    assert_eq!(
        door.query(&count).await.unwrap().count,
        2,
        "whatever the limit is"
    );
    let plan = json!({"verb": "explain", "prefix": "q:", "where": "value.age == 30"});
    assert_eq!(door.query(&plan).await.unwrap().reads, "key_range");
    let plan = json!({"verb": "explain", "where": "value.age == 30"});
    assert_eq!(door.query(&plan).await.unwrap().reads, "full_scan");
}

/// Each key once, and nothing of what is written meanwhile.
async fn pages_of_a_query_show_one_revision(door: &Door) {
    let mut body = json!({"prefix": "q:", "where": "value.age >= 30", "limit": 1});
    let mut page = door.query(&body).await.unwrap();
    let (mut keys, revision) = (page.keys.clone(), page.revision);
    door.put("q:zoe", json!({"age": 99}), None).await.unwrap();
    door.delete("q:dan").await.unwrap();
    while let Some(cursor) = page.cursor {
        body["cursor"] = json!(cursor);
        page = door.query(&body).await.unwrap();
        assert_eq!(page.revision, revision);
        keys.extend(page.keys.clone());
    }
    assert_eq!(keys, ["q:ada", "q:bob", "q:cid", "q:dan"]);
    let then = json!({"verb": "count", "prefix": "q:", "revision": revision});
    assert_eq!(door.query(&then).await.unwrap().count, 5);
    door.delete("q:zoe").await.unwrap();
    door.put("q:dan", json!({"age": 30}), None).await.unwrap();
}

async fn bounds_of_work_are_errors_with_a_cursor(door: &Door) {
    let body = json!({"prefix": "q:", "where": "value.age == 25", "max_scanned": 2});
    let refusal = door.query(&body).await.unwrap_err();
    assert_eq!(
        (refusal.code.as_str(), refusal.may_have_written),
        ("batch_too_large", false)
    );
}

async fn queries_that_make_no_sense_are_refused(door: &Door) {
    let page = door.query(&json!({"prefix": "q:", "limit": 1})).await.unwrap();
    let cursor = page.cursor.unwrap();
    let mut tampered = cursor.clone();
    let last = if tampered.pop() == Some('0') { '1' } else { '0' };
    tampered.push(last);
    for body in [
        json!({"where": "value."}),
        json!({"where": "value == NaN"}),
        json!({"where": "(".repeat(10 << 20)}),
        json!({"pattern": "(a{1000}){1000}"}),
        json!({"pattern": "(".repeat(5_000)}),
        json!({"pattern": "(?=a)"}),
        json!({"glob": "a\\"}),
        json!({"order_by": "ttl"}),
        json!({"limit": 0}),
        json!({"limit": 10_001}),
        json!({"max_scanned": 0}),
        json!({"prefix": "q:", "cursor": tampered}),
        // Of another query.
        json!({"prefix": "q", "cursor": cursor}),
        json!({"verb": "delete_where", "prefix": "nobody", "order_by": "$.age"}),
    ] {
        let refusal = door.query(&body).await.unwrap_err();
        let shown = body.to_string();
        assert_eq!(refusal.code, "invalid_request", "{shown:.80}");
    }
    let future = json!({"revision": u64::MAX});
    assert_eq!(door.query(&future).await.unwrap_err().code, "future_revision");
}

/// D-DATA-10: decided at apply, at one revision, however many.
async fn a_delete_by_filter_is_atomic(door: &Door) {
    let before = door.put("q:keep", json!({"role": "root"}), None).await.unwrap();
    let first = json!({"verb": "delete_where", "prefix": "q:", "where": "value.role == 'admin'", "limit": 1});
    let deleted = door.query(&first).await.unwrap();
    assert_eq!(
        (deleted.count, deleted.more, deleted.revision),
        (1, true, before + 1)
    );
    assert_eq!(door.get("q:ada").await.unwrap(), None);
    let rest = json!({"verb": "delete_where", "prefix": "q:", "where": "has(value.age)"});
    let deleted = door.query(&rest).await.unwrap();
    assert_eq!(
        (deleted.count, deleted.more, deleted.revision),
        (4, false, before + 2)
    );
    assert_eq!(door.keys_of_query(json!({"prefix": "q:"})).await, ["q:keep"]);
    let nothing = door.query(&rest).await.unwrap();
    assert_eq!((nothing.count, nothing.revision), (0, before + 2));
    door.delete("q:keep").await.unwrap();
}
