//! The state behind a simulated disk: files, names, faults, and the seeded choices.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use super::inode::Inode;
use super::{Counts, Observer, Operation, SimDisk};
use crate::ports::OpenMode;

/// splitmix64: all that is wanted is a stream that one seed makes.
#[derive(Clone, Debug)]
pub(super) struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = self.0;
        let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    pub(super) fn below_len(&mut self, bound: usize) -> usize {
        usize::try_from(self.below(bound as u64)).unwrap_or_default()
    }

    pub(super) fn flip(&mut self) -> bool {
        self.next() & 1 == 1
    }

    pub(super) fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        items
            .get(self.below_len(items.len()))
            .expect("there are items to pick from")
    }
}

/// A change of names that is not durable yet.
#[derive(Clone, Debug)]
enum NameChange {
    Create { path: PathBuf, inode: u64 },
    Rename { from: PathBuf, to: PathBuf },
    Remove { path: PathBuf },
}

impl NameChange {
    fn directory(&self) -> Option<&Path> {
        match self {
            Self::Create { path, .. } | Self::Remove { path } => path.parent(),
            // Both of ours are always in one directory.
            Self::Rename { to, .. } => to.parent(),
        }
    }

    fn apply(&self, names: &mut BTreeMap<PathBuf, u64>) {
        match self {
            Self::Create { path, inode } => {
                names.insert(path.clone(), *inode);
            }
            Self::Rename { from, to } => {
                if let Some(inode) = names.remove(from) {
                    names.insert(to.clone(), inode);
                }
            }
            Self::Remove { path } => {
                names.remove(path);
            }
        }
    }
}

#[derive(Clone, Debug)]
struct Fault {
    operation: Operation,
    after: u64,
    times: u64,
    error: io::ErrorKind,
}

#[derive(Clone, Debug)]
pub(super) struct World {
    rng: Rng,
    inodes: BTreeMap<u64, Inode>,
    inodes_made: u64,
    names: BTreeMap<PathBuf, u64>,
    durable_names: BTreeMap<PathBuf, u64>,
    unsynced_names: Vec<NameChange>,
    directories: BTreeSet<PathBuf>,
    locks: BTreeSet<PathBuf>,
    /// Goes up when open files and locks die.
    incarnation: u64,
    faults: Vec<Fault>,
    stop_after: Option<u64>,
    capacity: Option<u64>,
    counts: Counts,
    observer: Option<Observer>,
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            rng: Rng(seed),
            inodes: BTreeMap::new(),
            inodes_made: 0,
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            unsynced_names: Vec::new(),
            directories: BTreeSet::new(),
            locks: BTreeSet::new(),
            incarnation: 0,
            faults: Vec::new(),
            stop_after: None,
            capacity: None,
            counts: Counts::default(),
            observer: None,
        }
    }

    pub(super) fn fork(&self, seed: u64) -> Self {
        let mut fork = Self::new(seed);
        fork.names = self.names.clone();
        fork.durable_names = self.durable_names.clone();
        fork.unsynced_names = self.unsynced_names.clone();
        fork.directories = self.directories.clone();
        // Removed files that only open handles keep are not copied: the handles are not.
        let created = self.unsynced_names.iter().filter_map(|change| match change {
            NameChange::Create { inode, .. } => Some(inode),
            NameChange::Rename { .. } | NameChange::Remove { .. } => None,
        });
        for inode in self
            .names
            .values()
            .chain(self.durable_names.values())
            .chain(created)
        {
            if let Some(file) = self.inodes.get(inode) {
                fork.inodes.insert(*inode, file.clone());
            }
        }
        fork.inodes_made = self.inodes_made;
        fork.capacity = self.capacity;
        fork
    }

    pub(super) fn kill(&mut self) {
        self.incarnation += 1;
        self.locks.clear();
        self.heal();
    }

    pub(super) fn power_cut(&mut self) {
        self.kill();
        let mut names = std::mem::take(&mut self.durable_names);
        let keep_of_8 = *self.rng.pick(&[0, 8, 4, 4]);
        for change in std::mem::take(&mut self.unsynced_names) {
            if self.rng.below(8) < keep_of_8 {
                change.apply(&mut names);
            }
        }
        let named: BTreeSet<u64> = names.values().copied().collect();
        self.inodes.retain(|inode, _| named.contains(inode));
        for inode in self.inodes.values_mut() {
            inode.power_cut(&mut self.rng);
        }
        self.durable_names = names.clone();
        self.names = names;
    }

    pub(super) fn wipe(&mut self) {
        self.kill();
        self.inodes.clear();
        self.names.clear();
        self.durable_names.clear();
        self.unsynced_names.clear();
        self.directories.clear();
    }

    pub(super) fn heal(&mut self) {
        self.faults.clear();
        self.stop_after = None;
    }

    pub(super) fn stop_after(&mut self, changes: u64) {
        self.stop_after = Some(changes);
    }

    pub(super) fn fail(&mut self, operation: Operation, after: u64, times: u64, error: io::ErrorKind) {
        self.faults.push(Fault {
            operation,
            after,
            times,
            error,
        });
    }

    pub(super) fn observe(&mut self, observer: Observer) {
        self.observer = Some(observer);
    }

    /// Shows the disk to its observer, after a change.
    fn show(&mut self) {
        if let Some(Observer(observer)) = self.observer.clone() {
            let seed = self.rng.next();
            let copy = SimDisk(std::sync::Arc::new(parking_lot::Mutex::new(self.fork(seed))));
            let mut observer = observer.lock();
            (*observer)(copy);
        }
    }

    pub(super) fn set_capacity(&mut self, bytes: Option<u64>) {
        self.capacity = bytes;
    }

    pub(super) const fn counts(&self) -> Counts {
        self.counts
    }

    pub(super) fn paths(&self) -> Vec<PathBuf> {
        self.names.keys().cloned().collect()
    }

    pub(super) fn contents(&self, path: &Path) -> Option<Vec<u8>> {
        self.names
            .get(path)
            .and_then(|inode| self.inodes.get(inode))
            .map(|inode| inode.bytes.clone())
    }

    pub(super) fn set_contents(&mut self, path: &Path, bytes: &[u8]) {
        let inode = match self.names.get(path) {
            Some(inode) => *inode,
            None => {
                let inode = self.make_inode();
                self.names.insert(path.to_path_buf(), inode);
                inode
            }
        };
        self.durable_names.insert(path.to_path_buf(), inode);
        self.inodes.insert(inode, Inode::durable(bytes.to_vec()));
    }

    pub(super) fn flip(&mut self, path: &Path, offset: u64, mask: u8) -> bool {
        let inode = self.names.get(path).and_then(|inode| self.inodes.get_mut(inode));
        let offset = usize::try_from(offset).unwrap_or(usize::MAX);
        let byte = inode.and_then(|inode| inode.bytes.get_mut(offset));
        byte.map(|byte| *byte ^= mask).is_some()
    }

    pub(super) fn lose(&mut self, path: &Path) -> bool {
        self.durable_names.remove(path);
        self.names.remove(path).is_some()
    }

    fn make_inode(&mut self) -> u64 {
        self.inodes_made += 1;
        self.inodes.insert(self.inodes_made, Inode::default());
        self.inodes_made
    }

    /// Fails if the machine has stopped.
    fn check_running(&self) -> io::Result<()> {
        if self.stop_after == Some(0) {
            Err(io::Error::other("the machine has stopped"))
        } else {
            Ok(())
        }
    }

    /// Counts a call that changes something; it is carried out, unless the machine has stopped.
    fn change(&mut self) -> io::Result<()> {
        self.check_running()?;
        if let Some(left) = &mut self.stop_after {
            *left -= 1;
        }
        self.counts.changes += 1;
        Ok(())
    }

    /// The injected failure of this call, if it is its turn.
    fn fault(&mut self, operation: Operation) -> Option<io::Error> {
        let mut failure = None;
        for fault in self
            .faults
            .iter_mut()
            .filter(|fault| fault.operation == operation)
        {
            if fault.after > 0 {
                fault.after -= 1;
            } else if fault.times > 0 {
                fault.times -= 1;
                failure = Some(io::Error::new(fault.error, "injected"));
            }
        }
        failure
    }

    pub(super) fn create_dir_all(&mut self, path: &Path) -> io::Result<()> {
        self.check_running()?;
        self.directories.extend(path.ancestors().map(Path::to_path_buf));
        Ok(())
    }

    pub(super) fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        self.check_running()?;
        let inside = self
            .names
            .keys()
            .chain(&self.directories)
            .filter(|child| child.parent() == Some(path));
        let mut names: Vec<String> = inside
            .filter_map(|child| child.file_name())
            .map(|name| name.to_string_lossy().into_owned())
            .collect();
        names.sort_unstable();
        Ok(names)
    }

    pub(super) fn open(&mut self, path: &Path, mode: OpenMode) -> io::Result<(u64, u64)> {
        self.check_running()?;
        let existing = self.names.get(path).copied();
        let inode = match (mode, existing) {
            (OpenMode::Read | OpenMode::Write, Some(inode)) => inode,
            (OpenMode::Read | OpenMode::Write, None) => return Err(io::ErrorKind::NotFound.into()),
            (OpenMode::Create, Some(_)) => return Err(io::ErrorKind::AlreadyExists.into()),
            (OpenMode::Create, None) => {
                self.change()?;
                if let Some(error) = self.fault(Operation::Create) {
                    return Err(error);
                }
                let inode = self.make_inode();
                self.names.insert(path.to_path_buf(), inode);
                self.unsynced_names.push(NameChange::Create {
                    path: path.to_path_buf(),
                    inode,
                });
                inode
            }
        };
        Ok((inode, self.incarnation))
    }

    pub(super) fn exists(&self, path: &Path) -> io::Result<bool> {
        self.check_running()?;
        Ok(self.names.contains_key(path) || self.directories.contains(path))
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        self.change()?;
        if !self.names.contains_key(from) {
            return Err(io::ErrorKind::NotFound.into());
        }
        self.change_names(NameChange::Rename {
            from: from.to_path_buf(),
            to: to.to_path_buf(),
        });
        Ok(())
    }

    pub(super) fn remove(&mut self, path: &Path) -> io::Result<()> {
        self.change()?;
        if !self.names.contains_key(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        self.change_names(NameChange::Remove {
            path: path.to_path_buf(),
        });
        Ok(())
    }

    fn change_names(&mut self, change: NameChange) {
        change.apply(&mut self.names);
        self.unsynced_names.push(change);
        self.show();
    }

    pub(super) fn sync_dir(&mut self, path: &Path) -> io::Result<()> {
        self.change()?;
        for change in std::mem::take(&mut self.unsynced_names) {
            if change.directory() == Some(path) {
                change.apply(&mut self.durable_names);
            } else {
                self.unsynced_names.push(change);
            }
        }
        self.show();
        Ok(())
    }

    pub(super) fn take_lock(&mut self, path: &Path) -> io::Result<u64> {
        self.check_running()?;
        if self.locks.insert(path.to_path_buf()) {
            Ok(self.incarnation)
        } else {
            Err(io::ErrorKind::WouldBlock.into())
        }
    }

    pub(super) fn release_lock(&mut self, path: &Path, incarnation: u64) {
        if incarnation == self.incarnation {
            self.locks.remove(path);
        }
    }

    fn inode(&mut self, inode: u64, incarnation: u64) -> io::Result<&mut Inode> {
        self.check_running()?;
        if incarnation != self.incarnation {
            return Err(io::Error::other("the process that opened the file is dead"));
        }
        self.inodes
            .get_mut(&inode)
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    pub(super) fn len(&mut self, inode: u64, incarnation: u64) -> io::Result<u64> {
        Ok(self.inode(inode, incarnation)?.bytes.len() as u64)
    }

    pub(super) fn read_at(
        &mut self,
        inode: u64,
        incarnation: u64,
        buffer: &mut [u8],
        offset: u64,
    ) -> io::Result<usize> {
        if let Some(error) = self.fault(Operation::Read) {
            return Err(error);
        }
        let offset = usize::try_from(offset).unwrap_or(usize::MAX);
        Ok(self.inode(inode, incarnation)?.read_at(buffer, offset))
    }

    pub(super) fn write_at(
        &mut self,
        inode: u64,
        incarnation: u64,
        bytes: &[u8],
        offset: u64,
    ) -> io::Result<()> {
        self.inode(inode, incarnation)?;
        self.change()?;
        self.counts.writes += 1;
        self.counts.written_bytes += bytes.len() as u64;
        let offset = usize::try_from(offset).map_err(|_| io::ErrorKind::InvalidInput)?;
        if let Some(error) = self.fault(Operation::Write) {
            let part = self.rng.below_len(bytes.len() + 1);
            let part = bytes.get(..part).unwrap_or_default().to_vec();
            self.inode_unchecked(inode, |inode| inode.write_at(&part, offset));
            return Err(error);
        }
        let named = self.names.values().filter_map(|inode| self.inodes.get(inode));
        let used: usize = named.map(|inode| inode.bytes.len()).sum();
        let len = self.inodes.get(&inode).map_or(0, |inode| inode.bytes.len());
        let growth = (offset + bytes.len()).saturating_sub(len);
        if growth > 0
            && self
                .capacity
                .is_some_and(|capacity| (used + growth) as u64 > capacity)
        {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.inode_unchecked(inode, |inode| inode.write_at(bytes, offset));
        self.show();
        Ok(())
    }

    fn inode_unchecked(&mut self, inode: u64, change: impl FnOnce(&mut Inode)) {
        if let Some(inode) = self.inodes.get_mut(&inode) {
            change(inode);
        }
    }

    pub(super) fn sync_data(&mut self, inode: u64, incarnation: u64) -> io::Result<()> {
        self.inode(inode, incarnation)?;
        self.change()?;
        self.counts.syncs += 1;
        if let Some(error) = self.fault(Operation::Sync) {
            if let Some(inode) = self.inodes.get_mut(&inode) {
                inode.fail_sync(&mut self.rng);
            }
            return Err(error);
        }
        self.inode_unchecked(inode, Inode::sync);
        self.show();
        Ok(())
    }

    pub(super) fn set_len(&mut self, inode: u64, incarnation: u64, len: u64) -> io::Result<()> {
        let len = usize::try_from(len).map_err(|_| io::ErrorKind::InvalidInput)?;
        self.inode(inode, incarnation)?;
        self.change()?;
        self.inode_unchecked(inode, |inode| inode.set_len(len));
        self.show();
        Ok(())
    }
}
