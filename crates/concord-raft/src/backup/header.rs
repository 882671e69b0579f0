//! What a backup says of itself; see `docs/log-format.md`, "Backup file".

use std::path::Path;

use concord_core::ids::{LogIndex, NodeId, Revision, Term, Timestamp};

use crate::codec::{Decoder, Malformed};
use crate::container::{Head, Kind};
use crate::storage_error::StorageError;

/// Backups among the files of blocks.
pub(super) const KIND: Kind = Kind {
    magic: *b"CNCRDbak",
    version: 1,
    name: "backup",
    is_sealed: true,
};

/// Bytes of a text: its length is one byte.
pub(super) const TEXT_BYTES_MAX: usize = 255;
/// Counts that a header may have.
const COUNTS_MAX: usize = 64;

/// What a backup is of, and who made it when. Covered by the checksum and the SHA-256.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackupHeader {
    /// The cluster whose state it is.
    pub cluster_id: u128,
    /// The node that made it.
    pub node_id: NodeId,
    /// A term in which what is in it was decided.
    pub term: Term,
    /// The last log entry whose effect is in it.
    pub applied: LogIndex,
    /// The revision that it shows.
    pub revision: Revision,
    /// When it was made, by the clock of the node that made it.
    pub created_at: Timestamp,
    /// The release that made it. For people; nothing is decided by it.
    pub product: String,
    /// How many there are of what is in it, by name. For people too.
    pub counts: Vec<(String, u64)>,
}

impl BackupHeader {
    /// The version of the format that is written.
    pub const FORMAT_VERSION: u32 = KIND.version;

    pub(super) fn encode(&self) -> Result<Head, StorageError> {
        let mut body = Vec::new();
        body.extend_from_slice(&self.cluster_id.to_le_bytes());
        for number in [
            self.node_id.get(),
            self.term.get(),
            self.applied.get(),
            self.revision.get(),
            self.created_at.get(),
        ] {
            body.extend_from_slice(&number.to_le_bytes());
        }
        put_text(&mut body, &self.product)?;
        let count = u8::try_from(self.counts.len()).ok();
        let count = count.filter(|count| usize::from(*count) <= COUNTS_MAX);
        body.push(count.ok_or_else(|| too_large("backup counts", self.counts.len(), COUNTS_MAX))?);
        for (name, number) in &self.counts {
            put_text(&mut body, name)?;
            body.extend_from_slice(&number.to_le_bytes());
        }
        Head::new(KIND, &body)
    }

    pub(super) fn decode(head: &Head, path: &Path) -> Result<Self, StorageError> {
        decode(head.body()).map_err(|what| StorageError::corrupt(path, 0, what))
    }
}

fn decode(body: &[u8]) -> Result<BackupHeader, Malformed> {
    let mut decoder = Decoder::new(body);
    let mut header = BackupHeader {
        cluster_id: decoder.u128()?,
        node_id: NodeId::new(decoder.u64()?),
        term: Term::new(decoder.u64()?),
        applied: LogIndex::new(decoder.u64()?),
        revision: Revision::new(decoder.u64()?),
        created_at: Timestamp::new(decoder.u64()?),
        product: text(&mut decoder)?,
        counts: Vec::new(),
    };
    let count = decoder.u8()?;
    if usize::from(count) > COUNTS_MAX {
        return Err("too many counts");
    }
    for _ in 0..count {
        header.counts.push((text(&mut decoder)?, decoder.u64()?));
    }
    decoder.end()?;
    let numbers = [header.term.get(), header.applied.get()];
    if numbers.iter().any(|number| *number > crate::limits::NUMBER_MAX) {
        return Err("a term or an index is out of range");
    }
    Ok(header)
}

fn put_text(out: &mut Vec<u8>, text: &str) -> Result<(), StorageError> {
    let len = u8::try_from(text.len()).map_err(|_| too_large("backup text", text.len(), TEXT_BYTES_MAX))?;
    out.push(len);
    out.extend_from_slice(text.as_bytes());
    Ok(())
}

fn text(decoder: &mut Decoder<'_>) -> Result<String, Malformed> {
    let len = decoder.u8()?;
    let bytes = decoder.slice(usize::from(len))?;
    std::str::from_utf8(bytes)
        .map(str::to_owned)
        .map_err(|_| "a text is not UTF-8")
}

fn too_large(what: &'static str, size_bytes: usize, limit_bytes: usize) -> StorageError {
    StorageError::TooLarge {
        what,
        size_bytes,
        limit_bytes,
    }
}
