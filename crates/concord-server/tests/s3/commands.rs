//! The program with a bucket in its settings, and commands that read one by themselves.

use std::process::Output;

use serde_json::Value;
use tempfile::TempDir;

use crate::URL;
use crate::process::{Cluster, Node, concord, run};
use crate::server::{KEY_ID, REGION, SECRET_KEY, Server};

fn printed(output: &Output) -> String {
    let said = [&output.stdout[..], &output.stderr[..]].concat();
    let said = String::from_utf8(said).unwrap();
    assert!(!said.contains(SECRET_KEY), "{said}");
    said
}

#[track_caller]
fn ok(node: &Node, words: &[&str]) -> String {
    let output = run(node, words);
    assert!(output.status.success(), "{words:?}: {}", printed(&output));
    printed(&output)
}

/// With the keys in the variables that other tools know too.
fn here(server: &Server, secret: &str, words: &[&str]) -> (i32, String) {
    let output = concord()
        .env("CONCORD_BACKUP_S3_ENDPOINT", server.endpoint())
        .env("CONCORD_BACKUP_S3_ALLOW_HTTP", "true")
        .env("AWS_REGION", REGION)
        .env("AWS_ACCESS_KEY_ID", KEY_ID)
        .env("AWS_SECRET_ACCESS_KEY", secret)
        .env_remove("AWS_SESSION_TOKEN")
        .args(words)
        .output()
        .unwrap();
    (output.status.code().unwrap(), printed(&output))
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_and_commands_use_a_bucket_and_show_no_key() {
    let (server, dir) = (Server::start().await, TempDir::new().unwrap());
    let file = dir.path().join("key");
    std::fs::write(&file, format!("{SECRET_KEY}\n")).unwrap();
    let settings = format!(
        "[backup.s3]\nurl = \"{URL}/\"\nendpoint = \"{}\"\nregion = \"{REGION}\"\nallow_http = true\n\
         access_key_id = \"{KEY_ID}\"\nsecret_access_key_file = \"{}\"\n",
        server.endpoint(),
        file.display()
    );
    let mut cluster = Cluster::of(1);
    cluster.node(1).settings(&settings);
    cluster.start_all();
    cluster.ready().await;
    let node = &cluster.nodes[0];
    ok(node, &["put", "k", "v"]);
    let name = ok(node, &["backup", "create"]);
    let name = name.split(':').next().unwrap();
    assert!(ok(node, &["backup", "list"]).contains(name));
    let there = format!("{URL}/{name}");

    let (exit, said) = here(
        &server,
        SECRET_KEY,
        &["backup", "verify", &there, "--output", "json"],
    );
    let described: Value = serde_json::from_str(&said).unwrap_or_default();
    assert_eq!(
        (exit, described["file"].as_str()),
        (0, Some(there.as_str())),
        "{said}"
    );
    let (exit, said) = here(&server, "wrong", &["backup", "verify", &there]);
    assert!(
        exit == 10 && said.contains("access is denied: the keys are wrong") && said.contains(&there),
        "{exit} {said}"
    );
    let (exit, said) = here(
        &server,
        SECRET_KEY,
        &["backup", "verify", &format!("{URL}/none.backup")],
    );
    assert!(exit == 3 && said.contains("not_found"), "{exit} {said}");
    let (exit, said) = here(&server, SECRET_KEY, &["backup", "verify", URL]);
    assert!(exit == 2 && said.contains(".backup"), "{exit} {said}");

    let to = dir.path().join("restored");
    let (exit, said) = here(
        &server,
        SECRET_KEY,
        &["backup", "restore", &there, "--data-dir", to.to_str().unwrap()],
    );
    assert!(exit == 0 && said.contains("a new cluster of one"), "{said}");
    ok(node, &["put", "k", "newer"]);
    let endpoints = node.http.to_string();
    let (exit, said) = here(
        &server,
        SECRET_KEY,
        &["--endpoints", &endpoints, "backup", "restore", &there],
    );
    assert!(exit == 0 && said.contains("restored"), "{said}");
    assert_eq!(ok(node, &["get", "k"]), "v\n");
    ok(node, &["put", "k", "newer"]);
    ok(node, &["backup", "restore", name, "--on-node"]);
    assert_eq!(ok(node, &["get", "k"]), "v\n");
    let refused = run(node, &["backup", "create", "--to", &there]);
    assert!(printed(&refused).contains("leave --to away"));
    assert!(ok(node, &["backup", "cleanup", "--keep-count", "1"]).contains("stays"));
    let log = node.log();
    assert!(!log.contains(SECRET_KEY) && !log.contains(KEY_ID), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_show_no_key() {
    let server = Server::start().await;
    let (exit, said) = here(&server, SECRET_KEY, &["config", "show"]);
    assert!(exit == 2 && said.contains("backup.s3.url"), "{said}");
    let output = concord()
        .env("CONCORD_BACKUP_S3_URL", URL)
        .env("CONCORD_BACKUP_S3_ACCESS_KEY_ID", KEY_ID)
        .env("CONCORD_BACKUP_S3_SECRET_ACCESS_KEY", SECRET_KEY)
        .args(["config", "show"])
        .output()
        .unwrap();
    let said = printed(&output);
    assert!(
        output.status.success() && said.contains("s3.secret_access_key = \"(hidden)\""),
        "{said}"
    );
    assert!(
        said.contains(&format!("s3.url = \"{URL}\"")) && !said.contains(KEY_ID),
        "{said}"
    );
}

/// A machine lends its processes keys: they are asked for, and nothing else is set.
#[tokio::test(flavor = "multi_thread")]
async fn keys_can_be_lent_by_the_platform() {
    let (server, dir) = (Server::start().await, TempDir::new().unwrap());
    let node = crate::open(dir.path(), &server).await;
    let made = node.backups().create().await.unwrap();
    node.shutdown().await.unwrap();
    server.state().asked.clear();
    let output = concord()
        .env("CONCORD_BACKUP_S3_ENDPOINT", server.endpoint())
        .env("CONCORD_BACKUP_S3_ALLOW_HTTP", "true")
        .env("CONCORD_BACKUP_S3_REGION", REGION)
        .env("CONCORD_BACKUP_S3_CREDENTIALS", "platform")
        .env("AWS_METADATA_ENDPOINT", server.endpoint())
        .env_remove("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI")
        .env_remove("AWS_CONTAINER_CREDENTIALS_FULL_URI")
        .env_remove("AWS_WEB_IDENTITY_TOKEN_FILE")
        .args(["backup", "verify", &format!("{URL}/{}", made.name)])
        .output()
        .unwrap();
    let said = printed(&output);
    assert!(
        output.status.success() && said.contains("is a whole backup"),
        "{said}"
    );
    assert!(
        server
            .state()
            .asked
            .iter()
            .any(|asked| asked == "PUT /latest/api/token")
    );
}
