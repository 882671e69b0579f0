//! Loads Concord's HTTP interface: raw values, one keep-alive connection for each caller.

use std::fmt::Write as _;

use super::driver::{Driver, Session};
use super::keys::KeySpace;
use super::options::Consistency;
use super::wire::{Wire, find};

/// The HTTP interface of some nodes.
#[derive(Debug)]
pub struct Http {
    endpoints: Vec<String>,
    consistency: Consistency,
}

impl Http {
    /// Nodes at these `host:port`s.
    pub fn new(endpoints: Vec<String>, consistency: Consistency) -> Self {
        Self {
            endpoints,
            consistency,
        }
    }
}

/// One connection.
#[derive(Debug)]
pub struct HttpSession {
    wire: Wire,
    consistency: Consistency,
    request: Vec<u8>,
    head: String,
}

impl Driver for Http {
    type Session = HttpSession;

    async fn session(&self, caller: usize) -> Result<HttpSession, String> {
        let count = self.endpoints.len().max(1);
        let endpoint = self.endpoints.get(caller % count).ok_or("--endpoints is empty")?;
        Ok(HttpSession {
            wire: Wire::new(endpoint),
            consistency: self.consistency,
            request: Vec::new(),
            head: String::new(),
        })
    }
}

/// What an answer that is no success says, without what changes from one to the next.
pub(super) fn failure(status: u16, body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body.get(..body.len().min(200)).unwrap_or_default());
    let code = text
        .split("\"code\":\"")
        .nth(1)
        .and_then(|rest| rest.split('"').next());
    match code {
        Some(code) => format!("status {status}: {code}"),
        None => format!("status {status}: {}", text.trim()),
    }
}

impl Session for HttpSession {
    async fn put(&mut self, keys: &KeySpace, number: usize, value: &[u8]) -> Result<(), String> {
        self.head.clear();
        let _ = write!(
            self.head,
            "PUT /api/v1/kv/{} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/octet-stream\r\nContent-Length: {}\r\n\r\n",
            keys.key(number),
            self.wire.endpoint(),
            value.len(),
        );
        self.request.clear();
        self.request.extend_from_slice(self.head.as_bytes());
        self.request.extend_from_slice(value);
        let (status, body) = self.wire.exchange(&self.request).await?;
        if status != 200 {
            return Err(failure(status, body));
        }
        match find(body, b"\"revision\":") {
            Some(_) => Ok(()),
            None => Err("wrong answer: a write without a revision".to_owned()),
        }
    }

    async fn get(&mut self, keys: &KeySpace, number: usize) -> Result<(), String> {
        let value = self.read(keys, number).await?;
        keys.check(number, value)
    }
}

impl HttpSession {
    /// The body of a successful answer to a read.
    pub(super) async fn read(&mut self, keys: &KeySpace, number: usize) -> Result<&[u8], String> {
        self.head.clear();
        let _ = write!(
            self.head,
            "GET /api/v1/kv/{}?consistency={} HTTP/1.1\r\nHost: {}\r\nAccept: application/octet-stream\r\n\r\n",
            keys.key(number),
            self.consistency.name(),
            self.wire.endpoint(),
        );
        let (status, body) = self.wire.exchange(self.head.as_bytes()).await?;
        if status == 200 {
            Ok(body)
        } else {
            Err(failure(status, body))
        }
    }
}
