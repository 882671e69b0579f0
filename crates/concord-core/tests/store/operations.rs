//! What each operation does, one fact a test.

use concord_core::reply::{InvalidRequestReason, InvalidValueReason};
use concord_core::*;

use crate::support::{Log, at, key, rev, text};

fn increment(key: &str, delta: i64) -> Command {
    Command::Increment {
        key: self::key(key),
        delta,
        ttl: None,
    }
}

fn refused(reason: InvalidValueReason) -> Reply {
    Reply::Rejected(Rejection::InvalidValue { reason })
}

#[test]
fn a_key_is_there_from_put_to_delete() {
    let mut log = Log::new();
    assert_eq!(
        log.put("a", "1"),
        Reply::Written {
            revision: rev(2),
            previous: None
        }
    );
    assert_eq!(text(&log.view(), "a"), Some("1".into()));
    assert_eq!(
        log.delete("a"),
        Reply::Deleted {
            revision: rev(3),
            existed: true,
            previous: None
        }
    );
    assert_eq!(text(&log.view(), "a"), None);
    assert_eq!(
        log.delete("a"),
        Reply::Deleted {
            revision: rev(3),
            existed: false,
            previous: None
        }
    );
}

#[test]
fn a_record_knows_its_writes() {
    let mut log = Log::new();
    log.put("a", "1");
    log.put("a", "2");
    let view = log.view();
    let record = view.get(b"a").unwrap();
    assert_eq!(
        (record.create_revision(), record.mod_revision(), record.version()),
        (rev(2), rev(3), 2)
    );
    log.delete("a");
    log.put("a", "3");
    let view = log.view();
    let record = view.get(b"a").unwrap();
    assert_eq!(
        (record.create_revision(), record.mod_revision(), record.version()),
        (rev(5), rev(5), 1)
    );
}

#[test]
fn previous_records_are_returned_when_asked_for() {
    let mut log = Log::new();
    log.put("a", "1");
    let put = Command::Put {
        key: key("a"),
        value: Value::text("2").into(),
        lifetime: Lifetime::Forever,
        condition: None,
        return_previous: true,
    };
    let Reply::Written {
        previous: Some(previous),
        ..
    } = log.run(put)
    else {
        panic!("no previous record")
    };
    assert_eq!(
        (
            previous.clone().unpack().unwrap().value.as_text(),
            previous.version
        ),
        (Some("1"), 1)
    );
    let delete = Command::Delete {
        key: key("a"),
        condition: None,
        return_previous: true,
    };
    let Reply::Deleted {
        previous: Some(previous),
        ..
    } = log.run(delete)
    else {
        panic!("no previous record")
    };
    assert_eq!(
        (
            previous.clone().unpack().unwrap().value.as_text(),
            previous.version
        ),
        (Some("2"), 2)
    );
}

#[test]
fn increments_keep_the_format_of_the_number() {
    let mut log = Log::new();
    assert_eq!(
        log.run(increment("new", 5)),
        Reply::Incremented {
            revision: rev(2),
            value: 5
        }
    );
    assert_eq!(
        log.view().get(b"new").unwrap().to_value().unwrap().to_document(),
        Some(Document::integer(5_i64))
    );
    log.put("text", "41");
    assert_eq!(
        log.run(increment("text", 1)),
        Reply::Incremented {
            revision: rev(4),
            value: 42
        }
    );
    assert_eq!(text(&log.view(), "text"), Some("42".into()));
}

/// I3: neither the value nor the revision changes.
#[test]
fn increments_of_what_is_no_number_change_nothing() {
    let mut log = Log::new();
    log.put("word", "one");
    log.put("big", &i64::MAX.to_string());
    let before = log.view();
    assert_eq!(
        log.run(increment("word", 1)),
        refused(InvalidValueReason::NotAnInteger)
    );
    assert_eq!(
        log.run(increment("big", 1)),
        refused(InvalidValueReason::Overflow)
    );
    assert_eq!(log.view().revision(), before.revision());
    assert_eq!(log.view().changes(before.revision()).unwrap().count(), 0);
}

/// An increment without a ttl leaves the deadline alone, so that a window of counting ends.
#[test]
fn a_counter_expires_when_its_first_ttl_says() {
    let mut log = Log::new();
    log.run(Command::Increment {
        key: key("n"),
        delta: 1,
        ttl: Some(Millis::new(100)),
    });
    log.tick(1_050);
    log.run(increment("n", 1));
    assert_eq!(log.view().get(b"n").unwrap().expires_at(), Some(at(1_100)));
    log.tick(1_100);
    assert_eq!(
        log.run(increment("n", 1)),
        Reply::Incremented {
            revision: rev(5),
            value: 1
        }
    );
}

#[test]
fn a_put_without_ttl_clears_it_and_touch_resets_it() {
    let mut log = Log::new();
    log.put_ttl("a", "1", 100);
    log.put("a", "2");
    assert_eq!(log.view().get(b"a").unwrap().expires_at(), None);
    let touched = log.run(Command::Touch {
        key: key("a"),
        lifetime: Lifetime::Ttl(Millis::new(50)),
    });
    assert_eq!(
        touched,
        Reply::Touched {
            revision: rev(4),
            expires_at: Some(at(1_050))
        }
    );
    log.tick(1_050);
    assert_eq!(text(&log.view(), "a"), None);
}

#[test]
fn a_touch_that_changes_nothing_is_no_revision() {
    let mut log = Log::new();
    log.put_ttl("a", "1", 100);
    let touched = log.run(Command::Touch {
        key: key("a"),
        lifetime: Lifetime::Ttl(Millis::new(100)),
    });
    assert_eq!(
        touched,
        Reply::Touched {
            revision: rev(2),
            expires_at: Some(at(1_100))
        }
    );
    let absent = log.run(Command::Touch {
        key: key("b"),
        lifetime: Lifetime::Forever,
    });
    assert_eq!(absent, Reply::Rejected(Rejection::NotFound));
}

#[test]
fn times_to_live_have_bounds() {
    let mut log = Log::new();
    for ttl_ms in [0, limits::TTL_MS_MAX + 1, u64::MAX] {
        let put = log.put_ttl("a", "1", ttl_ms);
        assert_eq!(put, Reply::Rejected(Rejection::InvalidTtl { ttl_ms }));
    }
    log.put_ttl("a", "1", limits::TTL_MS_MAX);
    assert_eq!(log.view().len(), 1);
}

/// Replicas judge by the replicated setting, so that all refuse the same values.
#[test]
fn values_over_the_replicated_limit_are_refused() {
    let mut log = Log::new();
    let settings = Settings {
        value_bytes_max: 3,
        ..Settings::INITIAL
    };
    assert_eq!(
        log.run(Command::Configure(settings)),
        Reply::Configured { revision: rev(1) }
    );
    let refused = Rejection::ValueTooLarge {
        size_bytes: 4,
        limit_bytes: 3,
    };
    assert_eq!(log.put("a", "four"), Reply::Rejected(refused));
    assert_eq!(
        log.put("a", "abc"),
        Reply::Written {
            revision: rev(2),
            previous: None
        }
    );
    log.run(Command::Configure(Settings {
        value_bytes_max: 1,
        ..Settings::INITIAL
    }));
    assert_eq!(log.view().settings().value_bytes_max, 1);
    let refused = Rejection::ValueTooLarge {
        size_bytes: 2,
        limit_bytes: 1,
    };
    assert_eq!(
        log.run(increment("n", 200)),
        Reply::Rejected(refused),
        "also what an increment makes"
    );
}

#[test]
fn settings_out_of_range_are_refused() {
    let mut log = Log::new();
    let reason = InvalidRequestReason::SettingOutOfRange;
    let compaction = Compaction {
        keep_revisions: Some(0),
        ..Settings::INITIAL.compaction
    };
    for settings in [
        Settings {
            value_bytes_max: 0,
            ..Settings::INITIAL
        },
        Settings {
            value_bytes_max: limits::VALUE_BYTES_MAX + 1,
            ..Settings::INITIAL
        },
        Settings {
            compaction,
            ..Settings::INITIAL
        },
    ] {
        let reply = log.run(Command::Configure(settings));
        assert_eq!(reply, Reply::Rejected(Rejection::InvalidRequest { reason }));
    }
    assert_eq!(log.view().settings(), Settings::INITIAL);
}

/// D-RAFT-15: a name that nobody uses any more takes no memory.
#[test]
fn usage_is_counted_by_namespace() {
    let mut log = Log::new();
    log.put("t:a", "12");
    log.put("t:a", "12345");
    log.put_ttl("t:b", "1", 10);
    log.put("plain", "1");
    let view = log.view();
    assert_eq!(
        view.usage(b"t"),
        Usage {
            keys: 2,
            bytes: 3 + 5 + 3 + 1
        }
    );
    assert_eq!(view.usage(b""), Usage { keys: 1, bytes: 6 });
    log.tick(1_010);
    log.delete("t:a");
    assert_eq!(log.view().usage(b"t"), Usage::default());
    assert_eq!(
        log.view().namespaces().count(),
        1,
        "a namespace without keys is not listed"
    );
    assert_eq!(view.usage(b"t").keys, 2, "I15: a view never changes");
}

#[test]
fn page_limits_are_checked() {
    let view = Log::new().view();
    for limit in [0, limits::SCAN_PAGE_RECORDS_MAX + 1] {
        let request = ScanRequest {
            limit,
            ..ScanRequest::new(KeyRange::all())
        };
        let limit_max = limits::SCAN_PAGE_RECORDS_MAX;
        assert_eq!(
            view.scan(&request),
            Err(ViewError::PageLimit { limit, limit_max })
        );
        assert_eq!(view.scan(&request).unwrap_err().name(), "invalid_request");
    }
}

/// A tampered position is refused, whichever bit it is.
#[test]
fn positions_guard_themselves() {
    let position = ScanPosition::new(key("some:key"), rev(300));
    let bytes = position.encode();
    assert_eq!(ScanPosition::decode(&bytes), Ok(position));
    for bit in 0..bytes.len() * 8 {
        let mut changed = bytes.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(ScanPosition::decode(&changed), Err(ViewError::InvalidPosition));
    }
    assert_eq!(ScanPosition::decode(b""), Err(ViewError::InvalidPosition));
}

/// A position of one range cannot be used to read beyond another.
#[test]
fn a_position_never_widens_a_range() {
    let mut log = Log::new();
    for name in ["a", "b", "c", "d"] {
        log.put(name, "1");
    }
    let view = log.view();
    for direction in [Direction::Ascending, Direction::Descending] {
        for position in ["a", "d", "b"] {
            let request = ScanRequest {
                direction,
                after: Some(ScanPosition::new(key(position), view.revision())),
                ..ScanRequest::new(KeyRange::between(&b"b"[..], &b"d"[..]))
            };
            let page = view.scan(&request).unwrap();
            assert!(
                page.records
                    .iter()
                    .all(|record| ["b", "c"].contains(&record.key.to_string().as_str()))
            );
        }
    }
}

#[test]
fn keys_only_scans_leave_values_out() {
    let mut log = Log::new();
    log.put("a", "value");
    let request = ScanRequest {
        output: ScanOutput::Keys,
        ..ScanRequest::new(KeyRange::all())
    };
    let page = log.view().scan(&request).unwrap();
    assert_eq!((page.count, page.records[0].value.bytes().len()), (1, 0));
    assert_eq!(page.records[0].version, 1);
}

/// A page of large values is closed by its bytes, and the scan goes on behind it.
#[test]
fn pages_are_bounded_in_bytes() {
    let mut log = Log::new();
    for n in 0..5 {
        let value = Value::binary(vec![n; 6 << 20]);
        log.run(Command::Put {
            key: key(&format!("k{n}")),
            value: value.into(),
            lifetime: Lifetime::Forever,
            condition: None,
            return_previous: false,
        });
    }
    let view = log.view();
    let mut request = ScanRequest::new(KeyRange::all());
    let first = view.scan(&request).unwrap();
    assert_eq!(first.count, 3);
    request.after = first.next;
    let second = view.scan(&request).unwrap();
    assert_eq!((second.count, second.next), (2, None));
}

/// A scan goes on at the revision of its first page, whatever happens in between.
#[test]
fn a_scan_of_many_pages_is_one_cut() {
    let mut log = Log::new();
    for n in 0..10 {
        log.put(&format!("k{n}"), "old");
    }
    let mut request = ScanRequest {
        limit: 3,
        ..ScanRequest::new(KeyRange::all())
    };
    let mut seen = Vec::new();
    loop {
        let page = log.view().scan(&request).unwrap();
        seen.extend(
            page.records
                .iter()
                .map(|record| (record.key.to_string(), record.value.clone())),
        );
        let Some(next) = page.next else { break };
        assert!(seen.len() <= 10, "a scan ends");
        request.after = Some(next);
        for n in 0..10 {
            log.put(&format!("k{n}"), "new");
        }
        log.delete("k9");
        log.put("k10", "new");
    }
    let expected: Vec<_> = (0..10).map(|n| (format!("k{n}"), Value::text("old"))).collect();
    assert_eq!(seen, expected);
}

/// A large value is shared with the store by readers, never copied.
#[test]
fn large_values_are_shared() {
    let mut log = Log::new();
    let value = Value::binary(vec![7; 100_000]);
    log.run(Command::Put {
        key: key("a"),
        value: value.into(),
        lifetime: Lifetime::Forever,
        condition: None,
        return_previous: false,
    });
    let view = log.view();
    let (one, two) = (
        view.get(b"a").unwrap().to_value().unwrap(),
        view.get(b"a").unwrap().to_record().unwrap().value,
    );
    assert_eq!(one.bytes().as_ptr(), two.bytes().as_ptr());
    log.put("a", "small");
    let view = log.view();
    let old = view.get_at(b"a", rev(2)).unwrap().unwrap().to_value().unwrap();
    assert_eq!(
        old.bytes().as_ptr(),
        one.bytes().as_ptr(),
        "also as an old version"
    );
}
