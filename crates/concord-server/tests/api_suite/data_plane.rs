//! Conditions and bulk requests: the same through every door.

use std::time::Duration;

use concord_server::{Item, Revision, Write};
use reqwest::Method;
use serde_json::{Value as Json, json};

use crate::door::{Door, Found, Outcome, encode, kept, number, of_entry, of_json};

/// What must hold for a write.
#[derive(Clone, Debug)]
pub(crate) enum Only {
    Absent,
    Present,
    Value(Json),
    ModRevision(u64),
    Version(u64),
}

impl Only {
    fn of<K: concord_server::Conditional>(self, write: Write<'_, K>) -> Write<'_, K> {
        match self {
            Self::Absent => write.if_absent(),
            Self::Present => write.if_present(),
            Self::Value(value) => write.if_value(kept(&value)),
            Self::ModRevision(revision) => write.if_mod_revision(Revision::new(revision)),
            Self::Version(version) => write.if_version(version),
        }
    }

    fn query(&self) -> String {
        match self {
            Self::Absent => "absent".to_owned(),
            Self::Present => "present=true".to_owned(),
            Self::Value(value) => format!("expected={}", encode(&value.to_string())),
            Self::ModRevision(revision) => format!("mod_revision={revision}"),
            Self::Version(version) => format!("version={version}"),
        }
    }
}

impl Door {
    pub(crate) async fn put_if(&self, key: &str, value: Json, only: Only) -> Outcome<u64> {
        match self {
            Self::Embedded(db) => Ok(only.of(db.put(key, kept(&value))).await?.revision.get()),
            Self::Http { .. } => {
                let path = format!("kv/{}?{}", encode(key), only.query());
                let data = self
                    .send(Method::PUT, &path, Some(json!({"value": value})))
                    .await?;
                Ok(number(&data["revision"]))
            }
        }
    }

    pub(crate) async fn delete_if(&self, key: &str, only: Only) -> Outcome<bool> {
        match self {
            Self::Embedded(db) => Ok(only.of(db.delete(key)).await?.existed),
            Self::Http { .. } => {
                let path = format!("kv/{}?{}", encode(key), only.query());
                let data = self.send(Method::DELETE, &path, None).await?;
                Ok(data["existed"].as_bool().unwrap())
            }
        }
    }

    /// Stores values, each for ever or for these milliseconds.
    pub(crate) async fn put_many(&self, items: &[(&str, Json, Option<u64>)]) -> Outcome<u64> {
        match self {
            Self::Embedded(db) => {
                let items = items.iter().map(|(key, value, ttl)| {
                    let item = Item::new(key, kept(value));
                    match ttl {
                        Some(millis) => item.ttl(Duration::from_millis(*millis)),
                        None => item,
                    }
                });
                Ok(db.put_many(items).await?.revision.get())
            }
            Self::Http { .. } => {
                let operations: Vec<Json> = items
                    .iter()
                    .map(|(key, value, ttl)| {
                        json!({"key": key, "value": value, "ttl": ttl.map(|millis| format!("{millis}ms"))})
                    })
                    .collect();
                let body = json!({ "operations": operations });
                let data = self.send(Method::POST, "kv/bulk", Some(body)).await?;
                for (key, _, _) in items {
                    assert_eq!(data["results"][key], "ok");
                }
                Ok(number(&data["revision"]))
            }
        }
    }

    pub(crate) async fn get_many(&self, keys: &[&str]) -> Outcome<Vec<Option<Found>>> {
        match self {
            Self::Embedded(db) => {
                let found = db.get_many(keys).await?;
                Ok(found.iter().map(|entry| entry.as_ref().map(of_entry)).collect())
            }
            Self::Http { .. } => {
                let data = self
                    .send(Method::POST, "kv/bulk/get", Some(json!({ "keys": keys })))
                    .await?;
                Ok(keys.iter().map(|key| of_json(&data["results"][key])).collect())
            }
        }
    }

    /// For each key whether there was something to remove.
    pub(crate) async fn delete_many(&self, keys: &[&str]) -> Outcome<(u64, Vec<bool>)> {
        match self {
            Self::Embedded(db) => {
                let deleted = db.delete_many(keys).await?;
                Ok((deleted.revision.get(), deleted.existed))
            }
            Self::Http { .. } => {
                let data = self
                    .send(Method::POST, "kv/bulk/delete", Some(json!({ "keys": keys })))
                    .await?;
                let existed = |key: &&str| data["results"][*key]["existed"].as_bool().unwrap();
                Ok((number(&data["revision"]), keys.iter().map(existed).collect()))
            }
        }
    }

    /// Resets times to live, in milliseconds. For each key whether it exists.
    pub(crate) async fn touch_many(&self, items: &[(&str, u64)]) -> Outcome<(u64, Vec<bool>)> {
        match self {
            Self::Embedded(db) => {
                let touched = db
                    .touch_many(
                        items
                            .iter()
                            .map(|(key, millis)| (key, Duration::from_millis(*millis))),
                    )
                    .await?;
                let existed = touched.expires_at.iter().map(Option::is_some).collect();
                Ok((touched.revision.get(), existed))
            }
            Self::Http { .. } => {
                let operations: Vec<Json> = items
                    .iter()
                    .map(|(key, millis)| json!({"key": key, "ttl": format!("{millis}ms")}))
                    .collect();
                let body = json!({ "operations": operations });
                let data = self.send(Method::POST, "kv/bulk/touch", Some(body)).await?;
                let existed = items
                    .iter()
                    .map(|(key, _)| data["results"][key]["expires_at"].is_u64())
                    .collect();
                Ok((number(&data["revision"]), existed))
            }
        }
    }
}

pub(crate) async fn run_all(door: &Door) {
    conditions_decide_whether_a_write_happens(door).await;
    a_failed_condition_shows_what_was_judged(door).await;
    expired_keys_are_absent_to_conditions(door).await;
    a_bulk_request_is_one_revision(door).await;
    one_bad_item_refuses_all_and_is_named(door).await;
    batches_have_a_size(door).await;
}

async fn conditions_decide_whether_a_write_happens(door: &Door) {
    let key = "cond";
    // D-DATA-13: absent is a condition of its own.
    let first = door.put_if(key, json!(1), Only::Absent).await.unwrap();
    let failing = [
        Only::Absent,
        Only::Value(json!(2)),
        Only::Value(json!(1.0)),
        Only::Value(json!("1")),
        Only::ModRevision(first + 1),
        Only::Version(2),
    ];
    for only in failing {
        let refusal = door.put_if(key, json!("no"), only.clone()).await.unwrap_err();
        assert_eq!(
            (refusal.code.as_str(), refusal.may_have_written),
            ("condition_failed", false),
            "{only:?}"
        );
        let refusal = door.delete_if(key, only.clone()).await.unwrap_err();
        assert_eq!(refusal.code, "condition_failed", "{only:?}");
    }
    let found = door.get(key).await.unwrap().unwrap();
    assert_eq!(
        (found.value, found.mod_revision),
        (json!(1), first),
        "nothing was written (I3)"
    );

    let second = door.put_if(key, json!({"n": 2}), Only::Present).await.unwrap();
    let third = door
        .put_if(key, json!("3"), Only::Value(json!({"n": 2})))
        .await
        .unwrap();
    assert_eq!((second, third), (first + 1, first + 2));
    door.put_if(key, json!(4), Only::ModRevision(third))
        .await
        .unwrap();
    door.put_if(key, json!(5), Only::Version(4)).await.unwrap();
    assert!(door.delete_if(key, Only::Value(json!(5))).await.unwrap());
    for only in [
        Only::Present,
        Only::Value(json!(5)),
        Only::ModRevision(first),
        Only::Version(1),
    ] {
        let refusal = door.put_if(key, json!("no"), only).await.unwrap_err();
        assert_eq!(
            (refusal.code.as_str(), refusal.current),
            ("condition_failed", None)
        );
    }
}

async fn a_failed_condition_shows_what_was_judged(door: &Door) {
    let revision = door.put("judged", json!(["a"]), None).await.unwrap();
    let refusal = door.put_if("judged", json!(0), Only::Absent).await.unwrap_err();
    let current = Found {
        value: json!(["a"]),
        format: "document".to_owned(),
        create_revision: revision,
        mod_revision: revision,
        version: 1,
    };
    assert_eq!(refusal.current.as_deref(), Some(&current));
}

/// D-DATA-4 for conditions and touches of many.
async fn expired_keys_are_absent_to_conditions(door: &Door) {
    door.put("fleeting", json!(1), Some(Duration::from_millis(20)))
        .await
        .unwrap();
    loop {
        // The condition itself tells when the key has expired: nothing else has to be asked.
        match door.put_if("fleeting", json!(2), Only::Absent).await {
            Ok(_) => break,
            Err(refusal) => assert_eq!(refusal.code, "condition_failed"),
        }
    }
    let found = door.get("fleeting").await.unwrap().unwrap();
    assert_eq!(
        (found.value, found.version),
        (json!(2), 1),
        "a new key, not the old one revived"
    );
}

async fn a_bulk_request_is_one_revision(door: &Door) {
    let before = door.put("bulk:before", json!(0), None).await.unwrap();
    let written = door
        .put_many(&[
            ("bulk:a", json!("old"), None),
            ("bulk:b", json!({"x": [1]}), Some(100_000)),
            ("bulk:a", json!("new"), None),
        ])
        .await
        .unwrap();
    assert_eq!(written, before + 1);
    let found = door.get_many(&["bulk:b", "bulk:none", "bulk:a"]).await.unwrap();
    let values: Vec<_> = found
        .iter()
        .map(|found| {
            found
                .as_ref()
                .map(|found| (found.value.clone(), found.mod_revision, found.version))
        })
        .collect();
    assert_eq!(
        values,
        [
            Some((json!({"x": [1]}), written, 1)),
            None,
            Some((json!("new"), written, 1))
        ],
        "later duplicates win"
    );
    assert!(door.ttl("bulk:b").await.unwrap().unwrap().is_some());
    assert_eq!(door.ttl("bulk:a").await.unwrap(), Some(None));

    // D-HTTP-2: a touch of a missing key is no error of the batch.
    let (touched, existed) = door
        .touch_many(&[("bulk:a", 50_000), ("bulk:none", 50_000)])
        .await
        .unwrap();
    assert_eq!((touched, existed), (written + 1, vec![true, false]));
    assert!(door.ttl("bulk:a").await.unwrap().unwrap().is_some());

    let (deleted, existed) = door
        .delete_many(&["bulk:a", "bulk:none", "bulk:b"])
        .await
        .unwrap();
    assert_eq!((deleted, existed), (touched + 1, vec![true, false, true]));
    let (nothing, existed) = door.delete_many(&["bulk:a"]).await.unwrap();
    assert_eq!(
        (nothing, existed),
        (deleted, vec![false]),
        "a delete of nothing is no revision"
    );
    for outcome in [
        door.put_many(&[]).await,
        door.delete_many(&[]).await.map(|(revision, _)| revision),
        door.touch_many(&[]).await.map(|(revision, _)| revision),
    ] {
        assert_eq!(outcome, Ok(deleted), "nothing to do changes nothing");
    }
    assert_eq!(door.get_many(&[]).await.unwrap(), []);
}

/// D-DATA-3: every item is judged, and one bad one leaves no trace of the others.
async fn one_bad_item_refuses_all_and_is_named(door: &Door) {
    let before = door.put("many:before", json!(0), None).await.unwrap();
    let long = "k".repeat(1_025);
    let too_long_a_time = 200 * 365 * 24 * 3_600_000;
    for (key, ttl, code) in [
        ("", None, "invalid_key"),
        (long.as_str(), None, "invalid_key"),
        ("many:c", Some(0), "invalid_ttl"),
        ("many:c", Some(too_long_a_time), "invalid_ttl"),
    ] {
        let refusal = door
            .put_many(&[
                ("many:a", json!(1), None),
                ("many:b", json!(2), None),
                (key, json!(3), ttl),
            ])
            .await
            .unwrap_err();
        assert_eq!(
            (refusal.code.as_str(), refusal.item, refusal.may_have_written),
            (code, Some(2), false),
            "{key:.10} {ttl:?}"
        );
    }
    for refusal in [
        door.delete_many(&["many:a", ""]).await.unwrap_err(),
        door.touch_many(&[("many:a", 1), ("", 1)]).await.unwrap_err(),
        door.get_many(&["many:a", long.as_str()]).await.unwrap_err(),
    ] {
        assert_eq!((refusal.code.as_str(), refusal.item), ("invalid_key", Some(1)));
    }
    let refusal = door.touch_many(&[("many:before", 0)]).await.unwrap_err();
    assert_eq!((refusal.code.as_str(), refusal.item), ("invalid_ttl", Some(0)));
    assert_eq!(door.get_many(&["many:a", "many:b"]).await.unwrap(), [None, None]);
    assert_eq!(door.put("many:after", json!(0), None).await.unwrap(), before + 1);
}

/// D-HTTP-5: one name for a batch that is too large, whatever layer finds it.
async fn batches_have_a_size(door: &Door) {
    let keys: Vec<String> = (0..501).map(|number| format!("size:{number}")).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let puts: Vec<_> = keys.iter().map(|key| (*key, json!(1), None)).collect();
    let touches: Vec<_> = keys.iter().map(|key| (*key, 1_000)).collect();
    for refusal in [
        door.put_many(&puts).await.unwrap_err(),
        door.delete_many(&keys).await.unwrap_err(),
        door.touch_many(&touches).await.unwrap_err(),
        door.get_many(&keys).await.unwrap_err(),
    ] {
        assert_eq!(
            (refusal.code.as_str(), refusal.may_have_written),
            ("batch_too_large", false)
        );
    }
    let revision = door.put_many(&puts[..500]).await.unwrap();
    assert_eq!(door.delete_many(&keys[..500]).await.unwrap().0, revision + 1);
}
