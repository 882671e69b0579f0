//! What a place must do to keep backups: a directory does it, and so may a bucket.
//!
//! ```text
//!   draft: bytes, bytes, bytes, land ──> a backup has its name   (dropped before: there is nothing)
//!   names ──> source: its bytes, at any place
//! ```
//!
//! Not here: what is in a backup, and which of them stay.

use std::fmt::Debug;
use std::path::Path;
use std::sync::Arc;

use concord_core::ids::NodeId;

use super::BackupName;
use crate::ports::ReadAt;
use crate::storage_error::StorageError;

/// A place where backups are kept. Many nodes may share one: the names say which node made what.
pub trait BackupTarget: Debug + Send + Sync + 'static {
    /// Where it is, for messages.
    fn location(&self) -> &Path;
    /// The names of all that is there, in any order. What is not there yet has none.
    ///
    /// # Errors
    ///
    /// [`StorageError::Io`].
    fn names(&self) -> Result<Vec<String>, StorageError>;
    /// Whether there is something of that name.
    ///
    /// # Errors
    ///
    /// [`StorageError::Io`].
    fn contains(&self, name: &BackupName) -> Result<bool, StorageError>;
    /// What has that name, if anything does.
    fn source(&self, name: &BackupName) -> Arc<dyn BackupSource>;
    /// Begins what will have that name. What an interrupted one of the same node left goes first, so a node
    /// makes one at a time.
    ///
    /// # Errors
    ///
    /// [`StorageError::Full`] or [`StorageError::Io`].
    fn draft(&self, name: &BackupName, node_id: NodeId) -> Result<Box<dyn BackupDraft>, StorageError>;
    /// Removes it for good.
    ///
    /// # Errors
    ///
    /// [`StorageError::Io`].
    fn remove(&self, name: &BackupName) -> Result<(), StorageError>;
}

/// A backup that is being written. It has no name before it lands; dropped before, it goes.
pub trait BackupDraft: Debug + Send {
    /// Takes more bytes.
    ///
    /// # Errors
    ///
    /// [`StorageError::Full`], [`StorageError::TooLarge`] or [`StorageError::Io`]; it is then of no use.
    fn append(&mut self, bytes: &[u8]) -> Result<(), StorageError>;
    /// Gives it its name. Durable when this returns.
    ///
    /// # Errors
    ///
    /// [`StorageError::Full`] or [`StorageError::Io`].
    fn land(self: Box<Self>) -> Result<(), StorageError>;
}

/// Where the bytes of one backup are.
pub trait BackupSource: Debug + Send + Sync + 'static {
    /// Where that is, for messages.
    fn location(&self) -> &Path;
    /// Opens it for reading.
    ///
    /// # Errors
    ///
    /// [`StorageError::Io`], also if it is not there.
    fn open(&self) -> Result<Box<dyn ReadAt>, StorageError>;
}
