//! How a command fails: what it prints and which code it exits with.

use std::fmt;
use std::io;
use std::process::ExitCode;

use serde_json::{Value, json};

use crate::client::ClientError;
use crate::{ConfigError, Error, OpenError, OpenErrorKind};

/// Exit codes: documented in `docs/cli.md`, stable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Anything without a code of its own.
    Failed = 1,
    /// The command line or the configuration is wrong.
    Usage = 2,
    /// What was asked for does not exist.
    NotFound = 3,
    /// The cluster will never take this request.
    Invalid = 4,
    /// A condition does not hold.
    Condition = 5,
    /// Not allowed.
    Denied = 6,
    /// Not now; nothing was written.
    Unavailable = 7,
    /// A write may have happened.
    Unknown = 8,
    /// Over a quota or a rate.
    Limited = 9,
    /// The node's storage.
    Storage = 10,
}

impl Exit {
    /// The exit code of an error's stable name.
    pub(crate) fn of(code: &str) -> Self {
        match code {
            "usage" | "invalid_config" => Self::Usage,
            "not_found" | "lease_not_found" => Self::NotFound,
            "invalid_key"
            | "invalid_ttl"
            | "invalid_value"
            | "value_too_large"
            | "batch_too_large"
            | "invalid_request"
            | "compacted"
            | "future_revision"
            | "unsupported"
            | "idempotency_conflict" => Self::Invalid,
            "condition_failed" | "already_exists" | "unique_violation" => Self::Condition,
            "unauthorized" | "forbidden" => Self::Denied,
            "unreachable" | "no_quorum" | "not_ready" | "overloaded" | "shutting_down" | "timeout" => {
                Self::Unavailable
            }
            "outcome_unknown" => Self::Unknown,
            "quota_exceeded" | "rate_limited" => Self::Limited,
            "corrupt" | "storage_failed" | "backup_failed" | "audit_failed" | "in_use" | "refused"
            | "newer_version" => Self::Storage,
            _ => Self::Failed,
        }
    }
}

/// Why a command failed.
#[derive(Debug)]
pub(crate) enum CliError {
    /// The cluster, or the way to it.
    Client(ClientError),
    /// A setting.
    Config(ConfigError),
    /// The node did not start.
    Open(OpenError),
    /// The node ran and failed.
    Node(Error),
    /// What was asked for makes no sense.
    Usage(String),
    /// A request that no node would take: not even sent.
    Request {
        /// The name a node would give.
        code: &'static str,
        /// Why.
        message: String,
    },
    /// A file or stream on this side.
    Io {
        /// What it was about.
        what: String,
        /// What the system says.
        source: io::Error,
    },
    /// Whoever read our output has gone.
    ReaderGone,
    /// A command that was run has ended so: it has said itself what was wrong.
    Exited(u8),
}

impl CliError {
    /// A file or stream failed.
    pub(crate) fn io(what: impl Into<String>, source: io::Error) -> Self {
        Self::Io {
            what: what.into(),
            source,
        }
    }

    /// The stable name of the error.
    pub(crate) fn code(&self) -> &str {
        match self {
            Self::Client(error) => error.code(),
            Self::Config(_) => "invalid_config",
            Self::Open(error) => open_code(error.kind()),
            Self::Node(error) => error.code(),
            Self::Usage(_) => "usage",
            Self::Request { code, .. } => code,
            Self::Io { .. } => "io",
            Self::ReaderGone => "reader_gone",
            Self::Exited(_) => "exited",
        }
    }

    fn details(&self) -> Value {
        match self {
            Self::Client(error) => error.details().clone(),
            Self::Config(_)
            | Self::Open(_)
            | Self::Node(_)
            | Self::Usage(_)
            | Self::Request { .. }
            | Self::Io { .. }
            | Self::ReaderGone
            | Self::Exited(_) => Value::Null,
        }
    }

    /// What goes to standard error, and the exit code.
    pub(crate) fn report(&self, as_json: bool) -> (String, ExitCode) {
        // `head` has seen enough: that is no error, and nobody reads on.
        if matches!(self, Self::ReaderGone) {
            return (String::new(), ExitCode::SUCCESS);
        }
        if let Self::Exited(code) = self {
            return (String::new(), ExitCode::from(*code));
        }
        let text = if as_json {
            let error = json!({"code": self.code(), "message": self.to_string(), "details": self.details()});
            json!({"status": "error", "error": error}).to_string()
        } else {
            format!("concord: {}: {self}", self.code())
        };
        let exit = Exit::of(self.code());
        // An enum of small numbers; `as` is the only way from its variants to them.
        (text, ExitCode::from(exit as u8))
    }
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client(error) => error.fmt(f),
            Self::Config(error) => with_causes(error, f),
            Self::Open(error) => with_causes(error, f),
            Self::Node(error) => with_causes(error, f),
            Self::Usage(reason) => f.write_str(reason),
            Self::Request { message, .. } => f.write_str(message),
            Self::Io { what, source } => write!(f, "{what}: {source}"),
            Self::ReaderGone => f.write_str("the reader of the output has gone"),
            Self::Exited(code) => write!(f, "the command exited with {code}"),
        }
    }
}

fn open_code(kind: OpenErrorKind) -> &'static str {
    match kind {
        OpenErrorKind::Config => "invalid_config",
        OpenErrorKind::InUse => "in_use",
        OpenErrorKind::Refused => "refused",
        OpenErrorKind::Corrupt => "corrupt",
        OpenErrorKind::NewerVersion => "newer_version",
        OpenErrorKind::StorageFailed => "storage_failed",
        OpenErrorKind::Address => "address",
    }
}

fn with_causes(error: &dyn std::error::Error, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(f, "{error}")?;
    let mut cause = error.source();
    while let Some(error) = cause {
        write!(f, ": {error}")?;
        cause = error.source();
    }
    Ok(())
}

impl From<ClientError> for CliError {
    fn from(error: ClientError) -> Self {
        Self::Client(error)
    }
}

impl From<ConfigError> for CliError {
    fn from(error: ConfigError) -> Self {
        Self::Config(error)
    }
}

impl From<OpenError> for CliError {
    fn from(error: OpenError) -> Self {
        Self::Open(error)
    }
}

impl From<Error> for CliError {
    fn from(error: Error) -> Self {
        Self::Node(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_of_the_contract_has_an_exit_code_of_its_kind() {
        for (code, exit) in [
            ("invalid_key", Exit::Invalid),
            ("invalid_ttl", Exit::Invalid),
            ("invalid_value", Exit::Invalid),
            ("value_too_large", Exit::Invalid),
            ("batch_too_large", Exit::Invalid),
            ("invalid_request", Exit::Invalid),
            ("not_found", Exit::NotFound),
            ("condition_failed", Exit::Condition),
            ("already_exists", Exit::Condition),
            ("unique_violation", Exit::Condition),
            ("lease_not_found", Exit::NotFound),
            ("compacted", Exit::Invalid),
            ("future_revision", Exit::Invalid),
            ("unauthorized", Exit::Denied),
            ("forbidden", Exit::Denied),
            ("quota_exceeded", Exit::Limited),
            ("rate_limited", Exit::Limited),
            ("timeout", Exit::Unavailable),
            ("outcome_unknown", Exit::Unknown),
            ("no_quorum", Exit::Unavailable),
            ("not_ready", Exit::Unavailable),
            ("overloaded", Exit::Unavailable),
            ("idempotency_conflict", Exit::Invalid),
            ("unsupported", Exit::Invalid),
            ("corrupt", Exit::Storage),
            ("storage_failed", Exit::Storage),
            ("backup_failed", Exit::Storage),
            ("audit_failed", Exit::Storage),
            ("shutting_down", Exit::Unavailable),
            ("in_use", Exit::Storage),
            ("newer_version", Exit::Storage),
            ("address", Exit::Failed),
        ] {
            assert_eq!(Exit::of(code), exit, "{code}");
        }
    }

    #[test]
    fn reports_name_code_and_message_in_both_forms() {
        let error = CliError::Usage("no such thing".to_owned());
        assert_eq!(error.report(false).0, "concord: usage: no such thing");
        let json: Value = serde_json::from_str(&error.report(true).0).unwrap();
        assert_eq!(json.pointer("/error/code"), Some(&json!("usage")));
    }
}
