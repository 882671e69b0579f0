//! A file that has a temporary name until it is whole.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::ports::{Disk, DiskFile, OpenMode};
use crate::small_file::sync_parent;
use crate::storage_error::StorageError;

/// Dirty pages are flushed this often, so that the final sync, and the log's meanwhile,
/// find little to wait for.
const SYNC_EVERY_BYTES: u64 = 8 << 20;

/// A file that has its temporary name still, and goes when it is dropped unfinished.
#[derive(Debug)]
pub(crate) struct Draft {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    file: Box<dyn DiskFile>,
    offset: u64,
    synced: u64,
    landed: bool,
}

impl Draft {
    /// Makes the file; there must be none of that name.
    pub(crate) fn new(disk: Arc<dyn Disk>, path: PathBuf) -> Result<Self, StorageError> {
        let file = disk
            .open(&path, OpenMode::Create)
            .map_err(|e| StorageError::io("create", &path, 0, e))?;
        Ok(Self {
            disk,
            path,
            file,
            offset: 0,
            synced: 0,
            landed: false,
        })
    }

    /// The temporary name.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// What the file is on.
    pub(crate) fn disk(&self) -> &dyn Disk {
        &*self.disk
    }

    /// Its length so far.
    pub(crate) const fn len(&self) -> u64 {
        self.offset
    }

    pub(crate) fn append(&mut self, bytes: &[u8]) -> Result<(), StorageError> {
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
    pub(crate) fn land(mut self, path: &Path) -> Result<(), StorageError> {
        self.sync()?;
        self.disk
            .rename(&self.path, path)
            .map_err(|e| StorageError::io("rename to", path, 0, e))?;
        self.landed = true;
        sync_parent(&*self.disk, path)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.landed {
            // At worst it stays until somebody tidies up.
            let _ = self.disk.remove(&self.path);
        }
    }
}
