//! Replication over one long stream: several append requests under way, answers in order.
//!
//! ```text
//!   openraft ──requests──▶ session ──▶ link ═══ Lane::Append ═══▶ peer ──▶ its openraft
//!            ◀──answers───         ◀──      ◀═════════════════
//! ```
//!
//! openraft runs one *session* after the other over a link; a refusal ends a session, and
//! requests that were still under way mean nothing any more. Both sides tell sessions
//! apart by a number, so the link outlives them.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use concord_core::machine::Machine;
use futures::{Stream, StreamExt};
use openraft::errors::RPCError;
use openraft::raft::{AppendEntriesRequest, StreamAppendResult};
use tokio::time::Instant;

use super::network::{append_message, append_result, broken, unreachable};
use crate::limits;
use crate::message::raft::AppendAnswer;
use crate::ports::{Duplex, Lane, PeerAddress, Transport, TransportError};
use crate::types::TypeConfig;

/// A peer that is connected and yet answers nothing for this long is given up. Generous:
/// it may be writing a large entry to a slow disk, and the transport itself notices
/// connections that died.
const STALL: Duration = Duration::from_secs(10);

/// An open append stream.
#[derive(Debug)]
pub(crate) struct AppendLink {
    duplex: Duplex,
    session: u64,
    broken: bool,
}

/// The link in `slot`, opened if there is none that works.
pub(crate) async fn connect<'a>(
    slot: &'a mut Option<AppendLink>,
    transport: &dyn Transport,
    peer: &PeerAddress,
) -> Result<&'a mut AppendLink, TransportError> {
    let usable = slot
        .take()
        .filter(|link| !link.broken && !link.duplex.sender.is_closed());
    let mut link = match usable {
        Some(link) => link,
        None => AppendLink {
            duplex: transport.open(peer, Lane::Append).await?,
            session: 0,
            broken: false,
        },
    };
    link.session = link.session.wrapping_add(1);
    Ok(slot.insert(link))
}

struct Session<'a, S> {
    link: &'a mut AppendLink,
    input: S,
    input_ended: bool,
    over: bool,
    /// Encoded and waiting for a place in the stream.
    pending: Option<Bytes>,
    /// Sizes of the requests whose answers are outstanding.
    in_flight: VecDeque<usize>,
    in_flight_bytes: usize,
    stalled_at: Instant,
}

/// What happens next in a session.
enum Event<R> {
    Answer(Option<Bytes>),
    /// There is room for the pending request.
    Room,
    Request(Option<R>),
    Ended,
    Stalled,
}

/// Runs one session: sends what `input` yields, yields what the peer answers. Ends when
/// `input` has ended and everything is answered, or after the first refusal or error.
pub(crate) fn session<'a, M, S>(
    link: &'a mut AppendLink,
    input: S,
) -> impl Stream<Item = Result<StreamAppendResult<TypeConfig<M>>, RPCError<TypeConfig<M>>>> + Send + 'a
where
    M: Machine,
    S: Stream<Item = AppendEntriesRequest<TypeConfig<M>>> + Send + Unpin + 'static,
{
    let session = Session {
        link,
        input,
        input_ended: false,
        over: false,
        pending: None,
        in_flight: VecDeque::new(),
        in_flight_bytes: 0,
        stalled_at: Instant::now() + STALL,
    };
    futures::stream::unfold(session, |mut session| async move {
        if session.over {
            return None;
        }
        match session.next::<M>().await? {
            Ok(answer) => {
                let result = append_result::<M>(answer.outcome);
                session.over = result.is_err();
                Some((Ok(result), session))
            }
            Err(error) => {
                session.over = true;
                session.link.broken = true;
                Some((Err(error), session))
            }
        }
    })
}

impl<S> Session<'_, S> {
    /// The next answer; sends as many requests meanwhile as the limits allow.
    async fn next<M>(&mut self) -> Option<Result<AppendAnswer, RPCError<TypeConfig<M>>>>
    where
        M: Machine,
        S: Stream<Item = AppendEntriesRequest<TypeConfig<M>>> + Send + Unpin,
    {
        loop {
            if self.input_ended && self.pending.is_none() && self.in_flight.is_empty() {
                return None;
            }
            match self.event::<M>().await {
                Event::Answer(answer) => {
                    let result = self.take_answer::<M>(answer);
                    if result.is_some() {
                        return result;
                    }
                }
                Event::Room => {
                    if let Some(bytes) = self.pending.take() {
                        self.send(bytes);
                    }
                }
                Event::Request(Some(request)) => {
                    if self.in_flight.is_empty() {
                        self.stalled_at = Instant::now() + STALL;
                    }
                    self.pending = Some(append_message(self.link.session, request).encode());
                }
                Event::Request(None) => self.input_ended = true,
                Event::Ended => return Some(Err(unreachable::<M>("append stream ended"))),
                Event::Stalled => return Some(Err(unreachable::<M>("append stream stalled"))),
            }
        }
    }

    async fn event<M>(&mut self) -> Event<AppendEntriesRequest<TypeConfig<M>>>
    where
        M: Machine,
        S: Stream<Item = AppendEntriesRequest<TypeConfig<M>>> + Send + Unpin,
    {
        let sends = self.pending.is_some();
        let waits = sends || !self.in_flight.is_empty();
        let takes = self.may_take();
        let Duplex { sender, receiver } = &mut self.link.duplex;
        tokio::select! {
            biased;
            // Answers first: they free places, and a refusal makes sending pointless.
            answer = receiver.recv() => Event::Answer(answer),
            // Nobody else sends here, so the place is still free when it is used.
            permit = sender.reserve(), if sends => match permit {
                Ok(_) => Event::Room,
                Err(_) => Event::Ended,
            },
            request = self.input.next(), if takes => Event::Request(request),
            () = tokio::time::sleep_until(self.stalled_at), if waits => Event::Stalled,
        }
    }

    fn send(&mut self, bytes: Bytes) {
        let size = bytes.len();
        // A failure shows as the end of the stream, at the next event.
        if self.link.duplex.sender.try_send(bytes).is_ok() {
            self.in_flight.push_back(size);
            self.in_flight_bytes = self.in_flight_bytes.saturating_add(size);
        }
    }

    fn may_take(&self) -> bool {
        // One request of any size may always be under way.
        let room = self.in_flight.is_empty()
            || (self.in_flight.len() < limits::APPEND_IN_FLIGHT
                && self.in_flight_bytes < limits::APPEND_IN_FLIGHT_BYTES);
        room && self.pending.is_none() && !self.input_ended
    }

    /// `None`: an answer to an earlier session, which nobody waits for.
    fn take_answer<M: Machine>(
        &mut self,
        answer: Option<Bytes>,
    ) -> Option<Result<AppendAnswer, RPCError<TypeConfig<M>>>> {
        let Some(bytes) = answer else {
            return Some(Err(unreachable::<M>("append stream ended")));
        };
        let answer = match crate::message::decode_answer::<AppendAnswer>(&bytes) {
            Ok(Ok(answer)) => answer,
            Ok(Err(refusal)) => return Some(Err(unreachable::<M>(refusal))),
            Err(error) => return Some(Err(broken::<M>(error))),
        };
        if answer.session != self.link.session {
            return None;
        }
        let Some(size) = self.in_flight.pop_front() else {
            return Some(Err(broken::<M>("answer without a request")));
        };
        self.in_flight_bytes = self.in_flight_bytes.saturating_sub(size);
        self.stalled_at = Instant::now() + STALL;
        Some(Ok(answer))
    }
}

#[cfg(test)]
mod tests;
