//! The bytes of a snapshot file; see `docs/log-format.md`, "Snapshot file".

use std::path::Path;

use crate::codec::{self, Decoder, Malformed};
use crate::limits;
use crate::ports::DiskFile;
use crate::storage_error::StorageError;
use crate::types::{LogId, StoredMembership};

/// The version written, and the newest that is read.
pub(super) const VERSION: u32 = 1;
const MAGIC: [u8; 8] = *b"CNCRDsnp";
/// Magic, version, body length, checksum.
pub(super) const PREFIX_BYTES: usize = 20;
/// Kind, reserved, number, stored length, raw length, checksum.
pub(super) const BLOCK_HEADER_BYTES: usize = 20;
/// A block header whose block is the footer's body.
pub(super) const FOOTER_BODY_BYTES: usize = 20;
/// zstd's fastest ordinary level: snapshots are written beside live traffic.
pub(super) const COMPRESSION: i32 = 1;

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

/// A block or the footer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BlockKind {
    /// One chunk, compressed.
    Chunk,
    /// The end of the file.
    Footer,
}

/// The fixed part of a block.
#[derive(Clone, Copy, Debug)]
pub(super) struct BlockHeader {
    pub(super) kind: BlockKind,
    pub(super) number: u32,
    pub(super) stored_bytes: u32,
    pub(super) raw_bytes: u32,
    pub(super) checksum: u32,
}

impl BlockHeader {
    /// The checksum of a block of the file whose header has checksum `seed`.
    pub(super) fn compute_checksum(&self, seed: u32, stored: &[u8]) -> u32 {
        let head = self.encode();
        let covered = head.get(..BLOCK_HEADER_BYTES - 4).unwrap_or_default();
        crc32c::crc32c_append(crc32c::crc32c_append(seed, covered), stored)
    }

    pub(super) fn encode(&self) -> [u8; BLOCK_HEADER_BYTES] {
        let kind: u32 = match self.kind {
            BlockKind::Chunk => 1,
            BlockKind::Footer => 2,
        };
        let mut bytes = [0; BLOCK_HEADER_BYTES];
        let fields = [
            kind,
            self.number,
            self.stored_bytes,
            self.raw_bytes,
            self.checksum,
        ];
        for (to, field) in bytes.chunks_exact_mut(4).zip(fields) {
            to.copy_from_slice(&field.to_le_bytes());
        }
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut decoder = Decoder::new(bytes);
        let kind = match decoder.u32()? {
            1 => BlockKind::Chunk,
            2 => BlockKind::Footer,
            _ => return Err("a block of no known kind"),
        };
        let number = decoder.u32()?;
        let (stored_bytes, raw_bytes) = (decoder.u32()?, decoder.u32()?);
        Ok(Self {
            kind,
            number,
            stored_bytes,
            raw_bytes,
            checksum: decoder.u32()?,
        })
    }
}

/// What the footer says of all that comes before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Footer {
    pub(super) blocks: u32,
    pub(super) raw_bytes: u64,
    /// Of the blocks' checksums, in order.
    pub(super) chain: u64,
}

impl Footer {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut body = Vec::with_capacity(FOOTER_BODY_BYTES);
        body.extend_from_slice(&self.blocks.to_le_bytes());
        body.extend_from_slice(&self.raw_bytes.to_le_bytes());
        body.extend_from_slice(&self.chain.to_le_bytes());
        body
    }

    pub(super) fn decode(body: &[u8]) -> Result<Self, Malformed> {
        let mut decoder = Decoder::new(body);
        let footer = Self {
            blocks: decoder.u32()?,
            raw_bytes: decoder.u64()?,
            chain: decoder.u64()?,
        };
        decoder.end()?;
        Ok(footer)
    }
}

/// Takes the next block's checksum into the chain.
pub(super) fn extend_chain(chain: u64, block_checksum: u32) -> u64 {
    u64::from(crc32c::crc32c_append(
        u32::try_from(chain).unwrap_or_default(),
        &block_checksum.to_le_bytes(),
    ))
}

/// The bytes of a header, and the checksum that seeds those of the blocks.
pub(super) fn encode_header(header: &SnapshotHeader) -> Result<(Vec<u8>, u32), StorageError> {
    let mut body = Vec::new();
    body.extend_from_slice(&header.cluster_id.to_le_bytes());
    codec::put_optional_log_id(&mut body, header.last_log_id.as_ref());
    codec::put_stored_membership(&mut body, &header.membership);
    let limit_bytes = limits::SMALL_FILE_BYTES;
    let too_large = || StorageError::TooLarge {
        what: "snapshot header",
        size_bytes: body.len(),
        limit_bytes,
    };
    if body.len() > limit_bytes {
        return Err(too_large());
    }
    let mut bytes = Vec::with_capacity(PREFIX_BYTES + body.len());
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.extend_from_slice(&u32::try_from(body.len()).map_err(|_| too_large())?.to_le_bytes());
    let checksum = crc32c::crc32c_append(crc32c::crc32c(&bytes), &body);
    bytes.extend_from_slice(&checksum.to_le_bytes());
    bytes.extend_from_slice(&body);
    Ok((bytes, checksum))
}

/// A file's header, and where its blocks begin and what seeds their checksums.
pub(super) fn read_header(
    file: &dyn DiskFile,
    path: &Path,
) -> Result<(SnapshotHeader, HeaderEnd), StorageError> {
    let damaged = |what: Malformed| StorageError::corrupt(path, 0, what);
    let prefix = read_exact(file, path, 0, PREFIX_BYTES)?;
    let mut decoder = Decoder::new(&prefix);
    let magic: [u8; 8] = decoder.array().map_err(damaged)?;
    let version = decoder.u32().map_err(damaged)?;
    let body_bytes = usize::try_from(decoder.u32().map_err(damaged)?).unwrap_or(usize::MAX);
    let checksum = decoder.u32().map_err(damaged)?;
    if magic != MAGIC || body_bytes > limits::SMALL_FILE_BYTES {
        return Err(damaged("it does not begin as a snapshot"));
    }
    let body = read_exact(file, path, PREFIX_BYTES as u64, body_bytes)?;
    let covered = prefix.get(..PREFIX_BYTES - 4).unwrap_or_default();
    if checksum != crc32c::crc32c_append(crc32c::crc32c(covered), &body) {
        return Err(damaged("the header's checksum does not match"));
    }
    if version > VERSION {
        return Err(StorageError::Version {
            file: path.to_path_buf(),
            found: version,
            supported: VERSION,
        });
    }
    let mut decoder = Decoder::new(&body);
    let header = decode_header(&mut decoder).map_err(damaged)?;
    Ok((
        header,
        HeaderEnd {
            offset: (PREFIX_BYTES + body_bytes) as u64,
            seed: checksum,
        },
    ))
}

/// Where a header ends.
#[derive(Clone, Copy, Debug)]
pub(super) struct HeaderEnd {
    pub(super) offset: u64,
    pub(super) seed: u32,
}

fn decode_header(decoder: &mut Decoder<'_>) -> Result<SnapshotHeader, Malformed> {
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

/// Reads `len` bytes; fewer are damage.
pub(super) fn read_exact(
    file: &dyn DiskFile,
    path: &Path,
    offset: u64,
    len: usize,
) -> Result<Vec<u8>, StorageError> {
    let mut bytes = vec![0; len];
    let read = file
        .read_at(&mut bytes, offset)
        .map_err(|e| StorageError::io("read", path, offset, e))?;
    if read == len {
        Ok(bytes)
    } else {
        Err(StorageError::corrupt(path, offset, "the file ends too early"))
    }
}
