//! The proposer's task: the one place where requests, groups, entries and replies meet.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use concord_core::batch::Batch;
use concord_core::ids::SessionId;
use concord_core::machine::Machine;
use futures::future::BoxFuture;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

use super::entries::{self, Entries, Finished, Origin};
use super::forward::ForwardedGroup;
use super::frame;
use super::inbox;
use super::session::{Budget, Pending, Session};
use crate::consensus::{AppendError, Consensus, LeaderRef, Leadership};
use crate::limits;
use crate::ports::{Clock, Duplex, Entropy, Lane, Ports, Transport, TransportError};

/// How often deadlines are looked at: this late may a caller learn of its own.
const SWEEP_INTERVAL: Duration = Duration::from_millis(20);
/// The longest time without an entry while something can expire.
const TICK_INTERVAL: Duration = Duration::from_millis(100);
/// The first pause after a leader did not take a group; doubled up to the last one.
const RETRY_PAUSE_FIRST: Duration = Duration::from_millis(5);
const RETRY_PAUSE_LAST: Duration = Duration::from_millis(200);
/// Groups taken from the queue at once.
const TAKE_AT_ONCE: usize = 1_024;

/// Where groups go.
enum Route {
    /// No leader is known, or it refused: a pause is on, or a change of leader is awaited.
    Nowhere { retry_at: Option<Instant> },
    /// This node leads.
    Local,
    /// A stream to the leader is being opened.
    Connecting(BoxFuture<'static, Result<Duplex, TransportError>>),
    /// There is a stream to the leader.
    Connected(Link),
}

/// A stream to the leader.
struct Link {
    duplex: Duplex,
    /// A message for which the stream had no room.
    outbox: Option<Bytes>,
}

/// What woke the task.
enum Event<M: Machine> {
    Stop,
    LeaderChanged,
    Finished(Finished<M>),
    Opened(Result<Duplex, TransportError>),
    /// A message from the leader; `None`: the stream ended.
    Received(Option<Bytes>),
    /// The stream has room again, or has ended.
    Room(bool),
    Forwarded,
    Requests,
    Timer,
}

/// The state of the task.
pub(super) struct Task<M: Machine, C> {
    consensus: Arc<C>,
    transport: Arc<dyn Transport>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    requests: inbox::Receiver<Pending<M::Reply>>,
    forwarded: mpsc::Receiver<ForwardedGroup<M>>,
    stop: watch::Receiver<bool>,
    leadership: watch::Receiver<Leadership>,
    leader: Leadership,
    route: Route,
    retry_pause: Duration,
    session: Session<M>,
    entries: Entries<M>,
    request_buffer: Vec<Pending<M::Reply>>,
    forwarded_buffer: Vec<ForwardedGroup<M>>,
    last_entry_at: Instant,
    next_sweep_at: Instant,
}

impl<M: Machine, C> fmt::Debug for Task<M, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Task")
            .field("leader", &self.leader)
            .field("session", &self.session)
            .finish_non_exhaustive()
    }
}

fn fresh_session(entropy: &dyn Entropy) -> SessionId {
    let mut bytes = [0; 16];
    entropy.fill(&mut bytes);
    SessionId::new(u128::from_le_bytes(bytes))
}

impl<M: Machine, C: Consensus<M>> Task<M, C> {
    pub(super) fn new(
        consensus: Arc<C>,
        ports: &Ports,
        requests: inbox::Receiver<Pending<M::Reply>>,
        forwarded: mpsc::Receiver<ForwardedGroup<M>>,
        stop: watch::Receiver<bool>,
    ) -> Self {
        let leadership = consensus.leadership();
        let now = Instant::now();
        Self {
            consensus,
            transport: Arc::clone(&ports.transport),
            clock: Arc::clone(&ports.clock),
            entropy: Arc::clone(&ports.entropy),
            requests,
            forwarded,
            stop,
            leadership,
            leader: Leadership::default(),
            route: Route::Nowhere { retry_at: None },
            retry_pause: RETRY_PAUSE_FIRST,
            session: Session::new(fresh_session(&*ports.entropy)),
            entries: Entries::new(),
            request_buffer: Vec::new(),
            forwarded_buffer: Vec::with_capacity(TAKE_AT_ONCE),
            last_entry_at: now,
            next_sweep_at: now,
        }
    }

    /// Runs until told to stop, or until consensus has stopped.
    pub(super) async fn run(mut self) {
        self.leader_changed();
        loop {
            self.gather().await;
            self.look_at_the_time();
            if self.pump().await.is_err() {
                break;
            }
            match self.next_event().await {
                Event::Stop => break,
                Event::LeaderChanged => self.leader_changed(),
                Event::Finished(finished) => {
                    if self.entry_finished(finished).is_err() {
                        break;
                    }
                }
                Event::Opened(opened) => self.stream_opened(opened),
                Event::Received(message) => self.message_received(message),
                Event::Room(true) => self.send_outbox(),
                Event::Room(false) => self.route_failed(),
                Event::Forwarded => self.groups_arrived(),
                Event::Requests | Event::Timer => {}
            }
        }
        self.shut_down();
    }

    async fn next_event(&mut self) -> Event<M> {
        let timer = self.next_timer();
        let enough = self.enough_requests();
        let forwarded_room = self.entries.room().min(TAKE_AT_ONCE);
        let (opening, link) = match &mut self.route {
            Route::Nowhere { .. } | Route::Local => (None, None),
            Route::Connecting(opening) => (Some(opening), None),
            Route::Connected(link) => (None, Some(link)),
        };
        let (sender, receiver) = match link {
            Some(Link {
                duplex: Duplex { sender, receiver },
                outbox,
            }) => (outbox.is_some().then_some(sender), Some(receiver)),
            None => (None, None),
        };
        // The order: what ends a state before what works in it, what finishes work before
        // what begins some.
        tokio::select! {
            biased;
            _ = self.stop.wait_for(|stop| *stop) => Event::Stop,
            changed = self.leadership.changed() => match changed {
                Ok(()) => Event::LeaderChanged,
                Err(_) => Event::Stop,
            },
            finished = self.entries.finished() => Event::Finished(finished),
            message = optional(receiver, |receiver| receiver.recv()) => Event::Received(message),
            permit = optional(sender, |sender| sender.reserve()) => Event::Room(permit.is_ok()),
            opened = optional(opening, |opening| opening) => Event::Opened(opened),
            taken = self.forwarded.recv_many(&mut self.forwarded_buffer, forwarded_room), if forwarded_room > 0 => match taken {
                0 => Event::Stop,
                _ => Event::Forwarded,
            },
            is_open = self.requests.wait(enough) => if is_open { Event::Requests } else { Event::Stop },
            () = optional(timer, sleep_until) => Event::Timer,
        }
    }

    /// How many requests must wait for the task to wake for them alone: as many as would make
    /// it send something. Of more it learns with the next event, which a deadline is too.
    fn enough_requests(&self) -> usize {
        if !self.session.has_callers() {
            return 1;
        }
        let in_flight = match &self.route {
            // They wait for an event of another kind.
            Route::Nowhere { .. } | Route::Connecting(_) => limits::ENTRIES_IN_FLIGHT_MAX,
            Route::Local => self.entries.in_flight(),
            Route::Connected(_) => self.session.groups_in_flight(),
        };
        match in_flight {
            0 | 1 => 1,
            limits::ENTRIES_IN_FLIGHT_MAX.. => usize::MAX,
            _ => entries::WELL_FILLED_REQUESTS
                .saturating_sub(self.session.unsent())
                .max(1),
        }
    }

    /// Takes in what callers have left. Under load those who are about to leave something are
    /// let by first: an answered entry wakes many callers, and their next requests travel together.
    async fn gather(&mut self) {
        if self.session.has_callers() {
            tokio::task::yield_now().await;
        }
        self.requests.take(&mut self.request_buffer);
        for pending in self.request_buffer.drain(..) {
            self.session.enqueue(pending);
        }
    }

    /// When the task must wake although nothing happens.
    fn next_timer(&self) -> Option<Instant> {
        let sweep = self.session.has_callers().then_some(self.next_sweep_at);
        let route = match &self.route {
            Route::Nowhere { retry_at } => *retry_at,
            Route::Local => self.ticks().then(|| self.last_entry_at + TICK_INTERVAL),
            Route::Connecting(_) | Route::Connected(_) => None,
        };
        [sweep, route].into_iter().flatten().min()
    }

    /// Whether the clock must be moved on when nothing else does it.
    fn ticks(&self) -> bool {
        !self.entries.has_in_flight() && self.consensus.next_deadline().is_some()
    }

    fn look_at_the_time(&mut self) {
        let now = Instant::now();
        if now >= self.next_sweep_at {
            self.session.sweep(now, self.leader.leader.is_some());
            self.next_sweep_at = now + SWEEP_INTERVAL;
        }
        if matches!(self.route, Route::Nowhere { retry_at: Some(retry_at) } if now >= retry_at) {
            self.choose_route();
        }
    }

    fn leader_changed(&mut self) {
        let now_leading = self.leadership.borrow_and_update().clone();
        if now_leading == self.leader {
            return;
        }
        self.leader = now_leading;
        self.leave_route();
        self.retry_pause = RETRY_PAUSE_FIRST;
        self.choose_route();
    }

    fn choose_route(&mut self) {
        self.route = match &self.leader.leader {
            None => Route::Nowhere { retry_at: None },
            Some(LeaderRef::Local) => Route::Local,
            Some(LeaderRef::Remote(peer)) => Route::Connecting(self.transport.open(peer, Lane::Forward)),
        };
    }

    /// Ends the use of the current route: what it has not answered goes out again later.
    fn leave_route(&mut self) {
        self.entries.abandon();
        self.session.reset(Instant::now());
        self.route = Route::Nowhere { retry_at: None };
    }

    /// The leader did not take a group, or can no longer be asked.
    fn route_failed(&mut self) {
        self.leave_route();
        self.route = Route::Nowhere {
            retry_at: Some(Instant::now() + self.retry_pause),
        };
        self.retry_pause = (self.retry_pause * 2).min(RETRY_PAUSE_LAST);
    }

    /// Moves on whatever can move.
    async fn pump(&mut self) -> Result<(), Stopped> {
        match self.route {
            Route::Nowhere { .. } | Route::Connecting(_) => Ok(()),
            Route::Local => self.propose_entries().await,
            Route::Connected(_) => {
                self.send_groups();
                Ok(())
            }
        }
    }

    async fn propose_entries(&mut self) -> Result<(), Stopped> {
        let now = Instant::now();
        while self.entries.wants_entry(self.session.unsent()) {
            let entropy = &*self.entropy;
            let built = self.entries.build(&mut self.session, self.clock.now(), now, || {
                fresh_session(entropy)
            });
            if built.groups.is_empty() {
                break;
            }
            if !self.append(built.batch, built.groups).await? {
                return Ok(());
            }
        }
        if self.ticks() && now >= self.last_entry_at + TICK_INTERVAL {
            let tick = Batch {
                proposed_at: self.entries.stamp(self.clock.now()),
                groups: Vec::new(),
            };
            self.append(tick, Vec::new()).await?;
        }
        Ok(())
    }

    /// Proposes one entry. `false`: the route is left.
    async fn append(&mut self, batch: Batch, groups: Vec<(Origin<M>, usize)>) -> Result<bool, Stopped> {
        self.last_entry_at = Instant::now();
        let appended = self.consensus.append(batch).await;
        match appended {
            Ok(outcome) => {
                self.entries.begun(groups, outcome);
                Ok(true)
            }
            Err(error) => {
                if error == AppendError::NotLeader && entries::has_local(&groups) {
                    self.session.take_back_newest();
                }
                entries::close(groups);
                self.entry_failed(error).map(|()| false)
            }
        }
    }

    fn entry_finished(&mut self, finished: Finished<M>) -> Result<(), Stopped> {
        let replies = match finished.outcome {
            Ok(replies) => replies,
            Err(error) => {
                if error == AppendError::NotLeader && entries::has_local(&finished.groups) {
                    self.session.take_back_oldest();
                }
                entries::close(finished.groups);
                return self.entry_failed(error);
            }
        };
        self.retry_pause = RETRY_PAUSE_FIRST;
        let now = Instant::now();
        let mut replies = replies.into_iter();
        for (origin, requests) in finished.groups {
            let group = replies.by_ref().take(requests);
            match origin {
                Origin::Local => {
                    let taken = self
                        .session
                        .answer(group, now)
                        .and_then(|()| self.session.end_group());
                    // The machine's contract is one reply for each request.
                    debug_assert!(taken.is_ok(), "replies match the requests");
                }
                Origin::Forwarded(stream) => {
                    // The stream may have ended; its proposer sends the group again.
                    let _ = stream.send(Some(group.collect()));
                }
            }
        }
        Ok(())
    }

    fn entry_failed(&mut self, error: AppendError) -> Result<(), Stopped> {
        match error {
            AppendError::NotLeader | AppendError::Unknown => {
                self.route_failed();
                Ok(())
            }
            AppendError::Stopped => Err(Stopped),
        }
    }

    fn stream_opened(&mut self, opened: Result<Duplex, TransportError>) {
        match opened {
            Ok(duplex) => self.route = Route::Connected(Link { duplex, outbox: None }),
            Err(error) => {
                tracing::debug!(%error, "no forward stream to the leader");
                self.route_failed();
            }
        }
    }

    fn send_groups(&mut self) {
        let now = Instant::now();
        while let Route::Connected(link) = &mut self.route {
            let wanted = match self.session.groups_in_flight() {
                0 | 1 => self.session.unsent() > 0,
                in_flight if in_flight < limits::ENTRIES_IN_FLIGHT_MAX => {
                    self.session.unsent() >= entries::WELL_FILLED_REQUESTS
                }
                _ => false,
            };
            if link.outbox.is_some() || !wanted {
                return;
            }
            let entropy = &*self.entropy;
            let mut budget = Budget::FULL;
            let Some(group) = self
                .session
                .next_group(&mut budget, now, || fresh_session(entropy))
            else {
                return;
            };
            link.outbox = Some(frame::encode_group(&group));
            self.send_outbox();
        }
    }

    fn send_outbox(&mut self) {
        let Route::Connected(link) = &mut self.route else {
            return;
        };
        let Some(message) = link.outbox.take() else { return };
        match link.duplex.sender.try_send(message) {
            Ok(()) => {}
            Err(TrySendError::Full(message)) => link.outbox = Some(message),
            Err(TrySendError::Closed(_)) => self.route_failed(),
        }
    }

    fn message_received(&mut self, message: Option<Bytes>) {
        let Some(message) = message else {
            self.route_failed();
            return;
        };
        match frame::decode_replies::<M>(message) {
            Ok((replies, complete)) => {
                let mut taken = self.session.answer(replies, Instant::now());
                if complete && taken.is_ok() {
                    taken = self.session.end_group();
                }
                self.retry_pause = RETRY_PAUSE_FIRST;
                if taken.is_err() {
                    tracing::warn!("the leader's replies do not match the requests");
                    self.route_failed();
                }
            }
            Err(error) => {
                tracing::warn!(%error, "forward stream to the leader closed");
                self.route_failed();
            }
        }
    }

    fn groups_arrived(&mut self) {
        let leads = matches!(self.route, Route::Local);
        for group in self.forwarded_buffer.drain(..) {
            if leads {
                self.entries.enqueue(group);
            } else {
                // The stream may have ended already.
                let _ = group.replies.send(None);
            }
        }
    }

    fn shut_down(mut self) {
        // First: whoever comes later is told at once.
        self.requests.close();
        self.requests.take(&mut self.request_buffer);
        for pending in self.request_buffer.drain(..) {
            self.session.enqueue(pending);
        }
        self.entries.abandon();
        self.session.shut_down(Instant::now());
    }
}

/// Consensus has stopped on this node.
struct Stopped;

/// Waits on what is there, for ever if it is not.
async fn optional<T, F: IntoFuture>(maybe: Option<T>, wait: impl FnOnce(T) -> F) -> F::Output {
    match maybe {
        Some(there) => wait(there).await,
        None => std::future::pending().await,
    }
}
