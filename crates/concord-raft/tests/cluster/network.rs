//! A network in memory: nodes by address, links that can be cut, everything in order.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use concord_raft::Identity;
use concord_raft::ports::{Duplex, Inbound, Lane, PeerAddress, Transport, TransportError};
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::sync::{mpsc, watch};

/// Lets simulated time pass. Time is paused in these tests: it costs nothing, and what is
/// due before comes first.
pub(crate) async fn pass(time: Duration) {
    // tidy-allow(sleep): simulated time, and a delay is what a network has
    tokio::time::sleep(time).await;
}

/// A message takes this long.
const DELAY: Duration = Duration::from_millis(1);

#[derive(Default)]
struct State {
    nodes: BTreeMap<String, Arc<dyn Inbound>>,
    cut: BTreeSet<(String, String)>,
    failed_attempts: usize,
}

/// The wires between all nodes. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Web {
    state: Arc<Mutex<State>>,
    changes: watch::Sender<u64>,
}

impl fmt::Debug for Web {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Web")
    }
}

fn link(a: &str, b: &str) -> (String, String) {
    (a.min(b).to_owned(), a.max(b).to_owned())
}

impl Web {
    pub(crate) fn new() -> Self {
        Self {
            state: Arc::default(),
            changes: watch::Sender::new(0),
        }
    }

    pub(crate) fn listen(&self, address: &str, inbound: Arc<dyn Inbound>) {
        self.state
            .lock()
            .unwrap()
            .nodes
            .insert(address.to_owned(), inbound);
    }

    /// Nobody listens there any more; all its connections end.
    pub(crate) fn hang_up(&self, address: &str) {
        self.state.lock().unwrap().nodes.remove(address);
        self.changes.send_modify(|n| *n += 1);
    }

    pub(crate) fn cut(&self, a: &str, b: &str) {
        self.state.lock().unwrap().cut.insert(link(a, b));
        self.changes.send_modify(|n| *n += 1);
    }

    pub(crate) fn isolate(&self, address: &str, others: &[String]) {
        for other in others.iter().filter(|other| *other != address) {
            self.cut(address, other);
        }
    }

    /// Calls and streams that found nobody.
    pub(crate) fn failed_attempts(&self) -> usize {
        self.state.lock().unwrap().failed_attempts
    }

    pub(crate) fn heal(&self) {
        self.state.lock().unwrap().cut.clear();
    }

    pub(crate) fn transport(&self, address: &str, identity: Arc<Identity>) -> Arc<dyn Transport> {
        Arc::new(Wire {
            web: self.clone(),
            address: address.to_owned(),
            identity,
        })
    }

    fn reach(&self, from: &Wire, peer: &PeerAddress, lane: Lane) -> Result<Arc<dyn Inbound>, TransportError> {
        let address = peer.address.clone();
        let unreachable = |reason: &str| {
            Err(TransportError::Unreachable {
                address: address.clone(),
                reason: reason.to_owned(),
            })
        };
        let mut state = self.state.lock().unwrap();
        let Some(inbound) = state.nodes.get(&address).cloned() else {
            return unreachable("nobody listens");
        };
        if state.cut.contains(&link(&from.address, &address)) {
            state.failed_attempts += 1;
            return unreachable("the link is cut");
        }
        drop(state);
        if peer.node_id.is_some_and(|id| id != inbound.identity().node_id) {
            return Err(TransportError::Refused {
                address,
                reason: "another node is here".to_owned(),
            });
        }
        match inbound.admit(&from.identity.current(), lane) {
            Ok(()) => Ok(inbound),
            Err(reason) => Err(TransportError::Refused { address, reason }),
        }
    }

    fn is_open(&self, a: &str, b: &str, inbound: &Arc<dyn Inbound>) -> bool {
        let state = self.state.lock().unwrap();
        let same = |node: &Arc<dyn Inbound>| Arc::ptr_eq(node, inbound);
        state.nodes.get(b).is_some_and(same) && !state.cut.contains(&link(a, b))
    }
}

#[derive(Debug)]
struct Wire {
    web: Web,
    address: String,
    identity: Arc<Identity>,
}

impl Transport for Wire {
    fn call(
        &self,
        peer: &PeerAddress,
        lane: Lane,
        request: Bytes,
        timeout: Duration,
    ) -> BoxFuture<'static, Result<Bytes, TransportError>> {
        let reached = self.web.reach(self, peer, lane);
        let (web, own, identity, address) = (
            self.web.clone(),
            self.address.clone(),
            self.identity.current(),
            peer.address.clone(),
        );
        async move {
            pass(DELAY).await;
            let inbound = reached?;
            let interrupted = || TransportError::Interrupted {
                address: address.clone(),
            };
            if !web.is_open(&own, &address, &inbound) {
                return Err(interrupted());
            }
            let serving = tokio::spawn(Arc::clone(&inbound).call(identity, lane, request));
            let answer = tokio::time::timeout(timeout, serving).await;
            pass(DELAY).await;
            if !web.is_open(&own, &address, &inbound) {
                return Err(interrupted());
            }
            match answer {
                Ok(Ok(answer)) => Ok(answer),
                Ok(Err(_)) => Err(interrupted()),
                Err(_) => {
                    let waited_ms = u64::try_from(timeout.as_millis()).unwrap();
                    Err(TransportError::Timeout {
                        address: address.clone(),
                        waited_ms,
                    })
                }
            }
        }
        .boxed()
    }

    fn open(&self, peer: &PeerAddress, lane: Lane) -> BoxFuture<'static, Result<Duplex, TransportError>> {
        let reached = self.web.reach(self, peer, lane);
        let (web, own, identity, address) = (
            self.web.clone(),
            self.address.clone(),
            self.identity.current(),
            peer.address.clone(),
        );
        async move {
            pass(DELAY).await;
            let inbound = reached?;
            let (near, near_out) = pipe();
            let (far, far_out) = pipe();
            let (near_in, far_in) = (near_out.0, far_out.0);
            let wire = (web, own, address, Arc::clone(&inbound));
            tokio::spawn(pump(wire.clone(), near_out.1, far_in));
            tokio::spawn(pump(wire, far_out.1, near_in));
            tokio::spawn(inbound.stream(identity, lane, far));
            Ok(near)
        }
        .boxed()
    }
}

/// A duplex for one side, and the other ends of its two channels.
fn pipe() -> (Duplex, (mpsc::Sender<Bytes>, mpsc::Receiver<Bytes>)) {
    let (sender, sent) = mpsc::channel(16);
    let (deliver, receiver) = mpsc::channel(16);
    (Duplex { sender, receiver }, (deliver, sent))
}

async fn pump(
    (web, own, address, inbound): (Web, String, String, Arc<dyn Inbound>),
    mut from: mpsc::Receiver<Bytes>,
    to: mpsc::Sender<Bytes>,
) {
    let mut changes = web.changes.subscribe();
    loop {
        let message = tokio::select! {
            biased;
            _ = changes.changed() => None,
            () = to.closed() => return,
            message = from.recv() => match message {
                Some(message) => Some(message),
                None => return,
            },
        };
        if !web.is_open(&own, &address, &inbound) {
            return;
        }
        if let Some(message) = message {
            pass(DELAY).await;
            if to.send(message).await.is_err() {
                return;
            }
        }
    }
}
