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

use std::sync::Arc;

use bytes::Bytes;
use concord_core::ids::NodeId;
use concord_core::machine::Machine;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::config::{NodeConfig, StartMode};
use crate::consensus::{Published, Views};
use crate::error::{MembershipError, StartError, StopReason};
use crate::identity::DataDirectory;
use crate::ports::{Inbound, Ports};
use crate::proposer::ProposeError;
use crate::read::{ReadError, ReadRequest};
use crate::status::NodeStatus;

/// A node of a cluster that replicates the machine `M`. Cheap to clone; all clones are
/// the same node. It runs until [`Node::shutdown`], even when all clones are dropped.
pub struct Node<M: Machine> {
    inner: Arc<Inner<M>>,
}

struct Inner<M: Machine> {
    machine: std::marker::PhantomData<fn() -> M>,
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
        f.debug_struct("Node").finish_non_exhaustive()
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
        let _ = (config, directory, ports);
        unimplemented!("the bodies follow")
    }

    /// What the transport's listener drives.
    pub fn inbound(&self) -> Arc<dyn Inbound> {
        unimplemented!("the bodies follow")
    }

    /// Makes the node part of a cluster. Does nothing if its directory belongs to one
    /// already, whatever `mode` says, so it is called at every start. Waits for peers
    /// without limit; drop the future to give up.
    ///
    /// # Errors
    ///
    /// [`StartError::Refused`], which says who refused, why, and what to do.
    pub async fn form(&self, mode: StartMode) -> Result<(), StartError> {
        let _ = mode;
        unimplemented!("the bodies follow")
    }

    /// Proposes an encoded request and gives the machine's reply. Applies at most once,
    /// however often it is sent again inside (I7).
    ///
    /// # Errors
    ///
    /// [`ProposeError`]; each variant says whether the request may have been applied.
    pub async fn propose(&self, request: Bytes, deadline: Instant) -> Result<M::Reply, ProposeError> {
        let _ = (request, deadline);
        unimplemented!("the bodies follow")
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
        let _ = (request.into(), deadline);
        unimplemented!("the bodies follow")
    }

    /// The latest view of this node: what an `eventual` read sees. No lock, no await.
    pub fn published(&self) -> Arc<Published<M::View>> {
        self.views().load()
    }

    /// The views as they are published.
    pub fn views(&self) -> Views<M::View> {
        unimplemented!("the bodies follow")
    }

    /// What this node knows of itself and its cluster, now.
    pub fn status(&self) -> NodeStatus {
        unimplemented!("the bodies follow")
    }

    /// Why the node has stopped, once it has.
    pub fn stopped(&self) -> watch::Receiver<Option<StopReason>> {
        unimplemented!("the bodies follow")
    }

    /// Adds the node that listens at `address` as a learner and gives its id. It must be
    /// started and belong to no cluster. Adding a member again does nothing.
    ///
    /// # Errors
    ///
    /// [`MembershipError`]; each variant says whether the change may have happened.
    pub async fn add_learner(&self, address: String) -> Result<NodeId, MembershipError> {
        let _ = address;
        unimplemented!("the bodies follow")
    }

    /// Lets a learner vote, once it has caught up.
    ///
    /// # Errors
    ///
    /// [`MembershipError::NotCaughtUp`] with how far it is behind, and others.
    pub async fn promote(&self, node: NodeId) -> Result<(), MembershipError> {
        let _ = node;
        unimplemented!("the bodies follow")
    }

    /// Removes a member, alive or dead. Its id is never used again.
    ///
    /// # Errors
    ///
    /// [`MembershipError::Invalid`] for the last voter, and others.
    pub async fn remove(&self, node: NodeId) -> Result<(), MembershipError> {
        let _ = node;
        unimplemented!("the bodies follow")
    }

    /// Removes the member `old` and lets the learner `new` vote, in one change.
    ///
    /// # Errors
    ///
    /// As [`Node::promote`] and [`Node::remove`].
    pub async fn replace(&self, old: NodeId, new: NodeId) -> Result<(), MembershipError> {
        let _ = (old, new);
        unimplemented!("the bodies follow")
    }

    /// Moves leadership to a voter, or to the one that has caught up most if `None`.
    /// Returns when another node leads.
    ///
    /// # Errors
    ///
    /// [`MembershipError`]; leadership may have moved nevertheless.
    pub async fn transfer_leadership(&self, to: Option<NodeId>) -> Result<(), MembershipError> {
        let _ = to;
        unimplemented!("the bodies follow")
    }

    /// Takes a snapshot of this node's state now and purges the log behind it. Returns
    /// when it is on disk.
    ///
    /// # Errors
    ///
    /// Why the node has stopped.
    pub async fn snapshot_now(&self) -> Result<(), StopReason> {
        unimplemented!("the bodies follow")
    }

    /// Stops the node: hands leadership over first if it leads, then ends everything and
    /// gives the data directory back. Can be called more than once.
    pub async fn shutdown(&self) {
        unimplemented!("the bodies follow")
    }
}
