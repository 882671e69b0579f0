//! What must hold for a configuration however it came about.

use std::net::{IpAddr, SocketAddr};

use concord_core::ids::NodeId;
use concord_core::value::PACKING_LEVELS;

use super::error::ConfigError;
use super::tls;
use super::{AuthMode, Config, HttpConfig, PeerConfig, Profile, Secret, Start};
use crate::limits;

/// Known to everyone, so only good between processes of one developer's machine.
const DEV_SECRET: &str = "concord development secret: not a secret";

pub(super) fn check(config: &Config) -> Result<(), ConfigError> {
    if config.node_id == Some(NodeId::new(0)) {
        return Err(ConfigError::invalid("node_id", "must be 1 or more"));
    }
    if config.data_dir.as_os_str().is_empty() {
        return Err(ConfigError::invalid("data_dir", "must not be empty"));
    }
    if config.value_bytes_max == 0 || config.value_bytes_max > limits::BODY_BYTES_MAX {
        return Err(ConfigError::invalid(
            "limits.value_bytes_max",
            "must be between 1 and 64 MiB",
        ));
    }
    if !PACKING_LEVELS.contains(&config.compression.level) {
        return Err(ConfigError::invalid(
            "compression.level",
            "must be between 1 and 19",
        ));
    }
    if config.compression.threshold_bytes == 0 {
        return Err(ConfigError::invalid(
            "compression.threshold_bytes",
            "must be 1 or more",
        ));
    }
    if config.watches_max == 0 {
        return Err(ConfigError::invalid("limits.watches_max", "must be 1 or more"));
    }
    if config.request_timeout.is_zero() || config.request_timeout > limits::REQUEST_TIMEOUT_MAX {
        return Err(ConfigError::invalid(
            "request_timeout",
            "must be between 1 ms and 10 minutes",
        ));
    }
    for (setting, value) in [
        ("snapshot.after_entries", config.snapshot.after_entries),
        ("snapshot.after_bytes", config.snapshot.after_bytes),
    ] {
        if value == 0 {
            return Err(ConfigError::invalid(setting, "must be 1 or more"));
        }
    }
    if let Some(audit) = &config.audit {
        super::audit::check(audit)?;
    }
    config.traces.as_ref().map_or(Ok(()), super::traces::check)?;
    if config.tls_reload_interval < limits::TLS_RELOAD_INTERVAL_MIN {
        return Err(ConfigError::invalid(
            "tls.reload_interval",
            "must be at least 100 ms",
        ));
    }
    check_backup(config)?;
    check_timing(config)?;
    check_silence(config)?;
    tls::check_auth(config)?;
    check_http(config)?;
    check_metrics(config)?;
    config
        .peers
        .as_ref()
        .map_or(Ok(()), |peers| check_peers(config.profile, peers))
}

fn check_backup(config: &Config) -> Result<(), ConfigError> {
    let backup = &config.backup;
    if backup
        .interval
        .is_some_and(|every| every < limits::BACKUP_INTERVAL_MIN)
    {
        return Err(ConfigError::invalid(
            "backup.interval",
            "must be at least one second",
        ));
    }
    for (setting, is_zero) in [
        ("backup.keep_count", backup.keep_count == Some(0)),
        ("backup.keep_days", backup.keep_days == Some(0)),
    ] {
        if is_zero {
            return Err(ConfigError::invalid(setting, "must be 1 or more"));
        }
    }
    backup.s3.as_ref().map_or(Ok(()), super::s3::check)
}

/// A member that is only slow, or restarts, must not be taken for one that is gone.
fn check_silence(config: &Config) -> Result<(), ConfigError> {
    let least = config.timing.election_max * SILENCE_ELECTIONS_MIN;
    if config.remove_dead_after.is_some_and(|after| after < least) {
        return Err(ConfigError::invalid(
            "cluster.remove_dead_after",
            format!("must be at least {SILENCE_ELECTIONS_MIN} times timing.election_max"),
        ));
    }
    Ok(())
}

/// How many elections a member may miss at least before it can be called dead.
const SILENCE_ELECTIONS_MIN: u32 = 10;

fn check_timing(config: &Config) -> Result<(), ConfigError> {
    let timing = &config.timing;
    if timing.election_max <= timing.election_min {
        return Err(ConfigError::contradiction(
            "timing.election_max",
            "must be longer than",
            "timing.election_min",
        ));
    }
    // Two lost heartbeats must not cost an election.
    if timing.heartbeat < limits::HEARTBEAT_MIN {
        return Err(ConfigError::invalid("timing.heartbeat", "must be at least 10 ms"));
    }
    if timing.election_min < timing.heartbeat * 3 {
        return Err(ConfigError::contradiction(
            "timing.election_min",
            "must be at least three times as long as",
            "timing.heartbeat",
        ));
    }
    if timing.election_max > limits::ELECTION_MAX {
        return Err(ConfigError::invalid(
            "timing.election_max",
            "must be at most one minute",
        ));
    }
    Ok(())
}

fn check_http(config: &Config) -> Result<(), ConfigError> {
    let Some(http) = &config.http else { return Ok(()) };
    check_address("http.listen", &http.listen)?;
    tls::check_http(http)?;
    let is_plain = http.tls.is_none() && !http.plaintext;
    if config.profile == Profile::Prod && is_plain && !is_loopback(&http.listen) {
        let reason = "would serve plaintext to other machines; give `http.tls.certificate`, listen on a loopback \
                      address, or say `http.plaintext = true`";
        return Err(ConfigError::invalid("http.listen", reason));
    }
    if http.connections_max == 0 {
        return Err(ConfigError::invalid("http.connections_max", "must be 1 or more"));
    }
    if http.body_bytes_max < config.value_bytes_max {
        return Err(ConfigError::contradiction(
            "http.body_bytes_max",
            "must be at least",
            "limits.value_bytes_max",
        ));
    }
    if http
        .allowed_hosts
        .as_ref()
        .is_some_and(|hosts| hosts.iter().any(|host| host.contains([':', '/', ' '])))
    {
        return Err(ConfigError::invalid(
            "http.allowed_hosts",
            "must be host names without port",
        ));
    }
    if let Some(other) = http.allowed_origins.iter().find(|origin| !is_origin(origin)) {
        let reason = format!(
            "{other:?} is no origin as browsers send it: `http://` or `https://`, a name in small letters, a port that is not the \
             usual one, and nothing behind it"
        );
        return Err(ConfigError::invalid("http.allowed_origins", reason));
    }
    Ok(())
}

/// Whether a browser would send this as an `Origin`. `*` is none: with authentication off any page in the world could write.
fn is_origin(text: &str) -> bool {
    let (name, usual) = match (text.strip_prefix("https://"), text.strip_prefix("http://")) {
        (Some(rest), _) => (rest, ":443"),
        (_, Some(rest)) => (rest, ":80"),
        _ => return false,
    };
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-:[]_".contains(&byte);
    !name.is_empty() && name.bytes().all(fits) && !name.ends_with(usual) && !name.starts_with(':')
}

/// Figures betray less than data, but they are read in plaintext, too.
fn check_metrics(config: &Config) -> Result<(), ConfigError> {
    let Some(listen) = &config.metrics_listen else {
        return Ok(());
    };
    check_address("metrics.listen", listen)?;
    // It has the certificates of the HTTP listener, if there are any.
    let is_fine = |http: &HttpConfig| http.plaintext || http.tls.is_some();
    let is_fine = config.http.as_ref().is_some_and(is_fine);
    if config.profile == Profile::Prod && !is_fine && !is_loopback(listen) {
        let reason = "would serve plaintext to other machines; listen on a loopback address or say `http.plaintext = true`";
        return Err(ConfigError::invalid("metrics.listen", reason));
    }
    Ok(())
}

fn check_peers(profile: Profile, peers: &PeerConfig) -> Result<(), ConfigError> {
    check_address("peers.listen", &peers.listen)?;
    if let Some(advertise) = &peers.advertise {
        check_reachable("peers.advertise", advertise)?;
    } else if is_unspecified(&peers.listen) {
        let reason = "other nodes cannot connect to the address of peers.listen";
        return Err(ConfigError::missing("peers.advertise", reason));
    }
    match &peers.start {
        Start::Alone | Start::Wait | Start::Discover => {}
        Start::Join(member) => check_reachable("peers.join", member)?,
        Start::Seeds(seeds) => check_seeds(peers, seeds)?,
    }
    tls::check_peers(peers)?;
    super::gossip::check(peers)?;
    let is_plain = peers.tls.is_none() && !peers.plaintext;
    if profile == Profile::Prod && is_plain && !is_loopback(&peers.listen) {
        let reason = "would talk plaintext with other machines; give `peers.tls.certificate`, listen on a loopback \
                      address, or say `peers.plaintext = true`";
        return Err(ConfigError::invalid("peers.listen", reason));
    }
    match &peers.secret {
        Some(secret) if secret.expose().len() < limits::SECRET_BYTES_MIN => {
            Err(ConfigError::invalid("peers.secret", "must be 16 bytes or more"))
        }
        Some(_) => Ok(()),
        None if profile == Profile::Dev && is_local(peers) => Ok(()),
        None => {
            let reason = "other machines can reach the peer listener; give every node of the cluster the same secret, \
                          16 bytes or more (or a file with it: peers.secret_file)";
            Err(ConfigError::missing("peers.secret", reason))
        }
    }
}

fn check_seeds(peers: &PeerConfig, seeds: &[String]) -> Result<(), ConfigError> {
    if seeds.is_empty() || seeds.len() > limits::SEEDS_MAX {
        return Err(ConfigError::invalid("peers.seeds", "must list 1 to 16 addresses"));
    }
    for (position, seed) in seeds.iter().enumerate() {
        check_reachable("peers.seeds", seed)?;
        if seeds.iter().take(position).any(|earlier| earlier == seed) {
            return Err(ConfigError::invalid("peers.seeds", format!("lists {seed} twice")));
        }
    }
    let own = peers.advertise.as_ref().unwrap_or(&peers.listen);
    if !seeds.contains(own) {
        let key = if peers.advertise.is_some() {
            "peers.advertise"
        } else {
            "peers.listen"
        };
        return Err(ConfigError::contradiction(
            "peers.seeds",
            "must list this node's own address, given by",
            key,
        ));
    }
    Ok(())
}

pub(super) fn warnings(config: &Config) -> Vec<String> {
    let mut warnings = Vec::new();
    if let Some(peers) = &config.peers
        && peers.secret.is_none()
    {
        warnings.push(
            "no cluster secret is set: peers use the built-in development secret, which everyone knows"
                .to_owned(),
        );
    }
    if let Some(http) = &config.http
        && !is_loopback(&http.listen)
    {
        let how = match (&http.tls, config.auth) {
            (None, AuthMode::Off) => Some("in plaintext and without authentication"),
            (None, AuthMode::On) => Some("in plaintext: tokens can be read on the way"),
            (Some(tls), AuthMode::Off) if tls.ca.is_none() => Some("without authentication"),
            (Some(_), AuthMode::Off | AuthMode::On) => None,
        };
        warnings.extend(how.map(|how| format!("HTTP at {} answers other machines, {how}", http.listen)));
    }
    warnings
}

/// The secret that peers prove; the built-in one where [`check`] allows none.
pub(crate) fn peer_secret(peers: &PeerConfig) -> Secret {
    peers.secret.clone().unwrap_or_else(|| Secret::new(DEV_SECRET))
}

/// Whether no other machine can be a peer: then a secret adds nothing.
fn is_local(peers: &PeerConfig) -> bool {
    let others: &[String] = match &peers.start {
        Start::Alone | Start::Wait | Start::Discover => &[],
        Start::Seeds(seeds) => seeds,
        Start::Join(member) => std::slice::from_ref(member),
    };
    is_loopback(&peers.listen)
        && others
            .iter()
            .chain(&peers.advertise)
            .all(|address| is_loopback(address))
}

pub(crate) fn is_loopback(address: &str) -> bool {
    host_and_port(address).is_some_and(|(host, _)| {
        host == "localhost"
            || host
                .parse::<IpAddr>()
                .is_ok_and(|ip| ip.to_canonical().is_loopback())
    })
}

fn is_unspecified(address: &str) -> bool {
    host_and_port(address).is_some_and(|(host, _)| host.parse::<IpAddr>().is_ok_and(|ip| ip.is_unspecified()))
}

pub(super) fn check_address(key: &str, address: &str) -> Result<(), ConfigError> {
    match host_and_port(address) {
        Some(_) => Ok(()),
        None => Err(ConfigError::invalid(
            key,
            format!("must be host:port, not `{address}`"),
        )),
    }
}

/// An address that somebody connects to: unlike one that is listened on it names one port of one host.
pub(super) fn check_reachable(key: &str, address: &str) -> Result<(), ConfigError> {
    check_address(key, address)?;
    if host_and_port(address).is_some_and(|(_, port)| port == 0) {
        return Err(ConfigError::invalid(
            key,
            format!("must name a port other than 0, not `{address}`"),
        ));
    }
    if is_unspecified(address) {
        return Err(ConfigError::invalid(
            key,
            format!("must be an address to connect to, not `{address}`"),
        ));
    }
    Ok(())
}

fn host_and_port(address: &str) -> Option<(String, u16)> {
    if let Ok(socket) = address.parse::<SocketAddr>() {
        return Some((socket.ip().to_string(), socket.port()));
    }
    let (host, port) = address.rsplit_once(':')?;
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    if host.is_empty() || !host.bytes().all(is_name) || !port.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some((host.to_owned(), port.parse().ok()?))
}
