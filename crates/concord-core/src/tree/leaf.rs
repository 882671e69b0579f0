//! A leaf: a few dozen records in one buffer.
//!
//! ```text
//!   page:  | n | key ........ | cell ..... | n | key .. | cell .......... | ...   in key order
//!            ^ starts[0]                     ^ starts[1]
//! ```
//!
//! The order in the page is the key order, so a walk reads forward, a split is one copy and
//! there is never garbage to collect; an insert moves the bytes behind it, which at these
//! sizes costs less than the cache miss that found them. A point read compares one byte for
//! each slot, then usually one key.
#![expect(
    clippy::indexing_slicing,
    reason = "slots below `count` and their offsets lie in the page"
)]

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cmp::Ordering;
use core::ops::Range;

use super::cell::{Cell, NewCell};
use super::digest::fingerprint;

/// A leaf is split when its page would grow past this, unless it has one record only.
/// Unit tests run with tiny nodes, so that few keys make a tall tree.
pub(super) const LEAF_BYTES: usize = if cfg!(test) { 512 } else { 4096 };

/// A leaf is split when it would hold more records than this.
pub(super) const SLOTS: usize = if cfg!(test) { 8 } else { 24 };

/// Page capacity is a multiple of this, so that not every insert moves the page.
const PAGE_STEP: usize = 128;

/// In the first byte of a record: the key's length follows in two bytes.
const KEY_LENGTH_U16: u8 = 254;
/// In the first byte of a record: the key's length follows in eight bytes.
const KEY_LENGTH_U64: u8 = 255;

/// Records in key order. Only a leaf outside a tree is ever empty.
///
/// With its reference counts two cache lines, of which a point read needs both.
#[derive(Clone)]
pub(super) struct Leaf {
    page: Vec<u8>,
    large: Option<Box<LargeCells>>,
    /// Where each record starts. The last record may be long, its start cannot be.
    starts: [u16; SLOTS],
    /// One byte of hash for each key: says where to look, and mostly that there is nothing.
    fingerprints: [u8; SLOTS],
    count: u8,
}

/// The cells that are not in the page.
#[derive(Clone)]
struct LargeCells {
    /// Bit `n`: slot `n` has such a cell, and its record in the page has none.
    slots: u32,
    /// In slot order.
    cells: Vec<Arc<[u8]>>,
}

impl LargeCells {
    fn rank(&self, slot: usize) -> usize {
        (self.slots & low_bits(slot)).count_ones() as usize
    }

    fn get(&self, slot: usize) -> Option<&Arc<[u8]>> {
        if self.slots & bit(slot) == 0 {
            None
        } else {
            self.cells.get(self.rank(slot))
        }
    }

    fn insert(&mut self, slot: usize, cell: Arc<[u8]>) {
        self.cells.insert(self.rank(slot), cell);
        self.slots |= bit(slot);
    }

    fn remove(&mut self, slot: usize) {
        if self.slots & bit(slot) != 0 {
            self.cells.remove(self.rank(slot));
            self.slots &= !bit(slot);
        }
    }
}

impl Leaf {
    pub(super) const fn new() -> Self {
        Self {
            page: Vec::new(),
            large: None,
            starts: [0; SLOTS],
            fingerprints: [0; SLOTS],
            count: 0,
        }
    }

    pub(super) fn count(&self) -> usize {
        usize::from(self.count)
    }

    fn set_count(&mut self, count: usize) {
        debug_assert!(count <= SLOTS, "{count} records");
        self.count = u8::try_from(count).unwrap_or(u8::MAX);
    }

    /// A copy that can take `extra` more bytes in place.
    pub(super) fn copy_with_room(&self, extra: usize) -> Self {
        let mut page = Vec::with_capacity(page_capacity(self.page.len().saturating_add(extra)));
        page.extend_from_slice(&self.page);
        Self {
            page,
            large: self.large.clone(),
            ..*self
        }
    }

    /// A copy in which `slot` has another cell.
    pub(super) fn copy_replacing(&self, slot: usize, cell: NewCell<'_>) -> Self {
        let old = self.key_and_cell_ranges(slot).1;
        let new_bytes = match &cell {
            NewCell::Inline(bytes) => bytes,
            NewCell::Shared(_) => &[][..],
        };
        let len = self.page.len() - old.len() + new_bytes.len();
        let mut page = Vec::with_capacity(len);
        page.extend_from_slice(&self.page[..old.start]);
        page.extend_from_slice(new_bytes);
        page.extend_from_slice(&self.page[old.end..]);
        let mut copy = Self {
            page,
            large: self.large.clone(),
            ..*self
        };
        if new_bytes.len() != old.len() {
            let count = copy.count();
            for start in &mut copy.starts[slot + 1..count] {
                *start = narrow(usize::from(*start) - old.len() + new_bytes.len());
            }
        }
        copy.remove_large(slot);
        if let NewCell::Shared(cell) = cell {
            copy.set_large(slot, cell);
        }
        copy
    }

    fn record_range(&self, slot: usize) -> Range<usize> {
        let end = if slot + 1 < self.count() {
            usize::from(self.starts[slot + 1])
        } else {
            self.page.len()
        };
        usize::from(self.starts[slot])..end
    }

    /// Where the key and the cell of `slot` lie in the page.
    fn key_and_cell_ranges(&self, slot: usize) -> (Range<usize>, Range<usize>) {
        let record = self.record_range(slot);
        let (header, key_bytes) = match &self.page[record.clone()] {
            &[KEY_LENGTH_U16, a, b, ..] => (3, usize::from(u16::from_le_bytes([a, b]))),
            &[KEY_LENGTH_U64, a, b, c, d, e, f, g, h, ..] => {
                let bytes = u64::from_le_bytes([a, b, c, d, e, f, g, h]);
                (9, usize::try_from(bytes).unwrap_or(usize::MAX))
            }
            &[bytes, ..] => (1, usize::from(bytes)),
            [] => (0, 0),
        };
        let key = record.start + header;
        let cell = key + key_bytes;
        (key..cell, cell..record.end)
    }

    pub(super) fn key(&self, slot: usize) -> &[u8] {
        &self.page[self.key_and_cell_ranges(slot).0]
    }

    pub(super) fn key_and_cell(&self, slot: usize) -> (&[u8], Cell<'_>) {
        let (key, cell) = self.key_and_cell_ranges(slot);
        let cell = match self.large(slot) {
            Some(large) => Cell::shared(large),
            None => Cell::inline(&self.page[cell]),
        };
        (&self.page[key], cell)
    }

    /// Where the cell of `slot` lies in the page, or the large cell.
    pub(super) fn locate(&self, slot: usize) -> Result<Range<usize>, &Arc<[u8]>> {
        match self.large(slot) {
            Some(large) => Err(large),
            None => Ok(self.key_and_cell_ranges(slot).1),
        }
    }

    pub(super) fn bytes(&self, range: Range<usize>) -> &[u8] {
        self.page.get(range).unwrap_or_default()
    }

    fn large(&self, slot: usize) -> Option<&Arc<[u8]>> {
        self.large.as_ref()?.get(slot)
    }

    fn set_large(&mut self, slot: usize, cell: Arc<[u8]>) {
        let empty = || {
            Box::new(LargeCells {
                slots: 0,
                cells: Vec::new(),
            })
        };
        self.large.get_or_insert_with(empty).insert(slot, cell);
    }

    fn remove_large(&mut self, slot: usize) {
        if let Some(large) = &mut self.large {
            large.remove(slot);
            if large.cells.is_empty() {
                self.large = None;
            }
        }
    }

    /// The slot that holds `key`, whose fingerprint is `print`.
    pub(super) fn find(&self, key: &[u8], print: u8) -> Option<usize> {
        let mut candidates = matches(&self.fingerprints, print) & low_bits(self.count());
        if candidates.count_ones() > 3 {
            // Keys chosen to collide must not make the search linear.
            return self.search(key).ok();
        }
        while candidates != 0 {
            let slot = candidates.trailing_zeros() as usize;
            if self.key(slot) == key {
                return Some(slot);
            }
            candidates &= candidates - 1;
        }
        None
    }

    /// The slot that holds `key`, or the slot that it would get.
    pub(super) fn search(&self, key: &[u8]) -> Result<usize, usize> {
        let (mut low, mut high) = (0, self.count());
        while low < high {
            let middle = low.midpoint(high);
            match self.key(middle).cmp(key) {
                Ordering::Less => low = middle + 1,
                Ordering::Equal => return Ok(middle),
                Ordering::Greater => high = middle,
            }
        }
        Err(low)
    }

    /// Whether a record of this many page bytes can be added without a split.
    pub(super) fn has_room(&self, record_bytes: usize) -> bool {
        self.count() == 0 || (self.count() < SLOTS && self.page.len() + record_bytes <= LEAF_BYTES)
    }

    /// Whether the cell of `slot` can become `cell` without a split.
    pub(super) fn has_room_to_replace(&self, slot: usize, cell: &NewCell<'_>) -> bool {
        let old = self.key_and_cell_ranges(slot).1.len();
        self.count() == 1 || self.page.len() - old + cell.page_bytes() <= LEAF_BYTES
    }

    /// Gives `slot` another cell. One of the same size is written in place.
    pub(super) fn replace(&mut self, slot: usize, cell: NewCell<'_>) {
        let range = self.key_and_cell_ranges(slot).1;
        self.remove_large(slot);
        match cell {
            NewCell::Inline(bytes) => {
                let range = self.resize(slot, range, bytes.len(), false);
                self.page[range].copy_from_slice(bytes);
            }
            NewCell::Shared(bytes) => {
                self.resize(slot, range, 0, false);
                self.set_large(slot, bytes);
            }
        }
    }

    /// Adds a record as `slot`; the later ones move up. `at_edge` says that more will follow
    /// behind it, so that the page grows by doubling.
    pub(super) fn insert(&mut self, slot: usize, key: &[u8], print: u8, cell: NewCell<'_>, at_edge: bool) {
        debug_assert!(
            slot <= self.count() && self.count() < SLOTS,
            "slot {slot} of {}",
            self.count()
        );
        let start = if slot < self.count() {
            usize::from(self.starts[slot])
        } else {
            self.page.len()
        };
        let count = self.count() + 1;
        self.set_count(count);
        self.starts[slot..count].rotate_right(1);
        self.fingerprints[slot..count].rotate_right(1);
        self.starts[slot] = narrow(start);
        self.fingerprints[slot] = print;
        if let Some(large) = &mut self.large {
            large.slots = (large.slots & low_bits(slot)) | ((large.slots & !low_bits(slot)) << 1);
        }

        let record_bytes = record_bytes(key, &cell);
        let range = self.resize(slot, start..start, record_bytes, at_edge);
        let cell_bytes = match cell {
            NewCell::Inline(bytes) => bytes,
            NewCell::Shared(bytes) => {
                self.set_large(slot, bytes);
                &[]
            }
        };
        write_record(&mut self.page[range], key, cell_bytes);
    }

    /// Removes the record of `slot`.
    pub(super) fn remove(&mut self, slot: usize) {
        self.remove_large(slot);
        let range = self.record_range(slot);
        self.resize(slot, range, 0, false);
        let count = self.count();
        self.starts[slot..count].rotate_left(1);
        self.fingerprints[slot..count].rotate_left(1);
        self.set_count(count - 1);
        if let Some(large) = &mut self.large {
            large.slots = (large.slots & low_bits(slot)) | ((large.slots & !low_bits(slot + 1)) >> 1);
        }
    }

    /// Makes `range`, which lies in the record of `slot`, `bytes` long and returns where it is now.
    fn resize(&mut self, slot: usize, range: Range<usize>, bytes: usize, at_edge: bool) -> Range<usize> {
        let new = range.start..range.start + bytes;
        let old_len = self.page.len();
        match bytes.cmp(&range.len()) {
            Ordering::Equal => return new,
            Ordering::Greater => {
                let len = old_len - range.len() + bytes;
                self.reserve(len, at_edge);
                self.page.resize(len, 0);
                self.page.copy_within(range.end..old_len, new.end);
            }
            Ordering::Less => {
                self.page.copy_within(range.end..old_len, new.end);
                self.page.truncate(old_len - range.len() + bytes);
                if self.page.capacity() > self.page.len() + LEAF_BYTES / 4 {
                    self.page.shrink_to(page_capacity(self.page.len()));
                }
            }
        }
        let count = self.count();
        for start in &mut self.starts[slot + 1..count] {
            *start = narrow(usize::from(*start) - range.len() + bytes);
        }
        new
    }

    fn reserve(&mut self, bytes: usize, at_edge: bool) {
        if bytes > self.page.capacity() {
            let capacity = if at_edge {
                self.page.capacity().saturating_mul(2).min(LEAF_BYTES)
            } else {
                0
            };
            let capacity = page_capacity(bytes.max(capacity));
            self.page.reserve_exact(capacity - self.page.len());
        }
    }

    /// Moves the records from slot `at` on into a leaf of their own, and leaves room for so
    /// many more bytes in either.
    pub(super) fn split_off(&mut self, at: usize, left_extra: usize, right_extra: usize) -> Self {
        let mut right = Self::new();
        if at < self.count() {
            let from = usize::from(self.starts[at]);
            right
                .page
                .reserve_exact(page_capacity(self.page.len() - from + right_extra));
            right.page.extend_from_slice(&self.page[from..]);
            if let Some(large) = &mut self.large {
                let cells = large.cells.split_off(large.rank(at));
                right.large = (!cells.is_empty()).then(|| {
                    Box::new(LargeCells {
                        slots: large.slots >> at,
                        cells,
                    })
                });
                large.slots &= low_bits(at);
                if large.cells.is_empty() {
                    self.large = None;
                }
            }
            right.set_count(self.count() - at);
            for (to, from_slot) in (at..self.count()).enumerate() {
                right.starts[to] = narrow(usize::from(self.starts[from_slot]) - from);
                right.fingerprints[to] = self.fingerprints[from_slot];
            }
            self.page.truncate(from);
            self.set_count(at);
        }
        self.page.shrink_to(page_capacity(self.page.len() + left_extra));
        right
    }

    /// Gives back the room that appending had reserved.
    pub(super) fn shrink(&mut self) {
        self.page.shrink_to_fit();
    }

    /// Adds all records of `right`, whose keys are all greater.
    pub(super) fn append(&mut self, right: &Self) {
        let (base, count) = (self.page.len(), self.count());
        self.reserve(base + right.page.len(), false);
        self.page.extend_from_slice(&right.page);
        for slot in 0..right.count() {
            self.starts[count + slot] = narrow(base + usize::from(right.starts[slot]));
            self.fingerprints[count + slot] = right.fingerprints[slot];
        }
        for slot in 0..right.count() {
            if let Some(large) = right.large(slot) {
                self.set_large(count + slot, Arc::clone(large));
            }
        }
        self.set_count(count + right.count());
    }

    /// Whether it should look for a neighbour to merge with.
    pub(super) fn is_underfull(&self) -> bool {
        self.count() < SLOTS / 4 && self.page.len() < LEAF_BYTES / 4
    }

    /// Whether one leaf could hold the records of both and would not be split again at once.
    pub(super) fn can_merge(&self, other: &Self) -> bool {
        self.count() + other.count() <= SLOTS * 3 / 4
            && self.page.len() + other.page.len() <= LEAF_BYTES * 3 / 4
    }

    /// Where to cut so that `extra` bytes more, as slot `slot`, leave two halves about equal:
    /// the left one gets the slots before the cut, counted with the new record among them.
    /// None if one half would still be too large: then the record needs a leaf of its own
    /// between the two. (A half that is too large has the new record and others on either
    /// side of the best cut, or else the cut beside the record would have been better.)
    pub(super) fn best_cut(&self, slot: usize, extra: usize) -> Option<usize> {
        let total = self.page.len() + extra;
        let (mut left, mut best, mut best_larger) = (0, None, usize::MAX);
        for cut in 1..=self.count() {
            left += match (cut - 1).cmp(&slot) {
                Ordering::Less => self.record_range(cut - 1).len(),
                Ordering::Equal => extra,
                Ordering::Greater => self.record_range(cut - 2).len(),
            };
            let right = total - left;
            let fits = (left <= LEAF_BYTES || cut == 1) && (right <= LEAF_BYTES || cut == self.count());
            if fits && left.max(right) < best_larger {
                (best, best_larger) = (Some(cut), left.max(right));
            }
        }
        best
    }

    /// What is wrong with it, if anything.
    pub(super) fn check(&self) -> Result<(), &'static str> {
        let ensure = |ok: bool, what: &'static str| if ok { Ok(()) } else { Err(what) };
        ensure(self.count() > 0, "empty leaf")?;
        ensure(self.count() <= SLOTS, "too many slots")?;
        ensure(
            self.count() == 1 || self.page.len() <= LEAF_BYTES,
            "leaf too large",
        )?;
        ensure(self.starts[0] == 0, "page starts with a gap")?;
        if let Some(large) = &self.large {
            ensure(
                large.slots & !low_bits(self.count()) == 0,
                "large cell past the last slot",
            )?;
            ensure(
                large.slots.count_ones() as usize == large.cells.len(),
                "large cells miscounted",
            )?;
            ensure(large.slots != 0, "room for large cells where there are none")?;
        }
        ensure(
            self.page.capacity() <= self.page.len() + LEAF_BYTES,
            "page wastes memory",
        )?;
        for slot in 0..self.count() {
            let (key, cell) = self.key_and_cell_ranges(slot);
            ensure(key.end <= cell.end, "record shorter than its key")?;
            let large = self.large(slot).is_some();
            ensure(!large || cell.is_empty(), "large cell in the page")?;
            ensure(
                self.fingerprints[slot] == fingerprint(self.key(slot)),
                "wrong fingerprint",
            )?;
            ensure(
                slot == 0 || self.key(slot - 1) < self.key(slot),
                "keys out of order",
            )?;
            let (_, cell) = self.key_and_cell(slot);
            ensure(
                large == (cell.len() > super::INLINE_CELL_BYTES),
                "cell on the wrong side of the threshold",
            )?;
        }
        Ok(())
    }
}

/// How many bytes of a page a record takes.
pub(super) fn record_bytes(key: &[u8], cell: &NewCell<'_>) -> usize {
    let header = match key.len() {
        0..=253 => 1,
        254..=0xFFFF => 3,
        _ => 9,
    };
    header + key.len() + cell.page_bytes()
}

fn write_record(record: &mut [u8], key: &[u8], cell: &[u8]) {
    let header = record.len() - key.len() - cell.len();
    let (head, rest) = record.split_at_mut(header);
    match head {
        [length] => *length = key.len().to_le_bytes()[0],
        [mark, length @ ..] => {
            *mark = if length.len() == 2 {
                KEY_LENGTH_U16
            } else {
                KEY_LENGTH_U64
            };
            for (to, from) in length.iter_mut().zip(key.len().to_le_bytes()) {
                *to = from;
            }
        }
        [] => {}
    }
    let (to_key, to_cell) = rest.split_at_mut(key.len());
    to_key.copy_from_slice(key);
    to_cell.copy_from_slice(cell);
}

const fn page_capacity(bytes: usize) -> usize {
    bytes.next_multiple_of(PAGE_STEP)
}

/// A record start. Records start within [`LEAF_BYTES`], so nothing is lost.
fn narrow(start: usize) -> u16 {
    debug_assert!(start <= LEAF_BYTES, "record starts at {start}");
    u16::try_from(start).unwrap_or(u16::MAX)
}

const fn bit(slot: usize) -> u32 {
    1 << slot
}

/// The bits of the slots before `slot`, which may be all of them.
const fn low_bits(slot: usize) -> u32 {
    if slot < 32 { (1 << slot) - 1 } else { u32::MAX }
}

/// One bit for each byte of `bytes` that equals `byte`; eight at a time.
fn matches(bytes: &[u8; SLOTS], byte: u8) -> u32 {
    const LOW: u64 = 0x7F7F_7F7F_7F7F_7F7F;
    let pattern = u64::from(byte).wrapping_mul(0x0101_0101_0101_0101);
    let mut mask = 0;
    for (index, word) in bytes.as_chunks::<8>().0.iter().enumerate() {
        let differing = u64::from_le_bytes(*word) ^ pattern;
        // 0x80 exactly in the bytes that are zero, then those bits gathered in the top byte.
        let zero = !((differing & LOW).wrapping_add(LOW) | differing | LOW);
        let gathered = (zero >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56;
        mask |= gathered << (index * 8);
    }
    u32::try_from(mask).unwrap_or(u32::MAX)
}
