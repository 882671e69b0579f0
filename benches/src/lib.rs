//! Benchmarks and the load generator.

pub mod fixture;
pub mod load;
pub mod million;
pub mod random;
