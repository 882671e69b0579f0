//! Servers that refuse, break off and are not there; and what is left behind, which is nothing.

use concord_server::{Concord, ErrorKind, RestoreOptions, S3Credentials, Secret};
use tempfile::TempDir;

use crate::server::{Fault, KEY_ID, SECRET_KEY, Server};
use crate::whole::{noise, text};
use crate::{URL, bucket, config, keys, open};

const WRONG: &str = "a-wrong-secret-that-nobody-may-see";

fn wrong(id: &str) -> S3Credentials {
    S3Credentials::Keys {
        id: id.to_owned(),
        secret: Secret::new(WRONG),
        session_token: None,
    }
}

/// That says where, why and what to do, and no secret.
#[track_caller]
fn assert_told(error: &concord_server::Error, parts: &[&str]) {
    let told = format!("{error} {error:?}");
    assert_eq!(error.kind(), ErrorKind::BackupFailed, "{told}");
    for part in parts {
        assert!(told.contains(part), "{part} is not in {told}");
    }
    for secret in [WRONG, SECRET_KEY, "Signature=", "AWSAccessKeyId"] {
        assert!(!told.contains(secret), "{told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_name_bucket_and_key_and_what_to_do_and_no_secret() {
    let server = Server::start().await;
    for (url, credentials, parts) in [
        (
            URL,
            wrong("AKIDOFNOBODY"),
            [
                "s3://backups/of/us",
                "InvalidAccessKeyId",
                "correct the credentials",
            ],
        ),
        (
            URL,
            wrong(KEY_ID),
            [
                "s3://backups/of/us",
                "SignatureDoesNotMatch",
                "not that of the access key id",
            ],
        ),
        (
            "s3://elsewhere",
            keys(),
            ["s3://elsewhere", "NoSuchBucket", "correct backup.s3.url"],
        ),
    ] {
        let dir = TempDir::new().unwrap();
        let config = config(dir.path(), bucket(&server, url, credentials));
        let shown = format!("{config:?}");
        assert!(
            !shown.contains(WRONG) && !shown.contains(SECRET_KEY) && !shown.contains(KEY_ID),
            "{shown}"
        );
        // A bucket that cannot be used is no reason not to start, and none to stop.
        let node = Concord::open(config).await.unwrap();
        node.put("k", "v").await.unwrap();
        let refused = node.backups().create().await.unwrap_err();
        assert_told(&refused, &parts);
        assert_told(&refused, &["-n", ".backup"]);
        assert_told(&node.backups().list().await.unwrap_err(), &parts);
        assert_eq!(text(&node, "k").await.as_deref(), Some("v"));
        node.shutdown().await.unwrap();
    }
    assert!(server.keys().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn another_region_a_busy_server_and_none_at_all_are_told_apart() {
    let (server, dir) = (Server::start().await, TempDir::new().unwrap());
    let mut elsewhere = bucket(&server, URL, keys());
    elsewhere.region = "there-2".to_owned();
    let node = Concord::open(config(dir.path(), elsewhere)).await.unwrap();
    let refused = node.backups().create().await.unwrap_err();
    assert_told(&refused, &["correct backup.s3.region"]);
    node.shutdown().await.unwrap();

    let node = open(dir.path(), &server).await;
    server.fail(Fault::Refuse("SlowDown"));
    let refused = node.backups().list().await.unwrap_err();
    assert_told(&refused, &["SlowDown", "asked several times", URL]);
    assert!(server.state().asked.len() < 60, "retries are bounded");
    // Names of errors are shown, and not what only looks like one.
    server.fail(Fault::Refuse("Odd"));
    assert_told(
        &node.backups().list().await.unwrap_err(),
        &["the server refused (Odd)"],
    );
    server.fail(Fault::Refuse("a-wrong-secret-that-nobody-may-see"));
    assert_told(&node.backups().list().await.unwrap_err(), &[URL]);
    server.fail(None);
    node.backups().create().await.unwrap();
    node.shutdown().await.unwrap();

    let mut nowhere = bucket(&server, URL, keys());
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    nowhere.endpoint = Some(format!("http://{}", listener.local_addr().unwrap()));
    drop(listener);
    let node = Concord::open(config(dir.path(), nowhere)).await.unwrap();
    let refused = node.backups().create().await.unwrap_err();
    assert_told(&refused, &["cannot be reached", "backup.s3.endpoint", URL]);
    node.shutdown().await.unwrap();
}

/// What may pass is tried again: lost answers, and bodies that end early.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_cut_once_costs_nothing() {
    let (server, dir) = (Server::start().await, TempDir::new().unwrap());
    let node = open(dir.path(), &server).await;
    node.put("k", noise(1, 600 << 10)).await.unwrap();
    server.fail(Fault::Cut("PUT /", 1));
    let made = node.backups().create().await.unwrap();
    for fault in [Fault::Cut("GET /", 2), Fault::Half(1), Fault::Cut("HEAD /", 1)] {
        server.fail(fault.clone());
        node.backups().verify(&made.name).await.unwrap();
        assert_eq!(server.state().fault, None, "{fault:?} happened");
    }
    node.shutdown().await.unwrap();
}

/// An upload that breaks off in the middle is aborted: nothing is listed, nothing costs.
#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_breaks_off_in_the_middle_leaves_nothing() {
    let (server, dir) = (Server::start().await, TempDir::new().unwrap());
    let node = open(dir.path(), &server).await;
    for n in 0..45 {
        node.put(format!("k/{n:02}"), noise(n, 512 << 10)).await.unwrap();
    }
    for broken in ["partNumber=2", "POST /backups/of/us/", "partNumber=1"] {
        server.fail(Fault::Cut(broken, usize::MAX));
        let refused = node.backups().create().await.unwrap_err();
        assert_told(&refused, &["cannot be reached, or broke off", URL]);
        server.fail(None);
        assert!(server.state().uploads.is_empty(), "{broken}");
        assert!(node.backups().list().await.unwrap().is_empty());
    }
    // The answer to the last request is lost, of what has happened.
    server.fail(Fault::Cut("POST /backups/of/us/", 1));
    let made = node.backups().create().await.unwrap();
    node.backups().verify(&made.name).await.unwrap();
    node.shutdown().await.unwrap();
}

/// A restore that cannot be read to its end changes nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_restore_that_breaks_off_changes_nothing() {
    let (server, dir) = (Server::start().await, TempDir::new().unwrap());
    let node = open(dir.path(), &server).await;
    node.put("k", noise(1, 600 << 10)).await.unwrap();
    let made = node.backups().create().await.unwrap();
    node.put("k", "now").await.unwrap();
    server.fail(Fault::Half(usize::MAX));
    let broken = node
        .backups()
        .restore(&made.name, RestoreOptions::default())
        .await
        .unwrap_err();
    assert_told(&broken, &[URL, &made.name]);
    assert_eq!(text(&node, "k").await.as_deref(), Some("now"));
    server.fail(None);
    node.backups()
        .restore(&made.name, RestoreOptions::default())
        .await
        .unwrap();
    assert_eq!(text(&node, "k").await, Some(noise(1, 600 << 10)));
    node.shutdown().await.unwrap();
}

/// What was left when the node was killed goes before its next backup; what others upload stays.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_node_left_goes_before_its_next_backup() {
    let (server, dir) = (Server::start().await, TempDir::new().unwrap());
    let node = open(dir.path(), &server).await;
    let own = node.node_id();
    server.leave("left/1", &format!("of/us/20260101T000000.000Z-r1-n{own}.backup"));
    server.leave("of-another-node", "of/us/20260101T000000.000Z-r1-n9.backup");
    server.leave(
        "deeper",
        &format!("of/us/2026/20260101T000000.000Z-r1-n{own}.backup"),
    );
    server.leave("beside", &format!("of/20260101T000000.000Z-r1-n{own}.backup"));
    node.backups().create().await.unwrap();
    let left: Vec<_> = server.state().uploads.keys().cloned().collect();
    assert_eq!(left, ["beside", "deeper", "of-another-node"]);

    // Who may not ask, or asks in vain, makes a backup nevertheless.
    server.fail(Fault::Cut("uploads=", usize::MAX));
    node.backups().create().await.unwrap();
    node.shutdown().await.unwrap();
}
