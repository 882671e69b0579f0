//! The byte form of expressions: what the log, snapshots and index definitions keep.
//!
//! A part is its code and then what belongs to it, operands last. There is one form of every tree.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use super::{Binary, Expr, Expression, Literal, Unary, Variable};
use crate::codec::DecodeError;
use crate::codec::reader::Reader;
use crate::codec::writer;
use crate::document::{Finite, Integer};
use crate::limits::{EXPRESSION_BYTES_MAX, EXPRESSION_DEPTH_MAX};

const VERSION: u8 = 1;

const NULL: u8 = 0;
const FALSE: u8 = 1;
const TRUE: u8 = 2;
const INTEGER: u8 = 3;
const NEGATIVE: u8 = 4;
const FLOAT: u8 = 5;
const STRING: u8 = 6;
const BYTES: u8 = 7;
const VARIABLE: u8 = 8;
const LIST: u8 = 9;
const INDEX: u8 = 10;
const HAS: u8 = 11;
const ALL: u8 = 12;
const ANY: u8 = 13;
const CONDITIONAL: u8 = 14;

const UNARY: [(u8, Unary); 3] = [(16, Unary::Not), (17, Unary::Negate), (18, Unary::Size)];

const BINARY: [(u8, Binary); 15] = [
    (32, Binary::Equal),
    (33, Binary::NotEqual),
    (34, Binary::Less),
    (35, Binary::LessOrEqual),
    (36, Binary::Greater),
    (37, Binary::GreaterOrEqual),
    (38, Binary::In),
    (39, Binary::Add),
    (40, Binary::Subtract),
    (41, Binary::Multiply),
    (42, Binary::Divide),
    (43, Binary::Remainder),
    (44, Binary::StartsWith),
    (45, Binary::EndsWith),
    (46, Binary::Contains),
];

const VARIABLES: [(u8, Variable); 8] = [
    (1, Variable::Key),
    (2, Variable::Value),
    (3, Variable::Version),
    (4, Variable::CreateRevision),
    (5, Variable::ModRevision),
    (6, Variable::Ttl),
    (7, Variable::TtlMs),
    (8, Variable::Lease),
];

impl Expression {
    /// The expression in the form that the log keeps.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.push(VERSION);
        expr(self.root(), &mut out);
        out
    }

    /// Reads the form that the log keeps.
    ///
    /// # Errors
    ///
    /// If the bytes are not the form of an expression within its limits.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        if bytes.len() > EXPRESSION_BYTES_MAX {
            return Err(reader.error("expression is too long"));
        }
        if reader.u8()? != VERSION {
            return Err(DecodeError {
                what: "unknown expression version",
                offset: 0,
            });
        }
        let root = decode(&mut reader, EXPRESSION_DEPTH_MAX)?;
        reader.end()?;
        Ok(Self(root))
    }
}

fn expr(part: &Expr, out: &mut Vec<u8>) {
    match part {
        Expr::Literal(value) => literal(value, out),
        Expr::Variable(variable) => out.extend_from_slice(&[VARIABLE, code_of(&VARIABLES, *variable)]),
        Expr::List(parts) => several(LIST, parts, out),
        Expr::All(parts) => several(ALL, parts, out),
        Expr::Any(parts) => several(ANY, parts, out),
        Expr::Index(of, at) => two(INDEX, of, at, out),
        Expr::Has(of, at) => two(HAS, of, at, out),
        Expr::Binary(operation, left, right) => two(code_of(&BINARY, *operation), left, right, out),
        Expr::Unary(operation, operand) => {
            out.push(code_of(&UNARY, *operation));
            expr(operand, out);
        }
        Expr::Conditional(parts) => {
            out.push(CONDITIONAL);
            parts.iter().for_each(|part| expr(part, out));
        }
    }
}

fn two(code: u8, left: &Expr, right: &Expr, out: &mut Vec<u8>) {
    out.push(code);
    expr(left, out);
    expr(right, out);
}

fn several(code: u8, parts: &[Expr], out: &mut Vec<u8>) {
    out.push(code);
    writer::count(parts.len(), out);
    parts.iter().for_each(|part| expr(part, out));
}

fn literal(value: &Literal, out: &mut Vec<u8>) {
    match value {
        Literal::Null => out.push(NULL),
        Literal::Bool(false) => out.push(FALSE),
        Literal::Bool(true) => out.push(TRUE),
        Literal::Integer(integer) => match integer.as_u64() {
            Some(number) => {
                out.push(INTEGER);
                writer::number(number, out);
            }
            None => {
                // An Integer that is no u64 is a negative i64: -1 is 0, -2 is 1.
                out.push(NEGATIVE);
                let number = integer.as_i64().unwrap_or_default();
                writer::number((!number).cast_unsigned(), out);
            }
        },
        Literal::Float(float) => {
            out.push(FLOAT);
            out.extend_from_slice(&float.get().to_be_bytes());
        }
        Literal::String(text) => {
            out.push(STRING);
            writer::bytes(text.as_bytes(), out);
        }
        Literal::Bytes(bytes) => {
            out.push(BYTES);
            writer::bytes(bytes, out);
        }
    }
}

fn decode(reader: &mut Reader<'_>, depth: usize) -> Result<Expr, DecodeError> {
    let depth = depth
        .checked_sub(1)
        .ok_or_else(|| reader.error("expression is too deep"))?;
    let offset = reader.offset();
    let operand = |reader: &mut Reader<'_>| decode(reader, depth).map(Box::new);
    let code = reader.u8()?;
    Ok(match code {
        VARIABLE => {
            let offset = reader.offset();
            let variable = meaning_of(&VARIABLES, reader.u8()?);
            Expr::Variable(variable.ok_or(DecodeError {
                what: "unknown variable",
                offset,
            })?)
        }
        LIST => Expr::List(decode_several(reader, 0, depth)?),
        ALL => Expr::All(decode_several(reader, 2, depth)?),
        ANY => Expr::Any(decode_several(reader, 2, depth)?),
        INDEX => Expr::Index(operand(reader)?, operand(reader)?),
        HAS => Expr::Has(operand(reader)?, operand(reader)?),
        CONDITIONAL => Expr::Conditional(Box::new([
            decode(reader, depth)?,
            decode(reader, depth)?,
            decode(reader, depth)?,
        ])),
        code => {
            if let Some(operation) = meaning_of(&UNARY, code) {
                Expr::Unary(operation, operand(reader)?)
            } else if let Some(operation) = meaning_of(&BINARY, code) {
                Expr::Binary(operation, operand(reader)?, operand(reader)?)
            } else {
                Expr::Literal(decode_literal(reader, code, offset)?)
            }
        }
    })
}

fn decode_several(reader: &mut Reader<'_>, least: usize, depth: usize) -> Result<Vec<Expr>, DecodeError> {
    let offset = reader.offset();
    let count = reader.count(1)?;
    if count < least {
        return Err(DecodeError {
            what: "too few operands",
            offset,
        });
    }
    (0..count).map(|_| decode(reader, depth)).collect()
}

fn decode_literal(reader: &mut Reader<'_>, code: u8, offset: usize) -> Result<Literal, DecodeError> {
    let malformed = |what| DecodeError { what, offset };
    Ok(match code {
        NULL => Literal::Null,
        FALSE => Literal::Bool(false),
        TRUE => Literal::Bool(true),
        INTEGER => Literal::Integer(Integer::from(reader.number()?)),
        NEGATIVE => {
            let number = i64::try_from(reader.number()?).map_err(|_| malformed("number too small"))?;
            Literal::Integer(Integer::from(!number))
        }
        FLOAT => {
            let number = f64::from_be_bytes(reader.array()?);
            let is_negative_zero = number == 0.0 && number.is_sign_negative();
            let float = Finite::new(number).filter(|_| !is_negative_zero);
            Literal::Float(float.ok_or_else(|| malformed("float not canonical"))?)
        }
        STRING => {
            let text = core::str::from_utf8(reader.bytes()?).map_err(|_| malformed("string is not utf-8"))?;
            Literal::String(String::from(text))
        }
        BYTES => Literal::Bytes(reader.bytes()?.to_vec()),
        _ => return Err(malformed("unknown expression code")),
    })
}

fn code_of<T: Copy + PartialEq>(table: &[(u8, T)], meaning: T) -> u8 {
    let entry = table.iter().find(|(_, found)| *found == meaning);
    // A test writes every operation and variable there is.
    entry.map_or(u8::MAX, |(code, _)| *code)
}

fn meaning_of<T: Copy>(table: &[(u8, T)], code: u8) -> Option<T> {
    let entry = table.iter().find(|(found, _)| *found == code);
    entry.map(|(_, meaning)| *meaning)
}
