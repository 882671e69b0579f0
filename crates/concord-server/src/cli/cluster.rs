//! Changes to the cluster itself.

use std::time::Duration;

use concord_query::duration;
use serde_json::{Value, json};

use super::Session;
use super::args::{Bound, ClientArgs, ClusterCommand, SettingsArgs, SettingsCommand};
use super::error::CliError;
use super::output::plain;
use crate::client::Request;

const SETTINGS: &str = "/api/v1/cluster/settings";

/// `concord cluster ...`
pub(super) async fn run(session: &mut Session, command: &ClusterCommand) -> Result<(), CliError> {
    let mut request = request(command);
    if let ClusterCommand::Settings {
        change: Some(SettingsCommand::Set(args)),
        ..
    } = command
    {
        let current: Value = session.client.send(&request).await?.data()?;
        request = Request::put(SETTINGS)
            .json(&changed(current, args))
            .once(args.once.idempotency_key.as_ref());
    }
    let answer: Value = session.client.send(&request).await?.data()?;
    if session.out.is_json() {
        return session.out.json(&answer);
    }
    let done = match command {
        ClusterCommand::Settings { .. } => return session.out.facts(settings(&answer)),
        ClusterCommand::Add { .. } => format!("node {} is a learner", plain(answer.get("node_id"))),
        ClusterCommand::Promote(member) => format!("node {} is a voter", member.node_id),
        ClusterCommand::Remove(member) => format!("node {} is no member any more", member.node_id),
        ClusterCommand::Replace { leaving, joining, .. } => {
            format!("node {joining} has taken the place of node {leaving}")
        }
        ClusterCommand::Transfer { .. } => format!("node {} leads", plain(answer.get("leader"))),
        ClusterCommand::Snapshot(_) => {
            format!("snapshot up to log index {}", plain(answer.get("log_index")))
        }
        ClusterCommand::Compact { .. } => {
            format!(
                "history before revision {} is gone",
                plain(answer.get("compact_revision"))
            )
        }
    };
    session.out.line(done)
}

/// The settings with those of `args` in their places. Between reading and writing them somebody
/// else's change could be lost; they are not changed that often.
fn changed(mut settings: Value, args: &SettingsArgs) -> Value {
    let mut set = |pointer: &str, value: Value| {
        if let Some(place) = settings.pointer_mut(pointer) {
            *place = value;
        }
    };
    if let Some(bytes) = args.value_bytes_max {
        set("/value_bytes_max", json!(bytes));
    }
    for (pointer, bound) in [
        ("/compaction/keep_ms", args.keep),
        ("/compaction/keep_revisions", args.keep_revisions),
        ("/compaction/keep_bytes", args.keep_bytes),
    ] {
        if let Some(Bound(bound)) = bound {
            set(pointer, json!(bound));
        }
    }
    settings
}

fn settings(answer: &Value) -> [(&'static str, String); 4] {
    let bound = |pointer: &str| answer.pointer(pointer).filter(|bound| !bound.is_null());
    let number = |pointer: &str| bound(pointer).map_or_else(|| "none".to_owned(), |bound| plain(Some(bound)));
    let keep = bound("/compaction/keep_ms").and_then(Value::as_u64);
    [
        ("value bytes max", number("/value_bytes_max")),
        (
            "keep",
            keep.map_or_else(
                || "none".to_owned(),
                |millis| duration::format(Duration::from_millis(millis)),
            ),
        ),
        ("keep revisions", number("/compaction/keep_revisions")),
        ("keep bytes", number("/compaction/keep_bytes")),
    ]
}

fn request(command: &ClusterCommand) -> Request {
    const MEMBERS: &str = "/api/v1/cluster/members";
    match command {
        ClusterCommand::Add { address, .. } => Request::post(MEMBERS).json(&json!({ "address": address })),
        ClusterCommand::Promote(member) => Request::post(format!("{MEMBERS}/{}/promote", member.node_id)),
        ClusterCommand::Remove(member) => Request::delete(format!("{MEMBERS}/{}", member.node_id)),
        ClusterCommand::Replace { leaving, joining, .. } => {
            Request::post(format!("{MEMBERS}/{leaving}/replace")).json(&json!({ "with": joining }))
        }
        ClusterCommand::Transfer { node_id, .. } => {
            Request::post("/api/v1/cluster/transfer").json(&json!({ "to": node_id }))
        }
        ClusterCommand::Snapshot(_) => Request::post("/api/v1/cluster/snapshot"),
        ClusterCommand::Settings { .. } => Request::get(SETTINGS),
        ClusterCommand::Compact { revision, .. } => {
            Request::post("/api/v1/cluster/compact").json(&json!({ "revision": revision }))
        }
    }
}

impl ClusterCommand {
    pub(super) fn client_args(&self) -> &ClientArgs {
        match self {
            Self::Add { client, .. }
            | Self::Replace { client, .. }
            | Self::Transfer { client, .. }
            | Self::Snapshot(client)
            | Self::Compact { client, .. }
            | Self::Settings {
                change: None, client, ..
            } => client,
            Self::Settings {
                change: Some(SettingsCommand::Set(args)),
                ..
            } => &args.client,
            Self::Promote(member) | Self::Remove(member) => &member.client,
        }
    }
}
