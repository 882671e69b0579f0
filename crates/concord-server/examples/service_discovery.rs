//! Service discovery: an instance is found for as long as it lives, because its entry hangs on a
//! lease that only the living instance keeps alive.

use std::time::Duration;

use concord_server::{Concord, Config, Error, HeldLease};

/// Announces an instance until the answer is dropped, or its process ends.
async fn register(db: &Concord, service: &str, instance: &str, address: &str) -> Result<HeldLease, Error> {
    let lease = db.lease(Duration::from_secs(1)).await?;
    db.put(format!("service:{service}:{instance}"), address)
        .lease(lease.id())
        .await?;
    Ok(lease)
}

/// The addresses of the instances that live.
async fn find(db: &Concord, service: &str) -> Result<Vec<String>, Error> {
    let page = db.scan().prefix(format!("service:{service}:")).await?;
    let addresses = page.records.iter().filter_map(|record| record.value.as_text());
    Ok(addresses.map(str::to_owned).collect())
}

#[expect(clippy::print_stdout, reason = "an example shows what it did")]
#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let directory = std::env::temp_dir().join(format!("concord-discovery-{}", std::process::id()));
    let db = Concord::open(Config::at(&directory)).await?;

    let first = register(&db, "web", "1", "10.0.0.1:80").await?;
    let second = register(&db, "web", "2", "10.0.0.2:80").await?;
    println!("both live: {:?}", find(&db, "web").await?);

    // One leaves in order: its entry goes at once.
    second.revoke().await?;
    println!("one has left: {:?}", find(&db, "web").await?);

    // The other is gone without a word: its entry goes with its lease.
    drop(first);
    while !find(&db, "web").await?.is_empty() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    println!("nobody is left");

    db.shutdown().await?;
    std::fs::remove_dir_all(directory)?;
    Ok(())
}
