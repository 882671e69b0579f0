//! The proposer's side of a session: which request has which number, which are on their
//! way, and which of the callers' questions can still be answered.
//!
//! Pure bookkeeping, without I/O: the task around it moves groups and replies.
//!
//! ```text
//!   enqueue ─> waiting ── next_group ─> slots (numbered) ── answer ─> caller
//!                              ▲            │
//!                              └── reset ───┘   the stream broke: all of it again, in order
//! ```
//!
//! Keeps the proposer's half of I7: a request has one number for as long as its fate is
//! unknown, and gets another number only when the machine has said that the session is
//! gone *and* the request was sent only once, so that no other copy of it can be applied.

use std::collections::VecDeque;
use std::mem;

use bytes::Bytes;
use concord_core::batch::Group;
use concord_core::ids::SessionId;
use concord_core::machine::Machine;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::limits;
use crate::proposer::{Permit, ProposeError};

/// A caller's request that has not been answered.
#[derive(Debug)]
pub(super) struct Pending<R> {
    pub(super) request: Bytes,
    pub(super) accepted_at: Instant,
    pub(super) deadline: Instant,
    pub(super) reply: oneshot::Sender<Result<R, ProposeError>>,
    /// Frees the request's share of the node's limits.
    pub(super) permit: Permit,
}

impl<R> Pending<R> {
    fn answer(self, answer: Result<R, ProposeError>) {
        // Released first: a caller may propose again as soon as it has the answer.
        drop(self.permit);
        // Whoever stopped waiting does not want it.
        let _ = self.reply.send(answer);
    }

    fn fail(self, now: Instant, error: impl FnOnce(u64) -> ProposeError) {
        let waited = now.saturating_duration_since(self.accepted_at);
        let waited_ms = u64::try_from(waited.as_millis()).unwrap_or(u64::MAX);
        self.answer(Err(error(waited_ms)));
    }

    fn is_unwanted(&self) -> bool {
        self.reply.is_closed()
    }
}

/// A numbered request: sent at least once. `None` once answered or given up.
#[derive(Debug)]
struct Slot<R> {
    pending: Option<Pending<R>>,
    /// How often it was sent. An attempt that provably went nowhere is taken back.
    attempts: u32,
}

/// A group on the current stream.
#[derive(Clone, Copy, Debug)]
struct Sent {
    first: u64,
    requests: usize,
    answered: usize,
}

/// How much a group may hold.
#[derive(Clone, Copy, Debug)]
pub(super) struct Budget {
    pub(super) bytes: usize,
    pub(super) requests: usize,
    /// A single request over `bytes` is fine.
    pub(super) oversize: bool,
}

impl Budget {
    /// A whole entry or forwarded group.
    pub(super) const FULL: Self = Self {
        bytes: limits::ENTRY_BYTES_MAX,
        requests: limits::ENTRY_REQUESTS_MAX,
        oversize: true,
    };

    /// Takes a request of this size, if it fits.
    fn take(&mut self, request_bytes: usize) -> bool {
        if self.requests == 0 || (request_bytes > self.bytes && !self.oversize) {
            return false;
        }
        self.bytes = self.bytes.saturating_sub(request_bytes);
        self.requests -= 1;
        self.oversize = false;
        true
    }

    /// Takes a whole group, if it fits.
    pub(super) fn take_group(&mut self, requests: usize, bytes: usize) -> bool {
        let fits = requests <= self.requests && bytes <= self.bytes;
        if !fits && !self.oversize {
            return false;
        }
        self.bytes = self.bytes.saturating_sub(bytes);
        self.requests = self.requests.saturating_sub(requests);
        self.oversize = false;
        true
    }
}

/// Why an answer cannot be used: the other side broke the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unexpected;

/// The session of one proposer.
pub(super) struct Session<M: Machine> {
    id: SessionId,
    /// The machine has confirmed that it knows the session.
    opened: bool,
    /// The machine has forgotten the session: nothing more is sent under it.
    expired: bool,
    waiting: VecDeque<Pending<M::Reply>>,
    /// The number of the first slot. Everything below has been answered.
    base: u64,
    slots: VecDeque<Slot<M::Reply>>,
    /// The first slot that was not sent on the current stream.
    cursor: usize,
    sent: VecDeque<Sent>,
}

impl<M: Machine> std::fmt::Debug for Session<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("opened", &self.opened)
            .field("waiting", &self.waiting.len())
            .field("slots", &self.slots.len())
            .field("groups_sent", &self.sent.len())
            .finish_non_exhaustive()
    }
}

impl<M: Machine> Session<M> {
    /// A session with a fresh random id.
    pub(super) fn new(id: SessionId) -> Self {
        Self {
            id,
            opened: false,
            expired: false,
            waiting: VecDeque::new(),
            base: 1,
            slots: VecDeque::new(),
            cursor: 0,
            sent: VecDeque::new(),
        }
    }

    /// Takes in a caller's request.
    pub(super) fn enqueue(&mut self, pending: Pending<M::Reply>) {
        self.waiting.push_back(pending);
    }

    /// Whether deadlines must be watched.
    pub(super) fn has_callers(&self) -> bool {
        !self.waiting.is_empty() || !self.slots.is_empty()
    }

    /// Groups sent on the current stream and not fully answered.
    pub(super) fn groups_in_flight(&self) -> usize {
        self.sent.len()
    }

    /// Requests that could be sent, about: answered and given-up ones count too, and so
    /// does opening the session, which is done before there is a request.
    pub(super) fn unsent(&self) -> usize {
        let opening = usize::from(!self.opened && self.sent.is_empty());
        self.slots.len() - self.cursor + self.waiting.len() + opening
    }

    /// The next group to send, if there is anything to send now. It counts as sent.
    ///
    /// `fresh_id` is called when the session must be replaced.
    pub(super) fn next_group(
        &mut self,
        budget: &mut Budget,
        now: Instant,
        fresh_id: impl FnOnce() -> SessionId,
    ) -> Option<Group> {
        if self.expired {
            if !self.sent.is_empty() {
                return None;
            }
            self.renew(fresh_id(), now);
        }
        if !self.opened {
            return self.opening_group(budget);
        }
        self.skip_finished();
        let (first, requests) = if self.cursor < self.slots.len() {
            self.take_unsent(budget)
        } else {
            self.take_waiting(budget)
        };
        if requests.is_empty() {
            return None;
        }
        self.sent.push_back(Sent {
            first,
            requests: requests.len(),
            answered: 0,
        });
        Some(self.group(false, first, requests))
    }

    /// Before anything else, and alone: see [`Group::opens`].
    fn opening_group(&mut self, budget: &mut Budget) -> Option<Group> {
        if !self.sent.is_empty() || budget.requests == 0 {
            return None;
        }
        self.sent.push_back(Sent {
            first: self.base,
            requests: 0,
            answered: 0,
        });
        Some(self.group(true, self.base, Vec::new()))
    }

    fn group(&self, opens: bool, first_sequence: u64, requests: Vec<Bytes>) -> Group {
        Group {
            session: self.id,
            opens,
            acked_below: self.base,
            first_sequence,
            requests,
        }
    }

    fn skip_finished(&mut self) {
        while self
            .slots
            .get(self.cursor)
            .is_some_and(|slot| slot.pending.is_none())
        {
            self.cursor += 1;
        }
    }

    /// Requests that an earlier stream lost, up to the first number that is finished.
    fn take_unsent(&mut self, budget: &mut Budget) -> (u64, Vec<Bytes>) {
        let first = self.sequence_at(self.cursor);
        let mut requests = Vec::new();
        while let Some(slot) = self.slots.get_mut(self.cursor) {
            let Some(pending) = &slot.pending else { break };
            if !budget.take(pending.request.len()) {
                break;
            }
            requests.push(pending.request.clone());
            slot.attempts = slot.attempts.saturating_add(1);
            self.cursor += 1;
        }
        (first, requests)
    }

    /// Requests that were never sent: they get their numbers now.
    fn take_waiting(&mut self, budget: &mut Budget) -> (u64, Vec<Bytes>) {
        let first = self.sequence_at(self.slots.len());
        let mut requests = Vec::with_capacity(self.waiting.len().min(budget.requests));
        while self.slots.len() < limits::PROPOSALS_SENT_MAX {
            let Some(pending) = self.waiting.front() else {
                break;
            };
            if pending.is_unwanted() {
                self.waiting.pop_front();
                continue;
            }
            if !budget.take(pending.request.len()) {
                break;
            }
            requests.push(pending.request.clone());
            let pending = self.waiting.pop_front();
            self.slots.push_back(Slot { pending, attempts: 1 });
        }
        self.cursor = self.slots.len();
        (first, requests)
    }

    fn sequence_at(&self, slot: usize) -> u64 {
        self.base.saturating_add(u64::try_from(slot).unwrap_or(u64::MAX))
    }

    fn slot_mut(&mut self, sequence: u64) -> Option<&mut Slot<M::Reply>> {
        let offset = usize::try_from(sequence.checked_sub(self.base)?).ok()?;
        self.slots.get_mut(offset)
    }

    /// Takes the next replies; they come in the order in which the requests were sent.
    ///
    /// # Errors
    ///
    /// [`Unexpected`] if there are more replies than requests in the oldest group.
    pub(super) fn answer(
        &mut self,
        replies: impl IntoIterator<Item = M::Reply>,
        now: Instant,
    ) -> Result<(), Unexpected> {
        let mut retries = Vec::new();
        let mut outcome = Ok(());
        for reply in replies {
            let Some(group) = self
                .sent
                .front_mut()
                .filter(|group| group.answered < group.requests)
            else {
                outcome = Err(Unexpected);
                break;
            };
            let offset = u64::try_from(group.answered).unwrap_or(u64::MAX);
            let sequence = group.first.saturating_add(offset);
            group.answered += 1;
            self.answer_one(sequence, reply, now, &mut retries);
        }
        // In front of all that waits, in their order: they were here first.
        for pending in retries.into_iter().rev() {
            self.waiting.push_front(pending);
        }
        self.drop_finished();
        outcome
    }

    fn answer_one(
        &mut self,
        sequence: u64,
        reply: M::Reply,
        now: Instant,
        retries: &mut Vec<Pending<M::Reply>>,
    ) {
        let expired = M::is_session_expired(&reply);
        self.expired |= expired;
        let Some(slot) = self.slot_mut(sequence) else {
            return;
        };
        let Some(pending) = slot.pending.take() else {
            return;
        };
        if !expired {
            pending.answer(Ok(reply));
        } else if slot.attempts <= 1 {
            // I7: this was the only attempt and it wrote nothing, so that another number
            // under another session cannot apply the request twice.
            retries.push(pending);
        } else {
            pending.fail(now, |waited_ms| ProposeError::OutcomeUnknown { waited_ms });
        }
    }

    /// The oldest group is fully answered.
    ///
    /// # Errors
    ///
    /// [`Unexpected`] if replies are missing.
    pub(super) fn end_group(&mut self) -> Result<(), Unexpected> {
        let group = self.sent.pop_front().ok_or(Unexpected)?;
        if group.answered < group.requests {
            return Err(Unexpected);
        }
        if group.requests == 0 {
            self.opened = true;
        }
        Ok(())
    }

    /// The oldest group certainly went nowhere: its attempts do not count.
    pub(super) fn take_back_oldest(&mut self) {
        self.take_back(self.sent.front().copied());
    }

    /// The newest group certainly went nowhere: its attempts do not count.
    pub(super) fn take_back_newest(&mut self) {
        self.take_back(self.sent.back().copied());
    }

    fn take_back(&mut self, group: Option<Sent>) {
        let Some(group) = group else { return };
        for offset in group.answered..group.requests {
            let sequence = group
                .first
                .saturating_add(u64::try_from(offset).unwrap_or(u64::MAX));
            if let Some(slot) = self.slot_mut(sequence) {
                slot.attempts = slot.attempts.saturating_sub(1);
            }
        }
    }

    /// The stream broke: everything unanswered will be sent again, in order.
    pub(super) fn reset(&mut self, now: Instant) {
        self.sent.clear();
        self.cursor = 0;
        if self.expired {
            self.abandon_slots(now);
        }
    }

    /// The session is gone and no answer is to come: what was sent, nobody can tell about.
    fn abandon_slots(&mut self, now: Instant) {
        for slot in mem::take(&mut self.slots).into_iter().rev() {
            let Some(pending) = slot.pending else { continue };
            if slot.attempts == 0 {
                self.waiting.push_front(pending);
            } else {
                pending.fail(now, |waited_ms| ProposeError::OutcomeUnknown { waited_ms });
            }
        }
        self.cursor = 0;
    }

    /// Gives up what is past its deadline. `led`: a leader is known.
    pub(super) fn sweep(&mut self, now: Instant, led: bool) {
        for slot in &mut self.slots {
            let Some(pending) = slot.pending.take_if(|pending| pending.deadline <= now) else {
                continue;
            };
            if slot.attempts == 0 {
                pending.fail(now, |waited_ms| ProposeError::Timeout { waited_ms });
            } else {
                pending.fail(now, |waited_ms| ProposeError::OutcomeUnknown { waited_ms });
            }
        }
        self.drop_finished();
        if self.waiting.iter().any(|pending| pending.deadline <= now) {
            for pending in mem::take(&mut self.waiting) {
                if pending.deadline > now {
                    self.waiting.push_back(pending);
                } else if led {
                    pending.fail(now, |waited_ms| ProposeError::Timeout { waited_ms });
                } else {
                    pending.fail(now, |waited_ms| ProposeError::NoQuorum { waited_ms });
                }
            }
        }
    }

    /// The node stops: everybody learns what can be known.
    pub(super) fn shut_down(&mut self, now: Instant) {
        for slot in mem::take(&mut self.slots) {
            let Some(pending) = slot.pending else { continue };
            if slot.attempts == 0 {
                pending.answer(Err(ProposeError::ShuttingDown));
            } else {
                pending.fail(now, |waited_ms| ProposeError::OutcomeUnknown { waited_ms });
            }
        }
        for pending in mem::take(&mut self.waiting) {
            pending.answer(Err(ProposeError::ShuttingDown));
        }
    }

    fn renew(&mut self, id: SessionId, now: Instant) {
        self.abandon_slots(now);
        self.id = id;
        self.opened = false;
        self.expired = false;
        self.base = 1;
    }

    fn drop_finished(&mut self) {
        while self.slots.front().is_some_and(|slot| slot.pending.is_none()) {
            self.slots.pop_front();
            self.base = self.base.saturating_add(1);
            self.cursor = self.cursor.saturating_sub(1);
        }
    }
}
