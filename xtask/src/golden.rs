//! `golden`: what is generated and committed. Without `--update` it only compares.
//!
//! Two kinds: the hashes of format code in documents (see `tidy`; `--hashes` stops there), and files that tests
//! compare with, which rewrite themselves when `CONCORD_GOLDEN_UPDATE` is set. Review
//! the diff: it is the change that users will see.

use crate::args::Args;
use crate::{Failure, shell, tidy};

/// The `golden` command.
pub(crate) fn run(mut args: Args) -> Result<(), Failure> {
    let update = args.flag("--update");
    let hashes_only = args.flag("--hashes");
    args.finish()?;
    if update {
        for document in tidy::renew_hashes(&shell::root())? {
            shell::say(&format!("renewed the hashes in {document}"));
        }
    } else {
        tidy::run()?;
    }
    if hashes_only {
        return Ok(());
    }
    let mut tests = shell::cargo(&[
        "test",
        "--locked",
        "--workspace",
        "--lib",
        "--bins",
        "--tests",
        "--quiet",
        "golden",
    ]);
    if update {
        tests.env("CONCORD_GOLDEN_UPDATE", "1");
    }
    shell::run(&mut tests)
}
