//! The TLS around HTTP connections.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use concord_net::tls::{CertificateFacts, Tls, TlsFailure, TlsServerStream};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::error::{ApiError, body_of};
use crate::error::ErrorKind;

/// Every TLS record of a handshake begins with this; no HTTP request does.
const HANDSHAKE_RECORD: u8 = 0x16;
/// What is read of a request that came in plaintext, so that its sender can read the answer.
const PLAINTEXT_BYTES_MAX: usize = 64 << 10;
/// How long that may take.
const PLAINTEXT_TIMEOUT: Duration = Duration::from_secs(1);

/// The verified certificate that a client showed: in the extensions of each of its requests, where
/// client certificates are required.
#[derive(Clone, Debug)]
pub(crate) struct ClientCertificate(Arc<CertificateFacts>);

impl ClientCertificate {
    /// The client that it is for, if it has one clear name. The certificate of a node is no client's: whoever has
    /// one is a node, and is asked for a token.
    pub(crate) fn common_name(&self) -> Option<&str> {
        let name = self.0.common_name.as_deref();
        name.filter(|_| self.0.node_id.is_none())
    }
}

/// A connection with TLS around it.
pub(super) struct Secured {
    pub(super) stream: TlsServerStream<TcpStream>,
    pub(super) client: Option<ClientCertificate>,
}

/// Shakes hands within the time for it; `None`: the connection is gone, and why was logged.
pub(super) async fn secure(
    tls: &Tls,
    stream: TcpStream,
    source: Option<IpAddr>,
    limit: Duration,
) -> Option<Secured> {
    let mut first = [0];
    match tokio::time::timeout(limit, stream.peek(&mut first)).await {
        Ok(Ok(1)) if first == [HANDSHAKE_RECORD] => {}
        Ok(Ok(1)) => {
            tracing::debug!("http connection closed: it came without TLS");
            // Whoever does not go is left alone.
            let _ = tokio::time::timeout(PLAINTEXT_TIMEOUT, turn_away(stream)).await;
            return None;
        }
        Ok(_) | Err(_) => return None,
    }
    match tls.accept(stream, limit).await {
        Ok((stream, facts)) => {
            let client = facts.map(|facts| ClientCertificate(Arc::new(facts)));
            if let Some(client) = &client {
                tracing::debug!(name = client.common_name(), "a client showed its certificate");
            }
            Some(Secured { stream, client })
        }
        // Why is for whoever runs this node; the other side gets an alert that says next to nothing.
        Err(error @ (TlsFailure::Refused(_) | TlsFailure::Certificate(_))) => {
            if let Some(withheld) = tls.admit_line() {
                let remote = source.map(tracing::field::display);
                tracing::warn!(remote, why = %error, withheld, "refused a client in the TLS handshake");
            }
            None
        }
        Err(error) => {
            tracing::debug!(%error, "http connection closed within the TLS handshake");
            None
        }
    }
}

/// Tells a client that speaks plaintext, in plaintext. Nothing of its request is looked at.
async fn turn_away(mut stream: TcpStream) -> io::Result<()> {
    let reason = "this port speaks HTTPS only: use https://";
    let body = body_of(&ApiError::new(ErrorKind::InvalidRequest, reason));
    let head = format!(
        "HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(&body).await?;
    stream.shutdown().await?;
    // A socket that is closed with something unread resets the connection, and the answer is lost with it.
    let mut rest = [0; 4096];
    let mut left = PLAINTEXT_BYTES_MAX;
    while left > 0 {
        match stream.read(&mut rest).await? {
            0 => break,
            count => left = left.saturating_sub(count),
        }
    }
    Ok(())
}
