//! One end of a message stream, the same for the dialer and the listener.
//!
//! Dropping the sender ends this end's half: what is queued is sent, then `end`. Dropping
//! the receiver ends both: what is queued is still sent, nothing more is taken. After the
//! peer's `end` this end may go on sending for a short while, for a last word.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use concord_raft::ports::Duplex;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::frame::FrameKind;
use crate::limits::{STREAM_LINGER, STREAM_MESSAGES_MAX, STREAM_SMALL_MESSAGE_BYTES, WRITE_BYTES};
use crate::pipe::{FrameSink, FrameSource, Next, PipeEnd, Progress, Wire, alive_due, next_item, watch};

/// The connection's ends of the two queues of a stream.
#[derive(Debug)]
pub(crate) struct StreamEnds {
    to_peer: mpsc::Receiver<Bytes>,
    from_peer: mpsc::Sender<Bytes>,
}

/// The owner's and the connection's ends of a stream.
pub(crate) fn stream_ends() -> (Duplex, StreamEnds) {
    let (sender, to_peer) = mpsc::channel(STREAM_MESSAGES_MAX);
    let (from_peer, receiver) = mpsc::channel(STREAM_MESSAGES_MAX);
    (Duplex { sender, receiver }, StreamEnds { to_peer, from_peer })
}

/// Runs a stream connection until it ends. `holds` is asked now and then whether it may go on.
pub(crate) async fn run<S: AsyncRead + AsyncWrite + Send + 'static>(
    ends: StreamEnds,
    wire: Wire<S>,
    holds: impl Fn() -> bool,
) -> PipeEnd {
    let progress = Arc::new(Progress::default());
    let patience = wire.patience(wire.config.stream_stall_timeout);
    let (reader, writer) = tokio::io::split(wire.stream);
    let payload_limit = wire.config.payload_limit();
    let source = FrameSource::new(reader, wire.lane, payload_limit, &progress, &wire.counters);
    let sink = FrameSink::new(writer, wire.lane, &progress, &wire.counters);
    let half = Halves::default();
    let mut linger_until = None;
    let mut unclosed = Duration::ZERO;
    let each_tick = |tick| {
        if !holds() {
            return Some("the peer is no longer admitted");
        }
        if half.all_sent.load(Ordering::Relaxed) {
            unclosed += tick;
            return (unclosed >= patience.stall).then_some("the peer did not close its end");
        }
        // An owner that is gone has nothing more to say; what it said is sent for as long as
        // the peer takes it.
        let owner_is_gone = progress.stop_sending.load(Ordering::Relaxed);
        if owner_is_gone || !half.incoming_ended.load(Ordering::Relaxed) {
            return None;
        }
        let until = *linger_until.get_or_insert_with(|| Instant::now() + STREAM_LINGER);
        (Instant::now() >= until).then_some("the stream's other half has ended")
    };
    tokio::select! {
        biased; // an order to stop, then the watch before the writer that it may wake, then input
        () = wire.cancel.cancelled() => PipeEnd::Closed("shutting down"),
        end = watch(&progress, patience, each_tick) => end,
        end = read_messages(source, ends.from_peer, &progress, &half) => end,
        end = write_messages(ends.to_peer, sink, payload_limit, &progress, &half) => end,
    }
}

/// Which halves of a stream are done.
#[derive(Debug, Default)]
struct Halves {
    incoming_ended: AtomicBool,
    all_sent: AtomicBool,
}

async fn read_messages(
    mut source: FrameSource<impl AsyncRead + Unpin>,
    owner: mpsc::Sender<Bytes>,
    progress: &Progress,
    half: &Halves,
) -> PipeEnd {
    loop {
        let next = tokio::select! {
            biased; // a message that has arrived goes before the news that nobody wants it
            next = source.next() => next,
            () = owner.closed() => break,
        };
        let message = match next {
            Ok(frame) => match frame.kind {
                FrameKind::Message => frame.payload,
                FrameKind::End => break,
                FrameKind::Request | FrameKind::Response | FrameKind::Alive | FrameKind::Failed => {
                    return PipeEnd::Protocol("a frame that is no message on a stream");
                }
            },
            Err(end) => return end,
        };
        // A big message waits until the owner has taken all others: what is held for a
        // slow owner stays near one big message, whatever the number of places.
        let places = if message.len() > STREAM_SMALL_MESSAGE_BYTES {
            STREAM_MESSAGES_MAX
        } else {
            1
        };
        match owner.reserve_many(places).await {
            Ok(mut permits) => {
                if let Some(permit) = permits.next() {
                    permit.send(message);
                }
            }
            Err(_) => break,
        }
    }
    if owner.is_closed() {
        progress.stop_sending.store(true, Ordering::Relaxed);
    }
    drop(owner);
    half.incoming_ended.store(true, Ordering::Relaxed);
    // Read on, so that the end of the connection is noticed; what still comes is not wanted.
    loop {
        match source.next().await {
            Ok(_) => {}
            Err(end) => return end,
        }
    }
}

async fn write_messages(
    mut queue: mpsc::Receiver<Bytes>,
    mut sink: FrameSink<impl AsyncWrite + Unpin>,
    payload_limit: usize,
    progress: &Progress,
    half: &Halves,
) -> PipeEnd {
    match write_until_ended(&mut queue, &mut sink, payload_limit, progress).await {
        Ok(()) => {}
        Err(end) => return end,
    }
    drop(queue);
    loop {
        // This half is done, the peer's may not be: it must know that this node still lives.
        alive_due(progress, &half.incoming_ended).await;
        if half.incoming_ended.load(Ordering::Relaxed) {
            if let Err(end) = sink.shutdown().await {
                return end;
            }
            // Not closed before the peer has read it all and closes: a socket that is closed
            // with something unread resets the connection, and the peer's system would throw away
            // what its owner has not taken yet.
            half.all_sent.store(true, Ordering::Relaxed);
            return std::future::pending().await;
        }
        let said = match sink.put(FrameKind::Alive, 0, &Bytes::new()).await {
            Ok(()) => sink.flush().await,
            Err(end) => Err(end),
        };
        if let Err(end) = said {
            return end;
        }
    }
}

async fn write_until_ended(
    queue: &mut mpsc::Receiver<Bytes>,
    sink: &mut FrameSink<impl AsyncWrite + Unpin>,
    payload_limit: usize,
    progress: &Progress,
) -> Result<(), PipeEnd> {
    loop {
        match next_item(queue, progress).await {
            Next::Item(message) => {
                let mut gathered = 0;
                let mut next = Some(message);
                while let Some(message) = next {
                    if message.len() > payload_limit {
                        return Err(PipeEnd::OwnTooLarge {
                            size_bytes: message.len(),
                            limit_bytes: payload_limit,
                        });
                    }
                    gathered += message.len();
                    sink.put(FrameKind::Message, 0, &message).await?;
                    next = if gathered < WRITE_BYTES {
                        queue.try_recv().ok()
                    } else {
                        None
                    };
                }
            }
            Next::Alive => sink.put(FrameKind::Alive, 0, &Bytes::new()).await?,
            Next::Ended => {
                sink.put(FrameKind::End, 0, &Bytes::new()).await?;
                return sink.flush().await;
            }
        }
        sink.flush().await?;
    }
}
