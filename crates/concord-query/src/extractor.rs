//! Extractors of indexes as people write them: a path, `$.email`, `$.tags[*]`, `$.items[*].sku`, or else
//! an [expression].
//!
//! Names in paths are letters, digits, `_` and `-`, or anything in brackets and quotes:
//! `$["first name"]`. [`Extractor`] writes a path with plain names the same way.

use concord_core::index::{Extractor, PathStep};

use crate::expression::{self, SyntaxError};

/// Text that is no extractor. Nothing was read or written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidExtractor {
    /// It begins like a path, but is none.
    #[error("{what} at byte {offset}")]
    Path {
        /// What was found, in words.
        what: &'static str,
        /// Where.
        offset: usize,
    },
    /// It is no expression.
    #[error("{0}")]
    Expression(#[from] SyntaxError),
}

impl InvalidExtractor {
    /// Where in the text, in bytes.
    #[must_use]
    pub const fn offset(&self) -> usize {
        match self {
            Self::Path { offset, .. } => *offset,
            Self::Expression(error) => error.offset(),
        }
    }

    /// The line of `text` with the fault, a caret below the place, and what is wrong.
    #[must_use]
    pub fn explain(&self, text: &str) -> String {
        match self {
            Self::Expression(error) => error.explain(text).to_string(),
            Self::Path { what, offset } => {
                let before = text.get(..*offset).unwrap_or(text);
                let column = before.chars().count();
                format!("{text:.200}\n{:column$}^\n{what}", "")
            }
        }
    }
}

/// Reads an extractor: a path if it begins with `$`.
///
/// # Errors
///
/// What is wrong with the text, and where.
pub fn parse(text: &str) -> Result<Extractor, InvalidExtractor> {
    match text.strip_prefix('$') {
        Some(steps) => path(text, steps).map(Extractor::Path),
        None => Ok(Extractor::Expression(expression::parse(text)?)),
    }
}

fn path(text: &str, mut rest: &str) -> Result<Vec<PathStep>, InvalidExtractor> {
    let mut steps = Vec::new();
    while !rest.is_empty() {
        let fault = |what| InvalidExtractor::Path {
            what,
            offset: text.len().saturating_sub(rest.len()),
        };
        if let Some(behind) = rest.strip_prefix("[*]") {
            steps.push(PathStep::Each);
            rest = behind;
        } else if let Some(behind) = rest.strip_prefix("[\"") {
            let (name, behind) = behind
                .split_once("\"]")
                .ok_or_else(|| fault("name without an end"))?;
            if name.contains(['"', '\\']) {
                return Err(fault("name with a quote or a backslash"));
            }
            steps.push(PathStep::Field(name.to_owned()));
            rest = behind;
        } else if let Some(behind) = rest.strip_prefix('.') {
            let end = behind
                .find(|letter: char| !(letter.is_alphanumeric() || letter == '_' || letter == '-'))
                .unwrap_or(behind.len());
            let (name, behind) = behind
                .split_at_checked(end)
                .filter(|(name, _)| !name.is_empty())
                .ok_or_else(|| fault("expected a name"))?;
            steps.push(PathStep::Field(name.to_owned()));
            rest = behind;
        } else {
            return Err(fault("expected `.name`, `[\"name\"]` or `[*]`"));
        }
    }
    Ok(steps)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(name: &str) -> PathStep {
        PathStep::Field(name.to_owned())
    }

    #[test]
    fn paths_are_read_and_written() {
        for (text, steps) in [
            ("$", vec![]),
            ("$.email", vec![field("email")]),
            ("$.address.city", vec![field("address"), field("city")]),
            ("$.tags[*]", vec![field("tags"), PathStep::Each]),
            (
                "$[*].first-name[*]",
                vec![PathStep::Each, field("first-name"), PathStep::Each],
            ),
            ("$.größe_2", vec![field("größe_2")]),
        ] {
            let extractor = parse(text).unwrap();
            assert_eq!(extractor.to_string(), text);
            assert_eq!(extractor, Extractor::Path(steps));
        }
        let quoted = parse("$[\"first name\"][\"a]\"].b").unwrap();
        let steps = vec![field("first name"), field("a]"), field("b")];
        assert_eq!(quoted, Extractor::Path(steps));
        assert_eq!(quoted.to_string(), "$[\"first name\"][\"a]\"].b");
    }

    #[test]
    fn what_is_no_path_is_an_expression() {
        let extractor = parse("value.first + value.last").unwrap();
        assert!(matches!(extractor, Extractor::Expression(_)));
        assert_eq!(extractor.to_string(), "value.first + value.last");
        assert!(matches!(parse("value."), Err(InvalidExtractor::Expression(_))));
    }

    #[test]
    fn faults_of_paths_name_their_place() {
        for (text, offset) in [
            ("$email", 1),
            ("$.a..b", 3),
            ("$.a.", 3),
            ("$.tags[0]", 6),
            ("$.tags[*", 6),
            ("$[\"a", 1),
            ("$[\"a\\\"]", 1),
            ("$.a b", 3),
        ] {
            let error = parse(text).unwrap_err();
            assert!(
                matches!(error, InvalidExtractor::Path { offset: found, .. } if found == offset),
                "{text}: {error:?}"
            );
        }
    }
}
