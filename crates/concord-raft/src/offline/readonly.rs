//! A disk that nothing is changed on.

use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::ports::{Disk, DiskFile, DiskLock, OpenMode};

/// Reads what another disk holds; refuses every change.
#[derive(Debug)]
pub(super) struct ReadOnly(pub(super) Arc<dyn Disk>);

fn refused<T>() -> io::Result<T> {
    Err(io::ErrorKind::PermissionDenied.into())
}

impl Disk for ReadOnly {
    fn create_dir_all(&self, _path: &Path) -> io::Result<()> {
        refused()
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        self.0.list(path)
    }

    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Box<dyn DiskFile>> {
        match mode {
            // Whoever opens for writing may only want to read first.
            OpenMode::Read | OpenMode::Write => self.0.open(path, OpenMode::Read),
            OpenMode::Create => refused(),
        }
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.0.exists(path)
    }

    fn rename(&self, _from: &Path, _to: &Path) -> io::Result<()> {
        refused()
    }

    fn remove(&self, _path: &Path) -> io::Result<()> {
        refused()
    }

    fn sync_dir(&self, _path: &Path) -> io::Result<()> {
        refused()
    }

    fn lock(&self, _path: &Path) -> io::Result<Box<dyn DiskLock>> {
        refused()
    }
}
