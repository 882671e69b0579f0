//! The text of a line.
//!
//! ```text
//!   {"seq":7,"kind":"event","id":"9f..-7","time":"2026-..","operation":"put","key":"a",..,"hash":"c0.."}
//!    └ every line ────────────────────────────────────────┘ └ by kind ────────────────┘ └ every line ┘
//! ```
//!
//! Written by hand into one buffer: whatever a key or a name is made of, it becomes a line (D-AUD-1). Not here: what the
//! line of a request says (`body`), and when lines are written (`writer`).

use concord_auth::Place;

use super::body::Event;
use super::chain::{HASH_CHARS, Hash, Keys, NameHash, Seal, hex_digits};
use super::time::Stamp;
use crate::error::Detail;
use crate::limits::AUDIT_BOUND_BYTES_MAX;

/// The version of the format, in the header of each file.
pub(super) const FORMAT: u64 = 1;

/// What a line has besides what comes with its event, mostly.
const BYTES_EXPECTED: usize = 416;

/// What stands before the hash of a line, and behind it.
const BEFORE_HASH: &[u8] = b",\"hash\":\"";
const BEHIND_HASH: &[u8] = b"\"}";

/// What a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The first of a file.
    Header,
    /// A request.
    Event,
    /// Lines that could not be kept.
    Lost,
    /// Requests that were refused, of which there were too many for a line each.
    Refused,
    /// Files that are about to be removed because they are old.
    Removed,
    /// The node stopped in order.
    Closed,
}

impl Kind {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Header => "header",
            Self::Event => "event",
            Self::Lost => "lost",
            Self::Refused => "refused",
            Self::Removed => "removed",
            Self::Closed => "closed",
        }
    }
}

/// Where the chain ends, and how it goes on.
#[derive(Clone, Debug)]
pub(super) struct Chain {
    /// Tells this log from every other, for ever.
    pub(super) log: String,
    pub(super) node: u64,
    pub(super) seal: Seal,
    /// The number of the last line; 0: none.
    pub(super) seq: u64,
    pub(super) head: Hash,
    pub(super) stamp: Stamp,
}

impl Chain {
    /// Appends a line to `out` and to the chain.
    pub(super) fn append(
        &mut self,
        out: &mut Vec<u8>,
        kind: Kind,
        micros: u64,
        body: impl FnOnce(&mut Fields<'_>),
    ) {
        let begin = out.len();
        self.seq += 1;
        let (digits, unused) = digits_of(self.seq);
        let digits = digits.get(unused..).unwrap_or_default();
        out.extend_from_slice(b"{\"seq\":");
        out.extend_from_slice(digits);
        out.extend_from_slice(b",\"kind\":\"");
        out.extend_from_slice(kind.name().as_bytes());
        out.extend_from_slice(b"\",\"id\":\"");
        out.extend_from_slice(self.log.as_bytes());
        out.push(b'-');
        out.extend_from_slice(digits);
        out.extend_from_slice(b"\",\"time\":\"");
        out.extend_from_slice(self.stamp.of(micros));
        out.push(b'"');
        body(&mut Fields { out, is_first: false });
        self.head = self.seal.hash(&self.head, out.get(begin..).unwrap_or_default());
        out.extend_from_slice(BEFORE_HASH);
        out.extend_from_slice(self.head.as_str().as_bytes());
        out.extend_from_slice(BEHIND_HASH);
        out.push(b'\n');
    }

    /// Appends what was asked and what came of it. `bytes`: those that came with it.
    pub(super) fn append_event(&mut self, out: &mut Vec<u8>, event: &Event, bytes: &[u8]) {
        out.reserve(bytes.len() + BYTES_EXPECTED);
        let node = self.node;
        self.append(out, Kind::Event, event.time(), |line| {
            event.write(bytes, node, line.out)
        });
    }
}

/// The keyed hash of one key, as lines have it that do not show keys.
pub(super) fn hidden(key: &[u8], keys: &Keys) -> Hash {
    let mut hash = NameHash::new(Some(keys));
    hash.update(key);
    hash.finish()
}

/// The fields of an object of JSON.
pub(super) struct Fields<'a> {
    out: &'a mut Vec<u8>,
    is_first: bool,
}

impl<'a> Fields<'a> {
    /// More of an object that has fields already.
    pub(super) const fn more(out: &'a mut Vec<u8>) -> Self {
        let is_first = false;
        Self { out, is_first }
    }
}

impl Fields<'_> {
    // These know their names where they are called: then a name is a few moves, and no call.
    #[inline]
    fn name(&mut self, name: &str) {
        let before: &[u8] = if self.is_first { b"\"" } else { b",\"" };
        self.is_first = false;
        self.out.extend_from_slice(before);
        // Names are ours: there is nothing to escape.
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
    }

    #[inline]
    pub(super) fn number(&mut self, name: &str, number: u64) {
        self.name(name);
        push_number(self.out, number);
    }

    /// Bytes as lower-case hexadecimal digits.
    pub(super) fn hex(&mut self, name: &str, bytes: &[u8]) {
        self.name(name);
        self.out.push(b'"');
        for byte in bytes {
            self.out.extend_from_slice(&hex_digits(*byte));
        }
        self.out.push(b'"');
    }

    pub(super) fn flag(&mut self, name: &str, flag: bool) {
        self.name(name);
        self.out.extend_from_slice(if flag { b"true" } else { b"false" });
    }

    #[inline]
    pub(super) fn text(&mut self, name: &str, text: &str) {
        self.name(name);
        push_text(self.out, text);
    }

    /// A text of ours, in which there is nothing to escape.
    #[inline]
    pub(super) fn word(&mut self, name: &str, word: &str) {
        self.name(name);
        self.out.push(b'"');
        self.out.extend_from_slice(word.as_bytes());
        self.out.push(b'"');
    }

    /// Fields that were written by another, as more of an object.
    #[inline]
    pub(super) fn written(&mut self, fields: &[u8]) {
        self.out.extend_from_slice(fields);
    }

    #[inline]
    pub(super) fn object(&mut self, name: &str, body: impl FnOnce(&mut Fields<'_>)) {
        self.name(name);
        self.nested(body);
    }

    pub(super) fn array<T>(&mut self, name: &str, items: &[T], mut item: impl FnMut(&mut Fields<'_>, &T)) {
        self.name(name);
        self.out.push(b'[');
        for (place, each) in items.iter().enumerate() {
            if place > 0 {
                self.out.push(b',');
            }
            self.nested(|line| item(line, each));
        }
        self.out.push(b']');
    }

    #[inline]
    fn nested(&mut self, body: impl FnOnce(&mut Fields<'_>)) {
        self.out.push(b'{');
        body(&mut Fields {
            out: self.out,
            is_first: true,
        });
        self.out.push(b'}');
    }

    /// A key, where those are shown.
    pub(super) fn shown_key(&mut self, key: &[u8]) {
        self.place(Place::Key(key), None);
    }

    /// A key or a run of keys; of other places nothing.
    pub(super) fn place(&mut self, place: Place<'_>, hide: Option<&Keys>) {
        match place {
            Place::Key(key) => self.key(["key", "key_base64", "key_hash"], key, hide),
            Place::Range(range) => self.object("range", |line| {
                line.bound(
                    ["start", "start_base64", "start_hash", "start_bytes"],
                    range.start(),
                    hide,
                );
                if let Some(end) = range.end() {
                    line.bound(["end", "end_base64", "end_hash", "end_bytes"], end, hide);
                }
            }),
            Place::Anywhere | Place::Cluster => {}
        }
    }

    pub(super) fn details(&mut self, name: &str, facts: &[(&'static str, Detail)]) {
        self.object(name, |line| {
            for (name, detail) in facts {
                match detail {
                    Detail::Number(number) => line.number(name, *number),
                    Detail::Text(text) => line.text(name, text),
                }
            }
        });
    }

    /// Where a range begins or ends: as a key, but anybody's, so of a long one only the beginning, and under the last name
    /// how long it is.
    fn bound(&mut self, [plain, base64, hash, len]: [&str; 4], bound: &[u8], hide: Option<&Keys>) {
        let shown = match hide {
            Some(_) => bound,
            None => bound.get(..AUDIT_BOUND_BYTES_MAX).unwrap_or(bound),
        };
        self.key([plain, base64, hash], shown, hide);
        if shown.len() < bound.len() {
            self.number(len, u64::try_from(bound.len()).unwrap_or(u64::MAX));
        }
    }

    /// A key under the first name if it is text, else in Base64 under the second; under the third its hash, if
    /// keys are not to be shown.
    fn key(&mut self, [plain, base64, hash]: [&str; 3], key: &[u8], hide: Option<&Keys>) {
        use base64::Engine as _;
        if let Some(keys) = hide {
            return self.text(hash, hidden(key, keys).as_str());
        }
        match std::str::from_utf8(key) {
            Ok(text) => self.text(plain, text),
            Err(_) => self.text(base64, &base64::prelude::BASE64_STANDARD.encode(key)),
        }
    }
}

fn push_number(out: &mut Vec<u8>, number: u64) {
    let (digits, unused) = digits_of(number);
    out.extend_from_slice(digits.get(unused..).unwrap_or_default());
}

/// The digits of a number, behind so many that are not of it.
fn digits_of(mut number: u64) -> ([u8; 20], usize) {
    let mut digits = [b'0'; 20];
    let mut unused = digits.len();
    for pair in digits.rchunks_exact_mut(2) {
        let low = u8::try_from(number % 100).unwrap_or_default();
        pair.copy_from_slice(&[b'0' + low / 10, b'0' + low % 10]);
        number /= 100;
        unused -= 2;
        if number == 0 {
            break;
        }
    }
    // A zero alone stays.
    if digits.get(unused) == Some(&b'0') {
        unused += 1;
    }
    (digits, unused)
}

fn push_text(out: &mut Vec<u8>, text: &str) {
    // Every byte is looked at, which is done to many at once; to stop at the first that is not plain is not.
    let is_special = |byte: u8| byte < 0x20 || byte == b'"' || byte == b'\\' || byte == 0x7f;
    let is_plain = !text.bytes().fold(false, |found, byte| found | is_special(byte));
    if is_plain {
        out.reserve(text.len() + 2);
        out.push(b'"');
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
    } else if let Ok(quoted) = serde_json::to_vec(text) {
        out.extend_from_slice(&quoted);
    } else {
        // Text is always JSON; and if it were not, the line still would be.
        out.extend_from_slice(b"\"\"");
    }
}

/// A line taken apart as far as the chain goes: no more of it is parsed to check a million of them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sealed<'a> {
    /// Up to the hash.
    pub(super) body: &'a [u8],
    pub(super) hash: Hash,
    pub(super) seq: u64,
    pub(super) is_event: bool,
}

impl<'a> Sealed<'a> {
    /// `None`: no line of ours.
    pub(super) fn parse(line: &'a [u8]) -> Option<Self> {
        let rest = line.strip_suffix(BEHIND_HASH)?;
        let (rest, hash) = rest.split_at_checked(rest.len().checked_sub(HASH_CHARS)?)?;
        let body = rest.strip_suffix(BEFORE_HASH)?;
        let after = body.strip_prefix(b"{\"seq\":")?;
        let end = after.iter().position(|byte| !byte.is_ascii_digit())?;
        let (digits, after) = after.split_at_checked(end)?;
        Some(Self {
            body,
            hash: Hash::parse(hash)?,
            seq: std::str::from_utf8(digits).ok()?.parse().ok()?,
            is_event: after.starts_with(b",\"kind\":\"event\","),
        })
    }
}
