//! Backups restored into clusters that run: all of one at a new revision, or nothing.

use std::path::{Path, PathBuf};
use std::time::Duration;

use concord_server::client::{Client, Request};
use concord_server::{AuditConfig, Concord, Config, ErrorKind, RestoreOptions, Value};
use serde_json::{Value as Json, json};
use tempfile::TempDir;

use crate::cluster::{Cluster, ROOT};
use crate::patience::{PATIENCE, eventually};
use crate::wire::send;

const ANY: RestoreOptions = RestoreOptions {
    keep_policy: false,
    other_cluster: true,
};

async fn open(dir: &Path) -> Concord {
    let config = Config::at(dir).http("127.0.0.1:0").audit(AuditConfig::new());
    Concord::open(config).await.unwrap()
}

async fn text(node: &Concord, key: &str) -> Option<String> {
    let found = node.get(key).await.unwrap().into_inner()?;
    found.text().map(str::to_owned)
}

/// Bytes that nothing can make smaller.
fn noise(seed: u64, bytes: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2).wrapping_add(1);
    std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    })
    .flatten()
    .take(bytes)
    .collect()
}

/// Asks until the answer is what it should be.
/// D-BAK-1, D-BAK-3: what was there gives way to the backup; watchers are told that they missed something.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d_bak_1_a_restore_shows_the_backup_and_tells_watchers() {
    let dir = TempDir::new().unwrap();
    let node = open(dir.path()).await;
    node.put("a", "1").await.unwrap();
    node.create_index("by-value", "value").await.unwrap();
    let lease = node.lease_grant(Duration::from_secs(600)).await.unwrap();
    node.put("held", "x").lease(lease.id).await.unwrap();
    let made = node.backups().create().await.unwrap();
    node.put("a", "2").await.unwrap();
    node.put("since", "1").await.unwrap();
    let mut watcher = node.watch().prefix("").await.unwrap();
    let before = node.revision();

    let options = RestoreOptions::default();
    let restored = node.backups().restore(&made.name, options).await.unwrap();
    assert!(restored.revision > before);
    assert_eq!(
        (restored.revision, restored.backup.revision),
        (node.revision(), made.revision)
    );
    assert_eq!(
        (text(&node, "a").await.as_deref(), text(&node, "since").await),
        (Some("1"), None)
    );
    let kept = node.lease_info(lease.id).await.unwrap().into_inner();
    assert_eq!(kept.keys.len(), 1);
    assert_eq!(node.indexes().await.unwrap().len(), 1);
    assert_eq!(node.backups().restore_progress().await.unwrap(), None);
    let told = watcher.next().await.unwrap().unwrap_err();
    assert_eq!(told.kind(), ErrorKind::Compacted, "{told}");
    let past = node.get("a").revision(before).await.unwrap_err();
    assert_eq!(past.kind(), ErrorKind::Compacted);
    let written = node.put("a", "3").await.unwrap();
    assert_eq!(written.revision, restored.revision.next());
    // One line, and what it says.
    let page = node.audit().query().oldest_first().limit(100).await.unwrap();
    let lines: Vec<Json> = page
        .lines
        .iter()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let line = lines
        .iter()
        .filter(|line| line["operation"] == "restore")
        .collect::<Vec<_>>();
    assert_eq!(line.len(), 1, "{lines:?}");
    assert_eq!(line[0]["result"], "ok", "{line:?}");
    assert!(line[0].to_string().contains(&made.name), "{line:?}");
    node.shutdown().await.unwrap();
    let node = open(dir.path()).await;
    assert_eq!(
        text(&node, "a").await.as_deref(),
        Some("3"),
        "also after a restart"
    );
    node.shutdown().await.unwrap();
}

/// What is wrong with a backup is found before anything changes, in a program and over HTTP.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_that_is_not_whole_or_not_ours_changes_nothing() {
    let (dir, other) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let node = open(dir.path()).await;
    let stranger = open(other.path()).await;
    stranger.put("a", "theirs").await.unwrap();
    let theirs = stranger.backups().create().await.unwrap();
    let theirs = other.path().join("backups").join(&theirs.name);
    stranger.shutdown().await.unwrap();
    node.put("a", "1").await.unwrap();
    let made = node.backups().create().await.unwrap();
    node.put("a", "2").await.unwrap();
    let before = node.revision();
    let bytes = std::fs::read(dir.path().join("backups").join(&made.name)).unwrap();
    let mut edited = bytes.clone();
    edited[bytes.len() / 2] ^= 1;
    let mut newer = bytes.clone();
    newer[8] = 9;
    let url = format!("http://{}", node.http_address().unwrap());
    let cases: [(&str, Vec<u8>, &[&str]); 5] = [
        ("cut", bytes[..bytes.len() - 1].to_vec(), &["corrupt"]),
        ("edited", edited, &["corrupt"]),
        ("of a newer release", newer, &["unsupported", "corrupt"]),
        (
            "no backup at all",
            b"PK\x03\x04 something else".to_vec(),
            &["corrupt"],
        ),
        (
            "of another cluster",
            std::fs::read(&theirs).unwrap(),
            &["invalid_request"],
        ),
    ];
    for (what, bytes, codes) in cases {
        let file = other.path().join("bad.backup");
        std::fs::write(&file, &bytes).unwrap();
        let options = RestoreOptions::default();
        let refused = node.backups().restore_file(&file, options).await.unwrap_err();
        assert!(codes.contains(&refused.code()), "{what}: {refused}");
        let refused = send(
            &url,
            "POST",
            "/api/v1/backups/restore",
            "content-type: application/octet-stream",
            &bytes,
        )
        .await;
        assert!(codes.contains(&refused.code().as_str()), "{what}: {refused:?}");
    }
    let missing = node.backups().restore("none.backup", ANY).await.unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound);
    assert_eq!(
        (node.revision(), text(&node, "a").await.as_deref()),
        (before, Some("2"))
    );
    let left: Vec<PathBuf> = std::fs::read_dir(dir.path().join("backups"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    assert_eq!(left.len(), 1, "what came is gone: {left:?}");
    let restored = node.backups().restore_file(&theirs, ANY).await.unwrap();
    assert!(restored.revision > before);
    assert_eq!(text(&node, "a").await.as_deref(), Some("theirs"));
    node.shutdown().await.unwrap();
}

/// A cluster, the name of a backup of it that takes many pieces, and the node that has it.
async fn with_a_large_backup() -> (Cluster, PathBuf) {
    let cluster = Cluster::start(3).await;
    for n in 0..12 {
        let value = Value::binary(noise(n, 1 << 20));
        cluster.node(0).put(format!("large/{n}"), value).await.unwrap();
    }
    cluster.node(0).put("a", "1").await.unwrap();
    let made = cluster.node(1).backups().create().await.unwrap();
    let file = cluster.dir(1).join("backups").join(made.name);
    for n in 0..12 {
        cluster.node(0).delete(format!("large/{n}")).await.unwrap();
    }
    cluster.node(0).put("a", "2").await.unwrap();
    (cluster, file)
}

fn begin(cluster: &Cluster, place: usize, file: &Path) -> tokio::task::JoinHandle<Result<u64, String>> {
    let (node, file) = (cluster.node(place).clone(), file.to_path_buf());
    tokio::spawn(async move {
        let restored = node
            .backups()
            .restore_file(&file, RestoreOptions::default())
            .await;
        restored
            .map(|restored| restored.revision.get())
            .map_err(|error| error.to_string())
    })
}

/// Waits until a restore has come so far that it is neither at its beginning nor at its end.
async fn in_the_middle(node: &Concord) {
    eventually("pieces", async || {
        let progress = node.backups().restore_progress().await.unwrap()?;
        assert!(!progress.is_complete, "too fast for this test");
        (progress.pieces >= 2).then_some(())
    })
    .await;
}

/// D-BAK-6: a restore is many entries of the log, so none bounds it. Nothing is seen of it before all of it, whoever leads meanwhile; then every node shows the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restore_goes_on_across_leaders() {
    let (cluster, file) = with_a_large_backup().await;
    let restoring = begin(&cluster, 1, &file);
    in_the_middle(cluster.node(2)).await;
    assert_eq!(text(cluster.node(2), "a").await.as_deref(), Some("2"));
    let leader = cluster.node(0).status().unwrap().leader.unwrap();
    let members = cluster.node(0).status().unwrap();
    let next = members
        .voters()
        .map(|member| member.node_id)
        .find(|id| *id != leader)
        .unwrap();
    cluster.move_leadership(Some(next)).await;
    let revision = restoring.await.unwrap().unwrap();
    for place in 0..3 {
        let node = cluster.node(place);
        let page = node.scan().prefix("large/").await.unwrap();
        assert_eq!(page.records.len(), 12, "node {place}");
        assert_eq!(text(node, "a").await.as_deref(), Some("1"));
        assert_eq!(node.revision().get(), revision);
    }
    cluster.stop().await;
}

/// I23: whoever drives it is gone: nothing has changed, and another one can begin at once, on any node.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interrupted_restore_leaves_nothing_and_is_begun_again() {
    let (cluster, file) = with_a_large_backup().await;
    let before = cluster.node(0).revision();
    let restoring = begin(&cluster, 1, &file);
    in_the_middle(cluster.node(2)).await;
    restoring.abort();
    assert!(restoring.await.unwrap_err().is_cancelled());
    assert_eq!(text(cluster.node(2), "a").await.as_deref(), Some("2"));
    assert_eq!(cluster.node(0).revision(), before);
    let backup = cluster.node(2).backups().create().await.unwrap();
    assert_eq!(
        backup.counts.get("keys"),
        Some(&1),
        "what is being restored is in no backup"
    );
    let restored = begin(&cluster, 2, &file).await.unwrap().unwrap();
    assert!(restored > before.get());
    assert_eq!(text(cluster.node(0), "a").await.as_deref(), Some("1"));
    assert_eq!(cluster.node(0).backups().restore_progress().await.unwrap(), None);
    cluster.stop().await;
}

/// Judged at the one door; and nobody is locked out by accident.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restore_needs_the_right_to_it_and_keeps_somebody_in() {
    let open_dir = TempDir::new().unwrap();
    let stranger = open(open_dir.path()).await;
    stranger.put("a", "theirs").await.unwrap();
    let made = stranger.backups().create().await.unwrap();
    let file = open_dir.path().join("backups").join(&made.name);
    stranger.shutdown().await.unwrap();
    let cluster = Cluster::start_with_auth(1).await;
    let root = cluster.node(0).as_principal(ROOT);
    root.put("a", "1").await.unwrap();
    let nobody = cluster.node(0).as_principal("sk_concord_nobody");
    let refused = nobody.backups().restore_file(&file, ANY).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unauthorized);
    let body = std::fs::read(&file).unwrap();
    let headers = "content-type: application/octet-stream";
    let refused = send(&cluster.url(0), "POST", "/api/v1/backups/restore", headers, &body).await;
    assert_eq!(refused.status, 401);
    let refused = root.backups().restore_file(&file, ANY).await.unwrap_err();
    assert!(refused.to_string().contains("no tokens"), "{refused}");
    assert_eq!(text(&root, "a").await.as_deref(), Some("1"));
    assert_eq!(root.backups().restore_progress().await.unwrap(), None, "given up");
    let keep = RestoreOptions {
        keep_policy: true,
        ..ANY
    };
    root.backups().restore_file(&file, keep).await.unwrap();
    assert_eq!(
        text(&root, "a").await.as_deref(),
        Some("theirs"),
        "the token is still good"
    );
    cluster.stop().await;
}

/// Over HTTP: a backup of the node's directory, one that is sent, and how far it is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn backups_are_restored_over_http() {
    let dir = TempDir::new().unwrap();
    let node = open(dir.path()).await;
    let url = format!("http://{}", node.http_address().unwrap());
    let client = Client::new([&url], PATIENCE).unwrap();
    node.put("a", "1").await.unwrap();
    let made = node.backups().create().await.unwrap();
    node.put("a", "2").await.unwrap();
    let path = format!("/api/v1/backups/{}/restore", made.name);
    let request = Request::post(&path).json(&json!({ "keep_policy": true }));
    let answer: Json = client.send(&request).await.unwrap().data().unwrap();
    assert_eq!(answer["backup"]["name"], made.name.as_str());
    assert_eq!(answer["revision"], node.revision().get());
    assert_eq!(text(&node, "a").await.as_deref(), Some("1"));
    let progress: Json = client
        .send(&Request::get("/api/v1/backups/restore"))
        .await
        .unwrap()
        .data()
        .unwrap();
    assert_eq!(progress["restore"], Json::Null);
    node.put("a", "3").await.unwrap();
    let body = std::fs::read(dir.path().join("backups").join(&made.name)).unwrap();
    let target = "/api/v1/backups/restore?keep_policy=true";
    let wrong = send(&url, "POST", target, "content-type: text/plain", &body).await;
    assert_eq!(wrong.code(), "invalid_request");
    let sent = send(
        &url,
        "POST",
        target,
        "content-type: application/octet-stream",
        &body,
    )
    .await;
    assert_eq!(sent.status, 200, "{sent:?}");
    assert_eq!(text(&node, "a").await.as_deref(), Some("1"));
    node.shutdown().await.unwrap();
}

/// What is wrong with the directory of backups is said so, and is not taken for the end of the node's disk.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_of_backups_that_cannot_be_used_is_not_the_nodes_disk() {
    let dir = TempDir::new().unwrap();
    let mut config = Config::at(dir.path().join("data"));
    let in_the_way = dir.path().join("file");
    std::fs::write(&in_the_way, "x").unwrap();
    config.backup.dir = Some(in_the_way.join("backups"));
    let node = Concord::open(config).await.unwrap();
    let failed = node.backups().create().await.unwrap_err();
    assert_eq!(
        (failed.kind(), failed.code()),
        (ErrorKind::BackupFailed, "backup_failed")
    );
    assert!(failed.to_string().contains("backups"), "{failed}");
    assert!(failed.kind().advice().contains("bucket of backups"));
    node.put("a", "1").await.unwrap();
    node.shutdown().await.unwrap();
}
