//! What a node answers to its peers: who may talk to it, and where each message goes.
//!
//! | lane | a member | a node of no cluster | barred |
//! | --- | --- | --- | --- |
//! | control, append, snapshot | yes | no | no |
//! | forward: describe | yes | yes | yes |
//! | forward: promise, join, invite, versions | yes | yes | no |
//! | forward: all else | yes | no | no |
//!
//! *Barred* is a node of another cluster, one that was removed, one that shows a member's
//! id with another data directory, and one that shows this node's own id. It may ask what
//! this node knows of it, so that it can tell its operator.

use std::sync::Arc;

use bytes::Bytes;
use concord_core::machine::Machine;
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::time::Instant;

use crate::adapter::serve::{self, SnapshotInbox};
use crate::bootstrap::{self, Formation};
use crate::engine::Engine;
use crate::error::MembershipError;
use crate::membership::{Members, invitation};
use crate::message::admin::{Join, Joined, MembershipChange, VersionsKnown};
use crate::message::{self, Body, Empty, Kind, Refusal};
use crate::ports::{Duplex, Inbound, Lane, PeerIdentity};
use crate::proposer::Proposer;
use crate::read::Reads;

/// Answers peers.
pub(crate) struct Server<M: Machine> {
    pub(crate) engine: Arc<Engine<M>>,
    pub(crate) formation: Arc<Formation<M>>,
    pub(crate) members: Arc<Members<M>>,
    pub(crate) inbox: Arc<SnapshotInbox>,
    pub(crate) proposer: Proposer<M>,
    pub(crate) reads: Reads<M>,
}

/// What a peer is to this node.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Standing {
    /// It belongs to the same cluster, or will.
    Member,
    /// It belongs to no cluster.
    Outsider,
    /// It must not take part, for this reason.
    Barred(String),
}

const NOT_YET: &str = "this node and its peer do not belong to the same cluster yet";

impl<M: Machine> Server<M> {
    fn standing(&self, peer: &PeerIdentity) -> Standing {
        let own = self.formation.identity();
        if peer.node_id == own.node_id {
            return Standing::Barred(if peer.store_id == own.store_id {
                format!(
                    "node {} talks to itself, or to a copy of its data directory",
                    own.node_id
                )
            } else {
                format!("two nodes have the id {}; give each its own", own.node_id)
            });
        }
        if self.engine.roster.is_removed(peer.node_id) {
            return Standing::Barred(bootstrap::removed(peer.node_id));
        }
        let seat = self.engine.book.get(peer.node_id.get());
        let same_store = seat.as_ref().map(|seat| seat.store_id == peer.store_id);
        match (own.cluster_id, peer.cluster_id, same_store) {
            (Some(ours), Some(theirs), _) if ours != theirs => Standing::Barred(format!(
                "node {} belongs to cluster {theirs:032x}, this one to {ours:032x}",
                peer.node_id
            )),
            (Some(_), Some(_), Some(false)) => {
                Standing::Barred(seat.map_or_else(String::new, |seat| wiped(peer, seat)))
            }
            // A member that this node has not heard of yet passes: the leader knows it.
            (Some(_), Some(_), _) => Standing::Member,
            // It said hello before it belonged.
            (Some(_), None, Some(true)) => Standing::Member,
            (Some(_), None, _) => Standing::Outsider,
            (None, _, _) if self.formation.expects(peer) => Standing::Member,
            (None, _, _) => Standing::Outsider,
        }
    }

    /// Lets a member pass, and takes note of the cluster if it is the first sign of it.
    async fn check_member(&self, peer: &PeerIdentity) -> Result<(), Refusal> {
        match self.standing(peer) {
            Standing::Member => self.formation.recognise(peer).await.map_err(Refusal::for_now),
            Standing::Outsider => Err(Refusal::for_now(NOT_YET)),
            Standing::Barred(reason) => Err(Refusal::for_good(reason)),
        }
    }

    fn check_not_barred(&self, peer: &PeerIdentity) -> Result<(), Refusal> {
        match self.standing(peer) {
            Standing::Member | Standing::Outsider => Ok(()),
            Standing::Barred(reason) => Err(Refusal::for_good(reason)),
        }
    }

    async fn answer(&self, peer: PeerIdentity, lane: Lane, request: &Bytes) -> Result<Bytes, Refusal> {
        let kind = message::kind_of(request).map_err(malformed)?;
        match (lane, kind) {
            (Lane::Forward, Kind::Describe) => Ok(answer(Ok(self.formation.describe(&read(request)?)))),
            (Lane::Forward, Kind::Promise) => {
                self.check_not_barred(&peer)?;
                let promised = self.formation.promise(read(request)?).await;
                Ok(answer(promised.map(|()| Empty)))
            }
            (Lane::Forward, Kind::Join) => {
                self.check_not_barred(&peer)?;
                Ok(answer(self.join(read(request)?).await))
            }
            (Lane::Forward, Kind::Invite) => {
                self.check_not_barred(&peer)?;
                let joined: Joined = read(request)?;
                Ok(answer(self.formation.invited(joined).await.map(|()| Empty)))
            }
            (Lane::Forward, Kind::Versions) => {
                self.check_not_barred(&peer)?;
                read::<VersionsKnown>(request)?;
                Ok(answer(Ok(self.engine.versions.own().clone())))
            }
            (Lane::Forward, Kind::Membership) => {
                self.check_member(&peer).await?;
                Ok(answer(Ok(self.members.serve(read(request)?).await)))
            }
            (Lane::Forward, Kind::Client(_)) => {
                self.check_member(&peer).await?;
                Ok(self.reads.answer(request.clone()).await)
            }
            (Lane::Control, kind) => {
                self.check_member(&peer).await?;
                self.control(peer, kind, request).await
            }
            _ => Err(Refusal::for_good("this message has no place here")),
        }
    }

    async fn control(&self, peer: PeerIdentity, kind: Kind, request: &Bytes) -> Result<Bytes, Refusal> {
        let raft = &self.engine.raft;
        let node = peer.node_id;
        match kind {
            Kind::Append => {
                *self.engine.heard.lock() = Instant::now();
                Ok(answer(serve::append(raft, node, read(request)?).await))
            }
            Kind::Vote | Kind::PreVote if self.engine.votes.is_withheld() => Err(Refusal::for_now(
                "this node restarted a moment ago and does not vote yet",
            )),
            Kind::Vote => Ok(answer(serve::vote(raft, node, read(request)?, false).await)),
            Kind::PreVote => Ok(answer(serve::vote(raft, node, read(request)?, true).await)),
            Kind::Transfer => Ok(answer(serve::transfer(raft, node, read(request)?).await)),
            Kind::SnapshotBegin
            | Kind::SnapshotChunk
            | Kind::SnapshotEnd
            | Kind::Describe
            | Kind::Promise
            | Kind::Join
            | Kind::Membership
            | Kind::Invite
            | Kind::Versions
            | Kind::Client(_) => Err(Refusal::for_good("this message has no place on the control lane")),
        }
    }

    /// Adds a node that asks for it, through the leader.
    async fn join(&self, join: Join) -> Result<Joined, Refusal> {
        if self.formation.identity().cluster_id.is_none() {
            return Err(Refusal::for_now("this node belongs to no cluster yet"));
        }
        match self.members.change(MembershipChange::Admit(join.joiner)).await {
            Ok(()) => Ok(invitation(&self.formation, &self.engine.roster.removed())),
            Err(MembershipError::Conflict { reason } | MembershipError::Invalid { reason }) => {
                Err(Refusal::for_good(reason))
            }
            Err(error) => Err(Refusal::for_now(error.to_string())),
        }
    }
}

fn wiped(peer: &PeerIdentity, seat: crate::types::Peer) -> String {
    bootstrap::wiped(&crate::message::admin::Seat {
        node_id: peer.node_id,
        peer: seat,
    })
}

fn malformed(error: concord_core::codec::DecodeError) -> Refusal {
    Refusal::for_good(format!("malformed message: {error}"))
}

fn read<T: Body>(request: &Bytes) -> Result<T, Refusal> {
    message::decode(request).map_err(malformed)
}

fn answer<T: Body>(answer: Result<T, Refusal>) -> Bytes {
    message::encode_answer(&answer)
}

impl<M: Machine> Inbound for Server<M> {
    fn admit(&self, peer: &PeerIdentity, lane: Lane) -> Result<(), String> {
        if self.engine.stop.reason().is_some() {
            return Err("this node is stopping".to_owned());
        }
        match (self.standing(peer), lane) {
            (Standing::Member, _) | (_, Lane::Forward) => Ok(()),
            (Standing::Outsider, Lane::Control | Lane::Append | Lane::Snapshot) => Err(NOT_YET.to_owned()),
            (Standing::Barred(reason), Lane::Control | Lane::Append | Lane::Snapshot) => Err(reason),
        }
    }

    fn call(self: Arc<Self>, peer: PeerIdentity, lane: Lane, request: Bytes) -> BoxFuture<'static, Bytes> {
        let seed = self.engine.seeds.next();
        crate::types::Runtime::scope(seed, async move {
            match self.answer(peer, lane, &request).await {
                Ok(answer) => answer,
                Err(refusal) => message::encode_answer::<Empty>(&Err(refusal)),
            }
        })
        .boxed()
    }

    fn stream(self: Arc<Self>, peer: PeerIdentity, lane: Lane, duplex: Duplex) -> BoxFuture<'static, ()> {
        let seed = self.engine.seeds.next();
        crate::types::Runtime::scope(seed, async move {
            if let Err(refusal) = self.check_member(&peer).await {
                let refused = message::encode_answer::<Empty>(&Err(refusal));
                drop(duplex.sender.send(refused).await);
                return;
            }
            let raft = self.engine.raft.clone();
            match lane {
                Lane::Append => {
                    // A leader that replicates all the time need send no heartbeats.
                    let heard = || *self.engine.heard.lock() = Instant::now();
                    serve::append_stream(raft, peer.node_id, duplex, seed, heard).await;
                }
                Lane::Snapshot => {
                    let cluster_id = self.formation.identity().cluster_id.unwrap_or_default();
                    Arc::clone(&self.inbox)
                        .serve(raft, peer.node_id, cluster_id, duplex)
                        .await;
                }
                Lane::Forward => self.proposer.serve(duplex).await,
                Lane::Control => {}
            }
        })
        .boxed()
    }

    fn identity(&self) -> PeerIdentity {
        self.formation.identity()
    }
}
