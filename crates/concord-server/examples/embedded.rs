//! A durable store inside a program: put, get, scan, and all of it again after a restart.
//! Run it twice: `cargo run -p concord-server --example embedded -- /tmp/concord-example`.

use concord_server::{Concord, Config};
use futures::TryStreamExt as _;

#[expect(clippy::print_stdout, reason = "an example shows what it did")]
#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = std::env::args().nth(1).unwrap_or("./data".to_owned());
    let db = Concord::open(Config::at(dir)).await?;
    let runs = db.increment("runs", 1).await?.value;
    db.put(format!("run:{runs}"), "hello").await?;

    let found = db.get(format!("run:{runs}")).await?;
    assert_eq!(found.as_ref().and_then(|entry| entry.text()), Some("hello"));

    let keys: Vec<_> = db.scan().prefix("run:").records().try_collect().await?;
    assert_eq!(
        i64::try_from(keys.len())?,
        runs,
        "what earlier runs wrote is still there"
    );
    println!("run {runs} of this store");
    db.shutdown().await?;
    Ok(())
}
