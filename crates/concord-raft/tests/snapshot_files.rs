//! Snapshot files after crashes, damage and transfers; the data directory's identity.
//!
//! Claims: what has a snapshot's name is whole; any damage is named with file and offset;
//! an interrupted write leaves nothing; a directory keeps its identity or is refused.

#![expect(clippy::unwrap_used, reason = "a test stops where its assumptions do")]

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use concord_core::ids::NodeId;
use concord_raft::StorageError;
use concord_raft::identity::DataDirectory;
use concord_raft::ports::{Disk, Entropy};
use concord_raft::sim_disk::{Operation, SimDisk};
use concord_raft::snapshot_store::{SnapshotHeader, SnapshotStore};
use concord_raft::types::{StoredMembership, log_id};

const DIRECTORY: &str = "/node/snapshots";

fn open(disk: &SimDisk) -> SnapshotStore {
    SnapshotStore::open(Path::new(DIRECTORY), Arc::new(disk.clone())).unwrap()
}

fn header(index: u64) -> SnapshotHeader {
    SnapshotHeader {
        cluster_id: 9,
        last_log_id: Some(log_id(2, index)),
        membership: StoredMembership::default(),
    }
}

/// Three chunks: small, compressible, not compressible.
fn chunks(index: u64) -> Vec<Vec<u8>> {
    let mut noise = index.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let noise = (0..900).map(|_| {
        noise ^= noise << 13;
        noise ^= noise >> 7;
        noise ^= noise << 17;
        noise.to_le_bytes()[3]
    });
    vec![vec![1, 2, 3], vec![5; 4_000], noise.collect()]
}

fn write(store: &SnapshotStore, index: u64) -> Result<(), StorageError> {
    let mut writer = store.create(header(index))?;
    for chunk in chunks(index) {
        writer.write(&chunk)?;
    }
    writer.finish().map(drop)
}

fn read_newest(store: &SnapshotStore) -> Result<Option<(u64, Vec<Bytes>)>, StorageError> {
    let Some(newest) = store.newest()? else {
        return Ok(None);
    };
    let index = newest.header().last_log_id.map_or(0, |id| id.index);
    Ok(Some((index, newest.read()?.collect::<Result<_, _>>()?)))
}

#[test]
fn snapshots_read_back_newest_last_and_old_ones_go() {
    let disk = SimDisk::new(1);
    let store = open(&disk);
    assert!(store.newest().unwrap().is_none());
    for index in [5, 300, 70] {
        write(&store, index).unwrap();
    }
    let list: Vec<u64> = store
        .list()
        .unwrap()
        .iter()
        .map(|file| file.header().last_log_id.unwrap().index)
        .collect();
    assert_eq!(list, [5, 70, 300]);
    let oldest = store.list().unwrap().remove(0);
    let mut reader = oldest.read().unwrap();
    store.keep_newest(1).unwrap();
    assert_eq!(store.list().unwrap().len(), 1);
    assert!(reader.all(|chunk| chunk.is_ok()), "who has it open reads on");
    let (index, read) = read_newest(&store).unwrap().unwrap();
    assert_eq!(
        (index, read),
        (300, chunks(300).into_iter().map(Bytes::from).collect())
    );
}

#[test]
fn every_flipped_bit_and_every_cut_is_refused_with_the_file() {
    let disk = SimDisk::new(1);
    write(&open(&disk), 7).unwrap();
    let path = open(&disk).newest().unwrap().unwrap().path().to_path_buf();
    let bytes = disk.contents(&path).unwrap();
    let mut images = 0;
    let mut refuse = |damaged: &[u8], what: String| {
        let image = disk.fork(1);
        image.set_contents(&path, damaged);
        let file = match read_newest(&open(&image)) {
            Err(StorageError::Corrupt { file, .. }) => file,
            other => panic!("{what}: {other:?}"),
        };
        assert_eq!(file, path);
        images += 1;
    };
    for offset in 0..bytes.len() {
        for bit in [offset % 8, (offset + 3) % 8] {
            let mut damaged = bytes.clone();
            damaged[offset] ^= 1 << bit;
            refuse(&damaged, format!("bit {bit} of byte {offset}"));
        }
        refuse(&bytes[..offset], format!("cut to {offset} bytes"));
    }
    refuse(&[&bytes[..], &[0]].concat(), "a byte too many".to_owned());
    println!("{images} images of a snapshot, all refused");
    assert!(images >= 3_000);
}

/// A snapshot replaces an older one while the power fails at every change: there is the old
/// one or the new one, whole, and no leftovers once the store is open.
#[test]
fn an_interrupted_snapshot_leaves_the_one_before() {
    let mut images = 0;
    for seed in 0..40 {
        for changes in 0.. {
            let disk = SimDisk::new(seed);
            write(&open(&disk), 10).unwrap();
            let store = open(&disk);
            disk.stop_after(changes);
            let finished = write(&store, 20).is_ok();
            drop(store);
            disk.power_cut();
            let (index, read) = read_newest(&open(&disk)).unwrap().expect("one of the two");
            assert!(
                index == 20 || (index == 10 && !finished),
                "seed {seed} changes {changes}"
            );
            assert_eq!(read.len(), 3);
            assert!(
                disk.paths()
                    .iter()
                    .all(|path| path.extension().unwrap() == "snap")
            );
            images += 1;
            if finished {
                break;
            }
        }
    }
    println!("{images} power cuts while a snapshot was written");
    assert!(images >= 300);
}

#[test]
fn a_full_disk_is_reported_and_leaves_nothing() {
    let disk = SimDisk::new(1);
    let store = open(&disk);
    for after in 0..4 {
        disk.fail(Operation::Write, after, 1, std::io::ErrorKind::StorageFull);
        assert!(write(&store, 1).unwrap_err().is_full());
        disk.heal();
    }
    assert!(disk.paths().is_empty());
}

#[test]
fn a_received_file_is_checked_before_it_counts() {
    let (theirs, ours) = (SimDisk::new(1), SimDisk::new(2));
    write(&open(&theirs), 7).unwrap();
    let file = open(&theirs).newest().unwrap().unwrap();
    let raw = file.open_raw().unwrap();
    let bytes = raw.read_at(0, 1 << 20).unwrap();
    assert_eq!(bytes.len() as u64, file.file_bytes());

    let store = open(&ours);
    let receive = |bytes: &[u8], cluster_id| {
        let mut receiver = store.receive().unwrap();
        for piece in bytes.chunks(100) {
            receiver.write(piece).unwrap();
        }
        receiver.finish(cluster_id)
    };
    let mut damaged = bytes.clone();
    damaged[200] ^= 1;
    assert!(matches!(receive(&damaged, 9), Err(StorageError::Corrupt { .. })));
    assert!(matches!(
        receive(&bytes[..bytes.len() - 1], 9),
        Err(StorageError::Corrupt { .. })
    ));
    assert!(matches!(receive(&bytes, 8), Err(StorageError::Foreign { .. })));
    assert!(ours.paths().is_empty(), "nothing of them stays");
    assert_eq!(receive(&bytes, 9).unwrap().header(), &header(7));
    assert_eq!(read_newest(&store).unwrap(), read_newest(&open(&theirs)).unwrap());
}

#[derive(Debug)]
struct Drawn(u8);

impl Entropy for Drawn {
    fn fill(&self, bytes: &mut [u8]) {
        bytes.fill(self.0);
    }
}

fn directory(disk: &SimDisk, node: Option<u64>, drawn: u8) -> Result<DataDirectory, StorageError> {
    DataDirectory::open(
        Path::new("/node"),
        node.map(NodeId::new),
        Arc::new(disk.clone()),
        &Drawn(drawn),
    )
}

#[test]
fn a_directory_keeps_its_identity_and_one_holder() {
    let disk = SimDisk::new(1);
    let first = directory(&disk, None, 3).unwrap();
    let identity = first.identity().current();
    assert!(identity.node_id.get() > 0 && identity.cluster_id.is_none());
    assert!(matches!(
        directory(&disk, None, 4),
        Err(StorageError::Locked { .. })
    ));
    first.join_cluster(77).unwrap();
    first.join_cluster(77).unwrap();
    assert!(matches!(
        first.join_cluster(78),
        Err(StorageError::OtherCluster { found: 77, .. })
    ));
    drop(first);
    disk.power_cut();
    let again = directory(&disk, None, 4).unwrap().identity().current();
    assert_eq!(
        (again.node_id, again.store_id, again.cluster_id),
        (identity.node_id, identity.store_id, Some(77))
    );
    assert!(matches!(
        directory(&disk, Some(1), 4),
        Err(StorageError::OtherNode { configured: 1, .. })
    ));
}

#[test]
fn a_directory_that_lost_its_identity_is_not_given_another() {
    let disk = SimDisk::new(1);
    let log = directory(&disk, None, 3).unwrap().log();
    disk.open(
        &log.join("0000000000000001.wal"),
        concord_raft::ports::OpenMode::Create,
    )
    .unwrap();
    disk.lose(Path::new("/node/identity"));
    assert!(matches!(
        directory(&disk, None, 4),
        Err(StorageError::Corrupt { .. })
    ));
    // And a damaged one is refused at every bit.
    let disk = SimDisk::new(1);
    directory(&disk, Some(8), 3).unwrap();
    let path = Path::new("/node/identity");
    for offset in 0..disk.contents(path).unwrap().len() as u64 {
        for bit in 0..8 {
            let image = disk.fork(1);
            assert!(image.flip(path, offset, 1 << bit));
            match directory(&image, None, 4) {
                Err(StorageError::Corrupt { file, .. }) => assert_eq!(file, path),
                other => panic!("byte {offset} bit {bit}: {other:?}"),
            }
        }
    }
}

/// While the identity is drawn or the cluster noted, the power fails at every change.
#[test]
fn an_identity_is_whole_after_every_power_cut() {
    for seed in 0..60 {
        for changes in 0.. {
            let disk = SimDisk::new(seed);
            disk.stop_after(changes);
            let made = directory(&disk, None, 3).and_then(|made| made.join_cluster(5).map(|()| made));
            let finished = made.is_ok();
            drop(made);
            disk.power_cut();
            let found = directory(&disk, None, 4).unwrap().identity().current();
            if finished {
                assert_eq!(
                    (found.store_id, found.cluster_id),
                    (u128::from_le_bytes([3; 16]), Some(5))
                );
                break;
            }
            if found.cluster_id.is_some() {
                assert_eq!(found.store_id, u128::from_le_bytes([3; 16]));
            }
        }
    }
}
