//! Reads: how a caller gets a view that is fresh enough for it.
//!
//! ```text
//!  eventual ───────────────────────────────────────────────> the published view
//!  strong, and this node is the only voter and leads ──────> the published view
//!  strong ──> gather ── round ──> read index ── applied? ──> the published view
//!                         │ this node leads: a quorum confirms it
//!                         └ another one does: it is asked, and does the same
//! ```
//!
//! One round is in flight at a time and answers everybody who came before it began; who
//! comes meanwhile gathers for the next one. A later round would do as well, an earlier
//! one would not: it may have been confirmed before a write that the reader knows of (I6).
//!
//! Not here: what is in a view. Reading one takes no part of this.

mod message;
mod task;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use concord_core::ids::{LogIndex, Revision};
use concord_core::machine::Machine;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use crate::consensus::{Consensus, Published, ReadIndexError, Views};
use crate::error::ErrorKind;
use crate::limits;
use crate::ports::Ports;
use crate::sole_voter::SoleVoter;
use task::{Goal, Waiter};

/// How fresh a read must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadConsistency {
    /// Linearizable under any clock behaviour: a quorum confirms the leader, waiting
    /// reads share the confirmation.
    Strong,
    /// Linearizable while clocks drift less than the configured bound.
    Leader,
    /// What this node has applied; never goes back on one node. Works without a quorum.
    Eventual,
}

/// What a read asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadRequest {
    /// How fresh.
    pub consistency: ReadConsistency,
    /// At least this revision: read your own writes on any node.
    pub min_revision: Option<Revision>,
}

impl From<ReadConsistency> for ReadRequest {
    fn from(consistency: ReadConsistency) -> Self {
        Self {
            consistency,
            min_revision: None,
        }
    }
}

/// Why a read got no view. A read never writes anything.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// A leader is known, but no quorum confirmed it in time.
    #[error("no quorum confirmed the read within {waited_ms} ms")]
    NoQuorum {
        /// How long the read waited.
        waited_ms: u64,
    },
    /// No leader is known to this node.
    #[error("no leader was known within {waited_ms} ms")]
    NotReady {
        /// How long the read waited.
        waited_ms: u64,
    },
    /// This node did not reach the confirmed index, or the asked revision, in time.
    #[error("this node did not catch up within {waited_ms} ms")]
    Timeout {
        /// How long the read waited.
        waited_ms: u64,
    },
    /// Too many reads wait on this node.
    #[error("over {limit} reads are waiting")]
    Overloaded {
        /// The limit.
        limit: usize,
    },
    /// This node stops.
    #[error("the node is shutting down")]
    ShuttingDown,
}

impl ReadError {
    /// What the caller can do about it. Stable, unlike the message text.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::NoQuorum { .. } | Self::NotReady { .. } | Self::Overloaded { .. } => ErrorKind::Retry,
            Self::Timeout { .. } => ErrorKind::Timeout,
            Self::ShuttingDown => ErrorKind::ShuttingDown,
        }
    }
}

/// Gives this node's callers views. Cheap to clone.
pub(crate) struct Reads<M: Machine> {
    waiters: mpsc::Sender<Waiter<M>>,
    views: Views<M::View>,
    sole_voter: Arc<SoleVoter>,
}

impl<M: Machine> Clone for Reads<M> {
    fn clone(&self) -> Self {
        Self {
            waiters: self.waiters.clone(),
            views: self.views.clone(),
            sole_voter: Arc::clone(&self.sole_voter),
        }
    }
}

impl<M: Machine> fmt::Debug for Reads<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reads").finish_non_exhaustive()
    }
}

impl<M: Machine> Reads<M> {
    /// Starts the reads. Their task, the returned future, ends when `stop` turns true or
    /// consensus stops; whoever spawns it can so wait for its end.
    pub(crate) fn new<C: Consensus<M>>(
        consensus: Arc<C>,
        ports: &Ports,
        stop: watch::Receiver<bool>,
    ) -> (Self, impl Future<Output = ()> + Send + use<M, C>) {
        let (waiters, queue) = mpsc::channel(limits::READS_WAITING_MAX);
        let (views, sole_voter) = (consensus.views(), consensus.sole_voter());
        let task = task::Task::new(consensus, Arc::clone(&ports.transport), queue, stop);
        let reads = Self {
            waiters,
            views,
            sole_voter,
        };
        (reads, task.run())
    }

    /// The latest view of this node, whatever its age. Never waits.
    pub(crate) fn published(&self) -> Arc<Published<M::View>> {
        self.views.load()
    }

    /// The published view, if it is as fresh as the request asks for without any wait.
    pub(crate) fn read_now(&self, request: ReadRequest) -> Option<Arc<Published<M::View>>> {
        let published = self.views.load();
        let is_fresh = match request.consistency {
            ReadConsistency::Eventual => true,
            // The view first, then the question: whoever else could decide did so later (I6).
            ReadConsistency::Strong | ReadConsistency::Leader => self.sole_voter.decides(),
        };
        let is_enough = request
            .min_revision
            .is_none_or(|least| M::revision_of(&published.view) >= least);
        (is_fresh && is_enough).then_some(published)
    }

    /// A view as fresh as the request asks for.
    ///
    /// # Errors
    ///
    /// See [`ReadError`].
    ///
    /// # Consistency
    ///
    /// `Strong` and `Leader`: shows every write acknowledged before this call began (I6).
    pub(crate) async fn read(
        &self,
        request: ReadRequest,
        deadline: Instant,
    ) -> Result<Arc<Published<M::View>>, ReadError> {
        if let Some(published) = self.read_now(request) {
            return Ok(published);
        }
        let goal = match request.consistency {
            // `Leader` may be served from a lease once restarts respect it; until then it
            // is as strong, and as costly, as `Strong`.
            ReadConsistency::Strong | ReadConsistency::Leader => Goal::FreshView,
            ReadConsistency::Eventual => Goal::AnyView,
        };
        let (reply, answer) = oneshot::channel();
        self.wait(goal, request.min_revision, deadline, task::Reply::View(reply))?;
        answer.await.unwrap_or(Err(ReadError::ShuttingDown))
    }

    /// An index such that a state that has applied it is fresh: for a read elsewhere.
    async fn index(&self, deadline: Instant) -> Result<LogIndex, ReadIndexError> {
        let (reply, answer) = oneshot::channel();
        self.wait(Goal::Index, None, deadline, task::Reply::Index(reply))
            .map_err(|_| ReadIndexError::NoQuorum)?;
        answer.await.unwrap_or(Err(ReadIndexError::Stopped))
    }

    fn wait(
        &self,
        goal: Goal,
        min_revision: Option<Revision>,
        deadline: Instant,
        reply: task::Reply<M>,
    ) -> Result<(), ReadError> {
        let waiter = Waiter {
            goal,
            min_revision,
            arrived_at: Instant::now(),
            deadline,
            reply,
        };
        self.waiters.try_send(waiter).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => ReadError::Overloaded {
                limit: limits::READS_WAITING_MAX,
            },
            mpsc::error::TrySendError::Closed(_) => ReadError::ShuttingDown,
        })
    }

    /// Answers another node's request for a read index.
    pub(crate) async fn answer(&self, request: Bytes) -> Bytes {
        let answer = match message::decode_request(&request) {
            Some(wait) => self.index(Instant::now() + wait).await,
            None => Err(ReadIndexError::NotLeader),
        };
        message::encode_answer(answer)
    }
}
