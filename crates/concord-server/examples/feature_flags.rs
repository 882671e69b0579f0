//! Feature flags: read from memory on every request, changed at one place, and known everywhere
//! within moments, without a gap between reading and following them.
//! Run it: `cargo run -p concord-server --example feature_flags`.

use std::collections::BTreeMap;

use concord_server::{Concord, Config, Error};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Flag {
    /// For so many percent of the users.
    percent: u64,
}

type Flags = BTreeMap<String, Flag>;

/// A user is always on the same side of a flag, until its share changes.
fn is_on(flags: &Flags, name: &str, user: u64) -> bool {
    flags.get(name).is_some_and(|flag| user % 100 < flag.percent)
}

/// Follows the flags; what it sends out is complete at every moment.
async fn follow(db: Concord, flags: watch::Sender<Flags>) -> Result<(), Error> {
    let page = db.scan().prefix("flag:").await?;
    let mut known = Flags::new();
    for record in &page.records {
        if let Ok(flag) = db.get_doc(&record.key).revision(page.revision).await {
            known.extend(flag.into_inner().map(|flag| (record.key.to_string(), flag)));
        }
    }
    flags.send_replace(known.clone());
    // From behind the revision that was read: nothing falls between the two.
    let mut watcher = db
        .watch()
        .prefix("flag:")
        .from_revision(page.revision.next())
        .await?;
    while let Some(batch) = watcher.next().await {
        for event in batch?.events {
            let name = event.key.to_string();
            match db
                .get_doc(&event.key)
                .revision(event.revision)
                .await?
                .into_inner()
            {
                Some(flag) => known.insert(name, flag),
                None => known.remove(&name),
            };
        }
        flags.send_replace(known.clone());
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "an example shows what it did")]
#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let directory = std::env::temp_dir().join(format!("concord-flags-{}", std::process::id()));
    let db = Concord::open(Config::at(&directory)).await?;
    db.put_doc("flag:checkout", &Flag { percent: 0 }).await?;
    let (sender, mut flags) = watch::channel(Flags::new());
    let follower = tokio::spawn(follow(db.clone(), sender));

    flags
        .wait_for(|flags| flags.contains_key("flag:checkout"))
        .await?;
    let count = |flags: &Flags| {
        (0..1_000)
            .filter(|user| is_on(flags, "flag:checkout", *user))
            .count()
    };
    println!(
        "the new checkout is on for {} of 1000 users",
        count(&flags.borrow())
    );

    db.put_doc("flag:checkout", &Flag { percent: 25 }).await?;
    let seen = flags.wait_for(|flags| count(flags) > 0).await?.clone();
    println!("and now for {}", count(&seen));
    assert_eq!(count(&seen), 250);

    // The switch for emergencies is a delete.
    db.delete("flag:checkout").await?;
    flags.wait_for(|flags| flags.is_empty()).await?;
    println!("and for nobody any more");

    db.shutdown().await?;
    assert!(follower.await?.is_err(), "it ends with the node");
    std::fs::remove_dir_all(directory)?;
    Ok(())
}
