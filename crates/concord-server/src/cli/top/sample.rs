//! One look at one node.

use serde::Deserialize;
use tokio::time::Instant;

use super::metrics::Metrics;
use crate::client::{Client, ClientError, Request};

/// What one node said, or why it said nothing.
#[derive(Debug)]
pub(super) struct Sample {
    pub(super) endpoint: String,
    pub(super) at: Instant,
    pub(super) outcome: Result<Figures, ClientError>,
}

#[derive(Debug)]
pub(super) struct Figures {
    pub(super) status: Status,
    pub(super) metrics: Metrics,
}

/// The part of `/api/v1/status` that is shown.
#[derive(Debug, Deserialize)]
pub(super) struct Status {
    pub(super) version: String,
    pub(super) node_id: u64,
    pub(super) cluster_id: Option<String>,
    pub(super) role: String,
    pub(super) term: u64,
    pub(super) leader: Option<u64>,
    pub(super) ready: bool,
    pub(super) reason: Option<String>,
    pub(super) revision: u64,
    pub(super) log: Log,
    pub(super) storage: Storage,
    pub(super) changing_members: bool,
    pub(super) members: Vec<Member>,
    pub(super) warnings: Vec<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Log {
    pub(super) commit: u64,
    pub(super) applied: u64,
}

#[derive(Debug, Deserialize)]
pub(super) struct Storage {
    pub(super) keys: u64,
    pub(super) bytes: u64,
    pub(super) history_bytes: u64,
}

#[derive(Debug, Deserialize)]
pub(super) struct Member {
    pub(super) node_id: u64,
    pub(super) address: String,
    pub(super) voter: bool,
    pub(super) lag_entries: Option<u64>,
    pub(super) silent_ms: Option<u64>,
}

impl Sample {
    /// Asks a node, named by the only endpoint of the client.
    pub(super) async fn take(node: &Client) -> Self {
        let endpoint = node.endpoints().first().cloned().unwrap_or_default();
        let outcome = figures(node).await;
        Self {
            endpoint,
            at: Instant::now(),
            outcome,
        }
    }

    pub(super) fn figures(&self) -> Option<&Figures> {
        self.outcome.as_ref().ok()
    }
}

async fn figures(node: &Client) -> Result<Figures, ClientError> {
    let (status, metrics) = (Request::get("/api/v1/status"), Request::get("/metrics"));
    let (status, metrics) = futures::try_join!(node.send(&status), node.send(&metrics))?;
    Ok(Figures {
        status: status.data()?,
        metrics: Metrics::parse(&String::from_utf8_lossy(&metrics.body)),
    })
}
