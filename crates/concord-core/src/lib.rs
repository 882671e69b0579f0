//! What the store *is*: the state, the commands that change it, the views that read it.
//!
//! Not here: agreement (`concord-raft`), who may do what (`concord-auth`), bytes on a
//! socket (`concord-net`). This crate has no clock, no randomness and no I/O; it is
//! `no_std`, so it could not have them by accident.

#![no_std]

extern crate alloc;

pub mod batch;
pub mod codec;
pub mod ids;
pub mod limits;
pub mod machine;
pub mod tree;
