//! What a node counts while it works, for metrics. Leaves names and exposition to the server.
//!
//! Each figure has one task or thread that counts it, so that nobody waits for anybody: a relaxed addition, and for
//! a length of time two looks at the clock. None of it is ever read by the node itself.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Bounds of a [`Histogram`]: powers of two up to this one, in its unit, then everything.
const BUCKETS: usize = 26;

/// Something that is counted. Only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds to it.
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Relaxed);
    }

    /// What it has come to.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// How often something was how large, by powers of two.
#[derive(Debug)]
pub struct Histogram {
    buckets: [AtomicU64; BUCKETS + 1],
    sum: AtomicU64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            buckets: [const { AtomicU64::new(0) }; BUCKETS + 1],
            sum: AtomicU64::new(0),
        }
    }
}

impl Histogram {
    /// Counts a value.
    pub fn record(&self, value: u64) {
        // The first power of two that is not below it.
        let bits = u64::BITS - value.saturating_sub(1).leading_zeros();
        let bucket = usize::try_from(bits).map_or(BUCKETS, |bits| bits.min(BUCKETS));
        if let Some(bucket) = self.buckets.get(bucket) {
            bucket.fetch_add(1, Relaxed);
        }
        self.sum.fetch_add(value, Relaxed);
    }

    /// Counts a length of time, in microseconds.
    pub fn record_time(&self, length: Duration) {
        self.record(u64::try_from(length.as_micros()).unwrap_or(u64::MAX));
    }

    /// What was counted so far. While values are counted, sum and buckets may differ by those.
    pub fn counts(&self) -> HistogramCounts {
        HistogramCounts {
            buckets: self.buckets.iter().map(|bucket| bucket.load(Relaxed)).collect(),
            sum: self.sum.load(Relaxed),
        }
    }
}

/// A [`Histogram`] at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HistogramCounts {
    buckets: Vec<u64>,
    sum: u64,
}

impl HistogramCounts {
    /// The sum of all values.
    pub const fn sum(&self) -> u64 {
        self.sum
    }

    /// How many values there are.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// Upper bounds, included, in the order of size, each with how many values lie up to it and above the one before;
    /// `None` is no bound.
    pub fn buckets(&self) -> impl Iterator<Item = (Option<u64>, u64)> {
        let bound = |power: usize| (power < BUCKETS).then(|| 1_u64 << power);
        self.buckets
            .iter()
            .enumerate()
            .map(move |(power, count)| (bound(power), *count))
    }

    /// Both together.
    pub fn add(&mut self, other: &Self) {
        self.sum = self.sum.wrapping_add(other.sum);
        self.buckets
            .resize(self.buckets.len().max(other.buckets.len()), 0);
        for (count, more) in self.buckets.iter_mut().zip(&other.buckets) {
            *count += more;
        }
    }
}

/// What the log counts.
#[derive(Debug, Default)]
pub struct LogStats {
    /// How long it took to make what was written durable, in microseconds.
    pub sync_micros: Histogram,
    /// Bytes written.
    pub written_bytes: Counter,
    /// How many entries became durable together.
    pub entries_a_sync: Histogram,
}

/// What a node counts beside its log.
#[derive(Debug, Default)]
pub struct NodeStats {
    /// How many requests an entry had that this node proposed as leader.
    pub requests_an_entry: Histogram,
    /// How long such an entry took until it was applied here, in microseconds.
    pub entry_micros: Histogram,
    /// How long a burst of entries took to be applied and published, in microseconds.
    pub apply_micros: Histogram,
    /// Entries applied.
    pub applied_entries: Counter,
    /// How often another leader became known.
    pub leader_changes: Counter,
    /// How long a snapshot took to be written, in microseconds.
    pub snapshot_micros: Histogram,
    /// Snapshots taken over from a leader.
    pub snapshots_installed: Counter,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_counted_below_the_next_power_of_two() {
        let histogram = Histogram::default();
        for value in [0, 1, 2, 3, 4, 5, 1 << 25, (1 << 25) + 1, u64::MAX >> 1] {
            histogram.record(value);
        }
        histogram.record_time(Duration::from_millis(1));
        let counts = histogram.counts();
        let filled: Vec<_> = counts.buckets().filter(|(_, count)| *count > 0).collect();
        assert_eq!(
            filled,
            [
                (Some(1), 2),
                (Some(2), 1),
                (Some(4), 2),
                (Some(8), 1),
                (Some(1_024), 1),
                (Some(1 << 25), 1),
                (None, 2),
            ]
        );
        assert_eq!(counts.count(), 10);
        let mut twice = counts.clone();
        twice.add(&counts);
        assert_eq!(twice.count(), 20);
    }
}
