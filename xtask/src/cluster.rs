//! `cluster`: real nodes on this machine, to try things on and to break.
//!
//! ```text
//!   this program ──starts──> concord start (node 1) ──> DIR/node-1
//!        │                   concord start (node 2) ──> DIR/node-2
//!        │                   concord start (node 3) ──> DIR/node-3
//!        ├── prefixes what they print
//!        ├── asks their HTTP for readiness and the leader
//!        └── on Ctrl-C asks them to stop, then waits
//! ```
//!
//! The nodes run in process groups of their own: Ctrl-C reaches only this program,
//! which then stops them in order. A node that is killed stays down (or is started
//! again with `--restart`) and the others go on.

mod http;
mod logs;
mod node;
mod plan;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use node::Node;
use plan::Plan;

use crate::args::Args;
use crate::shell::say;
use crate::{Failure, shell};

const READY_WITHIN: Duration = Duration::from_secs(60);
const STOP_WITHIN: Duration = Duration::from_secs(20);
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// The `cluster` command.
pub(crate) fn run(mut args: Args) -> Result<(), Failure> {
    let nodes: Option<u16> = args.value("--nodes")?;
    let base_port: Option<u16> = args.value("--base-port")?;
    let dir: Option<PathBuf> = args.value("--dir")?;
    let release = args.flag("--release");
    let restart = args.flag("--restart");
    args.finish()?;

    let interrupted = interrupts()?;
    let plan = Plan::prepare(dir, nodes, base_port)?;
    let binary = build(release)?;
    plan.check_ports()?;
    let mut cluster = Cluster {
        nodes: Vec::new(),
        restart,
        interrupted,
    };
    for seat in plan.seats() {
        match Node::start(&binary, &plan, seat) {
            Ok(node) => cluster.nodes.push(node),
            Err(failure) => {
                cluster.stop();
                return Err(failure);
            }
        }
    }
    let outcome = cluster.serve(&plan, &binary);
    cluster.stop();
    if plan.is_resumable() {
        say(&format!(
            "Stopped. `cargo xtask cluster --dir {}` resumes this cluster.",
            plan.dir().display()
        ));
    } else {
        say("Stopped. The data was temporary and is gone; --dir DIR keeps it.");
    }
    outcome
}

/// Notes Ctrl-C and its like from now on, instead of dying of them.
fn interrupts() -> Result<Arc<AtomicBool>, Failure> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(&interrupted)).map_err(|e| e.to_string())?;
    }
    Ok(interrupted)
}

/// Builds the binary and returns where it is.
pub(crate) fn build(release: bool) -> Result<PathBuf, Failure> {
    let mut arguments = vec![
        "build",
        "--locked",
        "--package",
        "concord-server",
        "--bin",
        "concord",
    ];
    if release {
        arguments.push("--release");
    }
    shell::run(&mut shell::cargo(&arguments))?;
    // The second call builds nothing; it says where the first one put the binary.
    arguments.extend(["--quiet", "--message-format", "json"]);
    let messages = shell::output(shell::cargo(&arguments).stderr(Stdio::inherit()))?;
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|message| {
            message
                .pointer("/target/name")
                .is_some_and(|name| name == "concord")
        })
        .find_map(|message| message.get("executable")?.as_str().map(PathBuf::from))
        .ok_or_else(|| "cargo did not say where the binary is".to_owned())
}

struct Cluster {
    nodes: Vec<Node>,
    restart: bool,
    /// Whether the user has asked to stop.
    interrupted: Arc<AtomicBool>,
}

impl Cluster {
    /// Runs until the user stops it or nothing is left to run.
    fn serve(&mut self, plan: &Plan, binary: &Path) -> Result<(), Failure> {
        if !self.wait_until_ready()? {
            return Ok(());
        }
        let mut leader = self.leader();
        say(&plan.summary(leader, binary));
        let mut looked = Instant::now();
        while !self.is_interrupted() {
            self.notice_deaths()?;
            if looked.elapsed() >= Duration::from_secs(1) {
                looked = Instant::now();
                let now = self.leader();
                if now != leader {
                    say(&match now {
                        Some(id) => format!("xtask: node {id} leads now"),
                        None => "xtask: no running node knows a leader".to_owned(),
                    });
                    leader = now;
                }
            }
            pause();
        }
        Ok(())
    }

    /// False if the user stopped it meanwhile.
    fn wait_until_ready(&mut self) -> Result<bool, Failure> {
        let deadline = Instant::now() + READY_WITHIN;
        while !self.nodes.iter().all(Node::is_ready) {
            if self.is_interrupted() {
                return Ok(false);
            }
            if let Some(node) = self
                .nodes
                .iter_mut()
                .find_map(|node| node.exited().map(|how| (node.id(), how)))
            {
                return Err(format!(
                    "node {} ended before the cluster was ready: {}",
                    node.0, node.1
                ));
            }
            if Instant::now() > deadline {
                let late = self.nodes.iter().find(|node| !node.is_ready());
                let why = late.map_or_else(String::new, Node::why_not_ready);
                return Err(format!("not ready after {} s: {why}", READY_WITHIN.as_secs()));
            }
            pause();
        }
        Ok(true)
    }

    fn notice_deaths(&mut self) -> Result<(), Failure> {
        for node in &mut self.nodes {
            let Some(how) = node.newly_exited() else { continue };
            if self.restart {
                say(&format!(
                    "xtask: node {} ended: {how}; starting it again",
                    node.id()
                ));
                node.start_again()?;
            } else {
                say(&format!(
                    "xtask: node {} ended: {how}. The others go on. Start it again with\n  {}",
                    node.id(),
                    node.command_line()
                ));
            }
        }
        // A node that the user started again by hand is not our child, but still serves.
        let is_any_alive = self
            .nodes
            .iter()
            .any(|node| !node.has_exited() || node.is_ready());
        if is_any_alive {
            Ok(())
        } else {
            Err("every node has ended".to_owned())
        }
    }

    fn leader(&self) -> Option<u64> {
        self.nodes.iter().find_map(Node::known_leader)
    }

    fn is_interrupted(&self) -> bool {
        self.interrupted.load(Ordering::Relaxed)
    }

    /// Asks every node to stop and waits; asked twice, or too slow, they are killed.
    fn stop(&mut self) {
        self.interrupted.store(false, Ordering::Relaxed);
        for node in &mut self.nodes {
            node.terminate();
        }
        let deadline = Instant::now() + STOP_WITHIN;
        while self.nodes.iter_mut().any(|node| node.exited().is_none()) {
            if self.is_interrupted() || Instant::now() > deadline {
                say("xtask: killing the nodes that have not stopped");
                for node in &mut self.nodes {
                    node.kill();
                }
                return;
            }
            pause();
        }
    }
}

fn pause() {
    // tidy-allow(sleep): children and a user are watched, and neither sends an event.
    std::thread::sleep(LOOK_EVERY);
}

/// A command line that a user can paste into a shell.
fn pasteable(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let quote = |word: &std::ffi::OsStr| {
        let word = word.to_string_lossy();
        let is_plain = word
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "-_./:,=".contains(c));
        if is_plain {
            word.into_owned()
        } else {
            format!("'{}'", word.replace('\'', r"'\''"))
        }
    };
    words.map(quote).collect::<Vec<_>>().join(" ")
}
