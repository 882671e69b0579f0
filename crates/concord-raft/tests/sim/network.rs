//! The simulated network: calls and streams with delays, lost connections and links that
//! swallow everything in one direction or both. Nothing moves but in [`Network::step`].
//!
//! A stream keeps its order, as TCP does; different streams and calls overtake each other.
//! While a link is blocked, calls over it vanish and streams stand still until the link is
//! back or the connection is given up.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use concord_core::ids::NodeId;
use concord_raft::ports::{Duplex, Inbound, Lane, PeerAddress, PeerIdentity, Transport, TransportError};
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::runtime::Handle;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot, watch};

use crate::random::Random;
use crate::trace::Trace;

/// Messages that one end of a stream takes in before the other end has to wait.
const STREAM_WINDOW: usize = 64;
/// What waits for an answer that will not come is told so after this long, if not before.
const LIMBO_MS: u64 = 30_000;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// Where a node listens.
pub(crate) fn address_of(node: usize) -> String {
    format!("node-{node}:1")
}

fn node_at(address: &str) -> Option<usize> {
    address.strip_prefix("node-")?.strip_suffix(":1")?.parse().ok()
}

type CallAnswer = oneshot::Sender<Result<Bytes, TransportError>>;

/// A node's end of the network while it runs.
struct Attached {
    inbound: Arc<dyn Inbound>,
    handle: Handle,
}

enum Delivery {
    Request {
        from: usize,
        to: usize,
        peer: PeerAddress,
        identity: PeerIdentity,
        lane: Lane,
        request: Bytes,
        answer: CallAnswer,
    },
    Answer {
        outcome: Result<Bytes, TransportError>,
        answer: CallAnswer,
    },
    Connect {
        from: usize,
        to: usize,
        peer: PeerAddress,
        identity: PeerIdentity,
        lane: Lane,
        opened: oneshot::Sender<Result<Duplex, TransportError>>,
    },
    Refused {
        error: TransportError,
        opened: oneshot::Sender<Result<Duplex, TransportError>>,
    },
}

/// One direction of a stream.
struct Pipe {
    from: usize,
    to: usize,
    /// With the time from which each may arrive.
    messages: VecDeque<(u64, Option<Bytes>)>,
    inbox: Option<mpsc::Sender<Bytes>>,
}

struct Connection {
    lane: Lane,
    pipes: [Pipe; 2],
    closed: watch::Sender<bool>,
    /// Since when it has stood still, and when it is given up.
    stalled_until: Option<u64>,
}

struct Net {
    now_ms: u64,
    random: Random,
    trace: Trace,
    nodes: Vec<Option<Attached>>,
    blocked: Vec<Vec<bool>>,
    latency_ms: Range<u64>,
    /// Of a thousand messages and calls, how many take very long or lose their connection.
    disturbed_per_mille: u64,
    due: BTreeMap<(u64, u64), Delivery>,
    connections: BTreeMap<u64, Connection>,
    next_number: u64,
}

/// The network of one run.
#[derive(Clone)]
pub(crate) struct Network(Arc<Mutex<Net>>);

impl std::fmt::Debug for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Network")
    }
}

impl Network {
    pub(crate) fn new(nodes: usize, random: Random, trace: Trace) -> Self {
        Self(Arc::new(Mutex::new(Net {
            now_ms: 0,
            random,
            trace,
            nodes: (0..nodes).map(|_| None).collect(),
            blocked: vec![vec![false; nodes]; nodes],
            latency_ms: 1..4,
            disturbed_per_mille: 0,
            due: BTreeMap::new(),
            connections: BTreeMap::new(),
            next_number: 0,
        })))
    }

    fn with<T>(&self, act: impl FnOnce(&mut Net) -> T) -> T {
        act(&mut self.0.lock().expect("nobody panics while holding the network"))
    }

    /// A node runs and answers. Called inside its runtime.
    pub(crate) fn attach(&self, node: usize, inbound: Arc<dyn Inbound>) {
        self.with(|net| {
            net.nodes[node] = Some(Attached {
                inbound,
                handle: Handle::current(),
            })
        });
    }

    /// A node is gone: its connections end.
    pub(crate) fn detach(&self, node: usize) {
        let gone = self.with(|net| {
            let touching =
                |connection: &Connection| connection.pipes[0].from == node || connection.pipes[0].to == node;
            let numbers: Vec<_> = net
                .connections
                .iter()
                .filter(|(_, connection)| touching(connection))
                .map(|(number, _)| *number)
                .collect();
            for number in numbers {
                net.close(number);
            }
            net.nodes[node].take()
        });
        // Outside the lock: whatever it holds may use the network when dropped.
        drop(gone);
    }

    pub(crate) fn set_latency(&self, latency_ms: Range<u64>, disturbed_per_mille: u64) {
        self.with(|net| {
            net.latency_ms = latency_ms;
            net.disturbed_per_mille = disturbed_per_mille;
        });
    }

    /// Swallows everything from one node to another, or stops doing so.
    pub(crate) fn block(&self, from: usize, to: usize, blocked: bool) {
        self.with(|net| net.blocked[from][to] = blocked);
    }

    /// Removes all blocks and disturbances.
    pub(crate) fn heal(&self) {
        self.with(|net| {
            for row in &mut net.blocked {
                row.fill(false);
            }
            net.latency_ms = 1..4;
            net.disturbed_per_mille = 0;
        });
    }

    /// Breaks connections by chance; `percent` of them.
    pub(crate) fn reset_some(&self, percent: u64) {
        self.with(|net| {
            let numbers: Vec<_> = net.connections.keys().copied().collect();
            for number in numbers {
                if net.random.chance(percent) {
                    net.trace.mark("connection reset");
                    net.close(number);
                }
            }
        });
    }

    /// Delivers what is due at `now_ms`.
    pub(crate) fn step(&self, now_ms: u64) {
        self.with(|net| net.now_ms = now_ms);
        while let Some(delivery) = self.with(Net::take_due) {
            self.deliver(delivery);
        }
        self.with(Net::move_streams);
    }

    fn deliver(&self, delivery: Delivery) {
        match delivery {
            Delivery::Answer { outcome, answer } => {
                // Whoever stopped waiting does not want it.
                let _ = answer.send(outcome);
            }
            Delivery::Refused { error, opened } => {
                let _ = opened.send(Err(error));
            }
            Delivery::Request {
                from,
                to,
                peer,
                identity,
                lane,
                request,
                answer,
            } => match self.admitted(to, &peer, &identity, lane) {
                Ok(Attached { inbound, handle }) => {
                    let network = self.clone();
                    handle.spawn(async move {
                        let outcome = inbound.call(identity, lane, request).await;
                        network.with(|net| net.send_answer(to, from, Ok(outcome), answer));
                    });
                }
                Err(error) => self.with(|net| net.send_answer(to, from, Err(error), answer)),
            },
            Delivery::Connect {
                from,
                to,
                peer,
                identity,
                lane,
                opened,
            } => match self.admitted(to, &peer, &identity, lane) {
                Ok(attached) => self.connect(from, to, identity, lane, attached, opened),
                Err(error) => self.with(|net| {
                    let at = net.arrival();
                    net.schedule(at, Delivery::Refused { error, opened });
                }),
            },
        }
    }

    fn admitted(
        &self,
        to: usize,
        peer: &PeerAddress,
        identity: &PeerIdentity,
        lane: Lane,
    ) -> Result<Attached, TransportError> {
        let attached = self.with(|net| {
            net.nodes[to].as_ref().map(|attached| Attached {
                inbound: Arc::clone(&attached.inbound),
                handle: attached.handle.clone(),
            })
        });
        let address = peer.address.clone();
        let Some(attached) = attached else {
            return Err(TransportError::Unreachable {
                address,
                reason: "the node is down".to_owned(),
            });
        };
        let found: NodeId = attached.inbound.identity().node_id;
        if peer.node_id.is_some_and(|expected| expected != found) {
            return Err(TransportError::Refused {
                address,
                reason: format!("node {found} lives there"),
            });
        }
        match attached.inbound.admit(identity, lane) {
            Ok(()) => Ok(attached),
            Err(reason) => Err(TransportError::Refused { address, reason }),
        }
    }

    fn connect(
        &self,
        from: usize,
        to: usize,
        identity: PeerIdentity,
        lane: Lane,
        far: Attached,
        opened: oneshot::Sender<Result<Duplex, TransportError>>,
    ) {
        let closed = watch::Sender::new(false);
        let (number, near_handle) = self.with(|net| {
            net.next_number += 1;
            (
                net.next_number,
                net.nodes[from].as_ref().map(|near| near.handle.clone()),
            )
        });
        // The caller may be gone by now.
        let Some(near_handle) = near_handle else { return };
        let (near_inbox, near_duplex) = self.end(number, 0, &near_handle, &closed);
        let (far_inbox, far_duplex) = self.end(number, 1, &far.handle, &closed);
        let pipe = |from, to, inbox| Pipe {
            from,
            to,
            messages: VecDeque::new(),
            inbox: Some(inbox),
        };
        let connection = Connection {
            lane,
            pipes: [pipe(from, to, far_inbox), pipe(to, from, near_inbox)],
            closed,
            stalled_until: None,
        };
        self.with(|net| {
            net.trace.mark("stream opened");
            net.connections.insert(number, connection);
        });
        far.handle.spawn(far.inbound.stream(identity, lane, far_duplex));
        // The caller may have given up; its end is then dropped, which ends the stream.
        let _ = opened.send(Ok(near_duplex));
    }

    /// One end of a stream: what it sends goes into pipe `direction` of the connection.
    fn end(
        &self,
        number: u64,
        direction: usize,
        handle: &Handle,
        closed: &watch::Sender<bool>,
    ) -> (mpsc::Sender<Bytes>, Duplex) {
        let (inbox, receiver) = mpsc::channel(STREAM_WINDOW);
        let (sender, mut outbox) = mpsc::channel::<Bytes>(STREAM_WINDOW);
        let mut closed = closed.subscribe();
        let network = self.clone();
        handle.spawn(async move {
            loop {
                let message = tokio::select! {
                    biased;
                    _ = closed.wait_for(|closed| *closed) => return,
                    message = outbox.recv() => message,
                };
                let ended = message.is_none();
                network.with(|net| net.send_on(number, direction, message));
                if ended {
                    return;
                }
            }
        });
        (inbox, Duplex { sender, receiver })
    }

    /// The transport of one node.
    pub(crate) fn transport(&self, node: usize) -> Arc<dyn Transport> {
        Arc::new(SimTransport {
            network: self.clone(),
            node,
        })
    }
}

impl Net {
    fn schedule(&mut self, at_ms: u64, delivery: Delivery) {
        self.next_number += 1;
        self.due.insert((at_ms, self.next_number), delivery);
    }

    fn take_due(&mut self) -> Option<Delivery> {
        let entry = self.due.first_entry()?;
        (entry.key().0 <= self.now_ms).then(|| entry.remove())
    }

    /// When something sent now arrives.
    fn arrival(&mut self) -> u64 {
        let mut delay = self.random.within(self.latency_ms.clone());
        if self.random.within(0..1_000) < self.disturbed_per_mille {
            self.trace.mark("message delayed");
            delay += self.random.within(20..800);
        }
        self.now_ms + delay.max(1)
    }

    /// Whether a call or its answer gets lost on this link, now.
    fn is_lost(&mut self, from: usize, to: usize) -> bool {
        if self.blocked[from][to] {
            self.trace.mark("call swallowed");
            return true;
        }
        let lost = self.random.within(0..1_000) < self.disturbed_per_mille;
        if lost {
            self.trace.mark("call lost");
        }
        lost
    }

    fn send_answer(
        &mut self,
        from: usize,
        to: usize,
        outcome: Result<Bytes, TransportError>,
        answer: CallAnswer,
    ) {
        self.trace
            .event("answer", outcome.as_ref().map_or(&[], |bytes| bytes));
        let (at, outcome) = if self.is_lost(from, to) {
            (
                self.now_ms + LIMBO_MS,
                Err(TransportError::Interrupted {
                    address: address_of(from),
                }),
            )
        } else {
            (self.arrival(), outcome)
        };
        self.schedule(at, Delivery::Answer { outcome, answer });
    }

    fn send_on(&mut self, number: u64, direction: usize, message: Option<Bytes>) {
        let at = self.arrival();
        let Some(connection) = self.connections.get_mut(&number) else {
            return;
        };
        self.trace
            .event("message", message.as_deref().unwrap_or_default());
        let pipe = &mut connection.pipes[direction];
        // In order: not before what was sent earlier.
        let at = pipe.messages.back().map_or(at, |(before, _)| at.max(*before));
        pipe.messages.push_back((at, message));
    }

    fn move_streams(&mut self) {
        let numbers: Vec<_> = self.connections.keys().copied().collect();
        for number in numbers {
            if !self.move_stream(number) {
                self.close(number);
            }
        }
    }

    /// Moves what can move; `false` when the connection is over.
    fn move_stream(&mut self, number: u64) -> bool {
        let Some(connection) = self.connections.get_mut(&number) else {
            return true;
        };
        let mut stalled = false;
        for pipe in &mut connection.pipes {
            while let Some((at, message)) = pipe.messages.front() {
                if *at > self.now_ms {
                    break;
                }
                if self.blocked[pipe.from][pipe.to] {
                    stalled = true;
                    break;
                }
                let Some(inbox) = &pipe.inbox else { return false };
                let Some(message) = message.clone() else {
                    // The sender is done; the receiver sees the end.
                    pipe.inbox = None;
                    pipe.messages.clear();
                    break;
                };
                match inbox.try_send(message) {
                    Ok(()) => drop(pipe.messages.pop_front()),
                    Err(TrySendError::Full(_)) => break,
                    Err(TrySendError::Closed(_)) => return false,
                }
            }
        }
        match (stalled, connection.stalled_until) {
            (false, _) => connection.stalled_until = None,
            (true, None) => {
                self.trace.mark("stream stalled");
                let patience = self.random.within(300..4_000);
                connection.stalled_until = Some(self.now_ms + patience);
            }
            (true, Some(until)) if self.now_ms >= until => {
                self.trace.mark("stream given up");
                return false;
            }
            (true, Some(_)) => {}
        }
        connection.pipes.iter().any(|pipe| pipe.inbox.is_some())
    }

    fn close(&mut self, number: u64) {
        if let Some(connection) = self.connections.remove(&number) {
            self.trace.event("closed", &[connection.lane as u8]);
            connection.closed.send_replace(true);
        }
    }
}

/// A node's way to its peers.
#[derive(Debug)]
struct SimTransport {
    network: Network,
    node: usize,
}

impl SimTransport {
    /// Who is asked, and who asks.
    fn ends(&self, net: &Net, peer: &PeerAddress) -> Result<(usize, PeerIdentity), TransportError> {
        let unreachable = |reason: &str| TransportError::Unreachable {
            address: peer.address.clone(),
            reason: reason.to_owned(),
        };
        let to = node_at(&peer.address)
            .filter(|to| *to < net.nodes.len())
            .ok_or_else(|| unreachable("no such host"))?;
        let own = net.nodes[self.node]
            .as_ref()
            .ok_or_else(|| unreachable("this node is not on the network yet"))?;
        Ok((to, own.inbound.identity()))
    }
}

impl Transport for SimTransport {
    fn call(
        &self,
        peer: &PeerAddress,
        lane: Lane,
        request: Bytes,
        timeout: Duration,
    ) -> BoxFuture<'static, Result<Bytes, TransportError>> {
        let (answer, outcome) = oneshot::channel();
        let from = self.node;
        let sent = self.network.with(|net| {
            let (to, identity) = self.ends(net, peer)?;
            net.trace.event("request", &request);
            if net.is_lost(from, to) {
                let lost = Err(TransportError::Interrupted {
                    address: peer.address.clone(),
                });
                let at = net.now_ms + LIMBO_MS;
                net.schedule(
                    at,
                    Delivery::Answer {
                        outcome: lost,
                        answer,
                    },
                );
            } else {
                let at = net.arrival();
                let peer = peer.clone();
                net.schedule(
                    at,
                    Delivery::Request {
                        from,
                        to,
                        peer,
                        identity,
                        lane,
                        request,
                        answer,
                    },
                );
            }
            Ok(())
        });
        let address = peer.address.clone();
        async move {
            sent?;
            match tokio::time::timeout(timeout, outcome).await {
                Ok(Ok(outcome)) => outcome,
                Ok(Err(_)) => Err(TransportError::Interrupted { address }),
                Err(_) => Err(TransportError::Timeout {
                    address,
                    waited_ms: timeout.as_millis().try_into().unwrap_or(u64::MAX),
                }),
            }
        }
        .boxed()
    }

    fn open(&self, peer: &PeerAddress, lane: Lane) -> BoxFuture<'static, Result<Duplex, TransportError>> {
        let (opened, outcome) = oneshot::channel();
        let from = self.node;
        let sent = self.network.with(|net| {
            let (to, identity) = self.ends(net, peer)?;
            if net.is_lost(from, to) || net.blocked[to][from] {
                let error = TransportError::Unreachable {
                    address: peer.address.clone(),
                    reason: "connection timed out".to_owned(),
                };
                let at = net.now_ms + LIMBO_MS;
                net.schedule(at, Delivery::Refused { error, opened });
            } else {
                let at = net.arrival();
                let peer = peer.clone();
                net.schedule(
                    at,
                    Delivery::Connect {
                        from,
                        to,
                        peer,
                        identity,
                        lane,
                        opened,
                    },
                );
            }
            Ok(())
        });
        let address = peer.address.clone();
        async move {
            sent?;
            match tokio::time::timeout(CONNECT_TIMEOUT, outcome).await {
                Ok(Ok(outcome)) => outcome,
                Ok(Err(_)) | Err(_) => Err(TransportError::Unreachable {
                    address,
                    reason: "connection timed out".to_owned(),
                }),
            }
        }
        .boxed()
    }
}
