//! Deletes by filter: bounded, all or nothing, decided where they are applied.

use concord_core::expr::{Binary, Expr, Variable};
use concord_core::limits::{DELETE_WHERE_KEYS_MAX, DELETE_WHERE_STEPS_MAX};
use concord_core::pattern::{CHARACTER_MAX, Instruction, Pattern};
use concord_core::reply::BatchUnit;
use concord_core::*;

use crate::support::{Log, key, restored, snapshot};

fn filter(prefix: &'static str, tests: Vec<KeyTest>, predicate: Option<Expr>) -> Filter {
    let predicate = predicate.map(|predicate| Expression::new(predicate).unwrap());
    Filter::new(KeyRange::prefix(prefix.as_bytes()), tests, predicate).unwrap()
}

fn delete(filter: Filter, limit: Option<u64>) -> Command {
    Command::DeleteWhere { filter, limit }
}

fn deleted(reply: &Reply) -> (u64, bool) {
    let Reply::DeletedWhere { count, more, .. } = reply else {
        panic!("{reply:?}")
    };
    (*count, *more)
}

fn fill(log: &mut Log, count: usize) {
    let keys: Vec<String> = (0..count).map(|place| format!("k{place:05}")).collect();
    for keys in keys.chunks(500) {
        let item = |key: &String| PutItem {
            key: self::key(key),
            value: Value::text("v").into(),
            lifetime: Lifetime::Forever,
        };
        log.run(Command::PutMany {
            items: keys.iter().map(item).collect(),
        });
    }
}

/// D-DATA-10: over 500 matches are no obstacle, and all of them go at one revision.
#[test]
fn all_that_match_go_at_one_revision() {
    let mut log = Log::new();
    fill(&mut log, 1_200);
    log.put("other", "v");
    let before = log.view();
    let reply = log.run(delete(filter("k", vec![], None), None));
    assert_eq!(deleted(&reply), (1_200, false));
    let view = log.view();
    assert_eq!((view.len(), view.revision()), (1, before.revision().next()));
    assert_eq!(view.changes(before.revision()).unwrap().count(), 1_200);
    assert_eq!(invariants::check(&log.store), Ok(()));
    // Of nothing: no revision.
    let again = log.run(delete(filter("k", vec![], None), None));
    assert_eq!(deleted(&again), (0, false));
    assert_eq!(log.view().revision(), view.revision());
}

/// I3: what is over a bound is refused whole.
#[test]
fn more_than_may_go_at_once_is_refused_and_changes_nothing() {
    let mut log = Log::new();
    fill(&mut log, DELETE_WHERE_KEYS_MAX + 1);
    let before = snapshot(&log.view()).len();
    let revision = log.view().revision();
    let whole = filter("k", vec![], None);
    let limit = DELETE_WHERE_KEYS_MAX as u64;
    let refusal = |unit, count, limit| Reply::Rejected(Rejection::BatchTooLarge { unit, count, limit });
    assert_eq!(
        log.run(delete(whole.clone(), None)),
        refusal(BatchUnit::MatchingKeys, limit + 1, limit)
    );
    assert_eq!(
        log.run(delete(whole.clone(), Some(limit + 1))),
        refusal(BatchUnit::MatchingKeys, limit + 1, limit)
    );
    assert_eq!(
        (log.view().revision(), snapshot(&log.view()).len()),
        (revision, before)
    );
    // Bit by bit they go, the first ones first.
    assert_eq!(
        deleted(&log.run(delete(whole.clone(), Some(limit)))),
        (limit, true)
    );
    assert!(log.view().contains_key(b"k10000") && !log.view().contains_key(b"k09999"));
    assert_eq!(deleted(&log.run(delete(whole, None))), (1, false));
}

/// A filter cannot hold up every replica, however poisonous its pattern is.
#[test]
fn the_work_of_a_delete_is_bounded() {
    let mut log = Log::new();
    let long = "k".repeat(1_000);
    for place in 0..200 {
        log.put(&format!("{long}{place:03}"), "v");
    }
    // (any?){500}z, whose threads all stay alive over the whole key.
    let any = || Instruction::Class(vec![(0, CHARACTER_MAX)]);
    let mut steps = Vec::new();
    for place in 0..500_u32 {
        steps.extend([Instruction::Split(2 * place + 1, 2 * place + 2), any()]);
    }
    steps.extend([Instruction::Class(vec![(122, 122)]), Instruction::Match]);
    let poison = KeyTest::Pattern(Pattern::new(steps).unwrap());
    let revision = log.view().revision();
    let reply = log.run(delete(filter("", vec![poison], None), None));
    let Reply::Rejected(Rejection::BatchTooLarge { unit, count, limit }) = reply else {
        panic!("{reply:?}")
    };
    assert_eq!((unit, limit), (BatchUnit::Steps, DELETE_WHERE_STEPS_MAX));
    assert!(count < 2 * limit, "{count}");
    assert_eq!(log.view().revision(), revision);
}

/// What has expired is absent, and what is about to is judged by the replicated clock; a replica
/// restored from a snapshot decides alike (I4).
#[test]
fn deletes_by_filter_are_judged_by_the_replicated_state_alone() {
    let mut log = Log::new();
    log.put_ttl("brief", "v", 10);
    log.put_ttl("long", "v", 60_000);
    log.put("ever", "v");
    log.clock += 10;
    let ttl = Expr::Variable(Variable::TtlMs);
    let ending = filter(
        "",
        vec![],
        Some(ttl.with(Binary::LessOrEqual, Expr::integer(60_000_u64))),
    );
    let mut replica = Log {
        store: restored(&log.view()),
        ..log
    };
    let reply = log.run(delete(ending.clone(), None));
    assert_eq!(deleted(&reply), (1, false));
    assert_eq!(replica.run(delete(ending, None)), reply);
    assert_eq!(snapshot(&replica.view()), snapshot(&log.view()));
    assert_eq!(log.view().len(), 1);
}

/// A repeated request is answered as before, and deletes nothing that came since.
#[test]
fn a_delete_by_filter_under_an_idempotency_key_happens_once() {
    let mut log = Log::new();
    log.put("a", "v");
    let once = |filter| Command::Idempotent {
        key: IdempotencyKey::new("once").unwrap(),
        command: Box::new(delete(filter, None)),
    };
    let first = log.run(once(filter("", vec![], None)));
    log.put("b", "v");
    assert_eq!(log.run(once(filter("", vec![], None))), first);
    assert!(log.view().contains_key(b"b"));
    let other = log.run(once(filter("x", vec![], None)));
    assert_eq!(other, Reply::Rejected(Rejection::IdempotencyConflict));
}
