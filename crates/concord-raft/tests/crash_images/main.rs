//! The log after every crash and every damage that the tests can think of.
//!
//! Claims: what was acknowledged is there after any crash (I5, I12, I13); what is there is
//! a front part of what was asked, never anything else; a crash is never taken for damage;
//! damage is never taken for data, and changes nothing (I18).
//!
//! Method: random work on a simulated disk; copies of the disk at every change, cut off
//! or damaged; each copy is opened and compared with a model. Each test prints how many
//! images it tried and asserts a floor.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test stops where its assumptions do"
)]

mod crashes;
mod damage;
mod faults;
mod harness;
mod model;
