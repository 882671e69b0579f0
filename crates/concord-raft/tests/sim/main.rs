//! A whole cluster in one thread from one seed: real nodes on a simulated network,
//! simulated disks and simulated time, with faults, judged by what clients saw.

mod checks;
mod history;
mod random;
