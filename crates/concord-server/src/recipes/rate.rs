//! The rate limiter: a token bucket that all share, in the replicated clock.
//!
//! The bucket gets one permit back at each *tick*, a multiple of the rate's period. All there is to know
//! of it is the tick at which it would be full again: `full_at`. Taking `n` permits at tick `now` moves
//! `full_at` to `max(full_at, now) + n`, and is allowed as long as that is no more than `burst` after
//! `now`. An absent key is a full bucket, so the key's time to live ends then, and a limiter
//! that nobody uses takes no room.
//!
//! ```text
//!   in one transaction, of which at most one step happens:
//!     full_at = hi      ? put hi + n          each step is for one state that others may have
//!     ...                                     left behind since this node looked, so that
//!     full_at = lo      ? put lo + n          taking permits needs no second round
//!     full_at <= now    ? put now + n
//!     absent            ? put now + n
//! ```
//!
//! The steps go from the greatest down, so that the state that one leaves fits no later one.

use std::time::Duration;

use concord_core::ids::{Revision, Timestamp};
use tokio::time::Instant;

use super::claim::is_passing;
use super::name::{Kind, Place};
use crate::concord::Concord;
use crate::error::{Error, ErrorKind};
use crate::limits::{RATE_CLOCK_LAG_MAX, RATE_STEPS_MAX, RECIPE_RETRY_PAUSE};
use crate::txn::{StepResult, Transaction, key};

impl Concord {
    /// A rate limiter of this name that all processes share.
    ///
    /// ```
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let directory = tempfile::tempdir()?;
    /// # let db = concord_server::Concord::open(concord_server::Config::at(directory.path())).await?;
    /// use std::time::Duration;
    /// use concord_server::recipes::{Decision, Rate};
    ///
    /// let minute = Duration::from_secs(60);
    /// let limiter = db.rate_limiter("login:ada", Rate::new(10, minute)?);
    /// match limiter.try_acquire(1).await? {
    ///     Decision::Granted { .. } => println!("come in"),
    ///     Decision::Denied { retry_after } => println!("try again in {retry_after:?}"),
    /// }
    /// # db.shutdown().await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// Limiters of one name and different periods know nothing of each other.
    pub fn rate_limiter(&self, name: impl Into<String>, rate: Rate) -> RateLimiter {
        RateLimiter {
            concord: self.clone(),
            place: Place::new(Kind::RateLimiter, name),
            rate,
        }
    }
}

/// How much is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    period_us: u64,
    burst: u64,
}

impl Rate {
    /// So many permits in each such time on average, and at most so many at once.
    ///
    /// # Errors
    ///
    /// `invalid_request` for no permits, no time, or more than a million permits a second.
    pub fn new(permits: u32, per: Duration) -> Result<Self, Error> {
        let per_us = u64::try_from(per.as_micros()).unwrap_or(u64::MAX);
        // Rounded up: never more than asked for.
        let period_us = per_us.checked_add(u64::from(permits).saturating_sub(1));
        let period_us = period_us.and_then(|sum| sum.checked_div(u64::from(permits)));
        match period_us {
            Some(period_us) if period_us > 0 && per_us >= u64::from(permits) => Ok(Self {
                period_us,
                burst: u64::from(permits),
            }),
            Some(_) | None => {
                let message = "a rate is at least one permit in some time, and at most a million a second";
                Err(Error::invalid_request(message))
            }
        }
    }

    /// At most so many permits at once, after a time of rest; at least 1.
    #[must_use]
    pub fn burst(mut self, permits: u32) -> Self {
        self.burst = u64::from(permits.max(1));
        self
    }

    /// The tick that it is at a time.
    fn tick(self, now: Timestamp) -> u64 {
        micros(now) / self.period_us
    }

    /// How long so many ticks take, in whole milliseconds that are not less.
    fn ticks(self, count: u64) -> Duration {
        Duration::from_millis(count.saturating_mul(self.period_us).div_ceil(1_000).max(1))
    }
}

fn micros(time: Timestamp) -> u64 {
    time.get().saturating_mul(1_000)
}

/// A rate limiter: see [`Concord::rate_limiter`].
#[derive(Clone, Debug)]
pub struct RateLimiter {
    concord: Concord,
    place: Result<Place, Error>,
    rate: Rate,
}

/// Whether permits were granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// They are.
    Granted {
        /// The revision at which they were: greater than that of every grant before.
        token: Revision,
    },
    /// They are not. Nothing was taken.
    Denied {
        /// When they could be, if nobody else takes any.
        retry_after: Duration,
    },
}

/// What this node knows of a bucket.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    full_at: u64,
    now: Timestamp,
}

/// What came of an attempt to take permits.
enum Attempt {
    /// They were taken from a bucket that would have been full at this tick.
    Taken { from: u64, at: Revision },
    /// The bucket is not as any step expects it.
    Missed { at: Revision },
}

impl RateLimiter {
    /// Takes so many permits, or none. Usually one round of consensus for a grant, and none for a
    /// denial, which is judged by what this node knows.
    ///
    /// # Errors
    ///
    /// `invalid_request` for a bad name, for no permits, or for more than the bucket holds;
    /// `invalid_value` if the key holds something else; else as [`Concord::put`]. After
    /// `outcome_unknown` permits may be missing.
    pub async fn try_acquire(&self, permits: u32) -> Result<Decision, Error> {
        let permits = u64::from(permits);
        if permits == 0 || permits > self.rate.burst {
            let message = format!("{permits} permits are asked for, of {}", self.rate.burst);
            return Err(Error::invalid_request(message));
        }
        let name = format!("{}{}us", self.place.clone()?.prefix(), self.rate.period_us);
        let deadline = Instant::now() + self.concord.request_timeout();
        let mut missing = permits;
        let mut bucket = self.look(&name, None).await?;
        loop {
            if let Some(retry_after) = self.denies(bucket, missing) {
                return Ok(Decision::Denied { retry_after });
            }
            match self.attempt(&name, bucket, missing).await? {
                Attempt::Taken { from, at } => {
                    let fresh = self.look(&name, Some(at)).await?;
                    // While nothing can expire the clock stands still until somebody writes. Who was
                    // judged by such a clock has taken what the bucket would have got back since.
                    let idle = self.rate.tick(fresh.now).saturating_sub(from);
                    let lag = fresh.now.since(bucket.now).get();
                    if lag <= RATE_CLOCK_LAG_MAX || idle == 0 {
                        return Ok(Decision::Granted { token: at });
                    }
                    (missing, bucket) = (missing.min(idle), fresh);
                }
                // Others were faster. They have got permits, so somebody gets on.
                Attempt::Missed { at } => bucket = self.look(&name, Some(at)).await?,
            }
            if Instant::now() >= deadline {
                let message = "others were faster at every attempt";
                return Err(Error::new(ErrorKind::OutcomeUnknown, message));
            }
        }
    }

    /// Waits until so many permits are granted. Not fair: who asks again first gets them.
    ///
    /// # Errors
    ///
    /// As [`RateLimiter::try_acquire`]. What passes by itself is waited for.
    pub async fn acquire(&self, permits: u32) -> Result<Revision, Error> {
        loop {
            match self.try_acquire(permits).await {
                Ok(Decision::Granted { token }) => return Ok(token),
                Ok(Decision::Denied { retry_after }) => {
                    tokio::time::sleep(retry_after.max(Duration::from_millis(1))).await;
                }
                Err(error) if is_passing(&error) && !error.may_have_written() => {
                    tokio::time::sleep(RECIPE_RETRY_PAUSE).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// As [`RateLimiter::acquire`], at most this long; `None` if that was not enough.
    ///
    /// # Errors
    ///
    /// As [`RateLimiter::try_acquire`].
    pub async fn acquire_within(&self, patience: Duration, permits: u32) -> Result<Option<Revision>, Error> {
        super::guard::within(patience, self.acquire(permits)).await
    }

    async fn look(&self, name: &str, since: Option<Revision>) -> Result<Bucket, Error> {
        let get = self.concord.get(name).eventual();
        let found = match since {
            Some(revision) => get.min_revision(revision).await?,
            None => get.await?,
        };
        let full_at = match found.as_ref() {
            None => Some(0),
            Some(entry) => entry.text().and_then(|text| text.parse().ok()),
        };
        let Some(full_at) = full_at else {
            let message = format!("`{name}` does not hold a tick");
            return Err(Error::new(ErrorKind::InvalidValue, message));
        };
        Ok(Bucket {
            full_at,
            now: found.now,
        })
    }

    /// How long to wait for so many permits; `None`: they are there.
    fn denies(&self, bucket: Bucket, permits: u64) -> Option<Duration> {
        let now = self.rate.tick(bucket.now);
        let after = bucket.full_at.max(now).saturating_add(permits);
        let wanted = after.checked_sub(self.rate.burst).filter(|tick| *tick > now)?;
        let until_us = wanted.saturating_mul(self.rate.period_us);
        Some(Duration::from_micros(until_us.saturating_sub(micros(bucket.now))))
    }

    async fn attempt(&self, name: &str, bucket: Bucket, permits: u64) -> Result<Attempt, Error> {
        let rate = self.rate;
        let now = rate.tick(bucket.now);
        let least = bucket.full_at.max(now);
        let put = |from: u64| {
            let full_at = from.saturating_add(permits);
            let ttl = rate.ticks(full_at.saturating_sub(now));
            key(name).put(text(full_at)).ttl(ttl)
        };
        // Above this the bucket has too little left; it holds at least what this node knows of.
        let most = now.saturating_add(rate.burst).saturating_sub(permits);
        let first = if bucket.full_at > now {
            least
        } else {
            least.saturating_add(1)
        };
        let most = most.min(first.saturating_add(RATE_STEPS_MAX));
        let mut froms: Vec<u64> = (first..=most).rev().collect();
        let mut txn = self.concord.txn();
        for from in &froms {
            txn = txn.then(
                Transaction::new()
                    .when(key(name).value().is(text(*from)))
                    .then(put(*from)),
            );
        }
        if bucket.full_at <= now {
            let is_full = key(name).value().is_less_than(text(now.saturating_add(1)));
            txn = txn.then(Transaction::new().when(is_full).then(put(now)));
            froms.push(now);
        }
        txn = txn.then(Transaction::new().when(key(name).is_absent()).then(put(least)));
        froms.push(least);
        let done = txn.await?;
        let is_done = |result: &StepResult| matches!(result, StepResult::Transacted(step) if step.succeeded);
        let at = done.revision;
        let step = done
            .results
            .iter()
            .position(is_done)
            .and_then(|place| froms.get(place));
        Ok(step.map_or(Attempt::Missed { at }, |from| Attempt::Taken { from: *from, at }))
    }
}

/// A tick as it is stored: texts have the order of their numbers.
fn text(tick: u64) -> String {
    format!("{tick:020}")
}
