//! Waiting for what is announced to nobody.

use std::time::Duration;

/// How long anything that must happen may take on a machine with other work.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// What is there sooner or later.
pub(crate) async fn eventually<T>(what: &str, mut found: impl AsyncFnMut() -> Option<T>) -> T {
    let looking = async {
        loop {
            if let Some(found) = found().await {
                return found;
            }
            // tidy-allow(sleep): looks at what is announced to nobody.
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(PATIENCE, looking)
        .await
        .unwrap_or_else(|_| panic!("not within {PATIENCE:?}: {what}"))
}
