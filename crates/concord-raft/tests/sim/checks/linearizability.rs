//! Is there an order of all operations on a key that explains every answer (I5, I6, I7)?
//!
//! Wing and Gong's search in Lowe's form: take any operation that may come next, undo when
//! stuck, and remember which sets of taken operations with which state led nowhere. Keys
//! are independent, so each has a search of its own.
//!
//! An operation with an unknown outcome may be taken at any time after it was asked, or
//! never. One that certainly did not happen is left out: if it did happen after all, some
//! answer will not be explained, because values are unique.

use std::collections::{BTreeMap, HashSet};

use crate::history::{Operation, Outcome, Question};

/// Steps after which a search is given up; histories are sized so that it does not come to that.
const STEPS_MAX: usize = 20_000_000;

/// What a key holds.
type State = Option<i64>;

/// Why a history is not accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// No order explains the answers about this key.
    NotLinearizable {
        key: usize,
        operations: usize,
        last_explained: usize,
    },
    /// The search took too long: the history must be shorter.
    Undecided { key: usize },
}

/// Checks every key's part of a history.
pub(crate) fn check(history: &[Operation]) -> Result<(), Verdict> {
    let mut by_key: BTreeMap<usize, Vec<Operation>> = BTreeMap::new();
    for operation in history {
        if is_evidence(operation) {
            by_key.entry(operation.key).or_default().push(*operation);
        }
    }
    by_key
        .into_iter()
        .try_for_each(|(key, operations)| check_key(key, &operations))
}

/// What says something: not what never happened, nor reads without an answer.
fn is_evidence(operation: &Operation) -> bool {
    match operation.outcome {
        Outcome::Never => false,
        Outcome::Unknown => operation.question.is_write(),
        Outcome::Stored
        | Outcome::Deleted { .. }
        | Outcome::Number(_)
        | Outcome::Refused
        | Outcome::Value(_) => true,
    }
}

/// What the operation makes of the state, if its answer can be true there.
pub(crate) fn step(state: State, operation: &Operation) -> Option<State> {
    let known = operation.outcome != Outcome::Unknown;
    let (expected, next) = match operation.question {
        Question::Put { value } => (Outcome::Stored, Some(value)),
        Question::Delete => (
            Outcome::Deleted {
                existed: state.is_some(),
            },
            None,
        ),
        Question::Increment { delta } => match state.unwrap_or(0).checked_add(delta) {
            Some(sum) => (Outcome::Number(sum), Some(sum)),
            None => (Outcome::Refused, state),
        },
        Question::Get => (Outcome::Value(state), state),
    };
    (!known || expected == operation.outcome).then_some(next)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    Asked(usize),
    Told(usize),
}

/// The events of one key in order, as a doubly linked list from which taken operations are
/// lifted and into which undone ones are put back.
struct Events {
    events: Vec<Event>,
    next: Vec<usize>,
    previous: Vec<usize>,
    /// Where each operation's events are.
    asked_at: Vec<usize>,
    told_at: Vec<Option<usize>>,
}

/// The list's head; events are numbered from 1. Its successor is the first event.
const HEAD: usize = 0;

impl Events {
    fn new(operations: &[Operation]) -> Self {
        let mut moments: Vec<(u64, Event)> = Vec::new();
        for (number, operation) in operations.iter().enumerate() {
            moments.push((operation.asked, Event::Asked(number)));
            if operation.outcome != Outcome::Unknown {
                let told = operation.told.expect("a known outcome was told");
                moments.push((told, Event::Told(number)));
            }
        }
        moments.sort_unstable_by_key(|(moment, _)| *moment);
        let mut asked_at = vec![HEAD; operations.len()];
        let mut told_at = vec![None; operations.len()];
        let mut events = vec![Event::Asked(usize::MAX)];
        for (place, (_, event)) in (1..).zip(moments) {
            events.push(event);
            match event {
                Event::Asked(number) => asked_at[number] = place,
                Event::Told(number) => told_at[number] = Some(place),
            }
        }
        let len = events.len();
        Self {
            events,
            next: (0..len).map(|place| (place + 1) % len).collect(),
            previous: (0..len).map(|place| (place + len - 1) % len).collect(),
            asked_at,
            told_at,
        }
    }

    fn places(&self, number: usize) -> impl Iterator<Item = usize> + use<> {
        [Some(self.asked_at[number]), self.told_at[number]]
            .into_iter()
            .flatten()
    }

    fn lift(&mut self, number: usize) {
        for place in self.places(number) {
            let (before, after) = (self.previous[place], self.next[place]);
            self.next[before] = after;
            self.previous[after] = before;
        }
    }

    fn put_back(&mut self, number: usize) {
        // In the opposite order of lifting, so that the neighbours are those of that time.
        let mut places: Vec<_> = self.places(number).collect();
        places.reverse();
        for place in places {
            let (before, after) = (self.previous[place], self.next[place]);
            self.next[before] = place;
            self.previous[after] = place;
        }
    }
}

fn check_key(key: usize, operations: &[Operation]) -> Result<(), Verdict> {
    let mut events = Events::new(operations);
    let mut state: State = None;
    let mut taken = vec![0_u64; operations.len().div_ceil(64)];
    let mut trail: Vec<(usize, State)> = Vec::new();
    let mut seen: HashSet<(Vec<u64>, State)> = HashSet::new();
    // Known operations that are still to be explained.
    let mut left = operations
        .iter()
        .filter(|operation| operation.outcome != Outcome::Unknown)
        .count();
    let all = left;
    let mut fewest_left = left;
    let mut place = events.next[HEAD];
    for _ in 0..STEPS_MAX {
        if left == 0 {
            return Ok(());
        }
        match (place != HEAD).then(|| events.events[place]) {
            Some(Event::Asked(number)) => {
                let next = step(state, &operations[number]).filter(|next| {
                    taken[number / 64] |= 1 << (number % 64);
                    let new = seen.insert((taken.clone(), *next));
                    if !new {
                        taken[number / 64] &= !(1 << (number % 64));
                    }
                    new
                });
                let Some(next) = next else {
                    place = events.next[place];
                    continue;
                };
                trail.push((number, state));
                state = next;
                events.lift(number);
                left -= usize::from(operations[number].outcome != Outcome::Unknown);
                fewest_left = fewest_left.min(left);
                place = events.next[HEAD];
            }
            // Somebody was told before any order explained it: undo the last choice.
            Some(Event::Told(_)) | None => {
                let Some((number, before)) = trail.pop() else {
                    return Err(Verdict::NotLinearizable {
                        key,
                        operations: all,
                        last_explained: all - fewest_left,
                    });
                };
                state = before;
                taken[number / 64] &= !(1 << (number % 64));
                left += usize::from(operations[number].outcome != Outcome::Unknown);
                events.put_back(number);
                place = events.next[events.asked_at[number]];
            }
        }
    }
    Err(Verdict::Undecided { key })
}
