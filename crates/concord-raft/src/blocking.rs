//! Where work that blocks is done, so that it does not hold up the runtime.

use crate::log::Host;

/// How much more often others run than who stands back, where there are not enough processors for all: about three times.
const STANDS_BACK: i32 = 5;

/// Has long work done by a thread that stands back for those that serve requests, as far as the system lets it, and
/// waits for it.
///
/// # Panics
///
/// If `work` does, or if there can be no more threads.
pub fn standing_back<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    let done = std::thread::scope(|scope| {
        let worker = scope.spawn(|| {
            // A priority that was given up cannot be had back, so the thread is used for nothing else.
            let own = Some(rustix::thread::gettid());
            if let Err(error) = rustix::process::setpriority_process(own, STANDS_BACK) {
                tracing::debug!(%error, "cannot stand back");
            }
            work()
        });
        worker.join()
    });
    match done {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

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

    /// As [`Blocking::run`], for work that takes long and that nobody waits for.
    ///
    /// # Panics
    ///
    /// As [`Blocking::run`].
    pub(crate) async fn run_standing_back<T, F>(self, work: F) -> T
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        match self.0 {
            Host::Task => work(),
            Host::Thread => self.run(move || standing_back(work)).await,
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
