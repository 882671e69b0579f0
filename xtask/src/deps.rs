//! `deps`: the walls between crates, held against `cargo metadata`.
//!
//! Who may use which crate of ours; which crate from outside enters only through which
//! of ours; what the pure crates and the embedded build must not pull in at all; and
//! for everything in the lock file: licence, source, pins, duplicates.

mod graph;
mod licence;
mod walls;

use graph::Graph;

use crate::{Failure, shell};

/// The `deps` command.
pub(crate) fn run() -> Result<(), Failure> {
    let graph = Graph::load()?;
    let mut findings = walls::findings(&graph);
    findings.extend(licence::findings(&graph));
    findings.extend(trees()?);
    for finding in &findings {
        shell::say(&format!("deps: {finding}"));
    }
    if findings.is_empty() {
        shell::say(&format!("deps: {} packages keep the walls", graph.packages.len()));
        return Ok(());
    }
    Err(format!("deps: {} findings", findings.len()))
}

/// Rules about everything that a build pulls in, directly or not.
fn trees() -> Result<Vec<String>, Failure> {
    let mut findings = Vec::new();
    for pure in walls::PURE {
        let tree = graph::tree(&["--package", pure])?;
        findings.extend(walls::forbidden(
            &format!("{pure} (pure)"),
            &tree,
            &walls::NOT_IN_PURE,
        ));
    }
    let embedded = graph::tree(&["--package", "concord-server", "--no-default-features"])?;
    findings.extend(walls::forbidden(
        "concord-server without default features",
        &embedded,
        &walls::NOT_EMBEDDED,
    ));
    Ok(findings)
}
