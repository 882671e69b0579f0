//! Reading entries: the newest from memory, the others from their segments.

use std::ops::{Bound, Range, RangeBounds};
use std::sync::Arc;

use super::Host;
use super::record::{FRAME_HEADER_BYTES, RECORD_HEADER_BYTES, RawRecord, Record, Unreadable, entry_bytes};
use super::scan::Scanner;
use super::segment::{HEADER_BYTES, Segment};
use super::state::{Budget, Position, Shared};
use crate::storage_error::StorageError;
use crate::types::{Entry, LogId, Vote};

/// A read end of the log: openraft's `RaftLogReader`. Clones are independent.
#[derive(Debug)]
pub struct LogReader {
    pub(super) shared: Arc<Shared>,
    host: Host,
    /// The window of the last read from disk; the next one often goes on in it.
    scanner: Option<Scanner>,
}

impl Clone for LogReader {
    fn clone(&self) -> Self {
        Self::new(Arc::clone(&self.shared), self.host)
    }
}

impl LogReader {
    pub(super) const fn new(shared: Arc<Shared>, host: Host) -> Self {
        Self {
            shared,
            host,
            scanner: None,
        }
    }

    /// The entries in a range, as far as they exist.
    ///
    /// # Errors
    ///
    /// [`StorageError::Corrupt`] or [`StorageError::Io`].
    pub async fn entries(&mut self, range: impl RangeBounds<u64>) -> Result<Vec<Entry>, StorageError> {
        self.read(bounds(range), Budget::unlimited()).await
    }

    /// The first entries of a range: at least one if there is any, and more while they
    /// stay within [`crate::limits::LOG_READ_ENTRIES_BYTES`].
    ///
    /// # Errors
    ///
    /// As [`LogReader::entries`].
    pub async fn some_entries(&mut self, range: impl RangeBounds<u64>) -> Result<Vec<Entry>, StorageError> {
        self.read(bounds(range), Budget::of_one_read()).await
    }

    /// The vote that was saved last.
    pub fn vote(&self) -> Option<Vote> {
        self.shared.state.lock().carried.vote
    }

    /// The last purged entry, and the last one (the purged one, if none is left).
    pub fn ends(&self) -> (Option<LogId>, Option<LogId>) {
        let state = self.shared.state.lock();
        (state.carried.purged, state.carried.last)
    }

    /// The indices that can be read.
    pub(crate) fn readable(&self) -> Range<u64> {
        self.shared.state.lock().readable()
    }

    /// The entries of a range, read a piece at a time on the caller's thread.
    pub(crate) fn pieces_blocking(&self, range: Range<u64>) -> LogPieces {
        LogPieces {
            read: DiskRead {
                shared: Arc::clone(&self.shared),
                scanner: None,
                wanted: range,
                budget: Budget::of_one_read(),
            },
        }
    }

    async fn read(&mut self, wanted: Range<u64>, budget: Budget) -> Result<Vec<Entry>, StorageError> {
        let in_memory = {
            let state = self.shared.state.lock();
            let readable = state.readable();
            let wanted = wanted.start.max(readable.start)..wanted.end.min(readable.end);
            (wanted.start >= state.tail_start()).then(|| {
                let (mut budget, mut entries) = (budget, Vec::new());
                state.read_tail(wanted.start, wanted.end, &mut budget, &mut entries);
                entries
            })
        };
        if let Some(entries) = in_memory {
            return Ok(entries);
        }
        let mut read = DiskRead {
            shared: Arc::clone(&self.shared),
            scanner: self.scanner.take(),
            wanted,
            budget,
        };
        match self.host {
            Host::Task => {
                let entries = read.run();
                self.scanner = read.scanner;
                entries
            }
            Host::Thread => {
                let job = tokio::task::spawn_blocking(move || (read.run(), read.scanner));
                let (entries, scanner) = job.await.map_err(|_| StorageError::Closed)?;
                self.scanner = scanner;
                entries
            }
        }
    }
}

pub(super) fn bounds(range: impl RangeBounds<u64>) -> Range<u64> {
    let start = match range.start_bound() {
        Bound::Included(start) => *start,
        Bound::Excluded(start) => start.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(end) => end.saturating_add(1),
        Bound::Excluded(end) => *end,
        Bound::Unbounded => u64::MAX,
    };
    start..end
}

/// A read that begins before the in-memory tail.
struct DiskRead {
    shared: Arc<Shared>,
    scanner: Option<Scanner>,
    wanted: Range<u64>,
    budget: Budget,
}

/// Pieces of the log in order, each of bounded size. Blocks.
pub(crate) struct LogPieces {
    read: DiskRead,
}

impl Iterator for LogPieces {
    type Item = Result<Vec<Entry>, StorageError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.read.budget = Budget::of_one_read();
        let piece = self.read.run();
        match &piece {
            Ok(entries) => self.read.wanted.start = entries.last()?.log_id.index.saturating_add(1),
            Err(_) => self.read.wanted.start = self.read.wanted.end,
        }
        Some(piece)
    }
}

/// Entries from one position to before the next, or to the tail.
struct Stretch {
    position: Position,
    /// The indices to give out.
    wanted: Range<u64>,
}

impl DiskRead {
    fn run(&mut self) -> Result<Vec<Entry>, StorageError> {
        let mut entries = Vec::new();
        let mut next = self.wanted.start;
        loop {
            let stretch = {
                let state = self.shared.state.lock();
                let readable = state.readable();
                next = next.max(readable.start);
                let end = self.wanted.end.min(readable.end);
                let tail_start = state.tail_start();
                if next >= tail_start || next >= end {
                    state.read_tail(next, end, &mut self.budget, &mut entries);
                    return Ok(entries);
                }
                let (position, until) = state.locate(next).ok_or_else(|| lost(next))?;
                let until = until.unwrap_or(tail_start).min(tail_start).min(end);
                Stretch {
                    position,
                    wanted: next..until,
                }
            };
            let end = stretch.wanted.end;
            if !self.read_stretch(stretch, &mut entries)? {
                return Ok(entries);
            }
            next = end;
        }
    }

    /// Moves the scanner to a segment, keeping its window if it is there already. `None`
    /// if the segment was purged under the reader, which is then not meant to need it.
    fn enter(&mut self, number: u64) -> Option<Segment> {
        let kept = self.shared.state.lock().segments.get(&number).cloned()?;
        match &mut self.scanner {
            Some(scanner) if scanner.segment.number == number => scanner.limit = kept.written,
            _ => self.scanner = Some(Scanner::new(kept.segment.clone(), kept.written)),
        }
        Some(kept.segment)
    }

    /// Whether all of it was read; `false` if the budget is used up.
    fn read_stretch(&mut self, stretch: Stretch, entries: &mut Vec<Entry>) -> Result<bool, StorageError> {
        let Stretch { position, wanted } = stretch;
        let (mut number, mut offset, mut frame_end) = (position.segment, position.offset, position.frame_end);
        let mut next = wanted.start;
        loop {
            let segment = self.enter(number).ok_or_else(|| lost(next))?;
            let Some(scanner) = &mut self.scanner else {
                return Err(lost(next));
            };
            // Records of one frame.
            while offset + RECORD_HEADER_BYTES as u64 <= frame_end {
                let left = usize::try_from(frame_end - offset).unwrap_or(usize::MAX);
                let bytes = record_bytes(scanner, offset, left)?;
                let skipped = RawRecord::unchecked(bytes).map_err(|what| segment.corrupt(offset, what))?;
                if skipped.entry_index() == Some(next) {
                    let record = RawRecord::check(bytes, segment.seed, offset);
                    let entry = entry(
                        record.map_err(|what| segment.corrupt(offset, what))?,
                        &segment,
                        offset,
                    )?;
                    if !self.budget.take(entry_bytes(&entry)) {
                        return Ok(false);
                    }
                    entries.push(entry);
                    next += 1;
                    if next >= wanted.end {
                        return Ok(true);
                    }
                }
                offset += skipped.bytes as u64;
            }
            // The next frame, here or in the next segment.
            offset = frame_end;
            match scanner.frame_header(offset)? {
                Ok(header) => {
                    offset += FRAME_HEADER_BYTES as u64;
                    frame_end = offset + u64::from(header.payload_bytes);
                }
                Err(_) if number < self.newest_segment() => {
                    (number, offset, frame_end) = (number + 1, HEADER_BYTES, HEADER_BYTES);
                }
                Err(what) => return Err(segment.corrupt(offset, what)),
            }
        }
    }

    fn newest_segment(&self) -> u64 {
        self.shared
            .state
            .lock()
            .segments
            .last_key_value()
            .map_or(0, |(number, _)| *number)
    }
}

/// The bytes of the record at `offset`, of which at most `left` are in its frame.
fn record_bytes(scanner: &mut Scanner, offset: u64, left: usize) -> Result<&[u8], StorageError> {
    let head = scanner.bytes(offset, RECORD_HEADER_BYTES)?;
    let len = head.first_chunk().map_or(0, |len| u32::from_le_bytes(*len));
    let len = usize::try_from(len)
        .unwrap_or(usize::MAX)
        .saturating_add(RECORD_HEADER_BYTES);
    scanner.bytes(offset, len.min(left))
}

fn entry(record: RawRecord<'_>, segment: &Segment, offset: u64) -> Result<Entry, StorageError> {
    match record.decode() {
        Ok(Record::Entry(entry)) => Ok(entry),
        Ok(_) => Err(segment.corrupt(offset, "the record is not an entry")),
        Err(Unreadable::Version(found)) => Err(StorageError::Version {
            file: segment.path.clone(),
            found: u32::from(found),
            supported: u32::from(super::record::RECORD_VERSION),
        }),
        Err(Unreadable::Malformed(what)) => Err(segment.corrupt(offset, what)),
    }
}

fn lost(index: u64) -> StorageError {
    StorageError::Misuse {
        what: format!("entry {index} is not in the log"),
    }
}
