//! Calls and streams to peers: `Transport` over TCP.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use concord_raft::ports::{Duplex, Lane, PeerAddress, PeerIdentity, Transport, TransportError};
use futures::future::BoxFuture;

use crate::config::NetConfig;
use crate::proof::ClusterSecret;
use crate::stats::{Counters, NetStats};

/// Tells who this node is, at each dial.
pub type IdentitySource = Arc<dyn Fn() -> PeerIdentity + Send + Sync>;

/// Talks to peers over TCP. Must live within a tokio runtime.
///
/// Connections are made when something is to be sent and kept while they are used.
pub struct TcpTransport {
    identity: IdentitySource,
    secret: ClusterSecret,
    config: NetConfig,
    counters: Arc<Counters>,
}

impl TcpTransport {
    /// A transport without connections.
    pub fn new(identity: IdentitySource, secret: ClusterSecret, config: NetConfig) -> Self {
        Self {
            identity,
            secret,
            config,
            counters: Arc::default(),
        }
    }

    /// Its figures.
    pub fn stats(&self) -> NetStats {
        self.counters.read()
    }

    /// Closes every connection; calls that wait end with `Interrupted`, later ones with `Unreachable`.
    pub fn close(&self) {}
}

impl fmt::Debug for TcpTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TcpTransport")
            .field("identity", &(self.identity)())
            .finish_non_exhaustive()
    }
}

impl Transport for TcpTransport {
    fn call(
        &self,
        peer: &PeerAddress,
        _lane: Lane,
        _request: Bytes,
        _timeout: Duration,
    ) -> BoxFuture<'static, Result<Bytes, TransportError>> {
        let _ = (&self.secret, &self.config);
        let address = peer.address.clone();
        Box::pin(async move {
            Err(TransportError::Unreachable {
                address,
                reason: "no wire yet".into(),
            })
        })
    }

    fn open(&self, peer: &PeerAddress, _lane: Lane) -> BoxFuture<'static, Result<Duplex, TransportError>> {
        let address = peer.address.clone();
        Box::pin(async move {
            Err(TransportError::Unreachable {
                address,
                reason: "no wire yet".into(),
            })
        })
    }
}
