//! What an operator may choose about the transport. Leaves the fixed maxima to `limits`.

use std::time::Duration;

use crate::limits;

/// Limits and waits of the transport and its listener. [`NetConfig::default`] is right
/// for a local network; both ends of a connection may differ in everything here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetConfig {
    /// Largest message in bytes, 64 MiB and 64 KiB by default, at most 1 GiB. The smaller
    /// of two ends decides: the other ends the connection.
    pub payload_bytes_max: usize,
    /// Wait for a TCP connection: 2 s.
    pub connect_timeout: Duration,
    /// Wait for the whole handshake: 5 s.
    pub handshake_timeout: Duration,
    /// Longest silence before an `alive` frame is sent: 1 s.
    pub keepalive_interval: Duration,
    /// Silence after which a peer is taken for gone: 4 s. At least twice the peers' `keepalive_interval`.
    pub dead_after: Duration,
    /// How long a peer may leave a call connection's bytes untaken: 10 s.
    pub call_stall_timeout: Duration,
    /// How long a peer may leave a stream's bytes untaken: 60 s.
    pub stream_stall_timeout: Duration,
    /// A call connection unused for this long is closed by its dialer: 120 s.
    pub idle_timeout: Duration,
    /// Shortest wait between dials of one peer: 20 ms.
    pub backoff_min: Duration,
    /// Longest wait between dials of one peer: 500 ms.
    pub backoff_max: Duration,
    /// Calls of one lane to one peer that may wait for answers: 1,024.
    pub calls_in_flight_max: usize,
    /// Calls of one connection that the listener works on at once: 256.
    pub calls_served_max: usize,
    /// Connections of the listener: 1,024.
    pub connections_max: usize,
    /// Of them, not proven yet: 128.
    pub unproven_max: usize,
    /// Of them, of one peer: 64.
    pub connections_per_peer_max: usize,
}

impl Default for NetConfig {
    fn default() -> Self {
        Self {
            payload_bytes_max: limits::PAYLOAD_BYTES_MAX,
            connect_timeout: limits::CONNECT_TIMEOUT,
            handshake_timeout: limits::HANDSHAKE_TIMEOUT,
            keepalive_interval: limits::KEEPALIVE_INTERVAL,
            dead_after: limits::DEAD_AFTER,
            call_stall_timeout: limits::CALL_STALL_TIMEOUT,
            stream_stall_timeout: limits::STREAM_STALL_TIMEOUT,
            idle_timeout: limits::IDLE_TIMEOUT,
            backoff_min: limits::BACKOFF_MIN,
            backoff_max: limits::BACKOFF_MAX,
            calls_in_flight_max: limits::CALLS_IN_FLIGHT_MAX,
            calls_served_max: limits::CALLS_SERVED_MAX,
            connections_max: limits::CONNECTIONS_MAX,
            unproven_max: limits::UNPROVEN_MAX,
            connections_per_peer_max: limits::CONNECTIONS_PER_PEER_MAX,
        }
    }
}

impl NetConfig {
    /// The largest message, kept below what a frame's length may say.
    pub(crate) fn payload_limit(&self) -> usize {
        self.payload_bytes_max.min(limits::PAYLOAD_BYTES_CEILING)
    }
}
