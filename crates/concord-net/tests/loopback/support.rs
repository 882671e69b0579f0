//! Nodes with an engine that does what the tests' messages tell it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use concord_core::ids::NodeId;
use concord_net::tls::Tls;
use concord_net::{ClusterSecret, IdentitySource, Listener, NetConfig, Serving, TcpTransport};
use concord_raft::ports::{Duplex, Inbound, Lane, PeerAddress, PeerIdentity};
use futures::future::BoxFuture;
use parking_lot::Mutex;
use tokio::sync::Semaphore;

/// Longer than anything here takes, short enough for a test that hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn identity(id: u64) -> PeerIdentity {
    PeerIdentity {
        node_id: NodeId::new(id),
        store_id: u128::from(id),
        cluster_id: Some(7),
    }
}

pub(crate) fn secret(byte: u8) -> ClusterSecret {
    ClusterSecret::new(vec![byte; 32]).unwrap()
}

pub(crate) fn config() -> NetConfig {
    NetConfig::default()
}

/// Polls for something that another task brings about.
pub(crate) async fn wait_until(condition: impl Fn() -> bool) {
    let all = async {
        while !condition() {
            // tidy-allow(sleep): looks at state of other tasks that announce nothing.
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(PATIENCE, all)
        .await
        .expect("what the test waits for never came");
}

/// Answers `hold` when released, `huge` with 1,001 bytes, `panic` never, all else with itself.
#[derive(Debug)]
pub(crate) struct Engine {
    pub(crate) identity: Mutex<PeerIdentity>,
    pub(crate) seen: Mutex<Vec<(PeerIdentity, Lane)>>,
    pub(crate) admissions: AtomicUsize,
    pub(crate) most_working: AtomicUsize,
    working: AtomicUsize,
    held: Semaphore,
    released: Semaphore,
    /// Bytes of messages that streams have taken.
    pub(crate) streamed: AtomicUsize,
    /// Streams that are being served.
    pub(crate) streams: AtomicUsize,
}

impl Engine {
    fn new(id: u64) -> Arc<Self> {
        Arc::new(Self {
            identity: Mutex::new(identity(id)),
            seen: Mutex::default(),
            admissions: AtomicUsize::new(0),
            most_working: AtomicUsize::new(0),
            working: AtomicUsize::new(0),
            held: Semaphore::new(0),
            released: Semaphore::new(0),
            streamed: AtomicUsize::new(0),
            streams: AtomicUsize::new(0),
        })
    }

    /// Waits until one more call is being held.
    pub(crate) async fn take_held(&self) {
        self.held.acquire().await.unwrap().forget();
    }

    pub(crate) fn release(&self, count: usize) {
        self.released.add_permits(count);
    }

    async fn hold(&self) {
        let working = self.working.fetch_add(1, Ordering::Relaxed) + 1;
        self.most_working.fetch_max(working, Ordering::Relaxed);
        self.held.add_permits(1);
        self.released.acquire().await.unwrap().forget();
        self.working.fetch_sub(1, Ordering::Relaxed);
    }

    /// By lane: `Forward` echoes, `Snapshot` counts bytes and has a last word, `Append`
    /// takes nothing until released, `Control` hangs up.
    async fn serve_stream(&self, lane: Lane, mut duplex: Duplex) {
        match lane {
            Lane::Forward => {
                while let Some(message) = duplex.receiver.recv().await {
                    self.streamed.fetch_add(message.len(), Ordering::Relaxed);
                    if duplex.sender.send(message).await.is_err() {
                        return;
                    }
                }
            }
            Lane::Snapshot => {
                let mut bytes = 0;
                while let Some(message) = duplex.receiver.recv().await {
                    bytes += message.len();
                    self.streamed.fetch_add(message.len(), Ordering::Relaxed);
                }
                let _ = duplex.sender.send(Bytes::from(format!("{bytes} bytes"))).await;
            }
            Lane::Append => {
                self.hold().await;
                while let Some(message) = duplex.receiver.recv().await {
                    self.streamed.fetch_add(message.len(), Ordering::Relaxed);
                }
            }
            Lane::Control => {}
        }
    }
}

impl Inbound for Engine {
    fn admit(&self, peer: &PeerIdentity, _: Lane) -> Result<(), String> {
        self.admissions.fetch_add(1, Ordering::Relaxed);
        let own = self.identity.lock().cluster_id;
        match (own, peer.cluster_id) {
            (Some(own), Some(theirs)) if own != theirs => {
                Err(format!("node {} is of another cluster", peer.node_id))
            }
            _ => Ok(()),
        }
    }

    fn call(self: Arc<Self>, peer: PeerIdentity, lane: Lane, request: Bytes) -> BoxFuture<'static, Bytes> {
        self.seen.lock().push((peer, lane));
        Box::pin(async move {
            match request.as_ref() {
                b"hold" => self.hold().await,
                b"huge" => return Bytes::from(vec![0; 1001]),
                b"panic" => panic!("as the test told it"),
                _ => {}
            }
            request
        })
    }

    fn stream(self: Arc<Self>, peer: PeerIdentity, lane: Lane, duplex: Duplex) -> BoxFuture<'static, ()> {
        self.seen.lock().push((peer, lane));
        self.streams.fetch_add(1, Ordering::Relaxed);
        Box::pin(async move {
            self.serve_stream(lane, duplex).await;
            self.streams.fetch_sub(1, Ordering::Relaxed);
        })
    }

    fn identity(&self) -> PeerIdentity {
        *self.identity.lock()
    }
}

/// A node that listens.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) engine: Arc<Engine>,
    pub(crate) serving: Serving,
    pub(crate) tls: Option<Arc<Tls>>,
}

impl Node {
    pub(crate) async fn start(id: u64) -> Self {
        Self::start_with(id, 1, config()).await
    }

    pub(crate) async fn start_with(id: u64, secret_byte: u8, config: NetConfig) -> Self {
        Self::start_at(id, secret_byte, config, "127.0.0.1:0").await
    }

    pub(crate) async fn start_at(id: u64, secret_byte: u8, config: NetConfig, address: &str) -> Self {
        let engine = Engine::new(id);
        let listener = Listener::bind(address, secret(secret_byte), config)
            .await
            .unwrap();
        let serving = listener.serve(Arc::clone(&engine) as Arc<dyn Inbound>);
        Self {
            engine,
            serving,
            tls: None,
        }
    }

    pub(crate) async fn start_secured(id: u64, tls: Arc<Tls>) -> Self {
        Self::start_secured_with(id, tls, config()).await
    }

    pub(crate) async fn start_secured_with(id: u64, tls: Arc<Tls>, config: NetConfig) -> Self {
        let engine = Engine::new(id);
        let listener = Listener::bind("127.0.0.1:0", secret(1), config).await.unwrap();
        let serving = listener
            .secured(Arc::clone(&tls))
            .serve(Arc::clone(&engine) as Arc<dyn Inbound>);
        Self {
            engine,
            serving,
            tls: Some(tls),
        }
    }

    pub(crate) fn peer(&self) -> PeerAddress {
        PeerAddress {
            node_id: Some(self.engine.identity.lock().node_id),
            ..self.seed()
        }
    }

    /// Known by its address only.
    pub(crate) fn seed(&self) -> PeerAddress {
        PeerAddress {
            node_id: None,
            address: self.serving.local_addr().to_string(),
        }
    }
}

/// An address where nobody listens.
pub(crate) async fn nobody() -> PeerAddress {
    let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    PeerAddress {
        node_id: None,
        address: socket.local_addr().unwrap().to_string(),
    }
}

pub(crate) fn transport(id: u64, secret_byte: u8) -> TcpTransport {
    transport_with(id, secret_byte, config())
}

pub(crate) fn transport_with(id: u64, secret_byte: u8, config: NetConfig) -> TcpTransport {
    transport_as(Arc::new(move || identity(id)), secret_byte, config)
}

pub(crate) fn transport_as(source: IdentitySource, secret_byte: u8, config: NetConfig) -> TcpTransport {
    TcpTransport::new(source, secret(secret_byte), config)
}
