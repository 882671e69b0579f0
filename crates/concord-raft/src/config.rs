//! What an operator chooses for one node: where its data is, how it is reached, how
//! patient it is. What a cluster must agree on is not here but in the replicated state.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use concord_core::ids::NodeId;
use concord_core::machine::Machine;
use concord_core::version::MachineVersion;

use crate::error::StartError;
use crate::limits;
use crate::log::Host;
use crate::observe::Observer;
use crate::ports::Discovery;

/// The settings of one node.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// The node's id in a fresh data directory; a random one is drawn if it is `None`.
    /// In a directory that has an id already it must be the same or `None`.
    pub node_id: Option<NodeId>,
    /// The directory that holds the node's log, snapshots and identity.
    pub data_dir: PathBuf,
    /// `host:port` at which peers reach this node. `None`: it can only be alone.
    pub peer_address: Option<String>,
    /// How patient the node is. Should be the same on all members.
    pub timing: Timing,
    /// The write-ahead log.
    pub log: LogConfig,
    /// When snapshots are taken and how much log is kept.
    pub snapshot: SnapshotConfig,
    /// What blocking work runs on: threads, unless everything must happen in one order.
    pub host: Host,
    /// Who is told what the node does; nobody, by default, which costs nothing.
    pub observer: Option<Arc<dyn Observer>>,
    /// The node claims to know no newer machine than this, as a program of an older release does.
    #[cfg(any(test, feature = "test-util"))]
    pub machine_upto: Option<MachineVersion>,
}

impl NodeConfig {
    /// The default settings for a data directory.
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            node_id: None,
            data_dir: data_dir.into(),
            peer_address: None,
            timing: Timing::default(),
            log: LogConfig::default(),
            snapshot: SnapshotConfig::default(),
            host: Host::Thread,
            observer: None,
            #[cfg(any(test, feature = "test-util"))]
            machine_upto: None,
        }
    }

    /// The newest version of a machine that this node knows.
    pub(crate) fn machine_known<M: Machine>(&self) -> MachineVersion {
        #[cfg(any(test, feature = "test-util"))]
        if let Some(upto) = self.machine_upto {
            return upto.min(M::NEWEST);
        }
        M::NEWEST
    }

    /// Refuses settings that could not work.
    ///
    /// # Errors
    ///
    /// [`StartError::InvalidConfig`], naming the setting. Nothing was written.
    pub fn check(&self) -> Result<(), StartError> {
        if self.node_id.is_some_and(|id| id.get() == 0) {
            return Err(invalid("node_id must not be 0"));
        }
        if let Some(address) = &self.peer_address {
            check_address(address).map_err(|reason| invalid(&format!("peer_address {reason}")))?;
        }
        if self.snapshot.log_entries_kept > limits::LOG_ENTRIES_KEPT_MAX {
            return Err(invalid(&format!(
                "snapshot.log_entries_kept must be at most {}",
                limits::LOG_ENTRIES_KEPT_MAX
            )));
        }
        let SnapshotConfig {
            after_entries,
            after_bytes,
            ..
        } = self.snapshot;
        if after_entries == 0 || after_bytes == 0 || self.log.segment_bytes == 0 {
            return Err(invalid(
                "snapshot.after_entries, snapshot.after_bytes and log.segment_bytes must not be 0",
            ));
        }
        self.timing.check()
    }
}

fn invalid(reason: &str) -> StartError {
    StartError::InvalidConfig {
        reason: reason.to_owned(),
    }
}

/// Refuses what cannot be a `host:port` that peers could dial.
pub(crate) fn check_address(address: &str) -> Result<(), String> {
    if address.len() > limits::ADDRESS_BYTES_MAX {
        return Err(format!(
            "is {} bytes, limit is {}",
            address.len(),
            limits::ADDRESS_BYTES_MAX
        ));
    }
    let port = address
        .rsplit_once(':')
        .filter(|(host, _)| !host.is_empty())
        .and_then(|(_, port)| port.parse::<u16>().ok());
    match port {
        Some(0) | None => Err(format!("{address:?} is not host:port")),
        Some(_) => Ok(()),
    }
}

/// How patient a node is with its peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// How often a leader tells its followers that it lives. Default 100 ms.
    pub heartbeat: Duration,
    /// The shortest silence after which a follower stands for election. Default 500 ms.
    pub election_min: Duration,
    /// The longest, which is also the leader's lease. Default 1,000 ms.
    pub election_max: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_millis(100),
            election_min: Duration::from_millis(500),
            election_max: Duration::from_millis(1_000),
        }
    }
}

impl Timing {
    fn check(&self) -> Result<(), StartError> {
        if self.heartbeat < Duration::from_millis(10) {
            return Err(invalid("timing.heartbeat must be at least 10 ms"));
        }
        // Two lost heartbeats must not be enough for an election.
        if self.election_min < self.heartbeat * 3 {
            return Err(invalid("timing.election_min must be at least three heartbeats"));
        }
        if self.election_max <= self.election_min {
            return Err(invalid("timing.election_max must be over election_min"));
        }
        if self.election_max > Duration::from_secs(60) {
            return Err(invalid("timing.election_max must be at most 60 s"));
        }
        Ok(())
    }
}

/// The write-ahead log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// The size at which a segment is closed and the next one begun. Default 64 MiB.
    pub segment_bytes: u64,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            segment_bytes: 64 << 20,
        }
    }
}

/// When snapshots are taken and how much log is kept behind them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotConfig {
    /// A snapshot is taken when this many entries follow the last one. Default 100,000.
    pub after_entries: u64,
    /// And when entries of this many bytes do, or of as many as the last one has if that
    /// is more: a start replays no more. Default 64 MiB.
    pub after_bytes: u64,
    /// Entries kept in the log although a snapshot has them, so that a follower that was
    /// away briefly needs no snapshot. Default 20,000.
    pub log_entries_kept: u64,
    /// How much of the log these may take, up to a segment more. Default 128 MiB.
    pub log_bytes_kept: u64,
}

impl Default for SnapshotConfig {
    fn default() -> Self {
        Self {
            after_entries: 100_000,
            after_bytes: 64 << 20,
            log_entries_kept: 20_000,
            log_bytes_kept: 128 << 20,
        }
    }
}

/// How a node whose data directory belongs to no cluster comes to belong to one.
#[derive(Clone, Debug)]
pub enum StartMode {
    /// It forms a cluster of one, at once.
    Alone,
    /// It forms a cluster with the nodes at these addresses, its own among them. All of
    /// them must be given the same list; one cluster comes of it, once (I14).
    Seeds(Vec<String>),
    /// It joins the cluster of the node at this address: as a learner first, as a voter
    /// once it has caught up.
    Join(String),
    /// It joins, likewise, the one cluster of which this tells members. It never forms one, and it waits while it is told
    /// of several.
    Discover(Arc<dyn Discovery>),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_pass_the_check() {
        let mut config = NodeConfig::new("data");
        config.peer_address = Some("127.0.0.1:4100".to_owned());
        assert!(config.check().is_ok());
    }

    #[test]
    fn settings_that_cannot_work_are_refused() {
        let broken: [fn(&mut NodeConfig); 8] = [
            |config| config.node_id = Some(NodeId::new(0)),
            |config| config.peer_address = Some("nowhere".to_owned()),
            |config| config.peer_address = Some("host:0".to_owned()),
            |config| config.peer_address = Some(format!("{}:1", "a".repeat(1_000))),
            |config| config.timing.election_max = config.timing.election_min,
            |config| config.timing.election_min = config.timing.heartbeat,
            |config| config.snapshot.after_entries = 0,
            |config| config.snapshot.after_bytes = 0,
        ];
        for breakage in broken {
            let mut config = NodeConfig::new("data");
            breakage(&mut config);
            assert!(config.check().is_err(), "{config:?}");
        }
    }
}
