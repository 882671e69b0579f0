//! Reading a snapshot back, checking every byte.

use std::path::Path;

use bytes::Bytes;

use super::format::{self, SnapshotHeader};
use crate::container::BlockReader;
use crate::ports::Disk;
use crate::storage_error::StorageError;

/// The chunks of a snapshot, in order. Ends after the footer was checked; after an error
/// it ends as well, and what it gave is of no use.
#[derive(Debug)]
pub struct SnapshotReader {
    header: SnapshotHeader,
    blocks: BlockReader,
}

impl SnapshotReader {
    pub(super) fn open(disk: &dyn Disk, path: &Path) -> Result<Self, StorageError> {
        let (head, blocks) = BlockReader::open(disk, path, format::KIND)?;
        Ok(Self {
            header: format::decode_header(&head, path)?,
            blocks,
        })
    }

    /// What it is a snapshot of.
    pub const fn header(&self) -> &SnapshotHeader {
        &self.header
    }
}

impl Iterator for SnapshotReader {
    type Item = Result<Bytes, StorageError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.blocks.next()
    }
}
