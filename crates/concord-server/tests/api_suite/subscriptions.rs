//! Durable subscriptions and the predicates of watches: the same through every door.

use concord_server::{Revision, Watch};
use reqwest::Method;
use serde_json::{Value as Json, json};

use crate::cluster::Cluster;
use crate::door::{Door, Outcome, number};
use crate::watches::{Seen, Sse, Watching};

impl Door {
    /// Makes a subscription to a prefix, with a predicate if it is not empty.
    async fn subscribe(&self, name: &str, prefix: &str, only: &str, from: Option<u64>) -> Outcome<u64> {
        match self {
            Self::Embedded(db) => {
                let mut what: Watch<'_> = db.watch().prefix(prefix);
                if !only.is_empty() {
                    what = what.only_if(only);
                }
                if let Some(from) = from {
                    what = what.from_revision(Revision::new(from));
                }
                Ok(db.create_subscription(name, what).await?.acked.get())
            }
            Self::Http { .. } => {
                let only = (!only.is_empty()).then_some(only);
                let body = json!({"name": name, "prefix": prefix, "where": only, "from_revision": from});
                let data = self.send(Method::POST, "subscriptions", Some(body)).await?;
                Ok(number(&data["acked"]))
            }
        }
    }

    async fn ack(&self, name: &str, revision: u64) -> Outcome<u64> {
        match self {
            Self::Embedded(db) => Ok(db.ack(name, Revision::new(revision)).await?.acked.get()),
            Self::Http { .. } => {
                let path = format!("subscriptions/{name}/ack");
                let data = self
                    .send(Method::POST, &path, Some(json!({"revision": revision})))
                    .await?;
                Ok(number(&data["acked"]))
            }
        }
    }

    async fn reset(&self, name: &str, from: Option<u64>) -> Outcome<u64> {
        match self {
            Self::Embedded(db) => {
                let mut reset = db.reset_subscription(name);
                if let Some(from) = from {
                    reset = reset.from_revision(Revision::new(from));
                }
                Ok(reset.await?.acked.get())
            }
            Self::Http { .. } => {
                let path = format!("subscriptions/{name}/reset");
                let body = json!({ "from_revision": from });
                let data = self.send(Method::POST, &path, Some(body)).await?;
                Ok(number(&data["acked"]))
            }
        }
    }

    async fn unsubscribe(&self, name: &str) -> Outcome<()> {
        match self {
            Self::Embedded(db) => db.delete_subscription(name).await.map(drop)?,
            Self::Http { .. } => {
                let path = format!("subscriptions/{name}");
                self.send(Method::DELETE, &path, None).await?;
            }
        }
        Ok(())
    }

    /// What is acknowledged, and by how many revisions that is behind.
    async fn place(&self, name: &str) -> Outcome<(u64, u64)> {
        match self {
            Self::Embedded(db) => {
                let found = db.subscription(name).await?;
                Ok((found.acked.get(), found.lag))
            }
            Self::Http { .. } => {
                let data = self.fetch(&format!("subscriptions/{name}")).await?;
                Ok((number(&data["acked"]), number(&data["lag"])))
            }
        }
    }

    async fn subscribed(&self) -> Vec<String> {
        match self {
            Self::Embedded(db) => {
                let found = db.subscriptions().await.unwrap();
                found.iter().map(|info| info.name.clone()).collect()
            }
            Self::Http { .. } => {
                let data = self.fetch("subscriptions").await.unwrap();
                let found = data["subscriptions"].as_array().unwrap().iter();
                found
                    .map(|info| info["name"].as_str().unwrap().to_owned())
                    .collect()
            }
        }
    }

    async fn consume(&self, name: &str) -> Outcome<Watching> {
        match self {
            Self::Embedded(db) => Ok(Watching::Embedded(Box::new(
                db.consume(name).with_previous().await?,
            ))),
            Self::Http { read, .. } => {
                let sse =
                    Sse::open_at(read, &format!("subscriptions/{name}/events?with_previous"), None).await?;
                Ok(Watching::Http(sse))
            }
        }
    }
}

pub(crate) async fn run_all(door: &Door) {
    consumers_go_on_behind_what_is_acknowledged(door).await;
    predicates_let_through_what_they_are_true_of(door).await;
    what_makes_no_sense_is_refused(door).await;
}

fn told(events: &[Seen]) -> Vec<(String, Json)> {
    let told = |event: &Seen| (event.key.clone(), event.value.clone());
    events.iter().map(told).collect()
}

/// D-EVT-3: each consumer gets all of it, and a group goes on where the last of them was.
async fn consumers_go_on_behind_what_is_acknowledged(door: &Door) {
    let began = door.subscribe("orders", "order:", "", None).await.unwrap();
    let first = door.put("order:1", json!(1), None).await.unwrap();
    door.put("other", json!(0), None).await.unwrap();
    let second = door.put("order:2", json!(2), None).await.unwrap();
    let (third, _) = {
        let (existed, revision) = door.delete("order:1").await.unwrap();
        assert!(existed);
        (revision, ())
    };
    let all = [
        ("order:1".to_owned(), json!(1)),
        ("order:2".to_owned(), json!(2)),
        ("order:1".to_owned(), json!(null)),
    ];
    let mut one = door.consume("orders").await.unwrap();
    let mut two = door.consume("orders").await.unwrap();
    let seen = one.take(3).await;
    assert_eq!(told(&seen), all);
    assert_eq!(seen[2].previous, json!(1));
    assert_eq!(told(&two.take(3).await), all, "consumers do not share it out");
    assert_eq!(
        door.place("orders").await.unwrap().0,
        began,
        "nothing is acknowledged by itself"
    );

    assert_eq!(door.ack("orders", first).await.unwrap(), first);
    let mut next = door.consume("orders").await.unwrap();
    assert_eq!(told(&next.take(2).await), all[1..], "at least once");
    assert_eq!(door.ack("orders", second).await.unwrap(), second);
    assert_eq!(
        door.ack("orders", first).await.unwrap(),
        second,
        "it only leads on"
    );
    assert_eq!(
        told(&door.consume("orders").await.unwrap().take(1).await),
        all[2..]
    );
    door.ack("orders", third).await.unwrap();
    let (acked, lag) = door.place("orders").await.unwrap();
    assert_eq!((acked, lag), (third, 0));

    assert_eq!(door.reset("orders", Some(first)).await.unwrap(), first - 1);
    assert_eq!(told(&door.consume("orders").await.unwrap().take(3).await), all);
    assert_eq!(door.reset("orders", None).await.unwrap(), third);
    assert!(door.subscribed().await.contains(&"orders".to_owned()));
    door.unsubscribe("orders").await.unwrap();
    assert_eq!(door.subscribed().await, Vec::<String>::new());
}

async fn predicates_let_through_what_they_are_true_of(door: &Door) {
    let mut watching = Watching::open(door, &[("prefix", "price:"), ("where", "value.price > 100")])
        .await
        .unwrap();
    for (key, price) in [
        ("price:a", 50),
        ("price:b", 150),
        ("price:a", 101),
        ("price:b", 1),
    ] {
        door.put(key, json!({ "price": price }), None).await.unwrap();
    }
    door.put("price:none", json!("no price"), None).await.unwrap();
    door.delete("price:b").await.unwrap();
    door.delete("price:a").await.unwrap();
    let last = door.put("price:c", json!({"price": 200}), None).await.unwrap();
    let seen = watching.take(4).await;
    let kinds: Vec<_> = seen
        .iter()
        .map(|event| (event.kind.as_str(), event.key.as_str()))
        .collect();
    let expected = [
        ("put", "price:b"),
        ("put", "price:a"),
        // Of a removal: the record that was removed.
        ("delete", "price:a"),
        ("put", "price:c"),
    ];
    assert_eq!(kinds, expected);

    let from = door
        .subscribe("dear", "price:", "value.price > 100", Some(last))
        .await;
    assert_eq!(from.unwrap(), last - 1);
    assert_eq!(
        told(&door.consume("dear").await.unwrap().take(1).await)[0].0,
        "price:c"
    );
    door.unsubscribe("dear").await.unwrap();
}

async fn what_makes_no_sense_is_refused(door: &Door) {
    let code = |outcome: Outcome<u64>| outcome.unwrap_err().code;
    door.subscribe("taken", "", "", None).await.unwrap();
    assert_eq!(
        code(door.subscribe("taken", "", "", None).await),
        "already_exists"
    );
    assert_eq!(code(door.subscribe("", "", "", None).await), "invalid_request");
    assert_eq!(
        code(door.subscribe("x", "", "value +", None).await),
        "invalid_request"
    );
    assert_eq!(
        code(door.subscribe("x", "", "ttl < 5", None).await),
        "invalid_request",
        "it would depend on when somebody looks"
    );
    assert_eq!(
        code(door.subscribe("x", "", "", Some(1 << 40)).await),
        "future_revision"
    );
    assert_eq!(code(door.ack("taken", 1 << 40).await), "future_revision");
    for missing in [
        door.ack("missing", 1).await.map(drop),
        door.reset("missing", None).await.map(drop),
        door.unsubscribe("missing").await,
        door.place("missing").await.map(drop),
        door.consume("missing").await.map(drop),
    ] {
        assert_eq!(missing.unwrap_err().code, "not_found");
    }
    door.unsubscribe("taken").await.unwrap();
}

/// D-EVT-4: who has fallen behind is told where to begin, and says so.
pub(crate) async fn who_is_behind_compaction_is_told_where_to_begin(door: &Door) {
    door.subscribe("slow", "slow:", "", None).await.unwrap();
    door.put("slow:1", json!(1), None).await.unwrap();
    let kept = door.put("slow:2", json!(2), None).await.unwrap();
    door.compact(kept).await.unwrap();
    let refusal = door.consume("slow").await.map(drop).unwrap_err();
    assert_eq!(
        (refusal.code.as_str(), refusal.revision),
        ("compacted", Some(kept))
    );
    door.reset("slow", Some(kept + 1)).await.unwrap();
    let mut consumer = door.consume("slow").await.unwrap();
    door.put("slow:3", json!(3), None).await.unwrap();
    assert_eq!(told(&consumer.take(1).await), [("slow:3".to_owned(), json!(3))]);
    door.unsubscribe("slow").await.unwrap();
}

/// The place is the cluster's: it outlives the node that it was told to.
#[tokio::test]
async fn a_subscription_outlives_its_node() {
    let cluster = Cluster::start(1).await;
    let db = cluster.node(0).clone();
    db.create_subscription("kept", db.watch().prefix("k"))
        .await
        .unwrap();
    let acked = db.put("k1", "1").await.unwrap().revision;
    db.put("k2", "2").await.unwrap();
    db.ack("kept", acked).await.unwrap();
    let dirs = cluster.stop().await;
    let config = concord_server::Config::at(dirs[0].path());
    let db = concord_server::Concord::open(config).await.unwrap();
    let mut consumer = db.consume("kept").eventual().min_revision(acked).await.unwrap();
    let batch = consumer.next().await.unwrap().unwrap();
    assert_eq!(batch.events[0].key.to_string(), "k2");
    db.shutdown().await.unwrap();
}
