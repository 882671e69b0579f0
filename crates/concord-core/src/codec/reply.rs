//! Replies: for proposers on other nodes, and for the retries of a session.

use alloc::vec::Vec;

use bytes::Bytes;

use super::reader::Reader;
use super::{DecodeError, writer};
use crate::ids::{LeaseId, Revision, Timestamp};
use crate::key::{InvalidKey, Key};
use crate::record::Record;
use crate::reply::{InvalidRequestReason, InvalidValueReason, Rejection, Reply};
use crate::value::{Value, ValueFormat};

const VERSION: u8 = 1;

const WRITTEN: u8 = 1;
const DELETED: u8 = 2;
const TOUCHED: u8 = 3;
const INCREMENTED: u8 = 4;
const COMPACTED: u8 = 5;
const CONFIGURED: u8 = 6;
const REJECTED: u8 = 7;

// Kinds of refusal, behind REJECTED.
const INVALID_KEY: u8 = 1;
const INVALID_TTL: u8 = 2;
const INVALID_VALUE: u8 = 3;
const VALUE_TOO_LARGE: u8 = 4;
const INVALID_REQUEST: u8 = 5;
const NOT_FOUND: u8 = 6;
const COMPACTED_ALREADY: u8 = 7;
const FUTURE_REVISION: u8 = 8;
const UNSUPPORTED: u8 = 9;
const SESSION_EXPIRED: u8 = 10;

impl Reply {
    /// Appends the reply in its wire form.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(VERSION);
        match self {
            Self::Written { revision, previous } => {
                out.push(WRITTEN);
                writer::number(revision.get(), out);
                optional_record(previous.as_ref(), out);
            }
            Self::Deleted {
                revision,
                existed,
                previous,
            } => {
                out.push(DELETED);
                writer::number(revision.get(), out);
                out.push(u8::from(*existed));
                optional_record(previous.as_ref(), out);
            }
            Self::Touched { revision, expires_at } => {
                out.push(TOUCHED);
                writer::number(revision.get(), out);
                writer::optional(expires_at.map(Timestamp::get), out);
            }
            Self::Incremented { revision, value } => {
                out.push(INCREMENTED);
                writer::number(revision.get(), out);
                writer::signed(*value, out);
            }
            Self::Compacted { revision } => {
                out.push(COMPACTED);
                writer::number(revision.get(), out);
            }
            Self::Configured { revision } => {
                out.push(CONFIGURED);
                writer::number(revision.get(), out);
            }
            Self::Rejected(rejection) => {
                out.push(REJECTED);
                encode_rejection(rejection, out);
            }
        }
    }

    /// Reads a reply back. A record's value is a slice of `bytes`: it keeps them alive.
    ///
    /// # Errors
    ///
    /// If the bytes are not a reply of a known version.
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
            REJECTED => Self::Rejected(decode_rejection(&mut reader)?),
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

fn optional_record(record: Option<&Record>, out: &mut Vec<u8>) {
    let Some(record) = record else {
        out.push(0);
        return;
    };
    out.push(1);
    writer::bytes(record.key.as_bytes(), out);
    out.push(record.value.format().code());
    writer::bytes(record.value.bytes(), out);
    writer::number(record.create_revision.get(), out);
    writer::number(record.mod_revision.get(), out);
    writer::number(record.version, out);
    writer::optional(record.expires_at.map(Timestamp::get), out);
    writer::optional(record.lease.map(LeaseId::get), out);
}

fn decode_optional_record(reader: &mut Reader<'_>, whole: &Bytes) -> Result<Option<Record>, DecodeError> {
    if !truth(reader)? {
        return Ok(None);
    }
    let key = Key::new(reader.shared(whole)?).map_err(|_| reader.error("invalid key in a reply"))?;
    let format = ValueFormat::from_code(reader.u8()?).ok_or_else(|| reader.error("unknown value format"))?;
    let bytes = reader.shared(whole)?;
    let value = Value::new(format, bytes).map_err(|_| reader.error("invalid value in a reply"))?;
    Ok(Some(Record {
        key,
        value,
        create_revision: Revision::new(reader.number()?),
        mod_revision: Revision::new(reader.number()?),
        version: reader.number()?,
        expires_at: reader.optional()?.map(Timestamp::new),
        lease: reader.optional()?.map(LeaseId::new),
    }))
}

fn encode_rejection(rejection: &Rejection, out: &mut Vec<u8>) {
    match rejection {
        Rejection::InvalidKey(InvalidKey::Empty) => {
            out.push(INVALID_KEY);
            writer::number(0, out);
        }
        Rejection::InvalidKey(InvalidKey::TooLong { size_bytes }) => {
            out.push(INVALID_KEY);
            writer::count(*size_bytes, out);
        }
        Rejection::InvalidTtl { ttl_ms } => {
            out.push(INVALID_TTL);
            writer::number(*ttl_ms, out);
        }
        Rejection::InvalidValue { reason } => out.extend_from_slice(&[INVALID_VALUE, reason.code()]),
        Rejection::ValueTooLarge {
            size_bytes,
            limit_bytes,
        } => {
            out.push(VALUE_TOO_LARGE);
            writer::number(*size_bytes, out);
            writer::number(*limit_bytes, out);
        }
        Rejection::InvalidRequest { reason } => out.extend_from_slice(&[INVALID_REQUEST, reason.code()]),
        Rejection::NotFound => out.push(NOT_FOUND),
        Rejection::Compacted { compact_revision } => {
            out.push(COMPACTED_ALREADY);
            writer::number(compact_revision.get(), out);
        }
        Rejection::FutureRevision { revision } => {
            out.push(FUTURE_REVISION);
            writer::number(revision.get(), out);
        }
        Rejection::Unsupported { version, code } => out.extend_from_slice(&[UNSUPPORTED, *version, *code]),
        Rejection::SessionExpired => out.push(SESSION_EXPIRED),
    }
}

fn decode_rejection(reader: &mut Reader<'_>) -> Result<Rejection, DecodeError> {
    Ok(match reader.u8()? {
        INVALID_KEY => Rejection::InvalidKey(match usize::try_from(reader.number()?) {
            Ok(0) => InvalidKey::Empty,
            Ok(size_bytes) => InvalidKey::TooLong { size_bytes },
            Err(_) => return Err(reader.error("key length beyond this machine")),
        }),
        INVALID_TTL => Rejection::InvalidTtl {
            ttl_ms: reader.number()?,
        },
        INVALID_VALUE => {
            let reason = InvalidValueReason::from_code(reader.u8()?);
            Rejection::InvalidValue {
                reason: reason.ok_or_else(|| reader.error("unknown reason"))?,
            }
        }
        VALUE_TOO_LARGE => Rejection::ValueTooLarge {
            size_bytes: reader.number()?,
            limit_bytes: reader.number()?,
        },
        INVALID_REQUEST => {
            let reason = InvalidRequestReason::from_code(reader.u8()?);
            Rejection::InvalidRequest {
                reason: reason.ok_or_else(|| reader.error("unknown reason"))?,
            }
        }
        NOT_FOUND => Rejection::NotFound,
        COMPACTED_ALREADY => Rejection::Compacted {
            compact_revision: Revision::new(reader.number()?),
        },
        FUTURE_REVISION => Rejection::FutureRevision {
            revision: Revision::new(reader.number()?),
        },
        UNSUPPORTED => Rejection::Unsupported {
            version: reader.u8()?,
            code: reader.u8()?,
        },
        SESSION_EXPIRED => Rejection::SessionExpired,
        _ => return Err(reader.error("unknown kind of refusal")),
    })
}

impl InvalidValueReason {
    const fn code(self) -> u8 {
        match self {
            Self::NotUtf8 => 1,
            Self::NotCanonical => 2,
            Self::NotAnInteger => 3,
            Self::Overflow => 4,
        }
    }

    const fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::NotUtf8),
            2 => Some(Self::NotCanonical),
            3 => Some(Self::NotAnInteger),
            4 => Some(Self::Overflow),
            _ => None,
        }
    }
}

impl InvalidRequestReason {
    const fn code(self) -> u8 {
        match self {
            Self::Malformed => 1,
            Self::SettingOutOfRange => 2,
        }
    }

    const fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Malformed),
            2 => Some(Self::SettingOutOfRange),
            _ => None,
        }
    }
}
