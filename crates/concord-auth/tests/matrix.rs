//! Who may do what, as one printed table. A new action must appear in it.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use concord_auth::policy::{Lifetime as TokenLifetime, NewToken};
use concord_auth::token::ENTROPY_BYTES;
use concord_auth::{
    Action, AdminAction, BuiltinRole, Edit, Name, Pattern, Permission, Permissions, Place, Policy, Principal,
    Read, ReadAction, Records, Request, Secret, authorize,
};
use concord_core::ids::{Revision, Timestamp};
use concord_core::index::{Extractor, IndexDefinition, IndexName};
use concord_core::{
    Command, Compare, Condition, Filter, Guard, IdempotencyKey, Key, KeyRange, Keys, LeaseId, Lifetime,
    Millis, Operation, PolicyChange, PrincipalId, PutItem, Settings, SubscriptionName, Test, TouchItem, Txn,
    Value,
};
use zeroize::Zeroizing;

fn commands() -> Vec<(&'static str, Command)> {
    let key = || Key::new("k").expect("one byte is a key");
    let put = |return_previous| Command::Put {
        key: key(),
        value: Value::binary("v").into(),
        lifetime: Lifetime::Forever,
        condition: None,
        return_previous,
    };
    let delete = |return_previous| Command::Delete {
        key: key(),
        condition: None,
        return_previous,
    };
    vec![
        ("put", put(false)),
        ("put, return previous", put(true)),
        ("delete", delete(false)),
        ("delete, return previous", delete(true)),
        (
            "touch",
            Command::Touch {
                key: key(),
                lifetime: Lifetime::Forever,
            },
        ),
        (
            "increment",
            Command::Increment {
                key: key(),
                delta: 1,
                ttl: None,
            },
        ),
        (
            "compact",
            Command::Compact {
                revision: Revision::EMPTY,
            },
        ),
        ("configure", Command::Configure(Settings::INITIAL)),
    ]
    .into_iter()
    .chain(many())
    .chain(indexes())
    .chain(subscriptions())
    .collect()
}

fn many() -> Vec<(&'static str, Command)> {
    let key = Key::new("k").expect("one byte is a key");
    let put = PutItem {
        key: key.clone(),
        value: Value::binary("v").into(),
        lifetime: Lifetime::Forever,
    };
    let touch = TouchItem {
        key: key.clone(),
        lifetime: Lifetime::Forever,
    };
    let keys = Keys::One(key.clone());
    let (lease, ttl) = (LeaseId::new(7), Millis::new(1));
    let exists = Compare {
        keys: keys.clone(),
        test: Test::Exists(true),
    };
    let delete = Operation::Delete {
        keys,
        return_previous: false,
    };
    vec![
        ("put many", Command::PutMany { items: vec![put] }),
        ("delete many", Command::DeleteMany { keys: vec![key] }),
        (
            "delete where",
            Command::DeleteWhere {
                filter: Filter::new(KeyRange::all(), vec![], None).expect("nothing to refuse"),
                limit: None,
            },
        ),
        ("touch many", Command::TouchMany { items: vec![touch] }),
        (
            "txn",
            Command::Txn(Txn {
                failure: vec![delete],
                ..Txn::default()
            }),
        ),
        (
            "txn, read only",
            Command::Txn(Txn {
                compares: vec![exists],
                ..Txn::default()
            }),
        ),
        ("txn, empty", Command::Txn(Txn::default())),
        ("grant", Command::LeaseGrant { lease, ttl }),
        ("keep alive", Command::LeaseKeepAlive { lease }),
        ("revoke", Command::LeaseRevoke { lease }),
    ]
}

fn indexes() -> Vec<(&'static str, Command)> {
    let name = || IndexName::new("i").expect("one byte is a name");
    let definition = IndexDefinition::new(name(), "", Extractor::Path(Vec::new()), false);
    vec![
        (
            "create index",
            Command::CreateIndex {
                definition: Arc::new(definition.expect("an empty path is one")),
                fill: false,
            },
        ),
        ("drop index", Command::DropIndex { name: name() }),
        ("reindex", Command::Reindex { name: name() }),
    ]
}

fn subscriptions() -> Vec<(&'static str, Command)> {
    let place = || SubscriptionName::new("s").expect("one byte is a name");
    vec![
        (
            "create a subscription",
            Command::CreateSubscription {
                name: place(),
                filter: Vec::new().into(),
                after: None,
            },
        ),
        (
            "delete a subscription",
            Command::DeleteSubscription { name: place() },
        ),
        (
            "acknowledge",
            Command::AckSubscription {
                name: place(),
                upto: Revision::new(1),
            },
        ),
        (
            "reset a subscription",
            Command::ResetSubscription {
                name: place(),
                after: None,
            },
        ),
        (
            "edit the policy",
            Command::EditPolicy(PolicyChange::new(0, Vec::new())),
        ),
    ]
}

/// The records of a policy, in memory.
#[derive(Default)]
struct Memory(BTreeMap<Bytes, Bytes>);

impl Records for &Memory {
    fn get(&self, key: &[u8]) -> Option<Bytes> {
        self.0.get(key).cloned()
    }

    fn list(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Vec<(Bytes, Bytes)> {
        let found = self
            .0
            .iter()
            .filter(|(key, _)| key.starts_with(prefix) && after.is_none_or(|after| key.as_ref() > after));
        let found = found.map(|(key, record)| (key.clone(), record.clone()));
        found.take(limit).collect()
    }
}

impl Memory {
    fn write(&mut self, edits: Vec<Edit>) {
        for edit in edits {
            match edit.record {
                Some(record) => self.0.insert(edit.key, record),
                None => self.0.remove(&edit.key),
            };
        }
    }
}

/// A token with one role that may do anything, but administer, where a pattern matches.
fn confined_to(pattern: &'static str) -> Principal {
    let mut memory = Memory::default();
    let role = Name::new("scoped").expect("the policy takes it");
    let all = BuiltinRole::Editor.permissions();
    let secret = Secret::from_entropy(&Zeroizing::new([7; ENTROPY_BYTES]));
    memory.write(
        Policy::new(&memory, 1)
            .create_role(&role, all)
            .expect("the policy takes it"),
    );
    let pattern = Pattern::new(pattern).expect("the policy takes it");
    memory.write(
        Policy::new(&memory, 2)
            .set_acl(&role, &pattern, all)
            .expect("the policy takes it"),
    );
    let now = Timestamp::new(1);
    let token = NewToken {
        hash: secret.hash(),
        name: None,
        lifetime: TokenLifetime {
            now,
            expires_at: None,
        },
        permissions: Permissions::NONE,
        roles: vec![role],
    };
    memory.write(
        Policy::new(&memory, 3)
            .create_token(&token)
            .expect("the policy takes it"),
    );
    Policy::new(&memory, 4)
        .authenticate(&secret, now)
        .expect("the policy takes it")
}

fn row<T: Request + Clone>(name: &str, request: &T) -> String {
    let unscoped = BuiltinRole::ALL.map(Principal::with_role).into_iter();
    let scoped = ["k*", "other:*"].map(confined_to);
    let verdicts = unscoped
        .chain(scoped)
        .map(|principal| match authorize(&principal, request.clone()) {
            Ok(_) => format!("{:<7}", "yes"),
            Err(_) => format!("{:<7}", "-"),
        });
    let verdicts: Vec<String> = verdicts.collect();
    format!("{name:<24} {}", verdicts.join(" ")).trim_end().to_owned()
}

fn reads() -> Vec<(&'static str, Read<'static>)> {
    static RANGE: LazyLock<KeyRange> = LazyLock::new(|| KeyRange::prefix("k:"));
    static KEYS: LazyLock<[Key; 2]> =
        LazyLock::new(|| ["k", "k2"].map(|key| Key::try_from(key).expect("it is a key")));
    vec![
        ("read", Read::Get(b"k")),
        ("read many", Read::GetMany(&*KEYS)),
        ("read none", Read::GetMany(&[])),
        ("history", Read::History(b"k")),
        ("scan", Read::Scan(&RANGE)),
        ("lookup", Read::Lookup("by-mail")),
        ("query", Read::Query(&RANGE)),
        ("explain a query", Read::Explain(&RANGE)),
        ("watch", Read::Watch(Place::Range(&RANGE))),
        ("leases", Read::Lease),
        ("indexes", Read::ListIndexes),
        ("subscription", Read::Subscriptions),
        ("subscriptions", Read::ListSubscriptions),
        ("watchers", Read::ListWatches),
        ("status", Read::Status),
        ("settings", Read::Settings),
        ("audit", Read::Audit),
        ("policy", Read::Policy),
        ("usage", Read::Usage(&RANGE)),
        ("whoami", Read::Whoami),
    ]
}

const ADMIN: [(&str, AdminAction); 5] = [
    ("change members", AdminAction::ChangeMembers),
    ("transfer leadership", AdminAction::TransferLeadership),
    ("snapshot", AdminAction::Snapshot),
    ("backup", AdminAction::Backup),
    ("restore", AdminAction::Restore),
];

/// A number for each action there is. A new one does not compile until it has one here, and then the golden
/// table must have a row for it.
fn number(action: Action) -> usize {
    match action {
        Action::Put => 0,
        Action::Delete => 1,
        Action::Touch => 2,
        Action::Increment => 3,
        Action::Compact => 4,
        Action::Configure => 5,
        Action::CreateIndex => 6,
        Action::DropIndex => 7,
        Action::Reindex => 8,
        Action::CreateSubscription => 9,
        Action::DeleteSubscription => 10,
        Action::AckSubscription => 11,
        Action::ResetSubscription => 12,
        Action::PutMany => 13,
        Action::DeleteMany => 14,
        Action::DeleteWhere => 15,
        Action::TouchMany => 16,
        Action::Txn => 17,
        Action::LeaseGrant => 18,
        Action::LeaseKeepAlive => 19,
        Action::LeaseRevoke => 20,
        Action::EditPolicy => 42,
        Action::Read(read) => {
            21 + match read {
                ReadAction::Get => 0,
                ReadAction::Scan => 1,
                ReadAction::Lookup => 2,
                ReadAction::Query => 3,
                ReadAction::Explain => 4,
                ReadAction::ListIndexes => 5,
                ReadAction::History => 6,
                ReadAction::Lease => 7,
                ReadAction::Watch => 8,
                ReadAction::Subscriptions => 9,
                ReadAction::ListSubscriptions => 10,
                ReadAction::ListWatches => 11,
                ReadAction::Status => 12,
                ReadAction::Settings => 13,
                ReadAction::Policy => 14,
                ReadAction::Whoami => 15,
                ReadAction::Audit => 16,
                ReadAction::Usage => 22,
            }
        }
        Action::Admin(admin) => {
            38 + match admin {
                AdminAction::ChangeMembers => 0,
                AdminAction::TransferLeadership => 1,
                AdminAction::Snapshot => 2,
                AdminAction::Backup => 3,
                AdminAction::Restore => 4,
            }
        }
    }
}

const ACTIONS: usize = 44;

#[test]
fn the_matrix_of_roles_and_actions_is_as_checked_in() {
    let mut rows = vec![format!(
        "{:<24} admin   editor  viewer  none    at k*   other:*",
        "",
    )];
    let mut seen = [false; ACTIONS];
    for (name, command) in commands() {
        seen[number(command.action())] = true;
        rows.push(row(name, &command));
    }
    for (name, read) in reads() {
        seen[number(read.action())] = true;
        rows.push(row(name, &read));
    }
    for (name, admin) in ADMIN {
        seen[number(admin.action())] = true;
        rows.push(row(name, &admin));
    }
    let missing = seen.iter().position(|seen| !seen);
    assert_eq!(missing, None, "the number of an action without a row");
    let found = rows.join("\n") + "\n";
    let expected = include_str!("testdata/matrix.txt");
    assert_eq!(found, expected, "tests/testdata/matrix.txt should be:\n{found}");
}

#[test]
fn a_denial_names_who_what_and_why_but_no_key() {
    let secret_key = Key::new("secret-key").unwrap();
    let denied = authorize(
        &Principal::with_role(BuiltinRole::Viewer),
        Command::Delete {
            key: secret_key,
            condition: None,
            return_previous: true,
        },
    )
    .unwrap_err();
    assert_eq!(denied.to_string(), "viewer may not delete: it needs read+delete");
    assert!(!format!("{denied:?}").contains("secret-key"));
}

#[test]
fn those_without_authentication_are_named_apart_but_may_do_everything() {
    for principal in [Principal::embedder(), Principal::anonymous()] {
        for (name, command) in commands() {
            assert!(authorize(&principal, command).is_ok(), "{principal} {name}");
        }
    }
    assert_ne!(Principal::embedder(), Principal::anonymous());
}

/// CVE-2026-44283 of etcd: a field that reads needs the right to read.
#[test]
fn conditions_and_previous_records_need_the_right_to_read() {
    let key = || Key::new("k").expect("one byte is a key");
    let put = |condition, return_previous| Command::Put {
        key: key(),
        value: Value::binary("v").into(),
        lifetime: Lifetime::Forever,
        condition,
        return_previous,
    };
    let delete = |condition, return_previous| Command::Delete {
        key: key(),
        condition,
        return_previous,
    };
    let read = Permissions::of(&[Permission::Read]);
    for (command, reads) in [
        (put(None, false), false),
        (put(None, true), true),
        (put(Some(Condition::Absent), false), true),
        (delete(None, false), false),
        (delete(None, true), true),
        (delete(Some(Condition::Present), false), true),
    ] {
        assert_eq!(command.needs().covers(read), reads, "{command:?}");
    }
}

/// The rights of a transaction are those of all its parts, nested ones and both branches.
#[test]
fn a_transaction_needs_the_rights_of_all_its_parts() {
    let key = || Key::new("k").expect("one byte is a key");
    let get = Operation::Get {
        keys: Keys::One(key()),
        limit: None,
    };
    let put = |return_previous| Operation::Put {
        item: PutItem {
            key: key(),
            value: Value::binary("v").into(),
            lifetime: Lifetime::Forever,
        },
        return_previous,
    };
    let delete = Operation::Delete {
        keys: Keys::One(key()),
        return_previous: false,
    };
    let (read, write, remove) = (Permission::Read, Permission::Write, Permission::Delete);
    for (operation, needs) in [
        (get, Permissions::of(&[read])),
        (put(false), Permissions::of(&[write])),
        (put(true), Permissions::of(&[write, read])),
        (delete, Permissions::of(&[remove, read])),
    ] {
        let nested = Txn {
            failure: vec![operation.clone()],
            ..Txn::default()
        };
        let outer = Txn {
            success: vec![Operation::Txn(nested)],
            ..Txn::default()
        };
        assert_eq!(Command::Txn(outer).needs(), needs, "{operation:?}");
    }
}

/// A guard says by what a request was allowed, and allows nothing itself.
#[test]
fn a_guard_changes_no_rights() {
    let guard = Guard {
        policy_revision: 0,
        expires_at: None,
        principal: PrincipalId::NOBODY,
        is_confined: false,
        tenant: None,
    };
    for (name, command) in commands() {
        let (action, needs) = (command.action(), command.needs());
        let (guard, command) = (guard.clone(), Box::new(command));
        let guarded = Command::Guarded { guard, command };
        assert_eq!((guarded.action(), guarded.needs()), (action, needs), "{name}");
    }
}

/// A request under an idempotency key is the request itself.
#[test]
fn an_idempotency_key_changes_no_rights() {
    for (name, command) in commands() {
        let (action, needs) = (command.action(), command.needs());
        let key = IdempotencyKey::new("once").expect("four bytes are a key");
        let command = Box::new(command);
        let named = Command::Idempotent { key, command };
        assert_eq!((named.action(), named.needs()), (action, needs), "{name}");
    }
}
