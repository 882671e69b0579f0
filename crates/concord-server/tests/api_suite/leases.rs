//! Leases: the same through every door, and the guard of the embedded handle.

use std::time::Duration;

use concord_server::{Concord, Config, Item, LeaseId};
use reqwest::Method;
use serde_json::json;

use crate::cluster::Cluster;
use crate::door::{Door, Outcome, kept, number};

impl Door {
    async fn grant(&self, millis: u64) -> Outcome<u64> {
        match self {
            Self::Embedded(db) => {
                let granted = db.lease_grant(Duration::from_millis(millis)).await?;
                assert_eq!(granted.ttl.as_millis(), u128::from(millis));
                Ok(granted.id.get())
            }
            Self::Http { .. } => {
                let body = json!({"ttl": format!("{millis}ms")});
                let data = self.send(Method::POST, "leases", Some(body)).await?;
                assert_eq!(data["ttl_ms"], millis);
                Ok(number(&data["id"]))
            }
        }
    }

    async fn put_on_lease(&self, key: &str, lease: u64) -> Outcome<u64> {
        match self {
            Self::Embedded(db) => {
                let put = db.put(key, kept(&json!(1))).lease(LeaseId::new(lease));
                Ok(put.await?.revision.get())
            }
            Self::Http { .. } => {
                let body = json!({"value": 1, "lease": lease});
                let data = self.send(Method::PUT, &format!("kv/{key}"), Some(body)).await?;
                Ok(number(&data["revision"]))
            }
        }
    }

    async fn keep_alive(&self, lease: u64) -> Outcome<()> {
        match self {
            Self::Embedded(db) => {
                db.lease_keep_alive(LeaseId::new(lease)).await?;
            }
            Self::Http { .. } => {
                let path = format!("leases/{lease}/keep_alive");
                self.send(Method::POST, &path, None).await?;
            }
        }
        Ok(())
    }

    /// The revision, and how many keys went.
    async fn revoke(&self, lease: u64) -> Outcome<(u64, u64)> {
        match self {
            Self::Embedded(db) => {
                let revoked = db.lease_revoke(LeaseId::new(lease)).await?;
                Ok((revoked.revision.get(), revoked.keys))
            }
            Self::Http { .. } => {
                let data = self
                    .send(Method::DELETE, &format!("leases/{lease}"), None)
                    .await?;
                Ok((number(&data["revision"]), number(&data["keys"])))
            }
        }
    }

    /// The keys that hang on a lease.
    async fn keys_of(&self, lease: u64) -> Outcome<Vec<String>> {
        match self {
            Self::Embedded(db) => {
                let info = db.lease_info(LeaseId::new(lease)).await?;
                Ok(info.keys.iter().map(ToString::to_string).collect())
            }
            Self::Http { .. } => {
                let data = self.fetch(&format!("leases/{lease}")).await?;
                assert!(number(&data["remaining_ms"]) <= number(&data["ttl_ms"]));
                let keys = data["keys"].as_array().unwrap().iter();
                Ok(keys.map(|key| key.as_str().unwrap().to_owned()).collect())
            }
        }
    }

    /// The same, asked for one by one.
    async fn pages_of(&self, lease: u64) -> Outcome<Vec<String>> {
        let mut keys = Vec::new();
        match self {
            Self::Embedded(db) => {
                let mut info = db.lease_info(LeaseId::new(lease)).limit(1).await?.into_inner();
                keys.extend(info.keys.iter().map(ToString::to_string));
                while let Some(last) = info.next {
                    let next = db.lease_info(LeaseId::new(lease)).limit(1).after(last);
                    info = next.await?.into_inner();
                    keys.extend(info.keys.iter().map(ToString::to_string));
                }
            }
            Self::Http { .. } => {
                let mut place = String::new();
                loop {
                    let data = self.fetch(&format!("leases/{lease}?limit=1{place}")).await?;
                    let page = data["keys"].as_array().unwrap();
                    keys.extend(page.iter().map(|key| key.as_str().unwrap().to_owned()));
                    match data["next_cursor"].as_str() {
                        Some(cursor) => place = format!("&cursor={cursor}"),
                        None => break,
                    }
                }
            }
        }
        Ok(keys)
    }

    /// Every lease with the number of its keys.
    async fn all_leases(&self) -> Outcome<Vec<(u64, u64)>> {
        match self {
            Self::Embedded(db) => {
                let found = db.leases().await?;
                Ok(found
                    .iter()
                    .map(|(lease, keys)| (lease.id.get(), *keys))
                    .collect())
            }
            Self::Http { .. } => {
                let data = self.fetch("leases").await?;
                let leases = data["leases"].as_array().unwrap().iter();
                Ok(leases
                    .map(|lease| (number(&lease["id"]), number(&lease["keys"])))
                    .collect())
            }
        }
    }
}

pub(crate) async fn run_all(door: &Door) {
    keys_go_with_their_lease(door).await;
    a_lease_that_is_not_kept_alive_ends(door).await;
    leases_that_are_not_there_are_refused(door).await;
}

async fn keys_go_with_their_lease(door: &Door) {
    let lease = door.grant(600_000).await.unwrap();
    door.put_on_lease("lease:a", lease).await.unwrap();
    let last = door.put_on_lease("lease:b", lease).await.unwrap();
    assert_eq!(door.keys_of(lease).await.unwrap(), ["lease:a", "lease:b"]);
    assert_eq!(door.pages_of(lease).await.unwrap(), ["lease:a", "lease:b"]);
    assert!(door.all_leases().await.unwrap().contains(&(lease, 2)));
    door.keep_alive(lease).await.unwrap();
    // A put without the lease takes the key off it.
    let off = door.put("lease:b", json!(2), None).await.unwrap();
    assert_eq!(off, last + 1, "keeping a lease alive is no revision");
    assert_eq!(door.revoke(lease).await.unwrap(), (off + 1, 1));
    assert_eq!(door.get("lease:a").await.unwrap(), None);
    assert!(door.get("lease:b").await.unwrap().is_some());
}

/// D-V3-2: nobody has to ask for the end of a lease, and nothing revives it.
async fn a_lease_that_is_not_kept_alive_ends(door: &Door) {
    let lease = door.grant(50).await.unwrap();
    match door.put_on_lease("lease:brief", lease).await {
        Ok(_) => {}
        Err(refusal) => assert_eq!(refusal.code, "lease_not_found", "it may have ended already"),
    }
    while door.keys_of(lease).await.is_ok() {
        tokio::task::yield_now().await;
    }
    assert_eq!(door.get("lease:brief").await.unwrap(), None);
    assert_eq!(door.keep_alive(lease).await.unwrap_err().code, "lease_not_found");
}

async fn leases_that_are_not_there_are_refused(door: &Door) {
    let before = door.put("lease:before", json!(0), None).await.unwrap();
    let nobody = 4_242_424_242;
    for refusal in [
        door.keep_alive(nobody).await.unwrap_err(),
        door.revoke(nobody).await.unwrap_err(),
        door.put_on_lease("lease:x", nobody).await.unwrap_err(),
        door.keys_of(nobody).await.unwrap_err(),
    ] {
        assert_eq!(
            (refusal.code.as_str(), refusal.may_have_written),
            ("lease_not_found", false)
        );
    }
    assert_eq!(door.grant(0).await.unwrap_err().code, "invalid_ttl");
    assert_eq!(door.put("lease:after", json!(0), None).await.unwrap(), before + 1);
}

async fn open() -> (Concord, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    (Concord::open(Config::at(dir.path())).await.unwrap(), dir)
}

#[tokio::test]
async fn a_held_lease_outlives_its_time_and_ends_when_dropped() {
    let (db, _dir) = open().await;
    let ttl = Duration::from_secs(1);
    let lease = db.lease(ttl).await.unwrap();
    let id = lease.id();
    db.put("held", "x").lease(id).await.unwrap();
    let started = tokio::time::Instant::now();
    while started.elapsed() < 2 * ttl {
        assert!(db.get("held").await.unwrap().is_some(), "kept alive");
        tokio::task::yield_now().await;
    }
    assert!(lease.is_alive());
    drop(lease);
    while db.get("held").await.unwrap().is_some() {
        tokio::task::yield_now().await;
    }
    assert_eq!(
        db.lease_info(id).await.unwrap_err().code(),
        "lease_not_found",
        "what nobody holds ends"
    );
    db.shutdown().await.unwrap();
}

#[tokio::test]
async fn the_holder_of_a_lease_learns_that_it_has_ended() {
    let (db, _dir) = open().await;
    let lease = db.lease(Duration::from_millis(500)).await.unwrap();
    db.put("held", "x").lease(lease.id()).await.unwrap();
    // Somebody else ends it.
    db.lease_revoke(lease.id()).await.unwrap();
    tokio::time::timeout(Duration::from_secs(20), lease.lost())
        .await
        .expect("the next keep-alive finds out");
    assert!(!lease.is_alive());
    let lease = db.lease(Duration::from_secs(60)).await.unwrap();
    db.put_many([Item::new("held", "x").lease(lease.id())])
        .await
        .unwrap();
    let revoked = lease.revoke().await.unwrap();
    assert_eq!(revoked.keys, 1);
    assert!(db.get("held").await.unwrap().is_none());
    db.shutdown().await.unwrap();
}

/// D-V3-7
#[tokio::test]
async fn a_key_has_a_ttl_or_a_lease_and_not_both() {
    let (db, _dir) = open().await;
    let lease = db
        .lease_grant(Duration::from_secs(60))
        .id(LeaseId::new(7))
        .await
        .unwrap();
    assert_eq!(lease.id.get(), 7);
    let again = db
        .lease_grant(Duration::from_secs(60))
        .id(lease.id)
        .await
        .unwrap_err();
    assert_eq!(again.code(), "already_exists");
    let minute = Duration::from_secs(60);
    let both = db.put("k", "v").ttl(minute).lease(lease.id).await.unwrap_err();
    assert_eq!(both.code(), "invalid_request");
    let item = Item::new("k", "v").lease(lease.id).ttl(minute);
    let both = db.put_many([item]).await.unwrap_err();
    assert_eq!((both.code(), both.number("item")), ("invalid_request", Some(0)));
    let step = concord_server::txn::key("k").put("v").ttl(minute).lease(lease.id);
    let both = db.txn().then(step).await.unwrap_err();
    assert_eq!(
        (both.code(), both.number("success")),
        ("invalid_request", Some(0))
    );
    // The common time of a batch is for items that have neither.
    let items = [Item::new("a", "v").lease(lease.id), Item::new("b", "v")];
    db.put_many(items).ttl(minute).await.unwrap();
    let found = db.get_many(["a", "b"]).await.unwrap();
    let lives: Vec<_> = found
        .iter()
        .flatten()
        .map(|entry| (entry.lease(), entry.expires_at().is_some()))
        .collect();
    assert_eq!(lives, [(Some(lease.id), false), (None, true)]);
    db.shutdown().await.unwrap();
}

/// A keep-alive that was acknowledged counts under every leader that follows: the end of the lease only ever moves
/// away, whoever leads, and its holder need not know of the change.
#[tokio::test]
async fn a_change_of_leader_shortens_no_lease() {
    const TTL: Duration = Duration::from_secs(3);
    let cluster = Cluster::start(3).await;
    let db = cluster.node(2);
    let lease = db.lease(TTL).await.unwrap();
    db.put("held", "x").lease(lease.id()).await.unwrap();
    let end = async || db.lease_info(lease.id()).strong().await.unwrap().lease.expires_at;
    let mut before = end().await;
    for leader in [1, 2, 0] {
        let id = cluster.node(leader).status().unwrap().node_id;
        cluster.move_leadership(Some(id)).await;
        let change = end().await;
        assert!(
            change >= before,
            "the new leader brought the end from {before:?} to {change:?}"
        );
        // Kept alive under this leader too.
        let kept = tokio::time::timeout(TTL, async {
            loop {
                let now = end().await;
                assert!(now >= before, "the end went from {before:?} to {now:?}");
                if now > change {
                    return now;
                }
                tokio::task::yield_now().await;
            }
        });
        before = kept.await.expect("the holder keeps it alive under a new leader");
    }
    assert!(lease.is_alive());
    assert!(db.get("held").strong().await.unwrap().is_some());
    lease.revoke().await.unwrap();
    cluster.stop().await;
}
