//! The parts of a query, each judged when it is given.

use bytes::Bytes;
use concord_core::expr::{Expr, Expression};
use concord_core::filter::{Filter, KeyTest};
use concord_core::glob::Glob;
use concord_core::index::Extractor;
use concord_core::key::KeyRange;
use concord_core::view::Direction;

use super::project::Field;
use crate::cursor::Fingerprint;
use crate::limits::{
    QUERY_FIELDS_MAX, QUERY_LIMIT_MAX, QUERY_OFFSET_MAX, QUERY_SCANNED_DEFAULT, QUERY_SCANNED_MAX,
};
use crate::{expression, extractor, pattern};

/// What is asked. Parts of a filter add up: all of them must hold.
#[derive(Clone, Debug)]
pub struct Query {
    pub(super) range: KeyRange,
    pub(super) tests: Vec<KeyTest>,
    /// The tests of keys as they were written.
    pub(super) shown: Vec<String>,
    pub(super) predicates: Vec<Expression>,
    pub(super) order: OrderBy,
    pub(super) direction: Direction,
    pub(super) offset: u64,
    pub(super) limit: usize,
    pub(super) fields: Vec<Field>,
    pub(super) max_scanned: u64,
}

/// What records are ordered by. Records that are equal in it are in the order of their keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OrderBy {
    /// Their keys.
    Key,
    /// The smallest of the values that this finds, as an index has them. Records without one come first.
    Value(Extractor),
}

/// A part that makes no sense. Nothing was read or written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{part} is wrong: {message}")]
pub struct InvalidQuery {
    part: &'static str,
    message: String,
    offset: Option<usize>,
}

impl InvalidQuery {
    fn new(part: &'static str, message: impl ToString) -> Self {
        Self {
            part,
            message: message.to_string(),
            offset: None,
        }
    }

    const fn at(mut self, offset: usize) -> Self {
        self.offset = Some(offset);
        self
    }

    /// Which part: as it is named over HTTP.
    #[must_use]
    pub const fn part(&self) -> &'static str {
        self.part
    }

    /// Where in its text, in bytes, if it is about a place.
    #[must_use]
    pub const fn offset(&self) -> Option<usize> {
        self.offset
    }
}

impl Query {
    /// All records, in the order of their keys, pages of `limit`.
    #[must_use]
    pub const fn all(limit: usize) -> Self {
        Self {
            range: KeyRange::all(),
            tests: Vec::new(),
            shown: Vec::new(),
            predicates: Vec::new(),
            order: OrderBy::Key,
            direction: Direction::Ascending,
            offset: 0,
            limit,
            fields: Vec::new(),
            max_scanned: QUERY_SCANNED_DEFAULT,
        }
    }

    /// Only keys that start with this.
    pub fn prefix(&mut self, prefix: &[u8]) {
        self.within(&KeyRange::prefix(Bytes::copy_from_slice(prefix)));
    }

    /// Only keys in this range.
    pub fn within(&mut self, range: &KeyRange) {
        self.range = self.range.intersection(range);
    }

    /// The range in which all keys are that are asked for.
    #[must_use]
    pub const fn key_range(&self) -> &KeyRange {
        &self.range
    }

    /// Only keys from `first` to `last`, both included.
    pub fn range(&mut self, first: &[u8], last: &[u8]) {
        let mut behind = last.to_vec();
        behind.push(0);
        self.within(&KeyRange::between(Bytes::copy_from_slice(first), behind));
    }

    /// Only keys that end with this.
    pub fn suffix(&mut self, suffix: &[u8]) {
        self.shown.push(format!("suffix {}", suffix.escape_ascii()));
        self.tests.push(KeyTest::Suffix(Bytes::copy_from_slice(suffix)));
    }

    /// Only keys that this is in.
    pub fn contains(&mut self, part: &[u8]) {
        self.shown.push(format!("contains {}", part.escape_ascii()));
        self.tests.push(KeyTest::Contains(Bytes::copy_from_slice(part)));
    }

    /// Only keys that a glob matches: `*` any run, `?` one character, `\` takes the next as it is.
    ///
    /// # Errors
    ///
    /// If the text is no glob.
    pub fn glob(&mut self, text: &str) -> Result<(), InvalidQuery> {
        let glob = Glob::new(text.to_owned()).map_err(|error| InvalidQuery::new("glob", error))?;
        self.shown.push(format!("glob {text}"));
        self.tests.push(KeyTest::Glob(glob));
        Ok(())
    }

    /// Only keys that a regular expression matches: see [`pattern`].
    ///
    /// # Errors
    ///
    /// If the text is no pattern, or one that takes too many instructions.
    pub fn pattern(&mut self, text: &str) -> Result<(), InvalidQuery> {
        let program =
            pattern::parse(text).map_err(|error| InvalidQuery::new("pattern", &error).at(error.offset()))?;
        self.prefix(&pattern::literal_prefix(text));
        self.shown.push(format!("pattern {text}"));
        self.tests.push(KeyTest::Pattern(program));
        Ok(())
    }

    /// Only records of which an expression is true: see [`expression`].
    ///
    /// # Errors
    ///
    /// If the text is no expression.
    pub fn filter(&mut self, text: &str) -> Result<(), InvalidQuery> {
        let parsed = expression::parse(text)
            .map_err(|error| InvalidQuery::new("where", error.explain(text)).at(error.offset()))?;
        self.predicates.push(parsed);
        Ok(())
    }

    /// Orders by the values that a path or an expression finds, or by `key`.
    ///
    /// # Errors
    ///
    /// If the text is neither, or is about what changes without a write.
    pub fn order_by(&mut self, text: &str) -> Result<(), InvalidQuery> {
        if text == "key" {
            self.order = OrderBy::Key;
            return Ok(());
        }
        let parsed = extractor::parse(text)
            .map_err(|error| InvalidQuery::new("order_by", error.explain(text)).at(error.offset()))?;
        parsed
            .check()
            .map_err(|error| InvalidQuery::new("order_by", error))?;
        self.order = OrderBy::Value(parsed);
        Ok(())
    }

    /// Greatest first.
    pub const fn descending(&mut self) {
        self.direction = Direction::Descending;
    }

    /// Leaves out so many matching records at the start.
    pub const fn offset(&mut self, offset: u64) {
        self.offset = offset;
    }

    /// Records on a page.
    pub const fn limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    /// Records that one request looks at.
    pub const fn max_scanned(&mut self, max_scanned: u64) {
        self.max_scanned = max_scanned;
    }

    /// Adds a field to what is shown of records: the values are then documents of these fields. A field
    /// that is missing, or has no place in a document, is left out.
    ///
    /// # Errors
    ///
    /// If the text is no expression.
    pub fn select(&mut self, name: &str, text: &str) -> Result<(), InvalidQuery> {
        let parsed = expression::parse(text)
            .map_err(|error| InvalidQuery::new("select", error.explain(text)).at(error.offset()))?;
        self.fields.push(Field {
            name: name.to_owned(),
            expression: parsed,
        });
        Ok(())
    }

    /// Whether it says anything that a filter does not.
    #[must_use]
    pub fn is_filter_only(&self) -> bool {
        self.order == OrderBy::Key
            && self.direction == Direction::Ascending
            && self.offset == 0
            && self.fields.is_empty()
    }

    /// Checks what no part can say alone.
    ///
    /// # Errors
    ///
    /// If a number is out of range, or the filter has too many parts.
    pub fn check(&self) -> Result<(), InvalidQuery> {
        let refuse = |part, message: String| Err(InvalidQuery::new(part, message));
        if !(1..=QUERY_LIMIT_MAX).contains(&self.limit) {
            return refuse("limit", format!("must be 1 to {QUERY_LIMIT_MAX}"));
        }
        if self.offset > QUERY_OFFSET_MAX {
            return refuse("offset", format!("must be up to {QUERY_OFFSET_MAX}"));
        }
        if !(1..=QUERY_SCANNED_MAX).contains(&self.max_scanned) {
            return refuse("max_scanned", format!("must be 1 to {QUERY_SCANNED_MAX}"));
        }
        if self.fields.len() > QUERY_FIELDS_MAX {
            return refuse("select", format!("has more than {QUERY_FIELDS_MAX} fields"));
        }
        self.to_filter().map(|_| ())
    }

    /// The filter as core judges it.
    ///
    /// # Errors
    ///
    /// If it has too many parts, or they are too long.
    pub fn to_filter(&self) -> Result<Filter, InvalidQuery> {
        let predicate = match self.predicates.as_slice() {
            [] => None,
            [only] => Some(only.clone()),
            several => {
                let parts = several.iter().map(|part| part.root().clone()).collect();
                let all = Expression::new(Expr::All(parts));
                Some(all.map_err(|error| InvalidQuery::new("where", error))?)
            }
        };
        Filter::new(self.range.clone(), self.tests.clone(), predicate)
            .map_err(|error| InvalidQuery::new("filter", error))
    }

    /// Tells queries apart by what their pages have in common.
    pub(super) fn fingerprint(&self) -> [u8; 8] {
        let mut hash = Fingerprint::new(self.direction);
        hash.bytes(self.range.start());
        hash.byte(u8::from(self.range.end().is_some()));
        hash.bytes(self.range.end().unwrap_or_default());
        for shown in &self.shown {
            hash.byte(1);
            hash.bytes(shown.as_bytes());
        }
        for predicate in &self.predicates {
            hash.byte(2);
            hash.bytes(&predicate.to_bytes());
        }
        if let OrderBy::Value(extractor) = &self.order {
            hash.byte(3);
            hash.bytes(extractor.to_string().as_bytes());
        }
        hash.finish()
    }
}
