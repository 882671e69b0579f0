//! A node at the moment of a scrape.

use concord_core::Store;
use concord_core::view::{ReadView, Statistics};
use concord_net::NetStats;
use concord_raft::NodeStatus;
use concord_raft::node::Node;
use concord_raft::stats::{LogStats, NodeStats};

use super::requests::Requests;
use super::tenants::TenantRequests;
use super::tenants::stored::Largest;
use crate::audit::AuditStatus;
use crate::concord::Concord;
use crate::error::Error;
use crate::watch::WatcherStatus;

/// What families are read from.
pub(super) struct Reading<'a> {
    pub(super) concord: &'a Concord,
    pub(super) status: NodeStatus,
    pub(super) view: ReadView,
    pub(super) statistics: Statistics,
    pub(super) watchers: Vec<WatcherStatus>,
    pub(super) resident_bytes: Option<u64>,
    pub(super) tenants: Largest,
    pub(super) peers: Vec<(&'static str, NetStats)>,
}

impl<'a> Reading<'a> {
    /// Looks at everything once. For somebody who may see the status.
    pub(super) fn take(concord: &'a Concord) -> Result<Self, Error> {
        let (status, seen) = concord.service().status(concord.caller())?;
        let view = seen.view().clone();
        Ok(Self {
            concord,
            status,
            statistics: view.statistics(),
            tenants: Largest::of(&view),
            view,
            watchers: concord.service().open_watches(),
            resident_bytes: resident_bytes(),
            peers: concord.running().peer_stats(),
        })
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
