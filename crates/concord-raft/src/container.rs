//! Files of compressed, checksummed blocks: what snapshots and backups are made of.
//!
//! ```text
//!   magic │ version │ header's length │ checksum │ header │ block 0 │ block 1 │ … │ footer
//! ```
//!
//! A block's checksum covers its number and continues from the header's, so a block of
//! another file or in another place does not pass. The footer has the totals and, in a
//! sealed kind, the SHA-256 of every byte before it. Reading stops at the first thing that
//! is wrong, with its offset, and gives nothing out that was not checked; what is allocated
//! for a block is bounded before it is read. Bytes: `docs/log-format.md`.

mod draft;
mod read;
mod write;

use std::path::Path;

pub(crate) use draft::Draft;
pub(crate) use read::BlockReader;
pub(crate) use write::BlockWriter;

use crate::codec::{Decoder, Malformed};
use crate::limits;
use crate::ports::ReadAt;
use crate::storage_error::StorageError;

/// Magic, version, header length, checksum.
const PREFIX_BYTES: usize = 20;
/// Kind, number, stored length, raw length, checksum.
const BLOCK_HEADER_BYTES: usize = 20;
/// SHA-256.
pub(crate) const SEAL_BYTES: usize = 32;
/// zstd's fastest ordinary level: files are written beside live traffic.
const COMPRESSION: i32 = 1;

/// What tells one kind of file from another.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kind {
    pub(crate) magic: [u8; 8],
    /// The version written, and the newest that is read.
    pub(crate) version: u32,
    /// What it is, in a word.
    pub(crate) name: &'static str,
    /// Whether the footer has the SHA-256 of what is before it.
    pub(crate) is_sealed: bool,
}

/// A block or the footer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BlockKind {
    /// One chunk, compressed.
    Chunk,
    /// The end of the file.
    Footer,
}

/// The fixed part of a block.
#[derive(Clone, Copy, Debug)]
struct BlockHeader {
    kind: BlockKind,
    number: u32,
    stored_bytes: u32,
    raw_bytes: u32,
    checksum: u32,
}

impl BlockHeader {
    /// The checksum of a block of the file whose header has checksum `seed`.
    fn compute_checksum(&self, seed: u32, stored: &[u8]) -> u32 {
        let head = self.encode();
        let covered = head.get(..BLOCK_HEADER_BYTES - 4).unwrap_or_default();
        crc32c::crc32c_append(crc32c::crc32c_append(seed, covered), stored)
    }

    fn encode(&self) -> [u8; BLOCK_HEADER_BYTES] {
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

    fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) blocks: u32,
    pub(crate) raw_bytes: u64,
    /// Of the blocks' checksums, in order.
    chain: u64,
}

impl Totals {
    fn encode(&self) -> Vec<u8> {
        let mut body = Vec::with_capacity(20 + SEAL_BYTES);
        body.extend_from_slice(&self.blocks.to_le_bytes());
        body.extend_from_slice(&self.raw_bytes.to_le_bytes());
        body.extend_from_slice(&self.chain.to_le_bytes());
        body
    }

    fn decode(decoder: &mut Decoder<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            blocks: decoder.u32()?,
            raw_bytes: decoder.u64()?,
            chain: decoder.u64()?,
        })
    }

    /// Takes the next block in.
    fn add(&mut self, block: &BlockHeader) {
        self.blocks += 1;
        self.raw_bytes += u64::from(block.raw_bytes);
        let chain = u32::try_from(self.chain).unwrap_or_default();
        self.chain = u64::from(crc32c::crc32c_append(chain, &block.checksum.to_le_bytes()));
    }
}

/// A file's header as it was read.
#[derive(Debug)]
pub(crate) struct Head {
    /// All bytes up to the first block.
    bytes: Vec<u8>,
    /// Seeds the checksums of the blocks.
    seed: u32,
}

impl Head {
    /// What the kind of file has to say of itself.
    pub(crate) fn body(&self) -> &[u8] {
        self.bytes.get(PREFIX_BYTES..).unwrap_or_default()
    }

    /// The bytes of a header.
    pub(crate) fn new(kind: Kind, body: &[u8]) -> Result<Self, StorageError> {
        let limit_bytes = limits::SMALL_FILE_BYTES;
        let too_large = || StorageError::TooLarge {
            what: kind.name,
            size_bytes: body.len(),
            limit_bytes,
        };
        if body.len() > limit_bytes {
            return Err(too_large());
        }
        let mut bytes = Vec::with_capacity(PREFIX_BYTES + body.len());
        bytes.extend_from_slice(&kind.magic);
        bytes.extend_from_slice(&kind.version.to_le_bytes());
        bytes.extend_from_slice(&u32::try_from(body.len()).map_err(|_| too_large())?.to_le_bytes());
        let seed = crc32c::crc32c_append(crc32c::crc32c(&bytes), body);
        bytes.extend_from_slice(&seed.to_le_bytes());
        bytes.extend_from_slice(body);
        Ok(Self { bytes, seed })
    }

    /// Reads a file's header.
    pub(crate) fn read(kind: Kind, file: &dyn ReadAt, path: &Path) -> Result<Self, StorageError> {
        let damaged = |what: String| StorageError::corrupt(path, 0, what);
        let mut bytes = read_exact(file, path, 0, PREFIX_BYTES)?;
        let mut decoder = Decoder::new(&bytes);
        let wrong = |what: Malformed| damaged(what.to_owned());
        let magic: [u8; 8] = decoder.array().map_err(wrong)?;
        let version = decoder.u32().map_err(wrong)?;
        let body_bytes = usize::try_from(decoder.u32().map_err(wrong)?).unwrap_or(usize::MAX);
        let seed = decoder.u32().map_err(wrong)?;
        if magic != kind.magic || body_bytes > limits::SMALL_FILE_BYTES {
            return Err(damaged(format!("it does not begin as a {}", kind.name)));
        }
        let body = read_exact(file, path, PREFIX_BYTES as u64, body_bytes)?;
        let covered = bytes.get(..PREFIX_BYTES - 4).unwrap_or_default();
        // The checksum first: a damaged version number must not read as "a newer release".
        if seed != crc32c::crc32c_append(crc32c::crc32c(covered), &body) {
            return Err(damaged("the header's checksum does not match".to_owned()));
        }
        if version > kind.version {
            return Err(StorageError::Version {
                file: path.to_path_buf(),
                found: version,
                supported: kind.version,
            });
        }
        bytes.extend_from_slice(&body);
        Ok(Self { bytes, seed })
    }
}

/// Reads `len` bytes; fewer are damage.
fn read_exact(file: &dyn ReadAt, path: &Path, offset: u64, len: usize) -> Result<Vec<u8>, StorageError> {
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
