//! Expressions: what is asked of a record, as data.
//!
//! A condition of a write or the extractor of an index is judged inside apply, on every
//! replica and by every later version. So it is neither code nor text in the log, but a
//! tree with a versioned byte form and frozen meaning (D-RAFT-2). The text that people write,
//! shaped like CEL, is parsed in `concord-query`; [`Display`](core::fmt::Display) writes it again.
//!
//! What an expression means:
//!
//! - It reads one record: [`Variable`] lists what it sees. Evaluation has no other input, always
//!   ends ([`EXPRESSION_STEPS_MAX`](crate::limits::EXPRESSION_STEPS_MAX)) and never panics.
//! - Nothing is converted: `"1" == 1` is false, `"1" < 1` and `1 + 1.0` are errors. Integers are
//!   exact from -2^63 to 2^64 - 1, and every result outside is an error, as is a float that is not finite. Integers and
//!   floats are compared by their exact values: `1 == 1.0`, `9007199254740993 != 9007199254740992.0`.
//! - Missing is not null: a field that is not there, or is asked of what is no object, and an item
//!   beyond a list's end are the error [`EvaluationError::Missing`]. `has(value.a.b)` turns that into
//!   false, at whatever step something was missing.
//! - An error in an operand is the error of the operation, with two exceptions. `&&` and `||`
//!   need not know all their operands: one false makes `&&` false, one true makes `||` true,
//!   whatever errors the others have and wherever they stand. `c ? a : b` evaluates only the
//!   branch it takes. Running out of steps is never absorbed.
//! - A predicate holds if its result is `true`. `false`, any other result and any error: it does not.
//!
//! There is no `matches()`: what a regular expression matches depends on tables that change with
//! the version of an engine, and replicas of two versions must judge alike.

mod codec;
mod datum;
mod display;
mod eval;

#[cfg(test)]
mod tests;

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::cell::OnceCell;

use crate::document::{Finite, Integer};
use crate::ids::{LeaseId, Revision, Timestamp};
use crate::limits::{EXPRESSION_BYTES_MAX, EXPRESSION_DEPTH_MAX};
use crate::record::{Record, RecordRef};
use crate::value::{CorruptValue, StoredRef, ValueFormat};

pub(crate) use datum::{Datum, Meter};

/// An expression within its limits. Equal expressions have equal bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expression(Expr);

/// A tree as it is built; [`Expression::new`] checks it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expr {
    /// A constant.
    Literal(Literal),
    /// A part of the record.
    Variable(Variable),
    /// `[a, b]`
    List(Vec<Self>),
    /// `of.name`, `of["name"]` or `of[3]`: a field by its name, an item by its place from 0.
    Index(Box<Self>, Box<Self>),
    /// `has(of.name)`: whether the field or item is there.
    Has(Box<Self>, Box<Self>),
    /// `!a`, `-a`, `size(a)`
    Unary(Unary, Box<Self>),
    /// Two operands.
    Binary(Binary, Box<Self>, Box<Self>),
    /// `a && b && c`: two operands or more.
    All(Vec<Self>),
    /// `a || b || c`: two operands or more.
    Any(Vec<Self>),
    /// `condition ? then : otherwise`
    Conditional(Box<[Self; 3]>),
}

/// A constant of an expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Literal {
    /// `null`
    Null,
    /// `true`, `false`
    Bool(bool),
    /// `42`
    Integer(Integer),
    /// `4.2`
    Float(Finite),
    /// `"text"`
    String(String),
    /// `b"bytes"`
    Bytes(Vec<u8>),
}

/// What an expression sees of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Variable {
    /// The key: a string if it is UTF-8, else bytes.
    Key,
    /// The value: what the document holds, a string, or bytes, by its format.
    Value,
    /// Writes since creation.
    Version,
    /// The revision of the first of them.
    CreateRevision,
    /// The revision of the last.
    ModRevision,
    /// Whole seconds until the key expires, rounded up; null if it does not.
    Ttl,
    /// Milliseconds until the key expires; null if it does not.
    TtlMs,
    /// The id of the lease that the key hangs on; null without one.
    Lease,
}

/// Operations on one operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unary {
    /// `!a` of a bool.
    Not,
    /// `-a` of a number.
    Negate,
    /// `size(a)`: characters of a string, bytes, items, fields.
    Size,
}

/// Operations on two operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Binary {
    /// `a == b`; of two kinds: false.
    Equal,
    /// `a != b`
    NotEqual,
    /// `a < b` of numbers, strings, bytes or bools; strings by their bytes.
    Less,
    /// `a <= b`
    LessOrEqual,
    /// `a > b`
    Greater,
    /// `a >= b`
    GreaterOrEqual,
    /// `a in b`: an item of a list, the name of a field.
    In,
    /// `a + b` of numbers of one kind, strings, bytes.
    Add,
    /// `a - b`
    Subtract,
    /// `a * b`
    Multiply,
    /// `a / b`; of integers towards zero.
    Divide,
    /// `a % b` of integers, with the sign of `a`.
    Remainder,
    /// `a.startsWith(b)` of strings or bytes.
    StartsWith,
    /// `a.endsWith(b)` of strings or bytes.
    EndsWith,
    /// `a.contains(b)` of strings.
    Contains,
}

/// Why a tree is no expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidExpression {
    /// More than [`EXPRESSION_DEPTH_MAX`] levels.
    #[error("expression is deeper than {EXPRESSION_DEPTH_MAX} levels")]
    TooDeep,
    /// More than [`EXPRESSION_BYTES_MAX`] encoded.
    #[error("expression takes more than {EXPRESSION_BYTES_MAX} bytes")]
    TooLarge,
    /// A conjunction or disjunction of fewer than two.
    #[error("&& and || need two operands")]
    TooFewOperands,
}

/// Why an evaluation has no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EvaluationError {
    /// A field or an item is not there.
    #[error("no such field or item")]
    Missing,
    /// An operand is of a kind that the operation is not for.
    #[error("operation is not for values of this kind")]
    Kind,
    /// The result is out of the range of its kind.
    #[error("number out of range")]
    Overflow,
    /// A number was divided by zero.
    #[error("division by zero")]
    DivisionByZero,
    /// It took too many steps, or put together too long a string.
    #[error("expression takes too much work")]
    TooCostly,
    /// The value is packed and damaged.
    #[error("stored value is damaged")]
    Corrupt,
}

/// The result of an evaluation, on its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Evaluated {
    /// A single value.
    Scalar(Literal),
    /// A list.
    List(Vec<Self>),
    /// An object.
    Map(BTreeMap<String, Self>),
}

/// The record that an expression is evaluated on.
#[derive(Clone, Debug)]
pub struct Scope<'a> {
    key: &'a [u8],
    value: StoredRef<'a>,
    /// The content of a packed value, from when it is first looked at.
    unpacked: OnceCell<Result<Vec<u8>, CorruptValue>>,
    version: u64,
    create_revision: Revision,
    mod_revision: Revision,
    expires_at: Option<Timestamp>,
    lease: Option<LeaseId>,
    now: Timestamp,
}

impl<'a> Scope<'a> {
    /// The scope of a record in a view; `now` is the replicated clock.
    #[must_use]
    pub fn of(record: &RecordRef<'a>, now: Timestamp) -> Self {
        Self {
            key: record.key(),
            value: record.stored(),
            unpacked: OnceCell::new(),
            version: record.version(),
            create_revision: record.create_revision(),
            mod_revision: record.mod_revision(),
            expires_at: record.expires_at(),
            lease: record.lease(),
            now,
        }
    }

    /// The scope of a record on its own.
    #[must_use]
    pub fn of_record(record: &'a Record, now: Timestamp) -> Self {
        Self {
            key: record.key.as_bytes(),
            value: StoredRef::new(record.value.format(), false, record.value.bytes()),
            unpacked: OnceCell::new(),
            version: record.version,
            create_revision: record.create_revision,
            mod_revision: record.mod_revision,
            expires_at: record.expires_at,
            lease: record.lease,
            now,
        }
    }

    /// What the value is.
    pub(crate) const fn format(&self) -> ValueFormat {
        self.value.format()
    }

    /// The value's bytes, unpacked once for all that is evaluated in this scope.
    pub(crate) fn content(&self) -> Result<&[u8], EvaluationError> {
        if !self.value.is_packed() {
            return Ok(self.value.bytes());
        }
        let content = self
            .unpacked
            .get_or_init(|| self.value.content().map(Cow::into_owned));
        content.as_deref().map_err(|_| EvaluationError::Corrupt)
    }
}

impl Expression {
    /// Checks the limits of a tree.
    ///
    /// # Errors
    ///
    /// If it is too deep or too large, or has a conjunction of fewer than two.
    pub fn new(root: Expr) -> Result<Self, InvalidExpression> {
        check(&root, EXPRESSION_DEPTH_MAX)?;
        let expression = Self(root);
        if expression.to_bytes().len() > EXPRESSION_BYTES_MAX {
            return Err(InvalidExpression::TooLarge);
        }
        Ok(expression)
    }

    /// The tree.
    #[must_use]
    pub const fn root(&self) -> &Expr {
        &self.0
    }

    /// The result on a record.
    ///
    /// # Errors
    ///
    /// The error that the evaluation comes to: a value like any other, the same everywhere.
    pub fn evaluate(&self, scope: &Scope<'_>) -> Result<Evaluated, EvaluationError> {
        self.datum(scope)?
            .to_evaluated()
            .ok_or(EvaluationError::TooCostly)
    }

    /// Whether the record fulfils the expression: its result is `true`.
    #[must_use]
    pub fn holds(&self, scope: &Scope<'_>) -> bool {
        matches!(self.datum(scope), Ok(Datum::Bool(true)))
    }

    /// Whether the record fulfils the expression; adds the steps that this took to `work`.
    #[must_use]
    pub fn holds_within(&self, scope: &Scope<'_>, work: &mut u64) -> bool {
        let (outcome, steps) = eval::evaluate_counting(&self.0, scope);
        *work = work.saturating_add(steps);
        matches!(outcome, Ok(Datum::Bool(true)))
    }

    /// The result, borrowed from expression and record where it can be.
    pub(crate) fn datum<'a>(&'a self, scope: &'a Scope<'a>) -> Result<Datum<'a>, EvaluationError> {
        eval::evaluate(&self.0, scope)
    }

    /// Whether the expression reads `variable`.
    #[must_use]
    pub fn reads(&self, variable: Variable) -> bool {
        self.0.reads(variable)
    }
}

impl Expr {
    /// An integer constant.
    pub fn integer(value: impl Into<Integer>) -> Self {
        Self::Literal(Literal::Integer(value.into()))
    }

    /// A string constant.
    pub fn string(text: impl Into<String>) -> Self {
        Self::Literal(Literal::String(text.into()))
    }

    /// A field of this: `self.name`.
    #[must_use]
    pub fn field(self, name: impl Into<String>) -> Self {
        Self::Index(Box::new(self), Box::new(Self::string(name)))
    }

    /// An operation on this and another.
    #[must_use]
    pub fn with(self, operation: Binary, other: Self) -> Self {
        Self::Binary(operation, Box::new(self), Box::new(other))
    }

    fn reads(&self, variable: Variable) -> bool {
        match self {
            Self::Variable(found) => *found == variable,
            Self::Literal(_) => false,
            Self::List(parts) | Self::All(parts) | Self::Any(parts) => {
                parts.iter().any(|part| part.reads(variable))
            }
            Self::Index(left, right) | Self::Has(left, right) | Self::Binary(_, left, right) => {
                left.reads(variable) || right.reads(variable)
            }
            Self::Unary(_, operand) => operand.reads(variable),
            Self::Conditional(parts) => parts.iter().any(|part| part.reads(variable)),
        }
    }
}

impl Literal {
    /// The number with the other sign.
    pub(crate) fn negated(&self) -> Option<Self> {
        match self {
            Self::Integer(value) => {
                let negated = value.wide().checked_neg().and_then(Integer::from_wide);
                negated.map(Self::Integer)
            }
            Self::Float(value) => Finite::new(-value.get()).map(Self::Float),
            Self::Null | Self::Bool(_) | Self::String(_) | Self::Bytes(_) => None,
        }
    }
}

impl Variable {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Key,
        Self::Value,
        Self::Version,
        Self::CreateRevision,
        Self::ModRevision,
        Self::Ttl,
        Self::TtlMs,
        Self::Lease,
    ];

    /// Its name in expressions.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::Value => "value",
            Self::Version => "version",
            Self::CreateRevision => "create_revision",
            Self::ModRevision => "mod_revision",
            Self::Ttl => "ttl",
            Self::TtlMs => "ttl_ms",
            Self::Lease => "lease",
        }
    }
}

/// That no part is deeper than `depth` levels, and that every part makes sense.
fn check(expr: &Expr, depth: usize) -> Result<(), InvalidExpression> {
    let depth = depth.checked_sub(1).ok_or(InvalidExpression::TooDeep)?;
    let all = |parts: &[Expr]| parts.iter().try_for_each(|part| check(part, depth));
    match expr {
        Expr::Literal(_) | Expr::Variable(_) => Ok(()),
        Expr::List(parts) => all(parts),
        Expr::All(parts) | Expr::Any(parts) if parts.len() < 2 => Err(InvalidExpression::TooFewOperands),
        Expr::All(parts) | Expr::Any(parts) => all(parts),
        Expr::Index(left, right) | Expr::Has(left, right) | Expr::Binary(_, left, right) => {
            check(left, depth)?;
            check(right, depth)
        }
        Expr::Unary(_, operand) => check(operand, depth),
        Expr::Conditional(parts) => all(parts.as_slice()),
    }
}
