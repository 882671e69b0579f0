//! Calls and streams to peers: `Transport` over TCP.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use concord_raft::ports::{Duplex, Lane, PeerAddress, Transport, TransportError};
use futures::future::BoxFuture;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use crate::config::NetConfig;
use crate::dialer::{Dialer, IdentitySource};
use crate::limits::LINKS_MAX;
use crate::link::Link;
use crate::logging::LogLimiter;
use crate::proof::ClusterSecret;
use crate::stats::NetStats;
use crate::tls::Tls;

/// Talks to peers over TCP. Its calls must run within a tokio runtime.
///
/// Connections are made when something is to be sent, one for each peer and lane and one
/// for each stream, and kept while they are used. Dropping the transport closes them.
pub struct TcpTransport {
    dialer: Arc<Dialer>,
    /// By address, then few by node id and lane: no allocation to find one.
    links: Mutex<HashMap<String, Vec<Arc<Link>>>>,
}

impl TcpTransport {
    /// A transport without connections. `identity` is asked at each dial and each call;
    /// when it changes, connections are made anew.
    pub fn new(identity: IdentitySource, secret: ClusterSecret, config: NetConfig) -> Self {
        Self::with(identity, secret, config, None)
    }

    /// The same with TLS: it shows its certificate, and talks only to peers that show that of the node
    /// that they say they are.
    pub fn secured(
        identity: IdentitySource,
        secret: ClusterSecret,
        config: NetConfig,
        tls: Arc<Tls>,
    ) -> Self {
        Self::with(identity, secret, config, Some(tls))
    }

    fn with(
        identity: IdentitySource,
        secret: ClusterSecret,
        config: NetConfig,
        tls: Option<Arc<Tls>>,
    ) -> Self {
        let dialer = Dialer {
            identity,
            secret,
            tls,
            config,
            counters: Arc::default(),
            cancel: CancellationToken::new(),
            log: LogLimiter::default(),
        };
        Self {
            dialer: Arc::new(dialer),
            links: Mutex::default(),
        }
    }

    /// Its figures.
    pub fn stats(&self) -> NetStats {
        self.dialer.counters.read()
    }

    /// Closes every connection at once: calls that wait end with `Interrupted`, later ones
    /// with `Unreachable`.
    pub fn close(&self) {
        self.dialer.cancel.cancel();
        self.links.lock().clear();
    }

    fn link(&self, peer: &PeerAddress, lane: Lane) -> Result<Arc<Link>, TransportError> {
        let mut links = self.links.lock();
        let known = links
            .get(&peer.address)
            .and_then(|all| all.iter().find(|link| link.leads_to(peer, lane)));
        if let Some(link) = known {
            return Ok(Arc::clone(link));
        }
        if links.values().map(Vec::len).sum::<usize>() >= LINKS_MAX {
            links.retain(|_, all| {
                all.retain(|link| !link.is_idle());
                !all.is_empty()
            });
            if links.values().map(Vec::len).sum::<usize>() >= LINKS_MAX {
                let reason = format!("already connected to {LINKS_MAX} peers");
                return Err(TransportError::Unreachable {
                    address: peer.address.clone(),
                    reason,
                });
            }
        }
        let link = Link::new(peer.clone(), lane, Arc::clone(&self.dialer));
        links
            .entry(peer.address.clone())
            .or_default()
            .push(Arc::clone(&link));
        Ok(link)
    }
}

impl Drop for TcpTransport {
    fn drop(&mut self) {
        self.close();
    }
}

impl fmt::Debug for TcpTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TcpTransport")
            .field("dialer", &self.dialer)
            .finish_non_exhaustive()
    }
}

impl Transport for TcpTransport {
    fn call(
        &self,
        peer: &PeerAddress,
        lane: Lane,
        request: Bytes,
        timeout: Duration,
    ) -> BoxFuture<'static, Result<Bytes, TransportError>> {
        let link = self.link(peer, lane);
        Box::pin(async move { link?.call(request, timeout).await })
    }

    fn open(&self, peer: &PeerAddress, lane: Lane) -> BoxFuture<'static, Result<Duplex, TransportError>> {
        let link = self.link(peer, lane);
        Box::pin(async move { link?.open().await })
    }
}
