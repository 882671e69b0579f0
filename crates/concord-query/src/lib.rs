//! What does this text ask?
//!
//! Turns the texts in which callers ask into what a view can answer: lengths of time
//! ([`duration`]), patterns of keys ([`Glob`]), what a watcher wants to hear of ([`watch`]) and the
//! cursors that say where a scan stands ([`Cursor`]). Pure: no I/O, and nothing here changes state. Filters, their planner and expressions will live here too; apply's
//! evaluator will not: what decides in the log is core's.

pub mod duration;
pub mod watch;

mod cursor;
mod glob;

pub use cursor::{Cursor, InvalidCursor};
pub use glob::{Glob, InvalidGlob};
