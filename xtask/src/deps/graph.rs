//! What `cargo metadata` and `cargo tree` say.

use serde::Deserialize;

use crate::{Failure, shell};

/// Every package that the lock file allows.
#[derive(Debug, Deserialize)]
pub(super) struct Graph {
    pub(super) packages: Vec<Package>,
}

/// One package.
#[derive(Debug, Deserialize)]
pub(super) struct Package {
    pub(super) name: String,
    pub(super) version: String,
    pub(super) license: Option<String>,
    /// `None` for our own.
    pub(super) source: Option<String>,
    pub(super) dependencies: Vec<Dependency>,
}

/// One line of a manifest.
#[derive(Debug, Deserialize)]
pub(super) struct Dependency {
    pub(super) name: String,
    /// The version requirement.
    pub(super) req: String,
    /// `None`, `dev` or `build`.
    pub(super) kind: Option<String>,
    /// Set when it is neither from a registry nor from a repository.
    pub(super) path: Option<String>,
}

impl Graph {
    /// Asks cargo.
    pub(super) fn load() -> Result<Self, Failure> {
        let json = shell::output(&mut shell::cargo(&[
            "metadata",
            "--format-version",
            "1",
            "--locked",
        ]))?;
        serde_json::from_str(&json).map_err(|e| format!("cargo metadata: {e}"))
    }

    /// The crates of this workspace.
    pub(super) fn ours(&self) -> impl Iterator<Item = &Package> {
        self.packages.iter().filter(|package| package.source.is_none())
    }
}

/// The names in a build's dependency tree, without development dependencies.
pub(super) fn tree(selection: &[&str]) -> Result<Vec<String>, Failure> {
    let mut command = shell::cargo(&[
        "tree", "--locked", "--edges", "normal", "--prefix", "none", "--format", "{p}",
    ]);
    let listing = shell::output(command.args(selection))?;
    let mut names: Vec<String> = listing
        .lines()
        .filter_map(|line| line.split(' ').next())
        .map(str::to_owned)
        .collect();
    names.sort_unstable();
    names.dedup();
    Ok(names)
}
