//! Documents: JSON-shaped trees, kept as canonical MessagePack.
//!
//! Canonical means one byte form per tree: map keys are strings, sorted bytewise, without
//! duplicates; integers, lengths and counts take their shortest form; floats are finite 64-bit
//! and never negative zero; there is no binary, extension or 32-bit float. Equal documents
//! are therefore equal bytes, and comparing values needs no decoding.
//!
//! The decoder accepts exactly the canonical form, is total on any input, and allocates no
//! more than the input justifies.

mod decode;
mod encode;
pub(crate) mod packed;

#[cfg(test)]
mod tests;

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use crate::limits::DOCUMENT_DEPTH_MAX;

/// A JSON-shaped tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Document {
    /// Nothing.
    Null,
    /// A truth value.
    Bool(bool),
    /// An exact integer, any `i64` or `u64`.
    Integer(Integer),
    /// A finite number that was written as a fraction; never equal to an integer.
    Float(Finite),
    /// Text.
    String(String),
    /// A list.
    Array(Vec<Self>),
    /// Fields by name. JSON's objects; the order of fields is not kept.
    Object(BTreeMap<String, Self>),
}

/// An integer that fits `i64` or `u64`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Integer(i128);

/// A finite `f64` without a negative zero.
#[derive(Clone, Copy, PartialEq)]
pub struct Finite(f64);

/// Why something is not a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DocumentError {
    /// More than [`DOCUMENT_DEPTH_MAX`] levels.
    #[error("document is deeper than {DOCUMENT_DEPTH_MAX} levels")]
    TooDeep,
    /// More elements or bytes in one place than the format can count.
    #[error("document has a string, array or object beyond 32-bit length")]
    TooLong,
    /// The bytes are not the canonical form of any document.
    #[error("{what} at byte {offset}")]
    Malformed {
        /// What was found, in words.
        what: &'static str,
        /// Where.
        offset: usize,
    },
}

impl Document {
    /// The canonical bytes.
    ///
    /// # Errors
    ///
    /// If the tree is deeper than [`DOCUMENT_DEPTH_MAX`] levels.
    pub fn encode(&self) -> Result<Vec<u8>, DocumentError> {
        let mut out = Vec::new();
        encode::document(self, DOCUMENT_DEPTH_MAX, &mut out)?;
        Ok(out)
    }

    /// Reads canonical bytes back.
    ///
    /// # Errors
    ///
    /// If they are anything but the canonical form of one document.
    pub fn decode(bytes: &[u8]) -> Result<Self, DocumentError> {
        decode::decode(bytes)
    }

    /// An integer document.
    pub fn integer(value: impl Into<Integer>) -> Self {
        Self::Integer(value.into())
    }
}

/// Whether `bytes` are the canonical form of a document. Allocates nothing.
///
/// # Errors
///
/// What is wrong with them, and where.
pub fn validate(bytes: &[u8]) -> Result<(), DocumentError> {
    decode::validate(bytes)
}

/// The canonical bytes of an integer document.
pub(crate) fn encode_integer(value: i64) -> Vec<u8> {
    let mut out = Vec::with_capacity(9);
    encode::integer(value.into(), &mut out);
    out
}

/// The `i64` in the bytes of a document, if it is one.
pub(crate) fn decode_integer(bytes: &[u8]) -> Option<i64> {
    match Document::decode(bytes) {
        Ok(Document::Integer(integer)) => integer.as_i64(),
        Ok(_) | Err(_) => None,
    }
}

impl Integer {
    /// The number, if it fits `i64`.
    #[must_use]
    pub fn as_i64(self) -> Option<i64> {
        i64::try_from(self.0).ok()
    }

    /// The number, if it fits `u64`.
    #[must_use]
    pub fn as_u64(self) -> Option<u64> {
        u64::try_from(self.0).ok()
    }
}

impl Integer {
    /// The number, if it fits `i64` or `u64`.
    pub(crate) fn from_wide(value: i128) -> Option<Self> {
        let fits = i64::try_from(value).is_ok() || u64::try_from(value).is_ok();
        fits.then_some(Self(value))
    }

    /// The number in a type that holds all of them.
    pub(crate) const fn wide(self) -> i128 {
        self.0
    }
}

impl From<i64> for Integer {
    fn from(value: i64) -> Self {
        Self(value.into())
    }
}

impl From<u64> for Integer {
    fn from(value: u64) -> Self {
        Self(value.into())
    }
}

impl fmt::Debug for Integer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Integer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Finite {
    /// Wraps a finite number; negative zero becomes zero. `None` for infinities and NaN.
    #[must_use]
    pub fn new(value: f64) -> Option<Self> {
        // Adding zero turns -0.0 into 0.0 and changes nothing else.
        value.is_finite().then_some(Self(value + 0.0))
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> f64 {
        self.0
    }
}

/// Finite numbers are equal to themselves.
impl Eq for Finite {}

impl fmt::Debug for Finite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
