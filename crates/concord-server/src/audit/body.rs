//! What the line of a request says, as text.
//!
//! ```text
//!   begin:  [ operation, target | principal, tenant, node | metadata ]        on the thread of the request
//!   finish: operation, target, RESULT, principal, .., REVISION, TOOK, ORIGIN, metadata ──> queue
//!   writer: {"seq":..,"kind":"event","id":..,"time":.. and that, and the hash of all of it
//! ```
//!
//! Made where the request is, with what lies in that processor's cache anyway: handing over what it is made of, to be written
//! by the thread that writes, was measured to cost more than writing it. The writer only numbers and seals.

use std::cell::RefCell;

use concord_auth::Principal;
use concord_core::ids::Revision;

use super::chain::Keys;
use super::event::{Audited, Facts, write_target};
use super::line::Fields;
use super::origin::Origin;

/// The result of a request that was performed.
pub(super) const OK: &str = "ok";

/// Most bodies are shorter.
const BYTES_EXPECTED: usize = 192;

/// What of a line [`Body::write`] adds, mostly.
const ADDED_EXPECTED: usize = 64;

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
    text: Vec<u8>,
    about_end: usize,
    who_end: usize,
}

/// What is known of it then.
#[derive(Debug)]
pub(super) struct Answered<'a> {
    /// [`OK`], or the name of the error.
    pub(super) result: &'static str,
    pub(super) revision: Option<Revision>,
    pub(super) took_micros: u64,
    /// `None`: it came from within this process.
    pub(super) origin: Option<&'a Origin>,
}

impl Body {
    /// Of a request of somebody, to this node. `None`: somebody who is nobody here.
    pub(super) fn of(
        request: &impl Audited,
        principal: Option<&Principal>,
        node: u64,
        hide: Option<&Keys>,
    ) -> Self {
        let about = |line: &mut Fields<'_>| write_target(line, request, hide);
        let operation = request.action().name();
        Self::new(operation, about, principal, node, &request.facts())
    }

    pub(super) fn new(
        operation: &str,
        about: impl FnOnce(&mut Fields<'_>),
        principal: Option<&Principal>,
        node: u64,
        facts: &Facts,
    ) -> Self {
        let spare = SPARE.try_with(|spare| spare.borrow_mut().pop()).ok().flatten();
        let mut text = spare.unwrap_or_else(|| Vec::with_capacity(BYTES_EXPECTED));
        let mut line = Fields::more(&mut text);
        line.text("operation", operation);
        about(&mut line);
        let about_end = text.len();
        let mut line = Fields::more(&mut text);
        write_principal(&mut line, principal);
        line.number("node", node);
        let who_end = text.len();
        if !facts.is_empty() {
            Fields::more(&mut text).details("metadata", facts);
        }
        Self {
            text,
            about_end,
            who_end,
        }
    }

    /// Appends all of it.
    pub(super) fn write(&self, answered: &Answered<'_>, out: &mut Vec<u8>) {
        out.reserve(self.text.len() + ADDED_EXPECTED);
        let (about, rest) = self.text.split_at(self.about_end);
        let (who, facts) = rest.split_at(self.who_end - self.about_end);
        out.extend_from_slice(about);
        Fields::more(out).text("result", answered.result);
        out.extend_from_slice(who);
        let mut line = Fields::more(out);
        if let Some(revision) = answered.revision {
            line.number("revision", revision.get());
        }
        line.number("took_us", answered.took_micros);
        if let Some(origin) = answered.origin {
            write_origin(&mut line, origin);
        }
        out.extend_from_slice(facts);
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        let mut text = std::mem::take(&mut self.text);
        if text.capacity() > SPARE_BYTES_MAX {
            return;
        }
        text.clear();
        // Without a thread's own memory, which may be gone when it ends, the buffer goes as well.
        let _ = SPARE.try_with(|spare| {
            let mut spare = spare.borrow_mut();
            if spare.len() < SPARE_MAX {
                spare.push(text);
            }
        });
    }
}

fn write_principal(line: &mut Fields<'_>, principal: Option<&Principal>) {
    line.object("principal", |line| {
        let Some(principal) = principal else {
            return line.text("kind", "unknown");
        };
        line.text("kind", principal.kind());
        if let Some(id) = principal.token_id() {
            line.hex("id", id.as_bytes());
        }
        if let Some(name) = principal.name() {
            line.text("name", name);
        }
    });
    if let Some(tenant) = principal.and_then(Principal::tenant) {
        // The id of a tenant is a name.
        line.text("tenant", &String::from_utf8_lossy(tenant));
    }
}

fn write_origin(line: &mut Fields<'_>, origin: &Origin) {
    if let Some(source) = origin.source {
        line.text("source", &source.to_string());
    }
    if let Some(trace) = origin.trace {
        line.hex("trace_id", &trace.trace_id().to_be_bytes());
        line.hex("span_id", &trace.span_id().to_be_bytes());
    }
    if let Some(id) = &origin.request_id {
        line.text("request_id", id);
    }
}
