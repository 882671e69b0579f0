//! Machines with planted bugs: a simulation that cannot find them proves nothing.

use bytes::Bytes;
use concord_core::batch::Batch;
use concord_core::codec::DecodeError;
use concord_core::ids::{Revision, SessionId, Timestamp};
use concord_core::machine::{Machine, Meta, Restorer};
use concord_core::{ReadView, Reply, Store};

/// What is wrong with a [`Flawed`] store.
pub(crate) trait Flaw: Send + Sync + 'static {
    /// Changes what is applied.
    fn spoil(meta: Meta, batch: &Batch) -> Batch;
}

/// No memory of sessions: whatever comes twice applies twice (against I7).
#[derive(Debug)]
pub(crate) struct Forgetful;

impl Flaw for Forgetful {
    fn spoil(meta: Meta, batch: &Batch) -> Batch {
        let mut spoilt = Batch {
            proposed_at: batch.proposed_at,
            groups: Vec::new(),
        };
        for (number, group) in (0_u128..).zip(&batch.groups) {
            // Another session for each group of each entry, opened on the spot.
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
}

/// A store with a flaw.
pub(crate) struct Flawed<F> {
    store: Store,
    flaw: std::marker::PhantomData<fn() -> F>,
}

impl<F: Flaw> Flawed<F> {
    fn new(store: Store) -> Self {
        Self {
            store,
            flaw: std::marker::PhantomData,
        }
    }
}

impl<F: Flaw> Machine for Flawed<F> {
    type Reply = Reply;
    type View = ReadView;
    type SnapshotChunks = <Store as Machine>::SnapshotChunks;
    type Restorer = FlawedRestorer<F>;

    fn empty() -> Self {
        Self::new(Store::empty())
    }

    fn apply(&mut self, meta: Meta, batch: &Batch) -> Vec<Reply> {
        self.store.apply(meta, &F::spoil(meta, batch))
    }

    fn view(&self) -> ReadView {
        self.store.view()
    }

    fn next_deadline(&self) -> Option<Timestamp> {
        self.store.next_deadline()
    }

    fn revision_of(view: &ReadView) -> Revision {
        Store::revision_of(view)
    }

    fn snapshot(view: &ReadView) -> Self::SnapshotChunks {
        Store::snapshot(view)
    }

    fn restorer() -> Self::Restorer {
        FlawedRestorer(Store::restorer(), std::marker::PhantomData)
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

/// Restores a flawed store.
pub(crate) struct FlawedRestorer<F>(<Store as Machine>::Restorer, std::marker::PhantomData<fn() -> F>);

impl<F: Flaw> Restorer for FlawedRestorer<F> {
    type Machine = Flawed<F>;

    fn feed(&mut self, chunk: &Bytes) -> Result<(), DecodeError> {
        self.0.feed(chunk)
    }

    fn finish(self) -> Result<Flawed<F>, DecodeError> {
        self.0.finish().map(Flawed::new)
    }
}
