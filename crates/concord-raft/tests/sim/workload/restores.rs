//! Clients that restore backups into the cluster in which they are made, while others write: the whole of a backup is
//! one value that is written at once, or nothing ever comes of it (I23).
//!
//! In these runs every write puts all keys to one value, and every backup holds them so. So the store is one register
//! whatever its keys are, a restore is a write of it, and a view in which the keys differ shows half of one.

use std::ops::ControlFlow;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use concord_core::batch::{Batch, Group};
use concord_core::ids::{LogIndex, SessionId, Term, Timestamp};
use concord_core::machine::{Machine as _, Meta};
use concord_core::{
    Command, Key, Keys, Lifetime, Operation, PutItem, Rejection, Reply, RestoreId, RestoreStep, Store, Txn,
    Value,
};
use concord_raft::node::Node;
use concord_raft::proposer::ProposeError;
use tokio::time::{Instant, sleep};

use super::{Clients, StoreLike, key_bytes};
use crate::checks::restores::{LIVE, PARTS, RESTORED, WHOLE};
use crate::history::{Outcome, Question};
use crate::random::Random;

/// So small that a backup comes in many entries.
const PIECE_BYTES: usize = 61;
/// How often a step is tried that was not answered.
const ATTEMPTS: usize = 12;

/// What came of a step.
struct Stepped {
    /// `None`: nobody answered.
    reply: Option<Reply>,
    /// Whether an attempt before may have been the one.
    is_doubtful: bool,
}

fn put(key: impl Into<Bytes>, value: i64) -> Operation {
    Operation::Put {
        item: PutItem {
            key: Key::new(key).expect("a short key"),
            value: Value::text(value.to_string()).into(),
            lifetime: Lifetime::Forever,
        },
        return_previous: false,
    }
}

/// Puts all keys to one value, and one key that a backup has not, or has alone.
fn all_keys(value: i64, present: &str, absent: &str) -> Command {
    let mut success = vec![put(key_bytes(0), value), put(format!("{WHOLE}{present}"), value)];
    success.extend((0..PARTS).map(|part| put(format!("{WHOLE}{part}"), value)));
    success.push(Operation::Delete {
        keys: Keys::One(Key::new(format!("{WHOLE}{absent}")).expect("a short key")),
        return_previous: false,
    });
    Command::Txn(Txn {
        compares: Vec::new(),
        success,
        failure: Vec::new(),
    })
}

/// What a write is in these runs.
pub(super) fn write(value: i64) -> Command {
    all_keys(value, LIVE, RESTORED)
}

/// A backup of another store, in pieces.
fn pieces(value: i64) -> Vec<RestoreStep> {
    let mut store = Store::empty();
    let group = |requests: Vec<Bytes>| Group {
        session: SessionId::new(1),
        opens: requests.is_empty(),
        acked_below: 1,
        first_sequence: 1,
        requests,
    };
    let batch = Batch {
        proposed_at: Timestamp::new(1),
        groups: vec![
            group(Vec::new()),
            group(vec![all_keys(value, RESTORED, LIVE).to_bytes()]),
        ],
    };
    let meta = Meta {
        index: LogIndex::new(1),
        term: Term::new(1),
    };
    store.apply(meta, &batch);
    let mut pieces = Vec::new();
    for mut chunk in Store::snapshot(&store.view()) {
        while !chunk.is_empty() {
            let bytes = chunk.split_to(chunk.len().min(PIECE_BYTES));
            pieces.push(RestoreStep::Piece {
                number: pieces.len() as u64,
                ends_chunk: chunk.is_empty(),
                bytes,
            });
        }
    }
    pieces
}

impl Clients {
    /// One client that restores backups, until its node ends or clients are stopped.
    pub(crate) async fn run_restorer<M: StoreLike>(self, node: Node<M>, at: usize, mut random: Random) {
        while !self.stopped.load(Ordering::Relaxed) {
            sleep(random.millis(0..1_500)).await;
            if self.restore(&node, at, &mut random).await.is_break() {
                return;
            }
        }
    }

    async fn restore<M: StoreLike>(&self, node: &Node<M>, at: usize, random: &mut Random) -> ControlFlow<()> {
        let value = self.next_value.fetch_add(1_000, Ordering::Relaxed);
        let restore = RestoreId::new(u128::from(random.next()) << 64 | u128::from(random.next()));
        let pieces = pieces(value);
        // Some leave in the middle, some when all has come. So do those whose node dies.
        let leaves_before = random.chance(40).then(|| random.index(pieces.len() + 1));
        let begin = RestoreStep::Begin { keep_policy: false };
        for (number, step) in [begin].into_iter().chain(pieces).enumerate() {
            let stepped = self.step(node, restore, step).await?;
            match stepped.reply {
                Some(Reply::Restoring { .. }) => {}
                None | Some(Reply::Rejected(Rejection::RestoreNotFound)) => {
                    self.trace.mark("restore given way to another");
                    return ControlFlow::Continue(());
                }
                Some(other) => panic!("a good backup was answered {other:?}"),
            }
            if leaves_before == Some(number) {
                self.trace.mark("restore left in the middle");
                if random.chance(30) {
                    self.step(node, restore, RestoreStep::Abort).await?;
                }
                return ControlFlow::Continue(());
            }
            sleep(random.millis(0..20)).await;
        }
        self.commit(node, at, restore, value).await
    }

    /// Only from here on anybody may ever see it: before, nothing is written down, and what is seen has no reason.
    async fn commit<M: StoreLike>(
        &self,
        node: &Node<M>,
        at: usize,
        restore: RestoreId,
        value: i64,
    ) -> ControlFlow<()> {
        let ticket = self.history.ask(at, 0, Question::Put { value });
        let mut is_doubtful = false;
        loop {
            let stepped = self.step(node, restore, RestoreStep::Commit).await?;
            is_doubtful |= stepped.is_doubtful;
            match stepped.reply {
                Some(Reply::Restoring { .. }) => {}
                Some(Reply::Restored { revision }) => {
                    self.trace.mark("restored");
                    self.history.tell(ticket, Outcome::Stored, Some(revision.get()));
                    return ControlFlow::Continue(());
                }
                // Without an answer it may have happened, or may yet.
                None | Some(Reply::Rejected(_)) if is_doubtful => {
                    self.trace.mark("restore unknown");
                    return ControlFlow::Continue(());
                }
                None | Some(Reply::Rejected(_)) => {
                    self.history.tell(ticket, Outcome::Never, None);
                    return ControlFlow::Continue(());
                }
                Some(other) => panic!("a commit was answered {other:?}"),
            }
        }
    }

    /// As `concord_server` drives it: every step can be sent again.
    async fn step<M: StoreLike>(
        &self,
        node: &Node<M>,
        restore: RestoreId,
        step: RestoreStep,
    ) -> ControlFlow<(), Stepped> {
        let request = Command::Restore { restore, step }.to_bytes();
        let mut is_doubtful = false;
        for _ in 0..ATTEMPTS {
            let deadline = Instant::now() + self.workload.patience;
            match node.propose(request.clone(), deadline).await {
                Ok(reply) => {
                    let reply = Some(reply);
                    return ControlFlow::Continue(Stepped { reply, is_doubtful });
                }
                Err(ProposeError::ShuttingDown) => return ControlFlow::Break(()),
                Err(ProposeError::OutcomeUnknown { .. }) => is_doubtful = true,
                Err(_) => {}
            }
            if self.stopped.load(Ordering::Relaxed) {
                break;
            }
        }
        let reply = None;
        ControlFlow::Continue(Stepped { reply, is_doubtful })
    }
}
