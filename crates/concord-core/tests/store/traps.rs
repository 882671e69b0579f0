//! What the system before this one got wrong, as far as the core can show that it does not
//! come back. Each test names its line in the list of traps.

use bytes::Bytes;
use concord_core::*;

use crate::support::{Log, at, key, put_command, restored, rev, snapshot, text};

/// D-RAFT-1: expiry is judged by the stamps in the log, so replays agree.
#[test]
fn replays_reach_the_same_state() {
    let run = || {
        let mut log = Log::new();
        for n in 0..200 {
            log.clock += n % 7;
            log.put_ttl(&format!("k{}", n % 20), "v", 1 + n % 30);
            log.run(Command::Touch {
                key: key(&format!("k{}", n % 13)),
                lifetime: Lifetime::Ttl(Millis::new(10)),
            });
        }
        snapshot(&log.view())
    };
    assert_eq!(run(), run());
}

/// I2: a leader whose clock is behind neither revives nor prolongs anything.
#[test]
fn a_slow_leader_does_not_turn_time_back() {
    let mut log = Log::new();
    log.tick(5_000);
    log.clock = 1_000;
    log.put_ttl("a", "1", 10);
    assert_eq!(log.view().now(), at(5_000));
    assert_eq!(log.view().get(b"a").unwrap().expires_at(), Some(at(5_010)));
}

/// D-RAFT-2: apply is total: no request, however odd, stops a replica.
#[test]
fn odd_requests_are_refused() {
    let mut log = Log::new();
    let good = put_command("key", "value").to_bytes();
    let mut requests: Vec<Bytes> = vec![Bytes::new(), Bytes::from(vec![0xff; 100])];
    for cut in 0..good.len() {
        requests.push(good.slice(..cut));
    }
    for at in 0..good.len() {
        for change in [1, 0x40, 0xff] {
            let mut bytes = good.to_vec();
            bytes[at] ^= change;
            requests.push(Bytes::from(bytes));
        }
    }
    let count = requests.len();
    assert_eq!(log.bytes(requests).len(), count, "one answer each");
    assert_eq!(invariants::check(&log.store), Ok(()));
}

/// D-RAFT-5: a request of a kind that is not known is refused by name, never a silent success.
#[test]
fn unknown_requests_are_unsupported() {
    let mut log = Log::new();
    let replies = log.bytes(vec![
        Bytes::from_static(&[1, 200, 0]),
        Bytes::from_static(&[9, 1]),
    ]);
    let unsupported = |version, code| Reply::Rejected(Rejection::Unsupported { version, code });
    assert_eq!(replies, [unsupported(1, 200), unsupported(9, 0)]);
    assert_eq!(
        Rejection::Unsupported {
            version: 1,
            code: 200
        }
        .name(),
        "unsupported"
    );
}

/// D-RAFT-3, D-RAFT-8: stores share nothing; any number live in one process.
#[test]
fn two_stores_do_not_meet() {
    let (mut one, mut two) = (Log::new(), Log::new());
    one.put("a", "1");
    two.put("a", "2");
    assert_eq!(
        (text(&one.view(), "a"), text(&two.view(), "a")),
        (Some("1".into()), Some("2".into()))
    );
}

/// D-DATA-1: whatever changes a key keeps usage, history and events right. I10.
#[test]
fn every_mutation_keeps_the_derived_state() {
    let mut log = Log::new();
    log.put("n:a", "1");
    log.put_ttl("n:a", "22", 100);
    log.run(Command::Touch {
        key: key("n:a"),
        lifetime: Lifetime::Ttl(Millis::new(200)),
    });
    log.run(Command::Increment {
        key: key("n:a"),
        delta: 100,
        ttl: None,
    });
    log.put_ttl("n:b", "x", 10);
    log.delete("n:b");
    log.put_ttl("n:b", "x", 10);
    log.tick(1_150);
    assert_eq!(invariants::check(&log.store), Ok(()));
    assert_eq!(log.view().usage(b"n"), Usage { keys: 1, bytes: 6 });
    let view = log.view();
    let kinds: Vec<_> = view
        .changes(rev(1))
        .unwrap()
        .map(|change| change.kind().name())
        .collect();
    assert_eq!(
        kinds,
        ["put", "put", "put", "put", "put", "delete", "put", "expire"]
    );
    let replica = restored(&view);
    assert_eq!(invariants::check(&replica), Ok(()));
    assert_eq!(replica.view().usage(b"n"), view.usage(b"n"));
}

/// D-DATA-3: keys and values are checked at apply too, each of a batch for itself.
#[test]
fn what_the_edge_lets_through_is_refused_at_apply() {
    let mut log = Log::new();
    let mut long_key = vec![1, 1, 0];
    long_key.extend([0x81, 0x08]);
    long_key.extend(vec![b'k'; 1025]);
    let replies = log.bytes(vec![
        put_command("a", "1").to_bytes(),
        Bytes::from_static(&[1, 1, 0, 0]),
        Bytes::from(long_key),
        Bytes::from_static(&[1, 1, 1, 1, b'k', 0xff]),
    ]);
    let names = replies
        .into_iter()
        .skip(1)
        .map(|reply| reply.into_result().unwrap_err().name());
    assert_eq!(
        names.collect::<Vec<_>>(),
        ["invalid_key", "invalid_key", "invalid_value"]
    );
    assert_eq!(log.view().len(), 1);
}

/// D-DATA-4, D-DATA-9: expired is absent, to every operation. I17.
#[test]
fn an_expired_key_cannot_be_revived() {
    let mut log = Log::new();
    log.put_ttl("a", "1", 10);
    log.clock = 1_010;
    // The same entry whose stamp makes the key expire: no tick came in between.
    let touched = log.run(Command::Touch {
        key: key("a"),
        lifetime: Lifetime::Ttl(Millis::new(10)),
    });
    assert_eq!(touched, Reply::Rejected(Rejection::NotFound));
    let view = log.view();
    assert!(view.get(b"a").is_none() && !view.contains_key(b"a") && view.get_pinned(b"a").is_none());
    assert_eq!((view.len(), view.count(&KeyRange::all(), None)), (0, Ok(0)));
    assert_eq!(view.usage(b""), Usage::default());
    assert_eq!(
        &*view.get_at(b"a", rev(2)).unwrap().unwrap().value().unwrap(),
        b"1",
        "I11: it was there then"
    );
}

/// D-DATA-6, D-DATA-7: a time to live counts in milliseconds from the entry's stamp, and ends at
/// the deadline itself.
#[test]
fn a_key_expires_at_its_deadline_to_the_millisecond() {
    let mut log = Log::new();
    log.put_ttl("a", "1", 10);
    log.tick(1_009);
    assert_eq!(text(&log.view(), "a"), Some("1".into()), "never early");
    assert_eq!(log.store.next_deadline(), Some(at(1_010)));
    log.tick(1_010);
    assert_eq!(text(&log.view(), "a"), None);
    assert_eq!(log.store.next_deadline(), None);
}

/// What is due together goes at one revision, with an event for each key.
#[test]
fn expiry_is_a_replicated_delete_with_events() {
    let mut log = Log::new();
    log.put_ttl("a", "1", 10);
    log.put_ttl("b", "2", 5);
    log.put("c", "3");
    log.tick(1_020);
    let view = log.view();
    assert_eq!(view.revision(), rev(5));
    let events: Vec<_> = view
        .changes(rev(4))
        .unwrap()
        .map(|change| {
            let previous = change
                .previous()
                .map(|record| record.value().unwrap().into_owned());
            (
                change.revision(),
                change.kind(),
                change.key().to_vec(),
                change.record().is_some(),
                previous,
            )
        })
        .collect();
    let expire = ChangeKind::Expire;
    assert_eq!(
        events,
        [
            (rev(5), expire, b"b".to_vec(), false, Some(b"2".to_vec())),
            (rev(5), expire, b"a".to_vec(), false, Some(b"1".to_vec())),
        ]
    );
}

/// More keys than one batch may expire: the clock waits, so none is visible too long by its own
/// measure, and none goes early.
#[test]
fn a_crowd_of_deadlines_expires_over_several_batches() {
    let mut log = Log::new();
    let count = limits::EXPIRIES_PER_BATCH * 2 + 500;
    let ttl = Some(Millis::new(100));
    let commands: Vec<_> = (0..count)
        .map(|n| Command::Put {
            key: key(&format!("k{n}")),
            value: Value::text("v").into(),
            lifetime: ttl.into(),
            condition: None,
            return_previous: false,
        })
        .collect();
    log.batch(&commands);
    let mut batches = 0;
    while !log.view().is_empty() {
        let before = log.view().len();
        log.tick(10_000);
        batches += 1;
        assert!(batches <= 3, "every batch expires what it may");
        let view = log.view();
        assert!(before - view.len() <= limits::EXPIRIES_PER_BATCH);
        assert!(
            view.records(&KeyRange::all(), Direction::Ascending)
                .all(|record| { record.expires_at().is_some_and(|deadline| deadline > view.now()) })
        );
        assert_eq!(log.store.next_deadline().is_some(), !view.is_empty());
    }
    assert_eq!(batches, 3);
    assert_eq!(log.view().now(), at(10_000), "and then the clock is right again");
    assert_eq!(invariants::check(&log.store), Ok(()));
}

/// D-DATA-10: a scan takes any number of matches in pages, and its limit counts results.
#[test]
fn a_scan_has_no_end_but_pages() {
    let mut log = Log::new();
    for chunk in 0..13 {
        let commands: Vec<_> = (0..1_000)
            .map(|n| put_command(&format!("k{chunk:02}{n:03}"), "v"))
            .collect();
        log.batch(&commands);
    }
    let view = log.view();
    let mut request = ScanRequest::new(KeyRange::prefix(&b"k"[..]));
    let first = view.scan(&request).unwrap();
    assert_eq!(first.count, 10_000);
    request.after = first.next;
    let second = view.scan(&request).unwrap();
    assert_eq!((second.count, second.next), (3_000, None));
    assert_eq!(view.count(&request.range, None), Ok(13_000));
}

/// D-V3-1: there is one store and one write path: every write is a revision and an event.
#[test]
fn every_write_is_a_revision_and_an_event() {
    let mut log = Log::new();
    log.put("a", "1");
    log.run(Command::Increment {
        key: key("n"),
        delta: 1,
        ttl: None,
    });
    log.run(Command::Touch {
        key: key("a"),
        lifetime: Lifetime::Ttl(Millis::new(9)),
    });
    log.delete("n");
    let view = log.view();
    assert_eq!(view.revision(), rev(5));
    let revisions: Vec<u64> = view
        .changes(rev(1))
        .unwrap()
        .map(|change| change.revision().get())
        .collect();
    assert_eq!(revisions, [2, 3, 4, 5]);
}

/// D-V3-7: a put over an expired record begins a new lineage; deleting an expired key is a
/// delete of nothing; a prefix reaches beyond one 0xff.
#[test]
fn expired_records_leave_no_lineage() {
    let mut log = Log::new();
    log.put_ttl("a", "1", 10);
    log.put_ttl("b", "1", 10);
    log.clock = 1_010;
    let deleted = log.delete("a");
    assert_eq!(
        deleted,
        Reply::Deleted {
            revision: rev(4),
            existed: false,
            previous: None
        }
    );
    log.put("b", "2");
    let view = log.view();
    let record = view.get(b"b").unwrap();
    assert_eq!((record.version(), record.create_revision()), (1, rev(5)));

    let odd = Key::copy_of(b"p\xff\xff").unwrap();
    log.run(Command::Put {
        key: odd,
        value: Value::text("v").into(),
        lifetime: Lifetime::Forever,
        condition: None,
        return_previous: false,
    });
    let page = log
        .view()
        .scan(&ScanRequest::new(KeyRange::prefix(&b"p"[..])))
        .unwrap();
    assert_eq!(page.count, 1);
}

/// D-V3-8: a list obeys the revision that it is asked for.
#[test]
fn a_scan_reads_at_its_revision() {
    let mut log = Log::new();
    log.put("a", "1");
    log.put("b", "1");
    log.delete("a");
    let scan = |revision| {
        let request = ScanRequest {
            revision: Some(revision),
            ..ScanRequest::new(KeyRange::all())
        };
        log.view()
            .scan(&request)
            .map(|page| page.records.iter().map(|r| r.key.to_string()).collect::<Vec<_>>())
    };
    assert_eq!(scan(rev(2)), Ok(vec!["a".into()]));
    assert_eq!(scan(rev(3)), Ok(vec!["a".into(), "b".into()]));
    assert_eq!(scan(rev(4)), Ok(vec!["b".into()]));
    assert_eq!(scan(rev(5)), Err(ViewError::FutureRevision { revision: rev(4) }));
}

/// I1: a log reader that goes back is at fault, and the replica stops.
#[test]
#[should_panic(expected = "I1")]
fn an_entry_applied_twice_stops_the_replica() {
    let mut log = Log::new();
    log.index -= 1;
    log.put("a", "1");
}
