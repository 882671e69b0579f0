//! The listener's end of a call connection: requests in, answers out as they come.

use std::sync::Arc;

use bytes::Bytes;
use concord_raft::ports::Inbound;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinSet;

use crate::frame::FrameKind;
use crate::limits::WRITE_BYTES;
use crate::pipe::{FrameSink, FrameSource, Next, PipeEnd, Progress, Wire, next_item, watch};
use crate::registry::Standing;
use crate::stats::add;

/// Unit in which the bytes of requests at work are counted.
const BUDGET_UNIT_BYTES: usize = 1024;

/// An answer on its way; none when the engine failed to give one.
#[derive(Debug)]
struct Answer {
    correlation: u64,
    payload: Option<Bytes>,
    _place: OwnedSemaphorePermit,
}

/// Sends its answer, or that there is none when the engine's future was dropped.
struct Answering {
    correlation: u64,
    place: Option<OwnedSemaphorePermit>,
    outbox: mpsc::Sender<Answer>,
}

impl Answering {
    fn send(&mut self, payload: Option<Bytes>) {
        if let Some(place) = self.place.take() {
            // As many places as queue entries: full cannot be, and closed has no reader.
            let _ = self.outbox.try_send(Answer {
                correlation: self.correlation,
                payload,
                _place: place,
            });
        }
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.send(None);
    }
}

/// Serves the calls of one peer until the connection ends. Calls at work then go on, in
/// `work`, for their effects may matter; their answers have nowhere to go.
pub(crate) async fn run<S: AsyncRead + AsyncWrite + Send + 'static>(
    inbound: &Arc<dyn Inbound>,
    standing: &Standing,
    wire: Wire<S>,
    work: &mut JoinSet<()>,
) -> PipeEnd {
    let progress = Arc::new(Progress::default());
    let patience = wire.patience(wire.config.call_stall_timeout);
    let payload_limit = wire.config.payload_limit();
    let places = wire.config.calls_served_max.max(1);
    let (outbox, answers) = mpsc::channel(places);
    let cancel = wire.cancel.clone();
    let (reader, writer) = tokio::io::split(wire.stream);
    let source = FrameSource::new(reader, wire.lane, payload_limit, &progress, &wire.counters);
    let sink = FrameSink::new(writer, wire.lane, &progress, &wire.counters);
    let desk = Desk {
        inbound,
        standing,
        places: Arc::new(Semaphore::new(places)),
        // Room for two of the largest, so that one does not keep a small one waiting.
        budget: Arc::new(Semaphore::new(2 * budget_units(payload_limit))),
        outbox,
        wire_counters: Arc::clone(&wire.counters),
    };
    tokio::select! {
        biased; // an order to stop, then the watch before the writer that it may wake, then requests
        () = cancel.cancelled() => PipeEnd::Closed("shutting down"),
        end = watch(&progress, patience, |_| None) => end,
        end = desk.take_requests(source, work) => end,
        end = write_answers(answers, sink, payload_limit, &progress) => end,
    }
}

fn budget_units(bytes: usize) -> usize {
    bytes.div_ceil(BUDGET_UNIT_BYTES).max(1)
}

struct Desk<'a> {
    inbound: &'a Arc<dyn Inbound>,
    standing: &'a Standing,
    places: Arc<Semaphore>,
    budget: Arc<Semaphore>,
    outbox: mpsc::Sender<Answer>,
    wire_counters: Arc<crate::stats::Counters>,
}

impl Desk<'_> {
    /// Takes a request only when there is a place for it: a peer that sends faster than
    /// the engine works is left waiting in its own send buffer.
    async fn take_requests(
        &self,
        mut source: FrameSource<impl AsyncRead + Unpin>,
        work: &mut JoinSet<()>,
    ) -> PipeEnd {
        loop {
            let frame = match source.next().await {
                Ok(frame) => frame,
                Err(end) => return end,
            };
            match frame.kind {
                FrameKind::Request => {}
                FrameKind::Response
                | FrameKind::Message
                | FrameKind::End
                | FrameKind::Alive
                | FrameKind::Failed => return PipeEnd::Protocol("a frame that is no request"),
            }
            if !self.standing.holds(self.inbound.as_ref()) {
                return PipeEnd::Closed("the peer is no longer admitted");
            }
            let units = u32::try_from(budget_units(frame.payload.len())).unwrap_or(u32::MAX);
            let place = Arc::clone(&self.places).acquire_owned().await;
            let budget = Arc::clone(&self.budget).acquire_many_owned(units).await;
            let (Ok(place), Ok(budget)) = (place, budget) else {
                return PipeEnd::Closed("shutting down");
            };
            add(&self.wire_counters.calls, 1);
            let mut answering = Answering {
                correlation: frame.correlation,
                place: Some(place),
                outbox: self.outbox.clone(),
            };
            let answer = Arc::clone(self.inbound).call(self.standing.peer, frame.lane, frame.payload);
            while work.try_join_next().is_some() {}
            work.spawn(async move {
                let payload = answer.await;
                drop(budget);
                answering.send(Some(payload));
            });
        }
    }
}

async fn write_answers(
    mut queue: mpsc::Receiver<Answer>,
    mut sink: FrameSink<impl AsyncWrite + Unpin>,
    payload_limit: usize,
    progress: &Progress,
) -> PipeEnd {
    loop {
        let written = match next_item(&mut queue, progress).await {
            Next::Item(answer) => write_batch(answer, &mut queue, &mut sink, payload_limit).await,
            Next::Alive => sink.put(FrameKind::Alive, 0, &Bytes::new()).await,
            Next::Ended => return PipeEnd::Closed("shutting down"),
        };
        if let Err(end) = written {
            return end;
        }
        if let Err(end) = sink.flush().await {
            return end;
        }
    }
}

async fn write_batch(
    first: Answer,
    queue: &mut mpsc::Receiver<Answer>,
    sink: &mut FrameSink<impl AsyncWrite + Unpin>,
    payload_limit: usize,
) -> Result<(), PipeEnd> {
    let mut gathered = 0;
    let mut next = Some(first);
    while let Some(answer) = next {
        match &answer.payload {
            Some(payload) if payload.len() <= payload_limit => {
                gathered += payload.len();
                sink.put(FrameKind::Response, answer.correlation, payload).await?;
            }
            unfit => {
                let size_bytes = unfit.as_ref().map(Bytes::len);
                tracing::error!(
                    ?size_bytes,
                    limit_bytes = payload_limit,
                    "a peer's call has no answer that can be sent"
                );
                sink.put(FrameKind::Failed, answer.correlation, &Bytes::new())
                    .await?;
            }
        }
        next = if gathered < WRITE_BYTES {
            queue.try_recv().ok()
        } else {
            None
        };
    }
    Ok(())
}
