//! The header of a snapshot file; see `docs/log-format.md`, "Snapshot file".

use std::path::Path;

use crate::codec::{self, Decoder, Malformed};
use crate::container::{Head, Kind};
use crate::storage_error::StorageError;
use crate::types::{LogId, StoredMembership};

/// Snapshot files among the files of blocks.
pub(super) const KIND: Kind = Kind {
    magic: *b"CNCRDsnp",
    version: 1,
    name: "snapshot",
    is_sealed: false,
};

/// What a snapshot is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotHeader {
    /// The cluster whose state it is.
    pub cluster_id: u128,
    /// The last entry whose effect is in it.
    pub last_log_id: Option<LogId>,
    /// The membership as of that entry.
    pub membership: StoredMembership,
}

/// The bytes of a header.
pub(super) fn encode_header(header: &SnapshotHeader) -> Result<Head, StorageError> {
    let mut body = Vec::new();
    body.extend_from_slice(&header.cluster_id.to_le_bytes());
    codec::put_optional_log_id(&mut body, header.last_log_id.as_ref());
    codec::put_stored_membership(&mut body, &header.membership);
    Head::new(KIND, &body)
}

/// What a file's header says.
pub(super) fn decode_header(head: &Head, path: &Path) -> Result<SnapshotHeader, StorageError> {
    decode_body(head.body()).map_err(|what| StorageError::corrupt(path, 0, what))
}

fn decode_body(body: &[u8]) -> Result<SnapshotHeader, Malformed> {
    let mut decoder = Decoder::new(body);
    let cluster_id = decoder.u128()?;
    let last_log_id = decoder.optional_log_id()?;
    let membership = decoder.stored_membership()?;
    decoder.end()?;
    Ok(SnapshotHeader {
        cluster_id,
        last_log_id,
        membership,
    })
}
