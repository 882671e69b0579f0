//! Every numbered invariant is stated, upheld in code, checked and tested: none of
//! the four may be missing, and what the document points at must exist.

use super::source::{Finding, Source, Tree, has_word};

const DOCUMENT: &str = "docs/invariants.md";
const LABELS: [&str; 4] = ["- Upheld by:", "- Checked by:", "- Test:", "- Source:"];

/// The rule.
pub(super) fn complete(tree: &Tree) -> Vec<Finding> {
    let Some(document) = tree.file(DOCUMENT) else {
        return vec![Finding::about(DOCUMENT, "missing")];
    };
    let sections = sections(document);
    let mut findings = numbering(document, &sections);
    for section in &sections {
        findings.extend(labels(document, section));
        findings.extend(references(tree, document, section));
        findings.extend(uses(tree, document, section));
    }
    findings
}

struct Section<'a> {
    /// `I7`.
    name: &'a str,
    line: usize,
    /// Line number and text.
    body: Vec<(usize, &'a str)>,
}

fn sections(document: &Source) -> Vec<Section<'_>> {
    let mut sections: Vec<Section<'_>> = Vec::new();
    for (at, text) in document.text.lines().enumerate() {
        if let Some(title) = text.strip_prefix("## I") {
            let digits = title.chars().take_while(char::is_ascii_digit).count();
            let name = text.get(3..4 + digits).unwrap_or_default();
            sections.push(Section {
                name,
                line: at + 1,
                body: Vec::new(),
            });
        } else if let Some(section) = sections.last_mut() {
            section.body.push((at + 1, text));
        }
    }
    sections
}

fn numbering(document: &Source, sections: &[Section<'_>]) -> Vec<Finding> {
    if sections.is_empty() {
        return vec![document.finding(1, "no `## I1 ...` sections")];
    }
    sections
        .iter()
        .enumerate()
        .filter(|(at, section)| section.name != format!("I{}", at + 1))
        .map(|(at, section)| {
            document.finding(
                section.line,
                format!("{} stands where I{} should", section.name, at + 1),
            )
        })
        .collect()
}

fn labels(document: &Source, section: &Section<'_>) -> Vec<Finding> {
    LABELS
        .iter()
        .filter(|label| {
            !section.body.iter().any(|(_, text)| {
                text.strip_prefix(**label)
                    .is_some_and(|rest| !rest.trim().is_empty())
            })
        })
        .map(|label| document.finding(section.line, format!("{} has no `{label}` line", section.name)))
        .collect()
}

/// `path` and `path::function` in backticks must exist.
fn references(tree: &Tree, document: &Source, section: &Section<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (line, text) in &section.body {
        for reference in text
            .split('`')
            .skip(1)
            .step_by(2)
            .filter(|r| r.starts_with("crates/"))
        {
            let (path, function) = reference.split_once("::").unwrap_or((reference, ""));
            let exists = match tree.file(path) {
                Some(file) => function.is_empty() || has_word(&file.text, &format!("fn {function}")),
                None => function.is_empty() && tree.has(path),
            };
            if !exists {
                findings.push(document.finding(*line, format!("`{reference}` does not exist")));
            }
        }
    }
    findings
}

/// A comment in production code and a test name the number.
fn uses(tree: &Tree, document: &Source, section: &Section<'_>) -> Vec<Finding> {
    let (mut upheld, mut tested) = (false, false);
    for file in tree.rust().filter(|file| file.path.starts_with("crates/")) {
        for line in file.lines() {
            if line.in_test {
                tested |= has_word(line.text, section.name);
            } else if let Some(comment) = line.comment() {
                upheld |= !comment.starts_with("//!") && has_word(comment, section.name);
            }
        }
    }
    let mut findings = Vec::new();
    if !upheld {
        findings.push(document.finding(
            section.line,
            format!("no `// {}: ...` comment in the code", section.name),
        ));
    }
    if !tested {
        findings.push(document.finding(section.line, format!("no test names {}", section.name)));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    const CODE: (&str, &str) = ("crates/a/src/a.rs", "//! A.\n// I1: in order.\nfn a() {}\n");
    const TEST: (&str, &str) = (
        "crates/a/tests/t.rs",
        "//! T.\n/// I1.\n#[test]\nfn order_holds() {}\n",
    );

    fn document(title: &str, test: &str) -> String {
        format!(
            "# Invariants\n\n## {title} Order\n\n- Upheld by: `crates/a/src/a.rs`\n- Checked by: `crates/a/src`\n- Test: `{test}`\n- Source: Raft\n"
        )
    }

    fn findings(document: &str, code: (&str, &str), test: (&str, &str)) -> usize {
        complete(&Tree::of(&[(DOCUMENT, document), code, test])).len()
    }

    #[test]
    fn a_complete_invariant_passes_and_each_missing_part_is_found() {
        let good = document("I1", "crates/a/tests/t.rs::order_holds");
        assert_eq!(findings(&good, CODE, TEST), 0);
        assert_eq!(
            findings(&good, ("crates/a/src/a.rs", "//! I1.\n"), TEST),
            1,
            "no comment in the code"
        );
        assert_eq!(
            findings(&good, CODE, ("crates/a/tests/t.rs", "fn order_holds() {}\n")),
            1,
            "no test names it"
        );
        assert_eq!(
            findings(&good.replace("- Source: Raft\n", ""), CODE, TEST),
            1,
            "no source"
        );
        assert_eq!(
            findings(&document("I1", "crates/a/tests/t.rs::gone"), CODE, TEST),
            1,
            "the test is gone"
        );
        assert_eq!(findings("# Invariants\n", CODE, TEST), 1, "no section");
        assert!(
            findings(&document("I2", "crates/a/tests/t.rs::order_holds"), CODE, TEST) >= 1,
            "misnumbered"
        );
        assert_eq!(complete(&Tree::of(&[CODE, TEST])).len(), 1, "no document");
    }
}
