//! Reading a snapshot back, checking every byte.

use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::format::{self, BLOCK_HEADER_BYTES, BlockHeader, BlockKind, Footer, HeaderEnd, SnapshotHeader};
use crate::limits;
use crate::ports::{Disk, DiskFile, OpenMode};
use crate::storage_error::StorageError;

/// The chunks of a snapshot, in order. Ends after the footer was checked; after an error
/// it ends as well, and what it gave is of no use.
#[derive(Debug)]
pub struct SnapshotReader {
    file: Box<dyn DiskFile>,
    path: PathBuf,
    header: SnapshotHeader,
    seed: u32,
    offset: u64,
    seen: Footer,
    ended: bool,
}

impl SnapshotReader {
    pub(super) fn open(disk: &dyn Disk, path: &Path) -> Result<Self, StorageError> {
        let file = disk
            .open(path, OpenMode::Read)
            .map_err(|e| StorageError::io("open", path, 0, e))?;
        let (header, HeaderEnd { offset, seed }) = format::read_header(&*file, path)?;
        let seen = Footer {
            blocks: 0,
            raw_bytes: 0,
            chain: 0,
        };
        Ok(Self {
            file,
            path: path.to_path_buf(),
            header,
            seed,
            offset,
            seen,
            ended: false,
        })
    }

    /// What it is a snapshot of.
    pub const fn header(&self) -> &SnapshotHeader {
        &self.header
    }

    fn damaged(&self, what: &str) -> StorageError {
        StorageError::corrupt(&self.path, self.offset, what)
    }

    fn next_chunk(&mut self) -> Result<Option<Bytes>, StorageError> {
        let head = format::read_exact(&*self.file, &self.path, self.offset, BLOCK_HEADER_BYTES)?;
        let block = BlockHeader::decode(&head).map_err(|what| self.damaged(what))?;
        let (stored_bytes, raw_bytes) = self.sizes(&block)?;
        let body_offset = self.offset + BLOCK_HEADER_BYTES as u64;
        let stored = format::read_exact(&*self.file, &self.path, body_offset, stored_bytes)?;
        if block.checksum != block.compute_checksum(self.seed, &stored) || block.number != self.seen.blocks {
            return Err(self.damaged("a block's checksum or number does not match"));
        }
        match block.kind {
            BlockKind::Chunk => {
                let chunk = zstd::bulk::decompress(&stored, raw_bytes)
                    .map_err(|_| self.damaged("a block does not decompress"))?;
                if chunk.len() != raw_bytes {
                    return Err(self.damaged("a block's length does not match"));
                }
                self.seen.blocks += 1;
                self.seen.raw_bytes += u64::from(block.raw_bytes);
                self.seen.chain = format::extend_chain(self.seen.chain, block.checksum);
                self.offset = body_offset + u64::from(block.stored_bytes);
                Ok(Some(Bytes::from(chunk)))
            }
            BlockKind::Footer => {
                let footer = Footer::decode(&stored).map_err(|what| self.damaged(what))?;
                if footer != self.seen {
                    return Err(self.damaged("the footer's totals do not match the blocks"));
                }
                self.offset = body_offset + u64::from(block.stored_bytes);
                let len = self
                    .file
                    .len()
                    .map_err(|e| StorageError::io("measure", &self.path, self.offset, e))?;
                if len != self.offset {
                    return Err(self.damaged("bytes follow the footer"));
                }
                Ok(None)
            }
        }
    }

    /// Checks the sizes before anything is allocated for them.
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

impl Iterator for SnapshotReader {
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
