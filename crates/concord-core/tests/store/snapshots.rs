//! Snapshots: complete, equal for equal states, and refused when anything is off.

use bytes::Bytes;
use concord_core::*;

use crate::support::{Log, key, put_command, restored, snapshot};

/// A bit of everything, over several chunks.
fn varied() -> Log {
    let mut log = Log::new();
    for n in 0..300_u64 {
        let value = Value::binary(vec![7; usize::try_from(n * 120).unwrap()]);
        let ttl = (n % 3 == 0).then(|| Millis::new(1 + n * 10));
        log.run(Command::Put {
            key: key(&format!("ns{}:{n}", n % 5)),
            value: value.into(),
            lifetime: ttl.into(),
            condition: None,
            return_previous: n % 7 == 0,
        });
        log.clock += 5;
        if n % 4 == 0 {
            log.delete(&format!("ns{}:{}", n % 5, n / 2));
        }
    }
    log
}

/// D-RAFT-4, D-RAFT-6: a snapshot is the complete state, and a restored store goes on as the
/// first one does, sessions and expiry included.
#[test]
fn a_restored_store_is_the_same_in_all_it_does() {
    let mut log = varied();
    let chunks = snapshot(&log.view());
    assert!(chunks.len() > 2);
    assert!(
        chunks
            .iter()
            .all(|chunk| chunk.len() <= limits::SNAPSHOT_CHUNK_BYTES + 40_000)
    );
    let mut replica = Log {
        store: restored(&log.view()),
        ..Log::new()
    };
    (replica.index, replica.clock, replica.sequence) = (log.index, log.clock, log.sequence);
    assert_eq!(invariants::check(&replica.store), Ok(()));
    assert_eq!(replica.store.next_deadline(), log.store.next_deadline());
    for clock in (log.clock..log.clock + 4_000).step_by(500) {
        for log in [&mut log, &mut replica] {
            log.tick(clock);
            log.put("ns1:x", "1");
        }
        assert_eq!(snapshot(&replica.view()), snapshot(&log.view()), "I4");
    }
}

#[test]
fn an_empty_store_has_a_snapshot() {
    let store = Store::empty();
    let chunks = snapshot(&store.view());
    assert_eq!(chunks.len(), 1);
    assert_eq!(snapshot(&restored(&store.view()).view()), chunks);
}

fn restore(chunks: &[Bytes]) -> Result<Store, codec::DecodeError> {
    let mut restorer = Store::restorer();
    for chunk in chunks {
        restorer.feed(chunk)?;
    }
    restorer.finish()
}

#[test]
fn missing_repeated_and_swapped_chunks_are_refused() {
    let chunks = snapshot(&varied().view());
    assert!(restore(&chunks).is_ok());
    for n in 0..chunks.len() {
        let mut fewer = chunks.clone();
        fewer.remove(n);
        assert!(restore(&fewer).is_err(), "without chunk {n}");
        let mut more = chunks.clone();
        more.insert(n, chunks[n].clone());
        assert!(restore(&more).is_err(), "chunk {n} twice");
    }
    let mut swapped = chunks;
    swapped.swap(0, 1);
    assert!(restore(&swapped).is_err());
}

#[test]
fn a_cut_snapshot_is_refused() {
    let mut log = Log::new();
    log.put_ttl("a", "1", 50);
    log.put("a", "2");
    log.delete("a");
    log.put("b", "1");
    let chunk = snapshot(&log.view()).remove(0);
    for cut in 0..chunk.len() {
        assert!(restore(&[chunk.slice(..cut)]).is_err(), "cut at {cut}");
    }
}

/// Any changed byte gives an error or a store whose parts can be read; never a panic.
#[test]
fn changed_snapshots_never_panic() {
    let mut log = Log::new();
    log.batch(&[
        put_command("a:1", "1"),
        put_command("a:1", "2"),
        put_command("b", "3"),
    ]);
    log.put_ttl("c", "1", 5);
    log.delete("a:1");
    log.tick(2_000);
    log.put("a:1", &"long".repeat(200));
    log.put("a:1", "4");
    let chunk = snapshot(&log.view()).remove(0);
    for at in 0..chunk.len() {
        for change in [1, 0x80, 0xff] {
            let mut bytes = chunk.to_vec();
            bytes[at] ^= change;
            let Ok(store) = restore(&[Bytes::from(bytes)]) else {
                continue;
            };
            let mut log = Log {
                store,
                index: 1 << 40,
                ..Log::new()
            };
            let view = log.view();
            if let Ok(changes) = view.changes(view.compact_revision()) {
                for change in changes {
                    let _ = (change.record(), change.previous());
                }
            }
            for revision in view.compact_revision().get()..view.revision().get().min(100) {
                let revision = Some(Revision::new(revision));
                let _ = view.scan(&ScanRequest {
                    revision,
                    ..ScanRequest::new(KeyRange::all())
                });
            }
            log.index = 1 << 41;
            log.clock = 10_000;
            log.put("a:1", "5");
            log.delete("b");
            log.run(Command::Compact {
                revision: log.view().revision(),
            });
            let _ = snapshot(&log.view());
        }
    }
}
