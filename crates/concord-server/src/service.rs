//! The guarded door of a node: everything that any interface asks goes through here.
//!
//! It takes only requests that somebody was authorised to make, so that an interface that
//! forgets to ask does not compile. Not here: parsing, which is the interfaces'.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use concord_auth::{Authorized, Denied, Principal, ReadAction, Request, authorize};
use concord_core::command::Command;
use concord_core::ids::{NodeId, Revision};
use concord_core::reply::{BatchUnit, Rejection, Reply};
use concord_core::view::{ReadView, ViewError};
use concord_core::{Store, limits as core_limits};
use concord_query::InvalidCursor;
use concord_raft::backup::BackupDirectory;
use concord_raft::node::Node;
use concord_raft::{
    MembershipError, NodeStatus, ProposeError, Published, ReadConsistency, ReadError, ReadRequest,
    StopReason, Views,
};
use tokio::time::Instant;

use crate::audit::{AdminRequest, Recorder, revision_of};
use crate::compression::{self, Packing};
use crate::config::{CompressionConfig, Config};
use crate::error::{COMPACT_REVISION, CURRENT_REVISION, Error, ErrorKind, RETRY_AFTER_MS};
use crate::full_disk::gives_space_back;
use crate::metrics::{Operation, Requests};
use crate::missing::{Named, refusal};
use crate::watch::{self, Hub, Watcher, WatcherStatus};

/// A view that a read is answered from.
pub(crate) type Snapshot = Arc<Published<ReadView>>;

/// How a read is to be served.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReadPlan {
    pub(crate) consistency: ReadConsistency,
    pub(crate) min_revision: Option<Revision>,
    pub(crate) timeout: Duration,
}

impl From<&ReadPlan> for ReadRequest {
    fn from(plan: &ReadPlan) -> Self {
        Self {
            consistency: plan.consistency,
            min_revision: plan.min_revision,
        }
    }
}

/// One node, guarded.
pub(crate) struct Service {
    node: Node<Store>,
    views: Views<ReadView>,
    value_bytes_max: usize,
    compression: CompressionConfig,
    watches: Hub,
    audit: Recorder,
    requests: Requests,
    backups: BackupDirectory,
    /// Held while the directory of backups is changed.
    backup_turn: tokio::sync::Mutex<()>,
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service")
            .field("views", &self.views)
            .finish_non_exhaustive()
    }
}

impl Service {
    pub(crate) fn new(node: Node<Store>, config: &Config, audit: Recorder) -> Self {
        let views = node.views();
        let watches = Hub::new(views.clone(), node.stopped(), config.watches_max);
        Self {
            node,
            views,
            value_bytes_max: config.value_bytes_max,
            compression: config.compression,
            watches,
            audit,
            requests: Requests::new(),
            backups: crate::concord::backup_directory(config),
            backup_turn: tokio::sync::Mutex::new(()),
        }
    }

    /// The directory of this node's backups.
    pub(crate) fn backups(&self) -> &BackupDirectory {
        &self.backups
    }

    /// Waits until nobody else changes the directory of backups.
    pub(crate) async fn backup_turn(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.backup_turn.lock().await
    }

    pub(crate) fn node(&self) -> &Node<Store> {
        &self.node
    }

    /// What this node has applied, without any wait.
    pub(crate) fn latest(&self) -> Snapshot {
        self.views.load()
    }

    /// The view for a plan that needs no wait; `None` if it does.
    pub(crate) fn read_now(&self, _: &Authorized<ReadAction>, plan: &ReadPlan) -> Option<Snapshot> {
        let read = self.node.read_now(plan)?;
        self.requests.read(plan.consistency);
        Some(read)
    }

    /// The view for a plan.
    pub(crate) async fn read(&self, _: &Authorized<ReadAction>, plan: &ReadPlan) -> Result<Snapshot, Error> {
        let began = Instant::now();
        let read = self.node.read(plan, began + plan.timeout).await;
        let read = read.map_err(Error::from);
        self.requests.waited(plan.consistency, began.elapsed(), &read);
        read
    }

    /// Where requests leave their lines.
    pub(crate) const fn audit(&self) -> &Recorder {
        &self.audit
    }

    /// Judges a command, has it applied, once, and records what came of it: there is no other way to write.
    pub(crate) async fn perform(
        &self,
        principal: &Principal,
        command: Command,
        packing: Packing,
        timeout: Duration,
    ) -> Result<Reply, Error> {
        let line = self.audit.begin(|| Some(Arc::new(principal.clone())), &command)?;
        let outcome = match permit(principal, command) {
            Ok(permitted) => self.write(permitted, packing, timeout).await,
            Err(denied) => Err(denied),
        };
        line.finish(outcome, revision_of).await
    }

    /// Judges a change of the cluster, makes it, and records what came of it: there is no other way.
    pub(crate) async fn administer<T>(
        &self,
        principal: &Principal,
        request: AdminRequest,
        change: impl AsyncFnOnce(Node<Store>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let line = self.audit.begin(|| Some(Arc::new(principal.clone())), &request)?;
        let outcome = match permit(principal, request.action) {
            Ok(_) => change(self.node.clone()).await,
            Err(denied) => Err(denied),
        };
        line.finish(outcome, |_| None).await
    }

    async fn write(
        &self,
        command: Authorized<Command>,
        packing: Packing,
        timeout: Duration,
    ) -> Result<Reply, Error> {
        let command = command.into_request();
        let (began, operation) = (Instant::now(), Operation::of(&command));
        let outcome = self.apply(command, packing, began + timeout).await;
        self.requests.wrote(operation, began.elapsed(), &outcome);
        outcome
    }

    async fn apply(&self, command: Command, packing: Packing, deadline: Instant) -> Result<Reply, Error> {
        // What apply would refuse is refused before it costs the log its space.
        command.check(number(self.value_bytes_max))?;
        self.check_disk(&command)?;
        let about = Named::in_command(&command);
        let request = compression::encode(self.compression, packing, command).await?;
        let reply = self.node.propose(request, deadline).await?;
        let reply = compression::unpacked(reply).await?;
        reply.into_result().map_err(|rejection| refusal(rejection, about))
    }

    /// With a full disk, what room is left in the log is for votes and for giving space back.
    fn check_disk(&self, command: &Command) -> Result<(), Error> {
        if !self.node.is_disk_full() || gives_space_back(command) {
            return Ok(());
        }
        let message = "this node's disk is full: it takes no new data, only deletes and compaction";
        Err(Error::new(ErrorKind::Overloaded, message).with("reason", "disk_full".to_owned()))
    }

    /// Opens a watch.
    pub(crate) fn watch(&self, _: &Authorized<ReadAction>, plan: watch::Plan) -> Result<Watcher, Error> {
        Watcher::open(&self.watches, plan)
    }

    /// What was asked of this node.
    #[cfg(feature = "http")]
    pub(crate) fn requests(&self) -> &Requests {
        &self.requests
    }

    /// The open watches, to be counted.
    #[cfg(feature = "http")]
    pub(crate) fn open_watches(&self) -> Vec<WatcherStatus> {
        self.watches.list()
    }

    /// The open watches, for somebody who may see what others watch.
    pub(crate) fn watchers(&self, _: &Authorized<ReadAction>) -> Vec<WatcherStatus> {
        self.watches.list()
    }

    #[cfg(test)]
    pub(crate) fn is_routing(&self) -> bool {
        self.watches.is_routing()
    }

    /// Ends every watch, so that nobody waits for a node that stops.
    pub(crate) fn end_watches(&self) {
        self.watches.close();
    }

    pub(crate) fn status(&self, _: &Authorized<ReadAction>) -> NodeStatus {
        let mut status = self.node.status();
        status.warnings.extend(self.audit.warning());
        status
    }
}

/// The refusal that apply would give.
pub(crate) fn batch_too_large(count: usize) -> Error {
    Error::from(Rejection::BatchTooLarge {
        unit: BatchUnit::Items,
        count: number(count),
        limit: number(core_limits::BATCH_ITEMS_MAX),
    })
}

fn number(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

/// Asks whether `principal` may make `request`.
pub(crate) fn permit<T: Request>(principal: &Principal, request: T) -> Result<Authorized<T>, Error> {
    authorize(principal, request).map_err(Error::from)
}

impl From<Denied> for Error {
    fn from(denied: Denied) -> Self {
        Self::new(ErrorKind::Forbidden, denied.to_string())
    }
}

impl From<InvalidCursor> for Error {
    fn from(invalid: InvalidCursor) -> Self {
        Self::invalid_request(invalid.to_string())
    }
}

impl From<Rejection> for Error {
    fn from(rejection: Rejection) -> Self {
        let message = rejection.to_string();
        match rejection {
            Rejection::InvalidKey(_) => Self::new(ErrorKind::InvalidKey, message),
            Rejection::InvalidTtl { ttl_ms } => Self::new(ErrorKind::InvalidTtl, message)
                .with("ttl_ms", ttl_ms)
                .with("ttl_ms_max", core_limits::TTL_MS_MAX),
            Rejection::InvalidValue { .. } => Self::new(ErrorKind::InvalidValue, message),
            Rejection::ValueTooLarge {
                size_bytes,
                limit_bytes,
            } => Self::new(ErrorKind::ValueTooLarge, message)
                .with("size_bytes", size_bytes)
                .with("limit_bytes", limit_bytes),
            Rejection::InvalidRequest { .. } => Self::new(ErrorKind::InvalidRequest, message),
            Rejection::UniqueViolation { index } => {
                Self::new(ErrorKind::UniqueViolation, message).with("index", index.to_string())
            }
            Rejection::SubscriptionExists => Self::new(ErrorKind::AlreadyExists, message),
            Rejection::IndexExists => Self::new(ErrorKind::AlreadyExists, message),
            Rejection::NotFound | Rejection::IndexNotFound | Rejection::SubscriptionNotFound => {
                Self::new(ErrorKind::NotFound, message)
            }
            Rejection::Compacted { compact_revision } => {
                Self::new(ErrorKind::Compacted, message).with(COMPACT_REVISION, compact_revision.get())
            }
            Rejection::FutureRevision { revision } => {
                Self::new(ErrorKind::FutureRevision, message).with(CURRENT_REVISION, revision.get())
            }
            Rejection::Unsupported { .. } => Self::new(ErrorKind::Unsupported, message),
            Rejection::SessionExpired => Self::new(ErrorKind::OutcomeUnknown, message),
            Rejection::ConditionFailed { current } => {
                let current = current.and_then(|current| current.into_plain());
                Self::new(ErrorKind::ConditionFailed, message).with_current(current)
            }
            Rejection::BatchTooLarge { count, limit, .. } => Self::new(ErrorKind::BatchTooLarge, message)
                .with("count", count)
                .with("limit", limit),
            Rejection::LeaseNotFound { lease } => {
                Self::new(ErrorKind::LeaseNotFound, message).with("lease", lease.get())
            }
            Rejection::LeaseExists { lease } => {
                Self::new(ErrorKind::AlreadyExists, message).with("lease", lease.get())
            }
            Rejection::QuotaExceeded { quota, limit } => Self::new(ErrorKind::QuotaExceeded, message)
                .with("quota", quota.to_string())
                .with("limit", limit),
            // For whoever judges: it judges again, and only time running out ends that.
            Rejection::PolicyChanged { .. } => Self::new(ErrorKind::Timeout, message),
            Rejection::RateLimited { retry_after_ms } => {
                Self::new(ErrorKind::RateLimited, message).with(RETRY_AFTER_MS, retry_after_ms)
            }
            Rejection::NamespaceEmptying => Self::new(ErrorKind::NotReady, message),
            Rejection::IdempotencyConflict => Self::new(ErrorKind::IdempotencyConflict, message),
            // The outer message says where, the inner error what.
            Rejection::InPart { part, index, cause } => {
                Self::from(*cause).with(part.name(), index).with_message(message)
            }
        }
    }
}

impl From<ViewError> for Error {
    fn from(error: ViewError) -> Self {
        let message = error.to_string();
        match error {
            ViewError::Compacted { compact_revision } => {
                Self::new(ErrorKind::Compacted, message).with(COMPACT_REVISION, compact_revision.get())
            }
            ViewError::FutureRevision { revision } => {
                Self::new(ErrorKind::FutureRevision, message).with(CURRENT_REVISION, revision.get())
            }
            ViewError::PageLimit { limit_max, .. } => {
                Self::new(ErrorKind::InvalidRequest, message).with("limit_max", number(limit_max))
            }
            ViewError::Corrupt(_) => Self::new(ErrorKind::Corrupt, message),
            ViewError::IndexNotFound => Self::new(ErrorKind::NotFound, message),
            ViewError::IndexNotReady => Self::new(ErrorKind::NotReady, message),
            ViewError::IndexFailed => Self::new(ErrorKind::UniqueViolation, message),
            ViewError::TooManyChanges { .. } => Self::new(ErrorKind::BatchTooLarge, message)
                .with("limit", number(core_limits::INDEX_PAST_CHANGES_MAX)),
            // Also what a later core may add: a read that the view does not understand.
            ViewError::InvalidPosition | _ => Self::new(ErrorKind::InvalidRequest, message),
        }
    }
}

impl From<ReadError> for Error {
    fn from(error: ReadError) -> Self {
        let kind = match &error {
            ReadError::NoQuorum { .. } => ErrorKind::NoQuorum,
            ReadError::NotReady { .. } => ErrorKind::NotReady,
            ReadError::Overloaded { .. } => ErrorKind::Overloaded,
            ReadError::ShuttingDown => ErrorKind::ShuttingDown,
            // A read never writes, so anything else is a wait in vain.
            ReadError::Timeout { .. } | _ => ErrorKind::Timeout,
        };
        Self::new(kind, error.to_string())
    }
}

impl From<ProposeError> for Error {
    fn from(error: ProposeError) -> Self {
        let kind = match &error {
            ProposeError::TooLarge { .. } => ErrorKind::ValueTooLarge,
            ProposeError::Overloaded => ErrorKind::Overloaded,
            ProposeError::NoQuorum { .. } => ErrorKind::NoQuorum,
            ProposeError::Timeout { .. } => ErrorKind::Timeout,
            ProposeError::ShuttingDown => ErrorKind::ShuttingDown,
            // The careful answer to whatever else there may be.
            ProposeError::OutcomeUnknown { .. } | _ => ErrorKind::OutcomeUnknown,
        };
        Self::new(kind, error.to_string())
    }
}

impl From<MembershipError> for Error {
    fn from(error: MembershipError) -> Self {
        let message = error.to_string();
        match error {
            MembershipError::NoCluster | MembershipError::InProgress => {
                Self::new(ErrorKind::NotReady, message)
            }
            MembershipError::NoLeader => Self::new(ErrorKind::NoQuorum, message),
            MembershipError::Invalid { .. } => Self::new(ErrorKind::InvalidRequest, message),
            MembershipError::UnknownNode { node } => {
                Self::new(ErrorKind::NotFound, message).with("node_id", node.get())
            }
            MembershipError::Conflict { .. } => Self::new(ErrorKind::AlreadyExists, message),
            MembershipError::Silent { node } => {
                Self::new(ErrorKind::NotReady, message).with("node_id", node.get())
            }
            MembershipError::NotCaughtUp {
                node,
                lag_entries,
                limit_entries,
            } => Self::new(ErrorKind::NotReady, message)
                .with("node_id", node.get())
                .with("lag_entries", lag_entries)
                .with("limit_entries", limit_entries),
            MembershipError::Stopped(reason) => reason.into(),
            MembershipError::OutcomeUnknown { .. } | _ => Self::new(ErrorKind::OutcomeUnknown, message),
        }
    }
}

impl From<StopReason> for Error {
    fn from(reason: StopReason) -> Self {
        let kind = match &reason {
            StopReason::Storage { .. } => ErrorKind::StorageFailed,
            StopReason::Corrupt { .. } => ErrorKind::Corrupt,
            StopReason::Shutdown | StopReason::Removed | StopReason::Defect { .. } | _ => {
                ErrorKind::ShuttingDown
            }
        };
        Self::new(kind, reason.to_string())
    }
}

/// A node id from outside.
pub(crate) fn node_id(id: u64) -> Result<NodeId, Error> {
    if id == 0 {
        return Err(Error::invalid_request("node id must be 1 or more"));
    }
    Ok(NodeId::new(id))
}
