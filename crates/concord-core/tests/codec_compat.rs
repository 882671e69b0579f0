//! Formats against bytes that were committed when they were made.

#[cfg(test)]
#[path = "codec/compat.rs"]
mod compat;
#[cfg(test)]
#[path = "codec/data_plane.rs"]
mod data_plane;
#[cfg(test)]
#[path = "codec/filters.rs"]
mod filters;
#[cfg(test)]
#[path = "codec/golden.rs"]
mod golden;
#[cfg(test)]
#[path = "codec/indexes.rs"]
mod indexes;
#[cfg(test)]
#[path = "codec/packed.rs"]
mod packed;
#[cfg(test)]
#[path = "codec/policy.rs"]
mod policy;
#[cfg(test)]
#[path = "codec/restores.rs"]
mod restores;
#[cfg(test)]
#[path = "codec/subscriptions.rs"]
mod subscriptions;
#[cfg(test)]
#[path = "codec/versions.rs"]
mod versions;
