//! A watch as a stream of server-sent events.

use std::convert::Infallible;

use axum::body::{Body, Bytes};
use axum::http::HeaderValue;
use axum::http::header::CACHE_CONTROL;
use axum::response::Response;
use concord_query::watch::{Position, WatchBatch};
use futures::{Stream, stream};
use serde::Serialize;

use super::body::{ChangesBody, EventBody, ProgressBody};
use crate::concord::Readiness;
use crate::error::{Error, ErrorKind};
use crate::http::answer::with_body;
use crate::http::app::App;
use crate::http::error;
use crate::watch::Watcher;

/// A stream of events that ends after the first error, or when its client is gone.
pub(super) fn streamed(app: App, watcher: Watcher, needs_cluster: bool) -> Response {
    let beginning = watcher.position();
    let streaming = Streaming {
        app,
        watcher,
        needs_cluster,
        begins: Some(beginning),
        is_over: false,
    };
    let body = Body::from_stream(events(streaming));
    let mut response = with_body(
        body,
        HeaderValue::from_static("text/event-stream"),
        beginning.revision(),
    );
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // Reverse proxies hold answers back otherwise.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

struct Streaming {
    app: App,
    watcher: Watcher,
    needs_cluster: bool,
    /// Where it begins, until that was said.
    begins: Option<Position>,
    is_over: bool,
}

fn events(streaming: Streaming) -> impl Stream<Item = Result<Bytes, Infallible>> + Send {
    stream::unfold(streaming, |mut streaming| async move {
        if streaming.is_over {
            return None;
        }
        // A client knows by this that the watch is open, and from where to resume.
        if let Some(begins) = streaming.begins.take() {
            return Some((Ok(progress(begins)), streaming));
        }
        let event = match streaming.watcher.next().await? {
            Ok(batch) if batch.is_progress() => match streaming.lost_cluster() {
                Some(error) => streaming.fail(&error),
                None => progress(batch.position),
            },
            Ok(batch) => changes(&batch),
            Err(error) => streaming.fail(&error),
        };
        Some((Ok(event), streaming))
    })
}

impl Streaming {
    /// A node that nobody leads hears of no changes: its clients should ask another one.
    fn lost_cluster(&self) -> Option<Error> {
        if !self.needs_cluster {
            return None;
        }
        match self.app.concord.readiness() {
            Readiness::Ready => None,
            Readiness::NotReady { reason } => {
                Some(Error::new(ErrorKind::NotReady, format!("not ready: {reason}")))
            }
        }
    }

    fn fail(&mut self, error: &Error) -> Bytes {
        self.is_over = true;
        event("error", None, &error::body_of(&error.clone().into()))
    }
}

fn progress(position: Position) -> Bytes {
    let revision = Position::before(position.next_revision()).revision().get();
    written("progress", position, &ProgressBody { revision })
}

fn changes(batch: &WatchBatch) -> Bytes {
    let body = ChangesBody {
        revision: batch.revision.get(),
        complete: batch.is_complete(),
        events: batch.events.iter().map(EventBody::new).collect(),
    };
    written("changes", batch.position, &body)
}

fn written(name: &str, position: Position, body: &impl Serialize) -> Bytes {
    match serde_json::to_vec(body) {
        Ok(json) => event(name, Some(position), &json),
        Err(error) => {
            // As for a read: what is stored is damaged. The stream goes on with the id, as
            // it would fail at the same place for ever.
            let error = Error::new(
                ErrorKind::Corrupt,
                format!("stored value cannot be shown: {error}"),
            );
            event("error", Some(position), &error::body_of(&error.into()))
        }
    }
}

/// JSON has no line ends, so it is always one line of data.
fn event(name: &str, id: Option<Position>, json: &[u8]) -> Bytes {
    let mut text = Vec::with_capacity(json.len().saturating_add(64));
    text.extend_from_slice(b"event: ");
    text.extend_from_slice(name.as_bytes());
    if let Some(position) = id {
        text.extend_from_slice(format!("\nid: {position}").as_bytes());
    }
    text.extend_from_slice(b"\ndata: ");
    text.extend_from_slice(json);
    text.extend_from_slice(b"\n\n");
    text.into()
}
