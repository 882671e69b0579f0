//! Whether a log is what was written: every line follows from the one before it.
//!
//! [`Verifier`] takes lines and says what is wrong; it reads no file. What it can and cannot find is in
//! `docs/audit.md`, and why, in `docs/adr/0012-the-audit-log-is-a-chain.md`.

use serde::{Deserialize, Serialize};

use super::chain::{Hash, Keys, Seal};
use super::files::HeaderLine;
use super::line::{FORMAT, Kind, Sealed};
use crate::limits::AUDIT_FINDINGS_MAX;

/// A place in a log that an operator noted: the line of this number had this hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditHead {
    /// The number of the line.
    pub seq: u64,
    /// Its hash, 64 hexadecimal digits.
    pub hash: String,
}

/// What is wrong at one place of a log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct AuditFinding {
    /// The number of the file, as in its name; 0: it is about the log as a whole.
    pub file: u64,
    /// The line in it, from 1; 0: it is about the file as a whole.
    pub line: u64,
    /// What is wrong.
    pub problem: String,
}

/// What the check of a log has come to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct AuditReport {
    /// Whether the log is whole: nothing was found.
    pub intact: bool,
    /// Files.
    pub files: u64,
    /// Lines of every kind.
    pub lines: u64,
    /// Requests among them.
    pub events: u64,
    /// The number of the first line that is kept.
    pub first_seq: u64,
    /// The number of the last line: worth noting elsewhere, together with its hash.
    pub last_seq: u64,
    /// The hash of the last line.
    pub last_hash: String,
    /// Lines that the node itself says it could not keep.
    pub lost: u64,
    /// Files that the node itself says it removed because they were old.
    pub files_removed: u64,
    /// Bytes behind the last line: it is being written, or was when the node was killed.
    pub torn_bytes: u64,
    /// Whether lines are sealed with a secret, all of them.
    pub keyed: bool,
    /// What is wrong, the first hundred places.
    pub findings: Vec<AuditFinding>,
    /// How many places there are.
    pub findings_total: u64,
}

/// What a line says about the log itself.
#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum Note {
    Lost {
        count: u64,
    },
    Removed {
        upto_file: u64,
        end_hash: String,
    },
    #[serde(other)]
    Other,
}

/// Checks the lines of a log, in their order.
#[derive(Debug)]
pub(crate) struct Verifier {
    keys: Vec<Keys>,
    expected: Vec<AuditHead>,
    report: AuditReport,
    /// How the file that is being read is sealed; `None`: with a secret that was not given.
    seal: Option<Seal>,
    log: Option<String>,
    file: u64,
    line: u64,
    /// The hash and number that the next line must follow; `None` before the first.
    last: Option<(u64, Hash)>,
    /// Bytes behind the last line of the file before, which the next header must speak of.
    torn: u64,
    /// What the first file that is there says it follows.
    begins_behind: Option<(u64, Hash)>,
    /// The newest note of files that were removed.
    removed: Option<(u64, Hash)>,
}

impl Verifier {
    /// `keys`: of the secrets that lines may be sealed with. `expected`: lines that must be there.
    pub(crate) fn new(keys: Vec<Keys>, mut expected: Vec<AuditHead>) -> Self {
        expected.sort_by_key(|head| std::cmp::Reverse(head.seq));
        Self {
            keys,
            expected,
            report: AuditReport {
                keyed: true,
                ..AuditReport::default()
            },
            seal: None,
            log: None,
            file: 0,
            line: 0,
            last: None,
            torn: 0,
            begins_behind: None,
            removed: None,
        }
    }

    fn find(&mut self, problem: impl Into<String>) {
        self.find_at(self.file, self.line, problem);
    }

    fn find_at(&mut self, file: u64, line: u64, problem: impl Into<String>) {
        self.report.findings_total += 1;
        if self.report.findings.len() < AUDIT_FINDINGS_MAX {
            self.report.findings.push(AuditFinding {
                file,
                line,
                problem: problem.into(),
            });
        }
    }

    /// The file of this number begins.
    pub(crate) fn begin_file(&mut self, number: u64) {
        if self.report.files > 0 && number != self.file + 1 {
            let (first, last) = (self.file + 1, number.saturating_sub(1));
            self.find_at(number, 0, format!("files {first} to {last} are missing"));
        }
        self.report.files += 1;
        self.file = number;
        self.line = 0;
    }

    /// The next line of it, without the line feed.
    pub(crate) fn line(&mut self, line: &[u8]) {
        self.line += 1;
        self.report.lines += 1;
        let sealed = Sealed::parse(line);
        if self.line == 1 {
            self.header(line);
        }
        let Some(sealed) = sealed else {
            return self.find("is no line of an audit log");
        };
        let previous = match self.last {
            Some((seq, hash)) => {
                if sealed.seq != seq.wrapping_add(1) {
                    self.find(out_of_order(seq, sealed.seq));
                }
                hash
            }
            None => {
                self.report.first_seq = sealed.seq;
                self.begins_behind.map_or(Hash::NONE, |(_, hash)| hash)
            }
        };
        match &self.seal {
            Some(seal) if seal.hash(&previous, sealed.body) != sealed.hash => {
                self.find("is not what was written, or does not follow the line before it");
            }
            Some(_) | None => {}
        }
        // What the line says of itself counts from here on, so that one edit is one finding.
        self.last = Some((sealed.seq, sealed.hash));
        self.expect(&sealed);
        if sealed.is_event {
            self.report.events += 1;
        } else {
            self.note(line);
        }
    }

    /// The file ends, with this many bytes behind its last line feed.
    pub(crate) fn end_file(&mut self, torn_bytes: u64) {
        if self.line == 0 {
            self.find("has no line");
        }
        self.torn = torn_bytes;
    }

    fn header(&mut self, line: &[u8]) {
        let torn = std::mem::take(&mut self.torn);
        let header = serde_json::from_slice::<HeaderLine>(line);
        let Some(header) = header.ok().filter(|header| header.kind == Kind::Header.name()) else {
            return self.find("the file does not begin with a header");
        };
        if header.format != FORMAT {
            self.find(format!("format {} is not known to this version", header.format));
        }
        if header.file != self.file {
            self.find(format!("the header is that of file {}", header.file));
        }
        let log = self.log.get_or_insert_with(|| header.log.clone());
        if *log != header.log {
            self.find(format!("the file belongs to another log, {:.40}", header.log));
        }
        if torn > 0 {
            // A node cuts what a crash left unfinished, and says so.
            self.find_at(self.file - 1, 0, format!("{torn} bytes follow the last line"));
        }
        self.choose_seal(&header);
        match (Hash::parse(header.previous.as_bytes()), self.last) {
            (None, _) => self.find("the header does not say what it follows"),
            (Some(previous), None) => self.begins_behind = Some((self.file, previous)),
            (Some(previous), Some((_, hash))) if previous != hash => {
                self.find("the header does not follow the end of the file before");
            }
            (Some(_), Some(_)) => {}
        }
    }

    fn choose_seal(&mut self, header: &HeaderLine) {
        self.report.keyed &= header.seal != Seal::Plain.name();
        self.seal = match header.seal.as_str() {
            "sha256" if self.keys.is_empty() => Some(Seal::Plain),
            "sha256" => {
                // Else whoever edits the log would just say that it was never sealed.
                self.find("lines are not sealed with a secret, though one was given to check them by");
                Some(Seal::Plain)
            }
            "hmac-sha256" => {
                let keys = self.keys.iter().find(|keys| keys.id() == header.key_id).cloned();
                if keys.is_none() {
                    self.find(format!(
                        "lines are sealed with a secret that was not given (key {:.16})",
                        header.key_id
                    ));
                }
                keys.map(|keys| Seal::Keyed(Box::new(keys)))
            }
            other => {
                self.find(format!("seal `{other:.20}` is not known to this version"));
                None
            }
        };
    }

    fn expect(&mut self, sealed: &Sealed<'_>) {
        while let Some(head) = self.expected.last().filter(|head| head.seq <= sealed.seq) {
            let (seq, is_same) = (head.seq, head.hash == sealed.hash.as_str());
            self.expected.pop();
            if seq == sealed.seq && !is_same {
                self.find(format!("line {seq} is not the one that was noted"));
            } else if seq < sealed.seq && seq >= self.report.first_seq {
                self.find(format!("line {seq}, which was noted, is missing"));
            }
        }
    }

    fn note(&mut self, line: &[u8]) {
        match serde_json::from_slice(line) {
            Ok(Note::Lost { count }) => self.report.lost += count,
            Ok(Note::Removed { upto_file, end_hash }) => {
                self.report.files_removed = self.report.files_removed.max(upto_file);
                self.removed = Hash::parse(end_hash.as_bytes()).map(|hash| (upto_file, hash));
            }
            Ok(Note::Other) | Err(_) => {}
        }
    }

    /// The end of the log. `head`: where it was a moment ago, by the file beside it.
    pub(crate) fn finish(mut self, head: HeadFile) -> AuditReport {
        self.line = 0;
        if let Some((first, hash)) = self.begins_behind {
            let removed = self.removed.filter(|(upto, _)| upto + 1 >= first);
            match removed {
                _ if first == 1 => {
                    if hash != Hash::NONE {
                        self.find_at(1, 1, "the first file follows something");
                    }
                }
                None => self.find_at(
                    first,
                    0,
                    "files before this one are gone, and no line says that they were removed",
                ),
                Some((upto, end)) if upto + 1 == first && end != hash => {
                    self.find_at(first, 1, "the file does not follow those that were removed");
                }
                Some(_) => {}
            }
        }
        match head {
            HeadFile::Missing => {
                self.find_at(
                    0,
                    0,
                    "head.json is missing or unreadable: the end may have been cut off",
                );
            }
            HeadFile::Of(log) if self.log.as_ref().is_some_and(|own| *own != log) => {
                self.find_at(0, 0, "head.json belongs to another log");
            }
            HeadFile::Unasked | HeadFile::Of(_) => {}
        }
        let missing: Vec<u64> = self.expected.iter().map(|head| head.seq).collect();
        for seq in missing {
            self.find_at(
                0,
                0,
                format!("line {seq}, which was noted, is missing: the end was cut off"),
            );
        }
        self.report.torn_bytes = self.torn;
        if let Some((seq, hash)) = self.last {
            self.report.last_seq = seq;
            self.report.last_hash = hash.to_string();
        }
        self.report.keyed &= self.report.lines > 0;
        self.report.intact = self.report.findings_total == 0;
        self.report
    }
}

fn out_of_order(before: u64, seq: u64) -> String {
    if seq > before + 1 {
        format!("lines {} to {} are missing before it", before + 1, seq - 1)
    } else {
        format!("line {seq} stands behind line {before}")
    }
}

/// What the file that names the end of the log says. Its line is among those that are expected.
#[derive(Clone, Debug)]
pub(crate) enum HeadFile {
    /// A copy of the log is checked, which has none.
    Unasked,
    /// There is none.
    Missing,
    /// It is that of this log.
    Of(String),
}
