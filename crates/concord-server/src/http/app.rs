//! What handlers share, and what several of them read from a request.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use concord_core::ids::Revision;
use concord_core::key::check_key;
use concord_raft::ReadConsistency;
use serde::Deserialize;
use utoipa::ToSchema;

use super::decode::percent_decode;
use super::error::{ApiError, ApiResult};
use crate::concord::Concord;
use crate::error::ErrorKind;
use crate::limits;
use concord_query::duration;

/// What handlers share.
#[derive(Debug)]
pub(crate) struct App {
    pub(crate) concord: Concord,
    pub(crate) body_bytes_max: usize,
}

pub(crate) type Shared = Arc<App>;

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

impl From<Option<Consistency>> for Level {
    fn from(named: Option<Consistency>) -> Self {
        Self(match named {
            Some(Consistency::Strong) => ReadConsistency::Strong,
            Some(Consistency::Leader) | None => ReadConsistency::Leader,
            Some(Consistency::Eventual) => ReadConsistency::Eventual,
        })
    }
}

/// The level of a read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Level(pub(crate) ReadConsistency);

/// The `timeout` of a request, or the configured one.
pub(crate) fn timeout(app: &App, written: Option<&str>) -> ApiResult<Duration> {
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
