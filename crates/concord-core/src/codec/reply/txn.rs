//! What transactions did.

use alloc::vec::Vec;

use bytes::Bytes;

use super::{
    decode_optional_record, decode_record, decode_touch, encode_record, encode_touch, list, optional_record,
    truth,
};
use crate::codec::reader::Reader;
use crate::codec::{DecodeError, writer};
use crate::limits::TXN_DEPTH_MAX;
use crate::record::StoredRecord;
use crate::txn::{OperationResult, TxnOutcome};

const RECORDS: u8 = 1;
const WRITTEN: u8 = 2;
const DELETED: u8 = 3;
const TOUCHED: u8 = 4;
const NESTED: u8 = 5;

impl TxnOutcome {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.push(u8::from(self.succeeded));
        writer::count(self.results.len(), out);
        for result in &self.results {
            result.encode(out);
        }
    }

    /// Reads an outcome at this level, from 1.
    pub(super) fn decode(reader: &mut Reader<'_>, whole: &Bytes, level: usize) -> Result<Self, DecodeError> {
        if level > TXN_DEPTH_MAX {
            return Err(reader.error("transaction is too deep"));
        }
        Ok(Self {
            succeeded: truth(reader)?,
            results: list(reader, |reader| OperationResult::decode(reader, whole, level))?,
        })
    }
}

impl OperationResult {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Records { records, more } => {
                out.push(RECORDS);
                encode_records(records, out);
                out.push(u8::from(*more));
            }
            Self::Written { previous } => {
                out.push(WRITTEN);
                optional_record(previous.as_ref(), out);
            }
            Self::Deleted { count, previous } => {
                out.push(DELETED);
                writer::number(*count, out);
                encode_records(previous, out);
            }
            Self::Touched(outcome) => {
                out.push(TOUCHED);
                encode_touch(*outcome, out);
            }
            Self::Txn(outcome) => {
                out.push(NESTED);
                outcome.encode(out);
            }
        }
    }

    fn decode(reader: &mut Reader<'_>, whole: &Bytes, level: usize) -> Result<Self, DecodeError> {
        Ok(match reader.u8()? {
            RECORDS => Self::Records {
                records: list(reader, |reader| decode_record(reader, whole))?,
                more: truth(reader)?,
            },
            WRITTEN => Self::Written {
                previous: decode_optional_record(reader, whole)?,
            },
            DELETED => Self::Deleted {
                count: reader.number()?,
                previous: list(reader, |reader| decode_record(reader, whole))?,
            },
            TOUCHED => Self::Touched(decode_touch(reader)?),
            NESTED => Self::Txn(TxnOutcome::decode(reader, whole, level.saturating_add(1))?),
            _ => return Err(reader.error("unknown result of an operation")),
        })
    }
}

fn encode_records(records: &[StoredRecord], out: &mut Vec<u8>) {
    writer::count(records.len(), out);
    for record in records {
        encode_record(record, out);
    }
}
