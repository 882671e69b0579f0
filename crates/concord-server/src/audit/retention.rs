//! Which files are too old, or too many, to be kept.

use std::io;
use std::path::{Path, PathBuf};

use super::chain::Hash;
use super::files;
use super::time::Moment;

const DAY_MICROS: u64 = 86_400 * 1_000_000;

/// What is kept; 0: without limit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) days: u64,
    pub(super) bytes: u64,
}

/// Files that go, the oldest ones without a gap.
#[derive(Debug)]
pub(super) struct Surplus {
    pub(super) first: u64,
    pub(super) last: u64,
    pub(super) paths: Vec<PathBuf>,
    /// What the first file that stays follows.
    pub(super) end_hash: Hash,
    pub(super) reason: &'static str,
}

/// What is over the limits. The newest file always stays.
///
/// A file is as old as the first line behind it, by what the lines say: times of files change when they are copied.
pub(super) fn surplus(dir: &Path, limits: Limits, now: u64) -> io::Result<Option<Surplus>> {
    let files: Vec<(u64, PathBuf)> = files::list(dir)?.into_iter().collect();
    let mut bytes = 0_u64;
    for (_, path) in &files {
        bytes = bytes.saturating_add(path.metadata()?.len());
    }
    let oldest_kept = match limits.days {
        0 => 0,
        days => now.saturating_sub(days.saturating_mul(DAY_MICROS)),
    };
    let mut found: Option<Surplus> = None;
    for (file, next) in files.iter().zip(files.iter().skip(1)) {
        let Some(header) = files::read_header(&next.1)? else {
            break;
        };
        let (Some(end), Some(end_hash)) = (
            Moment::parse(&header.time),
            Hash::parse(header.previous.as_bytes()),
        ) else {
            break;
        };
        let reason = if end.first < oldest_kept {
            "days"
        } else if limits.bytes > 0 && bytes > limits.bytes {
            "bytes"
        } else {
            break;
        };
        bytes = bytes.saturating_sub(file.1.metadata()?.len());
        let surplus = found.get_or_insert_with(|| Surplus {
            first: file.0,
            last: file.0,
            paths: Vec::new(),
            end_hash,
            reason,
        });
        surplus.last = file.0;
        surplus.end_hash = end_hash;
        surplus.paths.push(file.1.clone());
    }
    Ok(found)
}
