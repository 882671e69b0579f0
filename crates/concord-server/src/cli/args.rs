//! The command line as types: what `concord --help` prints.
//!
//! Only shapes and defaults; what a command does is in the file of its name.

use clap::{Args, Parser, Subcommand, ValueEnum};
use concord_core::limits::IDEMPOTENCY_KEY_BYTES_MAX;
use concord_query::duration;
use reqwest::header::HeaderValue;

mod access;
mod audit;
mod backup;
mod bench;
mod cert;
mod cluster;
mod context;
mod hold;
mod index;
mod key;
mod lease;
mod query;
mod start;
mod subscription;
mod tenant;
mod tls;
mod top;
mod watch;

pub(crate) use self::access::{
    AclCommand, CanIArgs, CreateTokenArgs, ExplainAccessArgs, RoleCommand, TokenCommand,
};
pub(crate) use self::audit::{AuditCommand, AuditDirArgs, AuditFilterArgs, AuditQueryArgs, AuditVerifyArgs};
pub(crate) use self::backup::{
    BackupCommand, CleanupArgs, CreateBackupArgs, DoctorArgs, LocalArgs, RecoverArgs, RestoreArgs,
};
pub(crate) use self::bench::BenchArgs;
pub(crate) use self::cert::{CaArgs, CertCommand, CertOutArgs, ClientCertArgs, NodeCertArgs, SignerArgs};
pub(crate) use self::cluster::{Bound, ClusterCommand, SettingsArgs, SettingsCommand};
pub(crate) use self::context::ContextCommand;
pub(crate) use self::hold::{
    CampaignArgs, ElectionCommand, HoldArgs, LockArgs, RegisterArgs, RegistryCommand,
};
pub(crate) use self::index::{CreateIndexArgs, IndexCommand, LookupArgs};
pub(crate) use self::key::{
    ConditionArgs, DeleteArgs, GetArgs, HistoryArgs, IncrArgs, KeyArgs, PutArgs, PutManyArgs, ScanArgs,
    TouchArgs, TxnArgs,
};
pub(crate) use self::lease::{LeaseCommand, PageArgs};
pub(crate) use self::query::QueryArgs;
pub(crate) use self::start::{ConfigCommand, StartArgs};
pub(crate) use self::subscription::{ConsumeArgs, CreateSubscriptionArgs, SubscriptionCommand};
pub(crate) use self::tenant::{ExportFormat, QuotaArgs, TenantCommand};
pub(crate) use self::tls::{TlsArgs, TlsBeforeArgs};
pub(crate) use self::top::TopArgs;
pub(crate) use self::watch::WatchArgs;

/// A strongly consistent key-value store: a server, and a client of a running cluster.
#[derive(Debug, Parser)]
#[command(name = "concord", version, arg_required_else_help = true, after_help = EXIT_CODES)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) before: BeforeArgs,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The flags of [`ClientArgs`], given before the command.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct BeforeArgs {
    /// The cluster to ask, by its name in the file of contexts.
    #[arg(long, value_name = "NAME", help_heading = "Connection")]
    pub(crate) context: Option<String>,
    /// Nodes to ask, comma-separated.
    #[arg(long, value_delimiter = ',', help_heading = "Connection")]
    pub(crate) endpoints: Option<Vec<String>>,
    /// How long to try in all.
    #[arg(long, value_parser = positive_duration, help_heading = "Connection")]
    pub(crate) timeout: Option<std::time::Duration>,
    /// For people, or for programs.
    #[arg(long, short, value_enum, help_heading = "Connection")]
    pub(crate) output: Option<Output>,
    #[command(flatten)]
    pub(crate) tls: TlsBeforeArgs,
    /// File with the token to show.
    #[arg(long, value_name = "PATH", help_heading = "Connection")]
    pub(crate) token_file: Option<std::path::PathBuf>,
}

const EXIT_CODES: &str = "\
Exit codes: 0 done, 1 failed, 2 wrong usage, 3 not found, 4 invalid request, 5 condition failed,
6 denied, 7 unavailable (nothing written), 8 outcome unknown, 9 over a limit, 10 storage.";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a node. Without flags: one node, ./data, HTTP on 127.0.0.1:4000.
    Start(Box<StartArgs>),
    /// What a node knows of itself and its cluster.
    Status(ClientArgs),
    /// Whether a node can serve: it has a leader and has caught up. Exits with 7 if not.
    Ready(ReadyArgs),
    /// The members of the cluster.
    Members(ClientArgs),
    /// A live picture of the cluster: who leads, who lags, how much is done and how fast.
    Top(TopArgs),
    /// How fast the cluster is from here: reads and writes by many callers, each answer checked. Takes away what it wrote.
    Bench(BenchArgs),
    /// Read keys.
    Get(GetArgs),
    /// Write a key.
    Put(PutArgs),
    /// Write many keys at one revision, or none: one JSON object a line.
    PutMany(PutManyArgs),
    /// Compare, then do one of two lists of steps, all at one revision.
    Txn(TxnArgs),
    /// Delete keys, several at one revision.
    Delete(DeleteArgs),
    /// Give keys a new time to live, or none.
    Touch(TouchArgs),
    /// Add to an integer, atomically.
    Incr(IncrArgs),
    /// List keys in order.
    Scan(ScanArgs),
    /// How long a key has left.
    Ttl(KeyArgs),
    /// The versions of a key that are still known.
    History(HistoryArgs),
    /// Print changes of keys as they happen, until stopped.
    Watch(Box<WatchArgs>),
    /// Leases: what is kept alive, with keys that go when it ends.
    #[command(subcommand)]
    Lease(LeaseCommand),
    /// Find, count or delete records by what their keys and values are.
    Query(Box<QueryArgs>),
    /// Secondary indexes: values that records are found by.
    #[command(subcommand)]
    Index(IndexCommand),
    /// Run a command while holding a lock, and stop it if the lock is lost.
    Lock(Box<LockArgs>),
    /// Elections: stand for one, or see who leads.
    #[command(subcommand)]
    Election(ElectionCommand),
    /// Services: register an instance for as long as this runs, or find others.
    #[command(subcommand)]
    Registry(RegistryCommand),
    /// Durable subscriptions: places in the stream of changes that the cluster remembers.
    #[command(subcommand)]
    Subscription(SubscriptionCommand),
    /// Tokens: who may come in.
    #[command(subcommand)]
    Token(TokenCommand),
    /// Roles: what tokens may do.
    #[command(subcommand)]
    Role(RoleCommand),
    /// ACLs: at which keys a role holds.
    #[command(subcommand)]
    Acl(AclCommand),
    /// Tenants: who shares the store, with how much of it.
    #[command(subcommand)]
    Tenant(TenantCommand),
    /// Who the shown token makes of me.
    Whoami(ClientArgs),
    /// Whether I may do something at a key.
    CanI(CanIArgs),
    /// Why a token may do what it may do at a key.
    ExplainAccess(ExplainAccessArgs),
    /// Change the cluster: members, leadership, snapshots, compaction.
    #[command(subcommand)]
    Cluster(ClusterCommand),
    /// The audit log: who did what, and whether it is as it was written.
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Make certificates for TLS: an authority, nodes, clients.
    #[command(subcommand)]
    Cert(CertCommand),
    /// Backups: consistent cuts of everything that is replicated.
    #[command(subcommand)]
    Backup(BackupCommand),
    /// Make a new cluster of one node out of a survivor, when the quorum is lost for good.
    Recover(RecoverArgs),
    /// Look at a data directory: check every checksum, explain what is there, change nothing.
    Doctor(DoctorArgs),
    /// Check or print a node's configuration, without starting it.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Contexts: clusters by name, and how to reach each, in a file of yours. It is what CONCORD_CONTEXTS names, or
    /// concord/contexts.toml among your settings (~/.config).
    #[command(subcommand)]
    Context(ContextCommand),
    /// Print the completion script of a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

/// How a client reaches the cluster and how it prints.
#[derive(Clone, Debug, Args)]
pub(crate) struct ClientArgs {
    /// The cluster to ask, by its name in the file of contexts: see `concord context --help`.
    #[arg(
        long,
        env = "CONCORD_CONTEXT",
        value_name = "NAME",
        help_heading = "Connection"
    )]
    pub(crate) context: Option<String>,
    /// Nodes to ask, comma-separated; the next is tried when one does not answer.
    #[arg(
        long,
        env = "CONCORD_ENDPOINTS",
        value_delimiter = ',',
        default_value = "127.0.0.1:4000",
        help_heading = "Connection"
    )]
    pub(crate) endpoints: Vec<String>,
    /// How long to try in all, for example 500ms, 10s, 1m.
    #[arg(
        long,
        env = "CONCORD_TIMEOUT",
        default_value = "10s",
        value_parser = positive_duration,
        help_heading = "Connection"
    )]
    pub(crate) timeout: std::time::Duration,
    /// For people, or for programs.
    #[arg(
        long,
        short,
        env = "CONCORD_OUTPUT",
        value_enum,
        default_value_t,
        help_heading = "Connection"
    )]
    pub(crate) output: Output,
    #[command(flatten)]
    pub(crate) tls: TlsArgs,
    /// File with the token to show; without it the one in the variable `CONCORD_TOKEN`. There is no flag for the
    /// token itself: others could see it in the list of processes.
    #[arg(long, value_name = "PATH", help_heading = "Connection")]
    pub(crate) token_file: Option<std::path::PathBuf>,
}

/// Under which name a write is done once, however often it is sent.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct OnceArgs {
    /// The same request under the same key is applied once, also by another run of this command;
    /// without it, each run has a key of its own.
    #[arg(long, value_name = "KEY", value_parser = idempotency_key)]
    pub(crate) idempotency_key: Option<HeaderValue>,
}

fn idempotency_key(text: &str) -> Result<HeaderValue, String> {
    let key = HeaderValue::from_str(text).map_err(|_| "must have no control characters".to_owned())?;
    if (1..=IDEMPOTENCY_KEY_BYTES_MAX).contains(&text.len()) {
        Ok(key)
    } else {
        Err(format!("must be 1 to {IDEMPOTENCY_KEY_BYTES_MAX} bytes"))
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// Tables and plain values.
    #[default]
    Table,
    /// One JSON value.
    Json,
}

/// Where a read may be served from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Consistency {
    /// Linearizable under any clock behaviour.
    Strong,
    /// Linearizable while clocks drift less than the configured bound.
    Leader,
    /// What the asked node has applied.
    Eventual,
}

impl Consistency {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Strong => "strong",
            Self::Leader => "leader",
            Self::Eventual => "eventual",
        }
    }
}

/// What a read may be asked for.
#[derive(Clone, Debug, Args)]
pub(crate) struct ReadArgs {
    /// The promise of the read; the node's default is `leader`.
    #[arg(long, value_enum)]
    pub(crate) consistency: Option<Consistency>,
    /// Read the past: the state as it was at this revision.
    #[arg(long)]
    pub(crate) revision: Option<u64>,
    /// Wait until the node has this revision.
    #[arg(long)]
    pub(crate) min_revision: Option<u64>,
}

#[derive(Debug, Args)]
pub(crate) struct ReadyArgs {
    /// Ask again for so long while it cannot, for example 30s.
    #[arg(long, value_parser = any_duration)]
    pub(crate) wait: Option<std::time::Duration>,
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}

fn any_duration(text: &str) -> Result<std::time::Duration, String> {
    duration::parse(text).ok_or_else(|| "must be a duration such as 500ms, 10s, 1m".to_owned())
}

fn positive_duration(text: &str) -> Result<std::time::Duration, String> {
    duration::parse(text)
        .filter(|length| !length.is_zero())
        .ok_or_else(|| "must be a length of time such as 500ms, 10s or 1m".to_owned())
}

#[cfg(test)]
mod tests;
