//! The one writer: drains the queue into frames, syncs once, acknowledges in order.
//!
//! ```text
//!   queue ──> put: frames in a buffer ──> write ──> sync ──> done(Ok) for each request
//!                                                     │
//!                  any failure: the log is poisoned ──┴───> done(Err), now and for good (I12)
//! ```

use std::io;
use std::sync::Arc;

use tokio::time::Instant;

use super::janitor::Janitor;
use super::record::{self, Carried, FRAME_HEADER_BYTES, FrameHeader, RECORD_HEADER_BYTES, Record};
use super::recover::Recovered;
use super::segment::{END_BYTES, HEADER_BYTES, Segment};
use super::state::{Kept, Mark, Position, Shared, Sparseness};
use crate::limits;
use crate::storage_error::StorageError;
use crate::types::{Entry, LogId, Vote};

/// Told once whether a request is durable.
pub(super) type Done = Box<dyn FnOnce(Result<(), io::Error>) + Send>;

/// What the writer is asked to do, in order.
pub(super) enum Request {
    /// Durable before `done`.
    Append {
        entries: Vec<Entry>,
        ticket: u64,
        done: Done,
    },
    /// Durable before `done`.
    Vote { vote: Vote, done: Done },
    /// Not synced: it saves time after a restart, and nothing depends on it.
    Committed(Option<LogId>),
    /// Durable before what is appended after it.
    Truncate(Option<LogId>),
    /// Durable before a segment goes.
    Purge(LogId),
}

/// Space for a record of any kind but an entry, header included.
const SMALL_RECORD_BYTES: usize = RECORD_HEADER_BYTES + 96;
/// The buffer is written out, unsynced, when it holds this much.
const BUFFER_BYTES: usize = 2 * limits::LOG_FRAME_BYTES;

/// The frame being put together.
#[derive(Clone, Copy, Debug)]
struct OpenFrame {
    /// Where it begins in the buffer.
    start: usize,
    records: u32,
    /// The first of the marks that still lack its end.
    marks: usize,
}

/// Owns the segment being written.
pub(super) struct Writer {
    shared: Arc<Shared>,
    janitor: Janitor,
    segment: Segment,
    /// Where the buffer will be written.
    offset: u64,
    buffer: Vec<u8>,
    frame: Option<OpenFrame>,
    /// The last frame that was closed.
    sequence: u64,
    /// The last frame that was synced.
    durable: u64,
    /// The last frame that a written one vouches for.
    vouched: u64,
    carried: Carried,
    sparseness: Sparseness,
    marks: Vec<Mark>,
    ticket: u64,
    /// The highest index of an entry put into the segment since it was opened.
    segment_last_index: Option<u64>,
}

impl Writer {
    /// Takes over a recovered log, of which everything is durable.
    pub(super) fn start(
        recovered: Recovered,
        shared: Arc<Shared>,
        janitor: Janitor,
    ) -> Result<Self, StorageError> {
        let Recovered {
            segment,
            offset,
            sequence,
            ..
        } = recovered;
        let carried = shared.state.lock().carried.clone();
        let mut writer = Self {
            shared,
            janitor,
            segment,
            offset,
            buffer: Vec::new(),
            frame: None,
            sequence,
            durable: sequence,
            vouched: 0,
            carried,
            sparseness: Sparseness::default(),
            marks: Vec::new(),
            ticket: 0,
            segment_last_index: None,
        };
        writer.janitor.prepare(writer.segment.number + 1);
        if writer.offset == HEADER_BYTES {
            writer.put_small(&Record::Carried(writer.carried.clone()))?;
            writer.write()?;
            writer.sync()?;
        }
        writer.put_seal()?;
        Ok(writer)
    }

    /// One step: stores the requests and answers all of them, in order.
    pub(super) fn drain(&mut self, requests: &mut Vec<Request>) {
        let stored = self.shared.check().and_then(|()| {
            let stored = self.store(requests);
            stored.inspect_err(|error| self.shared.fail(error.clone()))
        });
        for request in requests.drain(..) {
            match request {
                Request::Append { done, .. } | Request::Vote { done, .. } => {
                    done(stored.clone().map_err(io::Error::from));
                }
                Request::Committed(_) | Request::Truncate(_) | Request::Purge(_) => {}
            }
        }
        self.janitor.tick();
    }

    fn store(&mut self, requests: &[Request]) -> Result<(), StorageError> {
        let (mut committed, mut sync, mut purged, mut appended) = (None, false, None, 0_usize);
        for request in requests {
            match request {
                Request::Append { entries, ticket, .. } => {
                    for entry in entries {
                        self.put_entry(entry)?;
                    }
                    appended += entries.len();
                    self.ticket = *ticket;
                    sync = true;
                }
                Request::Vote { vote, .. } => {
                    self.put_small(&Record::Vote(*vote))?;
                    self.carried.vote = Some(*vote);
                    sync = true;
                }
                Request::Committed(log_id) => committed = Some(*log_id),
                Request::Truncate(last) => {
                    self.put_small(&Record::Truncate(*last))?;
                    self.carried.truncate_after(*last);
                    self.marks.push(Mark::Truncate(last.map(|last| last.index)));
                    self.sparseness.force();
                }
                Request::Purge(upto) => {
                    self.put_small(&Record::Purge(*upto))?;
                    self.carried.purge(*upto);
                    self.sparseness.force();
                    (purged, sync) = (Some(upto.index), true);
                }
            }
        }
        // Only the last of them matters, and no order between it and the rest.
        if let Some(committed) = committed
            && committed != self.carried.committed
        {
            self.put_small(&Record::Committed(committed))?;
            self.carried.committed = committed;
        }
        self.write()?;
        self.publish();
        if sync {
            self.sync()?;
        }
        if appended > 0 {
            self.shared.stats.entries_a_sync.record(appended as u64);
        }
        if let Some(purged) = purged {
            let gone = self.shared.state.lock().take_purged_segments(purged);
            self.janitor.remove(gone);
        }
        Ok(())
    }

    /// Vouches for the last synced frame when nothing else is about to: see `recover.rs`.
    pub(super) fn seal(&mut self) {
        if self.vouched < self.durable && self.shared.check().is_ok() {
            let sealed = self.put_seal();
            if let Err(error) = sealed {
                self.shared.fail(error);
            }
        }
    }

    fn put_seal(&mut self) -> Result<(), StorageError> {
        // A segment without room for it is about to end, which vouches as well.
        if self.has_room(0) {
            self.open_frame();
            self.write()?;
        }
        Ok(())
    }

    /// Ends the log well: even the seal is durable.
    pub(super) fn finish(mut self) {
        self.seal();
        if self.shared.check().is_ok() {
            let synced = self.sync();
            if let Err(error) = synced {
                self.shared.fail(error);
            }
        }
    }

    fn put_entry(&mut self, entry: &Entry) -> Result<(), StorageError> {
        let offset = self.make_room(record::entry_bytes(entry))?;
        record::put_entry_record(&mut self.buffer, self.segment.seed, offset, entry);
        let index = entry.log_id.index;
        if self.sparseness.wants(self.segment.number, offset) {
            let segment = self.segment.number;
            // The end is filled in when the frame is closed.
            self.marks.push(Mark::Position(Position {
                first_index: index,
                segment,
                offset,
                frame_end: 0,
            }));
        }
        self.carried.last = Some(entry.log_id);
        self.segment_last_index = self.segment_last_index.max(Some(index));
        self.end_record()
    }

    fn put_small(&mut self, record: &Record) -> Result<(), StorageError> {
        let offset = self.make_room(SMALL_RECORD_BYTES)?;
        record::put_record(&mut self.buffer, self.segment.seed, offset, record);
        self.end_record()
    }

    /// Lets readers find on disk what was written there.
    fn publish(&mut self) {
        let mut state = self.shared.state.lock();
        if let Some(kept) = state.segments.get_mut(&self.segment.number) {
            kept.last_index = kept.last_index.max(self.segment_last_index);
            kept.written = self.offset;
        }
        state.note_written(self.ticket, self.marks.drain(..));
    }

    /// Makes sure that a record of up to `bytes` fits into the segment and an open frame,
    /// and returns its offset.
    fn make_room(&mut self, bytes: usize) -> Result<u64, StorageError> {
        if !self.has_room(bytes) {
            self.rotate(bytes)?;
        }
        debug_assert!(
            self.has_room(bytes),
            "a segment is made for what is to go into it"
        );
        if self.frame.is_none() {
            self.open_frame();
        }
        Ok(self.offset + self.buffer.len() as u64)
    }

    fn has_room(&self, bytes: usize) -> bool {
        let header = if self.frame.is_some() {
            0
        } else {
            FRAME_HEADER_BYTES
        };
        let needed = self.buffer.len() + header + bytes + record::ALIGNMENT;
        self.offset + needed as u64 <= self.segment.limit()
    }

    fn open_frame(&mut self) {
        let (start, marks) = (self.buffer.len(), self.marks.len());
        self.frame = Some(OpenFrame {
            start,
            records: 0,
            marks,
        });
        self.buffer.extend_from_slice(&[0; FRAME_HEADER_BYTES]);
    }

    fn end_record(&mut self) -> Result<(), StorageError> {
        let Some(frame) = &mut self.frame else {
            return Ok(());
        };
        frame.records += 1;
        if self.buffer.len() - frame.start >= limits::LOG_FRAME_BYTES {
            self.close_frame();
        }
        if self.buffer.len() >= BUFFER_BYTES {
            self.write()
        } else {
            Ok(())
        }
    }

    fn close_frame(&mut self) {
        let Some(frame) = self.frame.take() else { return };
        let used = self.buffer.len() - frame.start;
        self.buffer.resize(self.buffer.len() + record::padding(used), 0);
        let payload = self.buffer.len() - frame.start - FRAME_HEADER_BYTES;
        self.sequence += 1;
        let header = FrameHeader {
            sequence: self.sequence,
            durable: self.durable,
            payload_bytes: u32::try_from(payload).expect("a frame is smaller than its segment"),
            records: frame.records,
        };
        let bytes = header.encode(self.segment.seed, self.offset + frame.start as u64);
        if let Some(place) = self.buffer.get_mut(frame.start..frame.start + FRAME_HEADER_BYTES) {
            place.copy_from_slice(&bytes);
        }
        let end = self.offset + self.buffer.len() as u64;
        for mark in self.marks.iter_mut().skip(frame.marks) {
            if let Mark::Position(position) = mark {
                position.frame_end = end;
            }
        }
    }

    /// Writes the buffer, without a sync.
    fn write(&mut self) -> Result<(), StorageError> {
        self.close_frame();
        if self.buffer.is_empty() {
            return Ok(());
        }
        let written = self.segment.file.write_all_at(&self.buffer, self.offset);
        written.map_err(self.segment.io("write", self.offset))?;
        self.offset += self.buffer.len() as u64;
        self.shared.stats.written_bytes.add(self.buffer.len() as u64);
        self.buffer.clear();
        self.buffer.shrink_to(BUFFER_BYTES);
        self.vouched = self.durable;
        Ok(())
    }

    fn sync(&mut self) -> Result<(), StorageError> {
        let began = Instant::now();
        self.segment
            .file
            .sync_data()
            .map_err(self.segment.io("sync", self.offset))?;
        self.shared.stats.sync_micros.record_time(began.elapsed());
        self.durable = self.sequence;
        Ok(())
    }

    /// Ends the segment and begins the next one. The old one is synced, its end included,
    /// before anything goes into the new one, which has room for `bytes`.
    fn rotate(&mut self, bytes: usize) -> Result<(), StorageError> {
        // First, because it can fail: an ended segment must have a successor.
        let next = self.janitor.take(self.segment.number + 1, bytes)?;
        self.close_frame();
        debug_assert!(self.offset + self.buffer.len() as u64 + END_BYTES <= self.segment.bytes);
        self.open_frame();
        let offset = self.offset + self.buffer.len() as u64;
        record::put_record(&mut self.buffer, self.segment.seed, offset, &Record::End);
        self.end_record()?;
        self.write()?;
        self.sync()?;
        self.publish();
        let kept = Kept::new(next.clone(), HEADER_BYTES);
        self.shared.state.lock().segments.insert(next.number, kept);
        self.segment_last_index = None;
        self.segment = next;
        self.offset = HEADER_BYTES;
        self.sparseness.force();
        self.janitor.prepare(self.segment.number + 1);
        self.put_small(&Record::Carried(self.carried.clone()))
    }
}
