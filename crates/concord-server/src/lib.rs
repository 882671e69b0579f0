//! Which parts make a node?
//!
//! Composes the state machine (`concord-core`), agreement (`concord-raft`) and peers
//! (`concord-net`) into a node with an embedded handle, [`Concord`], and with the features
//! `http` and `cli` into a server. Not here: logic that another crate could own.
//!
//! ```no_run
//! use concord_server::{Concord, Config};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let db = Concord::open(Config::at("./data")).await?;
//! db.put("greeting", "hello").await?;
//! assert_eq!(db.get("greeting").await?.as_ref().and_then(|entry| entry.text()), Some("hello"));
//! db.shutdown().await?;
//! # Ok(())
//! # }
//! ```
//!
//! Features: `http` (the HTTP interface), `cli` (the `concord` binary), `otlp` (spans to a collector). All are on by
//! default; an embedder takes `default-features = false`.

mod answer;
mod audit;
mod bootstrap;
mod certificates;
#[cfg(feature = "cli")]
pub mod cli;
#[cfg(feature = "cli")]
pub mod client;
mod compose;
mod compression;
mod concord;
pub mod config;
mod dead_members;
mod error;
mod full_disk;
#[cfg(feature = "http")]
pub mod http;
mod json;
mod judge;
pub mod limits;
pub mod metrics;
mod missing;
mod rates;
#[cfg(doctest)]
mod readme;
pub mod recipes;
#[cfg(feature = "s3")]
mod s3;
mod service;
mod slow;
pub mod telemetry;
pub mod trace;
mod watch;

pub use answer::{
    Answer, Deleted, DeletedMany, Entry, Incremented, Remaining, Touched, TouchedMany, Written, WrittenMany,
};
pub use audit::{
    AuditCursor, AuditDirectory, AuditExport, AuditFinding, AuditHead, AuditLog, AuditOpenError, AuditPage,
    AuditQuery, AuditReport, AuditStatus,
};
pub use certificates::CertificateStatus;
pub use compose::{OpenError, OpenErrorKind};
pub use concord::{
    AckSubscription, Acked, BackupInfo, BackupStream, Backups, CleanedBackups, Compact, Concord, Conditional,
    Configure, Consume, CountQuery, CreateIndex, CreateSubscription, Delete, DeleteMany, DeleteSubscription,
    DeleteWhere, DeletedWhere, DropIndex, Exists, ExplainQuery, Get, GetDoc, GetIndex, GetLease, GetMany,
    GetSettings, GetSubscription, GetTtl, HeldLease, History, HistoryEntries, Increment, IndexValue,
    IntoValue, Item, LeaseGrant, LeaseInfo, LeaseKeepAlive, LeaseRevoke, Leased, ListIndexes, ListLeases,
    ListSubscriptions, Lookup, LookupPage, Only, Operation, Page, Put, PutMany, Query, QueryPage, Readiness,
    Reindex, ResetSubscription, Revoked, RunQuery, Scan, Stores, SubscriptionInfo, Touch, TouchMany, Watch,
    Write, WriteKind,
};
pub use concord::{KeepBackups, ListedBackup, VerifiedBackup};
pub use concord::{RestoreOptions, RestoreProgress, RestoredBackup};
pub use concord::{access, tenants, txn};
pub use concord_core::document::{Document, Finite, Integer};
pub use concord_core::ids::{LeaseId, LogIndex, NodeId, Revision, Term, Timestamp};
pub use concord_core::index::{IndexProgress, IndexStatus};
pub use concord_core::key::Key;
pub use concord_core::record::Record;
pub use concord_core::settings::{Compaction, Settings};
pub use concord_core::value::{Value, ValueFormat};
pub use concord_core::view::{ChangeKind, Direction, PackedUsage, Statistics, Usage, Version};
pub use concord_net::tls::TlsSettings;
pub use concord_query::query::{Explanation, QueryCursor, Reads, Stop};
pub use concord_query::watch::{InvalidPosition, Position, WatchBatch, WatchEvent};
pub use concord_query::{Cursor, IndexCursor, InvalidCursor};
pub use concord_raft::{MemberStatus, NodeStatus, ReadConsistency, Role};
pub use config::{
    AuditConfig, AuditFailure, AuditKeyMode, AuditSync, AuthMode, BackupConfig, CompressionConfig, Config,
    ConfigError, ConfigErrorKind, GossipSettings, HttpConfig, Loaded, Loader, LogFormat, Overrides,
    PeerConfig, Place, Profile, RootToken, S3Config, S3Credentials, Secret, SpanSink, Start, TraceExporter,
    TracesConfig,
};
pub use error::{Detail, Error, ErrorKind};
pub use json::{InvalidJson, JsonDocument, document_from_json, document_to_json};
pub use watch::{Watcher, WatcherStatus};
