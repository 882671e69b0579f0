//! Requests: [`Command`] in the form that the log keeps for good.

mod bulk;
mod condition;
mod index;
pub(crate) mod policy;
pub(crate) mod raise;
mod restore;
mod subscription;
pub(crate) mod trace;
mod txn;

use alloc::boxed::Box;
use alloc::vec::Vec;

use bytes::Bytes;

use super::reader::Reader;
use super::{DecodeError, writer};
use crate::command::{Command, Condition, Lifetime};
use crate::filter::Filter;
use crate::idempotency::{IdempotencyKey, InvalidIdempotencyKey};
use crate::ids::{LeaseId, Millis, Revision};
use crate::key::{InvalidKey, Key};
use crate::reply::{BatchUnit, InvalidRequestReason, Rejection, RequestPart};
use crate::settings::{Compaction, Settings};
use crate::value::{InvalidValue, StoredValue, Value, ValueFormat};
use crate::version::MachineVersion;

const VERSION: u8 = 1;

const PUT: u8 = 1;
const DELETE: u8 = 2;
const TOUCH: u8 = 3;
const INCREMENT: u8 = 4;
const COMPACT: u8 = 5;
const CONFIGURE: u8 = 6;
const PUT_MANY: u8 = 7;
const DELETE_MANY: u8 = 8;
const TOUCH_MANY: u8 = 9;
const TXN: u8 = 10;
const LEASE_GRANT: u8 = 11;
const LEASE_KEEP_ALIVE: u8 = 12;
const LEASE_REVOKE: u8 = 13;
const CREATE_INDEX: u8 = 32;
const DROP_INDEX: u8 = 33;
const REINDEX: u8 = 34;
const DELETE_WHERE: u8 = 36;
const CREATE_SUBSCRIPTION: u8 = 48;
const DELETE_SUBSCRIPTION: u8 = 49;
const ACK_SUBSCRIPTION: u8 = 50;
const RESET_SUBSCRIPTION: u8 = 51;
const IDEMPOTENT: u8 = 14;
const EDIT_POLICY: u8 = 56;
const GUARDED: u8 = 57;
const RESTORE_BEGIN: u8 = 64;
const RESTORE_PIECE: u8 = 65;
const RESTORE_COMMIT: u8 = 66;
const RESTORE_ABORT: u8 = 67;
const TRACED: u8 = 72;
const RAISE_VERSION: u8 = 73;

/// The version of the machine with which a kind came, if this program knows it: the first byte of such a request.
/// A kind that is to hold more some day gets a second version here, for the requests that do, and its decoder is
/// told which one it reads: machines before it refuse those, and only those.
const fn since(code: u8) -> Option<MachineVersion> {
    match code {
        PUT..=IDEMPOTENT
        | CREATE_INDEX..=REINDEX
        | DELETE_WHERE
        | CREATE_SUBSCRIPTION..=RESET_SUBSCRIPTION
        | EDIT_POLICY
        | GUARDED
        | RESTORE_BEGIN..=RESTORE_ABORT
        | TRACED => Some(MachineVersion::BASE),
        RAISE_VERSION => Some(MachineVersion::KEEPS_VERSION),
        _ => None,
    }
}

// Flags of a request. The format of a put's value has the two lowest bits.
const FORMAT_MASK: u8 = 0b11;
const HAS_TTL: u8 = 0x04;
const RETURN_PREVIOUS: u8 = 0x08;
const HAS_CONDITION: u8 = 0x10;
const HAS_LEASE: u8 = 0x20;
const PACKED: u8 = 0x40;
const LIFETIME: u8 = HAS_TTL | HAS_LEASE;

/// Why bytes are not a command.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// The bytes are malformed.
    #[error("request is malformed")]
    Malformed(#[from] DecodeError),
    /// A newer machine may know this request; this one does not.
    #[error("request kind {code} of version {version} is not supported")]
    Unsupported {
        /// The version byte.
        version: u8,
        /// The kind, 0 if the version itself is unknown.
        code: u8,
    },
    /// The key is none.
    #[error("{0}")]
    InvalidKey(#[from] InvalidKey),
    /// The value is not of its format.
    #[error("{0}")]
    InvalidValue(#[from] InvalidValue),
    /// There is more in the request than it may have.
    #[error("request has {count} {unit}, limit is {limit}")]
    TooLarge {
        /// What there is too much of.
        unit: BatchUnit,
        /// How much there is.
        count: usize,
        /// How much there may be.
        limit: usize,
    },
    /// Its idempotency key is none.
    #[error("{0}")]
    InvalidIdempotencyKey(#[from] InvalidIdempotencyKey),
    /// It asks for the order of documents, which have none.
    #[error("documents have no order")]
    DocumentOrder,
    /// A part of the request is wrong.
    #[error("{part} {index}: {cause}")]
    InPart {
        /// Of which list.
        part: RequestPart,
        /// Its place in the list, from 0.
        index: usize,
        /// What is wrong with it.
        cause: Box<Self>,
    },
}

impl From<CommandError> for Rejection {
    fn from(error: CommandError) -> Self {
        match error {
            CommandError::Malformed(_) => Self::InvalidRequest {
                reason: InvalidRequestReason::Malformed,
            },
            CommandError::Unsupported { version, code } => Self::Unsupported { version, code },
            CommandError::InvalidKey(error) => Self::InvalidKey(error),
            CommandError::InvalidValue(error) => error.into(),
            CommandError::TooLarge { unit, count, limit } => Self::too_large(unit, count, limit),
            CommandError::InvalidIdempotencyKey(_) => Self::InvalidRequest {
                reason: InvalidRequestReason::IdempotencyKey,
            },
            CommandError::DocumentOrder => Self::InvalidRequest {
                reason: InvalidRequestReason::DocumentOrder,
            },
            CommandError::InPart { part, index, cause } => Self::from(*cause).in_part(part, index),
        }
    }
}

impl Command {
    /// The command in the form that the log keeps.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        let mut out = Vec::with_capacity(self.bytes_expected());
        self.encode(&mut out);
        Bytes::from(out)
    }

    /// About how many bytes it takes, of what is written often: so that they are not moved while they become more.
    fn bytes_expected(&self) -> usize {
        const BESIDE: usize = 64;
        if let Self::Put { key, value, .. } = self {
            BESIDE + key.as_bytes().len() + value.bytes().len()
        } else if let Self::Guarded { command, .. } | Self::Idempotent { command, .. } = self {
            BESIDE + command.bytes_expected()
        } else {
            BESIDE
        }
    }

    /// Appends the command in the form that the log keeps.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Put {
                key,
                value,
                lifetime,
                condition,
                return_previous,
            } => {
                out.reserve(
                    key.as_bytes()
                        .len()
                        .saturating_add(value.bytes().len())
                        .saturating_add(16),
                );
                let flags = value_flags(value) | previous_flag(*return_previous);
                head(PUT, flags, key, *lifetime, condition.as_ref(), out);
                out.extend_from_slice(value.bytes());
            }
            Self::Delete {
                key,
                condition,
                return_previous,
            } => {
                let flags = previous_flag(*return_previous);
                head(DELETE, flags, key, Lifetime::Forever, condition.as_ref(), out);
            }
            Self::Touch { key, lifetime } => head(TOUCH, 0, key, *lifetime, None, out),
            Self::Increment { key, delta, ttl } => {
                head(INCREMENT, 0, key, (*ttl).into(), None, out);
                writer::signed(*delta, out);
            }
            Self::Compact { revision } => numbers(COMPACT, &[revision.get()], out),
            Self::Configure(settings) => {
                out.extend_from_slice(&[VERSION, CONFIGURE]);
                settings.encode(out);
            }
            Self::CreateIndex { definition, fill } => index::encode_create(definition, *fill, out),
            Self::DropIndex { name } => index::encode_named(DROP_INDEX, name, out),
            Self::Reindex { name } => index::encode_named(REINDEX, name, out),
            Self::CreateSubscription { name, filter, after } => {
                subscription::encode_create(name, filter, *after, out);
            }
            Self::DeleteSubscription { name } => subscription::encode_delete(name, out),
            Self::AckSubscription { name, upto } => subscription::encode_ack(name, *upto, out),
            Self::ResetSubscription { name, after } => subscription::encode_reset(name, *after, out),
            Self::PutMany { items } => bulk::encode_puts(items, out),
            Self::DeleteMany { keys } => bulk::encode_deletes(keys, out),
            Self::TouchMany { items } => bulk::encode_touches(items, out),
            Self::Txn(txn) => {
                out.extend_from_slice(&[VERSION, TXN]);
                txn.encode(out);
            }
            Self::Idempotent { key, command } => {
                out.extend_from_slice(&[VERSION, IDEMPOTENT, 0]);
                writer::bytes(key.as_bytes(), out);
                command.encode(out);
            }
            Self::DeleteWhere { filter, limit } => delete_where(filter, *limit, out),
            Self::LeaseGrant { lease, ttl } => numbers(LEASE_GRANT, &[lease.get(), ttl.get()], out),
            Self::LeaseKeepAlive { lease } => numbers(LEASE_KEEP_ALIVE, &[lease.get()], out),
            Self::LeaseRevoke { lease } => numbers(LEASE_REVOKE, &[lease.get()], out),
            Self::EditPolicy(change) => policy::encode_edit(change, out),
            Self::Restore { restore, step } => restore::encode(*restore, step, out),
            Self::Guarded { guard, command } => policy::encode_guarded(guard, command, out),
        }
    }

    /// Reads a command and checks its key and value. The value is a slice of `bytes`: it keeps
    /// them alive.
    ///
    /// # Errors
    ///
    /// If the bytes are malformed, of an unknown kind, or hold an invalid key or value.
    pub fn decode(bytes: &Bytes) -> Result<Self, CommandError> {
        Self::decode_at(bytes, MachineVersion::NEWEST)
    }

    /// Reads a command as a program does whose newest machine is this one (I24).
    ///
    /// # Errors
    ///
    /// As [`Command::decode`].
    pub(crate) fn decode_at(bytes: &Bytes, machine: MachineVersion) -> Result<Self, CommandError> {
        let mut reader = Reader::new(bytes);
        let (version, code) = kind(&mut reader, machine)?;
        let command = match code {
            PUT => put(&mut reader, bytes)?,
            DELETE => {
                let head = Head::decode(&mut reader, bytes, RETURN_PREVIOUS | HAS_CONDITION)?;
                Self::Delete {
                    return_previous: head.flags & RETURN_PREVIOUS != 0,
                    key: head.key,
                    condition: head.condition,
                }
            }
            TOUCH => {
                let head = Head::decode(&mut reader, bytes, LIFETIME)?;
                Self::Touch {
                    key: head.key,
                    lifetime: head.lifetime,
                }
            }
            INCREMENT => {
                let head = Head::decode(&mut reader, bytes, HAS_TTL)?;
                let ttl = match head.lifetime {
                    Lifetime::Ttl(ttl) => Some(ttl),
                    Lifetime::Forever | Lifetime::Lease(_) => None,
                };
                Self::Increment {
                    key: head.key,
                    delta: reader.signed()?,
                    ttl,
                }
            }
            COMPACT => Self::Compact {
                revision: Revision::new(reader.number()?),
            },
            CONFIGURE => Self::Configure(Settings::decode(&mut reader)?),
            CREATE_INDEX | DROP_INDEX | REINDEX => index::decode(code, &mut reader)?,
            CREATE_SUBSCRIPTION | DELETE_SUBSCRIPTION | ACK_SUBSCRIPTION | RESET_SUBSCRIPTION => {
                subscription::decode(code, &mut reader, bytes)?
            }
            PUT_MANY => bulk::decode_puts(&mut reader, bytes)?,
            DELETE_MANY => bulk::decode_deletes(&mut reader, bytes)?,
            TOUCH_MANY => bulk::decode_touches(&mut reader, bytes)?,
            TXN => Self::Txn(txn::Decoder::new(&mut reader, bytes).txn(1)?),
            LEASE_GRANT => Self::LeaseGrant {
                lease: LeaseId::new(reader.number()?),
                ttl: Millis::new(reader.number()?),
            },
            LEASE_KEEP_ALIVE => Self::LeaseKeepAlive {
                lease: LeaseId::new(reader.number()?),
            },
            LEASE_REVOKE => Self::LeaseRevoke {
                lease: LeaseId::new(reader.number()?),
            },
            DELETE_WHERE => Self::DeleteWhere {
                limit: reader.optional()?,
                filter: Filter::decode(&mut reader, bytes)?,
            },
            IDEMPOTENT => idempotent(&mut reader, bytes, machine)?,
            EDIT_POLICY => policy::decode_edit(&mut reader, bytes)?,
            GUARDED => policy::decode_guarded(bytes, &mut reader, machine)?,
            RESTORE_BEGIN..=RESTORE_ABORT => restore::decode(code, &mut reader, bytes)?,
            // D-RAFT-5: what is not known is refused, never taken for a success.
            code => return Err(CommandError::Unsupported { version, code }),
        };
        reader.end()?;
        Ok(command)
    }
}

/// The version that a request needs, and its kind.
fn kind(reader: &mut Reader<'_>, machine: MachineVersion) -> Result<(u8, u8), CommandError> {
    let version = reader.u8()?;
    if version == 0 || version > machine.get() {
        return Err(CommandError::Unsupported { version, code: 0 });
    }
    let code = reader.u8()?;
    if since(code) == Some(MachineVersion::new(version)) {
        Ok((version, code))
    } else {
        Err(CommandError::Unsupported { version, code })
    }
}

/// What is said about a value beside it.
const fn value_flags(value: &StoredValue) -> u8 {
    value.format().code() | if value.is_packed() { PACKED } else { 0 }
}

fn delete_where(filter: &Filter, limit: Option<u64>, out: &mut Vec<u8>) {
    out.extend_from_slice(&[VERSION, DELETE_WHERE]);
    writer::optional(limit, out);
    filter.encode(out);
}

const fn previous_flag(return_previous: bool) -> u8 {
    if return_previous { RETURN_PREVIOUS } else { 0 }
}

/// A command that is nothing but numbers.
fn numbers(code: u8, numbers: &[u64], out: &mut Vec<u8>) {
    out.extend_from_slice(&[VERSION, code]);
    for number in numbers {
        writer::number(*number, out);
    }
}

fn head(
    code: u8,
    flags: u8,
    key: &Key,
    lifetime: Lifetime,
    condition: Option<&Condition>,
    out: &mut Vec<u8>,
) {
    let condition_flag = if condition.is_some() { HAS_CONDITION } else { 0 };
    out.extend_from_slice(&[VERSION, code, flags | condition_flag | lifetime_flag(lifetime)]);
    writer::bytes(key.as_bytes(), out);
    encode_lifetime(lifetime, out);
    if let Some(condition) = condition {
        condition.encode(out);
    }
}

const fn lifetime_flag(lifetime: Lifetime) -> u8 {
    match lifetime {
        Lifetime::Forever => 0,
        Lifetime::Ttl(_) => HAS_TTL,
        Lifetime::Lease(_) => HAS_LEASE,
    }
}

fn encode_lifetime(lifetime: Lifetime, out: &mut Vec<u8>) {
    match lifetime {
        Lifetime::Forever => {}
        Lifetime::Ttl(ttl) => writer::number(ttl.get(), out),
        Lifetime::Lease(lease) => writer::number(lease.get(), out),
    }
}

fn decode_lifetime(flags: u8, reader: &mut Reader<'_>) -> Result<Lifetime, DecodeError> {
    Ok(match flags & LIFETIME {
        0 => Lifetime::Forever,
        HAS_TTL => Lifetime::Ttl(Millis::new(reader.number()?)),
        HAS_LEASE => Lifetime::Lease(LeaseId::new(reader.number()?)),
        // D-V3-7: a key has one lifetime.
        _ => return Err(reader.error("ttl and lease together")),
    })
}

struct Head {
    flags: u8,
    key: Key,
    lifetime: Lifetime,
    condition: Option<Condition>,
}

impl Head {
    fn decode(reader: &mut Reader<'_>, whole: &Bytes, known_flags: u8) -> Result<Self, CommandError> {
        let flags = decode_flags(reader, known_flags)?;
        let key = Key::new(reader.shared(whole)?)?;
        let lifetime = decode_lifetime(flags, reader)?;
        let condition = if flags & HAS_CONDITION != 0 {
            Some(Condition::decode(reader, whole)?)
        } else {
            None
        };
        Ok(Self {
            flags,
            key,
            lifetime,
            condition,
        })
    }
}

fn decode_flags(reader: &mut Reader<'_>, known_flags: u8) -> Result<u8, DecodeError> {
    let flags = reader.u8()?;
    if flags & !known_flags != 0 {
        return Err(reader.error("unknown request flags"));
    }
    Ok(flags)
}

/// A value to store, of which `flags` say what it is.
fn decode_stored(flags: u8, bytes: Bytes, reader: &Reader<'_>) -> Result<StoredValue, CommandError> {
    let format = ValueFormat::from_code(flags & FORMAT_MASK);
    let format = format.ok_or_else(|| reader.error("unknown value format"))?;
    if flags & PACKED == 0 {
        return Ok(Value::new(format, bytes)?.into());
    }
    StoredValue::packed(format, bytes).map_err(|error| reader.error(error.what).into())
}

/// A request under a key: the rest is a request.
fn idempotent(
    reader: &mut Reader<'_>,
    whole: &Bytes,
    machine: MachineVersion,
) -> Result<Command, CommandError> {
    decode_flags(reader, 0)?;
    let key = IdempotencyKey::new(reader.shared(whole)?)?;
    let request = whole.slice_ref(reader.rest());
    // A guard stands outside. A change of the policy says itself what it is made from, and a refusal of that is
    // not to be remembered. The steps of a restore have names and numbers of their own.
    if let Some(&(IDEMPOTENT | GUARDED | EDIT_POLICY | RESTORE_BEGIN..=RESTORE_ABORT)) = request.get(1) {
        return Err(reader.error("request that has no idempotency key").into());
    }
    let command = Box::new(Command::decode_at(&request, machine)?);
    Ok(Command::Idempotent { key, command })
}

fn put(reader: &mut Reader<'_>, whole: &Bytes) -> Result<Command, CommandError> {
    let known_flags = FORMAT_MASK | PACKED | LIFETIME | RETURN_PREVIOUS | HAS_CONDITION;
    let head = Head::decode(reader, whole, known_flags)?;
    let value = decode_stored(head.flags, whole.slice_ref(reader.rest()), reader)?;
    let return_previous = head.flags & RETURN_PREVIOUS != 0;
    Ok(Command::Put {
        key: head.key,
        value,
        lifetime: head.lifetime,
        condition: head.condition,
        return_previous,
    })
}

impl Settings {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let Self {
            value_bytes_max,
            compaction,
        } = self;
        let Compaction {
            keep_ms,
            keep_revisions,
            keep_bytes,
        } = compaction;
        writer::number(*value_bytes_max, out);
        writer::optional(keep_ms.map(Millis::get), out);
        writer::optional(*keep_revisions, out);
        writer::optional(*keep_bytes, out);
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let value_bytes_max = reader.number()?;
        let keep_ms = reader.optional()?.map(Millis::new);
        let keep_revisions = reader.optional()?;
        let keep_bytes = reader.optional()?;
        Ok(Self {
            value_bytes_max,
            compaction: Compaction {
                keep_ms,
                keep_revisions,
                keep_bytes,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn key() -> Key {
        Key::copy_of(b"k").unwrap()
    }

    #[test]
    fn unknown_kinds_and_versions_are_unsupported() {
        assert_eq!(
            Command::decode(&Bytes::from_static(&[1, 77, 0])),
            Err(CommandError::Unsupported { version: 1, code: 77 })
        );
        assert_eq!(
            Command::decode(&Bytes::from_static(&[200, 1])),
            Err(CommandError::Unsupported {
                version: 200,
                code: 0
            })
        );
    }

    #[test]
    fn keys_and_values_are_checked_again() {
        let with_key = |key: &[u8]| {
            let mut out = vec![1, DELETE, 0];
            writer::bytes(key, &mut out);
            Command::decode(&Bytes::from(out))
        };
        assert_eq!(with_key(b""), Err(CommandError::InvalidKey(InvalidKey::Empty)));
        assert!(matches!(
            with_key(&[1; 1025]),
            Err(CommandError::InvalidKey(InvalidKey::TooLong { .. }))
        ));
        let text = Command::decode(&Bytes::from_static(&[1, PUT, 1, 1, b'k', 0xff]));
        assert!(matches!(
            text,
            Err(CommandError::InvalidValue(InvalidValue::NotUtf8 {
                valid_upto: 0
            }))
        ));
        let document = Command::decode(&Bytes::from_static(&[1, PUT, 2, 1, b'k', 0xcc, 1]));
        assert!(matches!(
            document,
            Err(CommandError::InvalidValue(InvalidValue::Document(_)))
        ));
    }

    #[test]
    fn flags_that_a_kind_lacks_are_refused() {
        let touch = Command::Touch {
            key: key(),
            lifetime: Lifetime::Forever,
        };
        for flag in [RETURN_PREVIOUS, HAS_CONDITION, 1] {
            let mut bytes = touch.to_bytes().to_vec();
            bytes[2] |= flag;
            assert!(matches!(
                Command::decode(&Bytes::from(bytes)),
                Err(CommandError::Malformed(_))
            ));
        }
    }

    /// D-V3-7: no request can ask for both.
    #[test]
    fn a_ttl_and_a_lease_together_are_refused() {
        let mut bytes = vec![1, PUT, HAS_TTL, 1, b'k', 9, b'v'];
        assert!(Command::decode(&Bytes::from(bytes.clone())).is_ok());
        bytes[2] |= HAS_LEASE;
        assert!(matches!(
            Command::decode(&Bytes::from(bytes)),
            Err(CommandError::Malformed(_))
        ));
    }
}
