//! The shapes of `concord audit`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueHint};

use super::ClientArgs;

#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// Find lines, the newest first: who did what, and what came of it.
    Query(Box<AuditQueryArgs>),
    /// Print every line that matches, the oldest first, as they are in the files.
    Export(Box<AuditExportArgs>),
    /// Check that nothing was edited, added, reordered, dropped or cut. Exits with 10 if it was.
    Verify(Box<AuditVerifyArgs>),
    /// How the log of the asked node is doing.
    Status(ClientArgs),
}

/// Which lines.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct AuditFilterArgs {
    /// From this time on: 2026-11-22, 2026-11-22T05:49:09Z, or a length of time ago such as 1h.
    #[arg(long, value_name = "TIME")]
    pub(crate) from: Option<String>,
    /// Up to this time, included.
    #[arg(long, value_name = "TIME")]
    pub(crate) to: Option<String>,
    /// The id or name of a token, or a kind of caller: token, anonymous, embedder.
    #[arg(long)]
    pub(crate) principal: Option<String>,
    /// One kind of request, such as put.
    #[arg(long)]
    pub(crate) operation: Option<String>,
    /// ok, the name of an error, error for all of these, or denied.
    #[arg(long)]
    pub(crate) result: Option<String>,
    /// Requests about this key.
    #[arg(long, conflicts_with = "prefix")]
    pub(crate) key: Option<String>,
    /// Requests about keys that begin so.
    #[arg(long)]
    pub(crate) prefix: Option<String>,
    /// Requests of this tenant.
    #[arg(long)]
    pub(crate) tenant: Option<String>,
}

/// A log in a directory, instead of that of a running node.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct AuditDirArgs {
    /// Read the files in this directory, instead of asking a node.
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) dir: Option<PathBuf>,
    /// File with the secret of the log, to find keys that are written as hashes.
    #[arg(long, value_name = "FILE", requires = "dir", value_hint = ValueHint::FilePath)]
    pub(crate) secret_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct AuditQueryArgs {
    #[command(flatten)]
    pub(crate) filter: AuditFilterArgs,
    /// The oldest lines first.
    #[arg(long)]
    pub(crate) oldest: bool,
    /// At most so many lines.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=1_000))]
    pub(crate) limit: u64,
    /// Go on where the page before ended.
    #[arg(long)]
    pub(crate) cursor: Option<String>,
    #[command(flatten)]
    pub(crate) place: AuditDirArgs,
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}

#[derive(Debug, Args)]
pub(crate) struct AuditExportArgs {
    #[command(flatten)]
    pub(crate) filter: AuditFilterArgs,
    #[command(flatten)]
    pub(crate) place: AuditDirArgs,
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}

#[derive(Debug, Args)]
pub(crate) struct AuditVerifyArgs {
    /// Check the files in this directory, without any node; without it, the asked node checks its own.
    #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) dir: Option<PathBuf>,
    /// File with the secret that lines are sealed with; several if it was changed.
    #[arg(long, value_name = "FILE", requires = "dir", value_hint = ValueHint::FilePath)]
    pub(crate) secret_file: Vec<PathBuf>,
    /// A line that was noted earlier and must be there: its number and its hash.
    #[arg(long, value_name = "SEQ:HASH", requires = "dir")]
    pub(crate) expect: Vec<String>,
    /// The directory is a copy of some files: it has no head.json to say where the log ended.
    #[arg(long, requires = "dir")]
    pub(crate) copy: bool,
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}

impl AuditCommand {
    pub(crate) fn client_args(&self) -> &ClientArgs {
        match self {
            Self::Query(args) => &args.client,
            Self::Export(args) => &args.client,
            Self::Verify(args) => &args.client,
            Self::Status(client) => client,
        }
    }
}
