//! Arbitrary transactions and what they did.

use concord_core::reply::TouchOutcome;
use concord_core::*;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use crate::properties::{
    arb_key, arb_lifetime, arb_predicate, arb_stored_value, arb_touch_outcome, arb_value,
};

fn arb_keys() -> impl Strategy<Value = Keys> {
    let bound = || vec(any::<u8>(), 0..5);
    prop_oneof![
        arb_key().prop_map(Keys::One),
        bound().prop_map(|start| Keys::Range(KeyRange::from(start))),
        (bound(), bound()).prop_map(|(start, end)| Keys::Range(KeyRange::between(start, end))),
    ]
}

fn arb_compare() -> impl Strategy<Value = Compare> {
    let operator = || {
        select(vec![
            Operator::Equal,
            Operator::NotEqual,
            Operator::Less,
            Operator::Greater,
        ])
    };
    let has_order = |(operator, value): &(Operator, Value)| {
        matches!(operator, Operator::Equal | Operator::NotEqual) || value.format() != ValueFormat::Document
    };
    let number = || (operator(), any::<u64>());
    let test = prop_oneof![
        (operator(), arb_value())
            .prop_filter("documents have no order", has_order)
            .prop_map(|(operator, value)| Test::Value(operator, value)),
        number().prop_map(|(operator, number)| Test::ModRevision(operator, Revision::new(number))),
        number().prop_map(|(operator, number)| Test::CreateRevision(operator, Revision::new(number))),
        number().prop_map(|(operator, number)| Test::Version(operator, number)),
        number().prop_map(|(operator, number)| Test::Lease(operator, LeaseId::new(number))),
        any::<bool>().prop_map(Test::Exists),
        arb_predicate().prop_map(Test::Predicate),
    ];
    (arb_keys(), test).prop_map(|(keys, test)| Compare { keys, test })
}

pub(crate) fn arb_txn() -> impl Strategy<Value = Txn> {
    let put = (arb_key(), arb_stored_value(), arb_lifetime(), any::<bool>()).prop_map(
        |(key, value, lifetime, return_previous)| Operation::Put {
            item: PutItem { key, value, lifetime },
            return_previous,
        },
    );
    let get =
        (arb_keys(), prop::option::of(any::<u64>())).prop_map(|(keys, limit)| Operation::Get { keys, limit });
    let delete = (arb_keys(), any::<bool>()).prop_map(|(keys, return_previous)| Operation::Delete {
        keys,
        return_previous,
    });
    let touch =
        (arb_key(), arb_lifetime()).prop_map(|(key, lifetime)| Operation::Touch(TouchItem { key, lifetime }));
    let operation = prop_oneof![put, get, delete, touch];
    let operation = operation.prop_recursive(2, 8, 3, |inner| with(inner.boxed()).prop_map(Operation::Txn));
    with(operation.boxed())
}

fn with(operation: BoxedStrategy<Operation>) -> impl Strategy<Value = Txn> {
    let branch = || vec(operation.clone(), 0..4);
    (vec(arb_compare(), 0..3), branch(), branch()).prop_map(|(compares, success, failure)| Txn {
        compares,
        success,
        failure,
    })
}

pub(crate) fn arb_outcome(record: BoxedStrategy<Option<StoredRecord>>) -> impl Strategy<Value = TxnOutcome> {
    let records =
        || vec(record.clone(), 0..3).prop_map(|records| records.into_iter().flatten().collect::<Vec<_>>());
    let touched: BoxedStrategy<TouchOutcome> = arb_touch_outcome().boxed();
    let result = prop_oneof![
        (records(), any::<bool>()).prop_map(|(records, more)| OperationResult::Records { records, more }),
        record
            .clone()
            .prop_map(|previous| OperationResult::Written { previous }),
        (any::<u64>(), records()).prop_map(|(count, previous)| OperationResult::Deleted { count, previous }),
        touched.prop_map(OperationResult::Touched),
    ];
    let outcome = |result: BoxedStrategy<OperationResult>| {
        (any::<bool>(), vec(result, 0..4)).prop_map(|(succeeded, results)| TxnOutcome { succeeded, results })
    };
    let result = result.prop_recursive(2, 8, 3, move |inner| {
        outcome(inner.boxed()).prop_map(OperationResult::Txn)
    });
    outcome(result.boxed())
}
