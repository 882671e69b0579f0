//! `ci`: every gate in order, cheapest first. `.ci/run` is this command, so a developer
//! runs exactly what CI runs.
//!
//! All builds use the same packages and features (`--workspace`), because each other
//! selection would compile the dependencies once more. The one feature that is off by default, `s3`, has a gate of its
//! own for that reason: it compiles what it brings, and only the tests that are about it.

use std::time::Instant;

use crate::{Failure, check, deps, shell, sim, tidy};

type Gate = (&'static str, fn() -> Result<(), Failure>);

const GATES: [Gate; 10] = [
    ("tidy", tidy::run),
    ("deps", deps::run),
    ("fmt", check::fmt),
    ("clippy", check::clippy),
    ("build", build),
    ("tests", tests),
    ("s3", s3),
    ("doctests", doctests),
    ("rustdoc", rustdoc),
    ("sim", sim::gate),
];

/// Runs every gate; stops at the first that fails.
pub(crate) fn run() -> Result<(), Failure> {
    let started = Instant::now();
    let mut took = Vec::new();
    for (name, gate) in GATES {
        shell::say(&format!("\n== {name}"));
        let at = Instant::now();
        gate().map_err(|failure| format!("gate `{name}`: {failure}"))?;
        took.push(format!("{name} {:.0} s", at.elapsed().as_secs_f64()));
    }
    shell::say(&format!(
        "\nAll gates passed in {:.0} s: {}",
        started.elapsed().as_secs_f64(),
        took.join(", ")
    ));
    Ok(())
}

fn build() -> Result<(), Failure> {
    // All targets: the features of the tests then differ nowhere from those of the binaries.
    shell::run(&mut shell::cargo(&[
        "build",
        "--locked",
        "--workspace",
        "--all-targets",
        "--quiet",
    ]))
}

fn tests() -> Result<(), Failure> {
    if shell::has_cargo_command("nextest") {
        return shell::run(&mut shell::cargo(&[
            "nextest",
            "run",
            "--locked",
            "--workspace",
            "--profile",
            "ci",
            "--cargo-quiet",
        ]));
    }
    shell::run(&mut shell::cargo(&[
        "test",
        "--locked",
        "--workspace",
        "--lib",
        "--bins",
        "--tests",
        "--quiet",
        "--no-fail-fast",
    ]))
}

/// Backups in a bucket: lints and tests of what is not built without the feature.
fn s3() -> Result<(), Failure> {
    let with_s3 = [
        "--locked",
        "--workspace",
        "--features",
        "concord-server/s3",
        "--quiet",
    ];
    let what = ["--lib", "--bins", "--test", "s3", "--", "--deny", "warnings"];
    if shell::has_cargo_command("clippy") {
        shell::run(shell::cargo(&["clippy"]).args(with_s3).args(what))?;
    }
    shell::run(shell::cargo(&["test"]).args(with_s3).args(["--test", "s3"]))
}

fn doctests() -> Result<(), Failure> {
    shell::run(&mut shell::cargo(&[
        "test",
        "--locked",
        "--workspace",
        "--doc",
        "--quiet",
    ]))
}

fn rustdoc() -> Result<(), Failure> {
    shell::run(
        shell::cargo(&[
            "doc",
            "--locked",
            "--workspace",
            "--no-deps",
            "--document-private-items",
            "--quiet",
        ])
        .env("RUSTDOCFLAGS", "--deny warnings"),
    )
}
