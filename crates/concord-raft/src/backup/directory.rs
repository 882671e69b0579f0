//! A directory of backups.
//!
//! A file is written under a temporary name, synced, renamed and the directory synced.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use concord_core::ids::NodeId;

use super::{BackupDraft, BackupName, BackupSource, BackupTarget};
use crate::container::Draft;
use crate::ports::{Disk, OpenMode, ReadAt};
use crate::small_file::{TEMPORARY, sync_parent, temporary_name};
use crate::storage_error::StorageError;

/// Backups in a directory, which need not be there yet.
#[derive(Debug)]
pub(super) struct Directory {
    pub(super) directory: PathBuf,
    pub(super) disk: Arc<dyn Disk>,
}

impl Directory {
    fn list(&self) -> Result<Vec<String>, StorageError> {
        self.disk
            .list(&self.directory)
            .map_err(|e| StorageError::io("list", &self.directory, 0, e))
    }

    fn path(&self, name: &BackupName) -> PathBuf {
        self.directory.join(name.as_str())
    }

    fn has(&self, path: &Path) -> Result<bool, StorageError> {
        self.disk
            .exists(path)
            .map_err(|e| StorageError::io("look for", path, 0, e))
    }

    fn discard(&self, path: &Path) -> Result<(), StorageError> {
        self.disk
            .remove(path)
            .map_err(|e| StorageError::io("remove", path, 0, e))
    }
}

impl BackupTarget for Directory {
    fn location(&self) -> &Path {
        &self.directory
    }

    fn names(&self) -> Result<Vec<String>, StorageError> {
        match self.has(&self.directory)? {
            true => self.list(),
            false => Ok(Vec::new()),
        }
    }

    fn contains(&self, name: &BackupName) -> Result<bool, StorageError> {
        self.has(&self.path(name))
    }

    fn source(&self, name: &BackupName) -> Arc<dyn BackupSource> {
        Arc::new(FileSource::new(Arc::clone(&self.disk), &self.path(name)))
    }

    fn draft(&self, name: &BackupName, node_id: NodeId) -> Result<Box<dyn BackupDraft>, StorageError> {
        self.disk
            .create_dir_all(&self.directory)
            .map_err(|e| StorageError::io("create directory", &self.directory, 0, e))?;
        let leftover = format!("-n{node_id}.backup{TEMPORARY}");
        for name in self.list()?.iter().filter(|name| name.ends_with(&leftover)) {
            self.discard(&self.directory.join(name))?;
        }
        let path = self.path(name);
        let draft = Draft::new(Arc::clone(&self.disk), temporary_name(&path))?;
        Ok(Box::new(FileDraft { draft, path }))
    }

    fn remove(&self, name: &BackupName) -> Result<(), StorageError> {
        let path = self.path(name);
        self.discard(&path)?;
        sync_parent(&*self.disk, &path)
    }
}

/// A file under its temporary name.
#[derive(Debug)]
struct FileDraft {
    draft: Draft,
    path: PathBuf,
}

impl BackupDraft for FileDraft {
    fn append(&mut self, bytes: &[u8]) -> Result<(), StorageError> {
        self.draft.append(bytes)
    }

    fn land(self: Box<Self>) -> Result<(), StorageError> {
        self.draft.land(&self.path)
    }
}

/// A backup that is a file.
#[derive(Debug)]
pub(super) struct FileSource {
    disk: Arc<dyn Disk>,
    path: PathBuf,
}

impl FileSource {
    pub(super) fn new(disk: Arc<dyn Disk>, path: &Path) -> Self {
        let path = path.to_path_buf();
        Self { disk, path }
    }
}

impl BackupSource for FileSource {
    fn location(&self) -> &Path {
        &self.path
    }

    fn open(&self) -> Result<Box<dyn ReadAt>, StorageError> {
        let file = self
            .disk
            .open(&self.path, OpenMode::Read)
            .map_err(|e| StorageError::io("open", &self.path, 0, e))?;
        Ok(Box::new(file))
    }
}
