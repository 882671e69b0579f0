//! Why a node serves no longer: set once, seen by all of its parts.

use std::sync::Arc;

use tokio::sync::watch;

use crate::error::StopReason;

/// The reason why the node stopped, once there is one. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Stop(Arc<watch::Sender<Option<StopReason>>>);

impl Stop {
    pub(crate) fn new() -> Self {
        Self(Arc::new(watch::Sender::new(None)))
    }

    /// Records the reason, unless there is one: what comes later follows from the first.
    pub(crate) fn set(&self, reason: StopReason) {
        self.0.send_if_modified(|current| {
            let first = current.is_none();
            if first {
                if reason != StopReason::Shutdown {
                    tracing::error!(%reason, "this node stops");
                }
                *current = Some(reason);
            }
            first
        });
    }

    /// The reason, if it has stopped.
    pub(crate) fn reason(&self) -> Option<StopReason> {
        self.0.borrow().clone()
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<Option<StopReason>> {
        self.0.subscribe()
    }

    /// Waits until the node stops.
    pub(crate) async fn stopped(&self) -> StopReason {
        let mut watch = self.subscribe();
        match watch.wait_for(Option::is_some).await {
            Ok(reason) => reason.clone().unwrap_or(StopReason::Shutdown),
            Err(_) => StopReason::Shutdown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_reason_stays() {
        let stop = Stop::new();
        assert_eq!(stop.reason(), None);
        stop.set(StopReason::Removed);
        stop.set(StopReason::Shutdown);
        assert_eq!(stop.reason(), Some(StopReason::Removed));
        assert_eq!(stop.stopped().await, StopReason::Removed);
    }
}
