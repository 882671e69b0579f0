//! Subscriptions as a view shows them.

use bytes::Bytes;

use super::ReadView;
use crate::subscription::{Subscription, SubscriptionCell, SubscriptionName};

impl ReadView {
    /// The subscription of this name, if there is one.
    #[must_use]
    pub fn subscription(&self, name: &SubscriptionName) -> Option<Subscription> {
        let cell = self.state.subscriptions.get(name.as_str().as_bytes())?;
        Some(shown(name.clone(), &cell))
    }

    /// Every subscription, in the order of names.
    pub fn subscriptions(&self) -> impl Iterator<Item = Subscription> {
        self.state.subscriptions.iter().filter_map(|(name, cell)| {
            let name = SubscriptionName::of_bytes(name).ok()?;
            Some(shown(name, &cell))
        })
    }
}

fn shown(name: SubscriptionName, cell: &[u8]) -> Subscription {
    let cell = SubscriptionCell::stored(cell);
    Subscription {
        name,
        filter: Bytes::copy_from_slice(cell.filter),
        acked: cell.acked,
        created_at: cell.created_at,
        acked_at: cell.acked_at,
    }
}
