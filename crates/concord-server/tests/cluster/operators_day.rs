//! A day of an operator, by the command line alone, as docs/operations.md and docs/backup.md tell it.

use std::path::Path;
use std::process::Output;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

use concord_server::client::{Client, Request};
use reqwest::header::HeaderValue;
use tempfile::TempDir;

use crate::alone;
use crate::process::{Cluster, Node, concord, eventually, ready, run};

fn printed(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// Runs, expects success, gives what was printed.
#[track_caller]
fn ok(node: &Node, words: &[&str]) -> String {
    let output = run(node, words);
    assert!(output.status.success(), "{words:?}: {}", printed(&output));
    printed(&output)
}

/// The same without a cluster.
#[track_caller]
fn here(words: &[&str], exit: i32) -> String {
    let output = concord().args(words).output().unwrap();
    assert_eq!(
        output.status.code(),
        Some(exit),
        "{words:?}: {}",
        printed(&output)
    );
    printed(&output)
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A program that uses the cluster all day: each request must succeed, whatever its client has to do for that.
struct Program {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicUsize>,
    task: tokio::task::JoinHandle<Vec<String>>,
}

impl Program {
    fn start(client: Client) -> Self {
        let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (is_over, count) = (Arc::clone(&stop), Arc::clone(&done));
        let task = tokio::spawn(async move {
            let mut failures = Vec::new();
            while !is_over.load(Ordering::Relaxed) {
                let number = count.fetch_add(1, Ordering::Relaxed);
                let name = HeaderValue::from_str(&format!("roll-{number}")).unwrap();
                let write = Request::post("/api/v1/kv/rolled/increment").once(Some(&name));
                let read = Request::get("/api/v1/kv/rolled");
                for request in [write, read] {
                    if let Err(error) = client.send(&request).await {
                        failures.push(format!("{number}: {error}"));
                    }
                }
            }
            failures
        });
        Self { stop, done, task }
    }

    async fn progress(&self) {
        let goal = self.done.load(Ordering::Relaxed) + 20;
        eventually("the program goes on", async || {
            (self.done.load(Ordering::Relaxed) >= goal).then_some(())
        })
        .await;
    }

    /// How many requests it made.
    async fn finish(self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        let failures = self.task.await.unwrap();
        assert!(failures.is_empty(), "{failures:?}");
        self.done.load(Ordering::Relaxed)
    }
}

/// Each node in turn is stopped in order and started again, while a program works: D-OPS-4.
async fn roll(cluster: &mut Cluster) {
    let program = Program::start(cluster.client());
    program.progress().await;
    let ids: Vec<u64> = cluster
        .nodes
        .iter()
        .filter(|node| node.is_running())
        .map(|node| node.id)
        .collect();
    for id in ids {
        cluster.node(id).terminate();
        let ended = cluster.node(id).exited().await;
        assert!(ended.success(), "node {id}: {ended}");
        cluster.node(id).start();
        ok(cluster.node(id), &["ready", "--wait", "1m"]);
        program.progress().await;
    }
    let requests = program.finish().await;
    let counted = ok(cluster.node(1), &["get", "rolled", "--consistency", "strong"]);
    assert_eq!(counted.trim().parse::<usize>().unwrap(), requests, "each once");
}

/// A dead member's place is taken by a new one: docs/operations.md, "Replace a node whose disk is lost".
async fn replace(cluster: &mut Cluster, dead: u64, new: u64) {
    cluster.node(dead).kill();
    cluster.node(dead).wipe();
    ok(cluster.node(1), &["put", "while-one-is-dead", "1"]);
    cluster.add_joining(new).start();
    ready(cluster.node(new)).await;
    let (leaving, joining) = (dead.to_string(), new.to_string());
    eventually("the new node takes the dead one's place", async || {
        let words = ["cluster", "replace", leaving.as_str(), joining.as_str()];
        run(&cluster.nodes[0], &words).status.success().then_some(())
    })
    .await;
    let members = ok(cluster.node(1), &["members"]);
    assert!(
        !members
            .lines()
            .any(|line| line.trim_start().starts_with(&leaving)),
        "{members}"
    );
    let gone = cluster.nodes.iter().position(|node| node.id == dead).unwrap();
    cluster.nodes.remove(gone);
}

/// The majority is lost for good: docs/backup.md, "When the quorum is lost for good".
async fn recover(cluster: &mut Cluster, survivor: u64) {
    let lost: Vec<u64> = cluster
        .nodes
        .iter()
        .map(|node| node.id)
        .filter(|id| *id != survivor)
        .collect();
    for id in &lost {
        cluster.node(*id).kill();
        cluster.node(*id).wipe();
    }
    let refused = run(
        cluster.node(survivor),
        &["put", "without-a-quorum", "1", "--timeout", "1s"],
    );
    assert!(!refused.status.success(), "{}", printed(&refused));
    let words = ["get", "config", "--consistency", "eventual"];
    assert_eq!(ok(cluster.node(survivor), &words), "right\n", "reads go on");
    cluster.node(survivor).terminate();
    cluster.node(survivor).exited().await;
    let dir = cluster.node(survivor).data_dir().to_path_buf();
    assert!(here(&["doctor", text(&dir)], 0).contains("everything that is here is whole"));
    let words = ["recover", "--data-dir", text(&dir), "--force-new-cluster"];
    assert!(here(&words, 2).contains("lost: "));
    here(&[&words[..], &["--yes"]].concat(), 0);
    cluster.node(survivor).start();
    ready(cluster.node(survivor)).await;
    cluster.nodes.retain(|node| node.id == survivor);
}

/// Claim: deploy, load, kill, replace, back up, lose data, restore, roll, lose the quorum, recover: all by the
/// documents and the tool, and nothing that was acknowledged is lost but what recovery says.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operators_day() {
    let _alone = alone().await;
    let began = Instant::now();
    let (mut cluster, desk) = (Cluster::start(3).await, TempDir::new().unwrap());
    for node in &cluster.nodes {
        ok(node, &["ready", "--wait", "1m"]);
    }
    ok(cluster.node(1), &["put", "config", "right"]);
    for n in 0..20 {
        ok(cluster.node(1 + n % 3), &["put", &format!("data/{n}"), "x"]);
    }
    replace(&mut cluster, 3, 4).await;

    let file = desk.path().join("noon.backup");
    ok(cluster.node(4), &["backup", "create", "--to", text(&file)]);
    here(&["backup", "verify", text(&file)], 0);

    // Somebody makes a mistake, and it is undone while everybody goes on.
    for n in 0..20 {
        ok(cluster.node(2), &["delete", &format!("data/{n}")]);
    }
    ok(cluster.node(2), &["put", "config", "wrong"]);
    ok(cluster.node(2), &["backup", "restore", text(&file)]);
    for node in &cluster.nodes {
        assert_eq!(ok(node, &["get", "config"]), "right\n");
        assert_eq!(ok(node, &["get", "data/19"]), "x\n");
    }

    roll(&mut cluster).await;
    recover(&mut cluster, 1).await;
    cluster.add_joining(5).start();
    ready(cluster.node(5)).await;
    let here = ok(cluster.node(5), &["get", "rolled", "--consistency", "strong"]);
    assert!(here.trim().parse::<usize>().unwrap() > 0);
    assert_eq!(ok(cluster.node(5), &["get", "data/0"]), "x\n");
    println!("an operator's day took {:?}", began.elapsed());
}
