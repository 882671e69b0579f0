//! Leases: granted, kept alive, revoked, shown.

use std::time::Duration;

use concord_query::duration;
use serde_json::{Value, json};

use super::Session;
use super::args::{ClientArgs, LeaseCommand};
use super::error::CliError;
use super::output::{cell, plain};
use crate::client::Request;

const LEASES: &str = "/api/v1/leases";

/// `concord lease ...`
pub(super) async fn run(session: &mut Session, command: &LeaseCommand) -> Result<(), CliError> {
    let answer: Value = session.client.send(&request(command)).await?.data()?;
    if let LeaseCommand::KeepAlive { forever: true, .. } = command {
        return keep_alive(session, command, answer).await;
    }
    if session.out.is_json() {
        return session.out.json(&answer);
    }
    match command {
        LeaseCommand::Grant { .. } => session.out.line(plain(answer.get("id"))),
        LeaseCommand::KeepAlive { .. } => print_kept(session, &answer),
        LeaseCommand::Revoke { .. } => session.out.line(format!(
            "revision {}, {} keys deleted",
            plain(answer.get("revision")),
            plain(answer.get("keys"))
        )),
        LeaseCommand::Info { .. } => {
            session.out.facts([
                ("lease", plain(answer.get("id"))),
                ("time to live", length(&answer, "ttl_ms")),
                ("left", length(&answer, "remaining_ms")),
            ])?;
            let keys = answer.get("keys").and_then(Value::as_array);
            keys.into_iter()
                .flatten()
                .try_for_each(|key| session.out.line(cell(&plain(Some(key)))))
        }
        LeaseCommand::List(_) => {
            let leases = answer.get("leases").and_then(Value::as_array);
            let rows = leases.into_iter().flatten().map(|lease| {
                vec![
                    plain(lease.get("id")),
                    length(lease, "ttl_ms"),
                    length(lease, "remaining_ms"),
                    plain(lease.get("keys")),
                ]
            });
            session.out.table(&["LEASE", "TTL", "LEFT", "KEYS"], rows)
        }
    }
}

fn length(answer: &Value, name: &str) -> String {
    let millis = answer.get(name).and_then(Value::as_u64).unwrap_or_default();
    duration::format(Duration::from_millis(millis))
}

fn print_kept(session: &mut Session, answer: &Value) -> Result<(), CliError> {
    let left = length(answer, "ttl_ms");
    session
        .out
        .line(format!("lease {} lives for {left}", plain(answer.get("id"))))
}

/// Asks again three times in the life of the lease, until it has ended or somebody interrupts.
async fn keep_alive(
    session: &mut Session,
    command: &LeaseCommand,
    mut answer: Value,
) -> Result<(), CliError> {
    loop {
        if session.out.is_json() {
            session.out.json(&answer)?;
        } else {
            print_kept(session, &answer)?;
        }
        session.out.flush()?;
        let ttl_ms = answer.get("ttl_ms").and_then(Value::as_u64).unwrap_or_default();
        tokio::time::sleep(Duration::from_millis(ttl_ms / 3)).await;
        answer = session.client.send(&request(command)).await?.data()?;
    }
}

fn request(command: &LeaseCommand) -> Request {
    match command {
        LeaseCommand::Grant { ttl, id, once, .. } => {
            let mut body = json!({ "ttl": ttl });
            if let (Some(id), Some(body)) = (id, body.as_object_mut()) {
                body.insert("id".to_owned(), json!(id));
            }
            Request::post(LEASES)
                .json(&body)
                .once(once.idempotency_key.as_ref())
        }
        LeaseCommand::KeepAlive { id, once, .. } => {
            Request::post(format!("{LEASES}/{id}/keep_alive")).once(once.idempotency_key.as_ref())
        }
        LeaseCommand::Revoke { id, once, .. } => {
            Request::delete(format!("{LEASES}/{id}")).once(once.idempotency_key.as_ref())
        }
        LeaseCommand::Info { id, .. } => Request::get(format!("{LEASES}/{id}")),
        LeaseCommand::List(_) => Request::get(LEASES),
    }
}

impl LeaseCommand {
    pub(super) fn client_args(&self) -> &ClientArgs {
        match self {
            Self::Grant { client, .. }
            | Self::KeepAlive { client, .. }
            | Self::Revoke { client, .. }
            | Self::Info { client, .. }
            | Self::List(client) => client,
        }
    }
}
