//! What runs beside a node, and how all of it ends.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use concord_core::Store;
use concord_core::ids::NodeId;
use concord_net::gossip::Gossip;
use concord_net::{Serving, TcpTransport};
use concord_raft::{Node, StopReason};
use futures::FutureExt as _;
use parking_lot::Mutex;
use tokio::sync::{OnceCell, oneshot};
use tokio::task::JoinHandle;

use crate::certificates::Certificates;
use crate::concord::access::Secret;
use crate::error::Error;

/// What runs beside the node, and what is known of it.
pub(crate) struct Running {
    pub(super) node_id: NodeId,
    pub(super) peer_address: Option<String>,
    /// Silence of a quorum after which a leader does not count as one any more.
    pub(super) patience: Duration,
    pub(super) transport: Option<Arc<TcpTransport>>,
    pub(super) serving: Mutex<Option<Serving>>,
    pub(super) gossip: Option<Gossip>,
    pub(super) forming: Mutex<Option<JoinHandle<()>>>,
    pub(super) trouble: Arc<Mutex<Option<String>>>,
    pub(super) certificates: Arc<Certificates>,
    /// Looks for new certificates.
    pub(super) renewing: Mutex<Option<JoinHandle<()>>>,
    /// Whether the first token was made here, once that is known.
    pub(super) root: Mutex<Option<oneshot::Receiver<Option<Secret>>>>,
    /// Whether it is not known yet that there are tokens.
    pub(super) waits_for_root: AtomicBool,
    #[cfg(feature = "http")]
    pub(super) http: Mutex<Vec<crate::http::HttpServer>>,
    pub(super) http_address: std::sync::OnceLock<SocketAddr>,
    pub(super) metrics_address: std::sync::OnceLock<SocketAddr>,
    pub(super) stopped: OnceCell<Result<(), Error>>,
}

impl Running {
    pub(crate) fn node_id(&self) -> NodeId {
        self.node_id
    }

    pub(crate) fn peer_address(&self) -> Option<&str> {
        self.peer_address.as_deref()
    }

    /// What the connections with other nodes count: those that this one made, and those that it took.
    #[cfg(feature = "http")]
    pub(crate) fn peer_stats(&self) -> Vec<(&'static str, concord_net::NetStats)> {
        let out = self
            .transport
            .as_ref()
            .map(|transport| ("out", transport.stats()));
        let serving = self.serving.lock();
        let taken = serving.as_ref().map(|serving| ("in", serving.stats()));
        out.into_iter().chain(taken).collect()
    }

    /// Where this node gossips, if it does.
    pub(crate) fn gossip_address(&self) -> Option<SocketAddr> {
        self.gossip.as_ref().map(Gossip::local_addr)
    }

    /// What gossip counts, if there is any.
    #[cfg(feature = "http")]
    pub(crate) fn gossip_stats(&self) -> Option<concord_net::gossip::GossipStats> {
        self.gossip.as_ref().map(Gossip::stats)
    }

    /// What the HTTP listener counts, if there is one.
    #[cfg(feature = "http")]
    pub(crate) fn http_stats(&self) -> Option<Arc<crate::metrics::HttpStats>> {
        self.http.lock().iter().find_map(|server| server.stats().cloned())
    }

    pub(crate) fn http_address(&self) -> Option<SocketAddr> {
        self.http_address.get().copied()
    }

    pub(crate) fn metrics_address(&self) -> Option<SocketAddr> {
        self.metrics_address.get().copied()
    }

    pub(crate) fn patience(&self) -> Duration {
        self.patience
    }

    /// Why the node cannot come to belong to a cluster, if it was refused.
    pub(crate) fn trouble(&self) -> Option<String> {
        self.trouble.lock().clone()
    }

    pub(crate) fn certificates(&self) -> &Arc<Certificates> {
        &self.certificates
    }

    /// Who asks first learns of the first token.
    pub(crate) fn take_root(&self) -> Option<oneshot::Receiver<Option<Secret>>> {
        self.root.lock().take()
    }

    /// Whether nobody can be let in yet, because there may be no token.
    pub(crate) fn waits_for_root(&self) -> bool {
        self.waits_for_root.load(Ordering::Relaxed)
    }

    /// There are tokens.
    pub(crate) fn root_is_there(&self) {
        self.waits_for_root.store(false, Ordering::Relaxed);
    }

    /// Whether a shutdown has been through.
    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.initialized()
    }

    /// Stops everything, once; later callers wait for the first.
    pub(crate) async fn shutdown(&self, node: &Node<Store>) -> Result<(), Error> {
        self.stopped.get_or_init(|| self.stop(node)).await.clone()
    }

    async fn stop(&self, node: &Node<Store>) -> Result<(), Error> {
        #[cfg(feature = "http")]
        {
            // Requests in flight need the node, so they go first.
            let listeners = std::mem::take(&mut *self.http.lock());
            for listener in listeners {
                listener.shutdown().await;
            }
        }
        for task in [&self.forming, &self.renewing] {
            if let Some(task) = task.lock().take() {
                task.abort();
            }
        }
        if let Some(gossip) = &self.gossip {
            gossip.stop();
        }
        let stopped = node.stopped();
        // Boxed, like every call into the engine: its futures are too deep to nest.
        node.shutdown().boxed().await;
        let serving = self.serving.lock().take();
        if let Some(serving) = serving {
            serving.shutdown().await;
        }
        if let Some(transport) = &self.transport {
            transport.close();
        }
        let reason = stopped.borrow().clone();
        match reason {
            None | Some(StopReason::Shutdown) => Ok(()),
            Some(reason) => Err(reason.into()),
        }
    }
}
