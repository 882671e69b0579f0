//! The bytes of a backup in a bucket.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use concord_raft::StorageError;
use concord_raft::backup::{BackupName, BackupSource};
use concord_raft::ports::ReadAt;
use futures::TryStreamExt as _;
use object_store::path::Path as Key;
use object_store::{Error, GetOptions, GetRange, ObjectStore as _, ObjectStoreExt as _};
use parking_lot::Mutex;

use super::Shared;
use super::error::{explained, failed};
use crate::limits;

/// Where an object is.
#[derive(Debug)]
pub(super) struct Source {
    bucket: Arc<Shared>,
    key: Key,
    location: PathBuf,
}

impl Source {
    pub(super) fn new(bucket: &Arc<Shared>, name: &BackupName) -> Self {
        Self {
            key: bucket.key(name),
            location: bucket.location_of(name),
            bucket: Arc::clone(bucket),
        }
    }
}

impl BackupSource for Source {
    fn location(&self) -> &Path {
        &self.location
    }

    fn open(&self) -> Result<Box<dyn ReadAt>, StorageError> {
        let found = self.bucket.wait(self.bucket.store.head(&self.key));
        let found = found.map_err(|error| failed("open", &self.location, 0, &error))?;
        Ok(Box::new(Object {
            bucket: Arc::clone(&self.bucket),
            key: self.key.clone(),
            size_bytes: found.size,
            version: found.e_tag,
            ahead: Mutex::default(),
        }))
    }
}

/// An object of one version. It is read from front to back, so what follows is fetched with what is asked for.
#[derive(Debug)]
struct Object {
    bucket: Arc<Shared>,
    key: Key,
    size_bytes: u64,
    /// What the server calls its content: if that is another one meanwhile, it refuses.
    version: Option<String>,
    ahead: Mutex<Ahead>,
}

/// What was fetched last.
#[derive(Debug, Default)]
struct Ahead {
    start: u64,
    bytes: Bytes,
}

impl Ahead {
    fn end(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }

    /// What there is from `offset`.
    fn from(&self, offset: u64) -> &[u8] {
        let begin = offset
            .checked_sub(self.start)
            .and_then(|begin| usize::try_from(begin).ok());
        begin
            .and_then(|begin| self.bytes.get(begin..))
            .unwrap_or_default()
    }

    /// How much to fetch at `offset`: more, the longer it goes on; little for who only looks at the beginning.
    fn fetch_bytes(&self, offset: u64) -> u64 {
        let goes_on = offset > 0 && offset == self.end();
        let doubled = if goes_on { self.bytes.len() as u64 * 2 } else { 0 };
        doubled.clamp(limits::S3_READ_BYTES_MIN, limits::S3_READ_BYTES_MAX)
    }
}

impl Object {
    fn fetch(&self, offset: u64, len: u64) -> io::Result<Bytes> {
        let end = self.size_bytes.min(offset.saturating_add(len));
        let fetched = self.bucket.wait(self.get(offset, end));
        let bytes = fetched.map_err(|error| explained(&error))?;
        match bytes.len() as u64 == end - offset {
            true => Ok(bytes),
            false => Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the server sent other bytes than it was asked for",
            )),
        }
    }

    async fn get(&self, offset: u64, end: u64) -> Result<Bytes, Error> {
        let options = GetOptions {
            range: Some(GetRange::Bounded(offset..end)),
            if_match: self.version.clone(),
            ..GetOptions::default()
        };
        let mut stream = self
            .bucket
            .store
            .get_opts(&self.key, options)
            .await?
            .into_stream();
        let mut bytes = BytesMut::new();
        // No more than was asked for is kept, whatever comes.
        while let Some(piece) = stream.try_next().await? {
            bytes.extend_from_slice(&piece);
            if bytes.len() as u64 > end - offset {
                break;
            }
        }
        Ok(bytes.freeze())
    }
}

impl ReadAt for Object {
    fn size_bytes(&self) -> io::Result<u64> {
        Ok(self.size_bytes)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut ahead = self.ahead.lock();
        let mut filled = 0;
        loop {
            let at = offset.saturating_add(filled as u64);
            let rest = buffer.get_mut(filled..).unwrap_or_default();
            if rest.is_empty() || at >= self.size_bytes {
                return Ok(filled);
            }
            if ahead.from(at).is_empty() {
                let bytes = self.fetch(at, ahead.fetch_bytes(at))?;
                *ahead = Ahead { start: at, bytes };
            }
            let found = ahead.from(at);
            let len = found.len().min(rest.len());
            if let (Some(to), Some(from)) = (rest.get_mut(..len), found.get(..len)) {
                to.copy_from_slice(from);
            }
            filled += len;
        }
    }
}
