//! Values: bytes with a format.

mod stored;

use alloc::string::String;
use core::fmt;

use bytes::Bytes;

use crate::document::{self, Document, DocumentError};

pub(crate) use stored::check_packed;
pub use stored::{CorruptValue, PACKING_LEVELS, StoredRef, StoredValue};

/// What the bytes of a value are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ValueFormat {
    /// Anything.
    Binary,
    /// UTF-8.
    Text,
    /// A JSON-shaped tree as canonical MessagePack: see [`crate::document`].
    Document,
}

/// Bytes with a format they are known to have.
#[derive(Clone, PartialEq, Eq)]
pub struct Value {
    format: ValueFormat,
    bytes: Bytes,
}

/// Bytes that are not of the format claimed, or a value that an operation cannot use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidValue {
    /// A text that is not UTF-8.
    #[error("text is not valid utf-8 after byte {valid_upto}")]
    NotUtf8 {
        /// The bytes before this one are valid.
        valid_upto: usize,
    },
    /// A document that is not canonical MessagePack.
    #[error("document is invalid")]
    Document(#[from] DocumentError),
}

impl Value {
    /// A value of any bytes.
    pub fn binary(bytes: impl Into<Bytes>) -> Self {
        Self {
            format: ValueFormat::Binary,
            bytes: bytes.into(),
        }
    }

    /// A text value.
    pub fn text(text: impl Into<String>) -> Self {
        Self {
            format: ValueFormat::Text,
            bytes: Bytes::from(text.into().into_bytes()),
        }
    }

    /// A document value.
    ///
    /// # Errors
    ///
    /// If the document is deeper than [`crate::limits::DOCUMENT_DEPTH_MAX`].
    pub fn document(document: &Document) -> Result<Self, InvalidValue> {
        Ok(Self {
            format: ValueFormat::Document,
            bytes: Bytes::from(document.encode()?),
        })
    }

    /// An integer document.
    pub(crate) fn integer(value: i64) -> Self {
        Self::trusted(
            ValueFormat::Document,
            Bytes::from(document::encode_integer(value)),
        )
    }

    /// Checks that `bytes` are of `format`.
    ///
    /// # Errors
    ///
    /// If a text is not UTF-8, or a document not in canonical form.
    pub fn new(format: ValueFormat, bytes: impl Into<Bytes>) -> Result<Self, InvalidValue> {
        let bytes = bytes.into();
        check_value(format, &bytes)?;
        Ok(Self { format, bytes })
    }

    /// Wraps bytes that come from the keyspace, where only valid values live.
    pub(crate) fn trusted(format: ValueFormat, bytes: Bytes) -> Self {
        Self { format, bytes }
    }

    /// What the bytes are.
    #[must_use]
    pub fn format(&self) -> ValueFormat {
        self.format
    }

    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The bytes, without copying them.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        self.bytes
    }

    /// The text, if this is one.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match self.format {
            ValueFormat::Text => core::str::from_utf8(&self.bytes).ok(),
            ValueFormat::Binary | ValueFormat::Document => None,
        }
    }

    /// The document, if this is one.
    #[must_use]
    pub fn to_document(&self) -> Option<Document> {
        match self.format {
            ValueFormat::Document => Document::decode(&self.bytes).ok(),
            ValueFormat::Binary | ValueFormat::Text => None,
        }
    }
}

/// Whether `bytes` are of `format`.
///
/// # Errors
///
/// If a text is not UTF-8, or a document not in canonical form.
pub fn check_value(format: ValueFormat, bytes: &[u8]) -> Result<(), InvalidValue> {
    match format {
        ValueFormat::Binary => Ok(()),
        ValueFormat::Text => match core::str::from_utf8(bytes) {
            Ok(_) => Ok(()),
            Err(error) => Err(InvalidValue::NotUtf8 {
                valid_upto: error.valid_up_to(),
            }),
        },
        ValueFormat::Document => Ok(document::validate(bytes)?),
    }
}

impl ValueFormat {
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Binary => 0,
            Self::Text => 1,
            Self::Document => 2,
        }
    }

    pub(crate) const fn from_code(code: u8) -> Option<Self> {
        match code {
            0 => Some(Self::Binary),
            1 => Some(Self::Text),
            2 => Some(Self::Document),
            _ => None,
        }
    }

    /// The name in every interface: `binary`, `text`, `document`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Binary => "binary",
            Self::Text => "text",
            Self::Document => "document",
        }
    }
}

impl fmt::Display for ValueFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Shows the format and size only: values may be secret, and large.
impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Value({}, {} bytes)", self.format, self.bytes.len())
    }
}
