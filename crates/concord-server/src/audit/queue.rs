//! Between those who make requests and the thread that writes lines: bounded, and nobody waits to get in.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use tokio::sync::oneshot;

use super::body::Event;
use super::refusals::{Refusal, Untold};
use crate::limits::{AUDIT_QUEUE_BYTES_MAX, AUDIT_WRITE_BYTES};

/// How often it is told how many refusals left no line.
pub(super) const REFUSALS_TOLD_EVERY: Duration = Duration::from_secs(10);

/// Whoever waits until something is on disk. `false`: it is not.
pub(super) type Waiter = oneshot::Sender<bool>;

/// What the thread is to do next.
#[derive(Debug)]
pub(super) enum Item {
    /// Write a line, with so many of the next bytes; and tell this one, once it is on disk.
    Event {
        event: Event,
        bytes: usize,
        waiter: Option<Waiter>,
    },
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
    /// Those of events among them, one behind the other.
    bytes: Vec<u8>,
    lost: u64,
    lost_since: u64,
    untold: Untold,
    is_urgent: bool,
    is_idle: bool,
    is_closed: bool,
}

/// What the thread has taken out and not written yet. Where there is nothing in it, its memory is what the queue goes on with.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    pub(super) items: VecDeque<Item>,
    /// Those of events among them, behind what was written.
    pub(super) bytes: Vec<u8>,
    pub(super) written: usize,
}

impl Backlog {
    /// Takes off the items that were written, with their bytes. Says who waits for them.
    pub(super) fn drain(&mut self, count: usize) -> impl Iterator<Item = Waiter> {
        let written = &mut self.written;
        self.items.drain(..count).filter_map(|item| match item {
            Item::Event { bytes, waiter, .. } => {
                *written += bytes;
                waiter
            }
            Item::Barrier(waiter) => Some(waiter),
            Item::Lost { .. } | Item::Refused { .. } => None,
        })
    }

    /// Takes what is in the queue.
    fn take(&mut self, state: &mut State) {
        if self.items.is_empty() {
            self.bytes.clear();
            self.written = 0;
            // What a stall has taken is not kept.
            self.bytes.shrink_to(AUDIT_WRITE_BYTES);
            self.items.shrink_to(AUDIT_WRITE_BYTES / size_of::<Item>());
            std::mem::swap(&mut self.items, &mut state.items);
            std::mem::swap(&mut self.bytes, &mut state.bytes);
        } else {
            self.items.append(&mut state.items);
            self.bytes.append(&mut state.bytes);
        }
    }
}

impl Queue {
    pub(super) fn new(lines_max: usize) -> Self {
        Self {
            state: Mutex::default(),
            wake: Condvar::new(),
            lines_max,
        }
    }

    /// Takes an event with its bytes. `false`: there is no room, and the line is lost.
    pub(super) fn push(&self, event: Event, bytes: &[u8], waiter: Option<Waiter>) -> bool {
        let mut state = self.state.lock();
        if state.is_closed || state.is_full(self.lines_max) {
            if state.lost == 0 {
                state.lost_since = event.time();
            }
            state.lost += 1;
            return false;
        }
        state.bytes.extend_from_slice(bytes);
        state.is_urgent |= waiter.is_some();
        let bytes = bytes.len();
        state.items.push_back(Item::Event { event, bytes, waiter });
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
        self.state.lock().is_full(self.lines_max)
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
    /// unless somebody waits for one. Says whether the queue is closed.
    pub(super) fn take(&self, patience: Duration, linger: Duration, backlog: &mut Backlog) -> bool {
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
        backlog.take(&mut state);
        let items = &mut backlog.items;
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
        is_closed
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

impl State {
    /// One line is a little more at most than there is room for.
    fn is_full(&self, lines_max: usize) -> bool {
        let bytes = self.bytes.len() + self.items.len() * size_of::<Item>();
        self.items.len() >= lines_max || bytes >= AUDIT_QUEUE_BYTES_MAX
    }
}
