//! Settings that decide in apply. They are replicated state, never a node's own
//! configuration: replicas that judged by different limits would part ways.

use crate::ids::Millis;
use crate::limits;

/// What the store keeps and refuses. Changed by [`crate::Command::Configure`] only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The longest value a write may store. Default [`limits::VALUE_BYTES_MAX_DEFAULT`].
    pub value_bytes_max: u64,
    /// How much history is kept.
    pub compaction: Compaction,
}

/// How much history is kept: whatever the strictest bound leaves. A bound of `None` does
/// not bind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compaction {
    /// Changes older than this go. Default one hour; judged to a sixty-fourth of it.
    pub keep_ms: Option<Millis>,
    /// Only this many revisions stay. Default 100,000.
    pub keep_revisions: Option<u64>,
    /// Old versions and the change log take at most this many bytes. Default 256 MiB.
    pub keep_bytes: Option<u64>,
}

impl Settings {
    /// The settings of a new cluster.
    pub const INITIAL: Self = Self {
        value_bytes_max: limits::VALUE_BYTES_MAX_DEFAULT,
        compaction: Compaction {
            keep_ms: Some(Millis::new(limits::COMPACTION_KEEP_MS_DEFAULT)),
            keep_revisions: Some(limits::COMPACTION_KEEP_REVISIONS_DEFAULT),
            keep_bytes: Some(limits::COMPACTION_KEEP_BYTES_DEFAULT),
        },
    };
}
