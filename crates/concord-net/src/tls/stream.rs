//! Handshakes, and the streams that come of them.

use std::error::Error;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use concord_raft::ports::PeerIdentity;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::certificate::CertificateFacts;
use super::{Tls, TlsError};
use crate::limits::{PARTING_BYTES_MAX, PARTING_TIMEOUT};

/// A listener's end of a connection.
pub type TlsServerStream<S> = tokio_rustls::server::TlsStream<S>;

/// Every TLS record of a handshake begins with this.
pub(crate) const HANDSHAKE_RECORD: u8 = 0x16;
/// And one that says why there is none with this.
pub(crate) const ALERT_RECORD: u8 = 0x15;

/// Why a handshake failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsFailure {
    /// What came is not TLS.
    #[error("the other side does not use TLS, which this node requires")]
    NotTls,
    /// The other side ended the connection without a reason.
    #[error("the other side ended the connection within the TLS handshake: it may not use TLS")]
    Abandoned,
    /// No agreement, or a certificate that is not accepted.
    #[error("{}", words(.0).unwrap_or_else(|| .0.to_string()))]
    Refused(io::Error),
    /// Too slow.
    #[error("no TLS handshake within {} ms", .0.as_millis())]
    Timeout(Duration),
    /// What the other side's certificate says cannot be used.
    #[error(transparent)]
    Certificate(#[from] super::UnfitCertificate),
    /// This end has no TLS for dialling.
    #[error(transparent)]
    Setup(#[from] TlsError),
}

/// What TLS has to do with an error, if it has.
fn cause_of<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        // An I/O error passes over the error that it is made of.
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        if let Some(found) = inner.and_then(|inner| cause_of(inner)) {
            return Some(found);
        }
        cause = error.source();
    }
    None
}

/// An error of TLS in words, for users of libraries that have TLS only as a cause of theirs.
pub fn words(error: &(dyn Error + 'static)) -> Option<String> {
    cause_of(error).map(words_of)
}

/// Whether the other side refused the handshake, so that nothing that was sent can have had an effect.
pub fn is_refused(error: &(dyn Error + 'static)) -> bool {
    use rustls::AlertDescription as Alert;
    matches!(
        cause_of(error),
        Some(rustls::Error::AlertReceived(
            Alert::CertificateRequired
                | Alert::BadCertificate
                | Alert::UnsupportedCertificate
                | Alert::CertificateExpired
                | Alert::CertificateUnknown
                | Alert::CertificateRevoked
                | Alert::UnknownCA
                | Alert::DecryptError
                | Alert::AccessDenied
        ))
    )
}

/// The library's words, and what they mean for certificates.
fn words_of(error: &rustls::Error) -> String {
    use rustls::{CertificateError, Error, InvalidMessage};
    if let Error::AlertReceived(alert) = error {
        return format!("the other side refused the TLS handshake ({alert:?}); its log says why");
    }
    if let Error::InvalidCertificate(why) = error {
        if let CertificateError::Other(why) = why {
            return format!("the other side's {why}");
        }
        return format!("the other side's certificate is not accepted: {why}");
    }
    if *error == Error::InvalidMessage(InvalidMessage::InvalidContentType) {
        return "the other side does not speak TLS".to_owned();
    }
    if *error == Error::NoCertificatesPresented {
        return "the other side has no certificate".to_owned();
    }
    error.to_string()
}

impl From<io::Error> for TlsFailure {
    fn from(error: io::Error) -> Self {
        if crate::pipe::is_peers_end(&error) {
            return Self::Abandoned;
        }
        match error
            .get_ref()
            .and_then(|inner| inner.downcast_ref::<rustls::Error>())
        {
            Some(rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType)) => Self::NotTls,
            _ => Self::Refused(error),
        }
    }
}

impl Tls {
    /// A listener's handshake on a new connection, and what the certificate of the other side says, if it
    /// was asked for one.
    ///
    /// # Errors
    ///
    /// [`TlsFailure`]; the connection is gone then.
    pub async fn accept<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: S,
        limit: Duration,
    ) -> Result<(TlsServerStream<S>, Option<CertificateFacts>), TlsFailure> {
        let acceptor = TlsAcceptor::from(Arc::clone(&self.loaded().server));
        let stream = match tokio::time::timeout(limit, acceptor.accept(stream).into_fallible()).await {
            Ok(Ok(stream)) => stream,
            Ok(Err((error, stream))) => {
                part(stream).await;
                return Err(error.into());
            }
            Err(_) => return Err(TlsFailure::Timeout(limit)),
        };
        let facts = facts_of(stream.get_ref().1.peer_certificates())?;
        Ok((stream, facts))
    }

    /// A dialer's handshake.
    pub(crate) async fn connect(
        &self,
        stream: TcpStream,
        limit: Duration,
    ) -> Result<(tokio_rustls::client::TlsStream<TcpStream>, ProvenNode), TlsFailure> {
        let loaded = self.loaded();
        let client = loaded.client.as_ref().ok_or(TlsError::NoAuthority)?;
        let connector = TlsConnector::from(Arc::clone(client));
        // Not sent and not checked: see `verify`.
        let nobody = ServerName::IpAddress(std::net::Ipv4Addr::UNSPECIFIED.into());
        let stream = tokio::time::timeout(limit, connector.connect(nobody, stream))
            .await
            .map_err(|_| TlsFailure::Timeout(limit))??;
        let facts = facts_of(stream.get_ref().1.peer_certificates())?;
        Ok((stream, ProvenNode(facts)))
    }
}

/// Closes a connection so that the other side can read why. A socket that is closed with something
/// unread resets the connection, and what was sent last is lost with it.
async fn part<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S) {
    let leave = async {
        stream.shutdown().await?;
        let mut rest = [0; 1024];
        let mut left = PARTING_BYTES_MAX;
        while left > 0 {
            match stream.read(&mut rest).await? {
                0 => break,
                count => left = left.saturating_sub(count),
            }
        }
        io::Result::Ok(())
    };
    // Whoever does not go is left alone.
    let _ = tokio::time::timeout(PARTING_TIMEOUT, leave).await;
}

fn facts_of(chain: Option<&[CertificateDer<'_>]>) -> Result<Option<CertificateFacts>, TlsFailure> {
    let Some(certificate) = chain.and_then(<[_]>::first) else {
        return Ok(None);
    };
    Ok(Some(CertificateFacts::read(certificate)?))
}

/// Which node the certificate of a connection names; none without TLS.
#[derive(Clone, Debug, Default)]
pub(crate) struct ProvenNode(pub(crate) Option<CertificateFacts>);

impl ProvenNode {
    /// Whether the peer is who its certificate says (D-SEC-13). Without TLS it can only be believed.
    pub(crate) fn check(&self, claimed: &PeerIdentity) -> Result<(), String> {
        let Some(facts) = &self.0 else { return Ok(()) };
        if facts.node_id != Some(claimed.node_id) {
            let named = facts
                .node_id
                .map_or_else(|| "no node".to_owned(), |id| format!("node {id}"));
            return Err(format!(
                "its certificate names {named}, it says that it is node {}",
                claimed.node_id
            ));
        }
        match (facts.cluster_id, claimed.cluster_id) {
            (Some(named), Some(cluster)) if named != cluster => Err(format!(
                "its certificate is for cluster {named:032x}, it belongs to cluster {cluster:032x}"
            )),
            _ => Ok(()),
        }
    }
}

/// A dialer's end of a connection.
#[derive(Debug)]
pub(crate) enum PeerStream {
    Plain(TcpStream),
    Tls(Box<tokio_rustls::client::TlsStream<TcpStream>>),
}

impl AsyncRead for PeerStream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for PeerStream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(context),
            Self::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
