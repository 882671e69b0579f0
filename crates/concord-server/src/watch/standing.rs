//! How a watcher stands with the policy, for as long as it is open.

use std::future::Future as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Context;
use std::time::Duration;

use concord_auth::{Place, Principal, Read};
use concord_core::view::{KeyFilter, ReadView};
use tokio::time::Sleep;

use crate::error::Error;
use crate::judge::{Caller, Judge, Sight, present};
use crate::service::Seen;

/// In whose name something is watched, and what they may see of it now.
pub(crate) struct Standing {
    judge: Arc<Judge>,
    caller: Caller,
    sight: Sight,
    /// The revision of the policy that says so.
    judged_by: u64,
    /// When the token ends.
    end: Option<Pin<Box<Sleep>>>,
}

impl Standing {
    /// Of a caller whose right to watch was judged.
    pub(crate) fn new(judge: &Arc<Judge>, caller: Caller, seen: &Seen) -> Self {
        Self {
            judge: Arc::clone(judge),
            caller,
            sight: seen.sight().clone(),
            judged_by: seen.view().policy_revision(),
            end: sleep_until_end(seen.principal(), seen.view()),
        }
    }

    /// Whether what they may see depends on the policy.
    pub(super) const fn is_judged(&self) -> bool {
        self.caller.is_judged()
    }

    /// What is shown; `None`: everything.
    pub(super) fn filter(&self) -> Option<&dyn KeyFilter> {
        self.sight.filter()
    }

    /// Judges by the policy of a view, if it is another one; says whether it is.
    pub(super) fn renew(&mut self, view: &ReadView) -> Result<bool, Error> {
        if !self.is_judged() || view.policy_revision() == self.judged_by {
            return Ok(false);
        }
        let principal = self
            .judge
            .judge(&self.caller, Read::Watch(Place::Anywhere), view)?;
        self.end = sleep_until_end(&principal, view);
        self.sight = Sight::of(principal);
        self.judged_by = view.policy_revision();
        Ok(true)
    }

    /// Sees to being polled when the token ends; says so when it has.
    pub(super) fn poll_end(&mut self, view: &ReadView, context: &mut Context<'_>) -> Result<(), Error> {
        while let Some(end) = &mut self.end {
            if end.as_mut().poll(context).is_pending() {
                return Ok(());
            }
            let principal = self.judge.principal(&self.caller, view)?;
            // The clock that decides is behind the one that this waited by.
            self.end = sleep_until_end(&principal, view);
        }
        Ok(())
    }
}

fn sleep_until_end(principal: &Principal, view: &ReadView) -> Option<Pin<Box<Sleep>>> {
    let left = principal.expires_at()?.since(present(view));
    let left = Duration::from_millis(left.get().max(1));
    Some(Box::pin(tokio::time::sleep(left)))
}
