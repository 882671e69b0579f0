//! `concord top`: the picture, and the terminal that it is drawn on.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::process::Stdio;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};
use serde_json::Value;

use super::process::{Cluster, concord, eventually, free_address, run};
use super::{fails, ok, stderr, stdout};

#[tokio::test]
async fn a_picture_shows_every_node_and_who_does_not_answer() {
    let cluster = Cluster::start(1).await;
    let node = &cluster.nodes[0];
    ok(node, &["put", "k", "v"]);
    let silent = free_address();
    let endpoints = format!("{},{silent}", node.http);
    let output = concord()
        .args(["top", "--endpoints", &endpoints, "--interval", "100ms"])
        .output()
        .unwrap();
    let text = stdout(&output);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(
        !text.contains('\u{1b}'),
        "no terminal, no control sequences: {text:?}"
    );
    let line = |part: &str| text.lines().find(|line| line.contains(part)).unwrap_or_default();
    assert!(line(&node.http.to_string()).contains("leader"), "{text}");
    assert!(line(&silent.to_string()).contains("unreachable"), "{text}");
    assert!(line("revision").contains("1 keys"), "{text}");
}

#[tokio::test]
async fn programs_get_rates_of_writes_and_where_they_go() {
    let cluster = Cluster::start(1).await;
    let node = &cluster.nodes[0];
    let top = concord()
        .args([
            "top",
            "--endpoints",
            &node.http.to_string(),
            "--once",
            "--hot",
            "--interval",
            "3s",
            "-o",
            "json",
        ])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    eventually("its watch is open", async || {
        let open = ok(node, &["top", "-o", "json", "--interval", "10ms"]);
        let open: Value = serde_json::from_str(&open).unwrap();
        (open["nodes"][0]["watches"].as_f64() == Some(1.0)).then_some(())
    })
    .await;
    for number in 0..3 {
        ok(node, &["put", &format!("users:{number}"), "v"]);
    }
    let picture: Value = serde_json::from_str(stdout(&top.wait_with_output().unwrap())).unwrap();
    let told = &picture["nodes"][0];
    assert!(told["writes_per_second"].as_f64() > Some(0.0), "{picture}");
    assert!(told["write_seconds_p99"].as_f64() > Some(0.0), "{picture}");
    assert_eq!(told["role"], "leader");
    assert_eq!(picture["cluster"]["keys"], 3);
    assert_eq!(picture["hot_prefixes"][0]["prefix"], "users:*", "{picture}");
}

#[tokio::test]
async fn a_picture_of_nothing_is_a_failure() {
    let cluster = Cluster::start(1).await;
    let node = &cluster.nodes[0];
    let silent = free_address().to_string();
    let words = ["top", "--endpoints", &silent, "--interval", "10ms"];
    let output = run(node, &words);
    assert_eq!(output.status.code(), Some(7), "{}", stderr(&output));
    fails(node, &["top", "--interval", "0s"], 2, "length of time");
}

/// A terminal, by both its ends.
fn terminal() -> (File, File) {
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&ours).unwrap();
    unlockpt(&ours).unwrap();
    let path = ptsname(&ours, Vec::new()).unwrap().into_string().unwrap();
    let theirs = File::options().read(true).write(true).open(path).unwrap();
    let size = Winsize {
        ws_row: 20,
        ws_col: 70,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    tcsetwinsize(&theirs, size).unwrap();
    (File::from(ours), theirs)
}

#[tokio::test]
async fn a_terminal_is_given_back_as_it_was() {
    let cluster = Cluster::start(1).await;
    let node = &cluster.nodes[0];
    for key in *b"q\x03" {
        let (mut ours, theirs) = terminal();
        let before = tcgetattr(&theirs).unwrap();
        assert!(before.local_modes.contains(LocalModes::ECHO));
        let mut top = concord()
            .args(["top", "--endpoints", &node.http.to_string(), "--interval", "20ms"])
            .stdin(theirs.try_clone().unwrap())
            .stdout(theirs.try_clone().unwrap())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut seen = Vec::new();
        let mut piece = [0; 1_024];
        while !String::from_utf8_lossy(&seen).contains("leader") {
            let count = ours.read(&mut piece).unwrap();
            seen.extend_from_slice(&piece[..count]);
        }
        assert!(!tcgetattr(&theirs).unwrap().local_modes.contains(LocalModes::ECHO));
        ours.write_all(&[key]).unwrap();
        // Read to the end, or it could wait for room on the terminal.
        let mut rest = ours.try_clone().unwrap();
        std::thread::spawn(move || while matches!(rest.read(&mut [0; 1_024]), Ok(1..)) {});
        assert!(top.wait().unwrap().success());
        let after = tcgetattr(&theirs).unwrap();
        assert_eq!(format!("{before:?}"), format!("{after:?}"));
    }
}
