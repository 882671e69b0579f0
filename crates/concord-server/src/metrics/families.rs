//! The table of everything that is measured.

mod samples;

use std::sync::atomic::Ordering;

use concord_raft::stats::HistogramCounts;

use self::samples::{
    count, counts, each_certificate, each_direction, each_dropped_packet, each_end, each_error, each_kind,
    each_level, each_peer, each_quota, each_recipe, each_refusal, each_role, each_route, each_span,
    each_tenant, each_wait, each_write, number, of_http, one, only, put, times,
};
use super::http::HttpStats;
use super::reading::Reading;

/// What is measured under one name.
#[derive(Debug)]
pub struct Family {
    /// Its name, without `concord_` before it and, of a counter, `_total` behind it.
    pub name: &'static str,
    /// What its numbers are.
    pub kind: Kind,
    /// The labels of its series, in order.
    pub labels: &'static [&'static str],
    /// What it is about.
    pub about: &'static str,
    read: fn(&Reading, &mut Vec<Sample>),
}

/// What numbers are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// They only grow, until the node starts again.
    Counter,
    /// They go up and down.
    Gauge,
    /// How often something was how large.
    Histogram,
}

/// One series at one moment.
#[derive(Debug)]
pub(super) struct Sample {
    pub(super) labels: Vec<String>,
    pub(super) value: Figure,
}

/// Its value.
#[derive(Debug)]
pub(super) enum Figure {
    Number(f64),
    /// With what a bound and the sum are multiplied by.
    Counts(HistogramCounts, f64),
}

/// Everything that is measured, in the order in which it is served.
pub fn families() -> &'static [Family] {
    FAMILIES
}

impl Family {
    /// The name of the family as it is served, and as a query finds it: `concord_keys`, `concord_reads_total`.
    #[must_use]
    pub fn full_name(&self) -> String {
        let suffix = if self.kind == Kind::Counter { "_total" } else { "" };
        format!("concord_{}{suffix}", self.name)
    }

    pub(super) fn read(&self, from: &Reading) -> Vec<Sample> {
        let mut out = Vec::new();
        (self.read)(from, &mut out);
        out
    }
}

static FAMILIES: &[Family] = &[
    Family {
        name: "build_info",
        kind: Kind::Gauge,
        labels: &["version"],
        about: "The version that runs; always 1",
        read: |_, out| one(out, &[env!("CARGO_PKG_VERSION")], 1),
    },
    Family {
        name: "machine_version",
        kind: Kind::Gauge,
        labels: &[],
        about: "As what machine the cluster applies entries",
        read: |from, out| only(out, u64::from(from.status.machine.version.get())),
    },
    Family {
        name: "machine_version_known",
        kind: Kind::Gauge,
        labels: &[],
        about: "The newest machine that this node knows",
        read: |from, out| only(out, u64::from(from.status.machine_known.get())),
    },
    Family {
        name: "machine_held_back",
        kind: Kind::Gauge,
        labels: &[],
        about: "Members that keep the cluster from it: of an older release, or silent",
        read: |from, out| only(out, count(from.status.held_back_by.len())),
    },
    Family {
        name: "ready",
        kind: Kind::Gauge,
        labels: &[],
        about: "1 if the node has a leader and has caught up",
        read: |from, out| only(out, u64::from(from.status.is_ready())),
    },
    Family {
        name: "raft_role",
        kind: Kind::Gauge,
        labels: &["role"],
        about: "1 for what the node is: outside, learner, follower, candidate, leader or stopped",
        read: |from, out| each_role(from, out),
    },
    Family {
        name: "raft_term",
        kind: Kind::Gauge,
        labels: &[],
        about: "The current term",
        read: |from, out| only(out, from.status.term.get()),
    },
    Family {
        name: "raft_has_leader",
        kind: Kind::Gauge,
        labels: &[],
        about: "1 if the node knows a leader that it has heard of lately",
        read: |from, out| only(out, u64::from(from.status.leader.is_some())),
    },
    Family {
        name: "raft_leader_changes",
        kind: Kind::Counter,
        labels: &[],
        about: "How often another leader became known",
        read: |from, out| only(out, from.node().leader_changes.get()),
    },
    Family {
        name: "raft_last_index",
        kind: Kind::Gauge,
        labels: &[],
        about: "The last entry in the log",
        read: |from, out| only(out, from.status.last_index.get()),
    },
    Family {
        name: "raft_commit_index",
        kind: Kind::Gauge,
        labels: &[],
        about: "The last entry known to be committed",
        read: |from, out| only(out, from.status.commit_index.get()),
    },
    Family {
        name: "raft_applied_index",
        kind: Kind::Gauge,
        labels: &[],
        about: "The last entry applied",
        read: |from, out| only(out, from.status.applied_index.get()),
    },
    Family {
        name: "raft_snapshot_index",
        kind: Kind::Gauge,
        labels: &[],
        about: "The last entry in the newest snapshot",
        read: |from, out| only(out, from.status.snapshot_index.get()),
    },
    Family {
        name: "raft_purged_index",
        kind: Kind::Gauge,
        labels: &[],
        about: "The last entry dropped from the log",
        read: |from, out| only(out, from.status.purged_index.get()),
    },
    Family {
        name: "raft_members",
        kind: Kind::Gauge,
        labels: &["kind"],
        about: "Members: voter or learner",
        read: |from, out| each_kind(from, out),
    },
    Family {
        name: "raft_peer_lag_entries",
        kind: Kind::Gauge,
        labels: &["peer"],
        about: "Entries that a member is behind; told by the leader",
        read: |from, out| each_peer(from, out, |member| member.lag_entries.map(number)),
    },
    Family {
        name: "raft_peer_silent_seconds",
        kind: Kind::Gauge,
        labels: &["peer"],
        about: "Seconds since a member last answered; told by the leader",
        read: |from, out| {
            each_peer(from, out, |member| {
                member.silent_ms.map(|ms| number(ms) / 1_000.0)
            })
        },
    },
    Family {
        name: "raft_entry_seconds",
        kind: Kind::Histogram,
        labels: &[],
        about: "From the proposal of an entry until it is applied, on the leader",
        read: |from, out| times(out, &[], from.node().entry_micros.counts()),
    },
    Family {
        name: "raft_entry_requests",
        kind: Kind::Histogram,
        labels: &[],
        about: "Requests in an entry, on the leader",
        read: |from, out| counts(out, &[], from.node().requests_an_entry.counts()),
    },
    Family {
        name: "apply_seconds",
        kind: Kind::Histogram,
        labels: &[],
        about: "How long a burst of entries takes to be applied and shown",
        read: |from, out| times(out, &[], from.node().apply_micros.counts()),
    },
    Family {
        name: "apply_entries",
        kind: Kind::Counter,
        labels: &[],
        about: "Entries applied",
        read: |from, out| only(out, from.node().applied_entries.get()),
    },
    Family {
        name: "log_sync_seconds",
        kind: Kind::Histogram,
        labels: &[],
        about: "How long the disk takes to make log records durable",
        read: |from, out| times(out, &[], from.log().sync_micros.counts()),
    },
    Family {
        name: "log_sync_entries",
        kind: Kind::Histogram,
        labels: &[],
        about: "Entries that become durable together",
        read: |from, out| counts(out, &[], from.log().entries_a_sync.counts()),
    },
    Family {
        name: "log_written_bytes",
        kind: Kind::Counter,
        labels: &[],
        about: "Bytes written to the log",
        read: |from, out| only(out, from.log().written_bytes.get()),
    },
    Family {
        name: "log_bytes",
        kind: Kind::Gauge,
        labels: &[],
        about: "Bytes of log records on disk",
        read: |from, out| only(out, from.raft().log_bytes()),
    },
    Family {
        name: "snapshot_seconds",
        kind: Kind::Histogram,
        labels: &[],
        about: "How long a snapshot takes to be written",
        read: |from, out| times(out, &[], from.node().snapshot_micros.counts()),
    },
    Family {
        name: "snapshot_bytes",
        kind: Kind::Gauge,
        labels: &[],
        about: "The size of the newest snapshot",
        read: |from, out| only(out, from.raft().snapshot_bytes().0),
    },
    Family {
        name: "snapshot_backlog_bytes",
        kind: Kind::Gauge,
        labels: &[],
        about: "Bytes of entries applied since the newest snapshot: what a restart replays",
        read: |from, out| only(out, from.raft().snapshot_bytes().1),
    },
    Family {
        name: "snapshots_installed",
        kind: Kind::Counter,
        labels: &[],
        about: "Snapshots taken over from a leader",
        read: |from, out| only(out, from.node().snapshots_installed.get()),
    },
    Family {
        name: "disk_full",
        kind: Kind::Gauge,
        labels: &[],
        about: "1 if the disk has no room for more log",
        read: |from, out| only(out, u64::from(from.status.disk_full)),
    },
    Family {
        name: "proposals_waiting",
        kind: Kind::Gauge,
        labels: &[],
        about: "Requests of this node that wait for an answer",
        read: |from, out| only(out, from.raft().waiting_requests().0),
    },
    Family {
        name: "proposals_waiting_bytes",
        kind: Kind::Gauge,
        labels: &[],
        about: "Their bytes",
        read: |from, out| only(out, from.raft().waiting_requests().1),
    },
    Family {
        name: "write_seconds",
        kind: Kind::Histogram,
        labels: &["operation", "result"],
        about: "How long writes took that came in through this node; result: ok, refused, failed, unknown",
        read: |from, out| each_write(from, out),
    },
    Family {
        name: "reads",
        kind: Kind::Counter,
        labels: &["consistency"],
        about: "Reads that this node served: strong, leader, eventual",
        read: |from, out| each_level(from, out),
    },
    Family {
        name: "read_wait_seconds",
        kind: Kind::Histogram,
        labels: &["consistency"],
        about: "How long reads waited for their view, of those that had to",
        read: |from, out| each_wait(from, out),
    },
    Family {
        name: "errors",
        kind: Kind::Counter,
        labels: &["operation", "code"],
        about: "Requests that ended with an error, by its name",
        read: |from, out| each_error(from, out),
    },
    Family {
        name: "http_requests",
        kind: Kind::Counter,
        labels: &["route", "method", "status"],
        about: "HTTP requests by route, all others as _other; status: 2xx, 3xx, 4xx, 5xx, or gone if nobody waited for the answer",
        read: |from, out| each_end(from, out),
    },
    Family {
        name: "http_request_seconds",
        kind: Kind::Histogram,
        labels: &["route", "method"],
        about: "From the head of an HTTP request to the head of its answer",
        read: |from, out| each_route(from, out),
    },
    Family {
        name: "http_requests_in_flight",
        kind: Kind::Gauge,
        labels: &[],
        about: "HTTP requests whose answer has not begun",
        read: |from, out| of_http(from, out, HttpStats::in_flight),
    },
    Family {
        name: "http_connections",
        kind: Kind::Gauge,
        labels: &[],
        about: "Open HTTP connections",
        read: |from, out| of_http(from, out, HttpStats::connections),
    },
    Family {
        name: "http_received_bytes",
        kind: Kind::Counter,
        labels: &[],
        about: "Bytes received over them, heads and bodies, without TLS",
        read: |from, out| of_http(from, out, HttpStats::received_bytes),
    },
    Family {
        name: "http_sent_bytes",
        kind: Kind::Counter,
        labels: &[],
        about: "Bytes sent over them, heads and bodies, without TLS",
        read: |from, out| of_http(from, out, HttpStats::sent_bytes),
    },
    Family {
        name: "revision",
        kind: Kind::Gauge,
        labels: &[],
        about: "The revision that the node shows",
        read: |from, out| only(out, from.view.revision().get()),
    },
    Family {
        name: "compact_revision",
        kind: Kind::Gauge,
        labels: &[],
        about: "The revision up to which history is forgotten",
        read: |from, out| only(out, from.view.compact_revision().get()),
    },
    Family {
        name: "keys",
        kind: Kind::Gauge,
        labels: &[],
        about: "Keys",
        read: |from, out| only(out, from.statistics.usage.keys),
    },
    Family {
        name: "stored_bytes",
        kind: Kind::Gauge,
        labels: &[],
        about: "Bytes of keys and values as they are kept",
        read: |from, out| only(out, from.statistics.usage.bytes),
    },
    Family {
        name: "raw_bytes",
        kind: Kind::Gauge,
        labels: &[],
        about: "Bytes of keys and values as they were put",
        read: |from, out| only(out, from.statistics.raw_bytes()),
    },
    Family {
        name: "compressed_values",
        kind: Kind::Gauge,
        labels: &[],
        about: "Values that are kept compressed",
        read: |from, out| only(out, from.statistics.packed.values),
    },
    Family {
        name: "history_entries",
        kind: Kind::Gauge,
        labels: &[],
        about: "Changes that are kept",
        read: |from, out| only(out, count(from.statistics.history_entries)),
    },
    Family {
        name: "history_bytes",
        kind: Kind::Gauge,
        labels: &[],
        about: "Bytes of changes, replaced versions and tombstones",
        read: |from, out| only(out, from.statistics.history_bytes),
    },
    Family {
        name: "leases",
        kind: Kind::Gauge,
        labels: &[],
        about: "Leases that live",
        read: |from, out| only(out, count(from.view.lease_count())),
    },
    Family {
        name: "sessions",
        kind: Kind::Gauge,
        labels: &[],
        about: "Sessions of nodes whose requests are remembered, so that each applies once",
        read: |from, out| only(out, count(from.view.sessions().count)),
    },
    Family {
        name: "session_reply_bytes",
        kind: Kind::Gauge,
        labels: &[],
        about: "Bytes of the replies that they remember",
        read: |from, out| only(out, from.view.sessions().reply_bytes),
    },
    Family {
        name: "recipe_keys",
        kind: Kind::Gauge,
        labels: &["kind"],
        about: "Keys of those who hold or wait for locks, elections, services and so on, of nobody's tenant",
        read: |from, out| each_recipe(from, out),
    },
    Family {
        name: "indexes",
        kind: Kind::Gauge,
        labels: &[],
        about: "Indexes",
        read: |from, out| only(out, count(from.view.indexes().count())),
    },
    Family {
        name: "index_entries",
        kind: Kind::Gauge,
        labels: &[],
        about: "Entries of all indexes together",
        read: |from, out| only(out, count(from.view.indexes().map(|index| index.entries).sum())),
    },
    Family {
        name: "subscriptions",
        kind: Kind::Gauge,
        labels: &[],
        about: "Durable subscriptions",
        read: |from, out| only(out, count(from.view.subscriptions().count())),
    },
    Family {
        name: "watches",
        kind: Kind::Gauge,
        labels: &[],
        about: "Watches open on this node",
        read: |from, out| only(out, count(from.watchers.len())),
    },
    Family {
        name: "watch_lag_revisions",
        kind: Kind::Gauge,
        labels: &[],
        about: "Revisions that the slowest watch is behind",
        read: |from, out| {
            only(
                out,
                from.watchers.iter().map(|watcher| watcher.lag).max().unwrap_or(0),
            )
        },
    },
    Family {
        name: "tenants",
        kind: Kind::Gauge,
        labels: &[],
        about: "Tenants",
        read: |from, out| only(out, from.tenants.count),
    },
    Family {
        name: "tenant_keys",
        kind: Kind::Gauge,
        labels: &["tenant"],
        about: "Keys of the 50 tenants that store most; the others are _other",
        read: |from, out| each_tenant(from, out, |usage| usage.keys),
    },
    Family {
        name: "tenant_stored_bytes",
        kind: Kind::Gauge,
        labels: &["tenant"],
        about: "Bytes of keys and values of the 50 tenants that store most; the others are _other",
        read: |from, out| each_tenant(from, out, |usage| usage.bytes),
    },
    Family {
        name: "tenant_max_keys",
        kind: Kind::Gauge,
        labels: &["tenant"],
        about: "Keys that these tenants may have, if that is limited",
        read: |from, out| each_quota(from, out, |quota| quota.max_keys),
    },
    Family {
        name: "tenant_max_stored_bytes",
        kind: Kind::Gauge,
        labels: &["tenant"],
        about: "Bytes that these tenants may have, if that is limited",
        read: |from, out| each_quota(from, out, |quota| quota.max_storage_bytes),
    },
    Family {
        name: "tenant_requests",
        kind: Kind::Counter,
        labels: &["tenant", "result"],
        about: "Requests that tenants may make, of the first 50 that asked; result: ok, quota_exceeded, rate_limited, error",
        read: |from, out| {
            from.tenant_requests()
                .each(|tenant, result, count| one(out, &[tenant, result], count));
        },
    },
    Family {
        name: "peer_connections",
        kind: Kind::Gauge,
        labels: &["direction"],
        about: "Connections with other nodes: in or out",
        read: |from, out| each_direction(from, out, |stats| stats.open),
    },
    Family {
        name: "peer_received_bytes",
        kind: Kind::Counter,
        labels: &["direction"],
        about: "Bytes received over them",
        read: |from, out| each_direction(from, out, |stats| stats.bytes_received),
    },
    Family {
        name: "peer_sent_bytes",
        kind: Kind::Counter,
        labels: &["direction"],
        about: "Bytes sent over them",
        read: |from, out| each_direction(from, out, |stats| stats.bytes_sent),
    },
    Family {
        name: "peer_refused",
        kind: Kind::Counter,
        labels: &["direction", "reason"],
        about: "Connections refused or dropped",
        read: |from, out| each_refusal(from, out),
    },
    Family {
        name: "gossip_contacts",
        kind: Kind::Gauge,
        labels: &[],
        about: "Nodes that have answered by gossip in the last 30 seconds, where there is gossip",
        read: |from, out| {
            if let Some(stats) = &from.gossip {
                only(out, stats.contacts);
            }
        },
    },
    Family {
        name: "gossip_packets",
        kind: Kind::Counter,
        labels: &["direction"],
        about: "Packets of gossip, those that were dropped among them",
        read: |from, out| {
            if let Some(stats) = &from.gossip {
                one(out, &["in"], stats.received);
                one(out, &["out"], stats.sent);
            }
        },
    },
    Family {
        name: "gossip_dropped",
        kind: Kind::Counter,
        labels: &["reason"],
        about: "Packets of gossip that were dropped; reason: size, malformed, version, proof (another secret), cluster, unasked (late or replayed), flood",
        read: |from, out| each_dropped_packet(from, out),
    },
    Family {
        name: "trace_spans",
        kind: Kind::Counter,
        labels: &["result"],
        about: "Spans of traced requests: exported, dropped (the queue was full) or failed (the collector did not take them)",
        read: |from, out| each_span(from, out),
    },
    Family {
        name: "slow_requests",
        kind: Kind::Counter,
        labels: &[],
        about: "Requests that took as long as `logging.slow_request`, or longer",
        read: |from, out| only(out, from.concord.service().slow().count()),
    },
    Family {
        name: "members_removed",
        kind: Kind::Counter,
        labels: &[],
        about: "Members that this node has removed by itself: see `cluster.remove_dead_after`",
        read: |from, out| only(out, from.concord.service().removals().count()),
    },
    Family {
        name: "backups",
        kind: Kind::Counter,
        labels: &["result"],
        about: "Backups that this node was to make, asked for or by schedule: made, failed",
        read: |from, out| {
            let counts = from.concord.service().backups().counts();
            for (result, count) in [("made", &counts.made), ("failed", &counts.failed)] {
                one(out, &[result], count.load(Ordering::Relaxed));
            }
        },
    },
    Family {
        name: "backup_made_timestamp_seconds",
        kind: Kind::Gauge,
        labels: &[],
        about: "When this node made its last backup, in Unix time; 0 if it made none since it was started",
        read: |from, out| {
            let made_at = &from.concord.service().backups().counts().made_at_ms;
            put(out, &[], number(made_at.load(Ordering::Relaxed)) / 1_000.0);
        },
    },
    Family {
        name: "audit_lines",
        kind: Kind::Counter,
        labels: &[],
        about: "Lines written to the audit log",
        read: |from, out| only(out, from.audit().lines),
    },
    Family {
        name: "audit_written_bytes",
        kind: Kind::Counter,
        labels: &[],
        about: "Their bytes",
        read: |from, out| only(out, from.audit().bytes),
    },
    Family {
        name: "audit_lost",
        kind: Kind::Counter,
        labels: &[],
        about: "Audit lines that could not be kept",
        read: |from, out| only(out, from.audit().lost),
    },
    Family {
        name: "audit_failing",
        kind: Kind::Gauge,
        labels: &[],
        about: "1 if the audit log cannot be written",
        read: |from, out| only(out, u64::from(from.audit().failure.is_some())),
    },
    Family {
        name: "certificate_expiry_timestamp_seconds",
        kind: Kind::Gauge,
        labels: &["listener", "role"],
        about: "When a certificate in use ends, in seconds since 1970; role: certificate or ca",
        read: |from, out| each_certificate(from, out),
    },
    Family {
        name: "memory_resident_bytes",
        kind: Kind::Gauge,
        labels: &[],
        about: "Memory that the process has in use",
        read: |from, out| from.resident_bytes.into_iter().for_each(|bytes| only(out, bytes)),
    },
];
