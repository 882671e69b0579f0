//! Committed bytes of restores: their steps, the replies, a snapshot with one under way.

use std::collections::BTreeMap;

use bytes::Bytes;
use concord_core::reply::InvalidRequestReason;
use concord_core::*;

use crate::golden;

const FILE: &str = "restore-v1.hex";

const RESTORE: RestoreId = RestoreId::new(0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10);

fn step(step: RestoreStep) -> Command {
    let restore = RESTORE;
    Command::Restore { restore, step }
}

/// A snapshot of before there were restores, with three records.
fn chunk() -> Bytes {
    Bytes::from(golden::read("policy-v1.hex")["snapshot chunk 0"].clone())
}

fn piece(number: u64, ends_chunk: bool, bytes: Bytes) -> Command {
    step(RestoreStep::Piece {
        number,
        ends_chunk,
        bytes,
    })
}

fn commands() -> Vec<(&'static str, Command)> {
    let chunk = chunk();
    vec![
        ("begin", step(RestoreStep::Begin { keep_policy: false })),
        ("abort", step(RestoreStep::Abort)),
        (
            "begin and keep the policy",
            step(RestoreStep::Begin { keep_policy: true }),
        ),
        ("commit", step(RestoreStep::Commit)),
        ("piece", piece(0, false, chunk.slice(..9))),
        ("another piece", piece(300, true, chunk.slice(9..12))),
    ]
}

fn replies() -> Vec<(&'static str, Reply)> {
    let revision = Revision::new(300);
    vec![
        (
            "restoring",
            Reply::Restoring {
                revision,
                pieces: 300,
                is_complete: true,
            },
        ),
        ("failed", Reply::RestoreFailed { revision }),
        ("restored", Reply::Restored { revision }),
        ("not found", Reply::Rejected(Rejection::RestoreNotFound)),
        (
            "no piece",
            Reply::Rejected(Rejection::InvalidRequest {
                reason: InvalidRequestReason::BackupPiece,
            }),
        ),
    ]
}

fn begun() -> Vec<Command> {
    vec![
        step(RestoreStep::Begin { keep_policy: true }),
        piece(0, false, chunk().slice(..9)),
    ]
}

fn whole() -> Vec<Command> {
    let mut all = begun();
    all.push(piece(1, true, chunk().slice(9..)));
    all
}

fn written() -> BTreeMap<String, Vec<u8>> {
    let mut all = golden::messages(commands(), replies());
    golden::add_snapshot("snapshot begun", &golden::store_after(begun()), &mut all);
    golden::add_snapshot("snapshot whole", &golden::store_after(whole()), &mut all);
    all
}

#[test]
fn golden_bytes_of_restores_are_written_and_read_as_ever() {
    let title = "# Requests and replies of restores, and snapshots of version 2 with one under way.";
    let committed = golden::committed(FILE, title, written);
    assert_eq!(written(), committed);
    golden::assert_read(&committed, commands(), replies());
    let begun = golden::restored(&committed, "snapshot begun 0")
        .view()
        .restore()
        .unwrap();
    assert_eq!(
        (begun.restore, begun.pieces, begun.is_complete),
        (RESTORE, 1, false)
    );
    let whole = golden::restored(&committed, "snapshot whole 0")
        .view()
        .restore()
        .unwrap();
    assert_eq!(
        (whole.restore, whole.pieces, whole.is_complete),
        (RESTORE, 2, true)
    );
    assert!(whole.policy_records > 0);
}

/// A step takes no idempotency key, and no step is hidden behind one.
#[test]
fn steps_have_no_idempotency_key() {
    for (name, command) in commands() {
        let once = Command::Idempotent {
            key: IdempotencyKey::new("once").unwrap(),
            command: Box::new(command),
        };
        assert!(once.check(1 << 20).is_err(), "{name}");
        assert!(Command::decode(&once.to_bytes()).is_err(), "{name}");
    }
}
