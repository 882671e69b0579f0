//! Locks and their like among the keys of tenants.

use std::time::Duration;

use concord_server::recipes::{Decision, Rate};
use concord_server::{Concord, ErrorKind};
use futures::{StreamExt as _, pin_mut};
use serde_json::Value as Json;

use super::member;
use crate::access::paths::{ask, root};
use crate::cluster::{Cluster, ROOT};

const LONG: Duration = Duration::from_secs(300);

/// A tenant's token uses every recipe, and all that it leaves are keys of the tenant.
async fn use_every_recipe(acme: &Concord) {
    let lock = acme.lock("acme#deploy").ttl(LONG).acquire().await.unwrap();
    assert_eq!(lock.name(), "acme#deploy");
    assert!(
        lock.key().to_string().starts_with("acme:lock:deploy#"),
        "{}",
        lock.key()
    );
    assert!(lock.is_held());
    lock.put("acme:deployed", "yes").await.unwrap();
    let readers = acme.rw_lock("acme#table").ttl(LONG);
    let (one, two) = (readers.read().await.unwrap(), readers.read().await.unwrap());
    let leader = acme.election("acme#boss").ttl(LONG).campaign("me").await.unwrap();
    let permits = acme.semaphore("acme#pool", 2).ttl(LONG).acquire(1).await.unwrap();
    let gate = acme.barrier("acme#gate");
    gate.close().await.unwrap();
    assert_eq!(acme.sequence("acme#ids").next().await.unwrap().number, 1);
    let rate = Rate::new(1, Duration::from_secs(3_600)).unwrap();
    let limiter = acme.rate_limiter("acme#mail", rate);
    assert!(matches!(
        limiter.try_acquire(1).await.unwrap(),
        Decision::Granted { .. }
    ));
    assert!(matches!(
        limiter.try_acquire(1).await.unwrap(),
        Decision::Denied { .. }
    ));
    let web = acme
        .registry()
        .ttl(LONG)
        .register("acme#web", "a", "10.0.0.7")
        .await
        .unwrap();
    assert_eq!(acme.registry().instances("acme#web").await.unwrap().len(), 1);
    let services = acme.registry().services_named("acme#").await.unwrap();
    assert_eq!(services, [("acme#web".to_owned(), 1)]);
    let seen = acme.registry().observe("acme#web").unwrap();
    pin_mut!(seen);
    assert_eq!(seen.next().await.unwrap().unwrap()[0].instance, "a");
    for record in acme.scan().await.unwrap().records {
        assert!(record.key.as_bytes().starts_with(b"acme:"), "{}", record.key);
    }
    gate.open().await.unwrap();
    web.deregister().await.unwrap();
    leader.resign().await.unwrap();
    for guard in [one, two, permits, lock] {
        guard.release().await.unwrap();
    }
}

/// D-REC-1, D-SEC-2: the names of a tenant are within its rights, whatever recipe it is, and no names of others are.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn recipes_of_a_tenant_stay_among_its_keys() {
    let cluster = Cluster::start(3).await;
    let db = cluster.node(0);
    for id in ["acme", "other"] {
        let tenants = db.tenants();
        tenants
            .create(id)
            .max_ops_per_sec(concord_server::tenants::Limit::Unlimited)
            .await
            .unwrap();
    }
    let acme = member(db, "acme").await;
    use_every_recipe(&acme).await;

    // Locks of one name that never meet: of two tenants, and of everybody.
    let other = member(cluster.node(1), "other").await;
    let mine = acme
        .lock("acme#deploy")
        .ttl(LONG)
        .try_acquire()
        .await
        .unwrap()
        .unwrap();
    let theirs = other
        .lock("other#deploy")
        .ttl(LONG)
        .try_acquire()
        .await
        .unwrap()
        .unwrap();
    let everybodys = db.lock("deploy").ttl(LONG).try_acquire().await.unwrap().unwrap();
    assert!(everybodys.key().to_string().starts_with("lock:deploy#"));
    // Those of one tenant do, on whichever node.
    let colleague = member(cluster.node(2), "acme").await;
    assert!(
        colleague
            .lock("acme#deploy")
            .try_acquire()
            .await
            .unwrap()
            .is_none()
    );
    assert_eq!(
        db.lock("acme#deploy").line().await.unwrap().len(),
        1,
        "an administrator sees it"
    );
    for name in ["other#deploy", "deploy", "new", "acme:deploy"] {
        for error in [
            acme.lock(name).try_acquire().await.map(drop).unwrap_err(),
            acme.sequence(name).next().await.map(drop).unwrap_err(),
            acme.election(name).campaign("x").await.map(drop).unwrap_err(),
        ] {
            assert_eq!(error.kind(), ErrorKind::Forbidden, "{name}: {error}");
        }
        assert!(
            acme.lock(name).line().await.unwrap().is_empty(),
            "{name}: shows nothing"
        );
    }
    for guard in [mine, theirs, everybodys] {
        guard.release().await.unwrap();
    }
    cluster.stop().await;
}

/// What a lock holds counts for its tenant, and where there is no room there is no lock.
#[tokio::test]
async fn a_lock_needs_room_in_the_quota_of_its_tenant() {
    let cluster = Cluster::start(1).await;
    let db = cluster.node(0);
    db.tenants().create("acme").max_keys(1).await.unwrap();
    let acme = member(db, "acme").await;
    let guard = acme.lock("acme#a").ttl(LONG).acquire().await.unwrap();
    assert_eq!(db.tenants().usage("acme").await.unwrap().keys, 1);
    let refused = acme.lock("acme#b").acquire().await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::QuotaExceeded);
    guard.release().await.unwrap();
    acme.lock("acme#b")
        .acquire()
        .await
        .unwrap()
        .release()
        .await
        .unwrap();
    cluster.stop().await;
}

/// The same over HTTP, where a `#` is written `%23`.
#[tokio::test]
async fn names_of_tenants_work_over_http() {
    let cluster = Cluster::start_with_auth(1).await;
    let url = &cluster.url(0);
    root(url, "POST", "/tenants", r#"{"id":"acme"}"#).await;
    let issued = root(url, "POST", "/tokens", r#"{"roles":["tenant_acme"]}"#).await;
    let token = issued["token"].as_str().unwrap();
    let held = ask(url, token, "POST", "/locks/acme%23deploy", r#"{"ttl":"300s"}"#).await;
    assert_eq!(held.status, 200);
    let held = held.json()["data"].clone();
    assert_eq!(held["name"], "acme#deploy");
    assert!(held["key"].as_str().unwrap().starts_with("acme:lock:deploy#"));
    root(url, "POST", "/locks/acme%23second", r#"{"ttl":"300s"}"#).await;
    root(url, "POST", "/locks/deploy", r#"{"ttl":"300s"}"#).await;
    let names = |reply: Json| -> Vec<String> {
        let names = reply["data"]["names"].as_array().unwrap().clone();
        names
            .iter()
            .map(|one| one["name"].as_str().unwrap().to_owned())
            .collect()
    };
    for (target, expected) in [
        ("/locks?prefix=acme%23", &["acme#deploy", "acme#second"][..]),
        ("/locks?prefix=acme%23d", &["acme#deploy"]),
        ("/locks?prefix=acme%23&after=acme%23deploy", &["acme#second"]),
        ("/locks", &[]),
    ] {
        assert_eq!(
            names(ask(url, token, "GET", target, "").await.json()),
            expected,
            "{target}"
        );
    }
    assert_eq!(
        names(ask(url, ROOT, "GET", "/locks", "").await.json()),
        ["deploy"]
    );
    for (target, status) in [
        ("/locks?prefix=acme%23&after=deploy", 400),
        ("/locks?prefix=lock%23", 400),
        ("/locks/lock%23deploy", 400),
        ("/locks/acme%23", 400),
        ("/locks/acme%23a%23b", 400),
    ] {
        assert_eq!(ask(url, ROOT, "GET", target, "").await.status, status, "{target}");
    }
    is_kept_and_released(url, token, &held["lease"]).await;
    cluster.stop().await;
}

async fn is_kept_and_released(url: &str, token: &str, lease: &Json) {
    let kept = ask(
        url,
        token,
        "POST",
        "/locks/acme%23deploy/keep_alive",
        &format!(r#"{{"lease":{lease}}}"#),
    )
    .await;
    assert_eq!(kept.status, 200);
    let released = ask(
        url,
        token,
        "DELETE",
        &format!("/locks/acme%23deploy?lease={lease}"),
        "",
    )
    .await;
    assert_eq!(released.status, 200);
    assert_eq!(ask(url, token, "POST", "/locks/deploy", "{}").await.status, 403);
    let web = r#"{"value":"10.0.0.7"}"#;
    let registered = ask(url, token, "PUT", "/services/acme%23web/instances/a", web).await;
    assert_eq!(registered.status, 200);
    let services = ask(url, token, "GET", "/services?prefix=acme%23", "")
        .await
        .json();
    assert_eq!(services["data"]["services"][0]["service"], "acme#web");
    let elected = ask(url, token, "POST", "/elections/acme%23boss", r#"{"value":"me"}"#).await;
    assert_eq!(elected.status, 200);
}
