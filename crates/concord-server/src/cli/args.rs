//! The command line as types: what `concord --help` prints.
//!
//! Only shapes and defaults; what a command does is in the file of its name.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};
use concord_core::limits::IDEMPOTENCY_KEY_BYTES_MAX;
use reqwest::header::HeaderValue;

mod index;
mod query;
mod subscription;

pub(crate) use self::index::{CreateIndexArgs, IndexCommand, LookupArgs};
pub(crate) use self::query::QueryArgs;
pub(crate) use self::subscription::{ConsumeArgs, CreateSubscriptionArgs, SubscriptionCommand};

use concord_query::duration;

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
    /// Nodes to ask, comma-separated.
    #[arg(long, value_delimiter = ',', help_heading = "Connection")]
    pub(crate) endpoints: Option<Vec<String>>,
    /// How long to try in all.
    #[arg(long, value_parser = positive_duration, help_heading = "Connection")]
    pub(crate) timeout: Option<std::time::Duration>,
    /// For people, or for programs.
    #[arg(long, short, value_enum, help_heading = "Connection")]
    pub(crate) output: Option<Output>,
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
    /// The members of the cluster.
    Members(ClientArgs),
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
    /// Change the cluster: members, leadership, snapshots, compaction.
    #[command(subcommand)]
    Cluster(ClusterCommand),
    /// Check or print a node's configuration, without starting it.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Print the completion script of a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

/// How a client reaches the cluster and how it prints.
#[derive(Clone, Debug, Args)]
pub(crate) struct ClientArgs {
    /// Nodes to ask, comma-separated; the next is tried when one does not answer.
    #[arg(
        long,
        env = "CONCORD_ENDPOINTS",
        value_delimiter = ',',
        default_value = "http://127.0.0.1:4000",
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
pub(crate) struct KeyArgs {
    /// The key.
    pub(crate) key: String,
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}

#[derive(Debug, Args)]
pub(crate) struct GetArgs {
    /// The key, or up to 500, which are read at one revision.
    #[arg(required = true)]
    pub(crate) keys: Vec<String>,
    /// Write the value's bytes as they are, with no line end. Of one key only.
    #[arg(long, conflicts_with = "output")]
    pub(crate) raw: bool,
    #[command(flatten)]
    pub(crate) read: ReadArgs,
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}

#[derive(Debug, Args)]
pub(crate) struct PutArgs {
    /// The key.
    pub(crate) key: String,
    /// The value, or `-` to read it from standard input.
    #[arg(
        required_unless_present = "file",
        conflicts_with = "file",
        allow_hyphen_values = true
    )]
    pub(crate) value: Option<String>,
    /// Read the value from a file.
    #[arg(long, value_hint = ValueHint::FilePath)]
    pub(crate) file: Option<PathBuf>,
    /// Delete the key after this time, for example 30s, 5m, or a number of seconds.
    #[arg(long, allow_hyphen_values = true)]
    pub(crate) ttl: Option<String>,
    /// Hang the key on this lease: it goes when the lease ends.
    #[arg(long, value_name = "ID", conflicts_with = "ttl")]
    pub(crate) lease: Option<u64>,
    /// Compress the value however small it is (true), or keep it as it is (false) [default: the node decides].
    #[arg(long, value_name = "BOOL")]
    pub(crate) compress: Option<bool>,
    #[command(flatten)]
    pub(crate) format: FormatArgs,
    #[command(flatten)]
    pub(crate) only: ConditionArgs,
    #[command(flatten)]
    pub(crate) once: OnceArgs,
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}

/// What must hold of the key for a write to happen, else it exits with 5.
#[derive(Clone, Debug, Args)]
#[group(multiple = false)]
pub(crate) struct ConditionArgs {
    /// Only if the key is absent.
    #[arg(long, help_heading = "Condition")]
    pub(crate) if_absent: bool,
    /// Only if the key exists.
    #[arg(long, help_heading = "Condition")]
    pub(crate) if_present: bool,
    /// Only if the key holds this text.
    #[arg(
        long,
        value_name = "TEXT",
        allow_hyphen_values = true,
        help_heading = "Condition"
    )]
    pub(crate) if_value: Option<String>,
    /// Only if the key holds this JSON document.
    #[arg(
        long,
        value_name = "JSON",
        allow_hyphen_values = true,
        help_heading = "Condition"
    )]
    pub(crate) if_json: Option<String>,
    /// Only if this is true of the record, for example 'value.age >= 30'.
    #[arg(long, value_name = "EXPRESSION", help_heading = "Condition")]
    pub(crate) if_true: Option<String>,
    /// Only if the last write of the key was at this revision.
    #[arg(long, value_name = "REVISION", help_heading = "Condition")]
    pub(crate) if_mod_revision: Option<u64>,
    /// Only if the key was written this often since it came into being.
    #[arg(long, value_name = "N", help_heading = "Condition")]
    pub(crate) if_version: Option<u64>,
}

#[derive(Debug, Args)]
pub(crate) struct TxnArgs {
    /// The transaction as JSON, `{"compare":[..],"success":[..],"failure":[..]}`: a file, or `-` for
    /// standard input.
    #[arg(long, value_hint = ValueHint::FilePath)]
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) once: OnceArgs,
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}

#[derive(Debug, Args)]
pub(crate) struct PutManyArgs {
    /// A file with up to 500 lines such as {"key":"a","value":1,"ttl":"30s"}, or `-` for standard
    /// input. `ttl` and `format` may be missing.
    #[arg(value_hint = ValueHint::FilePath)]
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) once: OnceArgs,
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}

/// What the value is. Without a choice: text if it is UTF-8, else binary.
#[derive(Clone, Copy, Debug, Args)]
#[group(multiple = false)]
pub(crate) struct FormatArgs {
    /// The value is a JSON document.
    #[arg(long)]
    pub(crate) json: bool,
    /// The value is text.
    #[arg(long)]
    pub(crate) text: bool,
    /// The value is bytes.
    #[arg(long)]
    pub(crate) binary: bool,
}

#[derive(Debug, Args)]
pub(crate) struct DeleteArgs {
    /// The key, or up to 500, which are deleted at one revision.
    #[arg(required = true)]
    pub(crate) keys: Vec<String>,
    #[command(flatten)]
    pub(crate) only: ConditionArgs,
    #[command(flatten)]
    pub(crate) once: OnceArgs,
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}

#[derive(Debug, Args)]
pub(crate) struct TouchArgs {
    /// The key, or up to 500, which are touched at one revision.
    #[arg(required = true)]
    pub(crate) keys: Vec<String>,
    /// The new time to live, for example 30s; without it the keys no longer expire.
    #[arg(long, allow_hyphen_values = true)]
    pub(crate) ttl: Option<String>,
    #[command(flatten)]
    pub(crate) once: OnceArgs,
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}

#[derive(Debug, Args)]
pub(crate) struct IncrArgs {
    /// The key; an absent one counts as 0.
    pub(crate) key: String,
    /// What to add; may be negative.
    #[arg(long, default_value_t = 1, allow_hyphen_values = true)]
    pub(crate) by: i64,
    #[command(flatten)]
    pub(crate) once: OnceArgs,
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ScanArgs {
    /// Keys that begin with this.
    #[arg(value_name = "PREFIX", conflicts_with_all = ["prefix", "start", "end"])]
    pub(crate) positional: Option<String>,
    /// Keys that begin with this.
    #[arg(long, conflicts_with_all = ["start", "end"])]
    pub(crate) prefix: Option<String>,
    /// Keys from this one on.
    #[arg(long)]
    pub(crate) start: Option<String>,
    /// Keys before this one.
    #[arg(long)]
    pub(crate) end: Option<String>,
    /// At most this many keys; with --all, this many a request.
    #[arg(long)]
    pub(crate) limit: Option<u32>,
    /// From the last key to the first.
    #[arg(long)]
    pub(crate) reverse: bool,
    /// Keys without their values.
    #[arg(long)]
    pub(crate) keys_only: bool,
    /// Go on from where an earlier scan stopped.
    #[arg(long)]
    pub(crate) cursor: Option<String>,
    /// Everything, page after page, all at the revision of the first.
    #[arg(long)]
    pub(crate) all: bool,
    #[command(flatten)]
    pub(crate) read: ReadArgs,
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}

#[derive(Debug, Args)]
pub(crate) struct HistoryArgs {
    /// The key.
    pub(crate) key: String,
    /// At most this many versions.
    #[arg(long)]
    pub(crate) limit: Option<u32>,
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}

#[derive(Debug, Args)]
pub(crate) struct WatchArgs {
    /// Keys that begin with this; without it, and without another choice, all keys.
    #[arg(value_name = "PREFIX", conflicts_with_all = ["key", "prefix", "start", "end", "glob"])]
    pub(crate) positional: Option<String>,
    /// One key.
    #[arg(long, conflicts_with_all = ["prefix", "start", "end", "glob"])]
    pub(crate) key: Option<String>,
    /// Keys that begin with this.
    #[arg(long, conflicts_with_all = ["start", "end", "glob"])]
    pub(crate) prefix: Option<String>,
    /// Keys from this one on.
    #[arg(long, conflicts_with = "glob")]
    pub(crate) start: Option<String>,
    /// Keys before this one.
    #[arg(long, conflicts_with = "glob")]
    pub(crate) end: Option<String>,
    /// Keys that match: * any run of characters, ? one, \ takes the next as it is.
    #[arg(long)]
    pub(crate) glob: Option<String>,
    /// Only these kinds of change, comma-separated: put, delete, expire.
    #[arg(long, value_name = "KINDS")]
    pub(crate) events: Option<String>,
    /// Only changes of which this expression is true, such as 'value.price > 100'.
    #[arg(long = "where", value_name = "EXPRESSION")]
    pub(crate) only_where: Option<String>,
    /// Show what was there before, too.
    #[arg(long)]
    pub(crate) previous: bool,
    /// Begin with this revision, as far back as history is kept; without it, from now on.
    #[arg(long, value_name = "REVISION")]
    pub(crate) from_revision: Option<u64>,
    /// Stop after so many events.
    #[arg(long)]
    pub(crate) limit: Option<u64>,
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum LeaseCommand {
    /// Make a lease and print its id.
    Grant {
        /// How long it lives from each time that it is kept alive, for example 30s.
        #[arg(allow_hyphen_values = true)]
        ttl: String,
        /// The id to have; without it the cluster chooses one.
        #[arg(long)]
        id: Option<u64>,
        #[command(flatten)]
        once: OnceArgs,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Let a lease live for its whole time again.
    KeepAlive {
        /// The lease.
        id: u64,
        /// Go on until the lease ends or this command is interrupted.
        #[arg(long, conflicts_with = "idempotency_key")]
        forever: bool,
        #[command(flatten)]
        once: OnceArgs,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// End a lease and delete its keys.
    Revoke {
        /// The lease.
        id: u64,
        #[command(flatten)]
        once: OnceArgs,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Show a lease and its keys.
    Info {
        /// The lease.
        id: u64,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// List leases.
    List(ClientArgs),
}

/// How something is held.
#[derive(Clone, Debug, Args)]
pub(crate) struct HoldArgs {
    /// How long others wait when this process is gone, for example 30s.
    #[arg(long, default_value = "10s")]
    pub(crate) ttl: String,
    /// Wait so long for it, for example 5m or 0s; without it, until it is held.
    #[arg(long, value_parser = any_duration)]
    pub(crate) wait: Option<std::time::Duration>,
    /// How long the command may take to end when it is lost, before it is killed.
    #[arg(long, default_value = "5s", value_parser = any_duration)]
    pub(crate) grace: std::time::Duration,
}

#[derive(Debug, Args)]
pub(crate) struct LockArgs {
    /// The name of the lock.
    pub(crate) name: String,
    /// What others see of the holder.
    #[arg(long)]
    pub(crate) owner: Option<String>,
    #[command(flatten)]
    pub(crate) hold: HoldArgs,
    /// The command with its arguments, behind `--`. It finds the fencing token in CONCORD_LOCK_TOKEN.
    #[arg(last = true, required = true)]
    pub(crate) command: Vec<std::ffi::OsString>,
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}

#[derive(Debug, Args)]
pub(crate) struct CampaignArgs {
    /// The name of the election.
    pub(crate) name: String,
    /// What others see of the leader, such as its address.
    pub(crate) value: String,
    #[command(flatten)]
    pub(crate) hold: HoldArgs,
    /// A command to run while leading, behind `--`; without one, leads until interrupted. It finds
    /// the fencing token in CONCORD_ELECTION_TOKEN.
    #[arg(last = true)]
    pub(crate) command: Vec<std::ffi::OsString>,
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ElectionCommand {
    /// Stand for election, wait for the victory, and lead.
    Campaign(Box<CampaignArgs>),
    /// Print the leader, and every later one, until stopped.
    Observe {
        /// The name of the election.
        name: String,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Print the leader.
    Leader {
        /// The name of the election.
        name: String,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// List elections that somebody leads.
    List {
        #[command(flatten)]
        client: ClientArgs,
    },
}

#[derive(Debug, Args)]
pub(crate) struct RegisterArgs {
    /// The service.
    pub(crate) service: String,
    /// The name of the instance among those of the service.
    pub(crate) instance: String,
    /// What others see of it, such as its address.
    pub(crate) value: String,
    /// How long it is found when this process is gone, for example 30s.
    #[arg(long, default_value = "10s")]
    pub(crate) ttl: String,
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum RegistryCommand {
    /// Register an instance until interrupted.
    Register(RegisterArgs),
    /// List the instances of a service, or the services.
    List {
        /// The service.
        service: Option<String>,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Print the instances of a service whenever they change, until stopped.
    Watch {
        /// The service.
        service: String,
        #[command(flatten)]
        client: ClientArgs,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum ClusterCommand {
    /// Add a running node that belongs to no cluster, as a learner.
    Add {
        /// The node's peer address.
        address: String,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Make a learner that has caught up a voter.
    Promote(MemberArgs),
    /// Take a member out of the cluster, for good: its id is not used again.
    Remove(MemberArgs),
    /// Let a learner vote in a member's place, in one step.
    Replace {
        /// The member that goes.
        leaving: u64,
        /// The learner that comes.
        joining: u64,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Hand leadership over.
    Transfer {
        /// The voter that shall lead; without it the cluster chooses.
        node_id: Option<u64>,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Take a snapshot now.
    Snapshot(ClientArgs),
    /// Forget history before a revision.
    Compact {
        /// The oldest revision to keep.
        revision: u64,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Show the settings that the whole cluster judges by, or change some.
    #[command(args_conflicts_with_subcommands = true)]
    Settings {
        #[command(subcommand)]
        change: Option<SettingsCommand>,
        #[command(flatten)]
        client: ClientArgs,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum SettingsCommand {
    /// Change the settings that are named. The others stay as they are.
    Set(SettingsArgs),
}

/// New settings.
#[derive(Debug, Args)]
#[group(skip)]
#[command(group = clap::ArgGroup::new("changes").required(true).multiple(true)
    .args(["value_bytes_max", "keep", "keep_revisions", "keep_bytes"]))]
pub(crate) struct SettingsArgs {
    /// The longest value that a write may store, in bytes.
    #[arg(long, value_name = "BYTES")]
    pub(crate) value_bytes_max: Option<u64>,
    /// How long history is kept, for example 1h; `none` for no bound.
    #[arg(long, value_name = "TIME", value_parser = bound_of_time)]
    pub(crate) keep: Option<Bound>,
    /// How many revisions are kept; `none` for no bound.
    #[arg(long, value_name = "N", value_parser = bound)]
    pub(crate) keep_revisions: Option<Bound>,
    /// How many bytes of history are kept; `none` for no bound.
    #[arg(long, value_name = "BYTES", value_parser = bound)]
    pub(crate) keep_bytes: Option<Bound>,
    #[command(flatten)]
    pub(crate) once: OnceArgs,
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}

/// A bound, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bound(pub(crate) Option<u64>);

fn bound(text: &str) -> Result<Bound, String> {
    match text {
        "none" => Ok(Bound(None)),
        number => number
            .parse()
            .map(|number| Bound(Some(number)))
            .map_err(|_| "must be a whole number or `none`".to_owned()),
    }
}

fn bound_of_time(text: &str) -> Result<Bound, String> {
    match text {
        "none" => Ok(Bound(None)),
        time => {
            let millis = u64::try_from(positive_duration(time)?.as_millis());
            Ok(Bound(Some(millis.unwrap_or(u64::MAX))))
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct MemberArgs {
    /// The node's id.
    pub(crate) node_id: u64,
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Say what is wrong with it, with the line.
    Check(Box<StartArgs>),
    /// Print every setting as it would be used. Secrets are not shown.
    Show(Box<StartArgs>),
}

/// Settings of a node on the command line; each goes before the environment and the file.
/// All are text here: the configuration judges them, and names the flag when it refuses.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct StartArgs {
    /// A TOML file with settings.
    #[arg(long, env = "CONCORD_CONFIG", value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) config: Option<PathBuf>,
    /// A set of defaults: dev (open and readable) or prod (nothing open that was not asked for).
    #[arg(long)]
    pub(crate) profile: Option<String>,
    /// Where the node keeps its data [default: ./data].
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) data_dir: Option<String>,
    /// This node's id in its cluster, from 1; kept with the data.
    #[arg(long, value_name = "N")]
    pub(crate) node_id: Option<String>,
    /// Where to serve HTTP; port 0 takes a free one [default: 127.0.0.1:4000].
    #[arg(long, value_name = "ADDR")]
    pub(crate) http: Option<String>,
    /// Where to talk to the other nodes [default: nowhere, a cluster of one].
    #[arg(long, value_name = "ADDR")]
    pub(crate) peer: Option<String>,
    /// The peer addresses of the nodes that form the cluster, this one's among them.
    #[arg(long, value_delimiter = ',', value_name = "A,B,C", conflicts_with = "join")]
    pub(crate) seeds: Vec<String>,
    /// The peer address of a member of the cluster to join.
    #[arg(long, value_name = "ADDR")]
    pub(crate) join: Option<String>,
    /// A file with the secret that the nodes of the cluster share.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) cluster_secret_file: Option<String>,
    /// Compress values (true) or not (false), unless a write says so itself [default: true].
    #[arg(long, value_name = "BOOL")]
    pub(crate) compression: Option<String>,
    /// Logs for people (human) or for programs (json).
    #[arg(long, value_name = "FORMAT")]
    pub(crate) log_format: Option<String>,
    /// What to log, for example `info` or `concord_raft=debug,info`.
    #[arg(long, value_name = "FILTER")]
    pub(crate) log: Option<String>,
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
mod tests {
    use clap::CommandFactory;
    use clap::error::ErrorKind;

    use super::*;

    fn parse(line: &str) -> Result<Cli, ErrorKind> {
        Cli::try_parse_from(line.split_whitespace()).map_err(|error| error.kind())
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_reads_its_documented_form() {
        for line in [
            "concord start",
            "concord start --data-dir d --node-id 1 --http 127.0.0.1:0 --peer 127.0.0.1:0 --seeds a:1,b:2,c:3",
            "concord start --join a:1 --profile prod --log-format json --cluster-secret-file s --config c.toml",
            "concord status --endpoints http://a,http://b --timeout 500ms --output json",
            "concord members",
            "concord get k --raw --consistency strong --revision 7",
            "concord put k v --ttl 30s",
            "concord put k - --binary",
            "concord put k -5 --text",
            "concord put k v --compress false",
            "concord watch a --where version>1",
            "concord subscription create s --prefix a --events put --where version>1 --from-revision 7",
            "concord subscription consume s --ack --limit 3 --previous",
            "concord subscription ack s 7",
            "concord subscription reset s --from-revision 7",
            "concord subscription list",
            "concord put k --file f --json",
            "concord delete a b c",
            "concord touch k --ttl 1h30m",
            "concord incr k --by -3",
            "concord scan --prefix a --limit 5 --reverse --keys-only --all",
            "concord scan --start a --end b",
            "concord scan a",
            "concord --endpoints http://a,http://b --timeout 1s -o json get k",
            "concord --output json lease grant 5s",
            "concord put k v --idempotency-key order-7",
            "concord ttl k",
            "concord history k --limit 3",
            "concord watch",
            "concord watch user: --previous --from-revision 7 --limit 3",
            "concord watch --key k --events put,delete --output json",
            "concord watch --start a --end b",
            "concord watch --glob user:*:mail",
            "concord query",
            "concord query value.age>=30 --prefix user: --order-by $.age --reverse --limit 3 --offset 1 --all",
            "concord query --range a b --keys-only --max-scanned 10",
            "concord query --glob a* --select age=value.age --select version",
            "concord query --pattern ^a --count",
            "concord query --suffix x --contains y --delete --limit 5",
            "concord query --start a --end b --explain",
            "concord index create mail $.email --prefix user: --unique --no-fill --wait",
            "concord index drop mail",
            "concord index list",
            "concord index show mail",
            "concord index reindex mail --wait",
            "concord index lookup mail a@b.c --keys-only",
            "concord index lookup age --from -3 --before 30 --reverse --limit 5 --all",
            "concord cluster add 127.0.0.1:5004",
            "concord cluster promote 4",
            "concord cluster remove 4",
            "concord cluster replace 3 4",
            "concord cluster transfer",
            "concord cluster transfer 2",
            "concord cluster snapshot",
            "concord cluster compact 100",
            "concord config check --config c.toml",
            "concord config show --node-id 1",
            "concord completions bash",
        ] {
            assert!(parse(line).is_ok(), "{line}: {:?}", parse(line).err());
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for (line, kind) in [
            ("concord frobnicate", ErrorKind::InvalidSubcommand),
            ("concord get", ErrorKind::MissingRequiredArgument),
            ("concord get k --colour", ErrorKind::UnknownArgument),
            ("concord get k --consistency sometimes", ErrorKind::InvalidValue),
            ("concord get k --revision -1", ErrorKind::UnknownArgument),
            ("concord put k", ErrorKind::MissingRequiredArgument),
            ("concord put k v --file f", ErrorKind::ArgumentConflict),
            ("concord put k v --json --binary", ErrorKind::ArgumentConflict),
            ("concord incr k --by 1.5", ErrorKind::ValueValidation),
            ("concord scan --prefix a --start b", ErrorKind::ArgumentConflict),
            ("concord watch a --key b", ErrorKind::ArgumentConflict),
            ("concord watch --glob a --start b", ErrorKind::ArgumentConflict),
            ("concord query --count --delete", ErrorKind::ArgumentConflict),
            ("concord query --range a", ErrorKind::WrongNumberOfValues),
            ("concord index lookup i 1 --from 2", ErrorKind::ArgumentConflict),
            (
                "concord index lookup i --from 1 --after 2",
                ErrorKind::ArgumentConflict,
            ),
            (
                "concord start --seeds a:1 --join b:2",
                ErrorKind::ArgumentConflict,
            ),
            ("concord status --timeout 0", ErrorKind::ValueValidation),
            ("concord --timeout 0 status", ErrorKind::ValueValidation),
            (
                "concord put k v --idempotency-key a\u{7f}",
                ErrorKind::ValueValidation,
            ),
            (
                "concord lease keep-alive 7 --forever --idempotency-key k",
                ErrorKind::ArgumentConflict,
            ),
            ("concord status --timeout 1.5s", ErrorKind::ValueValidation),
            ("concord delete", ErrorKind::MissingRequiredArgument),
            ("concord cluster promote x", ErrorKind::ValueValidation),
        ] {
            assert_eq!(parse(line).map(|_| ()), Err(kind), "{line}");
        }
    }
}
