//! The shape of `concord watch`.

use clap::Args;

use super::ClientArgs;

#[derive(Debug, Args)]
pub(crate) struct WatchArgs {
    /// Keys that begin with this; without it, and without another choice, all keys.
    #[arg(value_name = "PREFIX", conflicts_with_all = ["key", "prefix", "start", "end", "glob", "pattern"])]
    pub(crate) positional: Option<String>,
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
