//! What a node says of itself and its cluster.

use std::time::Duration;

use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::Session;
use super::error::{CliError, Exit};
use super::output::plain;
use crate::client::Request;

/// How long until a node that is not ready is asked again.
const READY_PAUSE: Duration = Duration::from_millis(100);

/// `concord ready`
pub(super) async fn ready(session: &mut Session, wait: Option<Duration>) -> Result<(), CliError> {
    let end = Instant::now() + wait.unwrap_or_default();
    let answer = loop {
        match session.client.send(&Request::get("/ready")).await {
            Ok(answer) => break answer,
            // tidy-allow: a node says nothing when it becomes ready, so it is asked again.
            Err(error) if Exit::of(error.code()) == Exit::Unavailable && Instant::now() < end => {
                sleep(READY_PAUSE).await
            }
            Err(error) => return Err(error.into()),
        }
    };
    if session.out.is_json() {
        return session.out.json(&answer.data::<Value>()?);
    }
    session.out.line("ready")
}

/// `concord status`
pub(super) async fn status(session: &mut Session) -> Result<(), CliError> {
    let answer = session.client.send(&Request::get("/api/v1/status")).await?;
    let status: Value = answer.data()?;
    if session.out.is_json() {
        return session.out.json(&status);
    }
    let facts = [
        ("node", "/node_id"),
        ("role", "/role"),
        ("leader", "/leader"),
        ("term", "/term"),
        ("ready", "/ready"),
        ("reason", "/reason"),
        ("cluster", "/cluster_id"),
        ("version", "/version"),
        ("machine version", "/machine/version"),
        ("revision", "/revision"),
        ("compact revision", "/compact_revision"),
        ("keys", "/storage/keys"),
        ("bytes", "/storage/bytes"),
        ("bytes uncompressed", "/storage/raw_bytes"),
        ("values compressed", "/storage/compressed_values"),
        ("log committed", "/log/commit"),
        ("log applied", "/log/applied"),
        ("snapshot upto", "/log/snapshot"),
    ];
    session.out.facts([("endpoint", answer.endpoint)])?;
    let shown = facts.map(|(name, pointer)| (name, plain(status.pointer(pointer))));
    session
        .out
        .facts(shown.into_iter().filter(|(_, value)| !value.is_empty()))?;
    if let Some(line) = held_back(&status) {
        session.out.line(line)?;
    }
    let warnings = status
        .get("warnings")
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default();
    warnings
        .iter()
        .try_for_each(|warning| session.out.line(format!("warning: {}", plain(Some(warning)))))
}

/// Why the cluster does not do all that this node knows.
fn held_back(status: &Value) -> Option<String> {
    let by = status.pointer("/machine/held_back_by")?.as_array()?;
    if by.is_empty() {
        return None;
    }
    let nodes: Vec<String> = by
        .iter()
        .map(|node| format!("node {}", plain(Some(node))))
        .collect();
    let known = plain(status.pointer("/machine/known"));
    Some(format!(
        "held back from machine version {known} by {}: of an older release, or silent",
        nodes.join(", ")
    ))
}

/// `concord members`
pub(super) async fn members(session: &mut Session) -> Result<(), CliError> {
    let answer: Value = session
        .client
        .send(&Request::get("/api/v1/cluster/members"))
        .await?
        .data()?;
    if session.out.is_json() {
        return session.out.json(&answer);
    }
    let members = answer
        .get("members")
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default();
    let rows = members.iter().map(|member| {
        vec![
            plain(member.get("node_id")),
            role(member).to_owned(),
            plain(member.get("address")),
            plain(member.get("lag_entries")),
            plain(member.get("release")),
            plain(member.get("machine")),
        ]
    });
    session.out.table(
        &[
            "NODE",
            "ROLE",
            "PEER ADDRESS",
            "ENTRIES BEHIND",
            "RELEASE",
            "MACHINE",
        ],
        rows,
    )
}

fn role(member: &Value) -> &'static str {
    let is = |name: &str| member.get(name).and_then(Value::as_bool) == Some(true);
    match (is("voter"), is("leader")) {
        (_, true) => "leader",
        (true, false) => "voter",
        (false, false) => "learner",
    }
}
