//! One file's bytes, and what a power cut may take back of them.

use std::collections::BTreeMap;

use super::SECTOR_BYTES;
use super::world::Rng;

/// What a sector held when the file was last synced.
#[derive(Clone, Debug)]
struct Undo {
    old: [u8; SECTOR_BYTES],
    /// A failed sync dropped it from the page cache's books: no later sync saves it.
    lost: bool,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Inode {
    /// What processes read.
    pub(super) bytes: Vec<u8>,
    /// Sectors that differ from the disk, by number.
    unsynced: BTreeMap<usize, Undo>,
    durable_len: usize,
}

impl Inode {
    pub(super) fn durable(bytes: Vec<u8>) -> Self {
        Self {
            durable_len: bytes.len(),
            bytes,
            unsynced: BTreeMap::new(),
        }
    }

    pub(super) fn read_at(&self, buffer: &mut [u8], offset: usize) -> usize {
        let there = self.bytes.get(offset..).unwrap_or_default();
        let len = there.len().min(buffer.len());
        for (to, from) in buffer.iter_mut().zip(there) {
            *to = *from;
        }
        len
    }

    pub(super) fn write_at(&mut self, bytes: &[u8], offset: usize) {
        let end = offset + bytes.len();
        self.remember(offset, end);
        if self.bytes.len() < end {
            self.bytes.resize(end, 0);
        }
        if let Some(target) = self.bytes.get_mut(offset..end) {
            target.copy_from_slice(bytes);
        }
    }

    pub(super) fn set_len(&mut self, len: usize) {
        if len < self.bytes.len() {
            self.remember(len, self.bytes.len());
        }
        self.bytes.resize(len, 0);
    }

    /// Keeps the old content of the sectors in `start..end` until the next sync.
    fn remember(&mut self, start: usize, end: usize) {
        for sector in start / SECTOR_BYTES..end.div_ceil(SECTOR_BYTES) {
            let mut old = [0; SECTOR_BYTES];
            self.read_at(&mut old, sector * SECTOR_BYTES);
            self.unsynced
                .entry(sector)
                .or_insert(Undo { old, lost: false })
                .lost = false;
        }
    }

    pub(super) fn sync(&mut self) {
        self.unsynced.retain(|_, undo| undo.lost);
        self.durable_len = self.bytes.len();
    }

    /// A sync that fails: some sectors reach the disk, the others are forgotten.
    pub(super) fn fail_sync(&mut self, rng: &mut Rng) {
        self.unsynced.retain(|_, undo| {
            undo.lost = undo.lost || rng.flip();
            undo.lost
        });
    }

    /// Keeps a random subset of what was not synced.
    pub(super) fn power_cut(&mut self, rng: &mut Rng) {
        let len = if rng.flip() {
            self.bytes.len()
        } else {
            self.durable_len
        };
        // All, none and a mixture each have their turn: the extremes find other bugs.
        let keep_of_8 = *rng.pick(&[0, 8, 1, 4, 4, 7]);
        for (sector, undo) in std::mem::take(&mut self.unsynced) {
            let keep = !undo.lost && rng.below(8) < keep_of_8;
            // Some disks tear even a sector: a part of it is new, the rest old.
            let torn = !undo.lost && rng.below(16) == 0;
            let kept = if torn {
                rng.below_len(SECTOR_BYTES)
            } else if keep {
                SECTOR_BYTES
            } else {
                0
            };
            let start = sector * SECTOR_BYTES;
            let end = start + SECTOR_BYTES;
            if self.bytes.len() < end && kept < SECTOR_BYTES {
                // What was cut off comes back when the cut itself is lost.
                self.bytes.resize(end, 0);
            }
            if let Some(target) = self.bytes.get_mut(start + kept..end)
                && let Some(old) = undo.old.get(kept..)
            {
                target.copy_from_slice(old);
            }
        }
        self.bytes.resize(len, 0);
        self.durable_len = len;
    }
}
