//! Clusters of real processes: killed, wiped, cut off from their disk, and still right.
//!
//! Method: writers send numbered writes through any node and keep a ledger of what was
//! acknowledged. Whatever happens to the nodes, at the end a `strong` read of every
//! acknowledged write must find it (I5). A write without an answer may or may not be there.
//!
//! One test at a time: elections are measured, and two clusters on two cores would
//! measure each other.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "tests fail by panicking, and print what they measured"
)]

#[path = "cluster/crash.rs"]
mod crash;
#[path = "cluster/directory.rs"]
mod directory;
#[path = "cluster/load.rs"]
mod load;
#[path = "cluster/membership.rs"]
mod membership;
#[path = "cluster/operators_day.rs"]
mod operators_day;
#[path = "process/mod.rs"]
mod process;
#[path = "cluster/watch.rs"]
mod watch;

use tokio::sync::{Mutex, MutexGuard};

static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());

/// Holds the machine for one test; cargo's own runner starts several at once.
async fn alone() -> MutexGuard<'static, ()> {
    ONE_AT_A_TIME.lock().await
}
