//! Lays a file, the environment and flags over the defaults.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use super::environment::{self, Variable};
use super::error::{ConfigError, Place};
use super::raw::Raw;
use super::settings::{self, Draft, Setting};
use super::tls;
use super::{
    AuthMode, BackupConfig, Config, DEV_DATA_DIR, HttpConfig, LogFormat, PeerConfig, Profile, RootToken,
    Secret, Start,
};

/// Where the server profile listens for HTTP.
pub(super) const HTTP_LISTEN: &str = "127.0.0.1:4000";

/// Settings made by flags: the last word.
#[derive(Clone, Debug, Default)]
pub struct Overrides(Vec<(String, String, Raw)>);

impl Overrides {
    /// No flags.
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes the setting `key` if the flag was given. `flag` is its name for messages (`--data-dir`).
    pub fn set(&mut self, flag: &str, key: &str, value: Option<impl ToString>) {
        if let Some(value) = value {
            self.0
                .push((flag.to_owned(), key.to_owned(), Raw::Text(value.to_string())));
        }
    }

    /// Makes a setting that is a list, if the flag was given at all.
    pub fn set_list(&mut self, flag: &str, key: &str, values: &[impl ToString]) {
        if !values.is_empty() {
            let values = values.iter().map(ToString::to_string).collect();
            self.0.push((flag.to_owned(), key.to_owned(), Raw::List(values)));
        }
    }
}

/// Collects the layers. Later layers win: defaults, file, environment, flags.
///
/// ```
/// use concord_server::{Loader, Overrides};
///
/// let mut flags = Overrides::new();
/// flags.set("--http", "http.listen", Some("127.0.0.1:0"));
/// let loaded = Loader::new()
///     .environment([("CONCORD_NODE_ID".to_owned(), "7".to_owned())])
///     .overrides(flags)
///     .load()?;
/// assert_eq!(loaded.config.node_id.map(|id| id.get()), Some(7));
/// # Ok::<(), concord_server::ConfigError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Loader {
    file: Option<PathBuf>,
    environment: Vec<(String, String)>,
    overrides: Overrides,
}

/// A configuration with the origin of each setting.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Loaded {
    /// The configuration, checked.
    pub config: Config,
    places: BTreeMap<&'static str, Place>,
}

impl Loader {
    /// No layers but the defaults: the dev profile, HTTP on 127.0.0.1:4000.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads this file. It must exist.
    #[must_use]
    pub fn file(mut self, path: impl Into<PathBuf>) -> Self {
        self.file = Some(path.into());
        self
    }

    /// Takes the `CONCORD_*` variables among these; usually [`std::env::vars`].
    #[must_use]
    pub fn environment(mut self, variables: impl IntoIterator<Item = (String, String)>) -> Self {
        self.environment.extend(variables);
        self
    }

    /// Takes flags.
    #[must_use]
    pub fn overrides(mut self, overrides: Overrides) -> Self {
        self.overrides.0.extend(overrides.0);
        self
    }

    /// Reads and checks everything.
    ///
    /// # Errors
    ///
    /// The first thing that is wrong, with the place where it was written. Nothing was started.
    pub fn load(self) -> Result<Loaded, ConfigError> {
        let mut layers = Layers::default();
        if let Some(path) = &self.file {
            for line in super::file::read(path)? {
                layers.take(&line.key, line.raw, line.place)?;
            }
        }
        for (name, value) in self.environment {
            let place = Place::Environment(name.clone());
            match environment::classify(&name, &value) {
                Variable::Setting(key) => layers.take(key, Raw::Text(value), place)?,
                Variable::Foreign if name == ROOT_TOKEN => layers.root_token = Some(Secret::new(value)),
                Variable::Foreign => layers.draft.s3.hear(&name, &value),
                Variable::Unknown => {
                    return Err(unknown(place, &name, |setting| environment::name_of(setting.key)));
                }
            }
        }
        for (flag, key, raw) in self.overrides.0 {
            layers.take(&key, raw, Place::Flag(flag))?;
        }
        layers.finish()
    }
}

/// The variable with the first token. No setting, so that no file and no flag can hold it.
const ROOT_TOKEN: &str = "CONCORD_ROOT_TOKEN";

impl Loaded {
    /// Where a setting was made, if anywhere.
    pub fn place(&self, key: &str) -> Option<&Place> {
        self.places.get(key)
    }

    /// The whole configuration as TOML, each line with its origin. Secrets are hidden.
    pub fn show(&self) -> String {
        let mut text = String::new();
        let mut section = "";
        for setting in settings::all() {
            let (table, name) = setting.key.split_once('.').unwrap_or(("", setting.key));
            let Some(value) = (setting.show)(&self.config) else {
                continue;
            };
            if table != section {
                section = table;
                let _ = writeln!(text, "\n[{table}]");
            }
            let place = self.places.get(setting.key).unwrap_or(&Place::Code);
            let _ = writeln!(text, "{name} = {value} # {place}");
        }
        text
    }
}

#[derive(Debug, Default)]
struct Layers {
    draft: Draft,
    root_token: Option<Secret>,
    places: BTreeMap<&'static str, Place>,
}

impl Layers {
    fn take(&mut self, key: &str, raw: Raw, place: Place) -> Result<(), ConfigError> {
        let Some(setting) = settings::find(key) else {
            return Err(unknown(place, key, |setting| setting.key.to_owned()));
        };
        (setting.read)(&mut self.draft, &raw).map_err(|reason| ConfigError::Invalid {
            place: place.clone(),
            key: key.to_owned(),
            reason,
        })?;
        self.places.insert(setting.key, place);
        Ok(())
    }

    fn finish(self) -> Result<Loaded, ConfigError> {
        let places = self.places;
        let place_of = |key: &str| places.get(key).cloned().unwrap_or(Place::Code);
        let root_token = self.root_token;
        let config = build(self.draft, &places)
            .and_then(|config| with_root_token(config, root_token))
            .and_then(|config| config.validate().map(|()| config))
            // Files that cannot be used are found here, where the lines that name them are known.
            .and_then(|config| tls::tls_of(&config).map(|_| config))
            .map_err(|error| error.placed(place_of))?;
        Ok(Loaded { config, places })
    }
}

fn with_root_token(mut config: Config, given: Option<Secret>) -> Result<Config, ConfigError> {
    let Some(secret) = given else { return Ok(config) };
    if config.root_token.is_some() {
        return Err(ConfigError::contradiction(
            "auth.root_token_file",
            "cannot be together with",
            ROOT_TOKEN,
        ));
    }
    config.root_token = Some(RootToken::Given(secret));
    Ok(config)
}

fn backup(draft: &Draft, places: &BTreeMap<&'static str, Place>) -> Result<BackupConfig, ConfigError> {
    let count = draft
        .backup_keep_count
        .map(|count| size("backup.keep_count", Some(count), 0));
    Ok(BackupConfig {
        dir: draft.backup_dir.as_ref().map(PathBuf::from),
        s3: super::s3::build(draft, places)?,
        interval: draft.backup_interval,
        keep_count: count.transpose()?,
        keep_days: draft.backup_keep_days,
    })
}

/// Puts the draft together; refuses what would have no effect.
fn build(draft: Draft, places: &BTreeMap<&'static str, Place>) -> Result<Config, ConfigError> {
    let profile = draft.profile.unwrap_or(Profile::Dev);
    let data_dir = match (&draft.data_dir, profile) {
        (Some(dir), _) => dir.clone(),
        (None, Profile::Dev) => DEV_DATA_DIR.to_owned(),
        (None, Profile::Prod) => {
            return Err(ConfigError::missing(
                "data_dir",
                "the prod profile has no default",
            ));
        }
    };
    let mut config = Config::at(data_dir);
    config.profile = profile;
    config.node_id = draft.node_id;
    config.auth = draft.auth.unwrap_or(match profile {
        Profile::Dev => AuthMode::Off,
        Profile::Prod => AuthMode::On,
    });
    config.root_token = draft
        .root_token_file
        .as_ref()
        .map(|path| RootToken::File(path.into()));
    put(&mut config.auth_by_certificate, draft.auth_certificates);
    put(&mut config.request_timeout, draft.request_timeout);
    put(&mut config.tls_reload_interval, draft.tls_reload_interval);
    put(&mut config.timing.heartbeat, draft.heartbeat);
    put(&mut config.timing.election_min, draft.election_min);
    put(&mut config.timing.election_max, draft.election_max);
    put(&mut config.log.segment_bytes, draft.segment_bytes);
    put(&mut config.snapshot.after_entries, draft.snapshot_after_entries);
    put(&mut config.snapshot.after_bytes, draft.snapshot_after_bytes);
    put(&mut config.snapshot.log_entries_kept, draft.log_entries_kept);
    put(&mut config.snapshot.log_bytes_kept, draft.log_bytes_kept);
    put(&mut config.logging.filter, draft.log_filter.clone());
    config.slow_request = draft.slow_request;
    config.remove_dead_after = draft.remove_dead_after;
    config.value_bytes_max = size(
        "limits.value_bytes_max",
        draft.value_bytes_max,
        config.value_bytes_max,
    )?;
    put(&mut config.compression.enabled, draft.compression_enabled);
    put(&mut config.compression.level, draft.compression_level);
    config.compression.threshold_bytes = size(
        "compression.threshold_bytes",
        draft.compression_threshold_bytes,
        config.compression.threshold_bytes,
    )?;
    config.backup = backup(&draft, places)?;
    config.watches_max = size("limits.watches_max", draft.watches_max, config.watches_max)?;
    config.logging.format = draft.log_format.unwrap_or(log_format(profile));
    config.audit = super::audit::build(&draft, profile, places)?;
    config.traces = super::traces::build(&draft.traces, places)?;
    config.http = http(&draft, places)?;
    config.metrics_listen.clone_from(&draft.metrics_listen);
    config.peers = peers(draft, places)?;
    if !tls::is_used(&config) && places.contains_key("tls.reload_interval") {
        let (key, other) = ("tls.reload_interval", "http.tls.certificate");
        return Err(ConfigError::contradiction(
            key,
            "has no effect without `peers.tls.certificate` or",
            other,
        ));
    }
    Ok(config)
}

const fn log_format(profile: Profile) -> LogFormat {
    match profile {
        Profile::Dev => LogFormat::Human,
        Profile::Prod => LogFormat::Json,
    }
}

fn http(draft: &Draft, places: &BTreeMap<&'static str, Place>) -> Result<Option<HttpConfig>, ConfigError> {
    if draft.http_enabled == Some(false) {
        unused(places, "http.", "http.enabled", "has no effect beside")?;
        return Ok(None);
    }
    let mut http = HttpConfig::new(HTTP_LISTEN);
    put(&mut http.listen, draft.http_listen.clone());
    put(&mut http.plaintext, draft.http_plaintext);
    put(&mut http.header_timeout, draft.http_header_timeout);
    put(&mut http.docs, draft.http_docs);
    put(&mut http.console, draft.http_console);
    http.connections_max = size(
        "http.connections_max",
        draft.http_connections_max,
        http.connections_max,
    )?;
    http.body_bytes_max = size(
        "http.body_bytes_max",
        draft.http_body_bytes_max,
        http.body_bytes_max,
    )?;
    http.allowed_hosts.clone_from(&draft.http_allowed_hosts);
    http.allowed_origins = draft.http_allowed_origins.clone().unwrap_or_default();
    http.tls = tls::settings(
        tls::HTTP,
        draft.http_tls_certificate.clone(),
        draft.http_tls_key.clone(),
        draft.http_tls_client_ca.clone(),
    )?;
    Ok(Some(http))
}

fn peers(draft: Draft, places: &BTreeMap<&'static str, Place>) -> Result<Option<PeerConfig>, ConfigError> {
    let Some(listen) = draft.peers_listen else {
        unused(places, "peers.", "peers.listen", "has no effect without")?;
        return Ok(None);
    };
    Ok(Some(PeerConfig {
        listen,
        advertise: draft.peers_advertise,
        secret: secret(draft.peers_secret, draft.peers_secret_file.as_deref())?,
        start: start(
            draft.peers_seeds,
            draft.peers_join,
            draft.peers_wait == Some(true),
            draft.peers_discover == Some(true),
        )?,
        gossip: super::gossip::build(draft.gossip, places)?,
        tls: tls::settings(
            tls::PEERS,
            draft.peers_tls_certificate,
            draft.peers_tls_key,
            draft.peers_tls_ca,
        )?,
        plaintext: draft.peers_plaintext.unwrap_or(false),
    }))
}

fn start(
    seeds: Option<Vec<String>>,
    join: Option<String>,
    wait: bool,
    discover: bool,
) -> Result<Start, ConfigError> {
    let mut all = [
        seeds.map(|seeds| ("peers.seeds", Start::Seeds(seeds))),
        join.map(|member| ("peers.join", Start::Join(member))),
        wait.then_some(("peers.wait", Start::Wait)),
        discover.then_some(("peers.discover", Start::Discover)),
    ]
    .into_iter()
    .flatten();
    match (all.next(), all.next()) {
        (Some((other, _)), Some((key, _))) => {
            Err(ConfigError::contradiction(key, "cannot be together with", other))
        }
        (Some((_, start)), None) => Ok(start),
        (None, _) => Ok(Start::Alone),
    }
}

fn secret(inline: Option<Secret>, path: Option<&str>) -> Result<Option<Secret>, ConfigError> {
    match (inline, path) {
        (Some(_), Some(_)) => Err(ConfigError::contradiction(
            "peers.secret_file",
            "cannot be together with",
            "peers.secret",
        )),
        (inline, None) => Ok(inline),
        (None, Some(path)) => secret_of(path).map(Some),
    }
}

/// The secret in a file, without the line feed at its end.
pub(super) fn secret_of(path: &str) -> Result<Secret, ConfigError> {
    let path = Path::new(path);
    let text = fs::read_to_string(path)
        .map(zeroize::Zeroizing::new)
        .map_err(|source| ConfigError::Unreadable {
            path: path.to_owned(),
            source,
        })?;
    Ok(Secret::new(text.trim_end_matches(['\r', '\n'])))
}

pub(super) fn unused(
    places: &BTreeMap<&'static str, Place>,
    prefix: &str,
    cause: &str,
    reason: &str,
) -> Result<(), ConfigError> {
    match places
        .keys()
        .find(|key| key.starts_with(prefix) && **key != cause)
    {
        Some(key) => Err(ConfigError::contradiction(key, reason, cause)),
        None => Ok(()),
    }
}

pub(super) fn put<T>(slot: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *slot = value;
    }
}

pub(super) fn size(key: &str, value: Option<u64>, default: usize) -> Result<usize, ConfigError> {
    value.map_or(Ok(default), |value| {
        usize::try_from(value).map_err(|_| ConfigError::invalid(key, "is more than this machine can address"))
    })
}

fn unknown(place: Place, key: &str, name_of: impl Fn(&Setting) -> String) -> ConfigError {
    let suggestion = settings::all()
        .iter()
        .map(name_of)
        .map(|name| (distance(&name, key), name))
        .min()
        .filter(|(edits, _)| *edits <= key.len() / 3)
        .map(|(_, name)| name);
    ConfigError::UnknownKey {
        place,
        key: key.to_owned(),
        suggestion,
    }
}

/// Edits (insert, remove, replace a byte) that turn one name into another.
fn distance(left: &str, right: &str) -> usize {
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (above, a) in left.bytes().enumerate() {
        let mut diagonal = above;
        let mut before = above + 1;
        let mut next = vec![before];
        for (b, up) in right.bytes().zip(row.iter().skip(1)) {
            let replaced = diagonal + usize::from(a != b);
            before = replaced.min(up + 1).min(before + 1);
            next.push(before);
            diagonal = *up;
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}
