//! Requests: [`Command`] in the form that the log keeps for good.

use alloc::vec::Vec;

use bytes::Bytes;

use super::reader::Reader;
use super::{DecodeError, writer};
use crate::command::Command;
use crate::ids::{Millis, Revision};
use crate::key::{InvalidKey, Key};
use crate::reply::{InvalidRequestReason, Rejection};
use crate::settings::{Compaction, Settings};
use crate::value::{InvalidValue, Value, ValueFormat};

const VERSION: u8 = 1;

const PUT: u8 = 1;
const DELETE: u8 = 2;
const TOUCH: u8 = 3;
const INCREMENT: u8 = 4;
const COMPACT: u8 = 5;
const CONFIGURE: u8 = 6;

// Flags of a request. The format of a put's value has the two lowest bits.
const FORMAT_MASK: u8 = 0b11;
const HAS_TTL: u8 = 0x04;
const RETURN_PREVIOUS: u8 = 0x08;

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
        }
    }
}

impl Command {
    /// The command in the form that the log keeps.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        let mut out = Vec::new();
        self.encode(&mut out);
        Bytes::from(out)
    }

    /// Appends the command in the form that the log keeps.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Put {
                key,
                value,
                ttl,
                return_previous,
            } => {
                out.reserve(
                    key.as_bytes()
                        .len()
                        .saturating_add(value.bytes().len())
                        .saturating_add(16),
                );
                let flags = value.format().code() | if *return_previous { RETURN_PREVIOUS } else { 0 };
                head(PUT, flags, key, *ttl, out);
                out.extend_from_slice(value.bytes());
            }
            Self::Delete { key, return_previous } => {
                head(
                    DELETE,
                    if *return_previous { RETURN_PREVIOUS } else { 0 },
                    key,
                    None,
                    out,
                );
            }
            Self::Touch { key, ttl } => head(TOUCH, 0, key, *ttl, out),
            Self::Increment { key, delta, ttl } => {
                head(INCREMENT, 0, key, *ttl, out);
                writer::signed(*delta, out);
            }
            Self::Compact { revision } => {
                out.extend_from_slice(&[VERSION, COMPACT]);
                writer::number(revision.get(), out);
            }
            Self::Configure(settings) => {
                out.extend_from_slice(&[VERSION, CONFIGURE]);
                settings.encode(out);
            }
        }
    }

    /// Reads a command and checks its key and value. The value is a slice of `bytes`: it keeps
    /// them alive.
    ///
    /// # Errors
    ///
    /// If the bytes are malformed, of an unknown kind, or hold an invalid key or value.
    pub fn decode(bytes: &Bytes) -> Result<Self, CommandError> {
        let mut reader = Reader::new(bytes);
        let version = reader.u8()?;
        if version != VERSION {
            return Err(CommandError::Unsupported { version, code: 0 });
        }
        let code = reader.u8()?;
        let command = match code {
            PUT => put(&mut reader, bytes)?,
            DELETE => {
                let head = Head::decode(&mut reader, bytes, RETURN_PREVIOUS)?;
                Self::Delete {
                    return_previous: head.flags & RETURN_PREVIOUS != 0,
                    key: head.key,
                }
            }
            TOUCH => {
                let head = Head::decode(&mut reader, bytes, HAS_TTL)?;
                Self::Touch {
                    key: head.key,
                    ttl: head.ttl,
                }
            }
            INCREMENT => {
                let head = Head::decode(&mut reader, bytes, HAS_TTL)?;
                Self::Increment {
                    key: head.key,
                    delta: reader.signed()?,
                    ttl: head.ttl,
                }
            }
            COMPACT => Self::Compact {
                revision: Revision::new(reader.number()?),
            },
            CONFIGURE => Self::Configure(Settings::decode(&mut reader)?),
            // D-RAFT-5: what is not known is refused, never taken for a success.
            code => return Err(CommandError::Unsupported { version, code }),
        };
        reader.end()?;
        Ok(command)
    }
}

fn head(code: u8, flags: u8, key: &Key, ttl: Option<Millis>, out: &mut Vec<u8>) {
    out.extend_from_slice(&[VERSION, code, flags | if ttl.is_some() { HAS_TTL } else { 0 }]);
    writer::bytes(key.as_bytes(), out);
    if let Some(ttl) = ttl {
        writer::number(ttl.get(), out);
    }
}

struct Head {
    flags: u8,
    key: Key,
    ttl: Option<Millis>,
}

impl Head {
    fn decode(reader: &mut Reader<'_>, whole: &Bytes, known_flags: u8) -> Result<Self, CommandError> {
        let flags = reader.u8()?;
        if flags & !known_flags != 0 {
            return Err(reader.error("unknown request flags").into());
        }
        let key = Key::new(reader.shared(whole)?)?;
        let ttl = if flags & HAS_TTL != 0 {
            Some(Millis::new(reader.number()?))
        } else {
            None
        };
        Ok(Self { flags, key, ttl })
    }
}

fn put(reader: &mut Reader<'_>, whole: &Bytes) -> Result<Command, CommandError> {
    let head = Head::decode(reader, whole, FORMAT_MASK | HAS_TTL | RETURN_PREVIOUS)?;
    let format = ValueFormat::from_code(head.flags & FORMAT_MASK)
        .ok_or_else(|| CommandError::from(reader.error("unknown value format")))?;
    let value = Value::new(format, whole.slice_ref(reader.rest()))?;
    let return_previous = head.flags & RETURN_PREVIOUS != 0;
    Ok(Command::Put {
        key: head.key,
        value,
        ttl: head.ttl,
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
            Command::decode(&Bytes::from_static(&[2, 1])),
            Err(CommandError::Unsupported { version: 2, code: 0 })
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
            ttl: None,
        };
        let mut bytes = touch.to_bytes().to_vec();
        bytes[2] |= RETURN_PREVIOUS;
        assert!(matches!(
            Command::decode(&Bytes::from(bytes)),
            Err(CommandError::Malformed(_))
        ));
    }
}
