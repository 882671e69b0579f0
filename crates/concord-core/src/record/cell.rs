//! The bytes of a version of a key: a record, or the tombstone that a removal leaves.
//!
//! ```text
//! record:    flags  mod_revision  mod - create  version  [expires_at]  [lease]  link  value...
//! tombstone: flags  mod_revision  link
//! link:      [order]  [depth  anchor...]        anchor: revisions back, order
//! flags:     0x03 format, or how it was removed · 0x04 expires_at · 0x08 lease
//!            0x10 order · 0x20 depth · 0x40 packed value · 0x80 tombstone
//! ```
//!
//! Numbers are LEB128: about ten bytes instead of thirty before each value. The link is what
//! leads from a version to the ones before it: see [`Link`].

use alloc::vec::Vec;

use crate::codec::DecodeError;
use crate::codec::reader::Reader;
use crate::codec::writer;
use crate::ids::{LeaseId, Revision, Timestamp};
use crate::value::ValueFormat;
use crate::view::ChangeKind;

const LOW_MASK: u8 = 0b11;
const HAS_EXPIRY: u8 = 0x04;
const HAS_LEASE: u8 = 0x08;
const HAS_ORDER: u8 = 0x10;
const HAS_DEPTH: u8 = 0x20;
const PACKED: u8 = 0x40;
const TOMBSTONE: u8 = 0x80;

/// Versions between two anchors of the finest level.
const ANCHOR_SPACING: u64 = 16;
/// Levels of anchors: every 16th, 256th and 4096th version.
const ANCHOR_LEVELS: usize = 3;

/// Where a change stands in the change log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) revision: Revision,
    /// Its order within the revision.
    pub(crate) order: u32,
}

/// How to get from a version to older ones. The change that made a version holds the one
/// before it, so versions form a chain through the change log. Anchors skip along it: level 1
/// leads to the nearest older version whose depth is a multiple of 16, level 2 of 256, level 3
/// of 4096. Finding one of n versions takes about 48 + n / 4096 steps, and a write touches none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) place: Place,
    /// Versions behind this one, as far as compaction had left them when it was made.
    pub(crate) depth: u64,
    anchors: [Option<Place>; ANCHOR_LEVELS],
}

impl Link {
    /// The link of a version at `place` that follows the one that `before` belongs to.
    pub(crate) fn following(before: &Self, place: Place) -> Self {
        let depth = before.depth.saturating_add(1);
        let mut anchors = before.anchors;
        let mut spacing = 1_u64;
        for anchor in &mut anchors {
            spacing *= ANCHOR_SPACING;
            if before.depth > 0 && before.depth.is_multiple_of(spacing) {
                *anchor = Some(before.place);
            }
        }
        Self {
            place,
            depth,
            anchors,
        }
    }

    /// The link of a version that follows none, or none that a reader may still see.
    pub(crate) fn first(place: Place) -> Self {
        Self {
            place,
            ..Self::default()
        }
    }

    /// The change to go to for the version in force at `revision`, which is before this one:
    /// the oldest known one that is after `revision`.
    pub(crate) fn towards(&self, revision: Revision) -> Place {
        let mut anchors = self.anchors.iter().rev().flatten();
        anchors
            .find(|anchor| anchor.revision > revision)
            .copied()
            .unwrap_or(self.place)
    }

    pub(crate) fn anchors(&self) -> impl Iterator<Item = Place> {
        self.anchors.into_iter().flatten()
    }

    const fn flags(&self) -> u8 {
        let order = if self.place.order != 0 { HAS_ORDER } else { 0 };
        let depth = if self.depth != 0 { HAS_DEPTH } else { 0 };
        order | depth
    }

    fn encode(&self, out: &mut Vec<u8>) {
        if self.place.order != 0 {
            writer::number(self.place.order.into(), out);
        }
        if self.depth == 0 {
            return;
        }
        writer::number(self.depth, out);
        let mut from = self.place.revision;
        for anchor in self.anchors() {
            writer::number(from.get().saturating_sub(anchor.revision.get()), out);
            writer::number(anchor.order.into(), out);
            from = anchor.revision;
        }
    }

    fn decode(flags: u8, revision: Revision, reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut link = Self::first(Place { revision, order: 0 });
        if flags & HAS_ORDER != 0 {
            link.place.order = order(reader)?;
        }
        if flags & HAS_DEPTH == 0 {
            return Ok(link);
        }
        link.depth = reader.number()?;
        let mut spacing = 1_u64;
        let mut from = revision;
        for anchor in &mut link.anchors {
            spacing *= ANCHOR_SPACING;
            // Up to here the chain is too short for an anchor of this level.
            if link.depth <= spacing {
                break;
            }
            let back = reader.number()?;
            let revision = from
                .get()
                .checked_sub(back)
                .ok_or_else(|| reader.error("anchor before revision 0"))?;
            from = Revision::new(revision);
            *anchor = Some(Place {
                revision: from,
                order: order(reader)?,
            });
        }
        Ok(link)
    }
}

fn order(reader: &mut Reader<'_>) -> Result<u32, DecodeError> {
    let order = reader.number()?;
    u32::try_from(order).map_err(|_| reader.error("order beyond 32 bits"))
}

/// What is known about the writes of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) format: ValueFormat,
    /// Whether the value's bytes are packed: see [`crate::value::StoredValue`].
    pub(crate) is_packed: bool,
    pub(crate) create_revision: Revision,
    pub(crate) mod_revision: Revision,
    pub(crate) version: u64,
    pub(crate) expires_at: Option<Timestamp>,
    pub(crate) lease: Option<LeaseId>,
}

/// What a cell says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StoredCell<'a> {
    /// The key held this.
    Record {
        header: Header,
        link: Link,
        value: &'a [u8],
    },
    /// The key was removed, in this way.
    Tombstone { kind: ChangeKind, link: Link },
}

impl StoredCell<'_> {
    pub(crate) const fn link(&self) -> &Link {
        match self {
            Self::Record { link, .. } | Self::Tombstone { link, .. } => link,
        }
    }

    /// The revision that made it.
    pub(crate) const fn revision(&self) -> Revision {
        self.link().place.revision
    }
}

/// Appends a record.
pub(crate) fn encode(header: &Header, link: &Link, value: &[u8], out: &mut Vec<u8>) {
    let mut flags = header.format.code() | link.flags();
    if header.is_packed {
        flags |= PACKED;
    }
    if header.expires_at.is_some() {
        flags |= HAS_EXPIRY;
    }
    if header.lease.is_some() {
        flags |= HAS_LEASE;
    }
    out.push(flags);
    writer::number(header.mod_revision.get(), out);
    writer::number(
        header
            .mod_revision
            .get()
            .saturating_sub(header.create_revision.get()),
        out,
    );
    writer::number(header.version, out);
    if let Some(deadline) = header.expires_at {
        writer::number(deadline.get(), out);
    }
    if let Some(lease) = header.lease {
        writer::number(lease.get(), out);
    }
    link.encode(out);
    out.extend_from_slice(value);
}

/// Appends the tombstone of a removal.
pub(crate) fn encode_tombstone(kind: ChangeKind, link: &Link, out: &mut Vec<u8>) {
    out.push(TOMBSTONE | kind.code() | link.flags());
    writer::number(link.place.revision.get(), out);
    link.encode(out);
}

/// Reads a cell of unknown origin. The value's bytes are not judged.
pub(crate) fn decode(bytes: &[u8]) -> Result<StoredCell<'_>, DecodeError> {
    let mut reader = Reader::new(bytes);
    let flags = reader.u8()?;
    if flags & TOMBSTONE != 0 {
        return tombstone(flags, &mut reader);
    }
    if flags & !(LOW_MASK | HAS_EXPIRY | HAS_LEASE | HAS_ORDER | HAS_DEPTH | PACKED) != 0 {
        return Err(reader.error("unknown record flags"));
    }
    let format =
        ValueFormat::from_code(flags & LOW_MASK).ok_or_else(|| reader.error("unknown value format"))?;
    let mod_revision = reader.number()?;
    let age = reader.number()?;
    let create_revision = mod_revision
        .checked_sub(age)
        .ok_or_else(|| reader.error("record created before revision 0"))?;
    let version = reader.number()?;
    let expires_at = if flags & HAS_EXPIRY != 0 {
        Some(Timestamp::new(reader.number()?))
    } else {
        None
    };
    let lease = if flags & HAS_LEASE != 0 {
        Some(LeaseId::new(reader.number()?))
    } else {
        None
    };
    let mod_revision = Revision::new(mod_revision);
    let link = Link::decode(flags, mod_revision, &mut reader)?;
    let create_revision = Revision::new(create_revision);
    let header = Header {
        format,
        is_packed: flags & PACKED != 0,
        create_revision,
        mod_revision,
        version,
        expires_at,
        lease,
    };
    Ok(StoredCell::Record {
        header,
        link,
        value: reader.rest(),
    })
}

fn tombstone<'a>(flags: u8, reader: &mut Reader<'a>) -> Result<StoredCell<'a>, DecodeError> {
    if flags & !(TOMBSTONE | LOW_MASK | HAS_ORDER | HAS_DEPTH) != 0 {
        return Err(reader.error("unknown tombstone flags"));
    }
    let kind = ChangeKind::from_code(flags & LOW_MASK).filter(|kind| kind.is_removal());
    let kind = kind.ok_or_else(|| reader.error("unknown tombstone"))?;
    let revision = Revision::new(reader.number()?);
    let link = Link::decode(flags, revision, reader)?;
    reader.end()?;
    Ok(StoredCell::Tombstone { kind, link })
}

/// Reads a cell of the store.
///
/// # Panics
///
/// If it is damaged. Only `store::mutate` writes cells and a restore checks each: damage here
/// is damage of memory, and a replica that may be wrong must stop.
pub(crate) fn stored(bytes: &[u8]) -> StoredCell<'_> {
    decode(bytes).expect("cells in the store are written by this module and checked on restore")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(revision: u64, order: u32) -> Place {
        Place {
            revision: Revision::new(revision),
            order,
        }
    }

    fn chain(count: u64) -> Vec<Link> {
        let mut links = alloc::vec![Link::first(place(10, 0))];
        for n in 1..count {
            let link = Link::following(
                links.last().unwrap(),
                place(10 + n * 3, u32::try_from(n % 2).unwrap()),
            );
            links.push(link);
        }
        links
    }

    #[test]
    fn records_and_tombstones_read_back() {
        for (n, link) in chain(5_000).into_iter().enumerate() {
            let odd = n % 2 == 1;
            let header = Header {
                format: ValueFormat::Document,
                is_packed: odd,
                create_revision: Revision::new(3),
                mod_revision: link.place.revision,
                version: 2,
                expires_at: odd.then_some(Timestamp::new(1 << 41)),
                lease: odd.then_some(LeaseId::new(7)),
            };
            let mut out = Vec::new();
            encode(&header, &link, b"value", &mut out);
            assert_eq!(
                decode(&out),
                Ok(StoredCell::Record {
                    header,
                    link,
                    value: b"value"
                })
            );

            let mut out = Vec::new();
            let kind = if odd {
                ChangeKind::Delete
            } else {
                ChangeKind::Expire
            };
            encode_tombstone(kind, &link, &mut out);
            assert_eq!(decode(&out), Ok(StoredCell::Tombstone { kind, link }));
        }
    }

    #[test]
    fn malformed_cells_are_refused() {
        assert!(decode(&[]).is_err());
        assert!(decode(&[TOMBSTONE | ChangeKind::Put.code(), 1]).is_err());
        assert!(decode(&[0x03, 1, 0, 1]).is_err());
        assert!(decode(&[0, 1, 2, 1]).is_err(), "created before revision 0");
    }

    /// Follows the links as a reader does: from a version to the change, which holds the
    /// version before it.
    #[test]
    fn any_of_many_versions_is_a_few_steps_away() {
        let links = chain(10_000);
        for wanted in (0..links.len()).step_by(7) {
            let revision = links[wanted].place.revision;
            let (mut at, mut steps) = (links.len() - 1, 0);
            while links[at].place.revision > revision {
                let change = links[at].towards(revision);
                let made_by = links.iter().position(|link| link.place == change).unwrap();
                assert!(made_by > wanted, "never beyond");
                at = made_by - 1;
                steps += 1;
            }
            assert_eq!(at, wanted);
            assert!(steps <= 52, "{steps} steps");
        }
    }
}
