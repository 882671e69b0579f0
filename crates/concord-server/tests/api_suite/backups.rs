//! Backups, and what is made of them: through real starts of nodes.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use concord_core::Store;
use concord_raft::StorageError;
use concord_raft::backup::BackupFile;
use concord_raft::offline::{self, OfflineError, Severity, Survivor, examine};
use concord_raft::os::{OsClock, OsDisk, OsEntropy};
use concord_raft::ports::{Clock as _, Disk};
use concord_server::client::{Client, Request};
use concord_server::{Concord, Config, Entry, ErrorKind, KeepBackups, PeerConfig, ReadConsistency, Revision};
use tempfile::TempDir;

use crate::cluster::secret;
use crate::patience::{PATIENCE, eventually};
use crate::wire::send;

fn config(dir: &Path) -> Config {
    let mut config = Config::at(dir);
    config.log.segment_bytes = 1 << 20;
    config
}

fn with_peers(dir: &Path) -> Config {
    config(dir).peers(PeerConfig::new("127.0.0.1:0", secret()))
}

fn disk() -> Arc<dyn Disk> {
    Arc::new(OsDisk)
}

/// Offline work blocks, and runs no async task's thread.
async fn offline<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}

/// A key's text, read as strongly as can be.
async fn read(node: &Concord, key: &str) -> Option<String> {
    let found = node.get(key).strong().await.unwrap().into_inner()?;
    found.text().map(str::to_owned)
}

async fn restore(file: &Path, to: &Path) -> Result<offline::Restored, OfflineError> {
    let (file, to) = (file.to_path_buf(), to.to_path_buf());
    offline(move || {
        let file = BackupFile::open(disk(), &file)?;
        offline::restore::<Store>(&file, &to, None, OsClock.now(), &disk(), &OsEntropy, |_| {})
    })
    .await
}

/// Another node becomes a member and has what the first one has.
async fn joins(node: &Concord) {
    let other = TempDir::new().unwrap();
    let join = PeerConfig::new("127.0.0.1:0", secret()).join(node.peer_address().unwrap());
    let joined = Concord::open(config(other.path()).peers(join)).await.unwrap();
    joined.wait_until_ready(PATIENCE).await.unwrap();
    assert_eq!(read(&joined, "k/49").await.as_deref(), Some("v49"));
    assert_eq!(read(&joined, "k/new").await.as_deref(), Some("1"));
    joined.shutdown().await.unwrap();
}

/// D-BAK-1, D-BAK-3: all that is replicated comes back, in a new cluster that others can join.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d_bak_3_a_restored_node_has_exactly_the_backups_state_and_others_join_it() {
    let (dir, target) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let node = Concord::open(config(dir.path())).await.unwrap();
    for n in 0..50 {
        node.put(format!("k/{n}"), format!("v{n}")).await.unwrap();
    }
    node.put("k/0", "newer").await.unwrap();
    let granted = node.lease_grant(Duration::from_secs(600)).await.unwrap();
    node.put("held", "x").lease(granted.id).await.unwrap();
    node.create_index("by-value", "value").await.unwrap();
    node.create_subscription("s", node.watch().prefix("k"))
        .await
        .unwrap();
    let versions = async |node: &Concord| {
        let entry = node.get("k/0").await.unwrap().into_inner().unwrap();
        let before = node
            .get("k/0")
            .revision(Revision::new(51))
            .await
            .unwrap()
            .into_inner()
            .unwrap();
        let text = |entry: &Entry| entry.text().map(str::to_owned);
        (
            text(&entry),
            entry.create_revision(),
            entry.mod_revision(),
            entry.version(),
            text(&before),
        )
    };
    let before = versions(&node).await;
    assert_eq!(
        (before.0.as_deref(), before.4.as_deref()),
        (Some("newer"), Some("v0"))
    );
    let made = node.backups().create().await.unwrap();
    assert_eq!(made.revision, node.revision());
    assert_eq!(made.counts.get("keys"), Some(&51));
    assert_eq!(
        (made.counts.get("leases"), made.counts.get("indexes")),
        (Some(&1), Some(&1))
    );
    node.put("later", "not in it").await.unwrap();
    let cluster = node.status().unwrap().cluster_id;
    node.shutdown().await.unwrap();

    let file = dir.path().join("backups").join(&made.name);
    let restored = restore(&file, target.path()).await.unwrap();
    assert_eq!(restored.revision, made.revision);
    let node = Concord::open(with_peers(target.path())).await.unwrap();
    node.wait_until_ready(PATIENCE).await.unwrap();
    let status = node.status().unwrap();
    assert!(status.cluster_id != cluster && status.cluster_id == restored.identity.cluster_id);
    assert_eq!(node.revision(), made.revision);
    assert_eq!(versions(&node).await, before, "with metadata and history");
    assert!(node.get("later").await.unwrap().is_none());
    let lease = node.lease_info(granted.id).await.unwrap().into_inner();
    assert_eq!(lease.keys.len(), 1);
    let left = lease.lease.expires_at.since(OsClock.now());
    assert!(left.get() > 500_000, "{left:?}");
    assert_eq!(node.indexes().await.unwrap().len(), 1);
    assert_eq!(node.subscriptions().await.unwrap().len(), 1);
    node.put("k/new", "1").await.unwrap();

    joins(&node).await;
    node.shutdown().await.unwrap();
}

/// Everything that is wrong with a backup is found before anything is made, and a directory
/// with something in it is left alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restore_makes_nothing_of_a_bad_backup_or_in_a_used_directory() {
    let (dir, target) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let node = Concord::open(config(dir.path())).await.unwrap();
    node.put("a", "1").await.unwrap();
    let made = node.backups().create().await.unwrap();
    node.shutdown().await.unwrap();
    let file = dir.path().join("backups").join(&made.name);
    let to = target.path().join("data");

    let bytes = std::fs::read(&file).unwrap();
    let damaged = target.path().join("damaged.backup");
    for at in [0, 30, bytes.len() / 2, bytes.len() - 1] {
        let mut flipped = bytes.clone();
        flipped[at] ^= 0x10;
        std::fs::write(&damaged, &flipped).unwrap();
        let error = restore(&damaged, &to).await.unwrap_err();
        assert!(
            matches!(error, OfflineError::Storage(StorageError::Corrupt { .. })),
            "{at}: {error}"
        );
        assert!(!to.exists(), "{at}");
    }
    std::fs::create_dir(&to).unwrap();
    std::fs::write(to.join("mine"), "x").unwrap();
    let error = restore(&file, &to).await.unwrap_err();
    assert!(matches!(error, OfflineError::NotEmpty { .. }), "{error}");
    assert_eq!(std::fs::read_dir(&to).unwrap().count(), 1);
    let error = restore(&file, dir.path()).await.unwrap_err();
    assert!(matches!(error, OfflineError::NotEmpty { .. }), "{error}");
}

async fn download(client: &Client, target: &str) -> Vec<u8> {
    let request = Request::get(format!("/api/v1/backups{target}"));
    let mut download = client.download(&request).await.unwrap();
    let mut body = Vec::new();
    while let Some(chunk) = download.chunk().await.unwrap() {
        body.extend_from_slice(&chunk);
    }
    body
}

/// Over HTTP: made, listed, checked, fetched, removed; a name is never a path.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn backups_are_made_listed_checked_fetched_and_removed_over_http() {
    let dir = TempDir::new().unwrap();
    let node = Concord::open(config(dir.path()).http("127.0.0.1:0"))
        .await
        .unwrap();
    let url = format!("http://{}", node.http_address().unwrap());
    node.put("a", "1").await.unwrap();
    let ask = async |method: &str, target: &str, body: &str| {
        let target = format!("/api/v1/backups{target}");
        send(
            &url,
            method,
            &target,
            "content-type: application/json",
            body.as_bytes(),
        )
        .await
    };
    let made = ask("POST", "", "").await;
    assert_eq!(made.status, 200, "{made:?}");
    let name = made
        .json()
        .pointer("/data/name")
        .unwrap()
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(made.json().pointer("/data/counts/keys").unwrap(), 1);
    let eventual = ask("POST", "", "{\"consistency\":\"eventual\"}").await;
    assert_eq!(eventual.status, 200);
    let listed = ask("GET", "", "").await;
    assert_eq!(
        listed.json().pointer("/data/backups/0/name").unwrap(),
        name.as_str()
    );
    let verified = ask("POST", &format!("/{name}/verify"), "").await;
    let sha256 = verified.json().pointer("/data/sha256").unwrap().clone();
    assert_eq!(sha256.as_str().unwrap().len(), 64, "{verified:?}");

    let client = Client::new([&url], PATIENCE).unwrap();
    let on_disk = std::fs::read(dir.path().join("backups").join(&name)).unwrap();
    assert_eq!(download(&client, &format!("/{name}")).await, on_disk);
    let copy = dir.path().join("streamed.backup");
    std::fs::write(&copy, download(&client, "/now").await).unwrap();
    let file = offline(move || BackupFile::open(disk(), &copy).and_then(|file| file.verify(|_| {}))).await;
    assert_eq!(file.unwrap().chunks, 1);

    for (method, target, status) in [
        ("GET", "/../identity", 404),
        ("GET", "/..%2Fidentity", 400),
        ("GET", "/identity", 400),
        ("GET", "/none.backup", 404),
        ("DELETE", "/none.backup", 404),
        ("POST", "/none.backup/verify", 404),
    ] {
        assert_eq!(ask(method, target, "").await.status, status, "{method} {target}");
    }
    assert_eq!(ask("POST", "/cleanup", "{}").await.status, 400, "no bound at all");
    let cleaned = ask("POST", "/cleanup", "{\"keep_count\":1}").await;
    assert_eq!(cleaned.json().pointer("/data/removed/0").unwrap(), name.as_str());
    assert_eq!(ask("GET", &format!("/{name}"), "").await.status, 404);
    let left = node.backups().list().await.unwrap();
    assert_eq!(left.len(), 1);
    let removed = ask("DELETE", &format!("/{}", left[0].name), "").await;
    assert_eq!(removed.status, 200);
    assert!(node.backups().list().await.unwrap().is_empty());
    node.shutdown().await.unwrap();
}

/// A schedule makes backups by itself and keeps as many as it is told.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_schedule_makes_backups_and_keeps_so_many() {
    let dir = TempDir::new().unwrap();
    let mut config = config(dir.path());
    config.backup.interval = Some(Duration::from_secs(1));
    config.backup.keep_count = Some(1);
    let node = Concord::open(config).await.unwrap();
    let first = node.backups().create().await.unwrap().name;
    eventually("another has taken its place", async || {
        let names = node.backups().list().await.unwrap();
        (names.len() == 1 && names[0].name != first).then_some(())
    })
    .await;
    let none = node
        .backups()
        .clean_up(KeepBackups::default(), false)
        .await
        .unwrap_err();
    assert_eq!(none.kind(), ErrorKind::InvalidRequest);
    node.shutdown().await.unwrap();
}

/// Two of three are lost: what the third has becomes a cluster of its own, which neither knows
/// the old members nor is known to them; nothing that it had is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_survivor_becomes_a_new_cluster_with_all_that_it_had() {
    let dirs: Vec<TempDir> = (0..3).map(|_| TempDir::new().unwrap()).collect();
    let first = Concord::open(with_peers(dirs[0].path())).await.unwrap();
    let address = first.peer_address().unwrap();
    let mut nodes = vec![first];
    for dir in &dirs[1..] {
        let peers = PeerConfig::new("127.0.0.1:0", secret()).join(address.clone());
        nodes.push(Concord::open(config(dir.path()).peers(peers)).await.unwrap());
    }
    for node in &nodes {
        node.wait_until_ready(PATIENCE).await.unwrap();
    }
    nodes[0].put("a", "1").await.unwrap();
    let revision = nodes[0].revision();
    nodes[2].get("a").strong().await.unwrap();
    let old_cluster = nodes[0].status().unwrap().cluster_id;
    let root = dirs[2].path().to_path_buf();
    let in_use = root.clone();
    let locked = offline(move || Survivor::<Store>::open(&in_use, disk()).unwrap_err()).await;
    assert!(
        matches!(locked, OfflineError::Storage(StorageError::Locked { .. })),
        "{locked}"
    );
    for node in nodes {
        node.shutdown().await.unwrap();
    }

    let looked = root.clone();
    let found = offline(move || examine(&looked, disk())).await;
    assert!(found.severity() <= Some(Severity::Note), "{:?}", found.findings);
    assert!(found.log.as_ref().is_some_and(|log| log.entries > 0));
    let (facts, forced) = offline(move || {
        let survivor = Survivor::<Store>::open(&root, disk()).unwrap();
        let facts = survivor.facts().clone();
        (
            facts,
            survivor.force_new_cluster(OsClock.now(), &OsEntropy).unwrap(),
        )
    })
    .await;
    assert_eq!((facts.revision, facts.members.len()), (revision, 3));
    assert_eq!(facts.identity.cluster_id, old_cluster);
    assert_ne!(forced.identity.store_id, facts.identity.store_id);
    assert!(forced.saved.join("identity").exists() && forced.saved.join("log").exists());

    let node = Concord::open(with_peers(dirs[2].path())).await.unwrap();
    node.wait_until_ready(PATIENCE).await.unwrap();
    let status = node.status().unwrap();
    assert!(
        status.cluster_id != old_cluster && status.members.len() == 1,
        "{status:?}"
    );
    assert_eq!(read(&node, "a").await.as_deref(), Some("1"));
    node.put("b", "2").await.unwrap();
    // An old member comes back: it has no quorum, and the new cluster is not its own.
    let old = Concord::open(with_peers(dirs[1].path())).await.unwrap();
    assert_eq!(old.status().unwrap().cluster_id, old_cluster);
    let strong = old.get("b").strong().timeout(Duration::from_secs(2)).await;
    assert!(strong.is_err(), "{strong:?}");
    let eventual = old
        .backups()
        .consistency(ReadConsistency::Eventual)
        .create()
        .await
        .unwrap();
    assert_eq!(
        eventual.revision, revision,
        "a backup of what is left needs no quorum"
    );
    assert_eq!(node.status().unwrap().members.len(), 1);
    old.shutdown().await.unwrap();
    node.shutdown().await.unwrap();
}

/// The doctor names file and offset of damage, and changes nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_doctor_names_the_damaged_file_and_changes_nothing() {
    let dir = TempDir::new().unwrap();
    let node = Concord::open(config(dir.path())).await.unwrap();
    node.put("a", "1").await.unwrap();
    node.snapshot().await.unwrap();
    node.put("b", "2").await.unwrap();
    node.shutdown().await.unwrap();
    let snapshots = dir.path().join("snapshots");
    let snapshot = std::fs::read_dir(&snapshots)
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let segment = dir.path().join("log/0000000000000001.wal");
    for (file, at) in [(snapshot, 25), (segment, 600), (dir.path().join("identity"), 25)] {
        let whole = std::fs::read(&file).unwrap();
        let mut damaged = whole.clone();
        damaged[at] ^= 1;
        std::fs::write(&file, &damaged).unwrap();
        let root = dir.path().to_path_buf();
        let found = offline(move || examine(&root, disk())).await;
        assert_eq!(found.severity(), Some(Severity::Damage), "{}", file.display());
        let worst = &found.findings[0];
        assert!(worst.file == file && worst.offset.is_some(), "{worst:?}");
        assert_eq!(std::fs::read(&file).unwrap(), damaged);
        std::fs::write(&file, &whole).unwrap();
    }
    let root = dir.path().to_path_buf();
    let found = offline(move || examine(&root, disk())).await;
    assert!(found.severity() <= Some(Severity::Note), "{:?}", found.findings);
    assert_eq!(found.snapshots.len(), 1);
}
