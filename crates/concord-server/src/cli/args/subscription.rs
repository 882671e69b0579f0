//! The shapes of `concord subscription`.

use clap::{Args, Subcommand};

use super::ClientArgs;

#[derive(Debug, Subcommand)]
pub(crate) enum SubscriptionCommand {
    /// Remember a place in the stream of changes under a name.
    Create(Box<CreateSubscriptionArgs>),
    /// List subscriptions with how far their consumers are.
    List(ClientArgs),
    /// Show one subscription.
    Show(NamedArgs),
    /// Forget a subscription.
    Delete(NamedArgs),
    /// Print changes from behind what is acknowledged, until stopped.
    Consume(ConsumeArgs),
    /// Acknowledge all up to a revision.
    Ack {
        /// Its name.
        name: String,
        /// Up to here, included.
        revision: u64,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Begin anew, from now on or from a revision.
    Reset {
        /// Its name.
        name: String,
        /// From this revision on, included.
        #[arg(long, value_name = "REVISION")]
        from_revision: Option<u64>,
        #[command(flatten)]
        client: ClientArgs,
    },
}

#[derive(Debug, Args)]
pub(crate) struct NamedArgs {
    /// Its name.
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}

#[derive(Debug, Args)]
pub(crate) struct CreateSubscriptionArgs {
    /// Its name.
    pub(crate) name: String,
    /// One key.
    #[arg(long, conflicts_with_all = ["prefix", "start", "end", "glob", "pattern"])]
    pub(crate) key: Option<String>,
    /// Keys that begin with this.
    #[arg(long, conflicts_with_all = ["start", "end", "glob", "pattern"])]
    pub(crate) prefix: Option<String>,
    /// Keys from this one on.
    #[arg(long, conflicts_with_all = ["glob", "pattern"])]
    pub(crate) start: Option<String>,
    /// Keys before this one.
    #[arg(long, conflicts_with_all = ["glob", "pattern"])]
    pub(crate) end: Option<String>,
    /// Keys that match: * any run of characters, ? one, \ takes the next as it is.
    #[arg(long, conflicts_with = "pattern")]
    pub(crate) glob: Option<String>,
    /// Keys in which this regular expression is found.
    #[arg(long)]
    pub(crate) pattern: Option<String>,
    /// Only these kinds of change, comma-separated: put, delete, expire.
    #[arg(long, value_name = "KINDS")]
    pub(crate) events: Option<String>,
    /// Only if this expression is true of the record.
    #[arg(long = "where", value_name = "EXPRESSION")]
    pub(crate) only_where: Option<String>,
    /// Begin with this revision; without it, with what comes from now on.
    #[arg(long, value_name = "REVISION")]
    pub(crate) from_revision: Option<u64>,
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ConsumeArgs {
    /// Its name.
    pub(crate) name: String,
    /// Acknowledge each revision after it was printed.
    #[arg(long)]
    pub(crate) ack: bool,
    /// Show what was there before, too.
    #[arg(long)]
    pub(crate) previous: bool,
    /// Stop after the revision with which there were so many events.
    #[arg(long)]
    pub(crate) limit: Option<u64>,
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}
