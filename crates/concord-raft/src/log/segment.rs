//! Segment files: their names, their headers, and how one is made.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::record::{self, Seed};
use crate::codec::{Decoder, Malformed};
use crate::ports::{Disk, DiskFile, OpenMode};
use crate::small_file::{TEMPORARY, sync_parent};
use crate::storage_error::StorageError;

/// The version written, and the newest that is read.
pub(super) const VERSION: u32 = 1;
const MAGIC: [u8; 8] = *b"CNCRDwal";
/// A sector: the first frame begins after it.
pub(super) const HEADER_BYTES: u64 = 512;
/// The frame that ends a segment; its room is kept free.
pub(super) const END_BYTES: u64 = (record::FRAME_HEADER_BYTES + record::RECORD_HEADER_BYTES + 4) as u64;
const EXTENSION: &str = ".wal";
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];
/// Zeros are flushed this often, so that the log's own syncs find little to wait for.
const SYNC_EVERY_BYTES: u64 = 4 << 20;

/// An open segment.
#[derive(Clone, Debug)]
pub(super) struct Segment {
    pub(super) number: u64,
    pub(super) path: PathBuf,
    pub(super) file: Arc<dyn DiskFile>,
    pub(super) seed: Seed,
    /// The length of the file.
    pub(super) bytes: u64,
}

impl Segment {
    /// Where the frame that ends it begins at the latest.
    pub(super) const fn limit(&self) -> u64 {
        self.bytes - END_BYTES
    }

    pub(super) fn io(
        &self,
        action: &'static str,
        offset: u64,
    ) -> impl FnOnce(std::io::Error) -> StorageError {
        let path = self.path.clone();
        move |error| StorageError::io(action, &path, offset, error)
    }

    pub(super) fn corrupt(&self, offset: u64, what: impl Into<String>) -> StorageError {
        StorageError::corrupt(&self.path, offset, what)
    }
}

/// The path of a segment. Names sort as the numbers do.
pub(super) fn path(directory: &Path, number: u64) -> PathBuf {
    directory.join(format!("{number:016x}{EXTENSION}"))
}

/// The number in a segment's name.
pub(super) fn number(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(EXTENSION).filter(|digits| digits.len() == 16)?;
    u64::from_str_radix(digits, 16).ok()
}

/// Makes a segment, zero-filled so that later writes change no metadata: a sync of bytes
/// within a file costs about half of one that also has to note a new length or extent.
/// It has its name, durably, once it is complete; a crash leaves a temporary file.
pub(super) fn create(
    disk: &dyn Disk,
    directory: &Path,
    store_id: u128,
    number: u64,
    bytes: u64,
) -> Result<Segment, StorageError> {
    let path = path(directory, number);
    let mut temporary = path.clone().into_os_string();
    temporary.push(TEMPORARY);
    let temporary = PathBuf::from(temporary);
    let failed = |action, offset| {
        let temporary = temporary.clone();
        move |error| StorageError::io(action, &temporary, offset, error)
    };
    if disk.exists(&temporary).map_err(failed("look for", 0))? {
        disk.remove(&temporary).map_err(failed("remove", 0))?;
    }
    let file = disk
        .open(&temporary, OpenMode::Create)
        .map_err(failed("create", 0))?;
    let filled = fill(&*file, store_id, number, bytes, &failed);
    if let Err(error) = filled {
        // Gives the space back; the log may need it.
        drop(file);
        let _ = disk.remove(&temporary);
        return Err(error);
    }
    disk.rename(&temporary, &path).map_err(failed("rename", 0))?;
    sync_parent(disk, &path)?;
    Ok(Segment {
        number,
        path,
        file: Arc::from(file),
        seed: Seed::new(store_id, number),
        bytes,
    })
}

fn fill<F: FnOnce(std::io::Error) -> StorageError>(
    file: &dyn DiskFile,
    store_id: u128,
    number: u64,
    bytes: u64,
    failed: &impl Fn(&'static str, u64) -> F,
) -> Result<(), StorageError> {
    file.write_all_at(&encode_header(store_id, number, bytes), 0)
        .map_err(failed("write", 0))?;
    let (mut offset, mut synced) = (HEADER_BYTES, 0);
    while offset < bytes {
        let len = usize::try_from(bytes - offset)
            .unwrap_or(usize::MAX)
            .min(ZEROS.len());
        let zeros = ZEROS.get(..len).unwrap_or_default();
        file.write_all_at(zeros, offset).map_err(failed("fill", offset))?;
        offset += len as u64;
        if offset - synced >= SYNC_EVERY_BYTES {
            file.sync_data().map_err(failed("sync", offset))?;
            synced = offset;
        }
    }
    file.sync_data().map_err(failed("sync", offset))
}

/// Opens a segment that should be there, whole, and of this store.
pub(super) fn open(
    disk: &dyn Disk,
    directory: &Path,
    store_id: u128,
    number: u64,
) -> Result<Segment, StorageError> {
    let path = path(directory, number);
    let file = disk
        .open(&path, OpenMode::Write)
        .map_err(|e| StorageError::io("open", &path, 0, e))?;
    let mut header = [0; 48];
    let read = file
        .read_at(&mut header, 0)
        .map_err(|e| StorageError::io("read", &path, 0, e))?;
    let damaged = |what: Malformed| StorageError::corrupt(&path, 0, what);
    let header = decode_header(header.get(..read).unwrap_or_default()).map_err(damaged)?;
    if header.version > VERSION {
        return Err(StorageError::Version {
            file: path,
            found: header.version,
            supported: VERSION,
        });
    }
    if header.store_id != store_id {
        return Err(StorageError::Foreign {
            file: path,
            found: header.store_id,
            expected: store_id,
        });
    }
    if header.number != number {
        return Err(damaged("its number is not that of its name"));
    }
    let len = file.len().map_err(|e| StorageError::io("measure", &path, 0, e))?;
    if len != header.bytes || len < HEADER_BYTES + END_BYTES {
        return Err(StorageError::corrupt(
            &path,
            len.min(header.bytes),
            "the file is not as long as it was made",
        ));
    }
    Ok(Segment {
        number,
        path,
        file: Arc::from(file),
        seed: Seed::new(store_id, number),
        bytes: len,
    })
}

struct Header {
    version: u32,
    store_id: u128,
    number: u64,
    bytes: u64,
}

fn encode_header(store_id: u128, number: u64, bytes: u64) -> Vec<u8> {
    let mut covered = Vec::with_capacity(48);
    covered.extend_from_slice(&MAGIC);
    covered.extend_from_slice(&VERSION.to_le_bytes());
    let mut rest = Vec::new();
    rest.extend_from_slice(&store_id.to_le_bytes());
    rest.extend_from_slice(&number.to_le_bytes());
    rest.extend_from_slice(&bytes.to_le_bytes());
    let checksum = crc32c::crc32c_append(crc32c::crc32c(&covered), &rest);
    covered.extend_from_slice(&checksum.to_le_bytes());
    covered.extend_from_slice(&rest);
    covered.resize(512, 0);
    covered
}

fn decode_header(bytes: &[u8]) -> Result<Header, Malformed> {
    let mut decoder = Decoder::new(bytes);
    let magic: [u8; 8] = decoder.array()?;
    let version = decoder.u32()?;
    let checksum = decoder.u32()?;
    let covered = bytes.get(..12).unwrap_or_default();
    // The checksum first: a damaged version number must not read as "a newer release".
    if magic != MAGIC || checksum != crc32c::crc32c_append(crc32c::crc32c(covered), decoder.rest()) {
        return Err("the segment header's checksum does not match");
    }
    Ok(Header {
        version,
        store_id: decoder.u128()?,
        number: decoder.u64()?,
        bytes: decoder.u64()?,
    })
}

/// The length of a segment into which an entry fits, with what begins and ends every segment: whole pages.
pub(super) const fn bytes_for(entry_bytes: usize) -> u64 {
    const BEGINNING: u64 = 512;
    const PAGE: u64 = 4 << 10;
    (HEADER_BYTES + BEGINNING + entry_bytes as u64 + END_BYTES).next_multiple_of(PAGE)
}
