//! The files of an audit log, by the numbers in their names: two of them can never have the same (D-AUD-4).
//!
//! ```text
//!   audit-0000000001.jsonl   the oldest that is kept
//!   audit-0000000002.jsonl   the one being written
//!   head.json                up to where the log was on disk a moment ago
//!   LOCK                     held by the node that writes
//! ```

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::chain::Hash;
use crate::limits::AUDIT_LINE_BYTES_MAX;

const HEAD: &str = "head.json";
const HEAD_NEW: &str = "head.json.new";
const LOCK: &str = "LOCK";

/// Where a log ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) file: u64,
    pub(crate) seq: u64,
    pub(crate) hash: Hash,
}

#[derive(Serialize, Deserialize)]
struct StoredHead {
    format: u64,
    log: String,
    file: u64,
    seq: u64,
    hash: String,
}

pub(super) fn path_of(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("audit-{number:010}.jsonl"))
}

/// The files there are, oldest first.
pub(super) fn list(dir: &Path) -> io::Result<BTreeMap<u64, PathBuf>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let number = name
            .to_str()
            .and_then(|name| name.strip_prefix("audit-")?.strip_suffix(".jsonl"))
            .filter(|digits| digits.len() >= 10 && digits.bytes().all(|byte| byte.is_ascii_digit()))
            .and_then(|digits| digits.parse().ok());
        if let Some(number) = number {
            found.insert(number, entry.path());
        }
    }
    Ok(found)
}

/// Makes the directory, for this user only, and takes it for this process.
pub(super) fn take(dir: &Path) -> io::Result<fs::File> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(dir)?;
    let lock = options().create(true).truncate(false).open(dir.join(LOCK))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(fs::TryLockError::WouldBlock) => {
            let message = "another process writes its audit log here";
            Err(io::Error::new(io::ErrorKind::ResourceBusy, message))
        }
        Err(fs::TryLockError::Error(error)) => Err(error),
    }
}

/// For writing, for this user only.
pub(super) fn options() -> fs::OpenOptions {
    let mut options = fs::OpenOptions::new();
    options.write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// Replaces the head. Not synced: it never names a line that is not on disk, so an older head, or none
/// after a power cut, is no lie.
pub(super) fn write_head(dir: &Path, log: &str, head: &Head) -> io::Result<()> {
    let stored = StoredHead {
        format: super::line::FORMAT,
        log: log.to_owned(),
        file: head.file,
        seq: head.seq,
        hash: head.hash.to_string(),
    };
    let new = dir.join(HEAD_NEW);
    let mut file = options().create(true).truncate(true).open(&new)?;
    io::Write::write_all(&mut file, &serde_json::to_vec(&stored)?)?;
    drop(file);
    fs::rename(new, dir.join(HEAD))
}

/// The head and whose it is; `None` if there is none that can be read.
pub(super) fn read_head(dir: &Path) -> io::Result<Option<(String, Head)>> {
    let text = match fs::read(dir.join(HEAD)) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let Ok(stored) = serde_json::from_slice::<StoredHead>(&text) else {
        return Ok(None);
    };
    Ok(Hash::parse(stored.hash.as_bytes()).map(|hash| {
        let head = Head {
            file: stored.file,
            seq: stored.seq,
            hash,
        };
        (stored.log, head)
    }))
}

/// The first line of a file, as far as what follows it is about.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct HeaderLine {
    pub(super) kind: String,
    pub(super) time: String,
    pub(super) format: u64,
    pub(super) log: String,
    pub(super) file: u64,
    pub(super) seal: String,
    #[serde(default)]
    pub(super) key_id: String,
    pub(super) previous: String,
}

/// The header of a file; `None` if its first line is none.
pub(super) fn read_header(path: &Path) -> io::Result<Option<HeaderLine>> {
    let mut start = Vec::new();
    fs::File::open(path)?
        .take(AUDIT_LINE_BYTES_MAX)
        .read_to_end(&mut start)?;
    let line = start.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let header = serde_json::from_slice::<HeaderLine>(line).ok();
    Ok(header.filter(|header| header.kind == super::line::Kind::Header.name()))
}

/// How a file ends.
#[derive(Debug, Default)]
pub(super) struct Ending {
    /// Its last line, without the line feed; empty: it has none.
    pub(super) line: Vec<u8>,
    /// The line before that, if there is one.
    pub(super) before: Option<Vec<u8>>,
    /// What follows the last line: a line that was not finished.
    pub(super) torn_bytes: u64,
    /// Where that begins.
    pub(super) end: u64,
}

/// Reads the end of a file.
pub(super) fn read_ending(path: &Path) -> io::Result<Ending> {
    let mut file = fs::File::open(path)?;
    let len = file.metadata()?.len();
    let window = len.min(3 * AUDIT_LINE_BYTES_MAX);
    file.seek(SeekFrom::Start(len - window))?;
    let mut tail = Vec::new();
    file.take(window).read_to_end(&mut tail)?;
    let Some(last) = tail.iter().rposition(|byte| *byte == b'\n') else {
        return Ok(Ending {
            torn_bytes: len,
            ..Ending::default()
        });
    };
    let torn_bytes = u64::try_from(tail.len() - last - 1).unwrap_or(u64::MAX);
    let mut lines = tail.get(..last).unwrap_or_default().rsplit(|byte| *byte == b'\n');
    let line = lines.next().unwrap_or_default().to_vec();
    Ok(Ending {
        line,
        before: lines.next().map(<[u8]>::to_vec),
        torn_bytes,
        end: len.saturating_sub(torn_bytes),
    })
}
