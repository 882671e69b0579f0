//! Which parts make a node?
//!
//! Composes the state machine (`concord-core`), agreement (`concord-raft`) and peers
//! (`concord-net`) into a node with an embedded handle, and with the features `http` and
//! `cli` into a server. Not here: logic that another crate could own.

pub mod config;
mod duration;
pub mod limits;

pub use config::{
    AuthMode, Config, ConfigError, ConfigErrorKind, HttpConfig, Loaded, Loader, LogFormat, Overrides,
    PeerConfig, Place, Profile, Secret, Start,
};
