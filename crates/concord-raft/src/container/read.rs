//! Reading a file back, checking every byte.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::{BLOCK_HEADER_BYTES, BlockHeader, BlockKind, Head, Kind, SEAL_BYTES, Totals, read_exact};
use crate::codec::Decoder;
use crate::limits;
use crate::ports::{Disk, OpenMode, ReadAt};
use crate::storage_error::StorageError;

/// The chunks of a file, in order. Ends after the footer was checked; after an error it
/// ends as well, and what it gave is of no use.
pub(crate) struct BlockReader {
    file: Box<dyn ReadAt>,
    path: PathBuf,
    seed: u32,
    offset: u64,
    seen: Totals,
    seal: Option<Sha256>,
    sealed: Option<[u8; SEAL_BYTES]>,
    ended: bool,
}

impl std::fmt::Debug for BlockReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BlockReader")
            .field("path", &self.path)
            .field("offset", &self.offset)
            .finish_non_exhaustive()
    }
}

impl BlockReader {
    /// Opens a file and reads its header.
    pub(crate) fn open(disk: &dyn Disk, path: &Path, kind: Kind) -> Result<(Head, Self), StorageError> {
        let file = disk
            .open(path, OpenMode::Read)
            .map_err(|e| StorageError::io("open", path, 0, e))?;
        Self::over(Box::new(file), path, kind)
    }

    /// Reads the header of what is open already. Errors name `path`.
    pub(crate) fn over(file: Box<dyn ReadAt>, path: &Path, kind: Kind) -> Result<(Head, Self), StorageError> {
        let head = Head::read(kind, &*file, path)?;
        let reader = Self {
            file,
            path: path.to_path_buf(),
            seed: head.seed,
            offset: head.bytes.len() as u64,
            seen: Totals::default(),
            seal: kind.is_sealed.then(|| Sha256::new_with_prefix(&head.bytes)),
            sealed: None,
            ended: false,
        };
        Ok((head, reader))
    }

    /// What was read so far.
    pub(crate) const fn totals(&self) -> Totals {
        self.seen
    }

    /// The SHA-256 that the footer has, once it was read and matched.
    pub(crate) const fn seal(&self) -> Option<[u8; SEAL_BYTES]> {
        self.sealed
    }

    /// How many bytes of the file were read and checked.
    pub(crate) const fn offset(&self) -> u64 {
        self.offset
    }

    fn damaged(&self, what: &str) -> StorageError {
        StorageError::corrupt(&self.path, self.offset, what)
    }

    fn next_chunk(&mut self) -> Result<Option<Bytes>, StorageError> {
        let head = read_exact(&*self.file, &self.path, self.offset, BLOCK_HEADER_BYTES)?;
        let block = BlockHeader::decode(&head).map_err(|what| self.damaged(what))?;
        let (stored_bytes, raw_bytes) = self.sizes(&block)?;
        let body_offset = self.offset + BLOCK_HEADER_BYTES as u64;
        let stored = read_exact(&*self.file, &self.path, body_offset, stored_bytes)?;
        if block.checksum != block.compute_checksum(self.seed, &stored) || block.number != self.seen.blocks {
            return Err(self.damaged("a block's checksum or number does not match"));
        }
        let end = body_offset + u64::from(block.stored_bytes);
        match block.kind {
            BlockKind::Chunk => {
                let chunk = zstd::bulk::decompress(&stored, raw_bytes)
                    .map_err(|_| self.damaged("a block does not decompress"))?;
                if chunk.len() != raw_bytes {
                    return Err(self.damaged("a block's length does not match"));
                }
                if let Some(seal) = &mut self.seal {
                    seal.update(&head);
                    seal.update(&stored);
                }
                self.seen.add(&block);
                self.offset = end;
                Ok(Some(Bytes::from(chunk)))
            }
            BlockKind::Footer => {
                self.check_footer(&stored)?;
                self.offset = end;
                let len = self
                    .file
                    .size_bytes()
                    .map_err(|e| StorageError::io("measure", &self.path, self.offset, e))?;
                if len != self.offset {
                    return Err(self.damaged("bytes follow the footer"));
                }
                Ok(None)
            }
        }
    }

    fn check_footer(&mut self, body: &[u8]) -> Result<(), StorageError> {
        let mut decoder = Decoder::new(body);
        let totals = Totals::decode(&mut decoder).map_err(|what| self.damaged(what))?;
        if totals != self.seen {
            return Err(self.damaged("the footer's totals do not match the blocks"));
        }
        if let Some(seal) = self.seal.take() {
            let found: [u8; SEAL_BYTES] = decoder.array().map_err(|what| self.damaged(what))?;
            if found != <[u8; SEAL_BYTES]>::from(seal.chain_update(totals.encode()).finalize()) {
                return Err(self.damaged("the SHA-256 of the file does not match"));
            }
            self.sealed = Some(found);
        }
        decoder.end().map_err(|what| self.damaged(what))
    }

    /// Checks the sizes before anything is allocated for them (D-SEC-12).
    fn sizes(&self, block: &BlockHeader) -> Result<(usize, usize), StorageError> {
        let bound = zstd::zstd_safe::compress_bound(limits::SNAPSHOT_CHUNK_BYTES);
        let stored = usize::try_from(block.stored_bytes)
            .ok()
            .filter(|len| *len <= bound);
        let raw = usize::try_from(block.raw_bytes)
            .ok()
            .filter(|len| *len <= limits::SNAPSHOT_CHUNK_BYTES);
        stored
            .zip(raw)
            .ok_or_else(|| self.damaged("a block is over the size limit"))
    }
}

impl Iterator for BlockReader {
    type Item = Result<Bytes, StorageError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let next = self.next_chunk().transpose();
        self.ended = !matches!(next, Some(Ok(_)));
        next
    }
}
