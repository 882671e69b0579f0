//! The embedded handle: a node inside this process.
//!
//! Operations are built like sentences and run when awaited:
//!
//! ```no_run
//! use std::time::Duration;
//! use concord_server::{Concord, Config};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let db = Concord::open(Config::at("./data")).await?;
//! db.put("session:7", "alice").ttl(Duration::from_secs(30)).await?;
//! let found = db.get("session:7").strong().await?;
//! assert_eq!(found.as_ref().and_then(|entry| entry.text()), Some("alice"));
//! db.shutdown().await?;
//! # Ok(())
//! # }
//! ```
//!
//! Not here: consensus (`concord-raft`), the checks that every interface shares (`service`).

pub mod access;
mod backup;
mod bulk;
mod cluster;
mod condition;
mod convert;
mod index;
mod lease;
mod operation;
mod query;
mod read;
mod restore;
mod scan;
mod subscription;
pub mod tenants;
pub mod txn;
mod watch;
mod write;

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::time::Duration;

use concord_auth::Read;
use concord_core::ids::{NodeId, Revision};
use concord_core::view::Statistics;
use concord_raft::NodeStatus;
use futures::FutureExt as _;

#[cfg(feature = "http")]
pub(crate) use self::backup::blocking;
#[cfg(feature = "cli")]
pub(crate) use self::backup::in_words as storage_in_words;
pub use self::backup::{
    BackupInfo, BackupStream, Backups, CleanedBackups, KeepBackups, ListedBackup, VerifiedBackup,
};
pub(crate) use self::backup::{BackupPlace, schedule as schedule_backups};
pub use self::bulk::{DeleteMany, GetMany, Item, PutMany, TouchMany};
pub use self::cluster::Readiness;
#[cfg(feature = "http")]
pub(crate) use self::condition::predicate;
pub use self::condition::{Conditional, Only};
pub use self::convert::IntoValue;
#[cfg(feature = "http")]
pub(crate) use self::convert::ttl_millis;
pub use self::index::{
    CreateIndex, DropIndex, GetIndex, IndexValue, ListIndexes, Lookup, LookupPage, Reindex,
};
pub use self::lease::{
    GetLease, HeldLease, LeaseGrant, LeaseInfo, LeaseKeepAlive, LeaseRevoke, Leased, ListLeases, Revoked,
};
pub use self::operation::Operation;
pub use self::query::{CountQuery, DeleteWhere, DeletedWhere, ExplainQuery, Query, QueryPage, RunQuery};
pub use self::read::{Exists, Get, GetDoc, GetSettings, GetTtl, History, HistoryEntries};
pub use self::restore::{RestoreOptions, RestoreProgress, RestoredBackup};
pub use self::scan::{Page, Scan};
pub use self::subscription::{
    AckSubscription, Acked, Consume, CreateSubscription, DeleteSubscription, GetSubscription,
    ListSubscriptions, ResetSubscription, SubscriptionInfo,
};
pub use self::watch::Watch;
pub use self::write::{Compact, Configure, Delete, Increment, Put, Stores, Touch, Write, WriteKind};

use crate::audit::AuditLog;
use crate::certificates::CertificateStatus;
use crate::compose::{self, OpenError, Running};
use crate::config::Config;
use crate::error::Error;
use crate::judge::Caller;
use crate::service::Service;
use crate::telemetry::Event;

/// A node in this process: a durable, strongly consistent key-value store, alone or as a
/// member of a cluster. May do everything: see [`Concord::as_principal`]. Clones share the node; it runs until [`Concord::shutdown`], or until the
/// last clone is gone and it does not serve HTTP.
///
/// Works under any tokio runtime; several may live in one process.
#[derive(Clone)]
pub struct Concord {
    inner: Arc<Inner>,
    caller: Caller,
}

/// A node that may be gone.
#[derive(Clone)]
pub(crate) struct WeakConcord(Weak<Inner>);

impl WeakConcord {
    /// The node, if it is still there.
    pub(crate) fn upgrade(&self) -> Option<Concord> {
        let inner = self.0.upgrade()?;
        let caller = Caller::Embedder;
        Some(Concord { inner, caller })
    }
}

struct Inner {
    service: Service,
    running: Running,
    request_timeout: Duration,
}

impl Concord {
    /// Opens the data directory of `config`, recovers what is in it, and starts the node.
    ///
    /// Returns when the node runs. A node that starts alone leads by then; one with seeds or
    /// one that joins may still wait for the others: see [`Concord::wait_until_ready`].
    ///
    /// # Errors
    ///
    /// [`OpenError`]: the configuration, the data directory, or an address is not usable.
    /// Nothing runs then.
    pub async fn open(config: Config) -> Result<Self, OpenError> {
        compose::open(config).await
    }

    pub(crate) fn assemble(service: Service, running: Running, request_timeout: Duration) -> Self {
        let inner = Inner {
            service,
            running,
            request_timeout,
        };
        Self {
            inner: Arc::new(inner),
            caller: Caller::Embedder,
        }
    }

    /// The same node for whoever shows this token: each operation of the new handle may do what the token may do at that
    /// moment, and answers `unauthorized` if it is no token, or has ended, and `forbidden` if that is not enough. Reads of
    /// many keys leave out what may not be seen.
    ///
    /// The handle that [`Concord::open`] gives may do everything, by choice: who embeds a node holds its data anyway.
    ///
    /// ```
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let directory = tempfile::tempdir()?;
    /// # let db = concord_server::Concord::open(concord_server::Config::at(directory.path()).with_auth()).await?;
    /// let token = db.create_token().role("viewer").await?;
    /// let reader = db.as_principal(token.secret.expose());
    /// reader.get("greeting").await?;
    /// assert!(reader.put("greeting", "no").await.is_err());
    /// # db.shutdown().await?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn as_principal(&self, token: &str) -> Self {
        self.on_behalf_of(Caller::showing(token))
    }

    /// The same node in somebody else's name.
    pub(crate) fn on_behalf_of(&self, caller: Caller) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
            caller,
        }
    }

    /// Keeps no node alive.
    pub(crate) fn downgrade(&self) -> WeakConcord {
        WeakConcord(Arc::downgrade(&self.inner))
    }

    /// The secret of the first token, which may do everything: once, if this node has made it just now and drew it at random
    /// ([`Config::root_token`]). Waits until there is a first token; `None` if it was there before, or another node
    /// made it.
    pub async fn root_token(&self) -> Option<access::Secret> {
        let made = self.inner.running.take_root()?;
        made.await.ok().flatten()
    }

    /// This node's id.
    pub fn node_id(&self) -> NodeId {
        self.inner.running.node_id()
    }

    /// The revision that this node has applied. No wait, no network.
    pub fn revision(&self) -> Revision {
        self.service().revision()
    }

    /// Where HTTP is served, if it is.
    pub fn http_address(&self) -> Option<SocketAddr> {
        self.inner.running.http_address()
    }

    /// Where metrics alone are served, if they are.
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.inner.running.metrics_address()
    }

    /// Where other nodes reach this one, if they do.
    pub fn peer_address(&self) -> Option<String> {
        self.inner.running.peer_address().map(str::to_owned)
    }

    /// Where this node gossips (UDP), if it does.
    pub fn gossip_address(&self) -> Option<std::net::SocketAddr> {
        self.inner.running.gossip_address()
    }

    /// This node and its view of the cluster.
    ///
    /// # Errors
    ///
    /// `forbidden`, where authentication says so.
    pub fn status(&self) -> Result<NodeStatus, Error> {
        let (mut status, _) = self.service().status(&self.caller)?;
        status
            .warnings
            .extend(self.inner.running.certificates().warnings());
        Ok(status)
    }

    /// The certificates that this node's listeners use now, and how long they last.
    ///
    /// # Errors
    ///
    /// `forbidden`, where authentication says so.
    pub fn certificates(&self) -> Result<Vec<CertificateStatus>, Error> {
        self.service().look(&self.caller, &Read::Status)?;
        Ok(self.inner.running.certificates().status())
    }

    /// How much is stored on this node. No wait, no network.
    ///
    /// # Errors
    ///
    /// `forbidden`, where authentication says so.
    pub fn statistics(&self) -> Result<Statistics, Error> {
        let seen = self.service().look(&self.caller, &Read::Status)?;
        Ok(seen.view().statistics())
    }

    /// The audit log of this node: what was asked of it, by whom, and what came of it.
    pub fn audit(&self) -> AuditLog<'_> {
        AuditLog::new(self)
    }

    /// Stops: ends watches, lets requests in flight finish, hands leadership on, closes the log. The handle
    /// and its clones answer `shutting_down` from then on; a second call waits for the first.
    ///
    /// # Errors
    ///
    /// `storage_failed` if the log could not be closed in order. What was acknowledged is safe.
    pub async fn shutdown(&self) -> Result<(), Error> {
        // Watches never finish by themselves, and the listener waits for its requests.
        let is_first = !self.inner.running.is_stopped();
        self.service().end_watches();
        let stopped = self.inner.running.shutdown(self.service().node()).await;
        // Requests that were in flight have left their lines by now.
        self.service().audit().close().await;
        self.service().traces().flush().await;
        if is_first {
            self.service().telemetry().tell(|| Event::Stopping);
        }
        stopped
    }

    pub(crate) fn service(&self) -> &Service {
        &self.inner.service
    }

    pub(crate) fn caller(&self) -> &Caller {
        &self.caller
    }

    pub(crate) fn request_timeout(&self) -> Duration {
        self.inner.request_timeout
    }

    pub(crate) fn running(&self) -> &Running {
        &self.inner.running
    }
}

/// A node that nobody can reach any more stops, so that its directory can be opened again.
/// In the background, because a drop cannot wait: who must know when it is over calls
/// [`Concord::shutdown`].
impl Drop for Inner {
    fn drop(&mut self) {
        // Without a runtime its tasks are gone already.
        if let Ok(runtime) = tokio::runtime::Handle::try_current()
            && !self.running.is_stopped()
        {
            let node = self.service.node().clone();
            runtime.spawn(async move { node.shutdown().boxed().await });
        }
    }
}

impl fmt::Debug for Concord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Concord")
            .field("node_id", &self.node_id())
            .field("revision", &self.revision())
            .finish_non_exhaustive()
    }
}
