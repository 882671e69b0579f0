//! Rate limiting: all processes share one bucket for each user, in the cluster's clock.
//! Run it: `cargo run -p concord-server --example rate_limiting`.

use std::time::Duration;

use concord_server::recipes::{Decision, Rate};
use concord_server::{Concord, Config, Error};

/// Whether a request of a user may go on, else when to try again.
async fn admit(db: &Concord, user: &str, rate: Rate) -> Result<Result<(), Duration>, Error> {
    let limiter = db.rate_limiter(format!("api:{user}"), rate);
    Ok(match limiter.try_acquire(1).await? {
        Decision::Granted { .. } => Ok(()),
        Decision::Denied { retry_after } => Err(retry_after),
    })
}

#[expect(clippy::print_stdout, reason = "an example shows what it did")]
#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let directory = std::env::temp_dir().join(format!("concord-rate-{}", std::process::id()));
    let db = Concord::open(Config::at(&directory)).await?;
    // Sixty a minute on average, five at once.
    let rate = Rate::new(60, Duration::from_secs(60))?.burst(5);

    let mut admitted = 0;
    for request in 1..=8 {
        match admit(&db, "ada", rate).await? {
            Ok(()) => {
                admitted += 1;
                println!("request {request} of ada goes on");
            }
            Err(retry_after) => println!("request {request} of ada: 429, retry after {retry_after:?}"),
        }
    }
    assert!((5..=6).contains(&admitted), "the bucket holds five");
    assert!(admit(&db, "bob", rate).await?.is_ok(), "everybody has a bucket");

    // Whoever would rather wait than be refused:
    let token = db.rate_limiter("api:ada", rate).acquire(1).await?;
    println!("ada waited, and was granted at revision {token}");

    db.shutdown().await?;
    std::fs::remove_dir_all(directory)?;
    Ok(())
}
