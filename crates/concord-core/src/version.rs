//! Versions of the state machine: what every replica of a cluster can do.
//!
//! ```text
//!   a program knows versions up to NEWEST          a cluster is at one version, kept in its state
//!   a request's first byte: the version it needs   needs > version of the state: refused, on every replica alike
//!   all members know a newer one ──> the leader proposes Raise ──> from that entry on, all of them are that machine
//! ```
//!
//! A program does what a program did whose newest version was that of the state, to the byte: in replies, in refusals,
//! in snapshots (I24). So members of different releases apply every entry alike. Whoever does not know the version to
//! which an entry raises the state stops there.
//!
//! A version is closed once it is released: what changes later in what apply does, or in what a snapshot holds, has a
//! new version of its own, and is asked for by [`MachineVersion`] where it is done.

use alloc::vec::Vec;
use core::fmt;

use bytes::Bytes;

use crate::codec::DecodeError;
use crate::codec::command::raise;
use crate::codec::reader::Reader;
use crate::codec::writer;

/// What a state machine can do, as a number: each knows all that those before it know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MachineVersion(u8);

impl MachineVersion {
    /// Of all that never was told another.
    pub const BASE: Self = Self(1);
    /// The newest that this program knows.
    pub const NEWEST: Self = Self(2);
    /// The first that knows of versions: its state keeps them.
    pub(crate) const KEEPS_VERSION: Self = Self(2);

    /// Wraps a number.
    #[must_use]
    pub const fn new(raw: u8) -> Self {
        Self(raw)
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u8 {
        self.0
    }
}

impl fmt::Display for MachineVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A release of Concord: which one to install.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Release {
    /// The first number.
    pub major: u16,
    /// The second.
    pub minor: u16,
    /// The third.
    pub patch: u16,
}

impl Release {
    /// A release by its numbers.
    #[must_use]
    pub const fn new(major: u16, minor: u16, patch: u16) -> Self {
        Self { major, minor, patch }
    }

    fn encode(self, out: &mut Vec<u8>) {
        for number in [self.major, self.minor, self.patch] {
            writer::number(number.into(), out);
        }
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut number =
            || u16::try_from(reader.number()?).map_err(|_| reader.error("malformed number of a release"));
        Ok(Self::new(number()?, number()?, number()?))
    }
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { major, minor, patch } = self;
        write!(f, "{major}.{minor}.{patch}")
    }
}

/// What came with a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Features {
    /// The version.
    pub version: MachineVersion,
    /// The first release that knows it.
    pub release: Release,
    /// What it brought, in words.
    pub what: &'static str,
}

/// Every version that this program knows, oldest first. Which code of a request came with which is in
/// `codec/command.rs`.
pub const VERSIONS: [Features; 2] = [
    Features {
        version: MachineVersion::BASE,
        release: Release::new(0, 1, 0),
        what: "everything that there was before versions were kept",
    },
    Features {
        version: MachineVersion::KEEPS_VERSION,
        release: Release::new(0, 1, 0),
        what: "the version of the cluster is a part of its state",
    },
];

/// Whose machine the replicas of a cluster are: a part of the state, and of what raises it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClusterVersion {
    /// The version.
    pub version: MachineVersion,
    /// The first release that knows it, for those that do not.
    pub release: Release,
}

impl ClusterVersion {
    /// That of a state that never was raised.
    pub const BASE: Self = Self {
        version: MachineVersion::BASE,
        release: Release::new(0, 1, 0),
    };

    /// One that this program knows, with its release.
    #[must_use]
    pub fn known(version: MachineVersion) -> Option<Self> {
        let features = VERSIONS.iter().find(|features| features.version == version)?;
        Some(Self {
            version,
            release: features.release,
        })
    }

    /// The request that raises a cluster to this version.
    #[must_use]
    pub fn raise(self) -> Bytes {
        raise::encode(self)
    }

    pub(crate) fn encode(self, out: &mut Vec<u8>) {
        writer::number(self.version.get().into(), out);
        self.release.encode(out);
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let version = u8::try_from(reader.number()?).map_err(|_| reader.error("malformed version"))?;
        if version == 0 {
            return Err(reader.error("malformed version"));
        }
        Ok(Self {
            version: MachineVersion(version),
            release: Release::decode(reader)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_version_up_to_the_newest_has_its_features() {
        assert_eq!(VERSIONS.first().unwrap().version, MachineVersion::BASE);
        assert_eq!(VERSIONS.last().unwrap().version, MachineVersion::NEWEST);
        for pair in VERSIONS.windows(2) {
            assert_eq!(pair[1].version.get(), pair[0].version.get() + 1);
            assert!(pair[0].release <= pair[1].release);
        }
        assert_eq!(
            ClusterVersion::known(MachineVersion::BASE),
            Some(ClusterVersion::BASE)
        );
        assert_eq!(ClusterVersion::known(MachineVersion::new(200)), None);
    }
}
