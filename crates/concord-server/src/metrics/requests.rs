//! Requests that were answered: how many of which kind, how long they took and how they ended.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::Duration;

use concord_core::command::Command;
use concord_raft::ReadConsistency;
#[cfg(feature = "http")]
use concord_raft::stats::HistogramCounts;
use concord_raft::stats::{Counter, Histogram};
use parking_lot::Mutex;

use crate::error::{Error, ErrorKind};

/// Threads that count at the same time count in different places, most of the time.
const SHARDS: usize = 4;

/// What is asked of the store, as a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Operation(usize);

const OPERATIONS: [&str; 23] = [
    "put",
    "delete",
    "touch",
    "increment",
    "put_many",
    "delete_many",
    "touch_many",
    "txn",
    "delete_where",
    "lease_grant",
    "lease_keep_alive",
    "lease_revoke",
    "index_create",
    "index_drop",
    "index_reindex",
    "subscription_create",
    "subscription_delete",
    "subscription_ack",
    "subscription_reset",
    "compact",
    "configure",
    "policy_edit",
    "restore",
];

impl Operation {
    /// What a command is counted as.
    pub(crate) fn of(command: &Command) -> Self {
        Self(match command {
            Command::Put { .. } => 0,
            Command::Delete { .. } => 1,
            Command::Touch { .. } => 2,
            Command::Increment { .. } => 3,
            Command::PutMany { .. } => 4,
            Command::DeleteMany { .. } => 5,
            Command::TouchMany { .. } => 6,
            Command::Txn(_) => 7,
            Command::DeleteWhere { .. } => 8,
            Command::LeaseGrant { .. } => 9,
            Command::LeaseKeepAlive { .. } => 10,
            Command::LeaseRevoke { .. } => 11,
            Command::CreateIndex { .. } => 12,
            Command::DropIndex { .. } => 13,
            Command::Reindex { .. } => 14,
            Command::CreateSubscription { .. } => 15,
            Command::DeleteSubscription { .. } => 16,
            Command::AckSubscription { .. } => 17,
            Command::ResetSubscription { .. } => 18,
            Command::Compact { .. } => 19,
            Command::Configure(_) => 20,
            Command::EditPolicy(_) => 21,
            Command::Restore { .. } => 22,
            Command::Idempotent { command, .. } | Command::Guarded { command, .. } => {
                return Self::of(command);
            }
        })
    }

    pub(crate) fn name(self) -> &'static str {
        OPERATIONS.get(self.0).copied().unwrap_or_default()
    }
}

const RESULTS: [&str; 4] = ["ok", "refused", "failed", "unknown"];

/// How a request ended, by what its caller can make of it.
fn result_of(error: Option<ErrorKind>) -> usize {
    match error {
        None => 0,
        Some(ErrorKind::OutcomeUnknown) => 3,
        Some(
            ErrorKind::Corrupt | ErrorKind::StorageFailed | ErrorKind::BackupFailed | ErrorKind::AuditFailed,
        ) => 2,
        Some(kind) if kind.is_retryable() => 2,
        Some(_) => 1,
    }
}

const LEVELS: [&str; 3] = ["strong", "leader", "eventual"];

const fn level_of(consistency: ReadConsistency) -> usize {
    match consistency {
        ReadConsistency::Strong => 0,
        ReadConsistency::Leader => 1,
        ReadConsistency::Eventual => 2,
    }
}

/// What some threads count. On cache lines of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Shard {
    writes: [[Histogram; RESULTS.len()]; OPERATIONS.len()],
    reads: [Counter; LEVELS.len()],
    read_waits: [Histogram; LEVELS.len()],
}

/// The requests of one node.
#[derive(Debug)]
pub(crate) struct Requests {
    shards: Box<[Shard]>,
    /// Behind a lock: who is refused has time.
    errors: Mutex<BTreeMap<(&'static str, &'static str), u64>>,
}

impl Requests {
    pub(crate) fn new() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Shard::default()).collect(),
            errors: Mutex::default(),
        }
    }

    /// Counts a write that was answered.
    pub(crate) fn wrote<T>(&self, operation: Operation, took: Duration, outcome: &Result<T, Error>) {
        let error = outcome.as_ref().err().map(Error::kind);
        let by_result = self.shard().and_then(|shard| shard.writes.get(operation.0));
        if let Some(times) = by_result.and_then(|all| all.get(result_of(error))) {
            times.record_time(took);
        }
        self.failed(operation.name(), error);
    }

    /// Counts a read that needed no wait.
    pub(crate) fn read(&self, consistency: ReadConsistency) {
        let counters = self.shard().map(|shard| &shard.reads);
        if let Some(counter) = counters.and_then(|all| all.get(level_of(consistency))) {
            counter.add(1);
        }
    }

    /// Counts a read that had to wait for its view.
    pub(crate) fn waited<T>(&self, consistency: ReadConsistency, took: Duration, outcome: &Result<T, Error>) {
        let waits = self.shard().map(|shard| &shard.read_waits);
        if let Some(times) = waits.and_then(|all| all.get(level_of(consistency))) {
            times.record_time(took);
        }
        self.read(consistency);
        self.failed("read", outcome.as_ref().err().map(Error::kind));
    }

    fn failed(&self, operation: &'static str, error: Option<ErrorKind>) {
        if let Some(kind) = error {
            *self.errors.lock().entry((operation, kind.code())).or_default() += 1;
        }
    }

    fn shard(&self) -> Option<&Shard> {
        self.shards.get(place() % SHARDS)
    }
}

/// A number of this thread, to be taken modulo how many places there are to count in.
pub(super) fn place() -> usize {
    thread_local! {
        static PLACE: usize = {
            let mut hasher = DefaultHasher::new();
            std::thread::current().id().hash(&mut hasher);
            usize::try_from(hasher.finish() & 0xFFFF).unwrap_or_default()
        };
    }
    PLACE.with(|place| *place)
}

#[cfg(feature = "http")]
impl Requests {
    /// Calls `visit` for each kind of write that there was, with operation and result.
    pub(super) fn each_write(&self, mut visit: impl FnMut(&'static str, &'static str, HistogramCounts)) {
        for (operation, name) in OPERATIONS.iter().enumerate() {
            for (result, result_name) in RESULTS.iter().enumerate() {
                let counts = self.sum(|shard| shard.writes.get(operation)?.get(result));
                if counts.count() > 0 {
                    visit(name, result_name, counts);
                }
            }
        }
    }

    /// How many reads there were of each level, and how long those took that waited.
    pub(super) fn each_level(&self, mut visit: impl FnMut(&'static str, u64, HistogramCounts)) {
        for (level, name) in LEVELS.iter().enumerate() {
            let reads = self.shards.iter().filter_map(|shard| shard.reads.get(level));
            let count = reads.map(Counter::get).sum();
            visit(name, count, self.sum(|shard| shard.read_waits.get(level)));
        }
    }

    /// How many requests were answered with which error, by operation.
    pub(super) fn errors(&self) -> BTreeMap<(&'static str, &'static str), u64> {
        self.errors.lock().clone()
    }

    fn sum<'a>(&'a self, of: impl Fn(&'a Shard) -> Option<&'a Histogram>) -> HistogramCounts {
        let mut sum = HistogramCounts::default();
        for counts in self.shards.iter().filter_map(of) {
            sum.add(&counts.counts());
        }
        sum
    }
}

#[cfg(all(test, feature = "http"))]
mod tests {
    use std::sync::Arc;

    use super::*;

    /// Nothing is lost, whoever counts at the same time.
    #[test]
    fn threads_count_together() {
        let requests = Arc::new(Requests::new());
        let put = Operation(0);
        let threads = (0..8).map(|_| {
            let requests = Arc::clone(&requests);
            std::thread::spawn(move || {
                for _ in 0..1_000 {
                    requests.wrote(put, Duration::from_micros(100), &Ok(()));
                    requests.read(ReadConsistency::Leader);
                }
                let lost = Err::<(), _>(Error::new(ErrorKind::OutcomeUnknown, "lost"));
                requests.wrote(put, Duration::from_secs(1), &lost);
            })
        });
        threads
            .collect::<Vec<_>>()
            .into_iter()
            .for_each(|thread| thread.join().unwrap());
        let mut writes = Vec::new();
        requests.each_write(|operation, result, counts| writes.push((operation, result, counts.count())));
        assert_eq!(writes, [("put", "ok", 8_000), ("put", "unknown", 8)]);
        let mut reads = Vec::new();
        requests.each_level(|level, count, _| reads.push((level, count)));
        assert_eq!(reads, [("strong", 0), ("leader", 8_000), ("eventual", 0)]);
        assert_eq!(requests.errors().get(&("put", "outcome_unknown")), Some(&8));
    }
}
