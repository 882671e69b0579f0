//! How fast is it, and how long do callers wait?
//!
//! A *driver* makes sessions, a session does one operation at a time, and the engine
//! drives many sessions at once: in a closed loop (each caller starts the next operation
//! when the last is done) or an open one (operations are due at a fixed rate, whether or
//! not earlier ones are done, and a latency counts from when it was *due*, so a stall of
//! the store shows in full: no coordinated omission).
//!
//! Only operations whose answer was checked count: a write must name a revision, a read
//! must give the value that was written for that key.

mod engine;
mod keys;
mod options;
mod report;
mod wire;

pub mod constant;
pub mod driver;
pub mod embedded;
pub mod etcd;
pub mod http;

pub use engine::{Outcome, cpu_seconds, preload, run};
pub use keys::{KeySpace, Random};
pub use options::{Consistency, DriverKind, Options, Workload};
pub use report::{Report, Row};
