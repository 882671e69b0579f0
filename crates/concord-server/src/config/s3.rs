//! A bucket that speaks S3, for backups.

use std::collections::BTreeMap;
use std::fmt;

use super::Place;
use super::Secret;
use super::error::ConfigError;
use super::load::{secret_of, unused};
use super::settings::Draft;
use crate::limits;

/// The region of servers that have none, and of whoever names none.
pub(super) const REGION: &str = "us-east-1";
const SCHEME: &str = "s3://";
const URL: &str = "backup.s3.url";
const ENDPOINT: &str = "backup.s3.endpoint";
/// What the rest of the world calls the settings that it can make as well.
const KEY_ID: &str = "AWS_ACCESS_KEY_ID";
const KEY: &str = "AWS_SECRET_ACCESS_KEY";
const SESSION_TOKEN: &str = "AWS_SESSION_TOKEN";
const REGIONS: [&str; 2] = ["AWS_REGION", "AWS_DEFAULT_REGION"];

/// A bucket that backups are kept in. Needs the feature `s3`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct S3Config {
    /// Its name.
    pub bucket: String,
    /// What the keys of backups begin with, without slashes at its ends; may be empty.
    pub prefix: String,
    /// The server, as `https://host` or `https://host:port`; `None`: Amazon's of the region.
    pub endpoint: Option<String>,
    /// The region that requests are signed for.
    pub region: String,
    /// Name the bucket in the path, not in the host.
    pub path_style: bool,
    /// Whether the endpoint may be one of `http://`.
    pub allow_http: bool,
    /// Who asks.
    pub credentials: S3Credentials,
}

/// Who a bucket is asked as.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum S3Credentials {
    /// By keys.
    Keys {
        /// The id of the access key.
        id: String,
        /// The secret access key.
        secret: Secret,
        /// The token of keys that are lent for a time.
        session_token: Option<Secret>,
    },
    /// Whatever the machine, container or pod lends its processes, found and renewed as Amazon's own tools do.
    Platform,
}

impl fmt::Debug for S3Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Keys { .. } => "Keys(hidden)",
            Self::Platform => "Platform",
        })
    }
}

impl S3Config {
    /// The bucket of `s3://BUCKET` or `s3://BUCKET/PREFIX`.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Invalid`] if that is none.
    pub fn new(url: &str, credentials: S3Credentials) -> Result<Self, ConfigError> {
        // Not shown: people write keys there as well.
        let wrong = || {
            let reason = "must be s3://BUCKET or s3://BUCKET/PREFIX: letters, digits, '.', '-', '_', and '/' between names";
            ConfigError::invalid(URL, reason)
        };
        let place = url.strip_prefix(SCHEME).ok_or_else(wrong)?;
        let (bucket, prefix) = place.split_once('/').unwrap_or((place, ""));
        let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
        let is_name = |name: &str| {
            let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
            !name.is_empty() && name.chars().all(is_plain) && !matches!(name, "." | "..")
        };
        let fits = bucket.len() <= limits::S3_BUCKET_BYTES_MAX && prefix.len() <= limits::S3_PREFIX_BYTES_MAX;
        if !fits || !is_name(bucket) || !(prefix.is_empty() || prefix.split('/').all(is_name)) {
            return Err(wrong());
        }
        Ok(Self {
            bucket: bucket.to_owned(),
            prefix: prefix.to_owned(),
            endpoint: None,
            region: REGION.to_owned(),
            path_style: false,
            allow_http: false,
            credentials,
        })
    }

    /// Whether a text means a bucket, and not a file or a directory.
    #[cfg(feature = "cli")]
    pub(crate) fn is_url(text: &str) -> bool {
        text.starts_with(SCHEME)
    }

    /// As it is written in the settings.
    #[must_use]
    pub fn url(&self) -> String {
        let slash = if self.prefix.is_empty() { "" } else { "/" };
        format!("{SCHEME}{}{slash}{}", self.bucket, self.prefix)
    }
}

/// What credentials a setting names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CredentialsName {
    Keys,
    Platform,
}

impl CredentialsName {
    pub(super) const ALL: [(&'static str, Self); 2] = [("keys", Self::Keys), ("platform", Self::Platform)];
}

/// The settings of a bucket, as a file and the layers over it have them.
#[derive(Default)]
pub(super) struct S3Draft {
    pub(super) url: Option<String>,
    pub(super) endpoint: Option<String>,
    pub(super) region: Option<String>,
    pub(super) path_style: Option<bool>,
    pub(super) allow_http: Option<bool>,
    pub(super) credentials: Option<CredentialsName>,
    pub(super) access_key_id: Option<String>,
    pub(super) secret_access_key: Option<Secret>,
    pub(super) secret_access_key_file: Option<String>,
    pub(super) session_token_file: Option<String>,
    /// Variables that are not ours, by name.
    environment: BTreeMap<String, Secret>,
}

impl fmt::Debug for S3Draft {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3Draft")
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

impl S3Draft {
    /// Keeps a variable that is not ours, if it may be needed.
    pub(super) fn hear(&mut self, name: &str, value: &str) {
        let is_known = [KEY_ID, KEY, SESSION_TOKEN].contains(&name) || REGIONS.contains(&name);
        if is_known && !value.is_empty() {
            self.environment.insert(name.to_owned(), Secret::new(value));
        }
    }

    fn heard(&self, name: &str) -> Option<&Secret> {
        self.environment.get(name)
    }

    fn region(&self) -> String {
        let heard = || REGIONS.iter().find_map(|name| self.heard(name));
        let region = self.region.clone();
        region.unwrap_or_else(|| heard().map_or(REGION, Secret::expose).to_owned())
    }

    fn credentials(&self, places: &BTreeMap<&'static str, Place>) -> Result<S3Credentials, ConfigError> {
        let of_keys = [
            "backup.s3.access_key_id",
            "backup.s3.secret_access_key",
            "backup.s3.secret_access_key_file",
            "backup.s3.session_token_file",
        ];
        let [id_key, secret_key, file_key, _] = of_keys;
        if self.credentials == Some(CredentialsName::Platform) {
            let unused = of_keys.into_iter().find(|key| places.contains_key(key));
            let refused = |key| {
                ConfigError::contradiction(key, "has no effect unless keys are", "backup.s3.credentials")
            };
            return unused.map_or(Ok(S3Credentials::Platform), |key| Err(refused(key)));
        }
        let secret = match (&self.secret_access_key, &self.secret_access_key_file) {
            (Some(_), Some(_)) => {
                return Err(ConfigError::contradiction(
                    file_key,
                    "cannot be together with",
                    secret_key,
                ));
            }
            (Some(secret), None) => Some(secret.clone()),
            (None, Some(path)) => Some(secret_of(path)?),
            (None, None) => None,
        };
        let token = self.session_token_file.as_deref().map(secret_of).transpose()?;
        match (self.access_key_id.clone(), secret) {
            (Some(id), Some(secret)) => Ok(S3Credentials::Keys {
                id,
                secret,
                session_token: token,
            }),
            (None, Some(_)) => Err(ConfigError::missing(
                id_key,
                "a secret access key belongs to an id",
            )),
            (Some(_), None) => Err(ConfigError::missing(
                file_key,
                "or backup.s3.secret_access_key: an access key id alone proves nothing",
            )),
            (None, None) => self.keys_heard(token),
        }
    }

    fn keys_heard(&self, token: Option<Secret>) -> Result<S3Credentials, ConfigError> {
        let (Some(id), Some(secret)) = (self.heard(KEY_ID), self.heard(KEY)) else {
            let reason = format!(
                "a bucket asks who comes: that with backup.s3.secret_access_key_file, or the variables {KEY_ID} and {KEY}, \
                 or backup.s3.credentials = \"platform\""
            );
            return Err(ConfigError::missing("backup.s3.access_key_id", reason));
        };
        Ok(S3Credentials::Keys {
            id: id.expose().to_owned(),
            secret: secret.clone(),
            session_token: token.or_else(|| self.heard(SESSION_TOKEN).cloned()),
        })
    }
}

/// Puts the draft together; refuses what would have no effect.
pub(super) fn build(
    draft: &Draft,
    places: &BTreeMap<&'static str, Place>,
) -> Result<Option<S3Config>, ConfigError> {
    let s3 = &draft.s3;
    let Some(url) = &s3.url else {
        unused(places, "backup.s3.", URL, "has no effect without")?;
        return Ok(None);
    };
    if draft.backup_dir.is_some() {
        return Err(ConfigError::contradiction(
            URL,
            "cannot be together with",
            "backup.dir",
        ));
    }
    // What is wrong with the address is said first: without it there is nobody to show keys to.
    let mut config = S3Config::new(url, S3Credentials::Platform)?;
    config.credentials = s3.credentials(places)?;
    config.endpoint.clone_from(&s3.endpoint);
    config.region = s3.region();
    config.path_style = s3.path_style.unwrap_or(s3.endpoint.is_some());
    config.allow_http = s3.allow_http.unwrap_or(false);
    let is_http = |endpoint: &String| endpoint.starts_with("http://");
    if config.allow_http && !config.endpoint.as_ref().is_some_and(is_http) {
        let reason = "has no effect unless http:// is in";
        return Err(ConfigError::contradiction(
            "backup.s3.allow_http",
            reason,
            ENDPOINT,
        ));
    }
    Ok(Some(config))
}

/// A bucket is asked for of a program that knows of none.
pub(crate) fn no_s3() -> ConfigError {
    let reason = "needs a program that is built for it, and this one is not: build it with \
                  `cargo build --release --package concord-server --features s3`";
    ConfigError::invalid(URL, reason)
}

pub(super) fn check(config: &S3Config) -> Result<(), ConfigError> {
    if cfg!(not(feature = "s3")) {
        return Err(no_s3());
    }
    let is_region = |c: char| c.is_ascii_alphanumeric() || c == '-';
    if config.region.is_empty() || !config.region.chars().all(is_region) {
        return Err(ConfigError::invalid(
            "backup.s3.region",
            "must be a name such as eu-central-1",
        ));
    }
    if let S3Credentials::Keys {
        id,
        secret,
        session_token,
    } = &config.credentials
    {
        // They become parts of headers.
        let is_plain = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
        let token = session_token
            .as_ref()
            .is_none_or(|token| is_plain(token.expose()));
        if !is_plain(id) || !is_plain(secret.expose()) || !token {
            let reason = "must be text without spaces, as must be what belongs to it";
            return Err(ConfigError::invalid("backup.s3.access_key_id", reason));
        }
    }
    let Some(endpoint) = &config.endpoint else {
        return Ok(());
    };
    let is_http = endpoint.starts_with("http://");
    let address = endpoint
        .strip_prefix("https://")
        .or_else(|| endpoint.strip_prefix("http://"));
    let is_address = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '[' | ']');
    if !address.is_some_and(|address| !address.is_empty() && address.chars().all(is_address)) {
        return Err(ConfigError::invalid(
            ENDPOINT,
            "must be https://host or https://host:port",
        ));
    }
    if is_http && !config.allow_http {
        let reason =
            "sends backups in plain text; that must be allowed by backup.s3.allow_http, or be https://";
        return Err(ConfigError::invalid(ENDPOINT, reason));
    }
    Ok(())
}
