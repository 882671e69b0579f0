//! The service registry.

use concord_server::Concord;
use concord_server::recipes::Instance;
use futures::TryStreamExt as _;

use super::{LONG, open, soon, until};
use crate::cluster::Cluster;

fn shown(instances: &[Instance]) -> Vec<(&str, &str)> {
    let show = |instance: &'_ Instance| instance.value.as_text().map(str::to_owned);
    assert!(instances.iter().all(|instance| show(instance).is_some()));
    instances
        .iter()
        .map(|instance| {
            (
                instance.instance.as_str(),
                instance.value.as_text().unwrap_or_default(),
            )
        })
        .collect()
}

async fn instances(db: &Concord, service: &str) -> Vec<Instance> {
    db.registry().instances(service).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn instances_are_found_on_every_node_for_as_long_as_they_live() {
    let cluster = Cluster::start(3).await;
    let observed = cluster.node(2).registry().observe("web").unwrap();
    let mut observed = Box::pin(observed);
    let mut next = async || soon("news", observed.try_next()).await.unwrap().unwrap();
    assert!(next().await.is_empty());
    let registry = cluster.node(0).registry().ttl(LONG);
    let one = registry.register("web", "one", "10.0.0.1:80").await.unwrap();
    assert_eq!(shown(&next().await), [("one", "10.0.0.1:80")]);
    let registry = cluster.node(1).registry().ttl(LONG);
    let two = registry.register("web", "two", "10.0.0.2:80").await.unwrap();
    assert_eq!(next().await.len(), 2);
    let other = registry.register("web:admin", "one", "x").await.unwrap();
    let services = cluster.node(2).registry().services().await.unwrap();
    assert_eq!(services, [("web".to_owned(), 2), ("web:admin".to_owned(), 1)]);

    one.update("10.0.0.1:81").await.unwrap();
    assert_eq!(
        shown(&next().await),
        [("one", "10.0.0.1:81"), ("two", "10.0.0.2:80")]
    );
    two.deregister().await.unwrap();
    assert_eq!(shown(&next().await), [("one", "10.0.0.1:81")]);
    drop(one);
    assert!(next().await.is_empty());
    assert_eq!(instances(cluster.node(0), "web:admin").await.len(), 1);
    drop(other);
    cluster.stop().await;
}

#[tokio::test]
async fn an_instance_that_expired_against_its_will_is_registered_again() {
    let (db, _dir) = open().await;
    let ttl = std::time::Duration::from_millis(300);
    let registration = db.registry().ttl(ttl).register("web", "one", "a").await.unwrap();
    registration.update("b").await.unwrap();
    let before = instances(&db, "web").await.remove(0);
    // tidy-allow(sleep): the whole process stands still, longer than its leases live.
    std::thread::sleep(2 * ttl);
    until("it is there again", async || {
        instances(&db, "web")
            .await
            .first()
            .is_some_and(|instance| instance.token > before.token)
    })
    .await;
    let again = instances(&db, "web").await.remove(0);
    assert_eq!(again.value.as_text(), Some("b"), "what it said last");
    until("the fence is the new one", async || {
        registration
            .fence()
            .is_some_and(|fence| fence.token == again.token)
    })
    .await;
    registration.deregister().await.unwrap();
    assert!(instances(&db, "web").await.is_empty());
    db.shutdown().await.unwrap();
}

/// D-REC-3: the process that was started again is the instance, the one before it is not.
#[tokio::test]
async fn an_instance_that_is_replaced_says_nothing_any_more() {
    let (db, _dir) = open().await;
    let registry = db.registry().ttl(LONG);
    let old = registry.register("web", "one", "old").await.unwrap();
    let old_fence = old.fence().unwrap();
    let new = registry.register("web", "one", "new").await.unwrap();
    assert!(new.fence().unwrap().token > old_fence.token);
    soon("the old one is told", old.ended()).await;
    assert_eq!(
        old.update("still me").await.unwrap_err().code(),
        "condition_failed"
    );
    assert!(!db.txn().when(&old_fence).await.unwrap().succeeded);
    drop(old);
    until("only one lease is left", async || {
        db.leases().await.unwrap().len() == 1 || instances(&db, "web").await.is_empty()
    })
    .await;
    assert_eq!(shown(&instances(&db, "web").await), [("one", "new")]);
    // Removed by hand it stays away.
    db.delete("service:web#one").await.unwrap();
    soon("it is told", new.ended()).await;
    assert!(instances(&db, "web").await.is_empty());
    for (service, instance) in [
        ("", "one"),
        ("web", ""),
        ("web", "a#b"),
        ("w#", "a"),
        ("lock#b", "a"),
    ] {
        let refused = registry.register(service, instance, "x").await.unwrap_err();
        assert_eq!(refused.code(), "invalid_request");
    }
    db.shutdown().await.unwrap();
}
