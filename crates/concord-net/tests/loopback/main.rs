//! The transport and its listener over real loopback sockets.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on must fail"
)]

mod calls;
mod certificates;
mod gossip;
mod hostile;
mod streams;
mod support;
mod tls;
