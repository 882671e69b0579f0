//! Durable named subscriptions: a place in the change log that the store remembers.
//!
//! A subscription is what its consumers watch and the revision up to which they are done. What they
//! watch is bytes to this crate: `concord-query` reads them. It holds no history back: who falls behind
//! compaction is told, and begins again where they say.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use bytes::Bytes;

use crate::codec::reader::Reader;
use crate::codec::{DecodeError, writer};
use crate::ids::{Revision, Timestamp};
use crate::limits::{SUBSCRIPTION_FILTER_BYTES_MAX, SUBSCRIPTION_NAME_BYTES_MAX};

/// The name of a subscription: 1 to [`SUBSCRIPTION_NAME_BYTES_MAX`] bytes of UTF-8.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubscriptionName(String);

/// Text that cannot be the name of a subscription. Nothing was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("subscription name must have 1 to {SUBSCRIPTION_NAME_BYTES_MAX} bytes")]
pub struct InvalidSubscriptionName;

/// A subscription as a view shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Subscription {
    /// Its name.
    pub name: SubscriptionName,
    /// What it is about, as `concord-query` wrote it.
    pub filter: Bytes,
    /// Its consumers are done with everything up to here.
    pub acked: Revision,
    /// When it was made, by the replicated clock.
    pub created_at: Timestamp,
    /// When `acked` last moved.
    pub acked_at: Timestamp,
}

impl SubscriptionName {
    /// Checks and wraps `name`.
    ///
    /// # Errors
    ///
    /// If it has no bytes or too many.
    pub fn new(name: impl Into<String>) -> Result<Self, InvalidSubscriptionName> {
        let name = name.into();
        if (1..=SUBSCRIPTION_NAME_BYTES_MAX).contains(&name.len()) {
            Ok(Self(name))
        } else {
            Err(InvalidSubscriptionName)
        }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        writer::bytes(self.0.as_bytes(), out);
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let bytes = reader.bytes()?;
        Self::of_bytes(bytes).map_err(|_| reader.error("malformed name of a subscription"))
    }

    pub(crate) fn of_bytes(bytes: &[u8]) -> Result<Self, InvalidSubscriptionName> {
        let text = core::str::from_utf8(bytes).map_err(|_| InvalidSubscriptionName)?;
        Self::new(text)
    }
}

impl fmt::Display for SubscriptionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What is kept of a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SubscriptionCell<'a> {
    pub(crate) acked: Revision,
    pub(crate) created_at: Timestamp,
    pub(crate) acked_at: Timestamp,
    pub(crate) filter: &'a [u8],
}

impl<'a> SubscriptionCell<'a> {
    pub(crate) fn encode(self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.filter.len().saturating_add(24));
        writer::number(self.acked.get(), &mut out);
        writer::number(self.created_at.get(), &mut out);
        writer::number(self.acked_at.get(), &mut out);
        out.extend_from_slice(self.filter);
        out
    }

    pub(crate) fn decode(cell: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(cell);
        let cell = Self {
            acked: Revision::new(reader.number()?),
            created_at: Timestamp::new(reader.number()?),
            acked_at: Timestamp::new(reader.number()?),
            filter: reader.rest(),
        };
        if cell.filter.len() > SUBSCRIPTION_FILTER_BYTES_MAX {
            return Err(reader.error("filter of a subscription is too long"));
        }
        Ok(cell)
    }

    /// Reads a cell of the store.
    ///
    /// # Panics
    ///
    /// If it is damaged: only this module writes it, and a restore checks it.
    pub(crate) fn stored(cell: &'a [u8]) -> Self {
        Self::decode(cell).expect("subscriptions are written by this module and checked on restore")
    }
}
