//! What clients asked and were told, in the order in which it happened.

use std::sync::{Arc, Mutex};

use concord_core::{Command, Key, Record, Reply};

/// A question about one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Question {
    Put {
        value: i64,
    },
    Delete,
    Increment {
        delta: i64,
    },
    /// A put that happens only if the key holds this number, or with `None`: is absent.
    PutIf {
        value: i64,
        expected: Option<i64>,
    },
    /// Linearizable: at `strong` or `leader`.
    Get,
}

impl Question {
    pub(crate) fn is_write(self) -> bool {
        self != Self::Get
    }
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The put is done.
    Stored,
    /// The key is gone, and whether it was there.
    Deleted { existed: bool },
    /// The number after the increment.
    Number(i64),
    /// The increment met the end of the numbers, or was refused otherwise: nothing changed.
    Refused,
    /// The condition did not hold of this: nothing changed.
    Unmet(Option<i64>),
    /// What the key held.
    Value(Option<i64>),
    /// Nobody knows: it may have happened at any time after the question, or may yet.
    Unknown,
    /// Certainly not: the node said that nothing was written.
    Never,
}

/// A point in the history: later ones are larger.
pub(crate) type Moment = u64;

/// A question with its outcome.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Operation {
    #[expect(dead_code, reason = "shown when a check fails")]
    pub(crate) node: usize,
    pub(crate) key: usize,
    pub(crate) question: Question,
    pub(crate) asked: Moment,
    /// `None` while nobody was told anything.
    pub(crate) told: Option<Moment>,
    pub(crate) outcome: Outcome,
    /// The revision that came with the answer.
    pub(crate) revision: Option<u64>,
}

/// A read at `eventual`: of one key in one view.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EventualRead {
    pub(crate) node: usize,
    /// Which life of the node: a handle lives as long as that.
    pub(crate) life: u64,
    pub(crate) key: usize,
    pub(crate) value: Option<i64>,
    pub(crate) revision: u64,
}

/// What is asked of the store as a whole, to be judged against its change log.
#[derive(Clone, Debug)]
pub(crate) enum Asked {
    Command(Command),
    /// A linearizable read of these keys in one view.
    Read(Vec<Key>),
}

/// What was said to it.
#[derive(Clone, Debug)]
pub(crate) enum Said {
    Reply(Reply),
    /// What the keys held, at a revision.
    Records(u64, Vec<Option<Record>>),
    /// As [`Outcome::Unknown`].
    Unknown,
    /// As [`Outcome::Never`].
    Never,
}

/// A request to the store with its answer.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) asked: Asked,
    pub(crate) asked_at: Moment,
    /// `None` while nobody was told anything.
    pub(crate) told_at: Option<Moment>,
    pub(crate) said: Said,
}

/// Somebody saw that it holds a lock.
#[derive(Clone, Debug)]
pub(crate) struct Acquired {
    /// The prefix of the keys of those who want it, and the key of the holder.
    pub(crate) lock: Vec<u8>,
    pub(crate) key: Vec<u8>,
    /// The fencing token.
    pub(crate) token: u64,
    /// The revision of the view in which it was seen.
    pub(crate) revision: u64,
}

#[derive(Debug, Default)]
struct Inner {
    now: Moment,
    requests: Vec<Request>,
    acquired: Vec<Acquired>,
    operations: Vec<Operation>,
    eventual: Vec<EventualRead>,
}

/// The history of a run, shared by all clients.
#[derive(Clone, Debug, Default)]
pub(crate) struct History(Arc<Mutex<Inner>>);

/// An operation that was begun.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ticket(usize);

impl History {
    fn with<T>(&self, act: impl FnOnce(&mut Inner) -> T) -> T {
        act(&mut self
            .0
            .lock()
            .expect("no client panics while it holds the history"))
    }

    /// A client asks. Until it is told something, the outcome is unknown.
    pub(crate) fn ask(&self, node: usize, key: usize, question: Question) -> Ticket {
        self.with(|inner| {
            inner.now += 1;
            inner.operations.push(Operation {
                node,
                key,
                question,
                asked: inner.now,
                told: None,
                outcome: Outcome::Unknown,
                revision: None,
            });
            Ticket(inner.operations.len() - 1)
        })
    }

    /// The client is told.
    pub(crate) fn tell(&self, ticket: Ticket, outcome: Outcome, revision: Option<u64>) {
        self.with(|inner| {
            inner.now += 1;
            let operation = &mut inner.operations[ticket.0];
            operation.told = Some(inner.now);
            operation.outcome = outcome;
            operation.revision = revision;
        });
    }

    /// A client asks the store something. Until it is told, the outcome is unknown.
    pub(crate) fn request(&self, asked: Asked) -> Ticket {
        self.with(|inner| {
            inner.now += 1;
            inner.requests.push(Request {
                asked,
                asked_at: inner.now,
                told_at: None,
                said: Said::Unknown,
            });
            Ticket(inner.requests.len() - 1)
        })
    }

    /// The client is told.
    pub(crate) fn say(&self, ticket: Ticket, said: Said) {
        self.with(|inner| {
            inner.now += 1;
            let request = &mut inner.requests[ticket.0];
            request.told_at = Some(inner.now);
            request.said = said;
        });
    }

    pub(crate) fn acquire(&self, acquired: Acquired) {
        self.with(|inner| inner.acquired.push(acquired));
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.with(|inner| inner.requests.clone())
    }

    /// How many requests there were, and how many of them were answered.
    pub(crate) fn counted(&self) -> (usize, usize) {
        self.with(|inner| {
            let answered = |request: &&Request| matches!(request.said, Said::Reply(_) | Said::Records(..));
            let all = inner.requests.iter();
            (inner.requests.len(), all.filter(answered).count())
        })
    }

    pub(crate) fn acquired(&self) -> Vec<Acquired> {
        self.with(|inner| inner.acquired.clone())
    }

    pub(crate) fn read_eventually(&self, read: EventualRead) {
        self.with(|inner| inner.eventual.push(read));
    }

    pub(crate) fn operations(&self) -> Vec<Operation> {
        self.with(|inner| inner.operations.clone())
    }

    pub(crate) fn eventual_reads(&self) -> Vec<EventualRead> {
        self.with(|inner| inner.eventual.clone())
    }

    /// How many operations were answered, other than with "unknown" or "never".
    pub(crate) fn answered(&self) -> usize {
        self.with(|inner| {
            let known =
                |operation: &&Operation| !matches!(operation.outcome, Outcome::Unknown | Outcome::Never);
            inner.operations.iter().filter(known).count()
        })
    }
}
