//! A disk in memory that behaves as badly as a real one may: what was not synced can be
//! lost in any combination of sectors, files can lose their names, calls can fail.
//!
//! Not here: time. Calls take none; a simulation that wants slow disks delays them above.
//!
//! The model. A write changes 512-byte sectors; until the file is synced, a power cut
//! keeps a random subset of them, and may keep a part of one. A file's length is synced
//! with it. Creations, renames and removals are kept by [`Disk::sync_dir`]; before it, a
//! power cut keeps a random subset, each whole. A failed sync leaves sectors that read
//! as written, are never written back, and are gone after a cut, as on Linux. One seed
//! makes every choice.
//!
//! ```text
//!   SimDisk ── clone: the same disk      kill(): the process dies, everything written stays
//!      │                                 power_cut(): as above, minus a subset of the unsynced
//!      └── fork(seed): a copy            fail/stop_after/set_capacity: what goes wrong, and when
//! ```

mod inode;
mod world;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::ports::{Disk, DiskFile, DiskLock, OpenMode};
use world::World;

/// The unit that a power cut keeps or loses.
pub const SECTOR_BYTES: usize = 512;

/// Which calls a fault hits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// [`DiskFile::write_all_at`]. A part of the bytes may be written.
    Write,
    /// [`DiskFile::sync_data`]. A part of the unsynced sectors is lost for good.
    Sync,
    /// [`Disk::open`] with [`OpenMode::Create`].
    Create,
    /// [`DiskFile::read_at`].
    Read,
}

/// What the disk was asked to do so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Calls that change something: writes, syncs, lengths, names.
    pub changes: u64,
    /// [`DiskFile::write_all_at`].
    pub writes: u64,
    /// [`DiskFile::sync_data`].
    pub syncs: u64,
    /// Bytes given to writes.
    pub written_bytes: u64,
}

/// Who is shown copies of a disk.
#[derive(Clone)]
struct Observer(Arc<Mutex<dyn FnMut(SimDisk) + Send>>);

impl std::fmt::Debug for Observer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Observer")
    }
}

/// A simulated disk; a clone is the same disk.
#[derive(Clone, Debug)]
pub struct SimDisk(Arc<Mutex<World>>);

impl SimDisk {
    /// An empty disk, all of whose choices come from `seed`.
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(World::new(seed))))
    }

    /// An independent copy of the disk as it is, page cache and all, without faults,
    /// locks or open files, with choices from another seed.
    #[must_use]
    pub fn fork(&self, seed: u64) -> Self {
        Self(Arc::new(Mutex::new(self.0.lock().fork(seed))))
    }

    /// The power fails: a random subset of what was not synced stays. Open files and
    /// locks are gone, calls on them fail; faults are lifted.
    pub fn power_cut(&self) {
        self.0.lock().power_cut();
    }

    /// The process dies: everything written stays, open files and locks are gone, calls
    /// on them fail; faults are lifted.
    pub fn kill(&self) {
        self.0.lock().kill();
    }

    /// Forgets all files, as a replaced disk does. Open files and locks are gone.
    pub fn wipe(&self) {
        self.0.lock().wipe();
    }

    /// After `changes` more calls that change something, every call fails, as for a
    /// process whose machine has stopped, until [`SimDisk::power_cut`] or [`SimDisk::kill`].
    pub fn stop_after(&self, changes: u64) {
        self.0.lock().stop_after(changes);
    }

    /// Lets the calls of a kind fail: `after` of them succeed first, then `times` fail.
    pub fn fail(&self, operation: Operation, after: u64, times: u64, error: io::ErrorKind) {
        self.0.lock().fail(operation, after, times, error);
    }

    /// Calls `observer` after every call that changed something, with a copy of the disk
    /// as it was then. The observer must not use this disk.
    pub fn observe(&self, observer: impl FnMut(Self) + Send + 'static) {
        self.0.lock().observe(Observer(Arc::new(Mutex::new(observer))));
    }

    /// Lifts all faults.
    pub fn heal(&self) {
        self.0.lock().heal();
    }

    /// Bytes that fit; writes that would grow past it fail with `StorageFull`.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.0.lock().set_capacity(bytes);
    }

    /// What the disk was asked to do so far.
    pub fn counts(&self) -> Counts {
        self.0.lock().counts()
    }

    /// All files, sorted.
    pub fn paths(&self) -> Vec<PathBuf> {
        self.0.lock().paths()
    }

    /// The bytes of a file, as a process reads them.
    pub fn contents(&self, path: &Path) -> Option<Vec<u8>> {
        self.0.lock().contents(path)
    }

    /// Replaces a file behind everyone's back, as if it had always been so: for damage.
    pub fn set_contents(&self, path: &Path, bytes: &[u8]) {
        self.0.lock().set_contents(path, bytes);
    }

    /// Flips the bits of `mask` in one byte of a file, for good. Whether there was such a byte.
    pub fn flip(&self, path: &Path, offset: u64, mask: u8) -> bool {
        self.0.lock().flip(path, offset, mask)
    }

    /// Takes a file away, for good. Whether there was one.
    pub fn lose(&self, path: &Path) -> bool {
        self.0.lock().lose(path)
    }
}

impl Disk for SimDisk {
    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.0.lock().create_dir_all(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        self.0.lock().list(path)
    }

    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Box<dyn DiskFile>> {
        let (inode, incarnation) = self.0.lock().open(path, mode)?;
        let writable = mode != OpenMode::Read;
        Ok(Box::new(SimFile {
            world: Arc::clone(&self.0),
            inode,
            incarnation,
            writable,
        }))
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.0.lock().exists(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.lock().rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.0.lock().remove(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.0.lock().sync_dir(path)
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn DiskLock>> {
        let incarnation = self.0.lock().take_lock(path)?;
        Ok(Box::new(SimLock {
            world: Arc::clone(&self.0),
            path: path.to_path_buf(),
            incarnation,
        }))
    }
}

#[derive(Debug)]
struct SimFile {
    world: Arc<Mutex<World>>,
    inode: u64,
    incarnation: u64,
    writable: bool,
}

impl SimFile {
    fn check_writable(&self) -> io::Result<()> {
        if self.writable {
            Ok(())
        } else {
            Err(io::ErrorKind::PermissionDenied.into())
        }
    }
}

impl DiskFile for SimFile {
    fn len(&self) -> io::Result<u64> {
        self.world.lock().len(self.inode, self.incarnation)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.world
            .lock()
            .read_at(self.inode, self.incarnation, buffer, offset)
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.check_writable()?;
        self.world
            .lock()
            .write_at(self.inode, self.incarnation, bytes, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.world.lock().sync_data(self.inode, self.incarnation)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.check_writable()?;
        self.world.lock().set_len(self.inode, self.incarnation, len)
    }
}

#[derive(Debug)]
struct SimLock {
    world: Arc<Mutex<World>>,
    path: PathBuf,
    incarnation: u64,
}

impl DiskLock for SimLock {}

impl Drop for SimLock {
    fn drop(&mut self) {
        self.world.lock().release_lock(&self.path, self.incarnation);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(disk: &SimDisk, path: &str) -> Box<dyn DiskFile> {
        disk.open(Path::new(path), OpenMode::Create).unwrap()
    }

    #[test]
    fn synced_bytes_and_names_survive_every_power_cut() {
        for seed in 0..200 {
            let disk = SimDisk::new(seed);
            let a = file(&disk, "a");
            a.write_all_at(&[7; 3000], 0).unwrap();
            a.sync_data().unwrap();
            disk.sync_dir(Path::new("")).unwrap();
            a.write_all_at(&[8; 1000], 3000).unwrap();
            disk.power_cut();
            let contents = disk.contents(Path::new("a")).unwrap();
            assert!(contents.starts_with(&[7; 3000]), "seed {seed}");
            assert!(a.len().is_err(), "open files are gone");
        }
    }

    #[test]
    fn unsynced_sectors_are_kept_in_every_combination() {
        let mut seen = std::collections::BTreeSet::new();
        for seed in 0..300 {
            let disk = SimDisk::new(seed);
            let a = file(&disk, "a");
            a.set_len(3 * 512).unwrap();
            a.sync_data().unwrap();
            disk.sync_dir(Path::new("")).unwrap();
            a.write_all_at(&[1; 3 * 512], 0).unwrap();
            disk.power_cut();
            let contents = disk.contents(Path::new("a")).unwrap();
            seen.insert(
                contents
                    .chunks(512)
                    .map(|sector| sector == [1; 512])
                    .collect::<Vec<_>>(),
            );
        }
        assert_eq!(seen.len(), 8);
    }

    #[test]
    fn unsynced_names_can_be_lost_and_can_be_kept() {
        let mut kept = 0;
        for seed in 0..100 {
            let disk = SimDisk::new(seed);
            let a = file(&disk, "a");
            a.sync_data().unwrap();
            disk.power_cut();
            kept += usize::from(disk.contents(Path::new("a")).is_some());
        }
        assert!((1..100).contains(&kept), "kept {kept} of 100");
    }

    #[test]
    fn a_failed_sync_is_not_repaired_by_the_next() {
        let mut lost = 0;
        for seed in 0..50 {
            let disk = SimDisk::new(seed);
            let a = file(&disk, "a");
            disk.sync_dir(Path::new("")).unwrap();
            a.set_len(512).unwrap();
            a.sync_data().unwrap();
            a.write_all_at(&[1; 512], 0).unwrap();
            disk.fail(Operation::Sync, 0, 1, io::ErrorKind::Other);
            assert!(a.sync_data().is_err());
            assert!(a.sync_data().is_ok());
            let mut read = [0; 512];
            a.read_at(&mut read, 0).unwrap();
            assert_eq!(read, [1; 512], "the page cache still shows it");
            disk.power_cut();
            lost += usize::from(disk.contents(Path::new("a")).unwrap() == [0; 512]);
        }
        assert!(lost > 0);
    }

    #[test]
    fn a_lock_has_one_holder_and_dies_with_the_process() {
        let disk = SimDisk::new(1);
        let path = Path::new("LOCK");
        let held = disk.lock(path).unwrap();
        assert_eq!(disk.lock(path).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        drop(held);
        let held = disk.lock(path).unwrap();
        disk.kill();
        let next = disk.lock(path).unwrap();
        drop(held);
        assert!(
            disk.lock(path).is_err(),
            "a dead holder does not release the next one's lock"
        );
        drop(next);
    }

    #[test]
    fn equal_seeds_give_equal_disks() {
        let run = |seed| {
            let disk = SimDisk::new(seed);
            for name in ["a", "b", "c"] {
                let a = file(&disk, name);
                a.write_all_at(&[3; 5000], 0).unwrap();
                disk.rename(Path::new(name), &Path::new(name).with_extension("x"))
                    .unwrap();
            }
            disk.power_cut();
            disk.paths()
                .into_iter()
                .map(|path| (disk.contents(&path), path))
                .collect::<Vec<_>>()
        };
        for seed in 0..50 {
            assert_eq!(run(seed), run(seed));
        }
    }
}
