//! The store under test, into which bugs can be planted: a simulation that cannot find them
//! proves nothing.
//!
//! One type for all of them, the sound one included: each machine is a whole cluster to compile.

use std::cell::Cell;

use bytes::Bytes;
use concord_core::batch::Batch;
use concord_core::codec::DecodeError;
use concord_core::ids::{Revision, SessionId, Timestamp};
use concord_core::machine::{Machine, Meta, Restorer};
use concord_core::{Command, ReadView, Reply, Store};

/// What is wrong with the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// No memory of sessions: whatever comes twice applies twice (against I7).
    Forgetful,
    /// Transactions go without the last of their compares (against I3: what is refused happens).
    Careless,
    /// Requests are done whatever the policy is by which they were judged (against I22).
    Trusting,
}

thread_local! {
    /// A simulation is one thread.
    static PLANTED: Cell<Option<Flaw>> = const { Cell::new(None) };
}

/// The flaw is there until this goes.
#[derive(Debug)]
pub(crate) struct Planted;

/// Plants a flaw into every store of this thread.
pub(crate) fn plant(flaw: Flaw) -> Planted {
    PLANTED.set(Some(flaw));
    Planted
}

impl Drop for Planted {
    fn drop(&mut self) {
        PLANTED.set(None);
    }
}

/// Another session for each group of each entry, opened on the spot.
fn forget(meta: Meta, batch: &Batch) -> Batch {
    let mut spoilt = Batch {
        proposed_at: batch.proposed_at,
        groups: Vec::new(),
    };
    for (number, group) in (0_u128..).zip(&batch.groups) {
        let session = SessionId::new(u128::from(meta.index.get()) << 64 | number);
        let mut opening = group.clone();
        opening.session = session;
        opening.opens = true;
        opening.requests.clear();
        spoilt.groups.push(opening);
        let mut requests = group.clone();
        requests.session = session;
        requests.opens = false;
        requests.acked_below = 1;
        spoilt.groups.push(requests);
    }
    spoilt
}

fn neglect(batch: &Batch) -> Batch {
    let mut spoilt = batch.clone();
    let requests = spoilt.groups.iter_mut().flat_map(|group| &mut group.requests);
    for request in requests {
        if let Ok(Command::Txn(mut txn)) = Command::decode(request) {
            txn.compares.pop();
            *request = Command::Txn(txn).to_bytes();
        }
    }
    spoilt
}

fn trust(batch: &Batch) -> Batch {
    let mut spoilt = batch.clone();
    let requests = spoilt.groups.iter_mut().flat_map(|group| &mut group.requests);
    for request in requests {
        if let Ok(Command::Guarded { command, .. }) = Command::decode(request) {
            *request = command.to_bytes();
        }
    }
    spoilt
}

/// The store, with the flaw that is planted.
pub(crate) struct TestStore(Store);

impl Machine for TestStore {
    type Reply = Reply;
    type View = ReadView;
    type SnapshotChunks = <Store as Machine>::SnapshotChunks;
    type Restorer = TestRestorer;

    fn empty() -> Self {
        Self(Store::empty())
    }

    fn apply(&mut self, meta: Meta, batch: &Batch) -> Vec<Reply> {
        match PLANTED.get() {
            None => self.0.apply(meta, batch),
            Some(Flaw::Forgetful) => self.0.apply(meta, &forget(meta, batch)),
            Some(Flaw::Careless) => self.0.apply(meta, &neglect(batch)),
            Some(Flaw::Trusting) => self.0.apply(meta, &trust(batch)),
        }
    }

    fn view(&self) -> ReadView {
        self.0.view()
    }

    fn next_deadline(&self) -> Option<Timestamp> {
        self.0.next_deadline()
    }

    fn revision_of(view: &ReadView) -> Revision {
        Store::revision_of(view)
    }

    fn snapshot(view: &ReadView) -> Self::SnapshotChunks {
        Store::snapshot(view)
    }

    fn restorer() -> Self::Restorer {
        TestRestorer(Store::restorer())
    }

    fn is_session_expired(reply: &Reply) -> bool {
        Store::is_session_expired(reply)
    }

    fn encode_reply(reply: &Reply, out: &mut Vec<u8>) {
        Store::encode_reply(reply, out);
    }

    fn decode_reply(bytes: &Bytes) -> Result<Reply, DecodeError> {
        Store::decode_reply(bytes)
    }
}

/// Restores the store.
pub(crate) struct TestRestorer(<Store as Machine>::Restorer);

impl Restorer for TestRestorer {
    type Machine = TestStore;

    fn feed(&mut self, chunk: &Bytes) -> Result<(), DecodeError> {
        self.0.feed(chunk)
    }

    fn finish(self) -> Result<TestStore, DecodeError> {
        self.0.finish().map(TestStore)
    }
}
