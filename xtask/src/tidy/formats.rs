//! A format changes together with its document: the document carries a hash of the
//! code that writes the format, so that changing one alone is noticed.
//!
//! A line `<!-- format PATH HASH -->` in a document names a file and the hash of its
//! code without comments, blank lines and tests. `cargo xtask golden --update` renews
//! the hashes after the document has been brought up to date.

use std::path::Path;

use super::source::{Finding, Source, Tree};
use crate::Failure;

const PREFIX: &str = "<!-- format ";
const SUFFIX: &str = " -->";

/// Code that defines stored or sent bytes: each file here, or below here, must be in some document.
const FORMAT_CODE: [&str; 20] = [
    "crates/concord-core/src/codec/batch.rs",
    "crates/concord-core/src/codec/command.rs",
    "crates/concord-core/src/codec/reply.rs",
    "crates/concord-core/src/codec/snapshot.rs",
    "crates/concord-core/src/codec/snapshot/",
    "crates/concord-core/src/expr/codec.rs",
    "crates/concord-core/src/filter/codec.rs",
    "crates/concord-core/src/index/codec.rs",
    "crates/concord-core/src/pattern/codec.rs",
    "crates/concord-core/src/record/cell.rs",
    "crates/concord-net/src/frame.rs",
    "crates/concord-net/src/gossip/packet.rs",
    "crates/concord-net/src/hello.rs",
    "crates/concord-net/src/proof.rs",
    "crates/concord-raft/src/log/record.rs",
    "crates/concord-raft/src/message/",
    "crates/concord-raft/src/proposer/frame.rs",
    "crates/concord-raft/src/read/message.rs",
    "crates/concord-raft/src/small_file.rs",
    "crates/concord-raft/src/snapshot_store/format.rs",
];

/// The rule.
pub(super) fn hashes_match(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut covered = Vec::new();
    for document in tree.documents() {
        for (at, text) in document.text.lines().enumerate() {
            let Some((path, written)) = parse(text) else {
                continue;
            };
            covered.push(path);
            match tree.file(path) {
                None => findings.push(document.finding(at + 1, format!("`{path}` does not exist"))),
                Some(file) if hash(file) != written => findings.push(document.finding(
                    at + 1,
                    format!("`{path}` has changed: bring this document up to date, then `cargo xtask golden --update`"),
                )),
                Some(_) => {}
            }
        }
    }
    for file in tree
        .rust()
        .filter(|file| defines_a_format(file) && !covered.contains(&file.path.as_str()))
    {
        findings.push(file.finding(1, "defines a format, but no document carries its hash"));
    }
    findings
}

fn defines_a_format(file: &Source) -> bool {
    !file.is_test_file() && FORMAT_CODE.iter().any(|prefix| file.path.starts_with(prefix))
}

/// Writes the present hashes into the documents; returns the documents that changed.
pub(crate) fn renew_hashes(root: &Path) -> Result<Vec<String>, Failure> {
    let tree = Tree::load(root)?;
    let mut changed = Vec::new();
    for document in tree.documents() {
        let renewed = renewed(&tree, document);
        if renewed != document.text {
            std::fs::write(root.join(&document.path), renewed)
                .map_err(|e| format!("{}: {e}", document.path))?;
            changed.push(document.path.clone());
        }
    }
    Ok(changed)
}

fn renewed(tree: &Tree, document: &Source) -> String {
    let mut text = String::new();
    for line in document.text.split_inclusive('\n') {
        match parse(line.trim_end()).and_then(|(path, _)| tree.file(path)) {
            Some(file) => text.push_str(&format!("{PREFIX}{} {}{SUFFIX}\n", file.path, hash(file))),
            None => text.push_str(line),
        }
    }
    text
}

fn parse(line: &str) -> Option<(&str, &str)> {
    line.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?.split_once(' ')
}

/// FNV-1a: this guards against forgetting, not against malice.
fn hash(file: &Source) -> String {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for line in file.lines() {
        let code = line.code().trim();
        if !line.in_test && !code.is_empty() {
            for byte in code.bytes().chain([b'\n']) {
                hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
            }
        }
    }
    format!("{hash:016x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const CODE: &str = "//! Bytes.\nfn write() { out.push(1); }\n";

    fn tree(code: &str, document: &str) -> Tree {
        Tree::of(&[("crates/a/src/a.rs", code), ("docs/format.md", document)])
    }

    #[test]
    fn a_changed_format_is_noticed_and_a_changed_comment_is_not() {
        let stale = tree(CODE, "# F\n<!-- format crates/a/src/a.rs 0 -->\nEnd\n");
        assert_eq!(hashes_match(&stale).len(), 1);
        let document = stale
            .documents()
            .map(|document| renewed(&stale, document))
            .collect::<String>();
        assert_eq!(hashes_match(&tree(CODE, &document)), []);
        assert_eq!(
            hashes_match(&tree(&CODE.replace("Bytes.", "The bytes."), &document)),
            []
        );
        assert_eq!(
            hashes_match(&tree(&CODE.replace("push(1)", "push(2)"), &document)).len(),
            1
        );
        assert!(document.ends_with("-->\nEnd\n"));
    }

    #[test]
    fn a_hash_of_a_file_that_is_gone_is_found() {
        assert_eq!(
            hashes_match(&tree(CODE, "<!-- format crates/a/src/b.rs 0 -->\n")).len(),
            1
        );
    }
}
