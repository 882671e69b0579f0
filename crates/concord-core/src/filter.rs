//! Filters: which records a query is about, as data.
//!
//! All parts of a filter must hold. What it says of keys and what it says of records is judged with
//! a frozen meaning, because a delete by filter decides in the log; how its records are found
//! without looking at all of them is [`crate::select`]'s.

mod codec;

use alloc::vec::Vec;

use bytes::Bytes;

use crate::expr::{Expression, Scope};
use crate::glob::Glob;
use crate::ids::Timestamp;
use crate::key::KeyRange;
use crate::limits::{FILTER_TESTS_MAX, KEY_BYTES_MAX};
use crate::pattern::Pattern;
use crate::record::RecordRef;

/// Which records: those in a range of keys that pass all tests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    range: KeyRange,
    tests: Vec<KeyTest>,
    predicate: Option<Expression>,
}

/// What is asked of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyTest {
    /// It ends with this.
    Suffix(Bytes),
    /// This is in it.
    Contains(Bytes),
    /// The whole of it is of this form.
    Glob(Glob),
    /// A part of it is of this form.
    Pattern(Pattern),
}

/// What is no filter. Nothing was read or written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidFilter {
    /// More than [`FILTER_TESTS_MAX`] tests.
    #[error("filter has more than {FILTER_TESTS_MAX} tests of the key")]
    TooManyTests,
    /// A text that no key is long enough for.
    #[error("filter asks for more than the {KEY_BYTES_MAX} bytes that a key can have")]
    TooLong,
}

/// What looking at a record costs before anything is asked of it.
const STEPS_A_RECORD: u64 = 16;

impl Filter {
    /// Checks a filter.
    ///
    /// # Errors
    ///
    /// If it has too many tests or one that no key is long enough for.
    pub fn new(
        range: KeyRange,
        tests: Vec<KeyTest>,
        predicate: Option<Expression>,
    ) -> Result<Self, InvalidFilter> {
        if tests.len() > FILTER_TESTS_MAX {
            return Err(InvalidFilter::TooManyTests);
        }
        let is_too_long = tests.iter().any(|test| match test {
            KeyTest::Suffix(text) | KeyTest::Contains(text) => text.len() > KEY_BYTES_MAX,
            KeyTest::Glob(_) | KeyTest::Pattern(_) => false,
        });
        // A bound may be one byte longer than the longest key, to include that.
        let bounds = [Some(range.start()), range.end()];
        if is_too_long
            || bounds
                .into_iter()
                .flatten()
                .any(|bound| bound.len() > KEY_BYTES_MAX + 1)
        {
            return Err(InvalidFilter::TooLong);
        }
        Ok(Self {
            range,
            tests,
            predicate,
        })
    }

    /// The keys that it is about.
    #[must_use]
    pub const fn range(&self) -> &KeyRange {
        &self.range
    }

    /// What it asks of them.
    #[must_use]
    pub fn tests(&self) -> &[KeyTest] {
        &self.tests
    }

    /// What it asks of records.
    #[must_use]
    pub const fn predicate(&self) -> Option<&Expression> {
        self.predicate.as_ref()
    }

    /// Whether a record is one of those. Adds the steps that this took to `work`.
    #[must_use]
    pub fn holds(&self, record: &RecordRef<'_>, now: Timestamp, work: &mut u64) -> bool {
        *work = work.saturating_add(STEPS_A_RECORD);
        self.range.contains(record.key())
            && self.tests.iter().all(|test| test.holds(record.key(), work))
            && self.predicate.as_ref().is_none_or(|predicate| {
                if record.stored().is_packed() {
                    charge(record.value_len(), work);
                }
                predicate.holds_within(&Scope::of(record, now), work)
            })
    }
}

impl KeyTest {
    fn holds(&self, key: &[u8], work: &mut u64) -> bool {
        match self {
            Self::Suffix(suffix) => key.ends_with(suffix),
            Self::Contains(part) => contains(key, part, work),
            Self::Glob(glob) => {
                let product = glob.source().len().saturating_mul(key.len());
                charge(product, work);
                glob.matches(key)
            }
            Self::Pattern(pattern) => pattern.matches(key, work),
        }
    }
}

fn contains(key: &[u8], part: &[u8], work: &mut u64) -> bool {
    if let (Ok(key), Ok(part)) = (core::str::from_utf8(key), core::str::from_utf8(part)) {
        charge(key.len(), work);
        return key.contains(part);
    }
    charge(key.len().saturating_mul(part.len()), work);
    part.is_empty() || key.windows(part.len()).any(|window| window == part)
}

/// Bytes that are compared in one step.
const BYTES_A_STEP: usize = 64;

fn charge(bytes: usize, work: &mut u64) {
    *work = work.saturating_add(u64::try_from(bytes / BYTES_A_STEP).unwrap_or(u64::MAX));
}
