//! Names of recipes, and the keys that they stand for.

use concord_core::ids::LeaseId;
use concord_core::key::Key;

use crate::error::Error;
use crate::limits::RECIPE_NAME_BYTES_MAX;

/// What kind of thing a name is of. Names of different kinds have nothing to do with each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Lock,
    RwLock,
    Election,
    Semaphore,
    Barrier,
    DoubleBarrier,
    Sequence,
    RateLimiter,
    Service,
}

impl Kind {
    /// The first part of its keys.
    pub(crate) const fn root(self) -> &'static str {
        match self {
            Self::Lock => "lock:",
            Self::RwLock => "rwlock:",
            Self::Election => "election:",
            Self::Semaphore => "semaphore:",
            Self::Barrier => "barrier:",
            Self::DoubleBarrier => "double-barrier:",
            Self::Sequence => "sequence:",
            Self::RateLimiter => "rate-limiter:",
            Self::Service => "service:",
        }
    }

    /// The name that a key of this kind belongs to, and what the key has behind it.
    pub(crate) fn split(self, key: &Key) -> Option<(&str, &str)> {
        let key = std::str::from_utf8(key.as_bytes()).ok()?;
        key.strip_prefix(self.root())?.split_once('#')
    }
}

/// A name of a kind: `lock:NAME#` begins the keys of all that hold it or wait for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    kind: Kind,
    name: String,
}

impl Place {
    pub(crate) fn new(kind: Kind, name: impl Into<String>) -> Result<Self, Error> {
        let name = name.into();
        check_name(&name)?;
        Ok(Self { kind, name })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// What the keys of this name begin with, and no other key.
    pub(crate) fn prefix(&self) -> String {
        format!("{}{}#", self.kind.root(), self.name)
    }

    /// The key of who has this lease, in a role if there are several.
    pub(crate) fn key(&self, role: &str, lease: LeaseId) -> String {
        let (prefix, lease) = (self.prefix(), lease.get());
        if role.is_empty() {
            format!("{prefix}{lease:016x}")
        } else {
            format!("{prefix}{role}-{lease:016x}")
        }
    }

    /// The key of what all share, where there is such a thing: no name's prefix begins it.
    pub(crate) fn shared(&self) -> String {
        format!("{}{}", self.kind.root(), self.name)
    }
}

/// Checks a name. `#` ends it in a key, so that no name is the beginning of another's keys.
pub(crate) fn check_name(name: &str) -> Result<(), Error> {
    let is_good = !name.is_empty()
        && name.len() <= RECIPE_NAME_BYTES_MAX
        && !name.chars().any(|letter| letter == '#' || letter.is_control());
    if is_good {
        return Ok(());
    }
    Err(Error::invalid_request(format!(
        "a name has 1 to {RECIPE_NAME_BYTES_MAX} bytes, and neither `#` nor control characters"
    )))
}

#[cfg(test)]
mod tests {
    use concord_auth::policy::RESERVED_TENANT_IDS;

    use super::*;

    #[test]
    fn no_name_is_the_beginning_of_the_keys_of_another() {
        for (one, other) in [
            ("a", "ab"),
            ("a", "a:b"),
            ("a:", "a"),
            ("a", "a/0000000000000001"),
        ] {
            let one = Place::new(Kind::Lock, one).unwrap();
            let other = Place::new(Kind::Lock, other).unwrap();
            assert!(!other.key("", LeaseId::new(1)).starts_with(&one.prefix()));
            assert!(!one.key("", LeaseId::new(1)).starts_with(&other.prefix()));
        }
        let key = Place::new(Kind::Lock, "jobs:nightly")
            .unwrap()
            .key("", LeaseId::new(42));
        assert_eq!(key, "lock:jobs:nightly#000000000000002a");
    }

    /// A tenant of such an id would have the keys of everybody's locks.
    #[test]
    fn no_tenant_has_the_keys_of_a_kind() {
        for kind in [
            Kind::Lock,
            Kind::RwLock,
            Kind::Election,
            Kind::Semaphore,
            Kind::Barrier,
            Kind::DoubleBarrier,
            Kind::Sequence,
            Kind::RateLimiter,
            Kind::Service,
        ] {
            let id = kind.root().trim_end_matches(':');
            assert!(RESERVED_TENANT_IDS.contains(&id), "{id}");
        }
    }

    #[test]
    fn names_that_could_be_mistaken_are_refused() {
        let long = "x".repeat(RECIPE_NAME_BYTES_MAX + 1);
        for name in ["", "a#b", "#", "a\nb", "\u{0}", long.as_str()] {
            let refused = Place::new(Kind::Election, name).unwrap_err();
            assert_eq!(refused.code(), "invalid_request", "{name:?}");
        }
        let longest = Place::new(Kind::Election, "x".repeat(RECIPE_NAME_BYTES_MAX)).unwrap();
        let key = longest.key("", LeaseId::new(u64::MAX));
        assert!(key.len() <= concord_core::limits::KEY_BYTES_MAX);
    }
}
