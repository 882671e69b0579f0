//! The shapes of `concord start` and `concord config`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueHint};

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Say what is wrong with it, with the line.
    Check(Box<StartArgs>),
    /// Print every setting as it would be used. Secrets are not shown.
    Show(Box<StartArgs>),
    /// Print what every setting is, as Markdown.
    Reference,
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
    /// Where to gossip (UDP), so that nodes that look for a cluster find this one [default: nowhere].
    #[arg(long, value_name = "ADDR")]
    pub(crate) gossip: Option<String>,
    /// Where others gossip (UDP).
    #[arg(long, value_delimiter = ',', value_name = "A,B,C")]
    pub(crate) gossip_seeds: Vec<String>,
    /// Join the cluster of a member that gossip tells of.
    #[arg(long, conflicts_with_all = ["join", "seeds"])]
    pub(crate) discover: bool,
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
