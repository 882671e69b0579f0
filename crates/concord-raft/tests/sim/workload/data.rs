//! Requests about many keys: conditions, bulk, transactions, lifetimes, leases, compaction.
//! They are written down whole and judged against the change log.

use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::Bytes;
use concord_core::expr::{Binary, Expr, Variable};
use concord_core::ids::{LeaseId, Millis, Revision};
use concord_core::index::{Extractor, IndexDefinition, IndexName};
use concord_core::{
    Command, Compare, Condition, Expression, Filter, IdempotencyKey, Key, KeyRange, Keys, Lifetime,
    Operation, Operator, PutItem, ReadView, Record, Rejection, Reply, Test, TouchItem, Txn, Value,
};
use concord_raft::node::Node;
use concord_raft::proposer::ProposeError;
use concord_raft::read::{ReadConsistency, ReadError};
use tokio::time::Instant;

use super::{Clients, StoreLike};
use crate::history::{Asked, Said};
use crate::random::Random;

/// A prefix of its own: these keys come and go by themselves.
pub(crate) const DATA: &str = "data:";
/// The index of these values, while there is one.
pub(crate) const INDEX: &str = "data";
/// Leases that are remembered, to hang keys on and to keep alive.
const LEASES_KEPT: usize = 4;
/// Ids that clients choose lie above those that the store chooses.
const CHOSEN_LEASES: u64 = 1 << 40;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Put,
    PutIf,
    DeleteIf,
    Touch,
    PutMany,
    DeleteMany,
    TouchMany,
    DeleteWhere,
    Index,
    Txn,
    Read,
    Grant,
    KeepAlive,
    Revoke,
    Compact,
}

const KINDS: [(Kind, u64); 15] = [
    (Kind::Put, 3),
    (Kind::PutIf, 3),
    (Kind::DeleteIf, 2),
    (Kind::Touch, 2),
    (Kind::PutMany, 2),
    (Kind::DeleteMany, 1),
    (Kind::TouchMany, 1),
    (Kind::DeleteWhere, 1),
    (Kind::Index, 1),
    (Kind::Txn, 6),
    (Kind::Read, 3),
    (Kind::Grant, 3),
    (Kind::KeepAlive, 2),
    (Kind::Revoke, 1),
    (Kind::Compact, 1),
];

/// The part of a workload that is about many keys.
#[derive(Clone, Debug)]
pub(crate) struct Data {
    /// Of a hundred requests, how many are of this kind.
    pub(crate) percent: u64,
    pub(crate) keys: usize,
    pub(crate) kinds: Vec<(Kind, u64)>,
    pub(crate) ttl_ms_max: u64,
    /// Clients of each node that want a lock.
    pub(crate) lockers: usize,
    /// Clients of each node whose requests are judged by a policy that changes.
    pub(crate) guarded: usize,
    /// Lock holders write without their token: a planted bug.
    pub(crate) unfenced: bool,
}

impl Data {
    /// Everything on or off by chance.
    pub(crate) fn draw(random: &mut Random) -> Self {
        let mut kinds = KINDS.to_vec();
        kinds.retain(|(kind, _)| matches!(kind, Kind::Txn | Kind::Read) || random.chance(70));
        Self {
            percent: *random.pick(&[0, 30, 60]),
            keys: random.index(4) + 2,
            kinds,
            ttl_ms_max: *random.pick(&[300, 2_000]),
            lockers: random.index(2),
            unfenced: false,
            guarded: random.index(2),
        }
    }

    /// Nothing of it.
    pub(crate) fn none() -> Self {
        Self {
            percent: 0,
            keys: 2,
            kinds: KINDS.to_vec(),
            ttl_ms_max: 300,
            lockers: 0,
            unfenced: false,
            guarded: 0,
        }
    }

    /// Only transactions and reads.
    pub(crate) fn transactions() -> Self {
        Self {
            percent: 100,
            kinds: vec![(Kind::Txn, 4), (Kind::Read, 1)],
            ..Self::none()
        }
    }

    fn key(&self, number: usize) -> Key {
        Key::new(format!("{DATA}{number}")).expect("a short key")
    }

    pub(crate) fn all_keys(&self) -> Vec<Key> {
        (0..self.keys).map(|number| self.key(number)).collect()
    }
}

/// Makes requests from what a node shows now, which may be old.
struct Maker<'a> {
    data: &'a Data,
    view: &'a ReadView,
    leases: &'a [LeaseId],
    random: &'a mut Random,
    /// Values of one request differ by one, those of two by a thousand.
    next_value: i64,
}

impl Maker<'_> {
    fn key(&mut self) -> Key {
        let number = self.random.index(self.data.keys);
        self.data.key(number)
    }

    fn value(&mut self) -> Value {
        self.next_value += 1;
        Value::text(self.next_value.to_string())
    }

    fn ttl(&mut self) -> Millis {
        Millis::new(self.random.within(5..self.data.ttl_ms_max))
    }

    fn lifetime(&mut self) -> Lifetime {
        match self.random.within(0..5) {
            0 | 1 => Lifetime::Forever,
            2 | 3 if !self.leases.is_empty() => Lifetime::Lease(*self.random.pick(self.leases)),
            _ => Lifetime::Ttl(self.ttl()),
        }
    }

    fn item(&mut self) -> PutItem {
        PutItem {
            key: self.key(),
            value: self.value().into(),
            lifetime: self.lifetime(),
        }
    }

    /// What may well hold of a key.
    fn condition(&mut self, key: &Key) -> Condition {
        let Some(record) = self.view.get(key.as_bytes()) else {
            return Condition::Absent;
        };
        match self.random.within(0..6) {
            0 => Condition::Present,
            1 => Condition::ValueIs(record.to_record().expect("no value is damaged here").value),
            2 => Condition::ModRevisionIs(record.mod_revision()),
            3 => Condition::VersionIs(record.version()),
            4 => Condition::Predicate(self.predicate(&key.clone())),
            _ => Condition::Absent,
        }
    }

    /// What may well be true of a key, of the few shapes that the model knows.
    fn predicate(&mut self, key: &Key) -> Expression {
        let record = self.view.get(key.as_bytes());
        let version = record.as_ref().map_or(1, |record| record.version());
        let text = record.and_then(|record| {
            let value = record.to_record().expect("no value is damaged here").value;
            value.as_text().map(str::to_owned)
        });
        let of_version =
            |operation| Expr::Variable(Variable::Version).with(operation, Expr::integer(version));
        let root = match (self.random.within(0..4), text) {
            (0, _) => of_version(Binary::LessOrEqual),
            (1, _) => of_version(Binary::Greater),
            (2, Some(text)) => Expr::Variable(Variable::Value).with(Binary::Equal, Expr::string(text)),
            (_, Some(text)) => Expr::Any(vec![
                Expr::Variable(Variable::Value).with(Binary::Equal, Expr::string(text)),
                of_version(Binary::Greater),
            ]),
            (_, None) => of_version(Binary::Equal),
        };
        Expression::new(root).expect("a small expression")
    }

    fn delete_where(&mut self) -> Command {
        let key = self.key();
        let predicate = self.predicate(&key);
        let range = KeyRange::prefix(DATA);
        Command::DeleteWhere {
            filter: Filter::new(range, Vec::new(), Some(predicate)).expect("a small filter"),
            limit: self.random.chance(50).then(|| self.random.within(1..3)),
        }
    }

    /// Makes the index, or drops it, or has it filled anew.
    fn index(&mut self) -> Command {
        let name = IndexName::new(INDEX).expect("a short name");
        if self.view.index(&name).is_none() {
            let value = Expression::new(Expr::Variable(Variable::Value)).expect("a small expression");
            let extractor = Extractor::Expression(value);
            let definition = IndexDefinition::new(name, DATA, extractor, false).expect("a plain index");
            return Command::CreateIndex {
                definition: Arc::new(definition),
                fill: self.random.chance(80),
            };
        }
        if self.random.chance(50) {
            Command::Reindex { name }
        } else {
            Command::DropIndex { name }
        }
    }

    fn compare(&mut self) -> Compare {
        let key = self.key();
        let record = self
            .view
            .get(key.as_bytes())
            .map(|record| record.to_record().expect("no value is damaged here"));
        let operator = *self.random.pick(&[
            Operator::Equal,
            Operator::Equal,
            Operator::NotEqual,
            Operator::Less,
            Operator::Greater,
        ]);
        let number = |number: fn(&Record) -> u64| record.as_ref().map_or(0, number);
        let predicate = self.predicate(&key);
        let test = match (self.random.within(0..7), &record) {
            (0, _) => Test::ModRevision(
                operator,
                Revision::new(number(|record| record.mod_revision.get())),
            ),
            (1, _) => Test::CreateRevision(
                operator,
                Revision::new(number(|record| record.create_revision.get())),
            ),
            (2, _) => Test::Version(operator, number(|record| record.version)),
            (3, Some(record)) => Test::Value(Operator::Equal, record.value.clone()),
            (6, _) => Test::Predicate(predicate),
            (4, Some(record)) => Test::Lease(Operator::Equal, record.lease.unwrap_or_default()),
            _ => Test::Exists(record.is_some()),
        };
        Compare {
            keys: Keys::One(key),
            test,
        }
    }

    fn keys(&mut self) -> Keys {
        if self.random.chance(30) {
            Keys::Range(KeyRange::prefix(DATA))
        } else {
            Keys::One(self.key())
        }
    }

    fn operation(&mut self) -> Operation {
        match self.random.within(0..8) {
            0..=3 => Operation::Put {
                item: self.item(),
                return_previous: false,
            },
            4 => Operation::Delete {
                keys: self.keys(),
                return_previous: false,
            },
            5 => Operation::Touch(TouchItem {
                key: self.key(),
                lifetime: self.lifetime(),
            }),
            6 => Operation::Get {
                keys: self.keys(),
                limit: None,
            },
            _ => self.nested(),
        }
    }

    /// Sees what was written before it. It asks only for what a touch cannot leave open.
    fn nested(&mut self) -> Operation {
        let key = self.key();
        Operation::Txn(Txn {
            compares: vec![Compare {
                keys: Keys::One(key.clone()),
                test: Test::Exists(true),
            }],
            success: vec![Operation::Get {
                keys: Keys::One(key),
                limit: None,
            }],
            failure: vec![Operation::Put {
                item: self.item(),
                return_previous: false,
            }],
        })
    }

    fn txn(&mut self) -> Txn {
        let compares = self.random.within(0..3);
        let operations = self.random.within(1..5);
        let mut failure = vec![Operation::Get {
            keys: Keys::Range(KeyRange::prefix(DATA)),
            limit: None,
        }];
        if self.random.chance(30) {
            failure.push(self.operation());
        }
        Txn {
            compares: (0..compares).map(|_| self.compare()).collect(),
            success: (0..operations).map(|_| self.operation()).collect(),
            failure,
        }
    }

    /// `None`: there is nothing to ask for.
    fn command(&mut self, kind: Kind) -> Option<Command> {
        let lease = (!self.leases.is_empty()).then(|| *self.random.pick(self.leases));
        Some(match kind {
            Kind::Put | Kind::PutIf => {
                let PutItem { key, value, lifetime } = self.item();
                let condition = (kind == Kind::PutIf).then(|| self.condition(&key));
                Command::Put {
                    key,
                    value,
                    lifetime,
                    condition,
                    return_previous: false,
                }
            }
            Kind::DeleteIf => {
                let key = self.key();
                let condition = self.random.chance(60).then(|| self.condition(&key));
                Command::Delete {
                    key,
                    condition,
                    return_previous: false,
                }
            }
            Kind::Touch => Command::Touch {
                key: self.key(),
                lifetime: self.lifetime(),
            },
            Kind::PutMany => Command::PutMany {
                items: (0..self.random.within(1..5)).map(|_| self.item()).collect(),
            },
            Kind::DeleteMany => Command::DeleteMany {
                keys: (0..self.random.within(1..4)).map(|_| self.key()).collect(),
            },
            Kind::TouchMany => Command::TouchMany {
                items: (0..self.random.within(1..4))
                    .map(|_| TouchItem {
                        key: self.key(),
                        lifetime: self.lifetime(),
                    })
                    .collect(),
            },
            Kind::DeleteWhere => self.delete_where(),
            Kind::Index => self.index(),
            Kind::Txn => Command::Txn(self.txn()),
            Kind::Grant => Command::LeaseGrant {
                lease: LeaseId::new(if self.random.chance(50) {
                    0
                } else {
                    CHOSEN_LEASES + self.next_value.unsigned_abs()
                }),
                ttl: self.ttl(),
            },
            Kind::KeepAlive => Command::LeaseKeepAlive { lease: lease? },
            Kind::Revoke => Command::LeaseRevoke { lease: lease? },
            // A little behind, so that some watchers are and some are not.
            Kind::Compact => {
                let lag = self.random.within(0..40);
                let revision = self
                    .view
                    .revision()
                    .get()
                    .checked_sub(lag)
                    .filter(|revision| *revision > 1)?;
                Command::Compact {
                    revision: Revision::new(revision),
                }
            }
            Kind::Read => return None,
        })
    }
}

impl Clients {
    /// A request about many keys.
    pub(super) async fn request_data<M: StoreLike>(
        &self,
        node: &Node<M>,
        mut random: Random,
        value: i64,
    ) -> ControlFlow<()> {
        let data = &self.workload.data;
        let total = data.kinds.iter().map(|(_, weight)| weight).sum();
        let mut drawn = random.within(0..total);
        let mut kinds = data.kinds.iter();
        let kind = loop {
            let (kind, weight) = kinds.next().expect("less than all weights was drawn");
            match drawn.checked_sub(*weight) {
                Some(rest) => drawn = rest,
                None => break *kind,
            }
        };
        let command = {
            let leases = self
                .leases
                .lock()
                .expect("nobody panics while holding leases")
                .clone();
            let published = node.published();
            let mut maker = Maker {
                data,
                view: &published.view,
                leases: &leases,
                random: &mut random,
                next_value: value,
            };
            maker.command(kind)
        };
        let command = command.map(|command| {
            if random.chance(30) && !matches!(command, Command::Compact { .. } | Command::LeaseGrant { .. }) {
                // No two requests have one value, so no two have one name.
                let key = IdempotencyKey::new(format!("request {value}")).expect("a short name");
                let command = Box::new(command);
                return Command::Idempotent { key, command };
            }
            command
        });
        let Some(command) = command else {
            return self
                .read_all(node, ReadConsistency::Strong, data.all_keys())
                .await
                .1;
        };
        if let Command::Compact { revision } = &command {
            self.watches.compaction_asked(revision.get());
        }
        let (said, flow) = self.send(node, command).await;
        if let Said::Reply(Reply::LeaseGranted { lease, .. }) = said {
            let mut leases = self.leases.lock().expect("nobody panics while holding leases");
            if leases.len() == LEASES_KEPT {
                leases.remove(0);
            }
            leases.push(lease);
        }
        flow
    }

    /// Sends a command and writes down what is said.
    pub(super) async fn send<M: StoreLike>(
        &self,
        node: &Node<M>,
        command: Command,
    ) -> (Said, ControlFlow<()>) {
        let bytes = command.to_bytes();
        self.send_bytes(node, command, bytes).await
    }

    /// Sends a command in these bytes.
    pub(super) async fn send_bytes<M: StoreLike>(
        &self,
        node: &Node<M>,
        command: Command,
        bytes: Bytes,
    ) -> (Said, ControlFlow<()>) {
        let ticket = self.history.request(Asked::Command(command.clone()));
        let mut answer = node.propose(bytes, Instant::now() + self.workload.patience).await;
        // Under a name it can be asked again, by another sequence: it is done once all the same.
        if let Command::Idempotent { .. } = &command
            && let Err(ProposeError::OutcomeUnknown { .. }) = answer
        {
            self.trace.mark("asked again by name");
            answer = node
                .propose(command.to_bytes(), Instant::now() + self.workload.patience)
                .await;
            // A refusal of the second says nothing of the first.
            if answer.is_err() {
                let waited_ms = 0;
                answer = Err(ProposeError::OutcomeUnknown { waited_ms });
            }
        }
        let (said, mark, flow) = match answer {
            // I24: a kind that not every member knows yet. Whoever sees that, it is never done.
            Ok(Reply::Rejected(Rejection::Unsupported { .. })) => {
                (Said::Never, "feature refused at apply", ControlFlow::Continue(()))
            }
            Err(ProposeError::NotYet { .. }) => (
                Said::Never,
                "feature refused by its node",
                ControlFlow::Continue(()),
            ),
            Ok(reply) => (Said::Reply(reply), "write answered", ControlFlow::Continue(())),
            Err(ProposeError::OutcomeUnknown { .. }) => {
                (Said::Unknown, "write unknown", ControlFlow::Continue(()))
            }
            Err(ProposeError::ShuttingDown) => {
                (Said::Never, "write refused at shutdown", ControlFlow::Break(()))
            }
            Err(_) => (Said::Never, "write refused", ControlFlow::Continue(())),
        };
        self.trace.mark(mark);
        self.trace.event(mark, &[]);
        // An outcome that stays unknown has no end: it may happen at any later time.
        if !matches!(said, Said::Unknown) {
            self.history.say(ticket, said.clone());
        }
        (said, flow)
    }

    /// Reads keys in one view, and gives the view.
    pub(super) async fn read_all<M: StoreLike>(
        &self,
        node: &Node<M>,
        level: ReadConsistency,
        keys: Vec<Key>,
    ) -> (Option<Arc<concord_raft::Published<ReadView>>>, ControlFlow<()>) {
        let ticket = self.history.request(Asked::Read(keys.clone()));
        match node.read(level, Instant::now() + self.workload.patience).await {
            Ok(published) => {
                let view = &published.view;
                let revision = view.revision().get();
                let record = |key: &Key| {
                    view.get(key.as_bytes())
                        .map(|record| record.to_record().expect("no value is damaged here"))
                };
                let records = keys.iter().map(record).collect();
                self.trace.mark("read answered");
                self.trace.event("read", &revision.to_le_bytes());
                self.history.say(ticket, Said::Records(revision, records));
                (Some(published), ControlFlow::Continue(()))
            }
            Err(error) => {
                self.trace.mark("read refused");
                self.history.say(ticket, Said::Never);
                let ends = error == ReadError::ShuttingDown;
                (
                    None,
                    if ends {
                        ControlFlow::Break(())
                    } else {
                        ControlFlow::Continue(())
                    },
                )
            }
        }
    }
}
