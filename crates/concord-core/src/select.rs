//! How the records of a filter are found: by the order of keys or by an index, never by
//! looking at what cannot match.
//!
//! ```text
//!   Filter ── plan ──> Access ── candidates ──> records, each judged by the filter again
//! ```
//!
//! A plan only narrows what is looked at: candidates are all records that match, and maybe others. So the
//! plan does not change what is found, only the work; and at apply it follows from the state, so that
//! replicas agree on that too.

mod plan;
mod position;
mod spans;
mod walk;

use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::index::{IndexDefinition, IndexName, Strays};
use crate::key::KeyRange;
use crate::state::State;

use spans::Spans;

pub use plan::conjuncts;
pub(crate) use plan::plan;
pub use position::QueryPosition;
pub(crate) use walk::candidates;
pub use walk::{Candidate, Walk};

/// Where the records of a filter are looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// Nowhere: none can match.
    Nothing,
    /// Among the keys of a range, in their order.
    Keys(KeyRange),
    /// Among the entries of an index.
    Index(IndexAccess),
}

/// A part of an index that has all records of a filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexAccess {
    definition: Arc<IndexDefinition>,
    spans: Spans,
    strays: Strays,
}

impl IndexAccess {
    /// The index.
    #[must_use]
    pub fn definition(&self) -> &IndexDefinition {
        &self.definition
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &IndexName {
        self.definition.name()
    }

    /// Whether records are found by the one value that they have, rather than by items of a list: its order is then that of
    /// [`Extractor::sort_key`](crate::index::Extractor::sort_key).
    #[must_use]
    pub fn is_of_single_values(&self) -> bool {
        self.strays == Strays::PartlyKnown
    }

    /// Whether the records of one value are meant, which come in the order of their keys.
    #[must_use]
    pub fn is_point(&self) -> bool {
        self.spans.point().is_some()
    }
}

impl Access {
    /// Whether candidates come in the order of their keys, of the state as it is.
    pub(crate) fn is_by_key(&self, state: &State) -> bool {
        match self {
            Self::Nothing | Self::Keys(_) => true,
            Self::Index(access) => access.is_point() && !walk::has_strays(state, access),
        }
    }
}

/// An access with what speaks for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Where to look.
    pub access: Access,
    /// The keys that can match: where to look if the index cannot be asked.
    pub keys: KeyRange,
    /// Which conjuncts of the predicate, from 0, are answered by the index.
    pub conjuncts: Vec<usize>,
    /// How many records are there to look at; at least so many if `is_more`.
    pub records: usize,
    /// Whether there are more than were counted.
    pub is_more: bool,
}
