//! Requests under an idempotency key: applied once, answered alike as long as it is remembered.
//!
//! Bounds: names, bytes, age by the replicated clock. Passing one forgets the oldest, and who
//! then retries has the request applied again.

use alloc::vec::Vec;

use bytes::Bytes;

use super::Store;
use super::mutate::bytes;
use crate::command::Command;
use crate::idempotency::{IdempotencyKey, Remembered, fingerprint};
use crate::ids::{Millis, Timestamp};
use crate::limits::{
    IDEMPOTENCY_BYTES_MAX, IDEMPOTENCY_FORGOTTEN_PER_BATCH, IDEMPOTENCY_KEEP_MS, IDEMPOTENCY_KEYS_MAX,
};
use crate::reply::{Rejection, Reply};
use crate::tree::Tree;

/// Derived from what is remembered, so it is in no snapshot.
#[derive(Debug, Default)]
pub(crate) struct IdempotencyTable {
    /// Time (big endian) and name: oldest first.
    by_age: Tree,
    /// Bytes of names and of what is remembered under them.
    bytes: u64,
}

impl IdempotencyTable {
    pub(crate) fn insert(&mut self, at: Timestamp, name: &[u8], cell: &[u8]) {
        self.by_age.set(&age_key(at, name), &[]);
        self.bytes = self.bytes.saturating_add(size(name, cell));
    }

    fn remove(&mut self, name: &[u8], cell: &[u8]) {
        self.by_age.remove(&age_key(Remembered::stored(cell).at, name));
        self.bytes = self.bytes.saturating_sub(size(name, cell));
    }

    /// The oldest name, and how old it is.
    fn oldest(&self) -> Option<(Timestamp, Vec<u8>)> {
        let (entry, _) = self.by_age.first()?;
        let (at, name) = entry.split_first_chunk::<8>()?;
        Some((Timestamp::new(u64::from_be_bytes(*at)), name.to_vec()))
    }

    /// Bytes of names and of what is remembered under them.
    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Every name by its age, and the bytes of all.
    pub(crate) fn totals(&self) -> (impl Iterator<Item = &[u8]>, u64) {
        (self.by_age.iter().map(|(entry, _)| entry), self.bytes)
    }
}

/// How a name stands in the order of age.
pub(crate) fn age_key(at: Timestamp, name: &[u8]) -> Vec<u8> {
    let mut key = Vec::with_capacity(name.len().saturating_add(8));
    key.extend_from_slice(&at.get().to_be_bytes());
    key.extend_from_slice(name);
    key
}

fn size(name: &[u8], cell: &[u8]) -> u64 {
    bytes(name.len().saturating_add(cell.len()))
}

impl Store {
    /// Applies a request under a name, or answers it as the first of that name.
    pub(super) fn once(&mut self, key: &IdempotencyKey, request: &[u8], mut command: Command) -> Reply {
        let name = key.name(self.caller.principal);
        let fingerprint = match command.unpacked() {
            // A retry may have been packed by another node, in another way or not at all.
            Some(plain) => {
                let command = alloc::boxed::Box::new(plain);
                let plain = Command::Idempotent {
                    key: key.clone(),
                    command,
                };
                fingerprint(&plain.to_bytes())
            }
            None => fingerprint(request),
        };
        if let Some(cell) = self.state.idempotency.get(&name) {
            let first = Remembered::stored(&cell);
            if !self.is_too_old(first.at) {
                return if first.fingerprint == fingerprint {
                    let reply = Bytes::copy_from_slice(first.reply);
                    Reply::decode(&reply).expect("replies are checked on restore")
                } else {
                    Reply::Rejected(Rejection::IdempotencyConflict)
                };
            }
            self.forget_name(&name);
        }
        // I21: applied now, and answered from memory ever after.
        let reply = self.command(command).unwrap_or_else(Reply::Rejected);
        let mut encoded = Vec::new();
        reply.encode(&mut encoded);
        let at = self.state.now;
        let cell = Remembered {
            at,
            fingerprint,
            reply: &encoded,
        }
        .encode();
        self.idempotency.insert(at, &name, &cell);
        self.state.idempotency.insert_owned(&name, cell.into());
        while self.state.idempotency.len() > IDEMPOTENCY_KEYS_MAX
            || self.idempotency.bytes > IDEMPOTENCY_BYTES_MAX
        {
            let Some((_, oldest)) = self.idempotency.oldest() else {
                break;
            };
            self.forget_name(&oldest);
        }
        reply
    }

    /// Forgets names that are too old; a few per batch.
    pub(super) fn forget_old_names(&mut self) {
        for _ in 0..IDEMPOTENCY_FORGOTTEN_PER_BATCH {
            match self.idempotency.oldest() {
                Some((at, name)) if self.is_too_old(at) => self.forget_name(&name),
                Some(_) | None => return,
            }
        }
    }

    pub(super) fn is_too_old(&self, at: Timestamp) -> bool {
        at.plus(Millis::new(IDEMPOTENCY_KEEP_MS)) <= self.state.now
    }

    fn forget_name(&mut self, name: &[u8]) {
        if let Some(cell) = self.state.idempotency.remove(name) {
            self.idempotency.remove(name, &cell);
        }
    }
}
