//! Regular expressions as people write them, to the programs of [`concord_core::pattern`].
//!
//! The syntax is that of the usual engines without memory: characters, `.`, classes (`[a-z]`, `[^:]`, `\d`, `\w`,
//! `\s` and their opposites), `^ $ \b \B`, groups, `|`, `* + ? {n} {n,} {n,m}`, `(?i)` for the whole or a group.
//! A pattern is searched for anywhere in a key. `\d`, `\w`, `\s`, `\b` and `(?i)` are about ASCII, `.` is any character but
//! a line feed. There are no references back, no looking around and no Unicode classes: what they match depends on
//! tables that change, and replicas of two versions must judge alike.

mod compile;
mod parser;

#[cfg(test)]
mod tests;

use concord_core::limits::PATTERN_INSTRUCTIONS_MAX;
use concord_core::pattern::{Assertion, CHARACTER_MAX, Pattern};

/// The longest text of a pattern.
pub const PATTERN_TEXT_BYTES_MAX: usize = 4 << 10;

/// Groups within each other.
const NESTING_MAX: usize = 64;

/// Text that is no pattern. Nothing was read or written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} at byte {offset}")]
pub struct InvalidPattern {
    what: &'static str,
    offset: usize,
}

impl InvalidPattern {
    /// Where in the text, in bytes.
    #[must_use]
    pub const fn offset(&self) -> usize {
        self.offset
    }
}

/// Reads a pattern.
///
/// # Errors
///
/// What is wrong with the text, and where; or that the pattern takes too many instructions.
pub fn parse(text: &str) -> Result<Pattern, InvalidPattern> {
    compile::compile(&tree(text)?).ok_or(InvalidPattern {
        what: "pattern takes too many instructions",
        offset: 0,
    })
}

/// What every text starts with that the pattern matches.
#[must_use]
pub fn literal_prefix(text: &str) -> Vec<u8> {
    let Ok(Node::Sequence(parts)) = tree(text) else {
        return Vec::new();
    };
    let [Node::Assert(Assertion::Start), rest @ ..] = parts.as_slice() else {
        return Vec::new();
    };
    let mut prefix = String::new();
    for part in rest {
        match part {
            Node::Class(ranges) => match ranges.as_slice() {
                [(first, last)] if first == last => match char::from_u32(*first) {
                    Some(letter) => prefix.push(letter),
                    None => break,
                },
                _several => break,
            },
            Node::Assert(_) | Node::Sequence(_) | Node::Either(_) | Node::Repeat { .. } => break,
        }
    }
    prefix.into_bytes()
}

fn tree(text: &str) -> Result<Node, InvalidPattern> {
    if text.len() > PATTERN_TEXT_BYTES_MAX {
        return Err(InvalidPattern {
            what: "pattern is longer than 4096 bytes",
            offset: PATTERN_TEXT_BYTES_MAX,
        });
    }
    parser::parse(text)
}

/// A part of a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Node {
    /// A character of these ranges, in order.
    Class(Vec<(u32, u32)>),
    Assert(Assertion),
    Sequence(Vec<Self>),
    Either(Vec<Self>),
    Repeat {
        of: Box<Self>,
        least: u32,
        most: Option<u32>,
    },
}
