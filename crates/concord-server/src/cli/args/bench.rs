//! The shape of `concord bench`.

use std::time::Duration;

use clap::Args;
use clap::builder::RangedU64ValueParser;
use concord_core::limits::LEASE_KEYS_MAX;
use concord_query::duration;

use super::{ClientArgs, Consistency};

const CALLERS_MAX: u64 = 1_024;
const VALUE_BYTES_MAX: u64 = 1 << 20;
const DURATION_MAX: Duration = Duration::from_hours(1);

#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    /// How long it asks.
    #[arg(long, default_value = "10s", value_name = "TIME", value_parser = length)]
    pub(crate) duration: Duration,
    /// How many ask at once; each asks again when it has its answer.
    #[arg(long, default_value_t = 64, value_name = "N", value_parser = RangedU64ValueParser::<usize>::new().range(1..=CALLERS_MAX))]
    pub(crate) callers: usize,
    /// How many of a hundred operations are reads; the others are writes.
    #[arg(long, default_value_t = 50, value_name = "PERCENT", value_parser = clap::value_parser!(u64).range(0..=100))]
    pub(crate) reads: u64,
    /// How many keys there are.
    #[arg(long, default_value_t = 1_000, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=LEASE_KEYS_MAX))]
    pub(crate) keys: u64,
    /// The length of each value.
    #[arg(long, default_value_t = 256, value_name = "BYTES", value_parser = RangedU64ValueParser::<usize>::new().range(0..=VALUE_BYTES_MAX))]
    pub(crate) value_bytes: usize,
    /// What the keys begin with, for tokens that may not write elsewhere. What follows is nobody else's.
    #[arg(long, default_value = "concord-bench/", value_name = "TEXT")]
    pub(crate) prefix: String,
    /// The promise of the reads.
    #[arg(long, value_enum, default_value = "leader")]
    pub(crate) consistency: Consistency,
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}

fn length(text: &str) -> Result<Duration, String> {
    duration::parse(text)
        .filter(|length| !length.is_zero() && *length <= DURATION_MAX)
        .ok_or_else(|| "must be a length of time such as 10s or 1m, up to 1h".to_owned())
}
