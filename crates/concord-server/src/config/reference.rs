//! The reference of all settings, made from the table that they are read by.

use std::fmt::Write as _;

use super::traces::OTLP_ENDPOINT;
use super::{AuditConfig, Config, PeerConfig, Secret, TraceExporter, TracesConfig, environment, settings};

const HEAD: &str = "\
# Configuration

Settings come from flags, the environment, a TOML file (`--config FILE` or `CONCORD_CONFIG`) and defaults, in this order. A dot in a name is
a table of the file: `http.listen` is `listen` under `[http]`. What is unknown, contradictory or unused is refused with its line.
`concord config check` says what is wrong, `concord config show` what would be used.

Lengths of time are written `500ms`, `30s`, `5m`, `1h`; sizes in bytes; lists in the environment with commas between the items.

Made by `concord config reference`; a test compares. Defaults are those of the profile `dev`; `prod` differs where the meaning says so.

| setting | variable | default | meaning |
| --- | --- | --- | --- |
";

/// All settings as a page of Markdown: name, variable, default, meaning.
#[must_use]
pub fn reference() -> String {
    let mut config = Config::dev().http(super::load::HTTP_LISTEN);
    // Only a node with a listener for peers has their defaults.
    let mut peers = PeerConfig::new("", Secret::new(""));
    peers.secret = None;
    config.peers = Some(peers);
    let of_dev = config.clone();
    // Only a node with an audit log has its defaults.
    config.audit = Some(AuditConfig::new());
    config.traces = Some(TracesConfig::new(TraceExporter::Otlp {
        endpoint: OTLP_ENDPOINT.to_owned(),
    }));
    let mut page = HEAD.to_owned();
    for setting in settings::all() {
        let shown = match setting.key {
            "audit.enabled" | "traces.exporter" => &of_dev,
            _ => &config,
        };
        let default = (setting.show)(shown).filter(|default| default != "\"\"");
        let default = default.map_or_else(String::new, |default| format!("`{default}`"));
        let variable = environment::name_of(setting.key);
        let about = setting.about.replace('|', "\\|");
        // Writing to a string cannot fail.
        let _ = writeln!(page, "| `{}` | `{variable}` | {default} | {about} |", setting.key);
    }
    page
}
