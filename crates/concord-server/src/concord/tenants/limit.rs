//! Limits of tenants: a number or none.

use std::fmt;
use std::str::FromStr;

use concord_core::NamespaceQuota;

/// How much of something a tenant may have. 0: nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// This much.
    AtMost(u64),
    /// As much as the store has.
    Unlimited,
}

/// Text that is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a limit is a whole number from 0 to {} or `unlimited`", u64::MAX)]
pub struct InvalidLimit;

/// How much a tenant may take, and how often it may ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Keys.
    pub max_keys: Limit,
    /// Bytes of keys and their stored values.
    pub max_storage_bytes: Limit,
    /// Requests a second of all its tokens together, which may come at once: writes, and reads on each node.
    pub max_ops_per_sec: Limit,
}

impl Quota {
    /// What a tenant gets of which nothing else is said.
    pub const INITIAL: Self = Self {
        max_keys: Limit::AtMost(10_000),
        max_storage_bytes: Limit::AtMost(100_000_000),
        max_ops_per_sec: Limit::AtMost(1_000),
    };

    /// No limits but those of the store.
    pub const UNLIMITED: Self = Self {
        max_keys: Limit::Unlimited,
        max_storage_bytes: Limit::Unlimited,
        max_ops_per_sec: Limit::Unlimited,
    };
}

impl Limit {
    /// The number, if there is one.
    pub const fn number(self) -> Option<u64> {
        match self {
            Self::AtMost(number) => Some(number),
            Self::Unlimited => None,
        }
    }
}

impl From<u64> for Limit {
    fn from(number: u64) -> Self {
        Self::AtMost(number)
    }
}

impl From<Option<u64>> for Limit {
    fn from(number: Option<u64>) -> Self {
        number.map_or(Self::Unlimited, Self::AtMost)
    }
}

/// Digits alone: no sign, no fraction, no space.
impl FromStr for Limit {
    type Err = InvalidLimit;

    fn from_str(text: &str) -> Result<Self, InvalidLimit> {
        if text == UNLIMITED {
            return Ok(Self::Unlimited);
        }
        let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
        let number = text.parse().ok().filter(|_| is_number);
        number.map(Self::AtMost).ok_or(InvalidLimit)
    }
}

/// How no limit is written.
const UNLIMITED: &str = "unlimited";

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtMost(number) => number.fmt(f),
            Self::Unlimited => f.pad(UNLIMITED),
        }
    }
}

impl From<NamespaceQuota> for Quota {
    fn from(quota: NamespaceQuota) -> Self {
        Self {
            max_keys: quota.max_keys.into(),
            max_storage_bytes: quota.max_storage_bytes.into(),
            max_ops_per_sec: quota.max_ops_per_sec.into(),
        }
    }
}

impl From<Quota> for NamespaceQuota {
    fn from(quota: Quota) -> Self {
        Self {
            max_keys: quota.max_keys.number(),
            max_storage_bytes: quota.max_storage_bytes.number(),
            max_ops_per_sec: quota.max_ops_per_sec.number(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_a_whole_number_or_none() {
        for (text, limit) in [
            ("0", Limit::AtMost(0)),
            ("18446744073709551615", Limit::AtMost(u64::MAX)),
            ("unlimited", Limit::Unlimited),
        ] {
            assert_eq!(text.parse(), Ok(limit));
            assert_eq!(limit.to_string(), text);
        }
        for text in [
            "",
            "-1",
            "+1",
            "1.0",
            "1e3",
            " 1",
            "many",
            "Unlimited",
            "18446744073709551616",
            "1000000000000000000000000000000",
        ] {
            assert_eq!(text.parse::<Limit>(), Err(InvalidLimit), "{text}");
        }
    }

    #[test]
    fn quotas_are_the_stores() {
        for quota in [Quota::INITIAL, Quota::UNLIMITED] {
            assert_eq!(Quota::from(NamespaceQuota::from(quota)), quota);
        }
        assert_eq!(NamespaceQuota::from(Quota::UNLIMITED), NamespaceQuota::UNLIMITED);
    }
}
