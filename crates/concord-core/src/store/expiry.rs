//! What ends when: keys and leases. Derived from both, so it is in no snapshot.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::ops::Bound;

use crate::ids::{LeaseId, Millis, Timestamp};
use crate::limits::EXPIRIES_PER_BATCH;
use crate::tree::Tree;

/// Keys and leases by deadline.
#[derive(Debug, Default)]
pub(crate) struct ExpiryQueue {
    /// Deadline (big endian) and key.
    by_deadline: Tree,
    leases: BTreeSet<(Timestamp, LeaseId)>,
    /// How much ends at each deadline: keys, leases, and the keys on them.
    crowd: BTreeMap<Timestamp, usize>,
}

/// What is due.
#[derive(Debug)]
pub(super) struct Due {
    /// Where the clock may go: where it was wanted, or just short of the first deadline that
    /// is too much for one batch.
    pub(super) now: Timestamp,
    /// In order of deadline, then key.
    pub(super) keys: Vec<Vec<u8>>,
    /// In order of deadline, then id.
    pub(super) leases: Vec<LeaseId>,
}

impl ExpiryQueue {
    pub(crate) fn insert(&mut self, deadline: Timestamp, key: &[u8]) {
        if !self.by_deadline.set(&entry(deadline, key), &[]) {
            self.add(deadline, 1);
        }
    }

    pub(super) fn remove(&mut self, deadline: Timestamp, key: &[u8]) {
        if self.by_deadline.remove(&entry(deadline, key)).is_some() {
            self.subtract(deadline, 1);
        }
    }

    /// Adds a lease with so many keys on it.
    pub(crate) fn insert_lease(&mut self, deadline: Timestamp, lease: LeaseId, keys: u64) {
        self.leases.insert((deadline, lease));
        self.add(deadline, weight(keys));
    }

    /// Removes a lease with so many keys on it.
    pub(super) fn remove_lease(&mut self, deadline: Timestamp, lease: LeaseId, keys: u64) {
        self.leases.remove(&(deadline, lease));
        self.subtract(deadline, weight(keys));
    }

    /// A lease that ends then has one key more.
    pub(super) fn burden(&mut self, deadline: Timestamp) {
        self.add(deadline, 1);
    }

    /// A lease that ends then has one key less.
    pub(super) fn lighten(&mut self, deadline: Timestamp) {
        self.subtract(deadline, 1);
    }

    /// How much ends then.
    pub(super) fn weigh(&self, deadline: Timestamp) -> usize {
        self.crowd.get(&deadline).copied().unwrap_or_default()
    }

    fn add(&mut self, deadline: Timestamp, weight: usize) {
        let count = self.crowd.entry(deadline).or_default();
        *count = count.saturating_add(weight);
    }

    fn subtract(&mut self, deadline: Timestamp, weight: usize) {
        if let Some(count) = self.crowd.get_mut(&deadline) {
            *count = count.saturating_sub(weight);
            if *count == 0 {
                self.crowd.remove(&deadline);
            }
        }
    }

    /// The next deadline.
    pub(super) fn first(&self) -> Option<Timestamp> {
        self.crowd.keys().next().copied()
    }

    /// The deadline for what is to live until `wanted`: that, unless as much as one batch may
    /// end shares it already; then the next millisecond with room. Late, never early.
    pub(super) fn place(&self, wanted: Timestamp) -> Timestamp {
        let mut deadline = wanted;
        while self
            .crowd
            .get(&deadline)
            .is_some_and(|&count| count >= EXPIRIES_PER_BATCH)
        {
            deadline = deadline.plus(Millis::new(1));
        }
        deadline
    }

    /// What expires when the clock moves to `wanted`, as far as one batch may go.
    pub(super) fn due(&self, wanted: Timestamp) -> Due {
        let mut now = wanted;
        let mut taken = 0_usize;
        for (&deadline, &count) in self.crowd.range(..=wanted) {
            // The first deadline is always taken whole, or the clock would stand still.
            if taken > 0 && taken.saturating_add(count) > EXPIRIES_PER_BATCH {
                // I17: the clock stops before a deadline whose keys stay visible.
                now = Timestamp::new(deadline.get().saturating_sub(1));
                break;
            }
            taken = taken.saturating_add(count);
        }
        let end = entry(Timestamp::new(now.get().saturating_add(1)), &[]);
        let due = self.by_deadline.range((Bound::Unbounded, Bound::Excluded(&end)));
        let keys = due.filter_map(|(entry, _)| entry.get(8..).map(<[u8]>::to_vec));
        let last = (now, LeaseId::new(u64::MAX));
        Due {
            now,
            leases: self.leases.range(..=last).map(|&(_, lease)| lease).collect(),
            keys: if taken == 0 { Vec::new() } else { keys.collect() },
        }
    }

    /// Every deadline and key, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Timestamp, &[u8])> {
        self.by_deadline.iter().filter_map(|(entry, _)| {
            let (deadline, key) = entry.split_first_chunk::<8>()?;
            Some((Timestamp::new(u64::from_be_bytes(*deadline)), key))
        })
    }

    /// Every deadline and lease, in order.
    pub(crate) fn leases(&self) -> impl Iterator<Item = (Timestamp, LeaseId)> {
        self.leases.iter().copied()
    }

    /// How much ends at each deadline.
    pub(crate) fn crowd(&self) -> &BTreeMap<Timestamp, usize> {
        &self.crowd
    }
}

/// What a lease counts for.
fn weight(keys: u64) -> usize {
    usize::try_from(keys).unwrap_or(usize::MAX).saturating_add(1)
}

fn entry(deadline: Timestamp, key: &[u8]) -> Vec<u8> {
    let mut entry = Vec::with_capacity(key.len().saturating_add(8));
    entry.extend_from_slice(&deadline.get().to_be_bytes());
    entry.extend_from_slice(key);
    entry
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Timestamp {
        Timestamp::new(ms)
    }

    fn crowded(deadlines: &[(u64, usize)]) -> ExpiryQueue {
        let mut queue = ExpiryQueue::default();
        for &(deadline, count) in deadlines {
            for key in 0..count {
                queue.insert(at(deadline), &key.to_be_bytes());
            }
        }
        queue
    }

    #[test]
    fn a_key_is_due_at_its_deadline_and_not_before() {
        let queue = crowded(&[(10, 1)]);
        assert!(queue.due(at(9)).keys.is_empty());
        assert_eq!(queue.due(at(10)).keys.len(), 1);
        assert_eq!(queue.due(at(9)).now, at(9));
    }

    #[test]
    fn the_clock_stops_short_of_more_than_one_batch() {
        let queue = crowded(&[(10, 6_000), (20, 4_000), (30, 1)]);
        let due = queue.due(at(100));
        assert_eq!((due.now, due.keys.len()), (at(29), 10_000));
        let queue = crowded(&[(10, 6_000), (20, 4_001)]);
        let due = queue.due(at(100));
        assert_eq!((due.now, due.keys.len()), (at(19), 6_000));
    }

    #[test]
    fn a_full_deadline_moves_keys_to_the_next_millisecond() {
        let queue = crowded(&[(10, EXPIRIES_PER_BATCH), (11, 1)]);
        assert_eq!(queue.place(at(10)), at(11));
        assert_eq!(queue.place(at(9)), at(9));
        let due = queue.due(at(100));
        assert_eq!((due.now, due.keys.len()), (at(10), EXPIRIES_PER_BATCH));
    }

    #[test]
    fn removed_keys_are_not_due() {
        let mut queue = crowded(&[(10, 2)]);
        queue.remove(at(10), &0_usize.to_be_bytes());
        queue.remove(at(10), b"unknown");
        assert_eq!(queue.due(at(10)).keys.len(), 1);
        queue.remove(at(10), &1_usize.to_be_bytes());
        assert_eq!(queue.first(), None);
    }
}
