//! Secondary indexes: which values records are found by, as data.
//!
//! A definition is replicated state; its extractor is a path or an expression, never code
//! (D-RAFT-2). Entries are derived: for every record that the index covers, each value that the
//! extractor finds in it leads to the record's key. They are kept by the one primitive that
//! changes records (D-DATA-1), so they hold for every way in which a key changes, expiry included.
//!
//! - Null and what is missing are not indexed, nor are objects; a list gives an entry for each of
//!   its items. An extractor that fails finds nothing, and never fails a write.
//! - Values are ordered: bools, numbers by their exact value, strings, bytes. A string or byte string is known by
//!   its first [`INDEX_VALUE_BYTES_MAX`](crate::limits::INDEX_VALUE_BYTES_MAX) bytes, a record by its first
//!   [`INDEX_ENTRIES_PER_RECORD_MAX`](crate::limits::INDEX_ENTRIES_PER_RECORD_MAX) values in that order.
//! - A new index covers what is written from then on and, if asked, what was there before: that is
//!   filled in a bit at a time, in apply, on every replica alike.

mod codec;
mod extract;

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use bytes::Bytes;

use crate::expr::{Expression, Variable};
use crate::ids::Revision;
use crate::key::{Key, KeyRange};
use crate::limits::{INDEX_NAME_BYTES_MAX, INDEX_PATH_STEPS_MAX, KEY_BYTES_MAX};
use crate::tree::Tree;

pub(crate) use extract::{
    Strays, VALUES_END, encode_literal, is_cut, is_value, kind_bounds, scope, value_len,
};

/// The name of an index: 1 to [`INDEX_NAME_BYTES_MAX`] bytes of UTF-8.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IndexName(String);

/// What an index is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexDefinition {
    name: IndexName,
    prefix: Bytes,
    extractor: Extractor,
    unique: bool,
}

/// How the values of a record are found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Extractor {
    /// Steps into a document, `$.tags[*]`; none of them is the document itself.
    Path(Vec<PathStep>),
    /// What an expression comes to.
    Expression(Expression),
}

/// A step into a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathStep {
    /// `.name`
    Field(String),
    /// `[*]`: every item.
    Each,
}

/// What cannot be an index. Nothing was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidIndex {
    /// The name is empty or too long.
    #[error("index name must have 1 to {INDEX_NAME_BYTES_MAX} bytes")]
    Name,
    /// The prefix is longer than a key.
    #[error("prefix is longer than a key can be")]
    Prefix,
    /// The path has too many steps.
    #[error("path has more than {INDEX_PATH_STEPS_MAX} steps")]
    Path,
    /// The extractor reads what changes without a write.
    #[error("an index cannot read ttl or ttl_ms, which change without a write")]
    ReadsTime,
}

/// How far an index is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IndexProgress {
    /// It covers what was written after this revision, as was asked.
    WritesSince(Revision),
    /// It is being filled: so many keys were looked at. It cannot be asked yet.
    Filling {
        /// How many.
        keys: u64,
    },
    /// It covers everything.
    Ready,
    /// Two records had a value that was to be unique. It covers nothing and refuses nothing.
    Failed {
        /// The second of them.
        duplicate: Key,
    },
}

/// An index as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct IndexStatus {
    /// What it is.
    pub definition: Arc<IndexDefinition>,
    /// How far.
    pub progress: IndexProgress,
    /// How many entries it has.
    pub entries: usize,
}

impl IndexName {
    /// Checks and wraps `name`.
    ///
    /// # Errors
    ///
    /// If it has no bytes or too many.
    pub fn new(name: impl Into<String>) -> Result<Self, InvalidIndex> {
        let name = name.into();
        if (1..=INDEX_NAME_BYTES_MAX).contains(&name.len()) {
            Ok(Self(name))
        } else {
            Err(InvalidIndex::Name)
        }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for IndexName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl IndexDefinition {
    /// Checks a definition: of keys that start with `prefix`, which may be empty.
    ///
    /// # Errors
    ///
    /// If the prefix or path is too long, or the extractor reads what changes without a write.
    pub fn new(
        name: IndexName,
        prefix: impl Into<Bytes>,
        extractor: Extractor,
        unique: bool,
    ) -> Result<Self, InvalidIndex> {
        let prefix = prefix.into();
        if prefix.len() > KEY_BYTES_MAX {
            return Err(InvalidIndex::Prefix);
        }
        extractor.check()?;
        Ok(Self {
            name,
            prefix,
            extractor,
            unique,
        })
    }

    /// Its name.
    #[must_use]
    pub const fn name(&self) -> &IndexName {
        &self.name
    }

    /// The start of the keys that it is about; empty: all keys.
    #[must_use]
    pub fn prefix(&self) -> &[u8] {
        &self.prefix
    }

    /// How values are found.
    #[must_use]
    pub const fn extractor(&self) -> &Extractor {
        &self.extractor
    }

    /// Whether no two records may have a value in common.
    #[must_use]
    pub const fn is_unique(&self) -> bool {
        self.unique
    }
}

impl Extractor {
    /// Checks that what is found depends on the record alone, by a path that is not too long.
    ///
    /// # Errors
    ///
    /// If not.
    pub fn check(&self) -> Result<(), InvalidIndex> {
        match self {
            Self::Path(steps) if steps.len() > INDEX_PATH_STEPS_MAX => Err(InvalidIndex::Path),
            Self::Expression(expression)
                if expression.reads(Variable::Ttl) || expression.reads(Variable::TtlMs) =>
            {
                Err(InvalidIndex::ReadsTime)
            }
            Self::Path(_) | Self::Expression(_) => Ok(()),
        }
    }
}

impl fmt::Display for Extractor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Expression(expression) => expression.fmt(f),
            Self::Path(steps) => {
                f.write_str("$")?;
                steps.iter().try_for_each(|step| match step {
                    PathStep::Field(name) if is_plain(name) => write!(f, ".{name}"),
                    PathStep::Field(name) => write!(f, "[\"{name}\"]"),
                    PathStep::Each => f.write_str("[*]"),
                })
            }
        }
    }
}

/// Whether a name can stand behind a point.
fn is_plain(name: &str) -> bool {
    let is_letter = |letter: char| letter.is_alphanumeric() || letter == '_' || letter == '-';
    !name.is_empty() && name.chars().all(is_letter)
}

/// An index of the store.
#[derive(Clone, Debug)]
pub(crate) struct Index {
    pub(crate) definition: Arc<IndexDefinition>,
    /// What is written after this revision is covered.
    pub(crate) since: Revision,
    pub(crate) fill: Fill,
    /// Derived: value and key, see [`extract`].
    pub(crate) entries: Tree,
}

/// How far what was there before is filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fill {
    NotAsked,
    /// Up to this key, included; `None`: not begun.
    Upto {
        key: Option<Key>,
        visited: u64,
    },
    Complete,
    Failed {
        duplicate: Key,
    },
}

impl Index {
    pub(crate) fn new(definition: Arc<IndexDefinition>, since: Revision, fills: bool) -> Self {
        let fill = if fills {
            Fill::Upto {
                key: None,
                visited: 0,
            }
        } else {
            Fill::NotAsked
        };
        Self {
            definition,
            since,
            fill,
            entries: Tree::new(),
        }
    }

    /// Whether it has entries of a key whose record was written at `written`. From this alone
    /// follows what the entries are, so that a restore can derive them.
    pub(crate) fn covers(&self, key: &[u8], written: Revision) -> bool {
        key.starts_with(self.definition.prefix())
            && match &self.fill {
                Fill::Failed { .. } => false,
                Fill::Complete => true,
                Fill::NotAsked => written > self.since,
                Fill::Upto { key: upto, .. } => {
                    written > self.since || upto.as_ref().is_some_and(|upto| key <= upto.as_bytes())
                }
            }
    }

    pub(crate) fn is_filling(&self) -> bool {
        matches!(self.fill, Fill::Upto { .. })
    }

    /// The keys that it is about.
    pub(crate) fn range(&self) -> KeyRange {
        KeyRange::prefix(self.definition.prefix.clone())
    }

    /// Whether a record other than that of `key` has `value`, those left aside that `is_rewritten`.
    pub(crate) fn is_taken(&self, value: &[u8], key: &[u8], is_rewritten: impl Fn(&[u8]) -> bool) -> bool {
        // No value is the start of another, so these entries have exactly this one.
        self.entries.prefix(value).any(|(entry, _)| {
            let holder = entry.get(value.len()..).unwrap_or_default();
            holder != key && !is_rewritten(holder)
        })
    }

    pub(crate) fn status(&self) -> IndexStatus {
        IndexStatus {
            definition: Arc::clone(&self.definition),
            progress: match &self.fill {
                Fill::NotAsked => IndexProgress::WritesSince(self.since),
                Fill::Upto { visited, .. } => IndexProgress::Filling { keys: *visited },
                Fill::Complete => IndexProgress::Ready,
                Fill::Failed { duplicate } => IndexProgress::Failed {
                    duplicate: duplicate.clone(),
                },
            },
            entries: self.entries.len(),
        }
    }
}
