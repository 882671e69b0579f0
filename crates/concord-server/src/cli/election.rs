//! `concord election`: stands for election, and shows who leads.

use serde_json::{Value, json};

use super::Session;
use super::args::{CampaignArgs, ClientArgs, ElectionCommand};
use super::error::CliError;
use super::hold::{self, Ended, Held, Lease, Signals};
use super::output::{cell, plain};
use crate::client::Request;

/// `concord election ...`
pub(super) async fn run(session: &mut Session, command: &ElectionCommand) -> Result<(), CliError> {
    match command {
        ElectionCommand::Campaign(args) => campaign(session, args).await,
        ElectionCommand::Observe { name, .. } => observe(session, name).await,
        ElectionCommand::Leader { name, .. } => leader(session, name).await,
        ElectionCommand::List { .. } => list(session).await,
    }
}

impl ElectionCommand {
    pub(super) fn client_args(&self) -> &ClientArgs {
        match self {
            Self::Campaign(args) => &args.client,
            Self::Observe { client, .. } | Self::Leader { client, .. } | Self::List { client } => client,
        }
    }
}

async fn campaign(session: &mut Session, args: &CampaignArgs) -> Result<(), CliError> {
    let lease = Lease::take(session, &args.hold).await?;
    let outcome = lead(session, &lease, args).await;
    lease.revoke().await;
    match outcome? {
        0 => Ok(()),
        code => Err(CliError::Exited(code)),
    }
}

async fn lead(session: &mut Session, lease: &Lease, args: &CampaignArgs) -> Result<u8, CliError> {
    let path = hold::path("elections", &args.name);
    let body = json!({ "value": args.value });
    match hold::acquire(session, lease, &path, body, &args.hold).await? {
        Ended::Done(held) if args.command.is_empty() => stay(session, lease, held).await,
        Ended::Done(held) => hold::run(lease, held, &args.command, "ELECTION", args.hold.grace).await,
        Ended::Interrupted(kind) => Err(hold::interrupted(kind)),
        Ended::Lost => Err(CliError::Request {
            code: "lease_not_found",
            message: format!(
                "the cluster could not be reached for too long to win {}",
                args.name
            ),
        }),
    }
}

/// Leads until somebody interrupts, or the leadership is lost.
async fn stay(session: &mut Session, lease: &Lease, mut held: Held) -> Result<u8, CliError> {
    if session.out.is_json() {
        let won = json!({"name": held.name, "key": held.key, "token": held.token, "lease": lease.id});
        session.out.json(&won)?;
    } else {
        session
            .out
            .line(format!("leads {} with token {}", held.name, held.token))?;
    }
    session.out.flush()?;
    let mut signals = Signals::new()?;
    match hold::hold_while(lease, &mut held, &mut signals, std::future::pending::<()>()).await {
        Ended::Lost => Err(hold::lost(&held)),
        Ended::Done(()) | Ended::Interrupted(_) => Ok(0),
    }
}

async fn observe(session: &mut Session, name: &str) -> Result<(), CliError> {
    let path = format!("{}/observe", hold::path("elections", name));
    let mut follow = session
        .client
        .follow(Request::get(path).accept("text/event-stream"));
    let mut told = None;
    loop {
        let event = follow.next().await?;
        if event.name != "leader" {
            continue;
        }
        let data: Value = event.data()?;
        // After a change of the node that tells it may be the one of before.
        if told.as_ref() != Some(&data) {
            print(session, data.get("leader"))?;
            session.out.flush()?;
            told = Some(data);
        }
    }
}

async fn leader(session: &mut Session, name: &str) -> Result<(), CliError> {
    let request = Request::get(hold::path("elections", name));
    let shown: Value = session.client.send(&request).await?.data()?;
    match shown.get("holder") {
        Some(Value::Null) | None => Err(CliError::Request {
            code: "not_found",
            message: format!("nobody leads {name}"),
        }),
        leader => print(session, leader),
    }
}

fn print(session: &mut Session, leader: Option<&Value>) -> Result<(), CliError> {
    if session.out.is_json() {
        return session.out.json(leader.unwrap_or(&Value::Null));
    }
    match leader {
        Some(leader) if leader.is_object() => {
            let (token, value) = (plain(leader.get("token")), plain(leader.get("value")));
            session.out.line(format!("{token:>8}  {}", cell(&value)))
        }
        _ => session.out.line(format!("{:>8}  nobody", "-")),
    }
}

async fn list(session: &mut Session) -> Result<(), CliError> {
    let request = Request::get("/api/v1/elections").query("limit", Some(10_000));
    let answer: Value = session.client.send(&request).await?.data()?;
    if session.out.is_json() {
        return session.out.json(&answer);
    }
    let names = answer.get("names").and_then(Value::as_array);
    let rows = names.into_iter().flatten().map(|one| {
        let column = |name| cell(&plain(one.get(name)));
        vec![
            column("name"),
            column("token"),
            column("lease"),
            column("waiting"),
        ]
    });
    session
        .out
        .table(&["ELECTION", "TOKEN", "LEASE", "WAITING"], rows)
}
