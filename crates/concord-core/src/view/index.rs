//! Lookups in secondary indexes: by value and by range of values, in order, at one revision.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::cmp::Ordering;
use core::ops::{Bound, ControlFlow};

use super::{Direction, KeyFilter, ReadView, ViewError};
use crate::codec::reader::Reader;
use crate::codec::writer;
use crate::crc32c;
use crate::expr::Literal;
use crate::ids::Revision;
use crate::index::{Fill, Index, IndexName, IndexStatus, VALUES_END, encode_literal, scope};
use crate::limits::{HIDDEN_KEYS_MAX, INDEX_PAST_CHANGES_MAX, SCAN_PAGE_BYTES, SCAN_PAGE_RECORDS_MAX};
use crate::record::cell::Place;
use crate::record::{Record, RecordRef};
use crate::state::{State, VersionCell, change};
use crate::tree::{self, prefix_end};

/// A page of a lookup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexRequest {
    /// Which index.
    pub name: IndexName,
    /// Values from here.
    pub from: Bound<Literal>,
    /// Values up to here.
    pub to: Bound<Literal>,
    /// In which order of values, and of keys with one value.
    pub direction: Direction,
    /// Records on the page, 1 to [`SCAN_PAGE_RECORDS_MAX`].
    pub limit: usize,
    /// Go on behind [`IndexPage::next`] of the page before, at that page's revision.
    pub after: Option<IndexPosition>,
    /// The revision to read at; `None`: the view's. Has no effect on later pages.
    pub revision: Option<Revision>,
}

/// Where a lookup stands: behind an entry, at a revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexPosition {
    entry: Vec<u8>,
    revision: Revision,
}

/// The version of a position's byte form.
const POSITION_VERSION: u8 = 1;

impl IndexPosition {
    /// The revision that the lookup reads at.
    #[must_use]
    pub const fn revision(&self) -> Revision {
        self.revision
    }

    /// A byte form with a checksum, for cursors. It guards against accidents, not against
    /// intent; a position reveals nothing that a lookup would not.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.entry.len().saturating_add(16));
        out.push(POSITION_VERSION);
        writer::number(self.revision.get(), &mut out);
        out.extend_from_slice(&self.entry);
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
            (Ok(POSITION_VERSION), Ok(revision)) => Ok(Self {
                entry: reader.rest().to_vec(),
                revision: Revision::new(revision),
            }),
            (_, _) => Err(ViewError::InvalidPosition),
        }
    }
}

/// A page's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexPage {
    /// The revision that was read at: the same on every page of a lookup.
    pub revision: Revision,
    /// The records in the order of their values; one with several values in the range comes once for each.
    pub records: Vec<Record>,
    /// Where the next page begins; `None`: this was the last.
    pub next: Option<IndexPosition>,
}

impl IndexRequest {
    /// All records with a value, in the order of their keys.
    #[must_use]
    pub fn equal(name: IndexName, value: Literal) -> Self {
        Self::range(name, Bound::Included(value.clone()), Bound::Included(value))
    }

    /// All records with a value within bounds, in the order of values.
    #[must_use]
    pub const fn range(name: IndexName, from: Bound<Literal>, to: Bound<Literal>) -> Self {
        Self {
            name,
            from,
            to,
            direction: Direction::Ascending,
            limit: SCAN_PAGE_RECORDS_MAX,
            after: None,
            revision: None,
        }
    }

    /// The entries that the request is about; `None`: there can be none.
    fn bounds(&self) -> Option<(Vec<u8>, Option<Vec<u8>>)> {
        let encode = |literal| encode_literal(literal);
        // Behind a value come the keys that have it: bounds lie before or behind all of them.
        let start = match &self.from {
            Bound::Unbounded => Vec::new(),
            Bound::Included(value) => encode(value)?,
            Bound::Excluded(value) => prefix_end(&encode(value)?)?,
        };
        let end = match &self.to {
            Bound::Unbounded => Some(VALUES_END.to_vec()),
            Bound::Included(value) => Some(prefix_end(&encode(value)?)?),
            Bound::Excluded(value) => Some(encode(value)?),
        };
        Some((start, end))
    }
}

impl ReadView {
    /// Every index, in the order of names.
    pub fn indexes(&self) -> impl Iterator<Item = IndexStatus> {
        self.state().indexes.iter().map(Index::status)
    }

    /// An index, if it exists.
    #[must_use]
    pub fn index(&self, name: &IndexName) -> Option<IndexStatus> {
        self.find_index(name).map(Index::status)
    }

    fn find_index(&self, name: &IndexName) -> Option<&Index> {
        let indexes = &self.state().indexes;
        let place = indexes.binary_search_by(|index| index.definition.name().cmp(name));
        indexes.get(place.ok()?)
    }

    /// One page of a lookup. Never an expired key: its entries went with it (D-DATA-9). All pages
    /// read the same revision (I11).
    ///
    /// # Errors
    ///
    /// If there is no such index, it is not filled yet or has failed, the limit is out of range, or the
    /// revision compacted, still to come, or more than [`INDEX_PAST_CHANGES_MAX`] changes back, or if a
    /// value is damaged.
    pub fn lookup(&self, request: &IndexRequest) -> Result<IndexPage, ViewError> {
        self.lookup_shown(request, None)
    }

    /// As [`ReadView::lookup`], of the keys that a filter shows. [`IndexPage::next`] can be of a key that it hides.
    ///
    /// # Errors
    ///
    /// As [`ReadView::lookup`].
    pub fn lookup_shown(
        &self,
        request: &IndexRequest,
        filter: Option<&dyn KeyFilter>,
    ) -> Result<IndexPage, ViewError> {
        let limit = checked(request.limit)?;
        let index = self.ready_index(&request.name)?;
        let resumed = request.after.as_ref().map(|position| position.revision);
        let revision = resumed.or(request.revision).unwrap_or(self.revision());
        self.check_revision(revision)?;
        let mut page = IndexPage {
            revision,
            records: Vec::new(),
            next: None,
        };
        let Some((start, end)) = request.bounds() else {
            return Ok(page);
        };
        let (mut start, mut end) = (
            Bound::Included(start.as_slice()),
            end.as_deref().map_or(Bound::Unbounded, Bound::Excluded),
        );
        let after = request.after.as_ref().map(|position| position.entry.as_slice());
        match (request.direction, after) {
            (Direction::Ascending, Some(after)) if within(after, (start, end)) => {
                start = Bound::Excluded(after)
            }
            (Direction::Descending, Some(after)) if within(after, (start, end)) => {
                end = Bound::Excluded(after)
            }
            (_, Some(_)) => return Err(ViewError::InvalidPosition),
            (_, None) => {}
        }
        let (mut size, mut hidden) = (0_usize, 0_usize);
        let mut last: Option<Vec<u8>> = None;
        let mut damage = None;
        walk(
            self.state(),
            index,
            &[(start, end)],
            request.direction,
            revision,
            |entry, record| {
                if filter.is_some_and(|filter| !filter.shows(record.key())) {
                    hidden += 1;
                    if hidden < HIDDEN_KEYS_MAX {
                        return ControlFlow::Continue(());
                    }
                    let entry = entry.to_vec();
                    page.next = Some(IndexPosition { entry, revision });
                    return ControlFlow::Break(());
                }
                if page.records.len() >= limit || size >= SCAN_PAGE_BYTES {
                    page.next = last.take().map(|entry| IndexPosition { entry, revision });
                    return ControlFlow::Break(());
                }
                size = size
                    .saturating_add(record.key().len())
                    .saturating_add(record.value_len());
                damage = record.to_record().map(|record| page.records.push(record)).err();
                if damage.is_some() {
                    return ControlFlow::Break(());
                }
                // Only a full page needs to know where it ends.
                if page.records.len() >= limit || size >= SCAN_PAGE_BYTES {
                    last = Some(entry.to_vec());
                }
                ControlFlow::Continue(())
            },
        )?;
        damage.map_or(Ok(page), |damage| Err(damage.into()))
    }

    /// An index that can be asked.
    fn ready_index(&self, name: &IndexName) -> Result<&Index, ViewError> {
        let index = self.find_index(name).ok_or(ViewError::IndexNotFound)?;
        match index.fill {
            Fill::Upto { .. } => Err(ViewError::IndexNotReady),
            Fill::Failed { .. } => Err(ViewError::IndexFailed),
            Fill::NotAsked | Fill::Complete => Ok(index),
        }
    }
}

fn checked(limit: usize) -> Result<usize, ViewError> {
    let limit_max = SCAN_PAGE_RECORDS_MAX;
    if (1..=limit_max).contains(&limit) {
        Ok(limit)
    } else {
        Err(ViewError::PageLimit { limit, limit_max })
    }
}

/// The part of an index within bounds.
type Bounds<'a> = (Bound<&'a [u8]>, Bound<&'a [u8]>);

/// Calls `visit` for each entry of an index as it was at a revision, in order, with its record. The bounds of its
/// parts are in ascending order and apart.
pub(crate) fn walk<'a>(
    state: &'a State,
    index: &'a Index,
    parts: &[Bounds<'_>],
    direction: Direction,
    revision: Revision,
    mut visit: impl FnMut(&[u8], RecordRef<'a>) -> ControlFlow<()>,
) -> Result<(), ViewError> {
    let mut present = Ordered {
        parts: parts.iter().map(|bounds| index.entries.range(*bounds)),
        range: None,
        direction,
    };
    if revision == state.revision {
        for entry in present {
            let record = key_of(entry).and_then(|key| newest(state, key));
            if record.is_some_and(|record| visit(entry, record).is_break()) {
                break;
            }
        }
        return Ok(());
    }
    let past = Past::collect(state, index, parts, revision)?;
    // What has changed since is told by the past, the rest is as it was.
    let mut unchanged = core::iter::from_fn(|| {
        present.find(|entry| key_of(entry).is_some_and(|key| !past.changed.contains(key)))
    })
    .peekable();
    let mut changed = past.entries(direction).peekable();
    loop {
        let is_unchanged_first = match (unchanged.peek(), changed.peek()) {
            (None, None) => return Ok(()),
            (Some(_), None) => true,
            (None, Some(_)) => false,
            (Some(unchanged), Some((changed, _))) => match direction {
                Direction::Ascending => unchanged.cmp(changed) == Ordering::Less,
                Direction::Descending => unchanged.cmp(changed) == Ordering::Greater,
            },
        };
        let flow = if is_unchanged_first {
            let entry = unchanged.next().unwrap_or_default();
            let record = key_of(entry).and_then(|key| newest(state, key));
            record.map_or(ControlFlow::Continue(()), |record| visit(entry, record))
        } else {
            let found = changed.next();
            found.map_or(ControlFlow::Continue(()), |(entry, record)| visit(entry, record))
        };
        if flow.is_break() {
            return Ok(());
        }
    }
}

/// The entries of what has changed since a revision, as they were at it.
struct Past<'a> {
    changed: BTreeSet<&'a [u8]>,
    entries: BTreeMap<Vec<u8>, RecordRef<'a>>,
}

impl<'a> Past<'a> {
    fn collect(
        state: &'a State,
        index: &Index,
        parts: &[Bounds<'_>],
        revision: Revision,
    ) -> Result<Self, ViewError> {
        let behind = Place {
            revision,
            order: u32::MAX,
        };
        let mut past = Self {
            changed: BTreeSet::new(),
            entries: BTreeMap::new(),
        };
        for (count, (_, cell)) in state.changes.after(behind).enumerate() {
            if count >= INDEX_PAST_CHANGES_MAX {
                return Err(ViewError::TooManyChanges { revision });
            }
            let key = change::stored(cell).key;
            if !key.starts_with(index.definition.prefix()) || !past.changed.insert(key) {
                continue;
            }
            let then = state.in_force(state.newest(key), revision);
            let record = then.and_then(|version| RecordRef::new(key, version));
            let Some(record) = record.filter(|record| index.covers(key, record.mod_revision())) else {
                continue;
            };
            for mut entry in index.values(&scope(&record)) {
                entry.extend_from_slice(key);
                if is_in(&entry, parts) {
                    past.entries.insert(entry, record);
                }
            }
        }
        Ok(past)
    }

    fn entries(&self, direction: Direction) -> impl Iterator<Item = (&[u8], RecordRef<'a>)> {
        let mut entries = self.entries.iter();
        core::iter::from_fn(move || {
            let (entry, record) = match direction {
                Direction::Ascending => entries.next(),
                Direction::Descending => entries.next_back(),
            }?;
            Some((entry.as_slice(), *record))
        })
    }
}

/// Entries of parts in either direction.
struct Ordered<'a, P> {
    parts: P,
    range: Option<tree::Range<'a>>,
    direction: Direction,
}

impl<'a, P: DoubleEndedIterator<Item = tree::Range<'a>>> Iterator for Ordered<'a, P> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        loop {
            if let Some(range) = &mut self.range {
                let found = match self.direction {
                    Direction::Ascending => range.next(),
                    Direction::Descending => range.next_back(),
                };
                if let Some((entry, _)) = found {
                    return Some(entry);
                }
            }
            self.range = Some(match self.direction {
                Direction::Ascending => self.parts.next(),
                Direction::Descending => self.parts.next_back(),
            }?);
        }
    }
}

/// Whether a place lies within one of these parts, which are in ascending order.
fn is_in(at: &[u8], parts: &[Bounds<'_>]) -> bool {
    let begun = parts.partition_point(|(start, _)| within(at, (*start, Bound::Unbounded)));
    parts
        .get(..begun)
        .and_then(<[_]>::last)
        .is_some_and(|part| within(at, *part))
}

/// The live record of a key.
fn newest<'a>(state: &'a State, key: &'a [u8]) -> Option<RecordRef<'a>> {
    let cell = state.live.get(key)?;
    RecordRef::new(key, VersionCell::alone(cell))
}

/// Whether a position lies within the entries that are asked for.
fn within(at: &[u8], (start, end): Bounds<'_>) -> bool {
    let is_after = match start {
        Bound::Included(start) => at >= start,
        Bound::Excluded(start) => at > start,
        Bound::Unbounded => true,
    };
    let is_before = match end {
        Bound::Included(end) => at <= end,
        Bound::Excluded(end) => at < end,
        Bound::Unbounded => true,
    };
    is_after && is_before
}

/// The key of an entry.
fn key_of(entry: &[u8]) -> Option<&[u8]> {
    entry.get(crate::index::value_len(entry)?..)
}
