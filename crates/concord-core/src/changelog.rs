//! The change log: every change since compaction in order of its place, packed in chunks.
//!
//! ```text
//!   head                sealed                                  tail
//!   [ - - c c c c ] ──> [ c c c c c c ] [ c c c c c c ] ... ──> [ c c c
//!         ^ gone          a tree: first place ──> chunk             grows at its end
//! ```
//!
//! Changes come at one end and go at the other, and nothing in between is ever touched: an
//! append writes the bytes of the change behind those of the last one, and compaction counts
//! on in the oldest chunk. The tree hears of one change in some twenty-five. A clone is O(1)
//! and never changes (I15), like one of the tree.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Bound;

use crate::record::cell::Place;
use crate::state::change;
use crate::tree::{self, Tree};

/// A chunk is closed when its changes take this many bytes.
const CHUNK_BYTES: usize = if cfg!(test) { 256 } else { 4096 };
/// Room for the change that fills a chunk, unless it is a long one.
const CHUNK_SPARE_BYTES: usize = 256;
/// Bytes of a place in front of the cell of each change.
const PLACE_BYTES: usize = 12;
/// Bytes of a number in a chunk.
const NUMBER_BYTES: usize = 4;

/// A change: where it stands and its cell, as [`change::encode`] makes it.
pub(crate) type Item<'a> = (Place, &'a [u8]);

/// The changes that are kept. See the [module](self).
#[derive(Clone, Debug, Default)]
pub(crate) struct ChangeLog {
    /// The oldest chunk. Without one nothing is sealed either.
    head: Option<Arc<[u8]>>,
    /// Changes of the head that were dropped; never all of them.
    gone: usize,
    /// The chunks behind the head by the place of their first change.
    sealed: Tree,
    tail: Arc<Tail>,
    len: usize,
}

/// The newest changes, fewer than a chunk.
#[derive(Debug, Default)]
struct Tail {
    bytes: Vec<u8>,
    /// Where each change ends in `bytes`.
    ends: Vec<[u8; NUMBER_BYTES]>,
}

/// A chunk, wherever it lies: changes back to back, and where each of them ends.
#[derive(Clone, Copy, Debug, Default)]
struct Chunk<'a> {
    bytes: &'a [u8],
    ends: &'a [[u8; NUMBER_BYTES]],
}

impl<'a> Chunk<'a> {
    /// Reads what [`Tail::seal`] wrote: the changes, their ends, how many there are.
    fn sealed(whole: &'a [u8]) -> Self {
        let (ends, count) = whole.split_last_chunk().unwrap_or((&[], &[0; NUMBER_BYTES]));
        let ends_bytes = number(*count).saturating_mul(NUMBER_BYTES);
        let (bytes, ends) = ends
            .split_at_checked(ends.len().saturating_sub(ends_bytes))
            .unwrap_or_default();
        let (ends, _) = ends.as_chunks();
        Self { bytes, ends }
    }

    fn get(self, at: usize) -> Option<Item<'a>> {
        let end = number(*self.ends.get(at)?);
        let start = match at.checked_sub(1) {
            None => 0,
            Some(before) => number(*self.ends.get(before)?),
        };
        let item = self.bytes.get(start..end)?;
        let (place, cell) = item.split_at_checked(PLACE_BYTES)?;
        Some((change::stored_key(place), cell))
    }

    /// How many of its changes are not behind `place`.
    fn count_upto(self, place: Place) -> usize {
        let (mut low, mut high) = (0, self.ends.len());
        while low < high {
            let middle = low.midpoint(high);
            if self.get(middle).is_some_and(|(found, _)| found <= place) {
                low = middle.saturating_add(1);
            } else {
                high = middle;
            }
        }
        low
    }

    fn last(self) -> Option<Place> {
        Some(self.get(self.ends.len().checked_sub(1)?)?.0)
    }
}

fn number(bytes: [u8; NUMBER_BYTES]) -> usize {
    usize::try_from(u32::from_le_bytes(bytes)).unwrap_or(usize::MAX)
}

fn number_bytes(number: usize) -> [u8; NUMBER_BYTES] {
    u32::try_from(number)
        .expect("a chunk is closed at the first change that fills it, which is far below 4 GiB")
        .to_le_bytes()
}

impl Tail {
    fn with_room() -> Self {
        Self {
            bytes: Vec::with_capacity(CHUNK_BYTES + CHUNK_SPARE_BYTES),
            ends: Vec::new(),
        }
    }

    fn chunk(&self) -> Chunk<'_> {
        Chunk {
            bytes: &self.bytes,
            ends: &self.ends,
        }
    }

    fn seal(&self) -> Arc<[u8]> {
        let ends = self.ends.as_flattened();
        let mut whole = Vec::with_capacity(self.bytes.len() + ends.len() + NUMBER_BYTES);
        whole.extend_from_slice(&self.bytes);
        whole.extend_from_slice(ends);
        whole.extend_from_slice(&number_bytes(self.ends.len()));
        whole.into()
    }
}

impl ChangeLog {
    /// How many changes there are.
    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    /// Appends the change at `place`, behind all others, whose cell `encode` appends to a buffer.
    /// Says how many bytes it takes.
    pub(crate) fn push(&mut self, place: Place, encode: impl FnOnce(&mut Vec<u8>)) -> usize {
        debug_assert!(
            self.tail.chunk().last().is_none_or(|last| last < place),
            "changes come in order"
        );
        let tail = self.tail_mut();
        let start = tail.bytes.len();
        tail.bytes.extend_from_slice(&change::key(place));
        encode(&mut tail.bytes);
        let end = tail.bytes.len();
        tail.ends.push(number_bytes(end));
        self.len = self.len.saturating_add(1);
        if end >= CHUNK_BYTES {
            self.seal();
        }
        end.saturating_sub(start)
    }

    /// The tail, copied first if a view holds it too (I15).
    fn tail_mut(&mut self) -> &mut Tail {
        if Arc::get_mut(&mut self.tail).is_none() {
            let mut copy = Tail::with_room();
            copy.bytes.extend_from_slice(&self.tail.bytes);
            copy.ends.extend_from_slice(&self.tail.ends);
            self.tail = Arc::new(copy);
        }
        Arc::get_mut(&mut self.tail).expect("nobody else has the tail: it was just made if need be")
    }

    /// Makes the tail a chunk.
    fn seal(&mut self) {
        let Some((first, _)) = self.tail.chunk().get(0) else {
            return;
        };
        let chunk = self.tail.seal();
        match Arc::get_mut(&mut self.tail) {
            Some(tail) => {
                tail.bytes.clear();
                // A rare long change must not keep its room.
                tail.bytes.shrink_to(CHUNK_BYTES + CHUNK_SPARE_BYTES);
                tail.ends.clear();
            }
            None => self.tail = Arc::new(Tail::with_room()),
        }
        if self.head.is_none() {
            self.head = Some(chunk);
            self.gone = 0;
        } else {
            self.sealed.insert_owned(&change::key(first), chunk.into());
        }
    }

    fn head(&self) -> Chunk<'_> {
        self.head.as_deref().map(Chunk::sealed).unwrap_or_default()
    }

    /// The oldest change.
    pub(crate) fn first(&self) -> Option<Item<'_>> {
        match &self.head {
            Some(head) => Chunk::sealed(head).get(self.gone),
            None => self.tail.chunk().get(0),
        }
    }

    /// Drops the oldest change.
    pub(crate) fn drop_first(&mut self) {
        if self.head.is_none() {
            self.seal();
        }
        if self.head.is_none() {
            return;
        }
        self.len = self.len.saturating_sub(1);
        self.gone = self.gone.saturating_add(1);
        if self.gone >= self.head().ends.len() {
            self.head = self.sealed.pop_first().map(|(_, chunk)| chunk.into_shared());
            self.gone = 0;
        }
    }

    /// The cell of the change at `place`.
    pub(crate) fn get(&self, place: Place) -> Option<&[u8]> {
        let (chunk, at) = self.upto(place);
        let (found, cell) = chunk.get(at.checked_sub(1)?)?;
        (found == place).then_some(cell)
    }

    /// The chunk in which `place` stands or would, and how many of its changes are not behind it,
    /// those that are gone included; an empty one if all changes are behind it.
    fn upto(&self, place: Place) -> (Chunk<'_>, usize) {
        let begins_upto = |chunk: Chunk<'_>| chunk.get(0).is_some_and(|(first, _)| first <= place);
        let tail = self.tail.chunk();
        let chunk = if begins_upto(tail) {
            tail
        } else {
            let key = change::key(place);
            let mut before = self.sealed.range((Bound::Unbounded, Bound::Included(&key)));
            match before.next_back() {
                Some((_, cell)) => Chunk::sealed(cell.as_bytes()),
                None => self.head(),
            }
        };
        (chunk, chunk.count_upto(place))
    }

    /// Every change.
    pub(crate) fn iter(&self) -> Iter<'_> {
        Iter {
            chunk: self.head(),
            at: self.gone,
            sealed: self.sealed.iter(),
            tail: Some(self.tail.chunk()),
        }
    }

    /// The changes behind `place`.
    pub(crate) fn after(&self, place: Place) -> Iter<'_> {
        let (chunk, at) = self.upto(place);
        let is_tail = core::ptr::eq(chunk.bytes, self.tail.bytes.as_slice());
        let is_head = self.head.is_some() && core::ptr::eq(chunk.bytes, self.head().bytes);
        let key = change::key(place);
        Iter {
            chunk,
            at: if is_head { at.max(self.gone) } else { at },
            sealed: self.sealed.range((Bound::Excluded(&key), Bound::Unbounded)),
            tail: (!is_tail).then(|| self.tail.chunk()),
        }
    }

    /// Looks at everything and says what is wrong, if anything.
    pub(crate) fn check(&self) -> Result<(), &'static str> {
        let ensure = |ok: bool, what: &'static str| if ok { Ok(()) } else { Err(what) };
        self.sealed.check()?;
        ensure(
            self.head.is_some() || (self.gone == 0 && self.sealed.is_empty()),
            "change log without a head",
        )?;
        ensure(
            self.head.is_none() || self.gone < self.head().ends.len(),
            "head of the change log is used up",
        )?;
        ensure(
            self.tail.bytes.len() < CHUNK_BYTES,
            "tail of the change log is full",
        )?;
        for (key, cell) in self.sealed.iter() {
            let first = Chunk::sealed(cell.as_bytes()).get(0);
            ensure(
                first.is_some_and(|(first, _)| change::key(first) == key),
                "chunk of changes under a wrong key",
            )?;
        }
        ensure(
            self.iter().map(|(place, _)| place).is_sorted(),
            "changes out of order",
        )?;
        ensure(self.iter().count() == self.len, "changes miscounted")
    }
}

/// Walks changes in order.
#[derive(Clone, Debug)]
pub(crate) struct Iter<'a> {
    chunk: Chunk<'a>,
    at: usize,
    sealed: tree::Range<'a>,
    tail: Option<Chunk<'a>>,
}

impl<'a> Iterator for Iter<'a> {
    type Item = Item<'a>;

    fn next(&mut self) -> Option<Item<'a>> {
        loop {
            if let Some(item) = self.chunk.get(self.at) {
                self.at = self.at.saturating_add(1);
                return Some(item);
            }
            self.chunk = match self.sealed.next() {
                Some((_, cell)) => Chunk::sealed(cell.as_bytes()),
                None => self.tail.take()?,
            };
            self.at = 0;
        }
    }
}

#[cfg(test)]
mod tests;
