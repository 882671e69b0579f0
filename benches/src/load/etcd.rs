//! Loads etcd through its v3 JSON gateway, for comparison.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::driver::{Driver, Session};
use super::http::failure;
use super::keys::KeySpace;
use super::options::Consistency;
use super::wire::{Wire, find};

/// The JSON gateway of some etcd members.
#[derive(Debug)]
pub struct Etcd {
    endpoints: Vec<String>,
    consistency: Consistency,
}

impl Etcd {
    /// Members at these `host:port`s.
    pub fn new(endpoints: Vec<String>, consistency: Consistency) -> Self {
        Self {
            endpoints,
            consistency,
        }
    }
}

/// One connection.
#[derive(Debug)]
pub struct EtcdSession {
    wire: Wire,
    consistency: Consistency,
    body: String,
    request: String,
}

impl Driver for Etcd {
    type Session = EtcdSession;

    async fn session(&self, caller: usize) -> Result<EtcdSession, String> {
        let count = self.endpoints.len().max(1);
        let endpoint = self.endpoints.get(caller % count).ok_or("--endpoints is empty")?;
        Ok(EtcdSession {
            wire: Wire::new(endpoint),
            consistency: self.consistency,
            body: String::new(),
            request: String::new(),
        })
    }
}

impl EtcdSession {
    async fn post(&mut self, path: &str) -> Result<&[u8], String> {
        self.request.clear();
        let _ = write!(
            self.request,
            "POST {path} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{}",
            self.wire.endpoint(),
            self.body.len(),
            self.body,
        );
        let (status, body) = self.wire.exchange(self.request.as_bytes()).await?;
        if status == 200 {
            Ok(body)
        } else {
            Err(failure(status, body))
        }
    }
}

impl Session for EtcdSession {
    async fn put(&mut self, keys: &KeySpace, number: usize, value: &[u8]) -> Result<(), String> {
        self.body.clear();
        self.body.push_str("{\"key\":\"");
        BASE64_STANDARD.encode_string(keys.key(number), &mut self.body);
        self.body.push_str("\",\"value\":\"");
        BASE64_STANDARD.encode_string(value, &mut self.body);
        self.body.push_str("\"}");
        let body = self.post("/v3/kv/put").await?;
        match find(body, b"\"revision\":") {
            Some(_) => Ok(()),
            None => Err("wrong answer: a write without a revision".to_owned()),
        }
    }

    async fn get(&mut self, keys: &KeySpace, number: usize) -> Result<(), String> {
        self.body.clear();
        self.body.push_str("{\"key\":\"");
        BASE64_STANDARD.encode_string(keys.key(number), &mut self.body);
        // etcd has no level between a quorum and the member's own state.
        let local = self.consistency == Consistency::Eventual;
        self.body
            .push_str(if local { "\",\"serializable\":true}" } else { "\"}" });
        let body = self.post("/v3/kv/range").await?;
        let marker = b"\"value\":\"";
        let at = find(body, marker).ok_or("wrong answer: no value")?;
        let rest = body.get(at + marker.len()..).unwrap_or_default();
        let encoded = rest.split(|byte| *byte == b'"').next().unwrap_or_default();
        let value = BASE64_STANDARD
            .decode(encoded)
            .map_err(|_| "wrong answer: the value is not Base64")?;
        keys.check(number, &value)
    }
}
