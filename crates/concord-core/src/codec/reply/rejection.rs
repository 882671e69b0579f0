//! Refusals, behind the kind of reply that says that one follows.

use alloc::boxed::Box;
use alloc::vec::Vec;

use bytes::Bytes;

use super::{decode_optional_record, optional_record};
use crate::codec::reader::Reader;
use crate::codec::{DecodeError, writer};
use crate::ids::{LeaseId, Revision};
use crate::index::IndexName;
use crate::key::InvalidKey;
use crate::reply::{BatchUnit, InvalidRequestReason, InvalidValueReason, Quota, Rejection, RequestPart};

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
const CONDITION_FAILED: u8 = 11;
const BATCH_TOO_LARGE: u8 = 12;
const IN_PART: u8 = 13;
const LEASE_NOT_FOUND: u8 = 14;
const LEASE_EXISTS: u8 = 15;
const QUOTA_EXCEEDED: u8 = 16;
const UNIQUE_VIOLATION: u8 = 32;
const INDEX_EXISTS: u8 = 33;
const INDEX_NOT_FOUND: u8 = 34;
const IDEMPOTENCY_CONFLICT: u8 = 17;
const SUBSCRIPTION_EXISTS: u8 = 48;
const SUBSCRIPTION_NOT_FOUND: u8 = 49;
const POLICY_CHANGED: u8 = 56;
const RATE_LIMITED: u8 = 57;
const NAMESPACE_EMPTYING: u8 = 58;
const RESTORE_NOT_FOUND: u8 = 64;

/// How deep a refusal can lie in its request.
const PART_DEPTH_MAX: usize = 8;

impl Rejection {
    #[expect(clippy::too_many_lines, reason = "an arm for each kind, and nothing else")]
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::InvalidKey(InvalidKey::Empty) => {
                out.push(INVALID_KEY);
                writer::number(0, out);
            }
            Self::InvalidKey(InvalidKey::TooLong { size_bytes }) => {
                out.push(INVALID_KEY);
                writer::count(*size_bytes, out);
            }
            Self::InvalidTtl { ttl_ms } => {
                out.push(INVALID_TTL);
                writer::number(*ttl_ms, out);
            }
            Self::InvalidValue { reason } => out.extend_from_slice(&[INVALID_VALUE, reason.code()]),
            Self::ValueTooLarge {
                size_bytes,
                limit_bytes,
            } => {
                out.push(VALUE_TOO_LARGE);
                writer::number(*size_bytes, out);
                writer::number(*limit_bytes, out);
            }
            Self::InvalidRequest { reason } => out.extend_from_slice(&[INVALID_REQUEST, reason.code()]),
            Self::NotFound => out.push(NOT_FOUND),
            Self::Compacted { compact_revision } => {
                out.push(COMPACTED_ALREADY);
                writer::number(compact_revision.get(), out);
            }
            Self::FutureRevision { revision } => {
                out.push(FUTURE_REVISION);
                writer::number(revision.get(), out);
            }
            Self::Unsupported { version, code } => out.extend_from_slice(&[UNSUPPORTED, *version, *code]),
            Self::SessionExpired => out.push(SESSION_EXPIRED),
            Self::ConditionFailed { current } => {
                out.push(CONDITION_FAILED);
                optional_record(current.as_deref(), out);
            }
            Self::BatchTooLarge { unit, count, limit } => {
                out.extend_from_slice(&[BATCH_TOO_LARGE, unit.code()]);
                writer::number(*count, out);
                writer::number(*limit, out);
            }
            Self::InPart { part, index, cause } => {
                out.extend_from_slice(&[IN_PART, part.code()]);
                writer::number(*index, out);
                cause.encode(out);
            }
            Self::UniqueViolation { index } => {
                out.push(UNIQUE_VIOLATION);
                index.encode(out);
            }
            Self::SubscriptionExists => out.push(SUBSCRIPTION_EXISTS),
            Self::SubscriptionNotFound => out.push(SUBSCRIPTION_NOT_FOUND),
            Self::IndexExists => out.push(INDEX_EXISTS),
            Self::IndexNotFound => out.push(INDEX_NOT_FOUND),
            Self::LeaseNotFound { lease } => {
                out.push(LEASE_NOT_FOUND);
                writer::number(lease.get(), out);
            }
            Self::IdempotencyConflict => out.push(IDEMPOTENCY_CONFLICT),
            Self::RateLimited { retry_after_ms } => {
                out.push(RATE_LIMITED);
                writer::number(*retry_after_ms, out);
            }
            Self::NamespaceEmptying => out.push(NAMESPACE_EMPTYING),
            Self::RestoreNotFound => out.push(RESTORE_NOT_FOUND),
            Self::PolicyChanged { policy_revision } => {
                out.push(POLICY_CHANGED);
                writer::number(*policy_revision, out);
            }
            Self::LeaseExists { lease } => {
                out.push(LEASE_EXISTS);
                writer::number(lease.get(), out);
            }
            Self::QuotaExceeded { quota, limit } => {
                out.extend_from_slice(&[QUOTA_EXCEEDED, quota.code()]);
                writer::number(*limit, out);
            }
        }
    }

    pub(super) fn decode(reader: &mut Reader<'_>, whole: &Bytes) -> Result<Self, DecodeError> {
        Self::decode_within(reader, whole, PART_DEPTH_MAX)
    }

    /// A refusal about an index.
    fn decode_index(code: u8, reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(match code {
            UNIQUE_VIOLATION => Self::UniqueViolation {
                index: IndexName::decode(reader)?,
            },
            INDEX_EXISTS => Self::IndexExists,
            _ => Self::IndexNotFound,
        })
    }

    /// Reads a refusal that lies within `depth_left` parts at most.
    #[expect(clippy::too_many_lines, reason = "an arm for each kind, and nothing else")]
    fn decode_within(reader: &mut Reader<'_>, whole: &Bytes, depth_left: usize) -> Result<Self, DecodeError> {
        Ok(match reader.u8()? {
            INVALID_KEY => Self::InvalidKey(invalid_key(reader)?),
            INVALID_TTL => Self::InvalidTtl {
                ttl_ms: reader.number()?,
            },
            INVALID_VALUE => {
                let reason = InvalidValueReason::from_code(reader.u8()?);
                Self::InvalidValue {
                    reason: reason.ok_or_else(|| reader.error("unknown reason"))?,
                }
            }
            VALUE_TOO_LARGE => Self::ValueTooLarge {
                size_bytes: reader.number()?,
                limit_bytes: reader.number()?,
            },
            INVALID_REQUEST => {
                let reason = InvalidRequestReason::from_code(reader.u8()?);
                Self::InvalidRequest {
                    reason: reason.ok_or_else(|| reader.error("unknown reason"))?,
                }
            }
            NOT_FOUND => Self::NotFound,
            COMPACTED_ALREADY => Self::Compacted {
                compact_revision: Revision::new(reader.number()?),
            },
            FUTURE_REVISION => Self::FutureRevision {
                revision: Revision::new(reader.number()?),
            },
            UNSUPPORTED => Self::Unsupported {
                version: reader.u8()?,
                code: reader.u8()?,
            },
            SESSION_EXPIRED => Self::SessionExpired,
            CONDITION_FAILED => Self::ConditionFailed {
                current: decode_optional_record(reader, whole)?.map(Box::new),
            },
            BATCH_TOO_LARGE => Self::BatchTooLarge {
                unit: BatchUnit::from_code(reader.u8()?).ok_or_else(|| reader.error("unknown unit"))?,
                count: reader.number()?,
                limit: reader.number()?,
            },
            IN_PART => {
                let depth_left = depth_left
                    .checked_sub(1)
                    .ok_or_else(|| reader.error("refusal is too deep"))?;
                Self::InPart {
                    part: RequestPart::from_code(reader.u8()?).ok_or_else(|| reader.error("unknown part"))?,
                    index: reader.number()?,
                    cause: Box::new(Self::decode_within(reader, whole, depth_left)?),
                }
            }
            SUBSCRIPTION_EXISTS => Self::SubscriptionExists,
            SUBSCRIPTION_NOT_FOUND => Self::SubscriptionNotFound,
            IDEMPOTENCY_CONFLICT => Self::IdempotencyConflict,
            POLICY_CHANGED => Self::PolicyChanged {
                policy_revision: reader.number()?,
            },
            RATE_LIMITED => Self::RateLimited {
                retry_after_ms: reader.number()?,
            },
            NAMESPACE_EMPTYING => Self::NamespaceEmptying,
            RESTORE_NOT_FOUND => Self::RestoreNotFound,
            LEASE_EXISTS => Self::LeaseExists {
                lease: LeaseId::new(reader.number()?),
            },
            QUOTA_EXCEEDED => Self::QuotaExceeded {
                quota: Quota::from_code(reader.u8()?).ok_or_else(|| reader.error("unknown quota"))?,
                limit: reader.number()?,
            },
            code @ (UNIQUE_VIOLATION | INDEX_EXISTS | INDEX_NOT_FOUND) => Self::decode_index(code, reader)?,
            LEASE_NOT_FOUND => Self::LeaseNotFound {
                lease: LeaseId::new(reader.number()?),
            },
            _ => return Err(reader.error("unknown kind of refusal")),
        })
    }
}

fn invalid_key(reader: &mut Reader<'_>) -> Result<InvalidKey, DecodeError> {
    match usize::try_from(reader.number()?) {
        Ok(0) => Ok(InvalidKey::Empty),
        Ok(size_bytes) => Ok(InvalidKey::TooLong { size_bytes }),
        Err(_) => Err(reader.error("key length beyond this machine")),
    }
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
            Self::DocumentOrder => 3,
            Self::LeaseIdOutOfRange => 4,
            Self::TooManyIndexes => 32,
            Self::SubscriptionFilter => 48,
            Self::PolicyRecord => 56,
            Self::Namespace => 57,
            Self::BackupPiece => 64,
            Self::IdempotencyKey => 5,
        }
    }

    const fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Malformed),
            2 => Some(Self::SettingOutOfRange),
            3 => Some(Self::DocumentOrder),
            4 => Some(Self::LeaseIdOutOfRange),
            32 => Some(Self::TooManyIndexes),
            48 => Some(Self::SubscriptionFilter),
            56 => Some(Self::PolicyRecord),
            57 => Some(Self::Namespace),
            64 => Some(Self::BackupPiece),
            5 => Some(Self::IdempotencyKey),
            _ => None,
        }
    }
}

impl BatchUnit {
    const fn code(self) -> u8 {
        match self {
            Self::Items => 1,
            Self::Compares => 2,
            Self::Operations => 3,
            Self::Levels => 4,
            Self::Parts => 5,
            Self::Keys => 6,
            Self::Bytes => 7,
            Self::Evaluations => 8,
            Self::MatchingKeys => 36,
            Self::Steps => 37,
            Self::PolicyEdits => 56,
            Self::PolicyBytes => 57,
        }
    }

    const fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Items),
            2 => Some(Self::Compares),
            3 => Some(Self::Operations),
            4 => Some(Self::Levels),
            5 => Some(Self::Parts),
            6 => Some(Self::Keys),
            7 => Some(Self::Bytes),
            8 => Some(Self::Evaluations),
            36 => Some(Self::MatchingKeys),
            37 => Some(Self::Steps),
            56 => Some(Self::PolicyEdits),
            57 => Some(Self::PolicyBytes),
            _ => None,
        }
    }
}

impl Quota {
    const fn code(self) -> u8 {
        match self {
            Self::Leases => 1,
            Self::LeaseKeys => 2,
            Self::Subscriptions => 48,
            Self::PolicyRecords => 56,
            Self::PolicyBytes => 57,
            Self::NamespaceKeys => 58,
            Self::NamespaceBytes => 59,
            Self::Namespaces => 60,
        }
    }

    const fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Leases),
            2 => Some(Self::LeaseKeys),
            48 => Some(Self::Subscriptions),
            56 => Some(Self::PolicyRecords),
            57 => Some(Self::PolicyBytes),
            58 => Some(Self::NamespaceKeys),
            59 => Some(Self::NamespaceBytes),
            60 => Some(Self::Namespaces),
            _ => None,
        }
    }
}

impl RequestPart {
    const fn code(self) -> u8 {
        match self {
            Self::Item => 1,
            Self::Compare => 2,
            Self::Success => 3,
            Self::Failure => 4,
        }
    }

    const fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Item),
            2 => Some(Self::Compare),
            3 => Some(Self::Success),
            4 => Some(Self::Failure),
            _ => None,
        }
    }
}
