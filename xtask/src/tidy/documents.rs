//! Rules about documents and about every file: no path of one machine, no dead link.

use super::source::{Finding, Source, Tree};

/// The repository means the same on every machine. So does this rule: where the tree lies is none of its
/// business, as a clone under `/tmp` would then refuse every `/tmp/data` of the documents.
pub(super) fn machine_path(tree: &Tree) -> Vec<Finding> {
    let homes = ["/home/", "/Users/", "/root/"];
    let mut findings = Vec::new();
    for file in tree.all().filter(|file| !file.is_tidy_itself()) {
        for (at, text) in file.text.lines().enumerate() {
            if homes.iter().any(|home| text.contains(home)) {
                findings.push(file.finding(at + 1, "an absolute path of one machine"));
            }
        }
    }
    findings
}

/// Links between files of the repository lead somewhere.
pub(super) fn link(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.documents() {
        for (at, text) in file.text.lines().enumerate() {
            for target in targets(text) {
                if !tree.has(&resolve(file, target)) {
                    findings.push(file.finding(at + 1, format!("link to `{target}`, which does not exist")));
                }
            }
        }
    }
    findings
}

/// The local targets of Markdown links in a line.
fn targets(text: &str) -> Vec<&str> {
    text.split("](")
        .skip(1)
        .filter_map(|rest| rest.split(')').next())
        .filter(|target| !target.contains("://") && !target.starts_with(['#', '<']))
        .map(|target| target.split('#').next().unwrap_or(target))
        .collect()
}

fn resolve(file: &Source, target: &str) -> String {
    let mut parts: Vec<&str> = file.path.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            name => parts.push(name),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_one_machine_are_found() {
        let tree = Tree::of(&[
            ("a.md", "see /home/me/x\n"),
            ("b.toml", "dir = \"/Users/me/x\"\n"),
            ("c.md", "/var/lib\n"),
        ]);
        assert_eq!(machine_path(&tree).len(), 2);
    }

    #[test]
    fn dead_links_are_found() {
        let text = "[a](../README.md#top) [b](adr/1.md) [c](https://x.y/z) [d](adr) [e](adr/2.md)\n";
        let tree = Tree::of(&[("docs/a.md", text), ("README.md", "x"), ("docs/adr/1.md", "x")]);
        assert_eq!(link(&tree).len(), 1);
    }
}
