//! Accepts connections: bounded in number, in header time and at shutdown.
//!
//! ```text
//!   accept ── permit ── task: (TLS) ── hyper connection ── Gate ── router
//!      │                         │
//!      └───── stop ──────────────┴── finishes the request it is in, then closes
//! ```

use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use concord_net::tls::Tls;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};
use tokio::task::JoinHandle;

use super::courtesy::{Asked, Courteous};
use super::gate::Gate;
use super::secure::{self, ClientCertificate};
use crate::config::HttpConfig;
use crate::limits;
use crate::metrics::HttpStats;

/// A running HTTP listener. Dropping it stops accepting; connections end on their own.
#[derive(Debug)]
pub(crate) struct HttpServer {
    local_addr: SocketAddr,
    stats: Option<Arc<HttpStats>>,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl HttpServer {
    /// Starts to accept.
    pub(super) fn start(
        socket: TcpListener,
        local_addr: SocketAddr,
        gate: Gate,
        config: &HttpConfig,
        tls: Option<Arc<Tls>>,
    ) -> Self {
        let (stop, stopped) = oneshot::channel();
        let stats = gate.stats().cloned();
        let acceptor = Acceptor {
            socket,
            gate,
            builder: builder(config.header_timeout),
            head_timeout: config.header_timeout,
            tls,
            stopping: watch::Sender::new(()),
            permits: Arc::new(Semaphore::new(config.connections_max)),
        };
        let task = tokio::spawn(acceptor.run(stopped));
        Self {
            local_addr,
            stats,
            stop: Some(stop),
            task,
        }
    }

    /// The bound address.
    pub(crate) fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// What it counts, if it does.
    pub(crate) fn stats(&self) -> Option<&Arc<HttpStats>> {
        self.stats.as_ref()
    }

    /// Stops accepting, lets requests in flight finish for a bounded time, closes.
    pub(crate) async fn shutdown(mut self) {
        if let Some(stop) = self.stop.take() {
            // The acceptor is gone only when its runtime is: then there is nothing to stop.
            let _ = stop.send(());
        }
        if let Err(error) = self.task.await {
            tracing::warn!(%error, "http listener did not end in order");
        }
    }
}

fn builder(header_timeout: Duration) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(header_timeout)
        // No `pipeline_flush`: with it the library never sends its own rejections.
        .max_buf_size(limits::HTTP_HEAD_BYTES_MAX);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits::HTTP2_STREAMS_MAX)
        .keep_alive_interval(limits::HTTP2_PING_INTERVAL)
        .keep_alive_timeout(header_timeout);
    builder
}

struct Acceptor {
    socket: TcpListener,
    gate: Gate,
    builder: auto::Builder<TokioExecutor>,
    /// How long a connection may take until its first request is there.
    head_timeout: Duration,
    tls: Option<Arc<Tls>>,
    /// Gone when no more connections are taken: those that still shake hands then go too.
    stopping: watch::Sender<()>,
    permits: Arc<Semaphore>,
}

impl Acceptor {
    async fn run(self, mut stopped: oneshot::Receiver<()>) {
        let graceful = GracefulShutdown::new();
        loop {
            let accepted = async {
                // The permit comes first: over the cap, connections wait in the listen queue.
                let permit = Arc::clone(&self.permits).acquire_owned().await;
                (permit, self.socket.accept().await)
            };
            tokio::select! {
                biased;
                // A stop goes before any new connection.
                _ = &mut stopped => break,
                (permit, connection) = accepted => match (permit, connection) {
                    (Ok(permit), Ok((stream, _))) => self.serve(stream, permit, &graceful),
                    (_, Err(error)) => {
                        // Out of descriptors, or the peer gave up: either passes.
                        tracing::warn!(%error, "cannot accept an http connection");
                        tokio::time::sleep(limits::HTTP_ACCEPT_PAUSE).await;
                    }
                    // Nobody closes the semaphore.
                    (Err(_), Ok(_)) => break,
                },
            }
        }
        drop(self.socket);
        drop(self.stopping);
        if tokio::time::timeout(limits::HTTP_DRAIN_TIMEOUT, graceful.shutdown())
            .await
            .is_err()
        {
            tracing::warn!("http requests were still running at the end of the shutdown");
        }
    }

    fn serve(&self, stream: TcpStream, permit: OwnedSemaphorePermit, graceful: &GracefulShutdown) {
        // Answers are small and complete: waiting to fill a packet only adds delay.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "cannot switch off Nagle's algorithm");
        }
        let source = stream.peer_addr().ok().map(|address| address.ip());
        let connection = Connection {
            gate: self.gate.clone(),
            source,
            builder: self.builder.clone(),
            head_timeout: self.head_timeout,
            permit,
            watcher: graceful.watcher(),
        };
        let Some(tls) = self.tls.clone() else {
            tokio::spawn(connection.serve(stream, None));
            return;
        };
        let mut stopping = self.stopping.subscribe();
        // In a task of its own: a client that is slow with its handshake keeps nobody waiting.
        tokio::spawn(async move {
            let secured = tokio::select! {
                biased; // an order to stop goes before progress
                _ = stopping.changed() => None,
                secured = secure::secure(&tls, stream, connection.source, connection.head_timeout) => secured,
            };
            if let Some(secured) = secured {
                connection.serve(secured.stream, secured.client).await;
            }
        });
    }
}

/// What a connection is served with, TLS or not. Counted from when it was accepted.
struct Connection {
    gate: Gate,
    /// Who is at the other end.
    source: Option<IpAddr>,
    builder: auto::Builder<TokioExecutor>,
    head_timeout: Duration,
    permit: OwnedSemaphorePermit,
    watcher: Watcher,
}

impl Connection {
    async fn serve<S>(self, stream: S, client: Option<ClientCertificate>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let asked = Asked::default();
        let stats = self.gate.stats().cloned();
        let _connected = stats.as_ref().map(HttpStats::connected);
        let stream = Courteous::new(stream, asked.clone(), self.gate.concord().clone(), stats);
        let connection = self
            .builder
            .serve_connection(
                TokioIo::new(stream),
                self.gate.into_service(asked.clone(), client, self.source),
            )
            .into_owned();
        let mut connection = pin!(self.watcher.watch(connection));
        // The library's own limit begins when it knows which version of HTTP is spoken, so that whoever
        // says nothing at all would be waited for without end.
        let ended = match tokio::time::timeout(self.head_timeout, &mut connection).await {
            Ok(ended) => ended,
            Err(_) if asked.is_set() => connection.await,
            Err(_) => {
                tracing::debug!("http connection closed: no request came");
                Ok(())
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "http connection ended early");
        }
        drop(self.permit);
    }
}
