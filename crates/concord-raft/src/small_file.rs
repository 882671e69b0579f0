//! Small files that change as a whole: the identity, promises made while a cluster forms.
//!
//! A file is written under a temporary name, synced, renamed over the old one, and the
//! directory synced; so it holds the old or the new content, never a mixture, and any
//! damage is damage (I18).
//!
//! ```text
//! magic 8 │ version u32 │ body length u32 │ crc32c u32 of all else │ body
//! ```

use std::io;
use std::path::{Path, PathBuf};

use crate::codec::Decoder;
use crate::limits;
use crate::ports::{Disk, OpenMode};
use crate::storage_error::StorageError;

/// Ends the names of files that an interrupted write can leave behind.
pub(crate) const TEMPORARY: &str = ".tmp";
const HEADER_BYTES: usize = 20;

/// What tells one kind of small file from another.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kind {
    pub(crate) magic: [u8; 8],
    /// The version written, and the newest that is read.
    pub(crate) version: u32,
}

/// Writes `body` to `path`, durably, replacing what was there.
pub(crate) fn write(disk: &dyn Disk, path: &Path, kind: Kind, body: &[u8]) -> Result<(), StorageError> {
    let limit_bytes = limits::SMALL_FILE_BYTES;
    let too_large = || StorageError::TooLarge {
        what: "small file",
        size_bytes: body.len(),
        limit_bytes,
    };
    if body.len() > limit_bytes {
        return Err(too_large());
    }
    let len = u32::try_from(body.len()).map_err(|_| too_large())?;
    let mut bytes = Vec::with_capacity(HEADER_BYTES + body.len());
    bytes.extend_from_slice(&kind.magic);
    bytes.extend_from_slice(&kind.version.to_le_bytes());
    bytes.extend_from_slice(&len.to_le_bytes());
    bytes.extend_from_slice(&checksum(&bytes, body).to_le_bytes());
    bytes.extend_from_slice(body);

    let temporary = temporary_name(path);
    let failed = |action, error| StorageError::io(action, &temporary, 0, error);
    if disk.exists(&temporary).map_err(|e| failed("look for", e))? {
        disk.remove(&temporary).map_err(|e| failed("remove", e))?;
    }
    let file = disk
        .open(&temporary, OpenMode::Create)
        .map_err(|e| failed("create", e))?;
    file.write_all_at(&bytes, 0).map_err(|e| failed("write", e))?;
    file.sync_data().map_err(|e| failed("sync", e))?;
    drop(file);
    disk.rename(&temporary, path)
        .map_err(|e| StorageError::io("rename to", path, 0, e))?;
    sync_parent(disk, path)
}

/// Reads the body at `path`; `None` if there is no such file.
pub(crate) fn read(disk: &dyn Disk, path: &Path, kind: Kind) -> Result<Option<Vec<u8>>, StorageError> {
    let file = match disk.open(path, OpenMode::Read) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(StorageError::io("open", path, 0, error)),
    };
    let mut bytes = vec![0; HEADER_BYTES + limits::SMALL_FILE_BYTES + 1];
    let len = file
        .read_at(&mut bytes, 0)
        .map_err(|e| StorageError::io("read", path, 0, e))?;
    bytes.truncate(len);
    parse(path, kind, &bytes).map(Some)
}

fn parse(path: &Path, kind: Kind, bytes: &[u8]) -> Result<Vec<u8>, StorageError> {
    let damaged = |what: &str| StorageError::corrupt(path, 0, what);
    let mut decoder = Decoder::new(bytes);
    let magic: [u8; 8] = decoder.array().map_err(damaged)?;
    let version = decoder.u32().map_err(damaged)?;
    let len = decoder.u32().map_err(damaged)?;
    let stored = decoder.u32().map_err(damaged)?;
    let body = decoder.rest();
    let covered = bytes.get(..HEADER_BYTES - 4).unwrap_or_default();
    // The checksum first: a damaged version number must not read as "a newer release".
    if magic != kind.magic || stored != checksum(covered, body) {
        return Err(damaged("its checksum does not match"));
    }
    if version > kind.version {
        return Err(StorageError::Version {
            file: path.to_path_buf(),
            found: version,
            supported: kind.version,
        });
    }
    if usize::try_from(len) != Ok(body.len()) {
        return Err(damaged("its length is not the stored one"));
    }
    Ok(body.to_vec())
}

fn checksum(header: &[u8], body: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(header), body)
}

/// The name under which a file is written before it gets its own.
pub(crate) fn temporary_name(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(TEMPORARY);
    PathBuf::from(name)
}

/// Makes renames and removals beside `path` durable.
pub(crate) fn sync_parent(disk: &dyn Disk, path: &Path) -> Result<(), StorageError> {
    let parent = path.parent().unwrap_or(Path::new("."));
    disk.sync_dir(parent)
        .map_err(|e| StorageError::io("sync directory", parent, 0, e))
}
