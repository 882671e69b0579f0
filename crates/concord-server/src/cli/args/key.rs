//! The shapes of the commands about keys.

use std::path::PathBuf;

use clap::{Args, ValueHint};

use super::{ClientArgs, OnceArgs, ReadArgs};

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
