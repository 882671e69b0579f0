//! What somebody may do where, ready to be asked.
//!
//! ```text
//! rights at a key = direct
//!                 ∪ for each role without ACLs: its permissions
//!                 ∪ for each role with ACLs, for each of them that matches: what is in both
//! ```
//!
//! The union over roles is why an ACL of one role never takes away what another role gives (D-SEC-5).
//!
//! What they are made of never changes, so it lies in few pieces of memory: with thousands of callers every piece
//! that a judgement looks at is one that the processor has to wait for.
//!
//! ```text
//!   text    a:  a:b  b:   *:z          literal starts of patterns in order, each with what follows its first `*`
//!   starts  ^   ^    ^                 each knows the longest other one that it begins with: `a:b` knows `a:`
//! ```
//!
//! Every start that a key begins with is the last one in order that is not behind the key, or one that this begins
//! with, and so on: one search finds them all.

use std::collections::BTreeMap;

use concord_core::key::KeyRange;
use concord_core::view::KeyFilter;

use crate::pattern::{self, Pattern};
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
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Rights {
    everywhere: Permissions,
    /// Everywhere or somewhere.
    anywhere: Permissions,
    /// What the starts and tails of patterns are made of.
    text: Box<[u8]>,
    /// In the order of their bytes, each once.
    starts: Box<[Start]>,
    globs: Box<[Glob]>,
    /// Outside of these nothing may be read but what may be everywhere.
    readable: Box<[KeyRange]>,
}

/// Where bytes lie in the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Piece {
    begin: u32,
    end: u32,
}

/// What patterns with the same literal start give.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Start {
    literal: Piece,
    /// Of the other starts that this one begins with the longest, or [`NO_START`].
    shorter: u32,
    /// Its patterns that are neither the start alone nor the start and a `*`.
    globs: Piece,
    /// At the key that is the start.
    exactly: Permissions,
    /// At each key that begins with it.
    beneath: Permissions,
}

/// What follows the literal start of a pattern, and what the pattern gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Glob {
    tail: Piece,
    permissions: Permissions,
}

const NO_START: u32 = u32::MAX;

impl Rights {
    /// These permissions at every key and in the cluster.
    #[must_use]
    pub fn everywhere(permissions: Permissions) -> Self {
        Self::new(permissions, [])
    }

    /// Permissions at every key and in the cluster, and such that hold where a pattern matches.
    pub(crate) fn new(
        everywhere: Permissions,
        scoped: impl IntoIterator<Item = (Pattern, Permissions)>,
    ) -> Self {
        let mut anywhere = everywhere;
        let mut patterns: BTreeMap<Pattern, Permissions> = BTreeMap::new();
        for (pattern, permissions) in scoped {
            if permissions != Permissions::NONE {
                anywhere = anywhere.union(permissions);
                let known = patterns.entry(pattern).or_insert(Permissions::NONE);
                *known = known.union(permissions);
            }
        }
        // Not the order of the patterns: `a*` is behind `a!`, its start before it.
        let mut by_start: BTreeMap<&[u8], Vec<(&[u8], Permissions)>> = BTreeMap::new();
        for (pattern, permissions) in &patterns {
            let (literal, tail) = pattern.parts();
            by_start.entry(literal).or_default().push((tail, *permissions));
        }
        let mut layout = Layout::default();
        for (literal, tails) in by_start {
            layout.add(literal, &tails);
        }
        layout.finish(everywhere, anywhere)
    }

    /// What is allowed at every key, and in the cluster.
    #[must_use]
    pub const fn at_every_key(&self) -> Permissions {
        self.everywhere
    }

    /// What is allowed at a key.
    #[must_use]
    pub fn at(&self, key: &[u8]) -> Permissions {
        let mut sum = self.everywhere;
        for (start, rest) in self.starts_of(key) {
            sum = sum.union(start.beneath);
            if rest.is_empty() {
                sum = sum.union(start.exactly);
            }
            for glob in self.globs_of(start) {
                if pattern::matches(self.text(glob.tail), rest) {
                    sum = sum.union(glob.permissions);
                }
            }
        }
        sum
    }

    /// What is allowed at every key of a range. Each pattern is judged by itself: rights at the two
    /// halves of a range are no rights over the range.
    #[must_use]
    pub fn over(&self, range: &KeyRange) -> Permissions {
        let covering = self
            .starts_of(range.start())
            .filter(|(start, _)| pattern::prefix_covers(self.text(start.literal), range));
        covering.fold(self.everywhere, |sum, (start, _)| sum.union(start.beneath))
    }

    /// What is allowed at a place.
    #[must_use]
    pub fn in_place(&self, place: Place<'_>) -> Permissions {
        match place {
            Place::Key(key) => self.at(key),
            Place::Range(range) => self.over(range),
            Place::Anywhere => self.anywhere,
            Place::Cluster => self.everywhere,
        }
    }

    /// Whether no pattern narrows these permissions, so that no answer has to be filtered by key.
    #[must_use]
    pub const fn covers_everywhere(&self, needed: Permissions) -> bool {
        self.everywhere.covers(needed)
    }

    /// The starts that a key begins with, the longest first, each with what of the key follows it.
    fn starts_of<'a>(&'a self, key: &'a [u8]) -> impl Iterator<Item = (&'a Start, &'a [u8])> {
        let behind = self
            .starts
            .partition_point(|start| self.text(start.literal) <= key);
        let mut next = behind.checked_sub(1).and_then(|place| self.starts.get(place));
        std::iter::from_fn(move || {
            let start = next?;
            next = self.starts.get(start.shorter as usize);
            Some(start)
        })
        .filter_map(|start| Some((start, key.strip_prefix(self.text(start.literal))?)))
    }

    fn globs_of(&self, start: &Start) -> &[Glob] {
        let globs = start.globs.begin as usize..start.globs.end as usize;
        self.globs.get(globs).unwrap_or_default()
    }

    fn text(&self, piece: Piece) -> &[u8] {
        let piece = piece.begin as usize..piece.end as usize;
        self.text.get(piece).unwrap_or_default()
    }
}

/// Rights that are being laid out, start by start, in order.
#[derive(Default)]
struct Layout {
    text: Vec<u8>,
    starts: Vec<Start>,
    globs: Vec<Glob>,
    readable: Vec<KeyRange>,
    /// Those of the starts that the last one begins with, and itself: its literal, and which it is.
    open: Vec<(Vec<u8>, u32)>,
}

impl Layout {
    fn add(&mut self, literal: &[u8], patterns: &[(&[u8], Permissions)]) {
        while self
            .open
            .last()
            .is_some_and(|(open, _)| !literal.starts_with(open))
        {
            self.open.pop();
        }
        let shorter = self.open.last().map_or(NO_START, |(_, place)| *place);
        let begin = offset(self.globs.len());
        let mut start = Start {
            literal: self.push(literal),
            shorter,
            globs: Piece { begin, end: begin },
            exactly: Permissions::NONE,
            beneath: Permissions::NONE,
        };
        for (tail, permissions) in patterns {
            match pattern::tail_of(tail) {
                pattern::Tail::Empty => start.exactly = start.exactly.union(*permissions),
                pattern::Tail::AnyRun => start.beneath = start.beneath.union(*permissions),
                pattern::Tail::Glob => {
                    let tail = self.push(tail);
                    let permissions = *permissions;
                    self.globs.push(Glob { tail, permissions });
                }
            }
        }
        start.globs.end = offset(self.globs.len());
        let reads = patterns.iter().any(|(_, permissions)| permissions.covers(READ));
        // In order, so that what begins like an earlier one lies within it.
        if reads
            && !self
                .readable
                .last()
                .is_some_and(|last| literal.starts_with(last.start()))
        {
            self.readable.push(KeyRange::prefix(literal.to_vec()));
        }
        self.open.push((literal.to_vec(), offset(self.starts.len())));
        self.starts.push(start);
    }

    fn push(&mut self, bytes: &[u8]) -> Piece {
        let begin = offset(self.text.len());
        self.text.extend_from_slice(bytes);
        Piece {
            begin,
            end: offset(self.text.len()),
        }
    }

    fn finish(self, everywhere: Permissions, anywhere: Permissions) -> Rights {
        Rights {
            everywhere,
            anywhere,
            text: self.text.into(),
            starts: self.starts.into(),
            globs: self.globs.into(),
            readable: self.readable.into(),
        }
    }
}

fn offset(place: usize) -> u32 {
    u32::try_from(place).expect("64 roles of 1,000 patterns of 1,024 bytes are 64 MiB")
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
    use std::collections::BTreeSet;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    const WRITE: Permissions = Permissions::of(&[Permission::Write]);

    fn rights(scoped: &[(&'static str, Permissions)]) -> Rights {
        let scoped = scoped
            .iter()
            .map(|(pattern, permissions)| (Pattern::new(*pattern).unwrap(), *permissions));
        Rights::new(Permissions::NONE, scoped)
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
        let rights = rights(&[
            ("b:*", READ),
            ("a:x*", READ),
            ("a:*:z", READ),
            ("c", READ),
            ("d:*", WRITE),
        ]);
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

    /// Few bytes, so that starts begin with each other: also the least and the greatest there are, and what patterns
    /// mean something by.
    fn arb_text(longest: usize) -> impl Strategy<Value = Vec<u8>> {
        let byte = prop_oneof![
            4 => Just(b'a'), 2 => Just(b'b'), 2 => Just(b'*'), 1 => Just(0), 1 => Just(b'!'), 1 => Just(0xff),
        ];
        vec(byte, 0..=longest)
    }

    fn arb_range() -> impl Strategy<Value = KeyRange> {
        prop_oneof![
            arb_text(3).prop_map(KeyRange::prefix),
            arb_text(3).prop_map(KeyRange::from),
            (arb_text(3), arb_text(3)).prop_map(|(start, end)| KeyRange::between(start, end)),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        /// The rule, pattern by pattern, is what the layout gives.
        #[test]
        fn rights_are_the_union_of_what_matches(
            everywhere in 0..16_u8,
            scoped in vec((arb_text(4), 0..16_u8), 0..24),
            keys in vec(arb_text(6), 1..12),
            ranges in vec(arb_range(), 1..6),
        ) {
            let permissions = |bits| Permissions::from_bits(bits).unwrap();
            let scoped: Vec<(Pattern, Permissions)> = scoped
                .into_iter()
                .filter_map(|(source, bits)| Some((Pattern::new(source).ok()?, permissions(bits))))
                .collect();
            let everywhere = permissions(everywhere);
            let rights = Rights::new(everywhere, scoped.clone());
            let sum = |holds: &dyn Fn(&Pattern) -> bool| {
                let holding = scoped.iter().filter(|(pattern, _)| holds(pattern));
                holding.fold(everywhere, |sum, (_, permissions)| sum.union(*permissions))
            };
            for key in &keys {
                let at = rights.at(key);
                prop_assert_eq!(at, sum(&|pattern| pattern.matches(key)), "{:?}", key);
                if at.covers(READ) && !everywhere.covers(READ) {
                    prop_assert!(rights.ranges().iter().any(|range| range.contains(key)));
                }
            }
            for range in ranges.iter().filter(|range| !range.is_empty()) {
                prop_assert_eq!(rights.over(range), sum(&|pattern| pattern.covers(range)), "{:?}", range);
            }
            prop_assert_eq!(rights.in_place(Place::Anywhere), sum(&|_| true));
            let distinct: BTreeSet<_> = rights.starts.iter().map(|start| rights.text(start.literal)).collect();
            prop_assert_eq!(distinct.len(), rights.starts.len());
        }
    }
}
