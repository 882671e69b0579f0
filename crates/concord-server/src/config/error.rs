//! What can be wrong with a configuration.

use std::fmt;
use std::io;
use std::path::PathBuf;

use concord_core::ids::NodeId;

/// Where a setting was made.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Place {
    /// In a file, on a line counted from 1.
    File {
        /// Which.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
    },
    /// In an environment variable.
    Environment(String),
    /// On the command line, by this flag.
    Flag(String),
    /// In the code of the embedding application, or by default.
    Code,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Environment(name) => f.write_str(name),
            Self::Flag(flag) => f.write_str(flag),
            Self::Code => f.write_str("default"),
        }
    }
}

/// Why a configuration was refused. Nothing was started or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file is not TOML.
    #[error("{}:{line}: {reason}", path.display())]
    Syntax {
        /// Which file.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// What is wrong there.
        reason: String,
    },
    /// There is no such setting.
    #[error("{place}: there is no setting `{key}`{}", hint(suggestion.as_deref()))]
    UnknownKey {
        /// Where it is set.
        place: Place,
        /// The name, with dots.
        key: String,
        /// The nearest name that there is, if one is near.
        suggestion: Option<String>,
    },
    /// A setting has a value that it cannot have.
    #[error("{place}: `{key}` {reason}")]
    Invalid {
        /// Where it is set.
        place: Place,
        /// The name, with dots.
        key: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Two settings cannot both be, or one has no effect because of the other.
    #[error("{place}: `{key}` {reason} `{other}` ({other_place})")]
    Contradiction {
        /// Where the first is set.
        place: Box<Place>,
        /// The first setting.
        key: String,
        /// How they are at odds: stands between the two names.
        reason: String,
        /// The second setting.
        other: String,
        /// Where the second is set.
        other_place: Box<Place>,
    },
    /// A setting must be made and was not.
    #[error("`{key}` must be set: {reason}")]
    Missing {
        /// The name, with dots.
        key: String,
        /// Why, and what to do.
        reason: String,
    },
}

/// What is wrong, in kind. Stable, unlike the message text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfigErrorKind {
    /// A file cannot be read.
    Unreadable,
    /// A file is not TOML.
    Syntax,
    /// There is no such setting.
    UnknownKey,
    /// A value is not one that the setting can have.
    Invalid,
    /// Settings contradict each other.
    Contradiction,
    /// A setting is missing.
    Missing,
}

impl ConfigError {
    /// What is wrong, in kind.
    pub fn kind(&self) -> ConfigErrorKind {
        match self {
            Self::Unreadable { .. } => ConfigErrorKind::Unreadable,
            Self::Syntax { .. } => ConfigErrorKind::Syntax,
            Self::UnknownKey { .. } => ConfigErrorKind::UnknownKey,
            Self::Invalid { .. } => ConfigErrorKind::Invalid,
            Self::Contradiction { .. } => ConfigErrorKind::Contradiction,
            Self::Missing { .. } => ConfigErrorKind::Missing,
        }
    }

    pub(crate) fn invalid(key: &str, reason: impl Into<String>) -> Self {
        Self::Invalid {
            place: Place::Code,
            key: key.to_owned(),
            reason: reason.into(),
        }
    }

    pub(super) fn contradiction(key: &str, reason: &str, other: &str) -> Self {
        Self::Contradiction {
            place: Box::new(Place::Code),
            key: key.to_owned(),
            reason: reason.to_owned(),
            other: other.to_owned(),
            other_place: Box::new(Place::Code),
        }
    }

    pub(crate) fn unfit_secret() -> Self {
        Self::invalid("peers.secret", "cannot be used as a secret")
    }

    pub(crate) fn foreign_certificate(named: NodeId, own: NodeId) -> Self {
        let reason = format!("is of node {named}, and this is node {own}");
        Self::invalid("peers.tls.certificate", reason)
    }

    pub(super) fn missing(key: &str, reason: impl Into<String>) -> Self {
        Self::Missing {
            key: key.to_owned(),
            reason: reason.into(),
        }
    }

    /// Says where the named settings were made, once that is known.
    pub(super) fn placed(mut self, place_of: impl Fn(&str) -> Place) -> Self {
        match &mut self {
            Self::Invalid { place, key, .. } => *place = place_of(key),
            Self::Contradiction {
                place,
                key,
                other,
                other_place,
                ..
            } => {
                **place = place_of(key);
                **other_place = place_of(other);
            }
            Self::Unreadable { .. }
            | Self::Syntax { .. }
            | Self::UnknownKey { .. }
            | Self::Missing { .. } => {}
        }
        self
    }
}

fn hint(suggestion: Option<&str>) -> String {
    suggestion
        .map(|name| format!("; did you mean `{name}`?"))
        .unwrap_or_default()
}
