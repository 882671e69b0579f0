//! Writers that remember what was acknowledged, and the check that it is all there.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use concord_server::client::{Client, ClientError, Request};
use futures::stream::{self, StreamExt};
use parking_lot::Mutex;
use tokio::task::JoinHandle;

use crate::process::{self, Cluster, eventually};

/// Reads under way at once when everything is checked: they share read index rounds.
const READERS: usize = 64;

/// What the cluster has promised.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// Acknowledged writes: key and value.
    acked: BTreeMap<String, String>,
    /// When the acknowledgements came, in order.
    times: Vec<Instant>,
    unknown: usize,
}

/// Writers at work.
#[derive(Debug)]
pub(crate) struct Load {
    ledger: Arc<Mutex<Ledger>>,
    stop: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Load {
    /// Starts writers; each prefers another node and moves on when it fails.
    pub(crate) fn start(cluster: &Cluster, writers: usize, value_bytes: usize) -> Self {
        let addresses: Vec<SocketAddr> = cluster.nodes.iter().map(|node| node.http).collect();
        let ledger = Arc::new(Mutex::new(Ledger::default()));
        let stop = Arc::new(AtomicBool::new(false));
        let tasks = (0..writers)
            .map(|writer| {
                let mut order = addresses.clone();
                order.rotate_left(writer % addresses.len());
                let client = process::client(&order);
                tokio::spawn(write(
                    client,
                    writer,
                    value_bytes,
                    Arc::clone(&ledger),
                    Arc::clone(&stop),
                ))
            })
            .collect();
        Self { ledger, stop, tasks }
    }

    pub(crate) fn acked(&self) -> usize {
        self.ledger.lock().acked.len()
    }

    /// Waits for that many more acknowledgements.
    pub(crate) async fn progress(&self, count: usize) {
        let goal = self.acked() + count;
        eventually("more writes are acknowledged", async || {
            (self.acked() >= goal).then_some(())
        })
        .await;
    }

    /// The longest time without an acknowledgement between `from` and the first one that
    /// came more than `settle` after it.
    pub(crate) fn longest_silence(&self, from: Instant) -> Duration {
        let ledger = self.ledger.lock();
        let mut last = from;
        let mut longest = Duration::ZERO;
        for &at in ledger.times.iter().filter(|&&at| at >= from) {
            longest = longest.max(at.duration_since(last));
            last = at;
        }
        longest
    }

    /// Stops the writers and returns what they were promised.
    pub(crate) async fn finish(self) -> Ledger {
        self.stop.store(true, Ordering::Relaxed);
        for task in self.tasks {
            task.await.unwrap();
        }
        std::mem::take(&mut self.ledger.lock())
    }
}

async fn write(
    client: Client,
    writer: usize,
    value_bytes: usize,
    ledger: Arc<Mutex<Ledger>>,
    stop: Arc<AtomicBool>,
) {
    for number in 0.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let key = format!("load:{writer}:{number}");
        let value = format!("{number:0value_bytes$}");
        let request = Request::put(format!("/api/v1/kv/load%3A{writer}%3A{number}"))
            .body("text/plain", value.clone().into());
        match client.send(&request).await {
            Ok(_) => {
                let mut ledger = ledger.lock();
                ledger.acked.insert(key, value);
                ledger.times.push(Instant::now());
            }
            Err(error) if error.may_have_happened() => ledger.lock().unknown += 1,
            // Nothing was written: the number is simply left out.
            Err(ClientError::Unreachable { .. } | ClientError::Refused { .. }) => {
                // tidy-allow(sleep): nodes are down, and asking in a tight loop would slow their restart.
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            Err(error) => panic!("writer {writer}: {error}"),
        }
    }
}

impl Ledger {
    pub(crate) fn len(&self) -> usize {
        self.acked.len()
    }

    /// I5: every acknowledged write is there, by a `strong` read through the given client.
    pub(crate) async fn check(&self, client: &Client) {
        assert!(
            !self.acked.is_empty(),
            "the load wrote nothing: the test proves nothing"
        );
        let missing: Vec<&String> = stream::iter(&self.acked)
            .map(async |(key, value)| (!is_there(client, key, value).await).then_some(key))
            .buffer_unordered(READERS)
            .filter_map(async |missing| missing)
            .collect()
            .await;
        assert!(
            missing.is_empty(),
            "{} of {} acknowledged writes are lost: {missing:?}",
            missing.len(),
            self.acked.len()
        );
        println!(
            "{} acknowledged writes are there; {} had no answer",
            self.acked.len(),
            self.unknown
        );
    }
}

/// Whether a `strong` read finds the value; asked again until it is answered.
async fn is_there(client: &Client, key: &str, value: &str) -> bool {
    let path = format!("/api/v1/kv/{}", key.replace(':', "%3A"));
    let request = Request::get(path)
        .query("consistency", Some("strong"))
        .accept("text/plain");
    eventually("a strong read is answered", async || {
        match client.send(&request).await {
            Ok(answer) => Some(answer.body == value),
            Err(error) if error.code() == "not_found" => Some(false),
            Err(_) => None,
        }
    })
    .await
}
