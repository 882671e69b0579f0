//! Restoring a backup into a store that is in use: nothing of it is seen before all of it is.

use std::sync::Arc;

use bytes::Bytes;
use concord_core::index::{Extractor, IndexDefinition, IndexName, PathStep};
use concord_core::limits::{RESTORE_IDLE_MS, RESTORE_INDEX_KEYS_PER_STEP, RESTORE_PIECE_BYTES_MAX};
use concord_core::reply::InvalidRequestReason;
use concord_core::*;

use crate::support::{Log, at, key, put_command, restored, rev, snapshot, text};

const ONE: RestoreId = RestoreId::new(1);
const OTHER: RestoreId = RestoreId::new(2);

fn step(restore: RestoreId, step: RestoreStep) -> Command {
    Command::Restore { restore, step }
}

fn begin(keep_policy: bool) -> Command {
    step(ONE, RestoreStep::Begin { keep_policy })
}

fn commit() -> Command {
    step(ONE, RestoreStep::Commit)
}

/// The chunks of a snapshot in pieces of so many bytes.
fn pieces(chunks: &[Bytes], piece_bytes: usize) -> Vec<Command> {
    let mut pieces = Vec::new();
    for chunk in chunks {
        let count = chunk.len().div_ceil(piece_bytes);
        for (n, bytes) in chunk.chunks(piece_bytes).enumerate() {
            let (number, ends_chunk) = (pieces.len() as u64, n + 1 == count);
            let bytes = Bytes::copy_from_slice(bytes);
            pieces.push(step(
                ONE,
                RestoreStep::Piece {
                    number,
                    ends_chunk,
                    bytes,
                },
            ));
        }
    }
    pieces
}

fn restoring(reply: &Reply) -> (u64, bool) {
    let Reply::Restoring {
        pieces, is_complete, ..
    } = reply
    else {
        panic!("{reply:?}")
    };
    (*pieces, *is_complete)
}

/// Commits as often as it takes; gives the revision, and how often that was.
fn finish(log: &mut Log) -> (Revision, usize) {
    for times in 1..1_000 {
        let reply = log.run(commit());
        if let Reply::Restored { revision } = reply {
            return (revision, times);
        }
        assert!(restoring(&reply).1);
    }
    panic!("no end")
}

fn put_for(key: &str, lifetime: Lifetime) -> Command {
    let Command::Put { key, value, .. } = put_command(key, "v") else {
        unreachable!("a put")
    };
    Command::Put {
        key,
        value,
        lifetime,
        condition: None,
        return_previous: false,
    }
}

fn edit(revision: u64, name: &'static str) -> Command {
    let edit = PolicyEdit {
        key: Bytes::from(name),
        record: Some(Bytes::from_static(b"record")),
    };
    Command::EditPolicy(PolicyChange::new(revision, vec![edit]))
}

fn once(name: &str, command: Command) -> Command {
    Command::Idempotent {
        key: IdempotencyKey::new(name.to_string()).unwrap(),
        command: Box::new(command),
    }
}

fn increment(key: &str) -> Command {
    Command::Increment {
        key: self::key(key),
        delta: 1,
        ttl: None,
    }
}

fn index(name: &str) -> Command {
    let extractor = Extractor::Path(vec![PathStep::Field("n".into())]);
    let definition = IndexDefinition::new(IndexName::new(name).unwrap(), b"d".as_slice(), extractor, false);
    Command::CreateIndex {
        definition: Arc::new(definition.unwrap()),
        fill: true,
    }
}

fn document(n: i64) -> Command {
    let fields = [("n".to_owned(), Document::Integer(n.into()))];
    let value = Value::document(&Document::Object(fields.into_iter().collect())).unwrap();
    Command::Put {
        key: key(&format!("d{n:06}")),
        value: value.into(),
        lifetime: Lifetime::Forever,
        condition: None,
        return_previous: false,
    }
}

/// A bit of everything that a backup has.
fn backup() -> Log {
    let mut log = Log::new();
    log.run(Command::LeaseGrant {
        lease: LeaseId::new(0),
        ttl: Millis::new(5_000),
    });
    log.run(put_for("leased", Lifetime::Lease(LeaseId::new(1))));
    log.run(put_for("soon", Lifetime::Ttl(Millis::new(2_000))));
    log.run(put_for("late", Lifetime::Ttl(Millis::new(2_000_000))));
    log.run(once("before", increment("count")));
    log.run(edit(0, "then"));
    log.run(index("by n"));
    for n in 0..20 {
        log.run(document(n));
    }
    log.put("a", "1");
    log.put("a", "2");
    log.put("gone", "1");
    log.delete("gone");
    log.clock += 1_000;
    log.run(Command::CreateSubscription {
        name: SubscriptionName::new("s").unwrap(),
        filter: Bytes::from_static(b"filter"),
        after: None,
    });
    log
}

/// I23, D-BAK-1, D-BAK-3: everything in it is there, at a revision that is new to everybody.
#[test]
fn a_restore_shows_all_of_the_backup_at_one_new_revision() {
    let mut log = backup();
    let chunks = snapshot(&log.view());
    let then = log.view();
    log.clock += 10_000;
    log.put("a", "3");
    log.put("after", "1");
    log.run(once("since", increment("count")));
    log.run(Command::LeaseGrant {
        lease: LeaseId::new(0),
        ttl: Millis::new(500_000),
    });
    log.run(edit(1, "since"));
    let before = log.view();
    assert_eq!(restoring(&log.run(begin(false))), (0, false));
    let replies = log.batch(&pieces(&chunks, 100));
    assert!(restoring(replies.last().unwrap()).1);
    assert_eq!(
        text(&log.view(), "after").as_deref(),
        Some("1"),
        "nothing is seen yet"
    );
    let (revision, _) = finish(&mut log);
    let view = log.view();
    assert_eq!(invariants::check(&log.store), Ok(()));
    assert_eq!((revision, view.revision()), (before.revision().next(), revision));
    assert_eq!((view.compact_revision(), view.restore()), (revision, None));
    let lost = ViewError::Compacted {
        compact_revision: revision,
    };
    assert_eq!(
        view.changes(before.revision()).err(),
        Some(lost),
        "a watcher is told"
    );
    assert_eq!(view.changes(revision).unwrap().count(), 0);
    assert_eq!(text(&view, "a").as_deref(), Some("2"));
    let (now, was) = (view.get(b"a").unwrap(), then.get(b"a").unwrap());
    assert_eq!(
        (now.create_revision(), now.mod_revision(), now.version()),
        (was.create_revision(), was.mod_revision(), was.version())
    );
    assert_eq!((text(&view, "after"), text(&view, "gone")), (None, None));
    assert_eq!(text(&view, "soon"), None, "its time has come meanwhile");
    assert_eq!(
        view.get(b"late").unwrap().expires_at(),
        then.get(b"late").unwrap().expires_at()
    );
    let left = |view: &ReadView| view.lease(LeaseId::new(1)).unwrap().expires_at.since(view.now());
    assert_eq!(
        left(&view),
        left(&then),
        "leases have the time that they had left"
    );
    assert!(text(&view, "leased").is_some());
    assert!(view.policy_get(b"then").is_some() && view.policy_get(b"since").is_none());
    assert_eq!(
        view.policy_revision(),
        before.policy_revision() + 1,
        "I22: judged anew"
    );
    assert_eq!(view.subscriptions().count(), 1);
    assert_eq!(view.indexes().count(), 1);
    goes_on(&mut log, &before, &then);
}

/// As any store does.
fn goes_on(log: &mut Log, before: &ReadView, then: &ReadView) {
    let revision = log.view().revision();
    let granted = log.run(Command::LeaseGrant {
        lease: LeaseId::new(0),
        ttl: Millis::new(500),
    });
    assert!(matches!(granted, Reply::LeaseGranted { lease, .. } if lease == LeaseId::new(3)));
    let Reply::Incremented { revision: first, .. } = log.run(once("before", increment("count"))) else {
        panic!("an increment")
    };
    assert!(first < then.revision(), "I21: answered as before the backup");
    let Reply::Incremented { revision: second, .. } = log.run(once("since", increment("count"))) else {
        panic!("an increment")
    };
    assert!(second <= before.revision(), "I21: and as since");
    let Reply::Written { revision: next, .. } = log.put("a", "4") else {
        panic!("a put")
    };
    assert_eq!(next, revision.next());
    assert_eq!(log.view().changes(revision).unwrap().count(), 1);
    assert_eq!(invariants::check(&log.store), Ok(()));
}

/// I4: whatever has come of it is in snapshots, so that a replica goes on with it wherever it was cut off.
#[test]
fn replicas_that_begin_anew_within_a_restore_are_the_same() {
    for piece_bytes in [70, 1 << 20] {
        let mut log = backup();
        let chunks = snapshot(&log.view());
        log.put("a", "3");
        let mut steps = vec![begin(true)];
        steps.extend(pieces(&chunks, piece_bytes));
        steps.extend(std::iter::repeat_n(commit(), 3));
        let mut ended = 0;
        for command in steps {
            let mut replica = Log {
                store: restored(&log.view()),
                ..Log::new()
            };
            (replica.index, replica.clock, replica.sequence) = (log.index, log.clock, log.sequence);
            assert_eq!(invariants::check(&replica.store), Ok(()));
            assert_eq!(snapshot(&replica.view()), snapshot(&log.view()), "I4");
            assert_eq!(replica.store.next_deadline(), log.store.next_deadline());
            log.clock += 1;
            replica.clock += 1;
            let reply = log.run(command.clone());
            assert_eq!(replica.run(command), reply);
            assert_eq!(snapshot(&replica.view()), snapshot(&log.view()), "I4");
            ended += usize::from(matches!(reply, Reply::Restored { .. }));
        }
        assert_eq!(ended, 1);
    }
}

#[test]
fn chunks_may_be_of_any_number_and_cut_anywhere() {
    let mut large = backup();
    for n in 0..40 {
        large.put(&format!("large{n}"), &"x".repeat(100_000));
    }
    let chunks = snapshot(&large.view());
    assert!(chunks.len() > 3);
    let mut log = Log::new();
    log.run(begin(false));
    for (n, piece) in pieces(&chunks, 300_000).into_iter().enumerate() {
        assert_eq!(restoring(&log.run(piece.clone())).0, n as u64 + 1);
        assert_eq!(restoring(&log.run(piece)).0, n as u64 + 1, "the same once more");
        let replica = restored(&log.view());
        assert_eq!(snapshot(&replica.view()), snapshot(&log.view()), "I4");
    }
    let status = log.view().restore().unwrap();
    assert_eq!((status.is_complete, status.keys), (true, large.view().len()));
    let (revision, _) = finish(&mut log);
    assert_eq!(
        revision,
        large.view().revision().next(),
        "the greater of both, and one"
    );
    assert_eq!(text(&log.view(), "large39"), Some("x".repeat(100_000)));
    assert_eq!(invariants::check(&log.store), Ok(()));
}

/// Work is bounded: the entries of indexes are made over several commits.
#[test]
fn many_records_take_several_commits() {
    let mut large = Log::new();
    large.run(index("by n"));
    let count = RESTORE_INDEX_KEYS_PER_STEP + 2_000;
    let documents: Vec<Command> = (0..).take(count).map(document).collect();
    for documents in documents.chunks(1_000) {
        large.batch(documents);
    }
    let mut log = Log::new();
    log.run(begin(false));
    log.batch(&pieces(&snapshot(&large.view()), 1 << 20));
    assert!(restoring(&log.run(commit())).1);
    let replica = restored(&log.view());
    assert_eq!(snapshot(&replica.view()), snapshot(&log.view()), "I4");
    assert_eq!(invariants::check(&replica), Ok(()));
    assert_eq!(finish(&mut log).1, 1);
    assert_eq!(log.view().len(), count);
    assert_eq!(invariants::check(&log.store), Ok(()));
}

#[test]
fn writes_meanwhile_are_taken_and_then_gone() {
    let mut log = backup();
    let chunks = snapshot(&log.view());
    log.run(begin(false));
    for piece in pieces(&chunks, 200) {
        log.run(piece);
        assert!(matches!(log.put("meanwhile", "1"), Reply::Written { .. }));
    }
    let replies = log.batch(&[put_command("a", "9"), commit(), put_command("b", "1")]);
    let Reply::Restored { revision } = replies[1] else {
        panic!("{replies:?}")
    };
    let view = log.view();
    assert_eq!(
        (
            text(&view, "meanwhile"),
            text(&view, "a").as_deref(),
            text(&view, "b").as_deref()
        ),
        (None, Some("2"), Some("1"))
    );
    assert_eq!(view.revision(), revision.next());
    assert_eq!(invariants::check(&log.store), Ok(()));
}

#[test]
fn the_policy_can_be_kept() {
    let mut log = backup();
    let chunks = snapshot(&log.view());
    log.run(edit(1, "since"));
    let before = log.view().policy_revision();
    log.run(begin(true));
    log.batch(&pieces(&chunks, 1 << 20));
    finish(&mut log);
    assert!(log.view().policy_get(b"since").is_some());
    assert_eq!(log.view().policy_revision(), before + 1);
    assert_eq!(invariants::check(&log.store), Ok(()));
}

/// I23: an interrupted restore leaves nothing: it ends by the clock, on an idle store too.
#[test]
fn a_restore_that_stands_still_is_forgotten() {
    let mut log = backup();
    let chunks = snapshot(&log.view());
    log.put("a", "3");
    let mut untouched = Log {
        store: restored(&log.view()),
        ..Log::new()
    };
    (untouched.index, untouched.clock, untouched.sequence) = (log.index, log.clock, log.sequence);
    let ticks: Vec<u64> = (1..=2).map(|n| log.clock + n * RESTORE_IDLE_MS).collect();
    log.run(begin(false));
    log.run(pieces(&chunks, 100).remove(0));
    assert!(log.store.next_deadline().unwrap() <= at(ticks[0]));
    log.tick(ticks[0] - 1);
    assert!(log.view().restore().is_some());
    log.tick(ticks[0]);
    assert_eq!(log.view().restore(), None);
    let next = pieces(&chunks, 100).remove(1);
    assert_eq!(log.run(next), Reply::Rejected(Rejection::RestoreNotFound));
    assert_eq!(log.run(commit()), Reply::Rejected(Rejection::RestoreNotFound));
    assert_eq!(text(&log.view(), "a").as_deref(), Some("3"));
    assert_eq!(invariants::check(&log.store), Ok(()));
    // But for the session, which has had more requests, the store is as one that never heard of it.
    let same = |log: &Log| (log.view().revision(), log.view().len(), log.view().statistics());
    untouched.tick(ticks[0]);
    assert_eq!(same(&log), same(&untouched));
}

#[test]
fn the_last_restore_to_begin_is_the_one() {
    let mut log = backup();
    let chunks = snapshot(&log.view());
    log.run(begin(false));
    log.batch(&pieces(&chunks, 1 << 20));
    let other = step(OTHER, RestoreStep::Begin { keep_policy: false });
    assert_eq!(restoring(&log.run(other)), (0, false));
    assert_eq!(log.run(commit()), Reply::Rejected(Rejection::RestoreNotFound));
    let abort = |restore| step(restore, RestoreStep::Abort);
    assert_eq!(log.run(abort(ONE)), Reply::Rejected(Rejection::RestoreNotFound));
    assert_eq!(restoring(&log.run(abort(OTHER))), (0, false));
    assert_eq!(log.view().restore(), None);
}

#[test]
fn what_is_no_piece_changes_nothing() {
    let mut log = backup();
    let chunks = snapshot(&log.view());
    let refused = Reply::Rejected(Rejection::InvalidRequest {
        reason: InvalidRequestReason::BackupPiece,
    });
    let piece = |number, bytes: Bytes| {
        step(
            ONE,
            RestoreStep::Piece {
                number,
                ends_chunk: true,
                bytes,
            },
        )
    };
    log.run(begin(false));
    let before = log.view();
    assert_eq!(log.run(commit()), refused, "nothing has come");
    assert_eq!(log.run(piece(1, chunks[0].clone())), refused, "not the next");
    let large = piece(0, Bytes::from(vec![0; RESTORE_PIECE_BYTES_MAX + 1]));
    assert_eq!(large.check(1 << 20).err(), refused.clone().into_result().err());
    assert_eq!(log.run(large), refused);
    assert_eq!(log.view().restore(), before.restore());
    let failed = Reply::RestoreFailed {
        revision: log.view().revision(),
    };
    for bad in [
        Bytes::from_static(b"no chunk"),
        chunks[0].slice(..chunks[0].len() - 3),
        // A restore within a restore.
        snapshot(&before).concat().into(),
    ] {
        log.run(begin(false));
        assert_eq!(log.run(piece(0, bad)), failed);
        assert_eq!(log.view().restore(), None);
    }
    assert_eq!(log.view().len(), before.len());
    assert_eq!(invariants::check(&log.store), Ok(()));
    // Backups are made without what is staged.
    log.run(begin(false));
    let plain = restored(&log.view().without_restore());
    assert_eq!(plain.view().restore(), None);
    assert_eq!(plain.view().len(), before.len());
    assert_eq!(plain.view().revision(), rev(before.revision().get()));
}
