//! Certificates made on the command line, and a node and clients that use them.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Output;

use tempfile::TempDir;

use crate::process::{Cluster, concord, eventually};
use crate::{stderr, stdout};

fn cert(dir: &Path, words: &[&str]) -> Output {
    concord()
        .arg("cert")
        .args(words)
        .current_dir(dir)
        .output()
        .unwrap()
}

#[track_caller]
fn made(dir: &Path, words: &[&str]) -> String {
    let output = cert(dir, words);
    assert!(output.status.success(), "{words:?}: {}", stderr(&output));
    stdout(&output).to_owned()
}

#[track_caller]
fn refused(dir: &Path, words: &[&str]) -> String {
    let output = cert(dir, words);
    assert_eq!(output.status.code(), Some(2), "{words:?}: {}", stdout(&output));
    stderr(&output).to_owned()
}

fn authority() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    made(dir.path(), &["ca"]);
    dir
}

#[test]
fn certificates_are_made_privately_and_never_over_others() {
    let dir = authority();
    let says = made(
        dir.path(),
        &["node", "--node-id", "7", "--host", "db.example", "--ip", "::1"],
    );
    assert!(
        says.contains("[peers.tls]") && says.contains("[http.tls]"),
        "{says}"
    );
    let certs = dir.path().join("certs");
    for (name, mode) in [
        ("ca.pem", 0o644),
        ("ca-key.pem", 0o600),
        ("node-7.pem", 0o644),
        ("node-7-key.pem", 0o600),
    ] {
        let found = fs::metadata(certs.join(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!(found & !0o022, mode & !0o022, "{name}: {found:o}");
    }
    let before = fs::read(certs.join("node-7-key.pem")).unwrap();
    let says = refused(dir.path(), &["node", "--node-id", "7"]);
    assert!(says.contains("node-7.pem exists: say --force"), "{says}");
    assert_eq!(fs::read(certs.join("node-7-key.pem")).unwrap(), before);
    made(dir.path(), &["node", "--node-id", "7", "--force"]);
    assert_ne!(fs::read(certs.join("node-7-key.pem")).unwrap(), before);
    assert!(refused(dir.path(), &["ca"]).contains("exists"));
    let names: Vec<_> = fs::read_dir(&certs)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(names.len(), 4, "nothing is left behind: {names:?}");
}

#[test]
fn certificates_are_shown_with_names_and_days() {
    let dir = authority();
    let cluster = "0123456789abcdef0123456789abcdef";
    made(
        dir.path(),
        &["node", "--node-id", "7", "--cluster", cluster, "--days", "30"],
    );
    let shown = made(dir.path(), &["show", "certs/node-7.pem"]);
    for word in ["node 7", cluster, "days left"] {
        assert!(shown.contains(word), "{word}: {shown}");
    }
    made(dir.path(), &["client", "alice of sales/eu"]);
    assert!(made(dir.path(), &["show", "certs/client-alice_of_sales_eu.pem"]).contains("alice of sales/eu"));
}

#[test]
fn what_cannot_be_made_is_refused() {
    let dir = authority();
    for words in [
        &["node", "--node-id", "0"][..],
        &["node", "--node-id", "1", "--host", "not a host\u{e9}"],
        &["node", "--node-id", "1", "--ip", "1.2.3"],
        &["node", "--node-id", "1", "--cluster", "12"],
        &["node", "--node-id", "1", "--days", "0"],
        &["client", ""],
        &["client", "a\nb"],
        &[
            "ca",
            "--name",
            "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
            "--out",
            "other",
        ],
    ] {
        refused(dir.path(), words);
    }
    let empty = tempfile::tempdir().unwrap();
    assert!(refused(empty.path(), &["node", "--node-id", "1"]).contains("`concord cert ca`"));
    // Whoever can read the key of the authority can make nodes.
    let key = dir.path().join("certs/ca-key.pem");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(refused(dir.path(), &["node", "--node-id", "1"]).contains("lets others at the private key"));
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    // The key of another authority.
    made(dir.path(), &["ca", "--out", "other"]);
    let says = refused(
        dir.path(),
        &["node", "--node-id", "1", "--ca-key", "other/ca-key.pem"],
    );
    assert!(says.contains("not the key of the certificate"), "{says}");
}

/// A new user's way: an authority, a node, a client, and the command line through HTTPS with certificates on both sides.
#[tokio::test]
async fn command_line_works_through_https_with_a_client_certificate() {
    let dir = authority();
    let at = dir.path().join("certs");
    let at = at.to_str().unwrap();
    made(dir.path(), &["node", "--node-id", "1", "--ip", "127.0.0.1"]);
    made(dir.path(), &["client", "alice"]);
    let mut cluster = Cluster::of(1);
    let node = &mut cluster.nodes[0];
    node.settings(&format!(
        "[http.tls]\ncertificate = \"{at}/node-1.pem\"\nkey = \"{at}/node-1-key.pem\"\nclient_ca = \"{at}/ca.pem\"\n"
    ));
    node.start();
    let run = |tls: &[&str], words: &[&str]| {
        concord()
            .args(["--endpoints", &node.http.to_string(), "--timeout", "5s"])
            .args(tls)
            .args(words)
            .output()
            .unwrap()
    };
    let ca = format!("{at}/ca.pem");
    let (shown, key) = (
        format!("{at}/client-alice.pem"),
        format!("{at}/client-alice-key.pem"),
    );
    let tls = ["--ca-cert", &ca, "--client-cert", &shown, "--client-key", &key];
    eventually("the node is ready", async || {
        run(&tls, &["put", "k", "v"]).status.success().then_some(())
    })
    .await;
    assert_eq!(stdout(&run(&tls, &["get", "k"])), "v\n");
    assert!(stdout(&run(&tls, &["status"])).contains(&format!("https://{}", node.http)));
    // Without a certificate nothing can have been written, and the message says so.
    let output = run(
        &["--ca-cert", &ca],
        &["put", "k", "x", "--idempotency-key", "once"],
    );
    assert_eq!(output.status.code(), Some(7), "{}", stderr(&output));
    assert!(
        stderr(&output).contains("CertificateRequired"),
        "{}",
        stderr(&output)
    );
    // By then the client may be gone already.
    eventually("the log says why", async || {
        node.log()
            .contains("the other side has no certificate")
            .then_some(())
    })
    .await;
    // Somebody else's authority.
    made(dir.path(), &["ca", "--out", "other"]);
    let other = dir.path().join("other/ca.pem");
    let output = run(&["--ca-cert", other.to_str().unwrap()], &["get", "k"]);
    assert_eq!(output.status.code(), Some(7));
    assert!(
        stderr(&output).contains("certificate is not accepted"),
        "{}",
        stderr(&output)
    );
    // Plaintext, by default of the address.
    let output = run(&[], &["get", "k"]);
    assert!(stderr(&output).contains("use https://"), "{}", stderr(&output));
    assert_eq!(stdout(&run(&tls, &["get", "k"])), "v\n");
}

#[test]
fn half_or_useless_certificates_are_wrong_usage() {
    let dir = authority();
    made(dir.path(), &["client", "alice"]);
    let run = |words: &[&str]| {
        let output = concord().args(words).current_dir(dir.path()).output().unwrap();
        (output.status.code(), stderr(&output).to_owned())
    };
    let (code, says) = run(&["get", "k", "--client-cert", "certs/client-alice.pem"]);
    assert_eq!(
        (code, says.contains("needs `--client-key`")),
        (Some(2), true),
        "{says}"
    );
    let (code, says) = run(&["get", "k", "--ca-cert", "none.pem"]);
    assert_eq!(
        (code, says.contains("cannot read none.pem")),
        (Some(2), true),
        "{says}"
    );
    let (code, says) = run(&[
        "--ca-cert",
        "certs/ca.pem",
        "get",
        "k",
        "--endpoints",
        "http://127.0.0.1:1",
    ]);
    assert_eq!((code, says.contains("is plaintext")), (Some(4), true), "{says}");
    let (code, says) = run(&["--ca-cert", "certs/ca.pem", "config", "check"]);
    assert_eq!(
        (code, says.contains("`--ca-cert` is for commands")),
        (Some(2), true),
        "{says}"
    );
}
