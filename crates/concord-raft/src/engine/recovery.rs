//! Starting: from a data directory to a running Raft.

use std::sync::Arc;
use std::time::Duration;

use concord_core::ids::LogIndex;
use concord_core::machine::Machine;
use futures::FutureExt;
use openraft::{Config, SnapshotPolicy};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::Instant;

use super::{Engine, Seeds, VoteGate, watcher};
use crate::adapter::backlog::Backlog;
use crate::adapter::gated_log::GatedLog;
use crate::adapter::network::{AddressBook, Network};
use crate::adapter::serve::SnapshotInbox;
use crate::adapter::state_machine::{Deadline, Files, StateMachine};
use crate::blocking::Blocking;
use crate::config::NodeConfig;
use crate::consensus::{Leadership, Publisher};
use crate::error::{StartError, StopReason};
use crate::identity::DataDirectory;
use crate::limits;
use crate::log::{self, Host, LogHandle, LogOptions, LogStore};
use crate::observe::Watching;
use crate::ports::Ports;
use crate::roster::Roster;
use crate::snapshot_store::SnapshotStore;
use crate::sole_voter::SoleVoter;
use crate::stop::Stop;
use crate::versions::Versions;

/// What starting gives.
pub(crate) struct Started<M: Machine> {
    pub(crate) engine: Arc<Engine<M>>,
    pub(crate) inbox: Arc<SnapshotInbox>,
    pub(crate) log: LogHandle,
}

struct Opened {
    snapshots: SnapshotStore,
    roster: Roster,
}

/// Opens everything in the directory and recovers the machine. openraft is built but does
/// not run yet: nobody can vote or lead before [`Engine`]'s owner says so.
pub(crate) async fn start<M: Machine>(
    config: &NodeConfig,
    directory: &DataDirectory,
    ports: &Ports,
    stop: &Stop,
) -> Result<Started<M>, StartError> {
    let (blocking, identity) = (Blocking::new(config.host), directory.identity());
    let opened = open(config, directory, ports).await?;
    let publisher = Publisher::new(M::empty().view(), LogIndex::new(0));
    let views = publisher.views();
    let files = Files {
        store: opened.snapshots.clone(),
        identity: Arc::clone(&identity),
        blocking,
        stop: stop.clone(),
        stats: Arc::default(),
        known: config.machine_known::<M>(),
        watching: config.observer.clone().map(Watching::new).map(Arc::new),
    };
    let (watching, versions) = (files.watching.clone(), Versions::new(files.known));
    let (deadline, roster) = (Arc::new(Deadline::default()), Arc::new(opened.roster));
    let (node_id, stats) = (identity.current().node_id, Arc::clone(&files.stats));
    let sole_voter = Arc::new(SoleVoter::new(node_id));
    let backlog = Arc::new(Backlog::new(config.snapshot.after_bytes));
    let machine = StateMachine::<M>::new(
        publisher,
        Arc::clone(&deadline),
        Arc::clone(&roster),
        Arc::clone(&sole_voter),
        Arc::clone(&backlog),
        files,
    );
    let (log, log_handle, machine) = read_back(config, directory, ports, machine, stop).await?;
    let log = GatedLog::new(log, Arc::clone(&sole_voter), watching.clone());
    let (book, seeds) = (Arc::new(AddressBook::default()), draw_seeds(ports));
    let network = Network::<M>::new(Arc::clone(&ports.transport), Arc::clone(&book), blocking);
    let raft_config = Arc::new(raft_config(config)?);
    let raft = seeds
        .scope(openraft::Raft::build(
            node_id.get(),
            raft_config,
            network,
            log,
            machine,
        ))
        .boxed()
        .await
        .map_err(|fatal| start_error(stop, &fatal))?;
    let engine = Arc::new(Engine {
        node_id,
        metrics: raft.metrics(),
        server: raft.server_metrics(),
        raft,
        book,
        roster,
        backlog,
        versions,
        stop: stop.clone(),
        seeds,
        votes: VoteGate::default(),
        sole_voter,
        heard: Mutex::new(Instant::now()),
        views,
        deadline,
        stats,
        watching,
        leadership: watch::Sender::new(Leadership::default()),
    });
    tokio::spawn(watcher::run(Arc::clone(&engine), log_handle.health()));
    Ok(Started {
        engine,
        inbox: Arc::new(SnapshotInbox::new(opened.snapshots, blocking)),
        log: log_handle,
    })
}

/// Reads the log and the snapshot, and has the machine apply what the log has behind it.
async fn read_back<M: Machine>(
    config: &NodeConfig,
    directory: &DataDirectory,
    ports: &Ports,
    machine: StateMachine<M>,
    stop: &Stop,
) -> Result<(LogStore, LogHandle, StateMachine<M>), StartError> {
    // The log is long and the snapshot large: each has a thread.
    let (log, machine) = futures::join!(
        open_log(config, directory, ports),
        machine.recover_snapshot(config.host)
    );
    let (log, log_handle) = log?;
    let machine = machine.map_err(|error| start_error(stop, &error))?;
    let machine = recovered(machine, &log, config.host, stop).await?;
    Ok((log, log_handle, machine))
}

/// Before openraft looks at the machine: it would do this itself, only slower.
async fn recovered<M: Machine>(
    machine: StateMachine<M>,
    log: &LogStore,
    host: Host,
    stop: &Stop,
) -> Result<StateMachine<M>, StartError> {
    let recovering = machine.recover_log(log.reader(), log.committed(), host);
    recovering.await.map_err(|error| start_error(stop, &error))
}

fn draw_seeds(ports: &Ports) -> Seeds {
    let mut seed = [0; 8];
    ports.entropy.fill(&mut seed);
    Seeds::new(u64::from_le_bytes(seed))
}

async fn open(config: &NodeConfig, directory: &DataDirectory, ports: &Ports) -> Result<Opened, StartError> {
    let (root, snapshots) = (directory.root().to_path_buf(), directory.snapshots());
    let disk = Arc::clone(&ports.disk);
    let opened = Blocking::new(config.host).run(move || {
        Ok(Opened {
            snapshots: SnapshotStore::open(&snapshots, Arc::clone(&disk))?,
            roster: Roster::open(&root, disk)?,
        })
    });
    opened
        .await
        .map_err(|error: crate::storage_error::StorageError| error.into())
}

async fn open_log(
    config: &NodeConfig,
    directory: &DataDirectory,
    ports: &Ports,
) -> Result<(LogStore, LogHandle), StartError> {
    let identity = directory.identity().current();
    let mut options = LogOptions::new(identity.store_id, config.log.segment_bytes);
    options.expect_existing = identity.cluster_id.is_some();
    options.host = config.host;
    let (log, disk) = (directory.log(), Arc::clone(&ports.disk));
    // In the task host the log spawns a task, for which this is the right runtime.
    let opened = Blocking::new(config.host).run(move || log::open(&log, options, disk));
    Ok(opened.await?)
}

fn start_error(stop: &Stop, fatal: &impl std::fmt::Display) -> StartError {
    // The adapter names the cause better than openraft, which wraps it.
    match stop.reason() {
        Some(StopReason::Corrupt { reason }) => StartError::Corrupt { reason },
        Some(StopReason::TooOld { reason }) => StartError::TooOld { reason },
        Some(StopReason::Storage { reason }) => StartError::Storage { reason },
        _ => StartError::Corrupt {
            reason: fatal.to_string(),
        },
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// openraft's settings. The reasons are in `docs/adr/0002-openraft-pinned.md`.
fn raft_config(config: &NodeConfig) -> Result<Config, StartError> {
    let timing = config.timing;
    let snapshot = config.snapshot;
    let settings = Config {
        cluster_name: "concord".to_owned(),
        heartbeat_interval: millis(timing.heartbeat),
        election_timeout_min: millis(timing.election_min),
        election_timeout_max: millis(timing.election_max),
        // A node that cannot win must not disturb a leader that can (traps of partitions).
        enable_pre_vote: Some(true),
        // A restarted leader must be elected again: its machine may be behind.
        enable_leader_restore: Some(false),
        // A leader without a quorum falls silent, so that others can elect one that has.
        quorum_loss_probe_interval: Some(millis(timing.election_max * 5 / 2)),
        max_payload_entries: limits::APPEND_ENTRIES_MAX as u64,
        max_append_entries: Some(4_096),
        api_batch_capacity: 4_096,
        snapshot_policy: SnapshotPolicy::LogsSinceLast(snapshot.after_entries),
        max_in_snapshot_log_to_keep: snapshot.log_entries_kept,
        replication_lag_threshold: replication_lag_threshold(config),
        purge_batch_size: snapshot.log_entries_kept.clamp(1, 1_024),
        install_snapshot_timeout: 600_000,
        ..Config::default()
    };
    settings.validate().map_err(|error| StartError::InvalidConfig {
        reason: error.to_string(),
    })
}

/// How far behind a follower may be before it gets a snapshot instead of entries. Over
/// the entries between snapshots, or a snapshot would not help it.
pub(crate) const fn replication_lag_threshold(config: &NodeConfig) -> u64 {
    let snapshot = config.snapshot;
    snapshot
        .after_entries
        .saturating_add(snapshot.log_entries_kept)
        .saturating_mul(2)
}
