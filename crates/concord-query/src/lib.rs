//! What does this text ask?
//!
//! Turns the texts in which callers ask into what a view can answer: lengths of time
//! ([`duration`]), patterns of keys ([`Glob`]), expressions ([`expression`]), what indexes are of
//! ([`extractor`]), regular expressions ([`pattern`]), queries ([`query`]), what a watcher wants to hear of ([`watch`]) and the cursors that say where a scan
//! or a lookup stands ([`Cursor`], [`IndexCursor`]). Pure: no I/O, and nothing here changes state. What an expression means is
//! core's, because it decides in the log.

pub mod duration;
pub mod expression;
pub mod extractor;
pub mod limits;
pub mod pattern;
pub mod query;
pub mod watch;

mod cursor;

pub use concord_core::glob::{Glob, InvalidGlob};
pub use cursor::{Cursor, IndexCursor, InvalidCursor, Seal};
pub use query::{Query, QueryCursor, QueryError};
