//! Rules about single lines of code.

use super::source::{Finding, Line, Source, Tree};

fn matching(tree: &Tree, message: &str, is_bad: impl Fn(&Source, Line<'_>) -> bool) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.rust().filter(|file| !file.is_tidy_itself()) {
        for line in file.lines() {
            if is_bad(file, line) {
                findings.push(file.finding(line.number, message));
            }
        }
    }
    findings
}

/// Work is finished, or it is an issue; it is not a note in the code.
pub(super) fn unfinished(tree: &Tree) -> Vec<Finding> {
    const MARKS: [&str; 6] = ["TODO", "FIXME", "XXX", "todo!(", "unimplemented!(", "dbg!("];
    matching(tree, "unfinished work or a left-over of debugging", |_, line| {
        MARKS.iter().any(|mark| line.text.contains(mark))
    })
}

/// A skipped test is a failure that nobody sees.
pub(super) fn ignored_test(tree: &Tree) -> Vec<Finding> {
    matching(tree, "a test that does not run proves nothing", |_, line| {
        line.code().contains("#[ignore") || line.code().contains("cfg_attr") && line.code().contains("ignore")
    })
}

/// Sleeping hopes that something has happened meanwhile; waiting knows.
pub(super) fn sleep(tree: &Tree) -> Vec<Finding> {
    matching(
        tree,
        "wait for the event itself, with a deadline",
        |file, line| {
            // With paused time, or inside the simulator, a sleep is exact and costs nothing.
            let is_virtual = file.text.contains("start_paused") || file.path.contains("/tests/sim/");
            let blocks = line.code().contains("thread::sleep(");
            let hopes = line.in_test && !is_virtual && line.code().contains("time::sleep(");
            (blocks || hopes) && !file.is_excused(line, "sleep")
        },
    )
}

/// Two tests, or a test and a running server, must never meet on a port.
pub(super) fn fixed_port(tree: &Tree) -> Vec<Finding> {
    matching(tree, "bind port 0 and ask which port it became", |file, line| {
        line.in_test
            && line.code().contains("bind(")
            && has_port(line.code())
            && !file.is_excused(line, "port")
    })
}

fn has_port(code: &str) -> bool {
    code.match_indices(':').any(|(at, _)| {
        let digits: String = code
            .get(at + 1..)
            .unwrap_or_default()
            .chars()
            .take_while(char::is_ascii_digit)
            .collect();
        let quoted = code
            .get(..at)
            .is_some_and(|before| before.matches('"').count() % 2 == 1);
        quoted && digits.len() >= 2
    })
}

/// `expect` complains when its reason is gone; `allow` stays for ever.
pub(super) fn lint_exception(tree: &Tree) -> Vec<Finding> {
    matching(tree, "use #[expect(lint, reason = \"...\")]", |_, line| {
        line.code().contains("#[allow(") || line.code().contains("#![allow(")
    })
}

/// A test's name is a fact about the product, in the present tense.
pub(super) fn test_name(tree: &Tree) -> Vec<Finding> {
    matching(
        tree,
        "name the test after the fact that it proves, without `test_`",
        |_, line| line.in_test && line.code().trim_start().contains("fn test_"),
    )
}

/// Which branch of a `select!` wins must not depend on a random source.
pub(super) fn select_order(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.rust().filter(|file| file.path.starts_with("crates/")) {
        let lines = file.lines();
        for (at, line) in lines.iter().enumerate() {
            let opens = line.code().contains("select! {") && !line.in_test;
            let next = lines
                .iter()
                .skip(at + 1)
                .find(|next| !next.code().trim().is_empty());
            if opens && next.is_none_or(|next| next.code().trim() != "biased;") {
                findings.push(file.finding(
                    line.number,
                    "`select!` starts with `biased;` and a reasoned order",
                ));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(text: &str) -> Tree {
        Tree::of(&[("crates/a/src/a.rs", text), ("crates/a/tests/t.rs", text)])
    }

    /// D-TST-1: nobody skips a test.
    #[test]
    fn planted_violations_are_found_in_code_and_tests() {
        assert_eq!(unfinished(&tree("// TODO later\n")).len(), 2);
        assert_eq!(unfinished(&tree("dbg!(x);\n")).len(), 2);
        assert_eq!(ignored_test(&tree("#[ignore = \"slow\"]\n")).len(), 2);
        assert_eq!(sleep(&tree("std::thread::sleep(d);\n")).len(), 2);
        assert_eq!(lint_exception(&tree("#[allow(dead_code)]\n")).len(), 2);
        assert_eq!(
            select_order(&tree("tokio::select! {\n    a = b => {}\n}\n")).len(),
            1
        );
    }

    #[test]
    fn some_rules_concern_tests_only() {
        assert_eq!(sleep(&tree("tokio::time::sleep(d).await;\n")).len(), 1);
        assert_eq!(
            fixed_port(&tree("TcpListener::bind(\"127.0.0.1:4000\")\n")).len(),
            1
        );
        assert_eq!(test_name(&tree("fn test_it() {}\n")).len(), 1);
    }

    #[test]
    fn what_is_right_or_excused_passes() {
        assert_eq!(fixed_port(&tree("TcpListener::bind(\"127.0.0.1:0\")\n")), []);
        assert_eq!(
            sleep(&tree("// start_paused\ntokio::time::sleep(d).await;\n")),
            []
        );
        assert_eq!(
            sleep(&tree(
                "// tidy-allow(sleep): no event tells\n// us.\nthread::sleep(d);\n"
            )),
            []
        );
        assert_eq!(
            sleep(&tree("// tidy-allow(sleep): \nthread::sleep(d);\n")).len(),
            2
        );
        assert_eq!(
            select_order(&tree(
                "tokio::select! {\n    // First things first.\n    biased;\n}\n"
            )),
            []
        );
    }
}
