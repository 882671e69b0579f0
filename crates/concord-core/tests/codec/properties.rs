//! Decoders against arbitrary and damaged bytes: total, exact, and canonical.

use bytes::Bytes;
use std::sync::Arc;

use concord_core::document::{Finite, Integer};
use concord_core::expr::{Binary, Expr, Expression, Variable};
use concord_core::glob::Glob;
use concord_core::index::{Extractor, IndexDefinition, IndexName, PathStep};
use concord_core::pattern::{Assertion, Instruction, Pattern};
use concord_core::reply::{BatchUnit, Quota, RequestPart, TouchOutcome};
use concord_core::*;
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

use crate::arbitrary_policy::arb_policy;
use crate::arbitrary_txn::{arb_outcome, arb_txn};

pub(crate) fn arb_key() -> impl Strategy<Value = Key> {
    prop_oneof![vec(any::<u8>(), 1..20), vec(any::<u8>(), 1024)].prop_map(|bytes| Key::new(bytes).unwrap())
}

fn arb_document() -> impl Strategy<Value = Document> {
    let leaf = prop_oneof![
        Just(Document::Null),
        any::<bool>().prop_map(Document::Bool),
        any::<i64>().prop_map(|n| Document::Integer(Integer::from(n))),
        any::<u64>().prop_map(|n| Document::Integer(Integer::from(n))),
        (-200_i64..200).prop_map(|n| Document::Integer(Integer::from(n))),
        any::<f64>().prop_filter_map("finite", |n| Finite::new(n).map(Document::Float)),
        ".{0,40}".prop_map(Document::String),
    ];
    leaf.prop_recursive(4, 64, 20, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..20).prop_map(Document::Array),
            btree_map(".{0,5}", inner, 0..20).prop_map(Document::Object),
        ]
    })
}

pub(crate) fn arb_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        vec(any::<u8>(), 0..200).prop_map(Value::binary),
        ".{0,50}".prop_map(Value::text),
        arb_document().prop_map(|document| Value::document(&document).unwrap()),
    ]
}

/// Now and then packed.
pub(crate) fn arb_stored_value() -> impl Strategy<Value = StoredValue> {
    let long = (".{1,9}", 30_usize..60).prop_map(|(text, times)| Value::text(text.repeat(times)));
    prop_oneof![3 => arb_value(), 1 => long].prop_map(|value| {
        let mut value = StoredValue::from(value);
        value.pack(1);
        value
    })
}

fn arb_ttl() -> impl Strategy<Value = Option<Millis>> {
    prop::option::of(any::<u64>().prop_map(Millis::new))
}

pub(crate) fn arb_lifetime() -> impl Strategy<Value = Lifetime> {
    prop_oneof![
        arb_ttl().prop_map(Lifetime::from),
        any::<u64>().prop_map(|lease| Lifetime::Lease(LeaseId::new(lease))),
    ]
}

fn arb_condition() -> impl Strategy<Value = Option<Condition>> {
    prop::option::of(prop_oneof![
        Just(Condition::Absent),
        Just(Condition::Present),
        arb_value().prop_map(Condition::ValueIs),
        any::<u64>().prop_map(|revision| Condition::ModRevisionIs(Revision::new(revision))),
        any::<u64>().prop_map(Condition::VersionIs),
        arb_predicate().prop_map(Condition::Predicate),
    ])
}

pub(crate) fn arb_predicate() -> impl Strategy<Value = Expression> {
    "[a-z]{1,5}".prop_map(|name| {
        let field = Expr::Variable(Variable::Value).field(name);
        Expression::new(field.with(Binary::Equal, Expr::integer(1_i64))).unwrap()
    })
}

fn arb_write() -> impl Strategy<Value = Command> {
    let put = (
        arb_key(),
        arb_stored_value(),
        arb_lifetime(),
        arb_condition(),
        any::<bool>(),
    )
        .prop_map(
            |(key, value, lifetime, condition, return_previous)| Command::Put {
                key,
                value,
                lifetime,
                condition,
                return_previous,
            },
        );
    let delete = (arb_key(), arb_condition(), any::<bool>()).prop_map(|(key, condition, return_previous)| {
        Command::Delete {
            key,
            condition,
            return_previous,
        }
    });
    let touch = (arb_key(), arb_lifetime()).prop_map(|(key, lifetime)| Command::Touch { key, lifetime });
    let increment = (arb_key(), any::<i64>(), arb_ttl()).prop_map(|(key, delta, ttl)| Command::Increment {
        key,
        delta,
        ttl,
    });
    prop_oneof![put, delete, touch, increment]
}

fn arb_many() -> impl Strategy<Value = Command> {
    let put = (arb_key(), arb_stored_value(), arb_lifetime()).prop_map(|(key, value, lifetime)| PutItem {
        key,
        value,
        lifetime,
    });
    let touch = (arb_key(), arb_lifetime()).prop_map(|(key, lifetime)| TouchItem { key, lifetime });
    prop_oneof![
        vec(put, 0..6).prop_map(|items| Command::PutMany { items }),
        vec(arb_key(), 0..6).prop_map(|keys| Command::DeleteMany { keys }),
        vec(touch, 0..6).prop_map(|items| Command::TouchMany { items }),
    ]
}

fn arb_idempotent() -> impl Strategy<Value = Command> {
    (vec(any::<u8>(), 1..256), arb_write()).prop_map(|(key, command)| Command::Idempotent {
        key: IdempotencyKey::new(key).unwrap(),
        command: Box::new(command),
    })
}

fn arb_lease() -> impl Strategy<Value = Command> {
    let lease = || any::<u64>().prop_map(LeaseId::new);
    prop_oneof![
        (lease(), any::<u64>().prop_map(Millis::new))
            .prop_map(|(lease, ttl)| Command::LeaseGrant { lease, ttl }),
        lease().prop_map(|lease| Command::LeaseKeepAlive { lease }),
        lease().prop_map(|lease| Command::LeaseRevoke { lease }),
    ]
}

fn arb_command() -> impl Strategy<Value = Command> {
    let compaction = (
        arb_ttl(),
        prop::option::of(any::<u64>()),
        prop::option::of(any::<u64>()),
    )
        .prop_map(|(keep_ms, keep_revisions, keep_bytes)| Compaction {
            keep_ms,
            keep_revisions,
            keep_bytes,
        });
    prop_oneof![
        4 => arb_write(),
        3 => arb_many(),
        3 => arb_txn().prop_map(Command::Txn),
        2 => arb_lease(),
        1 => arb_index(),
        1 => arb_filter(),
        1 => arb_idempotent().boxed(),
        2 => arb_policy(prop_oneof![arb_write(), arb_lease()].boxed()),
        1 => any::<u64>().prop_map(|revision| Command::Compact {
            revision: Revision::new(revision)
        }),
        1 => (any::<u64>(), compaction).prop_map(|(value_bytes_max, compaction)| Command::Configure(Settings {
            value_bytes_max,
            compaction
        })),
    ]
}

fn arb_filter() -> impl Strategy<Value = Command> {
    let bytes = || vec(any::<u8>(), 0..5).prop_map(Bytes::from);
    let range = prop_oneof![
        (bytes(), bytes()).prop_map(|(start, end)| KeyRange::between(start, end)),
        bytes().prop_map(KeyRange::from),
    ];
    let step = prop_oneof![
        vec(any::<(u32, u32)>(), 0..3).prop_map(Instruction::Class),
        Just(Instruction::Split(0, 0)),
        Just(Instruction::Jump(0)),
        Just(Instruction::Assert(Assertion::End)),
        Just(Instruction::Match),
    ];
    let test = prop_oneof![
        bytes().prop_map(KeyTest::Suffix),
        bytes().prop_map(KeyTest::Contains),
        "[a-z*?]{1,4}".prop_map(|text| KeyTest::Glob(Glob::new(text).unwrap())),
        vec(step, 1..5).prop_map(|program| KeyTest::Pattern(Pattern::new(program).unwrap())),
    ];
    let predicate = prop::option::of(any::<u64>().prop_map(|n| Expression::new(Expr::integer(n)).unwrap()));
    (range, vec(test, 0..4), predicate, prop::option::of(any::<u64>())).prop_map(
        |(range, tests, predicate, limit)| Command::DeleteWhere {
            filter: Filter::new(range, tests, predicate).unwrap(),
            limit,
        },
    )
}

fn arb_index() -> impl Strategy<Value = Command> {
    let name = || "\\PC{1,9}".prop_map(|name| IndexName::new(name).unwrap());
    let step = prop_oneof!["\\PC{0,9}".prop_map(PathStep::Field), Just(PathStep::Each),];
    let extractor = prop_oneof![
        vec(step, 0..4).prop_map(Extractor::Path),
        any::<u64>().prop_map(|n| Extractor::Expression(Expression::new(Expr::integer(n)).unwrap())),
    ];
    let definition = (
        name(),
        vec(any::<u8>(), 0..5),
        extractor,
        any::<bool>(),
        any::<bool>(),
    );
    prop_oneof![
        2 => definition.prop_map(|(name, prefix, extractor, unique, fill)| Command::CreateIndex {
            definition: Arc::new(IndexDefinition::new(name, prefix, extractor, unique).unwrap()),
            fill,
        }),
        1 => name().prop_map(|name| Command::DropIndex { name }),
        1 => name().prop_map(|name| Command::Reindex { name }),
    ]
}

fn arb_reply() -> impl Strategy<Value = Reply> {
    let revision = || any::<u64>().prop_map(Revision::new);
    let record = (
        arb_key(),
        arb_stored_value(),
        revision(),
        revision(),
        any::<u64>(),
        arb_ttl(),
    )
        .prop_map(
            |(key, value, create_revision, mod_revision, version, expires)| StoredRecord {
                key,
                value,
                create_revision,
                mod_revision,
                version,
                expires_at: expires.map(|at| Timestamp::new(at.get())),
                lease: expires.map(|id| LeaseId::new(id.get())),
            },
        );
    let record = prop::option::of(record).boxed();
    prop_oneof![
        (revision(), record.clone()).prop_map(|(revision, previous)| Reply::Written { revision, previous }),
        (revision(), any::<bool>(), record.clone()).prop_map(|(revision, existed, previous)| {
            Reply::Deleted {
                revision,
                existed,
                previous,
            }
        }),
        (revision(), any::<i64>()).prop_map(|(revision, value)| Reply::Incremented { revision, value }),
        revision().prop_map(|revision| Reply::WrittenMany { revision }),
        (revision(), vec(any::<bool>(), 0..6))
            .prop_map(|(revision, existed)| Reply::DeletedMany { revision, existed }),
        (revision(), vec(arb_touch_outcome(), 0..6))
            .prop_map(|(revision, outcomes)| Reply::TouchedMany { revision, outcomes }),
        (revision(), any::<[u64; 3]>(), any::<bool>()).prop_map(|(revision, numbers, is_new)| {
            let [lease, ttl, expires_at] = numbers;
            let (lease, ttl) = (LeaseId::new(lease), Millis::new(ttl));
            let expires_at = Timestamp::new(expires_at);
            if is_new {
                Reply::LeaseGranted {
                    revision,
                    lease,
                    ttl,
                    expires_at,
                }
            } else {
                Reply::LeaseKept {
                    revision,
                    lease,
                    ttl,
                    expires_at,
                }
            }
        }),
        (revision(), any::<u64>()).prop_map(|(revision, keys)| Reply::LeaseRevoked { revision, keys }),
        (revision(), any::<u64>(), any::<bool>()).prop_map(|(revision, count, more)| Reply::DeletedWhere {
            revision,
            count,
            more
        }),
        (revision(), arb_outcome(record.clone()))
            .prop_map(|(revision, outcome)| Reply::Txn { revision, outcome }),
        arb_rejection(record.clone()).prop_map(Reply::Rejected),
    ]
}

pub(crate) fn arb_touch_outcome() -> impl Strategy<Value = TouchOutcome> {
    prop_oneof![
        Just(TouchOutcome::NotFound),
        prop::option::of(any::<u64>().prop_map(Timestamp::new))
            .prop_map(|expires_at| TouchOutcome::Touched { expires_at }),
    ]
}

fn arb_rejection(record: BoxedStrategy<Option<StoredRecord>>) -> impl Strategy<Value = Rejection> {
    let leaf = prop_oneof![
        any::<u64>().prop_map(|ttl_ms| Rejection::InvalidTtl { ttl_ms }),
        Just(Rejection::IndexExists),
        Just(Rejection::UniqueViolation {
            index: IndexName::new("i").unwrap()
        }),
        any::<u64>().prop_map(|revision| Rejection::FutureRevision {
            revision: Revision::new(revision)
        }),
        record.prop_map(|current| Rejection::ConditionFailed {
            current: current.map(Box::new)
        }),
        (any::<u64>(), any::<u64>()).prop_map(|(count, limit)| Rejection::BatchTooLarge {
            unit: BatchUnit::Items,
            count,
            limit
        }),
        any::<u64>().prop_map(|lease| Rejection::LeaseNotFound {
            lease: LeaseId::new(lease)
        }),
        any::<u64>().prop_map(|lease| Rejection::LeaseExists {
            lease: LeaseId::new(lease)
        }),
        any::<u64>().prop_map(|limit| Rejection::QuotaExceeded {
            quota: Quota::LeaseKeys,
            limit
        }),
    ];
    leaf.prop_recursive(4, 4, 1, |inner| {
        (any::<u64>(), inner).prop_map(|(index, cause)| Rejection::InPart {
            part: RequestPart::Item,
            index,
            cause: Box::new(cause),
        })
    })
}

/// What decodes encodes to the same bytes: there is one form of everything.
fn check_canonical(bytes: &[u8]) {
    let shared = Bytes::copy_from_slice(bytes);
    if let Ok(command) = Command::decode(&shared) {
        assert_eq!(command.to_bytes(), shared);
    }
    let mut out = Vec::new();
    if let Ok(reply) = Reply::decode(&shared) {
        reply.encode(&mut out);
        assert_eq!(out, bytes);
    }
    out.clear();
    if let Ok(batch) = Batch::decode(&shared) {
        batch.encode(&mut out);
        assert_eq!(out, bytes);
    }
    out.clear();
    if let Ok(group) = Group::decode(&shared) {
        group.encode(&mut out);
        assert_eq!(out, bytes);
    }
    assert_eq!(document::validate(bytes).is_ok(), Document::decode(bytes).is_ok());
    if let Ok(document) = Document::decode(bytes) {
        assert_eq!(document.encode().unwrap(), bytes);
    }
    let _ = ScanPosition::decode(bytes);
    let _ = Store::restorer().feed(&shared);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn commands_read_back(command in arb_command()) {
        prop_assert_eq!(Command::decode(&command.to_bytes()), Ok(command));
    }

    #[test]
    fn replies_read_back(reply in arb_reply()) {
        let mut bytes = Vec::new();
        reply.encode(&mut bytes);
        prop_assert_eq!(Reply::decode(&Bytes::from(bytes)), Ok(reply));
    }

    /// Equal documents are equal bytes, and the other way round.
    #[test]
    fn documents_read_back(one in arb_document(), two in arb_document()) {
        let (bytes, other) = (one.encode().unwrap(), two.encode().unwrap());
        prop_assert_eq!(bytes == other, one == two);
        prop_assert_eq!(document::validate(&bytes), Ok(()));
        prop_assert_eq!(Document::decode(&bytes), Ok(one));
    }

    #[test]
    fn arbitrary_bytes_never_panic(mut bytes in vec(any::<u8>(), 0..200), version in any::<bool>()) {
        if version && let Some(first) = bytes.first_mut() {
            *first = 1;
        }
        check_canonical(&bytes);
    }

    /// One damaged byte in something valid: refused, or something else that is as canonical.
    #[test]
    fn damaged_bytes_never_panic(
        command in arb_command(),
        reply in arb_reply(),
        at in any::<prop::sample::Index>(),
        change in 1_u8..,
        cut in any::<prop::sample::Index>(),
    ) {
        let request = command.to_bytes();
        let mut answer = Vec::new();
        reply.encode(&mut answer);
        let group = Group {
            session: SessionId::new(3),
            opens: false,
            acked_below: 1,
            first_sequence: 2,
            requests: vec![request.clone(), Bytes::new(), request.clone()],
        };
        let mut batch = Vec::new();
        Batch { proposed_at: Timestamp::new(5), groups: vec![group.clone(), group] }.encode(&mut batch);
        for mut bytes in [request.to_vec(), answer, batch] {
            check_canonical(&bytes[..cut.index(bytes.len())]);
            let at = at.index(bytes.len());
            bytes[at] ^= change;
            check_canonical(&bytes);
        }
    }
}
