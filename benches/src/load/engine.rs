//! Drives sessions in a closed or an open loop and gathers what they took.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use tokio::sync::{Mutex, Semaphore};

use super::driver::{Driver, Session};
use super::keys::{KeySpace, Random};
use super::options::Options;

/// Longest latency that is told apart; longer ones count as this.
const LATENCY_NANOS_MAX: u64 = 120_000_000_000;
/// Samples that a caller keeps before it adds them to the shared histograms.
const SAMPLES_HELD: usize = 256;
/// Histograms that callers share, to keep them off each other's lock and out of the cache.
const SHARDS: usize = 16;
/// Operations after which a caller lets others run, for a store that never makes it wait.
const OPERATIONS_A_TURN: u32 = 128;
/// Callers that write every key before the first measurement.
const PRELOAD_CALLERS: usize = 256;
/// Distinct errors that are told apart.
const ERRORS_TOLD: usize = 20;

/// What one measurement found.
#[derive(Debug)]
pub struct Outcome {
    /// Checked successes that finished within the measurement.
    pub operations: u64,
    /// Failures and wrong answers, by what they said; never counted above.
    pub errors: BTreeMap<String, u64>,
    /// Operations that were due within the measurement and never started (open loop): the store is slower than the rate.
    pub not_started: u64,
    /// Length of the measurement.
    pub seconds: f64,
    /// Processor seconds that this process used meanwhile, both for the load and, where it is
    /// embedded, for the store. Steadier than a rate where others use the machine. `None`
    /// where the system does not tell.
    pub cpu_seconds: Option<f64>,
    /// Nanoseconds from start (closed loop) or due time (open loop) to the checked answer.
    pub latency: Histogram<u64>,
}

struct Shared {
    keys: Arc<KeySpace>,
    reads_in_100: u8,
    measure_from: Instant,
    until: Instant,
    operations: AtomicU64,
    shards: Vec<Mutex<Histogram<u64>>>,
    errors: Mutex<BTreeMap<String, u64>>,
}

/// Operations that are due, in an open loop.
struct Schedule {
    due: Semaphore,
    taken: AtomicU64,
    begins: Instant,
    period: Duration,
}

fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LATENCY_NANOS_MAX, 3)
        .expect("the bounds are in order and three digits are allowed")
}

/// Processor time of this process so far, on Linux.
pub fn cpu_seconds() -> Option<f64> {
    // proc(5): user and system time are the 14th and 15th field, in hundredths of a second;
    // the second, in brackets, may hold spaces.
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let (_, fields) = stat.rsplit_once(") ")?;
    let ticks = fields
        .split(' ')
        .skip(11)
        .take(2)
        .map(|field| field.parse::<u32>().ok())
        .sum::<Option<u32>>()?;
    Some(f64::from(ticks) / 100.0)
}

/// Writes every key once.
///
/// # Errors
///
/// The first failure.
pub async fn preload<D: Driver>(driver: &D, keys: &Arc<KeySpace>, seed: u64) -> Result<(), String> {
    let next = Arc::new(AtomicU64::new(0));
    let mut callers = Vec::new();
    for caller in 0..PRELOAD_CALLERS.min(keys.len()) {
        let mut session = driver.session(caller).await?;
        let (keys, next) = (Arc::clone(keys), Arc::clone(&next));
        let mut random = Random::new(seed ^ u64::try_from(caller).unwrap_or(0));
        callers.push(tokio::spawn(async move {
            let mut value = Vec::new();
            loop {
                let number = usize::try_from(next.fetch_add(1, Ordering::Relaxed)).unwrap_or(usize::MAX);
                if number >= keys.len() {
                    return Ok(());
                }
                keys.value(number, &mut random, &mut value);
                session.put(&keys, number, &value).await?;
            }
        }));
    }
    for caller in callers {
        caller
            .await
            .map_err(|error| error.to_string())?
            .map_err(|error: String| format!("preload: {error}"))?;
    }
    Ok(())
}

/// Runs one measurement with so many callers.
///
/// # Errors
///
/// When the load cannot begin: what goes wrong later is in the outcome.
pub async fn run<D: Driver>(
    driver: &D,
    keys: &Arc<KeySpace>,
    options: &Options,
    callers: usize,
) -> Result<Outcome, String> {
    let mut sessions = Vec::with_capacity(callers);
    for caller in 0..callers {
        sessions.push(driver.session(caller).await?);
    }
    let begins = Instant::now();
    let measure_from = begins + Duration::from_secs_f64(options.warmup_seconds);
    let shared = Arc::new(Shared {
        keys: Arc::clone(keys),
        reads_in_100: options.reads_in_100(),
        measure_from,
        until: measure_from + Duration::from_secs_f64(options.seconds),
        operations: AtomicU64::new(0),
        shards: (0..SHARDS).map(|_| Mutex::new(histogram())).collect(),
        errors: Mutex::default(),
    });
    let schedule = options.rate.map(|rate| {
        let period = Duration::from_secs_f64(1.0 / rate.max(0.001));
        Arc::new(Schedule {
            due: Semaphore::new(0),
            taken: AtomicU64::new(0),
            begins,
            period,
        })
    });
    let stop = Arc::new(AtomicBool::new(false));
    let pacer = schedule
        .clone()
        .map(|schedule| spawn_pacer(schedule, shared.until, Arc::clone(&stop)));
    let seed = options
        .seed
        .wrapping_mul(31)
        .wrapping_add(u64::try_from(callers).unwrap_or(0));
    let tasks: Vec<_> = sessions
        .into_iter()
        .zip(0_u64..)
        .map(|(session, caller)| {
            let random = Random::new(seed ^ caller.wrapping_mul(0x5851_f42d_4c95_7f2d));
            let caller = Caller {
                shared: Arc::clone(&shared),
                random,
                held: Vec::new(),
                shard: caller,
                done: 0,
            };
            tokio::spawn(caller.drive(session, schedule.clone()))
        })
        .collect();
    tokio::time::sleep_until(measure_from.into()).await;
    let cpu_before = cpu_seconds();
    tokio::time::sleep_until(shared.until.into()).await;
    let cpu_after = cpu_seconds();
    for task in tasks {
        task.await.map_err(|error| error.to_string())?;
    }
    stop.store(true, Ordering::Relaxed);
    if let Some(pacer) = pacer {
        let _ = pacer.join();
    }
    let latency = shared.latency().await?;
    let errors = shared.errors.lock().await.clone();
    Ok(Outcome {
        operations: shared.operations.load(Ordering::Relaxed),
        errors,
        not_started: schedule.map_or(0, |schedule| schedule.not_started(&shared)),
        seconds: options.seconds,
        cpu_seconds: cpu_before.zip(cpu_after).map(|(before, after)| after - before),
        latency,
    })
}

impl Shared {
    /// The shards as one histogram.
    async fn latency(&self) -> Result<Histogram<u64>, String> {
        let mut latency = histogram();
        for shard in &self.shards {
            latency
                .add(&*shard.lock().await)
                .map_err(|error| error.to_string())?;
        }
        Ok(latency)
    }
}

impl Schedule {
    /// When an operation is due.
    fn due_at(&self, number: u64) -> Instant {
        let nanos = self.period.as_nanos().saturating_mul(u128::from(number));
        self.begins + Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    fn due_upto(&self, now: Instant) -> u64 {
        let nanos = now.saturating_duration_since(self.begins).as_nanos() / self.period.as_nanos().max(1);
        u64::try_from(nanos).unwrap_or(u64::MAX).saturating_add(1)
    }

    /// Operations of the measurement that nobody took.
    fn not_started(&self, shared: &Shared) -> u64 {
        let first = self.due_upto(shared.measure_from);
        self.due_upto(shared.until)
            .saturating_sub(self.taken.load(Ordering::Relaxed).max(first))
    }
}

/// Makes operations due. A thread of its own: the runtime's timers tick in milliseconds,
/// and are late when the runtime is busy.
fn spawn_pacer(
    schedule: Arc<Schedule>,
    until: Instant,
    stop: Arc<AtomicBool>,
) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        let mut released = 0;
        while !stop.load(Ordering::Relaxed) {
            let now = Instant::now();
            let due = schedule.due_upto(now.min(until));
            let more = usize::try_from(due.saturating_sub(released)).unwrap_or(0);
            schedule.due.add_permits(more);
            released = due.max(released);
            if now >= until {
                // Callers that wait for work that will not come see the end.
                schedule.due.close();
                return;
            }
            // tidy-allow(sleep): releases work at a set pace; the clock itself is what is waited for.
            std::thread::sleep(
                schedule
                    .due_at(released)
                    .saturating_duration_since(Instant::now())
                    .min(Duration::from_millis(10)),
            );
        }
    })
}

struct Caller {
    shared: Arc<Shared>,
    random: Random,
    held: Vec<u64>,
    shard: u64,
    done: u64,
}

impl Caller {
    async fn drive(mut self, mut session: impl Session, schedule: Option<Arc<Schedule>>) {
        let mut value = Vec::new();
        let mut turn = 0_u32;
        let mut now = Instant::now();
        while now < self.shared.until {
            let began = match &schedule {
                None => now,
                Some(schedule) => {
                    let Ok(permit) = schedule.due.acquire().await else {
                        break;
                    };
                    permit.forget();
                    schedule.due_at(schedule.taken.fetch_add(1, Ordering::Relaxed))
                }
            };
            let keys = &self.shared.keys;
            let number = keys.any(&mut self.random);
            let reads = self.random.below(100) < usize::from(self.shared.reads_in_100);
            let result = if reads {
                session.get(keys, number).await
            } else {
                keys.value(number, &mut self.random, &mut value);
                session.put(keys, number, &value).await
            };
            now = Instant::now();
            self.note(began, now, result).await;
            turn += 1;
            if turn.is_multiple_of(OPERATIONS_A_TURN) {
                tokio::task::yield_now().await;
            }
        }
        self.hand_in().await;
        self.shared.operations.fetch_add(self.done, Ordering::Relaxed);
    }

    async fn note(&mut self, began: Instant, ended: Instant, result: Result<(), String>) {
        if let Err(error) = result {
            // Told even when it happens while warming up: a wrong answer is never noise.
            let mut errors = self.shared.errors.lock().await;
            let known = errors.len() < ERRORS_TOLD || errors.contains_key(&error);
            *errors
                .entry(if known { error } else { "other errors".to_owned() })
                .or_default() += 1;
            return;
        }
        if ended >= self.shared.measure_from && ended <= self.shared.until {
            self.done += 1;
        }
        if began >= self.shared.measure_from {
            let nanos = ended.saturating_duration_since(began).as_nanos();
            self.held.push(u64::try_from(nanos).unwrap_or(u64::MAX));
            if self.held.len() >= SAMPLES_HELD {
                self.hand_in().await;
            }
        }
    }

    async fn hand_in(&mut self) {
        let shard = usize::try_from(self.shard).unwrap_or(0) % SHARDS;
        if let Some(shard) = self.shared.shards.get(shard) {
            let mut histogram = shard.lock().await;
            for nanos in self.held.drain(..) {
                histogram.saturating_record(nanos);
            }
        }
    }
}

#[cfg(test)]
mod tests;
