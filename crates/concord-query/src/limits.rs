//! Every maximum of a query in one place. What bounds its parts is in [`concord_core::limits`].

/// Records on one page of a query.
pub const QUERY_LIMIT_MAX: usize = concord_core::limits::SCAN_PAGE_RECORDS_MAX;

/// Matching records that a query can leave out.
pub const QUERY_OFFSET_MAX: u64 = 100_000;

/// Records that a request looks at, unless it says otherwise.
pub const QUERY_SCANNED_DEFAULT: u64 = 100_000;

/// Records that a request can ask to look at.
pub const QUERY_SCANNED_MAX: u64 = 10_000_000;

/// Fields of a projection.
pub const QUERY_FIELDS_MAX: usize = 64;

/// Steps of a pattern, at most, by which the routing of a change decides whom it concerns: it does so for all watchers
/// of a node. What would take more is left to the watcher itself.
pub(crate) const ROUTE_STEPS_MAX: usize = 1 << 12;

/// Steps of a filter that count as one more change looked at.
pub const STEPS_A_VISIT: u64 = 1 << 10;

/// Steps of work between two looks at the clock: well under a millisecond's, but for a costly expression.
pub(crate) const STEPS_BETWEEN_LOOKS: u64 = 1 << 14;
