//! Locks, elections and services over HTTP.

use reqwest::Method;
use serde_json::{Value as Json, json};

use super::{soon, until};
use crate::cluster::Cluster;
use crate::door::{Door, Outcome, Refusal, number};

#[tokio::test]
async fn recipes_work_over_http_on_one_node() {
    let cluster = Cluster::start(1).await;
    run_all(&Door::http(&cluster.url(0), &cluster.url(0))).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn recipes_work_over_http_on_three_nodes() {
    let cluster = Cluster::start(3).await;
    run_all(&Door::http(&cluster.url(1), &cluster.url(2))).await;
    cluster.stop().await;
}

async fn run_all(door: &Door) {
    a_lock_is_taken_kept_and_released(door).await;
    a_lock_is_waited_for_in_order(door).await;
    a_place_in_the_line_belongs_to_its_lease(door).await;
    locks_are_listed_page_by_page(door).await;
    an_election_is_won_proclaimed_and_resigned(door).await;
    instances_are_registered_kept_and_removed(door).await;
    what_makes_no_sense_is_refused(door).await;
}

async fn acquire(door: &Door, name: &str, body: Json) -> Outcome<Json> {
    door.send(Method::POST, &format!("locks/{name}"), Some(body))
        .await
}

fn code<T: std::fmt::Debug>(outcome: Outcome<T>) -> String {
    outcome.unwrap_err().code
}

/// D-REC-1, D-REC-3
async fn a_lock_is_taken_kept_and_released(door: &Door) {
    let nobody = door.fetch("locks/job").await.unwrap();
    assert_eq!(nobody, json!({"name": "job", "holder": null, "waiting": []}));
    let held = acquire(door, "job", json!({"ttl": "60s", "owner": "one"}))
        .await
        .unwrap();
    let (lease, token) = (number(&held["lease"]), number(&held["token"]));
    assert_eq!(held["ttl_ms"], 60_000);
    assert_eq!(held["key"], format!("lock:job#{lease:016x}"));
    let key = held["key"].as_str().unwrap();
    let found = door.get(key).await.unwrap().unwrap();
    assert_eq!((found.value, found.create_revision), (json!("one"), token));
    let refused = acquire(door, "job", json!({})).await.unwrap_err();
    assert_eq!(
        (refused.code.as_str(), refused.may_have_written),
        ("condition_failed", false)
    );
    assert_eq!(
        code(acquire(door, "job", json!({"wait": "20ms"})).await),
        "condition_failed"
    );
    until("whoever gave up has left", async || {
        door.fetch("locks/job").await.unwrap()["waiting"] == json!([])
    })
    .await;
    let shown = door.fetch("locks/job").await.unwrap();
    assert_eq!(shown["holder"]["token"], token);
    assert_eq!(shown["holder"]["value"], "one");

    // A write that happens only under the lock.
    let fenced = json!({
        "compare": [{"key": key, "create_revision": token}],
        "success": [{"put": {"key": "fenced", "value": 1}}],
    });
    let done = door
        .send(Method::POST, "txn", Some(fenced.clone()))
        .await
        .unwrap();
    assert_eq!(done["succeeded"], true);

    a_lock_is_released_by_its_lease_alone(door, lease, token).await;
    let done = door.send(Method::POST, "txn", Some(fenced)).await.unwrap();
    assert_eq!(done["succeeded"], false);
}

async fn a_lock_is_released_by_its_lease_alone(door: &Door, lease: u64, token: u64) {
    let kept = door.send(
        Method::POST,
        "locks/job/keep_alive",
        Some(json!({"lease": lease})),
    );
    assert_eq!(kept.await.unwrap()["token"], token);
    // Nobody else's lease releases it.
    let other = number(
        &door
            .send(Method::POST, "leases", Some(json!({"ttl": "60s"})))
            .await
            .unwrap()["id"],
    );
    assert_eq!(code(release(door, "job", other).await), "lease_not_found");
    release(door, "job", lease).await.unwrap();
    assert_eq!(code(release(door, "job", lease).await), "lease_not_found");
    assert_eq!(
        code(door.fetch(&format!("leases/{lease}")).await),
        "lease_not_found",
        "it was made for the lock alone"
    );
    let kept = door.send(
        Method::POST,
        "locks/job/keep_alive",
        Some(json!({"lease": lease})),
    );
    assert_eq!(code(kept.await), "lease_not_found");
    let next = acquire(door, "job", json!({"lease": other})).await.unwrap();
    assert!(number(&next["token"]) > token);
    assert_eq!(next["lease"], other);
    let again = acquire(door, "job", json!({"lease": other})).await.unwrap();
    assert_eq!(
        again["token"], next["token"],
        "who asks again gets the same answer"
    );
    release(door, "job", other).await.unwrap();
}

async fn release(door: &Door, name: &str, lease: u64) -> Result<Json, Refusal> {
    door.send(Method::DELETE, &format!("locks/{name}?lease={lease}"), None)
        .await
}

async fn a_lock_is_waited_for_in_order(door: &Door) {
    let first = acquire(door, "line", json!({"ttl": "60s"})).await.unwrap();
    let waiting = acquire(door, "line", json!({"ttl": "60s", "wait": "5m"}));
    let releasing = async {
        until("it waits", async || {
            let shown = door.fetch("locks/line").await.unwrap();
            shown["waiting"].as_array().unwrap().len() == 1
        })
        .await;
        release(door, "line", number(&first["lease"])).await.unwrap();
    };
    let (second, ()) = soon("its turn", async { tokio::join!(waiting, releasing) }).await;
    let second = second.unwrap();
    assert!(number(&second["token"]) > number(&first["token"]));
    release(door, "line", number(&second["lease"])).await.unwrap();
}

async fn a_place_in_the_line_belongs_to_its_lease(door: &Door) {
    let first = acquire(door, "mine", json!({"ttl": "60s"})).await.unwrap();
    let lease = door
        .send(Method::POST, "leases", Some(json!({"ttl": "60s"})))
        .await
        .unwrap();
    let lease = number(&lease["id"]);
    let ask = async |wait: &str| acquire(door, "mine", json!({"lease": lease, "wait": wait})).await;
    let mut shown = json!(null);
    until("it stands in line", async || {
        assert_eq!(code(ask("20ms").await), "condition_failed");
        shown = door.fetch("locks/mine").await.unwrap();
        shown["waiting"] != json!([])
    })
    .await;
    assert_eq!(
        shown["waiting"][0]["lease"], lease,
        "it stays when the wait is over"
    );
    let token = number(&shown["waiting"][0]["token"]);
    release(door, "mine", number(&first["lease"])).await.unwrap();
    let held = ask("60s").await.unwrap();
    assert_eq!(number(&held["token"]), token);
    // The end of the lease is the end of what is held by it.
    door.send(Method::DELETE, &format!("leases/{lease}"), None)
        .await
        .unwrap();
    assert_eq!(door.fetch("locks/mine").await.unwrap()["holder"], json!(null));
}

async fn locks_are_listed_page_by_page(door: &Door) {
    let mut leases = Vec::new();
    for name in ["list%2Fb", "list%2Fa", "list%2Fa:x", "lis"] {
        let held = acquire(door, name, json!({"ttl": "60s"})).await.unwrap();
        leases.push((name, number(&held["lease"])));
    }
    let page = door.fetch("locks?prefix=list%2F&limit=2").await.unwrap();
    let names = |page: &Json| -> Vec<String> {
        let names = page["names"].as_array().unwrap().iter();
        names
            .map(|one| one["name"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(names(&page), ["list/a", "list/a:x"]);
    assert_eq!(page["next"], "list/a:x");
    let page = door
        .fetch("locks?prefix=list%2F&limit=2&after=list%2Fa:x")
        .await
        .unwrap();
    assert_eq!(
        (names(&page), &page["next"]),
        (vec!["list/b".to_owned()], &json!(null))
    );
    assert_eq!(page["names"][0]["lease"], leases[0].1);
    for (name, lease) in leases {
        release(door, name, lease).await.unwrap();
    }
}

async fn an_election_is_won_proclaimed_and_resigned(door: &Door) {
    let campaign = async |body: Json| door.send(Method::POST, "elections/head", Some(body)).await;
    let won = campaign(json!({"value": {"at": "a"}, "ttl": "60s"}))
        .await
        .unwrap();
    let lease = number(&won["lease"]);
    assert_eq!(code(campaign(json!({"value": "b"})).await), "condition_failed");
    let shown = door.fetch("elections/head").await.unwrap();
    assert_eq!(shown["holder"]["value"], json!({"at": "a"}));
    let proclaim = async |lease: u64, value: &str| {
        let body = json!({"lease": lease, "value": value});
        door.send(Method::PUT, "elections/head", Some(body)).await
    };
    proclaim(lease, "elsewhere").await.unwrap();
    assert_eq!(code(proclaim(lease + 1_000, "me").await), "condition_failed");
    let shown = door.fetch("elections/head").await.unwrap();
    assert_eq!(shown["holder"]["value"], "elsewhere");
    assert_eq!(shown["holder"]["token"], won["token"]);
    let kept = door.send(
        Method::POST,
        "elections/head/keep_alive",
        Some(json!({"lease": lease})),
    );
    assert_eq!(kept.await.unwrap()["token"], won["token"]);
    let listed = door.fetch("elections").await.unwrap();
    assert_eq!(listed["names"][0]["name"], "head");
    let observed = observe(door, "elections/head/observe").await;
    assert_eq!(observed["leader"]["value"], "elsewhere");
    let path = format!("elections/head?lease={lease}");
    door.send(Method::DELETE, &path, None).await.unwrap();
    assert_eq!(
        observe(door, "elections/head/observe").await,
        json!({"leader": null})
    );
    assert_eq!(code(proclaim(lease, "still me").await), "condition_failed");
    // An election is no lock.
    assert_eq!(door.fetch("locks/head").await.unwrap()["holder"], json!(null));
}

/// The first event of a stream.
async fn observe(door: &Door, path: &str) -> Json {
    let Door::Http { client, read, .. } = door else {
        unreachable!("only over HTTP")
    };
    let mut response = client.get(format!("{read}/api/v1/{path}")).send().await.unwrap();
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut text = String::new();
    while !text.contains("\n\n") {
        let chunk = soon("an event", response.chunk()).await.unwrap().unwrap();
        text.push_str(std::str::from_utf8(&chunk).unwrap());
    }
    let data = text.lines().find_map(|line| line.strip_prefix("data: ")).unwrap();
    serde_json::from_str(data).unwrap()
}

async fn instances_are_registered_kept_and_removed(door: &Door) {
    let path = "services/web/instances/one";
    let register = async |body: Json| door.send(Method::PUT, path, Some(body)).await;
    let first = register(json!({"value": "10.0.0.1:80", "ttl": "60s"}))
        .await
        .unwrap();
    let instances = async || door.fetch("services/web").await.unwrap()["instances"].clone();
    let found = instances().await;
    assert_eq!(found.as_array().unwrap().len(), 1);
    assert_eq!(
        (&found[0]["instance"], &found[0]["value"]),
        (&json!("one"), &json!("10.0.0.1:80"))
    );
    assert_eq!(found[0]["token"], first["token"]);
    let keep = async |lease: &Json| {
        let body = json!({"lease": lease});
        door.send(Method::POST, &format!("{path}/keep_alive"), Some(body))
            .await
    };
    assert_eq!(keep(&first["lease"]).await.unwrap()["token"], first["token"]);
    // By its lease it changes what it says; without, it is another process in its place.
    let body = json!({"value": "10.0.0.1:81", "lease": first["lease"]});
    assert_eq!(register(body).await.unwrap()["token"], first["token"]);
    assert_eq!(instances().await[0]["value"], "10.0.0.1:81");
    let second = register(json!({"value": {"port": 82}})).await.unwrap();
    assert!(number(&second["token"]) > number(&first["token"]));
    assert_eq!(code(keep(&first["lease"]).await), "lease_not_found");
    let remove = async |lease: &Json| {
        door.send(Method::DELETE, &format!("{path}?lease={lease}"), None)
            .await
    };
    assert_eq!(code(remove(&first["lease"]).await), "lease_not_found");
    let services = door.fetch("services").await.unwrap();
    assert_eq!(
        services,
        json!({"services": [{"service": "web", "instances": 1}]})
    );
    let observed = observe(door, "services/web/observe").await;
    assert_eq!(observed["instances"][0]["value"], json!({"port": 82}));
    remove(&second["lease"]).await.unwrap();
    assert_eq!(instances().await, json!([]));
}

async fn what_makes_no_sense_is_refused(door: &Door) {
    let before = door.put("recipes:before", json!(0), None).await.unwrap();
    for (name, body, expected) in [
        ("lock%23b", json!({}), "invalid_request"),
        ("%zz", json!({}), "invalid_request"),
        ("a", json!({"ttl": 0}), "invalid_ttl"),
        ("a", json!({"ttl": "1s", "lease": 3}), "invalid_request"),
        ("a", json!({"lease": 0}), "invalid_request"),
        ("a", json!({"lease": 4_242_424_242_u64}), "lease_not_found"),
        ("a", json!({"wait": "11m"}), "invalid_request"),
        ("a", json!({"wait": "soon"}), "invalid_request"),
        ("a", json!({"holder": "me"}), "invalid_request"),
    ] {
        assert_eq!(
            code(acquire(door, name, body.clone()).await),
            expected,
            "{name} {body}"
        );
    }
    let unknown = door.send(Method::DELETE, "locks/a", None).await;
    assert_eq!(code(unknown), "invalid_request", "a release names its lease");
    let without = door.send(Method::POST, "elections/a", Some(json!({}))).await;
    assert_eq!(code(without), "invalid_request");
    let Door::Http { client, write, .. } = door else {
        unreachable!("only over HTTP")
    };
    let url = format!("{write}/api/v1/locks/a");
    let named = client
        .post(url)
        .header("idempotency-key", "x")
        .send()
        .await
        .unwrap();
    assert_eq!(named.status(), 400);
    let after = door.put("recipes:after", json!(0), None).await.unwrap();
    assert_eq!(after, before + 1, "nothing was written");
}
