//! Compaction: by hand, by age, by count, by bytes, and a step at a time.

use concord_core::*;

use crate::support::{Log, key, put_command, restored, rev, snapshot};

fn keep(log: &mut Log, compaction: Compaction) {
    log.run(Command::Configure(Settings {
        compaction,
        ..Settings::INITIAL
    }));
}

const NOTHING: Compaction = Compaction {
    keep_ms: None,
    keep_revisions: None,
    keep_bytes: None,
};

/// Half a million changes are too many for one batch: readers see the new bound at once, and
/// what is left over goes with the batches that follow, on an idle store too.
#[test]
fn compaction_goes_on_in_bounded_steps() {
    let mut log = Log::new();
    keep(&mut log, NOTHING);
    let count = u64::try_from(limits::COMPACTIONS_PER_BATCH * 3).unwrap();
    for chunk in 0..count / 64 {
        let commands: Vec<_> = (0..64)
            .map(|n| put_command("k", &(chunk * 64 + n).to_string()))
            .collect();
        log.batch(&commands);
    }
    log.delete("k");
    log.put("k", "after");
    let revision = log.view().revision();
    let compact_revision = Revision::new(revision.get() - 3);
    log.run(Command::Compact {
        revision: compact_revision,
    });
    assert_eq!(log.view().compact_revision(), compact_revision);
    assert!(log.store.next_deadline().is_some(), "there is work left");
    assert!(log.view().statistics().history_entries > limits::COMPACTIONS_PER_BATCH);

    let check = |log: &Log| {
        let view = log.view();
        assert_eq!(view.changes(compact_revision).unwrap().count(), 3);
        let before = view.changes(Revision::new(compact_revision.get() - 1));
        assert_eq!(before.unwrap_err(), ViewError::Compacted { compact_revision });
        let oldest = view.get_at(b"k", compact_revision).unwrap().unwrap();
        assert_eq!(&*oldest.value().unwrap(), (count - 2).to_string().as_bytes());
        for direction in [Direction::Ascending, Direction::Descending] {
            let page = view
                .history(&HistoryRequest {
                    direction,
                    ..HistoryRequest::new(key("k"))
                })
                .unwrap();
            let mut revisions: Vec<u64> = page
                .versions
                .iter()
                .map(|version| version.revision().get())
                .collect();
            revisions.sort_unstable();
            let first = compact_revision.get();
            assert_eq!(
                revisions,
                [first, first + 1, first + 2, first + 3],
                "what is compacted is not listed"
            );
        }
        assert_eq!(invariants::check(&log.store), Ok(()));
    };
    check(&log);
    let replica = restored(&log.view());
    assert_eq!(
        snapshot(&replica.view()),
        snapshot(&log.view()),
        "I4: also half way through"
    );
    for _ in 0..4 {
        log.tick(log.clock);
        check(&log);
    }
    assert_eq!(log.store.next_deadline(), None, "all of it is gone");
    assert_eq!(log.view().statistics().history_entries, 3);
}

/// D-V3-5: history does not grow forever by default.
#[test]
fn the_default_policy_keeps_a_hundred_thousand_revisions() {
    let mut log = Log::new();
    for _ in 0..101 {
        let commands: Vec<_> = (0..1_000)
            .map(|n| put_command(&format!("k{}", n % 10), "v"))
            .collect();
        log.batch(&commands);
    }
    let view = log.view();
    assert_eq!(view.revision().get() - view.compact_revision().get(), 100_000);
    assert_eq!(view.statistics().history_entries, 100_000);
}

#[test]
fn history_is_compacted_by_age() {
    let mut log = Log::new();
    keep(
        &mut log,
        Compaction {
            keep_ms: Some(Millis::new(64_000)),
            ..NOTHING
        },
    );
    for second in 1..=200 {
        log.clock = second * 1_000;
        log.put("k", "v");
        let view = log.view();
        // One write a second, marks a second apart: at least 64 s are kept and at most 66.
        let kept = view.revision().get() - view.compact_revision().get();
        assert!(kept >= second.min(64), "{kept} kept at {second}");
        assert!(kept <= 66, "{kept} kept at {second}");
        assert_eq!(invariants::check(&log.store), Ok(()));
    }
    assert!(log.view().compact_revision() > rev(100));
    let replica = restored(&log.view());
    assert_eq!(
        snapshot(&replica.view()),
        snapshot(&log.view()),
        "I4: marks of time are kept"
    );
}

#[test]
fn history_is_compacted_by_bytes() {
    let mut log = Log::new();
    keep(
        &mut log,
        Compaction {
            keep_bytes: Some(100_000),
            ..NOTHING
        },
    );
    for n in 0..500 {
        let value = Value::binary(vec![7; 1_000 * (n % 3)]);
        log.run(Command::Put {
            key: key("k"),
            value: value.into(),
            lifetime: Lifetime::Forever,
            condition: None,
            return_previous: false,
        });
        assert!(log.view().statistics().history_bytes <= 100_000);
    }
    let view = log.view();
    assert!(
        view.statistics().history_bytes > 90_000,
        "no more than needed goes"
    );
    assert!(view.get_at(b"k", view.compact_revision()).is_ok());
    assert_eq!(invariants::check(&log.store), Ok(()));
}

#[test]
fn compacting_twice_or_ahead_is_refused() {
    let mut log = Log::new();
    log.put("a", "1");
    log.put("a", "2");
    let compact = |revision| Command::Compact {
        revision: rev(revision),
    };
    assert_eq!(log.run(compact(2)), Reply::Compacted { revision: rev(2) });
    let already = Rejection::Compacted {
        compact_revision: rev(2),
    };
    assert_eq!(log.run(compact(2)), Reply::Rejected(already));
    assert_eq!(
        log.run(compact(9)),
        Reply::Rejected(Rejection::FutureRevision { revision: rev(3) })
    );
    assert_eq!(log.view().revision(), rev(3), "compaction is no revision");
}

/// A hot key has a long chain of versions; each is found, and soon.
#[test]
fn every_version_of_a_hot_key_is_found() {
    let mut log = Log::new();
    for chunk in 0..40 {
        let commands: Vec<_> = (0..250)
            .map(|n| put_command("hot", &(chunk * 250 + n).to_string()))
            .collect();
        log.batch(&commands);
    }
    let view = log.view();
    for n in (0..10_000).step_by(37) {
        let record = view.get_at(b"hot", rev(2 + n)).unwrap().unwrap();
        assert_eq!(&*record.value().unwrap(), n.to_string().as_bytes());
    }
    for change in view.changes(rev(9_900)).unwrap() {
        let number = change.revision().get() - 2;
        assert_eq!(
            &*change.record().unwrap().value().unwrap(),
            number.to_string().as_bytes()
        );
        assert_eq!(
            &*change.previous().unwrap().value().unwrap(),
            (number - 1).to_string().as_bytes()
        );
    }
    assert_eq!(invariants::check(&log.store), Ok(()));
}
