//! The backups of a place: made, listed, opened and removed.

use std::path::Path;
use std::sync::Arc;

use concord_core::ids::Timestamp;
use concord_core::machine::Machine;

use super::directory::Directory;
use super::{BackupFile, BackupHeader, BackupName, BackupTarget, Retention};
use crate::blocking::standing_back;
use crate::ports::Disk;
use crate::storage_error::StorageError;

/// The backups in one place.
#[derive(Clone, Debug)]
pub struct BackupRepository {
    target: Arc<dyn BackupTarget>,
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

impl BackupRepository {
    /// The backups of that place.
    pub fn new(target: Arc<dyn BackupTarget>) -> Self {
        Self { target }
    }

    /// The backups in `directory`, which need not be there yet.
    pub fn directory(directory: &Path, disk: Arc<dyn Disk>) -> Self {
        let directory = directory.to_path_buf();
        Self::new(Arc::new(Directory { directory, disk }))
    }

    /// Where they are, for messages.
    pub fn location(&self) -> &Path {
        self.target.location()
    }

    /// Makes a backup of a view. What an interrupted one of the same node left is removed
    /// first, so one at a time is made by a node.
    ///
    /// # Errors
    ///
    /// [`StorageError::Full`], [`StorageError::TooLarge`] or [`StorageError::Io`]; there is then no new backup.
    pub fn create<M: Machine>(
        &self,
        header: &BackupHeader,
        view: &M::View,
    ) -> Result<(BackupName, BackupFile), StorageError> {
        let name = BackupName::of(header);
        let source = self.target.source(&name);
        let mut draft = self.target.draft(&name, header.node_id)?;
        // Nobody waits for the next block of a backup, and many wait for the log.
        standing_back(|| super::write::<M>(&mut *draft, source.location(), header, view))?;
        draft.land()?;
        let file = BackupFile::of(source)?;
        Ok((name, file))
    }

    /// What is there, oldest first by name. Reads headers only.
    ///
    /// # Errors
    ///
    /// [`StorageError::Io`] if the place cannot be read.
    pub fn list(&self) -> Result<Vec<Listed>, StorageError> {
        let names = self.target.names()?;
        let mut names: Vec<_> = names
            .iter()
            .filter_map(|name| BackupName::parse(name).ok())
            .collect();
        names.sort_unstable();
        let listed = names.into_iter().map(|name| Listed {
            file: self.open(&name),
            name,
        });
        Ok(listed.collect())
    }

    /// Whether there is a file of that name.
    ///
    /// # Errors
    ///
    /// [`StorageError::Io`].
    pub fn contains(&self, name: &BackupName) -> Result<bool, StorageError> {
        self.target.contains(name)
    }

    /// One backup.
    ///
    /// # Errors
    ///
    /// As [`BackupFile::open`].
    pub fn open(&self, name: &BackupName) -> Result<BackupFile, StorageError> {
        BackupFile::of(self.target.source(name))
    }

    /// Removes one backup. Durable when it returns.
    ///
    /// # Errors
    ///
    /// [`StorageError::Io`].
    pub fn remove(&self, name: &BackupName) -> Result<(), StorageError> {
        self.target.remove(name)
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
        let mut newest_whole = 0;
        for (_, file) in &backups {
            match file.verify(|_| {}) {
                Ok(_) => break,
                // It may well be whole: a bucket that does not answer makes nothing damaged.
                Err(error @ StorageError::Io { .. }) => return Err(error),
                Err(_) => newest_whole += 1,
            }
        }
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
}
