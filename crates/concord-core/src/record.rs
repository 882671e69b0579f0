//! What a key holds: the value and what is known about its writes.
//!
//! Three forms of the same: [`Record`] owns its bytes, [`RecordRef`] borrows them from a view,
//! [`PinnedRecord`] holds on to a part of the view instead of copying.

pub(crate) mod cell;

use alloc::borrow::Cow;

use bytes::Bytes;

use crate::ids::{LeaseId, Millis, Revision, Timestamp};
use crate::key::Key;
use crate::state::VersionCell;
use crate::tree::{Cell, INLINE_CELL_BYTES, PinnedCell};
use crate::value::{CorruptValue, StoredRef, StoredValue, Value, ValueFormat};
use cell::{Header, Link, StoredCell};

/// A key with its value and metadata, owned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record<V = Value> {
    /// The key.
    pub key: Key,
    /// The value.
    pub value: V,
    /// The revision at which the key came, or came back, into being.
    pub create_revision: Revision,
    /// The revision of the last write.
    pub mod_revision: Revision,
    /// Writes since creation; 1 for a new key.
    pub version: u64,
    /// When the key expires, by the replicated clock; `None`: never.
    pub expires_at: Option<Timestamp>,
    /// The lease that the key hangs on.
    pub lease: Option<LeaseId>,
}

/// A record whose value is as it is kept.
pub type StoredRecord = Record<StoredValue>;

impl<V> Record<V> {
    /// How long the key has left at `now`; `None`: it does not expire.
    #[must_use]
    pub fn remaining(&self, now: Timestamp) -> Option<Millis> {
        self.expires_at.map(|deadline| deadline.since(now))
    }

    fn with_value<W>(self, value: W) -> Record<W> {
        Record {
            key: self.key,
            value,
            create_revision: self.create_revision,
            mod_revision: self.mod_revision,
            version: self.version,
            expires_at: self.expires_at,
            lease: self.lease,
        }
    }
}

impl StoredRecord {
    /// The record with its value itself.
    ///
    /// # Errors
    ///
    /// If the value is packed and damaged.
    pub fn unpack(self) -> Result<Record, CorruptValue> {
        let value = self.value.clone().unpack()?;
        Ok(self.with_value(value))
    }

    /// The record with its value itself, if that is not packed.
    #[must_use]
    pub fn into_plain(self) -> Option<Record> {
        let value = self.value.clone().into_plain()?;
        Some(self.with_value(value))
    }
}

impl From<Record> for StoredRecord {
    fn from(record: Record) -> Self {
        let value = record.value.clone().into();
        record.with_value(value)
    }
}

macro_rules! header_accessors {
    () => {
        /// What the value's bytes are.
        #[must_use]
        pub fn format(&self) -> ValueFormat {
            self.header.format
        }

        /// The revision at which the key came, or came back, into being.
        #[must_use]
        pub fn create_revision(&self) -> Revision {
            self.header.create_revision
        }

        /// The revision of the last write.
        #[must_use]
        pub fn mod_revision(&self) -> Revision {
            self.header.mod_revision
        }

        /// Writes since creation; 1 for a new key.
        #[must_use]
        pub fn version(&self) -> u64 {
            self.header.version
        }

        /// When the key expires, by the replicated clock; `None`: never.
        #[must_use]
        pub fn expires_at(&self) -> Option<Timestamp> {
            self.header.expires_at
        }

        /// The lease that the key hangs on.
        #[must_use]
        pub fn lease(&self) -> Option<LeaseId> {
            self.header.lease
        }
    };
}

/// A record as it lies in a view. Costs nothing to take.
#[derive(Clone, Copy, Debug)]
pub struct RecordRef<'a> {
    key: &'a [u8],
    header: Header,
    value: &'a [u8],
    /// The cell that the record is alone in, to share a large value instead of copying it.
    alone: Option<Cell<'a>>,
}

impl<'a> RecordRef<'a> {
    /// Reads the record of a version; `None` if it is a tombstone.
    pub(crate) fn new(key: &'a [u8], version: VersionCell<'a>) -> Option<Self> {
        Self::with_link(key, version).map(|(record, _)| record)
    }

    /// Reads the record of a version and how it links to those before.
    pub(crate) fn with_link(key: &'a [u8], version: VersionCell<'a>) -> Option<(Self, Link)> {
        match cell::stored(version.bytes) {
            StoredCell::Record { header, link, value } => Some((
                Self {
                    key,
                    header,
                    value,
                    alone: version.alone,
                },
                link,
            )),
            StoredCell::Tombstone { .. } => None,
        }
    }

    /// A record that is about to be stored.
    pub(crate) const fn staged(key: &'a [u8], header: Header, value: &'a [u8]) -> Self {
        Self {
            key,
            header,
            value,
            alone: None,
        }
    }

    /// What is known about its writes.
    pub(crate) const fn header(&self) -> Header {
        self.header
    }

    header_accessors!();

    /// The key.
    #[must_use]
    pub fn key(&self) -> &'a [u8] {
        self.key
    }

    /// The key on its own.
    pub(crate) fn to_key(self) -> Key {
        Key::trusted(Bytes::copy_from_slice(self.key))
    }

    /// The value as it is kept.
    #[must_use]
    pub const fn stored(&self) -> StoredRef<'a> {
        StoredRef::new(self.header.format, self.header.is_packed, self.value)
    }

    /// The value's bytes.
    ///
    /// # Errors
    ///
    /// If they are packed and damaged.
    pub fn value(&self) -> Result<Cow<'a, [u8]>, CorruptValue> {
        self.stored().content()
    }

    /// How long the value is.
    #[must_use]
    pub fn value_len(&self) -> usize {
        self.stored().raw_len()
    }

    /// The value on its own. A large one is shared with the store, a small one copied, so
    /// that it does not keep its neighbours in memory.
    ///
    /// # Errors
    ///
    /// If it is packed and damaged.
    pub fn to_value(&self) -> Result<Value, CorruptValue> {
        if self.header.is_packed {
            return Ok(Value::trusted(
                self.header.format,
                self.value()?.into_owned().into(),
            ));
        }
        Ok(Value::trusted(self.header.format, self.to_bytes()))
    }

    /// The value as it is kept, on its own: see [`RecordRef::to_value`].
    #[must_use]
    pub fn to_stored_value(&self) -> StoredValue {
        StoredValue::trusted(self.header.format, self.header.is_packed, self.to_bytes())
    }

    fn to_bytes(self) -> Bytes {
        match self.alone.filter(|cell| cell.len() > INLINE_CELL_BYTES) {
            Some(cell) => {
                let whole = Bytes::from_owner(cell.to_owned().into_shared());
                let start = whole.len().saturating_sub(self.value.len());
                whole.slice(start..)
            }
            None => Bytes::copy_from_slice(self.value),
        }
    }

    /// The record on its own: see [`RecordRef::to_value`].
    ///
    /// # Errors
    ///
    /// If its value is packed and damaged.
    pub fn to_record(&self) -> Result<Record, CorruptValue> {
        Ok(self.with_value(self.to_value()?))
    }

    /// The record on its own, with its value as it is kept.
    #[must_use]
    pub fn to_stored_record(&self) -> StoredRecord {
        self.with_value(self.to_stored_value())
    }

    /// The record with an empty value, for scans that want no values.
    #[must_use]
    pub fn to_record_without_value(self) -> Record {
        self.with_value(Value::trusted(self.header.format, Bytes::new()))
    }

    fn with_value<V>(&self, value: V) -> Record<V> {
        Record {
            key: self.to_key(),
            value,
            create_revision: self.header.create_revision,
            mod_revision: self.header.mod_revision,
            version: self.header.version,
            expires_at: self.header.expires_at,
            lease: self.header.lease,
        }
    }
}

/// A record that outlives the borrow of its view without a copy or an allocation. It holds
/// on to the part of the store that it lies in: meant to be read and dropped.
#[derive(Clone, Debug)]
pub struct PinnedRecord {
    cell: PinnedCell,
    header: Header,
    value_bytes: usize,
}

impl PinnedRecord {
    pub(crate) fn new(cell: PinnedCell) -> Option<Self> {
        match cell::stored(&cell) {
            StoredCell::Record { header, value, .. } => {
                let value_bytes = value.len();
                Some(Self {
                    cell,
                    header,
                    value_bytes,
                })
            }
            StoredCell::Tombstone { .. } => None,
        }
    }

    header_accessors!();

    /// The value as it is kept.
    #[must_use]
    pub fn stored(&self) -> StoredRef<'_> {
        let start = self.cell.len().saturating_sub(self.value_bytes);
        let bytes = self.cell.get(start..).unwrap_or_default();
        StoredRef::new(self.header.format, self.header.is_packed, bytes)
    }

    /// The value's bytes.
    ///
    /// # Errors
    ///
    /// If they are packed and damaged.
    pub fn value(&self) -> Result<Cow<'_, [u8]>, CorruptValue> {
        self.stored().content()
    }

    /// A copy of the value.
    ///
    /// # Errors
    ///
    /// If it is packed and damaged.
    pub fn to_value(&self) -> Result<Value, CorruptValue> {
        let bytes = Bytes::from(self.value()?.into_owned());
        Ok(Value::trusted(self.header.format, bytes))
    }
}
