//! `tidy`: the house rules that neither compiler nor clippy can hold.
//!
//! Each rule is a function from sources to findings and has a test that plants a
//! violation. The rules run as a test too, so `cargo test` holds them without `ci`.
//! A line may be excused by a comment on it or right above it that names the rule
//! and the reason: `tidy-allow(sleep): the child process has no other sign of life`.

mod documents;
mod formats;
mod invariants;
mod lines;
mod source;
mod structure;

pub(crate) use formats::renew_hashes;
use source::{Finding, Tree};

use crate::{Failure, shell};

type Rule = (&'static str, fn(&Tree) -> Vec<Finding>);

const RULES: [Rule; 16] = [
    ("module header", structure::module_header),
    ("file length", structure::file_length),
    ("no logic in lib.rs", structure::no_logic_in_lib),
    ("no mod.rs", structure::no_mod_rs),
    ("unfinished", lines::unfinished),
    ("ignored test", lines::ignored_test),
    ("sleep", lines::sleep),
    ("fixed port", lines::fixed_port),
    ("lint exception", lines::lint_exception),
    ("test name", lines::test_name),
    ("select order", lines::select_order),
    ("machine path", documents::machine_path),
    ("link", documents::link),
    ("figure", documents::figure),
    ("invariants", invariants::complete),
    ("format hash", formats::hashes_match),
];

/// Applies every rule to the tree and prints what it found.
pub(crate) fn run() -> Result<(), Failure> {
    let tree = Tree::load(&shell::root())?;
    let findings = findings(&tree);
    for finding in &findings {
        shell::say(finding);
    }
    if findings.is_empty() {
        shell::say(&format!("tidy: {} files keep {} rules", tree.len(), RULES.len()));
        return Ok(());
    }
    Err(format!("tidy: {} findings", findings.len()))
}

fn findings(tree: &Tree) -> Vec<String> {
    RULES
        .iter()
        .flat_map(|(name, rule)| {
            rule(tree)
                .into_iter()
                .map(move |finding| format!("{finding} [{name}]"))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_repository_is_tidy() {
        let tree = Tree::load(&shell::root()).unwrap();
        assert_eq!(findings(&tree), Vec::<String>::new());
    }
}
