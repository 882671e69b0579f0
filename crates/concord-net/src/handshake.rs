//! Drives the handshake of `hello` over a stream, within a deadline.
//!
//! Reads exactly what each message announces, never more, so the frames that follow are
//! left in the stream; a length is checked before a byte of it is read.

use std::io;
use std::time::Duration;

use concord_raft::ports::PeerIdentity;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::hello::{
    Agreed, Answering, DialerHello, Dialing, HELLO_HEAD_BYTES, HelloError, Judging, NONCE_BYTES,
    UNPROVEN_VERDICT, VERDICT_HEAD_BYTES, VERSIONS, hello_body_bytes, verdict_rest_bytes,
};
use crate::pipe::is_peers_end;
use crate::proof::{ClusterSecret, PROOF_BYTES, Side};
use crate::stats::RefusalReason;
use crate::tls::{ALERT_RECORD, HANDSHAKE_RECORD, TlsFailure};

/// Why a connection did not come about.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HandshakeError {
    #[error(transparent)]
    Hello(#[from] HelloError),
    /// The other side ended the connection.
    #[error("the peer ended the connection within the handshake")]
    Abandoned,
    #[error("the connection failed within the handshake: {0}")]
    Io(io::Error),
    #[error("no handshake within {} ms", .0.as_millis())]
    Timeout(Duration),
    #[error("no randomness for a nonce")]
    NoRandomness,
    /// The listener refused, for this reason.
    #[error(transparent)]
    Judged(Refusal),
    /// The TLS around it failed.
    #[error(transparent)]
    Tls(#[from] TlsFailure),
}

/// Why a proven dialer is not let in.
#[derive(Debug, thiserror::Error)]
#[error("{words}{}", detail.as_ref().map(|detail| format!(": {detail}")).unwrap_or_default())]
pub(crate) struct Refusal {
    pub(crate) reason: RefusalReason,
    /// Told to the dialer.
    pub(crate) words: String,
    /// Not told to it.
    pub(crate) detail: Option<String>,
}

impl Refusal {
    pub(crate) fn new(reason: RefusalReason, words: impl Into<String>) -> Self {
        Self {
            reason,
            words: words.into(),
            detail: None,
        }
    }
}

impl From<io::Error> for HandshakeError {
    fn from(error: io::Error) -> Self {
        if is_peers_end(&error) {
            Self::Abandoned
        } else if error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>()) {
            // A dialer's certificate is judged when its own handshake is through already.
            Self::Tls(error.into())
        } else {
            Self::Io(error)
        }
    }
}

impl HandshakeError {
    /// What the counters call it.
    pub(crate) fn reason(&self) -> RefusalReason {
        match self {
            Self::Hello(HelloError::NotConcord | HelloError::Malformed(_)) => RefusalReason::Malformed,
            Self::Hello(HelloError::SpeaksTls) | Self::Tls(_) => RefusalReason::Tls,
            Self::Hello(HelloError::Version { .. }) => RefusalReason::Version,
            Self::Hello(HelloError::ProofRefused | HelloError::ProofWrong) => RefusalReason::Proof,
            Self::Hello(HelloError::Refused(_)) => RefusalReason::NotAdmitted,
            Self::Hello(HelloError::WrongNode { .. }) => RefusalReason::WrongNode,
            Self::Abandoned | Self::Io(_) | Self::NoRandomness => RefusalReason::Abandoned,
            Self::Timeout(_) => RefusalReason::HandshakeTimeout,
            Self::Judged(refusal) => refusal.reason,
        }
    }
}

fn nonce() -> Result<[u8; NONCE_BYTES], HandshakeError> {
    let mut nonce = [0; NONCE_BYTES];
    getrandom::fill(&mut nonce).map_err(|_| HandshakeError::NoRandomness)?;
    Ok(nonce)
}

async fn read_hello(stream: &mut (impl AsyncRead + Unpin), sender: Side) -> Result<Vec<u8>, HandshakeError> {
    let mut head = [0; HELLO_HEAD_BYTES];
    let (first, others) = head.split_at_mut(1);
    stream.read_exact(first).await?;
    // An alert is shorter than a hello's head: it must not be waited for.
    if matches!(*first, [HANDSHAKE_RECORD | ALERT_RECORD]) {
        return Err(HelloError::SpeaksTls.into());
    }
    stream.read_exact(others).await?;
    let mut bytes = head.to_vec();
    bytes.resize(HELLO_HEAD_BYTES + hello_body_bytes(&head, sender)?, 0);
    let (_, body) = bytes.split_at_mut(HELLO_HEAD_BYTES);
    stream.read_exact(body).await?;
    Ok(bytes)
}

/// The dialer's side.
pub(crate) async fn dial<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    hello: &DialerHello,
    secret: &ClusterSecret,
    limit: Duration,
) -> Result<Agreed, HandshakeError> {
    let nonce = nonce()?;
    let talk = async {
        let (dialing, bytes) = Dialing::begin(hello, VERSIONS, &nonce);
        stream.write_all(&bytes).await?;
        stream.flush().await?;
        let answer = read_hello(stream, Side::Listener).await?;
        let (proven, proof) = dialing.handle_hello(&answer, secret)?;
        stream.write_all(&proof).await?;
        stream.flush().await?;
        let mut head = [0; VERDICT_HEAD_BYTES];
        stream.read_exact(&mut head).await?;
        let mut verdict = head.to_vec();
        verdict.resize(VERDICT_HEAD_BYTES + verdict_rest_bytes(head)?, 0);
        let (_, rest) = verdict.split_at_mut(VERDICT_HEAD_BYTES);
        stream.read_exact(rest).await?;
        Ok(proven.handle_verdict(&verdict, secret)?)
    };
    tokio::time::timeout(limit, talk)
        .await
        .unwrap_or(Err(HandshakeError::Timeout(limit)))
}

/// What a listener makes of a proven dialer: a place for it and its own identity, or why not.
pub(crate) struct Judgement<P> {
    pub(crate) own: PeerIdentity,
    pub(crate) place: Result<P, Refusal>,
}

/// A dialer that is through.
pub(crate) struct Admitted<P> {
    pub(crate) hello: DialerHello,
    pub(crate) version: u16,
    /// Whom this node said it is.
    pub(crate) own: PeerIdentity,
    pub(crate) place: P,
}

/// The listener's side. `judge` runs once the secret is proven.
pub(crate) async fn answer<S: AsyncRead + AsyncWrite + Unpin, P>(
    stream: &mut S,
    secret: &ClusterSecret,
    limit: Duration,
    judge: impl FnOnce(&Judging) -> Judgement<P>,
) -> Result<Admitted<P>, HandshakeError> {
    let nonce = nonce()?;
    let talk = async {
        let hello = read_hello(stream, Side::Dialer).await?;
        let (answering, bytes) = Answering::begin(&hello, VERSIONS, &nonce)?;
        stream.write_all(&bytes).await?;
        stream.flush().await?;
        answering.check_version()?;
        let mut proof = [0; PROOF_BYTES];
        stream.read_exact(&mut proof).await?;
        let judging = match answering.handle_proof(&proof, secret) {
            Ok(judging) => judging,
            Err(error) => {
                stream.write_all(&UNPROVEN_VERDICT).await?;
                stream.flush().await?;
                return Err(error.into());
            }
        };
        let (hello, version) = (judging.hello, judging.version);
        let Judgement { own, place } = judge(&judging);
        let outcome = match &place {
            Ok(_) => Ok(()),
            Err(refusal) => Err(refusal.words.clone()),
        };
        stream.write_all(&judging.verdict(&own, &outcome, secret)).await?;
        stream.flush().await?;
        match place {
            Ok(place) => Ok(Admitted {
                hello,
                version,
                own,
                place,
            }),
            Err(refusal) => Err(HandshakeError::Judged(refusal)),
        }
    };
    tokio::time::timeout(limit, talk)
        .await
        .unwrap_or(Err(HandshakeError::Timeout(limit)))
}

#[cfg(test)]
mod tests;
