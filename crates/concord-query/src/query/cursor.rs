//! The cursor of a query, as text for callers to keep.

use std::fmt;
use std::str::FromStr;

use concord_core::select::QueryPosition;

use super::Query;
use crate::cursor::{Bytes, Held, InvalidCursor, Seal};

/// Where a query stands. Opaque text: it is only good for the same filters and order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueryCursor(Held<QueryPosition>);

impl Bytes for QueryPosition {
    fn encode(&self) -> Vec<u8> {
        Self::encode(self)
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        Self::decode(bytes).ok()
    }
}

impl QueryCursor {
    /// The cursor of a query that goes on at `position`.
    pub(super) fn new(query: &Query, position: QueryPosition) -> Self {
        Self(Held::Plain(query.fingerprint(), position))
    }

    /// The position, if the cursor was made by this query, and is not sealed.
    #[must_use]
    pub fn position_in(&self, query: &Query) -> Option<&QueryPosition> {
        self.0.of(query.fingerprint())
    }

    /// As [`Cursor::sealed`](crate::Cursor::sealed).
    #[must_use]
    pub fn sealed(self, seal: &dyn Seal) -> Self {
        Self(self.0.sealed(seal))
    }

    /// As [`Cursor::opened`](crate::Cursor::opened).
    ///
    /// # Errors
    ///
    /// If it was sealed by another.
    pub fn opened(self, seal: &dyn Seal) -> Result<Self, InvalidCursor> {
        self.0.opened(seal).map(Self)
    }
}

impl fmt::Display for QueryCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.write(f)
    }
}

impl FromStr for QueryCursor {
    type Err = InvalidCursor;

    fn from_str(text: &str) -> Result<Self, InvalidCursor> {
        Held::parse(text).map(Self)
    }
}
