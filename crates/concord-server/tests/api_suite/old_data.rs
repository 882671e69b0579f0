//! A data directory of the release before machine versions, and what that release said of it: `testdata/machine-1`,
//! whose README says how it was made. It is opened, goes on, and stays whole: I24.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use concord_core::batch::Batch;
use concord_core::ids::{LogIndex, Term};
use concord_core::machine::{Machine as _, Meta};
use concord_core::trace::TraceContext;
use concord_core::{Command, MachineVersion, Store};
use concord_raft::DataDirectory;
use concord_raft::log::{self, LogOptions};
use concord_raft::offline::{Severity, examine};
use concord_raft::os::{OsDisk, OsEntropy};
use concord_raft::snapshot_store::SnapshotStore;
use concord_raft::types::{Entry, Payload};
use concord_server::{Concord, Config, PeerConfig, RestoreOptions};
use serde_json::Value as Json;
use tempfile::TempDir;

use crate::cluster::secret;
use crate::patience::{PATIENCE, eventually};
use crate::wire::send;

const OLD: MachineVersion = MachineVersion::BASE;
const NEW: MachineVersion = MachineVersion::NEWEST;
/// All kinds of requests that a machine of version 1 knows, or did then. Never changed.
const KINDS: [u8; 29] = [
    1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 32, 33, 34, 36, 48, 49, 50, 51, 56, 57, 64, 65, 66, 67, 72,
];

/// What stands before a traced request: version, kind, and the ids of trace and span.
const TRACE_BYTES: usize = 2 + 16 + 8;

fn testdata(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/testdata/machine-1")
        .join(name)
}

/// A copy of the directory, which a test may use up.
fn directory() -> TempDir {
    let dir = TempDir::new().unwrap();
    for part in ["", "log", "snapshots"] {
        fs::create_dir_all(dir.path().join(part)).unwrap();
        for file in fs::read_dir(testdata("data").join(part)).unwrap() {
            let file = file.unwrap();
            if file.file_type().unwrap().is_file() {
                fs::copy(file.path(), dir.path().join(part).join(file.file_name())).unwrap();
            }
        }
    }
    dir
}

fn the_file_in(dir: &Path) -> PathBuf {
    fs::read_dir(dir).unwrap().next().unwrap().unwrap().path()
}

fn facts() -> Json {
    serde_json::from_slice(&fs::read(testdata("facts.json")).unwrap()).unwrap()
}

fn config(dir: &Path) -> Config {
    let mut config = Config::at(dir).http("127.0.0.1:0").with_auth();
    config.log.segment_bytes = 64 << 10;
    config
}

/// The address that it had is not free any more: it has moved.
async fn open(dir: &Path) -> Concord {
    let peers = PeerConfig::new("127.0.0.1:0", secret());
    let node = Concord::open(config(dir).peers(peers)).await.unwrap();
    node.wait_until_ready(PATIENCE).await.unwrap();
    node
}

/// Another node that becomes a member.
async fn join(node: &Concord, dir: &Path) -> Concord {
    let peers = PeerConfig::new("127.0.0.1:0", secret()).join(node.peer_address().unwrap());
    let joined = Concord::open(config(dir).peers(peers)).await.unwrap();
    joined.wait_until_ready(PATIENCE).await.unwrap();
    joined
}

/// Whether an answer says all that another one says; it may say more.
fn says(answer: &Json, expected: &Json) -> bool {
    match (answer, expected) {
        (Json::Object(answer), Json::Object(expected)) => expected
            .iter()
            .all(|(name, expected)| answer.get(name).is_some_and(|answer| says(answer, expected))),
        (Json::Array(answer), Json::Array(expected)) => {
            answer.len() == expected.len() && answer.iter().zip(expected).all(|(a, e)| says(a, e))
        }
        _ => answer == expected,
    }
}

/// Everything that the old release was asked is answered as it did.
async fn answers_as_before(node: &Concord) {
    let url = format!("http://{}", node.http_address().unwrap());
    let tokens = &facts()["tokens"];
    let answers = fs::read_to_string(testdata("answers.jsonl")).unwrap();
    for line in answers.lines() {
        let old: Json = serde_json::from_str(line).unwrap();
        let (token, path) = (
            tokens[old["as"].as_str().unwrap()].as_str().unwrap(),
            old["get"].as_str().unwrap(),
        );
        let header = format!("authorization: Bearer {token}");
        let answer = send(&url, "GET", &format!("/api/v1{path}"), &header, b"").await;
        let json = answer.json();
        assert_eq!(
            Some(u64::from(answer.status)),
            old["status"].as_u64(),
            "{path}: {json}"
        );
        let (name, part) = match old.get("data") {
            Some(_) => ("data", &json["data"]),
            None => ("code", &json["error"]["code"]),
        };
        assert!(says(part, &old[name]), "{path}: {part}\ninstead of {}", old[name]);
    }
    assert!(answers.lines().count() > 60);
}

async fn is_raised(node: &Concord) {
    eventually("the machine is raised", async || {
        (node.status().unwrap().machine.version == NEW).then_some(())
    })
    .await;
}

async fn worst(dir: &Path) -> Option<Severity> {
    let dir = dir.to_path_buf();
    let found = tokio::task::spawn_blocking(move || examine(&dir, Arc::new(OsDisk)));
    found.await.unwrap().severity()
}

/// What is written now is there, beside what was there before.
async fn has_gone_on(node: &Concord) {
    for key in ["new/plain", "new/leased"] {
        let found = node.get(key).strong().await.unwrap();
        assert_eq!(
            found.as_ref().and_then(|entry| entry.text()),
            Some("new"),
            "{key}"
        );
    }
    let lock = node.get("text").strong().await.unwrap();
    assert_eq!(lock.as_ref().and_then(|entry| entry.text()), Some("newest"));
}

/// D-OPS-4: from the snapshot and the log behind it, and from the log alone. It is asked again after the cluster has
/// gone on to the newest machine, after a restart from a snapshot of that one, and at a member that joined.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_data_directory_is_opened_goes_on_and_stays_whole() {
    for has_snapshot in [true, false] {
        let (dir, other) = (directory(), TempDir::new().unwrap());
        if !has_snapshot {
            fs::remove_file(the_file_in(&dir.path().join("snapshots"))).unwrap();
        }
        assert!(worst(dir.path()).await <= Some(Severity::Note));
        let node = open(dir.path()).await;
        let status = node.status().unwrap();
        let cluster = format!("{:032x}", status.cluster_id.unwrap());
        assert_eq!(Some(&*cluster), facts()["cluster_id"].as_str());
        answers_as_before(&node).await;
        is_raised(&node).await;
        node.put("new/plain", "new").await.unwrap();
        let lease = node.lease_grant(Duration::from_secs(3_600)).await.unwrap();
        node.put("new/leased", "new").lease(lease.id).await.unwrap();
        answers_as_before(&node).await;
        node.snapshot().await.unwrap();
        node.shutdown().await.unwrap();
        assert!(worst(dir.path()).await <= Some(Severity::Note));

        let node = open(dir.path()).await;
        assert_eq!(node.status().unwrap().machine.version, NEW);
        answers_as_before(&node).await;
        has_gone_on(&node).await;
        let joined = join(&node, other.path()).await;
        answers_as_before(&joined).await;
        has_gone_on(&joined).await;
        joined.shutdown().await.unwrap();
        node.shutdown().await.unwrap();
    }
}

/// A backup of the old release is restored into a cluster of the newest machine, which stays that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_backup_is_restored_into_a_newer_cluster() {
    let (dir, backup) = (TempDir::new().unwrap(), testdata("behind.backup"));
    let node = open(dir.path()).await;
    is_raised(&node).await;
    let refused = node
        .backups()
        .restore_file(&backup, RestoreOptions::default())
        .await;
    assert!(refused.unwrap_err().to_string().contains("another cluster"));
    let options = RestoreOptions {
        other_cluster: true,
        ..RestoreOptions::default()
    };
    node.backups().restore_file(&backup, options).await.unwrap();
    assert_eq!(node.status().unwrap().machine.version, NEW);
    let found = node.get("text").strong().await.unwrap();
    assert_eq!(found.as_ref().and_then(|entry| entry.text()), Some("newest"));
    assert!(
        node.get("alone").strong().await.unwrap().is_none(),
        "written later"
    );
    node.shutdown().await.unwrap();
    let node = open(dir.path()).await;
    let counter = node.get("counter").strong().await.unwrap().into_inner().unwrap();
    assert_eq!(counter.version(), 3);
    node.shutdown().await.unwrap();
}

/// I18: the file and the place, and nothing is changed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i18_a_flipped_byte_in_an_old_segment_or_snapshot_is_refused_with_its_place() {
    let dir = directory();
    let snapshot = the_file_in(&dir.path().join("snapshots"));
    let segment = |number: u8| dir.path().join(format!("log/{number:016x}.wal"));
    for (file, at) in [
        (segment(1), 700),
        (segment(3), 4_000),
        (segment(5), 30),
        (snapshot, 1_000),
    ] {
        let whole = fs::read(&file).unwrap();
        let mut damaged = whole.clone();
        damaged[at] ^= 0x10;
        fs::write(&file, &damaged).unwrap();
        let error = Concord::open(config(dir.path())).await.unwrap_err();
        let text = format!("{error}: {:?}", std::error::Error::source(&error));
        let name = file.file_name().unwrap().to_str().unwrap();
        let place = text
            .split_once(name)
            .and_then(|(_, behind)| behind.split_once("byte "))
            .and_then(|(_, place)| {
                place
                    .split(|c: char| !c.is_ascii_digit())
                    .next()?
                    .parse::<usize>()
                    .ok()
            });
        assert!(
            place.is_some_and(|place| place <= at && at - place < 1_024 + 4_096),
            "{at}: {text}"
        );
        assert!(worst(dir.path()).await == Some(Severity::Damage), "{name}");
        assert!(fs::read(&file).unwrap() == damaged, "{name}");
        fs::write(&file, &whole).unwrap();
    }
    assert!(worst(dir.path()).await <= Some(Severity::Note));
}

/// All entries of the log, which begins with the first.
async fn entries(dir: &Path) -> Vec<Entry> {
    let directory = DataDirectory::open(dir, None, Arc::new(OsDisk), &OsEntropy).unwrap();
    let options = LogOptions::new(directory.identity().current().store_id, 64 << 10);
    let (store, mut handle) = log::open(&directory.log(), options, Arc::new(OsDisk)).unwrap();
    let entries = store.reader().entries(..).await.unwrap();
    drop(store);
    handle.closed().await;
    entries
}

/// The kinds of a request and of those in it.
fn note_kinds(request: &Bytes, kinds: &mut BTreeSet<u8>) {
    kinds.insert(request[1]);
    if TraceContext::of(request).is_some() {
        return note_kinds(&request.slice(TRACE_BYTES..), kinds);
    }
    if let Command::Idempotent { command, .. } | Command::Guarded { command, .. } =
        Command::decode(request).unwrap()
    {
        note_kinds(&command.to_bytes(), kinds);
    }
}

/// I9, I24: what the old release applied, this one applies to the same bytes; and what comes again changes nothing (I7).
#[tokio::test]
async fn i24_an_old_log_makes_the_old_snapshot_to_the_byte() {
    let dir = directory();
    let snapshots = SnapshotStore::open(&dir.path().join("snapshots"), Arc::new(OsDisk)).unwrap();
    let old = snapshots.newest().unwrap().unwrap();
    let covered = old.header().last_log_id.unwrap().index;
    let expected: Vec<_> = old.read().unwrap().map(Result::unwrap).collect();
    let (mut store, mut found, mut compared, mut last) = (Store::empty(), BTreeSet::new(), false, None);
    for entry in entries(dir.path()).await {
        let Payload::Normal(batch) = &entry.payload else {
            continue;
        };
        let batch = Batch::decode(batch.bytes()).unwrap();
        for request in batch.groups.iter().flat_map(|group| &group.requests) {
            note_kinds(request, &mut found);
        }
        let index = LogIndex::new(entry.log_id.index);
        if entry.log_id.index > covered && !compared {
            compared = Store::snapshot(&store.view()).eq(expected.iter().cloned());
            assert!(compared, "another state at {covered}");
        }
        let term = Term::new(entry.log_id.leader_id.term);
        let replies = store.apply(Meta { index, term }, &batch);
        if batch.groups.iter().any(|group| !group.requests.is_empty()) {
            last = Some((batch, replies));
        }
    }
    assert!(compared);
    assert_eq!(found.into_iter().collect::<Vec<_>>(), KINDS);
    assert_eq!(store.version().version, OLD);

    let (batch, replies) = last.unwrap();
    let before = store.view();
    assert_eq!(Some(before.revision().get()), facts()["revision"].as_u64());
    let again = Meta {
        index: LogIndex::new(1_000_000),
        term: Term::new(9),
    };
    assert_eq!(store.apply(again, &batch), replies);
    assert_eq!(store.view().revision(), before.revision());
}
