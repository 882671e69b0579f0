//! The cursor of a query, as text for callers to keep.

use std::fmt;
use std::str::FromStr;

use concord_core::select::QueryPosition;

use super::Query;
use crate::cursor::{InvalidCursor, hex, unhex};

/// Where a query stands. Opaque text: it is only good for the same filters and order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueryCursor {
    fingerprint: [u8; 8],
    position: QueryPosition,
}

impl QueryCursor {
    /// The cursor of a query that goes on at `position`.
    pub(super) fn new(query: &Query, position: QueryPosition) -> Self {
        Self {
            fingerprint: query.fingerprint(),
            position,
        }
    }

    /// The position, if the cursor was made by this query.
    #[must_use]
    pub fn position_in(&self, query: &Query) -> Option<&QueryPosition> {
        (self.fingerprint == query.fingerprint()).then_some(&self.position)
    }
}

impl fmt::Display for QueryCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex(self.fingerprint, &self.position.encode(), f)
    }
}

impl FromStr for QueryCursor {
    type Err = InvalidCursor;

    fn from_str(text: &str) -> Result<Self, InvalidCursor> {
        let bytes = unhex(text).ok_or(InvalidCursor)?;
        let (fingerprint, position) = bytes.split_first_chunk().ok_or(InvalidCursor)?;
        let position = QueryPosition::decode(position).map_err(|_| InvalidCursor)?;
        Ok(Self {
            fingerprint: *fingerprint,
            position,
        })
    }
}
