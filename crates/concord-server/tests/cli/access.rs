//! Tokens on the command line, and where their secrets are not.

use std::path::Path;

use super::process::{Cluster, eventually, run};
use super::{fails, ok};

/// All bytes of all files below a directory.
fn bytes_of(directory: &Path, found: &mut Vec<u8>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            bytes_of(&path, found);
        } else {
            found.extend(std::fs::read(path).unwrap());
        }
    }
}

/// D-SEC-11; CVE-2026-24308 and CVE-2019-0201 of `ZooKeeper`, CVE-2021-28235 of etcd: with all that can be logged, secrets are in
/// no log, no answer but the one, and not in the data directory.
#[tokio::test]
async fn d_sec_11_secrets_are_only_with_whom_they_were_made_for() {
    let mut cluster = Cluster::of(1);
    let outside = tempfile::tempdir().unwrap();
    let file = outside.path().join("root.token");
    let path = file.to_str().unwrap();
    cluster.nodes[0].settings(&format!(
        "[auth]\nmode = \"on\"\nroot_token_file = \"{path}\"\n[logging]\nfilter = \"trace\"\n"
    ));
    cluster.start_all();
    cluster.ready().await;
    let node = &cluster.nodes[0];
    eventually("the root token", async || {
        run(node, &["whoami", "--token-file", path])
            .status
            .success()
            .then_some(())
    })
    .await;
    fails(node, &["whoami"], 6, "unauthorized");
    let with = |words: &[&'static str]| ok(node, &[words, &["--token-file", path]].concat());
    with(&["role", "create", "r", "--permissions", "read,write"]);
    with(&["acl", "set", "r", "a:*", "--permissions", "read"]);
    let secret = with(&["token", "create", "--name", "t", "--role", "r", "--ttl", "1h"]);
    let other = outside.path().join("t.token");
    std::fs::write(&other, &secret).unwrap();
    let other = other.to_str().unwrap();
    assert_eq!(
        ok(node, &["can-i", "read", "a:1", "--token-file", other]),
        "yes\n"
    );
    let refused = run(node, &["can-i", "write", "a:1", "--token-file", other]);
    assert_eq!(
        (refused.status.code(), refused.stdout.as_slice()),
        (Some(6), b"no\n".as_slice())
    );
    fails(node, &["--token-file", other, "put", "a:1", "x"], 6, "forbidden");
    assert!(ok(node, &["whoami", "--token-file", other]).contains("token t"));
    assert!(with(&["explain-access", "t", "a:1"]).contains("a:*"));
    let shown = [
        with(&["token", "list"]),
        with(&["token", "show", "t", "--output", "json"]),
        with(&["role", "list"]),
        with(&["role", "show", "r"]),
        with(&["acl", "list", "r"]),
    ]
    .concat();
    let rotated = with(&["token", "rotate", "t"]);
    fails(node, &["whoami", "--token-file", other], 6, "unauthorized");
    with(&["cluster", "snapshot"]);
    let root = std::fs::read_to_string(&file).unwrap();
    let mut everywhere = shown.into_bytes();
    everywhere.extend(node.log().into_bytes());
    bytes_of(node.data_dir(), &mut everywhere);
    assert!(everywhere.len() > 10_000, "there is something to look through");
    let everywhere = String::from_utf8_lossy(&everywhere);
    for secret in [root, secret, rotated] {
        let secret = secret.trim().strip_prefix("sk_concord_").unwrap();
        // A part of it is too much, too.
        for part in [&secret[..16], &secret[16..32], &secret[27..]] {
            assert!(!everywhere.contains(part), "a secret was found");
        }
    }
}
