//! Changes to the cluster itself.

use serde_json::{Value, json};

use super::Session;
use super::args::{ClientArgs, ClusterCommand};
use super::error::CliError;
use super::output::plain;
use crate::client::Request;

/// `concord cluster ...`
pub(super) async fn run(session: &mut Session, command: &ClusterCommand) -> Result<(), CliError> {
    let answer: Value = session.client.send(&request(command)).await?.data()?;
    if session.out.is_json() {
        return session.out.json(&answer);
    }
    let done = match command {
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
            | Self::Compact { client, .. } => client,
            Self::Promote(member) | Self::Remove(member) => &member.client,
        }
    }
}
