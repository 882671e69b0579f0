//! The dialer's end of a call connection: requests out, answers in, any order.
//!
//! A request is in one of three places: queued (it can be taken back: certainly not
//! delivered), taken by the writer (it may be delivered), answered. Whoever empties a
//! call's request slot, the writer or the caller that gives up, decides which; so an
//! error never claims more than is known.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use concord_raft::ports::PeerIdentity;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::Instant;

use crate::config::NetConfig;
use crate::frame::FrameKind;
use crate::limits::WRITE_BYTES;
use crate::pipe::{FrameSink, FrameSource, Next, PipeEnd, Progress, Wire, next_item, watch};

/// Why a call has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CallFailure {
    /// The connection ended before the request was written: it may go down another one.
    NotSent,
    /// The connection ended after the request was written, or the peer could not answer.
    Interrupted,
    /// The deadline passed before the request was written.
    LateNotSent,
    /// The deadline passed after the request was written.
    LateSent,
}

/// A request on its way. Holds a place among the calls in flight until both the caller
/// and the writer are done with it.
#[derive(Debug)]
struct Call {
    correlation: u64,
    request: Mutex<Option<Bytes>>,
    _place: OwnedSemaphorePermit,
}

/// An established call connection. Its task runs [`run`].
#[derive(Debug)]
pub(crate) struct CallConnection {
    own: PeerIdentity,
    outbox: mpsc::Sender<Arc<Call>>,
    places: Arc<Semaphore>,
    waiting: Mutex<Waiting>,
    next_correlation: AtomicU64,
    retired: AtomicBool,
}

#[derive(Debug, Default)]
struct Waiting {
    closed: bool,
    calls: HashMap<u64, oneshot::Sender<Bytes>>,
}

/// Removes a call when its caller stops waiting, for whatever reason.
struct Waiter<'a> {
    connection: &'a CallConnection,
    call: &'a Call,
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        self.connection
            .waiting
            .lock()
            .calls
            .remove(&self.call.correlation);
        self.call.request.lock().take();
    }
}

impl CallConnection {
    /// A connection on which this node said that it is `own`, and what its task needs.
    pub(crate) fn new(own: PeerIdentity, config: &NetConfig) -> (Arc<Self>, Outbox) {
        let most = config.calls_in_flight_max.max(1);
        let (outbox, queue) = mpsc::channel(most);
        let connection = Self {
            own,
            outbox,
            places: Arc::new(Semaphore::new(most)),
            waiting: Mutex::default(),
            next_correlation: AtomicU64::new(1),
            retired: AtomicBool::new(false),
        };
        (Arc::new(connection), Outbox(queue))
    }

    /// Whether new calls may use it: it is open, and this node is still who it said.
    pub(crate) fn is_usable(&self, own: &PeerIdentity) -> bool {
        self.own == *own && !self.waiting.lock().closed
    }

    /// Has it close once its last call is answered.
    pub(crate) fn retire(&self) {
        self.retired.store(true, Ordering::Relaxed);
    }

    /// Sends a request and waits for its answer.
    pub(crate) async fn call(&self, request: Bytes, deadline: Instant) -> Result<Bytes, CallFailure> {
        let place = match tokio::time::timeout_at(deadline, Arc::clone(&self.places).acquire_owned()).await {
            Ok(Ok(place)) => place,
            Ok(Err(_)) => return Err(CallFailure::NotSent),
            Err(_) => return Err(CallFailure::LateNotSent),
        };
        let call = Arc::new(Call {
            correlation: self.next_correlation.fetch_add(1, Ordering::Relaxed),
            request: Mutex::new(Some(request)),
            _place: place,
        });
        let (answer, answered) = oneshot::channel();
        {
            let mut waiting = self.waiting.lock();
            if waiting.closed {
                return Err(CallFailure::NotSent);
            }
            waiting.calls.insert(call.correlation, answer);
        }
        let waiter = Waiter {
            connection: self,
            call: &call,
        };
        // Each entry holds a place and there are as many places as entries, so a full
        // queue cannot be; a closed one means that the connection ended.
        if self.outbox.try_send(Arc::clone(&call)).is_err() {
            return Err(CallFailure::NotSent);
        }
        let outcome = tokio::time::timeout_at(deadline, answered).await;
        let unsent = call.request.lock().take().is_some();
        drop(waiter);
        match outcome {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) if unsent => Err(CallFailure::NotSent),
            Ok(Err(_)) => Err(CallFailure::Interrupted),
            Err(_) if unsent => Err(CallFailure::LateNotSent),
            Err(_) => Err(CallFailure::LateSent),
        }
    }

    /// Ends every waiting call, and refuses later ones.
    fn close(&self) {
        self.places.close();
        let mut waiting = self.waiting.lock();
        waiting.closed = true;
        waiting.calls.clear();
    }

    fn is_idle(&self) -> bool {
        self.waiting.lock().calls.is_empty()
    }

    fn settle(&self, kind: FrameKind, correlation: u64, payload: Bytes) -> Result<(), PipeEnd> {
        if correlation == 0 || correlation >= self.next_correlation.load(Ordering::Relaxed) {
            return Err(PipeEnd::Protocol("an answer to a call that was never made"));
        }
        // A call that is no longer there has given up; its answer is not missed.
        let waiter = self.waiting.lock().calls.remove(&correlation);
        match kind {
            FrameKind::Response => {
                if let Some(waiter) = waiter {
                    let _ = waiter.send(payload);
                }
                Ok(())
            }
            // Dropping the waiter tells the caller that its request was taken and lost.
            FrameKind::Failed => Ok(()),
            FrameKind::Request | FrameKind::Message | FrameKind::End | FrameKind::Alive => {
                Err(PipeEnd::Protocol("a frame that answers no call"))
            }
        }
    }
}

/// Calls on their way to the writer.
#[derive(Debug)]
pub(crate) struct Outbox(mpsc::Receiver<Arc<Call>>);

/// Runs a call connection until it ends, and ends its calls.
pub(crate) async fn run<S: AsyncRead + AsyncWrite + Send + 'static>(
    connection: &CallConnection,
    Outbox(queue): Outbox,
    wire: Wire<S>,
) -> PipeEnd {
    let _closing = Closing(connection);
    let progress = Arc::new(Progress::default());
    let patience = wire.patience(wire.config.call_stall_timeout);
    let (reader, writer) = tokio::io::split(wire.stream);
    let source = FrameSource::new(
        reader,
        wire.lane,
        wire.config.payload_limit(),
        &progress,
        &wire.counters,
    );
    let sink = FrameSink::new(writer, wire.lane, &progress, &wire.counters);
    let idle_timeout = wire.config.idle_timeout;
    let mut idle = Duration::ZERO;
    let mut calls_seen = 0;
    let each_tick = |tick| {
        let calls = connection.next_correlation.load(Ordering::Relaxed);
        let is_idle = calls == calls_seen && connection.is_idle();
        calls_seen = calls;
        idle = if is_idle { idle + tick } else { Duration::ZERO };
        if is_idle && connection.retired.load(Ordering::Relaxed) {
            return Some("this node has a new identity");
        }
        (idle >= idle_timeout).then_some("nobody used it")
    };
    tokio::select! {
        biased; // an order to stop, then the watch before the writer that it may wake, then answers
        () = wire.cancel.cancelled() => PipeEnd::Closed("shutting down"),
        end = watch(&progress, patience, each_tick) => end,
        end = read_answers(connection, source) => end,
        end = write_requests(queue, sink, &progress) => end,
    }
}

/// Ends the calls of a connection whose task ends, even when the task is dropped.
struct Closing<'a>(&'a CallConnection);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        self.0.close();
    }
}

async fn read_answers(
    connection: &CallConnection,
    mut source: FrameSource<impl AsyncRead + Unpin>,
) -> PipeEnd {
    loop {
        let settled = match source.next().await {
            Ok(frame) => connection.settle(frame.kind, frame.correlation, frame.payload),
            Err(end) => Err(end),
        };
        if let Err(end) = settled {
            return end;
        }
    }
}

async fn write_requests(
    mut queue: mpsc::Receiver<Arc<Call>>,
    mut sink: FrameSink<impl AsyncWrite + Unpin>,
    progress: &Progress,
) -> PipeEnd {
    loop {
        let written = match next_item(&mut queue, progress).await {
            Next::Item(call) => write_batch(call, &mut queue, &mut sink).await,
            Next::Alive => sink.put(FrameKind::Alive, 0, &Bytes::new()).await,
            Next::Ended => return PipeEnd::Closed("nobody can use it"),
        };
        if let Err(end) = written {
            return end;
        }
        if let Err(end) = sink.flush().await {
            return end;
        }
    }
}

/// Puts a call and those queued behind it, as far as one write takes.
async fn write_batch(
    first: Arc<Call>,
    queue: &mut mpsc::Receiver<Arc<Call>>,
    sink: &mut FrameSink<impl AsyncWrite + Unpin>,
) -> Result<(), PipeEnd> {
    let mut gathered = 0;
    let mut next = Some(first);
    while let Some(call) = next {
        // Empty when the caller has given up: then it was told that nothing was sent.
        let request = call.request.lock().take();
        if let Some(request) = request {
            gathered += request.len();
            sink.put(FrameKind::Request, call.correlation, &request).await?;
        }
        next = if gathered < WRITE_BYTES {
            queue.try_recv().ok()
        } else {
            None
        };
    }
    Ok(())
}
