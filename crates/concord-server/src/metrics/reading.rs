//! A node at the moment of a scrape.

use std::sync::Arc;

use concord_core::Store;
use concord_core::view::{ReadView, Statistics};
use concord_net::NetStats;
use concord_net::gossip::GossipStats;
use concord_raft::NodeStatus;
use concord_raft::node::Node;
use concord_raft::stats::{LogStats, NodeStats};

use super::http::HttpStats;
use super::requests::Requests;
use super::tenants::TenantRequests;
use super::tenants::stored::Largest;
use crate::audit::AuditStatus;
use crate::concord::Concord;
use crate::error::Error;
use crate::watch::WatcherStatus;

/// What families are read from.
pub(crate) struct Reading {
    pub(super) concord: Concord,
    pub(super) status: NodeStatus,
    pub(super) view: ReadView,
    pub(super) statistics: Statistics,
    pub(super) watchers: Vec<WatcherStatus>,
    pub(super) resident_bytes: Option<u64>,
    pub(super) tenants: Arc<Largest>,
    pub(super) http: Option<Arc<HttpStats>>,
    pub(super) peers: Vec<(&'static str, NetStats)>,
    pub(super) gossip: Option<GossipStats>,
}

impl std::fmt::Debug for Reading {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reading").finish_non_exhaustive()
    }
}

impl Reading {
    /// Looks at everything once that is seen without a search, for somebody who may see the status.
    ///
    /// # Errors
    ///
    /// `forbidden`, where authentication says so.
    pub(crate) fn take(concord: &Concord) -> Result<Self, Error> {
        let (status, seen) = concord.service().status(concord.caller())?;
        let view = seen.view().clone();
        Ok(Self {
            status,
            statistics: view.statistics(),
            view,
            watchers: concord.service().open_watches(),
            resident_bytes: resident_bytes(),
            tenants: Arc::default(),
            http: concord.running().http_stats(),
            peers: concord.running().peer_stats(),
            gossip: concord.running().gossip_stats(),
            concord: concord.clone(),
        })
    }

    /// Looks through the tenants.
    pub(super) fn look_through(&mut self) {
        self.tenants = self.tenant_requests().stored(&self.view);
    }

    pub(super) fn requests(&self) -> &Requests {
        self.concord.service().requests()
    }

    pub(super) fn tenant_requests(&self) -> &TenantRequests {
        self.concord.service().tenant_requests()
    }

    pub(super) fn raft(&self) -> &Node<Store> {
        self.concord.service().node()
    }

    pub(super) fn audit(&self) -> AuditStatus {
        self.concord.service().audit().status()
    }

    pub(super) fn node(&self) -> &NodeStats {
        self.raft().stats()
    }

    pub(super) fn log(&self) -> &LogStats {
        self.raft().log_stats()
    }
}

/// Memory that the process has in use, where the system says so.
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1_024)
}
