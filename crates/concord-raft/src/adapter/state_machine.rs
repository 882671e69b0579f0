//! The machine behind openraft: applies committed entries, publishes views, takes and
//! installs snapshots.
//!
//! ```text
//!   committed entries ──▶ decode ──▶ Machine::apply ──▶ publish one view ──▶ replies
//!                                     (a burst at a time)
//! ```
//!
//! A view is published before any reply of its burst, so whoever has a reply also finds
//! its effect. Keeps I1 (order, no gaps) and I16 (views never go back). A committed entry
//! that cannot be read stops the node: the others could read it, or will stop as well.

pub(crate) mod recover;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use concord_core::batch::Batch;
use concord_core::ids::{LogIndex, Term, Timestamp};
use concord_core::machine::{Machine, Meta};
use concord_core::version::{ClusterVersion, MachineVersion};
use futures::{Stream, StreamExt};
use openraft::storage::RaftStateMachine;
use openraft::storage::{ApplyResponder, EntryResponder};
use openraft::{OptionalSend, RaftSnapshotBuilder, Snapshot};
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::adapter::backlog::Backlog;
use crate::blocking::Blocking;
use crate::consensus::Publisher;
use crate::error::StopReason;
use crate::identity::Identity;
use crate::limits;
use crate::observe::{AppliedEntry, SnapshotTaken, Watching};
use crate::roster::Roster;
use crate::snapshot_store::{SnapshotFile, SnapshotHeader, SnapshotStore};
use crate::sole_voter::SoleVoter;
use crate::stats::NodeStats;
use crate::stop::Stop;
use crate::storage_error::StorageError;
use crate::types::{
    CommittedLeaderId, Entry, LogId, Membership, Payload, Peer, Replies, SnapshotMeta, StoredMembership,
    TypeConfig,
};
use crate::versions;

/// When the machine next has something to expire: written by apply, read by the proposer.
#[derive(Debug, Default)]
pub(crate) struct Deadline(AtomicU64);

impl Deadline {
    fn set(&self, deadline: Option<Timestamp>) {
        // 0 stands for "nothing": no deadline is at the epoch.
        self.0
            .store(deadline.map_or(0, |at| at.get().max(1)), Ordering::Release);
    }

    /// The deadline as of the latest view.
    pub(crate) fn get(&self) -> Option<Timestamp> {
        match self.0.load(Ordering::Acquire) {
            0 => None,
            at => Some(Timestamp::new(at)),
        }
    }
}

/// How long a snapshot that found the disk full waits before it tries again.
const FULL_DISK_RETRY: Duration = Duration::from_secs(10);

type Built = Snapshot<CommittedLeaderId, u64, Peer, SnapshotFile>;

/// What the adapter and its snapshot builders share.
#[derive(Clone, Debug)]
pub(crate) struct Files {
    /// The snapshots.
    pub(crate) store: SnapshotStore,
    /// Whose they are.
    pub(crate) identity: Arc<Identity>,
    /// Where they are read and written.
    pub(crate) blocking: Blocking,
    /// Who is told when that fails.
    pub(crate) stop: Stop,
    /// The newest machine that this node knows.
    pub(crate) known: MachineVersion,
    /// What is counted on the way.
    pub(crate) stats: Arc<NodeStats>,
    /// Who is told of it.
    pub(crate) watching: Option<Arc<Watching>>,
}

impl Files {
    fn cluster_id(&self) -> u128 {
        self.identity.current().cluster_id.unwrap_or_default()
    }

    /// Names the failure before openraft wraps it into its own.
    fn failed(&self, error: StorageError) -> io::Error {
        let reason = error.to_string();
        self.stop.set(match &error {
            StorageError::Version { .. } | StorageError::NewerMachine { .. } => StopReason::TooOld { reason },
            StorageError::Corrupt { .. } | StorageError::Foreign { .. } => StopReason::Corrupt { reason },
            StorageError::Full { .. }
            | StorageError::Io { .. }
            | StorageError::Locked { .. }
            | StorageError::OtherNode { .. }
            | StorageError::OtherCluster { .. }
            | StorageError::TooLarge { .. }
            | StorageError::Misuse { .. }
            | StorageError::Closed => StopReason::Storage { reason },
        });
        error.into()
    }

    fn tell_snapshot(&self, last: Option<LogId>, file_bytes: u64, took: Option<Duration>) {
        if let Some(watching) = &self.watching {
            watching.observer.snapshot(&SnapshotTaken {
                index: LogIndex::new(last.map_or(0, |last| last.index)),
                file_bytes,
                took,
            });
        }
    }

    /// An entry that has a newer form than is known here. No leader makes one for a cluster with such a member.
    fn newer_entry(&self, index: u64) -> io::Error {
        let reason = format!(
            "entry {index} of the log has a newer form than this program knows: use the release of the other members. \
             Nothing was changed"
        );
        self.stop.set(StopReason::TooOld {
            reason: reason.clone(),
        });
        io::Error::new(io::ErrorKind::Unsupported, reason)
    }

    /// I24: an entry made the cluster a newer machine than this node knows. Nothing of it is shown, and no snapshot is
    /// taken of it: a newer release begins again before that entry.
    fn too_old(&self, index: u64, needs: ClusterVersion) -> io::Error {
        let entry = format!("the cluster, from entry {index} of its log on,");
        let reason = versions::too_old(&entry, needs, self.known);
        self.stop.set(StopReason::TooOld {
            reason: reason.clone(),
        });
        io::Error::new(io::ErrorKind::Unsupported, reason)
    }

    fn damaged(&self, reason: String) -> io::Error {
        self.stop.set(StopReason::Corrupt {
            reason: reason.clone(),
        });
        io::Error::new(io::ErrorKind::InvalidData, reason)
    }
}

/// openraft's view of a machine.
pub(crate) struct StateMachine<M: Machine> {
    /// Never locked: it makes this `Sync`, which openraft wants and a machine need not be.
    machine: Mutex<M>,
    applied: Option<LogId>,
    membership: StoredMembership,
    publisher: Publisher<M::View>,
    deadline: Arc<Deadline>,
    roster: Arc<Roster>,
    sole_voter: Arc<SoleVoter>,
    backlog: Arc<Backlog>,
    files: Files,
}

impl<M: Machine> Drop for StateMachine<M> {
    /// A machine that panicked may be wrong: the node must stop, and openraft would only
    /// notice at the next entry.
    fn drop(&mut self) {
        if std::thread::panicking() {
            let reason = "the state machine panicked".to_owned();
            self.files.stop.set(StopReason::Defect { reason });
        }
    }
}

/// What an entry carries, read.
enum Decoded {
    Blank,
    Membership(Membership),
    Batch(Batch),
}

impl Decoded {
    fn from_entry(entry: Entry, files: &Files) -> Result<Self, io::Error> {
        Ok(match entry.payload {
            Payload::Blank => Self::Blank,
            Payload::Membership(membership) => Self::Membership(membership),
            Payload::Normal(batch) => Self::Batch(Batch::decode(batch.bytes()).map_err(|error| {
                let index = entry.log_id.index;
                if Batch::is_newer(batch.bytes()) {
                    return files.newer_entry(index);
                }
                files.damaged(format!("committed entry {index} cannot be read: {error}"))
            })?),
        })
    }
}

/// Entries applied since the last publication, and who waits for them.
struct Burst<M: Machine> {
    waiting: Vec<(ApplyResponder<TypeConfig<M>>, Replies<M>)>,
    /// What an observer is told when the view is shown.
    told: Vec<AppliedEntry>,
    entries: usize,
    bytes: usize,
    began: Option<Instant>,
}

impl<M: Machine> Burst<M> {
    const fn new() -> Self {
        Self {
            waiting: Vec::new(),
            told: Vec::new(),
            entries: 0,
            bytes: 0,
            began: None,
        }
    }

    const fn is_full(&self) -> bool {
        self.entries >= limits::APPLY_BURST_ENTRIES || self.bytes >= limits::APPLY_BURST_BYTES
    }
}

impl<M: Machine> StateMachine<M> {
    /// An empty machine, to be recovered by openraft from the newest snapshot and the log.
    pub(crate) fn new(
        publisher: Publisher<M::View>,
        deadline: Arc<Deadline>,
        roster: Arc<Roster>,
        sole_voter: Arc<SoleVoter>,
        backlog: Arc<Backlog>,
        files: Files,
    ) -> Self {
        Self {
            machine: Mutex::new(M::empty()),
            applied: None,
            membership: StoredMembership::default(),
            publisher,
            deadline,
            roster,
            sole_voter,
            backlog,
            files,
        }
    }

    fn apply_entry(
        &mut self,
        entry: Entry,
        is_own: bool,
        burst: &mut Burst<M>,
    ) -> Result<Replies<M>, io::Error> {
        let log_id = entry.log_id;
        let decoded = Decoded::from_entry(entry, &self.files)?;
        if let (Some(watching), Decoded::Batch(batch)) = (&self.files.watching, &decoded) {
            burst.told.push(watching.entry::<M>(log_id, batch, is_own));
        }
        self.apply_decoded(log_id, decoded)
    }

    fn apply_decoded(&mut self, log_id: LogId, decoded: Decoded) -> Result<Replies<M>, io::Error> {
        let expected = self.applied.map_or(0, |applied| applied.index.saturating_add(1));
        // I1: openraft promises this order; with a gap this replica would differ (I9).
        if log_id.index != expected {
            let found = log_id.index;
            return Err(self.files.damaged(format!(
                "I1: entry {found} came to be applied where {expected} was due"
            )));
        }
        let replies = match decoded {
            Decoded::Blank => Vec::new(),
            Decoded::Membership(membership) => {
                self.adopt(StoredMembership::new(Some(log_id), membership))?;
                Vec::new()
            }
            Decoded::Batch(batch) => {
                let meta = Meta {
                    index: LogIndex::new(log_id.index),
                    term: Term::new(log_id.leader_id.term),
                };
                let machine = self.machine.get_mut();
                let replies = machine.apply(meta, &batch);
                if let Some(needs) = versions::newer(machine, self.files.known) {
                    return Err(self.files.too_old(log_id.index, needs));
                }
                replies
            }
        };
        self.applied = Some(log_id);
        Ok(Replies::new(replies))
    }

    /// The state as of now is in a snapshot file.
    fn note_snapshot(&self, covered: u64, file_bytes: u64) {
        let index = self.applied.map_or(0, |applied| applied.index);
        self.backlog.covered(covered, index, file_bytes);
    }

    /// A snapshot of another cluster is refused.
    fn check_owner(&self, snapshot: &SnapshotFile) -> Result<(), io::Error> {
        let (expected, found) = (self.files.cluster_id(), snapshot.header().cluster_id);
        if found == expected {
            return Ok(());
        }
        let file = snapshot.path().to_path_buf();
        Err(self.files.failed(StorageError::Foreign {
            file,
            found,
            expected,
        }))
    }

    /// Takes over a membership, noting durably who is no longer in it.
    fn adopt(&mut self, membership: StoredMembership) -> Result<(), io::Error> {
        self.roster
            .observe(self.membership.membership(), membership.membership())
            .map_err(|error| self.files.failed(error))?;
        self.membership = membership;
        Ok(())
    }

    /// Publishes a state that nobody can wait for: a snapshot, or what a start recovered.
    fn publish_recovered(&mut self) {
        self.publish(&mut Burst::new());
    }

    /// Publishes what was applied, then answers those who wait for it.
    fn publish(&mut self, burst: &mut Burst<M>) {
        let applied = LogIndex::new(self.applied.map_or(0, |applied| applied.index));
        self.deadline.set(self.machine.get_mut().next_deadline());
        self.publisher.publish(self.machine.get_mut().view(), applied);
        self.sole_voter.published(self.applied, &self.membership);
        for (responder, replies) in burst.waiting.drain(..) {
            responder.send(replies);
        }
        if let Some(watching) = &self.files.watching {
            for mut told in burst.told.drain(..) {
                told.applied.end = Instant::now();
                watching.observer.entry(&told);
            }
        }
        self.backlog.add(burst.bytes as u64);
        if let Some(began) = burst.began.take() {
            let stats = &self.files.stats;
            stats.apply_micros.record_time(began.elapsed());
            stats.applied_entries.add(burst.entries as u64);
        }
        (burst.entries, burst.bytes) = (0, 0);
    }

    fn builder(&mut self) -> SnapshotBuilder<M> {
        SnapshotBuilder {
            view: self.machine.get_mut().view(),
            meta: SnapshotMeta {
                last_log_id: self.applied,
                last_membership: self.membership.clone(),
            },
            covers: self.backlog.bytes(),
            backlog: Arc::clone(&self.backlog),
            files: self.files.clone(),
        }
    }
}

impl<M: Machine> RaftStateMachine<TypeConfig<M>> for StateMachine<M> {
    type SnapshotData = SnapshotFile;
    type SnapshotBuilder = SnapshotBuilder<M>;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), io::Error> {
        Ok((self.applied, self.membership.clone()))
    }

    // I9: what happens here depends on the entries alone, so all replicas do the same.
    async fn apply<S>(&mut self, mut entries: S) -> Result<(), io::Error>
    where
        S: Stream<Item = Result<EntryResponder<TypeConfig<M>>, io::Error>> + Unpin + OptionalSend,
    {
        let mut burst = Burst::new();
        while let Some(entry) = entries.next().await {
            let (entry, responder) = entry?;
            burst.began.get_or_insert_with(Instant::now);
            burst.entries += 1;
            burst.bytes = burst
                .bytes
                .saturating_add(crate::message::raft::payload_bytes(&entry));
            let replies = self.apply_entry(entry, responder.is_some(), &mut burst)?;
            burst
                .waiting
                .extend(responder.map(|responder| (responder, replies)));
            if burst.is_full() {
                self.publish(&mut burst);
                // Applying is pure computation: let the core send heartbeats in between.
                tokio::task::yield_now().await;
            }
        }
        if burst.entries > 0 {
            self.publish(&mut burst);
        }
        Ok(())
    }

    async fn try_create_snapshot_builder(&mut self, _force: bool) -> Option<SnapshotBuilder<M>> {
        Some(self.builder())
    }

    async fn get_snapshot_builder(&mut self) -> SnapshotBuilder<M> {
        self.builder()
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        snapshot: SnapshotFile,
    ) -> Result<(), io::Error> {
        self.check_owner(&snapshot)?;
        let (file_bytes, blocking, known) = (snapshot.file_bytes(), self.files.blocking, self.files.known);
        let restored = self
            .files
            .blocking
            .run(move || recover::restore::<M>(&snapshot, blocking.host(), known))
            .await
            .map_err(|error| self.files.failed(error))?;
        let replaced = std::mem::replace(self.machine.get_mut(), restored);
        self.files.blocking.drop_later(replaced);
        self.applied = meta.last_log_id;
        self.adopt(meta.last_membership.clone())?;
        self.publish_recovered();
        self.files.stats.snapshots_installed.add(1);
        self.files.tell_snapshot(self.applied, file_bytes, None);
        self.note_snapshot(self.backlog.bytes(), file_bytes);
        let store = self.files.store.clone();
        let cleaned = self
            .files
            .blocking
            .run(move || store.keep_newest(limits::SNAPSHOTS_KEPT))
            .await;
        cleaned.map_err(|error| self.files.failed(error))
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Built>, io::Error> {
        let store = self.files.store.clone();
        let newest = self.files.blocking.run(move || store.newest()).await;
        let newest = newest.map_err(|error| self.files.failed(error))?;
        Ok(newest.map(with_meta))
    }
}

/// A snapshot as openraft passes it on.
pub(crate) fn with_meta(file: SnapshotFile) -> Built {
    let header = file.header();
    let meta = SnapshotMeta {
        last_log_id: header.last_log_id,
        last_membership: header.membership.clone(),
    };
    Snapshot { meta, snapshot: file }
}

/// Writes the snapshot of one view, while the machine goes on.
pub(crate) struct SnapshotBuilder<M: Machine> {
    view: M::View,
    meta: SnapshotMeta,
    /// Bytes of the backlog that it will hold.
    covers: u64,
    backlog: Arc<Backlog>,
    files: Files,
}

impl<M: Machine> RaftSnapshotBuilder<TypeConfig<M>> for SnapshotBuilder<M> {
    type SnapshotData = SnapshotFile;

    async fn build_snapshot(&mut self) -> Result<Built, io::Error> {
        let header = SnapshotHeader {
            cluster_id: self.files.cluster_id(),
            last_log_id: self.meta.last_log_id,
            membership: self.meta.last_membership.clone(),
        };
        loop {
            let began = Instant::now();
            let (store, view, header) = (self.files.store.clone(), self.view.clone(), header.clone());
            let built = self
                .files
                .blocking
                .run_standing_back(move || build::<M>(&store, header, &view))
                .await;
            match built {
                Ok(file) => {
                    let took = began.elapsed();
                    self.files.stats.snapshot_micros.record_time(took);
                    self.files
                        .tell_snapshot(self.meta.last_log_id, file.file_bytes(), Some(took));
                    let index = self.meta.last_log_id.map_or(0, |last| last.index);
                    self.backlog.covered(self.covers, index, file.file_bytes());
                    return Ok(with_meta(file));
                }
                // openraft takes any failure here for fatal, but a full disk is not: reads
                // go on, and space may come back.
                Err(error) if error.is_full() => {
                    tracing::warn!(%error, "no space for a snapshot, trying again later");
                    tokio::time::sleep(FULL_DISK_RETRY).await;
                }
                Err(error) => return Err(self.files.failed(error)),
            }
        }
    }
}

fn build<M: Machine>(
    store: &SnapshotStore,
    header: SnapshotHeader,
    view: &M::View,
) -> Result<SnapshotFile, StorageError> {
    let mut writer = store.create(header)?;
    for chunk in M::snapshot(view) {
        writer.write(&chunk)?;
    }
    let file = writer.finish()?;
    // Before openraft purges the log that this file now stands for.
    file.verify()?;
    store.keep_newest(limits::SNAPSHOTS_KEPT)?;
    Ok(file)
}

#[cfg(test)]
mod tests;
