//! The store as its users see it: batches in, replies and views out.

#[path = "store/model.rs"]
mod model;
#[path = "store/operations.rs"]
mod operations;
#[path = "store/properties.rs"]
mod properties;
#[path = "store/support.rs"]
mod support;
