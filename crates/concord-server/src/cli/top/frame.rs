//! One picture: what two looks at all nodes come to.

use std::collections::BTreeSet;

use serde::Serialize;

use super::hot::{Hot, HotPrefix};
use super::metrics::Metrics;
use super::sample::{Figures, Member, Sample, Status};
use crate::cli::output::cell;

/// What is shown, and what `--output json` prints.
#[derive(Debug, Serialize)]
pub(super) struct Frame {
    pub(super) cluster: Cluster,
    /// The endpoints, as they were given.
    pub(super) nodes: Vec<Node>,
    /// Members that none of the endpoints is.
    pub(super) others: Vec<Other>,
    /// Where writes go, the most written first; empty unless asked for.
    pub(super) hot_prefixes: Vec<HotPrefix>,
    pub(super) warnings: Vec<String>,
}

/// What the node with the newest state says of all, and the sums over the nodes that answered.
#[derive(Debug, Default, Serialize)]
pub(super) struct Cluster {
    pub(super) cluster_id: Option<String>,
    pub(super) leader: Option<u64>,
    pub(super) term: u64,
    pub(super) revision: u64,
    pub(super) keys: u64,
    pub(super) stored_bytes: u64,
    pub(super) history_bytes: u64,
    pub(super) voters: usize,
    pub(super) learners: usize,
    pub(super) changing_members: bool,
    pub(super) writes_per_second: Option<f64>,
    pub(super) reads_per_second: Option<f64>,
    pub(super) errors_per_second: Option<f64>,
}

/// An endpoint.
#[derive(Debug, Serialize)]
pub(super) struct Node {
    pub(super) endpoint: String,
    /// Why it did not answer.
    pub(super) error: Option<String>,
    #[serde(flatten)]
    pub(super) said: Option<Said>,
}

/// What a node says of itself.
#[derive(Debug, Serialize)]
pub(super) struct Said {
    pub(super) node_id: u64,
    pub(super) version: String,
    pub(super) role: String,
    pub(super) term: u64,
    pub(super) ready: bool,
    pub(super) reason: Option<String>,
    pub(super) revision: u64,
    /// Entries behind the leader.
    pub(super) lag_entries: Option<u64>,
    pub(super) silent_ms: Option<u64>,
    /// Entries that are committed and not applied yet.
    pub(super) unapplied_entries: u64,
    pub(super) log_bytes: Option<f64>,
    pub(super) memory_bytes: Option<f64>,
    pub(super) watches: Option<f64>,
    #[serde(flatten)]
    pub(super) rates: Rates,
}

/// What happened between two looks; null: nothing, or not known.
#[derive(Debug, Default, Serialize)]
pub(super) struct Rates {
    pub(super) writes_per_second: Option<f64>,
    pub(super) reads_per_second: Option<f64>,
    pub(super) errors_per_second: Option<f64>,
    pub(super) write_seconds_p50: Option<f64>,
    pub(super) write_seconds_p99: Option<f64>,
    pub(super) read_wait_seconds_p99: Option<f64>,
    pub(super) log_sync_seconds_p99: Option<f64>,
}

/// A member that nobody was asked about.
#[derive(Debug, Serialize)]
pub(super) struct Other {
    pub(super) node_id: u64,
    pub(super) peer_address: String,
    pub(super) voter: bool,
    pub(super) lag_entries: Option<u64>,
    pub(super) silent_ms: Option<u64>,
}

impl Frame {
    pub(super) fn new(before: &[Sample], now: &[Sample], hot: Option<&Hot>) -> Self {
        let known = || {
            now.iter()
                .filter_map(Sample::figures)
                .map(|figures| &figures.status)
        };
        let leader = known().find(|status| status.role == "leader");
        let newest = leader.or_else(|| known().max_by_key(|status| (status.term, status.revision)));
        let nodes: Vec<Node> = now.iter().map(|sample| node(sample, before, leader)).collect();
        let asked: BTreeSet<u64> = known().map(|status| status.node_id).collect();
        let members = newest.map(|status| status.members.as_slice()).unwrap_or_default();
        let others = members
            .iter()
            .filter(|member| !asked.contains(&member.node_id))
            .map(Other::of)
            .collect();
        let mut warnings: Vec<String> = known()
            .flat_map(|status| {
                let id = status.node_id;
                status
                    .warnings
                    .iter()
                    .map(move |text| format!("node {id}: {}", cell(text)))
            })
            .collect();
        warnings.extend(apart(known()));
        warnings.extend(hot.and_then(Hot::trouble));
        Self {
            cluster: newest.map_or_else(Cluster::default, |newest| Cluster::of(newest, &nodes)),
            nodes,
            others,
            hot_prefixes: hot.map(Hot::busiest).unwrap_or_default(),
            warnings,
        }
    }

    /// How many nodes there are figures of.
    pub(super) fn answered(&self) -> usize {
        self.nodes.iter().filter(|node| node.said.is_some()).count()
    }
}

/// Endpoints of several clusters make no picture of one.
fn apart<'a>(known: impl Iterator<Item = &'a Status>) -> Option<String> {
    let ids: BTreeSet<&str> = known.filter_map(|status| status.cluster_id.as_deref()).collect();
    (ids.len() > 1).then(|| "the endpoints belong to different clusters".to_owned())
}

fn node(sample: &Sample, before: &[Sample], leader: Option<&Status>) -> Node {
    let said = sample.figures().map(|figures| {
        let earlier = before.iter().find(|earlier| earlier.endpoint == sample.endpoint);
        let rates = earlier
            .and_then(|earlier| {
                let seconds = sample.at.duration_since(earlier.at).as_secs_f64();
                Some(Rates::between(
                    &earlier.figures()?.metrics,
                    &figures.metrics,
                    seconds,
                ))
            })
            .unwrap_or_default();
        Said::of(figures, rates, leader)
    });
    Node {
        endpoint: cell(&sample.endpoint),
        error: sample.outcome.as_ref().err().map(|error| match error.code() {
            "unreachable" => "unreachable".to_owned(),
            code => format!("{code}: {}", cell(&error.to_string())),
        }),
        said,
    }
}

impl Said {
    fn of(figures: &Figures, rates: Rates, leader: Option<&Status>) -> Self {
        let Figures { status, metrics } = figures;
        let seat = leader.and_then(|leader| {
            leader
                .members
                .iter()
                .find(|member| member.node_id == status.node_id)
        });
        Self {
            node_id: status.node_id,
            version: cell(&status.version),
            role: cell(&status.role),
            term: status.term,
            ready: status.ready,
            reason: status.reason.as_deref().map(cell),
            revision: status.revision,
            lag_entries: seat.and_then(|seat| seat.lag_entries),
            silent_ms: seat.and_then(|seat| seat.silent_ms),
            unapplied_entries: status.log.commit.saturating_sub(status.log.applied),
            log_bytes: metrics.sum("concord_log_bytes"),
            memory_bytes: metrics.sum("concord_memory_resident_bytes"),
            watches: metrics.sum("concord_watches"),
            rates,
        }
    }
}

impl Rates {
    fn between(before: &Metrics, now: &Metrics, seconds: f64) -> Self {
        let rate = |name| now.growth(before, name).map(|grown| grown / seconds.max(0.001));
        Self {
            writes_per_second: rate("concord_write_seconds_count"),
            reads_per_second: rate("concord_reads_total"),
            errors_per_second: rate("concord_errors_total"),
            write_seconds_p50: now.quantile(before, "concord_write_seconds", 0.5),
            write_seconds_p99: now.quantile(before, "concord_write_seconds", 0.99),
            read_wait_seconds_p99: now.quantile(before, "concord_read_wait_seconds", 0.99),
            log_sync_seconds_p99: now.quantile(before, "concord_log_sync_seconds", 0.99),
        }
    }
}

impl Other {
    fn of(member: &Member) -> Self {
        Self {
            node_id: member.node_id,
            peer_address: cell(&member.address),
            voter: member.voter,
            lag_entries: member.lag_entries,
            silent_ms: member.silent_ms,
        }
    }
}

impl Cluster {
    fn of(newest: &Status, nodes: &[Node]) -> Self {
        let total = |rate: fn(&Rates) -> Option<f64>| {
            let rates = nodes.iter().filter_map(|node| rate(&node.said.as_ref()?.rates));
            rates.reduce(|sum, rate| sum + rate)
        };
        let voters = newest.members.iter().filter(|member| member.voter).count();
        Self {
            cluster_id: newest.cluster_id.as_deref().map(cell),
            leader: newest.leader,
            term: newest.term,
            revision: newest.revision,
            keys: newest.storage.keys,
            stored_bytes: newest.storage.bytes,
            history_bytes: newest.storage.history_bytes,
            voters,
            learners: newest.members.len() - voters,
            changing_members: newest.changing_members,
            writes_per_second: total(|rates| rates.writes_per_second),
            reads_per_second: total(|rates| rates.reads_per_second),
            errors_per_second: total(|rates| rates.errors_per_second),
        }
    }
}
