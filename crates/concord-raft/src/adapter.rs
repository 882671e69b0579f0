//! Joins openraft to this crate: the machine behind its state machine trait, peers behind
//! its network traits, and its configuration. openraft's types stay in here and in
//! `types`, `log` and `engine`.

pub(crate) mod append_stream;
pub(crate) mod backlog;
pub(crate) mod gated_log;
pub(crate) mod network;
pub(crate) mod serve;
pub(crate) mod snapshot_stream;
pub(crate) mod state_machine;
