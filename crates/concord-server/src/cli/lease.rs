//! Leases: granted, kept alive, revoked, shown.

use std::time::Duration;

use concord_query::duration;
use serde_json::{Value, json};

use super::Session;
use super::args::{ClientArgs, LeaseCommand, OnceArgs, PageArgs};
use super::error::CliError;
use super::keyspace::go_on;
use super::output::{cell, plain};
use crate::client::Request;

const LEASES: &str = "/api/v1/leases";

/// `concord lease ...`
pub(super) async fn run(session: &mut Session, command: &LeaseCommand) -> Result<(), CliError> {
    match command {
        LeaseCommand::Grant { ttl, id, once, .. } => {
            let answer = session.client.send(&grant(ttl, *id, once)).await?.data()?;
            print(session, &answer, |answer| plain(answer.get("id")))
        }
        LeaseCommand::KeepAlive {
            id, forever, once, ..
        } => keep_alive(session, *id, *forever, once).await,
        LeaseCommand::Revoke { id, once, .. } => {
            let request = Request::delete(format!("{LEASES}/{id}")).once(once.idempotency_key.as_ref());
            let answer = session.client.send(&request).await?.data()?;
            print(session, &answer, |answer| {
                let of = |name| plain(answer.get(name));
                format!("revision {}, {} keys deleted", of("revision"), of("keys"))
            })
        }
        LeaseCommand::Info { id, page, cursor, .. } => info(session, *id, page, cursor.clone()).await,
        LeaseCommand::List { page, after, .. } => list(session, page, *after).await,
    }
}

fn grant(ttl: &str, id: Option<u64>, once: &OnceArgs) -> Request {
    let mut body = json!({ "ttl": ttl });
    if let (Some(id), Some(body)) = (id, body.as_object_mut()) {
        body.insert("id".to_owned(), json!(id));
    }
    Request::post(LEASES)
        .json(&body)
        .once(once.idempotency_key.as_ref())
}

/// An answer as it is, or as one line.
fn print(session: &mut Session, answer: &Value, line: impl FnOnce(&Value) -> String) -> Result<(), CliError> {
    if session.out.is_json() {
        return session.out.json(answer);
    }
    session.out.line(line(answer))
}

/// A lease, and its keys page by page.
async fn info(
    session: &mut Session,
    id: u64,
    page: &PageArgs,
    mut cursor: Option<String>,
) -> Result<(), CliError> {
    let mut is_first = true;
    loop {
        let request = Request::get(format!("{LEASES}/{id}"))
            .query("limit", page.limit)
            .query("cursor", cursor.as_deref());
        let answer: Value = session.client.send(&request).await?.data()?;
        if session.out.is_json() {
            session.out.json(&answer)?;
        } else {
            if is_first {
                session.out.facts([
                    ("lease", plain(answer.get("id"))),
                    ("time to live", length(&answer, "ttl_ms")),
                    ("left", length(&answer, "remaining_ms")),
                ])?;
            }
            let keys = answer.get("keys").and_then(Value::as_array);
            let mut keys = keys.into_iter().flatten();
            keys.try_for_each(|key| session.out.line(cell(&plain(Some(key)))))?;
        }
        is_first = false;
        cursor = go_on(session, &answer, cursor.as_deref(), page.all)?;
        if cursor.is_none() {
            return Ok(());
        }
    }
}

/// Leases, page by page.
async fn list(session: &mut Session, page: &PageArgs, mut after: Option<u64>) -> Result<(), CliError> {
    let mut head: &[&str] = &["LEASE", "TTL", "LEFT", "KEYS"];
    loop {
        let request = Request::get(LEASES)
            .query("limit", page.limit)
            .query("after", after);
        let answer: Value = session.client.send(&request).await?.data()?;
        if session.out.is_json() {
            session.out.json(&answer)?;
        } else {
            let leases = answer.get("leases").and_then(Value::as_array);
            let rows = leases.into_iter().flatten().map(|lease| {
                vec![
                    plain(lease.get("id")),
                    length(lease, "ttl_ms"),
                    length(lease, "remaining_ms"),
                    plain(lease.get("keys")),
                ]
            });
            session.out.table(head, rows)?;
        }
        head = &[];
        // The ids of a list only grow: one that does not would be asked for for ever.
        let next = answer.get("next").and_then(Value::as_u64);
        match next.filter(|next| Some(*next) > after) {
            Some(next) if page.all => after = Some(next),
            Some(next) if !session.out.is_json() => {
                return session.out.line(format!("more: --after {next}"));
            }
            Some(_) | None => return Ok(()),
        }
    }
}

fn length(answer: &Value, name: &str) -> String {
    let millis = answer.get(name).and_then(Value::as_u64).unwrap_or_default();
    duration::format(Duration::from_millis(millis))
}

/// Asks again three times in the life of the lease, if it is to go on, until it has ended or somebody interrupts.
async fn keep_alive(session: &mut Session, id: u64, forever: bool, once: &OnceArgs) -> Result<(), CliError> {
    let request = Request::post(format!("{LEASES}/{id}/keep_alive")).once(once.idempotency_key.as_ref());
    loop {
        let answer: Value = session.client.send(&request).await?.data()?;
        print(session, &answer, |answer| {
            format!(
                "lease {} lives for {}",
                plain(answer.get("id")),
                length(answer, "ttl_ms")
            )
        })?;
        if !forever {
            return Ok(());
        }
        session.out.flush()?;
        let ttl_ms = answer.get("ttl_ms").and_then(Value::as_u64).unwrap_or_default();
        tokio::time::sleep(Duration::from_millis(ttl_ms / 3)).await;
    }
}

impl LeaseCommand {
    pub(super) fn client_args(&self) -> &ClientArgs {
        match self {
            Self::Grant { client, .. }
            | Self::KeepAlive { client, .. }
            | Self::Revoke { client, .. }
            | Self::Info { client, .. }
            | Self::List { client, .. } => client,
        }
    }
}
