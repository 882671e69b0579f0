//! `bench`: the criterion benches, in release. Further words go to criterion, for
//! example a filter. Wall times are reported, never gated: two shared cores are noise.

use crate::args::Args;
use crate::{Failure, shell};

/// The `bench` command.
pub(crate) fn run(args: Args) -> Result<(), Failure> {
    let mut command = shell::cargo(&[
        "bench",
        "--locked",
        "--package",
        "concord-benches",
        "--benches",
        "--",
    ]);
    command.args(args.into_rest());
    shell::run(&mut command)
}
