//! What a query would read, in words.

use concord_core::expr::{Expr, Expression};
use concord_core::index::IndexName;
use concord_core::key::KeyRange;
use concord_core::select::{Access, conjuncts};
use concord_core::view::ReadView;

use super::{Query, QueryError};

/// What a query reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reads {
    /// Nothing: no key can match.
    Nothing,
    /// Every key.
    FullScan,
    /// The keys of a range.
    KeyRange(KeyRange),
    /// A part of an index.
    Index(IndexName),
}

/// How a query is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// What is read.
    pub reads: Reads,
    /// The conditions that the index answers.
    pub by_index: Vec<String>,
    /// What every record that is read is asked.
    pub filters: Vec<String>,
    /// Whether records are found in the order that is asked for; if not, all of them are looked at before the first
    /// can be shown.
    pub is_in_order: bool,
    /// How many records there are to look at, as far as they were counted.
    pub records: usize,
    /// Whether there are more.
    pub is_more: bool,
}

impl Query {
    /// How the query would be answered from a view.
    ///
    /// # Errors
    ///
    /// If the query makes no sense.
    pub fn explain(&self, view: &ReadView) -> Result<Explanation, QueryError> {
        self.check()?;
        let filter = self.to_filter()?;
        let plan = view.plan(&filter);
        let is_in_order =
            self.is_ordered_by(&plan.access) && view.is_in_order(&plan.access, view.revision())?;
        let parts = filter
            .predicate()
            .map_or(Vec::new(), |predicate| conjuncts(predicate.root()));
        let by_index = plan.conjuncts.iter().filter_map(|place| parts.get(*place));
        let keys = (*filter.range() != KeyRange::all()).then(|| shown(filter.range()));
        let filters = keys
            .into_iter()
            .chain(self.shown.iter().cloned())
            .chain(parts.iter().map(|part| text(part)));
        Ok(Explanation {
            by_index: by_index.map(|part| text(part)).collect(),
            filters: filters.collect(),
            is_in_order,
            records: plan.records,
            is_more: plan.is_more,
            reads: match plan.access {
                Access::Nothing => Reads::Nothing,
                Access::Keys(range) if range == KeyRange::all() => Reads::FullScan,
                Access::Keys(range) => Reads::KeyRange(range),
                Access::Index(access) => Reads::Index(access.name().clone()),
            },
        })
    }
}

fn text(part: &Expr) -> String {
    Expression::new(part.clone()).map_or_else(|error| error.to_string(), |part| part.to_string())
}

/// A range of keys in words.
fn shown(range: &KeyRange) -> String {
    let start = range.start().escape_ascii();
    match range.end() {
        Some(end) => format!("keys from {start} to before {}", end.escape_ascii()),
        None => format!("keys from {start}"),
    }
}

impl Reads {
    /// Its kind in every interface: `nothing`, `full_scan`, `key_range`, `index`.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::FullScan => "full_scan",
            Self::KeyRange(_) => "key_range",
            Self::Index(_) => "index",
        }
    }
}
