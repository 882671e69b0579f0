//! The bytes of a record in the live tree and in the history.
//!
//! ```text
//! record:    flags  mod_revision  mod - create  version  [expires_at]  [lease]  value...
//! tombstone: 0x80 | kind
//! flags:     bits 0..1 format, 0x04 has expires_at, 0x08 has lease, 0x80 tombstone
//! ```
//!
//! Numbers are LEB128: about ten bytes instead of thirty before each value.

use alloc::vec::Vec;

use crate::codec::DecodeError;
use crate::codec::reader::Reader;
use crate::codec::writer;
use crate::ids::{LeaseId, Revision, Timestamp};
use crate::value::ValueFormat;
use crate::view::ChangeKind;

const FORMAT_MASK: u8 = 0b11;
const HAS_EXPIRY: u8 = 0x04;
const HAS_LEASE: u8 = 0x08;
const TOMBSTONE: u8 = 0x80;

/// What is known about the writes of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) format: ValueFormat,
    pub(crate) create_revision: Revision,
    pub(crate) mod_revision: Revision,
    pub(crate) version: u64,
    pub(crate) expires_at: Option<Timestamp>,
    pub(crate) lease: Option<LeaseId>,
}

/// What a cell says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StoredCell<'a> {
    /// A version of the key.
    Record { header: Header, value: &'a [u8] },
    /// The key was removed, in this way. Only in the history.
    Tombstone(ChangeKind),
}

/// Appends a record.
pub(crate) fn encode(header: &Header, value: &[u8], out: &mut Vec<u8>) {
    let mut flags = header.format.code();
    if header.expires_at.is_some() {
        flags |= HAS_EXPIRY;
    }
    if header.lease.is_some() {
        flags |= HAS_LEASE;
    }
    out.push(flags);
    writer::number(header.mod_revision.get(), out);
    writer::number(
        header
            .mod_revision
            .get()
            .saturating_sub(header.create_revision.get()),
        out,
    );
    writer::number(header.version, out);
    if let Some(deadline) = header.expires_at {
        writer::number(deadline.get(), out);
    }
    if let Some(lease) = header.lease {
        writer::number(lease.get(), out);
    }
    out.extend_from_slice(value);
}

/// The tombstone of a removal.
pub(crate) const fn tombstone(kind: ChangeKind) -> [u8; 1] {
    [TOMBSTONE | kind.code()]
}

/// Reads a cell of unknown origin. The value's bytes are not judged.
pub(crate) fn decode(bytes: &[u8]) -> Result<StoredCell<'_>, DecodeError> {
    let mut reader = Reader::new(bytes);
    let flags = reader.u8()?;
    if flags & TOMBSTONE != 0 {
        reader.end()?;
        let kind = ChangeKind::from_code(flags & !TOMBSTONE).filter(|kind| kind.is_removal());
        return kind
            .map(StoredCell::Tombstone)
            .ok_or_else(|| reader.error("unknown tombstone"));
    }
    if flags & !(FORMAT_MASK | HAS_EXPIRY | HAS_LEASE) != 0 {
        return Err(reader.error("unknown record flags"));
    }
    let format =
        ValueFormat::from_code(flags & FORMAT_MASK).ok_or_else(|| reader.error("unknown value format"))?;
    let mod_revision = reader.number()?;
    let age = reader.number()?;
    let create_revision = mod_revision
        .checked_sub(age)
        .ok_or_else(|| reader.error("record created before revision 0"))?;
    let version = reader.number()?;
    let expires_at = if flags & HAS_EXPIRY != 0 {
        Some(Timestamp::new(reader.number()?))
    } else {
        None
    };
    let lease = if flags & HAS_LEASE != 0 {
        Some(LeaseId::new(reader.number()?))
    } else {
        None
    };
    let header = Header {
        format,
        create_revision: Revision::new(create_revision),
        mod_revision: Revision::new(mod_revision),
        version,
        expires_at,
        lease,
    };
    Ok(StoredCell::Record {
        header,
        value: reader.rest(),
    })
}

/// Reads a cell of the store.
///
/// # Panics
///
/// If it is damaged. Only `store::mutate` writes cells and a restore checks each: damage here
/// is damage of memory, and a replica that may be wrong must stop.
pub(crate) fn stored(bytes: &[u8]) -> StoredCell<'_> {
    decode(bytes).expect("cells in the store are written by this module and checked on restore")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_and_tombstones_read_back() {
        for (expires_at, lease) in [
            (None, None),
            (Some(Timestamp::new(1 << 41)), Some(LeaseId::new(7))),
        ] {
            let header = Header {
                format: ValueFormat::Document,
                create_revision: Revision::new(3),
                mod_revision: Revision::new(1_000_000),
                version: 2,
                expires_at,
                lease,
            };
            let mut out = Vec::new();
            encode(&header, b"value", &mut out);
            assert_eq!(
                decode(&out),
                Ok(StoredCell::Record {
                    header,
                    value: b"value"
                })
            );
        }
        for kind in [ChangeKind::Delete, ChangeKind::Expire] {
            assert_eq!(decode(&tombstone(kind)), Ok(StoredCell::Tombstone(kind)));
        }
        assert!(decode(&[TOMBSTONE | ChangeKind::Put.code()]).is_err());
        assert!(decode(&[0x10, 1, 0, 1]).is_err());
        assert!(decode(&[0, 1, 2, 1]).is_err(), "created before revision 0");
    }
}
