//! What clients do: few keys, all kinds of requests, every outcome written down.

pub(crate) mod data;
mod guarded;
mod locks;
mod restores;

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use concord_core::ids::LeaseId;
use concord_core::machine::Machine;
use concord_core::{
    Command, Condition, Document, Key, Lifetime, ReadView, Record, Rejection, Reply, StoredRecord, Value,
    ValueFormat,
};
use concord_raft::node::Node;
use concord_raft::read::ReadConsistency;
use tokio::time::sleep;

use crate::checks::watches::Watches;
use crate::history::{EventualRead, History, Outcome, Question, Said};
use crate::machines::featured;
use crate::random::Random;
use crate::trace::Trace;
use crate::workload::data::Data;

/// The machines that this workload understands.
pub(crate) trait StoreLike: Machine<Reply = Reply, View = ReadView> {}

impl<M: Machine<Reply = Reply, View = ReadView>> StoreLike for M {}

/// What the clients of a run do.
#[derive(Clone, Debug)]
pub(crate) struct Workload {
    pub(crate) keys: usize,
    /// How often each kind is chosen: put, delete, increment, strong get, leader get, eventual get,
    /// conditional put.
    pub(crate) weights: [u64; 7],
    /// Requests about many keys beside these.
    pub(crate) data: Data,
    pub(crate) patience: Duration,
    /// The longest pause between two requests of a client.
    pub(crate) think_ms: u64,
    /// Requests of one client that may be under way at once.
    pub(crate) burst: u64,
    /// Eventual reads are written down as if they were strong: a planted bug.
    pub(crate) calls_eventual_strong: bool,
    /// Some writes are of a kind that the release before does not know.
    pub(crate) featured: bool,
    /// Clients of each node that restore backups. If there are any, every write puts all keys to one value.
    pub(crate) restorers: usize,
}

impl Workload {
    /// Everything on or off by chance, but some writes and some reads.
    pub(crate) fn draw(random: &mut Random) -> Self {
        let mut weights = [4, 2, 4, 3, 2, 2, 2];
        for weight in &mut weights {
            if random.chance(30) {
                *weight = 0;
            }
        }
        weights[2] = weights[2].max(u64::from(weights[0] == 0));
        weights[3] = weights[3].max(u64::from(weights[4] == 0));
        Self {
            keys: random.index(4) + 1,
            weights,
            data: Data::none(),
            patience: random.millis(300..3_000),
            think_ms: *random.pick(&[15, 50, 120]),
            burst: *random.pick(&[1, 1, 4]),
            calls_eventual_strong: false,
            featured: false,
            restorers: 0,
        }
    }

    /// Only what a store that is one register can be asked, and restores of it.
    pub(crate) fn restore(&mut self) {
        self.keys = 1;
        self.weights = [4, 0, 0, 3, 2, 2, 0];
        self.burst = 1;
        self.restorers = 1;
    }
}

/// What every client of a run shares.
#[derive(Clone)]
pub(crate) struct Clients {
    pub(crate) workload: Workload,
    pub(crate) history: History,
    pub(crate) trace: Trace,
    /// Every value put is another one.
    pub(crate) next_value: Arc<AtomicI64>,
    pub(crate) stopped: Arc<AtomicBool>,
    /// Some of the leases that were granted.
    pub(crate) leases: Arc<Mutex<Vec<LeaseId>>>,
    pub(crate) watches: Watches,
}

/// The bytes of key number `key`.
pub(crate) fn key_bytes(key: usize) -> Bytes {
    Bytes::from(format!("sim:{key}"))
}

/// The number under a key, if it is there.
pub(crate) fn number_in(view: &ReadView, key: usize) -> Option<i64> {
    let key = key_bytes(key);
    Some(number_of(
        &view.get(&key)?.to_record().expect("no value is damaged here"),
    ))
}

/// The same, if it is text: what a condition can name, since the history knows no formats.
fn text_number_in(view: &ReadView, key: usize) -> Option<i64> {
    let key = key_bytes(key);
    let record = view.get(&key)?;
    (record.format() == ValueFormat::Text)
        .then(|| number_of(&record.to_record().expect("no value is damaged here")))
}

fn number_of(record: &Record) -> i64 {
    number(&record.value).expect("the workload stores only numbers")
}

/// The number that a value is, if it is one.
pub(crate) fn number(value: &Value) -> Option<i64> {
    match value.format() {
        ValueFormat::Text => value.as_text()?.parse().ok(),
        ValueFormat::Document => {
            let Document::Integer(integer) = value.to_document()? else {
                return None;
            };
            integer.as_i64()
        }
        ValueFormat::Binary => None,
    }
}

impl Clients {
    /// One client of one node: asks until its node ends or clients are stopped.
    pub(crate) async fn run<M: StoreLike>(self, node: Node<M>, at: usize, life: u64, mut random: Random) {
        while !self.stopped.load(Ordering::Relaxed) {
            sleep(random.millis(0..self.workload.think_ms)).await;
            let requests = random.within(1..self.workload.burst + 1);
            let under_way = (0..requests).map(|_| {
                let random = random.fork();
                self.request(&node, at, life, random)
            });
            // Together, and all of them before the next ones.
            let ends = futures::future::join_all(under_way).await;
            if ends.iter().any(ControlFlow::is_break) {
                return;
            }
        }
    }

    async fn request<M: StoreLike>(
        &self,
        node: &Node<M>,
        at: usize,
        life: u64,
        mut random: Random,
    ) -> ControlFlow<()> {
        let key = random.index(self.workload.keys);
        let value = self.next_value.fetch_add(1_000, Ordering::Relaxed);
        if random.chance(self.workload.data.percent) {
            return self.request_data(node, random, value).await;
        }
        let total = self.workload.weights.iter().sum();
        let mut drawn = random.within(0..total);
        let kind = self
            .workload
            .weights
            .iter()
            .position(|weight| match drawn.checked_sub(*weight) {
                Some(rest) => {
                    drawn = rest;
                    false
                }
                None => true,
            });
        match kind {
            Some(0) => self.write(node, at, key, Question::Put { value }).await,
            Some(1) => self.write(node, at, key, Question::Delete).await,
            Some(2) => self.write(node, at, key, Question::Increment { delta: 1 }).await,
            Some(3) => self.get(node, at, key, ReadConsistency::Strong).await,
            Some(4) => self.get(node, at, key, ReadConsistency::Leader).await,
            Some(6) => {
                let expected = text_number_in(&node.published().view, key).filter(|_| random.chance(80));
                self.write(node, at, key, Question::PutIf { value, expected })
                    .await
            }
            _ if self.workload.calls_eventual_strong => {
                self.get(node, at, key, ReadConsistency::Eventual).await
            }
            _ => self.get_eventually(node, at, life, key).await,
        }
    }

    pub(crate) async fn write<M: StoreLike>(
        &self,
        node: &Node<M>,
        at: usize,
        key: usize,
        question: Question,
    ) -> ControlFlow<()> {
        let ticket = self.history.ask(at, key, question);
        let command = self.command_for(question, key);
        let number = self.next_value.fetch_add(1_000, Ordering::Relaxed) / 1_000;
        let bytes = match number % 4 {
            0 if self.workload.featured => featured(&command, false),
            1 if self.workload.featured => featured(&command, true),
            _ => command.to_bytes(),
        };
        let (said, flow) = self.send_bytes(node, command, bytes).await;
        match said {
            Said::Reply(reply) => {
                let (outcome, revision) = outcome_of(&reply);
                self.history.tell(ticket, outcome, revision);
            }
            // It has no end: it may happen at any later time.
            Said::Unknown => {}
            Said::Never | Said::Records(..) => self.history.tell(ticket, Outcome::Never, None),
        }
        flow
    }

    pub(crate) async fn get<M: StoreLike>(
        &self,
        node: &Node<M>,
        at: usize,
        key: usize,
        level: ReadConsistency,
    ) -> ControlFlow<()> {
        let ticket = self.history.ask(at, key, Question::Get);
        let asked = vec![Key::new(key_bytes(key)).expect("a short key")];
        let (published, flow) = self.read_all(node, level, asked).await;
        match published {
            Some(published) => {
                let value = number_in(&published.view, key);
                let revision = published.view.revision().get();
                self.history.tell(ticket, Outcome::Value(value), Some(revision));
            }
            None => self.history.tell(ticket, Outcome::Never, None),
        }
        flow
    }

    async fn get_eventually<M: StoreLike>(
        &self,
        node: &Node<M>,
        at: usize,
        life: u64,
        key: usize,
    ) -> ControlFlow<()> {
        let published = node.published();
        self.trace.mark("eventual read");
        self.history.read_eventually(EventualRead {
            node: at,
            life,
            key,
            value: number_in(&published.view, key),
            revision: published.view.revision().get(),
        });
        ControlFlow::Continue(())
    }
}

impl Clients {
    fn command_for(&self, question: Question, key: usize) -> Command {
        if let Question::Put { value } = question
            && self.workload.restorers > 0
        {
            return restores::write(value);
        }
        command_for(question, key)
    }

    /// A write that every run can end with.
    pub(crate) fn last_write(&self) -> Question {
        if self.workload.restorers == 0 {
            return Question::Increment { delta: 1 };
        }
        let value = self.next_value.fetch_add(1_000, Ordering::Relaxed);
        Question::Put { value }
    }
}

fn command_for(question: Question, key: usize) -> Command {
    let key = Key::new(key_bytes(key)).expect("a short key");
    match question {
        Question::Put { value } => Command::Put {
            key,
            value: Value::text(value.to_string()).into(),
            lifetime: Lifetime::Forever,
            condition: None,
            return_previous: false,
        },
        Question::Delete => Command::Delete {
            key,
            condition: None,
            return_previous: false,
        },
        Question::Increment { delta } => Command::Increment {
            key,
            delta,
            ttl: None,
        },
        Question::PutIf { value, expected } => Command::Put {
            key,
            value: Value::text(value.to_string()).into(),
            lifetime: Lifetime::Forever,
            condition: Some(match expected {
                None => Condition::Absent,
                Some(number) => Condition::ValueIs(Value::text(number.to_string())),
            }),
            return_previous: false,
        },
        Question::Get => unreachable!("a get is not a write"),
    }
}

fn outcome_of(reply: &Reply) -> (Outcome, Option<u64>) {
    match reply {
        Reply::Written { revision, .. } | Reply::Txn { revision, .. } => {
            (Outcome::Stored, Some(revision.get()))
        }
        Reply::Deleted {
            revision, existed, ..
        } => (Outcome::Deleted { existed: *existed }, Some(revision.get())),
        Reply::Incremented { revision, value } => (Outcome::Number(*value), Some(revision.get())),
        Reply::Rejected(Rejection::ConditionFailed { current }) => {
            let current = current.as_deref().cloned().map(StoredRecord::unpack);
            let current = current.transpose().expect("no value is damaged here");
            (Outcome::Unmet(current.as_ref().map(number_of)), None)
        }
        Reply::Rejected(rejection) => panic!("the workload asks for nothing refusable, but: {rejection}"),
        Reply::Touched { .. }
        | Reply::Restoring { .. }
        | Reply::RestoreFailed { .. }
        | Reply::Restored { .. }
        | Reply::Compacted { .. }
        | Reply::Configured { .. }
        | Reply::IndexChanged { .. }
        | Reply::SubscriptionChanged { .. }
        | Reply::PolicyEdited { .. }
        | Reply::WrittenMany { .. }
        | Reply::DeletedMany { .. }
        | Reply::TouchedMany { .. }
        | Reply::LeaseGranted { .. }
        | Reply::LeaseKept { .. }
        | Reply::DeletedWhere { .. }
        | Reply::LeaseRevoked { .. } => {
            panic!("an answer to another question: {reply:?}")
        }
    }
}
