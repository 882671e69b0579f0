//! The write-ahead log.

use std::path::Path;
use std::sync::Arc;

use tokio::sync::watch;

use crate::limits;
use crate::ports::Disk;
use crate::storage_error::StorageError;

/// What the log's blocking work runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Host {
    /// Threads of its own and the blocking pool. For production.
    Thread,
    /// Tasks of the runtime that the log is opened in. For a single-threaded runtime in
    /// which everything must happen in one order.
    Task,
}

/// How a log is opened.
#[derive(Clone, Debug)]
pub struct LogOptions {
    /// The data directory that the log belongs to.
    pub store_id: u128,
    /// Whether the node belongs to a cluster: then a missing log is damage, because with
    /// it a vote would be forgotten (I13).
    pub expect_existing: bool,
    /// The size of each segment.
    pub segment_bytes: u64,
    /// Bytes of the newest entries that stay in memory.
    pub tail_bytes: usize,
    /// What the blocking work runs on.
    pub host: Host,
}

impl LogOptions {
    /// Production settings for the log of a data directory.
    pub const fn new(store_id: u128, segment_bytes: u64) -> Self {
        let tail_bytes = limits::LOG_TAIL_BYTES;
        Self {
            store_id,
            expect_existing: false,
            segment_bytes,
            tail_bytes,
            host: Host::Thread,
        }
    }
}

/// How the log is.
#[derive(Clone, Debug)]
pub enum LogHealth {
    /// It writes.
    Healthy,
    /// The next segment cannot be made for lack of space. What fits in the current one is
    /// still written, so deletes and compaction can go on; new data should be refused.
    DiskFull(StorageError),
    /// It failed, and acknowledges nothing until the process restarts (I12).
    Failed(StorageError),
}

/// The write end of the log: openraft's `RaftLogStorage`.
#[derive(Debug)]
pub struct LogStore {}

/// A read end of the log: openraft's `RaftLogReader`.
#[derive(Clone, Debug)]
pub struct LogReader {}

/// Watches the log from outside openraft.
#[derive(Clone, Debug)]
pub struct LogHandle {
    health: watch::Receiver<LogHealth>,
}

impl LogHandle {
    /// How the log is, and when that changes.
    pub fn health(&self) -> watch::Receiver<LogHealth> {
        self.health.clone()
    }

    /// Waits until the writer has ended: after [`LogStore`] is dropped, when everything
    /// handed to it is durable. The data directory may be given back then, not before.
    pub async fn closed(&mut self) {
        while self.health.changed().await.is_ok() {}
    }
}

/// Opens the log in `directory`, making it if there is none, and recovers what it holds.
/// Blocks. In [`Host::Task`] it must be called inside the runtime.
///
/// # Errors
///
/// [`StorageError::Corrupt`] with file and offset for any damage but a torn tail (I18).
pub fn open(
    directory: &Path,
    options: LogOptions,
    disk: Arc<dyn Disk>,
) -> Result<(LogStore, LogHandle), StorageError> {
    let _ = (directory, options, disk);
    unimplemented!("the bodies follow")
}
