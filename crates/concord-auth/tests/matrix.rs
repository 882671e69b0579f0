//! Who may do what, as one printed table. A new action must appear in it.

use std::sync::Arc;

use concord_auth::{
    AdminAction, BuiltinRole, Permission, Permissions, Principal, ReadAction, Request, authorize,
};
use concord_core::ids::Revision;
use concord_core::index::{Extractor, IndexDefinition, IndexName};
use concord_core::{
    Command, Compare, Condition, Filter, Guard, IdempotencyKey, Key, KeyRange, Keys, LeaseId, Lifetime,
    Millis, Operation, PolicyChange, PrincipalId, PutItem, Settings, SubscriptionName, Test, TouchItem, Txn,
    Value,
};

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

fn row<T: Request + Clone>(name: &str, request: &T) -> String {
    let verdicts =
        BuiltinRole::ALL.map(
            |role| match authorize(&Principal::with_role(role), request.clone()) {
                Ok(_) => format!("{:<6}", "yes"),
                Err(_) => format!("{:<6}", "-"),
            },
        );
    format!("{name:<24} {}", verdicts.join(" ")).trim_end().to_owned()
}

const READS: [ReadAction; 13] = [
    ReadAction::Get,
    ReadAction::Scan,
    ReadAction::Lookup,
    ReadAction::Query,
    ReadAction::ListIndexes,
    ReadAction::History,
    ReadAction::Lease,
    ReadAction::Watch,
    ReadAction::Subscriptions,
    ReadAction::ListSubscriptions,
    ReadAction::ListWatches,
    ReadAction::Status,
    ReadAction::Settings,
];

#[test]
fn the_matrix_of_roles_and_actions_is_as_printed() {
    let mut rows: Vec<String> = commands()
        .iter()
        .map(|(name, command)| row(name, command))
        .collect();
    for read in READS {
        rows.push(row(&format!("{read:?}").to_lowercase(), &read));
    }
    for admin in [
        AdminAction::ChangeMembers,
        AdminAction::TransferLeadership,
        AdminAction::Snapshot,
        AdminAction::Backup,
    ] {
        rows.push(row(&format!("{admin:?}").to_lowercase(), &admin));
    }
    let expected = "\
put                      yes    yes    -      -
put, return previous     yes    yes    -      -
delete                   yes    yes    -      -
delete, return previous  yes    yes    -      -
touch                    yes    yes    -      -
increment                yes    yes    -      -
compact                  yes    -      -      -
configure                yes    -      -      -
put many                 yes    yes    -      -
delete many              yes    yes    -      -
delete where             yes    yes    -      -
touch many               yes    yes    -      -
txn                      yes    yes    -      -
txn, read only           yes    yes    yes    -
txn, empty               yes    yes    yes    -
grant                    yes    yes    -      -
keep alive               yes    yes    -      -
revoke                   yes    yes    -      -
create index             yes    -      -      -
drop index               yes    -      -      -
reindex                  yes    -      -      -
create a subscription    yes    yes    -      -
delete a subscription    yes    yes    -      -
acknowledge              yes    yes    -      -
reset a subscription     yes    yes    -      -
edit the policy          yes    -      -      -
get                      yes    yes    yes    -
scan                     yes    yes    yes    -
lookup                   yes    yes    yes    -
query                    yes    yes    yes    -
listindexes              yes    -      -      -
history                  yes    yes    yes    -
lease                    yes    yes    yes    -
watch                    yes    yes    yes    -
subscriptions            yes    yes    yes    -
listsubscriptions        yes    -      -      -
listwatches              yes    -      -      -
status                   yes    yes    yes    -
settings                 yes    -      -      -
changemembers            yes    -      -      -
transferleadership       yes    -      -      -
snapshot                 yes    -      -      -
backup                   yes    -      -      -";
    assert_eq!(rows.join("\n"), expected, "columns: admin editor viewer none");
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
    assert_eq!(denied.to_string(), "viewer may not Delete: it needs read+delete");
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
