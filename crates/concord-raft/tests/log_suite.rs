//! openraft's own conformance suite, on this log in all its forms: threads and files,
//! tasks and a simulated disk, with segments so small and a memory so short that the
//! suite's entries come from several files. The state machine is a stand-in.

#![expect(clippy::unwrap_used, reason = "a test stops where its assumptions do")]

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use concord_core::batch::Batch;
use concord_core::codec::DecodeError;
use concord_core::ids::{Revision, Timestamp};
use concord_core::machine::{Machine, Meta, Restorer};
use concord_raft::log::{self, Host, LogOptions, LogStore};
use concord_raft::os::OsDisk;
use concord_raft::ports::Disk;
use concord_raft::sim_disk::SimDisk;
use concord_raft::types::{
    CommittedLeaderId, LogId, Peer, Replies, SnapshotMeta, StoredMembership, TypeConfig,
};
use futures::{Stream, StreamExt};
use openraft::storage::{ApplyResponder, EntryResponder, RaftSnapshotBuilder, RaftStateMachine};
use openraft::testing::log::{StoreBuilder, Suite};
use openraft::{EntryPayload, OptionalSend, Snapshot, StorageError};

/// A machine that only fills the type parameter.
struct Nothing;

impl Machine for Nothing {
    type Reply = ();
    type View = ();
    type SnapshotChunks = std::iter::Empty<Bytes>;
    type Restorer = NothingRestorer;

    fn empty() -> Self {
        Self
    }
    fn apply(&mut self, _meta: Meta, _batch: &Batch) -> Vec<()> {
        Vec::new()
    }
    fn view(&self) {}
    fn next_deadline(&self) -> Option<Timestamp> {
        None
    }
    fn revision_of((): &()) -> Revision {
        Revision::EMPTY
    }
    fn snapshot((): &()) -> Self::SnapshotChunks {
        std::iter::empty()
    }
    fn restorer() -> NothingRestorer {
        NothingRestorer
    }
    fn is_session_expired((): &()) -> bool {
        false
    }
    fn encode_reply((): &(), _out: &mut Vec<u8>) {}
    fn decode_reply(_bytes: &Bytes) -> Result<(), DecodeError> {
        Ok(())
    }
}

struct NothingRestorer;

impl Restorer for NothingRestorer {
    type Machine = Nothing;
    fn feed(&mut self, _chunk: &Bytes) -> Result<(), DecodeError> {
        Ok(())
    }
    fn finish(self) -> Result<Nothing, DecodeError> {
        Ok(Nothing)
    }
}

type Config = TypeConfig<Nothing>;

/// Knows only how far it was applied.
#[derive(Clone, Debug, Default)]
struct StateMachine {
    applied: Option<LogId>,
    membership: StoredMembership,
    /// Shared with the builders, which are clones.
    snapshot: Arc<Mutex<Option<SnapshotMeta>>>,
}

type BuiltSnapshot = Snapshot<CommittedLeaderId, u64, Peer, ()>;

impl RaftSnapshotBuilder<Config> for StateMachine {
    type SnapshotData = ();

    async fn build_snapshot(&mut self) -> Result<BuiltSnapshot, io::Error> {
        let meta = SnapshotMeta {
            last_log_id: self.applied,
            last_membership: self.membership.clone(),
        };
        *self.snapshot.lock().unwrap() = Some(meta.clone());
        Ok(Snapshot { meta, snapshot: () })
    }
}

impl RaftStateMachine<Config> for StateMachine {
    type SnapshotData = ();
    type SnapshotBuilder = Self;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), io::Error> {
        Ok((self.applied, self.membership.clone()))
    }

    async fn apply<S>(&mut self, mut entries: S) -> Result<(), io::Error>
    where
        S: Stream<Item = Result<EntryResponder<Config>, io::Error>> + Unpin + OptionalSend,
    {
        while let Some(item) = entries.next().await {
            let (entry, responder): (_, Option<ApplyResponder<Config>>) = item?;
            self.applied = Some(entry.log_id);
            if let EntryPayload::Membership(membership) = entry.payload {
                self.membership = StoredMembership::new(Some(entry.log_id), membership);
            }
            if let Some(responder) = responder {
                responder.send(Replies::new(Vec::new()));
            }
        }
        Ok(())
    }

    async fn try_create_snapshot_builder(&mut self, _force: bool) -> Option<Self> {
        Some(self.clone())
    }

    async fn get_snapshot_builder(&mut self) -> Self {
        self.clone()
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, (): ()) -> Result<(), io::Error> {
        self.applied = meta.last_log_id;
        self.membership = meta.last_membership.clone();
        *self.snapshot.lock().unwrap() = Some(meta.clone());
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<BuiltSnapshot>, io::Error> {
        Ok(self
            .snapshot
            .lock()
            .unwrap()
            .clone()
            .map(|meta| Snapshot { meta, snapshot: () }))
    }
}

/// Opens a fresh log for each test of the suite.
struct Builder {
    host: Host,
    segment_bytes: u64,
    tail_bytes: usize,
    disk: Arc<dyn Disk>,
    root: tempfile::TempDir,
    built: AtomicU64,
}

impl Builder {
    fn new(host: Host, disk: Arc<dyn Disk>, segment_bytes: u64, tail_bytes: usize) -> Self {
        let root = tempfile::tempdir().unwrap();
        Self {
            host,
            segment_bytes,
            tail_bytes,
            disk,
            root,
            built: AtomicU64::new(0),
        }
    }

    fn run(self) {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let outcome = runtime.block_on(concord_raft::types::Runtime::scope(7, Suite::test_all(self)));
        outcome.unwrap();
    }
}

impl StoreBuilder<Config, LogStore, StateMachine, ()> for Builder {
    async fn build(&self) -> Result<((), LogStore, StateMachine), StorageError<Config>> {
        let n = self.built.fetch_add(1, Ordering::Relaxed);
        let directory = match self.host {
            Host::Thread => self.root.path().join(n.to_string()),
            Host::Task => Path::new("/sim").join(n.to_string()),
        };
        let mut options = LogOptions::new(0xabcd, self.segment_bytes);
        options.tail_bytes = self.tail_bytes;
        options.host = self.host;
        let (log, _handle) = log::open(&directory, options, Arc::clone(&self.disk)).unwrap();
        Ok(((), log, StateMachine::default()))
    }
}

#[test]
fn log_on_files_passes_openrafts_suite() {
    Builder::new(Host::Thread, Arc::new(OsDisk), 1 << 20, 1 << 20).run();
}

#[test]
fn log_that_keeps_nothing_in_memory_passes_openrafts_suite() {
    Builder::new(Host::Thread, Arc::new(OsDisk), 8 << 10, 0).run();
}

#[test]
fn log_on_a_simulated_disk_passes_openrafts_suite() {
    Builder::new(Host::Task, Arc::new(SimDisk::new(1)), 8 << 10, 0).run();
}
