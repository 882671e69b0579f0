//! `sim`: the deterministic simulation of a cluster (`crates/concord-raft/tests/sim`).
//!
//! The budget reaches it by environment: `CONCORD_SIM_SEED` runs one seed,
//! `CONCORD_SIM_SEEDS` that many beside the committed ones, `CONCORD_SIM_MINUTES` for that
//! long; they count up from `CONCORD_SIM_BASE_SEED`.
//!
//! The gate of CI always runs the same seeds, so that a commit has one verdict; a campaign
//! (`--seeds`, `--minutes`) starts where nobody has looked yet.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::args::Args;
use crate::{Failure, shell};

/// Seeds that every CI run tries after the committed ones.
const SEEDS_IN_CI: u64 = 30;

/// The `sim` command.
pub(crate) fn run(mut args: Args) -> Result<(), Failure> {
    let seed: Option<String> = args.value("--seed")?;
    let seeds: Option<u64> = args.value("--seeds")?;
    let minutes: Option<u64> = args.value("--minutes")?;
    args.finish()?;
    match (seed, seeds, minutes) {
        (None, None, None) => gate(),
        (Some(seed), None, None) => simulate(&[("CONCORD_SIM_SEED", number(&seed)?)]),
        (None, Some(seeds), None) => campaign(("CONCORD_SIM_SEEDS", seeds)),
        (None, None, Some(minutes)) => campaign(("CONCORD_SIM_MINUTES", minutes)),
        _ => Err("use one of --seed, --seeds and --minutes".to_owned()),
    }
}

/// A seed as failures print it: decimal, or hexadecimal behind `0x`.
fn number(text: &str) -> Result<u64, Failure> {
    match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.parse(),
    }
    .map_err(|error| format!("--seed {text}: {error}"))
}

/// The gate of CI: the committed seeds, then a fixed series.
pub(crate) fn gate() -> Result<(), Failure> {
    simulate(&[("CONCORD_SIM_SEEDS", SEEDS_IN_CI)])
}

/// Fresh seeds; the base is printed with the command, so the run can be repeated.
fn campaign(budget: (&str, u64)) -> Result<(), Failure> {
    let base = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(1, |since| since.as_secs());
    simulate(&[budget, ("CONCORD_SIM_BASE_SEED", base)])
}

fn simulate(settings: &[(&str, u64)]) -> Result<(), Failure> {
    if !shell::root().join("crates/concord-raft/tests/sim").is_dir() {
        return Err("there is no simulation in crates/concord-raft/tests/sim".to_owned());
    }
    let mut command = shell::cargo(&[
        "test",
        "--locked",
        "--package",
        "concord-raft",
        "--profile",
        "sim",
        "--quiet",
        "--test",
        "sim",
        "--",
        "--nocapture",
    ]);
    // Only so can tokio's own choices be made from the seed. A directory of its own, so that
    // these builds and all others do not undo each other.
    let flags = std::env::var("RUSTFLAGS").unwrap_or_default();
    command.env("RUSTFLAGS", format!("{flags} --cfg tokio_unstable").trim_start());
    command.env("CARGO_TARGET_DIR", shell::root().join("target/sim"));
    for (name, value) in settings {
        command.env(name, value.to_string());
    }
    shell::run(&mut command)
}
