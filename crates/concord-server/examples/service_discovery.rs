//! Service discovery: an instance is found for as long as it lives, and who looks for it is told when that changes.

use std::pin::pin;
use std::time::Duration;

use concord_server::recipes::Instance;
use concord_server::{Concord, Config, Error};
use futures::{Stream, StreamExt as _};

/// What is told next: the addresses of the instances that live.
async fn told(instances: impl Stream<Item = Result<Vec<Instance>, Error>>) -> Result<Vec<String>, Error> {
    let mut instances = pin!(instances);
    let living = instances.next().await.transpose()?.unwrap_or_default();
    let addresses = living.iter().filter_map(|instance| instance.value.as_text());
    Ok(addresses.map(str::to_owned).collect())
}

#[expect(clippy::print_stdout, reason = "an example shows what it did")]
#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let directory = std::env::temp_dir().join(format!("concord-discovery-{}", std::process::id()));
    let db = Concord::open(Config::at(&directory)).await?;

    // An instance whose process is gone is found for no longer than this.
    let registry = db.registry().ttl(Duration::from_secs(1));
    let first = registry.register("web", "host-1", "10.0.0.1:80").await?;
    let mut web = pin!(registry.observe("web")?);
    println!("one lives: {:?}", told(&mut web).await?);

    let second = registry.register("web", "host-2", "10.0.0.2:80").await?;
    println!("two live: {:?}", told(&mut web).await?);
    println!("services: {:?}", registry.services().await?);

    // One leaves in order: it is gone at once.
    first.deregister().await?;
    println!("one has left: {:?}", told(&mut web).await?);

    // The other goes without a word: its entry goes with its lease.
    drop(second);
    println!("nobody is left: {:?}", told(&mut web).await?);

    db.shutdown().await?;
    std::fs::remove_dir_all(directory)?;
    Ok(())
}
