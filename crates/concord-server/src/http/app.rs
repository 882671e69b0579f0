//! What handlers share, and what several of them read from a request.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use concord_core::ids::Revision;
use concord_core::key::check_key;
use concord_raft::ReadConsistency;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::decode::percent_decode;
use super::error::{ApiError, ApiResult};
use super::once::Once;
use crate::concord::{Concord, Write};
use crate::error::ErrorKind;
use crate::judge::unauthorized;
use crate::limits;
use crate::service::ReadPlan;
use concord_query::duration;

/// What the router itself has: no node. A handler gets one from its request alone, where whoever asks is
/// known, so that none can forget to ask who it is.
#[derive(Debug)]
pub(crate) struct Common {
    pub(crate) body_bytes_max: usize,
}

pub(crate) type Shared = Arc<Common>;

/// What a handler has: the node, in the name of whoever sent the request.
#[derive(Clone, Debug)]
pub(crate) struct App {
    pub(crate) concord: Concord,
    pub(crate) body_bytes_max: usize,
}

impl<S: Sync> FromRequestParts<S> for App {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> ApiResult<Self> {
        // The gate puts it there, behind the question who it is.
        let app = parts.extensions.get::<Self>().cloned();
        app.ok_or_else(|| unauthorized().into())
    }
}

/// Where keys begin in a path.
pub(crate) const KEYS: &str = "/api/v1/kv/";

/// The key in a path: its third segment, percent-decoded.
///
/// Read from the path itself: the framework's own decoding lets a stray `%` pass.
#[derive(Debug)]
pub(crate) struct PathKey(String);

impl PathKey {
    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl AsRef<[u8]> for PathKey {
    fn as_ref(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl<S: Sync> FromRequestParts<S> for PathKey {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> ApiResult<Self> {
        let rest = parts.uri.path().strip_prefix(KEYS).unwrap_or_default();
        let segment = rest.split('/').next().unwrap_or_default();
        let key = percent_decode(segment, false).map_err(|malformed| {
            ApiError::new(ErrorKind::InvalidKey, format!("key {}", malformed.reason()))
        })?;
        check_key(key.as_bytes()).map_err(|error| ApiError::new(ErrorKind::InvalidKey, error.to_string()))?;
        Ok(Self(key.into_owned()))
    }
}

/// The id of a member in a path.
#[derive(Debug)]
pub(crate) struct PathMember(pub(crate) u64);

/// Where members begin in a path.
pub(crate) const MEMBERS: &str = "/api/v1/cluster/members/";

impl<S: Sync> FromRequestParts<S> for PathMember {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> ApiResult<Self> {
        let rest = parts.uri.path().strip_prefix(MEMBERS).unwrap_or_default();
        let segment = rest.split('/').next().unwrap_or_default();
        match segment.parse() {
            Ok(id) if id > 0 => Ok(Self(id)),
            _ => Err(ApiError::invalid_request(format!(
                "member must be a node id, not `{segment:.40}`"
            ))),
        }
    }
}

/// A read level, as requests name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Consistency {
    /// Linearizable under any clock behaviour.
    Strong,
    /// Linearizable while clocks drift little: the default.
    Leader,
    /// What this node has applied.
    Eventual,
}

impl From<Consistency> for ReadConsistency {
    fn from(named: Consistency) -> Self {
        match named {
            Consistency::Strong => Self::Strong,
            Consistency::Leader => Self::Leader,
            Consistency::Eventual => Self::Eventual,
        }
    }
}

/// What every read can be asked for.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(crate) struct ReadParams {
    /// `strong`, `leader` (default) or `eventual`.
    #[param(inline)]
    consistency: Option<Consistency>,
    /// Wait until this node has this revision.
    min_revision: Option<u64>,
    /// How long to wait at most, such as `5s`.
    timeout: Option<String>,
}

impl ReadParams {
    pub(crate) fn plan(&self, app: &App) -> ApiResult<ReadPlan> {
        Ok(ReadPlan {
            consistency: self.consistency.unwrap_or(Consistency::Leader).into(),
            min_revision: revision("min_revision", self.min_revision)?,
            timeout: timeout(app, self.timeout.as_deref())?,
        })
    }
}

/// What every write can be asked for.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(crate) struct WriteParams {
    /// How long to wait at most, such as `5s`.
    timeout: Option<String>,
}

impl WriteParams {
    /// The write as the request wants it.
    pub(crate) fn shape<'a, K>(&self, app: &App, once: Once, write: Write<'a, K>) -> ApiResult<Write<'a, K>> {
        let write = write.timeout(timeout(app, self.timeout.as_deref())?);
        Ok(match once.0 {
            Some(name) => write.idempotency_key(name),
            None => write,
        })
    }
}

/// Whether the values of a write are compressed.
#[derive(Clone, Copy, Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(crate) struct CompressParams {
    /// Compress the values however small they are, or do not; else the node's settings decide.
    pub(crate) compress: Option<bool>,
}

/// The `timeout` of a request, or the configured one.
fn timeout(app: &App, written: Option<&str>) -> ApiResult<Duration> {
    let Some(text) = written else {
        return Ok(app.concord.request_timeout());
    };
    match duration::parse(text) {
        Some(length) if !length.is_zero() && length <= limits::REQUEST_TIMEOUT_MAX => Ok(length),
        Some(_) | None => Err(ApiError::invalid_request(format!(
            "query parameter `timeout` must be a duration from 1ms to 10m such as \"5s\", not `{text:.40}`"
        ))
        .with("parameter", "timeout".to_owned())),
    }
}

/// A revision in a query. 0 is none, so it cannot be asked for.
pub(crate) fn revision(name: &'static str, number: Option<u64>) -> ApiResult<Option<Revision>> {
    match number {
        Some(0) => Err(
            ApiError::invalid_request(format!("query parameter `{name}` must be 1 or more"))
                .with("parameter", name.to_owned()),
        ),
        other => Ok(other.map(Revision::new)),
    }
}
