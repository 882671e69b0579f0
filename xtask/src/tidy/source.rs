//! The files of the repository as the rules see them: relative paths, lines, and which
//! lines are test code or comments. A line scanner, not a parser: the formatter has
//! already put the code into the shapes that it looks for.

use std::fmt;
use std::path::Path;

use crate::{Failure, shell};

/// Every text file that git knows or would add.
#[derive(Debug)]
pub(crate) struct Tree {
    files: Vec<Source>,
}

/// One file.
#[derive(Debug)]
pub(crate) struct Source {
    /// Relative to the top, with forward slashes.
    pub(crate) path: String,
    /// Its content.
    pub(crate) text: String,
}

/// One line of a file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Line<'a> {
    /// From 1.
    pub(crate) number: usize,
    /// As it stands.
    pub(crate) text: &'a str,
    /// Whether only tests and benches compile it.
    pub(crate) in_test: bool,
}

/// A broken rule.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    path: String,
    line: usize,
    message: String,
}

impl Tree {
    /// Reads the repository under `root`.
    pub(crate) fn load(root: &Path) -> Result<Self, Failure> {
        let mut git = std::process::Command::new("git");
        git.args(["ls-files", "--cached", "--others", "--exclude-standard"])
            .current_dir(root);
        let listing = shell::output(&mut git)?;
        let mut files = Vec::new();
        for path in listing.lines() {
            // Deleted but not yet staged, or not text: nothing to read.
            if let Ok(text) = std::fs::read_to_string(root.join(path)) {
                files.push(Source {
                    path: path.to_owned(),
                    text,
                });
            }
        }
        files.sort_by(|a, b| a.path.cmp(&b.path));
        files.dedup_by(|a, b| a.path == b.path);
        Ok(Self { files })
    }

    /// A tree of given files, for tests of rules.
    #[cfg(test)]
    pub(crate) fn of(files: &[(&str, &str)]) -> Self {
        let files = files
            .iter()
            .map(|&(path, text)| Source {
                path: path.to_owned(),
                text: text.to_owned(),
            })
            .collect();
        Self { files }
    }

    /// Number of files.
    pub(crate) fn len(&self) -> usize {
        self.files.len()
    }

    /// Every file.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Source> {
        self.files.iter()
    }

    /// Every Rust file.
    pub(crate) fn rust(&self) -> impl Iterator<Item = &Source> {
        self.files.iter().filter(|file| file.path.ends_with(".rs"))
    }

    /// Every document.
    pub(crate) fn documents(&self) -> impl Iterator<Item = &Source> {
        self.files.iter().filter(|file| file.path.ends_with(".md"))
    }

    /// One file by its path.
    pub(crate) fn file(&self, path: &str) -> Option<&Source> {
        self.files.iter().find(|file| file.path == path)
    }

    /// Whether a file or a directory of that path exists.
    pub(crate) fn has(&self, path: &str) -> bool {
        let path = path.trim_end_matches('/');
        self.files.iter().any(|file| {
            file.path == path
                || file
                    .path
                    .strip_prefix(path)
                    .is_some_and(|rest| rest.starts_with('/'))
        })
    }
}

impl Source {
    /// Whether the whole file is test or bench code.
    pub(crate) fn is_test_file(&self) -> bool {
        let path = &self.path;
        path.contains("/tests/") || path.ends_with("/tests.rs") || path.starts_with("benches/benches/")
    }

    /// Whether this is the tidy program, which has to spell what it forbids.
    pub(crate) fn is_tidy_itself(&self) -> bool {
        self.path.starts_with("xtask/src/tidy")
    }

    /// The lines, each knowing whether it is test code.
    pub(crate) fn lines(&self) -> Vec<Line<'_>> {
        let whole_file = self.is_test_file();
        let mut lines = Vec::new();
        let mut test_module_indent: Option<usize> = None;
        let mut saw_test_attribute = false;
        for (at, text) in self.text.lines().enumerate() {
            let trimmed = text.trim();
            let indent = text.len() - text.trim_start().len();
            if test_module_indent.is_none() && saw_test_attribute && !trimmed.starts_with("#[") {
                saw_test_attribute = false;
                if trimmed.ends_with('{') {
                    test_module_indent = Some(indent);
                }
            }
            if trimmed.starts_with("#[cfg(test)]") || trimmed.starts_with("#[cfg(all(test") {
                saw_test_attribute = true;
            }
            let in_test = whole_file || saw_test_attribute || test_module_indent.is_some();
            lines.push(Line {
                number: at + 1,
                text,
                in_test,
            });
            if test_module_indent == Some(indent) && trimmed == "}" {
                test_module_indent = None;
            }
        }
        lines
    }

    /// Whether the comment on a line, or those right above it, excuse it from `rule`.
    pub(crate) fn is_excused(&self, line: Line<'_>, rule: &str) -> bool {
        let mark = format!("tidy-allow({rule}): ");
        let excuses = |text: &str| {
            text.split_once(&mark)
                .is_some_and(|(_, reason)| !reason.trim().is_empty())
        };
        if excuses(line.text) {
            return true;
        }
        let above: Vec<&str> = self.text.lines().take(line.number - 1).collect();
        above
            .iter()
            .rev()
            .take_while(|text| text.trim_start().starts_with("//"))
            .any(|text| excuses(text))
    }

    /// A finding about a line of this file.
    pub(crate) fn finding(&self, line: usize, message: impl Into<String>) -> Finding {
        Finding {
            path: self.path.clone(),
            line,
            message: message.into(),
        }
    }
}

impl<'a> Line<'a> {
    /// The line without its comment.
    pub(crate) fn code(self) -> &'a str {
        match self.comment_start() {
            Some(at) => self.text.get(..at).unwrap_or_default(),
            None => self.text,
        }
    }

    /// The line's comment, if it has one.
    pub(crate) fn comment(self) -> Option<&'a str> {
        self.comment_start().and_then(|at| self.text.get(at..))
    }

    fn comment_start(self) -> Option<usize> {
        // A `//` inside a string, as in an address, is no comment.
        self.text.match_indices("//").map(|(at, _)| at).find(|&at| {
            self.text
                .get(..at)
                .is_some_and(|before| before.matches('"').count() % 2 == 0)
        })
    }
}

impl Finding {
    /// A finding about a file that is not there.
    pub(crate) fn about(path: &str, message: impl Into<String>) -> Self {
        Self {
            path: path.to_owned(),
            line: 1,
            message: message.into(),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.message)
    }
}

/// Whether `text` has `word` with no letter, digit or underscore beside it.
pub(crate) fn has_word(text: &str, word: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(word).any(|(at, _)| {
        let before = text.get(..at).and_then(|t| t.chars().next_back());
        let after = text.get(at + word.len()..).and_then(|t| t.chars().next());
        !before.is_some_and(is_part) && !after.is_some_and(is_part)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn test_modules_end_where_their_brace_closes() {
        let text = "fn a() {}\n#[cfg(test)]\nmod tests {\n    fn b() {\n    }\n}\nfn c() {}\n#[cfg(test)]\nmod tests;\nfn d() {}\n";
        let tree = Tree::of(&[("crates/x/src/a.rs", text)]);
        let marks: Vec<bool> = tree
            .rust()
            .flat_map(|file| file.lines().into_iter().map(|line| line.in_test))
            .collect();
        assert_eq!(
            marks,
            [false, true, true, true, true, true, false, true, false, false]
        );
    }

    #[test]
    fn words_and_comments_are_told_apart() {
        assert!(has_word("keeps I1.", "I1"));
        assert!(!has_word("keeps I18", "I1"));
        let line = Line {
            number: 1,
            text: "connect(\"http://a\"); // why",
            in_test: false,
        };
        assert_eq!(line.comment(), Some("// why"));
        assert_eq!(line.code(), "connect(\"http://a\"); ");
    }
}
