//! The bytes of frames and records; see `docs/log-format.md`, "Write-ahead log".
//!
//! Every checksum is seeded with the store, the segment and the offset, so bytes that
//! were written for another place, or left there by an earlier life of the file, do not
//! pass for what should be here.

use bytes::Bytes;
use openraft::EntryPayload;

use crate::codec::{self, Decoder, Malformed};
use crate::types::{EncodedBatch, Entry, LogId, Vote};

/// The version of each record kind that is written, and the newest that is read.
pub(super) const RECORD_VERSION: u8 = 1;
/// Length, kind, version, reserved, checksum.
pub(super) const RECORD_HEADER_BYTES: usize = 12;
/// Magic, checksum, sequence, durable, payload length, record count.
pub(super) const FRAME_HEADER_BYTES: usize = 32;
/// Frames begin at multiples of this, so that a search for one has few places to look.
pub(super) const ALIGNMENT: usize = 8;
const FRAME_MAGIC: [u8; 4] = *b"CFRM";

/// What everything in one segment has its checksums seeded with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seed(u32);

impl Seed {
    pub(super) fn new(store_id: u128, segment: u64) -> Self {
        let seed = crc32c::crc32c(&store_id.to_le_bytes());
        Self(crc32c::crc32c_append(seed, &segment.to_le_bytes()))
    }

    fn checksum(self, offset: u64, head: &[u8], body: &[u8]) -> u32 {
        let at = crc32c::crc32c_append(self.0, &offset.to_le_bytes());
        crc32c::crc32c_append(crc32c::crc32c_append(at, head), body)
    }
}

/// Everything but the entries, as of one place in the log. Begins each segment, so that
/// the ones before it can go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Carried {
    pub(super) vote: Option<Vote>,
    pub(super) committed: Option<LogId>,
    /// The last entry that may be missing at the front.
    pub(super) purged: Option<LogId>,
    /// The last entry, or the purged one if there is none after it.
    pub(super) last: Option<LogId>,
}

impl Carried {
    /// The index after the last entry, if that is known.
    pub(super) fn next_index(&self) -> Option<u64> {
        self.last.map(|last| last.index + 1)
    }

    pub(super) fn truncate_after(&mut self, last: Option<LogId>) {
        if last.map(|last| last.index) >= self.last.map(|last| last.index) {
            return;
        }
        // What is purged was committed: nothing truncates into it.
        let purged = self
            .purged
            .filter(|purged| last.is_none_or(|last| last.index < purged.index));
        self.last = purged.or(last);
    }

    pub(super) fn purge(&mut self, upto: LogId) {
        if self.purged.is_none_or(|purged| purged.index < upto.index) {
            self.purged = Some(upto);
        }
        // A snapshot from the leader can be ahead of the log: the log then begins after it.
        if self.last.is_none_or(|last| last.index < upto.index) {
            self.last = Some(upto);
        }
    }
}

/// One thing that happened to the log.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Record {
    Entry(Entry),
    Vote(Vote),
    Committed(Option<LogId>),
    /// All entries after this one are void.
    Truncate(Option<LogId>),
    /// All entries up to this one may go.
    Purge(LogId),
    /// First in every segment.
    Carried(Carried),
    /// Last in every segment but the one being written: the log goes on in the next one.
    End,
}

const ENTRY: u8 = 1;

impl Record {
    const fn kind(&self) -> u8 {
        match self {
            Self::Entry(_) => ENTRY,
            Self::Vote(_) => 2,
            Self::Committed(_) => 3,
            Self::Truncate(_) => 4,
            Self::Purge(_) => 5,
            Self::Carried(_) => 6,
            Self::End => 7,
        }
    }

    fn put_body(&self, out: &mut Vec<u8>) {
        match self {
            Self::Entry(entry) => put_entry(out, entry),
            Self::Vote(vote) => codec::put_vote(out, vote),
            Self::Committed(log_id) | Self::Truncate(log_id) => {
                codec::put_optional_log_id(out, log_id.as_ref())
            }
            Self::Purge(log_id) => codec::put_log_id(out, log_id),
            Self::Carried(carried) => {
                codec::put_optional_vote(out, carried.vote.as_ref());
                for log_id in [&carried.committed, &carried.purged, &carried.last] {
                    codec::put_optional_log_id(out, log_id.as_ref());
                }
            }
            Self::End => {}
        }
    }
}

/// Appends a record's bytes, which will be at `offset` of their segment.
pub(super) fn put_record(out: &mut Vec<u8>, seed: Seed, offset: u64, record: &Record) {
    put(out, seed, offset, record.kind(), |out| record.put_body(out));
}

/// Appends the bytes of an entry's record.
pub(super) fn put_entry_record(out: &mut Vec<u8>, seed: Seed, offset: u64, entry: &Entry) {
    put(out, seed, offset, ENTRY, |out| put_entry(out, entry));
}

/// # Panics
///
/// If it is 4 GiB or more: sizes are checked where entries come in.
fn put(out: &mut Vec<u8>, seed: Seed, offset: u64, kind: u8, put_body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; RECORD_HEADER_BYTES]);
    put_body(out);
    let Some((header, body)) = out
        .get_mut(start..)
        .and_then(|record| record.split_first_chunk_mut::<RECORD_HEADER_BYTES>())
    else {
        return;
    };
    let len = u32::try_from(body.len()).expect("entries are limited to the size of a segment");
    let mut head = [0; 8];
    let [l0, l1, l2, l3] = len.to_le_bytes();
    head.copy_from_slice(&[l0, l1, l2, l3, kind, RECORD_VERSION, 0, 0]);
    let [c0, c1, c2, c3] = seed.checksum(offset, &head, body).to_le_bytes();
    let [h0, h1, h2, h3, h4, h5, h6, h7] = head;
    *header = [h0, h1, h2, h3, h4, h5, h6, h7, c0, c1, c2, c3];
}

/// The bytes that an entry takes in the log, without the share of its frame.
pub(super) fn entry_bytes(entry: &Entry) -> usize {
    let payload = match &entry.payload {
        EntryPayload::Blank => 0,
        EntryPayload::Normal(batch) => batch.bytes().len(),
        EntryPayload::Membership(membership) => {
            let mut bytes = Vec::new();
            codec::put_membership(&mut bytes, membership);
            bytes.len()
        }
    };
    RECORD_HEADER_BYTES + 17 + payload
}

fn put_entry(out: &mut Vec<u8>, entry: &Entry) {
    codec::put_log_id(out, &entry.log_id);
    match &entry.payload {
        EntryPayload::Blank => out.push(0),
        EntryPayload::Normal(batch) => {
            out.push(1);
            out.extend_from_slice(batch.bytes());
        }
        EntryPayload::Membership(membership) => {
            out.push(2);
            codec::put_membership(out, membership);
        }
    }
}

fn entry(decoder: &mut Decoder<'_>) -> Result<Entry, Malformed> {
    let log_id = decoder.log_id()?;
    let payload = match decoder.u8()? {
        0 => EntryPayload::Blank,
        1 => {
            let bytes = decoder.slice(decoder.rest().len())?;
            // A copy: a slice of the read buffer would keep all of it alive.
            EntryPayload::Normal(EncodedBatch::new(Bytes::copy_from_slice(bytes)))
        }
        2 => EntryPayload::Membership(decoder.membership()?),
        _ => return Err("an entry of no known kind"),
    };
    Ok(Entry { log_id, payload })
}

/// A record whose checksum holds, not yet decoded.
#[derive(Clone, Copy, Debug)]
pub(super) struct RawRecord<'a> {
    kind: u8,
    version: u8,
    body: &'a [u8],
    /// Header and body.
    pub(super) bytes: usize,
}

/// Why a checked record cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unreadable {
    /// A newer release wrote it.
    Version(u8),
    /// It is not what this release writes.
    Malformed(Malformed),
}

impl From<Malformed> for Unreadable {
    fn from(what: Malformed) -> Self {
        Self::Malformed(what)
    }
}

impl<'a> RawRecord<'a> {
    /// The record at the front of `bytes`, which are at `offset` of their segment.
    pub(super) fn check(bytes: &'a [u8], seed: Seed, offset: u64) -> Result<Self, Malformed> {
        let record = Self::unchecked(bytes)?;
        let head = bytes.get(..8).unwrap_or_default();
        let stored: [u8; 4] = Decoder::new(bytes.get(8..).unwrap_or_default()).array()?;
        if u32::from_le_bytes(stored) != seed.checksum(offset, head, record.body) {
            return Err("a record's checksum does not match");
        }
        Ok(record)
    }

    /// The same without looking at the checksum: to step over a record.
    pub(super) fn unchecked(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut decoder = Decoder::new(bytes);
        let len = usize::try_from(decoder.u32()?).map_err(|_| "a record is too long")?;
        let (kind, version) = (decoder.u8()?, decoder.u8()?);
        decoder.slice(RECORD_HEADER_BYTES - 6)?;
        Ok(Self {
            kind,
            version,
            body: decoder.slice(len)?,
            bytes: RECORD_HEADER_BYTES + len,
        })
    }

    /// The index, if it is an entry.
    pub(super) fn entry_index(&self) -> Option<u64> {
        if self.kind != ENTRY {
            return None;
        }
        Decoder::new(self.body).log_id().ok().map(|log_id| log_id.index)
    }

    pub(super) fn decode(&self) -> Result<Record, Unreadable> {
        if self.version > RECORD_VERSION {
            return Err(Unreadable::Version(self.version));
        }
        let mut decoder = Decoder::new(self.body);
        let record = match self.kind {
            ENTRY => Record::Entry(entry(&mut decoder)?),
            2 => Record::Vote(decoder.vote()?),
            3 => Record::Committed(decoder.optional_log_id()?),
            4 => Record::Truncate(decoder.optional_log_id()?),
            5 => Record::Purge(decoder.log_id()?),
            6 => Record::Carried(Carried {
                vote: decoder.optional_vote()?,
                committed: decoder.optional_log_id()?,
                purged: decoder.optional_log_id()?,
                last: decoder.optional_log_id()?,
            }),
            7 => Record::End,
            _ => return Err(Unreadable::Malformed("a record of no known kind")),
        };
        decoder.end()?;
        Ok(record)
    }
}

/// What begins a frame: the records that one drain of the queue wrote together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FrameHeader {
    /// Frames count up by one through the whole log.
    pub(super) sequence: u64,
    /// The last frame known to be synced when this one was written. It vouches for that
    /// one and all before it: whatever is wrong with them since is damage.
    pub(super) durable: u64,
    /// Bytes of the records, padding included.
    pub(super) payload_bytes: u32,
    /// How many records there are.
    pub(super) records: u32,
}

impl FrameHeader {
    pub(super) fn encode(&self, seed: Seed, offset: u64) -> [u8; FRAME_HEADER_BYTES] {
        let mut covered = Vec::with_capacity(FRAME_HEADER_BYTES);
        covered.extend_from_slice(&self.sequence.to_le_bytes());
        covered.extend_from_slice(&self.durable.to_le_bytes());
        covered.extend_from_slice(&self.payload_bytes.to_le_bytes());
        covered.extend_from_slice(&self.records.to_le_bytes());
        let checksum = seed.checksum(offset, &FRAME_MAGIC, &covered).to_le_bytes();
        let mut bytes = [0; FRAME_HEADER_BYTES];
        for (to, from) in bytes
            .iter_mut()
            .zip(FRAME_MAGIC.iter().chain(&checksum).chain(&covered))
        {
            *to = *from;
        }
        bytes
    }

    /// The header at the front of `bytes`, which are at `offset` of their segment.
    pub(super) fn decode(bytes: &[u8], seed: Seed, offset: u64) -> Result<Self, Malformed> {
        let mut decoder = Decoder::new(bytes.get(..FRAME_HEADER_BYTES).ok_or("it ends too early")?);
        let magic: [u8; 4] = decoder.array()?;
        if magic != FRAME_MAGIC {
            return Err("no frame begins here");
        }
        let checksum = decoder.u32()?;
        if checksum != seed.checksum(offset, &FRAME_MAGIC, decoder.rest()) {
            return Err("a frame header's checksum does not match");
        }
        let (sequence, durable) = (decoder.u64()?, decoder.u64()?);
        let (payload_bytes, records) = (decoder.u32()?, decoder.u32()?);
        Ok(Self {
            sequence,
            durable,
            payload_bytes,
            records,
        })
    }

    /// Whether bytes could be the start of a header: a quick test for searches.
    pub(super) fn may_begin(bytes: &[u8]) -> bool {
        bytes.starts_with(&FRAME_MAGIC)
    }
}

/// The bytes of padding that follow `len` bytes of records.
pub(super) const fn padding(len: usize) -> usize {
    len.next_multiple_of(ALIGNMENT) - len
}
