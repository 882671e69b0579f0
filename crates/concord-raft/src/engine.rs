//! A running Raft with the machine behind it: what the rest of this crate sees of openraft.
//!
//! ```text
//!   proposer, read ──▶ Consensus ──┐
//!   membership, node ──────────────┼──▶ Engine ──▶ openraft ──▶ log · machine · network
//!   serve (peers) ─────────────────┘      │
//!                                         └──▶ leadership, views, address book, stop reason
//! ```

pub(crate) mod recovery;
mod watcher;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use concord_core::batch::Batch;
use concord_core::ids::{LogIndex, NodeId, Timestamp};
use concord_core::machine::Machine;
use concord_core::version::ClusterVersion;
use futures::FutureExt;
use futures::future::BoxFuture;
use openraft::async_runtime::WatchReceiver;
use openraft::errors::{ClientWriteError, LinearizableReadError, RaftError};
use openraft::impls::OneshotResponder;
use openraft::metrics::{RaftMetrics, RaftServerMetrics};
use openraft::raft::ReadPolicy;
use openraft::type_config::alias::{OneshotReceiverOf, WatchReceiverOf};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::adapter::backlog::Backlog;
use crate::adapter::network::AddressBook;
use crate::adapter::serve::Raft;
use crate::adapter::state_machine::Deadline;
use crate::consensus::{AppendError, AppendOutcome, Consensus, Leadership, ReadIndexError, Views};
use crate::observe::Watching;
use crate::roster::Roster;
use crate::sole_voter::SoleVoter;
use crate::stats::NodeStats;
use crate::stop::Stop;
use crate::types::{EncodedBatch, Runtime, StoredMembership, TypeConfig};
use crate::versions::Versions;

/// A running Raft. Shared by everything that uses it.
pub(crate) struct Engine<M: Machine> {
    pub(crate) node_id: NodeId,
    pub(crate) raft: Raft<M>,
    pub(crate) book: Arc<AddressBook>,
    pub(crate) roster: Arc<Roster>,
    pub(crate) backlog: Arc<Backlog>,
    pub(crate) versions: Versions,
    pub(crate) stop: Stop,
    pub(crate) seeds: Seeds,
    pub(crate) votes: VoteGate,
    pub(crate) sole_voter: Arc<SoleVoter>,
    /// When a leader last sent a heartbeat.
    pub(crate) heard: Mutex<Instant>,
    views: Views<M::View>,
    deadline: Arc<Deadline>,
    pub(crate) stats: Arc<NodeStats>,
    watching: Option<Arc<Watching>>,
    leadership: watch::Sender<Leadership>,
    /// Changes with every entry.
    metrics: WatchReceiverOf<TypeConfig<M>, RaftMetrics<TypeConfig<M>>>,
    /// Changes with votes and memberships only.
    server: WatchReceiverOf<TypeConfig<M>, RaftServerMetrics<TypeConfig<M>>>,
}

/// Seeds for the randomness of tasks that openraft spawns: each use another one, all of
/// them from the node's own.
#[derive(Debug)]
pub(crate) struct Seeds {
    base: u64,
    used: AtomicU64,
}

impl Seeds {
    pub(crate) const fn new(base: u64) -> Self {
        Self {
            base,
            used: AtomicU64::new(0),
        }
    }

    /// A seed that was not given before.
    pub(crate) fn next(&self) -> u64 {
        // Odd multiples of the golden ratio are far apart for consecutive numbers.
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let number = self.used.fetch_add(1, Ordering::Relaxed);
        self.base ^ number.wrapping_mul(STEP)
    }

    /// Runs a future in which openraft may spawn tasks.
    pub(crate) fn scope<F: Future>(&self, future: F) -> impl Future<Output = F::Output> + use<F> {
        Runtime::scope(self.next(), future)
    }
}

/// Whether this node may vote yet. After a restart it may have promised an old leader,
/// by answering its heartbeat, not to elect another one for the length of a lease; it has
/// forgotten when that was, so it waits a whole lease before it votes or stands (I6).
#[derive(Debug, Default)]
pub(crate) struct VoteGate {
    withheld: AtomicBool,
}

impl VoteGate {
    pub(crate) fn withhold(&self) {
        self.withheld.store(true, Ordering::Release);
    }

    pub(crate) fn open(&self) {
        self.withheld.store(false, Ordering::Release);
    }

    pub(crate) fn is_withheld(&self) -> bool {
        self.withheld.load(Ordering::Acquire)
    }
}

impl<M: Machine> Engine<M> {
    /// What openraft says of itself now.
    pub(crate) fn metrics(&self) -> RaftMetrics<TypeConfig<M>> {
        // Cloned at once: holding the guard could block openraft.
        self.metrics.borrow_watched().clone()
    }

    /// As what machine the entries are applied that this node shows.
    pub(crate) fn cluster_version(&self) -> ClusterVersion {
        M::version_of(&self.views.load().view)
    }

    /// The effective membership, which may not be committed yet.
    pub(crate) fn membership(&self) -> Arc<StoredMembership> {
        Arc::clone(&self.server.borrow_watched().membership_config)
    }

    /// How long no leader was heard of, or, if this node leads, no quorum.
    pub(crate) fn silence(&self) -> Duration {
        let metrics = self.metrics();
        self.quorum_silence(&metrics)
            .unwrap_or_else(|| self.heard.lock().elapsed())
    }

    /// While this node leads: how long ago a quorum last confirmed it. A leader that is the
    /// only voter is its own quorum; openraft's metrics then name the last change, not now.
    pub(crate) fn quorum_silence(&self, metrics: &RaftMetrics<TypeConfig<M>>) -> Option<Duration> {
        if metrics.state != openraft::ServerState::Leader {
            return None;
        }
        let mut voters = metrics.membership_config.membership().voter_ids();
        if voters.all(|voter| voter == self.node_id.get()) {
            return Some(Duration::ZERO);
        }
        let acknowledged = metrics.last_quorum_acked.as_ref()?;
        Some(openraft::Instant::elapsed(&**acknowledged))
    }

    /// Waits until openraft's metrics meet a condition, or the node stops.
    pub(crate) async fn until(&self, condition: impl Fn(&RaftMetrics<TypeConfig<M>>) -> bool) -> bool {
        let mut metrics = self.metrics.clone();
        loop {
            if condition(&metrics.borrow_watched()) {
                return true;
            }
            if metrics.changed().await.is_err() {
                return false;
            }
        }
    }
}

impl<M: Machine> Engine<M> {
    /// As [`Engine::until`], for conditions on votes and memberships: cheap to wait for
    /// while entries flow.
    pub(crate) async fn until_server(
        &self,
        condition: impl Fn(&RaftServerMetrics<TypeConfig<M>>) -> bool,
    ) -> bool {
        let mut metrics = self.server.clone();
        loop {
            if condition(&metrics.borrow_watched()) {
                return true;
            }
            if metrics.changed().await.is_err() {
                return false;
            }
        }
    }
}

impl<M: Machine> Consensus<M> for Engine<M> {
    fn leadership(&self) -> watch::Receiver<Leadership> {
        self.leadership.subscribe()
    }

    fn append(&self, batch: Batch) -> BoxFuture<'_, Result<AppendOutcome<M>, AppendError>> {
        async move {
            if self.stop.reason().is_some() {
                return Err(AppendError::Stopped);
            }
            let began = Instant::now();
            // An entry that only moves the clock on has none.
            let requests: usize = batch.groups.iter().map(|group| group.requests.len()).sum();
            let mut bytes = Vec::new();
            batch.encode(&mut bytes);
            let (responder, answer) = OneshotResponder::new_pair();
            let entry = EncodedBatch::new(bytes.into());
            let queued = self.raft.client_write_ff(entry, Some(responder)).await;
            queued.map_err(|_| AppendError::Stopped)?;
            let stats = Arc::clone(&self.stats);
            let finished = async move {
                let replies = outcome::<M>(answer).await?;
                if requests > 0 {
                    stats.requests_an_entry.record(requests as u64);
                    stats.entry_micros.record_time(began.elapsed());
                }
                Ok(replies)
            };
            Ok(finished.boxed())
        }
        .boxed()
    }

    fn read_index(&self) -> BoxFuture<'static, Result<LogIndex, ReadIndexError>> {
        let raft = self.raft.clone();
        self.seeds
            .scope(async move {
                match raft.get_read_linearizer(ReadPolicy::ReadIndex).await {
                    Ok(linearizer) => Ok(LogIndex::new(linearizer.read_log_id().index())),
                    Err(RaftError::APIError(LinearizableReadError::ForwardToLeader(_))) => {
                        Err(ReadIndexError::NotLeader)
                    }
                    Err(RaftError::APIError(LinearizableReadError::QuorumNotEnough(_))) => {
                        Err(ReadIndexError::NoQuorum)
                    }
                    Err(RaftError::Fatal(_)) => Err(ReadIndexError::Stopped),
                }
            })
            .boxed()
    }

    fn views(&self) -> Views<M::View> {
        self.views.clone()
    }

    fn sole_voter(&self) -> Arc<SoleVoter> {
        Arc::clone(&self.sole_voter)
    }

    fn next_deadline(&self) -> Option<Timestamp> {
        self.deadline.get()
    }
}

type WriteResult<M> = openraft::raft::ClientWriteResult<TypeConfig<M>>;

async fn outcome<M: Machine>(
    answer: OneshotReceiverOf<TypeConfig<M>, WriteResult<M>>,
) -> Result<Vec<M::Reply>, AppendError> {
    match answer.await {
        // I5: applied here, so committed: durable on a majority.
        Ok(Ok(response)) => Ok(response.data.into_inner()),
        Ok(Err(ClientWriteError::ForwardToLeader(_))) => Err(AppendError::NotLeader),
        // A batch entry has no membership and no preconditions, so what is left is a
        // discarded entry, and its commit status is not known.
        Ok(Err(_)) => Err(AppendError::Unknown),
        // openraft stopped with the entry in hand.
        Err(_) => Err(AppendError::Stopped),
    }
}
