//! How the table of settings reads into the draft, and writes as TOML.

use std::path::Path;
use std::time::Duration;

use concord_query::duration;

use crate::config::raw::Raw;

pub(super) fn set<T>(slot: &mut Option<T>, value: Result<T, String>) -> Result<(), String> {
    *slot = Some(value?);
    Ok(())
}

pub(super) fn choose<T: Copy>(slot: &mut Option<T>, raw: &Raw, choices: &[(&str, T)]) -> Result<(), String> {
    let word = raw.text()?;
    let Some((_, choice)) = choices.iter().find(|(name, _)| *name == word) else {
        let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
        return Err(format!("must be {}, not `{word}`", names.join(" or ")));
    };
    *slot = Some(*choice);
    Ok(())
}

/// Text as TOML.
pub(super) fn text(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

pub(super) fn path(path: &Path) -> Option<String> {
    Some(text(&path.to_string_lossy()))
}

pub(super) fn list(items: &[String]) -> String {
    toml::Value::Array(items.iter().cloned().map(toml::Value::String).collect()).to_string()
}

pub(super) fn length(length: Duration) -> String {
    text(&duration::format(length))
}
