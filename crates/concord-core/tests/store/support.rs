//! Drives a store as a log would, and shortens what tests say often.

use bytes::Bytes;
use concord_core::*;

pub(crate) fn rev(revision: u64) -> Revision {
    Revision::new(revision)
}

pub(crate) fn key(text: &str) -> Key {
    Key::try_from(text).unwrap()
}

pub(crate) fn at(ms: u64) -> Timestamp {
    Timestamp::new(ms)
}

pub(crate) fn text(view: &ReadView, key: &str) -> Option<String> {
    view.get(key.as_bytes())
        .map(|record| String::from_utf8(record.value().unwrap().into_owned()).unwrap())
}

pub(crate) fn put_command(key: &str, value: &str) -> Command {
    Command::Put {
        key: self::key(key),
        value: Value::text(value).into(),
        lifetime: Lifetime::Forever,
        condition: None,
        return_previous: false,
    }
}

/// The chunks of a view's snapshot.
pub(crate) fn snapshot(view: &ReadView) -> Vec<Bytes> {
    Store::snapshot(view).collect()
}

/// A store rebuilt from a view's snapshot.
pub(crate) fn restored(view: &ReadView) -> Store {
    let mut restorer = Store::restorer();
    for chunk in Store::snapshot(view) {
        restorer.feed(&chunk).unwrap();
    }
    restorer.finish().unwrap()
}

/// A store behind a log of its own: one session, one entry per call, a clock set by hand.
pub(crate) struct Log {
    pub(crate) store: Store,
    pub(crate) index: u64,
    pub(crate) clock: u64,
    pub(crate) session: SessionId,
    pub(crate) sequence: u64,
}

impl Log {
    pub(crate) fn new() -> Self {
        let session = SessionId::new(1);
        let mut log = Self {
            store: Store::empty(),
            index: 0,
            clock: 1_000,
            session,
            sequence: 1,
        };
        log.open(session);
        log
    }

    pub(crate) fn open(&mut self, session: SessionId) {
        let group = Group {
            session,
            opens: true,
            acked_below: 0,
            first_sequence: 1,
            requests: vec![],
        };
        self.groups(vec![group]);
    }

    pub(crate) fn groups(&mut self, groups: Vec<Group>) -> Vec<Reply> {
        self.index += 1;
        let meta = Meta {
            index: LogIndex::new(self.index),
            term: Term::new(1),
        };
        self.store.apply(
            meta,
            &Batch {
                proposed_at: at(self.clock),
                groups,
            },
        )
    }

    pub(crate) fn bytes(&mut self, requests: Vec<Bytes>) -> Vec<Reply> {
        let first_sequence = self.sequence;
        self.sequence += requests.len() as u64;
        let group = Group {
            session: self.session,
            opens: false,
            acked_below: first_sequence,
            first_sequence,
            requests,
        };
        self.groups(vec![group])
    }

    pub(crate) fn batch(&mut self, commands: &[Command]) -> Vec<Reply> {
        self.bytes(commands.iter().map(Command::to_bytes).collect())
    }

    pub(crate) fn run(&mut self, command: Command) -> Reply {
        self.batch(&[command]).pop().unwrap()
    }

    pub(crate) fn put(&mut self, key: &str, value: &str) -> Reply {
        self.run(put_command(key, value))
    }

    pub(crate) fn put_ttl(&mut self, key: &str, value: &str, ttl: u64) -> Reply {
        let ttl = Some(Millis::new(ttl));
        self.run(Command::Put {
            key: self::key(key),
            value: Value::text(value).into(),
            lifetime: ttl.into(),
            condition: None,
            return_previous: false,
        })
    }

    pub(crate) fn delete(&mut self, key: &str) -> Reply {
        self.run(Command::Delete {
            key: self::key(key),
            condition: None,
            return_previous: false,
        })
    }

    /// Moves the clock on by an entry without requests.
    pub(crate) fn tick(&mut self, clock: u64) {
        self.clock = clock;
        self.groups(vec![]);
    }

    pub(crate) fn view(&self) -> ReadView {
        self.store.view()
    }
}
