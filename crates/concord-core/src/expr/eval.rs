//! Evaluation: total, bounded, on the record where it lies.

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;

use super::datum::{Items, Meter};
use super::{Binary, Datum, EvaluationError, Expr, Scope, Unary, Variable};
use crate::document::{Finite, Integer};
use crate::value::ValueFormat;

type Outcome<'a> = Result<Datum<'a>, EvaluationError>;

/// The result of a tree within its limits, whose depth bounds the recursion.
pub(super) fn evaluate<'a>(expr: &'a Expr, scope: &'a Scope<'a>) -> Outcome<'a> {
    let mut run = Run {
        scope,
        meter: Meter::new(),
    };
    run.expr(expr)
}

/// The same with the steps that it took.
pub(super) fn evaluate_counting<'a>(expr: &'a Expr, scope: &'a Scope<'a>) -> (Outcome<'a>, u64) {
    let mut run = Run {
        scope,
        meter: Meter::new(),
    };
    let outcome = run.expr(expr);
    (outcome, run.meter.spent())
}

struct Run<'a> {
    scope: &'a Scope<'a>,
    meter: Meter,
}

impl<'a> Run<'a> {
    fn expr(&mut self, expr: &'a Expr) -> Outcome<'a> {
        self.meter.charge(1)?;
        match expr {
            Expr::Literal(literal) => Ok(Datum::literal(literal)),
            Expr::Variable(variable) => self.variable(*variable),
            Expr::List(parts) => {
                let items: Result<Vec<_>, _> = parts.iter().map(|part| self.expr(part)).collect();
                Ok(Datum::List(Items::Made(items?)))
            }
            Expr::Index(of, at) => self.index(of, at),
            Expr::Has(of, at) => match self.index(of, at) {
                Ok(_) => Ok(Datum::Bool(true)),
                Err(EvaluationError::Missing) => Ok(Datum::Bool(false)),
                Err(error) => Err(error),
            },
            Expr::Unary(operation, operand) => {
                let operand = self.expr(operand)?;
                self.unary(*operation, operand)
            }
            Expr::Binary(operation, left, right) => {
                let left = self.expr(left)?;
                let right = self.expr(right)?;
                self.binary(*operation, &left, &right)
            }
            Expr::All(parts) => self.logic(parts, false),
            Expr::Any(parts) => self.logic(parts, true),
            Expr::Conditional(parts) => {
                let [condition, then, otherwise] = &**parts;
                match self.expr(condition)? {
                    Datum::Bool(true) => self.expr(then),
                    Datum::Bool(false) => self.expr(otherwise),
                    Datum::Null
                    | Datum::Integer(_)
                    | Datum::Float(_)
                    | Datum::String(_)
                    | Datum::Bytes(_)
                    | Datum::List(_)
                    | Datum::Map(_) => Err(EvaluationError::Kind),
                }
            }
        }
    }

    fn variable(&mut self, variable: Variable) -> Outcome<'a> {
        let scope = self.scope;
        Ok(match variable {
            Variable::Key => Datum::text(scope.key, &mut self.meter)?,
            Variable::Value => match (scope.format(), scope.content()?) {
                (ValueFormat::Binary, content) => Datum::Bytes(Cow::Borrowed(content)),
                (ValueFormat::Text, content) => Datum::text(content, &mut self.meter)?,
                (ValueFormat::Document, content) => Datum::packed(content, &mut self.meter)?,
            },
            Variable::Version => Datum::integer(scope.version),
            Variable::CreateRevision => Datum::integer(scope.create_revision.get()),
            Variable::ModRevision => Datum::integer(scope.mod_revision.get()),
            Variable::Ttl | Variable::TtlMs => match scope.expires_at {
                None => Datum::Null,
                Some(deadline) => {
                    let millis = deadline.since(scope.now).get();
                    Datum::integer(if variable == Variable::Ttl {
                        millis.div_ceil(1_000)
                    } else {
                        millis
                    })
                }
            },
            Variable::Lease => scope
                .lease
                .map_or(Datum::Null, |lease| Datum::integer(lease.get())),
        })
    }

    /// A field by name, an item by place. Of what is neither object nor list: missing.
    fn index(&mut self, of: &'a Expr, at: &'a Expr) -> Outcome<'a> {
        let of = self.expr(of)?;
        match (of, self.expr(at)?) {
            (Datum::Map(fields), Datum::String(name)) => fields.get(&name, &mut self.meter),
            (Datum::List(items), Datum::Integer(place)) => {
                let place = place.as_u64().and_then(|place| usize::try_from(place).ok());
                items.at(place.ok_or(EvaluationError::Missing)?, &mut self.meter)
            }
            (_, Datum::String(_) | Datum::Integer(_)) => Err(EvaluationError::Missing),
            _ => Err(EvaluationError::Kind),
        }
    }

    /// `&&` and `||`: an operand that is `decides` decides, whatever the others are.
    fn logic(&mut self, parts: &'a [Expr], decides: bool) -> Outcome<'a> {
        let mut undecided = None;
        for part in parts {
            match self.expr(part) {
                Ok(Datum::Bool(value)) if value == decides => return Ok(Datum::Bool(decides)),
                Ok(Datum::Bool(_)) => {}
                Ok(_) => {
                    undecided.get_or_insert(EvaluationError::Kind);
                }
                Err(EvaluationError::TooCostly) => return Err(EvaluationError::TooCostly),
                Err(error) => {
                    undecided.get_or_insert(error);
                }
            }
        }
        undecided.map_or(Ok(Datum::Bool(!decides)), Err)
    }

    fn unary(&mut self, operation: Unary, operand: Datum<'a>) -> Outcome<'a> {
        match (operation, operand) {
            (Unary::Not, Datum::Bool(value)) => Ok(Datum::Bool(!value)),
            (Unary::Negate, Datum::Integer(value)) => integer(value.wide().checked_neg()),
            (Unary::Negate, Datum::Float(value)) => float(-value.get()),
            (Unary::Size, Datum::String(text)) => {
                self.meter.charge_bytes(text.len())?;
                size(text.chars().count())
            }
            (Unary::Size, Datum::Bytes(bytes)) => size(bytes.len()),
            (Unary::Size, Datum::List(items)) => size(items.len()),
            (Unary::Size, Datum::Map(fields)) => size(fields.len()),
            (Unary::Not | Unary::Negate | Unary::Size, _) => Err(EvaluationError::Kind),
        }
    }

    fn binary(&mut self, operation: Binary, left: &Datum<'a>, right: &Datum<'a>) -> Outcome<'a> {
        let meter = &mut self.meter;
        let truth = match operation {
            Binary::Equal => left.equals(right, meter)?,
            Binary::NotEqual => !left.equals(right, meter)?,
            Binary::Less => left.compare(right, meter)?.is_lt(),
            Binary::LessOrEqual => left.compare(right, meter)?.is_le(),
            Binary::Greater => left.compare(right, meter)?.is_gt(),
            Binary::GreaterOrEqual => left.compare(right, meter)?.is_ge(),
            Binary::In => contained(left, right, meter)?,
            Binary::StartsWith | Binary::EndsWith | Binary::Contains => {
                within(operation, left, right, meter)?
            }
            Binary::Add | Binary::Subtract | Binary::Multiply | Binary::Divide | Binary::Remainder => {
                return arithmetic(operation, left, right, meter);
            }
        };
        Ok(Datum::Bool(truth))
    }
}

fn contained(item: &Datum<'_>, within: &Datum<'_>, meter: &mut Meter) -> Result<bool, EvaluationError> {
    match (item, within) {
        (Datum::String(name), Datum::Map(fields)) => Ok(fields.find(name, meter)?.is_some()),
        // Names are strings, so nothing else is one.
        (_, Datum::Map(_)) => Ok(false),
        (item, Datum::List(items)) => {
            let mut found = false;
            items.each(meter, |other, meter| {
                found = item.equals(other, meter)?;
                Ok(!found)
            })?;
            Ok(found)
        }
        (_, _) => Err(EvaluationError::Kind),
    }
}

fn within(
    operation: Binary,
    whole: &Datum<'_>,
    part: &Datum<'_>,
    meter: &mut Meter,
) -> Result<bool, EvaluationError> {
    let (whole, part) = match (whole, part) {
        (Datum::String(whole), Datum::String(part)) if operation == Binary::Contains => {
            meter.charge_bytes(whole.len())?;
            // Linear in the length of both, unlike the search for bytes that could be had here.
            return Ok(whole.contains(part.as_ref()));
        }
        (Datum::String(whole), Datum::String(part)) => (whole.as_bytes(), part.as_bytes()),
        (Datum::Bytes(whole), Datum::Bytes(part)) => (whole.as_ref(), part.as_ref()),
        (_, _) => return Err(EvaluationError::Kind),
    };
    meter.charge_bytes(part.len())?;
    if operation == Binary::StartsWith {
        Ok(whole.starts_with(part))
    } else if operation == Binary::EndsWith {
        Ok(whole.ends_with(part))
    } else {
        Err(EvaluationError::Kind)
    }
}

fn arithmetic<'a>(operation: Binary, left: &Datum<'a>, right: &Datum<'a>, meter: &mut Meter) -> Outcome<'a> {
    match (operation, left, right) {
        (_, Datum::Integer(left), Datum::Integer(right)) => integers(operation, *left, *right),
        (_, Datum::Float(left), Datum::Float(right)) => floats(operation, left.get(), right.get()),
        (Binary::Add, Datum::String(left), Datum::String(right)) => {
            meter.charge_concat(left.len(), right.len())?;
            let mut text = String::with_capacity(left.len().saturating_add(right.len()));
            text.push_str(left);
            text.push_str(right);
            Ok(Datum::String(Cow::Owned(text)))
        }
        (Binary::Add, Datum::Bytes(left), Datum::Bytes(right)) => {
            meter.charge_concat(left.len(), right.len())?;
            Ok(Datum::Bytes(Cow::Owned([left.as_ref(), right.as_ref()].concat())))
        }
        (_, _, _) => Err(EvaluationError::Kind),
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "an operation that is not listed is not for integers"
)]
fn integers<'a>(operation: Binary, left: Integer, right: Integer) -> Outcome<'a> {
    let (left, right) = (left.wide(), right.wide());
    let is_division = matches!(operation, Binary::Divide | Binary::Remainder);
    if is_division && right == 0 {
        return Err(EvaluationError::DivisionByZero);
    }
    integer(match operation {
        Binary::Add => left.checked_add(right),
        Binary::Subtract => left.checked_sub(right),
        Binary::Multiply => left.checked_mul(right),
        Binary::Divide => left.checked_div(right),
        Binary::Remainder => left.checked_rem(right),
        _ => return Err(EvaluationError::Kind),
    })
}

/// IEEE 754 fixes every bit of these results.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "an operation that is not listed is not for floats"
)]
fn floats<'a>(operation: Binary, left: f64, right: f64) -> Outcome<'a> {
    float(match operation {
        Binary::Add => left + right,
        Binary::Subtract => left - right,
        Binary::Multiply => left * right,
        Binary::Divide if right == 0.0 => return Err(EvaluationError::DivisionByZero),
        Binary::Divide => left / right,
        _ => return Err(EvaluationError::Kind),
    })
}

fn integer<'a>(value: Option<i128>) -> Outcome<'a> {
    let value = value.and_then(Integer::from_wide);
    value.map(Datum::Integer).ok_or(EvaluationError::Overflow)
}

fn float<'a>(value: f64) -> Outcome<'a> {
    Finite::new(value)
        .map(Datum::Float)
        .ok_or(EvaluationError::Overflow)
}

fn size<'a>(count: usize) -> Outcome<'a> {
    Ok(Datum::integer(u64::try_from(count).unwrap_or(u64::MAX)))
}
