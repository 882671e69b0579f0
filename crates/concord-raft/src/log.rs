//! The write-ahead log: entries, votes, truncations and purges as records of one stream
//! of segment files with one writer.
//!
//! Not here: what an entry means, when the log is purged, and snapshots.
//!
//! ```text
//!   openraft ──> LogStore ── queue ──> Writer (one thread) ──> segment files
//!                   │ at once              │ drain: write, one sync, then all callbacks
//!                   ▼                      ▼
//!                 State: newest entries, positions of the older ones <── LogReader (many)
//! ```
//!
//! - An entry can be read when `append` returns, and is acknowledged when it is durable
//!   (I12). After any failed write or sync nothing is acknowledged again; only opening
//!   the log anew, which reads back what the disk really holds, goes on.
//! - The vote is durable before `save_vote` returns (I13).
//! - Each segment begins with the vote, the purged and the last log id, so that older
//!   segments can go when their entries are purged.
//! - A torn end is cut, other damage is refused (I18): the reasoning is in `recover.rs`,
//!   the bytes are in `docs/log-format.md`.

mod janitor;
mod reader;
mod record;
mod recover;
mod scan;
mod segment;
mod state;
mod store;
mod survey;
#[cfg(test)]
mod tests;
mod writer;

use std::path::Path;
use std::sync::Arc;

use tokio::sync::{mpsc, watch};

pub(crate) use reader::LogPieces;
pub use reader::LogReader;
pub use store::LogStore;
pub(crate) use survey::{Survey, survey};

use crate::limits;
use crate::ports::Disk;
use crate::stats::LogStats;
use crate::storage_error::StorageError;
use janitor::{Janitor, Maker};
use state::Shared;
use writer::{Request, Writer};

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
    /// The size of each segment made from now on, but of one that is made for a larger entry.
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
    /// still written, so deletes and compaction can go on; new data should be refused. It
    /// recovers by itself when there is space.
    DiskFull(StorageError),
    /// It failed, and acknowledges nothing until the process restarts (I12).
    Failed(StorageError),
}

/// Watches the log from outside openraft.
#[derive(Clone, Debug)]
pub struct LogHandle {
    shared: Arc<Shared>,
    health: watch::Receiver<LogHealth>,
    closed: watch::Receiver<()>,
}

impl LogHandle {
    /// How the log is, and when that changes.
    pub fn health(&self) -> watch::Receiver<LogHealth> {
        self.health.clone()
    }

    /// Whether the next segment cannot be made for lack of space: see
    /// [`LogHealth::DiskFull`]. No lock.
    pub fn is_full(&self) -> bool {
        self.shared.is_full()
    }

    /// What the log has counted.
    pub fn stats(&self) -> &LogStats {
        &self.shared.stats
    }

    /// Bytes of records on disk.
    pub fn kept_bytes(&self) -> u64 {
        self.shared.state.lock().kept_bytes()
    }

    /// The last entry that can go if of the segments that end at or before entry `upto` those
    /// with the newest `kept_bytes` are to stay.
    pub fn purgeable(&self, upto: u64, kept_bytes: u64) -> Option<u64> {
        self.shared.state.lock().purgeable(upto, kept_bytes)
    }

    /// Waits until the writer has ended: after [`LogStore`] is dropped, when everything
    /// handed to it is durable. The data directory may be given back then, not before.
    pub async fn closed(&mut self) {
        while self.closed.changed().await.is_ok() {}
    }
}

/// Opens the log in `directory`, making it if there is none, and recovers what it holds.
/// Blocks. Call it inside the runtime if the host is [`Host::Task`].
///
/// # Errors
///
/// [`StorageError::Corrupt`] with file and offset for any damage but a torn end (I18),
/// and then nothing was changed; [`StorageError::Version`], [`StorageError::Foreign`],
/// [`StorageError::Io`], [`StorageError::Full`].
pub fn open(
    directory: &Path,
    options: LogOptions,
    disk: Arc<dyn Disk>,
) -> Result<(LogStore, LogHandle), StorageError> {
    let segment_limits = limits::LOG_SEGMENT_BYTES_MIN..=limits::LOG_SEGMENT_BYTES_MAX;
    if !segment_limits.contains(&options.segment_bytes) {
        return Err(StorageError::Misuse {
            what: format!("segments of {} bytes", options.segment_bytes),
        });
    }
    disk.create_dir_all(directory)
        .map_err(|e| StorageError::io("create directory", directory, 0, e))?;
    let mut recovered = recover::recover(&disk, directory, &options)?;
    recover::repair(&*disk, directory, &recovered)?;
    let state = std::mem::take(&mut recovered.state);
    let shared = Arc::new(Shared::new(state));
    let maker = Maker::new(disk, directory.to_path_buf(), &options, Arc::clone(&shared));
    let janitor = Janitor::start(options.host, maker, recovered.ready.take())?;
    let writer = Writer::start(recovered, Arc::clone(&shared), janitor)?;

    let (queue, requests) = mpsc::channel(limits::LOG_QUEUE_REQUESTS);
    let (alive, closed) = watch::channel(());
    let health = shared.health();
    run_writer(options.host, directory, writer, requests, alive)?;
    let reader = LogReader::new(Arc::clone(&shared), options.host);
    Ok((
        LogStore {
            reader,
            queue,
            ticket: 0,
        },
        LogHandle {
            shared,
            health,
            closed,
        },
    ))
}

/// Hosts the writer; `alive` goes with it.
fn run_writer(
    host: Host,
    directory: &Path,
    mut writer: Writer,
    mut queue: mpsc::Receiver<Request>,
    alive: watch::Sender<()>,
) -> Result<(), StorageError> {
    let mut requests = Vec::with_capacity(limits::LOG_QUEUE_REQUESTS);
    match host {
        Host::Thread => {
            let run = move || {
                while queue.blocking_recv_many(&mut requests, limits::LOG_QUEUE_REQUESTS) > 0 {
                    writer.drain(&mut requests);
                    if queue.is_empty() {
                        writer.seal();
                    }
                }
                writer.finish();
                drop(alive);
            };
            let thread = std::thread::Builder::new()
                .name("concord-log".to_owned())
                .spawn(run);
            thread
                .map(drop)
                .map_err(|e| StorageError::io("start a thread for", directory, 0, e))
        }
        Host::Task => {
            tokio::spawn(async move {
                while queue.recv_many(&mut requests, limits::LOG_QUEUE_REQUESTS).await > 0 {
                    writer.drain(&mut requests);
                    if queue.is_empty() {
                        writer.seal();
                    }
                }
                writer.finish();
                drop(alive);
            });
            Ok(())
        }
    }
}
