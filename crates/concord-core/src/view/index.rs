//! Lookups in secondary indexes: by value and by range of values, in order.

use alloc::vec::Vec;
use core::ops::Bound;

use super::{Direction, ReadView, ViewError};
use crate::expr::Literal;
use crate::ids::Revision;
use crate::index::{Fill, Index, IndexName, IndexStatus, encode_literal};
use crate::limits::{SCAN_PAGE_BYTES, SCAN_PAGE_RECORDS_MAX};
use crate::record::Record;
use crate::tree::prefix_end;

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
    /// Go on behind [`IndexPage::next`] of the page before.
    pub after: Option<IndexPosition>,
}

/// Where a lookup stands: behind an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexPosition(Vec<u8>);

/// A page's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexPage {
    /// The revision that was read at: that of the view.
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
            Bound::Unbounded => None,
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

    /// One page of a lookup. Never an expired key: its entries went with it (D-DATA-9).
    ///
    /// # Errors
    ///
    /// If there is no such index, it is not filled yet or has failed, or the limit is out of range.
    pub fn lookup(&self, request: &IndexRequest) -> Result<IndexPage, ViewError> {
        let limit = request.limit;
        if !(1..=SCAN_PAGE_RECORDS_MAX).contains(&limit) {
            return Err(ViewError::PageLimit {
                limit,
                limit_max: SCAN_PAGE_RECORDS_MAX,
            });
        }
        let index = self.find_index(&request.name).ok_or(ViewError::IndexNotFound)?;
        if let Fill::Upto { .. } | Fill::Failed { .. } = index.fill {
            return Err(ViewError::IndexNotReady);
        }
        let mut page = IndexPage {
            revision: self.revision(),
            records: Vec::new(),
            next: None,
        };
        let Some((start, end)) = request.bounds() else {
            return Ok(page);
        };
        let after = request.after.as_ref().map(|position| position.0.as_slice());
        let (mut start, mut end) = (
            Bound::Included(start.as_slice()),
            end.as_deref().map_or(Bound::Unbounded, Bound::Excluded),
        );
        match (request.direction, after) {
            (Direction::Ascending, Some(after)) if within(after, start, end) => {
                start = Bound::Excluded(after)
            }
            (Direction::Descending, Some(after)) if within(after, start, end) => end = Bound::Excluded(after),
            (_, Some(_)) => return Err(ViewError::InvalidPosition),
            (_, None) => {}
        }
        let mut range = index.entries.range((start, end));
        let mut size = 0_usize;
        let mut last: Option<&[u8]> = None;
        loop {
            let entry = match request.direction {
                Direction::Ascending => range.next(),
                Direction::Descending => range.next_back(),
            };
            let Some((entry, _)) = entry else { break };
            if page.records.len() >= limit || size >= SCAN_PAGE_BYTES {
                page.next = last.map(|last| IndexPosition(last.to_vec()));
                break;
            }
            last = Some(entry);
            if let Some(record) = key_of(entry).and_then(|key| self.get(key)) {
                size = size
                    .saturating_add(record.key().len())
                    .saturating_add(record.value().len());
                page.records.push(record.to_record());
            }
        }
        Ok(page)
    }
}

/// Whether a position lies within the entries that are asked for.
fn within(at: &[u8], start: Bound<&[u8]>, end: Bound<&[u8]>) -> bool {
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
