//! Between those who make requests and the thread that writes lines: bounded, and nobody waits to get in.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use tokio::sync::oneshot;

use super::event::Event;
use super::refusals::{Refusal, Untold};
use crate::limits::AUDIT_QUEUE_BYTES_MAX;

/// How often it is told how many refusals left no line.
pub(super) const REFUSALS_TOLD_EVERY: Duration = Duration::from_secs(10);

/// Whoever waits until something is on disk. `false`: it is not.
pub(super) type Waiter = oneshot::Sender<bool>;

/// What the thread is to do next.
#[derive(Debug)]
pub(super) enum Item {
    /// Write a line; and tell this one, once it is on disk.
    Event(Box<Event>, Option<Waiter>),
    /// Say that so many lines were lost, the first of them at this time.
    Lost { count: u64, since: u64 },
    /// Say that so many requests were refused that left no line, the first of them at this time.
    Refused {
        refusal: Refusal,
        count: u64,
        since: u64,
    },
    /// Tell this one, once everything before is written.
    Barrier(Waiter),
}

/// The queue.
#[derive(Debug)]
pub(super) struct Queue {
    state: Mutex<State>,
    wake: Condvar,
    lines_max: usize,
}

#[derive(Debug, Default)]
struct State {
    items: VecDeque<Item>,
    bytes: usize,
    lost: u64,
    lost_since: u64,
    untold: Untold,
    is_urgent: bool,
    is_idle: bool,
    is_closed: bool,
}

/// What the thread takes out at once.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) items: VecDeque<Item>,
    pub(super) is_closed: bool,
}

impl Queue {
    pub(super) fn new(lines_max: usize) -> Self {
        Self {
            state: Mutex::default(),
            wake: Condvar::new(),
            lines_max,
        }
    }

    /// `false`: there is no room, and the line is lost.
    pub(super) fn push(&self, event: Box<Event>, waiter: Option<Waiter>) -> bool {
        let mut state = self.state.lock();
        let weight = event.weight();
        if state.is_closed
            || state.items.len() >= self.lines_max
            || state.bytes + weight > AUDIT_QUEUE_BYTES_MAX
        {
            if state.lost == 0 {
                state.lost_since = event.time;
            }
            state.lost += 1;
            return false;
        }
        state.bytes += weight;
        state.is_urgent |= waiter.is_some();
        state.items.push_back(Item::Event(event, waiter));
        self.rouse(&mut state);
        true
    }

    /// Counts a refusal that leaves no line.
    pub(super) fn count(&self, refusal: Refusal, time: u64) {
        let mut state = self.state.lock();
        // The thread looks at the count as often as it is told, from the first one on.
        if !state.is_closed && state.untold.add(refusal, time) && state.is_idle {
            state.is_idle = false;
            self.wake.notify_one();
        }
    }

    /// Whether another line would be lost.
    pub(super) fn is_full(&self) -> bool {
        let state = self.state.lock();
        state.items.len() >= self.lines_max || state.bytes >= AUDIT_QUEUE_BYTES_MAX
    }

    pub(super) fn barrier(&self, waiter: Waiter) {
        let mut state = self.state.lock();
        state.is_urgent = true;
        state.items.push_back(Item::Barrier(waiter));
        self.rouse(&mut state);
    }

    /// Lets the thread write what is there, and end.
    pub(super) fn close(&self) {
        let mut state = self.state.lock();
        state.is_closed = true;
        state.is_urgent = true;
        self.rouse(&mut state);
    }

    fn rouse(&self, state: &mut State) {
        // A thread that lingers wakes by itself: under load a line costs nobody a system call.
        if state.is_idle || state.is_urgent {
            state.is_idle = false;
            self.wake.notify_one();
        }
    }

    /// Waits for something to do, at most this long; then `linger` more, so that many lines are written at once,
    /// unless somebody waits for one.
    pub(super) fn take(&self, patience: Duration, linger: Duration) -> Taken {
        let mut state = self.state.lock();
        if state.items.is_empty() && state.lost == 0 && !state.is_closed {
            state.is_idle = true;
            let patience = match state.untold.is_pending() {
                true => patience.min(REFUSALS_TOLD_EVERY),
                false => patience,
            };
            self.wake.wait_for(&mut state, patience);
            state.is_idle = false;
        }
        if !state.is_urgent && !linger.is_zero() && !state.items.is_empty() {
            self.wake.wait_for(&mut state, linger);
        }
        state.is_urgent = false;
        state.bytes = 0;
        let mut items = std::mem::take(&mut state.items);
        if state.lost > 0 {
            items.push_back(Item::Lost {
                count: state.lost,
                since: state.lost_since,
            });
            state.lost = 0;
        }
        let is_closed = state.is_closed;
        for (refusal, count, since) in state.untold.due(Instant::now(), is_closed) {
            items.push_back(Item::Refused {
                refusal,
                count,
                since,
            });
        }
        Taken { items, is_closed }
    }

    /// Waits this long, or until the log is to end: nothing can be written now.
    pub(super) fn pause(&self, patience: Duration) -> bool {
        let mut state = self.state.lock();
        if !state.is_closed {
            self.wake.wait_for(&mut state, patience);
        }
        state.is_closed
    }
}
