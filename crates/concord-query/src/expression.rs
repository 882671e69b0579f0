//! Expressions as people write them: CEL-shaped text to the trees of [`concord_core::expr`],
//! whose documentation says what they mean.
//!
//! ```text
//! value.age >= 30 && value.role in ["admin", "owner"] && !has(value.left_at)
//! key.startsWith("user:") && (ttl == null || ttl > 60)
//! ```
//!
//! | | from loose to tight |
//! | --- | --- |
//! | `c ? a : b` | |
//! | `\|\|` | |
//! | `&&` | |
//! | `== != < <= > >= in` | |
//! | `+ -` | |
//! | `* / %` | |
//! | `! -` | |
//! | `a.b` `a["b"]` `a[0]` `a.f(b)` `has(a.b)` `size(a)` | |
//!
//! Functions: `size`, `has`, and as methods `startsWith`, `endsWith`, `contains`, `size`. Literals: `null`, `true`,
//! `42`, `-4.2e1`, `0xff`, `"text"`, `'text'`, `r"raw"`, `b"bytes"` with the escapes of CEL, `[1, 2]`. There are no
//! macros over lists, no map literals, no conversions, and no `matches`.

mod lexer;
mod parser;

#[cfg(test)]
mod tests;

use std::fmt;

use concord_core::Expression;
use concord_core::expr::InvalidExpression;
use concord_core::limits::EXPRESSION_TEXT_BYTES_MAX;

/// Reads an expression.
///
/// # Errors
///
/// What is wrong with the text, and where.
pub fn parse(text: &str) -> Result<Expression, SyntaxError> {
    if text.len() > EXPRESSION_TEXT_BYTES_MAX {
        return Err(SyntaxError::new(EXPRESSION_TEXT_BYTES_MAX, Fault::TooLong));
    }
    let root = parser::parse(text)?;
    Expression::new(root).map_err(|error| SyntaxError::new(0, Fault::Invalid(error)))
}

/// Text that is no expression. Nothing was read or written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{fault} at byte {offset}")]
pub struct SyntaxError {
    offset: usize,
    fault: Fault,
}

/// What is wrong with a text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fault {
    #[error("expression is longer than {EXPRESSION_TEXT_BYTES_MAX} bytes")]
    TooLong,
    #[error("expression is nested too deeply")]
    TooDeep,
    #[error("{0}")]
    Invalid(InvalidExpression),
    #[error("expected {expected}, found {found}")]
    Unexpected { expected: &'static str, found: String },
    #[error("{0}")]
    Token(&'static str),
    #[error(
        "unknown name `{0}`, there is key, value, version, create_revision, mod_revision, ttl, ttl_ms, lease"
    )]
    UnknownName(String),
    #[error("unknown function `{0}`, there is size, has, startsWith, endsWith, contains")]
    UnknownFunction(String),
    #[error(
        "`matches` is not for expressions, which must mean the same for ever; filter by `pattern` instead"
    )]
    Matches,
}

impl SyntaxError {
    pub(crate) const fn new(offset: usize, fault: Fault) -> Self {
        Self { offset, fault }
    }

    /// Where in the text, in bytes.
    #[must_use]
    pub const fn offset(&self) -> usize {
        self.offset
    }

    /// The line of `text` with the fault, a caret below the place, and what is wrong.
    #[must_use]
    pub fn explain<'a>(&'a self, text: &'a str) -> impl fmt::Display + 'a {
        Explained { error: self, text }
    }
}

struct Explained<'a> {
    error: &'a SyntaxError,
    text: &'a str,
}

impl fmt::Display for Explained<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let before = self.text.get(..self.error.offset).unwrap_or(self.text);
        let start = before.rfind('\n').map_or(0, |at| at.saturating_add(1));
        let line = self.text.get(start..).unwrap_or_default();
        let line = line.lines().next().unwrap_or_default();
        let column = before.get(start..).unwrap_or_default().chars().count();
        writeln!(f, "{line}\n{:column$}^", "")?;
        fmt::Display::fmt(&self.error.fault, f)
    }
}
