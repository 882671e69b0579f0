//! Names of recipes, and the keys that they stand for.

use concord_auth::policy::TenantId;
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
    /// All of them.
    #[cfg(feature = "http")]
    pub(crate) const ALL: [Self; 9] = [
        Self::Lock,
        Self::RwLock,
        Self::Election,
        Self::Semaphore,
        Self::Barrier,
        Self::DoubleBarrier,
        Self::Sequence,
        Self::RateLimiter,
        Self::Service,
    ];

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
}

/// Where names of a kind are: with those of everybody, or within the keys of a tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Home {
    kind: Kind,
    tenant: Option<TenantId>,
}

impl Home {
    /// The home of a name or of the beginning of one, and what it is called there: `acme#deploy` is `deploy` among
    /// the names of the tenant `acme`. No name has a `#` otherwise, so none is in two homes, and it
    /// depends on nothing but the name: a lock that moved when somebody made a tenant would have two holders.
    pub(crate) fn of(kind: Kind, text: &str) -> Result<(Self, &str), Error> {
        let Some((tenant, name)) = text.split_once('#') else {
            return Ok((Self { kind, tenant: None }, text));
        };
        let tenant = Some(TenantId::new(tenant)?);
        Ok((Self { kind, tenant }, name))
    }

    /// The first part of the keys there.
    pub(crate) fn root(&self) -> String {
        match &self.tenant {
            Some(tenant) => format!("{tenant}:{}", self.kind.root()),
            None => self.kind.root().to_owned(),
        }
    }

    /// The name that a key there belongs to, and what the key has behind it.
    pub(crate) fn split<'a>(&self, key: &'a Key) -> Option<(String, &'a str)> {
        let key = std::str::from_utf8(key.as_bytes()).ok()?;
        let (name, rest) = key.strip_prefix(&self.root())?.split_once('#')?;
        let name = match &self.tenant {
            Some(tenant) => format!("{tenant}#{name}"),
            None => name.to_owned(),
        };
        Some((name, rest))
    }
}

/// A name of a kind: `lock:NAME#` begins the keys of all that hold it or wait for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// As it was given.
    name: String,
    /// What its keys begin with, up to the end of the name.
    stem: String,
}

impl Place {
    pub(crate) fn new(kind: Kind, name: impl Into<String>) -> Result<Self, Error> {
        let name = name.into();
        let (home, bare) = Home::of(kind, &name)?;
        check_name(bare)?;
        let stem = home.root() + bare;
        Ok(Self { name, stem })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// What the keys of this name begin with, and no other key.
    pub(crate) fn prefix(&self) -> String {
        format!("{}#", self.stem)
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
        self.stem.clone()
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
    use concord_auth::policy::{RESERVED_TENANT_IDS, TENANT_ID_BYTES_MAX};

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

    /// What a tenant's token may reach, and nobody else's name.
    #[test]
    fn names_of_a_tenant_have_their_keys_in_its_namespace() {
        let place = Place::new(Kind::Lock, "acme#jobs:nightly").unwrap();
        assert_eq!(place.name(), "acme#jobs:nightly");
        let key = place.key("", LeaseId::new(42));
        assert_eq!(key, "acme:lock:jobs:nightly#000000000000002a");
        assert_eq!(concord_core::key::namespace_of(key.as_bytes()), b"acme");
        let (home, beginning) = Home::of(Kind::Lock, "acme#jo").unwrap();
        assert_eq!((home.root().as_str(), beginning), ("acme:lock:", "jo"));
        let key = Key::try_from(key.as_str()).unwrap();
        let (name, rest) = home.split(&key).unwrap();
        assert_eq!((name.as_str(), rest), ("acme#jobs:nightly", "000000000000002a"));
        let sequence = Place::new(Kind::Sequence, "acme#ids").unwrap();
        assert_eq!(sequence.shared(), "acme:sequence:ids");
        // As it was before there were tenants.
        let (everybody, _) = Home::of(Kind::Lock, "jobs:nightly").unwrap();
        assert_eq!(everybody.root(), "lock:");
        assert_eq!(everybody.split(&key), None);
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
        let longer = format!("acme#{long}");
        for name in [
            "",
            "#",
            "#b",
            "acme#",
            "acme#b#c",
            "a b#c",
            "a\nb",
            "acme#a\nb",
            "\u{0}",
            // Their keys would be those of names of everybody.
            "lock#b",
            "election#b",
            long.as_str(),
            longer.as_str(),
        ] {
            let refused = Place::new(Kind::Election, name).unwrap_err();
            assert_eq!(refused.code(), "invalid_request", "{name:?}");
        }
        let longest = Place::new(Kind::Election, "x".repeat(RECIPE_NAME_BYTES_MAX)).unwrap();
        let key = longest.key("", LeaseId::new(u64::MAX));
        assert!(key.len() <= concord_core::limits::KEY_BYTES_MAX);
        let tenant = "x".repeat(TENANT_ID_BYTES_MAX);
        let longest = format!("{tenant}#{}", "x".repeat(RECIPE_NAME_BYTES_MAX));
        let longest = Place::new(Kind::DoubleBarrier, longest).unwrap();
        let key = longest.key("role", LeaseId::new(u64::MAX));
        assert!(key.len() <= concord_core::limits::KEY_BYTES_MAX);
    }
}
