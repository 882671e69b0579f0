//! Where work that blocks is done, so that it does not hold up the runtime.

use crate::log::Host;

/// Runs blocking work on the host that the node was configured with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Blocking(Host);

impl Blocking {
    pub(crate) const fn new(host: Host) -> Self {
        Self(host)
    }

    /// What it was configured with.
    pub(crate) const fn host(self) -> Host {
        self.0
    }

    /// Runs `work` and gives its result. Once begun it runs to its end, even when this
    /// future is dropped.
    ///
    /// # Panics
    ///
    /// If `work` does: a replica that may be wrong must stop.
    pub(crate) async fn run<T, F>(self, work: F) -> T
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        match self.0 {
            Host::Task => work(),
            Host::Thread => match tokio::task::spawn_blocking(work).await {
                Ok(result) => result,
                Err(error) => match error.try_into_panic() {
                    Ok(panic) => std::panic::resume_unwind(panic),
                    // The runtime is shutting down and will never poll this again.
                    Err(_) => std::future::pending().await,
                },
            },
        }
    }

    /// Drops something large without making anyone wait for it.
    pub(crate) fn drop_later<T: Send + 'static>(self, value: T) {
        match self.0 {
            Host::Task => drop(value),
            Host::Thread => drop(tokio::task::spawn_blocking(move || drop(value))),
        }
    }
}
