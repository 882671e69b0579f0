//! What backups left in a bucket that were interrupted with the node itself: parts that nobody will ever complete.
//! They are in no list of objects, and cost as much as if they were.

use std::time::Duration;

use concord_core::ids::NodeId;
use concord_raft::backup::BackupName;
use object_store::multipart::MultipartStore as _;
use object_store::path::Path as Key;
use object_store::signer::{Method, SignedUrlOptions, Signer as _};

use super::Shared;
use crate::limits;

/// How long the question is good for.
const GOOD_FOR: Duration = Duration::from_secs(300);

/// Removes what this node left. A server that does not let it, or does not know of it, does not stop the backup.
pub(super) fn remove(bucket: &Shared, node_id: NodeId) {
    let location = bucket.location.display();
    let found = match bucket.wait(find(bucket, node_id)) {
        Ok(found) => found,
        Err(reason) => {
            tracing::warn!(reason, %location, "cannot look for what interrupted backups left");
            return;
        }
    };
    for (name, id) in found {
        let removed = bucket.wait(bucket.store.abort_multipart(&bucket.key(&name), &id));
        match removed {
            Ok(()) => tracing::info!(%name, %location, "removed what an interrupted backup left"),
            Err(_) => tracing::warn!(%name, %location, "cannot remove what an interrupted backup left"),
        }
    }
}

/// The uploads of this node. One at a time is made by a node, so none of them goes on.
async fn find(bucket: &Shared, node_id: NodeId) -> Result<Vec<(BackupName, String)>, String> {
    let prefix = match bucket.prefix.as_str() {
        "" => String::new(),
        prefix => format!("{prefix}/"),
    };
    let question = SignedUrlOptions::default().with_query([("prefix", prefix.as_str()), ("uploads", "")]);
    let (store, bucket_itself) = (&bucket.store, Key::default());
    let url = store.signed_url_opts(Method::GET, &bucket_itself, GOOD_FOR, &question);
    let url = url.await.map_err(|_| "it cannot be signed".to_owned())?;
    // The address has the signature in it, and is not to be shown.
    let shown = |error: reqwest::Error| error.without_url().to_string();
    let mut answer = bucket.http.get(url).send().await.map_err(shown)?;
    if !answer.status().is_success() {
        return Err(format!("the server answered {}", answer.status()));
    }
    let mut text = Vec::new();
    while let Some(piece) = answer.chunk().await.map_err(shown)? {
        text.extend_from_slice(&piece);
        if text.len() > limits::S3_LEFTOVERS_BYTES_MAX {
            return Err("the answer is too long".to_owned());
        }
    }
    let ours = format!("-n{node_id}.backup");
    let found = uploads(&String::from_utf8_lossy(&text), &prefix);
    let found = found
        .into_iter()
        .filter(|(name, _)| name.as_str().ends_with(&ours));
    Ok(found.take(limits::S3_LEFTOVERS_MAX).collect())
}

/// Names and ids, of those that can be backups directly behind the prefix.
fn uploads(answer: &str, prefix: &str) -> Vec<(BackupName, String)> {
    let uploads = answer.split("<Upload>").skip(1).filter_map(|upload| {
        let name = element(upload, "Key")?.strip_prefix(prefix)?;
        let id = element(upload, "UploadId")?;
        Some((BackupName::parse(name).ok()?, id.replace("&amp;", "&")))
    });
    uploads.collect()
}

fn element<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let (_, behind) = text.split_once(&format!("<{name}>"))?;
    Some(behind.split_once(&format!("</{name}>"))?.0)
}
