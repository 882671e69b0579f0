//! What a node is told before it starts.
//!
//! An embedder builds a [`Config`] in code; the binary lays a TOML file, `CONCORD_*`
//! variables and flags over the defaults ([`Loader`]). Both end in the same type and the
//! same checks. Not here: what the settings do (`compose`).
//!
//! ```
//! use concord_server::{Config, PeerConfig, Secret};
//!
//! // One durable node without any listener.
//! let single = Config::at("./data");
//! // A member of a cluster, serving HTTP too.
//! let member = Config::at("./data/1")
//!     .node_id(1)
//!     .http("127.0.0.1:4000")
//!     .peers(PeerConfig::new("10.0.0.1:4100", Secret::new("correct horse battery staple"))
//!         .seeds(["10.0.0.1:4100", "10.0.0.2:4100", "10.0.0.3:4100"]));
//! assert!(single.validate().is_ok());
//! assert!(member.validate().is_ok());
//! ```

mod audit;
mod check;
mod environment;
mod error;
mod file;
mod gossip;
mod load;
mod raw;
mod reference;
mod s3;
mod secret;
mod settings;
#[cfg(test)]
mod tests;
mod tls;
mod traces;

use std::path::PathBuf;
use std::time::Duration;

use concord_core::ids::NodeId;
use concord_net::tls::TlsSettings;

pub use self::audit::{AuditConfig, AuditFailure, AuditKeyMode, AuditSync};
#[cfg(feature = "http")]
pub(crate) use self::check::is_loopback;
pub(crate) use self::check::peer_secret;
pub use self::error::{ConfigError, ConfigErrorKind, Place};
pub use self::gossip::GossipSettings;
pub use self::load::{Loaded, Loader, Overrides};
pub use self::reference::reference;
#[cfg(not(feature = "s3"))]
pub(crate) use self::s3::no_s3;
pub use self::s3::{S3Config, S3Credentials};
pub use self::secret::Secret;
pub use self::settings::setting_names;
pub(crate) use self::tls::tls_of;
pub use self::traces::{SpanSink, TraceExporter, TracesConfig};
use crate::limits;
use crate::telemetry::{Event, EventHook};

/// Where the dev profile keeps its data.
const DEV_DATA_DIR: &str = "./data";

/// Which defaults apply, and how much must be said outright.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Profile {
    /// For a developer's machine: no authentication, human-readable logs, `./data`.
    Dev,
    /// For production: nothing that is unsafe happens without being asked for by name.
    Prod,
}

/// Whether callers must prove who they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AuthMode {
    /// Everyone who reaches a listener may do everything.
    Off,
    /// Everyone shows a token, and may do what it may do.
    On,
}

/// Where the first token comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RootToken {
    /// It is this.
    Given(Secret),
    /// It is in this file; if there is none, it is drawn at random and written there, for its owner alone.
    File(PathBuf),
}

/// How log lines are written by the `concord` binary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LogFormat {
    /// For people.
    Human,
    /// One JSON object a line.
    Json,
}

/// How a node without data comes to belong to a cluster. A node with data ignores this:
/// it knows its cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    /// It forms a cluster of one at once.
    Alone,
    /// The nodes at these peer addresses, this one among them, form a cluster together.
    /// Every one of them must be given the same set.
    Seeds(Vec<String>),
    /// It asks the member at this peer address to be let in.
    Join(String),
    /// It waits until an administrator adds it to a cluster.
    Wait,
    /// It asks members that gossip tells of to be let in, one after the other. It never forms a cluster, and it waits while it
    /// hears of several.
    Discover,
}

/// Everything that a node is told. Start from [`Config::dev`] or [`Config::at`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// Which defaults apply.
    pub profile: Profile,
    /// Where the log, snapshots and identity live. One node at a time.
    pub data_dir: PathBuf,
    /// This node's id in its cluster; drawn at random on the first start if `None`.
    /// Kept with the data: a later start may leave it out, but not change it.
    pub node_id: Option<NodeId>,
    /// Authentication.
    pub auth: AuthMode,
    /// Where the first token comes from that may do everything, if there is none yet; `None`: it is drawn at random, and
    /// [`crate::Concord::root_token`] gives it once.
    pub root_token: Option<RootToken>,
    /// Whether a client that shows no token is whoever the token is of that is named like its certificate. Needs
    /// authentication, and a listener that requires certificates.
    pub auth_by_certificate: bool,
    /// The HTTP listener; `None`: there is none.
    pub http: Option<HttpConfig>,
    /// `host:port` of a listener that serves `/metrics` alone; `None`: only the HTTP listener does.
    pub metrics_listen: Option<String>,
    /// The peer listener and how to find the others; `None`: a cluster of one for itself.
    pub peers: Option<PeerConfig>,
    /// How often the files of certificates are looked at, to use new ones.
    pub tls_reload_interval: Duration,
    /// How long an operation may take unless it says otherwise.
    pub request_timeout: Duration,
    /// The largest value, in bytes.
    pub value_bytes_max: usize,
    /// Watches open at once on this node.
    pub watches_max: usize,
    /// Compression of the values that come in through this node.
    pub compression: CompressionConfig,
    /// Election and heartbeat times.
    pub timing: TimingConfig,
    /// A member that was silent for so long is removed by the leader, one at a time and while quorum allows; `None`:
    /// none ever is.
    pub remove_dead_after: Option<Duration>,
    /// Requests that take so long are logged; `None`: none are.
    pub slow_request: Option<Duration>,
    /// The Raft log.
    pub log: LogConfig,
    /// Snapshots.
    pub snapshot: SnapshotConfig,
    /// The audit log; `None`: there is none.
    pub audit: Option<AuditConfig>,
    /// Traces; `None`: nothing is traced.
    pub traces: Option<TracesConfig>,
    /// Who is told of all that the node does; `None`: nobody.
    pub on_event: Option<EventHook>,
    /// Backups.
    pub backup: BackupConfig,
    /// Logging of the `concord` binary; an embedded node logs to whatever `tracing`
    /// subscriber its application has.
    pub logging: LoggingConfig,
}

/// Where backups are kept, and which are made and removed without being asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct BackupConfig {
    /// The directory; `None`: `backups` in the data directory.
    pub dir: Option<PathBuf>,
    /// The bucket that they are kept in instead.
    pub s3: Option<S3Config>,
    /// How often the leader makes one; `None`: only who asks for one gets one.
    pub interval: Option<Duration>,
    /// After each, only so many of the newest stay.
    pub keep_count: Option<usize>,
    /// After each, only those of so many last days stay.
    pub keep_days: Option<u64>,
}

/// The HTTP listener.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct HttpConfig {
    /// `host:port`; port 0 takes a free one.
    pub listen: String,
    /// Serve HTTPS with this certificate; with authorities for clients, each client must show a certificate
    /// of theirs. `None`: plaintext.
    pub tls: Option<TlsSettings>,
    /// Accept plaintext from other machines. Only the prod profile asks.
    pub plaintext: bool,
    /// Open connections at most.
    pub connections_max: usize,
    /// Time that a client may take for a request head, and for the TLS handshake before it.
    pub header_timeout: Duration,
    /// Largest request body in bytes.
    pub body_bytes_max: usize,
    /// Names under which clients may address this node (`Host`), besides IP addresses
    /// and `localhost`. Protects against DNS rebinding. `None`: on a loopback listener no
    /// others, else any.
    pub allowed_hosts: Option<Vec<String>>,
    /// Origins whose web pages may use this node, such as `https://app.example`, exactly as browsers send them. Empty: none.
    pub allowed_origins: Vec<String>,
    /// Serve the Swagger UI.
    pub docs: bool,
    /// Serve the web console at `/console`.
    pub console: bool,
}

/// The peer listener and how to find the others.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PeerConfig {
    /// `host:port`; port 0 takes a free one, which only a node that starts alone or joins can use.
    pub listen: String,
    /// The address that other nodes reach this one at; `None`: the bound address.
    pub advertise: Option<String>,
    /// What every node of the cluster knows and nobody else.
    pub secret: Option<Secret>,
    /// How a node without data comes to belong to a cluster.
    pub start: Start,
    /// Gossip with nodes that look for a cluster, or for one; `None`: there is none.
    pub gossip: Option<GossipSettings>,
    /// Mutual TLS: the certificate names this node, and that of each peer must be of the authority and name it.
    /// `None`: plaintext.
    pub tls: Option<TlsSettings>,
    /// Accept plaintext from other machines. Only the prod profile asks.
    pub plaintext: bool,
}

/// Compression of values (zstd), once and before they are replicated. A value that does not shrink is
/// kept as it is. Nodes may differ: whatever is compressed, all of them read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CompressionConfig {
    /// Whether values are compressed of which the write does not say so itself.
    pub enabled: bool,
    /// Those of this many bytes and more.
    pub threshold_bytes: usize,
    /// 1 (fast) to 19 (small).
    pub level: i32,
}

impl CompressionConfig {
    /// On, from 1 KiB on, at level 3.
    pub const fn new() -> Self {
        Self {
            enabled: true,
            threshold_bytes: limits::COMPRESSION_THRESHOLD_BYTES,
            level: 3,
        }
    }
}

impl Default for CompressionConfig {
    fn default() -> Self {
        Self::new()
    }
}

/// Election and heartbeat times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TimingConfig {
    /// How often a leader proves that it is alive.
    pub heartbeat: Duration,
    /// A follower that heard nothing for a random time between this ...
    pub election_min: Duration,
    /// ... and this stands for election.
    pub election_max: Duration,
}

/// The Raft log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogConfig {
    /// Size of one segment file, in bytes.
    pub segment_bytes: u64,
}

/// Snapshots: when they are taken, and how much log is kept behind them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SnapshotConfig {
    /// One is taken when this many entries follow the last one.
    pub after_entries: u64,
    /// And when entries of this many bytes do, or of as many as the last one has.
    pub after_bytes: u64,
    /// Entries that stay in the log although a snapshot has them, so that a node that was
    /// away briefly needs no snapshot.
    pub log_entries_kept: u64,
    /// How much of the log these may take.
    pub log_bytes_kept: u64,
}

/// Logging of the `concord` binary.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LoggingConfig {
    /// How lines are written.
    pub format: LogFormat,
    /// Which, in the syntax of `tracing` (`info`, `concord_raft=debug,info`).
    pub filter: String,
}

impl Config {
    /// The dev profile in `./data`, without listeners.
    pub fn dev() -> Self {
        Self::at(DEV_DATA_DIR)
    }

    /// The dev profile in `data_dir`, without listeners: one durable node for this process.
    pub fn at(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            profile: Profile::Dev,
            data_dir: data_dir.into(),
            node_id: None,
            auth: AuthMode::Off,
            root_token: None,
            auth_by_certificate: false,
            http: None,
            metrics_listen: None,
            peers: None,
            tls_reload_interval: limits::TLS_RELOAD_INTERVAL,
            request_timeout: limits::REQUEST_TIMEOUT,
            value_bytes_max: limits::VALUE_BYTES_MAX,
            watches_max: limits::WATCHES_MAX,
            backup: BackupConfig::default(),
            compression: CompressionConfig::new(),
            timing: TimingConfig {
                heartbeat: Duration::from_millis(100),
                election_min: Duration::from_millis(500),
                election_max: Duration::from_millis(1_000),
            },
            remove_dead_after: None,
            slow_request: None,
            log: LogConfig {
                segment_bytes: 64 << 20,
            },
            snapshot: SnapshotConfig {
                after_entries: 100_000,
                after_bytes: 64 << 20,
                log_entries_kept: 20_000,
                log_bytes_kept: 128 << 20,
            },
            audit: None,
            traces: None,
            on_event: None,
            logging: LoggingConfig {
                format: LogFormat::Human,
                filter: "info".to_owned(),
            },
        }
    }

    /// Sets this node's id.
    #[must_use]
    pub fn node_id(mut self, id: u64) -> Self {
        self.node_id = Some(NodeId::new(id));
        self
    }

    /// Serves HTTP at `listen` (`host:port`) with the defaults of [`HttpConfig::new`].
    #[must_use]
    pub fn http(self, listen: impl Into<String>) -> Self {
        self.http_config(HttpConfig::new(listen))
    }

    /// Serves HTTP.
    #[must_use]
    pub fn http_config(mut self, http: HttpConfig) -> Self {
        self.http = Some(http);
        self
    }

    /// Serves `/metrics` at `listen` (`host:port`), and nothing else there.
    #[must_use]
    pub fn metrics(mut self, listen: impl Into<String>) -> Self {
        self.metrics_listen = Some(listen.into());
        self
    }

    /// Listens for other nodes.
    #[must_use]
    pub fn peers(mut self, peers: PeerConfig) -> Self {
        self.peers = Some(peers);
        self
    }

    /// Has everybody who reaches a listener show a token. The embedder's own handle needs none.
    #[must_use]
    pub fn with_auth(mut self) -> Self {
        self.auth = AuthMode::On;
        self
    }

    /// Says where the first token comes from.
    #[must_use]
    pub fn root_token(mut self, token: RootToken) -> Self {
        self.root_token = Some(token);
        self
    }

    /// Takes a client that shows no token for whoever the token is of that is named like its certificate.
    #[must_use]
    pub fn auth_by_certificate(mut self) -> Self {
        self.auth_by_certificate = true;
        self
    }

    /// Sets how long an operation may take unless it says otherwise.
    #[must_use]
    pub fn request_timeout(mut self, timeout: Duration) -> Self {
        self.request_timeout = timeout;
        self
    }

    /// Sets the largest value, in bytes.
    #[must_use]
    pub fn value_bytes_max(mut self, bytes: usize) -> Self {
        self.value_bytes_max = bytes;
        self
    }

    /// Sets how many watches may be open at once on this node.
    #[must_use]
    pub fn watches_max(mut self, count: usize) -> Self {
        self.watches_max = count;
        self
    }

    /// Compresses values of this many bytes and more at this level, 1 (fast) to 19 (small).
    #[must_use]
    pub fn compression(mut self, threshold_bytes: usize, level: i32) -> Self {
        self.compression = CompressionConfig {
            enabled: true,
            threshold_bytes,
            level,
        };
        self
    }

    /// Compresses no values but those of writes that ask for it.
    #[must_use]
    pub fn without_compression(mut self) -> Self {
        self.compression.enabled = false;
        self
    }

    /// Keeps an audit log.
    #[must_use]
    pub fn audit(mut self, audit: AuditConfig) -> Self {
        self.audit = Some(audit);
        self
    }

    /// Records traces of requests.
    #[must_use]
    pub fn traces(mut self, traces: TracesConfig) -> Self {
        self.traces = Some(traces);
        self
    }

    /// Tells this function of all that the node does: see [`crate::telemetry`].
    #[must_use]
    pub fn on_event(mut self, hook: impl Fn(NodeId, &Event) + Send + Sync + 'static) -> Self {
        self.on_event = Some(EventHook::new(hook));
        self
    }

    /// Checks what can be checked without touching the machine. [`crate::Concord::open`] does so too.
    ///
    /// # Errors
    ///
    /// The first setting that cannot be, or pair of settings that contradict each other.
    pub fn validate(&self) -> Result<(), ConfigError> {
        check::check(self)
    }

    /// What is allowed but should be known, one sentence each.
    pub fn warnings(&self) -> Vec<String> {
        check::warnings(self)
    }
}

impl HttpConfig {
    /// A listener at `host:port` with every limit at its default.
    pub fn new(listen: impl Into<String>) -> Self {
        Self {
            listen: listen.into(),
            tls: None,
            plaintext: false,
            connections_max: limits::HTTP_CONNECTIONS_MAX,
            header_timeout: limits::HTTP_HEADER_TIMEOUT,
            body_bytes_max: limits::BODY_BYTES_MAX,
            allowed_hosts: None,
            allowed_origins: Vec::new(),
            docs: true,
            console: true,
        }
    }

    /// Serves HTTPS.
    #[must_use]
    pub fn tls(mut self, tls: TlsSettings) -> Self {
        self.tls = Some(tls);
        self
    }
}

impl PeerConfig {
    /// A peer listener at `host:port` of a node that starts alone.
    pub fn new(listen: impl Into<String>, secret: Secret) -> Self {
        Self {
            listen: listen.into(),
            advertise: None,
            secret: Some(secret),
            start: Start::Alone,
            gossip: None,
            tls: None,
            plaintext: false,
        }
    }

    /// Talks to other nodes through mutual TLS.
    #[must_use]
    pub fn tls(mut self, tls: TlsSettings) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Forms a cluster with the nodes at these addresses, this one among them.
    #[must_use]
    pub fn seeds<S: Into<String>>(mut self, addresses: impl IntoIterator<Item = S>) -> Self {
        self.start = Start::Seeds(addresses.into_iter().map(Into::into).collect());
        self
    }

    /// Joins the cluster of the member at this address.
    #[must_use]
    pub fn join(mut self, address: impl Into<String>) -> Self {
        self.start = Start::Join(address.into());
        self
    }

    /// Waits until an administrator adds it to a cluster.
    #[must_use]
    pub fn wait(mut self) -> Self {
        self.start = Start::Wait;
        self
    }

    /// Gossips at `listen` (`host:port`, UDP), and asks the nodes that gossip at these addresses whom they know.
    #[must_use]
    pub fn gossip<S: Into<String>>(
        mut self,
        listen: impl Into<String>,
        seeds: impl IntoIterator<Item = S>,
    ) -> Self {
        self.gossip = Some(GossipSettings {
            listen: listen.into(),
            seeds: seeds.into_iter().map(Into::into).collect(),
        });
        self
    }

    /// Joins the cluster of whichever member gossip tells of.
    #[must_use]
    pub fn discover(mut self) -> Self {
        self.start = Start::Discover;
        self
    }

    /// Sets the address that other nodes reach this one at.
    #[must_use]
    pub fn advertise(mut self, address: impl Into<String>) -> Self {
        self.advertise = Some(address.into());
        self
    }
}
