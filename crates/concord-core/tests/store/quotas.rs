//! Quotas of namespaces: never exceeded, never wrong about what there is.

use bytes::Bytes;
use concord_core::limits::NAMESPACE_KEYS_EMPTIED_PER_BATCH;
use concord_core::reply::{InvalidRequestReason, Quota};
use concord_core::*;
use proptest::collection::vec;
use proptest::prelude::*;

use crate::support::{Log, key, put_command, restored, rev, snapshot, text};

const UNLIMITED: NamespaceQuota = NamespaceQuota::UNLIMITED;

fn keys(max: u64) -> NamespaceQuota {
    NamespaceQuota {
        max_keys: Some(max),
        ..UNLIMITED
    }
}

fn storage(max: u64) -> NamespaceQuota {
    NamespaceQuota {
        max_storage_bytes: Some(max),
        ..UNLIMITED
    }
}

fn ops(max: u64) -> NamespaceQuota {
    NamespaceQuota {
        max_ops_per_sec: Some(max),
        ..UNLIMITED
    }
}

fn edit(namespace: &'static str, quota: NamespaceQuota, delete_keys: bool) -> NamespaceEdit {
    NamespaceEdit {
        namespace: Bytes::from(namespace),
        quota,
        delete_keys,
    }
}

fn change(log: &Log, edits: Vec<NamespaceEdit>) -> Command {
    let revision = log.view().policy_revision();
    Command::EditPolicy(PolicyChange::new(revision, Vec::new()).with_namespaces(edits))
}

fn limit(log: &mut Log, namespace: &'static str, quota: NamespaceQuota) {
    let command = change(log, vec![edit(namespace, quota, false)]);
    assert!(matches!(log.run(command), Reply::PolicyEdited { .. }));
}

fn exceeded(quota: Quota, limit: u64) -> Reply {
    Reply::Rejected(Rejection::QuotaExceeded { quota, limit })
}

fn put_many(pairs: &[(&str, &str)]) -> Command {
    let item = |(key, value): &(&str, &str)| PutItem {
        key: self::key(key),
        value: Value::text(value.to_string()).into(),
        lifetime: Lifetime::Forever,
    };
    Command::PutMany {
        items: pairs.iter().map(item).collect(),
    }
}

fn of_tenant(tenant: &'static str, command: Command) -> Command {
    Command::Guarded {
        guard: Guard {
            policy_revision: 1,
            expires_at: None,
            principal: PrincipalId::NOBODY,
            is_confined: false,
            tenant: Some(Bytes::from(tenant)),
        },
        command: Box::new(command),
    }
}

/// D-SEC-8: what counts is what a request changes: an overwrite adds no key, and other namespaces are others.
#[test]
fn a_quota_of_keys_is_judged_by_what_a_request_adds() {
    let mut log = Log::new();
    limit(&mut log, "a", keys(2));
    log.put("a:1", "v");
    log.put("a:2", "v");
    assert_eq!(log.put("a:3", "v"), exceeded(Quota::NamespaceKeys, 2));
    assert!(matches!(log.put("a:1", "longer"), Reply::Written { .. }));
    for other in ["a", "b:1", ":a", "aa:1"] {
        assert!(matches!(log.put(other, "v"), Reply::Written { .. }), "{other}");
    }
    let counter = Command::Increment {
        key: key("a:n"),
        delta: 1,
        ttl: None,
    };
    assert_eq!(log.run(counter), exceeded(Quota::NamespaceKeys, 2));
    let before = log.view().revision();
    assert_eq!(
        log.run(put_many(&[("a:1", "v"), ("b:2", "v"), ("a:3", "v")])),
        exceeded(Quota::NamespaceKeys, 2)
    );
    assert_eq!(log.view().revision(), before, "I3");
    // One key for another, in one request.
    let swap = Txn {
        success: vec![
            Operation::Put {
                item: PutItem {
                    key: key("a:3"),
                    value: Value::text("v").into(),
                    lifetime: Lifetime::Forever,
                },
                return_previous: false,
            },
            Operation::Delete {
                keys: Keys::One(key("a:1")),
                return_previous: false,
            },
        ],
        ..Txn::default()
    };
    assert!(matches!(log.run(Command::Txn(swap)), Reply::Txn { .. }));
    assert_eq!(log.view().usage(b"a").keys, 2);
    assert_eq!(invariants::check(&log.store), Ok(()));
}

#[test]
fn a_quota_of_bytes_counts_keys_and_values() {
    let mut log = Log::new();
    limit(&mut log, "a", storage(10));
    assert!(
        matches!(log.put("a:1", "1234567"), Reply::Written { .. }),
        "exactly"
    );
    assert_eq!(log.put("a:1", "12345678"), exceeded(Quota::NamespaceBytes, 10));
    assert!(matches!(log.put("a:1", "1"), Reply::Written { .. }));
    assert_eq!(log.view().usage(b"a").bytes, 4);
    // What is there already may stay, and shrink, but not grow.
    limit(&mut log, "a", storage(0));
    assert!(matches!(log.put("a:1", "2"), Reply::Written { .. }));
    assert_eq!(log.put("a:1", "22"), exceeded(Quota::NamespaceBytes, 0));
    assert!(matches!(log.put("a:1", ""), Reply::Written { .. }));
    assert!(matches!(log.delete("a:1"), Reply::Deleted { existed: true, .. }));
    assert_eq!(log.put("a:1", ""), exceeded(Quota::NamespaceBytes, 0));
}

/// D-SEC-8: requests of one entry see each other, whatever has not reached the state's usage yet.
#[test]
fn writers_in_one_batch_end_at_exactly_the_quota() {
    let mut log = Log::new();
    limit(&mut log, "a", keys(1_000));
    for round in 0..20 {
        let name = |n: u64| {
            format!(
                "{}:{:05}",
                if n.is_multiple_of(3) { "b" } else { "a" },
                round * 100 + n
            )
        };
        let puts: Vec<Command> = (0..100).map(|n| put_command(&name(n), "v")).collect();
        log.batch(&puts);
    }
    assert_eq!(log.view().usage(b"a").keys, 1_000);
    assert_eq!(log.view().usage(b"b").keys, 680);
}

/// D-SEC-9: another quota is about what comes, and resets nothing.
#[test]
fn a_changed_quota_leaves_usage_as_it_is() {
    let mut log = Log::new();
    limit(&mut log, "a", keys(2));
    log.put("a:1", "v");
    log.put("a:2", "v");
    let usage = log.view().usage(b"a");
    for quota in [keys(1), storage(1), UNLIMITED, keys(3)] {
        limit(&mut log, "a", quota);
        assert_eq!(log.view().usage(b"a"), usage);
        assert_eq!(log.view().namespace(b"a").quota, quota);
    }
    log.put("a:3", "v");
    assert_eq!(log.put("a:4", "v"), exceeded(Quota::NamespaceKeys, 3));
}

#[test]
fn a_tenant_asks_as_often_as_it_may_by_the_replicated_clock() {
    let mut log = Log::new();
    limit(&mut log, "a", ops(2));
    let limited = |ms| Reply::Rejected(Rejection::RateLimited { retry_after_ms: ms });
    let touch = || {
        of_tenant(
            "a",
            Command::Touch {
                key: key("elsewhere"),
                lifetime: Lifetime::Forever,
            },
        )
    };
    let refused = Reply::Rejected(Rejection::NotFound);
    assert_eq!(
        log.batch(&[touch(), touch(), touch(), of_tenant("b", put_command("k", "v"))])[..3],
        [refused.clone(), refused.clone(), limited(500)],
        "a refusal for another reason counts, too"
    );
    log.clock += 499;
    assert_eq!(log.run(touch()), limited(1));
    log.clock += 1;
    assert_eq!(log.run(touch()), refused);
    assert_eq!(log.view().namespace(b"a").operations_left, Some(0));
    // A slow clock fills nothing (I2), and a restored replica counts on.
    log.clock -= 500;
    log.store = restored(&log.view());
    assert_eq!(log.run(touch()), limited(500));
    assert!(
        matches!(log.put("a:1", "v"), Reply::Written { .. }),
        "of no tenant"
    );
    let once = |command| Command::Idempotent {
        key: IdempotencyKey::new("k").unwrap(),
        command: Box::new(command),
    };
    assert_eq!(
        log.run(of_tenant("a", once(put_command("a:2", "v")))),
        limited(500)
    );
    log.clock += 1_000;
    assert!(matches!(
        log.run(of_tenant("a", once(put_command("a:3", "v")))),
        Reply::Written { .. }
    ));
}

#[test]
fn a_namespace_is_emptied_a_bounded_step_a_batch() {
    const STEP: usize = NAMESPACE_KEYS_EMPTIED_PER_BATCH;
    let mut log = Log::new();
    let names: Vec<String> = (0..STEP * 2 + 10).map(|n| format!("a:{n:05}")).collect();
    for some in names.chunks(500) {
        let puts: Vec<Command> = some.iter().map(|name| put_command(name, "v")).collect();
        log.batch(&puts);
    }
    log.put("a", "v");
    log.put("aa:1", "v");
    log.put("b:1", "v");
    let before = log.view().revision().get();
    let command = change(&log, vec![edit("a", UNLIMITED, true)]);
    assert!(matches!(log.run(command), Reply::PolicyEdited { .. }));
    assert_eq!(log.view().usage(b"a").keys, (STEP + 10) as u64);
    assert!(log.view().namespace(b"a").is_emptying);
    assert_eq!(
        log.store.next_deadline(),
        Some(log.view().now()),
        "also without requests"
    );
    // What is left is seen, but takes no writes but deletes.
    assert_eq!(text(&log.view(), "a:02005").as_deref(), Some("v"));
    let emptying = Reply::Rejected(Rejection::NamespaceEmptying);
    let replica = restored(&log.view());
    assert_eq!(snapshot(&replica.view()), snapshot(&log.view()), "I4");
    assert_eq!(
        log.batch(&[put_command("a:02005", "w"), put_command("a:new", "w")]),
        [emptying.clone(), emptying]
    );
    assert_eq!(log.view().usage(b"a").keys, 10);
    log.store = restored(&log.view());
    log.tick(log.clock);
    let view = log.view();
    assert_eq!(view.usage(b"a").keys, 0);
    assert!(!view.namespace(b"a").is_emptying);
    assert_eq!(log.store.next_deadline(), None);
    assert_eq!(view.revision(), rev(before + 3), "one revision a step");
    for left in ["a", "aa:1", "b:1"] {
        assert!(view.contains_key(left.as_bytes()), "{left}");
    }
    assert!(matches!(log.put("a:1", "v"), Reply::Written { .. }));
    assert_eq!(invariants::check(&log.store), Ok(()));
}

#[test]
fn a_namespace_made_anew_while_it_is_emptied_begins_empty() {
    let mut log = Log::new();
    log.put("a:1", "v");
    let edits = vec![edit("a", UNLIMITED, true), edit("a", keys(1), false)];
    let command = change(&log, edits);
    log.run(command);
    let view = log.view();
    assert_eq!((view.usage(b"a").keys, view.namespace(b"a").quota), (0, keys(1)));
    assert!(!view.namespace(b"a").is_emptying);
}

#[test]
fn what_is_no_namespace_gets_no_quota() {
    let mut log = Log::new();
    for name in ["", "a:", ":"] {
        let command = change(&log, vec![edit("b", keys(1), false), edit(name, keys(1), false)]);
        let reason = InvalidRequestReason::Namespace;
        assert_eq!(
            log.run(command),
            Reply::Rejected(Rejection::InvalidRequest { reason })
        );
    }
    assert_eq!(log.view().namespace(b"b").quota, UNLIMITED, "I3");
    assert_eq!(log.view().policy_revision(), 0);
}

#[derive(Clone, Debug)]
enum Step {
    Put(u8, u8),
    PutMany(Vec<(u8, u8)>),
    Delete(u8),
    Limit(u8, Option<u64>, Option<u64>),
    Empty(u8),
}

fn name(n: u8) -> String {
    format!("{}:{}", ["a", "b", ""][usize::from(n % 3)], n / 3 % 4)
}

fn arb_step() -> impl Strategy<Value = Step> {
    let pair = || (any::<u8>(), 0_u8..5);
    let limit = || prop::option::of(0_u64..12);
    prop_oneof![
        4 => pair().prop_map(|(key, len)| Step::Put(key, len)),
        2 => vec(pair(), 1..5).prop_map(Step::PutMany),
        2 => any::<u8>().prop_map(Step::Delete),
        2 => (0_u8..2, limit(), limit()).prop_map(|(n, keys, bytes)| Step::Limit(n, keys, bytes)),
        1 => (0_u8..2).prop_map(Step::Empty),
    ]
}

proptest! {
    /// I10, D-SEC-8: nothing that grows a namespace leaves it over its quota, what is kept is what a count gives,
    /// and a replica that was restored on the way judges alike.
    #[test]
    fn nothing_grows_beyond_its_quota(steps in vec(arb_step(), 1..40)) {
        let (mut log, mut replica) = (Log::new(), Log::new());
        for step in steps {
            let command = match &step {
                Step::Put(n, len) => put_command(&name(*n), &"v".repeat((*len).into())),
                Step::PutMany(pairs) => {
                    let pairs: Vec<_> = pairs
                        .iter()
                        .map(|(n, len)| (name(*n), "v".repeat((*len).into())))
                        .collect();
                    let pairs: Vec<(&str, &str)> = pairs.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
                    put_many(&pairs)
                }
                Step::Delete(n) => Command::Delete {
                    key: key(&name(*n)),
                    condition: None,
                    return_previous: false,
                },
                Step::Limit(n, max_keys, max_storage_bytes) => {
                    let quota = NamespaceQuota {
                        max_keys: *max_keys,
                        max_storage_bytes: *max_storage_bytes,
                        max_ops_per_sec: None,
                    };
                    change(&log, vec![edit(["a", "b"][usize::from(*n)], quota, false)])
                }
                Step::Empty(n) => {
                    let namespace = ["a", "b"][usize::from(*n)];
                    let quota = log.view().namespace(namespace.as_bytes()).quota;
                    change(&log, vec![edit(namespace, quota, true)])
                }
            };
            let before = log.view();
            let reply = log.run(command.clone());
            replica.store = restored(&replica.view());
            prop_assert_eq!(&replica.run(command), &reply);
            let view = log.view();
            for namespace in ["a", "b"].map(str::as_bytes) {
                let (was, is) = (before.usage(namespace), view.usage(namespace));
                let quota = view.namespace(namespace).quota;
                prop_assert!(is.keys <= was.keys || quota.max_keys.is_none_or(|max| is.keys <= max));
                prop_assert!(is.bytes <= was.bytes || quota.max_storage_bytes.is_none_or(|max| is.bytes <= max));
            }
            if matches!(reply, Reply::Rejected(_)) {
                prop_assert_eq!(before.revision(), view.revision(), "I3");
            }
            prop_assert_eq!(invariants::check(&log.store), Ok(()));
        }
        prop_assert_eq!(snapshot(&replica.view()), snapshot(&log.view()), "I4");
    }
}
