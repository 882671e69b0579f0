//! Which access looks at the fewest records.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Bound;

use bytes::Bytes;

use super::spans::{self, Spans};
use super::{Access, IndexAccess, Plan};
use crate::expr::{Binary, Expr, Literal, Unary, Variable};
use crate::filter::{Filter, KeyTest};
use crate::index::{Extractor, Fill, Index, PathStep, Strays};
use crate::key::KeyRange;
use crate::limits::{PLAN_ACCESSES_MAX, PLAN_COUNT_MAX};
use crate::state::State;
use crate::view::ReadView;

impl ReadView {
    /// Where the records of a filter are looked for.
    #[must_use]
    pub fn plan(&self, filter: &Filter) -> Plan {
        plan(self.state(), filter)
    }
}

pub(crate) fn plan(state: &State, filter: &Filter) -> Plan {
    let conjuncts = filter
        .predicate()
        .map_or(Vec::new(), |predicate| conjuncts(predicate.root()));
    let range = key_range(filter, &conjuncts);
    if range.is_empty() {
        return Plan {
            access: Access::Nothing,
            keys: range,
            conjuncts: Vec::new(),
            records: 0,
            is_more: false,
        };
    }
    let mut best: Option<(usize, Rank, Plan)> = None;
    let mut offer = |rank: Rank, plan: Plan| {
        if best
            .as_ref()
            .is_none_or(|(records, best, _)| (plan.records, rank) < (*records, *best))
        {
            best = Some((plan.records, rank, plan));
        }
    };
    let usable = state
        .indexes
        .iter()
        .filter(|index| matches!(index.fill, Fill::Complete) && is_within(&range, index.definition.prefix()));
    let found = usable.flat_map(|index| {
        accesses(index, &conjuncts)
            .into_iter()
            .map(move |found| (index, found))
    });
    for (index, (access, used)) in found.take(PLAN_ACCESSES_MAX) {
        let rank = if access.is_point() {
            Rank::Value
        } else {
            Rank::Values
        };
        let entries = access.spans.iter().flat_map(|(start, end)| {
            index
                .entries
                .range((Bound::Included(start), Bound::Excluded(end)))
        });
        let (records, is_more) = count(entries);
        offer(
            rank,
            Plan {
                access: Access::Index(access),
                keys: range.clone(),
                conjuncts: used,
                records,
                is_more,
            },
        );
    }
    // A query that an index can answer never goes through the whole store.
    if let Some((_, _, plan)) = best.take_if(|_| range == KeyRange::all()) {
        return plan;
    }
    let (records, is_more) = count(state.live.range(range.bounds()));
    let keys = Plan {
        access: Access::Keys(range.clone()),
        keys: range,
        conjuncts: Vec::new(),
        records,
        is_more,
    };
    match best {
        Some((counted, _, plan)) if counted <= records => plan,
        Some(_) | None => keys,
    }
}

/// What is preferred among accesses that look at equally many records.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Value,
    Values,
}

/// Counts as far as it matters.
fn count(entries: impl Iterator) -> (usize, bool) {
    let counted = entries.take(PLAN_COUNT_MAX + 1).count();
    (counted.min(PLAN_COUNT_MAX), counted > PLAN_COUNT_MAX)
}

/// The parts of a predicate that must all be true, in order.
#[must_use]
pub fn conjuncts(expr: &Expr) -> Vec<&Expr> {
    if let Expr::All(parts) = expr {
        return parts.iter().flat_map(conjuncts).collect();
    }
    alloc::vec![expr]
}

/// `of operation literal`, whichever way round it is written.
pub(super) struct Comparison<'a> {
    pub(super) of: &'a Expr,
    pub(super) operation: Binary,
    pub(super) literal: Literal,
}

pub(super) fn comparison(expr: &Expr) -> Option<Comparison<'_>> {
    let Expr::Binary(operation, left, right) = expr else {
        return None;
    };
    if let Some(literal) = constant(right) {
        return Some(Comparison {
            of: left,
            operation: *operation,
            literal,
        });
    }
    let mirrored = match operation {
        Binary::Equal | Binary::In => *operation,
        Binary::Less => Binary::Greater,
        Binary::LessOrEqual => Binary::GreaterOrEqual,
        Binary::Greater => Binary::Less,
        Binary::GreaterOrEqual => Binary::LessOrEqual,
        Binary::NotEqual
        | Binary::Add
        | Binary::Subtract
        | Binary::Multiply
        | Binary::Divide
        | Binary::Remainder
        | Binary::StartsWith
        | Binary::EndsWith
        | Binary::Contains => return None,
    };
    Some(Comparison {
        of: right,
        operation: mirrored,
        literal: constant(left)?,
    })
}

pub(super) fn constant(expr: &Expr) -> Option<Literal> {
    if let Expr::Literal(literal) = expr {
        return Some(literal.clone());
    }
    let Expr::Unary(Unary::Negate, operand) = expr else {
        return None;
    };
    let Expr::Literal(literal) = operand.as_ref() else {
        return None;
    };
    literal.negated()
}

/// The keys that can match.
fn key_range(filter: &Filter, conjuncts: &[&Expr]) -> KeyRange {
    let mut range = filter.range().clone();
    for test in filter.tests() {
        if let KeyTest::Glob(glob) = test {
            range = range.intersection(&KeyRange::prefix(glob.literal_prefix().clone()));
        }
    }
    for conjunct in conjuncts {
        let compared = comparison(conjunct).and_then(|comparison| keys_of(&comparison));
        if let Some(keys) = compared.or_else(|| keys_among(conjunct)) {
            range = range.intersection(&keys);
        }
    }
    range
}

/// The keys of which a comparison can be true.
fn keys_of(comparison: &Comparison<'_>) -> Option<KeyRange> {
    if *comparison.of != Expr::Variable(Variable::Key) {
        return None;
    }
    let text = key_text(&comparison.literal)?;
    Some(match comparison.operation {
        Binary::StartsWith => KeyRange::prefix(text),
        Binary::Equal => {
            let end = behind(&text);
            KeyRange::between(text, end)
        }
        Binary::Less => KeyRange::between(Bytes::new(), text),
        Binary::LessOrEqual => KeyRange::between(Bytes::new(), behind(&text)),
        Binary::Greater => KeyRange::from(behind(&text)),
        Binary::GreaterOrEqual => KeyRange::from(text),
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

/// From the first to the last of the keys that a list has, for `key in [..]`.
fn keys_among(conjunct: &Expr) -> Option<KeyRange> {
    let Expr::Binary(Binary::In, item, list) = conjunct else {
        return None;
    };
    let (Expr::Variable(Variable::Key), Expr::List(items)) = (item.as_ref(), list.as_ref()) else {
        return None;
    };
    let mut ends: Option<(Bytes, Bytes)> = None;
    for item in items {
        let text = key_text(&constant(item)?)?;
        ends = Some(match ends {
            None => (text.clone(), text),
            Some((first, last)) => (first.min(text.clone()), last.max(text)),
        });
    }
    let (first, last) = ends?;
    Some(KeyRange::between(first, behind(&last)))
}

/// The key that a constant is; numbers and such are none, and a key is in no order with them.
fn key_text(literal: &Literal) -> Option<Bytes> {
    match literal {
        Literal::String(text) => Some(Bytes::copy_from_slice(text.as_bytes())),
        Literal::Bytes(bytes) => Some(Bytes::copy_from_slice(bytes)),
        Literal::Null | Literal::Bool(_) | Literal::Integer(_) | Literal::Float(_) => None,
    }
}

/// The first key behind this one.
fn behind(text: &[u8]) -> Vec<u8> {
    let mut behind = text.to_vec();
    behind.push(0);
    behind
}

/// Whether all keys of a range start with `prefix`.
fn is_within(range: &KeyRange, prefix: &[u8]) -> bool {
    let covered = KeyRange::prefix(Bytes::copy_from_slice(prefix));
    range.intersection(&covered) == *range
}

/// The parts of an index that have all records of these conjuncts, with the conjuncts that say so.
fn accesses(index: &Index, conjuncts: &[&Expr]) -> Vec<(IndexAccess, Vec<usize>)> {
    let extractor = index.definition.extractor();
    let access = |spans: Spans, strays: Strays| IndexAccess {
        definition: Arc::clone(&index.definition),
        spans,
        strays,
    };
    let mut found = Vec::new();
    // Conditions of one value narrow each other: of a list none of them is true.
    let mut narrowing = Vec::new();
    let mut used = Vec::new();
    for (place, conjunct) in conjuncts.iter().enumerate() {
        if let Some((start, end)) = contained(conjunct, extractor) {
            let strays = Strays::PartlyKnownAndObjects;
            found.push((access(Spans::one(start, end), strays), alloc::vec![place]));
        } else if let Some(spans) = spans::of_condition(extractor, conjunct) {
            narrowing.push(spans);
            used.push(place);
        }
    }
    if let Some(spans) = spans::of_all(narrowing.into_iter()) {
        found.push((access(spans, Strays::PartlyKnown), used));
    }
    found
}

/// The entries of the lists that a constant is in, for `constant in list`.
fn contained(conjunct: &Expr, extractor: &Extractor) -> Option<(Vec<u8>, Vec<u8>)> {
    let Expr::Binary(Binary::In, item, list) = conjunct else {
        return None;
    };
    if !finds(extractor, list) && !finds_items(extractor, list) {
        return None;
    }
    spans::point(item)
}

/// Whether an extractor finds what an expression comes to.
pub(super) fn finds(extractor: &Extractor, expr: &Expr) -> bool {
    match extractor {
        Extractor::Expression(expression) => expression.root() == expr,
        // Of a text or bytes `value` comes to something, too, which the path of no step does not find.
        Extractor::Path(steps) => !steps.is_empty() && is_path(steps, expr),
    }
}

/// Whether an extractor finds the items of the list that an expression comes to.
fn finds_items(extractor: &Extractor, expr: &Expr) -> bool {
    match extractor {
        Extractor::Expression(_) => false,
        Extractor::Path(steps) => match steps.split_last() {
            Some((PathStep::Each, fields)) => is_path(fields, expr),
            Some((PathStep::Field(_), _)) | None => false,
        },
    }
}

/// Whether an expression is `value` with these fields.
fn is_path(steps: &[PathStep], expr: &Expr) -> bool {
    match (steps.split_last(), expr) {
        (None, expr) => *expr == Expr::Variable(Variable::Value),
        (Some((PathStep::Field(name), fields)), Expr::Index(of, at)) => {
            matches!(at.as_ref(), Expr::Literal(Literal::String(found)) if found == name)
                && is_path(fields, of)
        }
        (Some(_), _) => false,
    }
}
