//! Replies: for proposers on other nodes, and for the retries of a session.

mod rejection;
mod txn;

use alloc::vec::Vec;

use bytes::Bytes;

use super::reader::Reader;
use super::{DecodeError, writer};
use crate::ids::{LeaseId, Millis, Revision, Timestamp};
use crate::key::Key;
use crate::record::StoredRecord;
use crate::reply::{Rejection, Reply, TouchOutcome};
use crate::txn::TxnOutcome;
use crate::value::{StoredValue, Value, ValueFormat};

const VERSION: u8 = 1;

const WRITTEN: u8 = 1;
const DELETED: u8 = 2;
const TOUCHED: u8 = 3;
const INCREMENTED: u8 = 4;
const COMPACTED: u8 = 5;
const CONFIGURED: u8 = 6;
const REJECTED: u8 = 7;
const WRITTEN_MANY: u8 = 8;
const DELETED_MANY: u8 = 9;
const TOUCHED_MANY: u8 = 10;
const TXN: u8 = 11;
const LEASE_GRANTED: u8 = 12;
const LEASE_KEPT: u8 = 13;
const LEASE_REVOKED: u8 = 14;
const INDEX_CHANGED: u8 = 32;
const DELETED_WHERE: u8 = 36;
const SUBSCRIPTION_CHANGED: u8 = 48;
const POLICY_EDITED: u8 = 56;
const RESTORING: u8 = 64;
const RESTORED: u8 = 65;
const RESTORE_FAILED: u8 = 66;

/// Beside the format of a record's value: its bytes are packed.
const PACKED: u8 = 0x40;

impl Reply {
    /// Appends the reply in its wire form.
    #[expect(clippy::too_many_lines, reason = "an arm for each kind, and nothing else")]
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(VERSION);
        match self {
            Self::Written { revision, previous } => {
                of(WRITTEN, *revision, out);
                optional_record(previous.as_ref(), out);
            }
            Self::Deleted {
                revision,
                existed,
                previous,
            } => {
                of(DELETED, *revision, out);
                out.push(u8::from(*existed));
                optional_record(previous.as_ref(), out);
            }
            Self::Touched { revision, expires_at } => {
                of(TOUCHED, *revision, out);
                writer::optional(expires_at.map(Timestamp::get), out);
            }
            Self::Incremented { revision, value } => {
                of(INCREMENTED, *revision, out);
                writer::signed(*value, out);
            }
            Self::Compacted { revision } => of(COMPACTED, *revision, out),
            Self::Configured { revision } => of(CONFIGURED, *revision, out),
            Self::Rejected(rejection) => {
                out.push(REJECTED);
                rejection.encode(out);
            }
            Self::IndexChanged { revision } => of(INDEX_CHANGED, *revision, out),
            Self::SubscriptionChanged { revision, acked } => {
                of(SUBSCRIPTION_CHANGED, *revision, out);
                writer::number(acked.get(), out);
            }
            Self::WrittenMany { revision } => of(WRITTEN_MANY, *revision, out),
            Self::DeletedMany { revision, existed } => {
                of(DELETED_MANY, *revision, out);
                writer::count(existed.len(), out);
                out.extend(existed.iter().copied().map(u8::from));
            }
            Self::TouchedMany { revision, outcomes } => {
                of(TOUCHED_MANY, *revision, out);
                writer::count(outcomes.len(), out);
                for outcome in outcomes {
                    encode_touch(*outcome, out);
                }
            }
            Self::Txn { revision, outcome } => {
                of(TXN, *revision, out);
                outcome.encode(out);
            }
            Self::LeaseGranted {
                revision,
                lease,
                ttl,
                expires_at,
            } => {
                of(LEASE_GRANTED, *revision, out);
                numbers(&[lease.get(), ttl.get(), expires_at.get()], out);
            }
            Self::LeaseKept {
                revision,
                lease,
                ttl,
                expires_at,
            } => {
                of(LEASE_KEPT, *revision, out);
                numbers(&[lease.get(), ttl.get(), expires_at.get()], out);
            }
            Self::DeletedWhere {
                revision,
                count,
                more,
            } => {
                of(DELETED_WHERE, *revision, out);
                writer::number(*count, out);
                out.push(u8::from(*more));
            }
            Self::LeaseRevoked { revision, keys } => {
                of(LEASE_REVOKED, *revision, out);
                writer::number(*keys, out);
            }
            Self::PolicyEdited {
                revision,
                policy_revision,
            } => {
                of(POLICY_EDITED, *revision, out);
                writer::number(*policy_revision, out);
            }
            Self::Restoring {
                revision,
                pieces,
                is_complete,
            } => {
                of(RESTORING, *revision, out);
                writer::number(*pieces, out);
                out.push(u8::from(*is_complete));
            }
            Self::Restored { revision } => of(RESTORED, *revision, out),
            Self::RestoreFailed { revision } => of(RESTORE_FAILED, *revision, out),
        }
    }

    /// Reads a reply back. A record's value is a slice of `bytes`: it keeps them alive.
    ///
    /// # Errors
    ///
    /// If the bytes are not a reply of a known version.
    #[expect(clippy::too_many_lines, reason = "an arm for each kind, and nothing else")]
    pub fn decode(bytes: &Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        if reader.u8()? != VERSION {
            return Err(DecodeError {
                what: "unknown reply version",
                offset: 0,
            });
        }
        let reply = match reader.u8()? {
            WRITTEN => Self::Written {
                revision: Revision::new(reader.number()?),
                previous: decode_optional_record(&mut reader, bytes)?,
            },
            DELETED => Self::Deleted {
                revision: Revision::new(reader.number()?),
                existed: truth(&mut reader)?,
                previous: decode_optional_record(&mut reader, bytes)?,
            },
            TOUCHED => Self::Touched {
                revision: Revision::new(reader.number()?),
                expires_at: reader.optional()?.map(Timestamp::new),
            },
            INCREMENTED => Self::Incremented {
                revision: Revision::new(reader.number()?),
                value: reader.signed()?,
            },
            COMPACTED => Self::Compacted {
                revision: Revision::new(reader.number()?),
            },
            CONFIGURED => Self::Configured {
                revision: Revision::new(reader.number()?),
            },
            REJECTED => Self::Rejected(Rejection::decode(&mut reader, bytes)?),
            INDEX_CHANGED => Self::IndexChanged {
                revision: Revision::new(reader.number()?),
            },
            SUBSCRIPTION_CHANGED => Self::SubscriptionChanged {
                revision: Revision::new(reader.number()?),
                acked: Revision::new(reader.number()?),
            },
            WRITTEN_MANY => Self::WrittenMany {
                revision: Revision::new(reader.number()?),
            },
            DELETED_MANY => Self::DeletedMany {
                revision: Revision::new(reader.number()?),
                existed: list(&mut reader, truth)?,
            },
            TOUCHED_MANY => Self::TouchedMany {
                revision: Revision::new(reader.number()?),
                outcomes: list(&mut reader, decode_touch)?,
            },
            TXN => Self::Txn {
                revision: Revision::new(reader.number()?),
                outcome: TxnOutcome::decode(&mut reader, bytes, 1)?,
            },
            POLICY_EDITED => Self::PolicyEdited {
                revision: Revision::new(reader.number()?),
                policy_revision: reader.number()?,
            },
            RESTORING => Self::Restoring {
                revision: Revision::new(reader.number()?),
                pieces: reader.number()?,
                is_complete: truth(&mut reader)?,
            },
            RESTORED => Self::Restored {
                revision: Revision::new(reader.number()?),
            },
            RESTORE_FAILED => Self::RestoreFailed {
                revision: Revision::new(reader.number()?),
            },
            LEASE_GRANTED => Self::LeaseGranted {
                revision: Revision::new(reader.number()?),
                lease: LeaseId::new(reader.number()?),
                ttl: Millis::new(reader.number()?),
                expires_at: Timestamp::new(reader.number()?),
            },
            LEASE_KEPT => Self::LeaseKept {
                revision: Revision::new(reader.number()?),
                lease: LeaseId::new(reader.number()?),
                ttl: Millis::new(reader.number()?),
                expires_at: Timestamp::new(reader.number()?),
            },
            DELETED_WHERE => Self::DeletedWhere {
                revision: Revision::new(reader.number()?),
                count: reader.number()?,
                more: truth(&mut reader)?,
            },
            LEASE_REVOKED => Self::LeaseRevoked {
                revision: Revision::new(reader.number()?),
                keys: reader.number()?,
            },
            _ => return Err(reader.error("unknown kind of reply")),
        };
        reader.end()?;
        Ok(reply)
    }
}

fn truth(reader: &mut Reader<'_>) -> Result<bool, DecodeError> {
    match reader.u8()? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(reader.error("malformed truth value")),
    }
}

/// A kind of reply and its revision.
fn of(kind: u8, revision: Revision, out: &mut Vec<u8>) {
    out.push(kind);
    writer::number(revision.get(), out);
}

fn numbers(numbers: &[u64], out: &mut Vec<u8>) {
    for &number in numbers {
        writer::number(number, out);
    }
}

/// A list whose items take at least one byte each.
fn list<'a, T>(
    reader: &mut Reader<'a>,
    mut item: impl FnMut(&mut Reader<'a>) -> Result<T, DecodeError>,
) -> Result<Vec<T>, DecodeError> {
    let count = reader.count(1)?;
    // Room is made as items come: some take far more of it than of bytes.
    let mut items = Vec::new();
    for _ in 0..count {
        items.push(item(reader)?);
    }
    Ok(items)
}

/// 0: not found; 1: lives on; 2 and a deadline.
fn encode_touch(outcome: TouchOutcome, out: &mut Vec<u8>) {
    match outcome {
        TouchOutcome::NotFound => out.push(0),
        TouchOutcome::Touched { expires_at: None } => out.push(1),
        TouchOutcome::Touched {
            expires_at: Some(deadline),
        } => {
            out.push(2);
            writer::number(deadline.get(), out);
        }
    }
}

fn decode_touch(reader: &mut Reader<'_>) -> Result<TouchOutcome, DecodeError> {
    let expires_at = match reader.u8()? {
        0 => return Ok(TouchOutcome::NotFound),
        1 => None,
        2 => Some(Timestamp::new(reader.number()?)),
        _ => return Err(reader.error("unknown outcome of a touch")),
    };
    Ok(TouchOutcome::Touched { expires_at })
}

fn optional_record(record: Option<&StoredRecord>, out: &mut Vec<u8>) {
    let Some(record) = record else {
        out.push(0);
        return;
    };
    out.push(1);
    encode_record(record, out);
}

fn encode_record(record: &StoredRecord, out: &mut Vec<u8>) {
    writer::bytes(record.key.as_bytes(), out);
    let packed = if record.value.is_packed() { PACKED } else { 0 };
    out.push(record.value.format().code() | packed);
    writer::bytes(record.value.bytes(), out);
    writer::number(record.create_revision.get(), out);
    writer::number(record.mod_revision.get(), out);
    writer::number(record.version, out);
    writer::optional(record.expires_at.map(Timestamp::get), out);
    writer::optional(record.lease.map(LeaseId::get), out);
}

fn decode_optional_record(
    reader: &mut Reader<'_>,
    whole: &Bytes,
) -> Result<Option<StoredRecord>, DecodeError> {
    if truth(reader)? {
        decode_record(reader, whole).map(Some)
    } else {
        Ok(None)
    }
}

fn decode_record(reader: &mut Reader<'_>, whole: &Bytes) -> Result<StoredRecord, DecodeError> {
    let key = Key::new(reader.shared(whole)?).map_err(|_| reader.error("invalid key in a reply"))?;
    let flags = reader.u8()?;
    let format =
        ValueFormat::from_code(flags & !PACKED).ok_or_else(|| reader.error("unknown value format"))?;
    let bytes = reader.shared(whole)?;
    let value: Result<StoredValue, _> = if flags & PACKED == 0 {
        Value::new(format, bytes).map(Into::into).map_err(drop)
    } else {
        StoredValue::packed(format, bytes).map_err(drop)
    };
    let value = value.map_err(|()| reader.error("invalid value in a reply"))?;
    Ok(StoredRecord {
        key,
        value,
        create_revision: Revision::new(reader.number()?),
        mod_revision: Revision::new(reader.number()?),
        version: reader.number()?,
        expires_at: reader.optional()?.map(Timestamp::new),
        lease: reader.optional()?.map(LeaseId::new),
    })
}
