//! How do nodes find, trust and talk to each other?
//!
//! Not here: what the messages mean (`concord-raft`), which nodes belong together (the
//! engine's `Inbound::admit` judges).
//!
//! ```text
//!   engine ── TcpTransport ── one connection per peer and lane ──▶ Listener ── Inbound ── engine
//!                 │            (one more for each stream)             │
//!                 └── hello, proof both ways, verdict ── then frames ─┘
//! ```
//!
//! [`TcpTransport`] dials, [`Listener`] accepts; each connection proves the cluster secret
//! both ways before anything else is read (`hello`, `proof`), then carries frames
//! (`frame`). A call says honestly whether its request may have arrived. Everything is
//! bounded by `limits`; bytes on the wire are described in `docs/log-format.md`.
//!
//! Nodes that know nobody's peer address may find one by [`gossip`], over UDP.
//!
//! Around the connections goes TLS, if it is configured ([`tls`]): both sides show certificates, and each is the node that its
//! certificate names. Without, traffic after the handshake is neither encrypted nor authenticated.

pub mod gossip;
pub mod limits;
pub mod tls;

mod config;
mod frame;
mod hello;
mod proof;

mod handshake;
mod logging;
mod pipe;
mod stats;

mod calls;
mod client;
mod dialer;
mod link;
mod listener;
mod registry;
mod serving;
mod stream;

#[cfg(test)]
mod testing;

pub use client::TcpTransport;
pub use config::NetConfig;
pub use dialer::IdentitySource;
pub use listener::{ListenError, Listener, Serving};
pub use proof::{ClusterSecret, UnfitSecret};
pub use stats::{NetStats, RefusalReason};
