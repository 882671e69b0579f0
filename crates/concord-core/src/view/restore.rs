//! The restore that is under way, as a view shows it.

use alloc::sync::Arc;

use super::ReadView;
use crate::restore::RestoreStatus;

impl ReadView {
    /// How far the restore is that is under way, if one is.
    #[must_use]
    pub fn restore(&self) -> Option<RestoreStatus> {
        self.state.staged.as_ref().map(|staged| staged.status())
    }

    /// The same without a restore that is under way: what a backup is made of.
    #[must_use]
    pub fn without_restore(&self) -> Self {
        if self.state.staged.is_none() {
            return self.clone();
        }
        let mut state = self.state.as_ref().clone();
        state.staged = None;
        Self::new(Arc::new(state))
    }
}
