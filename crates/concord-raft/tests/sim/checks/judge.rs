//! Is every answer about the whole store explained by the change log (I3, I5, I6, I7)?
//!
//! The log is one order of all changes, so nothing has to be searched for: a request that
//! changed something stands at its revision, one that only looked directly behind the
//! revision that it names, and a refusal at any revision from which it follows. What was told
//! before something else was asked must not stand behind it. That decides requests about many
//! keys at once in linear time; that the log is the same on every node, and what readers saw,
//! is checked apart. An unknown outcome is one revision that nobody else claims, or none.

use std::collections::{BTreeMap, BTreeSet};

use concord_core::view::ChangeKind;
use concord_core::{Command, Rejection, Reply};

use super::ledger::Ledger;
use super::model::{Run, is_refused};
use super::watches::State;
use crate::history::{Asked, Request, Said};

/// What was judged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Judged {
    /// Answers that the log explains.
    pub(crate) explained: u64,
    /// Answers at revisions that were compacted before anybody saw them.
    pub(crate) unseen: u64,
    /// Revisions that only a request with an unknown outcome explains.
    pub(crate) unknown_but_done: u64,
}

/// Judges all requests.
pub(crate) fn check(requests: &[Request], ledger: &Ledger) -> Result<Judged, String> {
    let mut bench = Bench {
        requests,
        asked_behind: vec![1; requests.len()],
        ledger,
        judged: Judged::default(),
        claimed: BTreeMap::new(),
    };
    let mut moments: Vec<(u64, usize, bool)> = Vec::new();
    for (number, request) in requests.iter().enumerate() {
        moments.push((request.asked_at, number, false));
        if let Some(told_at) = request.told_at {
            moments.push((told_at, number, true));
        }
    }
    moments.sort_unstable();
    // The revision behind which nothing can stand that is asked now.
    let mut known_upto = 1;
    for (_, number, is_told) in moments {
        if is_told {
            let place = bench.place(number, &requests[number], bench.asked_behind[number])?;
            known_upto = known_upto.max(place.unwrap_or(0));
        } else {
            bench.asked_behind[number] = known_upto;
        }
    }
    bench.explain_the_rest()?;
    Ok(bench.judged)
}

struct Bench<'a> {
    requests: &'a [Request],
    /// Behind which revision each must stand.
    asked_behind: Vec<u64>,
    ledger: &'a Ledger,
    judged: Judged,
    /// Who made which revision.
    claimed: BTreeMap<u64, usize>,
}

impl Bench<'_> {
    /// Where a request stands that was answered; `None`: nowhere.
    fn place(&mut self, number: usize, request: &Request, behind: u64) -> Result<Option<u64>, String> {
        let place = match (&request.asked, &request.said) {
            (_, Said::Unknown | Said::Never) => return Ok(None),
            (Asked::Command(command), Said::Reply(Reply::Rejected(rejection))) => {
                self.refusal(command, rejection, behind).map(Some)
            }
            (Asked::Command(command), Said::Reply(reply)) => self.answer(number, command, reply, behind)?,
            (Asked::Read(keys), Said::Records(revision, records)) => {
                let state = self.ledger.state(*revision);
                let is_true = state.is_none_or(|state| {
                    let stored = keys
                        .iter()
                        .map(|key| state.get(key.as_bytes()).map(|record| &**record));
                    stored.eq(records.iter().map(Option::as_ref))
                });
                self.judged.unseen += u64::from(state.is_none());
                (is_true && *revision >= behind).then_some(*revision).map(Some)
            }
            (Asked::Command(_), Said::Records(..)) | (Asked::Read(_), Said::Reply(_)) => None,
        };
        match place {
            Some(place) => {
                self.judged.explained += 1;
                Ok(place)
            }
            None => Err(format!(
                "I6: no revision from {behind} to {} explains {request:?}",
                self.ledger.last()
            )),
        }
    }

    /// An answer with a revision. Outer `None`: it cannot be true.
    fn answer(
        &mut self,
        number: usize,
        command: &Command,
        reply: &Reply,
        behind: u64,
    ) -> Result<Option<Option<u64>>, String> {
        let revision = revision_of(reply);
        if let Command::Compact { .. } = command {
            // It names the revision that it compacted, which may be any.
            return Ok(Some(None));
        }
        let changes = self.ledger.changes(revision);
        let made = self.ledger.state(revision - 1).and_then(|before| {
            let run = Run::of(before, revision, command, Some(reply))?;
            (!changes.is_empty() && revision > behind && run.makes(changes)).then_some(())
        });
        if made.is_some() && !self.claimed.contains_key(&revision) {
            self.claimed.insert(revision, number);
            return Ok(Some(Some(revision)));
        }
        let Some(state) = self.ledger.state(revision) else {
            self.judged.unseen += 1;
            return Ok((revision >= behind).then_some(Some(revision)));
        };
        let looked = looked_only(state, revision, command, reply);
        if made.is_some() && !looked {
            let other = self.claimed[&revision];
            // Some answers are true of both, such as that of a put with a delete behind it.
            if self.asked_behind[other] <= revision
                && let (Asked::Command(command), Said::Reply(reply)) =
                    (&self.requests[other].asked, &self.requests[other].said)
                && looked_only(state, revision, command, reply)
            {
                self.claimed.insert(revision, number);
                return Ok(Some(Some(revision)));
            }
            return Err(format!(
                "I7: requests {other} and {number} both made revision {revision}: {command:?}"
            ));
        }
        if looked && revision >= behind {
            return Ok(Some(Some(revision)));
        }
        // Changes before a state that was read whole are not known, nor who made them.
        let is_unseen = changes.is_empty() || self.ledger.state(revision - 1).is_none();
        if is_unseen && revision >= behind {
            self.judged.unseen += 1;
            return Ok(Some(Some(revision)));
        }
        Ok(None)
    }

    /// The first revision that gives reason for a refusal.
    fn refusal(&self, command: &Command, rejection: &Rejection, behind: u64) -> Option<u64> {
        let gives_reason = |revision: &u64| {
            let state = self.ledger.state(*revision);
            state.is_none_or(|state| is_refused(state, command, rejection))
        };
        (behind..=self.ledger.last()).find(gives_reason)
    }

    /// Each revision that nobody claims is the end of something, or one of the requests whose
    /// outcome is unknown: another one for each.
    fn explain_the_rest(&mut self) -> Result<(), String> {
        let requests = self.requests;
        let unknown: Vec<usize> = (0..requests.len())
            .filter(|number| matches!(requests[*number].said, Said::Unknown))
            .collect();
        let mut matching = Matching::default();
        for revision in 2..=self.ledger.last() {
            let changes = self.ledger.changes(revision);
            let is_end = changes.iter().all(|event| event.kind == ChangeKind::Expire);
            let Some(before) = self.ledger.state(revision - 1) else {
                continue;
            };
            if is_end || self.claimed.contains_key(&revision) {
                continue;
            }
            let could_be = |number: &usize| {
                let Asked::Command(command) = &requests[*number].asked else {
                    return false;
                };
                let run = Run::of(before, revision, command, None);
                self.asked_behind[*number] < revision && run.is_some_and(|run| run.makes(changes))
            };
            let candidates = unknown.iter().copied().filter(could_be).collect();
            if !matching.add(revision, candidates) {
                return Err(format!(
                    "I7: nobody who is left can have made revision {revision}: {changes:?}"
                ));
            }
            self.judged.unknown_but_done += 1;
        }
        Ok(())
    }
}

/// Whether a request changes nothing directly behind a revision and answers so.
fn looked_only(state: &State, revision: u64, command: &Command, reply: &Reply) -> bool {
    Run::of(state, revision + 1, command, Some(reply)).is_some_and(|run| run.is_idle())
}

/// Revisions and who could have made them, each somebody else.
#[derive(Debug, Default)]
struct Matching {
    candidates: BTreeMap<u64, Vec<usize>>,
    made: BTreeMap<usize, u64>,
}

impl Matching {
    /// Finds somebody for one revision more; those before may have to change.
    fn add(&mut self, revision: u64, candidates: Vec<usize>) -> bool {
        self.candidates.insert(revision, candidates);
        self.assign(revision, &mut BTreeSet::new())
    }

    fn assign(&mut self, revision: u64, tried: &mut BTreeSet<usize>) -> bool {
        for candidate in self.candidates[&revision].clone() {
            if !tried.insert(candidate) {
                continue;
            }
            let is_free = match self.made.get(&candidate).copied() {
                None => true,
                Some(other) => self.assign(other, tried),
            };
            if is_free {
                self.made.insert(candidate, revision);
                return true;
            }
        }
        false
    }
}

/// The revision that an answer names.
pub(crate) fn revision_of(reply: &Reply) -> u64 {
    match reply {
        Reply::Written { revision, .. }
        | Reply::Deleted { revision, .. }
        | Reply::Touched { revision, .. }
        | Reply::Incremented { revision, .. }
        | Reply::Compacted { revision }
        | Reply::Configured { revision }
        | Reply::IndexChanged { revision }
        | Reply::SubscriptionChanged { revision, .. }
        | Reply::PolicyEdited { revision, .. }
        | Reply::WrittenMany { revision }
        | Reply::DeletedMany { revision, .. }
        | Reply::TouchedMany { revision, .. }
        | Reply::Txn { revision, .. }
        | Reply::LeaseGranted { revision, .. }
        | Reply::LeaseKept { revision, .. }
        | Reply::DeletedWhere { revision, .. }
        | Reply::LeaseRevoked { revision, .. }
        | Reply::Restoring { revision, .. }
        | Reply::RestoreFailed { revision }
        | Reply::Restored { revision } => revision.get(),
        Reply::Rejected(_) => 0,
    }
}
