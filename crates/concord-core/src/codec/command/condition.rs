//! Conditions of a write.

use alloc::vec::Vec;

use bytes::Bytes;

use super::CommandError;
use crate::codec::reader::Reader;
use crate::codec::{DecodeError, writer};
use crate::command::Condition;
use crate::expr::Expression;
use crate::ids::Revision;
use crate::value::{Value, ValueFormat};

const ABSENT: u8 = 1;
const PRESENT: u8 = 2;
const VALUE_IS: u8 = 3;
const MOD_REVISION_IS: u8 = 4;
const VERSION_IS: u8 = 5;
const PREDICATE: u8 = 6;

impl Condition {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Absent => out.push(ABSENT),
            Self::Present => out.push(PRESENT),
            Self::ValueIs(value) => {
                out.push(VALUE_IS);
                encode_value(value, out);
            }
            Self::ModRevisionIs(revision) => {
                out.push(MOD_REVISION_IS);
                writer::number(revision.get(), out);
            }
            Self::VersionIs(version) => {
                out.push(VERSION_IS);
                writer::number(*version, out);
            }
            Self::Predicate(expression) => {
                out.push(PREDICATE);
                writer::bytes(&expression.to_bytes(), out);
            }
        }
    }

    pub(super) fn decode(reader: &mut Reader<'_>, whole: &Bytes) -> Result<Self, CommandError> {
        Ok(match reader.u8()? {
            ABSENT => Self::Absent,
            PRESENT => Self::Present,
            VALUE_IS => Self::ValueIs(decode_value(reader, whole)?),
            MOD_REVISION_IS => Self::ModRevisionIs(Revision::new(reader.number()?)),
            VERSION_IS => Self::VersionIs(reader.number()?),
            PREDICATE => Self::Predicate(decode_expression(reader)?),
            _ => return Err(reader.error("unknown condition").into()),
        })
    }
}

/// A value that does not end its request: format and string.
pub(super) fn encode_value(value: &Value, out: &mut Vec<u8>) {
    out.push(value.format().code());
    writer::bytes(value.bytes(), out);
}

pub(super) fn decode_expression(reader: &mut Reader<'_>) -> Result<Expression, DecodeError> {
    let start = reader.offset();
    let expression = Expression::decode(reader.bytes()?);
    expression.map_err(|error| DecodeError {
        what: error.what,
        offset: start,
    })
}

pub(super) fn decode_value(reader: &mut Reader<'_>, whole: &Bytes) -> Result<Value, CommandError> {
    let format = ValueFormat::from_code(reader.u8()?);
    let format = format.ok_or_else(|| reader.error("unknown value format"))?;
    Ok(Value::new(format, reader.shared(whole)?)?)
}
