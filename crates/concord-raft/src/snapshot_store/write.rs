//! Writing a snapshot, and taking one in from a peer.

use super::format::{self, SnapshotHeader};
use super::{SnapshotFile, SnapshotReader, SnapshotStore};
use crate::container::{BlockWriter, Draft};
use crate::storage_error::StorageError;

/// Writes a snapshot chunk by chunk. Dropped before [`SnapshotWriter::finish`], it leaves nothing.
#[derive(Debug)]
pub struct SnapshotWriter {
    store: SnapshotStore,
    draft: Draft,
    header: SnapshotHeader,
    blocks: BlockWriter,
    /// Bytes on their way into the file.
    buffer: Vec<u8>,
}

impl SnapshotWriter {
    pub(super) fn new(store: SnapshotStore, header: SnapshotHeader) -> Result<Self, StorageError> {
        let head = format::encode_header(&header)?;
        let mut draft = store.draft()?;
        let mut buffer = Vec::new();
        let blocks = BlockWriter::start(format::KIND, &head, draft.path().to_path_buf(), &mut buffer);
        draft.append(&buffer)?;
        Ok(Self {
            store,
            draft,
            header,
            blocks,
            buffer,
        })
    }

    /// Adds the next chunk.
    ///
    /// # Errors
    ///
    /// [`StorageError::TooLarge`], [`StorageError::Full`] or [`StorageError::Io`]; the
    /// snapshot is then of no use.
    pub fn write(&mut self, chunk: &[u8]) -> Result<(), StorageError> {
        self.buffer.clear();
        self.blocks.chunk(chunk, &mut self.buffer)?;
        self.draft.append(&self.buffer)
    }

    /// Ends the snapshot: syncs it and gives it its name. Durable when this returns.
    ///
    /// # Errors
    ///
    /// [`StorageError::Full`] or [`StorageError::Io`]; there is then no snapshot, or one
    /// that a power cut may still take back.
    pub fn finish(mut self) -> Result<SnapshotFile, StorageError> {
        self.buffer.clear();
        self.blocks.finish(&mut self.buffer);
        self.draft.append(&self.buffer)?;
        self.store.land(self.draft, &self.header)
    }
}

/// Takes in the bytes of a snapshot file, in order. Dropped before
/// [`SnapshotReceiver::finish`], it leaves nothing.
#[derive(Debug)]
pub struct SnapshotReceiver {
    store: SnapshotStore,
    draft: Draft,
}

impl SnapshotReceiver {
    pub(super) fn new(store: SnapshotStore) -> Result<Self, StorageError> {
        let draft = store.draft()?;
        Ok(Self { store, draft })
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
        self.draft.len()
    }

    /// Checks every byte, syncs the file and gives it its name. Durable when this returns.
    ///
    /// # Errors
    ///
    /// [`StorageError::Corrupt`] or [`StorageError::Version`] if what came is not a
    /// snapshot that this release reads, [`StorageError::Foreign`] if it is not of
    /// `cluster_id`. Nothing stays.
    pub fn finish(self, cluster_id: u128) -> Result<SnapshotFile, StorageError> {
        let path = self.draft.path();
        let mut reader = SnapshotReader::open(self.draft.disk(), path)?;
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
        self.store.land(self.draft, &header)
    }
}
