//! The shape of `concord top`.

use std::time::Duration;

use clap::Args;

use super::{ClientArgs, positive_duration};

#[derive(Debug, Args)]
pub(crate) struct TopArgs {
    /// Print one picture and end, as happens by itself when the output is not a terminal. It takes an interval, because
    /// rates are what happens between two looks.
    #[arg(long)]
    pub(crate) once: bool,
    /// How often the nodes are asked.
    #[arg(long, default_value = "1s", value_name = "TIME", value_parser = positive_duration)]
    pub(crate) interval: Duration,
    /// Count writes by the beginning of their keys too. The node then sends every change here: on a busy cluster that costs it
    /// what any watch of everything costs.
    #[arg(long)]
    pub(crate) hot: bool,
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}
