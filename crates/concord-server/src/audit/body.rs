//! What the line of a request says.
//!
//! ```text
//!   begin:  one key as it is, or what else it is about | who, if that takes more than a word | facts     ─┐ bytes, copied into
//!   finish: Event { operation, RESULT, REVISION, TOOK, .. }, and where the request came from             ─┘ the queue
//!   writer: {"seq":..,"kind":"event","id":..,"time":.. and all of it as text, and the hash
//! ```
//!
//! Text is made by the thread that writes, of line after line: by the thread of a request, which does something else before and after,
//! the same text was measured to cost more. What it is made of is copied, never handed over: memory that one thread takes
//! and another gives back costs more than the copy.

use std::cell::RefCell;
use std::net::IpAddr;

use concord_auth::Principal;
use concord_core::ids::Revision;

use super::chain::Keys;
use super::event::{Audited, Facts, put_target};
use super::line::Fields;
use super::origin::Origin;

/// The result of a request that was performed.
pub(super) const OK: &str = "ok";

/// Most requests are about less.
const BYTES_EXPECTED: usize = 64;

/// What of a line is the same for each, and numbers.
const TEXT_EXPECTED: usize = 192;

/// So many buffers, each no longer than this, wait in each thread for another line.
const SPARE_MAX: usize = 256;
const SPARE_BYTES_MAX: usize = 1_024;

thread_local! {
    /// A line is begun by one thread and finished by another half of the time: memory that goes back to where it came from
    /// costs more than writing into it does.
    static SPARE: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// What is known of a request before it is answered.
#[derive(Debug)]
pub(super) struct Body {
    bytes: Vec<u8>,
    parts: Parts,
}

/// What is known of it then.
#[derive(Debug)]
pub(super) struct Answered<'a> {
    /// When, in microseconds since the Unix epoch, by this node's clock.
    pub(super) time: u64,
    /// [`OK`], or the name of the error.
    pub(super) result: &'static str,
    pub(super) revision: Option<Revision>,
    pub(super) took_micros: u64,
    /// `None`: it came from within this process.
    pub(super) origin: Option<&'a Origin>,
}

/// What there are bytes of, one behind the other; behind the last where the request came from, as text.
#[derive(Clone, Copy, Debug)]
struct Parts {
    operation: &'static str,
    /// `None`: that is text.
    who: Option<&'static str>,
    /// Whether what the request is about is one key, as it is; otherwise it is text.
    is_key: bool,
    about_bytes: usize,
    who_bytes: usize,
    facts_bytes: usize,
}

/// A request that was answered, without its bytes.
#[derive(Debug)]
pub(super) struct Event {
    parts: Parts,
    time: u64,
    result: &'static str,
    revision: Option<Revision>,
    took_micros: u64,
    source: Option<IpAddr>,
}

impl Body {
    /// Of a request of somebody. `None`: somebody who is nobody here.
    pub(super) fn of(request: &impl Audited, principal: Option<&Principal>, hide: Option<&Keys>) -> Self {
        let about = |bytes: &mut Vec<u8>| put_target(bytes, request, hide);
        Self::new(request.action().name(), about, principal, &request.facts())
    }

    /// `about` says whether it has put one key there, as it is.
    pub(super) fn new(
        operation: &'static str,
        about: impl FnOnce(&mut Vec<u8>) -> bool,
        principal: Option<&Principal>,
        facts: &Facts,
    ) -> Self {
        let spare = SPARE.try_with(|spare| spare.borrow_mut().pop()).ok().flatten();
        let mut bytes = spare.unwrap_or_else(|| Vec::with_capacity(BYTES_EXPECTED));
        let is_key = about(&mut bytes);
        let about_end = bytes.len();
        let who = kind_alone(principal);
        if who.is_none() {
            write_principal(&mut Fields::more(&mut bytes), principal);
        }
        let who_end = bytes.len();
        if !facts.is_empty() {
            Fields::more(&mut bytes).details("metadata", facts);
        }
        let parts = Parts {
            operation,
            who,
            is_key,
            about_bytes: about_end,
            who_bytes: who_end - about_end,
            facts_bytes: bytes.len() - who_end,
        };
        Self { bytes, parts }
    }

    /// What the queue takes.
    pub(super) fn answered(&mut self, answered: &Answered<'_>) -> (Event, &[u8]) {
        if let Some(origin) = answered.origin {
            write_origin(&mut Fields::more(&mut self.bytes), origin);
        }
        let event = Event {
            parts: self.parts,
            time: answered.time,
            result: answered.result,
            revision: answered.revision,
            took_micros: answered.took_micros,
            source: answered.origin.and_then(|origin| origin.source),
        };
        (event, &self.bytes)
    }
}

impl Event {
    /// When it was answered, in microseconds since the Unix epoch.
    pub(super) const fn time(&self) -> u64 {
        self.time
    }

    /// Appends what it says to a line of this node. `bytes`: what came with it.
    pub(super) fn write(&self, bytes: &[u8], node: u64, out: &mut Vec<u8>) {
        out.reserve(bytes.len() + TEXT_EXPECTED);
        let parts = &self.parts;
        let (about, rest) = bytes.split_at_checked(parts.about_bytes).unwrap_or_default();
        let (who, rest) = rest.split_at_checked(parts.who_bytes).unwrap_or_default();
        let (facts, origin) = rest.split_at_checked(parts.facts_bytes).unwrap_or_default();
        let mut line = Fields::more(out);
        line.word("operation", parts.operation);
        if parts.is_key {
            line.shown_key(about);
        } else {
            line.written(about);
        }
        line.word("result", self.result);
        match parts.who {
            Some(kind) => line.object("principal", |line| line.word("kind", kind)),
            None => line.written(who),
        }
        line.number("node", node);
        if let Some(revision) = self.revision {
            line.number("revision", revision.get());
        }
        line.number("took_us", self.took_micros);
        if let Some(source) = self.source {
            line.text("source", &source.to_string());
        }
        line.written(origin);
        line.written(facts);
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        let mut bytes = std::mem::take(&mut self.bytes);
        if bytes.capacity() > SPARE_BYTES_MAX {
            return;
        }
        bytes.clear();
        // Without a thread's own memory, which may be gone when it ends, the buffer goes as well.
        let _ = SPARE.try_with(|spare| {
            let mut spare = spare.borrow_mut();
            if spare.len() < SPARE_MAX {
                spare.push(bytes);
            }
        });
    }
}

/// The word that says all there is to say of somebody; `None`: it takes more.
fn kind_alone(principal: Option<&Principal>) -> Option<&'static str> {
    let Some(principal) = principal else {
        return Some("unknown");
    };
    let is_anybody =
        principal.token_id().is_none() && principal.name().is_none() && principal.tenant().is_none();
    is_anybody.then(|| principal.kind())
}

fn write_principal(line: &mut Fields<'_>, principal: Option<&Principal>) {
    let Some(principal) = principal else { return };
    line.object("principal", |line| {
        line.word("kind", principal.kind());
        if let Some(id) = principal.token_id() {
            line.hex("id", id.as_bytes());
        }
        if let Some(name) = principal.name() {
            line.text("name", name);
        }
    });
    if let Some(tenant) = principal.tenant() {
        // The id of a tenant is a name.
        line.text("tenant", &String::from_utf8_lossy(tenant));
    }
}

/// All but its address.
fn write_origin(line: &mut Fields<'_>, origin: &Origin) {
    if let Some(trace) = origin.trace {
        line.hex("trace_id", &trace.trace_id().to_be_bytes());
        line.hex("span_id", &trace.span_id().to_be_bytes());
    }
    if let Some(id) = &origin.request_id {
        line.text("request_id", id);
    }
}
