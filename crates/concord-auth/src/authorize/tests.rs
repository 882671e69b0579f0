//! What is authorised stays where the rights are, whatever the request and whatever is stored.

use concord_core::batch::{Batch, Group};
use concord_core::key::KeyRange;
use concord_core::*;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::authorize;
use crate::rights::Rights;
use crate::{Pattern, Permission, Permissions, Principal, Request};

const KEYS: [&str; 6] = ["a", "a:1", "a:b", "a:bc", "b:1", "c"];

fn key(text: &str) -> Key {
    Key::try_from(text).unwrap()
}

fn arb_key() -> impl Strategy<Value = Key> {
    select(KEYS.to_vec()).prop_map(key)
}

fn arb_keys() -> impl Strategy<Value = Keys> {
    let range =
        select(vec!["", "a", "a:", "a:b", "b"]).prop_map(|prefix| Keys::Range(KeyRange::prefix(prefix)));
    prop_oneof![arb_key().prop_map(Keys::One), range]
}

fn arb_operation() -> impl Strategy<Value = Operation> {
    let put = (arb_key(), any::<bool>()).prop_map(|(key, return_previous)| Operation::Put {
        item: PutItem {
            key,
            value: Value::text("new").into(),
            lifetime: Lifetime::Forever,
        },
        return_previous,
    });
    let get = arb_keys().prop_map(|keys| Operation::Get { keys, limit: None });
    let delete = arb_keys().prop_map(|keys| Operation::Delete {
        keys,
        return_previous: false,
    });
    let leaf = prop_oneof![1 => put, 4 => get, 1 => delete];
    leaf.prop_recursive(3, 12, 4, |inner| arb_txn(inner).prop_map(Operation::Txn))
}

fn arb_txn(operation: impl Strategy<Value = Operation> + Clone) -> impl Strategy<Value = Txn> {
    let compare = (arb_keys(), any::<bool>()).prop_map(|(keys, exists)| Compare {
        keys,
        test: Test::Exists(exists),
    });
    let branch = || vec(operation.clone(), 0..4);
    (vec(compare, 0..2), branch(), branch()).prop_map(|(compares, success, failure)| Txn {
        compares,
        success,
        failure,
    })
}

fn arb_command() -> impl Strategy<Value = Command> {
    let put = (arb_key(), any::<bool>()).prop_map(|(key, return_previous)| Command::Put {
        key,
        value: Value::text("new").into(),
        lifetime: Lifetime::Forever,
        condition: None,
        return_previous,
    });
    let delete_many = vec(arb_key(), 0..4).prop_map(|keys| Command::DeleteMany { keys });
    let txn = arb_txn(arb_operation().boxed()).prop_map(Command::Txn);
    prop_oneof![1 => put, 1 => delete_many, 4 => txn]
}

fn arb_rights() -> impl Strategy<Value = Rights> {
    let pattern = select(vec!["*", "a*", "a:*", "a:b*", "a:b", "b:*", "*1"]);
    let bits = (0..8_u8).prop_map(|bits| Permissions::from_bits(bits).unwrap());
    vec((pattern, bits), 0..4).prop_map(|scoped| {
        let scoped = scoped
            .into_iter()
            .map(|(pattern, permissions)| (Pattern::new(pattern).unwrap(), permissions));
        Rights::new(Permissions::NONE, scoped)
    })
}

fn apply(store: &mut Store, index: u64, first_sequence: u64, requests: Vec<Command>) -> Vec<Reply> {
    let meta = Meta {
        index: LogIndex::new(index),
        term: Term::new(1),
    };
    let group = Group {
        session: SessionId::new(1),
        opens: index == 1,
        acked_below: 0,
        first_sequence,
        requests: requests.iter().map(Command::to_bytes).collect(),
    };
    let batch = Batch {
        proposed_at: Timestamp::new(1_000),
        groups: vec![group],
    };
    store.apply(meta, &batch)
}

/// A store with these of [`KEYS`].
fn stored(present: &[bool]) -> Store {
    let mut store = Store::empty();
    apply(&mut store, 1, 1, vec![]);
    let items = KEYS
        .iter()
        .zip(present)
        .filter(|(_, present)| **present)
        .map(|(name, _)| PutItem {
            key: key(name),
            value: Value::text("old").into(),
            lifetime: Lifetime::Forever,
        })
        .collect();
    apply(&mut store, 2, 1, vec![Command::PutMany { items }]);
    store
}

/// The keys whose records an answer shows.
fn shown(results: &[OperationResult], keys: &mut Vec<Key>) {
    for result in results {
        match result {
            OperationResult::Records { records, .. } => {
                keys.extend(records.iter().map(|record| record.key.clone()))
            }
            OperationResult::Txn(inner) => shown(&inner.results, keys),
            OperationResult::Written { previous } => {
                keys.extend(previous.iter().map(|record| record.key.clone()))
            }
            OperationResult::Deleted { previous, .. } => {
                keys.extend(previous.iter().map(|record| record.key.clone()));
            }
            OperationResult::Touched(_) => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    /// Compare CVE-2026-33343 and CVE-2026-44283 of etcd: what was authorised is performed, and then nothing
    /// has changed, and nothing is shown, where the right to it is missing.
    #[test]
    fn an_authorised_request_stays_within_the_rights(
        rights in arb_rights(),
        command in arb_command(),
        present in vec(any::<bool>(), KEYS.len()),
    ) {
        let principal = Principal::holding(rights);
        let Ok(authorised) = authorize(&principal, command.clone()) else {
            return Ok(());
        };
        let mut store = stored(&present);
        let before = store.view();
        let replies = apply(&mut store, 3, 2, vec![authorised.into_request()]);
        let after = store.view();
        for name in KEYS {
            let (was, is) = (before.get(name.as_bytes()), after.get(name.as_bytes()));
            let held = principal.rights().at(name.as_bytes());
            let needed = match (was.map(|r| r.mod_revision()), is.map(|r| r.mod_revision())) {
                (was, is) if was == is => continue,
                (_, Some(_)) => Permission::Write,
                (_, None) => Permission::Delete,
            };
            prop_assert!(held.covers(Permissions::of(&[needed])), "{} by {:?}", name, command);
        }
        for reply in replies {
            let mut keys = Vec::new();
            if let Reply::Txn { outcome, .. } = &reply {
                shown(&outcome.results, &mut keys);
            }
            for key in keys {
                let held = principal.rights().at(key.as_bytes());
                prop_assert!(held.covers(Permissions::of(&[Permission::Read])), "{} by {:?}", key, command);
            }
        }
    }

    /// Nobody without rights gets anything done, and everybody with all of them does.
    #[test]
    fn no_rights_allow_nothing_and_all_rights_everything(command in arb_command()) {
        let nobody = Principal::holding(Rights::everywhere(Permissions::NONE));
        prop_assert!(authorize(&nobody, command.clone()).is_err());
        let everywhere = Rights::new(Permissions::NONE, [(Pattern::new("*").unwrap(), Permissions::ALL)]);
        prop_assert!(authorize(&Principal::holding(everywhere), command.clone()).is_ok());
        prop_assert!(command.needs() != Permissions::NONE);
    }
}

#[test]
fn half_a_range_is_not_enough() {
    let rights = Rights::new(
        Permissions::NONE,
        [(Pattern::new("a:*").unwrap(), Permissions::ALL)],
    );
    let principal = Principal::holding(rights);
    let delete = |prefix: &'static str| {
        Command::Txn(Txn {
            success: vec![Operation::Delete {
                keys: Keys::Range(KeyRange::prefix(prefix)),
                return_previous: false,
            }],
            ..Txn::default()
        })
    };
    assert!(authorize(&principal, delete("a:")).is_ok());
    assert!(authorize(&principal, delete("a:b")).is_ok());
    assert!(authorize(&principal, delete("a")).is_err());
    assert!(authorize(&principal, delete("")).is_err());
}
