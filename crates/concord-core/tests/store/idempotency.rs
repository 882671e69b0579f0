//! Idempotency keys: a retry is answered, not applied.

use bytes::Bytes;
use concord_core::limits::{IDEMPOTENCY_BYTES_MAX, IDEMPOTENCY_KEEP_MS, IDEMPOTENCY_KEYS_MAX};
use concord_core::reply::InvalidRequestReason;
use concord_core::*;

use crate::support::{Log, key, restored, snapshot};

fn once(name: &str, command: Command) -> Command {
    Command::Idempotent {
        key: IdempotencyKey::new(name.to_string()).unwrap(),
        command: Box::new(command),
    }
}

fn increment(key: &str) -> Command {
    Command::Increment {
        key: self::key(key),
        delta: 1,
        ttl: None,
    }
}

fn counted(reply: &Reply) -> i64 {
    let Reply::Incremented { value, .. } = reply else {
        panic!("{reply:?}")
    };
    *value
}

/// D-RAFT-14: whoever retries after a timeout, through whatever session, gets the first answer.
#[test]
fn a_retry_under_its_key_gets_the_first_answer() {
    let mut log = Log::new();
    let first = log.run(once("a", increment("n")));
    assert_eq!(counted(&log.run(increment("n"))), 2);
    log.session = SessionId::new(2);
    log.sequence = 1;
    log.open(log.session);
    assert_eq!(log.run(once("a", increment("n"))), first);
    assert_eq!(counted(&log.run(increment("n"))), 3, "the retry did nothing");
    assert_eq!(counted(&log.run(once("b", increment("n")))), 4);
}

/// I21: a refusal is an answer too, even if the request would do by now.
#[test]
fn a_refusal_is_answered_again() {
    let mut log = Log::new();
    let touch = Command::Touch {
        key: key("a"),
        lifetime: Lifetime::Forever,
    };
    let refused = Reply::Rejected(Rejection::NotFound);
    assert_eq!(log.run(once("a", touch.clone())), refused);
    log.put("a", "1");
    assert_eq!(log.run(once("a", touch)), refused);
}

#[test]
fn another_request_under_a_used_key_is_a_conflict() {
    let mut log = Log::new();
    log.run(once("a", increment("n")));
    let conflict = Rejection::IdempotencyConflict;
    assert_eq!(conflict.name(), "idempotency_conflict");
    assert_eq!(log.run(once("a", increment("m"))), Reply::Rejected(conflict));
    assert!(log.view().get(b"m").is_none());
    assert_eq!(counted(&log.run(once("a", increment("n")))), 1);
}

/// D-RAFT-4, D-BAK-3: what is remembered is in snapshots.
#[test]
fn a_restored_replica_remembers() {
    let mut log = Log::new();
    let first = log.run(once("a", increment("n")));
    let mut replica = Log {
        store: restored(&log.view()),
        index: log.index,
        clock: log.clock,
        sequence: log.sequence,
        ..Log::new()
    };
    replica.index = log.index;
    replica.sequence = log.sequence;
    for log in [&mut log, &mut replica] {
        log.index = 50;
        assert_eq!(log.run(once("a", increment("n"))), first);
        assert_eq!(invariants::check(&log.store), Ok(()));
    }
    assert_eq!(snapshot(&replica.view()), snapshot(&log.view()), "I4");
}

#[test]
fn a_key_is_forgotten_after_a_day() {
    let mut log = Log::new();
    log.run(once("a", increment("n")));
    let start = log.clock;
    log.clock = start + IDEMPOTENCY_KEEP_MS - 1;
    // By then the session is forgotten as well: a new one asks.
    log.session = SessionId::new(2);
    log.sequence = 1;
    log.open(log.session);
    assert_eq!(counted(&log.run(once("a", increment("n")))), 1);
    log.clock = start + IDEMPOTENCY_KEEP_MS;
    assert_eq!(counted(&log.run(once("a", increment("n")))), 2);
    assert_eq!(invariants::check(&log.store), Ok(()));
}

/// I21: the table is bounded in number and in bytes, and the oldest goes.
#[test]
fn the_oldest_key_makes_room() {
    let mut log = Log::new();
    log.run(once("first", increment("n")));
    log.clock += 1;
    let fill: Vec<Command> = (0..IDEMPOTENCY_KEYS_MAX)
        .map(|n| once(&n.to_string(), Command::DeleteMany { keys: Vec::new() }))
        .collect();
    for fill in fill.chunks(5_000) {
        log.batch(fill);
        assert_eq!(invariants::check(&log.store), Ok(()));
    }
    assert_eq!(
        counted(&log.run(once("first", increment("n")))),
        2,
        "it was forgotten"
    );

    // Large replies: the record that was replaced.
    let large = 9 << 20;
    let replace = Command::Put {
        key: key("large"),
        value: Value::binary(vec![0; large]).into(),
        lifetime: Lifetime::Forever,
        condition: None,
        return_previous: true,
    };
    for n in 0..=IDEMPOTENCY_BYTES_MAX / large as u64 + 1 {
        log.clock += 1;
        log.run(once(&format!("large {n}"), replace.clone()));
    }
    assert_eq!(invariants::check(&log.store), Ok(()));
}

#[test]
fn odd_keys_are_refused() {
    let mut log = Log::new();
    assert!(IdempotencyKey::new("").is_err());
    assert!(IdempotencyKey::new(vec![b'x'; 256]).is_err());
    let named = once("a", increment("n")).to_bytes();
    let mut without = named.to_vec();
    without.splice(3..5, [0]);
    let reason = InvalidRequestReason::IdempotencyKey;
    let refused = Reply::Rejected(Rejection::InvalidRequest { reason });
    assert_eq!(log.bytes(vec![Bytes::from(without)]), [refused]);
    // A key within a key.
    let reason = InvalidRequestReason::Malformed;
    let refused = Reply::Rejected(Rejection::InvalidRequest { reason });
    let twice = once("b", once("a", increment("n")));
    assert!(twice.check(1_000).is_err());
    assert_eq!(log.run(twice), refused);
    assert!(log.view().is_empty());
}
