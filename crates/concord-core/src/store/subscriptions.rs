//! Subscriptions of the store: made, acknowledged, moved and forgotten. None of it is a revision.

use super::Store;
use crate::ids::Revision;
use crate::limits::{SUBSCRIPTION_FILTER_BYTES_MAX, SUBSCRIPTIONS_MAX};
use crate::reply::{InvalidRequestReason, Quota, Rejection, Reply};
use crate::subscription::{SubscriptionCell, SubscriptionName};

impl Store {
    /// Makes a subscription to what comes behind `after`, or from now on.
    pub(super) fn create_subscription(
        &mut self,
        name: &SubscriptionName,
        filter: &[u8],
        after: Option<Revision>,
    ) -> Result<Reply, Rejection> {
        let key = name.as_str().as_bytes();
        if self.state.subscriptions.contains_key(key) {
            return Err(Rejection::SubscriptionExists);
        }
        if filter.len() > SUBSCRIPTION_FILTER_BYTES_MAX {
            return Err(Rejection::InvalidRequest {
                reason: InvalidRequestReason::SubscriptionFilter,
            });
        }
        if self.state.subscriptions.len() >= SUBSCRIPTIONS_MAX {
            return Err(Rejection::QuotaExceeded {
                quota: Quota::Subscriptions,
                limit: super::mutate::bytes(SUBSCRIPTIONS_MAX),
            });
        }
        let acked = after.unwrap_or(self.state.revision);
        self.check_kept(acked)?;
        let cell = SubscriptionCell {
            acked,
            created_at: self.state.now,
            acked_at: self.state.now,
            filter,
        };
        self.state.subscriptions.set(key, &cell.encode());
        Ok(self.subscription_changed(acked))
    }

    pub(super) fn delete_subscription(&mut self, name: &SubscriptionName) -> Result<Reply, Rejection> {
        let removed = self.state.subscriptions.remove(name.as_str().as_bytes());
        let removed = removed.ok_or(Rejection::SubscriptionNotFound)?;
        let acked = SubscriptionCell::stored(&removed).acked;
        Ok(self.subscription_changed(acked))
    }

    /// Notes that all up to `upto` is done with. An earlier place than the one that is known is none:
    /// acknowledgements that overtake each other never lead back.
    pub(super) fn ack_subscription(
        &mut self,
        name: &SubscriptionName,
        upto: Revision,
    ) -> Result<Reply, Rejection> {
        let acked = self.acked(name)?;
        if upto > self.state.revision {
            return Err(Rejection::FutureRevision {
                revision: self.state.revision,
            });
        }
        if upto > acked {
            self.move_subscription(name, upto);
        }
        Ok(self.subscription_changed(acked.max(upto)))
    }

    /// Begins anew behind `after`, wherever that is.
    pub(super) fn reset_subscription(
        &mut self,
        name: &SubscriptionName,
        after: Option<Revision>,
    ) -> Result<Reply, Rejection> {
        self.acked(name)?;
        let after = after.unwrap_or(self.state.revision);
        self.check_kept(after)?;
        self.move_subscription(name, after);
        Ok(self.subscription_changed(after))
    }

    fn acked(&self, name: &SubscriptionName) -> Result<Revision, Rejection> {
        let cell = self.state.subscriptions.get(name.as_str().as_bytes());
        let cell = cell.ok_or(Rejection::SubscriptionNotFound)?;
        Ok(SubscriptionCell::stored(&cell).acked)
    }

    fn move_subscription(&mut self, name: &SubscriptionName, acked: Revision) {
        let key = name.as_str().as_bytes();
        let Some(cell) = self.state.subscriptions.get(key) else {
            return;
        };
        let moved = SubscriptionCell {
            acked,
            acked_at: self.state.now,
            ..SubscriptionCell::stored(&cell)
        };
        let moved = moved.encode();
        self.state.subscriptions.set(key, &moved);
    }

    /// That what comes behind a revision can still be told.
    fn check_kept(&self, after: Revision) -> Result<(), Rejection> {
        if after > self.state.revision {
            return Err(Rejection::FutureRevision {
                revision: self.state.revision,
            });
        }
        if after < self.state.compact_revision {
            return Err(Rejection::Compacted {
                compact_revision: self.state.compact_revision,
            });
        }
        Ok(())
    }

    fn subscription_changed(&self, acked: Revision) -> Reply {
        Reply::SubscriptionChanged {
            revision: self.state.revision,
            acked,
        }
    }
}
