//! Which requests are traced, and the ids of those that are.

use std::sync::atomic::{AtomicU64, Ordering};

use super::context::TraceParent;

/// Odd, and far from any pattern: multiples of it are spread over all numbers.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// Decides by chance, without a lock and without asking the system for randomness.
#[derive(Debug)]
pub(super) struct Sampler {
    /// A number below this is a yes.
    threshold: u64,
    /// Whether whoever sends a request decides, if they say anything.
    follows: bool,
    state: AtomicU64,
}

impl Sampler {
    pub(super) fn new(part: f64, follows: bool) -> Self {
        let mut seed = [0; 8];
        // Ids of which others can guess the next are still ids: chance decides nothing that matters.
        let _ = getrandom::fill(&mut seed);
        Self {
            threshold: threshold(part),
            follows,
            state: AtomicU64::new(u64::from_le_bytes(seed)),
        }
    }

    /// Whether a request is traced.
    pub(super) fn decide(&self, parent: Option<TraceParent>) -> bool {
        match parent {
            Some(parent) if self.follows => parent.is_sampled(),
            Some(_) | None => self.next() < self.threshold,
        }
    }

    pub(super) fn trace_id(&self) -> u128 {
        (u128::from(self.span_id()) << 64) | u128::from(self.span_id())
    }

    /// Never zero, which is no id.
    pub(super) fn span_id(&self) -> u64 {
        self.next().max(1)
    }

    /// splitmix64 over a shared counter.
    fn next(&self) -> u64 {
        let mut z = self.state.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "the part is between 0 and 1, and a float beyond the largest number becomes that"
)]
fn threshold(part: f64) -> u64 {
    (part.clamp(0.0, 1.0) * u64::MAX as f64) as u64
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn about_so_many_requests_are_traced() {
        for (part, range) in [
            (0.0, 0..=0),
            (0.01, 700..=1_300),
            (0.5, 49_000..=51_000),
            (1.0, 100_000..=100_000),
        ] {
            let sampler = Sampler::new(part, true);
            let traced = (0..100_000).filter(|_| sampler.decide(None)).count();
            assert!(range.contains(&traced), "{traced} of 100,000 at {part}");
        }
    }

    #[test]
    fn whoever_began_the_trace_decides_unless_nobody_listens() {
        let sampled: TraceParent = "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01"
            .parse()
            .unwrap();
        let unsampled: TraceParent = "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-00"
            .parse()
            .unwrap();
        let never = Sampler::new(0.0, true);
        assert!(never.decide(Some(sampled)));
        assert!(!Sampler::new(1.0, true).decide(Some(unsampled)));
        assert!(!Sampler::new(0.0, false).decide(Some(sampled)));
        assert!(Sampler::new(1.0, false).decide(Some(unsampled)));
    }

    #[test]
    fn ids_are_not_given_twice() {
        let sampler = Sampler::new(1.0, true);
        let ids: BTreeSet<u128> = (0..10_000).map(|_| sampler.trace_id()).collect();
        assert_eq!(ids.len(), 10_000);
    }
}
