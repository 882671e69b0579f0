//! Idempotency keys: names that callers give to requests, under which a retry gets the first
//! answer instead of a second effect.

use alloc::vec::Vec;
use core::fmt;

use bytes::Bytes;

use crate::codec::reader::Reader;
use crate::codec::{DecodeError, writer};
use crate::ids::Timestamp;
use crate::limits::IDEMPOTENCY_KEY_BYTES_MAX;
use crate::policy::PrincipalId;

/// A name for a request: 1 to [`IDEMPOTENCY_KEY_BYTES_MAX`] bytes of any kind.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IdempotencyKey(Bytes);

/// Bytes that cannot be an idempotency key. Nothing was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("idempotency key is {size_bytes} bytes, must be 1 to {IDEMPOTENCY_KEY_BYTES_MAX}")]
pub struct InvalidIdempotencyKey {
    /// Their length.
    pub size_bytes: usize,
}

impl IdempotencyKey {
    /// Checks and wraps `bytes`.
    ///
    /// # Errors
    ///
    /// If they are none or more than [`IDEMPOTENCY_KEY_BYTES_MAX`].
    pub fn new(bytes: impl Into<Bytes>) -> Result<Self, InvalidIdempotencyKey> {
        let bytes = bytes.into();
        match bytes.len() {
            1..=IDEMPOTENCY_KEY_BYTES_MAX => Ok(Self(bytes)),
            size_bytes => Err(InvalidIdempotencyKey { size_bytes }),
        }
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Its name in the table: behind its scope, who uses it. So nobody gets the answer to somebody else's request.
    pub(crate) fn name(&self, scope: PrincipalId) -> Vec<u8> {
        let scope = scope.as_bytes();
        let mut name = Vec::with_capacity(self.0.len().saturating_add(scope.len()).saturating_add(1));
        writer::bytes(scope, &mut name);
        name.extend_from_slice(&self.0);
        name
    }
}

impl fmt::Debug for IdempotencyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IdempotencyKey({})", self.0.escape_ascii())
    }
}

/// Checks a name of the table.
pub(crate) fn check_name(name: &[u8]) -> Result<(), DecodeError> {
    let mut reader = Reader::new(name);
    let scope = reader.bytes()?;
    let key = reader.rest();
    if PrincipalId::new(scope).is_ok() && (1..=IDEMPOTENCY_KEY_BYTES_MAX).contains(&key.len()) {
        Ok(())
    } else {
        Err(reader.error("malformed idempotency key"))
    }
}

/// What is remembered under a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Remembered<'a> {
    /// When the request was applied.
    pub(crate) at: Timestamp,
    /// Which request it was: see [`fingerprint`].
    pub(crate) fingerprint: u128,
    /// How it was answered.
    pub(crate) reply: &'a [u8],
}

impl<'a> Remembered<'a> {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.reply.len().saturating_add(24));
        writer::number(self.at.get(), &mut out);
        out.extend_from_slice(&self.fingerprint.to_be_bytes());
        out.extend_from_slice(self.reply);
        out
    }

    pub(crate) fn decode(cell: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(cell);
        Ok(Self {
            at: Timestamp::new(reader.number()?),
            fingerprint: u128::from_be_bytes(reader.array()?),
            reply: reader.rest(),
        })
    }

    /// Reads a cell of the store.
    ///
    /// # Panics
    ///
    /// If it is damaged: only this module writes it, and a restore checks it.
    pub(crate) fn stored(cell: &'a [u8]) -> Self {
        Self::decode(cell).expect("what is remembered is written by this module and checked on restore")
    }
}

/// FNV-1a of 128 bits. Tells a retry from another request by accident of the same name; who
/// makes two requests collide on purpose deceives nobody but himself.
pub(crate) fn fingerprint(bytes: &[u8]) -> u128 {
    const OFFSET: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    bytes.iter().fold(OFFSET, |hash, &byte| {
        (hash ^ u128::from(byte)).wrapping_mul(PRIME)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Kept in snapshots, so it never changes. Values of the published test suite.
    #[test]
    fn fingerprints_are_fnv_1a() {
        assert_eq!(fingerprint(b""), 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d);
        assert_eq!(fingerprint(b"a"), 0xd228_cb69_6f1a_8caf_7891_2b70_4e4a_8964);
        assert_eq!(fingerprint(b"foobar"), 0x343e_1662_793c_64bf_6f0d_3597_ba44_6f18);
    }

    #[test]
    fn what_is_remembered_reads_back() {
        let remembered = Remembered {
            at: Timestamp::new(300),
            fingerprint: u128::MAX - 5,
            reply: b"reply",
        };
        let cell = remembered.encode();
        assert_eq!(Remembered::decode(&cell), Ok(remembered));
        assert!(Remembered::decode(&cell[..10]).is_err());
    }

    #[test]
    fn names_are_checked() {
        let key = IdempotencyKey::new(&b"k"[..]).unwrap();
        assert_eq!(check_name(&key.name(PrincipalId::NOBODY)), Ok(()));
        let scoped = key.name(PrincipalId::new(b"s").unwrap());
        assert_eq!(scoped, [1, b's', b'k']);
        assert_eq!(check_name(&scoped), Ok(()));
        assert!(check_name(&[0]).is_err());
        assert!(
            check_name(&[&[17][..], &[7; 18]].concat()).is_err(),
            "no principal has such an id"
        );
        assert!(check_name(&[0; 257]).is_err());
        let (none, many) = (
            IdempotencyKey::new(&b""[..]),
            IdempotencyKey::new(alloc::vec![0; 256]),
        );
        assert_eq!(none, Err(InvalidIdempotencyKey { size_bytes: 0 }));
        assert_eq!(many, Err(InvalidIdempotencyKey { size_bytes: 256 }));
    }
}
