//! A backup on its way into a bucket.

use std::path::PathBuf;
use std::sync::Arc;

use concord_raft::StorageError;
use concord_raft::backup::{BackupDraft, BackupName};
use object_store::multipart::{MultipartStore as _, PartId};
use object_store::path::Path as Key;
use object_store::{Error, MultipartId, ObjectStoreExt as _, PutPayload};
use tokio::task::JoinHandle;

use super::Shared;
use super::error::failed;
use crate::limits;

/// An object that is not there before all of it is: one request if it fits in one, else many parts. Of parts there are
/// two in memory, one that is made and one that is sent.
#[derive(Debug)]
pub(super) struct Upload {
    bucket: Arc<Shared>,
    key: Key,
    location: PathBuf,
    /// What is not sent yet, of less than a part.
    made: Vec<u8>,
    /// Bytes before those.
    sent_bytes: u64,
    /// What the server calls it; `None` as long as nothing was sent.
    id: Option<MultipartId>,
    sending: Option<JoinHandle<Result<PartId, Error>>>,
    parts: Vec<PartId>,
    has_landed: bool,
}

impl Upload {
    pub(super) fn new(bucket: &Arc<Shared>, name: &BackupName) -> Self {
        Self {
            key: bucket.key(name),
            location: bucket.location_of(name),
            bucket: Arc::clone(bucket),
            made: Vec::new(),
            sent_bytes: 0,
            id: None,
            sending: None,
            parts: Vec::new(),
            has_landed: false,
        }
    }

    fn failed(&self, error: &Error) -> StorageError {
        failed("write", &self.location, self.sent_bytes, error)
    }

    /// Begins to send a part, when the one before it has arrived.
    fn send(&mut self, part: Vec<u8>) -> Result<(), StorageError> {
        self.arrive()?;
        let number = self.parts.len();
        if number >= limits::S3_PARTS_MAX {
            return Err(StorageError::TooLarge {
                what: "backup in a bucket",
                size_bytes: (number + 1).saturating_mul(limits::S3_PART_BYTES),
                limit_bytes: limits::S3_PARTS_MAX.saturating_mul(limits::S3_PART_BYTES),
            });
        }
        let id = match &self.id {
            Some(id) => id.clone(),
            None => {
                let begun = self.bucket.wait(self.bucket.store.create_multipart(&self.key));
                let id = begun.map_err(|error| self.failed(&error))?;
                self.id.insert(id).clone()
            }
        };
        self.sent_bytes += part.len() as u64;
        let (bucket, key) = (Arc::clone(&self.bucket), self.key.clone());
        let sending = async move {
            let part = PutPayload::from(part);
            bucket.store.put_part(&key, &id, number, part).await
        };
        self.sending = Some(self.bucket.runtime().spawn(sending));
        Ok(())
    }

    /// Waits for the part that is being sent.
    fn arrive(&mut self) -> Result<(), StorageError> {
        let Some(sending) = self.sending.take() else {
            return Ok(());
        };
        let sent = self.bucket.wait(sending).map_err(|_| StorageError::Closed)?;
        self.parts.push(sent.map_err(|error| self.failed(&error))?);
        Ok(())
    }

    fn complete(&mut self) -> Result<(), Error> {
        let Some(id) = &self.id else {
            let all = PutPayload::from(std::mem::take(&mut self.made));
            let put = self.bucket.wait(self.bucket.store.put(&self.key, all));
            return put.map(|_| ());
        };
        let (store, parts) = (&self.bucket.store, std::mem::take(&mut self.parts));
        let completed = self.bucket.wait(store.complete_multipart(&self.key, id, parts));
        let Err(error) = completed else {
            return Ok(());
        };
        // The answer may be lost of what has happened.
        match self.bucket.wait(store.head(&self.key)) {
            Ok(object) if object.size == self.sent_bytes => Ok(()),
            _ => Err(error),
        }
    }
}

impl BackupDraft for Upload {
    fn append(&mut self, bytes: &[u8]) -> Result<(), StorageError> {
        self.made.extend_from_slice(bytes);
        while self.made.len() >= limits::S3_PART_BYTES {
            let rest = self.made.split_off(limits::S3_PART_BYTES);
            let part = std::mem::replace(&mut self.made, rest);
            self.send(part)?;
        }
        Ok(())
    }

    fn land(mut self: Box<Self>) -> Result<(), StorageError> {
        if self.id.is_some() && !self.made.is_empty() {
            let last = std::mem::take(&mut self.made);
            self.send(last)?;
        }
        self.arrive()?;
        self.complete().map_err(|error| self.failed(&error))?;
        self.has_landed = true;
        Ok(())
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        let Some(id) = self.id.take().filter(|_| !self.has_landed) else {
            return;
        };
        if let Some(sending) = self.sending.take() {
            sending.abort();
            // A part that arrives behind the end of its upload would stay.
            let _ = self.bucket.wait(sending);
        }
        let aborted = self
            .bucket
            .wait(self.bucket.store.abort_multipart(&self.key, &id));
        if let Err(error) = aborted {
            let error = self.failed(&error);
            tracing::warn!(%error, "the parts of an interrupted backup could not be removed; this node's next backup tries again");
        }
    }
}
