//! Frames over a byte stream, and the watch that notices when the other end is gone.
//!
//! One task owns a connection and polls three futures: it reads, it writes, and it
//! watches. Both ends send an `alive` frame when they have been silent for a while, so
//! silence means a dead peer or a dead path; but only while this end reads: a stream whose owner is
//! slow is not read, and that is no fault of the peer.

use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use bytes::{BufMut, Bytes};
use concord_raft::ports::Lane;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::config::NetConfig;
use crate::frame::{Frame, FrameDecoder, FrameError, FrameHeader, FrameKind, HEADER_BYTES, Room};
use crate::limits::{WRITE_BYTES, WRITE_THROUGH_BYTES};
use crate::stats::{Counters, RefusalReason, add};

/// How a connection ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PipeEnd {
    /// This end closed it in an orderly way.
    #[error("closed here: {0}")]
    Closed(&'static str),
    #[error("the peer closed the connection")]
    PeerClosed,
    #[error("the connection failed: {0}")]
    Io(io::Error),
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error("the peer broke the protocol: {0}")]
    Protocol(&'static str),
    #[error("nothing came from the peer for {} ms", .0.as_millis())]
    Silent(Duration),
    #[error("the peer took nothing for {} ms", .0.as_millis())]
    Stalled(Duration),
    #[error("a message of {size_bytes} bytes was to be sent, limit is {limit_bytes}")]
    OwnTooLarge { size_bytes: usize, limit_bytes: usize },
}

impl PipeEnd {
    /// What the counters call it, if the peer is to blame.
    pub(crate) fn reason(&self) -> Option<RefusalReason> {
        match self {
            Self::Frame(_) | Self::Protocol(_) => Some(RefusalReason::Protocol),
            Self::Silent(_) | Self::Stalled(_) => Some(RefusalReason::Silent),
            Self::Closed(_) | Self::PeerClosed | Self::Io(_) | Self::OwnTooLarge { .. } => None,
        }
    }
}

/// Whether an error says that the peer, or its system, ended the connection.
pub(crate) fn is_peers_end(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(
        error.kind(),
        BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof
    )
}

impl From<io::Error> for PipeEnd {
    fn from(error: io::Error) -> Self {
        if is_peers_end(&error) {
            Self::PeerClosed
        } else {
            Self::Io(error)
        }
    }
}

/// What the three futures of a connection tell each other. They share a task, so the
/// order of plain flags is the order of polls and no waker is needed.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    reads: AtomicU64,
    reading: AtomicBool,
    writes: AtomicU64,
    writing: AtomicBool,
    alive_due: AtomicBool,
    pub(crate) stop_sending: AtomicBool,
}

/// Reads frames.
#[derive(Debug)]
pub(crate) struct FrameSource<R> {
    io: R,
    decoder: FrameDecoder,
    progress: Arc<Progress>,
    counters: Arc<Counters>,
}

impl<R: AsyncRead + Unpin> FrameSource<R> {
    pub(crate) fn new(
        io: R,
        lane: Lane,
        payload_bytes_max: usize,
        progress: &Arc<Progress>,
        counters: &Arc<Counters>,
    ) -> Self {
        Self {
            io,
            decoder: FrameDecoder::new(lane, payload_bytes_max),
            progress: Arc::clone(progress),
            counters: Arc::clone(counters),
        }
    }

    /// The next frame that says something. Loses nothing when dropped half way.
    pub(crate) async fn next(&mut self) -> Result<Frame, PipeEnd> {
        loop {
            while let Some(frame) = self.decoder.next_frame()? {
                add(&self.counters.frames_received, 1);
                if frame.kind != FrameKind::Alive {
                    return Ok(frame);
                }
            }
            self.progress.reading.store(true, Ordering::Relaxed);
            let count = match self.decoder.room() {
                Room::Any(buffer) => self.io.read_buf(buffer).await?,
                Room::Upto(buffer, most) => self.io.read_buf(&mut buffer.limit(most)).await?,
            };
            self.progress.reading.store(false, Ordering::Relaxed);
            self.progress.reads.fetch_add(1, Ordering::Relaxed);
            add(&self.counters.bytes_received, count);
            if count == 0 {
                return Err(if self.decoder.is_within_frame() {
                    PipeEnd::Protocol("the connection ended within a frame")
                } else {
                    PipeEnd::PeerClosed
                });
            }
        }
    }
}

/// Writes frames, gathered.
#[derive(Debug)]
pub(crate) struct FrameSink<W> {
    io: W,
    lane: Lane,
    buffer: Vec<u8>,
    progress: Arc<Progress>,
    counters: Arc<Counters>,
}

impl<W: AsyncWrite + Unpin> FrameSink<W> {
    pub(crate) fn new(io: W, lane: Lane, progress: &Arc<Progress>, counters: &Arc<Counters>) -> Self {
        Self {
            io,
            lane,
            buffer: Vec::new(),
            progress: Arc::clone(progress),
            counters: Arc::clone(counters),
        }
    }

    /// Adds a frame; writes when enough has gathered.
    pub(crate) async fn put(
        &mut self,
        kind: FrameKind,
        correlation: u64,
        payload: &Bytes,
    ) -> Result<(), PipeEnd> {
        let Some(header) = FrameHeader::new(kind, self.lane, correlation, payload) else {
            return Err(PipeEnd::OwnTooLarge {
                size_bytes: payload.len(),
                limit_bytes: crate::limits::PAYLOAD_BYTES_CEILING,
            });
        };
        header.encode(&mut self.buffer);
        add(&self.counters.frames_sent, 1);
        add(&self.counters.bytes_sent, HEADER_BYTES + payload.len());
        if payload.len() < WRITE_THROUGH_BYTES {
            self.buffer.put_slice(payload);
        } else {
            self.write_out().await?;
            write_all(&mut self.io, payload, &self.progress).await?;
        }
        if self.buffer.len() >= WRITE_BYTES {
            self.write_out().await?;
        }
        Ok(())
    }

    async fn write_out(&mut self) -> Result<(), PipeEnd> {
        write_all(&mut self.io, &self.buffer, &self.progress).await?;
        self.buffer.clear();
        Ok(())
    }

    /// Writes what has gathered.
    pub(crate) async fn flush(&mut self) -> Result<(), PipeEnd> {
        self.write_out().await?;
        self.progress.writing.store(true, Ordering::Relaxed);
        self.io.flush().await?;
        self.progress.writing.store(false, Ordering::Relaxed);
        Ok(())
    }

    /// Tells the peer's system that nothing follows.
    pub(crate) async fn shutdown(&mut self) -> Result<(), PipeEnd> {
        Ok(self.io.shutdown().await?)
    }
}

async fn write_all(
    io: &mut (impl AsyncWrite + Unpin),
    mut bytes: &[u8],
    progress: &Progress,
) -> Result<(), PipeEnd> {
    progress.writing.store(true, Ordering::Relaxed);
    while !bytes.is_empty() {
        let count = io.write(bytes).await?;
        if count == 0 {
            return Err(PipeEnd::PeerClosed);
        }
        progress.writes.fetch_add(1, Ordering::Relaxed);
        bytes = bytes.get(count..).unwrap_or_default();
    }
    progress.writing.store(false, Ordering::Relaxed);
    Ok(())
}

/// What a writer has to do next.
#[derive(Debug)]
pub(crate) enum Next<T> {
    Item(T),
    /// Say that this end lives.
    Alive,
    /// All senders are gone.
    Ended,
}

/// Waits for an item to write, or for the watch to ask for a sign of life.
pub(crate) async fn next_item<T>(queue: &mut mpsc::Receiver<T>, progress: &Progress) -> Next<T> {
    poll_fn(|context| {
        if progress.stop_sending.load(Ordering::Relaxed) {
            queue.close();
        }
        match queue.poll_recv(context) {
            Poll::Ready(Some(item)) => Poll::Ready(Next::Item(item)),
            Poll::Ready(None) => Poll::Ready(Next::Ended),
            Poll::Pending if progress.alive_due.swap(false, Ordering::Relaxed) => Poll::Ready(Next::Alive),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// How long the watch waits for what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    pub(crate) keepalive: Duration,
    pub(crate) dead_after: Duration,
    pub(crate) stall: Duration,
}

/// Ends when the peer is gone. Polled before the writer, in the same task, so that a sign
/// of life that it asks for is sent at once. `each_tick` may end the connection as well.
pub(crate) async fn watch(
    progress: &Progress,
    patience: Patience,
    mut each_tick: impl FnMut(Duration) -> Option<&'static str>,
) -> PipeEnd {
    let tick = (patience.keepalive / 2).max(Duration::from_millis(1));
    let mut ticks = tokio::time::interval(tick);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    ticks.tick().await;
    let (mut seen_reads, mut seen_writes) = (0, 0);
    let (mut silent, mut quiet) = (Duration::ZERO, Duration::ZERO);
    loop {
        ticks.tick().await;
        let reads = progress.reads.load(Ordering::Relaxed);
        let writes = progress.writes.load(Ordering::Relaxed);
        let waits = progress.reading.load(Ordering::Relaxed) && reads == seen_reads;
        silent = if waits { silent + tick } else { Duration::ZERO };
        quiet = if writes == seen_writes {
            quiet + tick
        } else {
            Duration::ZERO
        };
        (seen_reads, seen_writes) = (reads, writes);
        if silent >= patience.dead_after {
            return PipeEnd::Silent(silent);
        }
        let stuck = progress.writing.load(Ordering::Relaxed);
        if stuck && quiet >= patience.stall {
            return PipeEnd::Stalled(quiet);
        }
        if !stuck && quiet >= patience.keepalive {
            progress.alive_due.store(true, Ordering::Relaxed);
        }
        if let Some(why) = each_tick(tick) {
            return PipeEnd::Closed(why);
        }
    }
}

/// Waits for the watch to ask for a sign of life, or for `done`, when nothing else is
/// left to send. No waker: whatever sets either flag is polled before, in the same task.
pub(crate) async fn alive_due(progress: &Progress, done: &AtomicBool) {
    poll_fn(|_| {
        if done.load(Ordering::Relaxed) || progress.alive_due.swap(false, Ordering::Relaxed) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
}

/// What a connection's task runs with.
#[derive(Debug)]
pub(crate) struct Wire<S> {
    pub(crate) stream: S,
    pub(crate) lane: Lane,
    pub(crate) config: NetConfig,
    pub(crate) counters: Arc<Counters>,
    pub(crate) cancel: CancellationToken,
}

impl<S> Wire<S> {
    pub(crate) fn patience(&self, stall: Duration) -> Patience {
        Patience {
            keepalive: self.config.keepalive_interval,
            dead_after: self.config.dead_after,
            stall,
        }
    }
}
