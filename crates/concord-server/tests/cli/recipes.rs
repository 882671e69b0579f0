//! `concord lock`, `election` and `registry`.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, ChildStdout, Stdio};

use concord_server::client::Request;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::process::{Cluster, Node, concord, eventually, run};
use crate::{fails, ok, stdout};

/// A command line at work. Whatever it runs ends with its standard input.
struct Running {
    child: Child,
    out: BufReader<ChildStdout>,
}

impl Running {
    fn start(node: &Node, words: &[&str]) -> Self {
        let mut child = concord()
            .env("CONCORD_ENDPOINTS", node.http.to_string())
            .args(words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        Self { child, out }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.out.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    async fn exit_code(&mut self) -> Option<i32> {
        let child = &mut self.child;
        eventually("it ends", async || child.try_wait().unwrap())
            .await
            .code()
    }
}

async fn shown(node: &Node, path: &str) -> Value {
    let answer = node.client().send(&Request::get(format!("/api/v1/{path}"))).await;
    answer.unwrap().data().unwrap()
}

/// D-REC-3: the command finds the token that its writes are fenced with, and each has a greater one.
#[tokio::test]
async fn a_command_runs_under_the_lock_and_its_exit_code_comes_back() {
    let cluster = Cluster::start(1).await;
    let node = &cluster.nodes[0];
    let mut last = 0;
    for code in [0, 7] {
        let script = format!("echo $CONCORD_LOCK_NAME $CONCORD_LOCK_TOKEN $CONCORD_LOCK_KEY; exit {code}");
        let output = run(
            node,
            &["lock", "job:1", "--owner", "me", "--", "sh", "-c", &script],
        );
        assert_eq!(output.status.code(), Some(code));
        let words: Vec<&str> = stdout(&output).split_whitespace().collect();
        let [name, token, key] = words.as_slice() else {
            panic!("{words:?}")
        };
        assert_eq!(*name, "job:1");
        assert!(key.starts_with("lock:job:1#"), "{key}");
        let token: u64 = token.parse().unwrap();
        assert!(token > last);
        last = token;
    }
    assert_eq!(shown(node, "locks/job:1").await["holder"], Value::Null);
    assert_eq!(shown(node, "leases").await["leases"], serde_json::json!([]));
    let output = run(node, &["lock", "job:1", "--", "/no/such/program"]);
    assert_eq!(output.status.code(), Some(1));
    fails(node, &["lock", "a#b#c", "--", "true"], 4, "invalid_request");
    fails(node, &["lock", "a", "--ttl", "0", "--", "true"], 4, "invalid_ttl");
}

/// D-V3-2: what a killed process held is free when its time is over.
#[tokio::test]
async fn a_killed_command_line_frees_the_lock_after_its_time() {
    let cluster = Cluster::start(1).await;
    let node = &cluster.nodes[0];
    let script = "echo in; cat";
    let mut first = Running::start(node, &["lock", "job", "--ttl", "2s", "--", "sh", "-c", script]);
    assert_eq!(first.line(), "in");
    fails(
        node,
        &["lock", "job", "--wait", "0s", "--", "true"],
        5,
        "condition_failed",
    );
    fails(
        node,
        &["lock", "job", "--wait", "50ms", "--", "true"],
        5,
        "condition_failed",
    );
    let mut second = Running::start(node, &["lock", "job", "--", "sh", "-c", "echo in; exit 3"]);
    first.signal(Signal::KILL);
    assert_eq!(first.exit_code().await, None);
    assert_eq!(second.line(), "in");
    assert_eq!(second.exit_code().await, Some(3));
    assert_eq!(shown(node, "locks/job").await["holder"], Value::Null);
}

#[tokio::test]
async fn a_command_is_ended_when_its_lock_is_lost() {
    let cluster = Cluster::start(1).await;
    let node = &cluster.nodes[0];
    // One that ends when it is asked to, and one that does not.
    for script in ["echo in; exec cat", "trap '' TERM; echo in; exec cat"] {
        let words = [
            "lock", "job", "--ttl", "1h", "--grace", "200ms", "--", "sh", "-c", script,
        ];
        let mut held = Running::start(node, &words);
        assert_eq!(held.line(), "in");
        let key = shown(node, "locks/job").await["holder"]["key"].clone();
        ok(node, &["delete", key.as_str().unwrap()]);
        assert_eq!(held.exit_code().await, Some(3));
        assert_eq!(held.line(), "", "nobody writes there any more: it has ended");
        let mut error = String::new();
        std::io::Read::read_to_string(&mut held.child.stderr.take().unwrap(), &mut error).unwrap();
        assert!(error.contains("lease_not_found"), "{error}");
    }
}

#[tokio::test]
async fn signals_are_handed_on_and_end_the_wait() {
    let cluster = Cluster::start(1).await;
    let node = &cluster.nodes[0];
    let script = "trap 'exit 9' TERM; echo in; while read line; do :; done";
    let mut held = Running::start(node, &["lock", "job", "--", "sh", "-c", script]);
    assert_eq!(held.line(), "in");
    let mut waiting = Running::start(node, &["lock", "job", "--", "echo", "in"]);
    eventually("it waits", async || {
        let line = shown(node, "locks/job").await;
        (line["waiting"] != serde_json::json!([])).then_some(())
    })
    .await;
    waiting.signal(Signal::INT);
    assert_eq!(waiting.exit_code().await, Some(130));
    assert_eq!(shown(node, "locks/job").await["waiting"], serde_json::json!([]));
    held.signal(Signal::TERM);
    assert_eq!(held.exit_code().await, Some(9));
    assert_eq!(shown(node, "locks/job").await["holder"], Value::Null);
}

#[tokio::test]
async fn elections_are_won_and_followed() {
    let cluster = Cluster::start(1).await;
    let node = &cluster.nodes[0];
    fails(node, &["election", "leader", "head"], 3, "not_found");
    let mut observer = Running::start(node, &["election", "observe", "head", "--output", "json"]);
    assert_eq!(observer.line(), "null");
    let words = ["election", "campaign", "head", "one", "--ttl", "1h"];
    let mut leader = Running::start(node, &words);
    assert!(leader.line().starts_with("leads head with token "));
    let seen: Value = serde_json::from_str(&observer.line()).unwrap();
    assert_eq!(seen["value"], "one");
    assert!(ok(node, &["election", "leader", "head"]).contains("one"));
    assert!(ok(node, &["election", "list"]).contains("head"));
    let words = ["election", "campaign", "head", "two", "--wait", "0s"];
    fails(node, &words, 5, "condition_failed");
    leader.signal(Signal::TERM);
    assert_eq!(leader.exit_code().await, Some(0));
    assert_eq!(observer.line(), "null");
    let script = "echo $CONCORD_ELECTION_TOKEN";
    let words = ["election", "campaign", "head", "two", "--", "sh", "-c", script];
    assert!(ok(node, &words).trim().parse::<u64>().unwrap() > seen["token"].as_u64().unwrap());
    let seen: Value = serde_json::from_str(&observer.line()).unwrap();
    assert_eq!(seen["value"], "two");
    observer.signal(Signal::KILL);
    observer.exit_code().await;
}

#[tokio::test]
async fn instances_are_registered_while_the_command_runs() {
    let cluster = Cluster::start(1).await;
    let node = &cluster.nodes[0];
    let mut one = Running::start(node, &["registry", "register", "web", "one", "10.0.0.1:80"]);
    assert!(one.line().starts_with("one is registered with token "));
    let listed = ok(node, &["registry", "list", "web"]);
    assert!(
        listed.contains("one") && listed.contains("10.0.0.1:80"),
        "{listed}"
    );
    assert!(ok(node, &["registry", "list"]).contains("web"));
    let mut watcher = Running::start(node, &["registry", "watch", "web", "--output", "json"]);
    let seen: Value = serde_json::from_str(&watcher.line()).unwrap();
    assert_eq!(seen["instances"][0]["value"], "10.0.0.1:80");
    one.signal(Signal::TERM);
    assert_eq!(one.exit_code().await, Some(0));
    let seen: Value = serde_json::from_str(&watcher.line()).unwrap();
    assert_eq!(seen["instances"], serde_json::json!([]));
    watcher.signal(Signal::KILL);
    watcher.exit_code().await;
}
