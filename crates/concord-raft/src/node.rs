//! A running node: the public handle of this crate.
//!
//! ```text
//!   DataDirectory::open ──▶ Node::start ──▶ listener serves Node::inbound ──▶ Node::form
//!        lock, identity       recovery         peers can reach it              a cluster
//! ```
//!
//! [`Node::start`] gives a node that recovers and follows; it returns before there is a
//! leader. [`Node::form`] makes it part of a cluster when its directory is not yet. Every
//! operation works on every node; what only the leader can do is forwarded to it.

pub(crate) mod report;
mod rollout;
mod stand_down;
mod upkeep;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use concord_core::ids::NodeId;
use concord_core::machine::Machine;
use concord_core::version::MachineVersion;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::blocking::Blocking;
use crate::bootstrap::Formation;
use crate::bootstrap::promise::PromiseBook;
use crate::config::{NodeConfig, StartMode};
use crate::consensus::{Consensus, LeaderRef, Published, Views};
use crate::engine::{Engine, recovery};
use crate::error::{MembershipError, StartError, StopReason};
use crate::identity::DataDirectory;
use crate::inbound::Server;
use crate::log::LogHandle;
use crate::membership::Members;
use crate::message::admin::MembershipChange;
use crate::ports::{Inbound, Ports};
use crate::proposer::{ProposeError, Proposer};
use crate::read::{ReadError, ReadRequest, Reads};
use crate::stats::{LogStats, NodeStats};
use crate::status::NodeStatus;
use crate::stop::Stop;

/// How long a stopping node waits for a part of itself before it goes on without.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// A node of a cluster that replicates the machine `M`. Cheap to clone; all clones are
/// the same node. It runs until [`Node::shutdown`], even when all clones are dropped.
pub struct Node<M: Machine> {
    inner: Arc<Inner<M>>,
}

struct Inner<M: Machine> {
    config: NodeConfig,
    engine: Arc<Engine<M>>,
    formation: Arc<Formation<M>>,
    members: Arc<Members<M>>,
    server: Arc<Server<M>>,
    /// Turns true when proposals and reads are to end.
    quit: watch::Sender<bool>,
    log: LogHandle,
    /// Answer to nobody any more when they end.
    clients: Mutex<Vec<JoinHandle<()>>>,
    seeking_vote: AtomicBool,
    shut_down: tokio::sync::Mutex<bool>,
}

impl<M: Machine> Clone for Node<M> {
    fn clone(&self) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
        }
    }
}

impl<M: Machine> std::fmt::Debug for Node<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Node")
            .field("node_id", &self.inner.engine.node_id)
            .finish_non_exhaustive()
    }
}

impl<M: Machine> Node<M> {
    /// Starts the node of a data directory: recovers its state from the newest snapshot
    /// and the log. Must be called inside a tokio runtime.
    ///
    /// # Errors
    ///
    /// [`StartError`]; nothing was acknowledged and the directory is given back.
    pub async fn start(
        config: NodeConfig,
        directory: DataDirectory,
        ports: Ports,
    ) -> Result<Self, StartError> {
        config.check()?;
        let stop = Stop::new();
        let blocking = Blocking::new(config.host);
        let (root, disk) = (directory.root().to_path_buf(), Arc::clone(&ports.disk));
        let promises = blocking.run(move || PromiseBook::open(&root, disk)).await?;
        let is_restart = directory.identity().current().cluster_id.is_some() || promises.held().is_some();
        let started = recovery::start::<M>(&config, &directory, &ports, &stop).await?;
        let engine = started.engine;
        let address = config.peer_address.clone();
        let formation = Formation::new(
            Arc::clone(&engine),
            directory,
            promises,
            &ports,
            blocking,
            address,
        );
        let formation = Arc::new(formation);
        let transport = Arc::clone(&ports.transport);
        let members = Members::new(
            Arc::clone(&engine),
            Arc::clone(&formation),
            transport,
            config.timing,
        );
        let members = Arc::new(members);
        let quit = watch::Sender::new(false);
        let (proposer, proposing) = Proposer::new(Arc::clone(&engine), &ports, quit.subscribe());
        let (reads, reading) = Reads::new(Arc::clone(&engine), &ports, quit.subscribe());
        let server = Arc::new(Server {
            engine: Arc::clone(&engine),
            formation: Arc::clone(&formation),
            members: Arc::clone(&members),
            inbox: started.inbox,
            proposer,
            reads,
        });
        let node = Self {
            inner: Arc::new(Inner {
                config,
                engine,
                formation,
                members,
                server,
                quit,
                log: started.log,
                clients: Mutex::new(vec![tokio::spawn(proposing), tokio::spawn(reading)]),
                seeking_vote: AtomicBool::new(false),
                shut_down: tokio::sync::Mutex::new(false),
            }),
        };
        upkeep::run(&node, is_restart).await;
        Ok(node)
    }

    /// What the transport's listener drives.
    pub fn inbound(&self) -> Arc<dyn Inbound> {
        Arc::clone(&self.inner.server) as Arc<dyn Inbound>
    }

    /// Makes the node part of a cluster. Does nothing if its directory belongs to one
    /// already, whatever `mode` says, so it is called at every start. Waits for peers
    /// without limit; drop the future to give up.
    ///
    /// # Errors
    ///
    /// [`StartError::Refused`], which says who refused, why, and what to do.
    pub async fn form(&self, mode: StartMode) -> Result<(), StartError> {
        self.inner.formation.form(mode).await?;
        let wants = self.inner.formation.wants_to_vote();
        if wants && !self.inner.seeking_vote.swap(true, Ordering::AcqRel) {
            tokio::spawn(Arc::clone(&self.inner.members).seek_vote());
        }
        Ok(())
    }

    /// Proposes an encoded request and gives the machine's reply. Applies at most once,
    /// however often it is sent again inside (I7).
    ///
    /// # Errors
    ///
    /// [`ProposeError`]; each variant says whether the request may have been applied.
    pub async fn propose(&self, request: Bytes, deadline: Instant) -> Result<M::Reply, ProposeError> {
        let needs = M::needs(&request);
        if needs > MachineVersion::BASE {
            self.inner.check_version(needs)?;
        }
        self.inner.server.proposer.propose(request, deadline).await
    }

    /// A view that is as fresh as `request` asks.
    ///
    /// # Errors
    ///
    /// [`ReadError`]; reads write nothing.
    pub async fn read(
        &self,
        request: impl Into<ReadRequest>,
        deadline: Instant,
    ) -> Result<Arc<Published<M::View>>, ReadError> {
        self.inner.server.reads.read(request.into(), deadline).await
    }

    /// The answer to [`Node::read`] where it needs no wait: at `Eventual`, and while this node is the
    /// only voter and leads. No lock, no await.
    pub fn read_now(&self, request: impl Into<ReadRequest>) -> Option<Arc<Published<M::View>>> {
        self.inner.server.reads.read_now(request.into())
    }

    /// The latest view of this node: what an `eventual` read sees. No lock, no await.
    pub fn published(&self) -> Arc<Published<M::View>> {
        self.inner.server.reads.published()
    }

    /// Whether this node's disk has no room for more log than the segment being written: new
    /// data should be refused, so that there is room for votes and for what gives space back.
    pub fn is_disk_full(&self) -> bool {
        self.inner.log.is_full()
    }

    /// The views as they are published.
    pub fn views(&self) -> Views<M::View> {
        self.inner.engine.views()
    }

    /// What this node knows of itself and its cluster, now.
    pub fn status(&self) -> NodeStatus {
        self.inner.report()
    }

    /// Why the node has stopped, once it has.
    pub fn stopped(&self) -> watch::Receiver<Option<StopReason>> {
        self.inner.engine.stop.subscribe()
    }

    /// Adds the node that listens at `address` as a learner and gives its id. It must be
    /// started and belong to no cluster. Adding a member again does nothing.
    ///
    /// # Errors
    ///
    /// [`MembershipError`]; each variant says whether the change may have happened.
    pub async fn add_learner(&self, address: String) -> Result<NodeId, MembershipError> {
        let change = MembershipChange::AddLearner(address.clone());
        self.inner.members.change(change).await?;
        // This node may learn of it a moment after the leader.
        let members = &self.inner.members;
        let known = self.inner.engine.until(|_| members.member_at(&address).is_some());
        drop(tokio::time::timeout(STOP_TIMEOUT, known).await);
        members
            .member_at(&address)
            .ok_or(MembershipError::OutcomeUnknown {
                waited_ms: millis(STOP_TIMEOUT),
            })
    }

    /// Lets a learner vote, once it has caught up.
    ///
    /// # Errors
    ///
    /// [`MembershipError::NotCaughtUp`] with how far it is behind, and others.
    pub async fn promote(&self, node: NodeId) -> Result<(), MembershipError> {
        self.inner.members.change(MembershipChange::Promote(node)).await
    }

    /// Removes a member, alive or dead. Its id is never used again.
    ///
    /// # Errors
    ///
    /// [`MembershipError::Invalid`] for the last voter, and others.
    pub async fn remove(&self, node: NodeId) -> Result<(), MembershipError> {
        self.inner.members.change(MembershipChange::Remove(node)).await
    }

    /// Removes the member `old` and lets the learner `new` vote, in one change.
    ///
    /// # Errors
    ///
    /// As [`Node::promote`] and [`Node::remove`].
    pub async fn replace(&self, old: NodeId, new: NodeId) -> Result<(), MembershipError> {
        self.inner
            .members
            .change(MembershipChange::Replace { old, new })
            .await
    }

    /// Moves leadership to a voter, or to the one that has caught up most if `None`.
    /// Returns when another node leads.
    ///
    /// # Errors
    ///
    /// [`MembershipError`]; leadership may have moved nevertheless.
    pub async fn transfer_leadership(&self, to: Option<NodeId>) -> Result<(), MembershipError> {
        self.inner.members.change(MembershipChange::Transfer(to)).await
    }

    /// Takes a snapshot of this node's state now, and lets the log behind it be purged.
    /// Returns when it is on disk; at once if nothing was applied yet.
    ///
    /// # Errors
    ///
    /// Why the node has stopped.
    pub async fn snapshot_now(&self) -> Result<(), StopReason> {
        let engine = &self.inner.engine;
        let stopped = || engine.stop.reason().unwrap_or(StopReason::Shutdown);
        // A node that belongs to no cluster yet has nothing to keep, and its file would name none.
        let Some(target) = engine.metrics().last_applied.map(|id| id.index) else {
            return Ok(());
        };
        let raft = engine.raft.clone();
        let triggered = engine
            .seeds
            .scope(async move { raft.trigger().snapshot().await })
            .await;
        triggered.map_err(|_| stopped())?;
        let taken = engine
            .until(|metrics| {
                metrics.snapshot.map(|id| id.index) >= Some(target) || metrics.running_state.is_err()
            })
            .await;
        if taken && engine.stop.reason().is_none() {
            Ok(())
        } else {
            Err(stopped())
        }
    }

    /// What the node has counted.
    pub fn stats(&self) -> &NodeStats {
        &self.inner.engine.stats
    }

    /// What its log has counted.
    pub fn log_stats(&self) -> &LogStats {
        self.inner.log.stats()
    }

    /// Bytes of records that its log has on disk.
    pub fn log_bytes(&self) -> u64 {
        self.inner.log.kept_bytes()
    }

    /// Bytes of the newest snapshot, and of entries applied since.
    pub fn snapshot_bytes(&self) -> (u64, u64) {
        let backlog = &self.inner.engine.backlog;
        (backlog.snapshot_bytes(), backlog.bytes())
    }

    /// How many requests of this node wait for an answer, and their bytes.
    pub fn waiting_requests(&self) -> (u64, u64) {
        self.inner.server.proposer.waiting()
    }

    /// Stops the node: hands leadership over first if it leads, then ends everything and
    /// gives the data directory back. Can be called more than once.
    pub async fn shutdown(&self) {
        let mut done = self.inner.shut_down.lock().await;
        if *done {
            return;
        }
        self.inner.hand_over().await;
        self.inner.engine.sole_voter.end();
        // Proposals and reads end before consensus, so that each is answered.
        self.inner.quit.send_replace(true);
        let clients = std::mem::take(&mut *self.inner.clients.lock());
        for client in clients {
            drop(tokio::time::timeout(STOP_TIMEOUT, client).await);
        }
        self.inner.engine.stop.set(StopReason::Shutdown);
        self.inner.end_raft().await;
        let mut log = self.inner.log.clone();
        if tokio::time::timeout(STOP_TIMEOUT, log.closed()).await.is_err() {
            tracing::warn!("the log was not closed in time");
        }
        self.inner.formation.release();
        *done = true;
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl<M: Machine> Inner<M> {
    async fn hand_over(&self) {
        let leads = self.engine.leadership().borrow().leader == Some(LeaderRef::Local);
        let others = self.engine.membership().voter_ids().count() > 1;
        if !leads || !others || self.engine.stop.reason().is_some() {
            return;
        }
        // Who takes over does so at once. After an election timeout the others elect somebody
        // anyway, or they stop as well and there is nobody to wait for.
        let moved = self.members.serve(MembershipChange::Transfer(None));
        match tokio::time::timeout(self.config.timing.election_max, moved).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::info!(%error, "leadership was not handed over before the stop"),
            Err(_) => tracing::info!("nobody took leadership over before the stop"),
        }
    }

    async fn end_raft(&self) {
        let raft = self.engine.raft.clone();
        let ended = self.engine.seeds.scope(async move { raft.shutdown().await });
        if tokio::time::timeout(STOP_TIMEOUT, ended).await.is_err() {
            tracing::warn!("consensus did not end in time");
        }
    }
}
