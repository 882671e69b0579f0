//! `check`: the fast half of the gates. Builds no test.

use crate::{Failure, deps, shell, tidy};

/// Runs the gates that need no build.
pub(crate) fn run() -> Result<(), Failure> {
    tidy::run()?;
    deps::run()?;
    fmt()?;
    clippy()
}

/// The tree is formatted as `rustfmt.toml` says.
pub(crate) fn fmt() -> Result<(), Failure> {
    if !is_available("fmt", "rustfmt")? {
        return Ok(());
    }
    shell::run(&mut shell::cargo(&["fmt", "--all", "--check"]))
}

/// No warnings: everything with all features, then the embedded build.
pub(crate) fn clippy() -> Result<(), Failure> {
    if !is_available("clippy", "clippy")? {
        return Ok(());
    }
    shell::run(&mut shell::cargo(&[
        "clippy",
        "--locked",
        "--workspace",
        "--all-targets",
        "--quiet",
        "--",
        "--deny",
        "warnings",
    ]))?;
    shell::run(&mut shell::cargo(&[
        "clippy",
        "--locked",
        "--package",
        "concord-server",
        "--no-default-features",
        "--quiet",
        "--",
        "--deny",
        "warnings",
    ]))
}

/// Some machines have a compiler without its companions: that stops CI, not a newcomer.
fn is_available(command: &str, component: &str) -> Result<bool, Failure> {
    if shell::has_cargo_command(command) {
        return Ok(true);
    }
    let advice = format!("cargo {command} is not installed; `rustup component add {component}` adds it");
    if shell::is_ci() {
        return Err(advice);
    }
    shell::say(&format!("SKIPPED: {advice}"));
    Ok(false)
}
