//! Queries: which records, in which order, how many, what of them.
//!
//! ```text
//!   Query ── filter ──> plan (core) ──> candidates ──> judged, ordered, cut to a page
//! ```
//!
//! All of a query shows one revision, over any number of pages. Filters come before limits (D-DATA-10). What a
//! query looks at is bounded: one that reaches its bound says so, and where to go on.

mod builder;
mod cursor;
mod explain;
mod project;
mod run;

#[cfg(test)]
mod tests;

pub use builder::{InvalidQuery, OrderBy, Query};
pub use cursor::QueryCursor;
pub use explain::{Explanation, Reads};
pub use run::{Found, Output, QueryError, Start, Stop};
