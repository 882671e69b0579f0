//! Tenants at every door: made and removed whole, held to their quotas, and apart from each other.

mod http;
mod recipes;

use concord_server::tenants::{Limit, Quota};
use concord_server::{Concord, ErrorKind};

use crate::access::READ;
use crate::cluster::Cluster;

/// A handle of a token that belongs to a tenant, and to nothing else.
pub(crate) async fn member(db: &Concord, tenant: &str) -> Concord {
    let token = db.create_token().role(format!("tenant_{tenant}")).await.unwrap();
    db.as_principal(token.secret.expose())
}

/// D-SEC-9: all of a tenant is there at once, and gone at once; made again, it is another one.
#[tokio::test]
async fn d_sec_9_a_tenant_is_made_and_removed_as_a_whole() {
    let cluster = Cluster::start(1).await;
    let db = cluster.node(0);
    let tenants = db.tenants();
    tenants.create("acme").name("Acme-Inc").max_keys(2).await.unwrap();
    let tenant = tenants.get("acme").await.unwrap();
    assert_eq!((tenant.id.as_str(), tenant.name.as_str()), ("acme", "Acme-Inc"));
    assert_eq!(
        (tenant.role().as_str(), tenant.namespace()),
        ("tenant_acme", "acme:*".into())
    );
    assert_eq!(
        tenant.quota,
        Quota {
            max_keys: Limit::AtMost(2),
            ..Quota::INITIAL
        }
    );
    assert_eq!((tenant.usage.keys, tenant.usage.storage_bytes), (0, 0));
    let again = tenants.create("acme").await.unwrap_err();
    assert_eq!(again.kind(), ErrorKind::AlreadyExists);

    let acme = member(db, "acme").await;
    acme.put("acme:1", "x").await.unwrap();
    for other in ["acme", "acmes:1", "other:1"] {
        assert_eq!(
            acme.put(other, "x").await.unwrap_err().kind(),
            ErrorKind::Forbidden,
            "{other}"
        );
    }
    tenants.delete("acme").await.unwrap();
    assert_eq!(acme.get("acme:1").await.unwrap_err().kind(), ErrorKind::Forbidden);
    assert_eq!(tenants.get("acme").await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(
        db.role("tenant_acme").await.unwrap_err().kind(),
        ErrorKind::NotFound
    );
    assert!(
        db.exists("acme:1").await.unwrap().data,
        "keys stay unless asked for"
    );

    // D-SEC-7: a token of the tenant that was has nothing of the one that is.
    tenants.create("acme").await.unwrap();
    assert_eq!(acme.get("acme:1").await.unwrap_err().kind(), ErrorKind::Forbidden);
    assert_eq!(
        tenants.usage("acme").await.unwrap().keys,
        1,
        "what is there is its own"
    );
    tenants.delete("acme").with_keys().await.unwrap();
    assert!(!db.exists("acme:1").await.unwrap().data);
    for gone in [
        tenants.delete("acme").await.unwrap_err(),
        tenants.update("acme").max_keys(1).await.unwrap_err(),
        tenants.usage("acme").await.unwrap_err(),
    ] {
        assert_eq!(gone.kind(), ErrorKind::NotFound, "{gone}");
    }
    cluster.stop().await;
}

/// D-SEC-9: another quota is about what comes: it resets nothing, and of two changes at once none is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d_sec_9_changing_quotas_resets_nothing() {
    let cluster = Cluster::start(1).await;
    let db = cluster.node(0);
    let tenants = db.tenants();
    tenants.create("acme").quota(Quota::UNLIMITED).await.unwrap();
    let acme = member(db, "acme").await;
    for key in ["acme:1", "acme:2", "acme:3"] {
        acme.put(key, "value").await.unwrap();
    }
    let before = tenants.usage("acme").await.unwrap();
    assert_eq!((before.keys, before.storage_bytes), (3, 3 * (6 + 5)));
    let (one, other) = tokio::join!(
        tenants.update("acme").max_keys(2).into_future(),
        tenants.update("acme").max_storage_bytes(1_000).into_future()
    );
    one.unwrap();
    other.unwrap();
    let tenant = tenants.get("acme").await.unwrap();
    assert_eq!(
        tenant.quota,
        Quota {
            max_keys: 2.into(),
            max_storage_bytes: 1_000.into(),
            max_ops_per_sec: Limit::Unlimited
        }
    );
    assert_eq!(tenant.usage, before);
    assert!(tenant.updated_at >= tenant.created_at);
    // More than it may have: it gets no more, and may do with what it has whatever is no growth.
    let refused = acme.put("acme:4", "value").await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::QuotaExceeded);
    acme.put("acme:1", "other").await.unwrap();
    acme.delete("acme:1").await.unwrap();
    acme.delete("acme:2").await.unwrap();
    acme.put("acme:4", "value").await.unwrap();
    cluster.stop().await;
}

/// D-SEC-8: nobody reports what is used, it is what the keys are, by whatever way they come and go.
#[tokio::test]
async fn d_sec_8_usage_is_what_the_keys_are() {
    let cluster = Cluster::start(1).await;
    let db = cluster.node(0);
    let tenants = db.tenants();
    tenants.create("acme").await.unwrap();
    let acme = member(db, "acme").await;
    let used = async || {
        let usage = tenants.usage("acme").await.unwrap();
        let mut exact = (0, 0);
        for record in db.scan().prefix("acme:").await.unwrap().records {
            exact = (
                exact.0 + 1,
                exact.1 + record.key.as_bytes().len() + record.value.bytes().len(),
            );
        }
        assert_eq!((usage.keys, usage.storage_bytes), (exact.0, exact.1 as u64));
        exact
    };
    acme.put("acme:1", "one").await.unwrap();
    acme.put("acme:1", "longer").await.unwrap();
    // What others write there counts too.
    db.put_many([("acme:2", "x"), ("acme:3", "y"), ("elsewhere", "z")])
        .await
        .unwrap();
    assert_eq!(used().await, (3, 3 * 6 + 6 + 2));
    acme.put("acme:4", "gone soon")
        .ttl(std::time::Duration::from_millis(20))
        .await
        .unwrap();
    let mut watch = acme
        .watch()
        .key("acme:4")
        .kinds(&[concord_server::ChangeKind::Expire])
        .await
        .unwrap();
    watch.next().await.unwrap().unwrap();
    assert_eq!(used().await, (3, 3 * 6 + 6 + 2));
    let lease = acme
        .lease_grant(std::time::Duration::from_secs(60))
        .await
        .unwrap();
    acme.put("acme:5", "on a lease").lease(lease.id).await.unwrap();
    assert_eq!(used().await.0, 4);
    acme.lease_revoke(lease.id).await.unwrap();
    acme.query()
        .prefix("acme:")
        .filter("key == \"acme:2\"")
        .delete_where()
        .await
        .unwrap();
    assert_eq!(used().await.0, 2);
    cluster.stop().await;
}

/// D-SEC-8: check and count are one, so 64 writers at once on three nodes end at exactly the quota.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d_sec_8_no_race_exceeds_a_quota() {
    const KEYS: u64 = 200;
    let cluster = Cluster::start(3).await;
    let db = cluster.node(0);
    db.tenants()
        .create("acme")
        .quota(Quota {
            max_keys: KEYS.into(),
            ..Quota::UNLIMITED
        })
        .await
        .unwrap();
    let token = db.create_token().role("tenant_acme").await.unwrap();
    let writers = (0..64).map(|writer| {
        let acme = cluster.node(writer % 3).as_principal(token.secret.expose());
        tokio::spawn(async move {
            let mut stored = 0;
            for round in 0..8 {
                match acme.put(format!("acme:{writer}:{round}"), "x").await {
                    Ok(_) => stored += 1,
                    Err(error) => assert_eq!(error.kind(), ErrorKind::QuotaExceeded, "{error}"),
                }
            }
            stored
        })
    });
    let mut stored = 0;
    for writer in writers.collect::<Vec<_>>() {
        stored += writer.await.unwrap();
    }
    assert_eq!(stored, KEYS);
    for node in 0..3 {
        let usage = cluster.node(node).tenants().usage("acme").await.unwrap();
        assert_eq!(usage.keys, KEYS, "node {node}");
    }
    cluster.stop().await;
}

/// D-SEC-8: 0 means nothing allowed.
#[tokio::test]
async fn d_sec_8_a_quota_of_0_allows_nothing() {
    let cluster = Cluster::start(1).await;
    let db = cluster.node(0);
    let tenants = db.tenants();
    for (id, quota) in [
        (
            "keys",
            Quota {
                max_keys: 0.into(),
                ..Quota::UNLIMITED
            },
        ),
        (
            "bytes",
            Quota {
                max_storage_bytes: 0.into(),
                ..Quota::UNLIMITED
            },
        ),
    ] {
        tenants.create(id).quota(quota).await.unwrap();
        let refused = member(db, id).await.put(format!("{id}:1"), "").await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::QuotaExceeded, "{id}");
        assert_eq!(refused.number("limit"), Some(0));
    }
    tenants
        .create("ops")
        .quota(Quota {
            max_ops_per_sec: 0.into(),
            ..Quota::UNLIMITED
        })
        .await
        .unwrap();
    let refused = member(db, "ops").await.put("ops:1", "").await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::RateLimited);
    assert!(refused.number("retry_after_ms").is_some_and(|ms| ms > 0));
    cluster.stop().await;
}

/// D-SEC-8: reads are counted by the node that serves them, all tokens of a tenant together, and those of others apart.
#[tokio::test]
async fn d_sec_8_reads_are_held_to_the_rate_of_their_tenant() {
    let cluster = Cluster::start(1).await;
    let db = cluster.node(0);
    let hourly = |max: u64| Quota {
        max_ops_per_sec: max.into(),
        ..Quota::UNLIMITED
    };
    // So few that none comes back while this runs.
    db.tenants().create("acme").quota(hourly(2)).await.unwrap();
    db.tenants()
        .create("other")
        .quota(hourly(1_000_000))
        .await
        .unwrap();
    let (one, two) = (member(db, "acme").await, member(db, "acme").await);
    let other = member(db, "other").await;
    let mut refused = None;
    for round in 0..1_000 {
        let who = if round % 2 == 0 { &one } else { &two };
        let read = match round % 3 {
            0 => who.get("acme:1").await.map(drop),
            1 => who.scan().prefix("acme:").await.map(drop),
            _ => who.get("acme:1").strong().await.map(drop),
        };
        if let Err(error) = read {
            refused = Some((round, error));
            break;
        }
    }
    let (rounds, refused) = refused.expect("nobody reads a thousand times in half a second of two");
    assert!(rounds >= 2);
    assert_eq!(refused.kind(), ErrorKind::RateLimited);
    assert!(!refused.may_have_written());
    let wait = refused.number("retry_after_ms").unwrap();
    assert!((1..=500).contains(&wait), "{wait}");
    other.get("other:1").await.unwrap();
    db.get("acme:1").await.unwrap();
    // What is told is enough.
    tokio::time::pause();
    tokio::time::advance(std::time::Duration::from_millis(wait)).await;
    tokio::time::resume();
    one.get("acme:1").await.unwrap();
    cluster.stop().await;
}

/// D-SEC-2: a tenant is its administrators' affair; what it uses may be known by whoever may read its keys.
#[tokio::test]
async fn d_sec_2_tenants_are_for_administrators() {
    let cluster = Cluster::start(1).await;
    let db = cluster.node(0);
    for id in ["acme", "other"] {
        db.tenants().create(id).await.unwrap();
    }
    let acme = member(db, "acme").await;
    assert_eq!(acme.tenants().usage("acme").await.unwrap().keys, 0);
    db.create_role("reader", READ).await.unwrap();
    db.set_acl("reader", "acme:a*", READ).await.unwrap();
    let token = db.create_token().role("reader").await.unwrap();
    let partly = db.as_principal(token.secret.expose());
    for refused in [
        acme.tenants().usage("other").await.map(drop).unwrap_err(),
        acme.tenants().usage("none").await.map(drop).unwrap_err(),
        partly.tenants().usage("acme").await.map(drop).unwrap_err(),
        acme.tenants().get("acme").await.map(drop).unwrap_err(),
        acme.tenants().list(None).await.map(drop).unwrap_err(),
        acme.tenants().export().await.map(drop).unwrap_err(),
        acme.tenants().create("mine").await.map(drop).unwrap_err(),
        acme.tenants()
            .update("acme")
            .max_keys(Limit::Unlimited)
            .await
            .map(drop)
            .unwrap_err(),
        acme.tenants().delete("other").await.map(drop).unwrap_err(),
    ] {
        assert_eq!(refused.kind(), ErrorKind::Forbidden, "{refused}");
    }
    assert_eq!(db.tenants().list(None).await.unwrap().len(), 2);
    cluster.stop().await;
}

/// Ids that are none, or the store's own, make no tenant.
#[tokio::test]
async fn ids_that_make_no_sense_are_refused() {
    let cluster = Cluster::start(1).await;
    let db = cluster.node(0);
    let long = "x".repeat(122);
    for id in [
        "",
        "a:b",
        "a*",
        "_a",
        "a b",
        "ä",
        "lock",
        "election",
        long.as_str(),
    ] {
        let refused = db.tenants().create(id).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidRequest, "{id}");
    }
    let refused = db.tenants().create("a").name("no name").await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidRequest);
    assert!(db.tenants().list(None).await.unwrap().is_empty());
    cluster.stop().await;
}

/// D-SEC-1: tenants are where the data is: also after a restart, with what they use and may use.
#[tokio::test]
async fn d_sec_1_tenants_outlive_the_process() {
    let dir = tempfile::tempdir().unwrap();
    let open = || Concord::open(concord_server::Config::at(dir.path()));
    let db = open().await.unwrap();
    db.tenants().create("acme").max_keys(1).await.unwrap();
    let token = db.create_token().role("tenant_acme").await.unwrap();
    let acme = db.as_principal(token.secret.expose());
    acme.put("acme:1", "x").await.unwrap();
    let before = db.tenants().get("acme").await.unwrap();
    db.snapshot().await.unwrap();
    db.shutdown().await.unwrap();
    let db = open().await.unwrap();
    let after = db.tenants().get("acme").await.unwrap();
    assert_eq!((after.quota, after.usage.keys), (before.quota, 1));
    assert_eq!((after.name, after.created_at), (before.name, before.created_at));
    let acme = db.as_principal(token.secret.expose());
    let refused = acme.put("acme:2", "x").await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::QuotaExceeded);
    acme.put("acme:1", "y").await.unwrap();
    db.shutdown().await.unwrap();
}

/// D-SEC-1: what was made on one node holds on every other; the export is the same everywhere.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d_sec_1_tenants_are_the_clusters() {
    let cluster = Cluster::start(3).await;
    for (node, id) in ["c", "a", "b"].iter().enumerate() {
        cluster
            .node(node)
            .tenants()
            .create(*id)
            .max_keys(7)
            .await
            .unwrap();
        member(cluster.node(node), id)
            .await
            .put(format!("{id}:k"), "value")
            .await
            .unwrap();
    }
    let mut exports = Vec::new();
    for node in 0..3 {
        let export = cluster.node(node).tenants().export().await.unwrap();
        let revision = export.revision();
        exports.push((revision, export.collect::<Result<Vec<_>, _>>().unwrap()));
    }
    let ids: Vec<_> = exports[0].1.iter().map(|tenant| tenant.id.as_str()).collect();
    assert_eq!(ids, ["a", "b", "c"]);
    assert!(
        exports[0]
            .1
            .iter()
            .all(|tenant| tenant.usage.keys == 1 && tenant.usage.storage_bytes == 8)
    );
    assert_eq!(exports[0].1[0].quota.max_keys, Limit::AtMost(7));
    for export in &exports {
        let keys = |tenants: &[concord_server::tenants::Tenant]| {
            tenants
                .iter()
                .map(|tenant| (tenant.id.clone(), tenant.usage.keys))
                .collect::<Vec<_>>()
        };
        assert_eq!(keys(&export.1), keys(&exports[0].1));
    }
    cluster.stop().await;
}
