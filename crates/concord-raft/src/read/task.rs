//! The task behind reads: rounds, and who waits for what.

use std::mem;
use std::sync::Arc;
use std::time::Duration;

use concord_core::ids::{LogIndex, Revision};
use concord_core::machine::Machine;
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until, timeout};

use super::{ReadError, message};
use crate::consensus::{Consensus, LeaderRef, Leadership, Published, ReadIndexError, Views};
use crate::limits;
use crate::ports::{Lane, PeerAddress, Transport};

/// How often deadlines are looked at: this late may a caller learn of its own.
const SWEEP_INTERVAL: Duration = Duration::from_millis(20);
/// The first pause after a failed round; doubled up to the last one.
const RETRY_PAUSE_FIRST: Duration = Duration::from_millis(5);
const RETRY_PAUSE_LAST: Duration = Duration::from_millis(100);
/// Waiters taken from the queue at once.
const TAKE_AT_ONCE: usize = 1_024;

/// What a waiter needs first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Goal {
    /// A round, then a view that has applied its index.
    FreshView,
    /// A view of the asked revision.
    AnyView,
    /// A round: its index goes to another node.
    Index,
}

/// Where the answer goes.
pub(super) enum Reply<M: Machine> {
    View(oneshot::Sender<Result<Arc<Published<M::View>>, ReadError>>),
    Index(oneshot::Sender<Result<LogIndex, ReadIndexError>>),
}

/// Somebody who waits.
pub(super) struct Waiter<M: Machine> {
    pub(super) goal: Goal,
    pub(super) min_revision: Option<Revision>,
    pub(super) arrived_at: Instant,
    pub(super) deadline: Instant,
    pub(super) reply: Reply<M>,
}

impl<M: Machine> Waiter<M> {
    fn fail(self, now: Instant, error: impl FnOnce(u64) -> ReadError) {
        let waited = now.saturating_duration_since(self.arrived_at);
        // Whoever stopped waiting does not want it.
        match self.reply {
            Reply::View(reply) => {
                let waited_ms = u64::try_from(waited.as_millis()).unwrap_or(u64::MAX);
                let _ = reply.send(Err(error(waited_ms)));
            }
            Reply::Index(reply) => {
                let _ = reply.send(Err(ReadIndexError::NoQuorum));
            }
        }
    }

    fn is_over(&self, now: Instant) -> bool {
        self.deadline <= now
            || match &self.reply {
                Reply::View(reply) => reply.is_closed(),
                Reply::Index(reply) => reply.is_closed(),
            }
    }
}

/// A round under way and those whom it will answer.
struct Round<M: Machine> {
    index: BoxFuture<'static, Result<LogIndex, ReadIndexError>>,
    waiters: Vec<Waiter<M>>,
}

/// What woke the task.
enum Event {
    Stop,
    LeaderChanged,
    RoundEnded(Result<LogIndex, ReadIndexError>),
    Published,
    Waiters,
    Timer,
}

/// The state of the task.
pub(super) struct Task<M: Machine, C> {
    consensus: Arc<C>,
    transport: Arc<dyn Transport>,
    queue: mpsc::Receiver<Waiter<M>>,
    stop: watch::Receiver<bool>,
    leadership: watch::Receiver<Leadership>,
    leader: Leadership,
    views: Views<M::View>,
    /// They came after the round under way had begun: the next one is theirs.
    gathering: Vec<Waiter<M>>,
    round: Option<Round<M>>,
    /// No round before this.
    retry_at: Option<Instant>,
    retry_pause: Duration,
    /// They wait until this node has applied an index, in order of the indexes' arrival.
    settling: Vec<(LogIndex, Vec<Waiter<M>>)>,
    /// They wait for a revision only.
    early: Vec<Waiter<M>>,
    buffer: Vec<Waiter<M>>,
    next_sweep_at: Instant,
}

impl<M: Machine, C: Consensus<M>> Task<M, C> {
    pub(super) fn new(
        consensus: Arc<C>,
        transport: Arc<dyn Transport>,
        queue: mpsc::Receiver<Waiter<M>>,
        stop: watch::Receiver<bool>,
    ) -> Self {
        let leadership = consensus.leadership();
        let leader = leadership.borrow().clone();
        let views = consensus.views();
        Self {
            consensus,
            transport,
            queue,
            stop,
            leadership,
            leader,
            views,
            gathering: Vec::new(),
            round: None,
            retry_at: None,
            retry_pause: RETRY_PAUSE_FIRST,
            settling: Vec::new(),
            early: Vec::new(),
            buffer: Vec::with_capacity(TAKE_AT_ONCE),
            next_sweep_at: Instant::now(),
        }
    }

    /// Runs until told to stop, or until consensus has stopped.
    pub(super) async fn run(mut self) {
        loop {
            self.look_at_the_time();
            self.begin_round();
            match self.next_event().await {
                Event::Stop => break,
                Event::LeaderChanged => self.leader_changed(),
                Event::RoundEnded(Err(ReadIndexError::Stopped)) => break,
                Event::RoundEnded(outcome) => self.round_ended(outcome),
                Event::Published => self.published(),
                Event::Waiters => self.waiters_arrived(),
                Event::Timer => {}
            }
        }
        self.shut_down();
    }

    async fn next_event(&mut self) -> Event {
        let timer = self.next_timer();
        let waits_for_views = !self.settling.is_empty() || !self.early.is_empty();
        tokio::select! {
            // The order: what ends waiting before what adds to it.
            biased;
            _ = self.stop.wait_for(|stop| *stop) => Event::Stop,
            changed = self.leadership.changed() => match changed {
                Ok(()) => Event::LeaderChanged,
                Err(_) => Event::Stop,
            },
            index = async {
                match &mut self.round {
                    Some(round) => (&mut round.index).await,
                    None => std::future::pending().await,
                }
            } => Event::RoundEnded(index),
            more = self.views.changed(), if waits_for_views => if more { Event::Published } else { Event::Stop },
            taken = self.queue.recv_many(&mut self.buffer, TAKE_AT_ONCE) => match taken {
                0 => Event::Stop,
                _ => Event::Waiters,
            },
            () = async {
                match timer {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            } => Event::Timer,
        }
    }

    fn next_timer(&self) -> Option<Instant> {
        let waiting = self.round.is_some()
            || !(self.gathering.is_empty() && self.settling.is_empty() && self.early.is_empty());
        let retry = self.retry_at.filter(|_| !self.gathering.is_empty());
        [waiting.then_some(self.next_sweep_at), retry]
            .into_iter()
            .flatten()
            .min()
    }

    fn look_at_the_time(&mut self) {
        let now = Instant::now();
        if now >= self.next_sweep_at {
            self.sweep(now);
            self.next_sweep_at = now + SWEEP_INTERVAL;
        }
        if self.retry_at.is_some_and(|at| now >= at) {
            self.retry_at = None;
        }
    }

    fn leader_changed(&mut self) {
        let leader = self.leadership.borrow_and_update().clone();
        if leader == self.leader {
            return;
        }
        self.leader = leader;
        self.retry_at = None;
        self.retry_pause = RETRY_PAUSE_FIRST;
        // An answer of the old leader would still be right, but it may never come.
        self.abandon_round();
        if self.leader.leader != Some(LeaderRef::Local) {
            self.turn_others_away();
        }
    }

    /// Nodes that asked this one must not be asked for them in turn, round and round.
    fn turn_others_away(&mut self) {
        let (others, own): (Vec<_>, Vec<_>) = mem::take(&mut self.gathering)
            .into_iter()
            .partition(|waiter| waiter.goal == Goal::Index);
        self.gathering = own;
        refuse(others, ReadIndexError::NotLeader);
    }

    /// Those of the round join the next one, which begins later: that is fresh enough.
    fn abandon_round(&mut self) {
        if let Some(round) = self.round.take() {
            let newer = mem::replace(&mut self.gathering, round.waiters);
            self.gathering.extend(newer);
        }
    }

    fn begin_round(&mut self) {
        if self.round.is_some() || self.retry_at.is_some() || self.gathering.is_empty() {
            return;
        }
        let index = match &self.leader.leader {
            None => return,
            Some(LeaderRef::Local) => local_round(self.consensus.read_index()),
            Some(LeaderRef::Remote(peer)) => remote_round(&*self.transport, peer),
        };
        self.round = Some(Round {
            index,
            waiters: mem::take(&mut self.gathering),
        });
    }

    fn round_ended(&mut self, outcome: Result<LogIndex, ReadIndexError>) {
        match outcome {
            Ok(index) => {
                self.retry_pause = RETRY_PAUSE_FIRST;
                let Some(round) = self.round.take() else { return };
                let (indexes, views): (Vec<_>, Vec<_>) = round
                    .waiters
                    .into_iter()
                    .partition(|waiter| waiter.goal == Goal::Index);
                for waiter in indexes {
                    if let Reply::Index(reply) = waiter.reply {
                        // Whoever stopped waiting does not want it.
                        let _ = reply.send(Ok(index));
                    }
                }
                if !views.is_empty() {
                    self.settling.push((index, views));
                    self.published();
                }
            }
            Err(_) => {
                self.abandon_round();
                self.turn_others_away();
                self.retry_at = Some(Instant::now() + self.retry_pause);
                self.retry_pause = (self.retry_pause * 2).min(RETRY_PAUSE_LAST);
            }
        }
    }

    /// Answers those for whom the latest view will do.
    fn published(&mut self) {
        let latest = self.views.load();
        for (index, waiters) in mem::take(&mut self.settling) {
            if latest.applied >= index {
                self.early.extend(waiters);
            } else {
                self.settling.push((index, waiters));
            }
        }
        let revision = M::revision_of(&latest.view);
        for waiter in mem::take(&mut self.early) {
            if waiter.min_revision.is_none_or(|least| revision >= least) {
                if let Reply::View(reply) = waiter.reply {
                    // Whoever stopped waiting does not want it.
                    let _ = reply.send(Ok(Arc::clone(&latest)));
                }
            } else {
                self.early.push(waiter);
            }
        }
    }

    fn waiters_arrived(&mut self) {
        let leads = self.leader.leader == Some(LeaderRef::Local);
        let mut any_view = false;
        let mut refused = Vec::new();
        for waiter in self.buffer.drain(..) {
            match waiter.goal {
                Goal::FreshView => self.gathering.push(waiter),
                Goal::Index if leads => self.gathering.push(waiter),
                Goal::Index => refused.push(waiter),
                Goal::AnyView => {
                    self.early.push(waiter);
                    any_view = true;
                }
            }
        }
        refuse(refused, ReadIndexError::NotLeader);
        if any_view {
            // The view may have come since they looked.
            self.published();
        }
    }

    fn sweep(&mut self, now: Instant) {
        let led = self.leader.leader.is_some();
        let unconfirmed = |waited_ms| {
            if led {
                ReadError::NoQuorum { waited_ms }
            } else {
                ReadError::NotReady { waited_ms }
            }
        };
        if let Some(round) = &mut self.round {
            fail_overdue(&mut round.waiters, now, unconfirmed);
        }
        fail_overdue(&mut self.gathering, now, unconfirmed);
        for (_, waiters) in &mut self.settling {
            fail_overdue(waiters, now, |waited_ms| ReadError::Timeout { waited_ms });
        }
        self.settling.retain(|(_, waiters)| !waiters.is_empty());
        fail_overdue(&mut self.early, now, |waited_ms| ReadError::Timeout { waited_ms });
    }

    fn shut_down(mut self) {
        self.queue.close();
        while let Ok(waiter) = self.queue.try_recv() {
            self.buffer.push(waiter);
        }
        let now = Instant::now();
        let in_round = self.round.into_iter().flat_map(|round| round.waiters);
        let settling = self.settling.into_iter().flat_map(|(_, waiters)| waiters);
        for waiter in in_round
            .chain(settling)
            .chain(self.gathering)
            .chain(self.early)
            .chain(self.buffer)
        {
            waiter.fail(now, |_| ReadError::ShuttingDown);
        }
    }
}

fn refuse<M: Machine>(waiters: Vec<Waiter<M>>, error: ReadIndexError) {
    for waiter in waiters {
        if let Reply::Index(reply) = waiter.reply {
            // Whoever stopped waiting does not want it.
            let _ = reply.send(Err(error));
        }
    }
}

fn fail_overdue<M: Machine>(
    waiters: &mut Vec<Waiter<M>>,
    now: Instant,
    error: impl Fn(u64) -> ReadError + Copy,
) {
    for waiter in waiters.extract_if(.., |waiter| waiter.is_over(now)) {
        waiter.fail(now, error);
    }
}

fn local_round(
    index: BoxFuture<'static, Result<LogIndex, ReadIndexError>>,
) -> BoxFuture<'static, Result<LogIndex, ReadIndexError>> {
    async move {
        timeout(limits::READ_ROUND_MAX, index)
            .await
            .unwrap_or(Err(ReadIndexError::NoQuorum))
    }
    .boxed()
}

fn remote_round(
    transport: &dyn Transport,
    peer: &PeerAddress,
) -> BoxFuture<'static, Result<LogIndex, ReadIndexError>> {
    let wait = limits::READ_ROUND_MAX;
    let call = transport.call(peer, Lane::Forward, message::encode_request(wait), wait);
    async move {
        match call.await {
            Ok(answer) => message::decode_answer(answer),
            Err(error) => {
                tracing::debug!(%error, "no read index from the leader");
                Err(ReadIndexError::NoQuorum)
            }
        }
    }
    .boxed()
}
