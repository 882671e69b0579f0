//! Which access looks at the fewest records.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Bound;

use bytes::Bytes;

use super::{Access, IndexAccess, Plan};
use crate::expr::{Binary, Expr, Literal, Unary, Variable};
use crate::filter::{Filter, KeyTest};
use crate::index::{Extractor, Fill, Index, PathStep, Strays, encode_literal, is_cut, kind_bounds};
use crate::key::KeyRange;
use crate::limits::{PLAN_ACCESSES_MAX, PLAN_COUNT_MAX};
use crate::state::State;
use crate::tree::prefix_end;
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
        let rank = if access.is_point {
            Rank::Value
        } else {
            Rank::Values
        };
        let bounds = (
            Bound::Included(access.start.as_slice()),
            Bound::Excluded(access.end.as_slice()),
        );
        let (records, is_more) = count(index.entries.range(bounds));
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
struct Comparison<'a> {
    of: &'a Expr,
    operation: Binary,
    literal: Literal,
}

fn comparison(expr: &Expr) -> Option<Comparison<'_>> {
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

fn constant(expr: &Expr) -> Option<Literal> {
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
        if let Some(keys) = comparison(conjunct).and_then(|comparison| keys_of(&comparison)) {
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
    let text = match &comparison.literal {
        Literal::String(text) => Bytes::copy_from_slice(text.as_bytes()),
        Literal::Bytes(bytes) => Bytes::copy_from_slice(bytes),
        Literal::Null | Literal::Bool(_) | Literal::Integer(_) | Literal::Float(_) => return None,
    };
    // The first key behind this one.
    let behind = |text: &[u8]| {
        let mut behind = text.to_vec();
        behind.push(0);
        behind
    };
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

/// Whether all keys of a range start with `prefix`.
fn is_within(range: &KeyRange, prefix: &[u8]) -> bool {
    let covered = KeyRange::prefix(Bytes::copy_from_slice(prefix));
    range.intersection(&covered) == *range
}

/// The parts of an index that have all records of these conjuncts, with the conjuncts that say so.
fn accesses(index: &Index, conjuncts: &[&Expr]) -> Vec<(IndexAccess, Vec<usize>)> {
    let extractor = index.definition.extractor();
    let access = |start: Vec<u8>, end: Vec<u8>, is_point: bool, strays: Strays| IndexAccess {
        definition: Arc::clone(&index.definition),
        start,
        end,
        is_point,
        strays,
    };
    let mut found = Vec::new();
    // Comparisons of one value narrow each other: of a list none of them is true.
    let mut narrowed: Option<(Vec<u8>, Vec<u8>)> = None;
    let mut used = Vec::new();
    for (place, conjunct) in conjuncts.iter().enumerate() {
        let Some(comparison) = comparison(conjunct) else {
            continue;
        };
        if comparison.operation == Binary::In {
            if let Some((start, end)) = contained(conjunct, extractor) {
                let strays = Strays::PartlyKnownAndObjects;
                found.push((access(start, end, true, strays), alloc::vec![place]));
            }
        } else if finds(extractor, comparison.of)
            && let Some((start, end)) = values_of(&comparison)
        {
            narrowed = Some(match narrowed {
                None => (start, end),
                Some((low, high)) => (low.max(start), high.min(end)),
            });
            used.push(place);
        }
    }
    if let Some((start, mut end)) = narrowed {
        // Bounds that are crossed hold nothing.
        if end < start {
            end.clone_from(&start);
        }
        let is_point = prefix_end(&start).as_ref() == Some(&end)
            && kind_bounds(&start).is_some_and(|(kind, _)| start != kind);
        found.push((access(start, end, is_point, Strays::PartlyKnown), used));
    }
    found
}

/// The entries of the values of which a comparison can be true. Nothing is equal or compares to a
/// value of another kind, so the others are left out.
fn values_of(comparison: &Comparison<'_>) -> Option<(Vec<u8>, Vec<u8>)> {
    let value = encode_literal(&comparison.literal)?;
    let behind = prefix_end(&value)?;
    let (kind, kind_end) = kind_bounds(&value)?;
    // Under the bytes of a long string there are others, before it and behind.
    let (exclusive_start, exclusive_end) = if is_cut(&value) {
        (value.clone(), behind.clone())
    } else {
        (behind.clone(), value.clone())
    };
    Some(match comparison.operation {
        Binary::Equal => (value, behind),
        Binary::Less => (kind.to_vec(), exclusive_end),
        Binary::LessOrEqual => (kind.to_vec(), behind),
        Binary::Greater => (exclusive_start, kind_end.to_vec()),
        Binary::GreaterOrEqual => (value, kind_end.to_vec()),
        Binary::StartsWith => {
            // Without its end the bytes of a string are the start of those that begin with it.
            let start = value.get(..value.len().checked_sub(2)?)?.to_vec();
            matches!(comparison.literal, Literal::String(_) | Literal::Bytes(_)).then_some(())?;
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

/// The entries of the lists that a constant is in, for `constant in list`.
fn contained(conjunct: &Expr, extractor: &Extractor) -> Option<(Vec<u8>, Vec<u8>)> {
    let Expr::Binary(Binary::In, item, list) = conjunct else {
        return None;
    };
    if !finds(extractor, list) && !finds_items(extractor, list) {
        return None;
    }
    let value = encode_literal(&constant(item)?)?;
    let behind = prefix_end(&value)?;
    Some((value, behind))
}

/// Whether an extractor finds what an expression comes to.
fn finds(extractor: &Extractor, expr: &Expr) -> bool {
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
