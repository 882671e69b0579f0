//! `concord backup restore`: the running cluster shows what a backup holds.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use concord_raft::StorageError;
use concord_raft::backup::{BackupBytes, BackupFile};
use futures::stream;
use serde_json::{Value, json};

use super::super::Session;
use super::super::args::RestoreArgs;
use super::super::error::CliError;
use super::super::output::plain;
use super::super::progress::Progress;
use super::{BACKUPS, place, storage};
use crate::client::{Answer, Client, ClientError, Request, encode};
use crate::limits::REQUEST_TIMEOUT_MAX;

const PIECE_BYTES: usize = 256 << 10;
/// Between two looks at how far it is.
const PAUSE: Duration = Duration::from_millis(200);

pub(super) async fn restore(session: &mut Session, args: &RestoreArgs) -> Result<(), CliError> {
    // It takes as long as there is data.
    let client = session
        .client
        .with_timeout(session.timeout.max(REQUEST_TIMEOUT_MAX));
    let answer = if args.on_node {
        let name = encode(&args.file.to_string_lossy());
        let body = json!({ "keep_policy": args.keep_policy, "other_cluster": args.other_cluster });
        let request = Request::post(format!("{BACKUPS}/{name}/restore")).json(&body);
        watched(&client, client.send(&request), None).await?
    } else {
        send(&client, args).await?
    };
    let answer: Value = answer.data()?;
    if session.out.is_json() {
        return session.out.json(&answer);
    }
    session.out.line(format!(
        "restored: the cluster shows the backup of revision {} at revision {}",
        plain(answer.pointer("/backup/revision")),
        plain(answer.get("revision"))
    ))
}

async fn send(client: &Client, args: &RestoreArgs) -> Result<Answer, CliError> {
    let (path, config) = (args.file.clone(), args.config.clone());
    let checking = tokio::task::spawn_blocking(move || {
        let file = checked(&path, config.as_deref())?;
        let bytes = file.bytes().map_err(storage)?;
        Ok::<_, CliError>((file.file_bytes(), bytes))
    });
    let (file_bytes, bytes) = checking
        .await
        .map_err(|e| CliError::io("cannot read the backup", e.into()))??;
    let flag = |is_set: bool| is_set.then_some("true");
    let request = Request::post(format!("{BACKUPS}/restore"))
        .query("keep_policy", flag(args.keep_policy))
        .query("other_cluster", flag(args.other_cluster));
    let sent = Arc::new(AtomicU64::new(0));
    let body = || {
        sent.store(0, Ordering::Relaxed);
        let start = (bytes.clone(), 0_u64, Arc::clone(&sent));
        reqwest::Body::wrap_stream(stream::try_unfold(start, |(bytes, offset, sent)| async move {
            let piece = piece(bytes.clone(), offset).await?;
            let end = offset.saturating_add(piece.len() as u64);
            sent.store(end, Ordering::Relaxed);
            Ok::<_, StorageError>((!piece.is_empty()).then_some((piece, (bytes, end, sent))))
        }))
    };
    let upload = client.upload(&request, body, client.timeout());
    Ok(watched(client, upload, Some((&sent, file_bytes))).await?)
}

/// A backup that is not whole is not even sent.
fn checked(path: &Path, config: Option<&Path>) -> Result<BackupFile, CliError> {
    let file = place::open(path, config)?;
    let mut progress = Progress::new("checking", Some(file.file_bytes()));
    let verified = file.verify(|done| progress.show(done));
    progress.end();
    verified.map_err(storage)?;
    Ok(file)
}

async fn piece(bytes: BackupBytes, offset: u64) -> Result<Bytes, StorageError> {
    let read = tokio::task::spawn_blocking(move || bytes.read_at(offset, PIECE_BYTES)).await;
    read.unwrap_or(Err(StorageError::Closed))
}

/// Waits for the answer, and shows how far it is meanwhile, if a person looks.
async fn watched(
    client: &Client,
    answer: impl Future<Output = Result<Answer, ClientError>>,
    sending: Option<(&AtomicU64, u64)>,
) -> Result<Answer, ClientError> {
    let mut answer = std::pin::pin!(answer);
    let total = sending.map(|(_, total)| total);
    let (mut sent, mut restored) = (Progress::new("sending", total), Progress::new("restoring", None));
    let outcome = loop {
        tokio::select! {
            biased; // an answer ends it
            outcome = &mut answer => break outcome,
            () = tokio::time::sleep(PAUSE), if restored.is_watched() => {}
        }
        match sending {
            Some((done, total)) if done.load(Ordering::Relaxed) < total => {
                sent.show(done.load(Ordering::Relaxed))
            }
            _ => {
                let request = Request::get(format!("{BACKUPS}/restore"));
                tokio::select! {
                    biased;
                    outcome = &mut answer => break outcome,
                    // Who cannot say how far it is may still do it.
                    status = client.send(&request) => restored.show(pieces(status) << 20),
                }
            }
        }
    };
    sent.end();
    restored.end();
    outcome
}

fn pieces(status: Result<Answer, ClientError>) -> u64 {
    let status = status.and_then(|answer| answer.data::<Value>());
    let pieces = status
        .ok()
        .and_then(|status| status.pointer("/restore/pieces")?.as_u64());
    pieces.unwrap_or_default()
}
