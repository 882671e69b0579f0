//! Scans: a range of keys in either direction, page by page, at one revision.

use alloc::vec::Vec;
use core::ops::{Bound, ControlFlow};

use super::filter::{KeyFilter, pieces};
use super::past::{self, Step};
use super::{ReadView, ViewError};
use crate::codec::reader::Reader;
use crate::codec::writer;
use crate::crc32c;
use crate::ids::Revision;
use crate::key::{Key, KeyRange};
use crate::limits::{HIDDEN_KEYS_MAX, SCAN_PAGE_BYTES, SCAN_PAGE_RECORDS_MAX, SCAN_PAGE_VISITS_MAX};
use crate::record::{Record, RecordRef};
use crate::state::VersionCell;
use crate::tree;
use crate::value::CorruptValue;

/// The order of a listing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Smallest first.
    Ascending,
    /// Greatest first.
    Descending,
}

/// What a scan is to answer with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScanOutput {
    /// Records.
    Records,
    /// Records whose values are left empty.
    Keys,
    /// No records, only how many there are in all. Neither the limit nor pages apply.
    Count,
}

/// A page of a scan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScanRequest {
    /// Which keys.
    pub range: KeyRange,
    /// In which order.
    pub direction: Direction,
    /// Records on the page, 1 to [`SCAN_PAGE_RECORDS_MAX`].
    pub limit: usize,
    /// Go on behind [`ScanPage::next`] of the page before, at that page's revision.
    pub after: Option<ScanPosition>,
    /// The revision to read at; `None`: the view's. Has no effect on later pages.
    pub revision: Option<Revision>,
    /// What to answer with.
    pub output: ScanOutput,
}

impl ScanRequest {
    /// The first page of a range: ascending, records, of the largest size.
    #[must_use]
    pub const fn new(range: KeyRange) -> Self {
        Self {
            range,
            direction: Direction::Ascending,
            limit: SCAN_PAGE_RECORDS_MAX,
            after: None,
            revision: None,
            output: ScanOutput::Records,
        }
    }
}

/// Where a scan stands: behind a key, at a revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScanPosition {
    key: Key,
    revision: Revision,
}

/// The version of a position's byte form.
const POSITION_VERSION: u8 = 1;

impl ScanPosition {
    /// A position behind `key` at `revision`.
    #[must_use]
    pub const fn new(key: Key, revision: Revision) -> Self {
        Self { key, revision }
    }

    /// The key behind which the scan goes on.
    #[must_use]
    pub const fn key(&self) -> &Key {
        &self.key
    }

    /// The revision that the scan reads at.
    #[must_use]
    pub const fn revision(&self) -> Revision {
        self.revision
    }

    /// A byte form with a checksum, for cursors. It guards against accidents, not against
    /// intent; a position reveals nothing that a scan would not.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.key.as_bytes().len().saturating_add(16));
        out.push(POSITION_VERSION);
        writer::number(self.revision.get(), &mut out);
        out.extend_from_slice(self.key.as_bytes());
        let sum = crc32c::checksum(&out);
        out.extend_from_slice(&sum.to_be_bytes());
        out
    }

    /// Reads the byte form back.
    ///
    /// # Errors
    ///
    /// [`ViewError::InvalidPosition`] if the bytes were changed or made elsewhere.
    pub fn decode(bytes: &[u8]) -> Result<Self, ViewError> {
        let (body, sum) = bytes.split_last_chunk::<4>().ok_or(ViewError::InvalidPosition)?;
        if crc32c::checksum(body) != u32::from_be_bytes(*sum) {
            return Err(ViewError::InvalidPosition);
        }
        let mut reader = Reader::new(body);
        match (reader.u8(), reader.number()) {
            (Ok(POSITION_VERSION), Ok(revision)) => {
                let key = Key::copy_of(reader.rest()).map_err(|_| ViewError::InvalidPosition)?;
                Ok(Self {
                    key,
                    revision: Revision::new(revision),
                })
            }
            (_, _) => Err(ViewError::InvalidPosition),
        }
    }
}

/// A page's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScanPage {
    /// The revision that was read at: the same on every page of a scan.
    pub revision: Revision,
    /// The records, in the order asked for.
    pub records: Vec<Record>,
    /// How many records are on the page; with [`ScanOutput::Count`], in the whole range.
    pub count: u64,
    /// Where the next page begins; `None`: this was the last. A page can be short, or even
    /// empty, without being the last.
    pub next: Option<ScanPosition>,
}

impl ReadView {
    /// One page of a scan. All pages read the same revision: a scan is a consistent cut (I11).
    ///
    /// # Errors
    ///
    /// If the limit is out of range, the revision compacted or still to come, or a value damaged.
    pub fn scan(&self, request: &ScanRequest) -> Result<ScanPage, ViewError> {
        self.scan_shown(request, None)
    }

    /// As [`ReadView::scan`], of the keys that a filter shows. [`ScanPage::next`] can be a key that it hides.
    ///
    /// # Errors
    ///
    /// As [`ReadView::scan`].
    pub fn scan_shown(
        &self,
        request: &ScanRequest,
        filter: Option<&dyn KeyFilter>,
    ) -> Result<ScanPage, ViewError> {
        let limit = request.limit;
        if !(1..=SCAN_PAGE_RECORDS_MAX).contains(&limit) {
            return Err(ViewError::PageLimit {
                limit,
                limit_max: SCAN_PAGE_RECORDS_MAX,
            });
        }
        let resumed = request.after.as_ref().map(|position| position.revision);
        let revision = resumed.or(request.revision).unwrap_or(self.revision());
        self.check_revision(revision)?;

        let mut page = PageBuilder::new(request, filter);
        for piece in pieces(&request.range, filter, request.direction) {
            if page.more || page.damage.is_some() {
                break;
            }
            let bounds = request.remaining(&piece);
            if is_crossed(bounds) {
                continue;
            }
            self.scan_piece(bounds, request.direction, revision, &mut page);
        }
        page.finish(revision)
    }

    fn scan_piece(
        &self,
        bounds: (Bound<&[u8]>, Bound<&[u8]>),
        direction: Direction,
        revision: Revision,
        page: &mut PageBuilder<'_>,
    ) {
        if revision == self.revision() {
            for record in self.records_within(bounds, direction) {
                if page.visit(Step::Record(record)).is_break() {
                    break;
                }
            }
        } else {
            past::walk(self.state(), bounds, direction, revision, |step| page.visit(step));
        }
    }

    /// The records of a range at the view's own revision. Allocates nothing.
    #[must_use]
    pub fn records<'a>(&'a self, range: &'a KeyRange, direction: Direction) -> Records<'a> {
        self.records_within(range.bounds(), direction)
    }

    fn records_within<'a>(
        &'a self,
        bounds: (Bound<&[u8]>, Bound<&[u8]>),
        direction: Direction,
    ) -> Records<'a> {
        Records {
            range: self.state().live.range(bounds),
            direction,
        }
    }
}

impl ScanRequest {
    /// What is left of a part of the range behind the position.
    fn remaining<'a>(&'a self, piece: &'a KeyRange) -> (Bound<&'a [u8]>, Bound<&'a [u8]>) {
        let (start, end) = piece.bounds();
        let Some(position) = &self.after else {
            return (start, end);
        };
        let key = position.key.as_bytes();
        // A position outside the range must not widen it.
        match self.direction {
            Direction::Ascending if key >= piece.start() => (Bound::Excluded(key), end),
            Direction::Descending if piece.end().is_none_or(|end| key < end) => (start, Bound::Excluded(key)),
            Direction::Ascending | Direction::Descending => (start, end),
        }
    }
}

/// Records in order. See [`ReadView::records`].
#[derive(Clone, Debug)]
pub struct Records<'a> {
    range: tree::Range<'a>,
    direction: Direction,
}

impl<'a> Iterator for Records<'a> {
    type Item = RecordRef<'a>;

    fn next(&mut self) -> Option<RecordRef<'a>> {
        let (key, cell) = match self.direction {
            Direction::Ascending => self.range.next(),
            Direction::Descending => self.range.next_back(),
        }?;
        RecordRef::new(key, VersionCell::alone(cell))
    }
}

/// Whether no key lies between.
fn is_crossed(bounds: (Bound<&[u8]>, Bound<&[u8]>)) -> bool {
    match bounds {
        (Bound::Included(start), Bound::Included(end)) => start > end,
        (Bound::Included(start) | Bound::Excluded(start), Bound::Included(end) | Bound::Excluded(end)) => {
            start >= end
        }
        (Bound::Unbounded, _) | (_, Bound::Unbounded) => false,
    }
}

/// Collects a page and knows when it is full.
struct PageBuilder<'f> {
    filter: Option<&'f dyn KeyFilter>,
    /// Keys that the filter did not show.
    hidden: usize,
    output: ScanOutput,
    limit: usize,
    records: Vec<Record>,
    count: u64,
    bytes: usize,
    visits: usize,
    /// The last key looked at.
    last: Option<Key>,
    /// Whether something is left behind `last`.
    more: bool,
    /// A value that cannot be shown: there is no page.
    damage: Option<CorruptValue>,
}

impl<'f> PageBuilder<'f> {
    fn new(request: &ScanRequest, filter: Option<&'f dyn KeyFilter>) -> Self {
        Self {
            filter,
            hidden: 0,
            output: request.output,
            limit: request.limit,
            records: Vec::new(),
            count: 0,
            bytes: 0,
            visits: 0,
            last: None,
            more: false,
            damage: None,
        }
    }

    fn visit(&mut self, step: Step<'_>) -> ControlFlow<()> {
        let key = match &step {
            Step::Record(record) => record.key(),
            Step::Absent(key) => key,
        };
        if self.filter.is_some_and(|filter| !filter.shows(key)) {
            return self.hide(key);
        }
        if matches!(self.output, ScanOutput::Count) {
            self.count += u64::from(matches!(step, Step::Record(_)));
            return ControlFlow::Continue(());
        }
        let full = self.records.len() >= self.limit || self.bytes >= SCAN_PAGE_BYTES;
        match step {
            // Only a record shows that there is another page; a key that was absent does not.
            Step::Record(_) if full => {
                self.more = true;
                return ControlFlow::Break(());
            }
            Step::Record(record) => {
                if let Err(damage) = self.push(record) {
                    self.damage = Some(damage);
                    return ControlFlow::Break(());
                }
            }
            Step::Absent(_) => {}
        }
        self.visits += 1;
        if self.visits >= SCAN_PAGE_VISITS_MAX {
            self.last = match step {
                Step::Record(_) => None,
                Step::Absent(key) => Key::copy_of(key).ok(),
            };
            self.more = true;
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    }

    /// Passes over a key. A count has no pages: it looks at every key anyway.
    fn hide(&mut self, key: &[u8]) -> ControlFlow<()> {
        self.hidden += 1;
        if self.hidden < HIDDEN_KEYS_MAX || self.output == ScanOutput::Count {
            return ControlFlow::Continue(());
        }
        self.last = Key::copy_of(key).ok();
        self.more = true;
        ControlFlow::Break(())
    }

    fn push(&mut self, record: RecordRef<'_>) -> Result<(), CorruptValue> {
        let (record, value_bytes) = match self.output {
            ScanOutput::Keys | ScanOutput::Count => (record.to_record_without_value(), 0),
            ScanOutput::Records => (record.to_record()?, record.value_len()),
        };
        self.bytes = self
            .bytes
            .saturating_add(record.key.as_bytes().len())
            .saturating_add(value_bytes);
        self.records.push(record);
        self.count += 1;
        Ok(())
    }

    fn finish(self, revision: Revision) -> Result<ScanPage, ViewError> {
        if let Some(damage) = self.damage {
            return Err(damage.into());
        }
        let last = self
            .last
            .or_else(|| self.records.last().map(|record| record.key.clone()));
        let next = last
            .filter(|_| self.more)
            .map(|key| ScanPosition::new(key, revision));
        Ok(ScanPage {
            revision,
            records: self.records,
            count: self.count,
            next,
        })
    }
}
