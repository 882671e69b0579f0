//! What a simulated node takes for the world: a clock, randomness, and disks that lie.

use std::io;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use std::sync::Arc;

use concord_core::ids::Timestamp;
use concord_raft::ports::{Clock, Disk, DiskFile, DiskLock, Entropy, OpenMode};
use concord_raft::sim_disk::SimDisk;

use crate::random::Random;

/// The wall clock of one node: simulated time, wrong by an offset and a drift.
#[derive(Debug)]
pub(crate) struct SimClock {
    time_ms: Arc<AtomicU64>,
    offset_ms: AtomicI64,
    /// Milliseconds gained each second.
    drift_per_mille: i64,
}

/// Simulated time begins here, far enough from zero for clocks to be an hour behind.
const EPOCH_MS: u64 = 1_700_000_000_000;

impl SimClock {
    pub(crate) fn new(time_ms: &Arc<AtomicU64>, drift_per_mille: i64) -> Arc<Self> {
        Arc::new(Self {
            time_ms: Arc::clone(time_ms),
            offset_ms: AtomicI64::new(0),
            drift_per_mille,
        })
    }

    pub(crate) fn jump(&self, by_ms: i64) {
        self.offset_ms.fetch_add(by_ms, Ordering::Relaxed);
    }
}

impl Clock for SimClock {
    fn now(&self) -> Timestamp {
        let time_ms = self.time_ms.load(Ordering::Relaxed);
        let drift = i64::try_from(time_ms).unwrap_or(i64::MAX) / 1_000 * self.drift_per_mille;
        let wrong_by = self.offset_ms.load(Ordering::Relaxed) + drift;
        Timestamp::new((EPOCH_MS + time_ms).saturating_add_signed(wrong_by))
    }
}

/// Randomness of one node, from the seed of the run.
#[derive(Debug)]
pub(crate) struct SimEntropy(Mutex<Random>);

impl SimEntropy {
    pub(crate) fn new(random: Random) -> Arc<Self> {
        Arc::new(Self(Mutex::new(random)))
    }
}

impl Entropy for SimEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        let mut random = self.0.lock().expect("nobody panics while drawing");
        for chunk in bytes.chunks_mut(8) {
            let drawn = random.next().to_le_bytes();
            chunk.copy_from_slice(&drawn[..chunk.len()]);
        }
    }
}

/// A disk that says it has synced what it has not.
#[derive(Debug)]
pub(crate) struct LyingDisk(pub(crate) SimDisk);

#[derive(Debug)]
struct LyingFile(Box<dyn DiskFile>);

impl Disk for LyingDisk {
    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.0.create_dir_all(path)
    }
    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        self.0.list(path)
    }
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Box<dyn DiskFile>> {
        let file = self.0.open(path, mode)?;
        Ok(match path.extension() {
            Some(extension) if extension == "wal" => Box::new(LyingFile(file)),
            _ => file,
        })
    }
    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.0.exists(path)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.rename(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.0.remove(path)
    }
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.0.sync_dir(path)
    }
    fn lock(&self, path: &Path) -> io::Result<Box<dyn DiskLock>> {
        self.0.lock(path)
    }
}

impl DiskFile for LyingFile {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(buffer, offset)
    }
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }
    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }
}
