//! Data directories that cannot be used: each is refused with the reason, and unharmed.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::Output;

use concord_server::client::Request;

use crate::alone;
use crate::load::Load;
use crate::process::{Cluster, Node, concord, eventually};

/// Starts a node that must refuse, on a free port.
fn refused(node: &Node) -> (i32, String) {
    let mut command = concord();
    command
        .args(["start", "--http", "127.0.0.1:0", "--data-dir"])
        .arg(node.data_dir());
    judge(&command.output().unwrap())
}

fn judge(output: &Output) -> (i32, String) {
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    (
        output
            .status
            .code()
            .unwrap_or_else(|| panic!("ended by a signal: {text}")),
        text,
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_in_use_is_refused_and_its_owner_goes_on() {
    let _alone = alone().await;
    let cluster = Cluster::start(1).await;
    let node = &cluster.nodes[0];
    let (exit, text) = refused(node);
    assert_eq!(exit, 10, "{text}");
    assert!(
        text.contains("in_use") && text.contains("in use by another process"),
        "{text}"
    );
    node.client()
        .send(&Request::put("/api/v1/kv/a").body("text/plain", "1".into()))
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_of_a_newer_version_is_refused_and_left_as_it_is() {
    let _alone = alone().await;
    let mut cluster = Cluster::start(1).await;
    cluster.node(1).kill();
    let node = &cluster.nodes[0];
    let path = node.data_dir().join("identity");
    let written = fs::read(&path).unwrap();
    // magic 8, version 4, length 4, CRC32C 4 of all the rest, body.
    let mut newer = written.clone();
    newer[8..12].copy_from_slice(&99_u32.to_le_bytes());
    let covered: Vec<u8> = [&newer[..16], &newer[20..]].concat();
    newer[16..20].copy_from_slice(&crc32c(&covered).to_le_bytes());
    fs::write(&path, &newer).unwrap();

    let (exit, text) = refused(node);
    assert_eq!(exit, 10, "{text}");
    assert!(text.contains("newer_version") && text.contains("99"), "{text}");
    assert_eq!(fs::read(&path).unwrap(), newer);
    fs::write(&path, written).unwrap();
    cluster.start_all();
    cluster.ready().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_directory_is_refused_with_file_and_offset() {
    let _alone = alone().await;
    let mut cluster = Cluster::start(1).await;
    cluster.node(1).kill();
    let node = &cluster.nodes[0];
    let path = node.data_dir().join("identity");
    let mut bytes = fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&path, &bytes).unwrap();
    let (exit, text) = refused(node);
    assert_eq!(exit, 10, "{text}");
    assert!(
        text.contains("corrupt") && text.contains("identity") && text.contains("byte"),
        "{text}"
    );
}

/// Permission bits do not stop root, so root tries it as nobody.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_only_directory_is_refused_with_the_reason() {
    const NOBODY: u32 = 65_534;
    let _alone = alone().await;
    let root = tempfile::tempdir().unwrap();
    fs::set_permissions(root.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let dir = root.path().join("data");
    fs::create_dir(&dir).unwrap();
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o555)).unwrap();
    // The binary may lie where nobody else can reach it.
    let binary = root.path().join("concord");
    fs::copy(env!("CARGO_BIN_EXE_concord"), &binary).unwrap();
    let mut command = std::process::Command::new(binary);
    command
        .args(["start", "--http", "127.0.0.1:0", "--data-dir"])
        .arg(&dir);
    if rustix::process::geteuid().is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    let (exit, text) = judge(&command.output().unwrap());
    assert_eq!(exit, 10, "{text}");
    assert!(
        text.contains("storage_failed") && text.to_lowercase().contains("permission denied"),
        "{text}"
    );
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 0);
}

/// Claim: when the disk takes no more bytes, writes are turned away with `storage_failed` or
/// left unknown, nothing acknowledged is lost (I12), and with space the node is whole again.
/// Method: a limit on file size (with its signal ignored) makes the log's writes fail from
/// some offset on, as a full disk does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_takes_no_more_turns_writes_away_and_loses_nothing() {
    const BLOCKS: u32 = 1024; // of 512 bytes: half of a segment of 1 MiB, the harness's size
    let _alone = alone().await;
    let mut cluster = Cluster::of(1);
    let node = cluster.node(1);
    node.start();
    cluster.ready().await;
    cluster.node(1).kill();

    let node = cluster.node(1);
    let whole = node.command();
    let words = std::iter::once(whole.get_program()).chain(whole.get_args());
    let mut limited = std::process::Command::new("sh");
    limited
        .args([
            "-c",
            &format!("trap '' XFSZ; ulimit -f {BLOCKS}; exec \"$@\""),
            "sh",
        ])
        .args(words);
    node.start_as(limited);
    cluster.ready().await;

    let load = Load::start(&cluster, 2, 1000);
    let refusal = eventually("a write is turned away", async || {
        let put = Request::put("/api/v1/kv/probe").body("text/plain", "x".into());
        cluster.nodes[0].client().send(&put).await.err()
    })
    .await;
    println!("turned away: {}: {refusal}", refusal.code());
    // The process may have ended by now, which a later answer would show as unreachable.
    let expected = [
        "storage_failed",
        "outcome_unknown",
        "unreachable",
        "shutting_down",
    ];
    assert!(
        expected.contains(&refusal.code()),
        "{}: {refusal}",
        refusal.code()
    );
    let ledger = load.finish().await;
    assert!(ledger.len() > 10);
    let exit = cluster.node(1).exited().await;
    let log = cluster.nodes[0].log();
    assert_eq!(exit.code(), Some(10), "{log}");
    assert!(log.contains("storage_failed"), "{log}");

    cluster.start_all();
    cluster.ready().await;
    ledger.check(&cluster.client()).await;
}

fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |sum, &byte| {
        (0..8).fold(sum ^ u32::from(byte), |sum, _| {
            (sum >> 1) ^ (0x82f6_3b78 & (sum & 1).wrapping_neg())
        })
    })
}
