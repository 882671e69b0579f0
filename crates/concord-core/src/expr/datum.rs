//! What parts of an expression come to, borrowed from the record and the expression; how it
//! is compared.

use alloc::borrow::Cow;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::cmp::Ordering;

use super::{Evaluated, EvaluationError, Literal};
use crate::document::packed::{self, Head};
use crate::document::{Finite, Integer};
use crate::limits::{EXPRESSION_CONCAT_BYTES_MAX, EXPRESSION_STEPS_MAX};

/// A value during evaluation.
#[derive(Clone, Debug)]
pub(crate) enum Datum<'a> {
    Null,
    Bool(bool),
    Integer(Integer),
    Float(Finite),
    String(Cow<'a, str>),
    Bytes(Cow<'a, [u8]>),
    List(Items<'a>),
    Map(Fields<'a>),
}

/// A list: one of a document, where it lies, or one of the expression.
#[derive(Clone, Debug)]
pub(crate) enum Items<'a> {
    Packed { count: usize, bytes: &'a [u8] },
    Made(Vec<Datum<'a>>),
}

/// The fields of an object, where they lie: in ascending order of their names.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fields<'a> {
    count: usize,
    bytes: &'a [u8],
}

/// What is left of the steps, and of the bytes that may be put together.
#[derive(Debug)]
pub(crate) struct Meter {
    steps: u64,
    concat_bytes: usize,
}

/// Bytes that are read or compared in one step.
const BYTES_A_STEP: usize = 64;

impl Meter {
    pub(crate) const fn new() -> Self {
        Self {
            steps: EXPRESSION_STEPS_MAX,
            concat_bytes: EXPRESSION_CONCAT_BYTES_MAX,
        }
    }

    /// The steps that were taken.
    pub(crate) const fn spent(&self) -> u64 {
        EXPRESSION_STEPS_MAX.saturating_sub(self.steps)
    }

    pub(crate) fn charge(&mut self, steps: u64) -> Result<(), EvaluationError> {
        let left = self.steps.checked_sub(steps);
        // What is spent stays spent: no later, cheaper part may succeed.
        self.steps = left.unwrap_or(0);
        left.map(|_| ()).ok_or(EvaluationError::TooCostly)
    }

    pub(crate) fn charge_bytes(&mut self, bytes: usize) -> Result<(), EvaluationError> {
        self.charge(u64::try_from(bytes / BYTES_A_STEP).unwrap_or(u64::MAX))
    }

    /// Room for a string of two parts.
    pub(crate) fn charge_concat(&mut self, left: usize, right: usize) -> Result<(), EvaluationError> {
        let left = self.concat_bytes.checked_sub(left.saturating_add(right));
        self.concat_bytes = left.unwrap_or(0);
        left.map(|_| ()).ok_or(EvaluationError::TooCostly)
    }
}

impl<'a> Datum<'a> {
    /// The document whose canonical bytes these are. Other bytes hold nothing.
    pub(crate) fn packed(bytes: &'a [u8], meter: &mut Meter) -> Result<Self, EvaluationError> {
        Self::first(bytes, meter).map(|(datum, _)| datum)
    }

    /// The first item of packed bytes, and how many heads it had within.
    fn first(bytes: &'a [u8], meter: &mut Meter) -> Result<(Self, &'a [u8]), EvaluationError> {
        meter.charge(1)?;
        let (head, bytes) = packed::head(bytes).ok_or(EvaluationError::Missing)?;
        let datum = match head {
            Head::Null => Self::Null,
            Head::Bool(value) => Self::Bool(value),
            Head::Integer(value) => Self::Integer(value),
            Head::Float(value) => Self::Float(value),
            Head::String(text) => Self::text(text, meter)?,
            Head::List(count) => Self::List(Items::Packed { count, bytes }),
            Head::Map(count) => Self::Map(Fields { count, bytes }),
        };
        Ok((datum, bytes))
    }

    /// A string, or bytes if they are not UTF-8.
    pub(crate) fn text(bytes: &'a [u8], meter: &mut Meter) -> Result<Self, EvaluationError> {
        meter.charge_bytes(bytes.len())?;
        Ok(match core::str::from_utf8(bytes) {
            Ok(text) => Self::String(Cow::Borrowed(text)),
            Err(_) => Self::Bytes(Cow::Borrowed(bytes)),
        })
    }

    pub(crate) fn literal(literal: &'a Literal) -> Self {
        match literal {
            Literal::Null => Self::Null,
            Literal::Bool(value) => Self::Bool(*value),
            Literal::Integer(value) => Self::Integer(*value),
            Literal::Float(value) => Self::Float(*value),
            Literal::String(text) => Self::String(Cow::Borrowed(text)),
            Literal::Bytes(bytes) => Self::Bytes(Cow::Borrowed(bytes)),
        }
    }

    pub(crate) fn integer(value: impl Into<Integer>) -> Self {
        Self::Integer(value.into())
    }

    /// Whether two values are the same. Numbers by their exact value; of two kinds: no.
    pub(crate) fn equals(&self, other: &Self, meter: &mut Meter) -> Result<bool, EvaluationError> {
        meter.charge(1)?;
        Ok(match (self, other) {
            (Self::Null, Self::Null) => true,
            (Self::Bool(left), Self::Bool(right)) => left == right,
            (Self::String(left), Self::String(right)) => same(left.as_bytes(), right.as_bytes(), meter)?,
            (Self::Bytes(left), Self::Bytes(right)) => same(left, right, meter)?,
            (Self::List(left), Self::List(right)) => left.equals(right, meter)?,
            (Self::Map(left), Self::Map(right)) => left.equals(*right, meter)?,
            (left, right) => left.compare_numbers(right) == Some(Ordering::Equal),
        })
    }

    /// The order of two values of a kind that has one.
    pub(crate) fn compare(&self, other: &Self, meter: &mut Meter) -> Result<Ordering, EvaluationError> {
        let bytes = |left: &[u8], right: &[u8], meter: &mut Meter| {
            meter.charge_bytes(left.len().min(right.len()))?;
            Ok(left.cmp(right))
        };
        match (self, other) {
            (Self::Bool(left), Self::Bool(right)) => Ok(left.cmp(right)),
            (Self::String(left), Self::String(right)) => bytes(left.as_bytes(), right.as_bytes(), meter),
            (Self::Bytes(left), Self::Bytes(right)) => bytes(left, right, meter),
            (left, right) => left.compare_numbers(right).ok_or(EvaluationError::Kind),
        }
    }

    fn compare_numbers(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Integer(left), Self::Integer(right)) => Some(left.cmp(right)),
            (Self::Float(left), Self::Float(right)) => left.get().partial_cmp(&right.get()),
            (Self::Integer(left), Self::Float(right)) => Some(compare_exactly(*left, *right)),
            (Self::Float(left), Self::Integer(right)) => Some(compare_exactly(*right, *left).reverse()),
            _ => None,
        }
    }

    /// The value on its own; `None` if there is more of it than steps.
    pub(crate) fn to_evaluated(&self) -> Option<Evaluated> {
        self.owned(&mut Meter::new()).ok()
    }

    fn owned(&self, meter: &mut Meter) -> Result<Evaluated, EvaluationError> {
        Ok(match self {
            Self::Null => Evaluated::Scalar(Literal::Null),
            Self::Bool(value) => Evaluated::Scalar(Literal::Bool(*value)),
            Self::Integer(value) => Evaluated::Scalar(Literal::Integer(*value)),
            Self::Float(value) => Evaluated::Scalar(Literal::Float(*value)),
            Self::String(text) => Evaluated::Scalar(Literal::String(text.clone().into_owned())),
            Self::Bytes(bytes) => Evaluated::Scalar(Literal::Bytes(bytes.clone().into_owned())),
            Self::List(items) => {
                let mut list = Vec::new();
                items.each(meter, |item, meter| {
                    list.push(item.owned(meter)?);
                    Ok(true)
                })?;
                Evaluated::List(list)
            }
            Self::Map(fields) => {
                let mut map = BTreeMap::new();
                let (mut rest, mut left) = (fields.bytes, fields.count);
                while left > 0 {
                    let (name, item, behind) = Fields::take(rest, meter)?;
                    let name = String::from_utf8_lossy(name).into_owned();
                    map.insert(name, item.owned(meter)?);
                    rest = behind;
                    left -= 1;
                }
                Evaluated::Map(map)
            }
        })
    }
}

impl<'a> Items<'a> {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Packed { count, .. } => *count,
            Self::Made(items) => items.len(),
        }
    }

    /// The item at a place.
    pub(crate) fn at(&self, place: usize, meter: &mut Meter) -> Result<Datum<'a>, EvaluationError> {
        match self {
            Self::Made(items) => items.get(place).cloned().ok_or(EvaluationError::Missing),
            Self::Packed { count, .. } if place >= *count => Err(EvaluationError::Missing),
            Self::Packed { bytes, .. } => Datum::packed(skip(bytes, place, meter)?, meter),
        }
    }

    /// Gives the items to `visit`, until it says no.
    pub(crate) fn each(
        &self,
        meter: &mut Meter,
        mut visit: impl FnMut(&Datum<'a>, &mut Meter) -> Result<bool, EvaluationError>,
    ) -> Result<(), EvaluationError> {
        match self {
            Self::Made(items) => {
                for item in items {
                    if !visit(item, meter)? {
                        break;
                    }
                }
            }
            Self::Packed { count, bytes } => {
                let mut rest = *bytes;
                for _ in 0..*count {
                    if !visit(&Datum::packed(rest, meter)?, meter)? {
                        break;
                    }
                    rest = skip(rest, 1, meter)?;
                }
            }
        }
        Ok(())
    }

    fn equals(&self, other: &Self, meter: &mut Meter) -> Result<bool, EvaluationError> {
        if self.len() != other.len() {
            return Ok(false);
        }
        let mut same = true;
        let mut rest = other.rest();
        self.each(meter, |item, meter| {
            same = match rest.next(meter)? {
                Some(other) => item.equals(&other, meter)?,
                None => false,
            };
            Ok(same)
        })?;
        Ok(same)
    }

    fn rest(&self) -> Rest<'_, 'a> {
        match self {
            Self::Packed { count, bytes } => Rest::Packed { count: *count, bytes },
            Self::Made(items) => Rest::Made(items),
        }
    }
}

/// What is left of a list.
enum Rest<'l, 'a> {
    Packed { count: usize, bytes: &'a [u8] },
    Made(&'l [Datum<'a>]),
}

impl<'a> Rest<'_, 'a> {
    fn next(&mut self, meter: &mut Meter) -> Result<Option<Datum<'a>>, EvaluationError> {
        match self {
            Self::Packed { count: 0, .. } | Self::Made([]) => Ok(None),
            Self::Packed { count, bytes } => {
                let item = Datum::packed(bytes, meter)?;
                *bytes = skip(bytes, 1, meter)?;
                *count -= 1;
                Ok(Some(item))
            }
            Self::Made([first, rest @ ..]) => {
                let item = first.clone();
                *self = Self::Made(rest);
                Ok(Some(item))
            }
        }
    }
}

impl<'a> Fields<'a> {
    pub(crate) const fn len(&self) -> usize {
        self.count
    }

    /// The field of a name.
    pub(crate) fn get(&self, name: &str, meter: &mut Meter) -> Result<Datum<'a>, EvaluationError> {
        match self.find(name, meter)? {
            Some(bytes) => Datum::packed(bytes, meter),
            None => Err(EvaluationError::Missing),
        }
    }

    /// The bytes from the field of a name on.
    pub(crate) fn find(&self, name: &str, meter: &mut Meter) -> Result<Option<&'a [u8]>, EvaluationError> {
        let mut rest = self.bytes;
        for _ in 0..self.count {
            meter.charge(1)?;
            let (Head::String(found), behind) = packed::head(rest).ok_or(EvaluationError::Missing)? else {
                return Err(EvaluationError::Missing);
            };
            match found.cmp(name.as_bytes()) {
                Ordering::Less => rest = skip(behind, 1, meter)?,
                Ordering::Equal => return Ok(Some(behind)),
                // The names are in order: it does not come any more.
                Ordering::Greater => return Ok(None),
            }
        }
        Ok(None)
    }

    /// The first field of packed ones, and what follows it.
    fn take(bytes: &'a [u8], meter: &mut Meter) -> Result<(&'a [u8], Datum<'a>, &'a [u8]), EvaluationError> {
        meter.charge(1)?;
        let (Head::String(name), behind) = packed::head(bytes).ok_or(EvaluationError::Missing)? else {
            return Err(EvaluationError::Missing);
        };
        let item = Datum::packed(behind, meter)?;
        Ok((name, item, skip(behind, 1, meter)?))
    }

    fn equals(self, other: Self, meter: &mut Meter) -> Result<bool, EvaluationError> {
        if self.count != other.count {
            return Ok(false);
        }
        let (mut left, mut right) = (self.bytes, other.bytes);
        for _ in 0..self.count {
            let (name, item, behind) = Self::take(left, meter)?;
            let (other_name, other_item, other_behind) = Self::take(right, meter)?;
            if name != other_name || !item.equals(&other_item, meter)? {
                return Ok(false);
            }
            (left, right) = (behind, other_behind);
        }
        Ok(true)
    }
}

/// What follows the first items of packed bytes.
fn skip<'a>(bytes: &'a [u8], items: usize, meter: &mut Meter) -> Result<&'a [u8], EvaluationError> {
    let (rest, heads) = packed::skip(bytes, items).ok_or(EvaluationError::Missing)?;
    meter.charge(heads)?;
    Ok(rest)
}

fn same(left: &[u8], right: &[u8], meter: &mut Meter) -> Result<bool, EvaluationError> {
    if left.len() != right.len() {
        return Ok(false);
    }
    meter.charge_bytes(left.len())?;
    Ok(left == right)
}

/// The order of an integer and a float, without rounding either.
fn compare_exactly(integer: Integer, float: Finite) -> Ordering {
    let float = float.get();
    // Beyond this no Integer lies; within it the whole part is exact in 128 bits.
    if float.abs() >= 36_893_488_147_419_103_232.0 {
        return if float > 0.0 {
            Ordering::Less
        } else {
            Ordering::Greater
        };
    }
    #[expect(
        clippy::cast_possible_truncation,
        reason = "cutting off the fraction is the purpose"
    )]
    let whole = float as i128;
    // A float with a fraction is below 2^53, where whole numbers are exact as floats.
    let fraction = float - whole as f64;
    let ordering = integer.wide().cmp(&whole);
    ordering.then_with(|| 0.0_f64.partial_cmp(&fraction).unwrap_or(Ordering::Equal))
}
