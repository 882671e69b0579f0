//! Leases, one fact a test.

use concord_core::limits::{EXPIRIES_PER_BATCH, LEASE_ID_MAX, LEASE_KEYS_MAX};
use concord_core::reply::{InvalidRequestReason, Quota};
use concord_core::*;

use crate::support::{Log, at, key, put_command, restored, rev, snapshot};

fn id(lease: u64) -> LeaseId {
    LeaseId::new(lease)
}

fn grant(log: &mut Log, lease: u64, ttl: u64) -> Reply {
    let (lease, ttl) = (id(lease), Millis::new(ttl));
    log.run(Command::LeaseGrant { lease, ttl })
}

fn put_on(key: &str, lease: u64) -> Command {
    Command::Put {
        key: self::key(key),
        value: Value::text("1").into(),
        lifetime: Lifetime::Lease(id(lease)),
        condition: None,
        return_previous: false,
    }
}

fn many_on(lease: u64, keys: std::ops::Range<usize>) -> Vec<Command> {
    let item = |n: usize| PutItem {
        key: key(&format!("{lease}/{n:06}")),
        value: Value::text("1").into(),
        lifetime: Lifetime::Lease(id(lease)),
    };
    let keys: Vec<usize> = keys.collect();
    keys.chunks(500)
        .map(|keys| Command::PutMany {
            items: keys.iter().copied().map(item).collect(),
        })
        .collect()
}

fn keys_on(log: &Log, lease: u64) -> Vec<String> {
    let view = log.view();
    let text = |key: &[u8]| String::from_utf8(key.to_vec()).unwrap();
    view.lease_keys(id(lease), None).map(text).collect()
}

fn events(log: &Log, after: u64) -> Vec<(u64, Vec<u8>, ChangeKind)> {
    let view = log.view();
    view.changes(rev(after))
        .unwrap()
        .map(|change| (change.revision().get(), change.key().to_vec(), change.kind()))
        .collect()
}

/// D-V3-2, I19: the clock ends a lease without anybody asking, and all its keys go at one revision.
#[test]
fn an_expired_lease_drops_its_keys_at_one_revision() {
    let mut log = Log::new();
    grant(&mut log, 7, 100);
    log.batch(&[put_on("b", 7), put_on("a", 7), put_command("c", "stays")]);
    let (revision, start) = (log.view().revision().get(), log.clock);
    log.tick(start + 99);
    let view = log.view();
    let lease = view.lease(id(7)).unwrap();
    assert_eq!((lease.keys, lease.remaining(view.now())), (2, Millis::new(1)));
    assert_eq!(log.store.next_deadline(), Some(at(start + 100)));
    log.tick(start + 100);
    assert_eq!(log.view().lease(id(7)), None);
    let expired = |key: &[u8]| (revision + 1, key.to_vec(), ChangeKind::Expire);
    assert_eq!(events(&log, revision), [expired(b"a"), expired(b"b")]);
    assert_eq!(log.view().len(), 1);
    assert_eq!(invariants::check(&log.store), Ok(()));
}

/// D-V3-2: what has ended cannot be kept alive, not even in the batch whose clock ends it.
#[test]
fn a_lease_is_kept_alive_in_time_or_not_at_all() {
    let mut log = Log::new();
    grant(&mut log, 7, 100);
    log.run(put_on("a", 7));
    let keep = Command::LeaseKeepAlive { lease: id(7) };
    log.clock += 60;
    let expires_at = at(log.clock + 100);
    assert_eq!(
        log.run(keep.clone()),
        Reply::LeaseKept {
            revision: rev(2),
            lease: id(7),
            ttl: Millis::new(100),
            expires_at,
        }
    );
    log.clock += 60;
    log.tick(log.clock);
    assert_eq!(log.view().len(), 1, "the first deadline does not count any more");
    log.clock += 40;
    let refused = Reply::Rejected(Rejection::LeaseNotFound { lease: id(7) });
    assert_eq!(log.batch(&[keep, put_on("b", 7)]), [refused.clone(), refused]);
    assert!(log.view().is_empty());
}

#[test]
fn a_revoked_lease_deletes_its_keys() {
    let mut log = Log::new();
    grant(&mut log, 7, 100);
    log.batch(&[put_on("a", 7), put_on("b", 7)]);
    assert_eq!(
        log.run(Command::LeaseRevoke { lease: id(7) }),
        Reply::LeaseRevoked {
            revision: rev(4),
            keys: 2
        }
    );
    let deleted = |key: &[u8]| (4, key.to_vec(), ChangeKind::Delete);
    assert_eq!(events(&log, 3), [deleted(b"a"), deleted(b"b")]);
    assert_eq!(
        log.run(Command::LeaseRevoke { lease: id(7) }),
        Reply::Rejected(Rejection::LeaseNotFound { lease: id(7) })
    );
    // One without keys is no change.
    grant(&mut log, 8, 100);
    assert_eq!(
        log.run(Command::LeaseRevoke { lease: id(8) }),
        Reply::LeaseRevoked {
            revision: rev(4),
            keys: 0
        }
    );
}

/// A key has one lifetime: whatever sets another takes it off its lease.
#[test]
fn a_key_hangs_on_one_lease_until_its_lifetime_is_replaced() {
    let touch = |lifetime| Command::Touch {
        key: key("a"),
        lifetime,
    };
    let counted = |ttl| Command::Increment {
        key: key("a"),
        delta: 1,
        ttl,
    };
    let ttl = Millis::new(500);
    for (command, is_on_7) in [
        (put_command("a", "2"), false),
        (put_on("a", 8), false),
        (put_on("a", 7), true),
        (touch(Lifetime::Forever), false),
        (touch(Lifetime::Ttl(ttl)), false),
        (touch(Lifetime::Lease(id(8))), false),
        (touch(Lifetime::Lease(id(7))), true),
        (counted(None), true),
        (counted(Some(ttl)), false),
    ] {
        let mut log = Log::new();
        grant(&mut log, 7, 100);
        grant(&mut log, 8, 200);
        log.run(put_on("a", 7));
        log.run(command.clone());
        assert_eq!(keys_on(&log, 7).len(), usize::from(is_on_7), "{command:?}");
        assert_eq!(invariants::check(&log.store), Ok(()));
        log.tick(log.clock + 100);
        assert_eq!(log.view().is_empty(), is_on_7, "{command:?}");
    }
}

#[test]
fn ids_are_chosen_once_and_never_twice() {
    let mut log = Log::new();
    let chosen = |reply| {
        let Reply::LeaseGranted { lease, .. } = reply else {
            panic!("{reply:?}")
        };
        lease.get()
    };
    grant(&mut log, 2, 1_000);
    assert_eq!(chosen(grant(&mut log, 0, 100)), 1);
    assert_eq!(chosen(grant(&mut log, 0, 100)), 3, "2 is its client's");
    log.run(Command::LeaseRevoke { lease: id(3) });
    assert_eq!(chosen(grant(&mut log, 0, 100)), 4);
    // A replica that was restored chooses alike.
    let mut replica = Log {
        store: restored(&log.view()),
        index: log.index,
        clock: log.clock,
        sequence: log.sequence,
        ..Log::new()
    };
    for log in [&mut log, &mut replica] {
        log.index = 100;
        assert_eq!(chosen(grant(log, 0, 100)), 5);
    }
    assert_eq!(snapshot(&replica.view()), snapshot(&log.view()), "I4");
}

#[test]
fn odd_grants_are_refused() {
    let mut log = Log::new();
    assert_eq!(
        grant(&mut log, 1, 0),
        Reply::Rejected(Rejection::InvalidTtl { ttl_ms: 0 })
    );
    grant(&mut log, 1, 100);
    let exists = Rejection::LeaseExists { lease: id(1) };
    assert_eq!(exists.name(), "already_exists");
    assert_eq!(grant(&mut log, 1, 100), Reply::Rejected(exists));
    let reason = InvalidRequestReason::LeaseIdOutOfRange;
    assert_eq!(
        grant(&mut log, LEASE_ID_MAX + 1, 100),
        Reply::Rejected(Rejection::InvalidRequest { reason })
    );
    assert_eq!(log.view().lease_count(), 1);
}

/// One lease must not hold more than one batch may end.
#[test]
fn a_lease_holds_a_limited_number_of_keys() {
    let mut log = Log::new();
    grant(&mut log, 7, 1_000);
    let full = usize::try_from(LEASE_KEYS_MAX).unwrap();
    log.batch(&many_on(7, 0..full));
    assert_eq!(keys_on(&log, 7).len(), full);
    let refused = Rejection::QuotaExceeded {
        quota: Quota::LeaseKeys,
        limit: LEASE_KEYS_MAX,
    };
    assert_eq!(refused.name(), "quota_exceeded");
    let refused = Reply::Rejected(refused);
    log.put("other", "1");
    let touch = Command::Touch {
        key: key("other"),
        lifetime: Lifetime::Lease(id(7)),
    };
    assert_eq!(log.batch(&[put_on("x", 7), touch]), [refused.clone(), refused]);
    let many = log.batch(&many_on(7, full..full + 1)).remove(0);
    assert!(
        matches!(many, Reply::Rejected(Rejection::InPart { .. })),
        "{many:?}"
    );
    // A key that is on it already is not one more, nor is one that takes another's place.
    assert!(matches!(log.run(put_on("7/000000", 7)), Reply::Written { .. }));
    let swap = Txn {
        success: vec![
            Operation::Delete {
                keys: Keys::One(key("7/000000")),
                return_previous: false,
            },
            Operation::Touch(TouchItem {
                key: key("other"),
                lifetime: Lifetime::Lease(id(7)),
            }),
        ],
        ..Txn::default()
    };
    assert!(matches!(log.run(Command::Txn(swap)), Reply::Txn { .. }));
    assert_eq!(keys_on(&log, 7).len(), full);
}

/// However many leases end at one time, a batch removes a bounded number of keys; and no view
/// shows a key of a lease whose time has come (I17).
#[test]
fn a_crowd_of_leases_ends_over_several_batches() {
    let mut log = Log::new();
    let leases = 5;
    let each = EXPIRIES_PER_BATCH * 2 / 5;
    for lease in 1..=leases {
        grant(&mut log, lease, 1_000);
    }
    // They fill up side by side.
    for first in (0..each).step_by(500) {
        for lease in 1..=leases {
            log.batch(&many_on(lease, first..first + 500));
        }
    }
    assert_eq!(invariants::check(&log.store), Ok(()));
    let deadlines: Vec<u64> = log
        .view()
        .leases(None)
        .map(|lease| lease.expires_at.get())
        .collect();
    let wanted = log.clock + 1_000;
    assert!(
        deadlines
            .iter()
            .all(|deadline| (wanted..wanted + 10).contains(deadline))
    );
    assert!(
        deadlines.iter().any(|deadline| *deadline > wanted),
        "late, never early"
    );

    log.clock += 5_000;
    let mut batches = 0;
    while !log.view().is_empty() {
        let before = log.view().len();
        log.tick(log.clock);
        let ended = before - log.view().len();
        assert!(
            (1..=2 * EXPIRIES_PER_BATCH).contains(&ended),
            "{ended} keys in a batch"
        );
        for lease in log.view().leases(None) {
            assert!(lease.expires_at > log.view().now(), "I17");
            assert_eq!(lease.keys, each as u64, "whole or not at all");
        }
        batches += 1;
    }
    assert!(batches >= 2);
}

/// The next deadline is known, and only what is due ends.
#[test]
fn idle_leases_stay_as_they_are() {
    let mut log = Log::new();
    for first in (0..20_000_u64).step_by(1_000) {
        let grants: Vec<_> = (first..first + 1_000)
            .map(|n| Command::LeaseGrant {
                lease: id(0),
                ttl: Millis::new(60_000 + n),
            })
            .collect();
        log.batch(&grants);
    }
    let start = log.clock;
    assert_eq!(log.store.next_deadline(), Some(at(start + 60_000)));
    log.tick(start + 59_999);
    assert_eq!(log.view().lease_count(), 20_000);
    log.tick(start + 60_009);
    assert_eq!(log.view().lease_count(), 19_990);
    let page: Vec<_> = log
        .view()
        .leases(Some(id(11)))
        .take(2)
        .map(|lease| lease.id)
        .collect();
    assert_eq!(page, [id(12), id(13)]);
}

/// A store out of a backup goes on where it stood: a lease has the time that it had left, and
/// its keys with it; a key's own deadline is a time of the calendar.
#[test]
fn a_store_that_was_out_of_use_gives_leases_the_time_they_had_left() {
    let mut log = Log::new();
    grant(&mut log, 7, 100);
    log.run(put_on("a", 7));
    log.run(Command::Put {
        key: key("b"),
        value: Value::text("1").into(),
        lifetime: Lifetime::Ttl(Millis::new(500)),
        condition: None,
        return_previous: false,
    });
    let now = log.view().now().get();
    let left = log.view().lease(id(7)).unwrap().remaining(at(now)).get();
    let mut store = restored(&log.view());
    store.resume_at(at(now + 10_000));
    assert_eq!(invariants::check(&store), Ok(()));
    assert_eq!(
        store.view().lease(id(7)).unwrap().expires_at,
        at(now + 10_000 + left)
    );

    log.store = store;
    log.clock = now + 10_000 + left - 1;
    log.run(put_command("c", "1"));
    assert_eq!(keys_on(&log, 7), ["a"]);
    assert_eq!(crate::support::text(&log.view(), "b"), None, "its time has come");
    log.clock += 1;
    log.run(put_command("c", "2"));
    assert_eq!(log.view().lease(id(7)), None);

    // A clock that stands before the backup's takes nothing away.
    let mut store = restored(&log.view());
    store.resume_at(at(1));
    assert_eq!(snapshot(&store.view()), snapshot(&log.view()));
}
