//! A directory of backups.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use concord_core::ids::Timestamp;
use concord_core::machine::Machine;

use super::{BackupFile, BackupHeader, BackupName, Retention};
use crate::ports::Disk;
use crate::small_file::{TEMPORARY, sync_parent};
use crate::storage_error::StorageError;

/// Backups in a directory, which may be shared: the names say which node made what.
#[derive(Clone, Debug)]
pub struct BackupDirectory {
    directory: PathBuf,
    disk: Arc<dyn Disk>,
}

/// A file with the name of a backup.
#[derive(Clone, Debug)]
pub struct Listed {
    /// Its name.
    pub name: BackupName,
    /// The file, or what is wrong with its header.
    pub file: Result<BackupFile, StorageError>,
}

/// What a clean-up did.
#[derive(Clone, Debug, Default)]
pub struct Cleaned {
    /// The backups that went, oldest first.
    pub removed: Vec<BackupName>,
    /// The backups that stay, oldest first.
    pub kept: Vec<BackupName>,
    /// Files that are no readable backups. They count for nothing and stay.
    pub damaged: Vec<BackupName>,
}

impl BackupDirectory {
    /// The backups in `directory`, which need not be there yet.
    pub fn new(directory: &Path, disk: Arc<dyn Disk>) -> Self {
        Self {
            directory: directory.to_path_buf(),
            disk,
        }
    }

    /// Where it is.
    pub fn location(&self) -> &Path {
        &self.directory
    }

    /// Makes a backup of a view. What an interrupted one of the same node left is removed
    /// first, so one at a time is made by a node.
    ///
    /// # Errors
    ///
    /// [`StorageError::Full`] or [`StorageError::Io`]; there is then no new backup.
    pub fn create<M: Machine>(
        &self,
        header: &BackupHeader,
        view: &M::View,
    ) -> Result<(BackupName, BackupFile), StorageError> {
        self.disk
            .create_dir_all(&self.directory)
            .map_err(|e| StorageError::io("create directory", &self.directory, 0, e))?;
        let leftover = format!("-n{}.backup{TEMPORARY}", header.node_id);
        for name in self.names()?.iter().filter(|name| name.ends_with(&leftover)) {
            let path = self.directory.join(name);
            self.disk
                .remove(&path)
                .map_err(|e| StorageError::io("remove", &path, 0, e))?;
        }
        let name = BackupName::of(header);
        let path = self.path(&name);
        let file = super::write::<M>(&self.disk, &path, header, view, |_| {})?;
        Ok((name, file))
    }

    /// What is there, oldest first by name. Reads headers only.
    ///
    /// # Errors
    ///
    /// [`StorageError::Io`] if the directory cannot be read.
    pub fn list(&self) -> Result<Vec<Listed>, StorageError> {
        let exists = self.disk.exists(&self.directory);
        if !exists.map_err(|e| StorageError::io("look for", &self.directory, 0, e))? {
            return Ok(Vec::new());
        }
        let names = self.names()?;
        let names = names.iter().filter_map(|name| BackupName::parse(name).ok());
        Ok(names
            .map(|name| Listed {
                file: self.open(&name),
                name,
            })
            .collect())
    }

    /// Whether there is a file of that name.
    ///
    /// # Errors
    ///
    /// [`StorageError::Io`].
    pub fn contains(&self, name: &BackupName) -> Result<bool, StorageError> {
        let path = self.path(name);
        self.disk
            .exists(&path)
            .map_err(|e| StorageError::io("look for", &path, 0, e))
    }

    /// One backup.
    ///
    /// # Errors
    ///
    /// As [`BackupFile::open`].
    pub fn open(&self, name: &BackupName) -> Result<BackupFile, StorageError> {
        BackupFile::open(Arc::clone(&self.disk), &self.path(name))
    }

    /// Removes one backup. Durable when it returns.
    ///
    /// # Errors
    ///
    /// [`StorageError::Io`].
    pub fn remove(&self, name: &BackupName) -> Result<(), StorageError> {
        let path = self.path(name);
        self.disk
            .remove(&path)
            .map_err(|e| StorageError::io("remove", &path, 0, e))?;
        sync_parent(&*self.disk, &path)
    }

    /// Removes what `retention` does not keep at `now`; never the newest backup that is
    /// whole, and nothing that cannot be read. With `dry_run` it only says what would go.
    ///
    /// # Errors
    ///
    /// [`StorageError::Io`]. Some may be removed.
    pub fn clean_up(
        &self,
        retention: Retention,
        now: Timestamp,
        dry_run: bool,
    ) -> Result<Cleaned, StorageError> {
        let mut cleaned = Cleaned::default();
        let mut backups = Vec::new();
        for listed in self.list()? {
            match listed.file {
                Ok(file) => backups.push((listed.name, file)),
                Err(StorageError::Io { .. }) => {}
                Err(_) => cleaned.damaged.push(listed.name),
            }
        }
        backups.sort_by_key(|(_, file)| std::cmp::Reverse(file.header().created_at));
        let is_whole = |(_, file): &(BackupName, BackupFile)| file.verify(|_| {}).is_ok();
        let newest_whole = backups.iter().position(is_whole).unwrap_or(backups.len());
        let broken = backups.drain(..newest_whole).map(|(name, _)| name);
        cleaned.damaged.extend(broken);
        for (newer, (name, file)) in backups.into_iter().enumerate() {
            let created_at = file.header().created_at;
            if newer == 0 || retention.keeps(newer, created_at, now) {
                cleaned.kept.push(name);
                continue;
            }
            if !dry_run {
                self.remove(&name)?;
            }
            cleaned.removed.push(name);
        }
        cleaned.kept.reverse();
        cleaned.removed.reverse();
        Ok(cleaned)
    }

    fn names(&self) -> Result<Vec<String>, StorageError> {
        self.disk
            .list(&self.directory)
            .map_err(|e| StorageError::io("list", &self.directory, 0, e))
    }

    fn path(&self, name: &BackupName) -> PathBuf {
        self.directory.join(name.as_str())
    }
}
