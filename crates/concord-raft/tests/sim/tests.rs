//! The runs.

use std::collections::BTreeMap;
#[cfg(tokio_unstable)]
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::machines::{Flaw, TestStore, plant};
use crate::plan::{Fault, Plan};
use crate::scenario::{self, Report};
use crate::workload::data::Data;

/// Seeds that once broke something, with what it was.
const COMMITTED: &str = include_str!("../../testdata/seeds/sim.txt");
/// Seeds besides the committed ones when nothing else is asked for. They count up from
/// `BASE_SEED`: a gate gives one commit one verdict, and chance is left to campaigns.
const SEEDS: u64 = 3;
const BASE_SEED: u64 = 1_000;
/// From this many seeds on, every kind of fault must have happened.
const SEEDS_FOR_ALL_FAULTS: u64 = 30;

fn number(text: &str) -> u64 {
    let parsed = match text.trim().strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.trim().parse(),
    };
    parsed.unwrap_or_else(|_| panic!("{text:?} is not a seed or a number"))
}

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| number(&text))
}

fn committed() -> Vec<u64> {
    let seeds = COMMITTED.lines().filter_map(|line| line.split('#').next());
    seeds.filter(|seed| !seed.trim().is_empty()).map(number).collect()
}

/// What happened in all runs together.
#[derive(Default)]
struct Totals {
    seeds: u64,
    operations: usize,
    answered: usize,
    terms_led: usize,
    states_compared: u64,
    simulated: Duration,
    marks: BTreeMap<&'static str, u64>,
    violations: Vec<String>,
}

impl Totals {
    fn add(&mut self, report: &Report) {
        self.seeds += 1;
        self.operations += report.operations;
        self.answered += report.answered;
        self.terms_led += report.terms_led;
        self.states_compared += report.states_compared;
        self.simulated += report.simulated;
        for (mark, times) in report.trace.marks() {
            *self.marks.entry(mark).or_default() += times;
        }
    }

    /// Prints what happened, and fails if any run broke a promise.
    fn conclude(&self) {
        println!(
            "{} seeds, {:?} simulated, {} operations, {} answered, {} terms led, {} states compared",
            self.seeds, self.simulated, self.operations, self.answered, self.terms_led, self.states_compared
        );
        for (mark, times) in &self.marks {
            println!("  {times:>8} {mark}");
        }
        let broken = &self.violations;
        assert!(
            broken.is_empty(),
            "{} seeds broke a promise:\n{}",
            broken.len(),
            broken.join("\n")
        );
    }
}

/// Runs a seed; says what it broke.
fn run_seed(seed: u64, totals: &mut Totals) {
    match scenario::run::<TestStore>(Plan::from_seed(seed)) {
        Ok(report) => {
            println!(
                "seed {seed:#x}: trace {:016x}, {} of {} operations answered, {} terms",
                report.trace.hash(),
                report.answered,
                report.operations,
                report.terms_led
            );
            totals.add(&report);
        }
        Err(violation) => {
            println!("{violation}\nagain: cargo xtask sim --seed {seed}\n");
            totals
                .violations
                .push(format!("seed {seed:#x}: {}", violation.reason));
        }
    }
}

#[test]
fn all_seeds_hold() {
    let mut totals = Totals::default();
    if let Some(seed) = setting("CONCORD_SIM_SEED") {
        run_seed(seed, &mut totals);
        totals.conclude();
        return;
    }
    for seed in committed() {
        run_seed(seed, &mut totals);
    }
    let base = setting("CONCORD_SIM_BASE_SEED").unwrap_or(BASE_SEED);
    let limit = setting("CONCORD_SIM_MINUTES").map(|minutes| Duration::from_secs(60 * minutes));
    let seeds = setting("CONCORD_SIM_SEEDS").unwrap_or(SEEDS);
    println!("seeds from {base:#x}");
    let began = Instant::now();
    for number in 0.. {
        let more = match limit {
            Some(limit) => began.elapsed() < limit,
            None => number < seeds,
        };
        if !more {
            break;
        }
        run_seed(base.wrapping_add(number), &mut totals);
    }
    totals.conclude();
    assert!(totals.answered > 100, "nothing much happened");
    if totals.seeds >= SEEDS_FOR_ALL_FAULTS {
        let events = [
            "judged: lease ended by time",
            "judged: lock handed over",
            "judged: unknown but done",
            "watch: behind compaction",
            "lock lost",
            "index compared with all records",
            "asked again by name",
            "judged: guarded write",
            "judged by a policy that is gone",
            "node upgraded",
            "feature refused by its node",
            "feature refused at apply",
            "restored",
            "restore left in the middle",
            "restore given way to another",
            "a backup is seen",
        ];
        for mark in Fault::ALL.map(Fault::name).into_iter().chain(events) {
            assert!(
                totals.marks.get(mark).is_some_and(|times| *times > 0),
                "{mark} never happened"
            );
        }
    }
}

// Only where tokio's own choices come from the seed: see `world::new_runtime`.
#[cfg(tokio_unstable)]
#[test]
fn the_same_seed_gives_the_same_trace() {
    let run = |seed| {
        scenario::run::<TestStore>(Plan::from_seed(seed))
            .unwrap_or_else(|violation| panic!("{violation}"))
            .trace
    };
    let mut hashes = BTreeSet::new();
    for seed in 1..=6 {
        let (first, second) = (run(seed), run(seed));
        assert_eq!(
            first.hash(),
            second.hash(),
            "seed {seed}: {}",
            first.parting(&second)
        );
        hashes.insert(first.hash());
    }
    assert_eq!(hashes.len(), 6, "a trace that says nothing");
}

/// Runs plans until one is found to break a promise of the given kind.
#[track_caller]
fn is_found(within_seeds: u64, what: &[&str], run: impl Fn(Plan) -> Option<String>) {
    for seed in 0..within_seeds {
        let mut plan = Plan::from_seed(seed);
        // One thing at a time.
        (plan.rolling, plan.workload.featured) = (false, false);
        plan.workload.restorers = 0;
        if let Some(reason) = run(plan) {
            assert!(
                what.iter().any(|kind| reason.contains(kind)),
                "seed {seed} found something else: {reason}"
            );
            println!(
                "found at seed {seed}: {}",
                reason.lines().next().unwrap_or_default()
            );
            return;
        }
    }
    panic!("the planted bug was not found in {within_seeds} seeds");
}

#[test]
fn requests_applied_twice_are_found() {
    is_found(40, &["I7"], |mut plan| {
        (plan.nodes, plan.spares) = (3, 0);
        plan.faults = vec![Fault::Resets, Fault::IsolateLeader, Fault::Kill];
        plan.fault_every_ms = 300;
        plan.workload.data = Data::none();
        plan.workload.weights = [1, 0, 4, 2, 0, 0, 0];
        let _planted = plant(Flaw::Forgetful);
        scenario::run::<TestStore>(plan)
            .err()
            .map(|violation| violation.reason)
    });
}

#[test]
fn stale_reads_are_found() {
    is_found(40, &["I6"], |mut plan| {
        (plan.nodes, plan.spares) = (3, 0);
        plan.faults = vec![Fault::Partition, Fault::Turbulence];
        plan.workload.calls_eventual_strong = true;
        plan.workload.data = Data::none();
        plan.workload.weights = [2, 0, 2, 1, 0, 4, 0];
        scenario::run::<TestStore>(plan)
            .err()
            .map(|violation| violation.reason)
    });
}

#[test]
fn compares_that_do_not_count_are_found() {
    is_found(10, &["I6"], |mut plan| {
        plan.faults = vec![Fault::Transfer];
        plan.workload.data = Data::transactions();
        let _planted = plant(Flaw::Careless);
        scenario::run::<TestStore>(plan)
            .err()
            .map(|violation| violation.reason)
    });
}

/// I22, D-SEC-1: a write that was allowed before a revocation arrives behind it.
#[test]
fn writes_by_rights_that_are_gone_are_found() {
    is_found(20, &["I22"], |mut plan| {
        (plan.nodes, plan.spares) = (3, 0);
        plan.faults = vec![Fault::Partition, Fault::Transfer];
        plan.workload.data = Data {
            guarded: 3,
            ..Data::none()
        };
        let _planted = plant(Flaw::Trusting);
        scenario::run::<TestStore>(plan)
            .err()
            .map(|violation| violation.reason)
    });
}

fn restoring(plan: &mut Plan) {
    (plan.nodes, plan.spares) = (3, 0);
    plan.faults = vec![Fault::Kill, Fault::Transfer, Fault::Resets];
    plan.workload.data = Data::none();
    plan.workload.restore();
}

/// I23: while leaders change, and those who drive restores die or leave.
#[test]
fn a_restore_in_the_middle_of_faults_happens_wholly_or_not_at_all() {
    let mut totals = Totals::default();
    for seed in 0..3 {
        let mut plan = Plan::from_seed(seed);
        restoring(&mut plan);
        match scenario::run::<TestStore>(plan) {
            Ok(report) => totals.add(&report),
            Err(violation) => totals.violations.push(violation.to_string()),
        }
    }
    totals.conclude();
    for mark in [
        "restored",
        "restore left in the middle",
        "a backup is seen",
        "watch: behind compaction",
    ] {
        assert!(
            totals.marks.get(mark).is_some_and(|times| *times > 0),
            "{mark} never happened"
        );
    }
}

/// I23: whoever drove it left before the end, and it is shown all the same.
#[test]
fn restores_that_nobody_committed_are_found() {
    is_found(10, &["I6"], |mut plan| {
        restoring(&mut plan);
        let _planted = plant(Flaw::Hasty);
        scenario::run::<TestStore>(plan)
            .err()
            .map(|violation| violation.reason)
    });
}

#[test]
fn parts_of_a_restore_that_show_are_found() {
    is_found(10, &["I23"], |mut plan| {
        restoring(&mut plan);
        let _planted = plant(Flaw::Leaky);
        scenario::run::<TestStore>(plan)
            .err()
            .map(|violation| violation.reason)
    });
}

/// I24: a member of the next release does what the others do not know yet.
#[test]
fn replicas_that_apply_by_what_they_know_are_found() {
    is_found(10, &["I9", "D-EVT-2"], |mut plan| {
        (plan.nodes, plan.spares) = (3, 0);
        plan.faults = vec![Fault::Transfer];
        (plan.rolling, plan.workload.featured) = (true, true);
        plan.workload.data = Data::none();
        plan.workload.weights = [1, 0, 4, 2, 0, 0, 0];
        let _planted = plant(Flaw::Eager);
        scenario::run::<TestStore>(plan)
            .err()
            .map(|violation| violation.reason)
    });
}

/// D-REC-3: a holder that has slept through the end of its lease writes all the same.
#[test]
fn writes_without_a_fencing_token_are_found() {
    is_found(40, &["D-REC-3"], |mut plan| {
        (plan.nodes, plan.spares) = (3, 0);
        plan.faults = vec![Fault::Pause];
        plan.workload.data = Data {
            lockers: 3,
            unfenced: true,
            ..Data::none()
        };
        scenario::run::<TestStore>(plan)
            .err()
            .map(|violation| violation.reason)
    });
}

#[test]
fn disks_that_do_not_sync_are_found() {
    is_found(
        40,
        &["I5", "I6", "I8", "I9", "I16", "failed", "stopped", "panicked"],
        |mut plan| {
            plan.disks_lie = true;
            plan.faults = vec![Fault::PowerCutOfAll];
            plan.workload.data = Data::none();
            plan.workload.weights = [2, 0, 2, 2, 0, 0, 0];
            scenario::run::<TestStore>(plan)
                .err()
                .map(|violation| violation.reason)
        },
    );
}
