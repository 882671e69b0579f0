//! What a key holds: the value and what is known about its writes.

use core::fmt;

use bytes::Bytes;

use crate::ids::{LeaseId, Millis, Revision, Timestamp};
use crate::key::Key;
use crate::value::{Value, ValueFormat};

/// A key with its value and metadata, owned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The key.
    pub key: Key,
    /// The value.
    pub value: Value,
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

impl Record {
    /// How long the key has left at `now`; `None`: it does not expire.
    #[must_use]
    pub fn remaining(&self, now: Timestamp) -> Option<Millis> {
        self.expires_at.map(|deadline| deadline.since(now))
    }
}
