//! The shapes of `concord cluster`.

use clap::{Args, Subcommand};

use super::{ClientArgs, OnceArgs, positive_duration};

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
    Set(Box<SettingsArgs>),
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
