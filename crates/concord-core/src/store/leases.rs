//! Leases: granted, kept alive, revoked, ended by the clock.
//!
//! The deadline of a lease stands in the same queue as those of keys. It counts there for
//! as many as it would take along, so that what ends in one batch stays bounded: a crowded
//! millisecond sends a lease on to a later one, never to an earlier.

use alloc::vec::Vec;
use core::ops::Bound;

use super::Store;
use super::mutate::bytes;
use crate::check::check_lifetime;
use crate::command::Lifetime;
use crate::ids::{LeaseId, Millis};
use crate::lease::{LeaseCell, attached, decode_lease_key, lease_key};
use crate::limits::{EXPIRIES_PER_BATCH, LEASE_ID_MAX, LEASE_KEYS_MAX, LEASES_MAX};
use crate::reply::{InvalidRequestReason, Quota, Rejection, Reply};
use crate::view::ChangeKind;

impl Store {
    pub(super) fn lease_grant(&mut self, wanted: LeaseId, ttl: Millis) -> Result<Reply, Rejection> {
        check_lifetime(Lifetime::Ttl(ttl))?;
        if wanted.get() > LEASE_ID_MAX {
            return Err(Rejection::InvalidRequest {
                reason: InvalidRequestReason::LeaseIdOutOfRange,
            });
        }
        if self.lease(wanted).is_some() {
            return Err(Rejection::LeaseExists { lease: wanted });
        }
        if self.state.leases.len() >= LEASES_MAX {
            let (quota, limit) = (Quota::Leases, bytes(LEASES_MAX));
            return Err(Rejection::QuotaExceeded { quota, limit });
        }
        let lease = if wanted.get() == 0 {
            self.next_lease()
        } else {
            wanted
        };
        let expires_at = self.expiry.place(self.state.now.plus(ttl));
        self.expiry.insert_lease(expires_at, lease, 0);
        let cell = LeaseCell {
            ttl,
            expires_at,
            owner: self.caller.principal,
        };
        self.state.leases.set(&lease_key(lease), &cell.encode());
        Ok(Reply::LeaseGranted {
            revision: self.state.revision,
            lease,
            ttl,
            expires_at,
        })
    }

    pub(super) fn lease_keep_alive(&mut self, lease: LeaseId) -> Result<Reply, Rejection> {
        // D-V3-2: a lease whose time has come was ended when the clock moved, and stays so.
        let current = self.usable_lease(lease)?;
        let keys = attached::count(&self.state.lease_keys, lease);
        self.expiry.remove_lease(current.expires_at, lease, keys);
        let expires_at = self.expiry.place(self.state.now.plus(current.ttl));
        self.place_lease(
            lease,
            LeaseCell {
                expires_at,
                ..current
            },
            keys,
        );
        Ok(Reply::LeaseKept {
            revision: self.state.revision,
            lease,
            ttl: current.ttl,
            expires_at,
        })
    }

    pub(super) fn lease_revoke(&mut self, lease: LeaseId) -> Result<Reply, Rejection> {
        self.usable_lease(lease)?;
        let keys = self.keys_on(lease);
        if !keys.is_empty() {
            self.open_revision();
        }
        for key in &keys {
            self.remove_key(key, ChangeKind::Delete);
        }
        self.end_lease(lease);
        Ok(Reply::LeaseRevoked {
            revision: self.state.revision,
            keys: bytes(keys.len()),
        })
    }

    /// The lease, if there is one.
    pub(super) fn lease(&self, lease: LeaseId) -> Option<LeaseCell> {
        if self.state.leases.is_empty() {
            return None;
        }
        let cell = self.state.leases.get(&lease_key(lease))?;
        Some(LeaseCell::stored(&cell))
    }

    /// The lease, if there is one that the caller may use. To those who may not, there is none.
    pub(super) fn usable_lease(&self, lease: LeaseId) -> Result<LeaseCell, Rejection> {
        self.lease(lease)
            .filter(|cell| self.caller.may_use(cell.owner))
            .ok_or(Rejection::LeaseNotFound { lease })
    }

    /// The keys that hang on a lease, in order.
    pub(super) fn keys_on(&self, lease: LeaseId) -> Vec<Vec<u8>> {
        attached::keys(&self.state.lease_keys, lease, None)
            .map(<[u8]>::to_vec)
            .collect()
    }

    /// Removes a lease without keys.
    pub(super) fn end_lease(&mut self, lease: LeaseId) {
        if let Some(cell) = self.state.leases.remove(&lease_key(lease)) {
            self.expiry
                .remove_lease(LeaseCell::stored(&cell).expires_at, lease, 0);
        }
    }

    /// Whether one more key can hang on a lease that exists; `drafted` have come to it in the
    /// request so far.
    pub(super) fn check_room(&self, lease: LeaseId, drafted: i64) -> Result<(), Rejection> {
        let count = attached::count(&self.state.lease_keys, lease);
        if count.saturating_add_signed(drafted) < LEASE_KEYS_MAX {
            return Ok(());
        }
        Err(Rejection::QuotaExceeded {
            quota: Quota::LeaseKeys,
            limit: LEASE_KEYS_MAX,
        })
    }

    /// Follows a key from one lease to another.
    pub(super) fn follow_lease(&mut self, key: &[u8], before: Option<LeaseId>, after: Option<LeaseId>) {
        if let Some(lease) = before {
            attached::remove(&mut self.state.lease_keys, lease, key);
            if let Some(cell) = self.lease(lease) {
                self.expiry.lighten(cell.expires_at);
            }
        }
        if let Some(lease) = after {
            attached::add(&mut self.state.lease_keys, lease, key);
            if let Some(cell) = self.lease(lease) {
                self.make_heavier(lease, cell);
            }
        }
    }

    /// Counts one key more at the deadline of a lease; sends it on if others crowd it there.
    fn make_heavier(&mut self, lease: LeaseId, cell: LeaseCell) {
        let keys = attached::count(&self.state.lease_keys, lease);
        let crowd = self.expiry.weigh(cell.expires_at);
        let others = crowd.saturating_sub(usize::try_from(keys).unwrap_or(usize::MAX));
        if crowd < EXPIRIES_PER_BATCH || others == 0 {
            self.expiry.burden(cell.expires_at);
            return;
        }
        self.expiry
            .remove_lease(cell.expires_at, lease, keys.saturating_sub(1));
        let expires_at = self.expiry.place(cell.expires_at.plus(Millis::new(1)));
        self.place_lease(lease, LeaseCell { expires_at, ..cell }, keys);
    }

    /// Gives every lease so much more time.
    pub(super) fn prolong_leases(&mut self, by: Millis) {
        if by.get() == 0 {
            return;
        }
        let all = self
            .state
            .leases
            .iter()
            .filter_map(|(key, _)| decode_lease_key(key).ok());
        let all: Vec<LeaseId> = all.collect();
        for lease in all {
            let Some(cell) = self.lease(lease) else {
                continue;
            };
            let keys = attached::count(&self.state.lease_keys, lease);
            self.expiry.remove_lease(cell.expires_at, lease, keys);
            let expires_at = self.expiry.place(cell.expires_at.plus(by));
            self.place_lease(lease, LeaseCell { expires_at, ..cell }, keys);
        }
    }

    fn place_lease(&mut self, lease: LeaseId, cell: LeaseCell, keys: u64) {
        self.expiry.insert_lease(cell.expires_at, lease, keys);
        self.state.leases.set(&lease_key(lease), &cell.encode());
    }

    /// The next id that no lease has had from here, nor has from its client now.
    fn next_lease(&mut self) -> LeaseId {
        let mut next = self.state.last_lease.get().saturating_add(1);
        let start = next.to_be_bytes();
        let taken = self
            .state
            .leases
            .range((Bound::Included(&start), Bound::Unbounded));
        // Ids that clients chose lie in the way only once: the next search starts behind them.
        for (key, _) in taken {
            if decode_lease_key(key).is_ok_and(|lease| lease.get() > next) {
                break;
            }
            next = next.saturating_add(1);
        }
        self.state.last_lease = LeaseId::new(next);
        self.state.last_lease
    }
}
