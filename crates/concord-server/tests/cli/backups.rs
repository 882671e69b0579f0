//! `concord backup`, `recover` and `doctor`: what they print, and the codes they exit with.

use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;

use super::process::{Cluster, concord};
use super::{fails, ok, stderr, stdout};

/// Runs without any cluster to ask; gives the exit code, what was printed and what was said.
fn here(words: &[&str]) -> (i32, String, String) {
    let output = concord()
        .env("CONCORD_ENDPOINTS", "127.0.0.1:1")
        .args(words)
        .output()
        .unwrap();
    let code = output.status.code().unwrap();
    (code, stdout(&output).to_owned(), stderr(&output).to_owned())
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// D-OPS-3: what asks a cluster acts on the cluster; what needs none works without.
#[tokio::test]
async fn d_ops_3_a_backup_is_made_of_the_cluster_and_checked_and_restored_without_one() {
    let mut cluster = Cluster::start(1).await;
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("now.backup");
    let node = &cluster.nodes[0];
    ok(node, &["put", "k", "v"]);
    assert!(ok(node, &["backup", "create"]).contains("revision 2"));
    assert!(ok(node, &["backup", "list"]).contains("readable"));
    let made = ok(node, &["backup", "create", "--to", text(&file)]);
    assert!(made.contains("revision 2"), "{made}");
    assert!(!dir.path().join("now.backup.tmp").exists());
    fails(node, &["backup", "cleanup"], 2, "--keep-count");
    assert!(ok(node, &["backup", "cleanup", "--keep-count", "5", "--dry-run"]).contains("stays"));
    ok(node, &["put", "k", "newer"]);
    let restored = ok(node, &["backup", "restore", text(&file)]);
    assert!(
        restored.contains("backup of revision 2 at revision 4"),
        "{restored}"
    );
    assert_eq!(ok(node, &["get", "k"]), "v\n");
    fails(
        node,
        &["backup", "restore", "none.backup", "--on-node"],
        3,
        "not_found",
    );
    fails(
        node,
        &["backup", "restore", "none", "--node-id", "2"],
        2,
        "--data-dir",
    );
    let data_dir = node.data_dir().to_path_buf();
    let (exit, _, said) = here(&["recover", "--data-dir", text(&data_dir), "--force-new-cluster"]);
    assert!(exit == 10 && said.contains("in_use"), "{exit} {said}");
    cluster.node(1).kill();

    let (exit, printed, _) = here(&["backup", "verify", text(&file), "--output", "json"]);
    let described: Value = serde_json::from_str(&printed).unwrap();
    assert_eq!(
        (
            exit,
            described["revision"].as_u64(),
            described["counts"]["keys"].as_u64()
        ),
        (0, Some(2), Some(1))
    );
    let to = dir.path().join("restored");
    let (exit, printed, said) = here(&["backup", "restore", text(&file), "--data-dir", text(&to)]);
    assert!(
        exit == 0 && printed.contains("a new cluster of one"),
        "{printed}{said}"
    );
    let (exit, _, said) = here(&["backup", "restore", text(&file), "--data-dir", text(&to)]);
    assert!(exit == 5 && said.contains("is not empty"), "{exit} {said}");
    let (exit, printed, _) = here(&["doctor", text(&to)]);
    assert!(
        exit == 0 && printed.contains("everything that is here is whole"),
        "{printed}"
    );

    let bytes = std::fs::read(&file).unwrap();
    std::fs::write(&file, &bytes[..bytes.len() - 1]).unwrap();
    let (exit, _, said) = here(&["backup", "verify", text(&file)]);
    assert!(
        exit == 10 && said.contains("corrupt") && said.contains("at byte"),
        "{exit} {said}"
    );
    let (exit, _, said) = here(&["backup", "verify", text(&dir.path().join("none.backup"))]);
    assert!(exit == 3 && said.contains("not_found"), "{exit} {said}");
}

/// Nothing is changed before it was said twice; then the directory has a cluster of its own.
#[tokio::test]
async fn a_recovery_says_what_may_be_lost_and_wants_to_be_confirmed() {
    let mut cluster = Cluster::start(1).await;
    ok(&cluster.nodes[0], &["put", "k", "v"]);
    let root = cluster.nodes[0].data_dir().to_path_buf();
    cluster.node(1).kill();
    let words = ["recover", "--data-dir", text(&root), "--force-new-cluster"];
    let (exit, _, said) = here(&words[..3]);
    assert!(exit == 2 && said.contains("--force-new-cluster"), "{exit} {said}");
    let before = std::fs::read(root.join("identity")).unwrap();
    let (exit, printed, said) = here(&words);
    assert!(
        exit == 2 && printed.contains("lost: ") && said.contains("--yes"),
        "{printed}{said}"
    );
    assert_eq!(std::fs::read(root.join("identity")).unwrap(), before);
    let (exit, printed, said) = here(&[&words[..], &["--yes"]].concat());
    assert!(
        exit == 0 && printed.contains("what was here before is in"),
        "{printed}{said}"
    );
    assert_ne!(std::fs::read(root.join("identity")).unwrap(), before);
    cluster.node(1).start();
    cluster.ready().await;
    assert_eq!(ok(&cluster.nodes[0], &["get", "k"]), "v\n");
}

#[test]
fn the_doctor_exits_with_1_for_no_directory_and_10_for_damage() {
    let dir = TempDir::new().unwrap();
    let (exit, printed, _) = here(&["doctor", text(dir.path()), "--output", "json"]);
    let found: Value = serde_json::from_str(&printed).unwrap();
    assert_eq!(
        (exit, found["findings"][0]["severity"].as_str()),
        (1, Some("warning"))
    );
    std::fs::write(dir.path().join("identity"), "not an identity").unwrap();
    let (exit, printed, _) = here(&["doctor", text(dir.path())]);
    assert!(
        exit == 10 && printed.contains("identity at byte 0"),
        "{exit} {printed}"
    );
    let (exit, printed, _) = here(&["doctor", text(&dir.path().join("none"))]);
    assert_eq!(exit, 10, "{printed}");
}

/// I24: a data directory of an older release is whole, and is left as it is. How it was made: its README.
#[test]
fn the_doctor_finds_the_directory_of_an_older_release_whole() {
    let old = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/testdata/machine-1/data");
    let dir = TempDir::new().unwrap();
    let files = |root: &Path| {
        let parts = ["", "log", "snapshots"].map(|part| std::fs::read_dir(root.join(part)).unwrap());
        let paths = parts.into_iter().flatten().map(|file| file.unwrap().path());
        let named = paths.filter(|path| path.is_file()).map(|path| {
            let name = path.strip_prefix(root).unwrap().to_path_buf();
            (name, std::fs::read(&path).unwrap())
        });
        named.collect::<std::collections::BTreeMap<_, _>>()
    };
    let before = files(&old);
    for (name, bytes) in &before {
        let path = dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
    let (exit, printed, said) = here(&["doctor", text(dir.path())]);
    assert!(
        exit == 0 && printed.contains("everything that is here is whole"),
        "{exit} {printed}{said}"
    );
    assert_eq!(files(dir.path()), before);
}
