//! What a run is asked to do.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

/// Loads a store and reports operations a second and latencies.
///
/// Exits with 1 if any operation failed or gave a wrong answer; those never count.
#[derive(Clone, Debug, Parser)]
#[command(name = "concord-bench", version)]
pub struct Options {
    /// What is loaded.
    #[arg(long, value_enum)]
    pub driver: DriverKind,
    /// What is done.
    #[arg(long, value_enum, default_value = "put")]
    pub workload: Workload,
    /// Reads among a hundred operations of the mixed workload.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u8).range(0..=100))]
    pub read_percent: u8,
    /// Callers at once: one measurement for each number.
    #[arg(long, value_delimiter = ',', default_value = "1,64,1024")]
    pub callers: Vec<usize>,
    /// Length of each measurement.
    #[arg(long, default_value_t = 10.0)]
    pub seconds: f64,
    /// Load before each measurement that is not counted.
    #[arg(long, default_value_t = 1.0)]
    pub warmup_seconds: f64,
    /// Operations due each second, in all (open loop). Without it each caller goes on at once (closed loop).
    #[arg(long)]
    pub rate: Option<f64>,
    /// Distinct keys, of 32 bytes, chosen evenly.
    #[arg(long, default_value_t = 100_000)]
    pub keys: usize,
    /// Bytes of a value.
    #[arg(long, default_value_t = 100)]
    pub value_bytes: usize,
    /// How fresh reads must be.
    #[arg(long, value_enum, default_value = "leader")]
    pub read_consistency: Consistency,
    /// `host:port` of each server (HTTP, etcd); callers are spread over them.
    #[arg(long, value_delimiter = ',')]
    pub endpoints: Vec<String>,
    /// Nodes of an embedded cluster in this process; callers are spread over them.
    #[arg(long, default_value_t = 1)]
    pub nodes: usize,
    /// Directory for embedded nodes; a temporary one that is removed, unless given.
    #[arg(long)]
    pub data_dir: Option<PathBuf>,
    /// Do not write every key first (for a store that has them from an earlier run).
    #[arg(long)]
    pub no_preload: bool,
    /// Threads of the runtime; 0: as many as there are processors.
    #[arg(long, default_value_t = 0)]
    pub threads: usize,
    /// Where keys and choices begin.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Write the results as JSON to this file, or to standard output for `-` (the table then goes to standard error).
    #[arg(long)]
    pub json: Option<PathBuf>,
}

/// What is loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DriverKind {
    /// `Concord` handles in this process.
    Embedded,
    /// Concord's HTTP interface.
    Http,
    /// etcd's v3 JSON gateway.
    Etcd,
    /// A page that is always the same, served in this process: the ceiling of the HTTP driver.
    Constant,
    /// Nothing at all: the ceiling of the generator.
    Nothing,
}

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Workload {
    /// Overwrites random keys.
    Put,
    /// Reads random keys.
    Get,
    /// Both; see `--read-percent`.
    Mixed,
}

/// How fresh reads must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Consistency {
    /// Confirmed by a quorum.
    Strong,
    /// Linearizable under the leader's lease.
    Leader,
    /// What the asked node has.
    Eventual,
}

impl Options {
    /// The reads among a hundred operations.
    pub fn reads_in_100(&self) -> u8 {
        match self.workload {
            Workload::Put => 0,
            Workload::Get => 100,
            Workload::Mixed => self.read_percent,
        }
    }
}

impl Consistency {
    /// Its name in Concord's interfaces.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Strong => "strong",
            Self::Leader => "leader",
            Self::Eventual => "eventual",
        }
    }
}

impl DriverKind {
    /// Its name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Embedded => "embedded",
            Self::Http => "http",
            Self::Etcd => "etcd",
            Self::Constant => "constant",
            Self::Nothing => "nothing",
        }
    }
}
