//! Leases as a view shows them.

use core::ops::Bound;

use super::ReadView;
use crate::ids::LeaseId;
use crate::lease::{Lease, LeaseCell, attached, decode_lease_key, lease_key};

impl ReadView {
    /// The lease of this id, if there is one.
    #[must_use]
    pub fn lease(&self, id: LeaseId) -> Option<Lease> {
        let cell = self.state.leases.get(&lease_key(id))?;
        Some(self.shown(id, LeaseCell::stored(&cell)))
    }

    /// The leases behind `after`, or all, in order of their ids.
    pub fn leases(&self, after: Option<LeaseId>) -> impl Iterator<Item = Lease> {
        let after = after.map(lease_key);
        let start = after
            .as_ref()
            .map_or(Bound::Unbounded, |after| Bound::Excluded(after.as_slice()));
        let leases = self.state.leases.range((start, Bound::Unbounded));
        leases.filter_map(|(key, cell)| {
            let id = decode_lease_key(key).ok()?;
            Some(self.shown(id, LeaseCell::stored(&cell)))
        })
    }

    /// How many leases there are.
    #[must_use]
    pub fn lease_count(&self) -> usize {
        self.state.leases.len()
    }

    /// The keys that hang on a lease, in order: those behind `after`, or all.
    pub fn lease_keys(&self, id: LeaseId, after: Option<&[u8]>) -> impl Iterator<Item = &[u8]> {
        attached::keys(&self.state.lease_keys, id, after)
    }

    fn shown(&self, id: LeaseId, cell: LeaseCell) -> Lease {
        Lease {
            id,
            ttl: cell.ttl,
            expires_at: cell.expires_at,
            owner: cell.owner,
            keys: attached::count(&self.state.lease_keys, id),
        }
    }
}
