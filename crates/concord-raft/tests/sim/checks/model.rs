//! What a command makes of a state and answers: small, plain, and written apart from the
//! store, to judge it by.

use std::collections::BTreeMap;

use concord_core::expr::{Binary, Expr, Literal, Variable};
use concord_core::ids::{LeaseId, Timestamp};
use concord_core::reply::TouchOutcome;
use concord_core::view::ChangeKind;
use concord_core::{
    Command, Compare, Condition, Document, Filter, Key, Keys, Lifetime, Operation, OperationResult, Operator,
    Record, Rejection, Reply, StoredRecord, StoredValue, Test, TouchItem, Txn, TxnOutcome, Value,
    ValueFormat,
};

use super::watches::{Event, State};
use crate::workload::number;

/// When a record ends, as far as can be said without a clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ends {
    At(Option<Timestamp>, Option<LeaseId>),
    /// At a time that was counted from the unknown time of the request.
    Ttl,
}

impl From<Lifetime> for Ends {
    fn from(lifetime: Lifetime) -> Self {
        match lifetime {
            Lifetime::Forever => Self::At(None, None),
            Lifetime::Lease(lease) => Self::At(None, Some(lease)),
            Lifetime::Ttl(_) => Self::Ttl,
        }
    }
}

/// A record as a request would leave it.
#[derive(Clone, Debug)]
struct Expected {
    value: Value,
    create_revision: u64,
    mod_revision: u64,
    version: u64,
    ends: Ends,
    /// Only its lifetime was set, perhaps to what it was: then nothing changed.
    maybe_same: bool,
}

impl Expected {
    fn of(record: &Record) -> Self {
        Self {
            value: record.value.clone(),
            create_revision: record.create_revision.get(),
            mod_revision: record.mod_revision.get(),
            version: record.version,
            ends: Ends::At(record.expires_at, record.lease),
            maybe_same: false,
        }
    }

    fn is(&self, record: &Record) -> bool {
        let numbers = (
            record.create_revision.get(),
            record.mod_revision.get(),
            record.version,
        );
        let ends = match self.ends {
            Ends::At(expires_at, lease) => (record.expires_at, record.lease) == (expires_at, lease),
            Ends::Ttl => record.expires_at.is_some() && record.lease.is_none(),
        };
        self.value == record.value
            && ends
            && (self.maybe_same || numbers == (self.create_revision, self.mod_revision, self.version))
    }
}

/// A request on its way: what it would change, in the order of its first writes.
#[derive(Debug)]
pub(crate) struct Run<'a> {
    before: &'a State,
    /// The revision that it would make.
    revision: u64,
    order: Vec<Vec<u8>>,
    staged: BTreeMap<Vec<u8>, Option<Expected>>,
}

impl<'a> Run<'a> {
    /// Performs a command. `None`: that cannot be its answer.
    pub(crate) fn of(
        before: &'a State,
        revision: u64,
        command: &Command,
        reply: Option<&Reply>,
    ) -> Option<Self> {
        let mut run = Self {
            before,
            revision,
            order: Vec::new(),
            staged: BTreeMap::new(),
        };
        run.command(command, reply).then_some(run)
    }

    /// Whether it changes nothing.
    pub(crate) fn is_idle(&self) -> bool {
        self.effects()
            .all(|(_, expected)| expected.is_some_and(|expected| expected.maybe_same))
    }

    /// Whether these are its changes, in this order.
    pub(crate) fn makes(&self, events: &[Event]) -> bool {
        let mut events = events.iter().peekable();
        for (key, expected) in self.effects() {
            let event = events.next_if(|event| event.key == *key);
            let fits = match (expected, event) {
                (Some(expected), None) => expected.maybe_same,
                (Some(expected), Some(event)) => {
                    let record = event.record.as_deref();
                    event.kind == ChangeKind::Put && record.is_some_and(|record| expected.is(record))
                }
                (None, Some(event)) => event.kind == ChangeKind::Delete,
                (None, None) => false,
            };
            if !fits {
                return false;
            }
        }
        events.next().is_none()
    }

    /// What is created and removed again is no change.
    fn effects(&self) -> impl Iterator<Item = (&Vec<u8>, Option<&Expected>)> {
        let staged = self.order.iter().map(|key| (key, self.staged[key].as_ref()));
        staged.filter(|(key, expected)| expected.is_some() || self.before.contains_key(*key))
    }

    fn current(&self, key: &[u8]) -> Option<Expected> {
        match self.staged.get(key) {
            Some(staged) => staged.clone(),
            None => self.before.get(key).map(|record| Expected::of(record)),
        }
    }

    /// The keys of a range that exist, in order.
    fn selected(&self, keys: &Keys) -> Vec<(Vec<u8>, Expected)> {
        let mut all: Vec<&Vec<u8>> = self.before.keys().chain(self.staged.keys()).collect();
        all.sort_unstable();
        all.dedup();
        let wanted = |key: &&Vec<u8>| match keys {
            Keys::One(one) => one.as_bytes() == key.as_slice(),
            Keys::Range(range) => range.contains(key),
        };
        let record = |key: &Vec<u8>| Some((key.clone(), self.current(key)?));
        all.into_iter().filter(wanted).filter_map(record).collect()
    }

    fn stage(&mut self, key: &[u8], record: Option<Expected>) {
        if !self.staged.contains_key(key) {
            self.order.push(key.to_vec());
        }
        self.staged.insert(key.to_vec(), record);
    }

    fn put(&mut self, key: &[u8], value: Value, ends: Ends) {
        let next = match self.current(key) {
            Some(current) => Expected {
                // Writes of one request are one version.
                version: current.version + u64::from(current.mod_revision != self.revision),
                create_revision: current.create_revision,
                mod_revision: self.revision,
                value,
                ends,
                maybe_same: false,
            },
            None => Expected {
                version: 1,
                create_revision: self.revision,
                mod_revision: self.revision,
                value,
                ends,
                maybe_same: false,
            },
        };
        self.stage(key, Some(next));
    }

    /// Says whether there was something.
    fn delete(&mut self, key: &[u8]) -> bool {
        let existed = self.current(key).is_some();
        if existed {
            self.stage(key, None);
        }
        existed
    }

    fn touch(&mut self, key: &[u8], ends: Ends) -> bool {
        let Some(current) = self.current(key) else {
            return false;
        };
        if ends != Ends::Ttl && current.ends == ends {
            return true;
        }
        let is_first = current.mod_revision != self.revision;
        let maybe_same = ends == Ends::Ttl
            && matches!(current.ends, Ends::At(Some(_), _))
            && (is_first || current.maybe_same);
        let next = Expected {
            version: current.version + u64::from(is_first),
            mod_revision: self.revision,
            ends,
            maybe_same,
            ..current
        };
        self.stage(key, Some(next));
        true
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the workload has no others, and says so when it is given one"
    )]
    fn command(&mut self, command: &Command, reply: Option<&Reply>) -> bool {
        match command {
            Command::Put {
                key,
                value,
                lifetime,
                condition,
                ..
            } => {
                let holds = self.meets(key, condition.as_ref());
                self.put(key.as_bytes(), plain(value), (*lifetime).into());
                holds && matches!(reply, None | Some(Reply::Written { .. }))
            }
            Command::Delete { key, condition, .. } => {
                let holds = self.meets(key, condition.as_ref());
                let there = self.delete(key.as_bytes());
                holds
                    && match reply {
                        None => true,
                        Some(Reply::Deleted { existed, .. }) => *existed == there,
                        Some(_) => false,
                    }
            }
            Command::Touch { key, lifetime } => {
                self.touch(key.as_bytes(), (*lifetime).into())
                    && matches!(reply, None | Some(Reply::Touched { .. }))
            }
            Command::Increment { key, delta, .. } => self.increment(key, *delta, reply),
            Command::PutMany { items } => {
                for item in items {
                    self.put(item.key.as_bytes(), plain(&item.value), item.lifetime.into());
                }
                matches!(reply, None | Some(Reply::WrittenMany { .. }))
            }
            Command::TouchMany { items } => {
                let touch = |item: &TouchItem| self.touch(item.key.as_bytes(), item.lifetime.into());
                let there: Vec<_> = items.iter().map(touch).collect();
                let told = |outcome: &TouchOutcome| matches!(outcome, TouchOutcome::Touched { .. });
                match reply {
                    None => true,
                    Some(Reply::TouchedMany { outcomes, .. }) => outcomes.iter().map(told).eq(there),
                    Some(_) => false,
                }
            }
            Command::DeleteWhere { filter, limit } => self.delete_where(filter, *limit, reply),
            Command::Idempotent { command, .. } => self.command(command, reply),
            Command::DeleteMany { keys } => {
                let there: Vec<_> = keys.iter().map(|key| self.delete(key.as_bytes())).collect();
                match reply {
                    None => true,
                    Some(Reply::DeletedMany { existed, .. }) => *existed == there,
                    Some(_) => false,
                }
            }
            Command::Txn(txn) => match reply {
                None => self.txn(txn, None),
                Some(Reply::Txn { outcome, .. }) => self.txn(txn, Some(outcome)),
                Some(_) => false,
            },
            Command::LeaseRevoke { lease } => self.revoke(*lease, reply),
            Command::LeaseGrant { .. } => matches!(reply, None | Some(Reply::LeaseGranted { .. })),
            Command::LeaseKeepAlive { .. } => matches!(reply, None | Some(Reply::LeaseKept { .. })),
            Command::Compact { .. } => matches!(reply, None | Some(Reply::Compacted { .. })),
            Command::CreateIndex { .. } | Command::DropIndex { .. } | Command::Reindex { .. } => {
                matches!(reply, None | Some(Reply::IndexChanged { .. }))
            }
            Command::Guarded { command, .. } => self.command(command, reply),
            // It changes no key.
            Command::EditPolicy(_) => matches!(reply, None | Some(Reply::PolicyEdited { .. })),
            other => unreachable!("the workload has no {other:?}"),
        }
    }

    fn delete_where(&mut self, filter: &Filter, limit: Option<u64>, reply: Option<&Reply>) -> bool {
        let mut doomed = self.selected(&Keys::Range(filter.range().clone()));
        doomed.retain(|(_, record)| {
            let predicate = filter.predicate().expect("the workload has no other filters");
            is_true(predicate.root(), &record.value, record.version)
        });
        let most = limit.map_or(usize::MAX, |limit| usize::try_from(limit).expect("a small limit"));
        let left = doomed.len().saturating_sub(most);
        doomed.truncate(most);
        for (key, _) in &doomed {
            self.delete(key);
        }
        match reply {
            None => true,
            Some(Reply::DeletedWhere { count, more, .. }) => {
                *count == doomed.len() as u64 && *more == (left > 0)
            }
            Some(_) => false,
        }
    }

    fn increment(&mut self, key: &Key, delta: i64, reply: Option<&Reply>) -> bool {
        let current = self.current(key.as_bytes());
        let stored = current.as_ref().map_or(Some(0), |current| number(&current.value));
        let Some(sum) = stored.and_then(|number| number.checked_add(delta)) else {
            return false;
        };
        let value = match current.as_ref().map(|current| current.value.format()) {
            Some(ValueFormat::Text) => Value::text(sum.to_string()),
            Some(ValueFormat::Document | ValueFormat::Binary) | None => {
                Value::document(&Document::integer(sum)).expect("a number")
            }
        };
        let ends = current.map_or(Ends::At(None, None), |current| current.ends);
        self.put(key.as_bytes(), value, ends);
        match reply {
            None => true,
            Some(Reply::Incremented { value, .. }) => *value == sum,
            Some(_) => false,
        }
    }

    fn revoke(&mut self, lease: LeaseId, reply: Option<&Reply>) -> bool {
        let on_it = |record: &Record| record.lease == Some(lease);
        let keys: Vec<_> = self
            .before
            .iter()
            .filter(|(_, record)| on_it(record))
            .map(|(key, _)| key.clone())
            .collect();
        for key in &keys {
            self.delete(key);
        }
        match reply {
            None => true,
            Some(Reply::LeaseRevoked { keys: told, .. }) => *told == keys.len() as u64,
            Some(_) => false,
        }
    }

    fn meets(&self, key: &Key, condition: Option<&Condition>) -> bool {
        let current = self.before.get(key.as_bytes());
        match (condition, current) {
            (None, _) => true,
            (Some(Condition::Absent), current) => current.is_none(),
            (Some(_), None) => false,
            (Some(Condition::Present), Some(_)) => true,
            (Some(Condition::ValueIs(value)), Some(current)) => *value == current.value,
            (Some(Condition::ModRevisionIs(revision)), Some(current)) => *revision == current.mod_revision,
            (Some(Condition::VersionIs(version)), Some(current)) => *version == current.version,
            (Some(Condition::Predicate(predicate)), Some(current)) => {
                is_true(predicate.root(), &current.value, current.version)
            }
        }
    }

    /// `outcome` is what it was said to do, if anything was said.
    fn txn(&mut self, txn: &Txn, outcome: Option<&TxnOutcome>) -> bool {
        let succeeded = txn.compares.iter().all(|compare| self.compare(compare));
        let branch = if succeeded { &txn.success } else { &txn.failure };
        if outcome
            .is_some_and(|outcome| outcome.succeeded != succeeded || outcome.results.len() != branch.len())
        {
            return false;
        }
        branch.iter().enumerate().all(|(number, operation)| {
            let result = outcome.map(|outcome| &outcome.results[number]);
            self.operation(operation, result)
        })
    }

    fn compare(&self, compare: &Compare) -> bool {
        let selected = self.selected(&compare.keys);
        if selected.is_empty() {
            return holds(&compare.test, None);
        }
        selected
            .iter()
            .all(|(_, record)| holds(&compare.test, Some(record)))
    }

    fn operation(&mut self, operation: &Operation, result: Option<&OperationResult>) -> bool {
        match (operation, result) {
            (Operation::Get { keys, .. }, None) => {
                let _ = keys;
                true
            }
            (Operation::Get { keys, .. }, Some(OperationResult::Records { records, more })) => {
                let expected = self.selected(keys);
                let same = |((key, expected), record): (&(Vec<u8>, Expected), &StoredRecord)| {
                    let record = record.clone().unpack().expect("no value is damaged here");
                    record.key.as_bytes() == key.as_slice() && expected.is(&record)
                };
                !more && expected.len() == records.len() && expected.iter().zip(records).all(same)
            }
            (Operation::Put { item, .. }, None | Some(OperationResult::Written { .. })) => {
                self.put(item.key.as_bytes(), plain(&item.value), item.lifetime.into());
                true
            }
            (Operation::Delete { keys, .. }, result) => {
                let doomed = self.selected(keys);
                for (key, _) in &doomed {
                    self.delete(key);
                }
                match result {
                    None => true,
                    Some(OperationResult::Deleted { count, .. }) => *count == doomed.len() as u64,
                    Some(_) => false,
                }
            }
            (Operation::Touch(item), result) => {
                let there = self.touch(item.key.as_bytes(), item.lifetime.into());
                match result {
                    None => true,
                    Some(OperationResult::Touched(outcome)) => {
                        matches!(outcome, TouchOutcome::Touched { .. }) == there
                    }
                    Some(_) => false,
                }
            }
            (Operation::Txn(txn), None) => self.txn(txn, None),
            (Operation::Txn(txn), Some(OperationResult::Txn(outcome))) => self.txn(txn, Some(outcome)),
            (Operation::Get { .. } | Operation::Put { .. } | Operation::Txn(_), Some(_)) => false,
        }
    }
}

fn holds(test: &Test, record: Option<&Expected>) -> bool {
    let compare = |operator: Operator, stored: u64, given: u64| match operator {
        Operator::Equal => stored == given,
        Operator::NotEqual => stored != given,
        Operator::Less => stored < given,
        Operator::Greater => stored > given,
    };
    match test {
        Test::Value(operator, value) => record.is_some_and(|record| match operator {
            Operator::Equal => record.value == *value,
            Operator::NotEqual => record.value != *value,
            Operator::Less | Operator::Greater => unreachable!("the workload has no order of values"),
        }),
        Test::ModRevision(operator, given) => compare(
            *operator,
            record.map_or(0, |record| record.mod_revision),
            given.get(),
        ),
        Test::CreateRevision(operator, given) => compare(
            *operator,
            record.map_or(0, |record| record.create_revision),
            given.get(),
        ),
        Test::Version(operator, given) => {
            compare(*operator, record.map_or(0, |record| record.version), *given)
        }
        Test::Lease(operator, given) => {
            let lease = match record.map(|record| record.ends) {
                Some(Ends::At(_, Some(lease))) => lease.get(),
                Some(Ends::At(_, None) | Ends::Ttl) | None => 0,
            };
            compare(*operator, lease, given.get())
        }
        Test::Exists(exists) => *exists == record.is_some(),
        Test::Predicate(predicate) => {
            record.is_some_and(|record| is_true(predicate.root(), &record.value, record.version))
        }
    }
}

/// The predicates of the workload, judged apart from the store's evaluation.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the workload has no others, and says so when it is given one"
)]
fn is_true(predicate: &Expr, value: &Value, version: u64) -> bool {
    match predicate {
        Expr::Any(parts) => parts.iter().any(|part| is_true(part, value, version)),
        Expr::Binary(operation, of, constant) => match (of.as_ref(), constant.as_ref(), operation) {
            (Expr::Variable(Variable::Value), Expr::Literal(Literal::String(text)), Binary::Equal) => {
                value.as_text() == Some(text)
            }
            (Expr::Variable(Variable::Version), Expr::Literal(Literal::Integer(given)), operation) => {
                let given = given.as_u64().expect("a count of writes");
                match operation {
                    Binary::LessOrEqual => version <= given,
                    Binary::Greater => version > given,
                    Binary::Equal => version == given,
                    other => unreachable!("the workload has no {other:?}"),
                }
            }
            other => unreachable!("the workload has no {other:?}"),
        },
        other => unreachable!("the workload has no {other:?}"),
    }
}

/// The value of a request, however it is kept.
fn plain(value: &StoredValue) -> Value {
    value.clone().unpack().expect("no value is damaged here")
}

/// Whether a state gives reason for a refusal. What depends on leases, on the policy and on compaction
/// is judged elsewhere.
pub(crate) fn is_refused(state: &State, command: &Command, rejection: &Rejection) -> bool {
    let record = |key: &Key| state.get(key.as_bytes()).map(|record| &**record);
    match (command, rejection) {
        (Command::Idempotent { command, .. }, rejection) => is_refused(state, command, rejection),
        (
            Command::Put { key, condition, .. } | Command::Delete { key, condition, .. },
            Rejection::ConditionFailed { current },
        ) => {
            let run = Run {
                before: state,
                revision: 0,
                order: Vec::new(),
                staged: BTreeMap::new(),
            };
            let current = current.as_deref().cloned().map(StoredRecord::unpack);
            let current = current.transpose().expect("no value is damaged here");
            current.as_ref() == record(key) && !run.meets(key, condition.as_ref())
        }
        (Command::Touch { key, .. }, Rejection::NotFound) => record(key).is_none(),
        (_, Rejection::ConditionFailed { .. } | Rejection::NotFound) => false,
        (_, _) => true,
    }
}
