//! Whole nodes over a network in memory and simulated disks, in paused time: forming,
//! failing over, snapshots, and every change of membership.
//!
//! Not here: random faults and schedules (`tests/sim`), real sockets (`concord-net`).

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests fail by panicking"
)]

mod cluster;
mod discovery;
mod formation;
mod full_disk;
mod membership;
mod network;
mod newer_wire;
mod quotas;
mod replication;
mod restarts;
mod rolling;
mod versions;
