//! Leader election: of several workers one leads, and when it is gone another one does. What a
//! leader writes is fenced, so that one that is deposed without knowing it changes nothing.
//! Run it: `cargo run -p concord-server --example leader_election`.

use concord_server::recipes::Leadership;
use concord_server::{Concord, Config, Error};
use futures::TryStreamExt as _;

/// What a leader does.
async fn schedule(leadership: &Leadership, job: &str) -> Result<(), Error> {
    leadership.put("schedule:next", job).await.map(|_| ())
}

#[expect(clippy::print_stdout, reason = "an example shows what it did")]
#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let directory = std::env::temp_dir().join(format!("concord-election-{}", std::process::id()));
    let db = Concord::open(Config::at(&directory)).await?;
    let election = db.election("scheduler");

    let first = election.campaign("worker-1").await?;
    println!("worker-1 leads with token {}", first.token());
    schedule(&first, "reports").await?;

    // The second one waits for its turn.
    let waiting = tokio::spawn({
        let election = election.clone();
        async move { election.campaign("worker-2").await }
    });
    let mut leaders = std::pin::pin!(election.observe()?);
    let seen = leaders.try_next().await?.flatten();
    println!(
        "everybody sees: {:?}",
        seen.as_ref().and_then(|leader| leader.text())
    );

    // The first one is cut off: its lease ends, though it does not know that yet.
    db.lease_revoke(first.lease()).await?;
    let second = waiting.await??;
    println!("worker-2 leads with token {}", second.token());
    assert!(second.token() > first.token());

    let late = schedule(&first, "twice").await;
    println!("worker-1 comes too late: {}", late.is_err());
    assert!(late.is_err() && !first.is_held());
    schedule(&second, "invoices").await?;
    let next = db.get("schedule:next").await?;
    assert_eq!(next.as_ref().and_then(|entry| entry.text()), Some("invoices"));

    second.resign().await?;
    drop(first);
    db.shutdown().await?;
    std::fs::remove_dir_all(directory)?;
    Ok(())
}
