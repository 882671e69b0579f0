//! Makes one proven connection: name, TCP, handshake. Leaves when to `link`.

use std::io;
use std::time::Duration;
use std::{fmt, sync::Arc};

use concord_raft::ports::{Lane, PeerAddress, PeerIdentity, TransportError};
use tokio::net::{TcpStream, lookup_host};
use tokio_util::sync::CancellationToken;

use crate::config::NetConfig;
use crate::handshake::{self, HandshakeError, Refusal};
use crate::hello::{DialerHello, Mode};
use crate::logging::LogLimiter;
use crate::pipe::{PipeEnd, Wire};
use crate::proof::ClusterSecret;
use crate::stats::{Counters, RefusalReason, add};
use crate::tls::{PeerStream, ProvenNode, Tls, TlsFailure};

/// Tells who this node is, at each dial.
pub type IdentitySource = Arc<dyn Fn() -> PeerIdentity + Send + Sync>;

/// What every connection of a transport shares.
pub(crate) struct Dialer {
    pub(crate) identity: IdentitySource,
    pub(crate) secret: ClusterSecret,
    pub(crate) tls: Option<Arc<Tls>>,
    pub(crate) config: NetConfig,
    pub(crate) counters: Arc<Counters>,
    pub(crate) cancel: CancellationToken,
    pub(crate) log: LogLimiter,
}

impl fmt::Debug for Dialer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dialer")
            .field("identity", &(self.identity)())
            .finish_non_exhaustive()
    }
}

/// A proven connection, before its first frame.
#[derive(Debug)]
pub(crate) struct Dialled {
    /// Who this node said it is.
    pub(crate) own: PeerIdentity,
    pub(crate) wire: Wire<PeerStream>,
}

impl Dialer {
    /// Dials a peer once. Gives up when the transport is closed.
    pub(crate) async fn dial(
        &self,
        peer: &PeerAddress,
        lane: Lane,
        mode: Mode,
    ) -> Result<Dialled, TransportError> {
        let dialled = self
            .cancel
            .run_until_cancelled(self.dial_once(peer, lane, mode))
            .await;
        let error = match dialled {
            Some(Ok(dialled)) => return Ok(dialled),
            Some(Err(error)) => error,
            None => return Err(closed(&peer.address)),
        };
        add(
            &self.counters.unreachable,
            usize::from(matches!(error, TransportError::Unreachable { .. })),
        );
        Err(error)
    }

    async fn dial_once(&self, peer: &PeerAddress, lane: Lane, mode: Mode) -> Result<Dialled, TransportError> {
        add(&self.counters.attempted, 1);
        let unreachable = |reason: String| TransportError::Unreachable {
            address: peer.address.clone(),
            reason,
        };
        let stream = connect(&peer.address, self.config.connect_timeout)
            .await
            .map_err(|error| unreachable(error.to_string()))?;
        let (mut stream, proven) = self
            .secure(stream)
            .await
            .map_err(|error| self.judge_failure(peer, &error.into()))?;
        let own = (self.identity)();
        let hello = DialerHello {
            mode,
            lane,
            identity: own,
            expected: peer.node_id,
        };
        let shaken = handshake::dial(&mut stream, &hello, &self.secret, self.config.handshake_timeout).await;
        let shaken = shaken.and_then(|agreed| match proven.check(&agreed.peer) {
            Ok(()) => Ok(agreed),
            Err(detail) => Err(HandshakeError::Judged(Refusal {
                reason: RefusalReason::Tls,
                words: "the peer's certificate is not accepted".to_owned(),
                detail: Some(detail),
            })),
        });
        match shaken {
            Ok(agreed) => {
                add(&self.counters.established, 1);
                tracing::debug!(address = %peer.address, ?lane, ?mode, peer = %agreed.peer.node_id, version = agreed.version, "connected to peer");
                let wire = Wire {
                    stream,
                    lane,
                    config: self.config.clone(),
                    counters: Arc::clone(&self.counters),
                    cancel: self.cancel.clone(),
                };
                Ok(Dialled { own, wire })
            }
            Err(error) => Err(self.judge_failure(peer, &error)),
        }
    }

    /// The TLS around a connection, if this node uses it. Its own name and address prove nothing of a peer: see
    /// `tls::verify`.
    async fn secure(&self, stream: TcpStream) -> Result<(PeerStream, ProvenNode), TlsFailure> {
        let Some(tls) = &self.tls else {
            return Ok((PeerStream::Plain(stream), ProvenNode::default()));
        };
        let (stream, proven) = tls.connect(stream, self.config.handshake_timeout).await?;
        Ok((PeerStream::Tls(Box::new(stream)), proven))
    }

    /// A refusal is an answer that will not change by itself; all else is weather.
    fn judge_failure(&self, peer: &PeerAddress, error: &HandshakeError) -> TransportError {
        let (address, reason) = (peer.address.clone(), error.to_string());
        match error {
            HandshakeError::Hello(_) | HandshakeError::Judged(_) => {
                self.counters.refuse(error.reason());
                if let Some(withheld) = self.log.admit(error.reason()) {
                    tracing::warn!(%address, %reason, withheld, "peer connection refused");
                }
                TransportError::Refused { address, reason }
            }
            // Certificates are renewed while nodes run.
            HandshakeError::Tls(_) => {
                self.counters.refuse(error.reason());
                if let Some(withheld) = self.log.admit(error.reason()) {
                    tracing::warn!(%address, %reason, withheld, "no TLS with peer");
                }
                TransportError::Unreachable { address, reason }
            }
            HandshakeError::Abandoned
            | HandshakeError::Io(_)
            | HandshakeError::Timeout(_)
            | HandshakeError::NoRandomness => TransportError::Unreachable { address, reason },
        }
    }

    /// Notes how a connection ended.
    pub(crate) fn note_end(&self, address: &str, lane: Lane, end: &PipeEnd) {
        match end.reason() {
            Some(reason) => {
                self.counters.refuse(reason);
                if let Some(withheld) = self.log.admit(reason) {
                    tracing::warn!(%address, ?lane, %end, withheld, "dropped a peer connection");
                }
            }
            None => tracing::debug!(%address, ?lane, %end, "peer connection ended"),
        }
    }
}

/// What a closed transport answers.
pub(crate) fn closed(address: &str) -> TransportError {
    TransportError::Unreachable {
        address: address.to_owned(),
        reason: "this node is shutting down".to_owned(),
    }
}

/// Resolves anew each time, and tries each address of the name within its share of the limit.
async fn connect(address: &str, limit: Duration) -> io::Result<TcpStream> {
    let timed_out = || {
        io::Error::new(
            io::ErrorKind::TimedOut,
            format!("no connection within {} ms", limit.as_millis()),
        )
    };
    let attempt = async {
        let targets: Vec<_> = lookup_host(address).await?.collect();
        let share = limit / u32::try_from(targets.len().max(1)).unwrap_or(u32::MAX);
        let mut failure = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for target in targets {
            match tokio::time::timeout(share, TcpStream::connect(target)).await {
                Ok(Ok(stream)) => {
                    stream.set_nodelay(true)?;
                    return Ok(stream);
                }
                Ok(Err(error)) => failure = error,
                Err(_) => failure = timed_out(),
            }
        }
        Err(failure)
    };
    tokio::time::timeout(limit, attempt)
        .await
        .unwrap_or_else(|_| Err(timed_out()))
}
