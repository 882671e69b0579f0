//! The shapes of `concord context`.

use clap::Subcommand;

use super::Output;

#[derive(Debug, Subcommand)]
pub(crate) enum ContextCommand {
    /// The contexts that there are; the one that is used is marked.
    List {
        /// For people, or for programs.
        #[arg(long, short, env = "CONCORD_OUTPUT", value_enum, default_value_t)]
        output: Output,
    },
    /// Use a context from now on, where none is named.
    Use {
        /// Its name.
        name: String,
    },
}
