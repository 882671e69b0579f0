//! A request in the client's terms, before it is known which node will get it.

use bytes::Bytes;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Method;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderValue};
use serde_json::Value;

/// Everything but the characters that no part of an address gives a meaning to.
const PATH_SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

/// Whether sending it twice could do something twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It only reads.
    Reads,
    /// It may change something.
    Writes,
}

/// A request to whichever node takes it.
#[derive(Clone, Debug)]
pub struct Request {
    method: Method,
    path: String,
    query: Vec<(&'static str, String)>,
    accept: Option<&'static str>,
    body: Option<(&'static str, Bytes)>,
    effect: Effect,
    name: Option<HeaderValue>,
}

impl Request {
    /// Asks for something.
    pub fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path, Effect::Reads)
    }

    /// Puts something in its place.
    pub fn put(path: impl Into<String>) -> Self {
        Self::new(Method::PUT, path, Effect::Writes)
    }

    /// Asks for something to be done.
    pub fn post(path: impl Into<String>) -> Self {
        Self::new(Method::POST, path, Effect::Writes)
    }

    /// Changes parts of something.
    pub fn patch(path: impl Into<String>) -> Self {
        Self::new(Method::PATCH, path, Effect::Writes)
    }

    /// Asks for something with a body.
    pub fn fetch(path: impl Into<String>) -> Self {
        Self::new(Method::POST, path, Effect::Reads)
    }

    /// Takes something away.
    pub fn delete(path: impl Into<String>) -> Self {
        Self::new(Method::DELETE, path, Effect::Writes)
    }

    fn new(method: Method, path: impl Into<String>, effect: Effect) -> Self {
        Self {
            method,
            path: path.into(),
            query: Vec::new(),
            accept: None,
            body: None,
            effect,
            name: None,
        }
    }

    /// Gives a write an idempotency key, so that it can be sent again and is applied once: this
    /// one, or a random one. Only for what the node applies once: see `docs/http-api.md`.
    #[must_use]
    pub fn once(mut self, name: Option<&HeaderValue>) -> Self {
        self.name = name.cloned().or_else(random_name);
        self
    }

    /// Whether it has an idempotency key.
    pub fn is_named(&self) -> bool {
        self.name.is_some()
    }

    /// Adds a query parameter if there is a value for it.
    #[must_use]
    pub fn query(mut self, name: &'static str, value: Option<impl ToString>) -> Self {
        self.query.extend(value.map(|value| (name, value.to_string())));
        self
    }

    /// Says which media type the answer shall have.
    #[must_use]
    pub fn accept(mut self, media_type: &'static str) -> Self {
        self.accept = Some(media_type);
        self
    }

    /// Sends JSON.
    #[must_use]
    pub fn json(self, body: &Value) -> Self {
        self.body("application/json", body.to_string().into())
    }

    /// Sends bytes of a media type.
    #[must_use]
    pub fn body(mut self, media_type: &'static str, body: Bytes) -> Self {
        self.body = Some((media_type, body));
        self
    }

    /// Whether sending it twice could do something twice.
    pub fn effect(&self) -> Effect {
        self.effect
    }

    pub(super) fn build(&self, http: &reqwest::Client, endpoint: &str) -> reqwest::RequestBuilder {
        let mut request = http.request(self.method.clone(), self.url(endpoint));
        if let Some(media_type) = self.accept {
            request = request.header(ACCEPT, media_type);
        }
        if let Some(name) = &self.name {
            request = request.header("idempotency-key", name);
        }
        if let Some((media_type, body)) = &self.body {
            request = request.header(CONTENT_TYPE, *media_type).body(body.clone());
        }
        request
    }

    pub(super) fn url(&self, endpoint: &str) -> String {
        let mut url = format!("{endpoint}{}", self.path);
        for (at, (name, value)) in self.query.iter().enumerate() {
            url.push(if at == 0 { '?' } else { '&' });
            url.push_str(name);
            url.push('=');
            url.push_str(&encode(value));
        }
        url
    }
}

/// A key that nobody else has. Without randomness there is none, and the request goes once.
fn random_name() -> Option<HeaderValue> {
    let mut random = [0_u8; 16];
    getrandom::fill(&mut random).ok()?;
    HeaderValue::from_str(&format!("{:032x}", u128::from_be_bytes(random))).ok()
}

/// Percent-encodes text as one segment of a path.
pub(crate) fn encode(text: &str) -> String {
    utf8_percent_encode(text, PATH_SEGMENT).to_string()
}
