//! Configuration that is followed: the present state, then every change of it, without a gap.
//! Run it, and write to it from elsewhere:
//! `cargo run -p concord-server --example config_watch -- /tmp/concord-config 127.0.0.1:4000` and
//! `concord put config:colour blue`.

use std::collections::BTreeMap;

use concord_server::{Concord, Config, Error, ErrorKind, WatchEvent};

#[expect(clippy::print_stdout, reason = "an example shows what it did")]
#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut config = Config::at(arguments.next().unwrap_or("./data".to_owned()));
    if let Some(address) = arguments.next() {
        config = config.http(address);
    }
    let db = Concord::open(config).await?;
    let follower = tokio::spawn({
        let db = db.clone();
        async move { follow(&db, |settings| println!("settings are now {settings:?}")).await }
    });
    db.put("config:greeting", "hello").await?;
    tokio::signal::ctrl_c().await?;
    db.shutdown().await?;
    let ended = follower.await?;
    assert!(ended.is_err_and(|error| error.kind() == ErrorKind::ShuttingDown));
    Ok(())
}

/// Keeps settings as they are in the store, and tells `changed` whenever they differ.
async fn follow(db: &Concord, changed: impl Fn(&BTreeMap<String, String>)) -> Result<(), Error> {
    loop {
        let page = db.scan().prefix("config:").limit(10_000).await?;
        let mut settings = BTreeMap::new();
        for record in &page.records {
            let value = record.value.as_text().unwrap_or_default();
            settings.insert(record.key.to_string(), value.to_owned());
        }
        changed(&settings);
        // From behind the revision that was read: nothing falls between the two.
        let watch = db.watch().prefix("config:").from_revision(page.revision.next());
        let mut watcher = match watch.await {
            Err(error) if error.kind() == ErrorKind::Compacted => continue,
            opened => opened?,
        };
        while let Some(batch) = watcher.next().await {
            match batch {
                Ok(batch) => batch.events.iter().for_each(|event| take(&mut settings, event)),
                // So far behind that the past is gone: read the present again.
                Err(error) if error.kind() == ErrorKind::Compacted => break,
                Err(error) => return Err(error),
            }
            changed(&settings);
        }
    }
}

fn take(settings: &mut BTreeMap<String, String>, event: &WatchEvent) {
    let value = event.record.as_ref().and_then(|record| record.value.as_text());
    match value {
        Some(value) => settings.insert(event.key.to_string(), value.to_owned()),
        None => settings.remove(&event.key.to_string()),
    };
}
