//! The shapes of `concord index`.

use clap::{Args, Subcommand};

use super::{ClientArgs, OnceArgs, ReadArgs};

#[derive(Debug, Subcommand)]
pub(crate) enum IndexCommand {
    /// Make an index.
    Create(CreateIndexArgs),
    /// Forget an index.
    Drop {
        /// Its name.
        name: String,
        #[command(flatten)]
        once: OnceArgs,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// List indexes with how far they are.
    List(ClientArgs),
    /// Show one index.
    Show {
        /// Its name.
        name: String,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Find records by value or by a range of values, in order.
    Lookup(LookupArgs),
    /// Empty an index and fill it anew.
    Reindex {
        /// Its name.
        name: String,
        /// Wait until it is filled.
        #[arg(long)]
        wait: bool,
        #[command(flatten)]
        once: OnceArgs,
        #[command(flatten)]
        client: ClientArgs,
    },
}

#[derive(Debug, Args)]
pub(crate) struct CreateIndexArgs {
    /// Its name.
    pub(crate) name: String,
    /// What finds the values: a path such as `$.email` or `$.tags[*]`, or an expression.
    pub(crate) extractor: String,
    /// Only of keys that begin with this.
    #[arg(long)]
    pub(crate) prefix: Option<String>,
    /// Refuse writes that would give two records a value in common.
    #[arg(long)]
    pub(crate) unique: bool,
    /// Only of what is written from now on.
    #[arg(long)]
    pub(crate) no_fill: bool,
    /// Wait until it is filled.
    #[arg(long)]
    pub(crate) wait: bool,
    #[command(flatten)]
    pub(crate) once: OnceArgs,
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}

#[derive(Debug, Args)]
pub(crate) struct LookupArgs {
    /// The index.
    pub(crate) name: String,
    /// Only records with this value: a number or bool if it looks like one, else text.
    #[arg(allow_hyphen_values = true, conflicts_with_all = ["from", "after", "upto", "before"])]
    pub(crate) value: Option<String>,
    /// Only values from this one on.
    #[arg(long, allow_hyphen_values = true, conflicts_with = "after")]
    pub(crate) from: Option<String>,
    /// Only values after this one.
    #[arg(long, allow_hyphen_values = true)]
    pub(crate) after: Option<String>,
    /// Only values up to this one, included.
    #[arg(long, allow_hyphen_values = true, conflicts_with = "before")]
    pub(crate) upto: Option<String>,
    /// Only values before this one.
    #[arg(long, allow_hyphen_values = true)]
    pub(crate) before: Option<String>,
    /// Values are text, whatever they look like.
    #[arg(long)]
    pub(crate) text: bool,
    /// At most this many records; with --all, this many a request.
    #[arg(long)]
    pub(crate) limit: Option<u32>,
    /// From the greatest value to the smallest.
    #[arg(long)]
    pub(crate) reverse: bool,
    /// Keys without their values.
    #[arg(long)]
    pub(crate) keys_only: bool,
    /// Go on from where an earlier lookup stopped.
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
