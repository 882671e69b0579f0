//! Recipes: what several processes agree on by the store.

mod counted;
mod elections;
mod http;
mod locks;
mod rates;
mod registry;

use std::time::Duration;

use concord_server::recipes::{Guard, Lock};
use concord_server::{Concord, Config};
use tempfile::TempDir;

/// How long anything that must happen may take on a machine with other work.
const PATIENCE: Duration = Duration::from_secs(60);
/// A lease that does not end while a test runs.
const LONG: Duration = Duration::from_secs(300);

async fn open() -> (Concord, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    (Concord::open(Config::at(dir.path())).await.unwrap(), dir)
}

/// Looks until it is so, giving others their turn in between.
async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let looking = async {
        while !is_so().await {
            tokio::task::yield_now().await;
        }
    };
    soon(what, looking).await;
}

/// What must come within reasonable time.
async fn soon<T>(what: &str, coming: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, coming)
        .await
        .unwrap_or_else(|_| panic!("{what}: not within {PATIENCE:?}"))
}

/// Waits until so many hold a lock or wait for it.
async fn until_in_line(lock: &Lock, count: usize) {
    until("they stand in line", async || {
        lock.line().await.unwrap().len() == count
    })
    .await;
}

/// Ends what somebody holds, as an operator would.
async fn take_away(db: &Concord, guard: &Guard) {
    db.lease_revoke(guard.lease()).await.unwrap();
}
