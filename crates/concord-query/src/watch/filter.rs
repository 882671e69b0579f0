//! Which keys, which kinds of change, and what must be true of the record.

use core::fmt;
use std::sync::Arc;

use bytes::Bytes;
use concord_core::expr::{Expression, Scope, Variable};
use concord_core::ids::Timestamp;
use concord_core::key::{Key, KeyRange};
use concord_core::view::{Change, ChangeKind};

use concord_core::glob::Glob;
use concord_core::pattern::Pattern;

use crate::limits::ROUTE_STEPS_MAX;
use crate::pattern::{self, InvalidPattern};

/// Which keys are watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selector {
    /// This one.
    Key(Key),
    /// Those that start with this; all of them if it is empty.
    Prefix(Bytes),
    /// Those of a range.
    Range(KeyRange),
    /// Those that match a pattern.
    Glob(Glob),
    /// Those in which a regular expression is found.
    Pattern(Arc<KeyPattern>),
}

/// A regular expression with what it has become.
#[derive(Clone, Debug)]
pub struct KeyPattern {
    text: String,
    program: Pattern,
    prefix: Bytes,
}

impl KeyPattern {
    /// Reads a pattern, as [`pattern::parse`].
    ///
    /// # Errors
    ///
    /// What is wrong with the text.
    pub fn new(text: impl Into<String>) -> Result<Self, InvalidPattern> {
        let text = text.into();
        Ok(Self {
            program: pattern::parse(&text)?,
            prefix: pattern::literal_prefix(&text).into(),
            text,
        })
    }

    /// The text that it was read from.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What every key starts with in which it is found.
    #[must_use]
    pub const fn literal_prefix(&self) -> &Bytes {
        &self.prefix
    }

    /// Whether it is found in a key, as long as that is little work; if not: it may be.
    fn may_match(&self, key: &[u8]) -> bool {
        let work = self.program.program().len().saturating_mul(key.len());
        work > ROUTE_STEPS_MAX || self.program.matches(key, &mut 0)
    }
}

/// The program follows from the text.
impl PartialEq for KeyPattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for KeyPattern {}

impl Selector {
    /// Every key.
    #[must_use]
    pub const fn all() -> Self {
        Self::Prefix(Bytes::new())
    }

    /// Whether `key` is one of them. Adds the steps of a pattern to `work`.
    #[must_use]
    pub fn matches(&self, key: &[u8], work: &mut u64) -> bool {
        match self {
            Self::Key(wanted) => wanted.as_bytes() == key,
            Self::Prefix(prefix) => key.starts_with(prefix),
            Self::Range(range) => range.contains(key),
            Self::Glob(glob) => glob.matches(key),
            Self::Pattern(pattern) => pattern.program.matches(key, work),
        }
    }

    /// Whether `key` may be one of them, by little work: only a pattern leaves the rest of it to who reads the change.
    fn may_match(&self, key: &[u8]) -> bool {
        match self {
            Self::Pattern(pattern) => pattern.may_match(key),
            Self::Key(_) | Self::Prefix(_) | Self::Range(_) | Self::Glob(_) => self.matches(key, &mut 0),
        }
    }
}

/// Shows text as it is and other bytes escaped.
impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = String::from_utf8_lossy;
        match self {
            Self::Key(key) => write!(f, "key {key}"),
            Self::Prefix(prefix) if prefix.is_empty() => f.write_str("all keys"),
            Self::Prefix(prefix) => write!(f, "prefix {}", shown(prefix)),
            Self::Range(range) => match range.end() {
                Some(end) => write!(f, "range {} to {}", shown(range.start()), shown(end)),
                None => write!(f, "range from {}", shown(range.start())),
            },
            Self::Glob(glob) => write!(f, "glob {glob}"),
            Self::Pattern(pattern) => write!(f, "pattern {}", pattern.text),
        }
    }
}

/// Kinds of change. No `Default`: whether none or all are meant must be said.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Kinds(u8);

impl Kinds {
    /// Every kind.
    pub const ALL: Self = Self::of(&[ChangeKind::Put, ChangeKind::Delete, ChangeKind::Expire]);

    /// These kinds.
    #[must_use]
    pub const fn of(kinds: &[ChangeKind]) -> Self {
        let mut bits = 0;
        let mut rest = kinds;
        while let [first, others @ ..] = rest {
            bits |= Self::bit(*first);
            rest = others;
        }
        Self(bits)
    }

    /// Whether `kind` is one of them.
    #[must_use]
    pub const fn contains(self, kind: ChangeKind) -> bool {
        self.0 & Self::bit(kind) != 0
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(super) const fn bits(self) -> u8 {
        self.0
    }

    pub(super) fn from_bits(bits: u8) -> Option<Self> {
        (bits & !Self::ALL.0 == 0).then_some(Self(bits))
    }

    const fn bit(kind: ChangeKind) -> u8 {
        match kind {
            ChangeKind::Put => 1,
            ChangeKind::Delete => 2,
            ChangeKind::Expire => 4,
        }
    }
}

impl fmt::Debug for Kinds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = [ChangeKind::Put, ChangeKind::Delete, ChangeKind::Expire];
        f.debug_set()
            .entries(all.into_iter().filter(|kind| self.contains(*kind)))
            .finish()
    }
}

/// What a watcher wants to hear of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    /// Which keys.
    pub selector: Selector,
    /// Which kinds of change.
    pub kinds: Kinds,
    /// What must be true of the record that was written or, if the key was removed, of the one that
    /// was there. By an error it is not.
    pub predicate: Option<Expression>,
}

/// A predicate that reads the time a key has left: whether a change passes would depend on when
/// somebody looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the predicate of a watch cannot read ttl or ttl_ms, which change without a write")]
pub struct ReadsTime;

impl Filter {
    /// Every change of these keys.
    #[must_use]
    pub const fn new(selector: Selector) -> Self {
        Self {
            selector,
            kinds: Kinds::ALL,
            predicate: None,
        }
    }

    /// That the same change passes whenever it is looked at.
    ///
    /// # Errors
    ///
    /// If the predicate reads the time that a key has left.
    pub fn check(&self) -> Result<(), ReadsTime> {
        let reads = |variable| {
            self.predicate
                .as_ref()
                .is_some_and(|predicate| predicate.reads(variable))
        };
        if reads(Variable::Ttl) || reads(Variable::TtlMs) {
            return Err(ReadsTime);
        }
        Ok(())
    }

    /// Whether a change may concern the watcher, by its key and kind. A change always has a key (D-EVT-1).
    #[must_use]
    pub fn may_admit(&self, key: &[u8], kind: ChangeKind) -> bool {
        self.kinds.contains(kind) && self.selector.may_match(key)
    }

    /// Whether a change concerns the watcher. Adds the steps that this took to `work`.
    #[must_use]
    pub fn admits(&self, change: &Change<'_>, work: &mut u64) -> bool {
        if !self.kinds.contains(change.kind()) || !self.selector.matches(change.key(), work) {
            return false;
        }
        let Some(predicate) = &self.predicate else {
            return true;
        };
        let record = if change.kind().is_removal() {
            change.previous()
        } else {
            change.record()
        };
        record.is_some_and(|record| predicate.holds_within(&Scope::of(&record, Timestamp::new(0)), work))
    }
}
