//! What does this text ask?
//!
//! Turns the texts in which callers ask into what a view can answer: lengths of time
//! ([`duration`]) and the cursors that say where a scan stands ([`Cursor`]). Pure: no I/O, and nothing
//! here changes state. Filters, their planner and expressions will live here too; apply's
//! evaluator will not: what decides in the log is core's.

pub mod duration;

mod cursor;

pub use cursor::{Cursor, InvalidCursor};
