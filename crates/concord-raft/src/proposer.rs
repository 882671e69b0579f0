//! Proposals: how a request of a caller on any node is applied exactly once.
//!
//! ```text
//!  callers ──queue──┐                                        this node leads
//!  callers ──queue──┼─> task ── session ── groups ─┬─> entry ──> consensus ──> replies ─> callers
//!  callers ──queue──┘                              │     ▲
//!                                                  │     └── groups of other nodes
//!                                 another one leads└─> Lane::Forward stream ─> its task
//! ```
//!
//! One task a node, without locks. It is a client session of the machine: it numbers
//! requests, keeps each until it is answered, and sends all of them again, in order, when
//! the leader changes or a stream breaks; the machine applies a number once (I7). On
//! the leader the same task builds entries: the groups that came while entries were in
//! flight travel together, so that consensus is paid for once for many requests, and an
//! idle leader proposes at once.
//!
//! Not here: what a request means, and refusals by the machine: those are replies.

mod entries;
mod forward;
mod frame;
mod inbox;
mod session;
mod task;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use concord_core::ids::NodeId;
use concord_core::machine::Machine;
use concord_core::version::MachineVersion;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use crate::consensus::Consensus;
use crate::error::ErrorKind;
use crate::limits;
use crate::ports::{Duplex, Ports};
use session::Pending;

/// Why a proposal got no answer from the state machine.
///
/// A refusal *by* the machine is a reply, not an error.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProposeError {
    /// Over the size limit. Nothing was written; a retry fails alike.
    #[error("request is {size_bytes} bytes, limit is {limit_bytes}")]
    TooLarge {
        /// Its size.
        size_bytes: usize,
        /// The limit.
        limit_bytes: usize,
    },
    /// Too much is waiting on this node. Nothing was written; try again later.
    #[error("too many requests are waiting on this node")]
    Overloaded,
    /// No leader was known until the deadline. Nothing was written.
    #[error("no leader was known within {waited_ms} ms")]
    NoQuorum {
        /// How long the request waited.
        waited_ms: u64,
    },
    /// The deadline passed before the request was handed to a leader. Nothing was written.
    #[error("not proposed within {waited_ms} ms")]
    Timeout {
        /// How long the request waited.
        waited_ms: u64,
    },
    /// No answer in time, or its reply is lost: it may have been applied, or may yet be.
    #[error("no answer within {waited_ms} ms, outcome unknown")]
    OutcomeUnknown {
        /// How long the request waited.
        waited_ms: u64,
    },
    /// Not every member knows the machine yet that does this. Nothing was written; it can be asked again when all do.
    #[error(
        "this needs machine version {needs}, and the cluster is of version {cluster}, {}",
        held_back(held_back_by)
    )]
    NotYet {
        /// The version that the request needs.
        needs: MachineVersion,
        /// The cluster's.
        cluster: MachineVersion,
        /// Who knows less or does not answer.
        held_back_by: Vec<NodeId>,
    },
    /// This node stops. Nothing was written.
    #[error("the node is shutting down")]
    ShuttingDown,
}

fn held_back(by: &[NodeId]) -> String {
    if by.is_empty() {
        return "which goes on when all its members know it".to_owned();
    }
    let nodes: Vec<String> = by.iter().map(|node| format!("node {node}")).collect();
    format!("held back by {}", nodes.join(", "))
}

impl ProposeError {
    /// What the caller can do about it. Stable, unlike the message text.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::TooLarge { .. } => ErrorKind::Invalid,
            Self::Overloaded | Self::NoQuorum { .. } => ErrorKind::Retry,
            Self::Timeout { .. } => ErrorKind::Timeout,
            Self::OutcomeUnknown { .. } => ErrorKind::OutcomeUnknown,
            Self::NotYet { .. } => ErrorKind::Unsupported,
            Self::ShuttingDown => ErrorKind::ShuttingDown,
        }
    }
}

/// The requests of one node that have not been answered: their number and bytes in one
/// word, so that a proposal costs one atomic addition.
#[derive(Debug, Default)]
struct Usage(AtomicU64);

/// One request in [`Usage`]; its bytes are below.
const ONE_REQUEST: u64 = 1 << 40;

/// A request's share of [`Usage`], freed when dropped.
#[derive(Debug)]
struct Permit {
    usage: Arc<Usage>,
    weight: u64,
}

impl Permit {
    fn take(usage: &Arc<Usage>, request_bytes: usize) -> Option<Self> {
        let weight = ONE_REQUEST + u64::try_from(request_bytes).ok()?;
        let before = usage.0.fetch_add(weight, Ordering::Relaxed);
        let permit = Self {
            usage: Arc::clone(usage),
            weight,
        };
        let fits =
            before / ONE_REQUEST < limits::PROPOSALS_MAX && before % ONE_REQUEST < limits::PROPOSAL_BYTES_MAX;
        // Dropping the permit takes the weight off again.
        fits.then_some(permit)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.usage.0.fetch_sub(self.weight, Ordering::Relaxed);
    }
}

/// Proposes requests of this node's callers. Cheap to clone.
pub(crate) struct Proposer<M: Machine> {
    requests: inbox::Sender<Pending<M::Reply>>,
    forwarded: mpsc::Sender<forward::ForwardedGroup<M>>,
    usage: Arc<Usage>,
}

impl<M: Machine> Clone for Proposer<M> {
    fn clone(&self) -> Self {
        Self {
            requests: self.requests.clone(),
            forwarded: self.forwarded.clone(),
            usage: Arc::clone(&self.usage),
        }
    }
}

impl<M: Machine> fmt::Debug for Proposer<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proposer")
            .field("usage", &self.usage)
            .finish_non_exhaustive()
    }
}

impl<M: Machine> Proposer<M> {
    /// Starts the proposer. Its task, the returned future, ends when `stop` turns true or
    /// consensus stops; whoever spawns it can so wait for its end.
    pub(crate) fn new<C: Consensus<M>>(
        consensus: Arc<C>,
        ports: &Ports,
        stop: watch::Receiver<bool>,
    ) -> (Self, impl Future<Output = ()> + Send + use<M, C>) {
        // Unbounded in itself: `usage` bounds what is in it.
        let (requests, request_queue) = inbox::inbox();
        let (forwarded, forwarded_queue) = mpsc::channel(limits::FORWARDED_GROUPS_MAX);
        let task = task::Task::new(consensus, ports, request_queue, forwarded_queue, stop);
        (
            Self {
                requests,
                forwarded,
                usage: Arc::default(),
            },
            task.run(),
        )
    }

    /// Has a request applied exactly once, whichever node leads, and returns its reply.
    ///
    /// # Errors
    ///
    /// See [`ProposeError`]; only `OutcomeUnknown` leaves open whether it was applied.
    pub(crate) async fn propose(&self, request: Bytes, deadline: Instant) -> Result<M::Reply, ProposeError> {
        if request.len() > limits::REQUEST_BYTES_MAX {
            return Err(ProposeError::TooLarge {
                size_bytes: request.len(),
                limit_bytes: limits::REQUEST_BYTES_MAX,
            });
        }
        let permit = Permit::take(&self.usage, request.len()).ok_or(ProposeError::Overloaded)?;
        let accepted_at = Instant::now();
        let (reply, answer) = oneshot::channel();
        let pending = Pending {
            request,
            accepted_at,
            deadline,
            reply,
            permit,
        };
        if self.requests.send(pending).is_err() {
            return Err(ProposeError::ShuttingDown);
        }
        match answer.await {
            Ok(answer) => answer,
            // The task ended between taking the request in and answering it, which its
            // orderly end does not do: what it had done with it is not known.
            Err(_) => Err(ProposeError::OutcomeUnknown {
                waited_ms: u64::try_from(accepted_at.elapsed().as_millis()).unwrap_or(u64::MAX),
            }),
        }
    }

    /// How many requests of this node wait for an answer, and their bytes.
    pub(crate) fn waiting(&self) -> (u64, u64) {
        let usage = self.usage.0.load(Ordering::Relaxed);
        (usage / ONE_REQUEST, usage % ONE_REQUEST)
    }

    /// Serves the proposals of another node, until either side ends the stream.
    pub(crate) async fn serve(&self, duplex: Duplex) {
        forward::serve(self.forwarded.clone(), duplex).await;
    }
}
