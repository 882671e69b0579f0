//! How a log goes on after its node was stopped, or was not.
//!
//! Every start opens a new file; the one before is only ever cut behind its last whole line. Damage is not
//! mended: the log goes on behind it, and `verify` finds it for as long as the file is kept.

use std::fs;
use std::io;
use std::path::Path;

use super::chain::{Hash, Keys, Seal};
use super::files::{self, Ending};
use super::line::{Chain, Fields, Kind, Sealed};
use super::time::Stamp;

/// What the header of a file says about why it was opened.
#[derive(Debug)]
pub(super) struct Opening {
    pub(super) cause: &'static str,
    /// Whether the node had stopped in order.
    pub(super) clean: Option<bool>,
    /// What was cut off the file before: a line that was not finished.
    pub(super) torn_cut: u64,
    pub(super) damage: Option<String>,
}

impl Default for Opening {
    fn default() -> Self {
        Self {
            cause: "first",
            clean: None,
            torn_cut: 0,
            damage: None,
        }
    }
}

impl Opening {
    pub(super) fn write(&self, line: &mut Fields<'_>) {
        line.text("opened", self.cause);
        if let Some(clean) = self.clean {
            line.flag("clean", clean);
        }
        if self.torn_cut > 0 {
            line.number("torn_bytes_cut", self.torn_cut);
        }
        if let Some(damage) = &self.damage {
            line.text("damage", damage);
        }
    }
}

/// Where a log goes on.
pub(super) struct Recovered {
    pub(super) chain: Chain,
    pub(super) next_file: u64,
    pub(super) opening: Opening,
}

/// Looks at the end of what is there, and cuts off what a crash left unfinished.
pub(super) fn recover(dir: &Path, node: u64, keys: Option<&Keys>, new_log: String) -> io::Result<Recovered> {
    let seal = keys.map_or(Seal::Plain, |keys| Seal::Keyed(Box::new(keys.clone())));
    let head = files::read_head(dir)?;
    let mut torn_cut = 0;
    let mut files = files::list(dir)?;
    while let Some((number, path)) = files.pop_last() {
        let ending = files::read_ending(&path)?;
        torn_cut += ending.torn_bytes;
        if ending.line.is_empty() {
            // Not even its header was written: as if it had never been.
            fs::remove_file(&path)?;
            continue;
        }
        if ending.torn_bytes > 0 {
            let file = files::options().open(&path)?;
            file.set_len(ending.end)?;
            file.sync_all()?;
        }
        let header = files::read_header(&path)?;
        let log = header.as_ref().map_or(new_log, |header| header.log.clone());
        let judged = judge(&ending, header.as_ref(), &seal);
        let mut chain = Chain {
            log,
            node,
            seal,
            seq: judged.seq,
            head: judged.hash,
            stamp: Stamp::new(),
        };
        let mut damage = judged.damage;
        if let Some((_, head)) = head.filter(|(log, head)| *log == chain.log && head.seq > chain.seq) {
            damage.get_or_insert_with(|| {
                format!(
                    "the log ends with line {}, but had line {} at {}",
                    chain.seq, head.seq, head.hash
                )
            });
            // Numbers that were used once are not used for other lines.
            chain.seq = head.seq;
        }
        return Ok(Recovered {
            chain,
            next_file: number + 1,
            opening: Opening {
                cause: "start",
                clean: Some(judged.is_closed && torn_cut == 0),
                torn_cut,
                damage,
            },
        });
    }
    Ok(first(
        node,
        seal,
        new_log,
        head.map(|(log, head)| (log, head.file, head.seq, head.hash)),
        torn_cut,
    ))
}

/// A log without files: a new one, or one whose files are gone.
fn first(
    node: u64,
    seal: Seal,
    new_log: String,
    gone: Option<(String, u64, u64, Hash)>,
    torn_cut: u64,
) -> Recovered {
    let Some((log, file, seq, hash)) = gone else {
        let chain = Chain {
            log: new_log,
            node,
            seal,
            seq: 0,
            head: Hash::NONE,
            stamp: Stamp::new(),
        };
        return Recovered {
            chain,
            next_file: 1,
            opening: Opening {
                torn_cut,
                ..Opening::default()
            },
        };
    };
    Recovered {
        chain: Chain {
            log,
            node,
            seal,
            seq,
            head: hash,
            stamp: Stamp::new(),
        },
        next_file: file + 1,
        opening: Opening {
            cause: "start",
            clean: Some(false),
            torn_cut,
            damage: Some(format!(
                "all files are gone; the log had line {seq} in file {file}"
            )),
        },
    }
}

struct Judged {
    seq: u64,
    hash: Hash,
    is_closed: bool,
    damage: Option<String>,
}

/// Whether the last line of a file is what was written.
fn judge(ending: &Ending, header: Option<&files::HeaderLine>, seal: &Seal) -> Judged {
    let Some(last) = Sealed::parse(&ending.line) else {
        return Judged {
            seq: 0,
            hash: Hash::NONE,
            is_closed: false,
            damage: Some("the last line of the file before is no line of an audit log".to_owned()),
        };
    };
    let mut judged = Judged {
        seq: last.seq,
        hash: last.hash,
        is_closed: last
            .body
            .windows(KIND_CLOSED.len())
            .take(64)
            .any(|part| part == KIND_CLOSED),
        damage: None,
    };
    // Sealed with another secret than now: `verify` can tell, with both.
    let Some(header) = header.filter(|header| header.seal == seal.name() && header.key_id == seal.key_id())
    else {
        return judged;
    };
    let previous = match &ending.before {
        Some(before) => Sealed::parse(before).map(|before| before.hash),
        None => Hash::parse(header.previous.as_bytes()),
    };
    if previous.is_none_or(|previous| seal.hash(&previous, last.body) != last.hash) {
        judged.damage = Some("the last line of the file before is not what was written".to_owned());
    }
    judged
}

const KIND_CLOSED: &[u8] = b"\"kind\":\"closed\"";

const _: () = assert!(
    matches!(Kind::Closed.name().as_bytes(), b"closed"),
    "as searched for above"
);
