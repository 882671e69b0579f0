//! Every maximum of the server in one place. What bounds the data itself is in
//! [`concord_core::limits`].

use std::time::Duration;

/// Default largest value.
pub const VALUE_BYTES_MAX: usize = 16 << 20;

/// Default largest HTTP request body.
pub const BODY_BYTES_MAX: usize = 64 << 20;

/// Default number of open HTTP connections; more wait in the listen queue.
pub const HTTP_CONNECTIONS_MAX: usize = 10_000;

/// Default time that a client may take to send its request head.
pub const HTTP_HEADER_TIMEOUT: Duration = Duration::from_secs(10);

/// Default time that an operation may take, on any interface.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// The longest time that a caller may ask an operation to take.
pub const REQUEST_TIMEOUT_MAX: Duration = Duration::from_secs(600);

/// The shortest heartbeat.
pub const HEARTBEAT_MIN: Duration = Duration::from_millis(10);

/// The longest time without a leader before a node stands for election.
pub const ELECTION_MAX: Duration = Duration::from_secs(60);

/// How long a graceful shutdown waits for requests in flight.
pub const HTTP_DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

/// A secret shorter than this protects nothing.
pub const SECRET_BYTES_MIN: usize = 16;

/// The most seeds in one list.
pub const SEEDS_MAX: usize = 16;

/// The largest configuration file.
pub const CONFIG_BYTES_MAX: u64 = 1 << 20;
