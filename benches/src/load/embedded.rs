//! Loads `Concord` handles in this process: one node, or a cluster over loopback.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use concord_server::{Concord, Config, Error, PeerConfig, ReadConsistency, Secret, Value};
use tempfile::TempDir;

use super::driver::{Driver, Session};
use super::keys::KeySpace;
use super::options::Consistency;

/// How long nodes may take until they serve.
const START_PATIENCE: Duration = Duration::from_secs(30);

/// Nodes in this process.
#[derive(Debug)]
pub struct Embedded {
    nodes: Vec<Concord>,
    consistency: Consistency,
    /// Removed when dropped.
    _directory: Option<TempDir>,
}

/// A handle.
#[derive(Debug)]
pub struct EmbeddedSession {
    handle: Concord,
    consistency: ReadConsistency,
}

impl Embedded {
    /// Starts so many nodes, with data in `directory` or in one that is removed afterwards.
    ///
    /// # Errors
    ///
    /// Why a node does not start or serve.
    pub async fn start(
        count: usize,
        directory: Option<PathBuf>,
        consistency: Consistency,
    ) -> Result<Self, String> {
        let (directory, kept) = match directory {
            Some(path) => (path, None),
            None => {
                let temporary = tempfile::Builder::new()
                    .prefix("concord-bench-")
                    .tempdir()
                    .map_err(text)?;
                (temporary.path().to_owned(), Some(temporary))
            }
        };
        let configs = configs(count.max(1), &directory)?;
        let mut opening = Vec::new();
        for config in configs {
            opening.push(tokio::spawn(Concord::open(config)));
        }
        let mut nodes = Vec::new();
        for node in opening {
            nodes.push(node.await.map_err(text)?.map_err(|error| chain(&error))?);
        }
        for node in &nodes {
            node.wait_until_ready(START_PATIENCE)
                .await
                .map_err(|error| chain(&error))?;
        }
        Ok(Self {
            nodes,
            consistency,
            _directory: kept,
        })
    }

    /// Stops the nodes.
    ///
    /// # Errors
    ///
    /// Why one does not stop in order.
    pub async fn stop(self) -> Result<(), String> {
        for node in &self.nodes {
            node.shutdown().await.map_err(|error| chain(&error))?;
        }
        Ok(())
    }
}

/// Where each node is and who the others are.
fn configs(count: usize, directory: &Path) -> Result<Vec<Config>, String> {
    let node_dir = |number: usize| directory.join(number.to_string());
    if count == 1 {
        return Ok(vec![Config::at(node_dir(1))]);
    }
    // Every seed must be known before any node starts. The ports are free now; that
    // nobody else takes them in the next milliseconds is a risk that a benchmark may run.
    let held: Vec<_> = (0..count)
        .map(|_| TcpListener::bind("127.0.0.1:0"))
        .collect::<Result<_, _>>()
        .map_err(text)?;
    let addresses: Vec<String> = held
        .iter()
        .map(|socket| socket.local_addr().map(|found| found.to_string()))
        .collect::<Result<_, _>>()
        .map_err(text)?;
    let node = |(number, address): (u64, &String)| {
        let secret = Secret::new("a benchmark has no secrets to keep");
        let peers = PeerConfig::new(address.clone(), secret).seeds(addresses.clone());
        let place = usize::try_from(number).unwrap_or(usize::MAX);
        Config::at(node_dir(place)).node_id(number).peers(peers)
    };
    Ok((1..).zip(&addresses).map(node).collect())
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(found) = cause {
        text = format!("{text}: {found}");
        cause = found.source();
    }
    text
}

/// By its kind: the text of one cause may differ from time to time.
fn failure(error: &Error) -> String {
    format!("{:?}", error.kind())
}

impl Driver for Embedded {
    type Session = EmbeddedSession;

    async fn session(&self, caller: usize) -> Result<EmbeddedSession, String> {
        let handle = self
            .nodes
            .get(caller % self.nodes.len().max(1))
            .ok_or("no node")?
            .clone();
        let consistency = match self.consistency {
            Consistency::Strong => ReadConsistency::Strong,
            Consistency::Leader => ReadConsistency::Leader,
            Consistency::Eventual => ReadConsistency::Eventual,
        };
        Ok(EmbeddedSession { handle, consistency })
    }
}

impl Session for EmbeddedSession {
    async fn put(&mut self, keys: &KeySpace, number: usize, value: &[u8]) -> Result<(), String> {
        let value = Value::binary(Bytes::copy_from_slice(value));
        let written = self
            .handle
            .put(keys.key(number), value)
            .await
            .map_err(|error| failure(&error))?;
        if written.revision.get() > 1 {
            Ok(())
        } else {
            Err("wrong answer: a write without a revision".to_owned())
        }
    }

    async fn get(&mut self, keys: &KeySpace, number: usize) -> Result<(), String> {
        let found = self
            .handle
            .get(keys.key(number))
            .consistency(self.consistency)
            .await;
        let answer = found.map_err(|error| failure(&error))?;
        let entry = answer.as_ref().ok_or("wrong answer: no value")?;
        keys.check(number, entry.bytes())
    }
}
