//! Steps of restores: requests like others, but for their lines in the audit log, of which a restore has one.

use std::time::Duration;

use concord_core::command::Command;
use concord_core::reply::Reply;
use concord_core::restore::{RestoreId, RestoreStatus, RestoreStep};
use tokio::sync::MutexGuard;
use tokio::time::Instant;

use super::Service;
use crate::compression::Packing;
use crate::error::Error;
use crate::judge::Caller;
use crate::metrics::Operation;

impl Service {
    /// The right to drive a restore; `None` while somebody has it.
    pub(crate) fn restore_turn(&self) -> Option<MutexGuard<'_, ()>> {
        self.restore_turn.try_lock().ok()
    }

    /// The restore that this node knows to be under way.
    pub(crate) fn restore_status(&self) -> Option<RestoreStatus> {
        self.views.load().view.restore()
    }

    /// Judges a step of a restore and has it applied.
    pub(crate) async fn restore_step(
        &self,
        caller: &Caller,
        restore: RestoreId,
        step: RestoreStep,
        timeout: Duration,
    ) -> Result<Reply, Error> {
        let command = Command::Restore { restore, step };
        let (began, operation) = (Instant::now(), Operation::of(&command));
        let outcome = self
            .write(caller, command, Packing::Skipped, began + timeout)
            .await;
        self.requests.wrote(operation, began.elapsed(), &outcome);
        outcome
    }
}
