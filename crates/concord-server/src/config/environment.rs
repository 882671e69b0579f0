//! Which `CONCORD_*` variables are settings.

use super::settings;

/// Every setting's variable starts with this.
pub(super) const PREFIX: &str = "CONCORD_";

/// Variables that the command line reads itself.
const CLIENT: [&str; 12] = [
    "CONFIG",
    "ENDPOINTS",
    "TOKEN",
    "CONTEXT",
    "CONTEXTS",
    "OUTPUT",
    "TIMEOUT",
    "ROOT_TOKEN",
    "COLOR",
    "CA_CERT",
    "CLIENT_CERT",
    "CLIENT_KEY",
];

/// What the variable `name` is to the configuration.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Variable {
    /// It makes this setting.
    Setting(&'static str),
    /// It is somebody else's.
    Foreign,
    /// It looks like a setting and is none.
    Unknown,
}

/// The variable of a setting: `http.listen` is `CONCORD_HTTP_LISTEN`.
pub(super) fn name_of(key: &str) -> String {
    format!("{PREFIX}{}", key.replace('.', "_").to_ascii_uppercase())
}

pub(super) fn classify(name: &str, value: &str) -> Variable {
    let Some(rest) = name.strip_prefix(PREFIX) else {
        return Variable::Foreign;
    };
    if let Some(setting) = settings::all()
        .iter()
        .find(|setting| name_of(setting.key) == name)
    {
        return Variable::Setting(setting.key);
    }
    if CLIENT.contains(&rest) || is_service_link(rest, value) {
        Variable::Foreign
    } else {
        Variable::Unknown
    }
}

/// Kubernetes gives every pod variables about every service: for one called `concord`
/// or `concord-...` they begin like ours (`CONCORD_SERVICE_HOST`, `CONCORD_PORT_4000_TCP_ADDR`).
/// `..._PORT` holds a URL there, which tells it from a setting that does not exist.
fn is_service_link(rest: &str, value: &str) -> bool {
    let is_protocol = |part: &str| matches!(part, "TCP" | "UDP" | "SCTP");
    rest.ends_with("SERVICE_HOST")
        || rest.ends_with("SERVICE_PORT")
        || rest.contains("SERVICE_PORT_")
        || (rest.ends_with("PORT") && value.contains("://"))
        || (rest.split('_').any(|part| part == "PORT") && rest.split('_').any(is_protocol))
}
