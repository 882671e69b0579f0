//! Records to values, and values to bytes in the order of the values.
//!
//! | value | bytes |
//! | --- | --- |
//! | false, true | 1, 2 |
//! | number | 3, the nearest float with its bits in order (8), what it lacks plus 2^15 (2) |
//! | string | 4, the bytes with each 0 as 0 255, then 0 0, or 0 1 if it was cut off |
//! | bytes | 5, likewise |
//!
//! No form is the start of another, so a key can follow. Rounding to the nearest float keeps the order of
//! integers, and what is lost is less than 2^11; equal numbers are equal bytes.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use super::{Extractor, Index, PathStep};
use crate::document::Integer;
use crate::expr::{Datum, EvaluationError, Literal, Meter, Scope};
use crate::ids::Timestamp;
use crate::limits::{INDEX_ENTRIES_PER_RECORD_MAX, INDEX_VALUE_BYTES_MAX};
use crate::record::RecordRef;
use crate::value::ValueFormat;

const FALSE: u8 = 1;
const TRUE: u8 = 2;
const NUMBER: u8 = 3;
const STRING: u8 = 4;
const BYTES: u8 = 5;

/// What an entry costs in the steps of an evaluation.
const STEPS_A_VALUE: u64 = 16;

/// The scope in which indexes look at a record: one for all of them, so that it is unpacked once. The
/// clock is left out: no extractor may read what depends on it.
pub(crate) fn scope<'a>(record: &RecordRef<'a>) -> Scope<'a> {
    Scope::of(record, Timestamp::new(0))
}

/// Behind all values: records whose value is an object. It has no order, but names.
const OBJECT: u8 = 0xf0;
/// Behind them: records that have values which are not all known.
const PARTLY_KNOWN: u8 = 0xf1;

/// The entries of records that can have a value which no other entry tells of, in the order of keys. A
/// lookup leaves them out; who must miss no record looks at them too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Strays {
    /// Of records with more values than an index knows, or that took too much work.
    PartlyKnown,
    /// Of records whose value is an object, too: a name can be in it.
    PartlyKnownAndObjects,
}

impl Strays {
    /// Where they lie.
    pub(crate) const fn start(self) -> [u8; 1] {
        match self {
            Self::PartlyKnown => [PARTLY_KNOWN],
            Self::PartlyKnownAndObjects => [OBJECT],
        }
    }
}

/// The end of all values.
pub(crate) const VALUES_END: [u8; 1] = [OBJECT];

/// Whether an entry tells of a value.
pub(crate) fn is_value(entry: &[u8]) -> bool {
    entry.first().is_some_and(|kind| *kind < OBJECT)
}

/// What an extractor has found so far.
#[derive(Default)]
struct Found {
    values: BTreeSet<Vec<u8>>,
    is_object: bool,
    is_more: bool,
}

impl Index {
    /// The values of a record in its [`scope`], encoded and in order; behind them what [`Strays`] are made of.
    pub(crate) fn values(&self, scope: &Scope<'_>) -> BTreeSet<Vec<u8>> {
        self.definition.extractor.values(scope)
    }
}

impl Extractor {
    /// What a record is ordered by: the smallest of its values, as an index knows them, encoded;
    /// nothing, which comes before all, if it has none.
    #[must_use]
    pub fn sort_key(&self, record: &RecordRef<'_>) -> Vec<u8> {
        let first = self.values(&scope(record)).pop_first();
        first.filter(|value| is_value(value)).unwrap_or_default()
    }

    fn values(&self, scope: &Scope<'_>) -> BTreeSet<Vec<u8>> {
        let mut found = Found::default();
        let outcome = match self {
            Self::Expression(expression) => match expression.datum(scope) {
                Ok(result) => scalars(&result, &mut Meter::new(), &mut found),
                Err(error) => Err(error),
            },
            Self::Path(steps) if scope.format() == ValueFormat::Document => {
                let mut meter = Meter::new();
                scope
                    .content()
                    .and_then(|content| Datum::packed(content, &mut meter))
                    .and_then(|document| follow(&document, steps, &mut meter, &mut found))
            }
            Self::Path(_) => Ok(()),
        };
        // What was found before an extractor failed depends on the order of its work: none of it counts.
        if outcome.is_err() {
            found = Found::default();
        }
        if found.is_object {
            found.values.insert(alloc::vec![OBJECT]);
        }
        if found.is_more || outcome == Err(EvaluationError::TooCostly) {
            found.values.insert(alloc::vec![PARTLY_KNOWN]);
        }
        found.values
    }
}

/// The values at the end of a path.
fn follow(
    datum: &Datum<'_>,
    steps: &[PathStep],
    meter: &mut Meter,
    found: &mut Found,
) -> Result<(), EvaluationError> {
    match (steps.split_first(), datum) {
        (None, datum) => scalars(datum, meter, found),
        (Some((PathStep::Field(name), rest)), Datum::Map(fields)) => match fields.get(name, meter) {
            Ok(field) => follow(&field, rest, meter, found),
            Err(EvaluationError::Missing) => Ok(()),
            Err(error) => Err(error),
        },
        (Some((PathStep::Each, rest)), Datum::List(items)) => items.each(meter, |item, meter| {
            follow(item, rest, meter, found)?;
            Ok(true)
        }),
        (Some((PathStep::Each, [])), Datum::Map(_)) => {
            found.is_object = true;
            Ok(())
        }
        (Some(_), _) => Ok(()),
    }
}

/// A value that can be indexed, or those in a list.
fn scalars(datum: &Datum<'_>, meter: &mut Meter, found: &mut Found) -> Result<(), EvaluationError> {
    match datum {
        Datum::List(items) => items.each(meter, |item, meter| insert(item, meter, found).map(|()| true)),
        Datum::Map(_) => {
            found.is_object = true;
            Ok(())
        }
        Datum::Null
        | Datum::Bool(_)
        | Datum::Integer(_)
        | Datum::Float(_)
        | Datum::String(_)
        | Datum::Bytes(_) => insert(datum, meter, found),
    }
}

fn insert(datum: &Datum<'_>, meter: &mut Meter, found: &mut Found) -> Result<(), EvaluationError> {
    // An entry costs more than to look at an item: so a huge list is not indexed.
    meter.charge(STEPS_A_VALUE)?;
    if let Some(value) = encode(datum) {
        found.values.insert(value);
        if found.values.len() > INDEX_ENTRIES_PER_RECORD_MAX {
            // The smallest stay, so that what is kept does not depend on where it stood.
            found.values.pop_last();
            found.is_more = true;
        }
    }
    Ok(())
}

/// How many bytes of an entry are its value; the rest is the key.
pub(crate) fn value_len(entry: &[u8]) -> Option<usize> {
    match *entry.first()? {
        FALSE | TRUE | OBJECT | PARTLY_KNOWN => Some(1),
        NUMBER => Some(11),
        _ => {
            let mut pairs = entry.windows(2).skip(1).enumerate();
            let end = pairs.find(|(_, pair)| matches!(pair, [0, 0 | 1]));
            // The kind before, and the two bytes themselves.
            end.map(|(place, _)| place.saturating_add(3))
        }
    }
}

/// Where the values of a constant's kind begin and end.
pub(crate) fn kind_bounds(encoded: &[u8]) -> Option<([u8; 1], [u8; 1])> {
    Some(match *encoded.first()? {
        FALSE | TRUE => ([FALSE], [NUMBER]),
        kind => ([kind], [kind.checked_add(1)?]),
    })
}

/// Whether other values are known by the same bytes.
pub(crate) fn is_cut(encoded: &[u8]) -> bool {
    matches!(encoded.first(), Some(&(STRING | BYTES))) && encoded.last() == Some(&1)
}

/// The bytes of a constant that is looked for; `None`: it is in no index.
pub(crate) fn encode_literal(literal: &Literal) -> Option<Vec<u8>> {
    encode(&Datum::literal(literal))
}

fn encode(datum: &Datum<'_>) -> Option<Vec<u8>> {
    Some(match datum {
        Datum::Bool(false) => alloc::vec![FALSE],
        Datum::Bool(true) => alloc::vec![TRUE],
        Datum::Integer(value) => {
            let nearest = nearest_float(*value);
            #[expect(
                clippy::cast_possible_truncation,
                reason = "the nearest float of a 64-bit integer is whole and fits 128 bits"
            )]
            let lacking = value.wide() - nearest as i128;
            number(nearest, i32::try_from(lacking).unwrap_or_default())
        }
        Datum::Float(value) => number(value.get(), 0),
        Datum::String(text) => string(STRING, text.as_bytes()),
        Datum::Bytes(bytes) => string(BYTES, bytes),
        Datum::Null | Datum::List(_) | Datum::Map(_) => return None,
    })
}

fn nearest_float(value: Integer) -> f64 {
    value.wide() as f64
}

fn number(nearest: f64, lacking: i32) -> Vec<u8> {
    const SIGN: u64 = 1 << 63;
    let bits = nearest.to_bits();
    // Negative floats grow with their bits the other way round.
    let ordered = if bits & SIGN == 0 { bits | SIGN } else { !bits };
    let mut out = Vec::with_capacity(11);
    out.push(NUMBER);
    out.extend_from_slice(&ordered.to_be_bytes());
    let lacking = u16::try_from(lacking.saturating_add(1 << 15)).unwrap_or_default();
    out.extend_from_slice(&lacking.to_be_bytes());
    out
}

fn string(kind: u8, bytes: &[u8]) -> Vec<u8> {
    let kept = bytes.get(..INDEX_VALUE_BYTES_MAX).unwrap_or(bytes);
    let mut out = Vec::with_capacity(kept.len().saturating_add(3));
    out.push(kind);
    for &byte in kept {
        out.push(byte);
        if byte == 0 {
            out.push(u8::MAX);
        }
    }
    out.extend_from_slice(&[0, u8::from(kept.len() < bytes.len())]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::Finite;
    use alloc::string::String;

    fn encoded(literal: &Literal) -> Vec<u8> {
        encode_literal(literal).unwrap()
    }

    fn int(value: impl Into<Integer>) -> Literal {
        Literal::Integer(value.into())
    }

    fn float(value: f64) -> Literal {
        Literal::Float(Finite::new(value).unwrap())
    }

    #[test]
    fn bytes_are_in_the_order_of_values() {
        let text = |text: &str| Literal::String(text.into());
        let ascending = [
            Literal::Bool(false),
            Literal::Bool(true),
            float(-1e300),
            int(i64::MIN),
            int(i64::MIN + 1),
            int(-1_i64),
            float(-0.5),
            int(0_i64),
            float(5e-324),
            float(0.5),
            int(1_i64),
            int(9_007_199_254_740_992_i64),
            int(9_007_199_254_740_993_i64),
            int(9_007_199_254_740_994_i64),
            int(i64::MAX),
            int(u64::MAX - 2_000),
            int(u64::MAX),
            float(18_446_744_073_709_551_616.0),
            float(1e300),
            text(""),
            text("\0"),
            text("\0a"),
            text("a"),
            text("a\0"),
            text("a\0b"),
            text("aa"),
            text("b"),
            Literal::Bytes(alloc::vec![]),
            Literal::Bytes(alloc::vec![0]),
            Literal::Bytes(alloc::vec![255]),
        ];
        for pair in ascending.windows(2) {
            let (less, greater) = (encoded(&pair[0]), encoded(&pair[1]));
            assert!(less < greater, "{pair:?}");
            assert!(!greater.starts_with(&less), "{pair:?}");
        }
        assert_eq!(encoded(&int(30_i64)), encoded(&float(30.0)));
        assert_eq!(encode_literal(&Literal::Null), None);
    }

    #[test]
    fn long_strings_are_known_by_their_start() {
        let long = |more: &str| {
            let text: String = "x".repeat(INDEX_VALUE_BYTES_MAX);
            encoded(&Literal::String(text + more))
        };
        assert!(long("") < long("a"));
        assert_eq!(long("a"), long("b"));
        assert!(long("z") < encoded(&Literal::String("y".into())));
    }
}
