//! Every setting that there is: its name, what it does, how it is read and shown.
//!
//! The file, the variables, `config show` and the documentation all go by this table,
//! so a setting cannot be in one and not in another.

mod words;

use std::time::Duration;

use concord_core::ids::NodeId;

use self::words::{choose, length, list, path, set, text};
use super::audit::{AuditDraft, AuditFailure, AuditKeyMode, AuditSync};
use super::gossip::GossipDraft;
use super::raw::Raw;
use super::s3::{CredentialsName, S3Draft};
use super::tls;
use super::traces::{ExporterName, TracesDraft};
use super::{
    AuthMode, Config, LogFormat, Profile, RootToken, S3Config, S3Credentials, Secret, Start, TraceExporter,
};

/// What all layers said together; `None` where none did.
#[derive(Debug, Default)]
pub(super) struct Draft {
    pub(super) profile: Option<Profile>,
    pub(super) data_dir: Option<String>,
    pub(super) node_id: Option<NodeId>,
    pub(super) auth: Option<AuthMode>,
    pub(super) root_token_file: Option<String>,
    pub(super) auth_certificates: Option<bool>,
    pub(super) request_timeout: Option<Duration>,
    pub(super) http_enabled: Option<bool>,
    pub(super) http_listen: Option<String>,
    pub(super) http_plaintext: Option<bool>,
    pub(super) http_connections_max: Option<u64>,
    pub(super) http_header_timeout: Option<Duration>,
    pub(super) http_body_bytes_max: Option<u64>,
    pub(super) http_allowed_hosts: Option<Vec<String>>,
    pub(super) http_allowed_origins: Option<Vec<String>>,
    pub(super) http_docs: Option<bool>,
    pub(super) http_console: Option<bool>,
    pub(super) http_tls_certificate: Option<String>,
    pub(super) http_tls_key: Option<String>,
    pub(super) http_tls_client_ca: Option<String>,
    pub(super) metrics_listen: Option<String>,
    pub(super) peers_listen: Option<String>,
    pub(super) peers_advertise: Option<String>,
    pub(super) peers_seeds: Option<Vec<String>>,
    pub(super) peers_join: Option<String>,
    pub(super) peers_wait: Option<bool>,
    pub(super) peers_discover: Option<bool>,
    pub(super) gossip: GossipDraft,
    pub(super) peers_secret: Option<Secret>,
    pub(super) peers_secret_file: Option<String>,
    pub(super) peers_plaintext: Option<bool>,
    pub(super) peers_tls_certificate: Option<String>,
    pub(super) peers_tls_key: Option<String>,
    pub(super) peers_tls_ca: Option<String>,
    pub(super) tls_reload_interval: Option<Duration>,
    pub(super) value_bytes_max: Option<u64>,
    pub(super) watches_max: Option<u64>,
    pub(super) compression_enabled: Option<bool>,
    pub(super) compression_threshold_bytes: Option<u64>,
    pub(super) compression_level: Option<i32>,
    pub(super) heartbeat: Option<Duration>,
    pub(super) election_min: Option<Duration>,
    pub(super) election_max: Option<Duration>,
    pub(super) segment_bytes: Option<u64>,
    pub(super) snapshot_after_entries: Option<u64>,
    pub(super) snapshot_after_bytes: Option<u64>,
    pub(super) log_entries_kept: Option<u64>,
    pub(super) log_bytes_kept: Option<u64>,
    pub(super) backup_dir: Option<String>,
    pub(super) s3: S3Draft,
    pub(super) backup_interval: Option<Duration>,
    pub(super) backup_keep_count: Option<u64>,
    pub(super) backup_keep_days: Option<u64>,
    pub(super) log_format: Option<LogFormat>,
    pub(super) log_filter: Option<String>,
    pub(super) slow_request: Option<Duration>,
    pub(super) remove_dead_after: Option<Duration>,
    pub(super) audit: AuditDraft,
    pub(super) traces: TracesDraft,
}

/// One setting.
pub(super) struct Setting {
    /// Its name, with dots.
    pub(super) key: &'static str,
    /// What it does.
    pub(super) about: &'static str,
    /// Reads it into the draft; the error completes "`key` ...".
    pub(super) read: fn(&mut Draft, &Raw) -> Result<(), String>,
    /// Its value as TOML; `None` where it is not set and has no default.
    pub(super) show: fn(&Config) -> Option<String>,
}

/// The names of all settings, with what each does.
pub fn setting_names() -> impl Iterator<Item = (&'static str, &'static str)> {
    all().iter().map(|setting| (setting.key, setting.about))
}

pub(super) fn all() -> &'static [Setting] {
    SETTINGS
}

pub(super) fn find(key: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.key == key)
}

static SETTINGS: &[Setting] = &[
    Setting {
        key: "profile",
        about: "dev or prod: which defaults apply",
        read: |draft, raw| {
            choose(
                &mut draft.profile,
                raw,
                &[("dev", Profile::Dev), ("prod", Profile::Prod)],
            )
        },
        show: |config| {
            Some(text(match config.profile {
                Profile::Dev => "dev",
                Profile::Prod => "prod",
            }))
        },
    },
    Setting {
        key: "data_dir",
        about: "directory of the log, snapshots and identity",
        read: |draft, raw| set(&mut draft.data_dir, raw.text()),
        show: |config| Some(text(&config.data_dir.to_string_lossy())),
    },
    Setting {
        key: "node_id",
        about: "this node's id, 1 or more; drawn at random on the first start if not set",
        read: |draft, raw| set(&mut draft.node_id, raw.integer().map(NodeId::new)),
        show: |config| config.node_id.map(|id| id.to_string()),
    },
    Setting {
        key: "request_timeout",
        about: "how long an operation may take unless it says otherwise",
        read: |draft, raw| set(&mut draft.request_timeout, raw.duration()),
        show: |config| Some(length(config.request_timeout)),
    },
    Setting {
        key: "auth.mode",
        about: "on: everyone shows a token, and may do what it may do; off: everyone who reaches a listener may do everything (prod: on)",
        read: |draft, raw| {
            let modes = [("on", AuthMode::On), ("off", AuthMode::Off)];
            choose(&mut draft.auth, raw, &modes)
        },
        show: |config| {
            Some(text(match config.auth {
                AuthMode::On => "on",
                AuthMode::Off => "off",
            }))
        },
    },
    Setting {
        key: "auth.root_token_file",
        about: "file with the root token, which the first start takes or, if there is no such file, writes",
        read: |draft, raw| set(&mut draft.root_token_file, raw.text()),
        show: |config| match &config.root_token {
            Some(RootToken::File(path)) => Some(text(&path.to_string_lossy())),
            Some(RootToken::Given(_)) | None => None,
        },
    },
    Setting {
        key: "auth.certificates",
        about: "take a client that shows no token for whoever the token is of that has the common name of its certificate; needs http.tls.client_ca",
        read: |draft, raw| set(&mut draft.auth_certificates, raw.boolean()),
        show: |config| Some(config.auth_by_certificate.to_string()),
    },
    Setting {
        key: "http.enabled",
        about: "serve HTTP",
        read: |draft, raw| set(&mut draft.http_enabled, raw.boolean()),
        show: |config| Some(config.http.is_some().to_string()),
    },
    Setting {
        key: "http.listen",
        about: "host:port of the HTTP listener",
        read: |draft, raw| set(&mut draft.http_listen, raw.text()),
        show: |config| config.http.as_ref().map(|http| text(&http.listen)),
    },
    Setting {
        key: "http.plaintext",
        about: "prod: accept plaintext HTTP from other machines",
        read: |draft, raw| set(&mut draft.http_plaintext, raw.boolean()),
        show: |config| config.http.as_ref().map(|http| http.plaintext.to_string()),
    },
    Setting {
        key: "http.connections_max",
        about: "open HTTP connections at most",
        read: |draft, raw| set(&mut draft.http_connections_max, raw.integer()),
        show: |config| config.http.as_ref().map(|http| http.connections_max.to_string()),
    },
    Setting {
        key: "http.header_timeout",
        about: "time that a client may take for a request head, and for the TLS handshake before it",
        read: |draft, raw| set(&mut draft.http_header_timeout, raw.duration()),
        show: |config| config.http.as_ref().map(|http| length(http.header_timeout)),
    },
    Setting {
        key: "http.body_bytes_max",
        about: "largest request body",
        read: |draft, raw| set(&mut draft.http_body_bytes_max, raw.bytes()),
        show: |config| config.http.as_ref().map(|http| http.body_bytes_max.to_string()),
    },
    Setting {
        key: "http.allowed_hosts",
        about: "host names under which clients may address this node, besides IP addresses and localhost",
        read: |draft, raw| set(&mut draft.http_allowed_hosts, raw.list()),
        show: |config| {
            config
                .http
                .as_ref()?
                .allowed_hosts
                .as_ref()
                .map(|hosts| list(hosts))
        },
    },
    Setting {
        key: "http.allowed_origins",
        about: "origins whose web pages may use this node (CORS), such as `https://app.example`",
        read: |draft, raw| set(&mut draft.http_allowed_origins, raw.list()),
        show: |config| {
            let origins = &config.http.as_ref()?.allowed_origins;
            (!origins.is_empty()).then(|| list(origins))
        },
    },
    Setting {
        key: "http.docs",
        about: "serve the Swagger UI at /docs",
        read: |draft, raw| set(&mut draft.http_docs, raw.boolean()),
        show: |config| config.http.as_ref().map(|http| http.docs.to_string()),
    },
    Setting {
        key: "http.console",
        about: "serve the web console at /console",
        read: |draft, raw| set(&mut draft.http_console, raw.boolean()),
        show: |config| config.http.as_ref().map(|http| http.console.to_string()),
    },
    Setting {
        key: "http.tls.certificate",
        about: "PEM file with the certificate of the HTTP listener, then its chain; with it, HTTPS only",
        read: |draft, raw| set(&mut draft.http_tls_certificate, raw.text()),
        show: |config| path(&config.http.as_ref()?.tls.as_ref()?.certificate),
    },
    Setting {
        key: "http.tls.key",
        about: "PEM file with the private key of that certificate",
        read: |draft, raw| set(&mut draft.http_tls_key, raw.text()),
        show: |config| path(&config.http.as_ref()?.tls.as_ref()?.key),
    },
    Setting {
        key: "http.tls.client_ca",
        about: "PEM file with authorities: each client must show a certificate of theirs",
        read: |draft, raw| set(&mut draft.http_tls_client_ca, raw.text()),
        show: |config| path(config.http.as_ref()?.tls.as_ref()?.ca.as_ref()?),
    },
    Setting {
        key: "metrics.listen",
        about: "host:port of a listener for /metrics alone, such as 127.0.0.1:9568; without it only HTTP serves them",
        read: |draft, raw| set(&mut draft.metrics_listen, raw.text()),
        show: |config| config.metrics_listen.as_deref().map(text),
    },
    Setting {
        key: "peers.listen",
        about: "host:port of the listener for other nodes; without it the node is alone",
        read: |draft, raw| set(&mut draft.peers_listen, raw.text()),
        show: |config| config.peers.as_ref().map(|peers| text(&peers.listen)),
    },
    Setting {
        key: "peers.advertise",
        about: "host:port at which other nodes reach this one, if not at peers.listen",
        read: |draft, raw| set(&mut draft.peers_advertise, raw.text()),
        show: |config| config.peers.as_ref()?.advertise.as_deref().map(text),
    },
    Setting {
        key: "peers.seeds",
        about: "peer addresses of the nodes that form the cluster, the same list on each",
        read: |draft, raw| set(&mut draft.peers_seeds, raw.list()),
        show: |config| match &config.peers.as_ref()?.start {
            Start::Seeds(seeds) => Some(list(seeds)),
            Start::Alone | Start::Join(_) | Start::Wait | Start::Discover => None,
        },
    },
    Setting {
        key: "peers.join",
        about: "peer address of a member whose cluster this node asks to join",
        read: |draft, raw| set(&mut draft.peers_join, raw.text()),
        show: |config| match &config.peers.as_ref()?.start {
            Start::Join(address) => Some(text(address)),
            Start::Alone | Start::Seeds(_) | Start::Wait | Start::Discover => None,
        },
    },
    Setting {
        key: "peers.wait",
        about: "wait until an administrator adds this node to a cluster",
        read: |draft, raw| set(&mut draft.peers_wait, raw.boolean()),
        show: |config| (config.peers.as_ref()?.start == Start::Wait).then(|| "true".to_owned()),
    },
    Setting {
        key: "peers.discover",
        about: "join the cluster of a member that gossip tells of",
        read: |draft, raw| set(&mut draft.peers_discover, raw.boolean()),
        show: |config| (config.peers.as_ref()?.start == Start::Discover).then(|| "true".to_owned()),
    },
    Setting {
        key: "peers.gossip.listen",
        about: "host:port (UDP) to gossip at, so that nodes that look for a cluster find one; without it there is no gossip",
        read: |draft, raw| set(&mut draft.gossip.listen, raw.text()),
        show: |config| Some(text(&config.peers.as_ref()?.gossip.as_ref()?.listen)),
    },
    Setting {
        key: "peers.gossip.seeds",
        about: "host:port (UDP) of others that gossip; of a name, all its addresses",
        read: |draft, raw| set(&mut draft.gossip.seeds, raw.list()),
        show: |config| Some(list(&config.peers.as_ref()?.gossip.as_ref()?.seeds)),
    },
    Setting {
        key: "peers.secret",
        about: "what every node of the cluster knows and nobody else, 16 bytes or more",
        read: |draft, raw| {
            set(
                &mut draft.peers_secret,
                raw.text().map(Secret::new).map_err(|_| NOT_SHOWN.to_owned()),
            )
        },
        show: |config| config.peers.as_ref()?.secret.as_ref().map(|_| text("(hidden)")),
    },
    Setting {
        key: "peers.secret_file",
        about: "file with the secret, instead of peers.secret",
        read: |draft, raw| set(&mut draft.peers_secret_file, raw.text()),
        // Its content has become `peers.secret`.
        show: |_| None,
    },
    Setting {
        key: "peers.plaintext",
        about: "prod: accept plaintext peers from other machines",
        read: |draft, raw| set(&mut draft.peers_plaintext, raw.boolean()),
        show: |config| config.peers.as_ref().map(|peers| peers.plaintext.to_string()),
    },
    Setting {
        key: "peers.tls.certificate",
        about: "PEM file with this node's certificate, then its chain; with it, mutual TLS only",
        read: |draft, raw| set(&mut draft.peers_tls_certificate, raw.text()),
        show: |config| path(&config.peers.as_ref()?.tls.as_ref()?.certificate),
    },
    Setting {
        key: "peers.tls.key",
        about: "PEM file with the private key of that certificate",
        read: |draft, raw| set(&mut draft.peers_tls_key, raw.text()),
        show: |config| path(&config.peers.as_ref()?.tls.as_ref()?.key),
    },
    Setting {
        key: "peers.tls.ca",
        about: "PEM file with the authorities of the other nodes' certificates",
        read: |draft, raw| set(&mut draft.peers_tls_ca, raw.text()),
        show: |config| path(config.peers.as_ref()?.tls.as_ref()?.ca.as_ref()?),
    },
    Setting {
        key: "tls.reload_interval",
        about: "how often the files of certificates are looked at, to use new ones; 10s if not set",
        read: |draft, raw| set(&mut draft.tls_reload_interval, raw.duration()),
        show: |config| tls::is_used(config).then(|| length(config.tls_reload_interval)),
    },
    Setting {
        key: "limits.value_bytes_max",
        about: "largest value that this node takes; the cluster's own limit, 16 MiB, holds too",
        read: |draft, raw| set(&mut draft.value_bytes_max, raw.bytes()),
        show: |config| Some(config.value_bytes_max.to_string()),
    },
    Setting {
        key: "limits.watches_max",
        about: "watches open at once on this node; more are refused as overloaded",
        read: |draft, raw| set(&mut draft.watches_max, raw.integer()),
        show: |config| Some(config.watches_max.to_string()),
    },
    Setting {
        key: "compression.enabled",
        about: "compress values of which the write does not say whether to",
        read: |draft, raw| set(&mut draft.compression_enabled, raw.boolean()),
        show: |config| Some(config.compression.enabled.to_string()),
    },
    Setting {
        key: "compression.threshold_bytes",
        about: "size from which on values are compressed",
        read: |draft, raw| set(&mut draft.compression_threshold_bytes, raw.bytes()),
        show: |config| Some(config.compression.threshold_bytes.to_string()),
    },
    Setting {
        key: "compression.level",
        about: "1 (fast) to 19 (small)",
        read: |draft, raw| {
            let level = raw
                .integer()
                .map(|level| i32::try_from(level).unwrap_or(i32::MAX));
            set(&mut draft.compression_level, level)
        },
        show: |config| Some(config.compression.level.to_string()),
    },
    Setting {
        key: "timing.heartbeat",
        about: "how often a leader proves that it is alive",
        read: |draft, raw| set(&mut draft.heartbeat, raw.duration()),
        show: |config| Some(length(config.timing.heartbeat)),
    },
    Setting {
        key: "timing.election_min",
        about: "least time without a leader before a node stands for election",
        read: |draft, raw| set(&mut draft.election_min, raw.duration()),
        show: |config| Some(length(config.timing.election_min)),
    },
    Setting {
        key: "timing.election_max",
        about: "most time without a leader before a node stands for election",
        read: |draft, raw| set(&mut draft.election_max, raw.duration()),
        show: |config| Some(length(config.timing.election_max)),
    },
    Setting {
        key: "log.segment_bytes",
        about: "size of one segment file of the Raft log",
        read: |draft, raw| set(&mut draft.segment_bytes, raw.bytes()),
        show: |config| Some(config.log.segment_bytes.to_string()),
    },
    Setting {
        key: "snapshot.after_entries",
        about: "a snapshot is taken when this many log entries follow the last one",
        read: |draft, raw| set(&mut draft.snapshot_after_entries, raw.integer()),
        show: |config| Some(config.snapshot.after_entries.to_string()),
    },
    Setting {
        key: "snapshot.after_bytes",
        about: "and when entries of this size do, or of the size of the last snapshot if that is more",
        read: |draft, raw| set(&mut draft.snapshot_after_bytes, raw.bytes()),
        show: |config| Some(config.snapshot.after_bytes.to_string()),
    },
    Setting {
        key: "snapshot.log_entries_kept",
        about: "log entries kept although a snapshot has them, for nodes that were away briefly",
        read: |draft, raw| set(&mut draft.log_entries_kept, raw.integer()),
        show: |config| Some(config.snapshot.log_entries_kept.to_string()),
    },
    Setting {
        key: "snapshot.log_bytes_kept",
        about: "how much of the log these may take, up to a segment more",
        read: |draft, raw| set(&mut draft.log_bytes_kept, raw.bytes()),
        show: |config| Some(config.snapshot.log_bytes_kept.to_string()),
    },
    Setting {
        key: "audit.enabled",
        about: "keep an audit log; the prod profile does unless told otherwise",
        read: |draft, raw| set(&mut draft.audit.enabled, raw.boolean()),
        show: |config| Some(config.audit.is_some().to_string()),
    },
    Setting {
        key: "audit.dir",
        about: "directory of the audit log; audit in the data directory if not set",
        read: |draft, raw| set(&mut draft.audit.dir, raw.text()),
        show: |config| {
            config
                .audit
                .as_ref()?
                .dir
                .as_ref()
                .map(|dir| text(&dir.to_string_lossy()))
        },
    },
    Setting {
        key: "audit.sync",
        about: "async: lines are synced by and by; batch: at once; strict: before the request is answered",
        read: |draft, raw| {
            choose(
                &mut draft.audit.sync,
                raw,
                &[
                    ("async", AuditSync::Async),
                    ("batch", AuditSync::Batch),
                    ("strict", AuditSync::Strict),
                ],
            )
        },
        show: |config| {
            config.audit.as_ref().map(|audit| {
                text(match audit.sync {
                    AuditSync::Async => "async",
                    AuditSync::Batch => "batch",
                    AuditSync::Strict => "strict",
                })
            })
        },
    },
    Setting {
        key: "audit.sync_interval",
        about: "how often lines are synced, with async",
        read: |draft, raw| set(&mut draft.audit.sync_interval, raw.duration()),
        show: |config| {
            config
                .audit
                .as_ref()
                .filter(|audit| audit.sync == AuditSync::Async)
                .map(|audit| length(audit.sync_interval))
        },
    },
    Setting {
        key: "audit.on_failure",
        about: "allow or block: what becomes of requests while audit lines cannot be written",
        read: |draft, raw| {
            choose(
                &mut draft.audit.on_failure,
                raw,
                &[("allow", AuditFailure::Allow), ("block", AuditFailure::Block)],
            )
        },
        show: |config| {
            config.audit.as_ref().map(|audit| {
                text(match audit.on_failure {
                    AuditFailure::Allow => "allow",
                    AuditFailure::Block => "block",
                })
            })
        },
    },
    Setting {
        key: "audit.log_reads",
        about: "reads leave lines too; those that are refused do in any case",
        read: |draft, raw| set(&mut draft.audit.log_reads, raw.boolean()),
        show: |config| config.audit.as_ref().map(|audit| audit.log_reads.to_string()),
    },
    Setting {
        key: "audit.key_mode",
        about: "plain or hash: how keys stand in lines",
        read: |draft, raw| {
            choose(
                &mut draft.audit.key_mode,
                raw,
                &[("plain", AuditKeyMode::Plain), ("hash", AuditKeyMode::Hash)],
            )
        },
        show: |config| {
            config.audit.as_ref().map(|audit| {
                text(match audit.key_mode {
                    AuditKeyMode::Plain => "plain",
                    AuditKeyMode::Hash => "hash",
                })
            })
        },
    },
    Setting {
        key: "audit.secret_file",
        about: "file with the secret that lines are sealed with and keys hashed by, 16 bytes or more",
        read: |draft, raw| set(&mut draft.audit.secret_file, raw.text()),
        show: |config| config.audit.as_ref()?.secret.as_ref().map(|_| text("(hidden)")),
    },
    Setting {
        key: "audit.rotate_bytes",
        about: "size after which a new file begins; one begins with every day (UTC) too",
        read: |draft, raw| set(&mut draft.audit.rotate_bytes, raw.bytes()),
        show: |config| config.audit.as_ref().map(|audit| audit.rotate_bytes.to_string()),
    },
    Setting {
        key: "audit.retention_days",
        about: "days that audit files are kept; 0: for ever",
        read: |draft, raw| set(&mut draft.audit.retention_days, raw.integer()),
        show: |config| {
            config
                .audit
                .as_ref()
                .map(|audit| audit.retention_days.to_string())
        },
    },
    Setting {
        key: "audit.retention_bytes",
        about: "what all audit files together may take; 0: no limit",
        read: |draft, raw| set(&mut draft.audit.retention_bytes, raw.bytes_or_none()),
        show: |config| {
            config
                .audit
                .as_ref()
                .map(|audit| audit.retention_bytes.to_string())
        },
    },
    Setting {
        key: "audit.queue_lines",
        about: "lines that wait to be written; more are lost, and counted",
        read: |draft, raw| set(&mut draft.audit.queue_lines, raw.integer()),
        show: |config| config.audit.as_ref().map(|audit| audit.queue_lines.to_string()),
    },
    Setting {
        key: "traces.exporter",
        about: "none, stdout or otlp: where spans of traced requests go",
        read: |draft, raw| choose(&mut draft.traces.exporter, raw, &ExporterName::ALL),
        show: |config| {
            Some(text(
                match config.traces.as_ref().map(|traces| &traces.exporter) {
                    Some(TraceExporter::Stdout) => "stdout",
                    Some(TraceExporter::Otlp { .. }) => "otlp",
                    // No setting, but a program hands spans to itself.
                    Some(TraceExporter::Sink(_)) | None => "none",
                },
            ))
        },
    },
    Setting {
        key: "traces.endpoint",
        about: "the collector, as http://host:port or https://host:port; spans go to /v1/traces of it, by OTLP over HTTP",
        read: |draft, raw| set(&mut draft.traces.endpoint, raw.text()),
        show: |config| match &config.traces.as_ref()?.exporter {
            TraceExporter::Otlp { endpoint } => Some(text(endpoint)),
            TraceExporter::Stdout | TraceExporter::Sink(_) => None,
        },
    },
    Setting {
        key: "traces.sample",
        about: "the part of the requests that is traced, 0 to 1, of those that come without a decision",
        read: |draft, raw| set(&mut draft.traces.sample, raw.part()),
        show: |config| config.traces.as_ref().map(|traces| traces.sample.to_string()),
    },
    Setting {
        key: "traces.follow",
        about: "whether the sender's decision counts, where the header traceparent has one",
        read: |draft, raw| set(&mut draft.traces.follow, raw.boolean()),
        show: |config| config.traces.as_ref().map(|traces| traces.follow.to_string()),
    },
    Setting {
        key: "traces.service",
        about: "service.name of the spans",
        read: |draft, raw| set(&mut draft.traces.service, raw.text()),
        show: |config| config.traces.as_ref().map(|traces| text(&traces.service)),
    },
    Setting {
        key: "backup.dir",
        about: "directory of this node's backups; `backups` in the data directory if not set",
        read: |draft, raw| set(&mut draft.backup_dir, raw.text()),
        show: |config| Some(text(&config.backup.dir.as_ref()?.to_string_lossy())),
    },
    Setting {
        key: "backup.s3.url",
        about: "bucket of backups instead of a directory: s3://BUCKET or s3://BUCKET/PREFIX; needs a program built with the feature s3",
        read: |draft, raw| set(&mut draft.s3.url, raw.text()),
        show: |config| config.backup.s3.as_ref().map(|s3| text(&s3.url())),
    },
    Setting {
        key: "backup.s3.endpoint",
        about: "the server, as https://host or https://host:port; Amazon's of the region if not set",
        read: |draft, raw| set(&mut draft.s3.endpoint, raw.text()),
        show: |config| config.backup.s3.as_ref()?.endpoint.as_ref().map(|url| text(url)),
    },
    Setting {
        key: "backup.s3.region",
        about: "region that requests are signed for; AWS_REGION, AWS_DEFAULT_REGION or us-east-1 if not set",
        read: |draft, raw| set(&mut draft.s3.region, raw.text()),
        show: |config| config.backup.s3.as_ref().map(|s3| text(&s3.region)),
    },
    Setting {
        key: "backup.s3.path_style",
        about: "name the bucket in the path, not in the host; true where an endpoint is set, unless set",
        read: |draft, raw| set(&mut draft.s3.path_style, raw.boolean()),
        show: |config| config.backup.s3.as_ref().map(|s3| s3.path_style.to_string()),
    },
    Setting {
        key: "backup.s3.allow_http",
        about: "accept an endpoint of http://: backups then cross the network in plain text",
        read: |draft, raw| set(&mut draft.s3.allow_http, raw.boolean()),
        show: |config| config.backup.s3.as_ref().map(|s3| s3.allow_http.to_string()),
    },
    Setting {
        key: "backup.s3.credentials",
        about: "keys: those set here, else AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN; platform: what the machine, container or pod lends",
        read: |draft, raw| choose(&mut draft.s3.credentials, raw, &CredentialsName::ALL),
        show: |config| {
            Some(text(match config.backup.s3.as_ref()?.credentials {
                S3Credentials::Keys { .. } => "keys",
                S3Credentials::Platform => "platform",
            }))
        },
    },
    Setting {
        key: "backup.s3.access_key_id",
        about: "id of the access key",
        read: |draft, raw| set(&mut draft.s3.access_key_id, raw.text()),
        show: |config| shown_key(config.backup.s3.as_ref()?),
    },
    Setting {
        key: "backup.s3.secret_access_key",
        about: "the secret access key; better a file",
        read: |draft, raw| {
            set(
                &mut draft.s3.secret_access_key,
                raw.text().map(Secret::new).map_err(|_| NOT_SHOWN.to_owned()),
            )
        },
        show: |config| shown_key(config.backup.s3.as_ref()?),
    },
    Setting {
        key: "backup.s3.secret_access_key_file",
        about: "file with the secret access key",
        read: |draft, raw| set(&mut draft.s3.secret_access_key_file, raw.text()),
        // Its content has become the key.
        show: |_| None,
    },
    Setting {
        key: "backup.s3.session_token_file",
        about: "file with the token that belongs to keys that are lent for a time",
        read: |draft, raw| set(&mut draft.s3.session_token_file, raw.text()),
        show: |_| None,
    },
    Setting {
        key: "backup.interval",
        about: "how often the leader makes a backup; never if not set",
        read: |draft, raw| set(&mut draft.backup_interval, raw.duration()),
        show: |config| config.backup.interval.map(length),
    },
    Setting {
        key: "backup.keep_count",
        about: "after each scheduled backup only so many of the newest stay; with keep_days, both must hold",
        read: |draft, raw| set(&mut draft.backup_keep_count, raw.integer()),
        show: |config| config.backup.keep_count.map(|count| count.to_string()),
    },
    Setting {
        key: "backup.keep_days",
        about: "and only those of so many last days; the newest whole backup always stays",
        read: |draft, raw| set(&mut draft.backup_keep_days, raw.integer()),
        show: |config| config.backup.keep_days.map(|days| days.to_string()),
    },
    Setting {
        key: "logging.format",
        about: "human or json",
        read: |draft, raw| {
            choose(
                &mut draft.log_format,
                raw,
                &[("human", LogFormat::Human), ("json", LogFormat::Json)],
            )
        },
        show: |config| {
            Some(text(match config.logging.format {
                LogFormat::Human => "human",
                LogFormat::Json => "json",
            }))
        },
    },
    Setting {
        key: "logging.filter",
        about: "which log lines are written, such as info or concord_raft=debug,info",
        read: |draft, raw| set(&mut draft.log_filter, raw.text()),
        show: |config| Some(text(&config.logging.filter)),
    },
    Setting {
        key: "logging.slow_request",
        about: "requests that take so long are logged, without keys and values, and counted; none if not set",
        read: |draft, raw| set(&mut draft.slow_request, raw.duration()),
        show: |config| config.slow_request.map(length),
    },
    Setting {
        key: "cluster.remove_dead_after",
        about: "the leader removes a member that was silent for so long, one at a time and while quorum allows; never if not set",
        read: |draft, raw| set(&mut draft.remove_dead_after, raw.duration()),
        show: |config| config.remove_dead_after.map(length),
    },
];

/// Neither half of a pair of keys is shown.
fn shown_key(s3: &S3Config) -> Option<String> {
    matches!(s3.credentials, S3Credentials::Keys { .. }).then(|| text("(hidden)"))
}

/// The message for a bad secret names no part of it.
const NOT_SHOWN: &str = "must be text in quotes, not empty";
