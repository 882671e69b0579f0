//! Gives the rejections of the HTTP library the shape of every other error.
//!
//! What the library refuses before it is a request (a head that is malformed or too large) it
//! answers itself, with a status line and no body, and closes. As long as no request has come
//! through on a connection, whatever it writes in HTTP/1 is such a rejection, and a body is put
//! under it here. Later on a connection a rejection cannot be told from an answer, and stays as it is.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use axum::http::StatusCode;
use concord_core::ids::Revision;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::error::{ApiError, body_of};
use super::gate::REVISION;
use crate::concord::Concord;
use crate::error::ErrorKind;
use crate::metrics::HttpStats;

/// Whether a request has come through on a connection.
#[derive(Clone, Debug, Default)]
pub(crate) struct Asked(Arc<AtomicBool>);

impl Asked {
    /// A request has come through.
    pub(crate) fn set(&self) {
        // The stream is written by the task that called the service: no order to establish.
        self.0.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// A connection under the HTTP library.
#[derive(Debug)]
pub(crate) struct Courteous<S> {
    stream: S,
    asked: Asked,
    concord: Concord,
    /// Where bytes are counted, if they are.
    stats: Option<Arc<HttpStats>>,
    /// What is written instead of a rejection, and how much of it is.
    instead: Option<(Vec<u8>, usize)>,
}

impl<S> Courteous<S> {
    pub(crate) fn new(stream: S, asked: Asked, concord: Concord, stats: Option<Arc<HttpStats>>) -> Self {
        Self {
            stream,
            asked,
            concord,
            stats,
            instead: None,
        }
    }

    fn sent(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let (Poll::Ready(Ok(count)), Some(stats)) = (&written, &self.stats) {
            stats.sent(*count);
        }
        written
    }
}

/// The rejection that `head` is, with a body; `None` if it is none.
fn with_body(head: &[u8], revision: Revision) -> Option<Vec<u8>> {
    let text = str::from_utf8(head).ok()?;
    if !text.ends_with("\r\n\r\n") {
        return None;
    }
    let status: StatusCode = text.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
    let reason = match status {
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => "request head is too large",
        StatusCode::URI_TOO_LONG => "request path is too long",
        _ if status.is_client_error() => "request is not HTTP",
        _ => return None,
    };
    let body = body_of(&ApiError::new(ErrorKind::InvalidRequest, reason).status(status));
    let mut answer = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\
         {REVISION}: {revision}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    answer.extend_from_slice(&body);
    Some(answer)
}

impl<S: AsyncWrite + Unpin> Courteous<S> {
    fn poll_instead(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some((answer, written)) = &mut self.instead {
            let Some(rest) = answer.get(*written..).filter(|rest| !rest.is_empty()) else {
                self.instead = None;
                break;
            };
            let count = ready!(Pin::new(&mut self.stream).poll_write(context, rest))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            if let Some(stats) = &self.stats {
                stats.sent(count);
            }
            *written += count;
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Courteous<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        if let Some(stats) = &self.stats {
            stats.received(buffer.filled().len().saturating_sub(before));
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Courteous<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if !self.asked.is_set() {
            ready!(self.poll_instead(context))?;
            if let Some(answer) = with_body(bytes, self.concord.revision()) {
                // The rejection counts as written; what stands for it goes out before anything else.
                self.instead = Some((answer, 0));
                return Poll::Ready(Ok(bytes.len()));
            }
        }
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.sent(written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_instead(context))?;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_instead(context))?;
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.asked.is_set() {
            let written = Pin::new(&mut self.stream).poll_write_vectored(context, parts);
            return self.sent(written);
        }
        let first = parts.iter().find(|part| !part.is_empty());
        self.poll_write(context, first.map_or(&[], |part| part))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
