//! Records and values as JSON answers.

use std::str;

use base64::Engine as _;
use base64::display::Base64Display;
use base64::prelude::BASE64_STANDARD;
use concord_core::document::Document;
use concord_core::ids::{LeaseId, Timestamp};
use concord_core::record::Record;
use concord_core::value::{Value, ValueFormat};
use serde::ser::Error as _;
use serde::{Serialize, Serializer};
use utoipa::ToSchema;

use crate::answer::Entry;
use crate::json::JsonDocument;

/// A key with its value and metadata.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Record)]
pub(crate) struct RecordBody<'a> {
    /// The key, if it is UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
    /// The key in Base64, if it is not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    key_base64: Option<String>,
    /// The value: a document as it is, text as a string, other bytes as a string of Base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    value: Option<ValueBody<'a>>,
    /// What the value is: `document`, `text` or `binary`.
    #[serde(skip_serializing_if = "Option::is_none")]
    format: Option<&'static str>,
    /// The revision at which the key came into being.
    create_revision: u64,
    /// The revision of the last write.
    mod_revision: u64,
    /// Writes since the key came into being.
    version: u64,
    /// The lease that the key hangs on, if it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    lease: Option<u64>,
    #[serde(flatten)]
    #[schema(inline)]
    remaining: Option<TtlBody>,
}

/// How long a key has left.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[schema(as = Ttl)]
pub(crate) struct TtlBody {
    /// Seconds left, rounded up; null: it does not expire.
    ttl: Option<u64>,
    /// Milliseconds left; null: it does not expire.
    ttl_ms: Option<u64>,
    /// Milliseconds since the Unix epoch, by the cluster's clock; null: it does not expire.
    expires_at: Option<u64>,
}

impl TtlBody {
    pub(crate) fn new(expires_at: Option<Timestamp>, now: Timestamp) -> Self {
        let ttl_ms = expires_at.map(|deadline| deadline.since(now).get());
        Self {
            // Rounded up, so that a key that is there never shows 0.
            ttl: ttl_ms.map(|millis| millis.div_ceil(1_000)),
            ttl_ms,
            expires_at: expires_at.map(Timestamp::get),
        }
    }
}

/// A key.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct KeyBody<'a> {
    /// The key, if it is UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
    /// The key in Base64, if it is not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    key_base64: Option<String>,
}

impl<'a> KeyBody<'a> {
    pub(crate) fn new(key: &'a [u8]) -> Self {
        let text = str::from_utf8(key).ok();
        Self {
            key: text,
            key_base64: text.is_none().then(|| BASE64_STANDARD.encode(key)),
        }
    }
}

impl<'a> RecordBody<'a> {
    /// A whole record, as writes answer with.
    pub(crate) fn new(record: &'a Record) -> Self {
        let bytes = record.value.bytes();
        Self {
            value: Some(ValueBody {
                format: record.value.format(),
                bytes,
            }),
            format: Some(record.value.format().name()),
            ..Self::without_value(record)
        }
    }

    /// A record of a scan that wants no values.
    pub(crate) fn without_value(record: &'a Record) -> Self {
        Self {
            value: None,
            format: None,
            create_revision: record.create_revision.get(),
            mod_revision: record.mod_revision.get(),
            version: record.version,
            lease: record.lease.map(LeaseId::get),
            ..Self::of_key(record.key.as_bytes())
        }
    }

    /// What a read of one key found.
    pub(crate) fn of_entry(key: &'a [u8], entry: &'a Entry) -> Self {
        Self {
            value: Some(ValueBody::of(entry)),
            format: Some(entry.format().name()),
            create_revision: entry.create_revision().get(),
            mod_revision: entry.mod_revision().get(),
            version: entry.version(),
            lease: entry.lease().map(LeaseId::get),
            ..Self::of_key(key)
        }
    }

    /// A record of a page: without its value if only keys are asked for, and with the time it has left at `ttl_at`.
    pub(crate) fn in_page(record: &'a Record, keys_only: bool, ttl_at: Option<Timestamp>) -> Self {
        let body = if keys_only {
            Self::without_value(record)
        } else {
            Self::new(record)
        };
        match ttl_at {
            Some(now) => body.with_ttl(record.expires_at, now),
            None => body,
        }
    }

    /// Adds how long the key has left.
    pub(crate) fn with_ttl(mut self, expires_at: Option<Timestamp>, now: Timestamp) -> Self {
        self.remaining = Some(TtlBody::new(expires_at, now));
        self
    }

    fn of_key(key: &'a [u8]) -> Self {
        let KeyBody { key, key_base64 } = KeyBody::new(key);
        Self {
            key,
            key_base64,
            value: None,
            format: None,
            create_revision: 0,
            mod_revision: 0,
            version: 0,
            lease: None,
            remaining: None,
        }
    }
}

/// A value as JSON.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ValueBody<'a> {
    format: ValueFormat,
    bytes: &'a [u8],
}

impl<'a> ValueBody<'a> {
    pub(crate) fn new(value: &'a Value) -> Self {
        Self {
            format: value.format(),
            bytes: value.bytes(),
        }
    }

    pub(crate) fn of(entry: &'a Entry) -> Self {
        Self {
            format: entry.format(),
            bytes: entry.bytes(),
        }
    }
}

impl Serialize for ValueBody<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.format {
            ValueFormat::Binary => serializer.collect_str(&Base64Display::new(self.bytes, &BASE64_STANDARD)),
            ValueFormat::Text => {
                serializer.serialize_str(str::from_utf8(self.bytes).map_err(S::Error::custom)?)
            }
            ValueFormat::Document => {
                let document = Document::decode(self.bytes).map_err(S::Error::custom)?;
                JsonDocument(&document).serialize(serializer)
            }
        }
    }
}
