//! Backups: one consistent cut of a machine in one sealed file.
//!
//! Not here: when a backup is made, who may make one, and what a chunk means; nor any place
//! but a directory: others are a [`BackupTarget`] of whoever knows them. Calls block.
//!
//! ```text
//!   header: whose, which revision, when, counts │ block 0 │ block 1 │ … │ footer: totals, SHA-256 of all
//! ```
//!
//! The chunks are the machine's own snapshot, so whatever the state holds is in the backup.
//! What has a backup's name is complete, for a draft gets its name when all of it is there;
//! anything wrong in it is damage, found before a byte of it is believed (I18). Bytes: `docs/log-format.md`.

mod directory;
mod header;
mod name;
mod repository;
mod retention;
mod target;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use concord_core::machine::{Machine, Restorer};

pub use header::BackupHeader;
pub use name::{BackupName, InvalidBackupName};
pub use repository::{BackupRepository, Cleaned, Listed};
pub use retention::Retention;
pub use target::{BackupDraft, BackupSource, BackupTarget};

use crate::container::{BlockReader, BlockWriter};
use crate::ports::{Disk, ReadAt};
use crate::storage_error::StorageError;
use crate::versions;
use directory::FileSource;

/// Encodes a backup piece by piece, wherever its bytes go: a file, or a connection.
#[derive(Debug)]
pub struct BackupEncoder {
    blocks: BlockWriter,
}

impl BackupEncoder {
    /// Starts a backup; gives its first bytes.
    ///
    /// # Errors
    ///
    /// [`StorageError::TooLarge`].
    pub fn start(header: &BackupHeader) -> Result<(Self, Vec<u8>), StorageError> {
        Self::start_at(header, PathBuf::from("backup"))
    }

    fn start_at(header: &BackupHeader, path: PathBuf) -> Result<(Self, Vec<u8>), StorageError> {
        let head = header.encode()?;
        let mut first = Vec::new();
        let blocks = BlockWriter::start(header::KIND, &head, path, &mut first);
        Ok((Self { blocks }, first))
    }

    /// Appends the bytes of the machine's next chunk to `out`.
    ///
    /// # Errors
    ///
    /// [`StorageError::TooLarge`]; the backup is then of no use.
    pub fn chunk(&mut self, chunk: &[u8], out: &mut Vec<u8>) -> Result<(), StorageError> {
        self.blocks.chunk(chunk, out)
    }

    /// Appends the last bytes to `out`; gives the SHA-256 that is in them.
    pub fn finish(self, out: &mut Vec<u8>) -> [u8; 32] {
        self.blocks.finish(out).unwrap_or_default()
    }
}

/// Writes the backup of a view to a draft, which becomes a backup when it lands.
fn write<M: Machine>(
    draft: &mut dyn BackupDraft,
    path: &Path,
    header: &BackupHeader,
    view: &M::View,
) -> Result<(), StorageError> {
    let (mut encoder, mut buffer) = BackupEncoder::start_at(header, path.to_path_buf())?;
    for chunk in M::snapshot(view) {
        encoder.chunk(&chunk, &mut buffer)?;
        draft.append(&buffer)?;
        buffer.clear();
    }
    encoder.finish(&mut buffer);
    draft.append(&buffer)
}

/// A file, or an object of a bucket, that begins as a backup. Whether it is whole says [`BackupFile::verify`].
#[derive(Clone, Debug)]
pub struct BackupFile {
    source: Arc<dyn BackupSource>,
    header: Arc<BackupHeader>,
    file_bytes: u64,
}

/// What a backup that is whole has in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verified {
    /// The SHA-256 of the whole file but the last 32 bytes and what frames them.
    pub sha256: [u8; 32],
    /// How many chunks.
    pub chunks: u32,
    /// Their bytes before compression.
    pub raw_bytes: u64,
}

impl BackupFile {
    /// Opens a file and reads its header.
    ///
    /// # Errors
    ///
    /// [`StorageError::Corrupt`] if it is no backup, [`StorageError::Version`] if it is a
    /// newer release's, [`StorageError::Io`].
    pub fn open(disk: Arc<dyn Disk>, path: &Path) -> Result<Self, StorageError> {
        Self::of(Arc::new(FileSource::new(disk, path)))
    }

    /// Reads the header of what is there.
    ///
    /// # Errors
    ///
    /// As [`BackupFile::open`].
    pub fn of(source: Arc<dyn BackupSource>) -> Result<Self, StorageError> {
        let path = source.location();
        let bytes = source.open()?;
        let file_bytes = bytes
            .size_bytes()
            .map_err(|e| StorageError::io("measure", path, 0, e))?;
        let (head, _) = BlockReader::over(bytes, path, header::KIND)?;
        let header = BackupHeader::decode(&head, path)?;
        Ok(Self {
            header: Arc::new(header),
            source,
            file_bytes,
        })
    }

    /// What it is a backup of.
    pub fn header(&self) -> &BackupHeader {
        &self.header
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.source.location()
    }

    /// The size of the file.
    pub const fn file_bytes(&self) -> u64 {
        self.file_bytes
    }

    /// Reads all of it and checks every byte; holds one chunk at a time. `progress` is told
    /// the bytes read so far.
    ///
    /// # Errors
    ///
    /// [`StorageError::Corrupt`] with what is wrong and where, or [`StorageError::Io`].
    pub fn verify(&self, mut progress: impl FnMut(u64)) -> Result<Verified, StorageError> {
        let mut reader = self.read()?;
        while let Some(chunk) = reader.next() {
            chunk?;
            progress(reader.offset());
        }
        let totals = reader.totals();
        Ok(Verified {
            sha256: reader.seal().unwrap_or_default(),
            chunks: totals.blocks,
            raw_bytes: totals.raw_bytes,
        })
    }

    /// Rebuilds the machine. Everything is verified before the first chunk is believed.
    ///
    /// # Errors
    ///
    /// As [`BackupFile::verify`]; [`StorageError::NewerMachine`]; [`StorageError::Corrupt`] also if the chunks are
    /// not such a machine's.
    pub fn machine<M: Machine>(&self, mut progress: impl FnMut(u64)) -> Result<M, StorageError> {
        // D-SEC-12: nothing is deserialised of a file that is not wholly as it was written.
        self.verify(&mut progress)?;
        let mut reader = self.read()?;
        let mut restorer = M::restorer();
        while let Some(chunk) = reader.next() {
            let fed = restorer.feed(&chunk?);
            versions::check_restored(&restorer, self.path(), M::NEWEST)?;
            fed.map_err(|error| StorageError::corrupt(self.path(), reader.offset(), error.to_string()))?;
        }
        restorer
            .finish()
            .map_err(|error| StorageError::corrupt(self.path(), reader.offset(), error.to_string()))
    }

    /// The chunks of the machine's snapshot, in order, each checked as it is read. Only after the last one is it
    /// known that all of them are whole: see [`BackupFile::verify`].
    ///
    /// # Errors
    ///
    /// As [`BackupFile::open`].
    pub fn chunks(&self) -> Result<BackupChunks, StorageError> {
        Ok(BackupChunks(self.read()?))
    }

    /// Its bytes as they are.
    ///
    /// # Errors
    ///
    /// [`StorageError::Io`].
    pub fn bytes(&self) -> Result<BackupBytes, StorageError> {
        let bytes = self.source.open()?;
        Ok(BackupBytes {
            path: self.path().to_path_buf(),
            bytes: Arc::from(bytes),
        })
    }

    fn read(&self) -> Result<BlockReader, StorageError> {
        let bytes = self.source.open()?;
        BlockReader::over(bytes, self.path(), header::KIND).map(|(_, reader)| reader)
    }
}

/// The bytes of a backup, open: see [`BackupFile::bytes`].
#[derive(Clone, Debug)]
pub struct BackupBytes {
    path: PathBuf,
    bytes: Arc<dyn ReadAt>,
}

impl BackupBytes {
    /// Up to `len` bytes from `offset`; empty at the end.
    ///
    /// # Errors
    ///
    /// [`StorageError::Io`].
    pub fn read_at(&self, offset: u64, len: usize) -> Result<Bytes, StorageError> {
        let mut bytes = vec![0; len];
        let read = self
            .bytes
            .read_at(&mut bytes, offset)
            .map_err(|error| StorageError::io("read", &self.path, offset, error))?;
        bytes.truncate(read);
        Ok(bytes.into())
    }
}

/// The chunks of a backup: see [`BackupFile::chunks`].
#[derive(Debug)]
pub struct BackupChunks(BlockReader);

impl BackupChunks {
    /// How many bytes of the file were read.
    pub const fn offset(&self) -> u64 {
        self.0.offset()
    }
}

impl Iterator for BackupChunks {
    type Item = Result<Bytes, StorageError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next()
    }
}
