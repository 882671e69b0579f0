//! What readers and the writer share: the newest entries, and where the older ones are.

use std::collections::{BTreeMap, VecDeque};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use tokio::sync::watch;

use super::LogHealth;
use super::record::Carried;
use super::segment::Segment;
use crate::limits;
use crate::stats::LogStats;
use crate::storage_error::StorageError;
use crate::types::{Entry, LogId};

/// An open log.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) state: Mutex<State>,
    /// The first failure; nothing is written or acknowledged after it (I12).
    failure: OnceLock<StorageError>,
    health: watch::Sender<LogHealth>,
    /// The disk is full, as `health` says: asked for every write.
    is_full: AtomicBool,
    closing: AtomicBool,
    pub(super) stats: LogStats,
}

impl Shared {
    pub(super) fn new(state: State) -> Self {
        let (health, _) = watch::channel(LogHealth::Healthy);
        Self {
            state: Mutex::new(state),
            failure: OnceLock::new(),
            health,
            is_full: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            stats: LogStats::default(),
        }
    }

    pub(super) fn health(&self) -> watch::Receiver<LogHealth> {
        self.health.subscribe()
    }

    pub(super) fn check(&self) -> Result<(), StorageError> {
        self.failure.get().map_or(Ok(()), |failure| Err(failure.clone()))
    }

    pub(super) fn fail(&self, error: StorageError) {
        if self.failure.set(error.clone()).is_ok() {
            tracing::error!(%error, "the log failed and acknowledges nothing more");
            self.health.send_replace(LogHealth::Failed(error));
        }
    }

    /// Notes whether the next segment can be made.
    pub(super) fn note_space(&self, full: Option<&StorageError>) {
        self.is_full.store(full.is_some(), Ordering::Release);
        self.health.send_if_modified(|health| match (&*health, full) {
            (LogHealth::Healthy, Some(error)) => {
                tracing::warn!(%error, "no space for the next log segment");
                *health = LogHealth::DiskFull(error.clone());
                true
            }
            (LogHealth::DiskFull(_), None) => {
                *health = LogHealth::Healthy;
                true
            }
            (LogHealth::Healthy | LogHealth::DiskFull(_) | LogHealth::Failed(_), _) => false,
        });
    }

    pub(super) fn is_full(&self) -> bool {
        self.is_full.load(Ordering::Acquire)
    }

    /// From here on nothing more comes, and waiting for space is pointless.
    pub(super) fn close(&self) {
        self.closing.store(true, Ordering::Release);
    }

    pub(super) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }
}

/// Where an entry's record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) first_index: u64,
    pub(super) segment: u64,
    pub(super) offset: u64,
    /// Where the frame that it is in ends.
    pub(super) frame_end: u64,
}

/// What the writer did to the positions, in order.
#[derive(Clone, Copy, Debug)]
pub(super) enum Mark {
    Position(Position),
    /// Positions of entries after this index are void; all, if `None`.
    Truncate(Option<u64>),
}

#[derive(Debug)]
struct Slot {
    entry: Entry,
    bytes: usize,
    ticket: u64,
}

/// A segment that is kept.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    pub(super) segment: Segment,
    /// The highest index of an entry in it, void ones included.
    pub(super) last_index: Option<u64>,
    /// Bytes before this do not change any more.
    pub(super) written: u64,
}

impl Kept {
    pub(super) const fn new(segment: Segment, written: u64) -> Self {
        Self {
            segment,
            last_index: None,
            written,
        }
    }
}

/// The log as callers see it: what was appended is here at once, on disk a little later.
///
/// ```text
///   purged │ first ....... read through `positions` ....... │ tail, in memory │ last
/// ```
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) carried: Carried,
    /// The index of the first entry that can be read, if there is one.
    first: u64,
    tail: VecDeque<Slot>,
    tail_bytes: usize,
    tail_bytes_max: usize,
    /// By first index. The entries from one to the next lie in order behind it.
    positions: Vec<Position>,
    pub(super) segments: BTreeMap<u64, Kept>,
    /// Appends are numbered; those up to this one are in their segments and can be read
    /// there.
    written: u64,
}

impl State {
    pub(super) fn new(tail_bytes_max: usize) -> Self {
        Self {
            tail_bytes_max,
            ..Self::default()
        }
    }

    /// Starts a recovery from what the first segment that is kept carries.
    pub(super) fn start(&mut self, carried: Carried) {
        self.first = carried.next_index().unwrap_or_default();
        self.carried = carried;
    }

    /// The indices that can be read.
    pub(super) fn readable(&self) -> std::ops::Range<u64> {
        let end = self.carried.next_index().unwrap_or_default();
        self.first.min(end)..end
    }

    /// The first index that is in memory.
    pub(super) fn tail_start(&self) -> u64 {
        self.readable().end.saturating_sub(self.tail.len() as u64)
    }

    /// Takes an entry in. `Err` with the index that should have come.
    pub(super) fn push(&mut self, entry: Entry, bytes: usize, ticket: u64) -> Result<(), u64> {
        match self.carried.next_index() {
            Some(expected) if expected != entry.log_id.index => return Err(expected),
            Some(_) => {}
            None => self.first = entry.log_id.index,
        }
        self.carried.last = Some(entry.log_id);
        self.tail_bytes += bytes;
        self.tail.push_back(Slot { entry, bytes, ticket });
        Ok(())
    }

    pub(super) fn truncate_after(&mut self, last: Option<LogId>) {
        self.carried.truncate_after(last);
        let end = self.carried.next_index().unwrap_or_default();
        while self
            .tail
            .back()
            .is_some_and(|slot| slot.entry.log_id.index >= end)
        {
            self.tail_bytes -= self.tail.pop_back().map_or(0, |slot| slot.bytes);
        }
        self.first = self.first.min(end);
    }

    pub(super) fn purge(&mut self, upto: LogId) {
        self.carried.purge(upto);
        while self
            .tail
            .front()
            .is_some_and(|slot| slot.entry.log_id.index <= upto.index)
        {
            self.tail_bytes -= self.tail.pop_front().map_or(0, |slot| slot.bytes);
        }
        self.first = self.first.max(upto.index + 1);
    }

    /// Notes that the writer wrote the appends up to `ticket`.
    pub(super) fn note_written(&mut self, ticket: u64, marks: impl IntoIterator<Item = Mark>) {
        for mark in marks {
            match mark {
                Mark::Position(position) => self.positions.push(position),
                Mark::Truncate(last) => {
                    self.positions
                        .retain(|position| last.is_some_and(|last| position.first_index <= last));
                }
            }
        }
        self.written = self.written.max(ticket);
        while self.tail_bytes > self.tail_bytes_max
            && let Some(slot) = self.tail.pop_front_if(|slot| slot.ticket <= self.written)
        {
            self.tail_bytes -= slot.bytes;
        }
    }

    /// Takes out the segments, from the first, whose entries are all purged, and the
    /// positions in them. The one being written stays.
    pub(super) fn take_purged_segments(&mut self, purged: u64) -> Vec<Segment> {
        let mut taken = Vec::new();
        while self.segments.len() > 1
            && let Some(oldest) = self.segments.first_entry()
            && oldest.get().last_index.is_none_or(|last| last <= purged)
        {
            taken.push(oldest.remove().segment);
        }
        let first = self.segments.first_key_value().map_or(0, |(number, _)| *number);
        self.positions.retain(|position| position.segment >= first);
        taken
    }

    /// The last entry of the segment before those that hold the newest `kept_bytes` of all
    /// that end at or before entry `upto`.
    pub(super) fn purgeable(&self, upto: u64, kept_bytes: u64) -> Option<u64> {
        let mut newer_bytes = 0_u64;
        for kept in self.segments.values().rev() {
            let Some(last) = kept.last_index.filter(|last| *last <= upto) else {
                continue;
            };
            if newer_bytes >= kept_bytes {
                return Some(last);
            }
            newer_bytes = newer_bytes.saturating_add(kept.written);
        }
        None
    }

    /// Bytes of the segments that are kept.
    pub(super) fn kept_bytes(&self) -> u64 {
        self.segments.values().map(|kept| kept.written).sum()
    }

    /// Where to read from for `index`, how far that leads, and in which segments.
    pub(super) fn locate(&self, index: u64) -> Option<(Position, Option<u64>)> {
        let after = self
            .positions
            .partition_point(|position| position.first_index <= index);
        let position = after.checked_sub(1).and_then(|at| self.positions.get(at))?;
        Some((*position, self.positions.get(after).map(|next| next.first_index)))
    }

    /// Appends the in-memory entries in `start..end` to `entries` while they stay within
    /// `budget` bytes; one fits always when `entries` is empty.
    pub(super) fn read_tail(&self, start: u64, end: u64, budget: &mut Budget, entries: &mut Vec<Entry>) {
        let skip = usize::try_from(start.saturating_sub(self.tail_start())).unwrap_or(usize::MAX);
        let count = usize::try_from(end.saturating_sub(start)).unwrap_or(usize::MAX);
        for slot in self.tail.iter().skip(skip).take(count) {
            if !budget.take(slot.bytes) {
                break;
            }
            entries.push(slot.entry.clone());
        }
    }
}

/// How many bytes of entries a read may still give out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Budget {
    left: usize,
    started: bool,
}

impl Budget {
    pub(super) const fn unlimited() -> Self {
        Self {
            left: usize::MAX,
            started: false,
        }
    }

    pub(super) const fn of_one_read() -> Self {
        Self {
            left: limits::LOG_READ_ENTRIES_BYTES,
            started: false,
        }
    }

    /// Whether an entry of `bytes` may be given out too. The first one always may.
    pub(super) const fn take(&mut self, bytes: usize) -> bool {
        let fits = !self.started || bytes <= self.left;
        self.started = true;
        self.left = self.left.saturating_sub(bytes);
        fits
    }
}

/// Decides which entries get a position: one in about [`limits::LOG_POSITION_EVERY_BYTES`],
/// and every one that does not simply follow the entry before it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sparseness {
    next: Option<(u64, u64)>,
}

impl Sparseness {
    /// The next entry gets a position.
    pub(super) const fn force(&mut self) {
        self.next = None;
    }

    /// Whether the entry at `offset` of `segment` gets one.
    pub(super) fn wants(&mut self, segment: u64, offset: u64) -> bool {
        let wanted = self.next.is_none_or(|(of, next)| of != segment || offset >= next);
        if wanted {
            self.next = Some((segment, offset + limits::LOG_POSITION_EVERY_BYTES));
        }
        wanted
    }
}
