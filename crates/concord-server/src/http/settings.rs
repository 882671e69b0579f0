//! The settings that the whole cluster judges by.

use concord_core::ids::Millis;
use concord_core::settings::{Compaction, Settings};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::answer::ok;
use super::app::{App, ReadParams, WriteParams};
use super::body::Json;
use super::condition::NoConditions;
use super::docs::{ReadRefusals, WriteRefusals};
use super::error::ApiResult;
use super::once::Once;
use super::query::{Nothing, Query};

/// The settings that the whole cluster judges by.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Settings)]
pub(crate) struct SettingsBody {
    /// The longest value that a write may store.
    value_bytes_max: u64,
    /// How much history is kept: whatever the strictest bound leaves.
    compaction: CompactionBody,
}

/// How much history is kept. A bound of null does not bind.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Compaction)]
struct CompactionBody {
    /// Milliseconds.
    keep_ms: Option<u64>,
    /// Revisions.
    keep_revisions: Option<u64>,
    /// Bytes of old versions and changes.
    keep_bytes: Option<u64>,
}

impl From<Settings> for SettingsBody {
    fn from(settings: Settings) -> Self {
        let Settings {
            value_bytes_max,
            compaction,
        } = settings;
        Self {
            value_bytes_max,
            compaction: CompactionBody {
                keep_ms: compaction.keep_ms.map(Millis::get),
                keep_revisions: compaction.keep_revisions,
                keep_bytes: compaction.keep_bytes,
            },
        }
    }
}

/// The settings that the whole cluster judges by.
#[utoipa::path(
    get, path = "/api/v1/cluster/settings", tag = "cluster",
    params(ReadParams),
    responses(
        (status = 200, description = "The settings", body = super::answer::Ok<SettingsBody>),
        ReadRefusals))]
pub(crate) async fn settings(
    app: App,
    Query(Nothing {}, common, _): Query<Nothing, ReadParams>,
) -> ApiResult {
    let found = app.concord.settings().plan(common.plan(&app)?).await?;
    ok(SettingsBody::from(found.data), found.revision)
}

/// All settings anew. Every one must be said, so that none is changed by being forgotten.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ConfigureBody {
    /// The longest value that a write may store.
    value_bytes_max: u64,
    /// How much history is kept.
    compaction: NewCompaction,
}

/// How much history is kept: every bound must be said, null for none.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewCompaction {
    /// Milliseconds.
    #[serde(deserialize_with = "said")]
    keep_ms: Option<u64>,
    /// Revisions.
    #[serde(deserialize_with = "said")]
    keep_revisions: Option<u64>,
    /// Bytes of old versions and changes.
    #[serde(deserialize_with = "said")]
    keep_bytes: Option<u64>,
}

/// With a function of its own a missing field is an error, and not null.
fn said<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    Option::deserialize(deserializer)
}

/// Replaces all settings.
#[utoipa::path(
    put, path = "/api/v1/cluster/settings", tag = "cluster",
    params(WriteParams),
    request_body = ConfigureBody,
    responses(
        (status = 200, description = "They hold", body = super::answer::Ok<SettingsBody>),
        WriteRefusals))]
pub(crate) async fn configure(
    app: App,
    Query(Nothing {}, common, _): Query<Nothing, WriteParams>,
    _: NoConditions,
    once: Once,
    Json(body): Json<ConfigureBody>,
) -> ApiResult {
    let NewCompaction {
        keep_ms,
        keep_revisions,
        keep_bytes,
    } = body.compaction;
    let settings = Settings {
        value_bytes_max: body.value_bytes_max,
        compaction: Compaction {
            keep_ms: keep_ms.map(Millis::new),
            keep_revisions,
            keep_bytes,
        },
    };
    let revision = common.shape(&app, once, app.concord.configure(settings))?.await?;
    ok(SettingsBody::from(settings), revision)
}
