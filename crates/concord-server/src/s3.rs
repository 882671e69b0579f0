//! Backups in a bucket that speaks S3.
//!
//! ```text
//!   draft ── parts of 16 MiB, one sent while the next is made ──> complete: now it has its name
//!                    └ dropped, or the node was killed: aborted, then or before the node's next backup
//!   source ── ranges, each twice as long as the one before, up to 4 MiB ──> whoever reads
//! ```
//!
//! Not here: what is in a backup and which of them stay, which is `concord_raft::backup`; what may be set, which is
//! [`S3Config`].
//!
//! Calls block, on a runtime of this module's own: backups are written and read where waiting is allowed, in a node
//! that stops too, and by commands that have no runtime. Requests and retries are bounded (`limits::S3_*`). Errors name
//! bucket and key and say what to do; they hold nothing of what the server answered but the name of its error.

mod draft;
mod error;
mod leftovers;
mod object;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use concord_core::ids::NodeId;
use concord_net::tls::{Trust, client_config};
use concord_raft::StorageError;
use concord_raft::backup::{BackupDraft, BackupName, BackupSource, BackupTarget};
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::client::{HttpClient, HttpConnector};
use object_store::path::Path as Key;
use object_store::{BackoffConfig, ClientOptions, ObjectStore as _, ObjectStoreExt as _, RetryConfig};
use tokio::runtime::Runtime;

use self::error::failed;
use crate::config::{ConfigError, S3Config, S3Credentials};
use crate::limits;

/// What [`S3Credentials::Platform`] goes by.
const PLATFORM: [&str; 8] = [
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_ROLE_ARN",
    "AWS_ROLE_SESSION_NAME",
    "AWS_ENDPOINT_URL_STS",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    "AWS_METADATA_ENDPOINT",
];

/// The part of a bucket that backups are kept in.
#[derive(Debug)]
pub(crate) struct Bucket(Arc<Shared>);

struct Shared {
    store: AmazonS3,
    /// For the one question that the library does not know.
    http: reqwest::Client,
    prefix: String,
    /// `s3://bucket/prefix`, for messages.
    location: PathBuf,
    /// There until this is dropped.
    runtime: Option<Runtime>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The library's own text has settings in it.
        f.debug_struct("Bucket")
            .field("location", &self.location)
            .finish_non_exhaustive()
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Also where one must not wait.
            runtime.shutdown_background();
        }
    }
}

impl Shared {
    fn runtime(&self) -> &Runtime {
        self.runtime
            .as_ref()
            .expect("it is taken only when this is dropped")
    }

    /// Waits for an answer. Never within a task of a runtime.
    fn wait<T>(&self, answer: impl Future<Output = T>) -> T {
        self.runtime().block_on(answer)
    }

    fn key(&self, name: &BackupName) -> Key {
        Key::from_iter(
            self.prefix
                .split('/')
                .chain([name.as_str()])
                .filter(|part| !part.is_empty()),
        )
    }

    fn location_of(&self, name: &BackupName) -> PathBuf {
        self.location.join(name.as_str())
    }
}

impl Bucket {
    /// Connects to nothing yet.
    ///
    /// # Errors
    ///
    /// What is wrong with the configuration.
    pub(crate) fn open(config: &S3Config) -> Result<Self, ConfigError> {
        let wrong = |error: String| ConfigError::invalid("backup.s3.url", format!("cannot be used: {error}"));
        let http = client(config).map_err(wrong)?;
        let store = store(config, &http).map_err(|error| wrong(error.to_string()))?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("concord-s3")
            .enable_all()
            .build()
            .map_err(|error| wrong(error.to_string()))?;
        Ok(Self(Arc::new(Shared {
            store,
            http,
            prefix: config.prefix.clone(),
            location: PathBuf::from(config.url()),
            runtime: Some(runtime),
        })))
    }
}

/// Its servers are verified against the authorities of the system.
fn client(config: &S3Config) -> Result<reqwest::Client, String> {
    let is_plain = config
        .endpoint
        .as_ref()
        .is_some_and(|url| url.starts_with("http://"));
    let authorities = match is_plain && config.credentials != S3Credentials::Platform {
        // The library wants a configuration, and nothing will use it.
        true => Vec::new(),
        false => rustls_native_certs::load_native_certs().certs,
    };
    let tls = client_config(Trust::Authorities(authorities), None).map_err(|error| error.to_string())?;
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .no_proxy()
        // A signature is for one place.
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(limits::S3_CONNECT_TIMEOUT)
        .timeout(limits::S3_REQUEST_TIMEOUT)
        .build()
        .map_err(|error| error.to_string())
}

fn store(config: &S3Config, http: &reqwest::Client) -> object_store::Result<AmazonS3> {
    let retries = RetryConfig {
        backoff: BackoffConfig {
            init_backoff: Duration::from_millis(100),
            max_backoff: Duration::from_secs(5),
            base: 2.0,
        },
        max_retries: limits::S3_RETRIES_MAX,
        retry_timeout: limits::S3_RETRY_TIME_MAX,
    };
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(&config.bucket)
        .with_region(&config.region)
        .with_virtual_hosted_style_request(!config.path_style)
        .with_http_connector(Connector(http.clone()))
        .with_retry(retries)
        // Not every server knows it.
        .with_disable_bulk_delete(true);
    if let Some(endpoint) = &config.endpoint {
        builder = builder.with_endpoint(match config.path_style {
            true => endpoint.clone(),
            false => endpoint.replacen("://", &format!("://{}.", config.bucket), 1),
        });
    }
    match &config.credentials {
        S3Credentials::Keys {
            id,
            secret,
            session_token,
        } => {
            builder = builder
                .with_access_key_id(id)
                .with_secret_access_key(secret.expose());
            if let Some(token) = session_token {
                builder = builder.with_token(token.expose());
            }
        }
        S3Credentials::Platform => {
            for name in PLATFORM {
                if let (Ok(value), Ok(key)) = (std::env::var(name), name.to_ascii_lowercase().parse()) {
                    builder = builder.with_config(key, value);
                }
            }
        }
    }
    builder.build()
}

/// Hands the library a client that has our TLS: left to itself it would bring one of its own.
#[derive(Debug)]
struct Connector(reqwest::Client);

impl HttpConnector for Connector {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.0.clone()))
    }
}

impl BackupTarget for Bucket {
    fn location(&self) -> &Path {
        &self.0.location
    }

    fn names(&self) -> Result<Vec<String>, StorageError> {
        let prefix = Key::from(self.0.prefix.as_str());
        let listed = self.0.wait(self.0.store.list_with_delimiter(Some(&prefix)));
        let listed = listed.map_err(|error| failed("list", &self.0.location, 0, &error))?;
        let names = listed
            .objects
            .iter()
            .filter_map(|object| object.location.filename());
        Ok(names.map(str::to_owned).collect())
    }

    fn contains(&self, name: &BackupName) -> Result<bool, StorageError> {
        match self.0.wait(self.0.store.head(&self.0.key(name))) {
            Ok(_) => Ok(true),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(failed("look for", &self.0.location_of(name), 0, &error)),
        }
    }

    fn source(&self, name: &BackupName) -> Arc<dyn BackupSource> {
        Arc::new(object::Source::new(&self.0, name))
    }

    fn draft(&self, name: &BackupName, node_id: NodeId) -> Result<Box<dyn BackupDraft>, StorageError> {
        leftovers::remove(&self.0, node_id);
        Ok(Box::new(draft::Upload::new(&self.0, name)))
    }

    fn remove(&self, name: &BackupName) -> Result<(), StorageError> {
        let removed = self.0.wait(self.0.store.delete(&self.0.key(name)));
        removed.map_err(|error| failed("remove", &self.0.location_of(name), 0, &error))
    }
}
