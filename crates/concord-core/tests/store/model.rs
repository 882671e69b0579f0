//! The smallest model that could be right, and nothing clever: a map of records, a copy of it
//! for every revision, and a list of everything that happened.

use std::collections::{BTreeMap, BTreeSet};

use concord_core::reply::{InvalidValueReason, TouchOutcome};
use concord_core::*;

use crate::model_txn;

pub(crate) type Records = BTreeMap<Vec<u8>, Record>;

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Event {
    pub(crate) revision: Revision,
    pub(crate) kind: ChangeKind,
    pub(crate) key: Vec<u8>,
    pub(crate) record: Option<Record>,
    pub(crate) previous: Option<Record>,
}

/// What a session was answered, by sequence number from 1.
#[derive(Clone, Debug, Default)]
pub(crate) struct Session {
    pub(crate) sent: Vec<(Command, Reply)>,
    pub(crate) acked_below: u64,
}

#[derive(Debug)]
pub(crate) struct Model {
    pub(crate) now: u64,
    pub(crate) revision: u64,
    pub(crate) compact_revision: u64,
    pub(crate) keep_revisions: Option<u64>,
    pub(crate) live: Records,
    /// The ttl and the deadline of each lease.
    pub(crate) leases: BTreeMap<LeaseId, (Millis, Timestamp)>,
    pub(crate) last_lease: u64,
    /// What was asked first under each idempotency key, and the answer.
    pub(crate) answered: BTreeMap<IdempotencyKey, (Command, Reply)>,
    /// The records at each revision: the first is revision 1, the empty store.
    pub(crate) states: Vec<Records>,
    pub(crate) events: Vec<Event>,
}

impl Model {
    pub(crate) fn new() -> Self {
        Self {
            now: 0,
            revision: 1,
            compact_revision: 0,
            keep_revisions: Some(100_000),
            live: Records::new(),
            leases: BTreeMap::new(),
            last_lease: 0,
            answered: BTreeMap::new(),
            states: vec![Records::new()],
            events: Vec::new(),
        }
    }

    /// The clock moves, and what is due goes at one revision, in order of deadline and key.
    pub(crate) fn begin_batch(&mut self, proposed_at: u64) {
        self.now = self.now.max(proposed_at);
        let mut due: Vec<(Timestamp, Vec<u8>)> = Vec::new();
        for (key, record) in &self.live {
            due.extend(
                record
                    .expires_at
                    .filter(|at| at.get() <= self.now)
                    .map(|at| (at, key.clone())),
            );
        }
        due.sort();
        // Behind the keys whose own time has come: those of leases.
        let mut ended: Vec<(Timestamp, LeaseId)> = Vec::new();
        ended.extend(
            self.leases
                .iter()
                .map(|(lease, (_, deadline))| (*deadline, *lease)),
        );
        ended.retain(|(deadline, _)| deadline.get() <= self.now);
        ended.sort();
        for (deadline, lease) in ended {
            due.extend(self.keys_on(lease).into_iter().map(|key| (deadline, key)));
            self.leases.remove(&lease);
        }
        if !due.is_empty() {
            self.revision += 1;
        }
        for (_, key) in &due {
            self.set(key, None, ChangeKind::Expire);
        }
        if !due.is_empty() {
            self.states.push(self.live.clone());
        }
    }

    pub(crate) fn keys_on(&self, lease: LeaseId) -> Vec<Vec<u8>> {
        let is_on = |record: &&Record| record.lease == Some(lease);
        let records = self.live.values().filter(is_on);
        records.map(|record| record.key.as_bytes().to_vec()).collect()
    }

    pub(crate) fn end_batch(&mut self) {
        if let Some(keep) = self.keep_revisions {
            self.compact_revision = self.compact_revision.max(self.revision.saturating_sub(keep));
        }
    }

    fn set(&mut self, key: &[u8], record: Option<Record>, kind: ChangeKind) -> Option<Record> {
        let previous = match record.clone() {
            Some(record) => self.live.insert(key.to_vec(), record),
            None => self.live.remove(key),
        };
        let (revision, key) = (Revision::new(self.revision), key.to_vec());
        self.events.push(Event {
            revision,
            kind,
            key,
            record,
            previous: previous.clone(),
        });
        previous
    }

    /// A copy of the records for a request to work on.
    fn work(&self) -> Work {
        Work {
            now: self.now,
            revision: Revision::new(self.revision + 1),
            records: self.live.clone(),
            leases: self.leases.keys().copied().collect(),
            written: Vec::new(),
        }
    }

    /// The outcome of a request takes hold, at one revision if it changed anything.
    fn commit(&mut self, work: Work) -> Revision {
        let is_change = |key: &Vec<u8>| self.live.contains_key(key) || work.records.contains_key(key);
        let changed: Vec<_> = work
            .written
            .iter()
            .filter(|key| is_change(key))
            .cloned()
            .collect();
        if changed.is_empty() {
            return self.at();
        }
        self.revision += 1;
        for key in changed {
            let record = work.records.get(&key).cloned();
            let kind = record.as_ref().map_or(ChangeKind::Delete, |_| ChangeKind::Put);
            self.set(&key, record, kind);
        }
        self.states.push(self.live.clone());
        self.at()
    }

    pub(crate) fn apply(&mut self, command: &Command) -> Reply {
        let Command::Idempotent { key, command } = command else {
            return self.judge(command).unwrap_or_else(Reply::Rejected);
        };
        // What makes no sense in itself uses no key.
        if let Command::Txn(txn) = command.as_ref()
            && let Err(rejection) = model_txn::check(txn)
        {
            return Reply::Rejected(rejection);
        }
        if let Some((first, reply)) = self.answered.get(key) {
            return if first == command.as_ref() {
                reply.clone()
            } else {
                Reply::Rejected(Rejection::IdempotencyConflict)
            };
        }
        let reply = self.judge(command).unwrap_or_else(Reply::Rejected);
        let first = (command.as_ref().clone(), reply.clone());
        self.answered.insert(key.clone(), first);
        reply
    }

    fn judge(&mut self, command: &Command) -> Result<Reply, Rejection> {
        let mut work = self.work();
        match command {
            Command::Put {
                key,
                value,
                lifetime,
                condition,
                return_previous,
            } => {
                let ends = work.ends(*lifetime)?;
                work.check(key, condition.as_ref())?;
                let previous = work.put(key, plain(value), ends).filter(|_| *return_previous);
                let revision = self.commit(work);
                let previous = previous.map(Into::into);
                Ok(Reply::Written { revision, previous })
            }
            Command::Delete {
                key,
                condition,
                return_previous,
            } => self.delete(work, key, condition.as_ref(), *return_previous),
            Command::Touch { key, lifetime } => match work.touch(key, *lifetime)? {
                TouchOutcome::NotFound => Err(Rejection::NotFound),
                TouchOutcome::Touched { expires_at } => {
                    let revision = self.commit(work);
                    Ok(Reply::Touched { revision, expires_at })
                }
            },
            Command::Increment { key, delta, ttl } => {
                let value = work.increment(key, *delta, *ttl)?;
                let revision = self.commit(work);
                Ok(Reply::Incremented { revision, value })
            }
            Command::Compact { revision } => self.compact(*revision),
            Command::Configure(settings) => {
                self.keep_revisions = settings.compaction.keep_revisions;
                Ok(Reply::Configured { revision: self.at() })
            }
            Command::LeaseGrant { .. } | Command::LeaseKeepAlive { .. } | Command::LeaseRevoke { .. } => {
                self.judge_lease(command)
            }
            Command::CreateSubscription { .. }
            | Command::DeleteSubscription { .. }
            | Command::AckSubscription { .. }
            | Command::ResetSubscription { .. }
            | Command::CreateIndex { .. }
            | Command::DropIndex { .. }
            | Command::Reindex { .. }
            | Command::EditPolicy(_)
            | Command::Restore { .. }
            | Command::Guarded { .. }
            | Command::DeleteWhere { .. } => unreachable!("{command:?} has a property of its own"),
            Command::Idempotent { .. } => panic!("a key within a key"),
            Command::PutMany { items } => self.put_many(items, work),
            Command::DeleteMany { keys } => {
                let existed = keys.iter().map(|key| work.delete(key).is_some()).collect();
                let revision = self.commit(work);
                Ok(Reply::DeletedMany { revision, existed })
            }
            Command::TouchMany { items } => self.touch_many(items, work),
            Command::Txn(txn) => {
                model_txn::check(txn)?;
                model_txn::check_lifetimes(txn)?;
                let outcome = work.txn(txn)?;
                let revision = self.commit(work);
                Ok(Reply::Txn { revision, outcome })
            }
        }
    }

    fn delete(
        &mut self,
        mut work: Work,
        key: &Key,
        condition: Option<&Condition>,
        return_previous: bool,
    ) -> Result<Reply, Rejection> {
        work.check(key, condition)?;
        let removed = work.delete(key);
        let (revision, existed) = (self.commit(work), removed.is_some());
        let previous = removed.filter(|_| return_previous).map(Into::into);
        Ok(Reply::Deleted {
            revision,
            existed,
            previous,
        })
    }

    fn judge_lease(&mut self, command: &Command) -> Result<Reply, Rejection> {
        let revision = self.at();
        if let Command::LeaseGrant { lease, ttl } = *command {
            if ttl.get() == 0 {
                return Err(Rejection::InvalidTtl { ttl_ms: 0 });
            }
            if self.leases.contains_key(&lease) {
                return Err(Rejection::LeaseExists { lease });
            }
            let mut chosen = lease;
            while chosen.get() == 0 || self.leases.contains_key(&chosen) {
                self.last_lease += 1;
                chosen = LeaseId::new(self.last_lease);
            }
            let expires_at = Timestamp::new(self.now + ttl.get());
            self.leases.insert(chosen, (ttl, expires_at));
            return Ok(Reply::LeaseGranted {
                revision,
                lease: chosen,
                ttl,
                expires_at,
            });
        }
        let (Command::LeaseKeepAlive { lease } | Command::LeaseRevoke { lease }) = *command else {
            panic!("{command:?} is of no lease")
        };
        let (ttl, _) = *self
            .leases
            .get(&lease)
            .ok_or(Rejection::LeaseNotFound { lease })?;
        if let Command::LeaseKeepAlive { .. } = command {
            let expires_at = Timestamp::new(self.now + ttl.get());
            self.leases.insert(lease, (ttl, expires_at));
            return Ok(Reply::LeaseKept {
                revision,
                lease,
                ttl,
                expires_at,
            });
        }
        let mut work = self.work();
        let keys = self.keys_on(lease);
        for key in &keys {
            work.delete(&Key::copy_of(key).unwrap());
        }
        self.leases.remove(&lease);
        let (revision, keys) = (self.commit(work), keys.len() as u64);
        Ok(Reply::LeaseRevoked { revision, keys })
    }

    fn put_many(&mut self, items: &[PutItem], mut work: Work) -> Result<Reply, Rejection> {
        for (index, item) in items.iter().enumerate() {
            let ends = work.ends(item.lifetime).map_err(|cause| in_item(index, cause))?;
            work.put(&item.key, plain(&item.value), ends);
        }
        let revision = self.commit(work);
        Ok(Reply::WrittenMany { revision })
    }

    fn touch_many(&mut self, items: &[TouchItem], mut work: Work) -> Result<Reply, Rejection> {
        let touched = |(index, item): (usize, &TouchItem)| {
            work.touch(&item.key, item.lifetime)
                .map_err(|cause| in_item(index, cause))
        };
        let outcomes = items.iter().enumerate().map(touched).collect::<Result<_, _>>()?;
        let revision = self.commit(work);
        Ok(Reply::TouchedMany { revision, outcomes })
    }

    fn compact(&mut self, revision: Revision) -> Result<Reply, Rejection> {
        if revision.get() <= self.compact_revision {
            let compact_revision = Revision::new(self.compact_revision);
            return Err(Rejection::Compacted { compact_revision });
        }
        if revision.get() > self.revision {
            return Err(Rejection::FutureRevision { revision: self.at() });
        }
        self.compact_revision = revision.get();
        Ok(Reply::Compacted { revision })
    }

    pub(crate) fn at(&self) -> Revision {
        Revision::new(self.revision)
    }

    /// The records at a revision.
    pub(crate) fn state_at(&self, revision: u64) -> &Records {
        &self.states[usize::try_from(revision.max(1) - 1).unwrap()]
    }

    pub(crate) fn usage(&self) -> BTreeMap<Vec<u8>, Usage> {
        let mut usage: BTreeMap<Vec<u8>, Usage> = BTreeMap::new();
        for (key, record) in &self.live {
            let entry = usage.entry(record.key.namespace().to_vec()).or_default();
            entry.keys += 1;
            entry.bytes += (key.len() + record.value.bytes().len()) as u64;
        }
        usage
    }

    /// The versions of a key that a reader may still see, oldest first.
    pub(crate) fn versions(&self, key: &[u8]) -> Vec<Version> {
        let compact = Revision::new(self.compact_revision);
        let in_force = self.state_at(self.compact_revision).get(key).cloned();
        let mut versions: Vec<Version> = in_force.map(Version::Record).into_iter().collect();
        for event in self
            .events
            .iter()
            .filter(|event| event.key == key && event.revision > compact)
        {
            versions.push(match event.record.clone() {
                Some(record) => Version::Record(record),
                None => Version::Removed {
                    revision: event.revision,
                    kind: event.kind,
                },
            });
        }
        versions
    }
}

/// The model knows nothing of packed values: its requests hold none.
pub(crate) fn plain(value: &StoredValue) -> Value {
    value.clone().into_plain().unwrap()
}

fn in_item(index: usize, cause: Rejection) -> Rejection {
    Rejection::InPart {
        part: reply::RequestPart::Item,
        index: index as u64,
        cause: Box::new(cause),
    }
}

/// When a key ends: at a deadline or with a lease.
pub(crate) type Ends = (Option<Timestamp>, Option<LeaseId>);

/// The records as a request sees them while it works: changed at once, kept or thrown away.
pub(crate) struct Work {
    now: u64,
    /// The revision that the request gets if it changes something.
    revision: Revision,
    pub(crate) records: Records,
    leases: BTreeSet<LeaseId>,
    /// Keys in the order in which they were first written.
    written: Vec<Vec<u8>>,
}

impl Work {
    pub(crate) fn ends(&self, lifetime: Lifetime) -> Result<Ends, Rejection> {
        match lifetime {
            Lifetime::Forever => Ok((None, None)),
            Lifetime::Ttl(ttl) if ttl.get() == 0 => Err(Rejection::InvalidTtl { ttl_ms: 0 }),
            Lifetime::Ttl(ttl) => Ok((Some(Timestamp::new(self.now + ttl.get())), None)),
            Lifetime::Lease(lease) if self.leases.contains(&lease) => Ok((None, Some(lease))),
            Lifetime::Lease(lease) => Err(Rejection::LeaseNotFound { lease }),
        }
    }

    fn check(&self, key: &Key, condition: Option<&Condition>) -> Result<(), Rejection> {
        let current = self.records.get(key.as_bytes());
        let holds = match condition {
            None => true,
            Some(Condition::Absent) => current.is_none(),
            Some(Condition::Present) => current.is_some(),
            Some(Condition::ValueIs(value)) => current.is_some_and(|current| current.value == *value),
            Some(Condition::ModRevisionIs(revision)) => {
                current.is_some_and(|current| current.mod_revision == *revision)
            }
            Some(Condition::Predicate(expression)) => {
                current.is_some_and(|current| self.is_true(expression, current))
            }
            Some(Condition::VersionIs(version)) => current.is_some_and(|current| current.version == *version),
        };
        let current = current.map(|current| Box::new(current.clone().into()));
        if holds {
            Ok(())
        } else {
            Err(Rejection::ConditionFailed { current })
        }
    }

    pub(crate) fn is_true(&self, expression: &expr::Expression, record: &Record) -> bool {
        expression.holds(&expr::Scope::of_record(record, Timestamp::new(self.now)))
    }

    fn note(&mut self, key: &Key) {
        let key = key.as_bytes().to_vec();
        if !self.written.contains(&key) {
            self.written.push(key);
        }
    }

    pub(crate) fn put(&mut self, key: &Key, value: Value, (expires_at, lease): Ends) -> Option<Record> {
        self.note(key);
        let old = self.records.get(key.as_bytes());
        let version = match old {
            None => 1,
            Some(old) if old.mod_revision == self.revision => old.version,
            Some(old) => old.version + 1,
        };
        let record = Record {
            key: key.clone(),
            value,
            create_revision: old.map_or(self.revision, |old| old.create_revision),
            mod_revision: self.revision,
            version,
            expires_at,
            lease,
        };
        self.records.insert(key.as_bytes().to_vec(), record)
    }

    pub(crate) fn delete(&mut self, key: &Key) -> Option<Record> {
        let old = self.records.remove(key.as_bytes())?;
        self.note(key);
        Some(old)
    }

    pub(crate) fn touch(&mut self, key: &Key, lifetime: Lifetime) -> Result<TouchOutcome, Rejection> {
        let ends = self.ends(lifetime)?;
        let Some(old) = self.records.get(key.as_bytes()).cloned() else {
            return Ok(TouchOutcome::NotFound);
        };
        if (old.expires_at, old.lease) != ends {
            self.put(key, old.value, ends);
        }
        Ok(TouchOutcome::Touched { expires_at: ends.0 })
    }

    fn increment(&mut self, key: &Key, delta: i64, ttl: Option<Millis>) -> Result<i64, Rejection> {
        let refused = |reason| Rejection::InvalidValue { reason };
        let ends = ttl.map(|ttl| self.ends(Lifetime::Ttl(ttl))).transpose()?;
        let old = self.records.get(key.as_bytes()).cloned();
        let number = match &old {
            None => Some(0),
            Some(old) => match (old.value.as_text(), old.value.to_document()) {
                (Some(text), _) => text.parse::<i64>().ok(),
                (_, Some(Document::Integer(integer))) => integer.as_i64(),
                (_, _) => None,
            },
        };
        let number = number.ok_or(refused(InvalidValueReason::NotAnInteger))?;
        let sum = number
            .checked_add(delta)
            .ok_or(refused(InvalidValueReason::Overflow))?;
        let is_text = old
            .as_ref()
            .is_some_and(|old| old.value.format() == ValueFormat::Text);
        let value = if is_text {
            Value::text(sum.to_string())
        } else {
            Value::document(&Document::integer(sum)).unwrap()
        };
        let kept = old.map_or((None, None), |old| (old.expires_at, old.lease));
        self.put(key, value, ends.unwrap_or(kept));
        Ok(sum)
    }
}
