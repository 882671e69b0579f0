//! The store under test, into which bugs can be planted: a simulation that cannot find them
//! proves nothing.
//!
//! One type for all of them, the sound one included: each machine is a whole cluster to compile.

use std::cell::Cell;

use bytes::Bytes;
use concord_core::batch::{Batch, Group};
use concord_core::codec::DecodeError;
use concord_core::ids::{Revision, SessionId, Timestamp};
use concord_core::machine::{Machine, Meta, Restorer};
use concord_core::version::{ClusterVersion, MachineVersion};
use concord_core::{Command, Key, ReadView, Reply, RestoreStep, Store};

use crate::checks::restores::WHOLE;

/// What is wrong with the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// No memory of sessions: whatever comes twice applies twice (against I7).
    Forgetful,
    /// Transactions go without the last of their compares (against I3: what is refused happens).
    Careless,
    /// What the cluster cannot do yet is done by those who can (against I24).
    Eager,
    /// Requests are done whatever the policy is by which they were judged (against I22).
    Trusting,
    /// A backup is shown when its last piece has come, though nobody has said that it is to be (against I23).
    Hasty,
    /// A piece of a backup shows in what is there (against I23).
    Leaky,
}

thread_local! {
    /// A simulation is one thread.
    static PLANTED: Cell<Option<Flaw>> = const { Cell::new(None) };
    /// Whether the node that runs now is one of the release before.
    static IS_OLD: Cell<bool> = const { Cell::new(false) };
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

/// The node that runs from here on is of the release before, or is not.
pub(crate) fn run_as(is_old: bool) {
    IS_OLD.set(is_old);
}

/// The machine with which requests of these kinds came, in this world.
const FEATURE: u8 = MachineVersion::NEWEST.get();
/// A request as it is, under a kind that the release before does not know.
const FEATURED: u8 = 200;
/// The same, of which a proposer does not see what it needs: apply alone keeps it off.
const SMUGGLED: u8 = 201;

/// A request of a kind that came with the newest machine.
pub(crate) fn featured(command: &Command, is_smuggled: bool) -> Bytes {
    let kind = if is_smuggled { SMUGGLED } else { FEATURED };
    Bytes::from([&[FEATURE, kind], command.to_bytes().as_ref()].concat())
}

fn is_featured(request: &[u8]) -> bool {
    matches!(request, [FEATURE, FEATURED | SMUGGLED, ..])
}

/// What the newest machine makes of a batch: each featured request does what is in it.
fn with_features(batch: &Batch) -> Batch {
    let mut batch = batch.clone();
    for request in batch.groups.iter_mut().flat_map(|group| &mut group.requests) {
        if is_featured(request) {
            *request = request.slice(2..);
        }
    }
    batch
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

/// Does something besides, behind every piece of a backup.
fn hurry(meta: Meta, batch: &Batch, flaw: Flaw) -> Batch {
    let mut spoilt = batch.clone();
    let requests = batch.groups.iter().flat_map(|group| &group.requests);
    for (number, request) in (0_u128..).zip(requests) {
        let Ok(Command::Restore {
            restore,
            step: RestoreStep::Piece { number: piece, .. },
        }) = Command::decode(request)
        else {
            continue;
        };
        let besides = if flaw == Flaw::Hasty {
            let step = RestoreStep::Commit;
            Command::Restore { restore, step }
        } else {
            Command::Increment {
                key: Key::new(format!("{WHOLE}0")).expect("a short key"),
                delta: i64::from(piece == 3),
                ttl: None,
            }
        };
        let session = SessionId::new(1 << 127 | u128::from(meta.index.get()) << 32 | number);
        for requests in [Vec::new(), vec![besides.to_bytes()]] {
            spoilt.groups.push(Group {
                session,
                opens: requests.is_empty(),
                acked_below: 1,
                first_sequence: 1,
                requests,
            });
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
    const NEWEST: MachineVersion = Store::NEWEST;

    fn empty() -> Self {
        Self(Store::empty())
    }

    fn apply(&mut self, meta: Meta, batch: &Batch) -> Vec<Reply> {
        let mut requests = batch.groups.iter().flat_map(|group| &group.requests);
        let knows = self.0.version().version >= MachineVersion::NEWEST
            || PLANTED.get() == Some(Flaw::Eager) && !IS_OLD.get();
        if knows && requests.any(|request| is_featured(request)) {
            return self.0.apply(meta, &with_features(batch));
        }
        match PLANTED.get() {
            None | Some(Flaw::Eager) => self.0.apply(meta, batch),
            Some(Flaw::Forgetful) => self.0.apply(meta, &forget(meta, batch)),
            Some(Flaw::Careless) => self.0.apply(meta, &neglect(batch)),
            Some(Flaw::Trusting) => self.0.apply(meta, &trust(batch)),
            Some(flaw @ (Flaw::Hasty | Flaw::Leaky)) => {
                let asked = batch.groups.iter().map(|group| group.requests.len()).sum();
                let mut replies = self.0.apply(meta, &hurry(meta, batch, flaw));
                replies.truncate(asked);
                replies
            }
        }
    }

    fn version(&self) -> ClusterVersion {
        self.0.version()
    }

    fn version_of(view: &ReadView) -> ClusterVersion {
        Store::version_of(view)
    }

    fn needs(request: &Bytes) -> MachineVersion {
        match request.get(..2) {
            Some([FEATURE, SMUGGLED]) => MachineVersion::BASE,
            _ => Store::needs(request),
        }
    }

    fn raise(to: MachineVersion) -> Option<Bytes> {
        Store::raise(to)
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

    fn version(&self) -> ClusterVersion {
        self.0.version()
    }

    fn feed(&mut self, chunk: &Bytes) -> Result<(), DecodeError> {
        self.0.feed(chunk)
    }

    fn finish(self) -> Result<TestStore, DecodeError> {
        self.0.finish().map(TestStore)
    }
}
