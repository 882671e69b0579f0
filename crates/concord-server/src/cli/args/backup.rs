//! The shapes of `concord backup`, `concord recover` and `concord doctor`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{ClientArgs, Consistency, Output};

#[derive(Debug, Subcommand)]
pub(crate) enum BackupCommand {
    /// Make a backup: in the directory or bucket of the node that is asked, or here with `--to`.
    Create(CreateBackupArgs),
    /// The backups in the directory or bucket of the node that is asked.
    List(ClientArgs),
    /// Read all of a backup and check every byte. Needs no cluster.
    Verify {
        /// The file, or s3://BUCKET/PREFIX/NAME.
        file: PathBuf,
        /// The settings of a node (TOML), for how a bucket is reached.
        #[arg(long, value_name = "FILE", env = "CONCORD_CONFIG")]
        config: Option<PathBuf>,
        #[command(flatten)]
        local: LocalArgs,
    },
    /// Have the running cluster show what a backup holds, at one revision. With `--data-dir`: make a data directory
    /// out of it, whose node starts as a new cluster of one.
    Restore(RestoreArgs),
    /// Remove old backups from the directory or bucket of the node that is asked. With both bounds a backup
    /// must satisfy both to stay; the newest whole one always stays.
    Cleanup(CleanupArgs),
}

#[derive(Debug, Args)]
pub(crate) struct CreateBackupArgs {
    /// Write it to this file on this machine instead.
    #[arg(long, value_name = "FILE")]
    pub(crate) to: Option<PathBuf>,
    /// `eventual` works without a quorum, and may lack what was acknowledged last.
    #[arg(long, value_enum)]
    pub(crate) consistency: Option<Consistency>,
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}

#[derive(Debug, Args)]
pub(crate) struct RestoreArgs {
    /// The backup: a file, or s3://BUCKET/PREFIX/NAME.
    pub(crate) file: PathBuf,
    /// The settings of a node (TOML), for how a bucket is reached.
    #[arg(long, value_name = "FILE", env = "CONCORD_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    /// Ask no cluster: make this directory. There must be none, or nothing in it.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["on_node", "keep_policy", "other_cluster"])]
    pub(crate) data_dir: Option<PathBuf>,
    /// The new node's id; drawn at random if not given.
    #[arg(long, requires = "data_dir", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) node_id: Option<u64>,
    /// FILE is the name of a backup in the directory or bucket of the node that is asked.
    #[arg(long)]
    pub(crate) on_node: bool,
    /// Leave tokens, roles, tenants and quotas as they are. Without this the backup's are there again, also tokens
    /// that were revoked since.
    #[arg(long)]
    pub(crate) keep_policy: bool,
    /// Take a backup of another cluster.
    #[arg(long)]
    pub(crate) other_cluster: bool,
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}

#[derive(Debug, Args)]
#[group(skip)]
#[command(group = clap::ArgGroup::new("bounds").required(true).multiple(true)
    .args(["keep_count", "keep_days"]))]
pub(crate) struct CleanupArgs {
    /// Remove what is beyond so many of the newest.
    #[arg(long, value_name = "N")]
    pub(crate) keep_count: Option<u64>,
    /// Remove what is older than so many days.
    #[arg(long, value_name = "DAYS")]
    pub(crate) keep_days: Option<u64>,
    /// Only say what would go.
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}

/// How a command that asks no cluster prints.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct LocalArgs {
    /// For people, or for programs.
    #[arg(long, short, env = "CONCORD_OUTPUT", value_enum, default_value_t)]
    pub(crate) output: Output,
}

#[derive(Debug, Args)]
pub(crate) struct RecoverArgs {
    /// The data directory of the survivor. Its node must be stopped.
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: PathBuf,
    /// Make it a new cluster of one node. Required, so that nobody does it by accident.
    #[arg(long, required = true)]
    pub(crate) force_new_cluster: bool,
    /// Really do it. Without, only what would be done and lost is shown.
    #[arg(long)]
    pub(crate) yes: bool,
    #[command(flatten)]
    pub(crate) local: LocalArgs,
}

#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// The data directory.
    pub(crate) data_dir: PathBuf,
    #[command(flatten)]
    pub(crate) local: LocalArgs,
}

impl BackupCommand {
    /// How it reaches the cluster; `None` if it asks none.
    pub(crate) const fn client_args(&self) -> Option<&ClientArgs> {
        match self {
            Self::Create(args) => Some(&args.client),
            Self::List(client) => Some(client),
            Self::Cleanup(args) => Some(&args.client),
            Self::Restore(args) if args.data_dir.is_none() => Some(&args.client),
            Self::Verify { .. } | Self::Restore(_) => None,
        }
    }
}
