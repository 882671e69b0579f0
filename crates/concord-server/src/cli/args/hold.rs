//! The shapes of `concord lock`, `election` and `registry`: what is held until it is given up or lost.

use clap::{Args, Subcommand};

use super::{ClientArgs, any_duration};

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
        /// Only services whose names start with this; ID# those of a tenant.
        #[arg(long, conflicts_with = "service")]
        prefix: Option<String>,
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
