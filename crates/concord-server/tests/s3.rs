//! Backups in a bucket: against a small server of our own that speaks S3, checks signatures, and fails when told to.
//!
//! Needs the feature `s3`, which `cargo xtask ci` builds in a gate of its own.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

#[path = "s3/commands.rs"]
mod commands;
#[path = "s3/faults.rs"]
mod faults;
#[path = "process/mod.rs"]
#[expect(dead_code, reason = "these tests start few nodes")]
mod process;
#[path = "s3/server.rs"]
mod server;
#[path = "s3/signature.rs"]
mod signature;
#[path = "s3/whole.rs"]
mod whole;

use std::path::Path;

use concord_server::{Concord, Config, S3Config, S3Credentials, Secret};

use server::{KEY_ID, REGION, SECRET_KEY, Server};

/// A bucket of that server, and a place in it.
const URL: &str = "s3://backups/of/us";

/// The right keys.
fn keys() -> S3Credentials {
    S3Credentials::Keys {
        id: KEY_ID.to_owned(),
        secret: Secret::new(SECRET_KEY),
        session_token: None,
    }
}

fn bucket(server: &Server, url: &str, credentials: S3Credentials) -> S3Config {
    let mut bucket = S3Config::new(url, credentials).unwrap();
    bucket.endpoint = Some(server.endpoint());
    bucket.region = REGION.to_owned();
    bucket.path_style = true;
    bucket.allow_http = true;
    bucket
}

fn config(dir: &Path, bucket: S3Config) -> Config {
    let mut config = Config::at(dir);
    config.log.segment_bytes = 1 << 20;
    config.backup.s3 = Some(bucket);
    config
}

/// A node whose backups go to that server.
async fn open(dir: &Path, server: &Server) -> Concord {
    let config = config(dir, bucket(server, URL, keys()));
    Concord::open(config).await.unwrap()
}
