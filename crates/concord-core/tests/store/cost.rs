//! What a write costs, in memory asked for: the same in every run, on every machine.

use std::sync::Arc;
use std::time::{Duration, Instant};

use concord_core::index::{Extractor, IndexDefinition, IndexName, PathStep};
use concord_core::*;

use crate::policy;
use crate::support::{Log, put_command};

const SAMPLES: u64 = 200;

/// A store with this many keys, loaded in batches.
fn loaded(keys: u64) -> Log {
    let mut log = Log::new();
    let numbers: Vec<u64> = (0..keys).collect();
    for some in numbers.chunks(500) {
        let puts: Vec<Command> = some.iter().map(|n| put_command(&name(*n), "value")).collect();
        log.batch(&puts);
    }
    log
}

fn name(n: u64) -> String {
    format!("k:{n:08}")
}

/// Bytes that an overwrite asks for, with a view published after each, as a node does.
fn bytes_per_overwrite(log: &mut Log, keys: u64) -> u64 {
    let mut held = log.view();
    let asked = allocation_counter::measure(|| {
        for n in 0..SAMPLES {
            log.put(&name(n * (keys / SAMPLES)), "other");
            held = log.view();
        }
    });
    drop(held);
    asked.bytes_total / SAMPLES
}

/// D-V3-6: a write makes anew what it changes, not what there is.
#[test]
fn a_write_costs_about_the_same_among_fifty_times_as_many_keys() {
    let few = bytes_per_overwrite(&mut loaded(1_000), 1_000);
    let many = bytes_per_overwrite(&mut loaded(50_000), 50_000);
    assert!(few > 0);
    assert!(
        many * 2 < few * 3,
        "{few} bytes among a thousand keys, {many} among fifty thousand"
    );
}

/// A plain write asks for the same memory whether others use indexes, leases, deadlines and a policy or not.
#[test]
fn what_a_write_does_not_use_costs_it_nothing() {
    const KEYS: u64 = 1_000;
    let plain = bytes_per_overwrite(&mut loaded(KEYS), KEYS);
    let mut log = loaded(KEYS);
    let index = IndexName::new("email").unwrap();
    let email = Extractor::Path(vec![PathStep::Field("email".into())]);
    let definition = IndexDefinition::new(index, b"user:".as_slice(), email, true).unwrap();
    log.run(Command::CreateIndex {
        definition: Arc::new(definition),
        fill: true,
    });
    let lease = Command::LeaseGrant {
        lease: LeaseId::new(0),
        ttl: Millis::new(60_000),
    };
    assert!(matches!(log.run(lease), Reply::LeaseGranted { .. }));
    log.put_ttl("session:1", "x", 60_000);
    let policy = vec![policy::edit("t", Some("token"))];
    log.run(Command::EditPolicy(PolicyChange::new(0, policy)));
    log.put("user:1", "no document, so not in the index");
    let beside = bytes_per_overwrite(&mut log, KEYS);
    assert!(
        beside * 100 <= plain * 102,
        "{plain} bytes alone, {beside} beside an index, a lease, a deadline and a policy"
    );
}

/// What a namespace holds is known anyway: a quota costs a write one look at two numbers.
#[test]
fn a_quota_asks_for_next_to_no_memory() {
    const KEYS: u64 = 1_000;
    let plain = bytes_per_overwrite(&mut loaded(KEYS), KEYS);
    let mut log = loaded(KEYS);
    let quota = NamespaceQuota {
        max_keys: Some(KEYS),
        max_storage_bytes: Some(1 << 20),
        max_ops_per_sec: None,
    };
    let edit = NamespaceEdit {
        namespace: "k".into(),
        quota,
        delete_keys: false,
    };
    let change = PolicyChange::new(0, Vec::new()).with_namespaces(vec![edit]);
    log.run(Command::EditPolicy(change));
    assert_eq!(log.view().namespace(b"k").quota, quota);
    let limited = bytes_per_overwrite(&mut log, KEYS);
    assert!(
        limited * 100 <= plain * 103,
        "{plain} bytes without a quota, {limited} with one"
    );
}

/// A tick looks at the first deadline, not at all leases: it asks for the same memory and takes the same steps among
/// twenty times as many. What it asks for is counted, because a list of the leases would show in it; the time is the
/// least of several runs.
#[test]
fn a_tick_costs_the_same_among_twenty_times_as_many_leases() {
    fn leased(leases: u64) -> Log {
        let mut log = Log::new();
        let grants = |some: &[u64]| -> Vec<Command> {
            let grant = |n: &u64| Command::LeaseGrant {
                lease: LeaseId::new(0),
                ttl: Millis::new(3_600_000 + n),
            };
            some.iter().map(grant).collect()
        };
        for some in (0..leases).collect::<Vec<_>>().chunks(1_000) {
            log.batch(&grants(some));
        }
        log
    }
    fn tick(log: &mut Log) -> (u64, Duration) {
        let mut least = Duration::MAX;
        let asked = allocation_counter::measure(|| {
            for _ in 0..SAMPLES {
                let began = Instant::now();
                let next = log.clock + 1;
                log.tick(next);
                least = least.min(began.elapsed());
            }
        });
        (asked.bytes_total / SAMPLES, least)
    }
    let (few_bytes, few) = tick(&mut leased(1_000));
    let (many_bytes, many) = tick(&mut leased(20_000));
    assert_eq!(few_bytes, many_bytes, "bytes asked for by a tick");
    // A scan of all would take twenty times as long.
    assert!(
        many < few * 10 + Duration::from_micros(20),
        "{few:?} among a thousand, {many:?} among twenty thousand"
    );
}
