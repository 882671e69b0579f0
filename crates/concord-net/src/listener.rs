//! Accepts peers, has them prove themselves, and drives the engine's `Inbound`.
//!
//! Before the proof a connection costs one task, a few hundred bytes and a place among
//! the unproven, for at most the handshake's time; nothing of it reaches the engine.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use concord_raft::ports::{Inbound, PeerIdentity};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::NetConfig;
use crate::handshake::{self, Admitted, HandshakeError, Judgement, Refusal};
use crate::hello::{Judging, Mode};
use crate::limits::ACCEPT_RETRY;
use crate::logging::LogLimiter;
use crate::pipe::{PipeEnd, Wire};
use crate::proof::ClusterSecret;
use crate::registry::{Proven, Registry, Standing, Unproven};
use crate::stats::{Counters, NetStats, OpenGuard, RefusalReason, add};
use crate::tls::{ProvenNode, Tls};
use crate::{serving, stream};

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
    tls: Option<Arc<Tls>>,
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
            tls: None,
        })
    }

    /// Takes only peers that show the certificate of the node that they say they are.
    #[must_use]
    pub fn secured(mut self, tls: Arc<Tls>) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Starts to accept.
    pub fn serve(self, inbound: Arc<dyn Inbound>) -> Serving {
        let reception = Arc::new(Reception {
            inbound,
            secret: self.secret,
            tls: self.tls,
            registry: Registry::new(&self.config),
            config: self.config,
            counters: Arc::default(),
            cancel: CancellationToken::new(),
            tasks: TaskTracker::new(),
            log: LogLimiter::default(),
        });
        reception
            .tasks
            .spawn(Arc::clone(&reception).accept_all(self.socket));
        Serving {
            local_addr: self.local_addr,
            reception,
        }
    }
}

/// A listener at work. Dropping it closes everything without waiting.
#[derive(Debug)]
pub struct Serving {
    local_addr: SocketAddr,
    reception: Arc<Reception>,
}

impl Serving {
    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Its figures.
    pub fn stats(&self) -> NetStats {
        self.reception.counters.read()
    }

    /// Stops accepting, closes every connection, drops the engine's calls and streams that
    /// are at work, and waits until their tasks are gone.
    pub async fn shutdown(self) {
        self.reception.cancel.cancel();
        self.reception.tasks.close();
        self.reception.tasks.wait().await;
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.reception.cancel.cancel();
    }
}

/// A connection on its way in.
struct Connection<S> {
    stream: S,
    /// Who its certificate says it is.
    proven: ProvenNode,
    remote: SocketAddr,
    place: Unproven,
    open: OpenGuard,
}

impl<S> Connection<S> {
    fn new(stream: S, remote: SocketAddr, place: Unproven, counters: &Arc<Counters>) -> Self {
        Self {
            stream,
            proven: ProvenNode::default(),
            remote,
            place,
            open: OpenGuard::new(counters),
        }
    }
}

/// What all connections of a listener share.
pub(crate) struct Reception {
    inbound: Arc<dyn Inbound>,
    secret: ClusterSecret,
    tls: Option<Arc<Tls>>,
    config: NetConfig,
    registry: Arc<Registry>,
    counters: Arc<Counters>,
    cancel: CancellationToken,
    tasks: TaskTracker,
    log: LogLimiter,
}

impl std::fmt::Debug for Reception {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reception")
            .field("registry", &self.registry)
            .finish_non_exhaustive()
    }
}

impl Reception {
    async fn accept_all(self: Arc<Self>, socket: TcpListener) {
        loop {
            let accepted = tokio::select! {
                biased; // an order to stop goes before new work
                () = self.cancel.cancelled() => return,
                accepted = socket.accept() => accepted,
            };
            match accepted {
                Ok((stream, remote)) => self.receive(stream, remote),
                Err(error) => {
                    // Out of files or a connection that died in the queue: neither ends the listener.
                    if let Some(withheld) = self.log.admit(RefusalReason::Abandoned) {
                        tracing::warn!(%error, withheld, "cannot accept a peer connection");
                    }
                    tokio::time::sleep(ACCEPT_RETRY).await;
                }
            }
        }
    }

    fn receive(self: &Arc<Self>, stream: TcpStream, remote: SocketAddr) {
        add(&self.counters.attempted, 1);
        let Some((place, evicted_another)) = self.registry.accept() else {
            self.note_refusal(
                RefusalReason::TooMany,
                remote,
                &"every place is taken by a proven peer",
            );
            return;
        };
        if evicted_another {
            self.note_refusal(
                RefusalReason::TooMany,
                remote,
                &"an older unproven connection made room for it",
            );
        }
        if let Err(error) = stream.set_nodelay(true) {
            self.note_refusal(RefusalReason::Abandoned, remote, &error);
            return;
        }
        match self.tls.clone() {
            Some(tls) => self
                .tasks
                .spawn(Arc::clone(self).attend_secured(tls, stream, remote, place)),
            None => {
                let connection = Connection::new(stream, remote, place, &self.counters);
                self.tasks.spawn(Arc::clone(self).attend(connection))
            }
        };
    }

    /// The TLS around a connection, then the connection. Its place is taken all along.
    async fn attend_secured(
        self: Arc<Self>,
        tls: Arc<Tls>,
        stream: TcpStream,
        remote: SocketAddr,
        place: Unproven,
    ) {
        let bare = Connection::new(stream, remote, place, &self.counters);
        let accepted = tokio::select! {
            biased; // an order to stop, or to make room, goes before progress
            () = self.cancel.cancelled() => return,
            () = bare.place.evicted.cancelled() => return,
            accepted = tls.accept(bare.stream, self.config.handshake_timeout) => accepted,
        };
        match accepted {
            Ok((stream, facts)) => {
                let connection = Connection {
                    stream,
                    proven: ProvenNode(facts),
                    remote,
                    place: bare.place,
                    open: bare.open,
                };
                self.attend(connection).await;
            }
            Err(error) => {
                let error = HandshakeError::from(error);
                self.note_refusal(error.reason(), remote, &error);
            }
        }
    }

    /// Serves one connection from its hello to its last byte.
    async fn attend<S>(self: Arc<Self>, connection: Connection<S>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let Connection {
            mut stream,
            proven,
            remote,
            place,
            open,
        } = connection;
        let shaken = tokio::select! {
            biased; // an order to stop, or to make room, goes before progress
            () = self.cancel.cancelled() => return,
            () = place.evicted.cancelled() => return,
            shaken = handshake::answer(
                &mut stream,
                &self.secret,
                self.config.handshake_timeout,
                |judging| self.judge(judging, &proven),
            ) => shaken,
        };
        drop(place);
        let admitted = match shaken {
            Ok(admitted) => admitted,
            Err(error) => {
                self.note_refusal(error.reason(), remote, &error);
                return;
            }
        };
        add(&self.counters.established, 1);
        let hello = admitted.hello;
        let peer = hello.identity.node_id;
        tracing::debug!(%remote, %peer, lane = ?hello.lane, mode = ?hello.mode, version = admitted.version, "admitted a peer connection");
        let mut work = JoinSet::new();
        let end = self.serve(stream, &admitted, &mut work).await;
        drop(open);
        match end.reason() {
            Some(reason) => {
                self.counters.refuse(reason);
                if let Some(withheld) = self.log.admit(reason) {
                    tracing::warn!(%remote, %peer, lane = ?hello.lane, %end, withheld, "dropped a peer connection");
                }
            }
            None => tracing::debug!(%remote, %peer, lane = ?hello.lane, %end, "peer connection ended"),
        }
        // What the engine still does for this peer keeps the peer's place.
        let finish = async { while work.join_next().await.is_some() {} };
        self.cancel.run_until_cancelled(finish).await;
        work.shutdown().await;
        drop(admitted.place);
    }

    fn judge(&self, judging: &Judging, proven: &ProvenNode) -> Judgement<Proven> {
        let own = self.inbound.identity();
        Judgement {
            own,
            place: self.place_for(judging, proven, &own),
        }
    }

    fn place_for(
        &self,
        judging: &Judging,
        proven: &ProvenNode,
        own: &PeerIdentity,
    ) -> Result<Proven, Refusal> {
        let hello = &judging.hello;
        proven.check(&hello.identity).map_err(|detail| Refusal {
            reason: RefusalReason::Tls,
            words: "the certificate is not accepted".to_owned(),
            detail: Some(detail),
        })?;
        judging
            .check_expected(own)
            .map_err(|words| Refusal::new(RefusalReason::WrongNode, words))?;
        self.inbound
            .admit(&hello.identity, hello.lane)
            .map_err(|words| Refusal::new(RefusalReason::NotAdmitted, words))?;
        let too_many = || Refusal::new(RefusalReason::TooMany, "this peer has too many connections");
        self.registry.prove(hello.identity.node_id).ok_or_else(too_many)
    }

    /// Carries frames until the connection ends. The engine's part runs in `work`.
    async fn serve<S>(&self, stream: S, admitted: &Admitted<Proven>, work: &mut JoinSet<()>) -> PipeEnd
    where
        S: AsyncRead + AsyncWrite + Send + 'static,
    {
        let hello = admitted.hello;
        let standing = Standing::new(hello.identity, hello.lane, admitted.own);
        let wire = Wire {
            stream,
            lane: hello.lane,
            config: self.config.clone(),
            counters: Arc::clone(&self.counters),
            cancel: self.cancel.clone(),
        };
        match hello.mode {
            Mode::Call => serving::run(&self.inbound, &standing, wire, work).await,
            Mode::Stream => {
                let (duplex, ends) = stream::stream_ends();
                work.spawn(Arc::clone(&self.inbound).stream(hello.identity, hello.lane, duplex));
                stream::run(ends, wire, || standing.holds(self.inbound.as_ref())).await
            }
        }
    }

    fn note_refusal(&self, reason: RefusalReason, remote: SocketAddr, why: &dyn std::fmt::Display) {
        self.counters.refuse(reason);
        if let Some(withheld) = self.log.admit(reason) {
            tracing::warn!(%remote, reason = reason.name(), %why, withheld, "refused a peer connection");
        }
    }
}
