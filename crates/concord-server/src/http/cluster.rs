//! The cluster: how it is, and changing it.

use concord_core::ids::{NodeId, Revision};
use concord_core::version::MachineVersion;
use concord_raft::MemberStatus;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::answer::ok;
use super::app::{App, PathMember};
use super::body::{Json, MaybeJson};
use super::docs::{ReadRefusals, WriteRefusals};
use super::error::ApiResult;
use super::query::NoQuery;
use crate::concord::Readiness;

/// A node and its view of the cluster.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StatusAnswer {
    /// Version of the software.
    version: &'static str,
    /// This node's id.
    node_id: u64,
    /// The cluster's id, 32 hexadecimal digits; null: it belongs to none yet.
    cluster_id: Option<String>,
    /// `leader`, `follower`, `learner`, `candidate`, `outside` or `stopped`.
    role: &'static str,
    /// The current term.
    term: u64,
    /// The current leader's id; null: none is known.
    leader: Option<u64>,
    /// Whether this node can serve.
    ready: bool,
    /// Why it cannot, if it cannot.
    reason: Option<String>,
    /// The revision that this node shows.
    revision: u64,
    /// The oldest readable revision; 0: nothing was ever compacted.
    compact_revision: u64,
    /// The cluster's clock, in milliseconds since the Unix epoch.
    now: u64,
    /// The log of this node.
    log: LogBody,
    /// What is stored.
    storage: StorageBody,
    /// What all members can do together.
    machine: MachineBody,
    /// Whether a change of voters is half way.
    changing_members: bool,
    /// All members, by id.
    members: Vec<MemberBody>,
    /// What an operator should know.
    warnings: Vec<String>,
}

/// As what machine the cluster applies entries. It goes on to a newer one by itself, when every member knows it.
#[derive(Debug, Serialize, ToSchema)]
struct MachineBody {
    /// Its version.
    version: u8,
    /// The first release that knows it.
    release: String,
    /// The newest version that this node knows.
    known: u8,
    /// The members that keep the cluster from that: they know less, or do not answer.
    held_back_by: Vec<u64>,
}

/// Positions in the Raft log. 0: none.
#[derive(Debug, Serialize, ToSchema)]
struct LogBody {
    /// The last entry in it.
    last: u64,
    /// The last entry known to be committed.
    commit: u64,
    /// The last entry applied.
    applied: u64,
    /// The last entry in the newest snapshot.
    snapshot: u64,
    /// The last entry that was dropped.
    purged: u64,
}

/// What is stored.
#[derive(Debug, Serialize, ToSchema)]
struct StorageBody {
    /// Keys.
    keys: u64,
    /// Bytes of keys and values as they are kept.
    bytes: u64,
    /// Bytes of keys and values as they were put.
    raw_bytes: u64,
    /// Values that are kept compressed.
    compressed_values: u64,
    /// Bytes of these as they are kept.
    compressed_bytes: u64,
    /// Bytes of these as they were put.
    compressed_raw_bytes: u64,
    /// Replaced versions that are kept.
    history_entries: usize,
    /// Bytes of them.
    history_bytes: u64,
}

/// One seat in the membership.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct MemberBody {
    /// The node.
    node_id: u64,
    /// Where its peers reach it.
    address: String,
    /// Whether it votes.
    voter: bool,
    /// Whether it leads.
    leader: bool,
    /// Entries that it is behind; null: only the leader knows, of others.
    lag_entries: Option<u64>,
    /// Milliseconds since it last answered; null: only the leader knows, of others.
    silent_ms: Option<u64>,
    /// The newest machine version that its program knows; null: it did not say when it was last asked.
    machine: Option<u8>,
    /// The release of its program; null: it did not say.
    release: Option<String>,
}

impl MemberBody {
    fn new(member: &MemberStatus, leader: Option<NodeId>) -> Self {
        Self {
            node_id: member.node_id.get(),
            address: member.address.clone(),
            voter: member.voter,
            leader: leader == Some(member.node_id),
            lag_entries: member.lag_entries,
            silent_ms: member.silent_ms,
            machine: member.machine.map(MachineVersion::get),
            release: member.product.clone(),
        }
    }
}

/// How this node and its cluster are.
#[utoipa::path(
    get, path = "/api/v1/status", tag = "cluster",
    responses(
        (status = 200, description = "The status, also of a node that is not ready", body = super::answer::Ok<StatusAnswer>),
        ReadRefusals))]
pub(crate) async fn status(app: App, _: NoQuery) -> ApiResult {
    let answer = status_answer(&app)?;
    let revision = Revision::new(answer.revision);
    ok(answer, revision)
}

fn status_answer(app: &App) -> ApiResult<StatusAnswer> {
    let (status, seen) = app.concord.service().status(app.concord.caller())?;
    let reason = match app.concord.readiness() {
        Readiness::Ready => None,
        Readiness::NotReady { reason } => Some(reason),
    };
    let view = seen.view();
    let statistics = view.statistics();
    Ok(StatusAnswer {
        version: env!("CARGO_PKG_VERSION"),
        node_id: status.node_id.get(),
        cluster_id: status.cluster_id.map(|id| format!("{id:032x}")),
        role: status.role.name(),
        term: status.term.get(),
        leader: status.leader.map(NodeId::get),
        ready: reason.is_none(),
        reason,
        revision: view.revision().get(),
        compact_revision: view.compact_revision().get(),
        now: view.now().get(),
        log: LogBody {
            last: status.last_index.get(),
            commit: status.commit_index.get(),
            applied: status.applied_index.get(),
            snapshot: status.snapshot_index.get(),
            purged: status.purged_index.get(),
        },
        storage: StorageBody {
            keys: statistics.usage.keys,
            bytes: statistics.usage.bytes,
            raw_bytes: statistics.raw_bytes(),
            compressed_values: statistics.packed.values,
            compressed_bytes: statistics.packed.stored_bytes,
            compressed_raw_bytes: statistics.packed.raw_bytes,
            history_entries: statistics.history_entries,
            history_bytes: statistics.history_bytes,
        },
        machine: MachineBody {
            version: status.machine.version.get(),
            release: status.machine.release.to_string(),
            known: status.machine_known.get(),
            held_back_by: status.held_back_by.iter().map(|node| node.get()).collect(),
        },
        changing_members: status.changing_members,
        members: status
            .members
            .iter()
            .map(|member| MemberBody::new(member, status.leader))
            .collect(),
        warnings: status.warnings,
    })
}

/// The members of the cluster.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct MembersAnswer {
    /// By id.
    members: Vec<MemberBody>,
}

/// The members, as this node knows them.
#[utoipa::path(
    get, path = "/api/v1/cluster/members", tag = "cluster",
    responses(
        (status = 200, description = "The members", body = super::answer::Ok<MembersAnswer>),
        ReadRefusals))]
pub(crate) async fn members(app: App, _: NoQuery) -> ApiResult {
    let status = app.concord.status()?;
    let members = status
        .members
        .iter()
        .map(|member| MemberBody::new(member, status.leader))
        .collect();
    ok(MembersAnswer { members }, app.concord.revision())
}

/// A node to be added.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AddBody {
    /// `host:port` of its peer listener. It must run and belong to no cluster.
    address: String,
}

/// A member.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct MemberAnswer {
    /// Its id.
    node_id: u64,
}

/// Adds a node as a learner: it receives the log but does not vote.
#[utoipa::path(
    post, path = "/api/v1/cluster/members", tag = "cluster",
    request_body = AddBody,
    responses(
        (status = 200, description = "It is a member", body = super::answer::Ok<MemberAnswer>),
        WriteRefusals))]
pub(crate) async fn add(app: App, _: NoQuery, Json(body): Json<AddBody>) -> ApiResult {
    let node_id = app.concord.add_learner(body.address).await?.get();
    ok(MemberAnswer { node_id }, app.concord.revision())
}

/// Lets a learner vote, once it has caught up.
#[utoipa::path(
    post, path = "/api/v1/cluster/members/{id}/promote", tag = "cluster",
    params(("id" = u64, Path, description = "The member's node id")),
    responses(
        (status = 200, description = "It votes", body = super::answer::Ok<MemberAnswer>),
        WriteRefusals))]
pub(crate) async fn promote(app: App, PathMember(node_id): PathMember, _: NoQuery) -> ApiResult {
    app.concord.promote(node_id).await?;
    ok(MemberAnswer { node_id }, app.concord.revision())
}

/// Removes a member, alive or dead. Its id is never used again.
#[utoipa::path(
    delete, path = "/api/v1/cluster/members/{id}", tag = "cluster",
    params(("id" = u64, Path, description = "The member's node id")),
    responses(
        (status = 200, description = "It is no member", body = super::answer::Ok<MemberAnswer>),
        WriteRefusals))]
pub(crate) async fn remove(app: App, PathMember(node_id): PathMember, _: NoQuery) -> ApiResult {
    app.concord.remove_member(node_id).await?;
    ok(MemberAnswer { node_id }, app.concord.revision())
}

/// Who takes a seat.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReplaceBody {
    /// The learner that votes from now on.
    with: u64,
}

/// Removes a member and lets a learner vote in its place, in one change.
#[utoipa::path(
    post, path = "/api/v1/cluster/members/{id}/replace", tag = "cluster",
    params(("id" = u64, Path, description = "The node id of the member that goes")),
    request_body = ReplaceBody,
    responses(
        (status = 200, description = "The learner votes", body = super::answer::Ok<MemberAnswer>),
        WriteRefusals))]
pub(crate) async fn replace(
    app: App,
    PathMember(leaving): PathMember,
    _: NoQuery,
    Json(body): Json<ReplaceBody>,
) -> ApiResult {
    app.concord.replace_member(leaving, body.with).await?;
    ok(MemberAnswer { node_id: body.with }, app.concord.revision())
}

/// Who shall lead.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TransferBody {
    /// A voter; missing or null: the one that has caught up most.
    #[serde(default)]
    to: Option<u64>,
}

/// Who leads.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TransferAnswer {
    /// The leader's id; null: none is known yet.
    leader: Option<u64>,
}

/// Moves leadership to another voter.
#[utoipa::path(
    post, path = "/api/v1/cluster/transfer", tag = "cluster",
    request_body(content = TransferBody, description = "May be empty"),
    responses(
        (status = 200, description = "Another node leads", body = super::answer::Ok<TransferAnswer>),
        WriteRefusals))]
pub(crate) async fn transfer(app: App, _: NoQuery, MaybeJson(body): MaybeJson<TransferBody>) -> ApiResult {
    app.concord.transfer_leadership(body.to).await?;
    let leader = app.concord.status()?.leader.map(NodeId::get);
    ok(TransferAnswer { leader }, app.concord.revision())
}

/// A snapshot.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SnapshotAnswer {
    /// The last log entry in it.
    log_index: u64,
}

/// Writes a snapshot of this node's state now.
#[utoipa::path(
    post, path = "/api/v1/cluster/snapshot", tag = "cluster",
    responses(
        (status = 200, description = "It is on disk", body = super::answer::Ok<SnapshotAnswer>),
        WriteRefusals))]
pub(crate) async fn snapshot(app: App, _: NoQuery) -> ApiResult {
    let log_index = app.concord.snapshot().await?.get();
    ok(SnapshotAnswer { log_index }, app.concord.revision())
}

/// How much history to forget.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CompactBody {
    /// The oldest revision that shall stay readable; missing or null: the current one.
    #[serde(default)]
    revision: Option<u64>,
}

/// The history that is kept.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CompactAnswer {
    /// The oldest revision that is readable now.
    compact_revision: u64,
}

/// Forgets history.
#[utoipa::path(
    post, path = "/api/v1/cluster/compact", tag = "cluster",
    request_body(content = CompactBody, description = "May be empty"),
    responses(
        (status = 200, description = "Older history is gone", body = super::answer::Ok<CompactAnswer>),
        WriteRefusals))]
pub(crate) async fn compact(app: App, _: NoQuery, MaybeJson(body): MaybeJson<CompactBody>) -> ApiResult {
    let revision = body
        .revision
        .map_or_else(|| app.concord.revision(), Revision::new);
    let compact_revision = app.concord.compact(revision).await?.get();
    ok(CompactAnswer { compact_revision }, app.concord.revision())
}
