//! What the log should hold: the smallest model of it, and what was asked and promised.

use std::collections::BTreeMap;

use concord_raft::types::{Entry, LogId, Vote};

/// One thing asked of the log.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    Entry(Entry),
    Vote(Vote),
    Truncate(Option<LogId>),
    Purge(LogId),
}

/// The log after some events.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Model {
    pub(crate) vote: Option<Vote>,
    pub(crate) purged: Option<LogId>,
    pub(crate) last: Option<LogId>,
    pub(crate) entries: BTreeMap<u64, Entry>,
}

impl Model {
    pub(crate) fn apply(&mut self, event: &Event) {
        match event {
            Event::Entry(entry) => {
                self.last = Some(entry.log_id);
                self.entries.insert(entry.log_id.index, entry.clone());
            }
            Event::Vote(vote) => self.vote = Some(*vote),
            Event::Truncate(last) => {
                let end = last.map_or(0, |last| last.index + 1);
                self.entries.split_off(&end);
                self.last = self
                    .entries
                    .values()
                    .next_back()
                    .map(|entry| entry.log_id)
                    .or(self.purged);
            }
            Event::Purge(upto) => {
                self.entries = self.entries.split_off(&(upto.index + 1));
                self.purged = Some(*upto);
                if self.last.is_none_or(|last| last.index < upto.index) {
                    self.last = Some(*upto);
                }
            }
        }
    }
}

/// What was asked of a log, and how much of it was acknowledged.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    pub(crate) events: Vec<Event>,
    /// The first so many events were acknowledged.
    pub(crate) acked: usize,
    /// The log after them.
    acked_model: Model,
    /// The log after all events.
    pub(crate) model: Model,
}

impl History {
    pub(crate) fn ask(&mut self, event: Event) -> usize {
        self.model.apply(&event);
        self.events.push(event);
        self.events.len()
    }

    pub(crate) fn ack(&mut self, upto: usize) {
        while self.acked < upto {
            self.acked_model.apply(&self.events[self.acked]);
            self.acked += 1;
        }
    }

    /// Continues from what a recovery found.
    pub(crate) fn restart(&mut self, found: Model) {
        *self = Self {
            events: Vec::new(),
            acked: 0,
            acked_model: found.clone(),
            model: found,
        };
    }

    /// The events that may or may not be in the log, and the log before them.
    pub(crate) fn promise(&self) -> Promise {
        Promise {
            model: self.acked_model.clone(),
            open: self.events[self.acked..].to_vec(),
        }
    }
}

/// What a recovered log must be: all that was acknowledged, and a front part of the rest.
#[derive(Clone, Debug)]
pub(crate) struct Promise {
    model: Model,
    open: Vec<Event>,
}

impl Promise {
    pub(crate) fn exactly(model: Model) -> Self {
        Self {
            model,
            open: Vec::new(),
        }
    }

    pub(crate) fn allows(&self, found: &Model) -> bool {
        let mut model = self.model.clone();
        if model == *found {
            return true;
        }
        self.open.iter().any(|event| {
            model.apply(event);
            model == *found
        })
    }

    /// Whether `found` is the log after some events of which none may have been acknowledged.
    pub(crate) fn explain(&self, found: &Model) -> String {
        format!(
            "promised vote {:?} purged {:?} last {:?} ({} entries, {} open events), found vote {:?} purged {:?} last {:?} ({} entries)",
            self.model.vote,
            self.model.purged,
            self.model.last,
            self.model.entries.len(),
            self.open.len(),
            found.vote,
            found.purged,
            found.last,
            found.entries.len(),
        )
    }
}
