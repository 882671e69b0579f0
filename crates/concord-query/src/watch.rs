//! What a watcher wants to hear of, and how it reads that from a view.
//!
//! ```text
//!   Filter ──> Router   which watchers does a change concern? one walk for all of them
//!     └──────> read     the changes that one of them is due, page by page, from a Position
//! ```
//!
//! Changes come from the history of a view, so a watcher needs no queue: it is a [`Position`], and
//! reads on from there at its own pace (D-EVT-4). Not here: who wakes whom, which is the node's.

mod codec;
mod filter;
mod page;
mod position;
mod router;
#[cfg(test)]
mod tests;

pub use codec::InvalidFilter;
pub use filter::{Filter, KeyPattern, Kinds, ReadsTime, Selector};
pub use page::{Page, PageLimits, WatchBatch, WatchEvent, check, read, read_shown};
pub use position::{InvalidPosition, Position};
pub use router::Router;
