//! `bench`: the criterion benches, in release; or, as `bench load`, the load generator.
//!
//! Further words go to criterion (a filter, for example) or to the load generator. Wall
//! times are reported, never gated: two shared cores are noise.

use crate::args::Args;
use crate::{Failure, shell};

/// The `bench` command.
pub(crate) fn run(args: Args) -> Result<(), Failure> {
    let words = args.into_rest();
    let (selection, rest) = match words.split_first() {
        Some((first, rest)) if first == "load" => (
            [
                "run",
                "--locked",
                "--release",
                "--package",
                "concord-benches",
                "--bin",
                "concord-bench",
            ],
            rest,
        ),
        _ => (
            [
                "bench",
                "--locked",
                "--quiet",
                "--package",
                "concord-benches",
                "--benches",
                "--no-fail-fast",
            ],
            words.as_slice(),
        ),
    };
    shell::run(shell::cargo(&selection).arg("--").args(rest))
}
