//! I7: a request applies at most once per session and sequence.

use bytes::Bytes;
use concord_core::*;

use crate::support::{Log, key, put_command, rev, text};

fn group(session: u128, first_sequence: u64, commands: &[Command]) -> Group {
    let requests = commands.iter().map(Command::to_bytes).collect();
    Group {
        session: SessionId::new(session),
        opens: false,
        acked_below: 1,
        first_sequence,
        requests,
    }
}

fn counter() -> Command {
    Command::Increment {
        key: key("n"),
        delta: 1,
        ttl: None,
    }
}

fn incremented(revision: u64, value: i64) -> Reply {
    Reply::Incremented {
        revision: rev(revision),
        value,
    }
}

const EXPIRED: Reply = Reply::Rejected(Rejection::SessionExpired);

/// D-RAFT-14: a retry after a timeout is answered as the first attempt was, and changes nothing.
#[test]
fn a_retry_is_answered_from_memory() {
    let mut log = Log::new();
    let first = log.groups(vec![group(1, 1, &[counter(), counter()])]);
    assert_eq!(first, [incremented(2, 1), incremented(3, 2)]);
    assert_eq!(log.groups(vec![group(1, 1, &[counter(), counter()])]), first);
    let mixed = log.groups(vec![group(1, 2, &[counter(), counter()])]);
    assert_eq!(mixed, [incremented(3, 2), incremented(4, 3)]);
    assert_eq!(invariants::check(&log.store), Ok(()));
}

/// Refusals are remembered like any other answer.
#[test]
fn a_refused_request_stays_refused() {
    let mut log = Log::new();
    let touch = Command::Touch {
        key: key("n"),
        lifetime: Lifetime::Forever,
    };
    assert_eq!(
        log.groups(vec![group(1, 1, std::slice::from_ref(&touch))]),
        [Reply::Rejected(Rejection::NotFound)]
    );
    log.groups(vec![group(1, 2, &[counter()])]);
    assert_eq!(
        log.groups(vec![group(1, 1, &[touch])]),
        [Reply::Rejected(Rejection::NotFound)]
    );
}

/// Groups that overtake each other still apply once each.
#[test]
fn sequences_may_come_in_any_order() {
    let mut log = Log::new();
    assert_eq!(log.groups(vec![group(1, 5, &[counter()])]), [incremented(2, 1)]);
    assert_eq!(log.groups(vec![group(1, 3, &[counter()])]), [incremented(3, 2)]);
    let all = log.groups(vec![group(
        1,
        2,
        &[counter(), counter(), counter(), counter(), counter()],
    )]);
    let values = [
        incremented(4, 3),
        incremented(3, 2),
        incremented(5, 4),
        incremented(2, 1),
        incremented(6, 5),
    ];
    assert_eq!(all, values);
    assert_eq!(invariants::check(&log.store), Ok(()));
}

#[test]
fn an_unknown_session_is_refused_and_changes_nothing() {
    let mut log = Log::new();
    assert_eq!(
        log.groups(vec![group(9, 1, &[counter(), counter()])]),
        [EXPIRED, EXPIRED]
    );
    assert!(Store::is_session_expired(&EXPIRED));
    assert_eq!(log.view().revision(), rev(1));
}

/// A late copy of an opening group must not apply requests that were applied and forgotten.
#[test]
fn requests_that_come_with_an_opening_are_refused() {
    let mut log = Log::new();
    let opening = Group {
        opens: true,
        ..group(9, 1, &[counter()])
    };
    assert_eq!(log.groups(vec![opening.clone()]), [EXPIRED]);
    assert_eq!(log.groups(vec![opening]), [incremented(2, 1)], "now it is known");
}

#[test]
fn acknowledged_replies_are_dropped() {
    let mut log = Log::new();
    log.groups(vec![group(1, 1, &[counter(), counter()])]);
    log.groups(vec![Group {
        acked_below: 3,
        ..group(1, 3, &[counter()])
    }]);
    assert_eq!(
        log.groups(vec![group(1, 1, &[counter(), counter(), counter()])]),
        [EXPIRED, EXPIRED, incremented(4, 3)]
    );
}

#[test]
fn idle_sessions_are_forgotten_by_the_replicated_clock() {
    let mut log = Log::new();
    log.groups(vec![group(1, 1, &[counter()])]);
    log.tick(1_000 + limits::SESSION_IDLE_MS - 1);
    assert_eq!(log.groups(vec![group(1, 1, &[counter()])]), [incremented(2, 1)]);
    log.tick(log.clock + limits::SESSION_IDLE_MS);
    assert_eq!(log.groups(vec![group(1, 1, &[counter()])]), [EXPIRED]);
    assert_eq!(invariants::check(&log.store), Ok(()));
}

#[test]
fn the_longest_idle_session_makes_room() {
    let mut log = Log::new();
    for session in 2..=10_000 {
        log.clock += 1;
        log.open(SessionId::new(session));
    }
    log.clock += 1;
    log.groups(vec![group(1, 1, &[counter()])]);
    log.clock += 1;
    log.open(SessionId::new(10_001));
    assert_eq!(
        log.groups(vec![group(2, 1, &[counter()])]),
        [EXPIRED],
        "session 2 was idle for longest"
    );
    assert_eq!(log.groups(vec![group(1, 1, &[counter()])]), [incremented(2, 1)]);
    assert_eq!(invariants::check(&log.store), Ok(()));
}

/// Replies beyond the window are forgotten, oldest first; their requests are refused, not repeated.
#[test]
fn replies_beyond_the_window_are_forgotten() {
    let mut log = Log::new();
    let half = usize::try_from(limits::SESSION_WINDOW / 2).unwrap();
    let commands = vec![counter(); half];
    for n in 0..3 {
        log.groups(vec![group(1, 1 + n * limits::SESSION_WINDOW / 2, &commands)]);
    }
    assert_eq!(invariants::check(&log.store), Ok(()));
    let revision = log.view().revision();
    assert_eq!(log.groups(vec![group(1, 1, &[counter()])]), [EXPIRED]);
    let second = 1 + limits::SESSION_WINDOW / 2;
    let value = i64::try_from(second).unwrap();
    assert_eq!(
        log.groups(vec![group(1, second, &[counter()])]),
        [incremented(second + 1, value)]
    );
    assert_eq!(log.view().revision(), revision);
}

#[test]
fn replies_are_bounded_in_bytes() {
    let mut log = Log::new();
    let put = |n: u8| Command::Put {
        key: key("big"),
        value: Value::binary(vec![n; 3 << 20]).into(),
        lifetime: Lifetime::Forever,
        condition: None,
        return_previous: true,
    };
    for n in 1..=5 {
        log.groups(vec![group(1, u64::from(n), &[put(n)])]);
    }
    assert_eq!(log.groups(vec![group(1, 2, &[put(2)])]), [EXPIRED]);
    let replies = log.groups(vec![group(1, 5, &[put(5)])]);
    let Reply::Written {
        revision,
        previous: Some(previous),
    } = &replies[0]
    else {
        panic!("{replies:?}")
    };
    assert_eq!((*revision, previous.value.bytes()[0]), (rev(6), 4));
    assert_eq!(invariants::check(&log.store), Ok(()));
}

#[test]
fn sequence_numbers_at_their_end_are_refused() {
    let mut log = Log::new();
    let replies = log.groups(vec![group(1, u64::MAX, &[counter(), counter()])]);
    assert_eq!(replies.len(), 2);
    assert!(replies.iter().all(|reply| matches!(reply, Reply::Rejected(_))));
    assert_eq!(
        log.groups(vec![group(1, 0, &[counter()])]),
        [EXPIRED],
        "sequences begin at 1"
    );
}

/// I3: bytes that are no request are refused one by one; their neighbours apply.
#[test]
fn a_malformed_request_does_not_harm_its_batch() {
    let mut log = Log::new();
    let requests = vec![
        put_command("a", "1").to_bytes(),
        Bytes::from_static(b"\x01\x01junk"),
        put_command("b", "2").to_bytes(),
    ];
    let replies = log.bytes(requests);
    assert!(matches!(
        replies[1],
        Reply::Rejected(Rejection::InvalidRequest { .. })
    ));
    assert_eq!(
        (text(&log.view(), "a"), text(&log.view(), "b")),
        (Some("1".into()), Some("2".into()))
    );
    assert_eq!(log.view().revision(), rev(3));
}
