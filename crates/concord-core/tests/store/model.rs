//! The smallest model that could be right, and nothing clever: a map of records, a copy of it
//! for every revision, and a list of everything that happened.

use std::collections::BTreeMap;

use concord_core::*;

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

    fn write(&mut self, key: &Key, value: Value, expires_at: Option<Timestamp>) -> Option<Record> {
        self.revision += 1;
        let mod_revision = Revision::new(self.revision);
        let old = self.live.get(key.as_bytes());
        let record = Record {
            key: key.clone(),
            value,
            create_revision: old.map_or(mod_revision, |old| old.create_revision),
            mod_revision,
            version: old.map_or(1, |old| old.version + 1),
            expires_at,
            lease: None,
        };
        let previous = self.set(key.as_bytes(), Some(record), ChangeKind::Put);
        self.states.push(self.live.clone());
        previous
    }

    pub(crate) fn apply(&mut self, command: &Command) -> Reply {
        let deadline = |ttl: &Option<Millis>| ttl.map(|ttl| Timestamp::new(self.now + ttl.get()));
        if let Command::Put { ttl, .. } | Command::Touch { ttl, .. } | Command::Increment { ttl, .. } =
            command
            && ttl.is_some_and(|ttl| ttl.get() == 0)
        {
            return Reply::Rejected(Rejection::InvalidTtl { ttl_ms: 0 });
        }
        match command {
            Command::Put {
                key,
                value,
                ttl,
                return_previous,
            } => {
                let expires_at = deadline(ttl);
                let previous = self.write(key, value.clone(), expires_at);
                Reply::Written {
                    revision: self.at(),
                    previous: previous.filter(|_| *return_previous),
                }
            }
            Command::Delete { key, return_previous } => {
                if !self.live.contains_key(key.as_bytes()) {
                    return Reply::Deleted {
                        revision: self.at(),
                        existed: false,
                        previous: None,
                    };
                }
                self.revision += 1;
                let previous = self.set(key.as_bytes(), None, ChangeKind::Delete);
                self.states.push(self.live.clone());
                let previous = previous.filter(|_| *return_previous);
                Reply::Deleted {
                    revision: self.at(),
                    existed: true,
                    previous,
                }
            }
            Command::Touch { key, ttl } => {
                let expires_at = deadline(ttl);
                let Some(record) = self.live.get(key.as_bytes()).cloned() else {
                    return Reply::Rejected(Rejection::NotFound);
                };
                if record.expires_at != expires_at {
                    self.write(key, record.value, expires_at);
                }
                Reply::Touched {
                    revision: self.at(),
                    expires_at,
                }
            }
            Command::Increment { key, delta, ttl } => {
                let expires_at = deadline(ttl);
                self.increment(key, *delta, expires_at)
            }
            Command::Compact { revision } => self.compact(*revision),
            Command::Configure(settings) => {
                self.keep_revisions = settings.compaction.keep_revisions;
                Reply::Configured { revision: self.at() }
            }
        }
    }

    fn compact(&mut self, revision: Revision) -> Reply {
        if revision.get() <= self.compact_revision {
            let compact_revision = Revision::new(self.compact_revision);
            return Reply::Rejected(Rejection::Compacted { compact_revision });
        }
        if revision.get() > self.revision {
            return Reply::Rejected(Rejection::FutureRevision { revision: self.at() });
        }
        self.compact_revision = revision.get();
        Reply::Compacted { revision }
    }

    fn increment(&mut self, key: &Key, delta: i64, expires_at: Option<Timestamp>) -> Reply {
        let refused = |reason| Reply::Rejected(Rejection::InvalidValue { reason });
        let old = self.live.get(key.as_bytes()).cloned();
        let number = match &old {
            None => Some(0),
            Some(old) => match (old.value.as_text(), old.value.to_document()) {
                (Some(text), _) => text.parse::<i64>().ok(),
                (_, Some(Document::Integer(integer))) => integer.as_i64(),
                (_, _) => None,
            },
        };
        let Some(number) = number else {
            return refused(reply::InvalidValueReason::NotAnInteger);
        };
        let Some(sum) = number.checked_add(delta) else {
            return refused(reply::InvalidValueReason::Overflow);
        };
        let is_text = old
            .as_ref()
            .is_some_and(|old| old.value.format() == ValueFormat::Text);
        let value = if is_text {
            Value::text(sum.to_string())
        } else {
            Value::document(&Document::integer(sum)).unwrap()
        };
        let expires_at = expires_at.or(old.and_then(|old| old.expires_at));
        self.write(key, value, expires_at);
        Reply::Incremented {
            revision: self.at(),
            value: sum,
        }
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
