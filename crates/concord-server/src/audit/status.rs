//! How an audit log is doing, for those who write to it and those who watch it.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::{Mutex, MutexGuard};

use super::chain::Hash;
use super::queue::Queue;

/// How the audit log of a node is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct AuditStatus {
    /// Whether there is one.
    pub enabled: bool,
    /// Lines written since the node started.
    pub lines: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Lines that could not be kept since the node started.
    pub lost: u64,
    /// Why nothing can be written now, if so.
    pub failure: Option<String>,
    /// The number of the file being written.
    pub file: u64,
    /// The number of the last line.
    pub last_seq: u64,
    /// Its hash: worth noting elsewhere, together with the number.
    pub last_hash: String,
}

/// What the thread that writes shares with everybody else.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) queue: Queue,
    lines: AtomicU64,
    bytes: AtomicU64,
    lost: AtomicU64,
    is_failing: AtomicBool,
    failure: Mutex<Option<String>>,
    last: Mutex<Option<(u64, u64, Hash)>>,
    /// Held while files must not be removed.
    reading: Mutex<()>,
}

impl Shared {
    pub(super) fn new(lines_max: usize) -> Self {
        Self {
            queue: Queue::new(lines_max),
            lines: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            is_failing: AtomicBool::new(false),
            failure: Mutex::default(),
            last: Mutex::default(),
            reading: Mutex::default(),
        }
    }

    // Counters are read one by one, for people: no order among them to keep.
    pub(super) fn wrote(&self, seq: u64, hash: Hash, file: u64, bytes: usize) {
        let mut last = self.last.lock();
        let before = last.map_or(seq.saturating_sub(1), |(_, seq, _)| seq);
        self.lines
            .fetch_add(seq.saturating_sub(before), Ordering::Relaxed);
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        *last = Some((file, seq, hash));
    }

    pub(super) fn lost_one(&self) {
        if self.lost.fetch_add(1, Ordering::Relaxed) == 0 {
            tracing::error!("an audit line was lost: lines come faster than they can be written");
        }
    }

    pub(super) fn failed(&self, error: &io::Error) {
        let mut failure = self.failure.lock();
        if failure.is_none() {
            tracing::error!(%error, "the audit log cannot be written; trying again every second");
        }
        *failure = Some(error.to_string());
        self.is_failing.store(true, Ordering::Relaxed);
    }

    pub(super) fn recovered(&self) {
        if self.is_failing.swap(false, Ordering::Relaxed) {
            *self.failure.lock() = None;
            tracing::info!("the audit log is written again");
        }
    }

    pub(super) fn is_failing(&self) -> bool {
        self.is_failing.load(Ordering::Relaxed)
    }

    /// `None`: somebody reads all files just now.
    pub(super) fn begin_retention(&self) -> Option<MutexGuard<'_, ()>> {
        self.reading.try_lock()
    }

    pub(super) fn begin_reading(&self) -> MutexGuard<'_, ()> {
        self.reading.lock()
    }

    pub(super) fn status(&self) -> AuditStatus {
        let (file, last_seq, last_hash) = match *self.last.lock() {
            Some((file, seq, hash)) => (file, seq, hash.to_string()),
            None => (0, 0, String::new()),
        };
        AuditStatus {
            enabled: true,
            lines: self.lines.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            lost: self.lost.load(Ordering::Relaxed),
            failure: self.failure.lock().clone(),
            file,
            last_seq,
            last_hash,
        }
    }
}
