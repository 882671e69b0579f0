//! Reading the log back when it is opened: what is whole is replayed, a torn end is cut,
//! and anything else that is wrong is refused (I18).
//!
//! How a torn end is told from damage. The writer puts out a drain of its queue as one
//! or more frames, then syncs, then acknowledges. Frames are numbered, and each says in
//! `durable` which frame was the last one synced when it was written. Say frame `k` is
//! the first that is not whole.
//!
//! - If any frame header says `durable >= k`, frame `k` had been synced, and a crash does
//!   not undo that: this is damage. Nothing is changed; the node must be restored.
//! - If none does, `k` may never have been synced. Then nothing after `k` was synced
//!   either (syncs happen in order), and nothing in `k` or after it was acknowledged: the
//!   log is cut before `k`. That holds in whatever order the disk wrote the sectors.
//!
//! So that the last synced frame is vouched for even if no write follows, an empty frame
//! (a *seal*) is written after it when the queue runs dry, and synced when the log is
//! closed. The residual case: the power fails before the seal (or any later frame)
//! reaches the disk, and the synced frame rots at the same time. It is then taken for a
//! torn one. Nothing in this log could tell; the other replicas have it.
//!
//! Segments are entered only after the one before ended with an `End` record that was
//! synced, so a frame in a later segment vouches for all earlier ones, and a segment that
//! should follow and is not there is noticed.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;

use super::LogOptions;
use super::record::{Carried, RawRecord, Record, Unreadable, entry_bytes};
use super::scan::{Frame, Scanner};
use super::segment::{self, HEADER_BYTES, Segment};
use super::state::{Kept, Mark, Position, Sparseness, State};
use crate::limits;
use crate::ports::Disk;
use crate::small_file::TEMPORARY;
use crate::storage_error::StorageError;

/// A log that was read back, ready to be written on.
#[derive(Debug)]
pub(super) struct Recovered {
    pub(super) state: State,
    /// The segment to write to, and where.
    pub(super) segment: Segment,
    pub(super) offset: u64,
    /// The last frame.
    pub(super) sequence: u64,
    /// The segment after it, if it was made already.
    pub(super) ready: Option<Segment>,
    /// The frames that nobody vouches for.
    unvouched: VecDeque<Place>,
    /// Where what is left of torn frames ends.
    pub(super) torn: Option<u64>,
}

/// Where a frame is.
#[derive(Clone, Copy, Debug)]
struct Place {
    sequence: u64,
    segment: u64,
    start: u64,
    end: u64,
}

/// Reads the log in `directory`. Changes nothing but to make the first segment of a new
/// log; [`repair`] does the rest.
pub(super) fn recover(
    disk: &Arc<dyn Disk>,
    directory: &Path,
    options: &LogOptions,
) -> Result<Recovered, StorageError> {
    let names = disk
        .list(directory)
        .map_err(|e| StorageError::io("list", directory, 0, e))?;
    let numbers: Vec<u64> = names.iter().filter_map(|name| segment::number(name)).collect();
    let Some(first) = numbers.first().copied() else {
        if options.expect_existing {
            let path = segment::path(directory, 1);
            return Err(StorageError::corrupt(
                &path,
                0,
                "the log is missing, but the node belongs to a cluster",
            ));
        }
        let (store_id, bytes) = (options.store_id, options.segment_bytes);
        let segment = segment::create(&**disk, directory, store_id, 1, bytes)?;
        return Ok(Replay::new(options).ended_at(segment, HEADER_BYTES));
    };
    let mut segments = Vec::new();
    for (expected, number) in (first..).zip(numbers) {
        if number != expected {
            return Err(missing(directory, expected));
        }
        segments.push(segment::open(&**disk, directory, options.store_id, number)?);
    }
    replay(directory, options, &segments)
}

fn missing(directory: &Path, number: u64) -> StorageError {
    StorageError::corrupt(&segment::path(directory, number), 0, "the segment is missing")
}

fn replay(directory: &Path, options: &LogOptions, segments: &[Segment]) -> Result<Recovered, StorageError> {
    let mut replay = Replay::new(options);
    for (at, segment) in segments.iter().enumerate() {
        let mut scanner = Scanner::new(segment.clone(), segment.bytes);
        let mut offset = HEADER_BYTES;
        replay.enter(segment);
        let what = loop {
            let frame = scanner.frame(offset)?;
            match frame.and_then(|frame| replay.check_sequence(&frame).map(|()| frame)) {
                Ok(frame) => {
                    replay.frame(segment, offset, &frame)?;
                    offset = frame.end;
                }
                Err(what) => break what,
            }
            if replay.segment_ended {
                break "the log goes on in the next segment";
            }
        };
        if !replay.segment_ended {
            let later = segments.get(at + 1..).unwrap_or_default();
            return replay.finish(options, scanner, offset, what, later);
        }
    }
    Err(missing(
        directory,
        segments.last().map_or(1, |segment| segment.number + 1),
    ))
}

/// The log as far as it was read.
struct Replay {
    state: State,
    sequence: Option<u64>,
    /// Frames up to this one were synced.
    vouched: u64,
    /// The later ones.
    unvouched: VecDeque<Place>,
    /// Entries up to this index were in segments that are gone.
    gone: Option<u64>,
    segment_ended: bool,
    sparseness: Sparseness,
}

impl Replay {
    fn new(options: &LogOptions) -> Self {
        Self {
            state: State::new(options.tail_bytes),
            sequence: None,
            vouched: 0,
            unvouched: VecDeque::new(),
            gone: None,
            segment_ended: false,
            sparseness: Sparseness::default(),
        }
    }

    fn enter(&mut self, segment: &Segment) {
        self.segment_ended = false;
        let kept = Kept::new(segment.clone(), segment.bytes);
        self.state.segments.insert(segment.number, kept);
    }

    fn check_sequence(&self, frame: &Frame<'_>) -> Result<(), &'static str> {
        let sequence = frame.header.sequence;
        match self.sequence {
            Some(last) if sequence != last + 1 => Err("a frame is out of order"),
            _ if frame.header.durable >= sequence => Err("a frame vouches for itself"),
            _ => Ok(()),
        }
    }

    fn frame(&mut self, segment: &Segment, start: u64, frame: &Frame<'_>) -> Result<(), StorageError> {
        let first = self.sequence.is_none();
        self.sequence = Some(frame.header.sequence);
        self.vouched = self.vouched.max(frame.header.durable);
        let (sequence, segment_number) = (frame.header.sequence, segment.number);
        self.unvouched.push_back(Place {
            sequence,
            segment: segment_number,
            start,
            end: frame.end,
        });
        while self
            .unvouched
            .pop_front_if(|place| place.sequence <= self.vouched)
            .is_some()
        {}
        let mut marks = Vec::new();
        for (n, (offset, record)) in frame.records().enumerate() {
            let leads = start == HEADER_BYTES && n == 0;
            let decoded = decode(segment, offset, &record)?;
            if leads != matches!(decoded, Record::Carried(_)) {
                return Err(segment.corrupt(offset, "the segment does not begin with what it carries on"));
            }
            let position = Position {
                first_index: 0,
                segment: segment.number,
                offset,
                frame_end: frame.end,
            };
            self.record(segment, position, decoded, first, &mut marks)?;
        }
        self.state.note_written(0, marks);
        Ok(())
    }

    fn record(
        &mut self,
        segment: &Segment,
        at: Position,
        record: Record,
        first: bool,
        marks: &mut Vec<Mark>,
    ) -> Result<(), StorageError> {
        match record {
            Record::Entry(entry) => {
                let index = entry.log_id.index;
                if self.sparseness.wants(at.segment, at.offset) {
                    marks.push(Mark::Position(Position {
                        first_index: index,
                        ..at
                    }));
                }
                if let Some(kept) = self.state.segments.get_mut(&at.segment) {
                    kept.last_index = kept.last_index.max(Some(index));
                }
                let bytes = entry_bytes(&entry);
                self.state.push(entry, bytes, 0).map_err(|expected| {
                    segment.corrupt(
                        at.offset,
                        format!("entry {index} is where entry {expected} should be"),
                    )
                })?;
            }
            Record::Vote(vote) => self.state.carried.vote = Some(vote),
            Record::Committed(committed) => self.state.carried.committed = committed,
            Record::Truncate(last) => {
                self.state.truncate_after(last);
                self.gone = self.gone.min(self.state.carried.last.map(|last| last.index));
                self.sparseness.force();
                marks.push(Mark::Truncate(last.map(|last| last.index)));
            }
            Record::Purge(upto) => {
                self.state.purge(upto);
                self.sparseness.force();
            }
            Record::Carried(carried) if first => self.start(segment, at.offset, carried)?,
            Record::Carried(carried) if carried == self.state.carried => {}
            Record::Carried(_) => {
                return Err(segment.corrupt(at.offset, "the segment does not carry on from the one before"));
            }
            Record::End => self.segment_ended = true,
        }
        Ok(())
    }

    fn start(&mut self, segment: &Segment, offset: u64, carried: Carried) -> Result<(), StorageError> {
        if segment.number == 1 && carried != Carried::default() {
            return Err(segment.corrupt(offset, "the first segment carries something on"));
        }
        self.gone = carried.last.map(|last| last.index);
        self.state.start(carried);
        Ok(())
    }

    /// Judges what is at `offset`, where no whole frame is.
    fn finish(
        self,
        options: &LogOptions,
        mut scanner: Scanner,
        offset: u64,
        what: &str,
        later: &[Segment],
    ) -> Result<Recovered, StorageError> {
        let segment = scanner.segment.clone();
        let sequence = self.sequence.map_or(1, |last| last + 1);
        if self.sequence.is_none() && (segment.number > 1 || options.expect_existing) {
            return Err(segment.corrupt(
                offset,
                format!("the first segment's first frame is not whole: {what}"),
            ));
        }
        if let Some(voucher) = scanner.vouches(offset, sequence)? {
            let what =
                format!("{what}, in frame {sequence}; the frame at byte {voucher} says that it was synced");
            return Err(segment.corrupt(offset, what));
        }
        for segment_later in later {
            if Scanner::new(segment_later.clone(), segment_later.bytes)
                .frame_header(HEADER_BYTES)?
                .is_ok()
            {
                let what = format!(
                    "{what}, in frame {sequence}, but segment {} was begun",
                    segment_later.number
                );
                return Err(segment.corrupt(offset, what));
            }
        }
        if let Some(extra) = later.get(1) {
            return Err(extra.corrupt(0, "the segment is ahead of the log's end"));
        }
        let purged = self.state.carried.purged.map(|purged| purged.index);
        if self.gone > purged {
            return Err(segment.corrupt(offset, "segments with entries that were not purged are missing"));
        }
        let torn = scanner.last_nonzero(offset)?;
        let ready = later.first().cloned();
        Ok(Recovered {
            torn,
            ready,
            ..self.ended_at(segment, offset)
        })
    }

    fn ended_at(mut self, segment: Segment, offset: u64) -> Recovered {
        self.enter_if_new(&segment);
        if let Some(kept) = self.state.segments.get_mut(&segment.number) {
            kept.written = offset;
        }
        let sequence = self.sequence.unwrap_or_default();
        let Self { state, unvouched, .. } = self;
        Recovered {
            state,
            segment,
            offset,
            sequence,
            ready: None,
            unvouched,
            torn: None,
        }
    }

    fn enter_if_new(&mut self, segment: &Segment) {
        if !self.state.segments.contains_key(&segment.number) {
            self.enter(segment);
        }
    }
}

fn decode(segment: &Segment, offset: u64, record: &RawRecord<'_>) -> Result<Record, StorageError> {
    record.decode().map_err(|error| match error {
        Unreadable::Version(found) => StorageError::Version {
            file: segment.path.clone(),
            found: u32::from(found),
            supported: u32::from(super::record::RECORD_VERSION),
        },
        Unreadable::Malformed(what) => segment.corrupt(offset, what),
    })
}

/// Makes what [`recover`] found durable, and nothing else readable.
///
/// Torn frames are overwritten with zeros before anything is written after them: a whole
/// frame among them could otherwise be taken up once the log has grown to its place.
/// Frames that nobody vouches for are written again: after a failed sync the page cache
/// can show bytes that are not on the disk, and will not write them of itself.
pub(super) fn repair(disk: &dyn Disk, directory: &Path, recovered: &Recovered) -> Result<(), StorageError> {
    let names = disk
        .list(directory)
        .map_err(|e| StorageError::io("list", directory, 0, e))?;
    for name in names.iter().filter(|name| name.ends_with(TEMPORARY)) {
        let path = directory.join(name);
        disk.remove(&path)
            .map_err(|e| StorageError::io("remove", &path, 0, e))?;
    }
    let segment = &recovered.segment;
    if let Some(end) = recovered.torn {
        tracing::warn!(
            file = %segment.path.display(), from = recovered.offset, to = end,
            "cut what a crash left of writes that were never acknowledged"
        );
        rewrite(segment, recovered.offset, end, |_, bytes| {
            bytes.fill(0);
            Ok(())
        })?;
    }
    for place in &recovered.unvouched {
        // Its segment is kept: nothing was purged since.
        let Some(Kept { segment, .. }) = recovered.state.segments.get(&place.segment) else {
            continue;
        };
        rewrite(segment, place.start, place.end, |offset, bytes| {
            match segment.file.read_at(bytes, offset) {
                Ok(read) if read == bytes.len() => Ok(()),
                Ok(_) => Err(segment.corrupt(offset, "the file ends too early")),
                Err(error) => Err(segment.io("read", offset)(error)),
            }
        })?;
        if place.segment != recovered.segment.number {
            segment.file.sync_data().map_err(segment.io("sync", place.end))?;
        }
    }
    segment
        .file
        .sync_data()
        .map_err(segment.io("sync", recovered.offset))
}

fn rewrite(
    segment: &Segment,
    from: u64,
    to: u64,
    mut content: impl FnMut(u64, &mut [u8]) -> Result<(), StorageError>,
) -> Result<(), StorageError> {
    let mut offset = from;
    while offset < to {
        let len = usize::try_from(to - offset)
            .unwrap_or(usize::MAX)
            .min(limits::LOG_READ_BYTES);
        let mut bytes = vec![0; len];
        content(offset, &mut bytes)?;
        segment
            .file
            .write_all_at(&bytes, offset)
            .map_err(segment.io("write", offset))?;
        offset += len as u64;
    }
    Ok(())
}
