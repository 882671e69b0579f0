//! Writing a snapshot, and taking one in from a peer.

use std::path::{Path, PathBuf};

use super::format::{self, BlockHeader, BlockKind, Footer, SnapshotHeader};
use super::{SnapshotFile, SnapshotReader, SnapshotStore};
use crate::limits;
use crate::ports::{DiskFile, OpenMode};
use crate::small_file::sync_parent;
use crate::storage_error::StorageError;

/// Dirty pages are flushed this often, so that the final sync, and the log's meanwhile,
/// find little to wait for.
const SYNC_EVERY_BYTES: u64 = 8 << 20;

/// A file that has its temporary name still, and loses it when dropped unfinished.
#[derive(Debug)]
struct Draft {
    store: SnapshotStore,
    path: PathBuf,
    file: Box<dyn DiskFile>,
    offset: u64,
    synced: u64,
    landed: bool,
}

impl Draft {
    fn new(store: SnapshotStore) -> Result<Self, StorageError> {
        let path = store.temporary_path();
        let file = store
            .disk
            .open(&path, OpenMode::Create)
            .map_err(|e| StorageError::io("create", &path, 0, e))?;
        Ok(Self {
            store,
            path,
            file,
            offset: 0,
            synced: 0,
            landed: false,
        })
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), StorageError> {
        self.file
            .write_all_at(bytes, self.offset)
            .map_err(|e| StorageError::io("write", &self.path, self.offset, e))?;
        self.offset += bytes.len() as u64;
        if self.offset - self.synced >= SYNC_EVERY_BYTES {
            self.sync()
        } else {
            Ok(())
        }
    }

    fn sync(&mut self) -> Result<(), StorageError> {
        self.file
            .sync_data()
            .map_err(|e| StorageError::io("sync", &self.path, self.offset, e))?;
        self.synced = self.offset;
        Ok(())
    }

    /// Syncs the file and gives it its name, both durably.
    fn land(mut self, header: &SnapshotHeader) -> Result<SnapshotFile, StorageError> {
        self.sync()?;
        let path = self.store.path_of(header.last_log_id);
        let disk = &*self.store.disk;
        disk.rename(&self.path, &path)
            .map_err(|e| StorageError::io("rename to", &path, 0, e))?;
        self.landed = true;
        sync_parent(disk, &path)?;
        self.store.open_file(&path)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.landed {
            // At worst it stays until the store opens again.
            let _ = self.store.disk.remove(&self.path);
        }
    }
}

/// Writes a snapshot chunk by chunk. Dropped before [`SnapshotWriter::finish`], it leaves nothing.
#[derive(Debug)]
pub struct SnapshotWriter {
    draft: Draft,
    header: SnapshotHeader,
    seed: u32,
    footer: Footer,
    block: Vec<u8>,
}

impl SnapshotWriter {
    pub(super) fn new(store: SnapshotStore, header: SnapshotHeader) -> Result<Self, StorageError> {
        let (bytes, seed) = format::encode_header(&header)?;
        let mut draft = Draft::new(store)?;
        draft.append(&bytes)?;
        let footer = Footer {
            blocks: 0,
            raw_bytes: 0,
            chain: 0,
        };
        Ok(Self {
            draft,
            header,
            seed,
            footer,
            block: Vec::new(),
        })
    }

    /// Adds the next chunk.
    ///
    /// # Errors
    ///
    /// [`StorageError::TooLarge`], [`StorageError::Full`] or [`StorageError::Io`]; the
    /// snapshot is then of no use.
    pub fn write(&mut self, chunk: &[u8]) -> Result<(), StorageError> {
        let limit_bytes = limits::SNAPSHOT_CHUNK_BYTES;
        if chunk.len() > limit_bytes {
            return Err(StorageError::TooLarge {
                what: "snapshot chunk",
                size_bytes: chunk.len(),
                limit_bytes,
            });
        }
        let stored = zstd::bulk::compress(chunk, format::COMPRESSION)
            .map_err(|e| StorageError::io("compress", &self.draft.path, self.draft.offset, e))?;
        self.put_block(BlockKind::Chunk, chunk.len(), &stored)?;
        self.footer.blocks += 1;
        self.footer.raw_bytes += chunk.len() as u64;
        Ok(())
    }

    /// Ends the snapshot: syncs it and gives it its name. Durable when this returns.
    ///
    /// # Errors
    ///
    /// [`StorageError::Full`] or [`StorageError::Io`]; there is then no snapshot, or one
    /// that a power cut may still take back.
    pub fn finish(mut self) -> Result<SnapshotFile, StorageError> {
        let footer = self.footer.encode();
        self.put_block(BlockKind::Footer, footer.len(), &footer)?;
        self.draft.land(&self.header)
    }

    fn put_block(&mut self, kind: BlockKind, raw_bytes: usize, stored: &[u8]) -> Result<(), StorageError> {
        const FITS: &str = "chunks are limited to far less than 4 GiB";
        let mut block = BlockHeader {
            kind,
            number: self.footer.blocks,
            stored_bytes: u32::try_from(stored.len()).expect(FITS),
            raw_bytes: u32::try_from(raw_bytes).expect(FITS),
            checksum: 0,
        };
        block.checksum = block.compute_checksum(self.seed, stored);
        self.footer.chain = format::extend_chain(self.footer.chain, block.checksum);
        self.block.clear();
        self.block.extend_from_slice(&block.encode());
        self.block.extend_from_slice(stored);
        self.draft.append(&self.block)
    }
}

/// Takes in the bytes of a snapshot file, in order. Dropped before
/// [`SnapshotReceiver::finish`], it leaves nothing.
#[derive(Debug)]
pub struct SnapshotReceiver {
    draft: Draft,
}

impl SnapshotReceiver {
    pub(super) fn new(store: SnapshotStore) -> Result<Self, StorageError> {
        Ok(Self {
            draft: Draft::new(store)?,
        })
    }

    /// Adds the next bytes.
    ///
    /// # Errors
    ///
    /// [`StorageError::Full`] or [`StorageError::Io`].
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), StorageError> {
        self.draft.append(bytes)
    }

    /// How many bytes have come.
    pub const fn received_bytes(&self) -> u64 {
        self.draft.offset
    }

    /// Checks every byte, syncs the file and gives it its name. Durable when this returns.
    ///
    /// # Errors
    ///
    /// [`StorageError::Corrupt`] or [`StorageError::Version`] if what came is not a
    /// snapshot that this release reads, [`StorageError::Foreign`] if it is not of
    /// `cluster_id`. Nothing stays.
    pub fn finish(self, cluster_id: u128) -> Result<SnapshotFile, StorageError> {
        let path: &Path = &self.draft.path;
        let mut reader = SnapshotReader::open(&*self.draft.store.disk, path)?;
        let header = reader.header().clone();
        if header.cluster_id != cluster_id {
            let (file, found) = (path.to_path_buf(), header.cluster_id);
            return Err(StorageError::Foreign {
                file,
                found,
                expected: cluster_id,
            });
        }
        reader.try_for_each(|chunk| chunk.map(drop))?;
        self.draft.land(&header)
    }
}
