//! What a watch tells, as JSON.

use concord_core::view::ChangeKind;
use concord_query::watch::WatchEvent;
use serde::Serialize;
use utoipa::ToSchema;

use crate::http::record::{KeyBody, RecordBody};

/// Changes of one revision: the data of a `changes` event.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ChangesBody<'a> {
    /// The revision.
    pub(super) revision: u64,
    /// Whether nothing more of it follows: false only if it has more changes than fit into one event.
    pub(super) complete: bool,
    /// The changes, in order.
    pub(super) events: Vec<EventBody<'a>>,
}

/// How far a stream has come: the data of a `progress` event.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ProgressBody {
    /// Everything up to this revision has been told.
    pub(super) revision: u64,
}

/// One change of one key.
#[derive(Debug, Serialize, ToSchema)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(crate) enum EventBody<'a> {
    /// This record was written.
    Put {
        #[serde(flatten)]
        #[schema(inline)]
        record: Box<RecordBody<'a>>,
        /// When it expires, in milliseconds since the Unix epoch; null: never.
        expires_at: Option<u64>,
        /// What was there before, if that was asked for.
        #[serde(skip_serializing_if = "Option::is_none")]
        previous: Option<Box<RecordBody<'a>>>,
    },
    /// It was removed by a request.
    Delete(RemovalBody<'a>),
    /// It was removed because its time was over.
    Expire(RemovalBody<'a>),
}

/// A key that is gone.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RemovalBody<'a> {
    #[serde(flatten)]
    #[schema(inline)]
    key: KeyBody<'a>,
    /// The revision of the removal.
    mod_revision: u64,
    /// What was removed, if that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    previous: Option<Box<RecordBody<'a>>>,
}

impl<'a> EventBody<'a> {
    pub(super) fn new(event: &'a WatchEvent) -> Self {
        let previous = event
            .previous
            .as_ref()
            .map(|record| Box::new(RecordBody::new(record)));
        let removal = |previous| RemovalBody {
            key: KeyBody::new(event.key.as_bytes()),
            mod_revision: event.revision.get(),
            previous,
        };
        match (event.kind, &event.record) {
            (ChangeKind::Put, Some(record)) => Self::Put {
                record: Box::new(RecordBody::new(record)),
                expires_at: record.expires_at.map(concord_core::Timestamp::get),
                previous,
            },
            (ChangeKind::Expire, _) => Self::Expire(removal(previous)),
            (ChangeKind::Put | ChangeKind::Delete, _) => Self::Delete(removal(previous)),
        }
    }
}
