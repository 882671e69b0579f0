//! Committed bytes of every version of the data directory's formats are read back.
//!
//! `testdata/format-1` was written by [`write`], on a simulated disk. The log and the
//! identity must also still be written as the same bytes: a change of the format needs a
//! new version. (Not so the snapshot: another release of zstd may compress better.)

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test stops where its assumptions do"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use concord_core::ids::NodeId;
use concord_raft::identity::DataDirectory;
use concord_raft::log::{self, Host, LogOptions};
use concord_raft::ports::Entropy;
use concord_raft::sim_disk::SimDisk;
use concord_raft::snapshot_store::{SnapshotHeader, SnapshotStore};
use concord_raft::types::{
    EncodedBatch, Entry, LogId, Membership, Payload, Peer, StoredMembership, Vote, log_id,
};
use tokio::sync::oneshot;

const ROOT: &str = "/node";
const CLUSTER_ID: u128 = 0xc1;

#[derive(Debug)]
struct CountingEntropy;

impl Entropy for CountingEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        for (n, byte) in (1_u8..).zip(bytes) {
            *byte = n;
        }
    }
}

fn membership() -> Membership {
    let peer = |n: u64| Peer {
        address: format!("node-{n}.example:4100"),
        store_id: u128::from(n) << 64,
    };
    let nodes = (1..=3).map(|n| (n, peer(n))).collect::<BTreeMap<_, _>>();
    Membership::new(vec![BTreeSet::from([1, 2]), BTreeSet::from([1, 2, 3])], nodes).unwrap()
}

fn entry(log_id: LogId, payload: Payload) -> Entry {
    Entry { log_id, payload }
}

fn batch(text: &'static str) -> Payload {
    Payload::Normal(EncodedBatch::new(Bytes::from_static(text.as_bytes())))
}

fn entries_left() -> Vec<Entry> {
    vec![
        entry(log_id(1, 1), batch("first")),
        entry(log_id(2, 2), Payload::Blank),
        entry(log_id(2, 3), batch("third")),
    ]
}

fn header() -> SnapshotHeader {
    let membership = StoredMembership::new(Some(log_id(0, 0)), membership());
    SnapshotHeader {
        cluster_id: CLUSTER_ID,
        last_log_id: Some(log_id(1, 1)),
        membership,
    }
}

fn options(directory: &DataDirectory) -> LogOptions {
    let identity = directory.identity().current();
    let mut options = LogOptions::new(identity.store_id, 8 << 10);
    options.expect_existing = identity.cluster_id.is_some();
    options.host = Host::Task;
    options
}

/// Writes a directory with at least one of everything.
async fn write(disk: &SimDisk) {
    let disk = Arc::new(disk.clone());
    let directory = DataDirectory::open(
        Path::new(ROOT),
        Some(NodeId::new(3)),
        disk.clone(),
        &CountingEntropy,
    )
    .unwrap();
    let (mut store, mut handle) = log::open(&directory.log(), options(&directory), disk.clone()).unwrap();
    directory.join_cluster(CLUSTER_ID).unwrap();
    store.set_vote(Vote::new(1, 3)).await.unwrap();
    let first = vec![
        entry(log_id(0, 0), Payload::Membership(membership())),
        entry(log_id(1, 1), batch("first")),
        entry(log_id(1, 2), batch("void")),
    ];
    for entries in [first, entries_left().split_off(1)] {
        let last = entries[0].log_id;
        if last.leader_id.term == 2 {
            store.truncate(Some(log_id(1, 1))).await.unwrap();
            store.set_vote(Vote::new_committed(2, 1)).await.unwrap();
        }
        let (done, durable) = oneshot::channel();
        store
            .append_entries(entries, Box::new(move |outcome| done.send(outcome).unwrap()))
            .await
            .unwrap();
        durable.await.unwrap().unwrap();
    }
    store.set_committed(Some(log_id(2, 2))).await.unwrap();
    store.purge_upto(log_id(0, 0)).await.unwrap();
    drop(store);
    handle.closed().await;

    let snapshots = SnapshotStore::open(&directory.snapshots(), disk).unwrap();
    let mut writer = snapshots.create(header()).unwrap();
    writer.write(b"chunk one").unwrap();
    writer.write(&[7; 5000]).unwrap();
    writer.finish().unwrap();
}

async fn check(disk: &SimDisk) {
    let disk = Arc::new(disk.clone());
    let directory = DataDirectory::open(Path::new(ROOT), None, disk.clone(), &CountingEntropy).unwrap();
    let identity = directory.identity().current();
    assert_eq!(identity.node_id.get(), 3);
    assert_eq!(identity.store_id, 0x100f_0e0d_0c0b_0a09_0807_0605_0403_0201);
    assert_eq!(identity.cluster_id, Some(CLUSTER_ID));

    let (store, _handle) = log::open(&directory.log(), options(&directory), disk.clone()).unwrap();
    assert_eq!(store.reader().vote(), Some(Vote::new_committed(2, 1)));
    assert_eq!(store.reader().ends(), (Some(log_id(0, 0)), Some(log_id(2, 3))));
    assert_eq!(store.committed(), Some(log_id(2, 2)));
    assert_eq!(store.reader().entries(..).await.unwrap(), entries_left());

    let snapshots = SnapshotStore::open(&directory.snapshots(), disk).unwrap();
    let newest = snapshots.newest().unwrap().unwrap();
    assert_eq!(newest.header(), &header());
    let chunks: Vec<Bytes> = newest.read().unwrap().map(Result::unwrap).collect();
    assert_eq!(
        chunks,
        [Bytes::from_static(b"chunk one"), Bytes::from(vec![7; 5000])]
    );
}

fn committed_files() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/format-1")
}

/// The files below the root, without the segment made ahead of need, which is empty.
fn files(disk: &SimDisk) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for path in disk.paths() {
        let name = path.strip_prefix(ROOT).unwrap().to_path_buf();
        if !name.ends_with("0000000000000002.wal") {
            files.insert(name, disk.contents(&path).unwrap());
        }
    }
    files
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
        .block_on(future)
}

#[test]
fn committed_bytes_of_version_1_are_read_back() {
    let disk = SimDisk::new(1);
    let mut count = 0;
    for part in ["", "log", "snapshots"] {
        for file in fs::read_dir(committed_files().join(part)).unwrap() {
            let path = file.unwrap().path();
            if path.is_file() {
                let name = path.strip_prefix(committed_files()).unwrap();
                disk.set_contents(&Path::new(ROOT).join(name), &fs::read(&path).unwrap());
                count += 1;
            }
        }
    }
    assert_eq!(count, 3, "identity, log, snapshot");
    block_on(check(&disk));
}

#[test]
fn version_1_is_still_written_as_the_same_bytes() {
    let disk = SimDisk::new(1);
    block_on(write(&disk));
    block_on(check(&disk.fork(1)));
    let written = files(&disk);
    if std::env::var_os("CONCORD_WRITE_TESTDATA").is_some() {
        for (name, bytes) in &written {
            let path = committed_files().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
    }
    for (name, bytes) in written.iter().filter(|(name, _)| !name.starts_with("snapshots")) {
        assert_eq!(
            &fs::read(committed_files().join(name)).unwrap(),
            bytes,
            "{}",
            name.display()
        );
    }
    assert_eq!(written.len(), 3);
}
