//! Rules about documents and about every file: no path of one machine, no dead link, no figure that nobody can make again.

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

/// Where the figures are.
const FIGURES: &str = "docs/performance.md";

/// D-PERF-1: each figure has the command that made it, and examples that commands name exist.
pub(super) fn figure(tree: &Tree) -> Vec<Finding> {
    let Some(file) = tree.file(FIGURES) else {
        return Vec::new();
    };
    let mut findings = Vec::new();
    let mut is_figures = false;
    for (at, text) in file.text.lines().enumerate() {
        if let Some(title) = text.strip_prefix("## ") {
            is_figures = title == "Figures";
        }
        if is_figures && let Some(row) = row(text) {
            let [.., measured, command] = row.as_slice() else {
                continue;
            };
            let refers = *command == "the same" || *command == "below" || command.contains('`');
            if !measured.is_empty() && !refers {
                findings.push(file.finding(at + 1, "a figure without the command that makes it"));
            }
        }
        for example in text.split("--example ").skip(1) {
            let name: String = example
                .chars()
                .take_while(|c| c.is_alphanumeric() || *c == '_')
                .collect();
            let path = format!("/examples/{name}.rs");
            if !tree.rust().any(|source| source.path.ends_with(&path)) {
                findings.push(file.finding(at + 1, format!("there is no example `{name}`")));
            }
        }
    }
    findings
}

/// The cells of a row that holds something: neither a title nor the line below it.
fn row(text: &str) -> Option<Vec<&str>> {
    let cells = text.strip_prefix('|')?.strip_suffix('|')?;
    let cells: Vec<&str> = cells.split('|').map(str::trim).collect();
    let is_title = cells
        .last()
        .is_some_and(|cell| *cell == "command" || cell.starts_with("---"));
    (!is_title).then_some(cells)
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

    /// D-PERF-1.
    #[test]
    fn figures_without_a_command_are_found() {
        let table = "## Figures\n\n| path | target | measured | command |\n| --- | --- | --- | --- |\n";
        let found = |row: &str| {
            let text = format!("{table}{row}\n## Else\n| a | b |\n");
            figure(&Tree::of(&[
                (FIGURES, &text),
                ("benches/examples/there.rs", "//! T.\n"),
            ]))
            .len()
        };
        assert_eq!(found("| get | 1 | 2 | `bench get` |"), 0);
        assert_eq!(found("| get | 1 | 2 | the same |"), 0);
        assert_eq!(found("| get | 1 | | |"), 0, "not measured");
        assert_eq!(found("| get | 1 | 2 | |"), 1);
        assert_eq!(found("| get | 1 | 2 | by hand |"), 1);
        assert_eq!(found("| get | 1 | 2 | `cargo run --example there` |"), 0);
        assert_eq!(found("| get | 1 | 2 | `cargo run --example gone` |"), 1);
    }
}
