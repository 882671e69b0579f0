//! What operations answer with.

use std::fmt;
use std::ops::Deref;
use std::str;
use std::time::Duration;

use concord_core::document::Document;
use concord_core::ids::{LeaseId, Revision, Timestamp};
use concord_core::record::{PinnedRecord, Record, StoredRecord};
use concord_core::value::{CorruptValue, StoredRef, Value, ValueFormat};
use serde::de::DeserializeOwned;

use crate::error::{Error, ErrorKind};
use crate::json::document_to_json;

/// An answer to a read, with the revision that it was served at. Derefs to the answer itself.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Answer<T> {
    /// The answer.
    pub data: T,
    /// The revision that it shows. Reads through one handle never go back (I16).
    pub revision: Revision,
    /// The cluster's clock when it was served.
    pub now: Timestamp,
}

impl<T> Answer<T> {
    pub(crate) fn new(data: T, revision: Revision, now: Timestamp) -> Self {
        Self { data, revision, now }
    }

    /// The answer itself.
    pub fn into_inner(self) -> T {
        self.data
    }
}

impl Answer<Option<Entry>> {
    /// How long the key that was found has left, at the moment that the answer shows.
    pub fn remaining(&self) -> Option<Remaining> {
        self.data
            .as_ref()
            .map(|entry| Remaining::until(entry.expires_at(), self.now))
    }
}

impl<T> Deref for Answer<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.data
    }
}

/// How long a key has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remaining {
    /// It does not expire.
    Forever,
    /// This long, by the cluster's clock.
    For(Duration),
}

impl Remaining {
    pub(crate) fn until(expires_at: Option<Timestamp>, now: Timestamp) -> Self {
        match expires_at {
            Some(deadline) => Self::For(Duration::from_millis(deadline.since(now).get())),
            None => Self::Forever,
        }
    }

    /// The time left, if it is limited.
    pub fn duration(self) -> Option<Duration> {
        match self {
            Self::Forever => None,
            Self::For(length) => Some(length),
        }
    }
}

/// What was found under a key. Reading it copies nothing until a part is asked for as
/// its own; meant to be looked at and dropped, since it keeps a part of the store in memory.
#[derive(Clone)]
pub struct Entry {
    found: Found,
    /// The value, if it was found packed.
    unpacked: Option<Value>,
}

#[derive(Clone)]
enum Found {
    Pinned(PinnedRecord),
    Owned(Box<StoredRecord>),
}

macro_rules! from_record {
    ($self:ident, $accessor:ident) => {
        match &$self.found {
            Found::Pinned(record) => record.$accessor(),
            Found::Owned(record) => record.$accessor,
        }
    };
}

impl Entry {
    pub(crate) fn pinned(record: PinnedRecord) -> Self {
        Self {
            found: Found::Pinned(record),
            unpacked: None,
        }
    }

    pub(crate) fn owned(record: StoredRecord) -> Self {
        Self {
            found: Found::Owned(Box::new(record)),
            unpacked: None,
        }
    }

    fn stored(&self) -> StoredRef<'_> {
        match &self.found {
            Found::Pinned(record) => record.stored(),
            Found::Owned(record) => record.value.as_ref(),
        }
    }

    /// How long its value is when it is unpacked; 0 if it is not packed.
    pub(crate) fn packed_raw_len(&self) -> usize {
        let stored = self.stored();
        if stored.is_packed() { stored.raw_len() } else { 0 }
    }

    /// Unpacks the value: nobody gets to see an entry before this.
    pub(crate) fn unpack(&mut self) -> Result<(), CorruptValue> {
        if self.stored().is_packed() && self.unpacked.is_none() {
            self.unpacked = Some(match &self.found {
                Found::Pinned(record) => record.to_value()?,
                Found::Owned(record) => record.value.clone().unpack()?,
            });
        }
        Ok(())
    }

    /// The value's bytes: the text, the raw bytes, or a document's canonical MessagePack.
    pub fn bytes(&self) -> &[u8] {
        match &self.unpacked {
            Some(value) => value.bytes(),
            None => self.stored().bytes(),
        }
    }

    /// What the value is.
    pub fn format(&self) -> ValueFormat {
        self.stored().format()
    }

    /// The text, if the value is one.
    pub fn text(&self) -> Option<&str> {
        match self.format() {
            ValueFormat::Text => str::from_utf8(self.bytes()).ok(),
            ValueFormat::Binary | ValueFormat::Document => None,
        }
    }

    /// The document, if the value is one.
    pub fn document(&self) -> Option<Document> {
        match self.format() {
            ValueFormat::Document => Document::decode(self.bytes()).ok(),
            ValueFormat::Binary | ValueFormat::Text => None,
        }
    }

    /// The document as a `T`.
    ///
    /// # Errors
    ///
    /// `invalid_value` if the value is no document, or not a `T`.
    pub fn to_doc<T: DeserializeOwned>(&self) -> Result<T, Error> {
        let invalid = |reason: String| Error::new(ErrorKind::InvalidValue, reason);
        let document = self
            .document()
            .ok_or_else(|| invalid(format!("the value is not a document but {}", self.format())))?;
        serde_json::from_str(&document_to_json(&document))
            .map_err(|error| invalid(format!("the document is of another shape: {error}")))
    }

    /// A copy of the value.
    pub fn to_value(&self) -> Value {
        match &self.unpacked {
            Some(value) => value.clone(),
            None => match &self.found {
                Found::Pinned(record) => record.to_value(),
                Found::Owned(record) => record.value.clone().unpack(),
            }
            .expect("what is packed was unpacked before anybody had the entry"),
        }
    }

    /// The revision at which the key came, or came back, into being.
    pub fn create_revision(&self) -> Revision {
        from_record!(self, create_revision)
    }

    /// The revision of the last write.
    pub fn mod_revision(&self) -> Revision {
        from_record!(self, mod_revision)
    }

    /// Writes since creation; 1 for a new key.
    pub fn version(&self) -> u64 {
        from_record!(self, version)
    }

    /// When the key expires, by the cluster's clock; `None`: never.
    pub fn expires_at(&self) -> Option<Timestamp> {
        from_record!(self, expires_at)
    }

    /// The lease that the key hangs on.
    pub fn lease(&self) -> Option<LeaseId> {
        from_record!(self, lease)
    }
}

/// Shows everything but the value, which may be secret, and large.
impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry")
            .field("format", &self.format())
            .field("bytes", &self.bytes().len())
            .field("mod_revision", &self.mod_revision())
            .field("version", &self.version())
            .finish_non_exhaustive()
    }
}

/// The answer to a put.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Written {
    /// The revision of the write.
    pub revision: Revision,
    /// What it replaced, if that was asked for and there was something.
    pub previous: Option<Record>,
}

/// The answer to a delete.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Deleted {
    /// The revision of the removal, or the current one if there was nothing to remove.
    pub revision: Revision,
    /// Whether there was something to remove.
    pub existed: bool,
    /// What was removed, if that was asked for and there was something.
    pub previous: Option<Record>,
}

/// The answer to a touch.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Touched {
    /// The revision of the write.
    pub revision: Revision,
    /// When the key expires now; `None`: never.
    pub expires_at: Option<Timestamp>,
}

/// The answer to an increment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Incremented {
    /// The revision of the write.
    pub revision: Revision,
    /// The number after the change.
    pub value: i64,
}

/// The answer to a put of many.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct WrittenMany {
    /// The revision of the writes, or the current one if there were no items.
    pub revision: Revision,
}

/// The answer to a delete of many.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DeletedMany {
    /// The revision of the removals, or the current one if there was nothing to remove.
    pub revision: Revision,
    /// For each key in order: whether there was something to remove.
    pub existed: Vec<bool>,
}

/// The answer to a touch of many.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TouchedMany {
    /// The revision of the writes, or the current one if nothing changed.
    pub revision: Revision,
    /// For each key in order: when it expires now, inner `None`: never; outer `None`: there is
    /// no such key.
    pub expires_at: Vec<Option<Option<Timestamp>>>,
}
