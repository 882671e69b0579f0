//! A whole cluster in one thread from one seed: real nodes on a simulated network,
//! simulated disks and simulated time, with faults, judged by what clients saw.
//!
//! ```text
//!   seed ─> plan ─> world: seats (disk, clock, runtime with a node and its clients) + network
//!                     │ tick: 1 ms of each runtime, then messages; faults by chance
//!                     └─> history ─> checks: one order explains all answers (I5, I6, I7),
//!                         replicas ─> one leader a term (I8), equal states (I4, I9), no way back (I16),
//!                         watches ─> every change once, in order, on every node (D-EVT-2, D-EVT-4):
//!                                    the ledger, by which requests about many keys are judged (I3, I5, I7),
//!                                    the ends of leases and keys (I17, I19), locks (D-REC-3),
//!                                    and writes of those whose rights change (I22);
//!                         views ─> a restore is shown whole or never (I23)
//! ```
//!
//! `CONCORD_SIM_SEED=0x…` runs one seed, `CONCORD_SIM_SEEDS=n` that many fresh ones after
//! the committed ones, `CONCORD_SIM_MINUTES=m` fresh ones for that long, beginning at
//! `CONCORD_SIM_BASE_SEED` or anywhere. `CONCORD_SIM_VERBOSE=1` prints events as they happen.

// The futures of a whole node inside those of a world are deep.
#![recursion_limit = "256"]
#![expect(
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test that indexes out of bounds has failed, and a run reports what it did"
)]

mod checks;
mod history;
mod machines;
mod network;
mod panics;
mod plan;
mod random;
mod scenario;
mod surroundings;
mod trace;
mod watchers;
mod workload;
mod world;

mod tests;
