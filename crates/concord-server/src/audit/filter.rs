//! Which lines a query wants.

use serde::Deserialize;

use super::chain::Keys;
use super::line::{Kind, hidden};
use super::time::Moment;

/// What a query asks for; by default, everything.
#[derive(Clone, Debug, Default)]
pub(crate) struct Filter {
    /// Microseconds since the Unix epoch, included.
    pub(crate) from: Option<u64>,
    /// Included.
    pub(crate) upto: Option<u64>,
    /// The id or the name of a token, or the kind of a caller.
    pub(crate) principal: Option<String>,
    pub(crate) operation: Option<String>,
    /// `ok`, the name of an error, `error` for all of these, or `denied`.
    pub(crate) result: Option<String>,
    /// Requests about this key.
    pub(crate) key: Option<Vec<u8>>,
    /// Requests about a key that begins so.
    pub(crate) prefix: Option<Vec<u8>>,
    pub(crate) tenant: Option<String>,
}

/// A line, as far as filters ask.
#[derive(Deserialize)]
struct Seen {
    kind: String,
    time: String,
    #[serde(default)]
    operation: String,
    #[serde(default)]
    result: String,
    principal: Option<SeenPrincipal>,
    tenant: Option<String>,
    #[serde(flatten)]
    place: SeenPlace,
    keys: Option<SeenKeys>,
}

#[derive(Deserialize)]
struct SeenPrincipal {
    kind: String,
    id: Option<String>,
    name: Option<String>,
}

#[derive(Deserialize)]
struct SeenKeys {
    first: Vec<SeenPlace>,
}

#[derive(Deserialize)]
struct SeenPlace {
    key: Option<String>,
    key_base64: Option<String>,
    key_hash: Option<String>,
    range: Option<SeenRange>,
}

#[derive(Deserialize)]
struct SeenRange {
    start: Option<String>,
    start_base64: Option<String>,
    end: Option<String>,
    end_base64: Option<String>,
}

impl Filter {
    /// Whether every line is wanted.
    pub(super) fn is_all(&self) -> bool {
        self.from.is_none() && self.upto.is_none() && !self.is_about_requests()
    }

    /// Whether only lines of requests can be wanted.
    fn is_about_requests(&self) -> bool {
        self.principal.is_some()
            || self.operation.is_some()
            || self.result.is_some()
            || self.key.is_some()
            || self.prefix.is_some()
            || self.tenant.is_some()
    }

    /// Whether a line is wanted. One that cannot be read is: somebody should look at it.
    pub(super) fn wants(&self, line: &[u8], keys: Option<&Keys>) -> bool {
        if self.is_all() {
            return true;
        }
        let Ok(seen) = serde_json::from_slice::<Seen>(line) else {
            return true;
        };
        let Some(time) = Moment::parse(&seen.time) else {
            return true;
        };
        if self.from.is_some_and(|from| time.last < from) || self.upto.is_some_and(|upto| time.first > upto) {
            return false;
        }
        if !self.is_about_requests() {
            return true;
        }
        seen.kind == Kind::Event.name()
            && is(self.operation.as_deref(), &seen.operation)
            && self
                .result
                .as_deref()
                .is_none_or(|wanted| is_result(wanted, &seen.result))
            && self
                .tenant
                .as_deref()
                .is_none_or(|tenant| seen.tenant.as_deref() == Some(tenant))
            && self
                .principal
                .as_deref()
                .is_none_or(|wanted| is_principal(wanted, seen.principal.as_ref()))
            && self.is_about(&seen, keys)
    }

    fn is_about(&self, seen: &Seen, keys: Option<&Keys>) -> bool {
        let listed = seen.keys.iter().flat_map(|keys| &keys.first);
        let mut places = std::iter::once(&seen.place).chain(listed);
        match (&self.key, &self.prefix) {
            (None, None) => true,
            (Some(key), None) => {
                let hash = keys.map(|keys| hidden(key, keys));
                places.any(|place| {
                    let is_hash = place.key_hash.is_some()
                        && place.key_hash.as_deref() == hash.as_ref().map(|hash| hash.as_str());
                    is_hash || place.key().is_some_and(|found| found == *key) || place.range_has(key)
                })
            }
            (_, Some(prefix)) => places.any(|place| {
                place.key().is_some_and(|found| found.starts_with(prefix))
                    || place.range().is_some_and(|(start, _)| start.starts_with(prefix))
            }),
        }
    }
}

impl SeenPlace {
    fn key(&self) -> Option<Vec<u8>> {
        bytes(self.key.as_deref(), self.key_base64.as_deref())
    }

    fn range(&self) -> Option<(Vec<u8>, Option<Vec<u8>>)> {
        let range = self.range.as_ref()?;
        let start = bytes(range.start.as_deref(), range.start_base64.as_deref())?;
        Some((start, bytes(range.end.as_deref(), range.end_base64.as_deref())))
    }

    fn range_has(&self, key: &[u8]) -> bool {
        self.range()
            .is_some_and(|(start, end)| start.as_slice() <= key && end.is_none_or(|end| key < end.as_slice()))
    }
}

fn bytes(text: Option<&str>, base64: Option<&str>) -> Option<Vec<u8>> {
    use base64::Engine as _;
    match (text, base64) {
        (Some(text), _) => Some(text.as_bytes().to_vec()),
        (None, Some(base64)) => base64::prelude::BASE64_STANDARD.decode(base64).ok(),
        (None, None) => None,
    }
}

fn is(wanted: Option<&str>, found: &str) -> bool {
    wanted.is_none_or(|wanted| wanted == found)
}

fn is_result(wanted: &str, found: &str) -> bool {
    match wanted {
        "error" => found != "ok",
        "denied" => matches!(found, "forbidden" | "unauthorized"),
        wanted => wanted == found,
    }
}

fn is_principal(wanted: &str, found: Option<&SeenPrincipal>) -> bool {
    found.is_some_and(|found| {
        found.kind == wanted || found.id.as_deref() == Some(wanted) || found.name.as_deref() == Some(wanted)
    })
}
