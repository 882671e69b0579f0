//! Transactions: the same through every door.

use std::time::Duration;

use concord_server::txn::{StepResult, Transacted, Transaction, between, key, prefix};
use concord_server::{Concord, Revision};
use reqwest::Method;
use serde_json::{Value as Json, json};

use crate::door::{Door, Outcome, kept, of_record};

/// A transaction as both doors say it: one builds it, the other sends JSON.
async fn txn(door: &Door, built: Transaction, sent: Json) -> Outcome<Json> {
    match door {
        Door::Embedded(db) => {
            let done = db.txn().then(built).await?;
            let StepResult::Transacted(inner) = &done.results[0] else {
                panic!("{done:?}")
            };
            Ok(shown(inner))
        }
        Door::Http { .. } => {
            let mut done = door.send(Method::POST, "txn", Some(sent)).await?;
            for result in done["results"].as_array_mut().unwrap() {
                simplify(result);
            }
            Ok(done)
        }
    }
}

/// What the embedded handle answers, as HTTP shows it, with records as their values alone.
fn shown(done: &Transacted) -> Json {
    let result = |result: &StepResult| match result {
        StepResult::Got { records, more } => {
            let values: Vec<Json> = records.iter().map(|record| of_record(record).value).collect();
            json!({"get": {"records": values, "more": more}})
        }
        StepResult::Put { previous } => {
            json!({"put": {"previous": previous.as_ref().map(|record| of_record(record).value)}})
        }
        StepResult::Deleted { count, previous } => {
            let values: Vec<Json> = previous.iter().map(|record| of_record(record).value).collect();
            json!({"delete": {"count": count, "previous": values}})
        }
        StepResult::Touched { .. } => json!({"touch": true}),
        StepResult::NotFound => json!({"touch": null}),
        StepResult::Transacted(nested) => json!({ "txn": shown(nested) }),
        other => panic!("{other:?}"),
    };
    let results: Vec<Json> = done.results.iter().map(result).collect();
    json!({"succeeded": done.succeeded, "revision": done.revision.get(), "results": results})
}

fn simplify(result: &mut Json) {
    if let Some(nested) = result.pointer_mut("/txn/results") {
        nested.as_array_mut().unwrap().iter_mut().for_each(simplify);
    }
    for pointer in ["/get/records", "/delete/previous"] {
        if let Some(records) = result.pointer_mut(pointer) {
            for record in records.as_array_mut().unwrap() {
                *record = record["value"].clone();
            }
        }
    }
    if let Some(previous) = result.pointer_mut("/put/previous") {
        *previous = previous["value"].clone();
    }
    if let Some(touched) = result.get_mut("touch").filter(|touched| !touched.is_null()) {
        *touched = json!(true);
    }
}

pub(crate) async fn run_all(door: &Door) {
    one_branch_is_performed_at_one_revision(door).await;
    every_compare_can_decide(door).await;
    bad_parts_are_named_and_nothing_is_written(door).await;
    money_is_neither_lost_nor_made(door).await;
}

async fn one_branch_is_performed_at_one_revision(door: &Door) {
    let first = door.put("txn:a", json!(1), None).await.unwrap();
    let done = txn(
        door,
        Transaction::new()
            .when(key("txn:a").exists())
            .when(key("txn:b").is_absent())
            .then(
                key("txn:b")
                    .put(kept(&json!({"b": 2})))
                    .ttl(Duration::from_secs(60)),
            )
            .then(key("txn:a").put(kept(&json!("one"))).return_previous())
            .then(prefix("txn:").get())
            .then(key("txn:none").touch(Duration::from_secs(1)))
            .then(
                Transaction::new()
                    .when(key("txn:a").version().is(1))
                    .then(key("txn:wrong").put("x"))
                    .otherwise(between("txn:b", "txn:c").delete().return_previous()),
            )
            .otherwise(key("txn:wrong").put("x")),
        json!({
            "compare": [{"key": "txn:a", "exists": true}, {"key": "txn:b", "exists": false}],
            "success": [
                {"put": {"key": "txn:b", "value": {"b": 2}, "ttl": "1m"}},
                {"put": {"key": "txn:a", "value": "one", "return_previous": true}},
                {"get": {"prefix": "txn:"}},
                {"touch": {"key": "txn:none", "ttl": 1}},
                {"txn": {
                    "compare": [{"key": "txn:a", "version": 1}],
                    "success": [{"put": {"key": "txn:wrong", "value": "x"}}],
                    "failure": [{"delete": {"start": "txn:b", "end": "txn:c", "return_previous": true}}],
                }},
            ],
            "failure": [{"put": {"key": "txn:wrong", "value": "x"}}],
        }),
    )
    .await
    .unwrap();
    let expected = json!({
        "succeeded": true,
        "revision": first + 1,
        "results": [
            {"put": {"previous": null}},
            {"put": {"previous": 1}},
            {"get": {"records": ["one", {"b": 2}], "more": false}},
            {"touch": null},
            {"txn": {
                "succeeded": false,
                "revision": first + 1,
                "results": [{"delete": {"count": 1, "previous": [{"b": 2}]}}],
            }},
        ],
    });
    assert_eq!(done, expected, "reads see the writes before them");
    let keys = door.scan(&[("prefix", "txn:")]).await.unwrap();
    assert_eq!((keys.keys, keys.revision), (vec!["txn:a".to_owned()], first + 1));

    reading_is_no_revision(door, first + 1).await;
}

async fn reading_is_no_revision(door: &Door, current: u64) {
    let read = txn(
        door,
        Transaction::new()
            .when(key("txn:a").is_absent())
            .otherwise(prefix("txn:").get_first(0)),
        json!({"compare": [{"key": "txn:a", "exists": false}], "failure": [{"get": {"prefix": "txn:", "limit": 0}}]}),
    )
    .await
    .unwrap();
    assert_eq!(
        (&read["succeeded"], &read["revision"]),
        (&json!(false), &json!(current)),
        "a failed compare is an answer, and reading is no revision"
    );
}

async fn every_compare_can_decide(door: &Door) {
    let revision = door.put("cmp", json!({"n": 5}), None).await.unwrap();
    door.put("cmp:text", json!("m"), None).await.unwrap();
    let at = Revision::new;
    let cases = [
        (
            key("cmp").mod_revision().is(at(revision)),
            json!({"mod_revision": revision}),
            true,
        ),
        (
            key("cmp").mod_revision().is_less_than(at(revision)),
            json!({"mod_revision": revision, "op": "<"}),
            false,
        ),
        (
            key("cmp").create_revision().is_greater_than(at(1)),
            json!({"create_revision": 1, "op": ">"}),
            true,
        ),
        (
            key("cmp").version().is_not(2),
            json!({"version": 2, "op": "!="}),
            true,
        ),
        (
            key("cmp").value().is(kept(&json!({"n": 5}))),
            json!({"value": {"n": 5}}),
            true,
        ),
        (
            key("cmp").value().is(kept(&json!({"n": 5.0}))),
            json!({"value": {"n": 5.0}}),
            false,
        ),
        (
            key("cmp").holds("value.n > 4"),
            json!({"where": "value.n > 4"}),
            true,
        ),
        (
            key("cmp").holds("value.none > 4"),
            json!({"where": "value.none > 4"}),
            false,
        ),
        (key("cmp").exists(), json!({"exists": true}), true),
        (key("cmp").is_absent(), json!({"exists": false}), false),
    ];
    for (condition, mut compare, holds) in cases {
        compare["key"] = json!("cmp");
        let done = txn(
            door,
            Transaction::new().when(condition),
            json!({ "compare": [compare] }),
        )
        .await
        .unwrap();
        assert_eq!(done["succeeded"], holds, "{compare}");
    }
    let done = txn(
        door,
        Transaction::new().when(prefix("cmp").version().is(1)),
        json!({"compare": [{"prefix": "cmp", "version": 1}]}),
    )
    .await
    .unwrap();
    assert_eq!(done["succeeded"], true, "a range holds if it does of every key");
}

async fn bad_parts_are_named_and_nothing_is_written(door: &Door) {
    let before = door.put("txn:before", json!(0), None).await.unwrap();
    let refusal = txn(
        door,
        Transaction::new()
            .then(key("txn:x").put("x"))
            .then(key("").put("x")),
        json!({"success": [
            {"put": {"key": "txn:x", "value": "x"}},
            {"put": {"key": "", "value": "x"}},
        ]}),
    )
    .await
    .unwrap_err();
    assert_eq!(
        (refusal.code.as_str(), refusal.may_have_written),
        ("invalid_key", false)
    );
    let mut many = Transaction::new();
    let mut sent = Vec::new();
    for number in 0..129 {
        many = many.then(key(format!("txn:{number}")).put("x"));
        sent.push(json!({"put": {"key": format!("txn:{number}"), "value": "x"}}));
    }
    let refusal = txn(door, many, json!({ "success": sent })).await.unwrap_err();
    assert_eq!(refusal.code, "batch_too_large");
    assert_eq!(door.put("txn:after", json!(0), None).await.unwrap(), before + 1);
    assert_eq!(door.get("txn:x").await.unwrap(), None);
}

/// D-REC-2: transfers that run at the same time, each by a transaction over both accounts.
async fn money_is_neither_lost_nor_made(door: &Door) {
    for account in ["bank:a", "bank:b", "bank:c"] {
        door.put(account, json!(100), None).await.unwrap();
    }
    let transfers = [
        ("bank:a", "bank:b", 30),
        ("bank:b", "bank:c", 50),
        ("bank:c", "bank:a", 70),
        ("bank:a", "bank:c", 90),
        ("bank:b", "bank:a", 10),
    ];
    futures::future::join_all(transfers.map(|(from, to, amount)| transfer(door, from, to, amount))).await;
    let mut total = 0;
    for account in ["bank:a", "bank:b", "bank:c"] {
        let balance = door.get(account).await.unwrap().unwrap().value.as_i64().unwrap();
        assert!(balance >= 0);
        total += balance;
    }
    assert_eq!(total, 300);
}

/// Moves money if there is enough, again until nobody has interfered.
async fn transfer(door: &Door, from: &str, to: &str, amount: i64) {
    loop {
        let (source, target) = (
            door.get(from).await.unwrap().unwrap(),
            door.get(to).await.unwrap().unwrap(),
        );
        let (have, has) = (source.value.as_i64().unwrap(), target.value.as_i64().unwrap());
        if have < amount {
            return;
        }
        let done = txn(
            door,
            Transaction::new()
                .when(key(from).mod_revision().is(Revision::new(source.mod_revision)))
                .when(key(to).mod_revision().is(Revision::new(target.mod_revision)))
                .then(key(from).put(kept(&json!(have - amount))))
                .then(key(to).put(kept(&json!(has + amount)))),
            json!({
                "compare": [
                    {"key": from, "mod_revision": source.mod_revision},
                    {"key": to, "mod_revision": target.mod_revision},
                ],
                "success": [
                    {"put": {"key": from, "value": have - amount}},
                    {"put": {"key": to, "value": has + amount}},
                ],
            }),
        )
        .await
        .unwrap();
        if done["succeeded"] == true {
            return;
        }
    }
}

/// The place of a wrong part is in the error, level by level.
#[tokio::test]
async fn embedded_transactions_name_the_part_that_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let db = Concord::open(concord_server::Config::at(dir.path()))
        .await
        .unwrap();
    let too_long = Duration::from_secs(200 * 365 * 24 * 3_600);
    for (transaction, code, part, place) in [
        (
            db.txn().when(key("a").exists()).when(key("").exists()),
            "invalid_key",
            "compare",
            1,
        ),
        (
            db.txn().then(key("a").put("x").ttl(too_long)),
            "invalid_ttl",
            "success",
            0,
        ),
        (
            db.txn()
                .otherwise(key("a").get())
                .otherwise(key("a").touch(Duration::ZERO)),
            "invalid_ttl",
            "failure",
            1,
        ),
        (
            db.txn().when(key("a").holds("value >")),
            "invalid_request",
            "compare",
            0,
        ),
    ] {
        let error = transaction.await.unwrap_err();
        assert_eq!(
            (error.code(), error.number(part)),
            (code, Some(place)),
            "{error:?}"
        );
    }
    assert_eq!(db.revision().get(), 1, "nothing was written");
    db.shutdown().await.unwrap();
}
