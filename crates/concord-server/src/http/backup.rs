//! Backups: consistent cuts, made, listed, checked, fetched and removed.

use std::collections::BTreeMap;

use axum::body::Body;
use axum::extract::FromRequestParts;
use axum::http::HeaderValue;
use axum::http::header::CONTENT_DISPOSITION;
use axum::http::request::Parts;
use axum::response::Response;
use bytes::Bytes;
use concord_raft::backup::BackupBytes;
use futures::stream;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::answer::{ok, with_body};
use super::app::{App, Consistency};
use super::body::{Json, MaybeJson};
use super::docs::{ReadRefusals, WriteRefusals};
use super::error::{ApiError, ApiResult};
use super::query::{NoQuery, Query};
use crate::concord::{BackupInfo, KeepBackups, ListedBackup, blocking};
use crate::error::Error;

/// Where backups begin in a path.
const BACKUPS: &str = "/api/v1/backups/";
/// Bytes of a backup in one piece of an answer.
const PIECE_BYTES: usize = 256 << 10;

/// The name of a backup in a path. That it is a plain file name is checked where it is used.
#[derive(Debug)]
pub(crate) struct PathBackup(pub(super) String);

impl<S: Sync> FromRequestParts<S> for PathBackup {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> ApiResult<Self> {
        let rest = parts.uri.path().strip_prefix(BACKUPS).unwrap_or_default();
        Ok(Self(rest.split('/').next().unwrap_or_default().to_owned()))
    }
}

/// How fresh a cut is.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateBody {
    /// `leader` (default) and `strong`: every write acknowledged before is in it. `eventual`: what this node
    /// has, also without a quorum.
    #[serde(default)]
    consistency: Option<Consistency>,
}

/// How fresh a cut is.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(crate) struct StreamParams {
    /// As for `POST /api/v1/backups`.
    #[param(inline)]
    consistency: Option<Consistency>,
}

/// A backup.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BackupBody {
    /// Its name.
    name: String,
    /// The size of the file.
    file_bytes: u64,
    /// The cluster whose state it is, 32 hexadecimal digits.
    cluster_id: String,
    /// The node that made it.
    node_id: u64,
    /// The revision that it shows.
    revision: u64,
    /// The last log entry in it.
    log_index: u64,
    /// A term in which what is in it was decided.
    term: u64,
    /// When it was made: milliseconds since the Unix epoch, by the clock of that node.
    created_at: u64,
    /// The release that made it.
    product: String,
    /// How many there are of what is in it.
    counts: BTreeMap<String, u64>,
}

impl From<BackupInfo> for BackupBody {
    fn from(backup: BackupInfo) -> Self {
        Self {
            name: backup.name,
            file_bytes: backup.file_bytes,
            cluster_id: format!("{:032x}", backup.cluster_id),
            node_id: backup.node_id.get(),
            revision: backup.revision.get(),
            log_index: backup.applied.get(),
            term: backup.term.get(),
            created_at: backup.created_at.get(),
            product: backup.product,
            counts: backup.counts,
        }
    }
}

/// A file that has the name of a backup.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ListedBody {
    /// Its name.
    name: String,
    /// What its header says; null if that cannot be read.
    backup: Option<BackupBody>,
    /// Why it cannot be read; null if it can.
    damage: Option<String>,
}

impl From<ListedBackup> for ListedBody {
    fn from(listed: ListedBackup) -> Self {
        let (backup, damage) = match listed.backup {
            Ok(backup) => (Some(backup.into()), None),
            Err(damage) => (None, Some(damage)),
        };
        Self {
            name: listed.name,
            backup,
            damage,
        }
    }
}

/// Backups of a node.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BackupsAnswer {
    /// Oldest first.
    backups: Vec<ListedBody>,
}

/// A backup of which every byte was checked.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct VerifiedAnswer {
    /// The backup.
    backup: BackupBody,
    /// The SHA-256 that it ends with, in hexadecimal.
    sha256: String,
    /// The bytes in it before compression.
    raw_bytes: u64,
}

/// What to keep. With both bounds a backup must satisfy both to stay; at least one is needed.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CleanUpBody {
    /// Only so many of the newest stay.
    #[serde(default)]
    keep_count: Option<usize>,
    /// Only those made in so many last days stay.
    #[serde(default)]
    keep_days: Option<u64>,
    /// Only say what would go.
    #[serde(default)]
    dry_run: bool,
}

/// What a clean-up did, or would do. The newest whole backup always stays.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CleanUpAnswer {
    /// What went.
    removed: Vec<String>,
    /// What stays.
    kept: Vec<String>,
    /// Files that are no whole backups. They count for nothing and stay.
    damaged: Vec<String>,
}

/// A backup that is no more.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RemovedAnswer {
    /// Its name.
    name: String,
}

/// Makes a backup in the directory of this node: one consistent cut of everything that is replicated.
#[utoipa::path(
    post, path = "/api/v1/backups", tag = "backups",
    request_body(content = CreateBody, description = "May be empty"),
    responses(
        (status = 200, description = "It is on disk", body = super::answer::Ok<BackupBody>),
        WriteRefusals))]
pub(crate) async fn create(app: App, _: NoQuery, MaybeJson(body): MaybeJson<CreateBody>) -> ApiResult {
    let consistency = body.consistency.unwrap_or(Consistency::Leader);
    let backups = app.concord.backups().consistency(consistency.into());
    let made = backups.create().await?;
    let revision = made.revision;
    ok(BackupBody::from(made), revision)
}

/// The backups in the directory of this node.
#[utoipa::path(
    get, path = "/api/v1/backups", tag = "backups",
    responses(
        (status = 200, description = "The backups", body = super::answer::Ok<BackupsAnswer>),
        ReadRefusals))]
pub(crate) async fn list(app: App, _: NoQuery) -> ApiResult {
    let backups = app.concord.backups().list().await?;
    let backups = backups.into_iter().map(ListedBody::from).collect();
    ok(BackupsAnswer { backups }, app.concord.revision())
}

/// Makes a backup and answers with it, without a file on the node. Whether all of it came, the file itself
/// tells: verify it.
#[utoipa::path(
    get, path = "/api/v1/backups/now", tag = "backups",
    params(StreamParams),
    responses(
        (status = 200, description = "The backup", content_type = "application/octet-stream"),
        ReadRefusals))]
pub(crate) async fn now(app: App, Query(params, ..): Query<StreamParams>) -> ApiResult {
    let consistency = params.consistency.unwrap_or(Consistency::Leader);
    let backups = app.concord.backups().consistency(consistency.into());
    let made = backups.stream().await?;
    let (name, revision) = (made.name.clone(), made.revision);
    let pieces = stream::unfold(made, |mut made| async move {
        let piece = made.next().await?;
        Some((piece, made))
    });
    let answer = with_body(Body::from_stream(pieces), octets(), revision);
    Ok(named(answer, &name))
}

/// A backup's bytes.
#[utoipa::path(
    get, path = "/api/v1/backups/{name}", tag = "backups",
    params(("name" = String, Path, description = "The backup's name")),
    responses(
        (status = 200, description = "The backup", content_type = "application/octet-stream"),
        ReadRefusals))]
pub(crate) async fn fetch(app: App, PathBackup(name): PathBackup, _: NoQuery) -> ApiResult {
    let file = app.concord.backups().open(&name).await?;
    let revision = file.header().revision;
    let bytes = blocking(move || file.bytes()).await?.map_err(Error::from)?;
    let pieces = stream::unfold((bytes, 0_u64), |(bytes, offset)| async move {
        let piece = piece(bytes.clone(), offset).await.transpose()?;
        let end = piece
            .as_ref()
            .map_or(u64::MAX, |piece| offset.saturating_add(piece.len() as u64));
        Some((piece, (bytes, end)))
    });
    let answer = with_body(Body::from_stream(pieces), octets(), revision);
    Ok(named(answer, &name))
}

async fn piece(bytes: BackupBytes, offset: u64) -> Result<Option<Bytes>, Error> {
    let piece = blocking(move || bytes.read_at(offset, PIECE_BYTES)).await??;
    Ok((!piece.is_empty()).then_some(piece))
}

/// Reads all of a backup and checks every byte.
#[utoipa::path(
    post, path = "/api/v1/backups/{name}/verify", tag = "backups",
    params(("name" = String, Path, description = "The backup's name")),
    responses(
        (status = 200, description = "It is whole", body = super::answer::Ok<VerifiedAnswer>),
        ReadRefusals))]
pub(crate) async fn verify(app: App, PathBackup(name): PathBackup, _: NoQuery) -> ApiResult {
    let verified = app.concord.backups().verify(&name).await?;
    let answer = VerifiedAnswer {
        sha256: verified.sha256.iter().map(|byte| format!("{byte:02x}")).collect(),
        raw_bytes: verified.raw_bytes,
        backup: verified.backup.into(),
    };
    ok(answer, app.concord.revision())
}

/// Removes a backup.
#[utoipa::path(
    delete, path = "/api/v1/backups/{name}", tag = "backups",
    params(("name" = String, Path, description = "The backup's name")),
    responses(
        (status = 200, description = "It is gone", body = super::answer::Ok<RemovedAnswer>),
        WriteRefusals))]
pub(crate) async fn remove(app: App, PathBackup(name): PathBackup, _: NoQuery) -> ApiResult {
    app.concord.backups().remove(&name).await?;
    ok(RemovedAnswer { name }, app.concord.revision())
}

/// Removes old backups.
#[utoipa::path(
    post, path = "/api/v1/backups/cleanup", tag = "backups",
    request_body = CleanUpBody,
    responses(
        (status = 200, description = "What went and what stays", body = super::answer::Ok<CleanUpAnswer>),
        WriteRefusals))]
pub(crate) async fn clean_up(app: App, _: NoQuery, Json(body): Json<CleanUpBody>) -> ApiResult {
    let keep = KeepBackups {
        count: body.keep_count,
        days: body.keep_days,
    };
    let cleaned = app.concord.backups().clean_up(keep, body.dry_run).await?;
    let answer = CleanUpAnswer {
        removed: cleaned.removed,
        kept: cleaned.kept,
        damaged: cleaned.damaged,
    };
    ok(answer, app.concord.revision())
}

const fn octets() -> HeaderValue {
    HeaderValue::from_static("application/octet-stream")
}

fn named(mut answer: Response, name: &str) -> Response {
    // A backup's name has plain characters only.
    if let Ok(disposition) = HeaderValue::try_from(format!("attachment; filename=\"{name}\"")) {
        answer.headers_mut().insert(CONTENT_DISPOSITION, disposition);
    }
    answer
}
