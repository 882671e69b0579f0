//! Transactions.
//!
//! ```text
//! txn:        compares  success  failure         each a count and as many
//! compare:    keys  test
//! keys:       0 key  |  1 start [end]
//! operation:  kind, then its own
//! ```

use alloc::boxed::Box;
use alloc::vec::Vec;

use bytes::Bytes;

use super::condition::{decode_expression, decode_value, encode_value};
use super::{CommandError, RETURN_PREVIOUS, bulk, decode_flags, previous_flag};
use crate::codec::reader::Reader;
use crate::codec::writer;
use crate::ids::{LeaseId, Revision};
use crate::key::{InvalidKey, Key, KeyRange};
use crate::limits::{KEY_BYTES_MAX, TXN_COMPARES_MAX, TXN_DEPTH_MAX, TXN_OPERATIONS_MAX, TXN_PARTS_MAX};
use crate::reply::{BatchUnit, RequestPart};
use crate::txn::{Compare, Keys, Operation, Operator, Test, Txn};
use crate::value::ValueFormat;

const ONE: u8 = 0;
const RANGE: u8 = 1;

const TEST_VALUE: u8 = 1;
const TEST_MOD_REVISION: u8 = 2;
const TEST_CREATE_REVISION: u8 = 3;
const TEST_VERSION: u8 = 4;
const TEST_LEASE: u8 = 5;
const TEST_EXISTS: u8 = 6;
const TEST_PREDICATE: u8 = 7;

const GET: u8 = 1;
const PUT: u8 = 2;
const DELETE: u8 = 3;
const TOUCH: u8 = 4;
const NESTED: u8 = 5;

impl Txn {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        writer::count(self.compares.len(), out);
        for Compare { keys, test } in &self.compares {
            keys.encode(out);
            test.encode(out);
        }
        for branch in [&self.success, &self.failure] {
            writer::count(branch.len(), out);
            for operation in branch {
                operation.encode(out);
            }
        }
    }
}

impl Keys {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::One(key) => {
                out.push(ONE);
                writer::bytes(key.as_bytes(), out);
            }
            Self::Range(range) => {
                out.push(RANGE);
                writer::bytes(range.start(), out);
                out.push(u8::from(range.end().is_some()));
                if let Some(end) = range.end() {
                    writer::bytes(end, out);
                }
            }
        }
    }
}

impl Test {
    fn encode(&self, out: &mut Vec<u8>) {
        let mut number = |kind, operator: &Operator, number| {
            out.extend_from_slice(&[kind, operator.code()]);
            writer::number(number, out);
        };
        match self {
            Self::ModRevision(operator, revision) => number(TEST_MOD_REVISION, operator, revision.get()),
            Self::CreateRevision(operator, revision) => {
                number(TEST_CREATE_REVISION, operator, revision.get());
            }
            Self::Version(operator, version) => number(TEST_VERSION, operator, *version),
            Self::Lease(operator, lease) => number(TEST_LEASE, operator, lease.get()),
            Self::Value(operator, value) => {
                out.extend_from_slice(&[TEST_VALUE, operator.code()]);
                encode_value(value, out);
            }
            Self::Predicate(expression) => {
                out.push(TEST_PREDICATE);
                writer::bytes(&expression.to_bytes(), out);
            }
            Self::Exists(exists) => out.extend_from_slice(&[TEST_EXISTS, u8::from(*exists)]),
        }
    }
}

impl Operation {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Get { keys, limit } => {
                out.push(GET);
                keys.encode(out);
                writer::optional(*limit, out);
            }
            Self::Put {
                item,
                return_previous,
            } => {
                out.push(PUT);
                bulk::encode_put(item, previous_flag(*return_previous), out);
            }
            Self::Delete {
                keys,
                return_previous,
            } => {
                out.extend_from_slice(&[DELETE, previous_flag(*return_previous)]);
                keys.encode(out);
            }
            Self::Touch(item) => {
                out.push(TOUCH);
                bulk::encode_touch(item, out);
            }
            Self::Txn(txn) => {
                out.push(NESTED);
                txn.encode(out);
            }
        }
    }
}

impl Operator {
    const fn code(self) -> u8 {
        match self {
            Self::Equal => 1,
            Self::NotEqual => 2,
            Self::Less => 3,
            Self::Greater => 4,
        }
    }

    const fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Equal),
            2 => Some(Self::NotEqual),
            3 => Some(Self::Less),
            4 => Some(Self::Greater),
            _ => None,
        }
    }
}

/// Reads a transaction; judges every number before room is made for what it counts.
pub(super) struct Decoder<'r, 'a> {
    reader: &'r mut Reader<'a>,
    whole: &'r Bytes,
    parts: usize,
}

impl<'r, 'a> Decoder<'r, 'a> {
    pub(super) const fn new(reader: &'r mut Reader<'a>, whole: &'r Bytes) -> Self {
        Self {
            reader,
            whole,
            parts: 0,
        }
    }

    /// A transaction at this level, from 1.
    pub(super) fn txn(&mut self, level: usize) -> Result<Txn, CommandError> {
        check(BatchUnit::Levels, level, TXN_DEPTH_MAX)?;
        Ok(Txn {
            compares: self.list(RequestPart::Compare, Self::compare)?,
            success: self.list(RequestPart::Success, |decoder| decoder.operation(level))?,
            failure: self.list(RequestPart::Failure, |decoder| decoder.operation(level))?,
        })
    }

    fn list<T>(
        &mut self,
        part: RequestPart,
        mut item: impl FnMut(&mut Self) -> Result<T, CommandError>,
    ) -> Result<Vec<T>, CommandError> {
        let count = self.reader.count(2)?;
        let (unit, limit) = match part {
            RequestPart::Compare => (BatchUnit::Compares, TXN_COMPARES_MAX),
            RequestPart::Item | RequestPart::Success | RequestPart::Failure => {
                (BatchUnit::Operations, TXN_OPERATIONS_MAX)
            }
        };
        check(unit, count, limit)?;
        self.parts = self.parts.saturating_add(count);
        check(BatchUnit::Parts, self.parts, TXN_PARTS_MAX)?;
        let mut items = Vec::with_capacity(count);
        for index in 0..count {
            items.push(item(self).map_err(|cause| CommandError::InPart {
                part,
                index,
                cause: Box::new(cause),
            })?);
        }
        Ok(items)
    }

    fn compare(&mut self) -> Result<Compare, CommandError> {
        let keys = self.keys()?;
        let kind = self.reader.u8()?;
        if kind == TEST_EXISTS {
            let test = Test::Exists(self.truth()?);
            return Ok(Compare { keys, test });
        }
        if kind == TEST_PREDICATE {
            let test = Test::Predicate(decode_expression(self.reader)?);
            return Ok(Compare { keys, test });
        }
        let operator = Operator::from_code(self.reader.u8()?);
        let operator = operator.ok_or_else(|| self.reader.error("unknown operator"))?;
        let test = match kind {
            TEST_VALUE => {
                let value = decode_value(self.reader, self.whole)?;
                if operator.is_order() && value.format() == ValueFormat::Document {
                    return Err(CommandError::DocumentOrder);
                }
                Test::Value(operator, value)
            }
            TEST_MOD_REVISION => Test::ModRevision(operator, Revision::new(self.reader.number()?)),
            TEST_CREATE_REVISION => Test::CreateRevision(operator, Revision::new(self.reader.number()?)),
            TEST_VERSION => Test::Version(operator, self.reader.number()?),
            TEST_LEASE => Test::Lease(operator, LeaseId::new(self.reader.number()?)),
            _ => return Err(self.reader.error("unknown test").into()),
        };
        Ok(Compare { keys, test })
    }

    fn keys(&mut self) -> Result<Keys, CommandError> {
        match self.reader.u8()? {
            ONE => Ok(Keys::One(Key::new(self.reader.shared(self.whole)?)?)),
            RANGE => {
                let start = self.bound()?;
                Ok(Keys::Range(if self.truth()? {
                    KeyRange::between(start, self.bound()?)
                } else {
                    KeyRange::from(start)
                }))
            }
            _ => Err(self.reader.error("unknown kind of keys").into()),
        }
    }

    /// An end of a range: the longest is what follows the longest key.
    fn bound(&mut self) -> Result<Bytes, CommandError> {
        let bound = self.reader.shared(self.whole)?;
        if bound.len() > KEY_BYTES_MAX.saturating_add(1) {
            let size_bytes = bound.len();
            return Err(InvalidKey::TooLong { size_bytes }.into());
        }
        Ok(bound)
    }

    fn truth(&mut self) -> Result<bool, CommandError> {
        match self.reader.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(self.reader.error("malformed truth value").into()),
        }
    }

    fn operation(&mut self, level: usize) -> Result<Operation, CommandError> {
        Ok(match self.reader.u8()? {
            GET => Operation::Get {
                keys: self.keys()?,
                limit: self.reader.optional()?,
            },
            PUT => {
                let (item, flags) = bulk::decode_put(self.reader, self.whole, RETURN_PREVIOUS)?;
                Operation::Put {
                    item,
                    return_previous: flags & RETURN_PREVIOUS != 0,
                }
            }
            DELETE => {
                let flags = decode_flags(self.reader, RETURN_PREVIOUS)?;
                Operation::Delete {
                    keys: self.keys()?,
                    return_previous: flags & RETURN_PREVIOUS != 0,
                }
            }
            TOUCH => Operation::Touch(bulk::decode_touch(self.reader, self.whole)?),
            NESTED => Operation::Txn(self.txn(level.saturating_add(1))?),
            _ => return Err(self.reader.error("unknown operation").into()),
        })
    }
}

fn check(unit: BatchUnit, count: usize, limit: usize) -> Result<(), CommandError> {
    if count <= limit {
        Ok(())
    } else {
        Err(CommandError::TooLarge { unit, count, limit })
    }
}
