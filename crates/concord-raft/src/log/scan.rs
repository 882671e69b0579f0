//! Reading a segment front to back in big pieces.

use super::record::{self, FRAME_HEADER_BYTES, FrameHeader, RawRecord};
use super::segment::Segment;
use crate::codec::Malformed;
use crate::limits;
use crate::storage_error::StorageError;

/// What a segment is compared with, block by block, where nothing was written yet.
static ZEROS: [u8; 4096] = [0; 4096];

/// Whether there are only zeros in up to a block of bytes. By comparing, which is fast in
/// every build.
fn is_zero(block: &[u8]) -> bool {
    ZEROS.get(..block.len()).is_some_and(|zeros| block == zeros)
}

fn last_nonzero_in(block: &[u8]) -> Option<usize> {
    if is_zero(block) {
        return None;
    }
    block.iter().rposition(|byte| *byte != 0)
}

/// A window on a segment that moves forward.
#[derive(Debug)]
pub(super) struct Scanner {
    pub(super) segment: Segment,
    /// Bytes from here on may still change: they are not read.
    pub(super) limit: u64,
    window: Vec<u8>,
    window_offset: u64,
}

/// A frame that is wholly there.
#[derive(Debug)]
pub(super) struct Frame<'a> {
    pub(super) header: FrameHeader,
    /// Where its first record is.
    pub(super) offset: u64,
    /// The records, padding included.
    pub(super) payload: &'a [u8],
    /// Where the next frame begins.
    pub(super) end: u64,
}

impl Scanner {
    pub(super) const fn new(segment: Segment, limit: u64) -> Self {
        Self {
            segment,
            limit,
            window: Vec::new(),
            window_offset: 0,
        }
    }

    /// Up to `len` bytes at `offset`, fewer only at the limit.
    pub(super) fn bytes(&mut self, offset: u64, len: usize) -> Result<&[u8], StorageError> {
        let start = offset
            .checked_sub(self.window_offset)
            .and_then(|start| usize::try_from(start).ok());
        let held = start.filter(|start| start.saturating_add(len) <= self.window.len());
        let start = match held {
            Some(start) => start,
            None => {
                self.load(offset, len)?;
                0
            }
        };
        let end = start.saturating_add(len).min(self.window.len());
        Ok(self.window.get(start..end).unwrap_or_default())
    }

    fn load(&mut self, offset: u64, len: usize) -> Result<(), StorageError> {
        let left = usize::try_from(self.limit.saturating_sub(offset)).unwrap_or(usize::MAX);
        self.window.resize(len.max(limits::LOG_READ_BYTES).min(left), 0);
        self.window_offset = offset;
        let read = self.segment.file.read_at(&mut self.window, offset);
        let read = read.map_err(|error| {
            self.window.clear();
            StorageError::io("read", &self.segment.path, offset, error)
        })?;
        self.window.truncate(read);
        Ok(())
    }

    pub(super) fn frame_header(
        &mut self,
        offset: u64,
    ) -> Result<Result<FrameHeader, Malformed>, StorageError> {
        let seed = self.segment.seed;
        Ok(FrameHeader::decode(
            self.bytes(offset, FRAME_HEADER_BYTES)?,
            seed,
            offset,
        ))
    }

    /// The frame at `offset` if all of it is there and every checksum holds.
    pub(super) fn frame(&mut self, offset: u64) -> Result<Result<Frame<'_>, Malformed>, StorageError> {
        let seed = self.segment.seed;
        let header = match self.frame_header(offset)? {
            Ok(header) => header,
            Err(what) => return Ok(Err(what)),
        };
        let payload_offset = offset + FRAME_HEADER_BYTES as u64;
        let end = payload_offset + u64::from(header.payload_bytes);
        if end > self.segment.bytes {
            return Ok(Err("a frame is longer than its segment"));
        }
        let len = usize::try_from(header.payload_bytes).unwrap_or(usize::MAX);
        let payload = self.bytes(payload_offset, len)?;
        if payload.len() != len {
            return Ok(Err("a frame is cut short"));
        }
        let frame = Frame {
            header,
            offset: payload_offset,
            payload,
            end,
        };
        for record in frame.records_with(|bytes, offset| RawRecord::check(bytes, seed, offset)) {
            if let Err(what) = record {
                return Ok(Err(what));
            }
        }
        Ok(frame.check_padding().map(|()| frame))
    }

    /// Whether a frame header anywhere in `from..` says that frame `sequence` was synced.
    pub(super) fn vouches(&mut self, from: u64, sequence: u64) -> Result<Option<u64>, StorageError> {
        let mut offset = from.next_multiple_of(record::ALIGNMENT as u64);
        while offset + FRAME_HEADER_BYTES as u64 <= self.segment.bytes {
            // What was never written is most of it: no header begins among zeros.
            if offset.is_multiple_of(ZEROS.len() as u64) && is_zero(self.bytes(offset, ZEROS.len())?) {
                offset += ZEROS.len() as u64;
                continue;
            }
            if FrameHeader::may_begin(self.bytes(offset, FRAME_HEADER_BYTES)?)
                && self
                    .frame_header(offset)?
                    .is_ok_and(|header| header.durable >= sequence)
            {
                return Ok(Some(offset));
            }
            offset += record::ALIGNMENT as u64;
        }
        Ok(None)
    }

    /// The end of the last byte in `from..` that is not zero, if there is one.
    pub(super) fn last_nonzero(&mut self, from: u64) -> Result<Option<u64>, StorageError> {
        let (mut offset, mut last) = (from, None);
        while offset < self.segment.bytes {
            let bytes = self.bytes(offset, limits::LOG_READ_BYTES)?;
            if bytes.is_empty() {
                break;
            }
            let mut end = bytes.len();
            for block in bytes.rchunks(ZEROS.len()) {
                if let Some(position) = last_nonzero_in(block) {
                    last = Some(offset + (end - block.len() + position) as u64 + 1);
                    break;
                }
                end -= block.len();
            }
            offset += bytes.len() as u64;
        }
        Ok(last)
    }
}

impl<'a> Frame<'a> {
    /// The records, which were checked, with their offsets.
    pub(super) fn records(&self) -> impl Iterator<Item = (u64, RawRecord<'a>)> {
        let mut offset = self.offset;
        self.records_with(|bytes, _| RawRecord::unchecked(bytes))
            .map_while(Result::ok)
            .map(move |record| {
                let at = offset;
                offset += record.bytes as u64;
                (at, record)
            })
    }

    fn records_with<'s>(
        &'s self,
        mut read: impl FnMut(&'a [u8], u64) -> Result<RawRecord<'a>, Malformed> + 's,
    ) -> impl Iterator<Item = Result<RawRecord<'a>, Malformed>> + 's {
        let (mut rest, mut offset) = (self.payload, self.offset);
        (0..self.header.records).map(move |_| {
            let record = read(rest, offset)?;
            rest = rest.get(record.bytes..).unwrap_or_default();
            offset += record.bytes as u64;
            Ok(record)
        })
    }

    /// What follows the records: zeros, and just enough of them.
    fn check_padding(&self) -> Result<(), Malformed> {
        let used: usize = self
            .records_with(|bytes, _| RawRecord::unchecked(bytes))
            .flatten()
            .map(|r| r.bytes)
            .sum();
        let padding = self.payload.get(used..).unwrap_or_default();
        if padding.len() == record::padding(used) && padding.iter().all(|byte| *byte == 0) {
            Ok(())
        } else {
            Err("a frame's padding is not as written")
        }
    }
}
