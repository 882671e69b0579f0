//! The audit log: who asked for what, when, and what came of it; in a form that shows when somebody changed it.
//!
//! ```text
//!   service ─▶ Recorder ─▶ Queue ─▶ Writer (a thread) ─▶ audit-0000000001.jsonl, audit-0000000002.jsonl, ...
//!              begin, finish  bounded   chain, rotation, retention        │
//!                                        query, export, verify ◀──────────┘
//! ```
//!
//! Every node writes the requests that it took itself, of every interface. Format and use: `docs/audit.md`;
//! what it protects against: `docs/adr/0019-the-audit-log-is-a-chain.md`. Not here: who may do what
//! (`concord-auth`), and what each interface makes of a log.

mod body;
mod chain;
mod disk;
mod event;
mod files;
mod filter;
mod line;
mod origin;
mod query;
mod queue;
mod read;
mod recorder;
mod recover;
mod refusals;
mod retention;
mod status;
#[cfg(test)]
mod tests;
mod time;
mod verify;
mod writer;

pub(crate) use self::event::{AdminRequest, Facts, revision_of};
#[cfg(feature = "http")]
pub(crate) use self::filter::Filter;
#[cfg(feature = "http")]
pub(crate) use self::origin::Origin;
pub use self::query::{AuditCursor, AuditDirectory, AuditExport, AuditLog, AuditPage, AuditQuery};
pub use self::recorder::AuditOpenError;
pub(crate) use self::recorder::Recorder;
pub use self::status::AuditStatus;
#[cfg(feature = "http")]
pub(crate) use self::time::{Moment, date_of};
pub use self::verify::{AuditFinding, AuditHead, AuditReport};
