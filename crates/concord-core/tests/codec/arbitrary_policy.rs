//! Arbitrary changes of the policy, arbitrary guards, and steps of restores.

use bytes::Bytes;
use concord_core::*;
use proptest::collection::vec;
use proptest::prelude::*;

/// A change of the policy, this command behind a guard, or a step of a restore.
pub(crate) fn arb_policy(command: BoxedStrategy<Command>) -> BoxedStrategy<Command> {
    let bytes = |count| vec(any::<u8>(), count).prop_map(Bytes::from);
    let edit =
        (bytes(0..5), prop::option::of(bytes(0..9))).prop_map(|(key, record)| PolicyEdit { key, record });
    let limit = || prop::option::of(any::<u64>());
    let quota = (limit(), limit(), limit()).prop_map(|(max_keys, max_storage_bytes, max_ops_per_sec)| {
        NamespaceQuota {
            max_keys,
            max_storage_bytes,
            max_ops_per_sec,
        }
    });
    let namespace =
        (bytes(0..5), quota, any::<bool>()).prop_map(|(namespace, quota, delete_keys)| NamespaceEdit {
            namespace,
            quota,
            delete_keys,
        });
    let change = (limit(), vec(edit, 0..4), vec(namespace, 0..3))
        .prop_map(|(expected, edits, namespaces)| {
            Command::EditPolicy(PolicyChange {
                expected,
                edits,
                namespaces,
            })
        })
        .boxed();
    let guard = (
        any::<u64>(),
        prop::option::of(any::<u64>()),
        vec(any::<u8>(), 0..17),
        any::<bool>(),
        prop::option::of(bytes(1..5)),
    )
        .prop_map(|(policy_revision, end, principal, is_confined, tenant)| Guard {
            policy_revision,
            expires_at: end.map(Timestamp::new),
            principal: PrincipalId::new(&principal).unwrap(),
            is_confined,
            tenant,
        });
    let guarded = (guard, prop_oneof![command, change.clone()]).prop_map(|(guard, command)| {
        let command = Box::new(command);
        Command::Guarded { guard, command }
    });
    let number = any::<u128>().prop_map(RestoreId::new);
    let step = prop_oneof![
        any::<bool>().prop_map(|keep_policy| RestoreStep::Begin { keep_policy }),
        (any::<u64>(), any::<bool>(), bytes(0..9)).prop_map(|(number, ends_chunk, bytes)| {
            RestoreStep::Piece {
                number,
                ends_chunk,
                bytes,
            }
        }),
        Just(RestoreStep::Commit),
        Just(RestoreStep::Abort),
    ];
    let restore = (number, step).prop_map(|(restore, step)| Command::Restore { restore, step });
    prop_oneof![change, guarded, restore].boxed()
}
