//! The version of the machine: raised by an entry, kept in the state, and what it lets requests do. I24.

use bytes::Bytes;
use concord_core::codec::CommandError;
use concord_core::*;

use crate::support::{Log, key, put_command, restored, snapshot, text};

const ONE: RestoreId = RestoreId::new(1);

fn raise_to(version: u8) -> Bytes {
    let to = ClusterVersion {
        version: MachineVersion::new(version),
        release: Release::new(7, 8, 9),
    };
    to.raise()
}

fn newest() -> Bytes {
    Store::raise(MachineVersion::NEWEST).unwrap()
}

fn unsupported(version: u8, code: u8) -> Reply {
    Reply::Rejected(Rejection::Unsupported { version, code })
}

/// Kinds of requests that the machine of version 1 knows. Never changed.
const KINDS_OF_BASE: [u8; 29] = [
    1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 32, 33, 34, 36, 48, 49, 50, 51, 56, 57, 64, 65, 66, 67, 72,
];

/// I24: at the base version each head of a request is taken or refused as by a program that knew no other.
#[test]
fn the_machine_of_version_1_refuses_what_it_ever_refused() {
    for version in 0..=u8::MAX {
        for code in 0..=u8::MAX {
            if [version, code] == newest()[..2] {
                continue;
            }
            let mut log = Log::new();
            // Too short for any kind: those that are known call it malformed.
            let reply = log.bytes(vec![Bytes::from(vec![version, code])]).pop().unwrap();
            let refused = match version {
                1 if KINDS_OF_BASE.contains(&code) => {
                    assert_ne!(reply, unsupported(version, code));
                    continue;
                }
                1 => unsupported(1, code),
                _ => unsupported(version, 0),
            };
            assert_eq!(reply, refused, "{version} {code}");
        }
    }
}

#[test]
fn a_raise_is_kept_never_taken_back_and_no_revision() {
    let mut log = Log::new();
    assert_eq!(log.view().version(), ClusterVersion::BASE);
    let before = log.view().revision();
    for (to, expected) in [(2, 2), (9, 9), (3, 9), (9, 9)] {
        let replies = log.bytes(vec![raise_to(to)]);
        assert_eq!(replies, [Reply::Configured { revision: before }]);
        assert_eq!(log.view().version().version, MachineVersion::new(expected));
        assert_eq!(log.store.version().release, Release::new(7, 8, 9));
    }
    assert_eq!(invariants::check(&log.store), Ok(()));
}

#[test]
fn a_raise_that_is_none_is_refused_and_changes_nothing() {
    let mut log = Log::new();
    let good = raise_to(2);
    let mut bad: Vec<Bytes> = (2..good.len()).map(|cut| good.slice(..cut)).collect();
    bad.push(Bytes::from([&good[..], &[0]].concat()));
    bad.push(Bytes::from_static(&[2, 73, 0, 0, 1, 0]));
    for request in bad {
        let reply = log.bytes(vec![request]).pop().unwrap();
        assert!(
            matches!(reply, Reply::Rejected(Rejection::InvalidRequest { .. })),
            "{reply:?}"
        );
        assert_eq!(log.view().version(), ClusterVersion::BASE);
    }
    assert_eq!(
        Command::decode(&newest()),
        Err(CommandError::Unsupported { version: 2, code: 73 }),
        "no interface takes one"
    );
}

/// I24: what needs a version is refused until the state has it, by the same answer as by who never heard of it.
#[test]
fn a_request_of_a_version_to_come_is_refused_by_its_number() {
    let mut log = Log::new();
    let of_version = |version| Bytes::from(vec![version, 1]);
    assert_eq!(log.bytes(vec![of_version(2)]), [unsupported(2, 0)]);
    log.bytes(vec![newest()]);
    // Of this version, but no request has this form.
    assert_eq!(log.bytes(vec![of_version(2)]), [unsupported(2, 1)]);
    assert_eq!(log.bytes(vec![of_version(3)]), [unsupported(3, 0)]);
    log.put("k", "v");
    assert_eq!(text(&log.view(), "k"), Some("v".into()), "old requests go on");
}

/// A member that knows no version of the state must be able to read what a newer leader sends it.
#[test]
fn a_snapshot_is_of_the_old_format_until_the_state_is_raised() {
    let mut log = Log::new();
    log.put("k", "v");
    assert!(snapshot(&log.view()).iter().all(|chunk| chunk[0] == 2));
    log.bytes(vec![newest()]);
    assert!(snapshot(&log.view()).iter().all(|chunk| chunk[0] == 3));
    let again = restored(&log.view());
    assert_eq!(again.version(), log.store.version());
    assert_eq!(snapshot(&again.view()), snapshot(&log.view()), "I4");
}

#[test]
fn a_snapshot_of_a_newer_machine_is_refused_by_its_version() {
    let mut log = Log::new();
    log.bytes(vec![raise_to(9)]);
    let chunk = snapshot(&log.view()).remove(0);
    // Also in a format that this program does not know, of which it knows how it begins.
    let mut unknown = chunk.to_vec();
    unknown[0] = 77;
    for chunk in [chunk, Bytes::from(unknown)] {
        let mut restorer = Store::restorer();
        assert!(restorer.feed(&chunk).is_err());
        assert_eq!(restorer.version().version, MachineVersion::new(9));
        assert_eq!(restorer.version().release, Release::new(7, 8, 9));
    }
}

fn restore_step(step: RestoreStep) -> Command {
    Command::Restore { restore: ONE, step }
}

fn piece(chunk: &Bytes) -> Command {
    restore_step(RestoreStep::Piece {
        number: 0,
        ends_chunk: true,
        bytes: chunk.clone(),
    })
}

/// A backup of a newer cluster, while not all members of this one know that machine: refused before anything changes.
#[test]
fn a_backup_of_a_newer_machine_is_restored_once_the_state_is_raised() {
    let mut source = Log::new();
    source.bytes(vec![newest()]);
    source.put("k", "restored");
    let chunk = snapshot(&source.view()).remove(0);

    let mut log = Log::new();
    log.put("k", "v");
    let begin = || restore_step(RestoreStep::Begin { keep_policy: false });
    log.run(begin());
    assert!(matches!(log.run(piece(&chunk)), Reply::RestoreFailed { .. }));
    // Raised between the beginning and the pieces: what counts is what the replicas are when a piece comes.
    log.run(begin());
    log.bytes(vec![newest()]);
    assert!(matches!(
        log.run(piece(&chunk)),
        Reply::Restoring {
            is_complete: true,
            ..
        }
    ));
    assert!(
        snapshot(&restored(&log.view()).view()) == snapshot(&log.view()),
        "I4"
    );
    assert!(matches!(
        log.run(restore_step(RestoreStep::Commit)),
        Reply::Restored { .. }
    ));
    assert_eq!(text(&log.view(), "k"), Some("restored".into()));
}

#[test]
fn a_backup_of_an_older_machine_leaves_the_version_as_it_is() {
    let mut source = Log::new();
    source.run(put_command("k", "old"));
    let chunk = snapshot(&source.view()).remove(0);
    let mut log = Log::new();
    log.bytes(vec![newest()]);
    log.run(restore_step(RestoreStep::Begin { keep_policy: false }));
    log.run(piece(&chunk));
    log.run(restore_step(RestoreStep::Commit));
    assert_eq!(log.view().version().version, MachineVersion::NEWEST);
    assert_eq!(
        log.view().get(key("k").as_bytes()).map(|record| record.version()),
        Some(1)
    );
}
