//! The store as its users see it: batches in, replies and views out.

#[path = "store/compaction.rs"]
mod compaction;
#[path = "store/model.rs"]
mod model;
#[path = "store/operations.rs"]
mod operations;
#[path = "store/properties.rs"]
mod properties;
#[path = "store/sessions.rs"]
mod sessions;
#[path = "store/snapshots.rs"]
mod snapshots;
#[path = "store/support.rs"]
mod support;
#[path = "store/traps.rs"]
mod traps;
