//! Reads the files of a log: pages for queries, everything for exports and checks. Blocks.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom};
use std::path::Path;

use super::chain::Keys;
use super::files;
use super::filter::Filter;
use super::verify::{AuditHead, AuditReport, HeadFile, Verifier};
use crate::limits::{AUDIT_EXPORT_CHUNK_BYTES, AUDIT_LINE_BYTES_MAX, AUDIT_SCAN_LINES_MAX};

/// A place between two lines: the number of a file and an offset in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) file: u64,
    pub(crate) offset: u64,
}

/// Some of the lines that a query asks for.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    pub(crate) lines: Vec<String>,
    /// Where to go on; `None`: there are no more.
    pub(crate) next: Option<Place>,
}

/// A page of the newest lines first, or the oldest. Its work is bounded: it may end early, with a place to go on.
pub(super) fn page(
    dir: &Path,
    filter: &Filter,
    keys: Option<&Keys>,
    newest_first: bool,
    limit: usize,
    after: Option<Place>,
) -> io::Result<Lines> {
    let mut page = Paging {
        filter,
        keys,
        limit,
        visits: 0,
        found: Vec::new(),
    };
    let all = files::list(dir)?;
    let next = if newest_first {
        page.backward(&all, after)?
    } else {
        page.forward(&all, after)?
    };
    Ok(Lines {
        lines: page.found,
        next,
    })
}

struct Paging<'a> {
    filter: &'a Filter,
    keys: Option<&'a Keys>,
    limit: usize,
    visits: usize,
    found: Vec<String>,
}

impl Paging<'_> {
    /// `true`: that is enough for one page.
    fn visit(&mut self, line: &[u8]) -> bool {
        self.visits += 1;
        if self.filter.wants(line, self.keys) {
            self.found.push(String::from_utf8_lossy(line).into_owned());
        }
        self.found.len() >= self.limit || self.visits >= AUDIT_SCAN_LINES_MAX
    }

    fn forward(
        &mut self,
        all: &std::collections::BTreeMap<u64, std::path::PathBuf>,
        after: Option<Place>,
    ) -> io::Result<Option<Place>> {
        let begin = after.unwrap_or(Place { file: 0, offset: 0 });
        for (&number, path) in all.range(begin.file..) {
            let mut offset = if number == begin.file { begin.offset } else { 0 };
            let mut file = match open(path)? {
                Some(file) => file,
                None => continue,
            };
            file.seek(SeekFrom::Start(offset))?;
            let mut reader = BufReader::with_capacity(1 << 18, file);
            let mut line = Vec::new();
            while let Some(whole) = next_line(&mut reader, &mut line)? {
                offset += whole.len() as u64 + 1;
                if self.visit(whole) {
                    return Ok(Some(Place { file: number, offset }));
                }
            }
        }
        Ok(None)
    }

    fn backward(
        &mut self,
        all: &std::collections::BTreeMap<u64, std::path::PathBuf>,
        before: Option<Place>,
    ) -> io::Result<Option<Place>> {
        let last = before.map_or(u64::MAX, |place| place.file);
        for (&number, path) in all.range(..=last).rev() {
            let Some(file) = open(path)? else { continue };
            let end = match before.filter(|place| place.file == number) {
                Some(place) => place.offset,
                None => file.metadata()?.len(),
            };
            let mut lines = Backward::new(file, end);
            while let Some((offset, line)) = lines.next()? {
                if self.visit(&line) {
                    return Ok(Some(Place { file: number, offset }));
                }
            }
        }
        Ok(None)
    }
}

/// The lines of a file from its end to its beginning. What follows the last line feed is no line yet.
struct Backward {
    file: File,
    /// Where `buffer` begins in the file.
    begin: u64,
    /// What is read and not given out.
    buffer: Vec<u8>,
    is_trimmed: bool,
}

impl Backward {
    fn new(file: File, end: u64) -> Self {
        Self {
            file,
            begin: end,
            buffer: Vec::new(),
            is_trimmed: false,
        }
    }

    fn next(&mut self) -> io::Result<Option<(u64, Vec<u8>)>> {
        loop {
            if !self.is_trimmed
                && let Some(feed) = self.buffer.iter().rposition(|byte| *byte == b'\n')
            {
                self.buffer.truncate(feed);
                self.is_trimmed = true;
            }
            if self.is_trimmed {
                if let Some(feed) = self.buffer.iter().rposition(|byte| *byte == b'\n') {
                    let line = self.buffer.split_off(feed + 1);
                    let offset = self.begin + self.buffer.len() as u64;
                    self.buffer.truncate(feed);
                    return Ok(Some((offset, line)));
                }
                if self.begin == 0 {
                    if self.buffer.is_empty() {
                        return Ok(None);
                    }
                    return Ok(Some((0, std::mem::take(&mut self.buffer))));
                }
            }
            if self.begin == 0 {
                return Ok(None);
            }
            self.read_more()?;
        }
    }

    fn read_more(&mut self) -> io::Result<()> {
        let size = self.begin.min(1 << 18);
        self.begin -= size;
        self.file.seek(SeekFrom::Start(self.begin))?;
        let mut more = Vec::new();
        (&self.file).take(size).read_to_end(&mut more)?;
        more.append(&mut self.buffer);
        self.buffer = more;
        Ok(())
    }
}

/// `None`: it was removed because it was old.
fn open(path: &Path) -> io::Result<Option<File>> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The next whole line, without the line feed; `None` at the end, with what follows the last one in `line`.
fn next_line<'a>(reader: &mut BufReader<File>, line: &'a mut Vec<u8>) -> io::Result<Option<&'a [u8]>> {
    line.clear();
    // Longer than any line of ours: cut, so that it is told as damage and not read into memory.
    reader
        .by_ref()
        .take(AUDIT_LINE_BYTES_MAX)
        .read_until(b'\n', line)?;
    if line.last() == Some(&b'\n') || line.len() as u64 == AUDIT_LINE_BYTES_MAX {
        return Ok(Some(line.strip_suffix(b"\n").unwrap_or(line)));
    }
    Ok(None)
}

/// Every line that is wanted, oldest first, in chunks of whole lines. `take` says whether to go on.
pub(super) fn export(
    dir: &Path,
    filter: &Filter,
    keys: Option<&Keys>,
    mut take: impl FnMut(Vec<u8>) -> bool,
) -> io::Result<()> {
    let mut chunk = Vec::with_capacity(AUDIT_EXPORT_CHUNK_BYTES);
    for path in files::list(dir)?.values() {
        let Some(file) = open(path)? else { continue };
        let mut reader = BufReader::with_capacity(1 << 18, file);
        let mut line = Vec::new();
        while let Some(whole) = next_line(&mut reader, &mut line)? {
            if filter.wants(whole, keys) {
                chunk.extend_from_slice(whole);
                chunk.push(b'\n');
            }
            if chunk.len() >= AUDIT_EXPORT_CHUNK_BYTES
                && !take(std::mem::replace(
                    &mut chunk,
                    Vec::with_capacity(AUDIT_EXPORT_CHUNK_BYTES),
                ))
            {
                return Ok(());
            }
        }
    }
    if !chunk.is_empty() {
        take(chunk);
    }
    Ok(())
}

/// Checks every line of a log. `is_copy`: there is no `head.json` to go by.
pub(super) fn verify(
    dir: &Path,
    keys: Vec<Keys>,
    mut expected: Vec<AuditHead>,
    is_copy: bool,
) -> io::Result<AuditReport> {
    // Before the files: a log that is being written only grows.
    let head = match (is_copy, files::read_head(dir)?) {
        (true, _) => HeadFile::Unasked,
        (false, None) => HeadFile::Missing,
        (false, Some((log, head))) => {
            expected.push(AuditHead {
                seq: head.seq,
                hash: head.hash.to_string(),
            });
            HeadFile::Of(log)
        }
    };
    let mut verifier = Verifier::new(keys, expected);
    for (number, path) in files::list(dir)? {
        verifier.begin_file(number);
        let mut reader = BufReader::with_capacity(1 << 20, File::open(path)?);
        let mut line = Vec::new();
        while let Some(whole) = next_line(&mut reader, &mut line)? {
            verifier.line(whole);
        }
        verifier.end_file(line.len() as u64);
    }
    Ok(verifier.finish(head))
}
