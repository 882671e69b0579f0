//! The load engine against sessions that stall or answer wrongly.

use clap::Parser;

use super::*;

/// Answers at once, but for one stall in its life; and wrongly when told.
struct Stalls {
    stall: Duration,
    stalled: Arc<AtomicBool>,
    wrong: bool,
}

struct StallSession {
    stall: Duration,
    stalled: Arc<AtomicBool>,
    wrong: bool,
    operations: u32,
}

impl Driver for Stalls {
    type Session = StallSession;

    async fn session(&self, _: usize) -> Result<StallSession, String> {
        let stalled = Arc::clone(&self.stalled);
        Ok(StallSession {
            stall: self.stall,
            stalled,
            wrong: self.wrong,
            operations: 0,
        })
    }
}

impl Session for StallSession {
    async fn put(&mut self, _: &KeySpace, _: usize, _: &[u8]) -> Result<(), String> {
        self.operations += 1;
        if self.operations == 50 && !self.stalled.swap(true, Ordering::Relaxed) {
            // tidy-allow(sleep): the stall is what the test is about.
            tokio::time::sleep(self.stall).await;
        }
        if self.wrong {
            Err("wrong answer: planted".to_owned())
        } else {
            Ok(())
        }
    }

    async fn get(&mut self, _: &KeySpace, _: usize) -> Result<(), String> {
        unreachable!("the tests only write")
    }
}

fn options(more: &[&str]) -> Options {
    let base = [
        "concord-bench",
        "--driver",
        "nothing",
        "--seconds",
        "1",
        "--warmup-seconds",
        "0",
    ];
    Options::parse_from(base.iter().chain(more))
}

async fn measure(stall: Duration, wrong: bool, options: &Options) -> Outcome {
    let driver = Stalls {
        stall,
        stalled: Arc::default(),
        wrong,
    };
    run(&driver, &Arc::new(KeySpace::new(100, 50, 1)), options, 1)
        .await
        .unwrap()
}

/// A store that answers at once but stands still for 400 ms once. In a closed loop one
/// operation saw it; in an open one everything that was due meanwhile did, which is what
/// users would have seen: 200 of the 500 operations waited, the median of those half of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn open_loop_charges_a_stall_to_everything_that_was_due() {
    let stall = Duration::from_millis(400);
    let open = measure(stall, false, &options(&["--rate", "500"])).await;
    let share = open.latency.value_at_quantile(0.75);
    assert!(share > 40_000_000, "p75 is {share} ns");
    assert!(
        open.latency.len() > 450,
        "{} operations were due",
        open.latency.len()
    );

    let closed = measure(stall, false, &options(&[])).await;
    let share = closed.latency.value_at_quantile(0.75);
    assert!(share < 40_000_000, "p75 is {share} ns");
    assert!(closed.latency.max() >= 399_000_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rate_is_kept_by_a_store_that_keeps_up() {
    let outcome = measure(Duration::ZERO, false, &options(&["--rate", "2000"])).await;
    assert!(
        (1_800..=2_001).contains(&outcome.operations),
        "{} operations",
        outcome.operations
    );
    assert!(outcome.not_started < 100, "{} not started", outcome.not_started);
}

/// A store that stands still to the end: what was due and never started is told.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operations_that_never_started_are_told() {
    let outcome = measure(Duration::from_millis(1_500), false, &options(&["--rate", "1000"])).await;
    assert!(outcome.not_started > 800, "{} not started", outcome.not_started);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_answers_never_count() {
    let outcome = measure(Duration::ZERO, true, &options(&["--rate", "100"])).await;
    assert_eq!((outcome.operations, outcome.latency.len()), (0, 0));
    assert!(outcome.errors["wrong answer: planted"] > 90);
}
