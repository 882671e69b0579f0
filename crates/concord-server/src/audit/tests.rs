//! The log as a whole: what is written, what survives, what is found.

mod damage;
mod lines;
mod pressure;
mod reads;

use std::path::Path;
use std::sync::Arc;

use concord_auth::Principal;
use concord_core::ids::{NodeId, Revision};
use concord_core::{Command, Key};

use super::disk::OsDisk;
use super::verify::{AuditHead, AuditReport};
use super::{Recorder, files, read};
use crate::config::{AuditConfig, Secret};
use crate::error::Error;

fn open(dir: &Path, config: &AuditConfig) -> Recorder {
    Recorder::start(config, dir.to_owned(), NodeId::new(7), Box::new(OsDisk)).unwrap()
}

fn small() -> AuditConfig {
    let mut config = AuditConfig::new();
    // Below what can be set, so that a few lines fill a file.
    config.rotate_bytes = 1_500;
    config
}

fn keyed(mut config: AuditConfig) -> AuditConfig {
    config.secret = Some(Secret::new("a secret of the auditors"));
    config
}

fn delete(key: impl AsRef<[u8]>) -> Command {
    Command::Delete {
        key: Key::copy_of(key.as_ref()).unwrap(),
        condition: None,
        return_previous: false,
    }
}

fn somebody() -> Option<Arc<Principal>> {
    Some(Arc::new(Principal::embedder()))
}

/// Records the delete of a key that succeeded.
async fn record(recorder: &Recorder, key: impl AsRef<[u8]>) -> Result<(), Error> {
    let line = recorder.begin(somebody, &delete(key))?;
    line.finish(Ok(()), |()| Some(Revision::new(3))).await
}

async fn record_many(recorder: &Recorder, count: usize) {
    for number in 0..count {
        record(recorder, format!("key:{number:03}")).await.unwrap();
        // One write each, so that files end where they should.
        recorder.flush().await;
    }
}

/// A closed log of so many requests, over several files.
async fn written(dir: &Path, config: &AuditConfig, count: usize) {
    let recorder = open(dir, config);
    record_many(&recorder, count).await;
    recorder.close().await;
}

fn keys_of(config: &AuditConfig) -> Vec<super::chain::Keys> {
    let secret = config.secret.as_ref();
    secret
        .map(|secret| super::chain::Keys::derive(secret.expose().as_bytes()))
        .into_iter()
        .collect()
}

fn verify(dir: &Path, config: &AuditConfig) -> AuditReport {
    verify_noted(dir, config, Vec::new())
}

fn verify_noted(dir: &Path, config: &AuditConfig, noted: Vec<AuditHead>) -> AuditReport {
    read::verify(dir, keys_of(config), noted, false).unwrap()
}

/// All lines of all files.
fn lines(dir: &Path) -> Vec<String> {
    let files = files::list(dir).unwrap();
    let texts = files.values().map(|path| std::fs::read_to_string(path).unwrap());
    texts
        .flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>())
        .collect()
}

fn parsed(dir: &Path) -> Vec<serde_json::Value> {
    let parse = |line: String| serde_json::from_str(&line).unwrap();
    lines(dir).into_iter().map(parse).collect()
}

fn of_kind(dir: &Path, kind: &str) -> Vec<serde_json::Value> {
    parsed(dir)
        .into_iter()
        .filter(|line| line["kind"] == kind)
        .collect()
}
