//! Rules about whole files: headers, length, where logic may live.

use super::source::{Finding, Source, Tree};

/// A file may have this many lines that are not tests.
const LINES_MAX: usize = 800;

/// Files that are longer for now: path and the most they may have. May only shrink.
const LONG_FILES: [(&str, usize); 0] = [];

/// Every file opens by saying what it is for.
pub(super) fn module_header(tree: &Tree) -> Vec<Finding> {
    tree.rust()
        .filter(|file| !file.text.starts_with("//! "))
        .map(|file| {
            file.finding(
                1,
                "the first line is not a `//!` header that says what the file is for",
            )
        })
        .collect()
}

/// Long files hide seams. Past 600 lines look for one; past the limit there must be one.
pub(super) fn file_length(tree: &Tree) -> Vec<Finding> {
    tree.rust()
        .filter_map(|file| too_long(file, &LONG_FILES))
        .collect()
}

fn too_long(file: &Source, exceptions: &[(&str, usize)]) -> Option<Finding> {
    let count = if file.is_test_file() {
        file.text.lines().count()
    } else {
        file.lines().iter().filter(|line| !line.in_test).count()
    };
    let limit = exceptions
        .iter()
        .find(|(path, _)| *path == file.path)
        .map_or(LINES_MAX, |(_, limit)| *limit);
    (count > limit).then(|| file.finding(count, format!("{count} lines without tests, limit is {limit}")))
}

/// `lib.rs` is a table of contents.
pub(super) fn no_logic_in_lib(tree: &Tree) -> Vec<Finding> {
    tree.rust()
        .filter(|file| file.path.ends_with("/src/lib.rs"))
        .flat_map(|file| {
            file.lines()
                .into_iter()
                .filter(|line| !line.in_test && starts_an_item_with_logic(line.text))
                .map(|line| {
                    file.finding(
                        line.number,
                        "lib.rs holds the module list and re-exports, no logic",
                    )
                })
                .collect::<Vec<_>>()
        })
        .collect()
}

fn starts_an_item_with_logic(text: &str) -> bool {
    let item = ["pub(crate) ", "pub ", "async ", "const ", "unsafe "]
        .iter()
        .fold(text, |rest, qualifier| {
            rest.strip_prefix(qualifier).unwrap_or(rest)
        });
    [
        "fn ",
        "impl ",
        "impl<",
        "struct ",
        "enum ",
        "trait ",
        "macro_rules!",
    ]
    .iter()
    .any(|word| item.starts_with(word))
}

/// `foo.rs` with `foo/bar.rs`, never `foo/mod.rs`: file names then say what is in them.
pub(super) fn no_mod_rs(tree: &Tree) -> Vec<Finding> {
    tree.rust()
        .filter(|file| file.path.ends_with("/mod.rs"))
        // Below tests/ cargo would take `common.rs` for a test program of its own.
        .filter(|file| !file.path.contains("/tests/"))
        .map(|file| file.finding(1, "name the file after its module, beside its directory"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_without_a_header_are_found() {
        let tree = Tree::of(&[("a.rs", "//! Says why.\n"), ("b.rs", "fn b() {}\n")]);
        assert_eq!(module_header(&tree).len(), 1);
    }

    #[test]
    fn tests_at_the_end_do_not_count_towards_the_length() {
        let code = "fn x() {}\n".repeat(LINES_MAX);
        let with_tests = format!("{code}#[cfg(test)]\nmod tests {{\n{code}}}\n");
        let tree = Tree::of(&[("a.rs", &with_tests)]);
        assert_eq!(file_length(&tree), []);
        let tree = Tree::of(&[("a.rs", &format!("{code}\n"))]);
        assert_eq!(file_length(&tree).len(), 1);
        let excused: Vec<_> = tree
            .rust()
            .filter_map(|file| too_long(file, &[("a.rs", LINES_MAX + 1)]))
            .collect();
        assert_eq!(excused, []);
    }

    #[test]
    fn logic_in_lib_rs_and_mod_rs_files_is_found() {
        let tree = Tree::of(&[
            (
                "crates/a/src/lib.rs",
                "//! A.\npub mod b;\npub use b::B;\npub async fn run() {}\n",
            ),
            ("crates/a/src/b/mod.rs", "//! B.\n"),
        ]);
        assert_eq!(no_logic_in_lib(&tree).len(), 1);
        assert_eq!(no_mod_rs(&tree).len(), 1);
    }
}
