//! Every history: the store answers as the model does, now and at every revision that is still
//! kept, and a replica restored from a snapshot anywhere in it goes on alike, to equal bytes.

use std::ops::Bound;

use bytes::Bytes;
use concord_core::expr::{Binary, Expr, Expression, Variable};
use concord_core::limits::HISTORY_PAGE_MAX;
use concord_core::*;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use crate::model::{Event, Model, Records, Session};
use crate::support::{restored, snapshot};

/// Few keys, so that they collide: two namespaces, a zero byte, a prefix of another, 0xff.
const KEYS: [&[u8]; 7] = [b"a:1", b"a:2", b"b", b"b\0", b"b\0c", b"\xff", b"\xff\xff"];

#[derive(Clone, Debug)]
enum Step {
    /// New requests of a session, which says that it has the replies below a point.
    Send {
        session: usize,
        commands: Vec<Command>,
        acked: usize,
    },
    /// Requests sent before once more, from a point on, followed by new ones.
    Retry {
        session: usize,
        from: Index,
        commands: Vec<Command>,
    },
    /// Only time.
    Tick { ms: u64 },
    /// A leader whose clock is behind proposes an empty entry.
    SlowClock,
}

fn arb_key() -> impl Strategy<Value = Key> {
    select(&KEYS[..]).prop_map(|key| Key::copy_of(key).unwrap())
}

fn arb_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        (-3_i64..3).prop_map(|n| Value::text(n.to_string())),
        Just(Value::text("no number")),
        (-3_i64..3).prop_map(|n| Value::document(&Document::integer(n)).unwrap()),
        Just(Value::document(&Document::integer(i64::MAX)).unwrap()),
        vec(any::<u8>(), 0..3).prop_map(Value::binary),
        (500_usize..600).prop_map(|len| Value::binary(std::vec![7; len])),
        // A number, and long enough to be packed.
        (-3_i64..3).prop_map(|n| Value::text(format!("{n:070}"))),
        (0_u8..2).prop_map(|n| Value::text("word ".repeat(20 + usize::from(n)))),
    ]
}

fn arb_ttl() -> impl Strategy<Value = Option<Millis>> {
    prop_oneof![3 => Just(None), 3 => (1_u64..30).prop_map(|ms| Some(Millis::new(ms))), 1 => Just(Some(Millis::new(0)))]
}

fn arb_lifetime() -> impl Strategy<Value = Lifetime> {
    prop_oneof![
        8 => arb_ttl().prop_map(Lifetime::from),
        4 => (0_u64..4).prop_map(|lease| Lifetime::Lease(LeaseId::new(lease))),
    ]
}

fn arb_condition() -> impl Strategy<Value = Condition> {
    prop_oneof![
        Just(Condition::Absent),
        Just(Condition::Present),
        arb_value().prop_map(Condition::ValueIs),
        (0_u64..40).prop_map(|revision| Condition::ModRevisionIs(Revision::new(revision))),
        (0_u64..4).prop_map(Condition::VersionIs),
        arb_predicate().prop_map(Condition::Predicate),
    ]
}

/// Whether a part of a record is less than a small number: often an error, sometimes true.
fn arb_predicate() -> impl Strategy<Value = Expression> {
    let part = select(vec![
        Variable::Value,
        Variable::Version,
        Variable::TtlMs,
        Variable::Lease,
    ]);
    (part, -3_i64..20).prop_map(|(part, number)| {
        let root = Expr::Variable(part).with(Binary::Less, Expr::integer(number));
        Expression::new(root).unwrap()
    })
}

fn arb_conditional() -> impl Strategy<Value = Option<Condition>> {
    prop_oneof![2 => Just(None), 1 => arb_condition().prop_map(Some)]
}

fn arb_many() -> impl Strategy<Value = Command> {
    let put = (arb_key(), arb_value(), arb_lifetime()).prop_map(|(key, value, lifetime)| PutItem {
        key,
        value: value.into(),
        lifetime,
    });
    let touch = (arb_key(), arb_lifetime()).prop_map(|(key, lifetime)| TouchItem { key, lifetime });
    prop_oneof![
        2 => vec(put, 0..5).prop_map(|items| Command::PutMany { items }),
        1 => vec(arb_key(), 0..5).prop_map(|keys| Command::DeleteMany { keys }),
        1 => vec(touch, 0..5).prop_map(|items| Command::TouchMany { items }),
    ]
}

fn arb_keys() -> impl Strategy<Value = Keys> {
    prop_oneof![
        3 => arb_key().prop_map(Keys::One),
        1 => select(ranges()).prop_map(Keys::Range),
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
    let number = || (operator(), 0_u64..30);
    let test = prop_oneof![
        (operator(), arb_value()).prop_map(|(operator, value)| Test::Value(operator, value)),
        number().prop_map(|(operator, number)| Test::ModRevision(operator, Revision::new(number))),
        number().prop_map(|(operator, number)| Test::CreateRevision(operator, Revision::new(number))),
        number().prop_map(|(operator, number)| Test::Version(operator, number / 8)),
        number().prop_map(|(operator, number)| Test::Lease(operator, LeaseId::new(number / 8))),
        any::<bool>().prop_map(Test::Exists),
        arb_predicate().prop_map(Test::Predicate),
    ];
    (arb_keys(), test).prop_map(|(keys, test)| Compare { keys, test })
}

fn arb_operation() -> impl Strategy<Value = Operation> {
    let put = (arb_key(), arb_value(), arb_lifetime(), any::<bool>()).prop_map(
        |(key, value, lifetime, return_previous)| Operation::Put {
            item: PutItem {
                key,
                value: value.into(),
                lifetime,
            },
            return_previous,
        },
    );
    let get =
        (arb_keys(), prop::option::of(0_u64..3)).prop_map(|(keys, limit)| Operation::Get { keys, limit });
    let delete = (arb_keys(), any::<bool>()).prop_map(|(keys, return_previous)| Operation::Delete {
        keys,
        return_previous,
    });
    let touch =
        (arb_key(), arb_lifetime()).prop_map(|(key, lifetime)| Operation::Touch(TouchItem { key, lifetime }));
    let leaf = prop_oneof![3 => put, 2 => get, 2 => delete, 1 => touch];
    leaf.prop_recursive(2, 8, 3, |inner| arb_txn(inner.boxed()).prop_map(Operation::Txn))
}

fn arb_txn(operation: BoxedStrategy<Operation>) -> impl Strategy<Value = Txn> {
    let branch = || vec(operation.clone(), 0..4);
    (vec(arb_compare(), 0..2), branch(), branch()).prop_map(|(compares, success, failure)| Txn {
        compares,
        success,
        failure,
    })
}

fn arb_lease() -> impl Strategy<Value = Command> {
    let id = || (0_u64..4).prop_map(LeaseId::new);
    prop_oneof![
        3 => (id(), 0_u64..40).prop_map(|(lease, ttl)| Command::LeaseGrant { lease, ttl: Millis::new(ttl) }),
        2 => id().prop_map(|lease| Command::LeaseKeepAlive { lease }),
        1 => id().prop_map(|lease| Command::LeaseRevoke { lease }),
    ]
}

/// A command, now and then under one of few idempotency keys, which therefore collide.
fn arb_request() -> impl Strategy<Value = Command> {
    prop_oneof![
        9 => arb_command(),
        1 => (0_u8..3, arb_command()).prop_map(|(key, command)| Command::Idempotent {
            key: IdempotencyKey::new(std::vec![key]).unwrap(),
            command: Box::new(command),
        }),
        1 => (3_u8..5).prop_map(|key| Command::Idempotent {
            key: IdempotencyKey::new(std::vec![key]).unwrap(),
            command: Box::new(Command::Increment { key: Key::copy_of(KEYS[0]).unwrap(), delta: 1, ttl: None }),
        }),
    ]
}

fn arb_command() -> impl Strategy<Value = Command> {
    let put = (
        arb_key(),
        arb_value(),
        arb_lifetime(),
        arb_conditional(),
        any::<bool>(),
    )
        .prop_map(
            |(key, value, lifetime, condition, return_previous)| Command::Put {
                key,
                value: value.into(),
                lifetime,
                condition,
                return_previous,
            },
        );
    let delete =
        (arb_key(), arb_conditional(), any::<bool>()).prop_map(|(key, condition, return_previous)| {
            Command::Delete {
                key,
                condition,
                return_previous,
            }
        });
    let touch = (arb_key(), arb_lifetime()).prop_map(|(key, lifetime)| Command::Touch { key, lifetime });
    let delta = prop_oneof![-2_i64..3, Just(i64::MIN), Just(i64::MAX)];
    let increment =
        (arb_key(), delta, arb_ttl()).prop_map(|(key, delta, ttl)| Command::Increment { key, delta, ttl });
    let compact = (0_u64..60).prop_map(|revision| Command::Compact {
        revision: Revision::new(revision),
    });
    let configure = prop_oneof![Just(None), (1_u64..25).prop_map(Some)].prop_map(configure);
    prop_oneof![
        8 => put, 4 => delete, 3 => touch, 3 => increment, 1 => compact, 1 => configure, 5 => arb_many(),
        5 => arb_txn(arb_operation().boxed()).prop_map(Command::Txn), 4 => arb_lease(),
    ]
}

/// Settings under which only the number of revisions compacts, as the model can tell.
fn configure(keep_revisions: Option<u64>) -> Command {
    let compaction = Compaction {
        keep_ms: None,
        keep_revisions,
        keep_bytes: None,
    };
    Command::Configure(Settings {
        compaction,
        ..Settings::INITIAL
    })
}

fn arb_step() -> impl Strategy<Value = Step> {
    let commands = || vec(arb_request(), 1..5);
    prop_oneof![
        6 => (0_usize..2, commands(), 0_usize..1000)
            .prop_map(|(session, commands, acked)| Step::Send { session, commands, acked }),
        2 => (0_usize..2, any::<Index>(), vec(arb_request(), 0..3))
            .prop_map(|(session, from, commands)| Step::Retry { session, from, commands }),
        2 => (1_u64..20).prop_map(|ms| Step::Tick { ms }),
        1 => Just(Step::SlowClock),
    ]
}

/// The model and the sessions that talk to it, which make the batches for the store as well.
struct World {
    model: Model,
    sessions: [Session; 2],
    clock: u64,
    index: u64,
    /// Whether the store gets the values of every other request packed.
    packs: bool,
    sent: usize,
}

impl World {
    fn new(packs: bool) -> Self {
        Self {
            model: Model::new(),
            sessions: Default::default(),
            clock: 100,
            index: 0,
            packs,
            sent: 0,
        }
    }

    /// The entry of a step, and what the model answers to it.
    fn entry(&mut self, step: Step) -> (Meta, Batch, Vec<Reply>) {
        self.index += 1;
        let meta = Meta {
            index: LogIndex::new(self.index),
            term: Term::new(1),
        };
        let mut proposed_at = self.clock;
        let (mut groups, mut replies) = (Vec::new(), Vec::new());
        match step {
            Step::Tick { ms } => {
                self.clock += ms;
                proposed_at = self.clock;
                self.model.begin_batch(proposed_at);
            }
            Step::SlowClock => {
                proposed_at = 50;
                self.model.begin_batch(proposed_at);
            }
            Step::Send {
                session,
                commands,
                acked,
            } => {
                self.model.begin_batch(proposed_at);
                let sent = self.sessions[session].sent.len();
                let acked = (acked % (sent + 1)) as u64 + 1;
                let known = &mut self.sessions[session].acked_below;
                *known = (*known).max(acked);
                groups.push(self.send(session, sent, commands, &mut replies));
            }
            Step::Retry {
                session,
                from,
                commands,
            } => {
                self.model.begin_batch(proposed_at);
                let from = from.index(self.sessions[session].sent.len() + 1);
                groups.push(self.send(session, from, commands, &mut replies));
            }
        }
        self.model.end_batch();
        (
            meta,
            Batch {
                proposed_at: Timestamp::new(proposed_at),
                groups,
            },
            replies,
        )
    }

    /// Sends what was sent from `from` on once more, then `commands`.
    fn send(&mut self, id: usize, from: usize, commands: Vec<Command>, replies: &mut Vec<Reply>) -> Group {
        let session = &mut self.sessions[id];
        let (packs, sent) = (self.packs, &mut self.sent);
        let mut request = |command: &Command| {
            *sent += 1;
            let mut command = command.clone();
            if packs && *sent % 2 == 0 {
                command.each_value(&mut |value| value.pack(3));
            }
            command.to_bytes()
        };
        let mut requests: Vec<Bytes> = Vec::new();
        for (n, (command, reply)) in session.sent.iter().enumerate().skip(from) {
            requests.push(request(command));
            let is_acked = (n as u64 + 1) < session.acked_below;
            replies.push(if is_acked {
                Reply::Rejected(Rejection::SessionExpired)
            } else {
                reply.clone()
            });
        }
        for command in commands {
            requests.push(request(&command));
            let reply = self.model.apply(&command);
            replies.push(reply.clone());
            session.sent.push((command, reply));
        }
        Group {
            session: SessionId::new(id as u128),
            opens: false,
            acked_below: session.acked_below,
            first_sequence: from as u64 + 1,
            requests,
        }
    }
}

fn open_sessions(store: &mut Store) {
    let group = |id| Group {
        session: SessionId::new(id),
        opens: true,
        acked_below: 0,
        first_sequence: 1,
        requests: Vec::new(),
    };
    let meta = Meta {
        index: LogIndex::new(1),
        term: Term::new(1),
    };
    store.apply(
        meta,
        &Batch {
            proposed_at: Timestamp::new(0),
            groups: vec![group(0), group(1)],
        },
    );
}

fn ranges() -> Vec<KeyRange> {
    let mut ranges = vec![
        KeyRange::all(),
        KeyRange::prefix(&b"a:"[..]),
        KeyRange::prefix(&b"\xff"[..]),
    ];
    ranges.push(KeyRange::between(&b"a:2"[..], &b"b\0c"[..]));
    ranges.push(KeyRange::between(&b"b"[..], &b"a"[..]));
    ranges.push(KeyRange::from(&b"b\0"[..]));
    ranges
}

/// All pages of a scan, with pages of a size that makes positions matter.
fn scan(
    view: &ReadView,
    range: &KeyRange,
    direction: Direction,
    limit: usize,
    revision: Revision,
) -> Vec<Record> {
    let mut request = ScanRequest {
        direction,
        limit,
        revision: Some(revision),
        ..ScanRequest::new(range.clone())
    };
    let mut records = Vec::new();
    loop {
        let page = view.scan(&request).unwrap();
        assert_eq!(page.revision, revision);
        assert!(page.records.len() <= limit);
        records.extend(page.records);
        assert!(records.len() <= KEYS.len(), "a scan ends");
        let Some(next) = page.next else { return records };
        request.after = Some(ScanPosition::decode(&next.encode()).unwrap());
        request.revision = None;
    }
}

/// Every read of the view answers as the model does at `revision`.
fn check_revision(view: &ReadView, records: &Records, revision: Revision) {
    for key in KEYS {
        let read = view
            .get_at(key, revision)
            .unwrap()
            .map(|record| record.to_record().unwrap());
        assert_eq!(read.as_ref(), records.get(key), "I11: {key:?} at {revision}");
    }
    for range in ranges() {
        let bounds = (
            Bound::Included(range.start()),
            range.end().map_or(Bound::Unbounded, Bound::Excluded),
        );
        let mut expected: Vec<Record> = Vec::new();
        if !range.is_empty() {
            expected.extend(records.range::<[u8], _>(bounds).map(|(_, record)| record.clone()));
        }
        for limit in [1, 3] {
            assert_eq!(
                scan(view, &range, Direction::Ascending, limit, revision),
                expected
            );
            let mut descending = scan(view, &range, Direction::Descending, limit, revision);
            descending.reverse();
            assert_eq!(descending, expected);
        }
        assert_eq!(view.count(&range, Some(revision)), Ok(expected.len() as u64));
    }
}

fn check_reads(view: &ReadView, model: &Model) {
    assert_eq!(view.revision(), model.at());
    assert_eq!(view.now().get(), model.now, "I2");
    assert_eq!(view.compact_revision().get(), model.compact_revision);
    let packed = view.statistics().packed;
    if packed.values == 0 {
        let usage = view
            .namespaces()
            .map(|(namespace, usage)| (namespace.to_vec(), usage))
            .collect();
        assert_eq!(model.usage(), usage, "I10");
    }
    let raw_bytes: u64 = model.usage().values().map(|usage| usage.bytes).sum();
    let stored_bytes = view.statistics().usage.bytes;
    assert_eq!(stored_bytes - packed.stored_bytes + packed.raw_bytes, raw_bytes);
    for revision in model.compact_revision.max(1)..=model.revision {
        check_revision(view, model.state_at(revision), Revision::new(revision));
    }
    if model.compact_revision > 0 {
        let before = Revision::new(model.compact_revision - 1);
        let compacted = ViewError::Compacted {
            compact_revision: Revision::new(model.compact_revision),
        };
        assert_eq!(view.get_at(b"b", before).unwrap_err(), compacted);
        assert_eq!(view.changes(before).unwrap_err(), compacted);
    }
    assert_eq!(
        view.get_at(b"b", model.at().next()).unwrap_err(),
        ViewError::FutureRevision { revision: model.at() }
    );
}

fn check_events(view: &ReadView, model: &Model) {
    for after in model.compact_revision..=model.revision {
        let after = Revision::new(after);
        let events = view.changes(after).unwrap().map(|change| Event {
            revision: change.revision(),
            kind: change.kind(),
            key: change.key().to_vec(),
            record: change.record().map(|record| record.to_record().unwrap()),
            previous: change.previous().map(|record| record.to_record().unwrap()),
        });
        let expected = model
            .events
            .iter()
            .filter(|event| event.revision > after)
            .cloned();
        assert_eq!(events.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
    }
    for key in KEYS {
        for limit in [1, 2, HISTORY_PAGE_MAX] {
            for direction in [Direction::Ascending, Direction::Descending] {
                let mut expected = model.versions(key);
                if direction == Direction::Descending {
                    expected.reverse();
                }
                assert_eq!(
                    history(view, key, direction, limit),
                    expected,
                    "{key:?} {direction:?} {limit}"
                );
            }
        }
    }
}

fn history(view: &ReadView, key: &[u8], direction: Direction, limit: usize) -> Vec<Version> {
    let mut request = HistoryRequest {
        direction,
        limit,
        ..HistoryRequest::new(Key::copy_of(key).unwrap())
    };
    let mut versions = Vec::new();
    loop {
        let page = view.history(&request).unwrap();
        versions.extend(page.versions);
        assert!(versions.len() <= 1_000, "a listing ends");
        let Some(next) = page.next else { return versions };
        request.after = Some(next);
    }
}

/// Replies as they come to who asked.
fn unpacked(mut replies: Vec<Reply>) -> Vec<Reply> {
    for reply in &mut replies {
        reply.unpack().unwrap();
    }
    replies
}

fn check_leases(view: &ReadView, model: &Model) -> Result<(), TestCaseError> {
    let leases: Vec<_> = view.leases(None).collect();
    prop_assert_eq!(leases.len(), view.lease_count());
    for lease in leases {
        let known = model.leases.get(&lease.id).copied();
        prop_assert_eq!(known, Some((lease.ttl, lease.expires_at)));
        let keys: Vec<_> = view.lease_keys(lease.id, None).map(<[u8]>::to_vec).collect();
        for (place, key) in keys.iter().enumerate() {
            let behind = view.lease_keys(lease.id, Some(key));
            prop_assert!(behind.eq(&keys[place + 1..]), "those behind {key:?}");
        }
        prop_assert_eq!(keys.len() as u64, lease.keys);
        prop_assert_eq!(keys, model.keys_on(lease.id));
    }
    prop_assert_eq!(view.lease_count(), model.leases.len());
    Ok(())
}

fn check_history(steps: Vec<Step>, cut: &Index, packs: bool) -> Result<(), TestCaseError> {
    let cut = cut.index(steps.len());
    let mut world = World::new(packs);
    let (mut store, mut replica) = (Store::empty(), None);
    open_sessions(&mut store);
    world.index = 1;
    let first = Step::Send {
        session: 0,
        commands: vec![configure(None)],
        acked: 0,
    };
    let mut views = Vec::new();
    for (n, step) in std::iter::once(first).chain(steps).enumerate() {
        let (meta, batch, expected) = world.entry(step);
        // What is applied went through the log.
        let mut bytes = Vec::new();
        batch.encode(&mut bytes);
        let batch = Batch::decode(&Bytes::from(bytes)).unwrap();

        prop_assert_eq!(unpacked(store.apply(meta, &batch)), expected.clone());
        prop_assert_eq!(invariants::check(&store), Ok(()));
        let view = store.view();
        check_leases(&view, &world.model)?;
        for key in KEYS {
            let read = view.get(key).map(|record| record.to_record().unwrap());
            prop_assert_eq!(read.as_ref(), world.model.live.get(key), "I17");
            prop_assert_eq!(
                view.get_pinned(key).map(|record| record.to_value().unwrap()),
                read.map(|read| read.value)
            );
        }
        if let Some(replica) = &mut replica {
            let replica: &mut Store = replica;
            prop_assert_eq!(unpacked(replica.apply(meta, &batch)), expected);
        }
        if n == cut {
            replica = Some(restored(&view));
        }
        views.push((view, world.model.revision, world.model.now));
    }
    let view = store.view();
    check_reads(&view, &world.model);
    check_events(&view, &world.model);
    let replica = replica.unwrap();
    prop_assert_eq!(invariants::check(&replica), Ok(()));
    prop_assert_eq!(snapshot(&replica.view()), snapshot(&view), "I4");
    prop_assert_eq!(replica.next_deadline(), store.next_deadline());
    // I15: views taken on the way show what they showed.
    for (view, revision, now) in views {
        prop_assert_eq!((view.revision().get(), view.now().get()), (revision, now));
        let all = KeyRange::all();
        let records = view
            .records(&all, Direction::Ascending)
            .map(|record| record.to_record().unwrap());
        prop_assert_eq!(
            records.collect::<Vec<_>>(),
            world
                .model
                .state_at(revision)
                .values()
                .cloned()
                .collect::<Vec<_>>()
        );
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn store_and_restored_replica_match_the_model(
        steps in vec(arb_step(), 1..40),
        cut in any::<Index>(),
    ) {
        check_history(steps, &cut, false)?;
    }

    /// D-DATA-2: whatever is packed on its way in, every answer is as if it were not.
    #[test]
    fn packed_values_change_no_answer(
        steps in vec(arb_step(), 1..40),
        cut in any::<Index>(),
    ) {
        check_history(steps, &cut, true)?;
    }
}
