//! What a command holds while something runs: a lease that is kept alive, a name that is held by
//! it, and what is to be done when either is lost.

use std::process::ExitStatus;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::process::Child;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::Session;
use super::args::HoldArgs;
use super::error::CliError;
use crate::client::{Client, ClientError, Follow, Request, encode};
use crate::limits::{LEASE_MARGIN, LEASE_PATIENCE_MIN};

/// How long one request waits for a name; then the next one does.
const WAIT: Duration = Duration::from_secs(20);
/// Pause before a request is made again that no node could take.
const PAUSE: Duration = Duration::from_millis(200);

/// A lease that a task keeps alive.
#[derive(Debug)]
pub(super) struct Lease {
    client: Client,
    pub(super) id: u64,
    /// Until when it lives for certain, by this process's clock; `None`: it has ended.
    held: watch::Receiver<Option<Instant>>,
    keeper: JoinHandle<()>,
}

/// A name that is held.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) name: String,
    pub(super) key: String,
    pub(super) token: u64,
    /// Tells of the end of the key.
    ended: Follow,
}

/// What ended the wait for something.
#[derive(Debug)]
pub(super) enum Ended<T> {
    Done(T),
    Lost,
    Interrupted(SignalKind),
}

impl Lease {
    pub(super) async fn take(session: &Session, args: &HoldArgs) -> Result<Self, CliError> {
        let asked = Instant::now();
        let request = Request::post("/api/v1/leases")
            .json(&json!({ "ttl": args.ttl }))
            .once(None);
        let granted: Value = session.client.send(&request).await?.data()?;
        let (id, ttl_ms) = (number(&granted, "id"), number(&granted, "ttl_ms"));
        let ttl = Duration::from_millis(ttl_ms);
        let (sender, held) = watch::channel(Some(asked + certain(ttl)));
        // What takes longer than the time between two is not worth waiting for.
        let patience = (ttl / 3).max(LEASE_PATIENCE_MIN);
        let client = session.client.with_timeout(patience);
        let keeper = tokio::spawn(keep(client, id, ttl, sender));
        Ok(Self {
            client: session.client.clone(),
            id,
            held,
            keeper,
        })
    }

    /// Waits until the lease does not live for certain any more.
    pub(super) async fn lost(&self) {
        let mut held = self.held.clone();
        loop {
            let until = *held.borrow_and_update();
            let Some(until) = until.filter(|until| Instant::now() < *until) else {
                return;
            };
            tokio::select! {
                biased;
                // News goes before the deadline that it may move.
                changed = held.changed() => if changed.is_err() {
                    return;
                },
                () = sleep_until(until) => {}
            }
        }
    }

    /// Ends it, and what hangs on it. If that fails it ends by its time.
    pub(super) async fn revoke(self) {
        self.keeper.abort();
        let request = Request::delete(format!("/api/v1/leases/{}", self.id)).once(None);
        self.client.send(&request).await.ok();
    }
}

/// Clocks do not run alike.
fn certain(ttl: Duration) -> Duration {
    ttl - ttl / LEASE_MARGIN
}

async fn keep(client: Client, id: u64, ttl: Duration, held: watch::Sender<Option<Instant>>) {
    let request = Request::post(format!("/api/v1/leases/{id}/keep_alive"));
    let mut next = Instant::now() + ttl / 3;
    loop {
        sleep_until(next).await;
        let asked = Instant::now();
        match client.send(&request).await {
            Ok(_) => {
                held.send_replace(Some(asked + certain(ttl)));
                next = asked + ttl / 3;
            }
            Err(error) if error.code() == "lease_not_found" => {
                held.send_replace(None);
                return;
            }
            // It may still live for the rest of its time.
            Err(_) => next = Instant::now() + ttl / 12,
        }
    }
}

/// Waits for a name: `path` is where it is asked for, `body` what is said.
pub(super) async fn acquire(
    session: &Session,
    lease: &Lease,
    path: &str,
    mut body: Value,
    args: &HoldArgs,
) -> Result<Ended<Held>, CliError> {
    let deadline = args.wait.map(|wait| Instant::now() + wait);
    let mut signals = Signals::new()?;
    loop {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let wait = left.unwrap_or(WAIT).min(WAIT);
        if let Some(body) = body.as_object_mut() {
            body.insert("lease".to_owned(), json!(lease.id));
            body.insert("wait".to_owned(), json!(format!("{}ms", wait.as_millis())));
        }
        let request = Request::post(path).json(&body);
        // The lease makes a request that is sent again get on where the one before was: it needs no name.
        let client = session.client.with_timeout(session.client.timeout() + wait);
        let answer = tokio::select! {
            biased;
            // What is lost cannot be won any more.
            () = lease.lost() => return Ok(Ended::Lost),
            kind = signals.next() => return Ok(Ended::Interrupted(kind)),
            answer = client.send(&request) => answer,
        };
        match answer {
            Ok(answer) => return Ok(Ended::Done(held(session, &answer.data()?))),
            Err(error) if error.code() == "condition_failed" => {
                if left.is_some_and(|left| left <= wait) {
                    return Err(error.into());
                }
            }
            Err(error) if is_passing(&error) && left.is_none_or(|left| !left.is_zero()) => sleep(PAUSE).await,
            Err(error) => return Err(error.into()),
        }
    }
}

fn is_passing(error: &ClientError) -> bool {
    matches!(
        error.code(),
        "unreachable"
            | "no_quorum"
            | "not_ready"
            | "overloaded"
            | "shutting_down"
            | "timeout"
            | "outcome_unknown"
    )
}

fn held(session: &Session, answer: &Value) -> Held {
    let text = |name: &str| {
        answer
            .get(name)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let (name, key, token) = (text("name"), text("key"), number(answer, "token"));
    let watch = Request::get("/api/v1/watch")
        .query("key", Some(&key))
        .query("events", Some("delete,expire"))
        .query("from_revision", Some(token.saturating_add(1)))
        .accept("text/event-stream");
    Held {
        ended: session.client.follow(watch),
        name,
        key,
        token,
    }
}

impl Held {
    /// Waits until somebody tells that the key is gone. Where nobody can tell, the lease does.
    async fn ended(&mut self) {
        loop {
            match self.ended.next().await {
                Ok(event) if event.name == "changes" => return,
                Ok(_) => {}
                // So much has happened meanwhile that nobody can tell.
                Err(_) => std::future::pending().await,
            }
        }
    }
}

/// Holds on for as long as `done` takes.
pub(super) async fn hold_while<T>(
    lease: &Lease,
    held: &mut Held,
    signals: &mut Signals,
    done: impl Future<Output = T>,
) -> Ended<T> {
    tokio::select! {
        biased;
        // What is done is done, also if it was lost at the same time.
        done = done => Ended::Done(done),
        () = lease.lost() => Ended::Lost,
        () = held.ended() => Ended::Lost,
        kind = signals.next() => Ended::Interrupted(kind),
    }
}

/// The signals that end a command, or that it hands on.
#[derive(Debug)]
pub(super) struct Signals {
    interrupt: Signal,
    quit: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Signals {
    pub(super) fn new() -> Result<Self, CliError> {
        let listen = |kind| signal(kind).map_err(|error| CliError::io("cannot listen for signals", error));
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            quit: listen(SignalKind::quit())?,
            terminate: listen(SignalKind::terminate())?,
            hangup: listen(SignalKind::hangup())?,
        })
    }

    pub(super) async fn next(&mut self) -> SignalKind {
        tokio::select! {
            biased;
            // In no order that matters: the next one comes at the next call.
            _ = self.terminate.recv() => SignalKind::terminate(),
            _ = self.interrupt.recv() => SignalKind::interrupt(),
            _ = self.hangup.recv() => SignalKind::hangup(),
            _ = self.quit.recv() => SignalKind::quit(),
        }
    }
}

/// Runs a command while a name is held; its exit code.
pub(super) async fn run(
    lease: &Lease,
    mut held: Held,
    command: &[std::ffi::OsString],
    variables: &str,
    grace: Duration,
) -> Result<u8, CliError> {
    let mut signals = Signals::new()?;
    let Some((program, arguments)) = command.split_first() else {
        return Err(CliError::Usage("no command is given".to_owned()));
    };
    let mut child = tokio::process::Command::new(program)
        .args(arguments)
        .env(format!("CONCORD_{variables}_NAME"), &held.name)
        .env(format!("CONCORD_{variables}_KEY"), &held.key)
        .env(format!("CONCORD_{variables}_TOKEN"), held.token.to_string())
        .env(format!("CONCORD_{variables}_LEASE"), lease.id.to_string())
        .spawn()
        .map_err(|error| CliError::io(format!("cannot run {}", program.display()), error))?;
    loop {
        match hold_while(lease, &mut held, &mut signals, child.wait()).await {
            Ended::Done(status) => {
                let status = status.map_err(|error| CliError::io("cannot wait for the command", error))?;
                return Ok(exit_code(status));
            }
            Ended::Interrupted(kind) => hand_on(&child, kind),
            Ended::Lost => {
                stop(&mut child, grace).await;
                return Err(lost(&held));
            }
        }
    }
}

pub(super) fn lost(held: &Held) -> CliError {
    CliError::Request {
        code: "lease_not_found",
        message: format!("{} is not held any more", held.name),
    }
}

/// What the terminal sends it sends to the command too.
fn hand_on(child: &Child, kind: SignalKind) {
    use std::io::IsTerminal as _;
    let from_terminal = kind == SignalKind::interrupt() || kind == SignalKind::quit();
    if !(from_terminal && std::io::stdin().is_terminal()) {
        send(child, kind);
    }
}

fn send(child: &Child, kind: SignalKind) {
    let pid = child
        .id()
        .and_then(|id| i32::try_from(id).ok())
        .and_then(rustix::process::Pid::from_raw);
    let signal = rustix::process::Signal::from_named_raw(kind.as_raw_value());
    if let (Some(pid), Some(signal)) = (pid, signal) {
        // One that has ended already needs none.
        rustix::process::kill_process(pid, signal).ok();
    }
}

/// Asks the command to end, and ends it if it does not.
async fn stop(child: &mut Child, grace: Duration) {
    send(child, SignalKind::terminate());
    if timeout(grace, child.wait()).await.is_err() {
        child.kill().await.ok();
    }
}

/// As a shell says it: 128 and the signal that ended it.
fn exit_code(status: ExitStatus) -> u8 {
    use std::os::unix::process::ExitStatusExt as _;
    let code = status.code().or(status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX)
}

pub(super) fn interrupted(kind: SignalKind) -> CliError {
    CliError::Exited(u8::try_from(128 + kind.as_raw_value()).unwrap_or(u8::MAX))
}

pub(super) fn number(answer: &Value, name: &str) -> u64 {
    answer.get(name).and_then(Value::as_u64).unwrap_or_default()
}

/// Where a name is asked for.
pub(super) fn path(kind: &str, name: &str) -> String {
    format!("/api/v1/{kind}/{}", encode(name))
}
