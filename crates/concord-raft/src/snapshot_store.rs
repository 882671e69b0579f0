//! Snapshot files: a machine's chunks, compressed and checksummed block by block.
//!
//! Not here: when a snapshot is taken, what a chunk means, and sending it to a peer.
//! Calls block; the engine makes them on the blocking pool.
//!
//! ```text
//!   header: cluster, last log id, membership │ block 0 │ block 1 │ … │ footer: counts, checksum of all
//! ```
//!
//! A file is written under a temporary name, synced, renamed and the directory synced, so
//! what has a snapshot's name is complete, and anything wrong in it is damage: reading
//! stops with the file and offset (I18). A block's checksum covers its number and the
//! header, so a block of another snapshot or in another place does not pass. Leftovers of
//! interrupted writes are removed when the store opens. Bytes: `docs/log-format.md`.

mod format;
mod read;
mod write;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

pub use format::SnapshotHeader;
pub use read::SnapshotReader;
pub use write::{SnapshotReceiver, SnapshotWriter};

use crate::container::{Draft, Head};
use crate::ports::{Disk, OpenMode};
use crate::small_file::{TEMPORARY, sync_parent};
use crate::storage_error::StorageError;
use crate::types::LogId;

const EXTENSION: &str = ".snap";

/// The snapshot files of one node.
#[derive(Clone, Debug)]
pub struct SnapshotStore {
    directory: PathBuf,
    disk: Arc<dyn Disk>,
    /// Numbers temporary files, so that a snapshot being built and one being received
    /// do not meet.
    started: Arc<AtomicU64>,
}

/// A complete snapshot on this node's disk. Cheap to clone.
#[derive(Clone, Debug)]
pub struct SnapshotFile {
    path: PathBuf,
    disk: Arc<dyn Disk>,
    header: Arc<SnapshotHeader>,
    file_bytes: u64,
}

impl SnapshotStore {
    /// Opens the store and removes what interrupted writes left behind.
    ///
    /// # Errors
    ///
    /// [`StorageError::Io`].
    pub fn open(directory: &Path, disk: Arc<dyn Disk>) -> Result<Self, StorageError> {
        disk.create_dir_all(directory)
            .map_err(|e| StorageError::io("create directory", directory, 0, e))?;
        let store = Self::as_is(directory, disk);
        for name in store.names()?.iter().filter(|name| name.ends_with(TEMPORARY)) {
            let path = store.directory.join(name);
            store
                .disk
                .remove(&path)
                .map_err(|e| StorageError::io("remove", &path, 0, e))?;
        }
        Ok(store)
    }

    /// The store as it is, with nothing removed.
    pub(crate) fn as_is(directory: &Path, disk: Arc<dyn Disk>) -> Self {
        Self {
            directory: directory.to_path_buf(),
            disk,
            started: Arc::default(),
        }
    }

    /// The snapshots, oldest first. Reads their headers only.
    ///
    /// # Errors
    ///
    /// [`StorageError::Corrupt`] or [`StorageError::Version`] of the first that is not readable.
    pub fn list(&self) -> Result<Vec<SnapshotFile>, StorageError> {
        self.snapshot_paths()?
            .iter()
            .map(|path| self.open_file(path))
            .collect()
    }

    /// The newest snapshot.
    ///
    /// # Errors
    ///
    /// As [`SnapshotStore::list`], for that file only.
    pub fn newest(&self) -> Result<Option<SnapshotFile>, StorageError> {
        self.snapshot_paths()?
            .last()
            .map(|path| self.open_file(path))
            .transpose()
    }

    /// Starts a snapshot of this node's own state.
    ///
    /// # Errors
    ///
    /// [`StorageError::Io`] or [`StorageError::Full`].
    pub fn create(&self, header: SnapshotHeader) -> Result<SnapshotWriter, StorageError> {
        SnapshotWriter::new(self.clone(), header)
    }

    /// Starts to take in the bytes of a peer's snapshot file.
    ///
    /// # Errors
    ///
    /// [`StorageError::Io`] or [`StorageError::Full`].
    pub fn receive(&self) -> Result<SnapshotReceiver, StorageError> {
        SnapshotReceiver::new(self.clone())
    }

    /// Removes all but the newest `count` snapshots. A removed file stays readable to
    /// those who have it open.
    ///
    /// # Errors
    ///
    /// [`StorageError::Io`]. Some may be removed.
    pub fn keep_newest(&self, count: usize) -> Result<(), StorageError> {
        let paths = self.snapshot_paths()?;
        let (old, _) = paths.split_at(paths.len().saturating_sub(count));
        for path in old {
            self.disk
                .remove(path)
                .map_err(|e| StorageError::io("remove", path, 0, e))?;
        }
        if let Some(path) = old.last() {
            sync_parent(&*self.disk, path)?;
        }
        Ok(())
    }

    fn names(&self) -> Result<Vec<String>, StorageError> {
        self.disk
            .list(&self.directory)
            .map_err(|e| StorageError::io("list", &self.directory, 0, e))
    }

    /// The names sort as the log ids do.
    pub(crate) fn snapshot_paths(&self) -> Result<Vec<PathBuf>, StorageError> {
        let names = self.names()?;
        Ok(names
            .iter()
            .filter(|name| name.ends_with(EXTENSION))
            .map(|name| self.directory.join(name))
            .collect())
    }

    pub(crate) fn open_file(&self, path: &Path) -> Result<SnapshotFile, StorageError> {
        let file = self
            .disk
            .open(path, OpenMode::Read)
            .map_err(|e| StorageError::io("open", path, 0, e))?;
        let header = format::decode_header(&Head::read(format::KIND, &file, path)?, path)?;
        let file_bytes = file.len().map_err(|e| StorageError::io("measure", path, 0, e))?;
        Ok(SnapshotFile {
            path: path.to_path_buf(),
            disk: Arc::clone(&self.disk),
            header: Arc::new(header),
            file_bytes,
        })
    }

    fn path_of(&self, last_log_id: Option<LogId>) -> PathBuf {
        let (term, index) = last_log_id.map_or((0, 0), |id| (id.leader_id.term, id.index));
        self.directory
            .join(format!("{term:016x}-{index:016x}{EXTENSION}"))
    }

    /// Starts a file under a temporary name.
    fn draft(&self) -> Result<Draft, StorageError> {
        let number = self.started.fetch_add(1, Ordering::Relaxed);
        let path = self.directory.join(format!("{number:016x}{TEMPORARY}"));
        Draft::new(Arc::clone(&self.disk), path)
    }

    /// Gives a file that is whole its name, durably.
    fn land(&self, draft: Draft, header: &SnapshotHeader) -> Result<SnapshotFile, StorageError> {
        let path = self.path_of(header.last_log_id);
        draft.land(&path)?;
        self.open_file(&path)
    }
}

impl SnapshotFile {
    /// What it is a snapshot of.
    pub fn header(&self) -> &SnapshotHeader {
        &self.header
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The size of the file.
    pub const fn file_bytes(&self) -> u64 {
        self.file_bytes
    }

    /// Reads the chunks back, checking each.
    ///
    /// # Errors
    ///
    /// [`StorageError::Corrupt`], [`StorageError::Version`] or [`StorageError::Io`].
    pub fn read(&self) -> Result<SnapshotReader, StorageError> {
        SnapshotReader::open(&*self.disk, &self.path)
    }

    /// Reads all of it and checks every byte. To be done before the log that it stands
    /// for is purged.
    ///
    /// # Errors
    ///
    /// As [`SnapshotFile::read`].
    pub fn verify(&self) -> Result<(), StorageError> {
        self.read()?.try_for_each(|chunk| chunk.map(drop))
    }

    /// Opens the file for its raw bytes, which are what a peer is sent. The file stays
    /// readable through it when the store removes the snapshot.
    ///
    /// # Errors
    ///
    /// [`StorageError::Io`].
    pub fn open_raw(&self) -> Result<RawSnapshot, StorageError> {
        let file = self
            .disk
            .open(&self.path, OpenMode::Read)
            .map_err(|e| StorageError::io("open", &self.path, 0, e))?;
        Ok(RawSnapshot {
            file,
            path: self.path.clone(),
        })
    }
}

/// The bytes of a snapshot file.
#[derive(Debug)]
pub struct RawSnapshot {
    file: Box<dyn crate::ports::DiskFile>,
    path: PathBuf,
}

impl RawSnapshot {
    /// Up to `len` bytes from `offset`; empty at the end.
    ///
    /// # Errors
    ///
    /// [`StorageError::Io`].
    pub fn read_at(&self, offset: u64, len: usize) -> Result<Vec<u8>, StorageError> {
        let mut bytes = vec![0; len];
        let read = self.file.read_at(&mut bytes, offset);
        bytes.truncate(read.map_err(|e| StorageError::io("read", &self.path, offset, e))?);
        Ok(bytes)
    }
}
