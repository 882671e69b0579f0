//! A node with many keys, and writers that go on while something else happens to it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use concord_server::{Concord, Error};
use hdrhistogram::Histogram;
use tokio::task::JoinSet;

use crate::random::{Random, key_of};

/// Keys of such a node.
pub const KEYS: usize = 1_000_000;
/// Keys in a request of the loader.
const ITEMS: usize = 500;
/// Requests of the loader that are under way at a time.
const LOADERS: usize = 8;
/// Longer waits count as this.
const LATENCY_MICROS_MAX: u64 = 60_000_000;

/// What went wrong with a measurement.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Key number `number`, of 32 letters.
#[must_use]
pub fn key(number: usize) -> String {
    key_of(number).iter().copied().map(char::from).collect()
}

/// A value of 100 letters, half of which nobody could leave out: hexadecimal digits without any order.
#[must_use]
pub fn value(number: usize) -> Vec<u8> {
    let parts = (0..4).map(|part| key_of(number.wrapping_mul(4).wrapping_add(part)));
    parts.flatten().take(100).collect()
}

/// Puts the first `count` keys.
///
/// # Errors
///
/// Those of a put.
pub async fn load(db: &Concord, count: usize) -> Result<(), Failure> {
    let mut under_way = JoinSet::new();
    for first in (0..count).step_by(ITEMS) {
        if under_way.len() >= LOADERS {
            under_way.join_next().await.transpose()?.transpose()?;
        }
        let (db, last) = (db.clone(), count.min(first + ITEMS));
        under_way.spawn(async move {
            let items: Vec<_> = (first..last).map(|number| (key(number), value(number))).collect();
            db.put_many(items).await.map(drop)
        });
    }
    while let Some(done) = under_way.join_next().await {
        done??;
    }
    Ok(())
}

/// Callers that overwrite keys at random, until they are told to end.
#[derive(Debug)]
pub struct Writers {
    ends: Arc<AtomicBool>,
    shards: Arc<[Mutex<Histogram<u64>>]>,
    since: Instant,
    callers: JoinSet<Result<(), Error>>,
}

/// What the writers did meanwhile.
#[derive(Debug)]
pub struct Meanwhile {
    /// How long that was.
    pub took: Duration,
    /// Of every write that was acknowledged, in microseconds.
    pub latency: Histogram<u64>,
}

impl Meanwhile {
    /// Acknowledged writes a second.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.latency.len() as f64 / self.took.as_secs_f64()
    }

    /// What so many of a hundred writes took at most, in milliseconds.
    #[must_use]
    pub fn millis_at(&self, percent: f64) -> f64 {
        self.latency.value_at_percentile(percent) as f64 / 1_000.0
    }
}

impl Writers {
    /// Starts so many callers, each of which writes again when it was answered, or, with a rate of all together, when it is
    /// time to: then a wait counts from when a write was due.
    #[must_use]
    pub fn start(db: &Concord, keys: usize, callers: usize, rate: Option<f64>) -> Self {
        let ends = Arc::new(AtomicBool::new(false));
        let shards: Arc<[_]> = (0..callers).map(|_| Mutex::new(histogram())).collect();
        let mut tasks = JoinSet::new();
        let period = rate.map(|rate| Duration::from_secs_f64(callers as f64 / rate));
        for caller in 0..callers {
            let (db, ends, shards) = (db.clone(), Arc::clone(&ends), Arc::clone(&shards));
            tasks.spawn(async move {
                let mut random = Random::new(u64::try_from(caller).unwrap_or_default());
                let mut due = Instant::now();
                if let Some(period) = period {
                    // Not all at once.
                    due += period.mul_f64(caller as f64 / callers as f64);
                }
                while !ends.load(Ordering::Relaxed) {
                    match period {
                        // tidy-allow(sleep): writes are due at a set pace.
                        Some(_) => tokio::time::sleep_until(due.into()).await,
                        None => due = Instant::now(),
                    }
                    let number = random.below(keys);
                    db.put(key(number), value(number)).await?;
                    let micros = u64::try_from(due.elapsed().as_micros()).unwrap_or(u64::MAX);
                    if let Some(shard) = shards.get(caller) {
                        shard
                            .lock()
                            .unwrap_or_else(PoisonError::into_inner)
                            .saturating_record(micros.max(1));
                    }
                    due += period.unwrap_or_default();
                }
                Ok(())
            });
        }
        Self {
            ends,
            shards,
            since: Instant::now(),
            callers: tasks,
        }
    }

    /// What was written since the last look.
    pub fn look(&mut self) -> Meanwhile {
        let mut latency = histogram();
        for shard in self.shards.iter() {
            let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            // Both have the same bounds.
            let _ = latency.add(&*shard);
            shard.reset();
        }
        let now = Instant::now();
        let took = now.duration_since(self.since);
        self.since = now;
        Meanwhile { took, latency }
    }

    /// What is written in so long from now.
    pub async fn watch(&mut self, length: Duration) -> Meanwhile {
        self.look();
        // tidy-allow(sleep): what is done in a length of time is what is measured.
        tokio::time::sleep(length).await;
        self.look()
    }

    /// Ends them.
    ///
    /// # Errors
    ///
    /// The first write that failed.
    pub async fn end(mut self) -> Result<(), Failure> {
        self.ends.store(true, Ordering::Relaxed);
        while let Some(ended) = self.callers.join_next().await {
            ended??;
        }
        Ok(())
    }
}

fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LATENCY_MICROS_MAX, 3)
        .expect("the bounds are in order and three digits are allowed")
}

/// The one in the middle.
#[must_use]
pub fn median(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    all.get(all.len() / 2).copied().unwrap_or_default()
}
