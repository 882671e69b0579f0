//! Parts of an index, as spans of encoded values, and which of them have all records of a condition.

use alloc::vec::Vec;

use crate::expr::{Binary, Expr, Literal};
use crate::index::{Extractor, encode_literal, is_cut, kind_bounds, value_len};
use crate::limits::PLAN_SPANS_MAX;
use crate::tree::prefix_end;

use super::plan::{comparison, finds};

/// Encoded values from the first, included, to the second, excluded.
pub(crate) type Span = (Vec<u8>, Vec<u8>);

/// Spans in ascending order, none empty, none over another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Spans(Vec<Span>);

impl Spans {
    pub(crate) fn one(start: Vec<u8>, end: Vec<u8>) -> Self {
        Self::of(alloc::vec![(start, end)])
    }

    /// The union of spans in any order; of very many, one from the first to the last.
    pub(crate) fn of(mut spans: Vec<Span>) -> Self {
        spans.retain(|(start, end)| start < end);
        spans.sort_unstable();
        let mut apart: Vec<Span> = Vec::with_capacity(spans.len());
        for (start, end) in spans {
            match apart.last_mut() {
                Some((_, last)) if start < *last => {
                    if *last < end {
                        *last = end;
                    }
                }
                Some(_) | None => apart.push((start, end)),
            }
        }
        // Each span costs a search of its own, also in one that has nothing.
        if apart.len() > PLAN_SPANS_MAX
            && let (Some((start, _)), Some((_, end))) = (apart.first(), apart.last())
        {
            let whole = (start.clone(), end.clone());
            apart = alloc::vec![whole];
        }
        Self(apart)
    }

    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = (&[u8], &[u8])> {
        self.0
            .iter()
            .map(|(start, end)| (start.as_slice(), end.as_slice()))
    }

    fn intersection(&self, other: &Self) -> Self {
        let (mut left, mut right) = (self.0.iter().peekable(), other.0.iter().peekable());
        let mut both = Vec::new();
        while let (Some((low, low_end)), Some((high, high_end))) = (left.peek(), right.peek()) {
            both.push((low.max(high).clone(), low_end.min(high_end).clone()));
            // The one that ends first meets nothing more.
            if low_end <= high_end {
                left.next();
            } else {
                right.next();
            }
        }
        Self::of(both)
    }

    /// The one value that is meant, encoded.
    pub(crate) fn point(&self) -> Option<&[u8]> {
        let [(start, end)] = self.0.as_slice() else {
            return None;
        };
        let is_whole = value_len(start) == Some(start.len());
        (is_whole && prefix_end(start).as_ref() == Some(end)).then_some(start)
    }
}

/// The entries of all records of which a condition can be true, if an index of single values tells.
pub(super) fn of_condition(extractor: &Extractor, condition: &Expr) -> Option<Spans> {
    match condition {
        // One of them must be true: each must be known.
        Expr::Any(parts) => {
            let each: Option<Vec<Spans>> = parts.iter().map(|part| of_condition(extractor, part)).collect();
            Some(Spans::of(each?.into_iter().flat_map(|spans| spans.0).collect()))
        }
        // All of them must be true: those that are known narrow each other.
        Expr::All(parts) => parts
            .iter()
            .filter_map(|part| of_condition(extractor, part))
            .reduce(|spans, other| spans.intersection(&other)),
        Expr::Binary(Binary::In, item, list) => {
            let (Expr::List(items), true) = (list.as_ref(), finds(extractor, item)) else {
                return None;
            };
            let each: Option<Vec<Span>> = items.iter().map(point).collect();
            Some(Spans::of(each?))
        }
        Expr::Binary(..) => {
            let comparison = comparison(condition)?;
            if !finds(extractor, comparison.of) {
                return None;
            }
            let (start, end) = span(comparison.operation, &comparison.literal)?;
            Some(Spans::one(start, end))
        }
        Expr::Literal(_)
        | Expr::Variable(_)
        | Expr::List(_)
        | Expr::Index(..)
        | Expr::Has(..)
        | Expr::Unary(..)
        | Expr::Conditional(_) => None,
    }
}

/// The spans of several conditions that must all be true.
pub(super) fn of_all(found: impl Iterator<Item = Spans>) -> Option<Spans> {
    found.reduce(|spans, other| spans.intersection(&other))
}

/// The entries of a constant.
pub(super) fn point(constant: &Expr) -> Option<Span> {
    let value = encode_literal(&super::plan::constant(constant)?)?;
    let behind = prefix_end(&value)?;
    Some((value, behind))
}

/// The entries of the values of which a comparison can be true. Nothing is equal or compares to a
/// value of another kind, so the others are left out.
fn span(operation: Binary, literal: &Literal) -> Option<Span> {
    let value = encode_literal(literal)?;
    let behind = prefix_end(&value)?;
    let (kind, kind_end) = kind_bounds(&value)?;
    // Under the bytes of a long string there are others, before it and behind.
    let (exclusive_start, exclusive_end) = if is_cut(&value) {
        (value.clone(), behind.clone())
    } else {
        (behind.clone(), value.clone())
    };
    Some(match operation {
        Binary::Equal => (value, behind),
        Binary::Less => (kind.to_vec(), exclusive_end),
        Binary::LessOrEqual => (kind.to_vec(), behind),
        Binary::Greater => (exclusive_start, kind_end.to_vec()),
        Binary::GreaterOrEqual => (value, kind_end.to_vec()),
        Binary::StartsWith => {
            matches!(literal, Literal::String(_) | Literal::Bytes(_)).then_some(())?;
            // Without its end the bytes of a string are the start of those that begin with it.
            let start = value.get(..value.len().checked_sub(2)?)?.to_vec();
            let end = prefix_end(&start)?;
            (start, end)
        }
        Binary::NotEqual
        | Binary::In
        | Binary::Add
        | Binary::Subtract
        | Binary::Multiply
        | Binary::Divide
        | Binary::Remainder
        | Binary::EndsWith
        | Binary::Contains => return None,
    })
}
