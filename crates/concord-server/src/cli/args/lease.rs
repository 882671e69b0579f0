//! The shapes of `concord lease`.

use clap::{Args, Subcommand};

use super::{ClientArgs, OnceArgs};

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
        page: PageArgs,
        /// Go on from where an earlier page of keys stopped.
        #[arg(long)]
        cursor: Option<String>,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// List leases, in order of their ids.
    List {
        #[command(flatten)]
        page: PageArgs,
        /// Go on behind this lease.
        #[arg(long)]
        after: Option<u64>,
        #[command(flatten)]
        client: ClientArgs,
    },
}

/// How much of what there is.
#[derive(Debug, Args)]
pub(crate) struct PageArgs {
    /// At most this many; with --all, this many a request.
    #[arg(long)]
    pub(crate) limit: Option<u32>,
    /// Everything, page after page.
    #[arg(long)]
    pub(crate) all: bool,
}
