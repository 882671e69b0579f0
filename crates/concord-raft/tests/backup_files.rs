//! Backup files after crashes and damage, and directories of them.
//!
//! Claims: what has a backup's name is whole; every flipped bit and every cut is found, with
//! file and offset, before a chunk is believed (D-BAK-4, D-SEC-12); an interrupted backup
//! leaves what was there; each bound of a clean-up binds by itself (D-BAK-5).

#![expect(clippy::unwrap_used, reason = "a test stops where its assumptions do")]

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use concord_core::batch::{Batch, Group};
use concord_core::ids::{LogIndex, Millis, NodeId, Revision, SessionId, Term, Timestamp};
use concord_core::machine::{Machine, Meta};
use concord_core::{Command, Key, Lifetime, Store, Value};
use concord_raft::StorageError;
use concord_raft::backup::{BackupFile, BackupHeader, BackupName, BackupRepository, Retention};
use concord_raft::ports::Disk;
use concord_raft::sim_disk::{Operation, SimDisk};

const DIRECTORY: &str = "/backups";
const DAY: u64 = 86_400_000;

fn as_dyn(disk: &SimDisk) -> Arc<dyn Disk> {
    Arc::new(disk.clone())
}

fn directory(disk: &SimDisk) -> BackupRepository {
    BackupRepository::directory(Path::new(DIRECTORY), as_dyn(disk))
}

fn store(keys: usize) -> Store {
    let put = |n: usize| {
        let command = Command::Put {
            key: Key::try_from(format!("key/{n:04}").as_str()).unwrap(),
            value: Value::text("a value").into(),
            lifetime: Lifetime::Forever,
            condition: None,
            return_previous: false,
        };
        let mut bytes = Vec::new();
        command.encode(&mut bytes);
        bytes.into()
    };
    let mut store = Store::empty();
    let session = SessionId::new(1);
    for (index, requests) in [(1, Vec::new()), (2, (0..keys).map(put).collect())] {
        let group = Group {
            session,
            first_sequence: 1,
            acked_below: 1,
            opens: index == 1,
            requests,
        };
        let batch = Batch {
            proposed_at: Timestamp::new(1_000),
            groups: vec![group],
        };
        let meta = Meta {
            index: LogIndex::new(index),
            term: Term::new(1),
        };
        store.apply(meta, &batch);
    }
    store
}

fn header(store: &Store, created_at: u64) -> BackupHeader {
    BackupHeader {
        cluster_id: 9,
        node_id: NodeId::new(3),
        term: Term::new(1),
        applied: LogIndex::new(2),
        revision: Store::revision_of(&store.view()),
        created_at: Timestamp::new(created_at),
        product: "0.1.0".to_owned(),
        counts: vec![("keys".to_owned(), 5)],
    }
}

fn write(disk: &SimDisk, created_at: u64) -> Result<BackupName, StorageError> {
    let store = store(5);
    let made = directory(disk).create::<Store>(&header(&store, created_at), &store.view());
    made.map(|(name, _)| name)
}

fn path(name: &BackupName) -> PathBuf {
    Path::new(DIRECTORY).join(name.as_str())
}

fn names(disk: &SimDisk) -> Vec<String> {
    let listed = directory(disk).list().unwrap();
    listed.iter().map(|listed| listed.name.to_string()).collect()
}

/// D-BAK-2, D-BAK-3: the file says which cut it is, and gives back exactly that state.
#[test]
fn d_bak_2_a_backup_gives_back_the_state_of_its_revision() {
    let disk = SimDisk::new(1);
    let store = store(700);
    let (name, file) = directory(&disk)
        .create::<Store>(&header(&store, 1_795_000_000_000), &store.view())
        .unwrap();
    assert_eq!(name.as_str(), "20261118T110640.000Z-r701-n3.backup");
    assert_eq!(file.header(), &header(&store, 1_795_000_000_000));
    assert_eq!(file.header().revision, Revision::new(701));
    let mut told = Vec::new();
    let back = file.machine::<Store>(|bytes| told.push(bytes)).unwrap();
    let chunks = |store: &Store| Store::snapshot(&store.view()).collect::<Vec<_>>();
    assert_eq!(chunks(&back), chunks(&store));
    assert!(told.is_sorted() && told.last().is_some_and(|last| *last < file.file_bytes()));
    let verified = file.verify(|_| {}).unwrap();
    assert_eq!(verified.chunks, 1);
}

/// D-BAK-4, D-SEC-12: nothing of a file that is not wholly as it was written is taken.
#[test]
fn d_bak_4_every_flipped_bit_and_every_cut_is_refused_with_file_and_offset() {
    let disk = SimDisk::new(1);
    let name = write(&disk, 5).unwrap();
    let bytes = disk.contents(&path(&name)).unwrap();
    let mut images = 0;
    let mut refuse = |damaged: &[u8], what: String| {
        let image = disk.fork(1);
        image.set_contents(&path(&name), damaged);
        let read = BackupFile::open(as_dyn(&image), &path(&name));
        match read.and_then(|file| file.verify(|_| {})) {
            Err(StorageError::Corrupt { file, offset, .. }) => {
                assert!(file == path(&name) && offset <= damaged.len() as u64, "{what}");
            }
            other => panic!("{what}: {other:?}"),
        }
        images += 1;
    };
    for offset in 0..bytes.len() {
        for bit in [offset % 8, (offset + 3) % 8] {
            let mut damaged = bytes.clone();
            if let Some(byte) = damaged.get_mut(offset) {
                *byte ^= 1 << bit;
            }
            refuse(&damaged, format!("bit {bit} of byte {offset}"));
        }
        refuse(
            bytes.get(..offset).unwrap_or_default(),
            format!("cut to {offset} bytes"),
        );
    }
    refuse(&[&bytes[..], &[0]].concat(), "a byte too many".to_owned());
    println!("{images} images of a backup, all refused");
    assert!(images >= 600);
}

/// A snapshot is no backup, and a newer release's backup says so.
#[test]
fn foreign_and_newer_files_are_refused_by_name() {
    let disk = SimDisk::new(1);
    let name = write(&disk, 5).unwrap();
    let bytes = disk.contents(&path(&name)).unwrap();
    let foreign = disk.fork(1);
    foreign.set_contents(&path(&name), b"CNCRDsnp and so on, long enough for a header");
    let error = BackupFile::open(as_dyn(&foreign), &path(&name)).unwrap_err();
    assert!(
        error.to_string().contains("does not begin as a backup"),
        "{error}"
    );

    let mut newer = bytes;
    newer.splice(8..12, 2_u32.to_le_bytes());
    let body_bytes = newer
        .get(12..16)
        .unwrap()
        .try_into()
        .map(u32::from_le_bytes)
        .unwrap();
    let body = 20..20 + usize::try_from(body_bytes).unwrap();
    let checksum = crc32c(&[newer.get(..16).unwrap(), newer.get(body).unwrap()].concat());
    newer.splice(16..20, checksum.to_le_bytes());
    disk.set_contents(&path(&name), &newer);
    let error = BackupFile::open(as_dyn(&disk), &path(&name)).unwrap_err();
    assert!(
        matches!(
            error,
            StorageError::Version {
                found: 2,
                supported: 1,
                ..
            }
        ),
        "{error}"
    );
}

/// Bit by bit: the crate's own must not test itself.
fn crc32c(bytes: &[u8]) -> u32 {
    let step = |crc: u32| (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg());
    let byte = |crc: u32, byte: &u8| (0..8).fold(crc ^ u32::from(*byte), |crc, _| step(crc));
    !bytes.iter().fold(!0, byte)
}

/// D-BAK-4: a crash at any change leaves no file with a backup's name that is not whole, and
/// the next backup removes what it left.
#[test]
fn d_bak_4_an_interrupted_backup_leaves_nothing_half_done() {
    let mut images = 0;
    for seed in 0..20 {
        for changes in 0.. {
            let disk = SimDisk::new(seed);
            let first = write(&disk, 10).unwrap();
            disk.stop_after(changes);
            let finished = write(&disk, 20).is_ok();
            disk.power_cut();
            for name in names(&disk) {
                let file = BackupFile::open(as_dyn(&disk), &Path::new(DIRECTORY).join(name)).unwrap();
                file.verify(|_| {}).unwrap();
            }
            assert!(names(&disk).contains(&first.to_string()));
            let third = write(&disk, 30).unwrap();
            let expected = if finished { 3 } else { 2 };
            assert!(names(&disk).len() >= expected, "seed {seed} changes {changes}");
            assert!(names(&disk).contains(&third.to_string()));
            let whole = |path: &PathBuf| path.extension().is_some_and(|e| e == "backup");
            assert!(disk.paths().iter().all(whole), "{:?}", disk.paths());
            images += 1;
            if finished {
                break;
            }
        }
    }
    println!("{images} power cuts while a backup was written");
    assert!(images >= 100);
}

/// A full or failing disk fails the backup and nothing else.
#[test]
fn a_disk_that_fails_leaves_no_backup() {
    for operation in [Operation::Create, Operation::Write, Operation::Sync] {
        let disk = SimDisk::new(1);
        let first = write(&disk, 10).unwrap();
        disk.fail(operation, 0, 1, io::ErrorKind::StorageFull);
        assert!(write(&disk, 20).unwrap_err().is_full(), "{operation:?}");
        assert_eq!(names(&disk), [first.to_string()], "{operation:?}");
    }
}

/// D-BAK-5 on files: each bound by itself, never the newest whole one, nothing that is damaged.
#[test]
fn d_bak_5_a_clean_up_keeps_what_satisfies_both_bounds_and_the_newest() {
    let disk = SimDisk::new(1);
    let made: Vec<String> = (1..=5)
        .map(|day| write(&disk, day * DAY).unwrap().to_string())
        .collect();
    let clean = |count: Option<usize>, days: Option<u64>, now: u64, dry_run: bool| {
        let retention = Retention {
            keep_count: count,
            keep_for: days.map(|days| Millis::new(days * DAY)),
        };
        directory(&disk)
            .clean_up(retention, Timestamp::new(now * DAY), dry_run)
            .unwrap()
    };
    let cleaned = clean(Some(3), None, 5, true);
    assert_eq!((cleaned.removed.len(), cleaned.kept.len()), (2, 3));
    assert_eq!(names(&disk), made, "a dry run removes nothing");

    let cleaned = clean(Some(4), Some(2), 5, false);
    assert_eq!(
        cleaned.removed.iter().map(BackupName::as_str).collect::<Vec<_>>(),
        made[..2]
    );
    assert_eq!(
        names(&disk),
        made[2..],
        "days bind though the count would allow more"
    );
    let cleaned = clean(Some(2), Some(100), 5, false);
    assert_eq!((cleaned.removed.len(), names(&disk)), (1, made[3..].to_vec()));

    // The newest is damaged inside: it counts for nothing, and the one before is never removed.
    let newest = Path::new(DIRECTORY).join(&made[4]);
    let middle = disk.contents(&newest).unwrap().len() as u64 / 2;
    assert!(disk.flip(&newest, middle, 1));
    let cleaned = clean(Some(0), Some(1), 1_000, false);
    assert_eq!(cleaned.damaged.len(), 1);
    assert_eq!(
        cleaned.kept.iter().map(BackupName::as_str).collect::<Vec<_>>(),
        [&made[3]]
    );
    assert_eq!(names(&disk), made[3..]);
}

/// Committed bytes of version 1 are read back. (Not written as the same bytes: another
/// release of zstd may compress better.)
#[test]
fn format_1_is_read() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/backup/format-1.backup");
    let disk: Arc<dyn Disk> = Arc::new(concord_raft::os::OsDisk);
    let store = store(5);
    if std::env::var_os("CONCORD_WRITE_TESTDATA").is_some() {
        let beside = BackupRepository::directory(path.parent().unwrap(), Arc::clone(&disk));
        let (_, made) = beside.create::<Store>(&header(&store, 7), &store.view()).unwrap();
        std::fs::rename(made.path(), &path).unwrap();
    }
    let file = BackupFile::open(disk, &path).unwrap();
    assert_eq!(file.header(), &header(&store, 7));
    let back = file.machine::<Store>(|_| {}).unwrap();
    assert_eq!(back.view().revision(), Revision::new(6));
    assert_eq!(back.view().statistics().usage.keys, 5);
}
