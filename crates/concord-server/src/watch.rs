//! Who is watching on this node, and how they learn that something is there for them.
//!
//! ```text
//!   apply ── publishes a view ──> routing task ── one walk over the new changes ──> Router
//!                                     │ marks: "something for you from revision r on"
//!                                     └ wakes those that are marked, nobody else
//!   Watcher ── woken ──> reads its changes from the newest view, a page at a time
//! ```
//!
//! A mark is two numbers, so a watcher costs the same however slow it is (D-EVT-4): what it has
//! not taken yet waits in the history of the store, not in a queue. The task runs while
//! somebody watches; without watchers a write pays nothing for all this.
//!
//! Not here: whose key is whose (`concord_query::watch`), and what a watch looks like on each interface.

mod crowd;
mod hub;
mod slot;
mod standing;
#[cfg(test)]
mod tests;
mod watcher;

pub(crate) use hub::Hub;
pub use slot::WatcherStatus;
pub(crate) use standing::Standing;
pub use watcher::Watcher;
pub(crate) use watcher::{Plan, behind};
