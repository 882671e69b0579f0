//! A span: one piece of work of a trace, finished.

use std::borrow::Cow;

/// One piece of work, finished. Holds no key, no value and no secret.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Span {
    /// What was done.
    pub name: Cow<'static, str>,
    /// Where it stands.
    pub kind: SpanKind,
    /// The trace.
    pub trace_id: u128,
    /// This span.
    pub span_id: u64,
    /// The span that it belongs under.
    pub parent_id: Option<u64>,
    /// When it began, in nanoseconds since 1970.
    pub start_unix_nanos: u64,
    /// When it ended.
    pub end_unix_nanos: u64,
    /// What else is known, under names of `docs/tracing.md`.
    pub attributes: Vec<(&'static str, SpanValue)>,
    /// The stable name of the error that it ended with.
    pub error: Option<String>,
}

/// Where a span stands between processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SpanKind {
    /// Work within a node.
    Internal,
    /// A request that a node serves.
    Server,
}

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SpanValue {
    /// Text.
    Text(Cow<'static, str>),
    /// A number.
    Number(u64),
}

impl From<&'static str> for SpanValue {
    fn from(text: &'static str) -> Self {
        Self::Text(text.into())
    }
}

impl From<String> for SpanValue {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}

impl From<u64> for SpanValue {
    fn from(number: u64) -> Self {
        Self::Number(number)
    }
}

impl Span {
    pub(super) const fn new(name: Cow<'static, str>, kind: SpanKind, trace_id: u128, span_id: u64) -> Self {
        Self {
            name,
            kind,
            trace_id,
            span_id,
            parent_id: None,
            start_unix_nanos: 0,
            end_unix_nanos: 0,
            attributes: Vec::new(),
            error: None,
        }
    }

    #[must_use]
    pub(super) fn under(self, parent_id: Option<u64>) -> Self {
        Self { parent_id, ..self }
    }

    /// An attribute by its name.
    pub fn attribute(&self, name: &str) -> Option<&SpanValue> {
        let found = self.attributes.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| value)
    }
}
