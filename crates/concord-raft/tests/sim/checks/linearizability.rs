//! Is there an order of all operations on a key that explains every answer (I5, I6, I7)?
//!
//! Wing and Gong's search in Lowe's form: take any operation that may come next, undo when
//! stuck, and remember which sets of taken operations with which state led nowhere. Keys
//! are independent, so each has a search of its own. Answers carry revisions, and the order
//! must be theirs where they are known; that leaves little to choose.
//!
//! An operation with an unknown outcome may be taken at any time after it was asked, or
//! never. One that certainly did not happen is left out: if it did happen after all, some
//! answer will not be explained, because values are unique. What is about several keys at once is
//! judged against the change log instead (`judge`), which needs no search.
//!
//! Unknown outcomes make the search long, so it leaves out orders that explain nothing that
//! another does not explain as well: an unknown write that is overwritten before anybody looked
//! (it may as well never have happened), and of equal unknown writes all but the one that was
//! asked first (it could come wherever the others could).

use std::collections::{BTreeMap, HashSet};

use crate::history::{Operation, Outcome, Question};
use crate::random::Random;

/// Steps after which a search is given up; histories are sized so that it does not come to that.
const STEPS_MAX: usize = 3_000_000;

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
        | Outcome::Unmet(_)
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
        Question::PutIf { value, expected } if expected == state => (Outcome::Stored, Some(value)),
        Question::PutIf { .. } => (Outcome::Unmet(state), state),
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

/// In which order known answers must be taken, as far as revisions say: a write makes its
/// revision, what only looked at it comes after.
struct Ranks {
    of: Vec<Option<usize>>,
    /// Operations of each rank that are not taken.
    left: Vec<usize>,
    /// No lower rank has any left.
    lowest: usize,
}

impl Ranks {
    fn new(operations: &[Operation]) -> Self {
        let place = |operation: &Operation| {
            let looked_only = match operation.outcome {
                Outcome::Stored | Outcome::Number(_) => false,
                Outcome::Deleted { existed } => !existed,
                Outcome::Refused | Outcome::Unmet(_) | Outcome::Value(_) => true,
                Outcome::Unknown | Outcome::Never => return None,
            };
            Some((operation.revision?, looked_only))
        };
        let mut places: Vec<_> = operations.iter().filter_map(place).collect();
        places.sort_unstable();
        places.dedup();
        let rank = |operation| places.binary_search(&place(operation)?).ok();
        let of: Vec<_> = operations.iter().map(rank).collect();
        let mut left = vec![0; places.len()];
        for rank in of.iter().flatten() {
            left[*rank] += 1;
        }
        Self { of, left, lowest: 0 }
    }

    fn allows(&self, number: usize) -> bool {
        self.of[number].is_none_or(|rank| rank == self.lowest)
    }

    fn take(&mut self, number: usize) {
        if let Some(rank) = self.of[number] {
            self.left[rank] -= 1;
            while self.left.get(self.lowest) == Some(&0) {
                self.lowest += 1;
            }
        }
    }

    fn put_back(&mut self, number: usize) {
        if let Some(rank) = self.of[number] {
            self.left[rank] += 1;
            self.lowest = self.lowest.min(rank);
        }
    }
}

/// A point of the search: what may come next there, and what was tried.
struct Choice {
    candidates: Vec<usize>,
    tried: usize,
    /// What was taken to come here, and the state before it.
    taken: Option<(usize, State)>,
}

/// What could be taken now: asked before anybody left was told. Known outcomes first: an
/// unknown one is needed only where they cannot go on.
///
/// `unseen` says that the last one taken was an unknown write, so that nobody has seen yet what
/// it made: what would hide that again is left out.
///
/// An answer that is true here and changes nothing is taken at once: nothing becomes possible by
/// taking it later.
fn candidates(
    events: &Events,
    ranks: &Ranks,
    operations: &[Operation],
    (state, unseen): (State, bool),
) -> Vec<usize> {
    let mut known = Vec::new();
    let mut unknown: Vec<usize> = Vec::new();
    let mut place = events.next[HEAD];
    while place != HEAD {
        let Event::Asked(number) = events.events[place] else {
            break;
        };
        place = events.next[place];
        let operation = &operations[number];
        if unseen && hides(operation) {
            continue;
        }
        if operation.outcome != Outcome::Unknown {
            if ranks.allows(number) {
                if looks_only(operation) && step(state, operation) == Some(state) {
                    return vec![number];
                }
                known.push(number);
            }
        } else if !unknown
            .iter()
            .any(|earlier| operations[*earlier].question == operation.question)
        {
            unknown.push(number);
        }
    }
    known.append(&mut unknown);
    known
}

/// Whether a known answer says that nothing was changed.
fn looks_only(operation: &Operation) -> bool {
    match operation.outcome {
        Outcome::Deleted { existed } => !existed,
        Outcome::Refused | Outcome::Unmet(_) | Outcome::Value(_) => true,
        Outcome::Stored | Outcome::Number(_) | Outcome::Unknown | Outcome::Never => false,
    }
}

/// Whether an operation answers the same and leaves the same, whatever was there before.
fn hides(operation: &Operation) -> bool {
    match operation.question {
        Question::Put { .. } => true,
        Question::Delete => operation.outcome == Outcome::Unknown,
        Question::Increment { .. } | Question::PutIf { .. } | Question::Get => false,
    }
}

fn check_key(key: usize, operations: &[Operation]) -> Result<(), Verdict> {
    let known = |number: usize| usize::from(operations[number].outcome != Outcome::Unknown);
    let all: usize = (0..operations.len()).map(known).sum();
    let mut left = all;
    let mut fewest_left = all;
    let mut events = Events::new(operations);
    let mut ranks = Ranks::new(operations);
    let mut random = Random::new(1);
    // A set of operations is the exclusive or of its members' numbers.
    let marks: Vec<u64> = operations.iter().map(|_| random.next()).collect();
    let (mut state, mut set): (State, u64) = (None, 0);
    let mut seen: HashSet<(u64, State, bool)> = HashSet::new();
    let root = Choice {
        candidates: candidates(&events, &ranks, operations, (None, false)),
        tried: 0,
        taken: None,
    };
    let mut trail = vec![root];
    for _ in 0..STEPS_MAX {
        if left == 0 {
            return Ok(());
        }
        let Some(choice) = trail.last_mut() else {
            return Err(Verdict::NotLinearizable {
                key,
                operations: all,
                last_explained: all - fewest_left,
            });
        };
        let Some(number) = choice.candidates.get(choice.tried).copied() else {
            // Nothing is left to try here: undo what led here.
            if let Some((number, before)) = trail.pop().and_then(|choice| choice.taken) {
                (state, set) = (before, set ^ marks[number]);
                left += known(number);
                ranks.put_back(number);
                events.put_back(number);
            }
            continue;
        };
        choice.tried += 1;
        let Some(next) = step(state, &operations[number]) else {
            continue;
        };
        let unseen = operations[number].outcome == Outcome::Unknown;
        // Of what nobody was told and what changed nothing, nothing follows.
        if unseen && next == state {
            continue;
        }
        // What may follow depends on the last one too.
        if !seen.insert((set ^ marks[number], next, unseen)) {
            continue;
        }
        let taken = Some((number, state));
        (state, set) = (next, set ^ marks[number]);
        left -= known(number);
        fewest_left = fewest_left.min(left);
        ranks.take(number);
        events.lift(number);
        trail.push(Choice {
            candidates: candidates(&events, &ranks, operations, (state, unseen)),
            tried: 0,
            taken,
        });
    }
    Err(Verdict::Undecided { key })
}
