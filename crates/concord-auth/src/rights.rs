//! What somebody may do where, ready to be asked.
//!
//! ```text
//! rights at a key = direct
//!                 ∪ for each role without ACLs: its permissions
//!                 ∪ for each role with ACLs, for each of them that matches: what is in both
//! ```
//!
//! The union over roles is why an ACL of one role never takes away what another role gives (D-SEC-5).

use std::collections::BTreeMap;

use concord_core::key::KeyRange;
use concord_core::view::KeyFilter;

use crate::pattern::Pattern;
use crate::permission::{Permission, Permissions};

const READ: Permissions = Permissions::of(&[Permission::Read]);

/// Where a right is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place<'a> {
    /// At this key.
    Key(&'a [u8]),
    /// At every key of this range, whether it exists or not.
    Range(&'a KeyRange),
    /// At any key at all: for what has no key yet, and for reads whose answer is filtered.
    Anywhere,
    /// At no key: the cluster, its settings, its policy. No ACL reaches there, so only what none
    /// narrows counts.
    Cluster,
}

/// What somebody may do where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rights {
    everywhere: Permissions,
    /// By the literal start of the pattern, so that a key is compared with few of many patterns.
    scoped: BTreeMap<Box<[u8]>, Vec<(Pattern, Permissions)>>,
    /// The lengths of those starts, ascending, without repetition.
    lengths: Vec<usize>,
    /// Outside of these nothing may be read but what may be everywhere.
    readable: Vec<KeyRange>,
}

impl Rights {
    /// These permissions at every key and in the cluster.
    #[must_use]
    pub const fn everywhere(permissions: Permissions) -> Self {
        Self {
            everywhere: permissions,
            scoped: BTreeMap::new(),
            lengths: Vec::new(),
            readable: Vec::new(),
        }
    }

    /// Adds permissions that hold where the pattern matches.
    pub(crate) fn add(&mut self, pattern: Pattern, permissions: Permissions) {
        if permissions == Permissions::NONE {
            return;
        }
        let literal = pattern.literal();
        if let Err(place) = self.lengths.binary_search(&literal.len()) {
            self.lengths.insert(place, literal.len());
        }
        self.scoped
            .entry(literal.into())
            .or_default()
            .push((pattern, permissions));
    }

    /// Adds permissions that hold everywhere.
    pub(crate) fn add_everywhere(&mut self, permissions: Permissions) {
        self.everywhere = self.everywhere.union(permissions);
    }

    /// To be called when all is added: notes where something may be read, so that a scan need not look
    /// elsewhere.
    pub(crate) fn finish(&mut self) {
        let mut starts: Vec<&[u8]> = Vec::new();
        for (start, patterns) in &self.scoped {
            let reads = patterns.iter().any(|(_, permissions)| permissions.covers(READ));
            // In order, so that what begins like an earlier one lies within it.
            if reads && !starts.last().is_some_and(|last| start.starts_with(last)) {
                starts.push(start);
            }
        }
        let ranges = starts.into_iter().map(|start| KeyRange::prefix(start.to_vec()));
        self.readable = ranges.collect();
    }

    /// What is allowed at every key, and in the cluster.
    #[must_use]
    pub const fn at_every_key(&self) -> Permissions {
        self.everywhere
    }

    /// What is allowed at a key.
    #[must_use]
    pub fn at(&self, key: &[u8]) -> Permissions {
        let starts = self.lengths.iter().map_while(|length| key.get(..*length));
        let near = starts.filter_map(|start| self.scoped.get(start)).flatten();
        let matching = near.filter(|(pattern, _)| pattern.matches(key));
        matching.fold(self.everywhere, |sum, (_, permissions)| sum.union(*permissions))
    }

    /// What is allowed at every key of a range. Each pattern is judged by itself: rights at the two
    /// halves of a range are no rights over the range.
    #[must_use]
    pub fn over(&self, range: &KeyRange) -> Permissions {
        let start = range.start();
        let starts = self.lengths.iter().map_while(|length| start.get(..*length));
        let near = starts.filter_map(|start| self.scoped.get(start)).flatten();
        let covering = near.filter(|(pattern, _)| pattern.covers(range));
        covering.fold(self.everywhere, |sum, (_, permissions)| sum.union(*permissions))
    }

    /// What is allowed at a place.
    #[must_use]
    pub fn in_place(&self, place: Place<'_>) -> Permissions {
        match place {
            Place::Key(key) => self.at(key),
            Place::Range(range) => self.over(range),
            Place::Anywhere => self
                .scoped
                .values()
                .flatten()
                .fold(self.everywhere, |sum, (_, permissions)| sum.union(*permissions)),
            Place::Cluster => self.everywhere,
        }
    }

    /// Whether no pattern narrows these permissions, so that no answer has to be filtered by key.
    #[must_use]
    pub const fn covers_everywhere(&self, needed: Permissions) -> bool {
        self.everywhere.covers(needed)
    }
}

/// Of reads that leave out what may not be seen.
impl KeyFilter for Rights {
    fn shows(&self, key: &[u8]) -> bool {
        self.at(key).covers(READ)
    }

    fn ranges(&self) -> &[KeyRange] {
        &self.readable
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WRITE: Permissions = Permissions::of(&[Permission::Write]);

    fn rights(scoped: &[(&'static str, Permissions)]) -> Rights {
        let mut rights = Rights::everywhere(Permissions::NONE);
        for (pattern, permissions) in scoped {
            rights.add(Pattern::new(*pattern).unwrap(), *permissions);
        }
        rights
    }

    #[test]
    fn patterns_add_up_where_they_match() {
        let rights = rights(&[("a:*", READ), ("a:b*", WRITE), ("*:x", WRITE), ("a:bc", READ)]);
        assert_eq!(rights.at(b"a:1"), READ);
        assert_eq!(rights.at(b"a:b1"), READ.union(WRITE));
        assert_eq!(rights.at(b"b:x"), WRITE);
        assert_eq!(rights.at(b"a"), Permissions::NONE);
        assert_eq!(rights.in_place(Place::Anywhere), READ.union(WRITE));
        assert_eq!(
            rights.in_place(Place::Cluster),
            Permissions::NONE,
            "no ACL reaches the cluster"
        );
    }

    #[test]
    fn a_range_needs_one_pattern_that_covers_it() {
        let rights = rights(&[("a:*", READ), ("a:b*", WRITE), ("*", WRITE)]);
        assert_eq!(rights.over(&KeyRange::prefix("a:")), READ.union(WRITE));
        assert_eq!(rights.over(&KeyRange::prefix("a")), WRITE);
        let halves = self::rights(&[("a*", READ), ("b*", READ)]);
        assert_eq!(halves.over(&KeyRange::between("a", "c")), Permissions::NONE);
    }

    #[test]
    fn a_scan_seeks_where_something_may_be_read() {
        let mut rights = rights(&[
            ("b:*", READ),
            ("a:x*", READ),
            ("a:*:z", READ),
            ("c", READ),
            ("d:*", WRITE),
        ]);
        rights.finish();
        let expected = ["a:", "b:", "c"].map(KeyRange::prefix);
        assert_eq!(rights.ranges(), expected);
        assert!(rights.shows(b"a:1:z") && rights.shows(b"a:x") && rights.shows(b"c"));
        assert!(!rights.shows(b"a:1") && !rights.shows(b"cc") && !rights.shows(b"d:1"));
    }

    #[test]
    fn what_allows_nothing_is_not_kept() {
        assert_eq!(
            rights(&[("a*", Permissions::NONE)]),
            Rights::everywhere(Permissions::NONE)
        );
    }
}
