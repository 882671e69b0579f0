//! The shape of `concord query`.

use clap::Args;

use super::{ClientArgs, ReadArgs};

#[derive(Debug, Args)]
pub(crate) struct QueryArgs {
    /// Only records of which this is true, for example 'value.age >= 30'.
    #[arg(value_name = "EXPRESSION")]
    pub(crate) filter: Option<String>,
    /// Only keys that begin with this.
    #[arg(long, help_heading = "Keys")]
    pub(crate) prefix: Option<String>,
    /// Only keys that end with this.
    #[arg(long, help_heading = "Keys")]
    pub(crate) suffix: Option<String>,
    /// Only keys that this is in.
    #[arg(long, value_name = "TEXT", help_heading = "Keys")]
    pub(crate) contains: Option<String>,
    /// Only keys that match: `*` any run of characters, `?` one, `\` takes the next as it is.
    #[arg(long, help_heading = "Keys")]
    pub(crate) glob: Option<String>,
    /// Only keys of which a part matches this regular expression.
    #[arg(long, value_name = "REGEX", help_heading = "Keys")]
    pub(crate) pattern: Option<String>,
    /// Only keys from this one on.
    #[arg(long, help_heading = "Keys")]
    pub(crate) start: Option<String>,
    /// Only keys before this one.
    #[arg(long, help_heading = "Keys")]
    pub(crate) end: Option<String>,
    /// Only keys from one to another, both included.
    #[arg(long, num_args = 2, value_names = ["FIRST", "LAST"], help_heading = "Keys")]
    pub(crate) range: Vec<String>,
    /// What to order by instead of keys: a path such as '$.age', or an expression.
    #[arg(long, value_name = "PATH")]
    pub(crate) order_by: Option<String>,
    /// From the greatest to the smallest.
    #[arg(long)]
    pub(crate) reverse: bool,
    /// Leave out the first so many that match.
    #[arg(long)]
    pub(crate) offset: Option<u64>,
    /// At most this many records; with --all, this many a request; with --delete, this many keys.
    #[arg(long)]
    pub(crate) limit: Option<u32>,
    /// Show a field instead of the value, NAME=EXPRESSION or an expression; may be repeated.
    #[arg(long, value_name = "FIELD")]
    pub(crate) select: Vec<String>,
    /// Look at no more than so many records in one request.
    #[arg(long, value_name = "N")]
    pub(crate) max_scanned: Option<u64>,
    /// Keys without their values.
    #[arg(long, group = "verb")]
    pub(crate) keys_only: bool,
    /// Print how many records match.
    #[arg(long, group = "verb")]
    pub(crate) count: bool,
    /// Delete all that match, at one revision.
    #[arg(long, group = "verb")]
    pub(crate) delete: bool,
    /// Print how the query would be answered.
    #[arg(long, group = "verb")]
    pub(crate) explain: bool,
    /// Go on from where an earlier query stopped.
    #[arg(long, conflicts_with_all = ["count", "delete", "explain"])]
    pub(crate) cursor: Option<String>,
    /// Everything, page after page, all at the revision of the first.
    #[arg(long, conflicts_with_all = ["count", "delete", "explain"])]
    pub(crate) all: bool,
    #[command(flatten)]
    pub(crate) read: ReadArgs,
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}
