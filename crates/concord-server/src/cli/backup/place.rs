//! Where a backup is that a command reads by itself: in a file, or in a bucket.

use std::path::Path;

use concord_raft::backup::{BackupFile, BackupName};

use super::super::config::environment;
use super::super::error::CliError;
use super::storage;
use crate::{Loader, Overrides, S3Config};

/// Opens a file, or what `s3://BUCKET/PREFIX/NAME` names. How the bucket is reached say the settings of a node:
/// those of the file `config`, and of the environment.
pub(super) fn open(place: &Path, config: Option<&Path>) -> Result<BackupFile, CliError> {
    let Some(url) = place.to_str().filter(|text| S3Config::is_url(text)) else {
        return super::open(place);
    };
    let (bucket, name) = url.rsplit_once('/').unwrap_or((url, ""));
    let name = BackupName::parse(name).map_err(|invalid| CliError::Usage(format!("{url}: {invalid}")))?;
    let mut flags = Overrides::new();
    flags.set("FILE", "backup.s3.url", Some(bucket));
    let mut loader = Loader::new().environment(environment()).overrides(flags);
    if let Some(path) = config {
        loader = loader.file(path);
    }
    let loaded = loader.load()?;
    let Some(s3) = &loaded.config.backup.s3 else {
        return Err(CliError::Usage(format!("{url} is no bucket")));
    };
    let backups = s3.backups()?;
    backups.open(&name).map_err(storage)
}

/// Refuses a bucket where only a file can be written.
pub(super) fn check_file(to: &Path) -> Result<(), CliError> {
    match to.to_str() {
        Some(text) if S3Config::is_url(text) => Err(CliError::Usage(
            "a backup is written into a bucket by the node whose setting backup.s3.url names it: leave --to away".to_owned(),
        )),
        _ => Ok(()),
    }
}
