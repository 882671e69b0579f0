//! How what was read becomes samples: one series, or one for each member, route, tenant and so on.

use concord_core::NamespaceQuota;
use concord_core::view::Usage;
use concord_net::gossip::DropReason;
use concord_net::{NetStats, RefusalReason};
use concord_raft::stats::HistogramCounts;
use concord_raft::{MemberStatus, Role};

use super::super::http::HttpStats;
use super::super::reading::Reading;
use super::super::tenants::OTHERS;
use super::{Figure, Sample};
use crate::recipes::Kind as Recipe;
use crate::trace::Counts;

pub(super) fn one(out: &mut Vec<Sample>, labels: &[&str], value: u64) {
    put(out, labels, number(value));
}

pub(super) fn put(out: &mut Vec<Sample>, labels: &[&str], value: f64) {
    out.push(Sample {
        labels: labels.iter().map(|label| (*label).to_owned()).collect(),
        value: Figure::Number(value),
    });
}

pub(super) fn only(out: &mut Vec<Sample>, value: u64) {
    one(out, &[], value);
}

/// Lengths of time, counted in microseconds.
pub(super) fn times(out: &mut Vec<Sample>, labels: &[&str], counts: HistogramCounts) {
    histogram(out, labels, counts, 1e-6);
}

pub(super) fn counts(out: &mut Vec<Sample>, labels: &[&str], counts: HistogramCounts) {
    histogram(out, labels, counts, 1.0);
}

pub(super) fn histogram(out: &mut Vec<Sample>, labels: &[&str], counts: HistogramCounts, unit: f64) {
    out.push(Sample {
        labels: labels.iter().map(|label| (*label).to_owned()).collect(),
        value: Figure::Counts(counts, unit),
    });
}

pub(super) fn count(things: usize) -> u64 {
    u64::try_from(things).unwrap_or(u64::MAX)
}

/// Prometheus knows no other numbers: beyond 2^53 the last digits are lost.
pub(super) fn number(value: u64) -> f64 {
    value as f64
}

pub(super) fn each_role(from: &Reading, out: &mut Vec<Sample>) {
    let roles = [
        Role::Outside,
        Role::Learner,
        Role::Follower,
        Role::Candidate,
        Role::Leader,
        Role::Stopped,
    ];
    for role in roles {
        one(out, &[role.name()], u64::from(from.status.role == role));
    }
}

pub(super) fn each_kind(from: &Reading, out: &mut Vec<Sample>) {
    one(out, &["voter"], count(from.status.voters().count()));
    one(out, &["learner"], count(from.status.learners().count()));
}

pub(super) fn each_peer(from: &Reading, out: &mut Vec<Sample>, of: impl Fn(&MemberStatus) -> Option<f64>) {
    for member in &from.status.members {
        if let Some(value) = of(member) {
            put(out, &[&member.node_id.to_string()], value);
        }
    }
}

pub(super) fn each_write(from: &Reading, out: &mut Vec<Sample>) {
    from.requests()
        .each_write(|operation, result, counts| times(out, &[operation, result], counts));
}

pub(super) fn each_level(from: &Reading, out: &mut Vec<Sample>) {
    from.requests()
        .each_level(|level, reads, _| one(out, &[level], reads));
}

pub(super) fn each_wait(from: &Reading, out: &mut Vec<Sample>) {
    from.requests()
        .each_level(|level, _, waits| times(out, &[level], waits));
}

pub(super) fn each_error(from: &Reading, out: &mut Vec<Sample>) {
    for ((operation, code), count) in from.requests().errors() {
        one(out, &[operation, code], count);
    }
}

/// Nothing of a node without an HTTP listener.
pub(super) fn of_http(from: &Reading, out: &mut Vec<Sample>, of: impl Fn(&HttpStats) -> u64) {
    if let Some(stats) = &from.http {
        only(out, of(stats));
    }
}

pub(super) fn each_end(from: &Reading, out: &mut Vec<Sample>) {
    if let Some(stats) = &from.http {
        stats.each_end(|route, method, end, count| one(out, &[route, method, end], count));
    }
}

pub(super) fn each_route(from: &Reading, out: &mut Vec<Sample>) {
    if let Some(stats) = &from.http {
        stats.each_time(|route, method, counts| times(out, &[route, method], counts));
    }
}

/// Of each kind the namespace of its keys.
pub(super) fn each_recipe(from: &Reading, out: &mut Vec<Sample>) {
    for kind in Recipe::ALL {
        let namespace = kind.root().trim_end_matches(':');
        one(out, &[namespace], from.view.usage(namespace.as_bytes()).keys);
    }
}

pub(super) fn each_tenant(from: &Reading, out: &mut Vec<Sample>, of: impl Fn(&Usage) -> u64) {
    for tenant in &from.tenants.named {
        one(out, &[&tenant.label], of(&tenant.usage));
    }
    one(out, &[OTHERS], of(&from.tenants.others));
}

pub(super) fn each_quota(from: &Reading, out: &mut Vec<Sample>, of: impl Fn(&NamespaceQuota) -> Option<u64>) {
    for tenant in &from.tenants.named {
        if let Some(limit) = of(&tenant.quota) {
            one(out, &[&tenant.label], limit);
        }
    }
}

pub(super) fn each_span(from: &Reading, out: &mut Vec<Sample>) {
    let counts = from.concord.service().traces().counts();
    for (result, count) in Counts::each(counts) {
        one(out, &[result], count);
    }
}

pub(super) fn each_certificate(from: &Reading, out: &mut Vec<Sample>) {
    for certificate in from.concord.running().certificates().status() {
        let end = u64::try_from(certificate.not_after).unwrap_or_default();
        one(out, &[certificate.listener, certificate.role], end);
    }
}

pub(super) fn each_direction(from: &Reading, out: &mut Vec<Sample>, of: impl Fn(&NetStats) -> u64) {
    for (direction, stats) in &from.peers {
        one(out, &[direction], of(stats));
    }
}

pub(super) fn each_refusal(from: &Reading, out: &mut Vec<Sample>) {
    for (direction, stats) in &from.peers {
        for reason in RefusalReason::ALL {
            one(out, &[direction, reason.name()], stats.refused(reason));
        }
    }
}

pub(super) fn each_dropped_packet(from: &Reading, out: &mut Vec<Sample>) {
    if let Some(stats) = &from.gossip {
        for reason in DropReason::ALL {
            one(out, &[reason.name()], stats.dropped(reason));
        }
    }
}
