//! Backups that are restored into the cluster that runs.

use std::time::Duration;

use axum::body::Body;
use futures::TryStreamExt as _;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::answer::ok;
use super::app::App;
use super::backup::{BackupBody, PathBackup};
use super::body::{Declared, MaybeJson, MediaType};
use super::docs::{ReadRefusals, WriteRefusals};
use super::error::{ApiError, ApiResult};
use super::query::{NoQuery, Query};
use crate::concord::{RestoreOptions, RestoredBackup};
use crate::error::ErrorKind;

/// Whoever sends a backup and pauses for longer has gone.
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// Bytes that are written at once.
const PIECE_BYTES: usize = 256 << 10;

/// How to restore.
#[derive(Clone, Copy, Debug, Default, Deserialize, IntoParams, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(crate) struct RestoreParams {
    /// Tokens, roles, tenants and their quotas stay as they are now.
    keep_policy: bool,
    /// Take a backup of another cluster.
    other_cluster: bool,
}

impl From<RestoreParams> for RestoreOptions {
    fn from(params: RestoreParams) -> Self {
        Self {
            keep_policy: params.keep_policy,
            other_cluster: params.other_cluster,
        }
    }
}

/// A backup that the cluster shows now.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RestoredAnswer {
    /// The revision at which that happened: greater than any before, and everything before it is compacted.
    revision: u64,
    /// The backup.
    backup: BackupBody,
}

/// A restore that is under way.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RestoreBody {
    /// How many pieces have come, of at most a mebibyte each.
    pieces: u64,
    /// Whether those were all.
    is_complete: bool,
    /// Keys so far.
    keys: u64,
}

/// What is being restored.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ProgressAnswer {
    /// Null if nothing is.
    restore: Option<RestoreBody>,
}

/// Restores a backup that is sent: the cluster shows what is in it instead of what there is, at one revision, or
/// nothing changes.
#[utoipa::path(
    post, path = "/api/v1/backups/restore", tag = "backups",
    params(RestoreParams),
    request_body(content = Vec<u8>, content_type = "application/octet-stream", description = "The backup, of any size"),
    responses(
        (status = 200, description = "It is restored", body = super::answer::Ok<RestoredAnswer>),
        WriteRefusals))]
pub(crate) async fn receive(
    app: App,
    Query(params, ..): Query<RestoreParams>,
    declared: Declared,
    body: Body,
) -> ApiResult {
    let backups = app.concord.backups();
    // Whoever may not do it learns no more than that.
    let mut arriving = backups.receive().await?;
    if declared.media_type()? != MediaType::Binary {
        return Err(ApiError::invalid_request(
            "a backup is sent as application/octet-stream",
        ));
    }
    let mut stream = body.into_data_stream();
    let mut kept = bytes::BytesMut::new();
    loop {
        let next = tokio::time::timeout(SILENCE_MAX, stream.try_next()).await;
        let next = next.map_err(|_| ApiError::new(ErrorKind::Timeout, "the backup stopped coming"))?;
        let piece =
            next.map_err(|_| ApiError::invalid_request("request body ended early or is malformed"))?;
        kept.extend_from_slice(piece.as_deref().unwrap_or_default());
        if piece.is_none() || kept.len() >= PIECE_BYTES {
            arriving.take(kept.split().freeze()).await?;
        }
        if piece.is_none() {
            break;
        }
    }
    answer(arriving.restore(params.into()).await?)
}

/// Restores a backup of the directory of this node.
#[utoipa::path(
    post, path = "/api/v1/backups/{name}/restore", tag = "backups",
    params(("name" = String, Path, description = "The backup's name")),
    request_body(content = RestoreParams, description = "May be empty"),
    responses(
        (status = 200, description = "It is restored", body = super::answer::Ok<RestoredAnswer>),
        WriteRefusals))]
pub(crate) async fn restore(
    app: App,
    PathBackup(name): PathBackup,
    _: NoQuery,
    MaybeJson(params): MaybeJson<RestoreParams>,
) -> ApiResult {
    answer(app.concord.backups().restore(&name, params.into()).await?)
}

/// How far the restore is that is under way in the cluster.
#[utoipa::path(
    get, path = "/api/v1/backups/restore", tag = "backups",
    responses(
        (status = 200, description = "What is being restored", body = super::answer::Ok<ProgressAnswer>),
        ReadRefusals))]
pub(crate) async fn progress(app: App, _: NoQuery) -> ApiResult {
    let progress = app.concord.backups().restore_progress().await?;
    let restore = progress.map(|progress| RestoreBody {
        pieces: progress.pieces,
        is_complete: progress.is_complete,
        keys: progress.keys,
    });
    ok(ProgressAnswer { restore }, app.concord.revision())
}

fn answer(restored: RestoredBackup) -> ApiResult {
    let revision = restored.revision;
    let answer = RestoredAnswer {
        revision: revision.get(),
        backup: restored.backup.into(),
    };
    ok(answer, revision)
}
