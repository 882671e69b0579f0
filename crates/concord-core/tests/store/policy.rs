//! The policy in the store: records that it keeps for others, and the guard of requests that were judged by them.

use std::collections::BTreeMap;

use bytes::Bytes;
use concord_core::limits::{
    POLICY_EDIT_BYTES_MAX, POLICY_EDITS_MAX, POLICY_KEY_BYTES_MAX, POLICY_RECORD_BYTES_MAX,
};
use concord_core::reply::{BatchUnit, InvalidRequestReason};
use concord_core::*;
use proptest::collection::vec;
use proptest::prelude::*;

use crate::support::{Log, at, key, put_command, restored, rev, snapshot, text};

pub(crate) fn edit(key: &str, record: Option<&str>) -> PolicyEdit {
    PolicyEdit {
        key: Bytes::copy_from_slice(key.as_bytes()),
        record: record.map(|record| Bytes::copy_from_slice(record.as_bytes())),
    }
}

fn change(expected: u64, edits: &[(&str, Option<&str>)]) -> Command {
    let edits = edits.iter().map(|(key, record)| edit(key, *record)).collect();
    Command::EditPolicy(PolicyChange::new(expected, edits))
}

fn edited(revision: u64, policy_revision: u64) -> Reply {
    Reply::PolicyEdited {
        revision: rev(revision),
        policy_revision,
    }
}

fn changed(policy_revision: u64) -> Reply {
    Reply::Rejected(Rejection::PolicyChanged { policy_revision })
}

fn guard(policy_revision: u64, principal: &str) -> Guard {
    Guard {
        policy_revision,
        expires_at: None,
        principal: PrincipalId::new(principal.as_bytes()).unwrap(),
        is_confined: false,
        tenant: None,
    }
}

fn guarded(guard: Guard, command: Command) -> Command {
    let command = Box::new(command);
    Command::Guarded { guard, command }
}

fn by(principal: &str, command: Command) -> Command {
    guarded(guard(0, principal), command)
}

fn confined(principal: &str, command: Command) -> Command {
    let guard = Guard {
        is_confined: true,
        ..guard(0, principal)
    };
    guarded(guard, command)
}

fn once(name: &'static str, command: Command) -> Command {
    Command::Idempotent {
        key: IdempotencyKey::new(name).unwrap(),
        command: Box::new(command),
    }
}

fn increment() -> Command {
    Command::Increment {
        key: key("n"),
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

#[test]
fn a_change_is_made_from_one_revision_of_the_policy_and_none_of_the_keys() {
    let mut log = Log::new();
    assert_eq!(
        log.run(change(0, &[("a", Some("1")), ("b", Some("2"))])),
        edited(1, 1)
    );
    assert_eq!(log.run(change(0, &[("a", None)])), changed(1));
    assert_eq!(log.run(change(2, &[("a", None)])), changed(1));
    let view = log.view();
    assert_eq!(view.policy_get(b"a").as_deref(), Some(&b"1"[..]));
    assert_eq!(log.run(change(1, &[("a", None), ("c", None)])), edited(1, 2));
    assert_eq!(log.view().policy_get(b"a"), None);
    assert_eq!(view.policy_revision(), 1, "I15: a view never changes");
    assert!(view.policy_get(b"a").is_some());
    assert!(log.view().is_empty(), "the policy is none of the keys");
    let unjudged = Command::EditPolicy(PolicyChange::unjudged(vec![edit("last used", Some("today"))]));
    assert_eq!(log.run(unjudged), edited(1, 2));
    assert_eq!(
        log.view().policy_get(b"last used").as_deref(),
        Some(&b"today"[..])
    );
    assert_eq!(invariants::check(&log.store), Ok(()));
}

#[test]
fn records_are_listed_by_prefix_behind_a_key() {
    let mut log = Log::new();
    let records = ["a", "b", "ba", "bb", "b\u{ff}", "c"].map(|key| (key, Some("")));
    log.run(change(0, &records));
    let view = log.view();
    let listed = |prefix: &str, after: Option<&str>, limit| -> Vec<String> {
        let found = view.policy_list(prefix.as_bytes(), after.map(str::as_bytes), limit);
        let text = |(key, _): (Bytes, Bytes)| String::from_utf8(key.to_vec()).unwrap();
        found.into_iter().map(text).collect()
    };
    assert_eq!(listed("b", None, 10), ["b", "ba", "bb", "b\u{ff}"]);
    assert_eq!(listed("b", Some("ba"), 1), ["bb"]);
    assert_eq!(listed("b", Some("a"), 1), ["b"], "what lies before is no bound");
    assert_eq!(listed("b", Some("c"), 10), Vec::<String>::new());
    assert_eq!(listed("", None, 2), ["a", "b"]);
}

#[test]
fn a_change_is_bounded() {
    let mut log = Log::new();
    let of = |edits| Command::EditPolicy(PolicyChange::new(0, edits));
    let large = |bytes| PolicyEdit {
        key: Bytes::from_static(b"k"),
        record: Some(Bytes::from(vec![0; bytes])),
    };
    let invalid = Reply::Rejected(Rejection::InvalidRequest {
        reason: InvalidRequestReason::PolicyRecord,
    });
    let long = "k".repeat(POLICY_KEY_BYTES_MAX + 1);
    for edits in [
        vec![edit("", None)],
        vec![edit(&long, None)],
        vec![large(POLICY_RECORD_BYTES_MAX + 1)],
    ] {
        assert_eq!(log.run(of(edits)), invalid);
    }
    let too_large = |unit, count, limit| {
        Reply::Rejected(Rejection::BatchTooLarge {
            unit,
            count,
            limit: u64::try_from(limit).unwrap(),
        })
    };
    assert_eq!(
        log.run(of(vec![edit("k", None); POLICY_EDITS_MAX + 1])),
        too_large(BatchUnit::PolicyEdits, 1_001, POLICY_EDITS_MAX)
    );
    assert_eq!(
        log.run(of(vec![large(POLICY_RECORD_BYTES_MAX); 4])),
        too_large(BatchUnit::PolicyBytes, (8 << 20) + 4, POLICY_EDIT_BYTES_MAX)
    );
    assert_eq!(log.run(of(vec![large(POLICY_RECORD_BYTES_MAX); 3])), edited(1, 1));
    assert_eq!(invariants::check(&log.store), Ok(()));
}

/// D-SEC-1, I22: what was allowed by a policy that is gone is not done, and leaves no trace.
#[test]
fn a_request_that_was_judged_by_another_policy_changes_nothing() {
    let mut log = Log::new();
    log.run(change(0, &[("t", Some("token"))]));
    let put = |revision| guarded(guard(revision, "p"), put_command("k", "v"));
    for (revision, is_done) in [(0, false), (2, false), (1, true)] {
        let reply = log.run(put(revision));
        assert_eq!(reply != changed(1), is_done, "{reply:?}");
    }
    log.run(change(1, &[("t", None)]));
    let before = snapshot(&log.view());
    assert_eq!(log.run(put(1)), changed(2));
    assert_eq!(text(&log.view(), "k").as_deref(), Some("v"));
    assert_eq!(log.view().revision(), rev(2));
    assert_ne!(snapshot(&log.view()), before, "the session remembers its reply");
}

#[test]
fn a_caller_whose_time_is_up_changes_nothing() {
    let mut log = Log::new();
    let guard = Guard {
        expires_at: Some(at(2_000)),
        ..guard(0, "p")
    };
    log.clock = 1_999;
    let put = guarded(guard, put_command("k", "v"));
    assert!(matches!(log.run(put.clone()), Reply::Written { .. }));
    log.clock = 2_000;
    assert_eq!(log.run(put), changed(0));
}

#[test]
fn a_refused_guard_uses_no_idempotency_key() {
    let mut log = Log::new();
    let stale = guarded(guard(7, "p"), once("k", increment()));
    assert_eq!(log.run(stale), changed(0));
    let fresh = by("p", once("k", increment()));
    assert_eq!(counted(&log.run(fresh.clone())), 1);
    assert_eq!(counted(&log.run(fresh)), 1, "a retry");
    let other_guard = Guard {
        is_confined: true,
        tenant: Some(Bytes::from_static(b"acme")),
        ..guard(0, "p")
    };
    let again = guarded(other_guard, once("k", increment()));
    assert_eq!(counted(&log.run(again)), 1, "the guard is no part of the request");
}

/// Two tokens that use one key are not told each other's answers.
#[test]
fn an_idempotency_key_is_its_principals_own() {
    let mut log = Log::new();
    for (n, principal) in (1..).zip(["", "p", "q"]) {
        let command = by(principal, once("k", increment()));
        assert_eq!(counted(&log.run(command)), n);
    }
    assert_eq!(
        counted(&log.run(once("k", increment()))),
        1,
        "nobody in particular"
    );
    assert_eq!(counted(&log.run(by("q", once("k", increment())))), 3);
    let replica = restored(&log.view());
    assert_eq!(invariants::check(&replica), Ok(()));
    assert_eq!(snapshot(&replica.view()), snapshot(&log.view()), "I4");
}

#[test]
fn those_whose_rights_are_narrowed_have_no_leases_but_their_own() {
    let mut log = Log::new();
    let grant = |lease| Command::LeaseGrant {
        lease: LeaseId::new(lease),
        ttl: Millis::new(1_000),
    };
    log.run(grant(1));
    log.run(by("p", grant(2)));
    log.run(confined("q", grant(3)));
    let on = |name: &str, lease| Command::PutMany {
        items: vec![PutItem {
            key: key(name),
            value: Value::text("v").into(),
            lifetime: Lifetime::Lease(LeaseId::new(lease)),
        }],
    };
    for lease in 1..=3 {
        let id = LeaseId::new(lease);
        let uses = [
            on("k", lease),
            Command::Touch {
                key: key("k"),
                lifetime: Lifetime::Lease(id),
            },
            Command::LeaseKeepAlive { lease: id },
        ];
        for command in uses {
            let refused = log.run(confined("q", command.clone()));
            assert_eq!(
                matches!(&refused, Reply::Rejected(why) if why.name() == "lease_not_found"),
                lease != 3,
                "{command:?} {refused:?}"
            );
            assert!(log.run(by("q", command.clone())).into_result().is_ok());
            assert!(log.run(command).into_result().is_ok());
        }
    }
    let revoke = |lease| Command::LeaseRevoke {
        lease: LeaseId::new(lease),
    };
    let missing = |lease| {
        Reply::Rejected(Rejection::LeaseNotFound {
            lease: LeaseId::new(lease),
        })
    };
    assert_eq!(log.run(confined("q", revoke(2))), missing(2));
    assert_eq!(log.run(confined("p", revoke(3))), missing(3));
    // Keeping a lease alive does not change whose it is.
    let replica = restored(&log.view());
    let owner = |view: &ReadView, lease| view.lease(LeaseId::new(lease)).unwrap().owner;
    assert_eq!(owner(&replica.view(), 1), PrincipalId::NOBODY);
    assert_eq!(owner(&replica.view(), 3).as_bytes(), b"q");
    assert!(matches!(
        log.run(confined("q", revoke(3))),
        Reply::LeaseRevoked { .. }
    ));
    assert_eq!(invariants::check(&log.store), Ok(()));
}

/// No caller outlasts their request, whatever comes of it.
#[test]
fn a_guard_is_of_one_request() {
    let mut log = Log::new();
    let lease = LeaseId::new(1);
    let grant = Command::LeaseGrant {
        lease,
        ttl: Millis::new(1_000),
    };
    let keep = Command::LeaseKeepAlive { lease };
    let replies = log.batch(&[grant, confined("q", keep.clone()), keep]);
    assert!(matches!(
        replies.as_slice(),
        [
            Reply::LeaseGranted { .. },
            Reply::Rejected(Rejection::LeaseNotFound { .. }),
            Reply::LeaseKept { .. }
        ]
    ));
}

#[test]
fn guards_and_keys_do_not_hold_what_is_not_theirs() {
    let mut log = Log::new();
    let policy = || change(0, &[("k", Some("v"))]);
    for command in [
        by("p", by("q", increment())),
        once("k", by("q", increment())),
        by("p", once("k", by("q", increment()))),
        once("k", once("l", increment())),
        once("k", policy()),
    ] {
        let reply = log.run(command.clone());
        let malformed = InvalidRequestReason::Malformed;
        assert_eq!(
            reply,
            Reply::Rejected(Rejection::InvalidRequest { reason: malformed }),
            "{command:?}"
        );
        assert!(command.check(u64::MAX).is_err(), "{command:?}");
    }
    assert_eq!(log.run(by("p", policy())), edited(1, 1));
}

/// The smallest model: a map and a counter.
#[derive(Clone, Debug, Default)]
struct Model {
    records: BTreeMap<Bytes, Bytes>,
    revision: u64,
}

fn arb_edit() -> impl Strategy<Value = PolicyEdit> {
    ("[ab]{1,2}", prop::option::of("[xyz]{0,3}")).prop_map(|(key, record)| edit(&key, record.as_deref()))
}

proptest! {
    #[test]
    fn the_policy_is_a_map_with_a_revision(
        changes in vec((prop::option::of(0_u64..3), vec(arb_edit(), 0..5)), 1..30),
    ) {
        let (mut log, mut model) = (Log::new(), Model::default());
        let mut replica = Log::new();
        for (behind, edits) in changes {
            let expected = behind.map(|behind| model.revision.saturating_sub(behind / 2));
            let change = PolicyChange { expected, ..PolicyChange::unjudged(edits.clone()) };
            let command = Command::EditPolicy(change);
            let reply = log.run(command.clone());
            if expected.is_some_and(|expected| expected != model.revision) {
                prop_assert_eq!(reply, changed(model.revision));
            } else {
                for PolicyEdit { key, record } in edits {
                    match record {
                        Some(record) => model.records.insert(key, record),
                        None => model.records.remove(&key),
                    };
                }
                model.revision += u64::from(expected.is_some());
                prop_assert_eq!(reply, edited(1, model.revision));
            }
            replica.store = restored(&replica.view());
            replica.run(command);
            prop_assert_eq!(log.view().policy_revision(), model.revision);
            let listed: BTreeMap<Bytes, Bytes> = log.view().policy_list(b"", None, 100).into_iter().collect();
            prop_assert_eq!(&listed, &model.records);
            prop_assert_eq!(invariants::check(&log.store), Ok(()));
            prop_assert_eq!(snapshot(&replica.view()), snapshot(&log.view()), "I4");
        }
    }
}
