//! The seam between the client paths (proposals, reads) and consensus.
//!
//! `proposer` and `read` know consensus only by [`Consensus`], so that their tests run
//! against a scripted one, without Raft. The engine implements it over openraft.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use concord_core::batch::Batch;
use concord_core::ids::{LogIndex, Term, Timestamp};
use concord_core::machine::Machine;
use futures::future::BoxFuture;
use tokio::sync::watch;

use crate::ports::PeerAddress;
use crate::sole_voter::SoleVoter;

/// The replies to one batch, in its order of groups and requests.
pub(crate) type BatchReplies<M> = Vec<<M as Machine>::Reply>;

/// The outcome of an entry that consensus has taken in.
pub(crate) type AppendOutcome<M> = BoxFuture<'static, Result<BatchReplies<M>, AppendError>>;

/// What the client paths ask of consensus.
pub(crate) trait Consensus<M: Machine>: Send + Sync + 'static {
    /// Who leads, as this node knows it. Changes are never missed, but may be late.
    fn leadership(&self) -> watch::Receiver<Leadership>;

    /// Takes in an entry. Entries are in the log in the order in which these futures were
    /// awaited; the inner future ends when the entry was applied here, or failed.
    fn append(&self, batch: Batch) -> BoxFuture<'_, Result<AppendOutcome<M>, AppendError>>;

    /// While this node leads: an index such that a state that has applied it shows
    /// every write acknowledged before this call, confirmed by a quorum.
    fn read_index(&self) -> BoxFuture<'static, Result<LogIndex, ReadIndexError>>;

    /// The views that apply publishes.
    fn views(&self) -> Views<M::View>;

    /// Whether this node decides alone.
    fn sole_voter(&self) -> Arc<SoleVoter>;

    /// When the machine next has something to expire, as of the latest view.
    fn next_deadline(&self) -> Option<Timestamp>;
}

/// Who leads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Leadership {
    /// The latest term that this node knows.
    pub(crate) term: Term,
    /// The leader of that term, once known.
    pub(crate) leader: Option<LeaderRef>,
}

/// The leader, seen from this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum LeaderRef {
    /// This node.
    Local,
    /// Another node.
    Remote(PeerAddress),
}

/// Why an entry has no replies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AppendError {
    /// This node does not lead: the entry is certainly not in the log.
    NotLeader,
    /// Leadership was lost meanwhile: the entry may or may not be applied, now or later.
    Unknown,
    /// Consensus has stopped on this node: like `Unknown`, and for good.
    Stopped,
}

/// Why there is no read index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReadIndexError {
    /// This node does not lead.
    NotLeader,
    /// No quorum confirmed the leader.
    NoQuorum,
    /// Consensus has stopped on this node.
    Stopped,
}

/// A view and how far the log was applied in it.
#[derive(Clone, Debug)]
pub struct Published<V> {
    /// The state.
    pub view: V,
    /// The last log entry that it reflects.
    pub applied: LogIndex,
}

/// The latest published view of one node. Cheap to clone; loading takes no lock.
pub struct Views<V> {
    current: Arc<ArcSwap<Published<V>>>,
    applied: watch::Receiver<LogIndex>,
}

impl<V> Clone for Views<V> {
    fn clone(&self) -> Self {
        Self {
            current: Arc::clone(&self.current),
            applied: self.applied.clone(),
        }
    }
}

impl<V> fmt::Debug for Views<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Views")
            .field("applied", &*self.applied.borrow())
            .finish_non_exhaustive()
    }
}

impl<V> Views<V> {
    /// The latest view. Never goes back (I16).
    pub fn load(&self) -> Arc<Published<V>> {
        self.current.load_full()
    }

    /// Looks at the latest view without a share of it, which all threads would count in one place. Not for long looks.
    pub fn peek<T>(&self, look: impl FnOnce(&Published<V>) -> T) -> T {
        look(&self.current.load())
    }

    /// Waits until a view newer than the last one seen by this handle was published.
    /// `false` when none will come any more.
    pub async fn changed(&mut self) -> bool {
        self.applied.changed().await.is_ok()
    }
}

/// The publishing side of [`Views`]: owned by apply.
pub(crate) struct Publisher<V> {
    current: Arc<ArcSwap<Published<V>>>,
    applied: watch::Sender<LogIndex>,
}

impl<V> Publisher<V> {
    /// Starts with the recovered state.
    pub(crate) fn new(view: V, applied: LogIndex) -> Self {
        Self {
            current: Arc::new(ArcSwap::from_pointee(Published { view, applied })),
            applied: watch::Sender::new(applied),
        }
    }

    /// Replaces the view.
    ///
    /// # Panics
    ///
    /// If it would go back (I16): apply is then at fault.
    pub(crate) fn publish(&self, view: V, applied: LogIndex) {
        assert!(applied >= *self.applied.borrow(), "I16: views never go back");
        self.current.store(Arc::new(Published { view, applied }));
        // After the store: whoever is woken finds the view that woke it, or a newer one.
        self.applied.send_replace(applied);
    }

    /// A reading side.
    pub(crate) fn views(&self) -> Views<V> {
        Views {
            current: Arc::clone(&self.current),
            applied: self.applied.subscribe(),
        }
    }
}
