//! The store as its users see it: batches in, replies and views out.

#[path = "store/operations.rs"]
mod operations;
#[path = "store/support.rs"]
mod support;
