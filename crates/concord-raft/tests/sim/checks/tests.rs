//! The checkers accept what is right, refuse what is wrong, and agree with brute force.

use concord_core::ids::{LeaseId, Millis};
use concord_core::{
    Command, Compare, Key, Keys, Lifetime, Operation as Step, PutItem, Reply, Revision, Test, Txn, Value,
};

use super::judge::{self, Judged};
use super::ledger::Ledger;
use super::linearizability::{self, Verdict, step};
use super::revisions;
use super::watches::Watches;
use super::{leases, locks};
use crate::history::{Acquired, Asked, EventualRead, Operation, Outcome, Question, Request, Said};
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

pub(super) fn put_of(key: &str, value: &str) -> Command {
    Command::Put {
        key: Key::try_from(key).unwrap(),
        value: Value::text(value).into(),
        lifetime: Lifetime::Forever,
        condition: None,
        return_previous: false,
    }
}

/// A store to which these keys were written, one a revision.
fn store_with(keys: &[&str]) -> concord_core::ReadView {
    let commands: Vec<_> = keys.iter().map(|key| put_of(key, "x")).collect();
    store_after(&commands).0
}

/// A store that was asked for this, at once.
pub(super) fn store_after(commands: &[Command]) -> (concord_core::ReadView, Vec<Reply>) {
    store_at(commands, 1)
}

/// The same, some time later.
fn store_at(commands: &[Command], now: u64) -> (concord_core::ReadView, Vec<Reply>) {
    use concord_core::machine::Machine as _;
    let session = concord_core::SessionId::new(1);
    let mut store = concord_core::Store::empty();
    let requests = commands.iter().map(Command::to_bytes).collect();
    let groups = [(true, Vec::new()), (false, requests)].map(|(opens, requests)| concord_core::Group {
        session,
        opens,
        acked_below: 1,
        first_sequence: 1,
        requests,
    });
    let mut replies = Vec::new();
    for (number, at, groups) in [(1, 1, groups.to_vec()), (2, now, Vec::new())] {
        let batch = concord_core::Batch {
            proposed_at: concord_core::Timestamp::new(at),
            groups,
        };
        let meta = concord_core::Meta {
            index: concord_core::LogIndex::new(number),
            term: concord_core::Term::new(1),
        };
        replies.extend(store.apply(meta, &batch));
    }
    (store.view(), replies)
}

/// D-EVT-2: a replica that tells another change at the same place is found out.
#[test]
fn watchers_of_different_nodes_must_see_the_same() {
    let watches = Watches::default();
    watches.look(0, &store_with(&["a", "b"])).unwrap();
    watches.look(1, &store_with(&["a", "b", "c"])).unwrap();
    watches.look(0, &store_with(&["a", "b", "c"])).unwrap();
    assert_eq!(
        watches.with(|book| book.compared),
        6,
        "three watchers, three changes, each new to one of them"
    );
    let error = watches.look(2, &store_with(&["a", "x", "c"])).unwrap_err();
    assert!(error.starts_with("D-EVT-2"), "{error}");
}

/// A history in which everything was asked and told one after the other, and the ledger of
/// the store that answered.
fn true_history() -> (Vec<Request>, Ledger) {
    let put_item = |key: &str, value: &str| Step::Put {
        item: PutItem {
            key: Key::try_from(key).unwrap(),
            value: Value::text(value).into(),
            lifetime: Lifetime::Lease(LeaseId::new(7)),
        },
        return_previous: false,
    };
    let key = |key: &str| Key::try_from(key).unwrap();
    let commands = [
        Command::LeaseGrant {
            lease: LeaseId::new(7),
            ttl: Millis::new(1_000),
        },
        put_of("a", "1"),
        Command::Txn(Txn {
            compares: vec![Compare {
                keys: Keys::One(key("a")),
                test: Test::Exists(true),
            }],
            success: vec![put_item("b", "2"), put_item("c", "3")],
            failure: Vec::new(),
        }),
        Command::Delete {
            key: key("a"),
            condition: None,
            return_previous: false,
        },
        Command::Put {
            key: key("b"),
            value: Value::text("4").into(),
            lifetime: Lifetime::Forever,
            condition: Some(concord_core::Condition::Absent),
            return_previous: false,
        },
        Command::LeaseRevoke {
            lease: LeaseId::new(7),
        },
    ];
    let (view, replies) = store_after(&commands);
    // The opening group has no requests, so there is one reply for each.
    let requests = (1..).step_by(2).zip(commands.into_iter().zip(replies));
    let requests = requests.map(|(asked_at, (command, reply))| Request {
        asked: Asked::Command(command),
        asked_at,
        told_at: Some(asked_at + 1),
        said: Said::Reply(reply),
    });
    (requests.collect(), ledger_of(&view))
}

fn ledger_of(view: &concord_core::ReadView) -> Ledger {
    let watches = Watches::default();
    watches.look(0, view).unwrap();
    watches.check().unwrap();
    watches.with(|book| Ledger::new(book)).unwrap()
}

#[track_caller]
fn judged_wrong(requests: &[Request], ledger: &Ledger, kind: &str) {
    let error = judge::check(requests, ledger).unwrap_err();
    assert!(error.starts_with(kind), "{error}");
}

#[test]
fn true_answers_about_many_keys_are_explained() {
    let (mut requests, ledger) = true_history();
    let all = Judged {
        explained: 6,
        ..Judged::default()
    };
    assert_eq!(judge::check(&requests, &ledger), Ok(all));
    // An unknown outcome explains what it has done.
    requests[2].said = Said::Unknown;
    requests[2].told_at = None;
    let judged = judge::check(&requests, &ledger).unwrap();
    assert_eq!((judged.explained, judged.unknown_but_done), (5, 1));
}

#[test]
fn false_answers_about_many_keys_are_found() {
    let (requests, ledger) = true_history();
    let change = |number: usize, change: &dyn Fn(&mut Request)| {
        let mut requests = requests.clone();
        change(&mut requests[number]);
        requests
    };
    let never = change(2, &|request| request.said = Said::Never);
    judged_wrong(&never, &ledger, "I7");

    let refused_compare = change(2, &|request| {
        if let Said::Reply(Reply::Txn { outcome, .. }) = &mut request.said {
            outcome.succeeded = false;
            outcome.results.clear();
        }
    });
    judged_wrong(&refused_compare, &ledger, "I6");

    let late = change(3, &|request| {
        if let Said::Reply(Reply::Deleted { revision, .. }) = &mut request.said {
            *revision = revision.next();
        }
    });
    judged_wrong(&late, &ledger, "I6");

    let other_reason = change(4, &|request| {
        if let Said::Reply(Reply::Rejected(concord_core::Rejection::ConditionFailed { current })) =
            &mut request.said
        {
            *current = None;
        }
    });
    judged_wrong(&other_reason, &ledger, "I6");

    let half = change(5, &|request| {
        if let Said::Reply(Reply::LeaseRevoked { keys, .. }) = &mut request.said {
            *keys = 1;
        }
    });
    judged_wrong(&half, &ledger, "I6");

    let mut twice = requests.clone();
    twice.push(Request {
        asked_at: 100,
        told_at: Some(101),
        ..requests[1].clone()
    });
    judged_wrong(&twice, &ledger, "I");

    // What was asked after the revoke was told cannot have happened before it.
    let mut stale = requests.clone();
    stale.push(Request {
        asked: Asked::Read(vec![Key::try_from("b").unwrap()]),
        asked_at: 100,
        told_at: Some(101),
        said: Said::Records(2, vec![None]),
    });
    judged_wrong(&stale, &ledger, "I6");
}

/// A put with a delete behind it says the same whether it removed something or nothing.
#[test]
fn an_answer_that_is_true_of_two_places_does_not_take_anothers() {
    let key = || Key::try_from("a").unwrap();
    let put = Step::Put {
        item: PutItem {
            key: key(),
            value: Value::text("2").into(),
            lifetime: Lifetime::Forever,
        },
        return_previous: false,
    };
    let delete = Step::Delete {
        keys: Keys::One(key()),
        return_previous: false,
    };
    let commands = [
        put_of("a", "1"),
        Command::DeleteMany { keys: vec![key()] },
        Command::Txn(Txn {
            compares: Vec::new(),
            success: vec![put, delete],
            failure: Vec::new(),
        }),
    ];
    let (view, replies) = store_after(&commands);
    // All at once, and the last was told first.
    let told = [7, 9, 8];
    let requests = commands.into_iter().zip(replies).zip(told);
    let requests: Vec<_> = requests
        .map(|((command, reply), told_at)| Request {
            asked: Asked::Command(command),
            asked_at: told_at - 6,
            told_at: Some(told_at),
            said: Said::Reply(reply),
        })
        .collect();
    assert_eq!(judge::check(&requests, &ledger_of(&view)).unwrap().explained, 3);
}

#[test]
fn two_unknown_requests_are_not_one_change() {
    let (view, _) = store_after(&[put_of("a", "1"), put_of("a", "1")]);
    let ledger = ledger_of(&view);
    let unknown = Request {
        asked: Asked::Command(put_of("a", "1")),
        asked_at: 1,
        told_at: None,
        said: Said::Unknown,
    };
    judged_wrong(std::slice::from_ref(&unknown), &ledger, "I7");
    let judged = judge::check(&[unknown.clone(), unknown], &ledger).unwrap();
    assert_eq!(judged.unknown_but_done, 2);
}

#[test]
fn a_lease_that_is_gone_serves_nobody() {
    let (mut requests, ledger) = true_history();
    let clock = std::collections::BTreeMap::new();
    assert_eq!(leases::check(&requests, &ledger, &clock), Ok(0));
    requests.push(Request {
        asked: Asked::Command(Command::LeaseKeepAlive {
            lease: LeaseId::new(7),
        }),
        asked_at: 100,
        told_at: Some(101),
        said: Said::Reply(Reply::LeaseKept {
            revision: Revision::new(5),
            lease: LeaseId::new(7),
            ttl: Millis::new(1_000),
            expires_at: concord_core::Timestamp::new(1_001),
        }),
    });
    let error = leases::check(&requests, &ledger, &clock).unwrap_err();
    assert!(error.starts_with("I19"), "{error}");
}

/// Two keys on a lease of a second, and one that lives for a second, when their time is over.
fn what_has_ended() -> Watches {
    let put = |name: &str, lifetime| Command::Put {
        key: Key::try_from(name).unwrap(),
        value: Value::text("x").into(),
        lifetime,
        condition: None,
        return_previous: false,
    };
    let (lease, ttl) = (LeaseId::new(7), Millis::new(1_000));
    let commands = [
        Command::LeaseGrant { lease, ttl },
        put("a", Lifetime::Lease(lease)),
        put("b", Lifetime::Lease(lease)),
        put("c", Lifetime::Ttl(Millis::new(500))),
    ];
    let watches = Watches::default();
    watches.look(0, &store_at(&commands, 5_000).0).unwrap();
    watches
}

#[test]
fn an_end_before_its_time_is_found() {
    let watches = what_has_ended();
    let ledger = watches.with(|book| Ledger::new(book)).unwrap();
    let seen_at = |now| leases::check(&[], &ledger, &[(ledger.last(), now)].into());
    assert_eq!(seen_at(5_000), Ok(1));
    let error = seen_at(400).unwrap_err();
    assert!(error.starts_with("I17"), "{error}");
}

#[test]
fn a_lease_that_leaves_a_key_behind_is_found() {
    let watches = what_has_ended();
    watches.with(|book| {
        let (place, event) = book.told.last_key_value().unwrap();
        assert_eq!(event.key, b"b", "the lease goes after the key");
        let place = *place;
        book.told.remove(&place);
    });
    let ledger = watches.with(|book| Ledger::new(book)).unwrap();
    let error = leases::check(&[], &ledger, &[(ledger.last(), 5_000)].into()).unwrap_err();
    assert!(error.starts_with("I19"), "{error}");
}

/// A change log that does not hold together is no ledger.
#[test]
fn false_records_in_the_change_log_are_found() {
    for spoil in [
        |event: &mut super::watches::Event| event.previous = None,
        |event: &mut super::watches::Event| event.record = event.previous.clone(),
    ] {
        let watches = Watches::default();
        let (view, _) = store_after(&[put_of("a", "1"), put_of("a", "2")]);
        watches.look(0, &view).unwrap();
        watches.with(|book| spoil(book.told.get_mut(&(3, 0)).unwrap()));
        let error = watches.with(|book| Ledger::new(book)).unwrap_err();
        assert!(error.starts_with("I3"), "{error}");
    }
}

/// D-REC-1, D-REC-3: tokens belong to one holder each and grow; nothing follows under an older one.
#[test]
fn locks_that_are_held_twice_or_written_under_old_tokens_are_found() {
    let wanters = [put_of("lock:0/1", ""), put_of("lock:0/2", "")];
    let ledger = ledger_of(&store_after(&wanters).0);
    let holder = |key: &str, token, revision| Acquired {
        lock: b"lock:0/".to_vec(),
        key: key.as_bytes().to_vec(),
        token,
        revision,
    };
    let first = holder("lock:0/1", 2, 2);
    assert_eq!(locks::check(&[first.clone(), first.clone()], &ledger), Ok(0));
    let error = locks::check(&[first.clone(), holder("lock:0/2", 3, 3)], &ledger).unwrap_err();
    assert!(error.contains("was not the holder"), "{error}");

    let fenced = [put_of("fenced:0", "5"), put_of("fenced:0", "4")];
    let error = locks::check(&[], &ledger_of(&store_after(&fenced).0)).unwrap_err();
    assert!(error.contains("behind token 5"), "{error}");
}

/// D-EVT-4: what a watcher gets twice, misses or gets in another order is found out.
#[test]
fn watchers_must_account_for_every_change() {
    let view = store_with(&["a", "b", "c"]);
    let watches = Watches::default();
    assert!(watches.read("one", b"b", &view, 1));
    assert!(watches.read("one", b"b", &view, 1));
    assert!(!watches.read("one", b"b", &view, 9));
    watches.check().unwrap();
    watches.with(|book| book.spoil("one"));
    let error = watches.check().unwrap_err();
    assert!(error.starts_with("D-EVT-4"), "{error}");
}

/// `compacted` is for who is behind a compaction that somebody asked for.
#[test]
fn a_compaction_that_nobody_asked_for_is_found() {
    let compact = Command::Compact {
        revision: Revision::new(3),
    };
    let (view, _) = store_after(&[put_of("a", "1"), put_of("a", "2"), put_of("a", "3"), compact]);
    assert!(Watches::default().look(0, &view).is_err());
    let watches = Watches::default();
    watches.compaction_asked(3);
    watches.read("late", b"", &view, 9);
    watches.read("late", b"", &view, 9);
    watches.check().unwrap();
    watches.with(|book| {
        assert_eq!((book.jumps, book.told.len()), (1, 1));
        assert!(book.states.contains_key(&4));
    });
}
