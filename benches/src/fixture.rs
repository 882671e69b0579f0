//! A store with data, and the entries that would come out of its log.

use bytes::Bytes;
use concord_core::{
    Batch, Command, Group, Key, LogIndex, Machine, Meta, Millis, SessionId, Store, Term, Timestamp, Value,
};

use crate::random::{Random, key_of};

/// Bytes of a value.
pub const VALUE_BYTES: usize = 100;
/// Requests in an entry: what a busy leader puts in one.
pub const BATCH: usize = 256;

/// Makes the entries of one proposer, which acknowledges all that it was answered.
#[derive(Debug)]
pub struct Log {
    index: u64,
    sequence: u64,
    random: Random,
}

impl Log {
    /// The next entry, with these requests.
    pub fn entry(&mut self, requests: Vec<Bytes>) -> (Meta, Batch) {
        self.index += 1;
        let meta = Meta {
            index: LogIndex::new(self.index),
            term: Term::new(1),
        };
        let first_sequence = self.sequence;
        self.sequence += u64::try_from(requests.len()).unwrap_or_default();
        let group = Group {
            session: SessionId::new(1),
            opens: self.index == 1,
            acked_below: first_sequence,
            first_sequence,
            requests,
        };
        let proposed_at = Timestamp::new(1_800_000_000_000 + self.index);
        let groups = vec![group];
        (meta, Batch { proposed_at, groups })
    }

    /// An entry of puts of keys below `count`, drawn at random.
    pub fn overwrites(&mut self, count: usize) -> (Meta, Batch) {
        let requests = (0..BATCH).map(|_| put(self.random.below(count))).collect();
        self.entry(requests)
    }

    /// An entry of puts of the keys that follow `first`.
    pub fn inserts(&mut self, first: usize) -> (Meta, Batch) {
        let requests = (first..first + BATCH).map(put).collect();
        self.entry(requests)
    }
}

/// An encoded put of key number `number`.
///
/// # Panics
///
/// Never: the keys are valid.
#[must_use]
pub fn put(number: usize) -> Bytes {
    let key = Key::copy_of(&key_of(number)).expect("32 bytes are a key");
    let value = Value::binary(vec![7; VALUE_BYTES]);
    let (ttl, return_previous) = (None::<Millis>, false);
    let command = Command::Put {
        key,
        value: value.into(),
        lifetime: ttl.into(),
        condition: None,
        return_previous,
    };
    command.to_bytes()
}

/// A store with `count` keys, and its log.
#[must_use]
pub fn loaded(count: usize) -> (Store, Log) {
    let mut store = Store::empty();
    let mut log = Log {
        index: 0,
        sequence: 1,
        random: Random::new(1),
    };
    let (meta, batch) = log.entry(Vec::new());
    store.apply(meta, &batch);
    for first in (0..count).step_by(BATCH) {
        let (meta, batch) = log.entry((first..count.min(first + BATCH)).map(put).collect());
        store.apply(meta, &batch);
    }
    (store, log)
}
