//! A client of a running cluster over HTTP: what the command line is built on.
//!
//! ```text
//!   Request ──> node 1 ── no connection, or "nothing was written, ask another" ──┐
//!           ┌──────────────────────────────────────────────────────────────────┘
//!           └─> node 2 ── 2xx ──> Answer
//!                      └─ error code ──> ClientError::Refused
//! ```
//!
//! A write with a name ([`Request::once`]) is sent again until somebody knows what became of
//! it, because the cluster applies it once. Without a name the next node is tried only when
//! the request certainly had no effect: a write whose connection broke after it was sent may
//! have happened, and is reported so instead of being sent twice. Not here: what the answers mean (`cli`), and the routes themselves
//! (`docs/http-api.md`).

mod download;
mod error;
mod follow;
mod request;
mod tls;
mod upload;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};

pub use self::download::Download;
pub use self::error::ClientError;
pub use self::follow::{Event, Follow};
pub(crate) use self::request::encode;
pub use self::request::{Effect, Request};
pub use self::tls::ClientTls;

/// A node that does not even accept a connection in this time is passed over.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// An answer is read up to this size; larger than any page that the server makes.
const ANSWER_BYTES_MAX: usize = 256 << 20;
/// The first pause before all nodes are asked again what became of a write; doubled up to the last.
const PAUSE_FIRST: Duration = Duration::from_millis(50);
const PAUSE_LAST: Duration = Duration::from_secs(1);

/// Talks to the nodes of one cluster. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    endpoints: Vec<String>,
    timeout: Duration,
    /// Where the last request succeeded: asked first next time.
    preferred: std::sync::Arc<AtomicUsize>,
}

/// A successful answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Who answered.
    pub endpoint: String,
    /// HTTP status, 200 to 299.
    pub status: u16,
    /// The headers, among them `x-concord-revision`.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl Client {
    /// A client of the nodes at these addresses (`http://host:port` or `https://host:port`; `host:port` is the first).
    /// `timeout` bounds each request with all its attempts. Connects to nothing yet.
    ///
    /// # Errors
    ///
    /// If there is no endpoint, or one is not an address.
    pub fn new(
        endpoints: impl IntoIterator<Item = impl AsRef<str>>,
        timeout: Duration,
    ) -> Result<Self, ClientError> {
        Self::secured(endpoints, timeout, &ClientTls::default(), None)
    }

    /// The same with authorities and a certificate of its own, showing a token with each request. With either, `host:port` is `https://host:port`, and
    /// plaintext is refused: whoever says whom to trust does not mean to trust everybody.
    ///
    /// # Errors
    ///
    /// As [`Client::new`], if a file cannot be used, and if the token has characters that no token has.
    pub fn secured(
        endpoints: impl IntoIterator<Item = impl AsRef<str>>,
        timeout: Duration,
        tls: &ClientTls,
        token: Option<&str>,
    ) -> Result<Self, ClientError> {
        let endpoints: Vec<String> = endpoints
            .into_iter()
            .map(|text| endpoint(text.as_ref(), tls.is_set()))
            .collect::<Result<_, _>>()?;
        if endpoints.is_empty() {
            return Err(ClientError::no_endpoint());
        }
        // Nodes are named outright, so a proxy would only be in the way.
        let is_secure = endpoints.iter().any(|endpoint| endpoint.starts_with(HTTPS));
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(tls.configure(is_secure)?)
            .no_proxy()
            .connect_timeout(CONNECT_TIMEOUT.min(timeout))
            .default_headers(headers_of(token)?)
            .build()
            .map_err(|e| ClientError::BadEndpoint {
                endpoint: String::new(),
                reason: e.to_string(),
            })?;
        Ok(Self {
            http,
            endpoints,
            timeout,
            preferred: std::sync::Arc::default(),
        })
    }

    /// The nodes, in the order given.
    pub fn endpoints(&self) -> &[String] {
        &self.endpoints
    }

    /// How long each request may take with all its attempts.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// The same nodes, asked with another patience.
    #[must_use]
    pub fn with_timeout(&self, timeout: Duration) -> Self {
        Self {
            timeout,
            ..self.clone()
        }
    }

    /// The same client, asking nobody but its first endpoint.
    #[must_use]
    pub fn first_only(&self) -> Self {
        Self {
            endpoints: self.endpoints.iter().take(1).cloned().collect(),
            preferred: std::sync::Arc::default(),
            ..self.clone()
        }
    }

    /// A client for each endpoint, which asks nobody else.
    #[must_use]
    pub fn each(&self) -> Vec<Self> {
        let one = |endpoint: &String| Self {
            endpoints: vec![endpoint.clone()],
            preferred: std::sync::Arc::default(),
            ..self.clone()
        };
        self.endpoints.iter().map(one).collect()
    }

    /// Sends a request to the first node that takes it. One with a name whose outcome is open
    /// is sent again to all of them until the timeout.
    ///
    /// # Errors
    ///
    /// See [`ClientError`]; only [`ClientError::may_have_happened`] leaves open whether a
    /// write took effect.
    pub async fn send(&self, request: &Request) -> Result<Answer, ClientError> {
        let deadline = Instant::now() + self.timeout;
        let mut pause = PAUSE_FIRST;
        let mut open: Option<ClientError> = None;
        loop {
            let error = match self.ask_all(request, deadline).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            // What does not speak of the request says nothing of an attempt before it either.
            let is_open = error.may_have_happened() || (open.is_some() && error.leaves_open());
            if !is_open || !request.is_named() {
                return Err(error);
            }
            if error.may_have_happened() || open.is_none() {
                open = Some(error);
            }
            if Instant::now() + pause >= deadline {
                return Err(open.unwrap_or_else(ClientError::no_endpoint));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE_LAST);
        }
    }

    /// Asks one node after the other.
    async fn ask_all(&self, request: &Request, deadline: Instant) -> Result<Answer, ClientError> {
        let first = self.preferred.load(Ordering::Relaxed);
        let mut failure: Option<ClientError> = None;
        for turn in 0..self.endpoints.len() {
            let at = (first + turn) % self.endpoints.len();
            let Some(endpoint) = self.endpoints.get(at) else {
                continue;
            };
            match self.attempt(endpoint, request, deadline).await {
                Ok(answer) => {
                    self.preferred.store(at, Ordering::Relaxed);
                    return Ok(answer);
                }
                Err(error) if error.is_worth_another_node(request) && Instant::now() < deadline => {
                    failure = Some(match failure {
                        Some(earlier) => earlier.and(error),
                        None => error,
                    });
                }
                Err(error) => {
                    return Err(match failure {
                        Some(earlier) if error.leaves_open() => earlier.and(error),
                        Some(_) | None => error,
                    });
                }
            }
        }
        Err(failure.unwrap_or_else(ClientError::no_endpoint))
    }

    async fn attempt(
        &self,
        endpoint: &str,
        request: &Request,
        deadline: Instant,
    ) -> Result<Answer, ClientError> {
        let mut remaining = deadline.saturating_duration_since(Instant::now());
        if request.is_named() {
            // A node that is silent leaves time to ask another one.
            remaining /= 2;
        }
        let sent = request
            .build(&self.http, endpoint)
            .timeout(remaining)
            .send()
            .await;
        let response = sent.map_err(|e| ClientError::transport(endpoint, &e, request.effect()))?;
        let status = response.status();
        let headers = response.headers().clone();
        let body = read_body(response).await.map_err(|e| match e {
            BodyError::Transport(e) => ClientError::transport(endpoint, &e, request.effect()),
            BodyError::TooLarge => ClientError::Garbled {
                endpoint: endpoint.to_owned(),
                status: status.as_u16(),
                reason: format!("the answer is over {ANSWER_BYTES_MAX} bytes"),
            },
        })?;
        if status.is_success() {
            return Ok(Answer {
                endpoint: endpoint.to_owned(),
                status: status.as_u16(),
                headers,
                body,
            });
        }
        Err(ClientError::from_answer(endpoint, status.as_u16(), &body))
    }
}

impl Answer {
    /// The `data` of a JSON answer.
    ///
    /// # Errors
    ///
    /// If it has none: the other side is not a Concord node, or one of another version.
    pub fn data<T: serde::de::DeserializeOwned>(&self) -> Result<T, ClientError> {
        #[derive(serde::Deserialize)]
        struct Envelope<T> {
            data: T,
        }
        let envelope: Envelope<T> = serde_json::from_slice(&self.body).map_err(|e| ClientError::Garbled {
            endpoint: self.endpoint.clone(),
            status: self.status,
            reason: e.to_string(),
        })?;
        Ok(envelope.data)
    }

    /// A header as text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The media type without its parameters.
    pub fn media_type(&self) -> &str {
        let full = self.header(CONTENT_TYPE.as_str()).unwrap_or_default();
        full.split(';').next().unwrap_or_default().trim()
    }
}

fn headers_of(token: Option<&str>) -> Result<HeaderMap, ClientError> {
    let mut headers = HeaderMap::new();
    if let Some(token) = token {
        let mut value =
            HeaderValue::from_str(&format!("Bearer {token}")).map_err(|_| ClientError::BadToken)?;
        // Whoever prints the request must not print that.
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
    }
    Ok(headers)
}

enum BodyError {
    Transport(reqwest::Error),
    TooLarge,
}

async fn read_body(mut response: reqwest::Response) -> Result<Bytes, BodyError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(BodyError::Transport)? {
        if body.len() + chunk.len() > ANSWER_BYTES_MAX {
            return Err(BodyError::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.into())
}

const HTTPS: &str = "https://";

/// The base address without a final slash.
fn endpoint(text: &str, is_secured: bool) -> Result<String, ClientError> {
    let bad = |reason: &str| ClientError::BadEndpoint {
        endpoint: text.to_owned(),
        reason: reason.to_owned(),
    };
    let full = if text.contains("://") {
        text.to_owned()
    } else {
        format!("{}{text}", if is_secured { HTTPS } else { "http://" })
    };
    let url = reqwest::Url::parse(&full).map_err(|e| bad(&e.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(bad("must be http:// or https://"));
    }
    if is_secured && url.scheme() == "http" {
        return Err(bad(
            "is plaintext, and certificates are given for TLS: use https://",
        ));
    }
    if url.host_str().is_none_or(str::is_empty) || url.query().is_some() {
        return Err(bad("must be http://host:port or https://host:port"));
    }
    Ok(full.trim_end_matches('/').to_owned())
}

#[cfg(test)]
mod tests;
