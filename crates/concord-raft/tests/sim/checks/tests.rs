//! The checkers accept what is right, refuse what is wrong, and agree with brute force.

use super::linearizability::{self, Verdict, step};
use super::revisions;
use super::watches::Watches;
use crate::history::{EventualRead, Operation, Outcome, Question};
use crate::random::Random;

fn operation(asked: u64, told: u64, question: Question, outcome: Outcome) -> Operation {
    let told = (outcome != Outcome::Unknown).then_some(told);
    Operation {
        node: 0,
        key: 0,
        question,
        asked,
        told,
        outcome,
        revision: None,
    }
}

fn put(asked: u64, told: u64, value: i64) -> Operation {
    operation(asked, told, Question::Put { value }, Outcome::Stored)
}

fn unknown_put(asked: u64, value: i64) -> Operation {
    operation(asked, 0, Question::Put { value }, Outcome::Unknown)
}

fn get(asked: u64, told: u64, value: Option<i64>) -> Operation {
    operation(asked, told, Question::Get, Outcome::Value(value))
}

fn add(asked: u64, told: u64, delta: i64, sum: i64) -> Operation {
    operation(asked, told, Question::Increment { delta }, Outcome::Number(sum))
}

#[track_caller]
fn accepted(history: &[Operation]) {
    assert_eq!(linearizability::check(history), Ok(()));
}

#[track_caller]
fn refused(history: &[Operation]) {
    let verdict = linearizability::check(history);
    assert!(
        matches!(verdict, Err(Verdict::NotLinearizable { .. })),
        "{verdict:?}"
    );
}

#[test]
fn a_sequence_must_be_explained_in_its_order() {
    accepted(&[]);
    accepted(&[put(1, 2, 7), get(3, 4, Some(7))]);
    refused(&[put(1, 2, 7), get(3, 4, None)]);
    refused(&[put(1, 2, 7), put(3, 4, 8), get(5, 6, Some(7))]);
}

#[test]
fn concurrent_operations_may_come_in_any_order() {
    accepted(&[put(1, 4, 7), get(2, 3, None)]);
    accepted(&[put(1, 4, 7), get(2, 3, Some(7))]);
    accepted(&[put(1, 10, 7), put(2, 9, 8), get(11, 12, Some(7))]);
    // But once one was seen, what came before it is gone.
    refused(&[put(1, 20, 7), get(2, 3, Some(7)), get(4, 5, None)]);
}

#[test]
fn an_unknown_outcome_may_be_late_or_never() {
    accepted(&[unknown_put(1, 7), get(2, 3, None), get(4, 5, None)]);
    accepted(&[unknown_put(1, 7), get(2, 3, None), get(4, 5, Some(7))]);
    // Not before it was asked, and not twice.
    refused(&[get(1, 2, Some(7)), unknown_put(3, 7)]);
    refused(&[
        unknown_put(1, 7),
        get(2, 3, Some(7)),
        put(4, 5, 8),
        get(6, 7, Some(7)),
    ]);
}

#[test]
fn an_increment_applied_twice_is_seen() {
    accepted(&[add(1, 2, 5, 5), add(3, 4, 5, 10), get(5, 6, Some(10))]);
    refused(&[add(1, 2, 5, 5), get(3, 4, Some(10))]);
    let lost = operation(1, 0, Question::Increment { delta: 5 }, Outcome::Unknown);
    accepted(&[lost, get(2, 3, Some(5))]);
    refused(&[lost, get(2, 3, Some(10))]);
}

#[test]
fn an_operation_that_never_happened_must_not_be_seen() {
    let never = operation(1, 2, Question::Put { value: 7 }, Outcome::Never);
    accepted(&[never, get(3, 4, None)]);
    refused(&[never, get(3, 4, Some(7))]);
}

#[test]
fn a_delete_says_whether_there_was_something() {
    let delete =
        |asked, told, existed| operation(asked, told, Question::Delete, Outcome::Deleted { existed });
    accepted(&[put(1, 2, 7), delete(3, 4, true), delete(5, 6, false)]);
    refused(&[put(1, 2, 7), delete(3, 4, false)]);
}

#[test]
fn keys_are_judged_apart() {
    let other = Operation {
        key: 1,
        ..get(3, 4, None)
    };
    accepted(&[put(1, 2, 7), other]);
}

/// All orders, tried one after the other: slow and plainly right.
fn brute_force(operations: &[Operation]) -> bool {
    fn search(left: &[Operation], state: Option<i64>) -> bool {
        if left.iter().all(|operation| operation.outcome == Outcome::Unknown) {
            return true;
        }
        left.iter().enumerate().any(|(number, candidate)| {
            let first_told = left.iter().filter_map(|operation| operation.told).min();
            if first_told.is_some_and(|told| told < candidate.asked) {
                return false;
            }
            let Some(next) = step(state, candidate) else {
                return false;
            };
            let mut rest = left.to_vec();
            rest.remove(number);
            search(&rest, next)
        })
    }
    search(operations, None)
}

/// A small random history: mostly true answers with overlaps, sometimes a false one.
fn random_history(random: &mut Random) -> Vec<Operation> {
    let len = random.within(1..8);
    let mut state = None;
    let mut history: Vec<Operation> = Vec::new();
    for number in 0..len {
        let question = match random.within(0..4) {
            0 => Question::Put {
                value: i64::try_from(number).unwrap() * 10,
            },
            1 => Question::Delete,
            2 => Question::Increment { delta: 1 },
            _ => Question::Get,
        };
        // It takes effect at `number * 10`, and is asked and told around that.
        let asked = (number * 10 + 20).saturating_sub(random.within(0..30));
        let told = number * 10 + 21 + random.within(0..30);
        let candidates = [
            Outcome::Stored,
            Outcome::Deleted { existed: true },
            Outcome::Deleted { existed: false },
            Outcome::Number(state.unwrap_or(0) + 1),
            Outcome::Number(1),
            Outcome::Value(state),
            Outcome::Value(None),
            Outcome::Value(Some(10)),
        ];
        let fitting = |outcome: &&Outcome| {
            matches!(
                (question, outcome),
                (Question::Put { .. }, Outcome::Stored)
                    | (Question::Delete, Outcome::Deleted { .. })
                    | (Question::Increment { .. }, Outcome::Number(_))
                    | (Question::Get, Outcome::Value(_))
            )
        };
        let candidates: Vec<_> = candidates.iter().filter(fitting).copied().collect();
        let outcome = if question.is_write() && random.chance(20) {
            Outcome::Unknown
        } else {
            *random.pick(&candidates)
        };
        let made = operation(asked * 100 + number, told * 100 + number, question, outcome);
        if let Some(next) = step(state, &made) {
            state = next;
        }
        history.push(made);
    }
    history
}

#[test]
fn the_search_agrees_with_brute_force() {
    let mut random = Random::new(1);
    let (mut good, mut bad) = (0, 0);
    for _ in 0..20_000 {
        let history = random_history(&mut random);
        let expected = brute_force(&history);
        let found = linearizability::check(&history).is_ok();
        assert_eq!(found, expected, "{history:#?}");
        if expected { good += 1 } else { bad += 1 }
    }
    assert!(good > 1_000 && bad > 1_000, "{good} accepted, {bad} refused");
}

#[test]
fn revisions_must_follow_time() {
    let at = |operation: Operation, revision| Operation {
        revision: Some(revision),
        ..operation
    };
    let check = |history: &[Operation]| revisions::check(history).is_ok();
    assert!(check(&[
        at(put(1, 2, 7), 2),
        at(get(3, 4, Some(7)), 2),
        at(put(5, 6, 8), 3)
    ]));
    assert!(check(&[at(put(1, 4, 7), 3), at(put(2, 3, 8), 2)]), "concurrent");
    assert!(
        !check(&[at(put(1, 2, 7), 2), at(get(3, 4, None), 1)]),
        "a stale read"
    );
    assert!(
        !check(&[at(put(1, 2, 7), 2), at(put(3, 4, 8), 2)]),
        "a lost write"
    );
    assert!(
        !check(&[at(put(1, 5, 7), 2), at(put(2, 4, 8), 2)]),
        "a shared revision"
    );
}

#[test]
fn a_handle_must_not_go_back_and_nodes_must_agree() {
    let read = |node, key, value, revision| EventualRead {
        node,
        life: 1,
        key,
        value,
        revision,
    };
    let check = |eventual: &[EventualRead]| revisions::check_views(&[], eventual).is_ok();
    assert!(check(&[
        read(1, 0, None, 1),
        read(1, 0, Some(2), 2),
        read(2, 0, None, 1)
    ]));
    assert!(
        !check(&[read(1, 0, None, 2), read(1, 0, None, 1)]),
        "it went back"
    );
    assert!(
        !check(&[read(1, 0, Some(1), 2), read(2, 0, Some(3), 2)]),
        "they differ"
    );
    let after_restart = EventualRead {
        life: 2,
        ..read(1, 0, None, 1)
    };
    assert!(check(&[read(1, 0, None, 2), after_restart]));
}

/// A store to which these keys were written, one a revision.
fn store_with(keys: &[&str]) -> concord_core::ReadView {
    use concord_core::machine::Machine as _;
    let session = concord_core::SessionId::new(1);
    let mut store = concord_core::Store::empty();
    let put = |key: &&str| concord_core::Command::Put {
        key: concord_core::Key::try_from(*key).unwrap(),
        value: concord_core::Value::text("x"),
        lifetime: concord_core::Lifetime::Forever,
        condition: None,
        return_previous: false,
    };
    let requests = keys.iter().map(|key| put(key).to_bytes()).collect();
    let groups = [(true, Vec::new()), (false, requests)].map(|(opens, requests)| concord_core::Group {
        session,
        opens,
        acked_below: 1,
        first_sequence: 1,
        requests,
    });
    let batch = concord_core::Batch {
        proposed_at: concord_core::Timestamp::new(1),
        groups: groups.into(),
    };
    let meta = concord_core::Meta {
        index: concord_core::LogIndex::new(1),
        term: concord_core::Term::new(1),
    };
    store.apply(meta, &batch);
    store.view()
}

/// D-EVT-2: a replica that tells another change at the same place is found out.
#[test]
fn watchers_of_different_nodes_must_see_the_same() {
    let mut watches = Watches::default();
    watches.look(0, &store_with(&["a", "b"])).unwrap();
    watches.look(1, &store_with(&["a", "b", "c"])).unwrap();
    watches.look(0, &store_with(&["a", "b", "c"])).unwrap();
    assert_eq!(
        watches.compared, 6,
        "three watchers, three changes, each new to one of them"
    );
    let error = watches.look(2, &store_with(&["a", "x", "c"])).unwrap_err();
    assert!(error.starts_with("D-EVT-2"), "{error}");
}
