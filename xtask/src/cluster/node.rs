//! One node as a child process, and what it says about itself over HTTP.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::plan::{Plan, Seat};
use super::{http, logs, pasteable};
use crate::Failure;

/// A node that was started here.
#[derive(Debug)]
pub(super) struct Node {
    seat: Seat,
    binary: PathBuf,
    seeds: String,
    secret_file: PathBuf,
    child: Child,
    exit: Option<ExitStatus>,
}

impl Node {
    /// Starts it.
    pub(super) fn start(binary: &Path, plan: &Plan, seat: Seat) -> Result<Self, Failure> {
        let (binary, seeds, secret_file) = (binary.to_owned(), plan.seeds(), plan.secret_file());
        let child = spawn(&mut command(&binary, &seat, &seeds, &secret_file), seat.id)?;
        Ok(Self {
            seat,
            binary,
            seeds,
            secret_file,
            child,
            exit: None,
        })
    }

    /// Starts it once more, after its end.
    pub(super) fn start_again(&mut self) -> Result<(), Failure> {
        self.child = spawn(&mut self.command(), self.seat.id)?;
        self.exit = None;
        Ok(())
    }

    /// Its id.
    pub(super) fn id(&self) -> u64 {
        self.seat.id
    }

    /// How to start it by hand.
    pub(super) fn command_line(&self) -> String {
        pasteable(&self.command())
    }

    /// How it ended, if it has.
    pub(super) fn exited(&mut self) -> Option<ExitStatus> {
        if self.exit.is_none() {
            self.exit = self.child.try_wait().ok().flatten();
        }
        self.exit
    }

    /// Whether its end has been noticed.
    pub(super) fn has_exited(&self) -> bool {
        self.exit.is_some()
    }

    /// How it ended, the first time that this is asked after its end.
    pub(super) fn newly_exited(&mut self) -> Option<ExitStatus> {
        if self.has_exited() { None } else { self.exited() }
    }

    /// Whether it has a leader and has caught up.
    pub(super) fn is_ready(&self) -> bool {
        http::get(self.seat.http, "/ready").is_ok_and(|answer| answer.status == 200)
    }

    /// In words.
    pub(super) fn why_not_ready(&self) -> String {
        match http::get(self.seat.http, "/ready") {
            Ok(answer) => format!(
                "node {} answers {} {}",
                self.seat.id,
                answer.status,
                answer.body.trim()
            ),
            Err(e) => format!("node {} does not answer on {}: {e}", self.seat.id, self.seat.http),
        }
    }

    /// Whom it follows.
    pub(super) fn known_leader(&self) -> Option<u64> {
        let answer = http::get(self.seat.http, "/api/v1/status").ok()?;
        leader_in(&answer.body)
    }

    /// Asks it to stop.
    pub(super) fn terminate(&mut self) {
        self.signal(Signal::TERM);
    }

    /// Stops it.
    pub(super) fn kill(&mut self) {
        self.signal(Signal::KILL);
        self.exit = self.child.wait().ok();
    }

    fn signal(&mut self, signal: Signal) {
        if self.exited().is_none() {
            // It can only have ended meanwhile, which is what the signal asks for.
            let _ = kill_process(Pid::from_child(&self.child), signal);
        }
    }

    fn command(&self) -> Command {
        command(&self.binary, &self.seat, &self.seeds, &self.secret_file)
    }
}

fn command(binary: &Path, seat: &Seat, seeds: &str, secret_file: &Path) -> Command {
    let mut command = Command::new(binary);
    command
        .arg("start")
        .args(["--node-id", &seat.id.to_string()])
        .arg("--data-dir")
        .arg(&seat.data_dir)
        .args(["--http", &seat.http.to_string(), "--peer", &seat.peer.to_string()])
        .args(["--seeds", seeds])
        .arg("--cluster-secret-file")
        .arg(secret_file);
    command
}

fn spawn(command: &mut Command, id: u64) -> Result<Child, Failure> {
    // A group of its own: Ctrl-C in the terminal is this program's to answer.
    command
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command
        .spawn()
        .map_err(|e| format!("cannot start node {id}: {e}"))?;
    if let Some(output) = child.stdout.take() {
        logs::copy(id, output);
    }
    if let Some(output) = child.stderr.take() {
        logs::copy(id, output);
    }
    Ok(child)
}

fn leader_in(status: &str) -> Option<u64> {
    let status: Value = serde_json::from_str(status).ok()?;
    status.pointer("/data/leader")?.as_u64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_leader_is_read_from_a_status() {
        assert_eq!(leader_in(r#"{"status": "ok", "data": {"leader": 2}}"#), Some(2));
        assert_eq!(leader_in(r#"{"status": "ok", "data": {"leader": null}}"#), None);
        assert_eq!(leader_in("not json"), None);
    }
}
