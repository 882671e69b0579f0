//! How a node comes to belong to a cluster: alone, with seeds, or by joining a member that
//! it was told of, by an operator or by whatever discovers members (I14).
//!
//! ```text
//!   seeds, sorted: A B C        A describes B and C, promises itself, then asks
//!   A initiates                 B and C to promise the same: (cluster, A, {A B C})
//!                               all have promised ─▶ A initialises Raft ─▶ A, B, C belong
//! ```
//!
//! B and C learn that the cluster exists when one of its members first talks Raft to
//! them, or by asking. Nothing here times out into a decision: a seed that is missing is
//! waited for. What a node decided is on disk before anyone is told, so a restart at any
//! point goes on where it was.

mod discovery;
pub(crate) mod promise;
mod seeds;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use concord_core::ids::NodeId;
use concord_core::machine::Machine;
use parking_lot::RwLock;
use tokio::sync::watch;

use crate::blocking::Blocking;
use crate::config::StartMode;
use crate::engine::Engine;
use crate::error::StartError;
use crate::identity::{DataDirectory, Identity};
use crate::message::admin::{Acquaintance, Describe, Description, Join, Joined, PromiseRequest, Seat};
use crate::message::{self, Body, Kind, Refusal};
use crate::ports::{Entropy, Lane, PeerAddress, PeerIdentity, Transport};
use crate::types::Peer;
use promise::PromiseBook;

/// How long an administrative call between nodes may take.
pub(crate) const CALL_TIMEOUT: Duration = Duration::from_secs(5);
/// How long to wait before a peer that was not ready is asked again.
const RETRY: Duration = Duration::from_millis(200);

/// Brings a node into a cluster, once.
pub(crate) struct Formation<M: Machine> {
    engine: Arc<Engine<M>>,
    /// Given back, and so unlocked, at shutdown.
    directory: RwLock<Option<Arc<DataDirectory>>>,
    identity: Arc<Identity>,
    promises: Arc<PromiseBook>,
    transport: Arc<dyn Transport>,
    entropy: Arc<dyn Entropy>,
    blocking: Blocking,
    /// Where peers reach this node.
    address: Option<String>,
    mode: RwLock<Option<StartMode>>,
    formed: watch::Sender<bool>,
    /// Held while forming: two attempts at once could initialise one round after promising
    /// the next (I14).
    turn: tokio::sync::Mutex<()>,
}

/// Why one attempt did not succeed.
enum Setback {
    /// Somebody is not there or not ready yet.
    Wait(String),
    /// It cannot succeed.
    Refused(String),
}

impl From<Refusal> for Setback {
    fn from(refusal: Refusal) -> Self {
        if refusal.retry {
            Self::Wait(refusal.reason)
        } else {
            Self::Refused(refusal.reason)
        }
    }
}

impl<M: Machine> Formation<M> {
    pub(crate) fn new(
        engine: Arc<Engine<M>>,
        directory: DataDirectory,
        promises: PromiseBook,
        ports: &crate::ports::Ports,
        blocking: Blocking,
        address: Option<String>,
    ) -> Self {
        let identity = directory.identity();
        let formed = identity.current().cluster_id.is_some();
        Self {
            engine,
            directory: RwLock::new(Some(Arc::new(directory))),
            identity,
            promises: Arc::new(promises),
            transport: Arc::clone(&ports.transport),
            entropy: Arc::clone(&ports.entropy),
            blocking,
            address,
            mode: RwLock::new(None),
            formed: watch::Sender::new(formed),
            turn: tokio::sync::Mutex::new(()),
        }
    }

    pub(crate) fn identity(&self) -> PeerIdentity {
        self.identity.current()
    }

    /// Gives the data directory back.
    pub(crate) fn release(&self) {
        *self.directory.write() = None;
    }

    /// Where peers reach this node, if they can.
    pub(crate) fn address(&self) -> Option<&str> {
        self.address.as_deref()
    }

    /// This node as its peers are to know it.
    pub(crate) fn seat(&self) -> Seat {
        let identity = self.identity();
        Seat {
            node_id: identity.node_id,
            peer: Peer {
                address: self.address.clone().unwrap_or_default(),
                store_id: identity.store_id,
            },
        }
    }

    /// Whether the node was told to join, and so wants to vote when it has caught up.
    pub(crate) fn wants_to_vote(&self) -> bool {
        matches!(
            *self.mode.read(),
            Some(StartMode::Join(_) | StartMode::Discover(_))
        )
    }

    /// Makes the node part of a cluster; at once if it is.
    pub(crate) async fn form(&self, mode: StartMode) -> Result<(), StartError> {
        let mode = self.check_mode(mode)?;
        let _turn = self.turn.lock().await;
        *self.mode.write() = Some(mode.clone());
        if *self.formed.borrow() {
            return Ok(());
        }
        let mut formed = self.formed.subscribe();
        let mut said = String::new();
        loop {
            let attempt = async {
                match &mode {
                    StartMode::Alone => self.initiate(vec![self.seat()]).await,
                    StartMode::Seeds(seeds) => self.try_seeds(seeds).await,
                    StartMode::Join(address) => self.try_join(address, None).await,
                    StartMode::Discover(discovery) => self.try_discover(&discovery.members()).await,
                }
            };
            let outcome = tokio::select! {
                biased;
                // Another member may bring this node in while it still asks around.
                _ = formed.wait_for(|formed| *formed) => return Ok(()),
                reason = self.engine.stop.stopped() => return Err(StartError::Stopped(reason)),
                outcome = attempt => outcome,
            };
            match outcome {
                Ok(()) => return Ok(()),
                Err(Setback::Refused(reason)) => return Err(StartError::Refused { reason }),
                Err(Setback::Wait(reason)) => {
                    if reason != said {
                        tracing::info!(%reason, "waiting to form or join a cluster");
                        said = reason;
                    }
                }
            }
            tokio::select! {
                biased;
                _ = formed.wait_for(|formed| *formed) => return Ok(()),
                reason = self.engine.stop.stopped() => return Err(StartError::Stopped(reason)),
                () = tokio::time::sleep(RETRY) => {}
            }
        }
    }

    fn check_mode(&self, mode: StartMode) -> Result<StartMode, StartError> {
        let invalid = |reason: String| Err(StartError::InvalidConfig { reason });
        let own = match (&mode, &self.address) {
            (StartMode::Alone, _) => return Ok(mode),
            (_, Some(own)) => own,
            (_, None) => return invalid("peer_address is needed to be in a cluster with others".to_owned()),
        };
        match mode {
            StartMode::Alone | StartMode::Discover(_) => Ok(mode),
            StartMode::Join(address) => match crate::config::check_address(&address) {
                Ok(()) => Ok(StartMode::Join(address)),
                Err(reason) => invalid(format!("the address to join {reason}")),
            },
            StartMode::Seeds(mut seeds) => {
                for seed in &seeds {
                    if let Err(reason) = crate::config::check_address(seed) {
                        return invalid(format!("a seed {reason}"));
                    }
                }
                seeds.sort();
                seeds.dedup();
                if !seeds.contains(own) {
                    return invalid(format!(
                        "the seeds {} do not have this node's own address {own} among them",
                        seeds.join(", ")
                    ));
                }
                if seeds.len() > crate::limits::VOTERS_MAX {
                    return invalid(format!(
                        "{} seeds, limit is {}",
                        seeds.len(),
                        crate::limits::VOTERS_MAX
                    ));
                }
                Ok(StartMode::Seeds(seeds))
            }
        }
    }

    /// Asks a member, this one if it is known which, to be added; belongs to its cluster when it was.
    async fn try_join(&self, address: &str, member: Option<NodeId>) -> Result<(), Setback> {
        if let Some(held) = self.promises.held() {
            return Err(Setback::Refused(format!(
                "this node has promised to form cluster {:032x} with seeds; start it with those, or clear its \
                 data directory first",
                held.cluster_id
            )));
        }
        let join = Join { joiner: self.seat() };
        let joined: Joined = self
            .ask(address, member, message::encode(Kind::Join, &join))
            .await?;
        self.engine
            .roster
            .note(joined.removed.iter().copied())
            .map_err(|error| Setback::Wait(error.to_string()))?;
        self.belong(joined.cluster_id).await.map_err(Setback::Refused)
    }

    /// One administrative call.
    async fn ask<T: Body>(&self, address: &str, node: Option<NodeId>, request: Bytes) -> Result<T, Setback> {
        ask(&*self.transport, address, node, request).await
    }

    /// Writes down, for good, that the node belongs to a cluster.
    pub(crate) async fn belong(&self, cluster_id: u128) -> Result<(), String> {
        let Some(directory) = self.directory.read().clone() else {
            return Err("the node is shutting down".to_owned());
        };
        let joined = self
            .blocking
            .run(move || directory.join_cluster(cluster_id))
            .await;
        joined.map_err(|error| error.to_string())?;
        self.formed.send_replace(true);
        Ok(())
    }

    /// A member of the cluster that this node promised itself to talks to it: the cluster
    /// exists, and the node belongs to it.
    pub(crate) async fn recognise(&self, peer: &PeerIdentity) -> Result<(), String> {
        if self.identity().cluster_id.is_some() {
            return Ok(());
        }
        match self
            .promises
            .expects(peer.cluster_id, peer.node_id, peer.store_id)
        {
            Some(cluster_id) => self.belong(cluster_id).await,
            None => Err("this node belongs to no cluster yet".to_owned()),
        }
    }

    /// Whether a peer is one that this node has promised itself with.
    pub(crate) fn expects(&self, peer: &PeerIdentity) -> bool {
        self.promises
            .expects(peer.cluster_id, peer.node_id, peer.store_id)
            .is_some()
    }

    /// Answers [`Describe`].
    pub(crate) fn describe(&self, asked: &Describe) -> Description {
        let cluster_id = self.identity().cluster_id;
        let acquaintance = match cluster_id {
            Some(_) => acquaintance(&self.engine, &asked.asker),
            None => Acquaintance::Unknown,
        };
        Description {
            node: self.seat(),
            cluster_id,
            acquaintance,
        }
    }

    /// Answers a request for a promise.
    pub(crate) async fn promise(&self, asked: PromiseRequest) -> Result<(), Refusal> {
        let seeds = match &*self.mode.read() {
            Some(StartMode::Seeds(seeds)) => Some(seeds.clone()),
            _ => None,
        };
        let (promises, seat, cluster_id) = (
            Arc::clone(&self.promises),
            self.seat(),
            self.identity().cluster_id,
        );
        self.blocking
            .run(move || promises.promise(&seat, cluster_id, seeds.as_deref(), &asked))
            .await
    }

    /// Answers an invitation of a leader that an operator told to add this node.
    pub(crate) async fn invited(&self, into: Joined) -> Result<(), Refusal> {
        let current = self.identity().cluster_id;
        if current == Some(into.cluster_id) {
            return Ok(());
        }
        if let Some(other) = current {
            return Err(Refusal::for_good(format!("it belongs to cluster {other:032x}")));
        }
        if self.promises.held().is_some() || self.mode.read().is_some() {
            return Err(Refusal::for_good(
                "it was started to form or join a cluster by itself",
            ));
        }
        self.engine
            .roster
            .note(into.removed.iter().copied())
            .map_err(|error| Refusal::for_now(error.to_string()))?;
        self.belong(into.cluster_id).await.map_err(Refusal::for_now)
    }
}

/// What this node's membership says about another node.
pub(crate) fn acquaintance<M: Machine>(engine: &Engine<M>, other: &Seat) -> Acquaintance {
    if engine.roster.is_removed(other.node_id) {
        return Acquaintance::Removed;
    }
    let membership = engine.membership();
    let known = membership.membership().get_node(&other.node_id.get());
    if let Some(peer) = known {
        return if peer.store_id == other.peer.store_id {
            Acquaintance::Member
        } else {
            Acquaintance::Replaced(Seat {
                node_id: other.node_id,
                peer: peer.clone(),
            })
        };
    }
    let same_address = membership
        .nodes()
        .find(|(_, peer)| !peer.address.is_empty() && peer.address == other.peer.address);
    match same_address {
        Some((id, peer)) => Acquaintance::Replaced(Seat {
            node_id: NodeId::new(*id),
            peer: peer.clone(),
        }),
        None => Acquaintance::Unknown,
    }
}

/// What to do about a member that came back with another data directory (I13).
pub(crate) fn wiped(seat: &Seat) -> String {
    format!(
        "the cluster has a member {} at {} with another data directory: this one is new, so it must not vote \
         in its place. Remove node {} from the cluster, then start this one with --join and a new node id",
        seat.node_id, seat.peer.address, seat.node_id
    )
}

/// What to do about a node that was removed.
pub(crate) fn removed(node: NodeId) -> String {
    format!(
        "node {node} was removed from this cluster, and ids are never used again. To bring it back, clear its \
         data directory and start it with --join and without that node id"
    )
}

async fn ask<T: Body>(
    transport: &dyn Transport,
    address: &str,
    node_id: Option<NodeId>,
    request: Bytes,
) -> Result<T, Setback> {
    let peer = PeerAddress {
        node_id,
        address: address.to_owned(),
    };
    let answer = transport.call(&peer, Lane::Forward, request, CALL_TIMEOUT).await;
    // Even a peer that refuses the connection is asked again: its secret or its view of
    // this node may be put right meanwhile, and the reason is shown.
    let answer = answer.map_err(|error| Setback::Wait(error.to_string()))?;
    match message::decode_answer::<T>(&answer) {
        Ok(Ok(body)) => Ok(body),
        Ok(Err(refusal)) => {
            let reason = format!("{address}: {}", refusal.reason);
            Err(if refusal.retry {
                Setback::Wait(reason)
            } else {
                Setback::Refused(reason)
            })
        }
        Err(error) => Err(Setback::Wait(format!("{address} answers nonsense: {error}"))),
    }
}

/// Asks a node who it is; the reason, if it does not say.
pub(crate) async fn describe(
    transport: &dyn Transport,
    address: &str,
    asker: Seat,
) -> Result<Description, String> {
    let request = message::encode(Kind::Describe, &Describe { asker });
    ask(transport, address, None, request)
        .await
        .map_err(|setback| match setback {
            Setback::Wait(reason) | Setback::Refused(reason) => reason,
        })
}

/// Asks a node that belongs to no cluster to belong to this one; the reason, if it does not.
pub(crate) async fn invite(transport: &dyn Transport, seat: &Seat, into: &Joined) -> Result<(), String> {
    let request = message::encode(Kind::Invite, into);
    let asked = ask::<message::Empty>(transport, &seat.peer.address, Some(seat.node_id), request);
    asked.await.map(|_| ()).map_err(|setback| match setback {
        Setback::Wait(reason) | Setback::Refused(reason) => reason,
    })
}
