//! What the writer asks of a file system, so that tests can have one that fails.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;

use super::files;

/// Makes files.
pub(super) trait Disk: Send {
    /// A new file, of which only this user can read. It is an error if there is one.
    fn create(&mut self, path: &Path) -> io::Result<Box<dyn Appender>>;
}

/// A file that grows at its end.
pub(super) trait Appender: Send {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;
    fn sync(&mut self) -> io::Result<()>;
    /// Takes back what a failed append may have left.
    fn truncate(&mut self, len: u64) -> io::Result<()>;
}

/// The operating system's.
#[derive(Debug)]
pub(super) struct OsDisk;

impl Disk for OsDisk {
    fn create(&mut self, path: &Path) -> io::Result<Box<dyn Appender>> {
        let file = files::options().append(true).create_new(true).open(path)?;
        // The name must outlive a power cut as the lines do.
        if let Some(dir) = path.parent() {
            File::open(dir)?.sync_all()?;
        }
        Ok(Box::new(file))
    }
}

impl Appender for File {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_all(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        self.set_len(len)
    }
}
