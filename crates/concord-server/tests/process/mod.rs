//! Real nodes as child processes, for the tests that kill them.
//!
//! Each node keeps its data below one temporary directory and its output in a file there,
//! which is printed when a test fails. Ports must be known before the nodes start, and stay
//! theirs when they are restarted: see [`free_address`].

use std::fs::{self, File};
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use concord_server::client::{Client, ClientError, Request};
use serde_json::Value;
use tempfile::TempDir;

/// How long anything that must happen may take on a machine with other work.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// A start without optimisation would spend seconds on looking through 64 MiB of zeros.
const SMALL_LOG: &str = "[log]\nsegment_bytes = \"1MiB\"\n";
const SECRET: &str = "a secret for tests only";

/// The binary under test.
pub(crate) fn concord() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_concord"));
    // Whatever the developer has set for themselves must not reach the tests.
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("CONCORD_")) {
        command.env_remove(name);
    }
    command.env("CONCORD_CONTEXTS", "");
    command.stdin(Stdio::null());
    command
}

/// An address of this machine that is the caller's until this process ends: nobody listens there, and no other
/// test draws it.
///
/// It is below the ports that the system gives to whoever connects, so that no connection takes it while a node is
/// down. It is claimed by a listener on the same port of another loopback address, which keeps it from other
/// processes too: one test runs in each.
pub(crate) fn free_address() -> SocketAddr {
    const PORTS: std::ops::Range<u16> = 16_384..32_768;
    static CLAIMED: Mutex<Vec<Option<TcpListener>>> = Mutex::new(Vec::new());
    let claimed = &mut *CLAIMED.lock().unwrap();
    let first = usize::try_from(std::process::id()).unwrap() * 101 + claimed.len();
    for port in PORTS.cycle().skip(first % PORTS.len()).take(PORTS.len()) {
        let claim = match TcpListener::bind(SocketAddr::from(([127, 77, 0, 1], port))) {
            Err(error) if error.kind() == ErrorKind::AddrInUse => continue,
            // Systems that have only one loopback address go without.
            claim => claim.ok(),
        };
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        if TcpListener::bind(address).is_ok() {
            claimed.push(claim);
            return address;
        }
    }
    panic!("no port is free");
}

/// Looks until `found` finds something; the one place that pauses.
pub(crate) async fn eventually<T>(what: &str, mut found: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = found().await {
            return value;
        }
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        // tidy-allow(sleep): another process is watched, and it sends no event.
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// A node, running or not.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) id: u64,
    pub(crate) peer: SocketAddr,
    /// Where it serves HTTP; the same after a restart.
    pub(crate) http: SocketAddr,
    dir: PathBuf,
    /// What brings it into a cluster: `--seeds` or `--join` with its value, or nothing.
    start: Vec<String>,
    child: Option<Child>,
}

impl Node {
    fn new(root: &Path, id: u64, start: Vec<String>, peer: SocketAddr) -> Self {
        let dir = root.join(format!("node-{id}"));
        let node = Self {
            id,
            peer,
            http: free_address(),
            dir,
            start,
            child: None,
        };
        node.settings("");
        node
    }

    pub(crate) fn data_dir(&self) -> &Path {
        &self.dir
    }

    pub(crate) fn is_running(&self) -> bool {
        self.child.is_some()
    }

    /// Further settings for its next starts.
    pub(crate) fn settings(&self, toml: &str) {
        fs::write(self.settings_path(), format!("{SMALL_LOG}{toml}")).unwrap();
    }

    fn settings_path(&self) -> PathBuf {
        self.dir.with_extension("toml")
    }

    /// The command line of this node.
    pub(crate) fn command(&self) -> Command {
        let root = self.dir.parent().unwrap();
        let mut command = concord();
        command
            .arg("start")
            .arg("--data-dir")
            .arg(&self.dir)
            .args(["--http", &self.http.to_string()]);
        if !self.start.is_empty() {
            command.args([
                "--node-id",
                &self.id.to_string(),
                "--peer",
                &self.peer.to_string(),
            ]);
            command
                .args(&self.start)
                .arg("--cluster-secret-file")
                .arg(root.join("secret"));
        }
        command.arg("--config").arg(self.settings_path());
        command
    }

    /// Starts it; it may not be ready yet.
    pub(crate) fn start(&mut self) {
        let command = self.command();
        self.start_as(command);
    }

    /// Starts it by another command line, such as one of a shell with limits.
    pub(crate) fn start_as(&mut self, mut command: Command) {
        assert!(self.child.is_none(), "node {} runs already", self.id);
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log_path())
            .unwrap();
        command
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .stdin(Stdio::null());
        self.child = Some(command.spawn().unwrap());
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// SIGTERM, without waiting.
    pub(crate) fn terminate(&self) {
        let pid = rustix::process::Pid::from_child(self.child.as_ref().unwrap());
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    }

    /// Waits for its end.
    pub(crate) async fn exited(&mut self) -> ExitStatus {
        let mut child = self.child.take().unwrap();
        eventually("the node ends", async || child.try_wait().unwrap()).await
    }

    /// Forgets everything that it has stored.
    pub(crate) fn wipe(&self) {
        assert!(self.child.is_none());
        fs::remove_dir_all(&self.dir).unwrap();
    }

    /// Everything that it has printed.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    /// A client of this node alone.
    pub(crate) fn client(&self) -> Client {
        client(&[self.http])
    }

    fn log_path(&self) -> PathBuf {
        self.dir.with_extension("log")
    }
}

/// A client with a short timeout: tests look again rather than wait long.
pub(crate) fn client(addresses: &[SocketAddr]) -> Client {
    Client::new(addresses.iter().map(ToString::to_string), Duration::from_secs(5)).unwrap()
}

/// Nodes with one secret below one directory.
#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) nodes: Vec<Node>,
    root: TempDir,
}

impl Cluster {
    /// Nodes that form a cluster from seeds, not started.
    pub(crate) fn of(count: u64) -> Self {
        let peers: Vec<SocketAddr> = (0..count).map(|_| free_address()).collect();
        let seeds = peers
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(",");
        let root = new_root();
        let start = if count == 1 {
            Vec::new()
        } else {
            vec!["--seeds".to_owned(), seeds]
        };
        let nodes = (1..=count)
            .zip(peers)
            .map(|(id, peer)| Node::new(root.path(), id, start.clone(), peer))
            .collect();
        Self { nodes, root }
    }

    /// The same, started and ready.
    pub(crate) async fn start(count: u64) -> Self {
        let mut cluster = Self::of(count);
        cluster.start_all();
        cluster.ready().await;
        cluster
    }

    /// Adds a node that will join, not started.
    pub(crate) fn add_joining(&mut self, id: u64) -> &mut Node {
        let member = self.nodes.first().unwrap().peer.to_string();
        let start = vec!["--join".to_owned(), member];
        self.nodes
            .push(Node::new(self.root.path(), id, start, free_address()));
        self.nodes.last_mut().unwrap()
    }

    pub(crate) fn start_all(&mut self) {
        for node in self.nodes.iter_mut().filter(|node| !node.is_running()) {
            node.start();
        }
    }

    pub(crate) fn node(&mut self, id: u64) -> &mut Node {
        self.nodes.iter_mut().find(|node| node.id == id).unwrap()
    }

    /// Waits until every running node has a leader and has caught up.
    pub(crate) async fn ready(&self) {
        for node in self.nodes.iter().filter(|node| node.is_running()) {
            ready(node).await;
        }
    }

    /// A client of all nodes.
    pub(crate) fn client(&self) -> Client {
        client(&self.nodes.iter().map(|node| node.http).collect::<Vec<_>>())
    }

    /// Waits until a running node says who leads, and that one runs.
    pub(crate) async fn leader(&self) -> u64 {
        eventually("a leader", async || {
            for node in self.nodes.iter().filter(|node| node.is_running()) {
                let leader = status(&node.client())
                    .await
                    .ok()
                    .and_then(|status| status.get("leader")?.as_u64());
                let runs = |id| self.nodes.iter().any(|node| node.id == id && node.is_running());
                if let Some(id) = leader
                    && runs(id)
                {
                    return Some(id);
                }
            }
            None
        })
        .await
    }
}

fn new_root() -> TempDir {
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join("secret"), SECRET).unwrap();
    root
}

/// Waits until a node has a leader and has caught up.
pub(crate) async fn ready(node: &Node) {
    let client = node.client();
    eventually(&format!("node {} is ready", node.id), async || {
        client.send(&Request::get("/ready")).await.ok()
    })
    .await;
}

/// What a node says of itself.
pub(crate) async fn status(client: &Client) -> Result<Value, ClientError> {
    client.send(&Request::get("/api/v1/status")).await?.data()
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for node in &mut self.nodes {
            if let Some(mut child) = node.child.take() {
                // It may have ended by itself: then there is nothing to kill.
                let _ = child.kill();
                let _ = child.wait();
            }
        }
        if std::thread::panicking() {
            for node in &self.nodes {
                print_end(node);
            }
        }
    }
}

fn print_end(node: &Node) {
    let log = node.log();
    let from = log
        .char_indices()
        .rev()
        .filter(|(_, c)| *c == '\n')
        .nth(60)
        .map_or(0, |(at, _)| at);
    eprintln!(
        "--- end of the log of node {}\n{}",
        node.id,
        log.get(from..).unwrap_or_default()
    );
}

/// Runs the command line as a client of one node.
pub(crate) fn run(node: &Node, words: &[&str]) -> Output {
    run_with_input(node, words, b"")
}

/// The same with something on standard input.
pub(crate) fn run_with_input(node: &Node, words: &[&str], input: &[u8]) -> Output {
    use std::io::Write;
    let mut command = concord();
    command
        .env("CONCORD_ENDPOINTS", node.http.to_string())
        .args(words);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // A command that does not read its input may have ended already.
    let _ = child.stdin.take().unwrap().write_all(input);
    child.wait_with_output().unwrap()
}
