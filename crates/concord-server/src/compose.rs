//! Builds a running node out of its parts.
//!
//! ```text
//!   Config ─▶ DataDirectory (lock, identity)
//!                  ├─▶ TcpTransport ─┐   (and Gossip, if there is any)
//!                  └─▶ Node::start ◀─┘ disk, clock, entropy
//!                          ├─▶ peer listener ─▶ Node::form
//!                          └─▶ Concord ─▶ HTTP listener
//! ```
//!
//! Stopping (`running`) goes the other way round, so that nothing is asked that cannot be answered.

mod error;
mod gossip;
mod lonely;
mod running;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use concord_core::Store;
use concord_core::ids::NodeId;
use concord_net::gossip::Gossip;
use concord_net::tls::Tls;
use concord_net::{ClusterSecret, IdentitySource, Listener, NetConfig, Serving, TcpTransport};
use concord_raft::os::{OsClock, OsDisk, OsEntropy};
use concord_raft::ports::{Ports, Transport};
use concord_raft::{
    DataDirectory, LogConfig, Node, NodeConfig, Observer, SnapshotConfig, StartError, StartMode, StopReason,
    Timing,
};
use futures::FutureExt as _;
use parking_lot::Mutex;
use tokio::sync::{OnceCell, oneshot};

pub use self::error::{OpenError, OpenErrorKind};
use self::lonely::Lonely;
pub(crate) use self::running::Running;
use crate::audit::Recorder;
use crate::bootstrap::Root;
use crate::certificates::Certificates;
use crate::concord::{BackupPlace, Concord};
use crate::config::{self, Config, ConfigError, PeerConfig, Start};
use crate::service::{Service, uses};
use crate::telemetry::{Telemetry, Watchman, watch_state};
use crate::trace::Traces;

/// The peer side of a node, before it starts.
struct Peers {
    transport: Arc<TcpTransport>,
    listener: Listener,
    address: String,
    gossip: Option<Gossip>,
}

pub(crate) async fn open(config: Config) -> Result<Concord, OpenError> {
    config.validate()?;
    warn(&config);
    #[cfg(not(feature = "http"))]
    if config.http.is_some() || config.metrics_listen.is_some() {
        return Err(OpenError::Unsupported {
            what: "HTTP interface (feature `http`)",
        });
    }
    let root = Root::settle(&config)?;
    let directory = open_directory(&config).await?;
    let identity = directory.identity();
    let node_id = identity.current().node_id;
    let audit = open_audit(&config, node_id).await?;
    let certificates = open_certificates(&config, node_id).await?;
    let peers = match &config.peers {
        Some(peers) => Some(open_peers(peers, certificates.peers.clone(), &directory).await?),
        None => None,
    };
    let ports = ports(peers.as_ref());
    let (traces, telemetry) = observers(&config, node_id)?;
    let backups = BackupPlace::open(&config)?;
    let peer_address = peers.as_ref().map(|peers| peers.address.clone());
    let mut settings = node_config(&config, peer_address.clone());
    settings.observer = watchman(node_id, &traces, &telemetry);
    let node = Node::<Store>::start(settings, directory, ports).boxed().await?;
    let members = node.status().members.len();
    if peers.is_none() && members > 1 {
        node.shutdown().boxed().await;
        return Err(OpenError::PeersMissing { members });
    }
    let (transport, serving, gossip) = serve_peers(peers, &node);
    let running = Running {
        node_id,
        peer_address,
        patience: config.timing.election_max * 2,
        transport,
        serving: Mutex::new(serving),
        gossip,
        forming: Mutex::new(None),
        trouble: Arc::default(),
        certificates: Arc::clone(&certificates),
        renewing: Mutex::new(None),
        root: Mutex::new(None),
        waits_for_root: AtomicBool::new(false),
        #[cfg(feature = "http")]
        http: Mutex::default(),
        http_address: std::sync::OnceLock::new(),
        metrics_address: std::sync::OnceLock::new(),
        stopped: OnceCell::new(),
    };
    let service = Service::new(node, &config, audit, (traces, telemetry), backups);
    let concord = Concord::assemble(service, running, config.request_timeout);
    match finish(&concord, &config).await {
        Ok(()) => {
            if let Some(root) = root {
                make_root(&concord, root);
            }
            Ok(concord)
        }
        Err(error) => {
            // What could not be finished must not be left half running; its own error counts.
            let _ = concord.shutdown().await;
            Err(error)
        }
    }
}

/// Takes connections of other nodes from now on.
fn serve_peers(
    peers: Option<Peers>,
    node: &Node<Store>,
) -> (Option<Arc<TcpTransport>>, Option<Serving>, Option<Gossip>) {
    match peers {
        Some(peers) => {
            let serving = peers.listener.serve(node.inbound());
            (Some(peers.transport), Some(serving), peers.gossip)
        }
        None => (None, None, None),
    }
}

/// The world of a node: the operating system, and the other nodes if there can be any.
fn ports(peers: Option<&Peers>) -> Ports {
    let transport: Arc<dyn Transport> = match peers {
        Some(peers) => Arc::<TcpTransport>::clone(&peers.transport),
        None => Arc::new(Lonely),
    };
    Ports {
        disk: Arc::new(OsDisk),
        transport,
        clock: Arc::new(OsClock),
        entropy: Arc::new(OsEntropy),
    }
}

/// Where the spans and the events of a node go.
fn observers(config: &Config, node_id: NodeId) -> Result<(Traces, Telemetry), OpenError> {
    let traces = match &config.traces {
        Some(traces) => Traces::start(traces, node_id)
            .map_err(|error| ConfigError::invalid("traces.exporter", error.to_string()))?,
        None => Traces::off(),
    };
    let telemetry = match &config.on_event {
        Some(hook) => Telemetry::start(hook.clone(), node_id)
            .map_err(|error| ConfigError::invalid("on_event", error.to_string()))?,
        None => Telemetry::off(),
    };
    Ok((traces, telemetry))
}

/// Who tells them what consensus does; nobody, if nobody wants to know.
fn watchman(node_id: NodeId, traces: &Traces, telemetry: &Telemetry) -> Option<Arc<dyn Observer>> {
    let watchman = Watchman {
        node_id,
        traces: traces.clone(),
        telemetry: telemetry.clone(),
    };
    (traces.is_on() || telemetry.is_on()).then(|| Arc::new(watchman) as Arc<dyn Observer>)
}

fn warn(config: &Config) {
    for warning in config.warnings() {
        tracing::warn!("{warning}");
    }
}

/// Makes the first token in the background: it may take until there is a leader.
fn make_root(concord: &Concord, root: Root) {
    let (made, known) = oneshot::channel();
    *concord.running().root.lock() = Some(known);
    concord.running().waits_for_root.store(true, Ordering::Relaxed);
    tokio::spawn(root.make(concord.downgrade(), made));
}

/// Has the node belong to a cluster, and opens HTTP.
async fn finish(concord: &Concord, config: &Config) -> Result<(), OpenError> {
    crate::concord::schedule_backups(concord, &config.backup);
    crate::dead_members::watch(concord, config.remove_dead_after);
    let stopped = concord.service().node().stopped();
    tokio::spawn(uses::run(concord.downgrade(), concord.service().uses(), stopped));
    let node = concord.service().node().clone();
    let telemetry = concord.service().telemetry();
    if telemetry.is_on() {
        tokio::spawn(watch_state(concord.downgrade(), node.views(), telemetry.clone()));
    }
    let running = concord.running();
    match config.peers.as_ref().map_or(&Start::Alone, |peers| &peers.start) {
        Start::Alone => node.form(StartMode::Alone).boxed().await?,
        Start::Seeds(seeds) => form_later(running, node, StartMode::Seeds(seeds.clone())),
        Start::Join(member) => form_later(running, node, StartMode::Join(member.clone())),
        // A member asks whom an administrator names; until then this node only listens.
        Start::Wait => {}
        Start::Discover => {
            if let Some(gossip) = &running.gossip {
                form_later(running, node, StartMode::Discover(gossip.discovery()));
            }
        }
    }
    if !running.certificates.is_empty() {
        let watch = Arc::clone(&running.certificates).watch(config.tls_reload_interval);
        *running.renewing.lock() = Some(tokio::spawn(watch));
    }
    #[cfg(feature = "http")]
    let proofs = crate::http::Proofs::of(config);
    #[cfg(feature = "http")]
    if let Some(http) = &config.http {
        let tls = running.certificates.http.clone();
        let server = crate::http::serve(concord, http, proofs, tls)
            .await
            .map_err(|source| OpenError::Listen {
                purpose: "http",
                address: http.listen.clone(),
                source,
            })?;
        // Set once: a node is finished once.
        let _ = running.http_address.set(server.local_addr());
        running.http.lock().push(server);
    }
    #[cfg(feature = "http")]
    if let Some(listen) = &config.metrics_listen {
        let tls = running.certificates.http.clone();
        let server = crate::http::serve_metrics(concord, listen, proofs, tls)
            .await
            .map_err(|source| OpenError::Listen {
                purpose: "metrics",
                address: listen.clone(),
                source,
            })?;
        let _ = running.metrics_address.set(server.local_addr());
        running.http.lock().push(server);
    }
    Ok(())
}

/// Waits for peers in the background: they may only start after this node.
fn form_later(running: &Running, node: Node<Store>, mode: StartMode) {
    let trouble = Arc::clone(&running.trouble);
    let task = tokio::spawn(async move {
        if let Err(error) = node.form(mode).boxed().await {
            tracing::error!(%error, "this node cannot come to belong to its cluster");
            *trouble.lock() = Some(error.to_string());
        }
    });
    *running.forming.lock() = Some(task);
}

async fn open_directory(config: &Config) -> Result<DataDirectory, OpenError> {
    let (root, node_id) = (config.data_dir.clone(), config.node_id);
    let opening = tokio::task::spawn_blocking(move || {
        DataDirectory::open(&root, node_id, Arc::new(OsDisk), &OsEntropy)
    });
    match opening.await {
        Ok(directory) => Ok(directory?),
        // The runtime ends: as good as never started.
        Err(_) => Err(StartError::Stopped(StopReason::Shutdown).into()),
    }
}

/// Before anything that it could record.
async fn open_audit(config: &Config, node_id: NodeId) -> Result<Recorder, OpenError> {
    let Some(audit) = config.audit.clone() else {
        return Ok(Recorder::off());
    };
    let data_dir = config.data_dir.clone();
    match tokio::task::spawn_blocking(move || Recorder::open(&audit, &data_dir, node_id)).await {
        Ok(opened) => Ok(opened?),
        Err(_) => Err(StartError::Stopped(StopReason::Shutdown).into()),
    }
}

async fn open_certificates(config: &Config, node_id: NodeId) -> Result<Arc<Certificates>, OpenError> {
    let config = config.clone();
    let opening = tokio::task::spawn_blocking(move || Certificates::open(&config));
    let certificates = match opening.await {
        Ok(certificates) => certificates?,
        // The runtime ends: as good as never started.
        Err(_) => return Err(StartError::Stopped(StopReason::Shutdown).into()),
    };
    let named = certificates
        .peers
        .as_ref()
        .and_then(|tls| tls.status().certificate.node_id);
    match named {
        // No peer would talk to it.
        Some(named) if named != node_id => Err(ConfigError::foreign_certificate(named, node_id).into()),
        Some(_) | None => Ok(Arc::new(certificates)),
    }
}

async fn open_peers(
    config: &PeerConfig,
    tls: Option<Arc<Tls>>,
    directory: &DataDirectory,
) -> Result<Peers, OpenError> {
    let secret = config::peer_secret(config);
    let secret =
        ClusterSecret::new(secret.expose().as_bytes().to_vec()).map_err(|_| ConfigError::unfit_secret())?;
    let identity = directory.identity();
    let identity: IdentitySource = Arc::new(move || identity.current());
    let transport = match &tls {
        Some(tls) => {
            let identity = Arc::clone(&identity);
            TcpTransport::secured(identity, secret.clone(), NetConfig::default(), Arc::clone(tls))
        }
        None => TcpTransport::new(Arc::clone(&identity), secret.clone(), NetConfig::default()),
    };
    let mut listener = Listener::bind(&config.listen, secret.clone(), NetConfig::default())
        .await
        .map_err(|error| OpenError::Listen {
            purpose: "peers",
            address: error.address,
            source: error.source,
        })?;
    if let Some(tls) = tls {
        listener = listener.secured(tls);
    }
    let bound = listener.local_addr();
    let address = match &config.advertise {
        Some(advertise) => advertise.clone(),
        // The configured text is what the seed list names; port 0 is known only now.
        None if config.listen.ends_with(":0") => bound.to_string(),
        None => config.listen.clone(),
    };
    let gossip = match &config.gossip {
        Some(settings) => Some(gossip::start(settings, &address, identity, secret).await?),
        None => None,
    };
    Ok(Peers {
        transport: Arc::new(transport),
        listener,
        address,
        gossip,
    })
}

fn node_config(config: &Config, peer_address: Option<String>) -> NodeConfig {
    let mut node = NodeConfig::new(&config.data_dir);
    node.node_id = config.node_id;
    node.peer_address = peer_address;
    node.timing = Timing {
        heartbeat: config.timing.heartbeat,
        election_min: config.timing.election_min,
        election_max: config.timing.election_max,
    };
    node.log = LogConfig {
        segment_bytes: config.log.segment_bytes,
    };
    node.snapshot = SnapshotConfig {
        after_entries: config.snapshot.after_entries,
        after_bytes: config.snapshot.after_bytes,
        log_entries_kept: config.snapshot.log_entries_kept,
        log_bytes_kept: config.snapshot.log_bytes_kept,
    };
    node
}
