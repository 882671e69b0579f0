//! Contexts: clusters by name, and how to reach each, in a file of the user's.
//!
//! A flag goes before a variable, a variable before the context, the context before the default.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use concord_query::duration;
use serde::Deserialize;
use serde_json::json;

use super::args::{ClientArgs, ContextCommand, Output};
use super::error::CliError;
use super::output::Out;

/// Names the file; empty: there is none.
const FILE_VARIABLE: &str = "CONCORD_CONTEXTS";
/// Far more than anybody has clusters.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// What the file holds.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Contexts {
    /// The one that is used if none is named.
    current: Option<String>,
    #[serde(default)]
    contexts: BTreeMap<String, Context>,
}

/// How to reach one cluster. Paths are relative to the file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Context {
    endpoints: Vec<String>,
    #[serde(default, deserialize_with = "length")]
    timeout: Option<std::time::Duration>,
    ca_cert: Option<PathBuf>,
    client_cert: Option<PathBuf>,
    client_key: Option<PathBuf>,
    token_file: Option<PathBuf>,
}

fn length<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<std::time::Duration>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let length = duration::parse(&text).filter(|length| !length.is_zero());
    let wrong = || serde::de::Error::custom("must be a length of time such as 500ms, 10s or 1m");
    length.map(Some).ok_or_else(wrong)
}

/// Fills in from the context what neither a flag nor a variable has said. `wanted`: the one that is named.
pub(super) fn fill(
    client: &mut ClientArgs,
    wanted: Option<&str>,
    is_said: impl Fn(&str) -> bool,
) -> Result<(), CliError> {
    let Some(file) = File::find() else {
        return match wanted {
            Some(name) => Err(CliError::Usage(format!(
                "there is no context `{name}`: {FILE_VARIABLE} names no file of contexts"
            ))),
            None => Ok(()),
        };
    };
    let mut contexts = file.read()?;
    let Some(name) = wanted.map(str::to_owned).or(contexts.current.take()) else {
        return Ok(());
    };
    let Some(context) = contexts.contexts.remove(&name) else {
        return Err(file.no_such(&name, &contexts));
    };
    if context.endpoints.is_empty() {
        return Err(file.wrong(format!("context `{name}` has no endpoints")));
    }
    if !is_said("endpoints") {
        client.endpoints = context.endpoints;
    }
    if let Some(timeout) = context.timeout.filter(|_| !is_said("timeout")) {
        client.timeout = timeout;
    }
    let beside = |path: PathBuf| {
        file.path
            .parent()
            .map_or_else(|| path.clone(), |dir| dir.join(&path))
    };
    for (own, given, name) in [
        (&mut client.tls.ca_cert, context.ca_cert, "ca_cert"),
        (&mut client.tls.client_cert, context.client_cert, "client_cert"),
        (&mut client.tls.client_key, context.client_key, "client_key"),
        (&mut client.token_file, context.token_file, "token_file"),
    ] {
        if let Some(given) = given.filter(|_| !is_said(name)) {
            *own = Some(beside(given));
        }
    }
    Ok(())
}

/// `concord context ...`
pub(super) fn run(command: &ContextCommand) -> Result<(), CliError> {
    let file = File::find();
    match command {
        ContextCommand::List { output } => list(file.as_ref(), *output),
        ContextCommand::Use { name } => match file {
            Some(file) => file.make_current(name),
            None => Err(CliError::Usage(format!(
                "{FILE_VARIABLE} names no file of contexts"
            ))),
        },
    }
}

fn list(file: Option<&File>, output: Output) -> Result<(), CliError> {
    let contexts = file.map(File::read).transpose()?.unwrap_or_default();
    let mut out = Out::new(output);
    let is_current = |name: &String| contexts.current.as_ref() == Some(name);
    if out.is_json() {
        let all = contexts.contexts.iter().map(|(name, context)| {
            json!({ "name": name, "current": is_current(name), "endpoints": context.endpoints })
        });
        out.json(&all.collect())?;
    } else {
        let rows = contexts.contexts.iter().map(|(name, context)| {
            let mark = if is_current(name) { "*" } else { "" };
            vec![mark.to_owned(), name.clone(), context.endpoints.join(",")]
        });
        out.table(&["", "context", "endpoints"], rows)?;
    }
    out.flush()
}

/// The file, which need not be there unless it was named.
struct File {
    path: PathBuf,
    is_named: bool,
}

impl File {
    fn find() -> Option<Self> {
        let of = |name: &str| std::env::var_os(name);
        if let Some(named) = of(FILE_VARIABLE) {
            let path = PathBuf::from(named);
            let is_none = path.as_os_str().is_empty();
            return (!is_none).then_some(Self { path, is_named: true });
        }
        let absolute = |path: PathBuf| path.is_absolute().then_some(path);
        let settings = of("XDG_CONFIG_HOME").map(PathBuf::from).and_then(absolute);
        let home = || of("HOME").map(PathBuf::from).and_then(absolute);
        let directory = settings.or_else(|| home().map(|home| home.join(".config")))?;
        Some(Self {
            path: directory.join("concord/contexts.toml"),
            is_named: false,
        })
    }

    fn text(&self) -> Result<String, CliError> {
        let failed = |error| CliError::io(format!("cannot read {}", self.path.display()), error);
        let file = match std::fs::File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && !self.is_named => {
                return Ok(String::new());
            }
            Err(error) => return Err(failed(error)),
        };
        let mut text = String::new();
        file.take(FILE_BYTES_MAX + 1)
            .read_to_string(&mut text)
            .map_err(failed)?;
        if u64::try_from(text.len()).unwrap_or(u64::MAX) > FILE_BYTES_MAX {
            return Err(self.wrong("it is larger than 1 MiB"));
        }
        Ok(text)
    }

    fn read(&self) -> Result<Contexts, CliError> {
        self.parse(&self.text()?)
    }

    fn parse(&self, text: &str) -> Result<Contexts, CliError> {
        toml::from_str(text).map_err(|error| self.wrong(error.to_string().trim_end()))
    }

    fn wrong(&self, reason: impl std::fmt::Display) -> CliError {
        CliError::Usage(format!("{}: {reason}", self.path.display()))
    }

    fn no_such(&self, name: &str, contexts: &Contexts) -> CliError {
        let known: Vec<&str> = contexts.contexts.keys().map(String::as_str).collect();
        let known = if known.is_empty() {
            "none".to_owned()
        } else {
            known.join(", ")
        };
        self.wrong(format!("there is no context `{name}`, but {known}"))
    }

    /// Changes the one line that says which is used, and nothing else that somebody has written there.
    fn make_current(&self, name: &str) -> Result<(), CliError> {
        let before = self.text()?;
        let contexts = self.parse(&before)?;
        if !contexts.contexts.contains_key(name) {
            return Err(self.no_such(name, &contexts));
        }
        let line = format!("current = {name:?}");
        let is_current = |text: &str| {
            let rest = text.trim_start().strip_prefix("current");
            rest.is_some_and(|rest| rest.trim_start().starts_with('='))
        };
        let mut lines: Vec<&str> = before.lines().collect();
        let head = lines
            .iter()
            .take_while(|text| !text.trim_start().starts_with('['))
            .count();
        match lines.iter().take(head).position(|text| is_current(text)) {
            Some(place) => lines.splice(place..=place, [line.as_str()]).for_each(drop),
            None => lines.insert(0, &line),
        }
        let after = lines.join("\n") + "\n";
        if self.parse(&after)?.current.as_deref() != Some(name) {
            return Err(self.wrong("cannot be changed by this program: set `current` in it"));
        }
        self.replace(&after)
    }

    fn replace(&self, text: &str) -> Result<(), CliError> {
        let failed = |error| CliError::io(format!("cannot write {}", self.path.display()), error);
        let directory = self.path.parent().unwrap_or(Path::new("."));
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        let beside = directory.join(format!(".{name}.{}", std::process::id()));
        let written = std::fs::metadata(&self.path).and_then(|before| {
            let mut file = std::fs::File::create_new(&beside)?;
            file.set_permissions(before.permissions())?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            std::fs::rename(&beside, &self.path)
        });
        written.map_err(|error| {
            // What it was stays; the half-written one is of no use.
            let _ = std::fs::remove_file(&beside);
            failed(error)
        })
    }
}
