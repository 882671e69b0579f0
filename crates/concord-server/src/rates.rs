//! How often tenants read from this node.
//!
//! Writes are counted in the replicated state, when they are applied. Reads enter no log, so the node that serves them
//! counts them: a bucket for each tenant that holds what comes in one second and fills by this node's clock. A tenant
//! that asks several nodes may read that often from each. Only buckets that are not full are kept, so a tenant that has not
//! asked for a second costs nothing.

use std::collections::HashMap;
use std::time::Duration;

use concord_auth::Principal;
use concord_core::view::ReadView;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::error::{Error, ErrorKind, RETRY_AFTER_MS};
use crate::judge::present;
use crate::limits::READ_BUCKETS_SWEPT;

/// A read, in millionths, so that each microsecond fills a bucket exactly.
const READ: u64 = 1_000_000;

/// The wait that is told to those who may never ask, as for writes.
const NEVER_MS: u64 = 60_000;

/// What a tenant has left.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    /// In millionths of a read, at `filled_at`.
    level: u64,
    filled_at: Instant,
}

impl Bucket {
    const fn full(max: u64, now: Instant) -> Self {
        Self {
            level: max.saturating_mul(READ),
            filled_at: now,
        }
    }

    /// As it is now, under this quota.
    fn filled(self, max: u64, now: Instant) -> Self {
        let elapsed_us = now.saturating_duration_since(self.filled_at).as_micros();
        let elapsed_us = u64::try_from(elapsed_us).unwrap_or(u64::MAX);
        // `max` reads a second are `max` millionths a microsecond.
        let level = self.level.saturating_add(elapsed_us.saturating_mul(max));
        Self {
            level: level.min(max.saturating_mul(READ)),
            // What is less than a microsecond counts with the next.
            filled_at: self.filled_at + Duration::from_micros(elapsed_us),
        }
    }

    /// Takes a read; if there is none, says how many milliseconds until there is.
    fn spend(&mut self, max: u64) -> Result<(), u64> {
        match self.level.checked_sub(READ) {
            Some(left) => {
                self.level = left;
                Ok(())
            }
            None if max == 0 => Err(NEVER_MS),
            None => {
                let missing = READ.saturating_sub(self.level);
                Err(missing.div_ceil(max).div_ceil(1_000))
            }
        }
    }
}

#[derive(Debug)]
struct Buckets {
    of: HashMap<Box<[u8]>, (Bucket, u64)>,
    /// At how many of them those are dropped that are full by now.
    swept_at: usize,
}

/// How often tenants read from this node.
#[derive(Debug)]
pub(crate) struct ReadRates(Mutex<Buckets>);

/// How often a tenant may still ask.
#[cfg(feature = "http")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Allowance {
    /// Requests a second, and at once.
    pub(crate) limit: u64,
    /// How many of them pass now, whether they read or write.
    pub(crate) remaining: u64,
    /// Whole seconds until all of them do.
    pub(crate) reset_seconds: u64,
}

impl ReadRates {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(Buckets {
            of: HashMap::new(),
            swept_at: READ_BUCKETS_SWEPT,
        }))
    }

    /// Counts a read of somebody, or refuses it for now.
    pub(crate) fn admit(&self, principal: &Principal, view: &ReadView) -> Result<(), Error> {
        let Some((tenant, max)) = limited(principal, view) else {
            return Ok(());
        };
        self.spend(tenant, max, Instant::now()).map_err(|wait_ms| {
            let message = format!("too many requests of this tenant, try again in {wait_ms} ms");
            Error::new(ErrorKind::RateLimited, message).with(RETRY_AFTER_MS, wait_ms)
        })
    }

    /// How often somebody may still ask, if that is limited.
    #[cfg(feature = "http")]
    pub(crate) fn allowance(&self, principal: &Principal, view: &ReadView) -> Option<Allowance> {
        let (tenant, max) = limited(principal, view)?;
        let reads = self.left(tenant, max, Instant::now());
        let writes = operations_left(view, tenant).unwrap_or(max);
        let remaining = reads.min(writes);
        Some(Allowance {
            limit: max,
            remaining,
            reset_seconds: match max {
                0 => NEVER_MS / 1_000,
                _ => u64::from(remaining < max),
            },
        })
    }

    fn spend(&self, tenant: &[u8], max: u64, now: Instant) -> Result<(), u64> {
        let mut buckets = self.0.lock();
        if let Some((bucket, quota)) = buckets.of.get_mut(tenant) {
            *bucket = bucket.filled(max, now);
            *quota = max;
            return bucket.spend(max);
        }
        let mut bucket = Bucket::full(max, now);
        bucket.spend(max)?;
        buckets.make_room(now);
        buckets.of.insert(tenant.into(), (bucket, max));
        Ok(())
    }

    #[cfg(any(test, feature = "http"))]
    fn left(&self, tenant: &[u8], max: u64, now: Instant) -> u64 {
        let buckets = self.0.lock();
        let bucket = buckets.of.get(tenant).map(|(bucket, _)| *bucket);
        let bucket = bucket.unwrap_or(Bucket::full(max, now));
        bucket.filled(max, now).level / READ
    }
}

impl Buckets {
    /// Drops what is full: as if it had never been asked. Seldom, so that it costs each read little.
    fn make_room(&mut self, now: Instant) {
        if self.of.len() < self.swept_at {
            return;
        }
        self.of
            .retain(|_, (bucket, max)| bucket.filled(*max, now).level < max.saturating_mul(READ));
        self.swept_at = self.of.len().saturating_mul(2).max(READ_BUCKETS_SWEPT);
    }
}

/// The tenant of somebody whose requests are limited, and to how many a second.
fn limited<'a>(principal: &'a Principal, view: &ReadView) -> Option<(&'a [u8], u64)> {
    let tenant = principal.tenant()?;
    let max = view.namespace(tenant).quota.max_ops_per_sec?;
    Some((tenant, max))
}

/// How many writes a tenant could make at once now: the replicated clock, which fills its bucket, stands still while nobody
/// writes, and goes on with the write.
pub(crate) fn operations_left(view: &ReadView, tenant: &[u8]) -> Option<u64> {
    let status = view.namespace(tenant);
    let (left, max) = (status.operations_left?, status.quota.max_ops_per_sec?);
    let idle_ms = present(view).since(view.now()).get();
    let filled = idle_ms.saturating_mul(max) / 1_000;
    Some(left.saturating_add(filled).min(max))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(start: Instant, us: u64) -> Instant {
        start + Duration::from_micros(us)
    }

    #[test]
    fn a_bucket_holds_a_second_and_fills_with_the_clock() {
        let (rates, start) = (ReadRates::new(), Instant::now());
        for left in (0..4).rev() {
            assert_eq!(rates.spend(b"acme", 4, start), Ok(()));
            assert_eq!(rates.left(b"acme", 4, start), left);
        }
        assert_eq!(rates.spend(b"acme", 4, start), Err(250));
        assert_eq!(rates.spend(b"acme", 4, after(start, 249_999)), Err(1));
        assert_eq!(rates.spend(b"other", 4, start), Ok(()), "each has its own");
        assert_eq!(rates.spend(b"acme", 4, after(start, 250_000)), Ok(()));
        assert_eq!(rates.spend(b"acme", 4, after(start, 250_000)), Err(250));
        assert_eq!(rates.left(b"acme", 4, after(start, 9_000_000)), 4);
    }

    /// D-SEC-8: who asks all the time gets exactly what they may have, however close the questions are.
    #[test]
    fn d_sec_8_asking_often_gives_neither_more_nor_less() {
        for (step_ns, max) in [(700, 1_000), (1_500, 1_000), (333_333, 10)] {
            let (rates, start) = (ReadRates::new(), Instant::now());
            let mut now = start;
            let mut granted = 0;
            while now.duration_since(start) < Duration::from_millis(500) {
                granted += u64::from(rates.spend(b"acme", max, now).is_ok());
                now += Duration::from_nanos(step_ns);
            }
            let expected = max + max / 2;
            assert!(expected.abs_diff(granted) <= 1, "{step_ns} {max}: {granted}");
        }
    }

    #[test]
    fn nothing_is_granted_of_nothing_and_another_quota_counts_at_once() {
        let (rates, now) = (ReadRates::new(), Instant::now());
        assert_eq!(rates.spend(b"acme", 0, after(now, 5_000_000)), Err(NEVER_MS));
        assert_eq!(rates.spend(b"acme", 2, now), Ok(()));
        assert_eq!(
            rates.left(b"acme", 1_000, now),
            1,
            "raising it gives nothing at once"
        );
        assert_eq!(rates.spend(b"acme", u64::MAX, after(now, 10)), Ok(()));
        assert_eq!(rates.spend(b"acme", 0, after(now, 20)), Err(NEVER_MS));
    }

    #[test]
    fn buckets_that_are_full_again_are_forgotten() {
        let (rates, now) = (ReadRates::new(), Instant::now());
        for tenant in 0..READ_BUCKETS_SWEPT {
            assert_eq!(rates.spend(&tenant.to_be_bytes(), 10, now), Ok(()));
        }
        assert_eq!(rates.0.lock().of.len(), READ_BUCKETS_SWEPT);
        assert_eq!(rates.spend(b"late", 10, after(now, 2_000_000)), Ok(()));
        assert_eq!(rates.0.lock().of.len(), 1);
    }
}
