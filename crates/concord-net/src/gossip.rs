//! Gossip over UDP: who is out there, and where do they listen for peers?
//!
//! For nodes that look for a cluster to join: each that gossips, member or not, asks a few others every second and
//! answers who asks. It only suggests ([`Discovery`]); who belongs to the cluster its log decides. Not here: joining
//! (`concord-raft`), and anything that must arrive.
//!
//! ```text
//!   seeds ──▶ resolver ──▶ ┌──────────┐ ◀── packets ── socket ◀── anybody
//!   engine ◀── Discovery ── │ exchange │
//!                          └──────────┘ ── questions, answers ──▶ socket
//! ```
//!
//! Every packet is proven with the cluster secret (`packet`); what is not, or is of another cluster, or answers nothing
//! that was asked, is dropped and counted. Memory is bounded by `limits`, work by the packets of a round.

mod contacts;
mod cookies;
mod exchange;
mod packet;
mod stats;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use concord_raft::ports::{Discovery, Suggestion};
use parking_lot::Mutex;
use tokio::net::{UdpSocket, lookup_host};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, MissedTickBehavior};

pub use self::stats::{DropReason, GossipStats};

use self::exchange::{Exchange, Outgoing};
use self::stats::{Counters, Warnings};
use crate::dialer::IdentitySource;
use crate::limits::{
    ACCEPT_RETRY, GOSSIP_INTERVAL, GOSSIP_PACKET_BYTES, GOSSIP_PACKETS_PER_ROUND_MAX, GOSSIP_RESOLVE_INTERVAL,
};
use crate::listener::ListenError;
use crate::proof::ClusterSecret;

/// What an operator says about gossip.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GossipConfig {
    /// `host:port` to gossip at; port 0 takes a free one.
    pub listen: String,
    /// `host:port` of others that gossip. Names are resolved again and again, and each address of a name is asked.
    pub seeds: Vec<String>,
    /// Where peers reach this node: what it tells the others.
    pub peer_address: String,
}

/// A node's gossip at work. Dropping it ends it.
#[derive(Debug)]
pub struct Gossip {
    local_addr: SocketAddr,
    shared: Arc<Shared>,
    running: [AbortHandle; 2],
    /// Ends them when it is dropped.
    _tasks: JoinSet<()>,
}

#[derive(Debug)]
struct Shared {
    exchange: Mutex<Exchange>,
    counters: Counters,
    warnings: Mutex<Warnings>,
    /// Packets that may still be looked at in this round.
    budget: AtomicU32,
}

impl Gossip {
    /// Binds and begins. `identity` is asked for each packet.
    ///
    /// # Errors
    ///
    /// [`ListenError`] with what the system said.
    pub async fn start(
        config: GossipConfig,
        identity: IdentitySource,
        secret: ClusterSecret,
    ) -> Result<Self, ListenError> {
        let failed = |source| ListenError {
            address: config.listen.clone(),
            source,
        };
        let socket = UdpSocket::bind(&config.listen).await.map_err(failed)?;
        let local_addr = socket.local_addr().map_err(failed)?;
        let exchange = Exchange::new(identity, secret, config.peer_address, Instant::now())
            .map_err(|error| failed(io::Error::other(error)))?;
        let shared = Arc::new(Shared {
            exchange: Mutex::new(exchange),
            counters: Counters::default(),
            warnings: Mutex::default(),
            budget: AtomicU32::new(GOSSIP_PACKETS_PER_ROUND_MAX),
        });
        let (found, seeds) = mpsc::channel(1);
        let mut tasks = JoinSet::new();
        let running = [
            tasks.spawn(resolve(config.seeds, found)),
            tasks.spawn(converse(Arc::clone(&shared), socket, seeds)),
        ];
        Ok(Self {
            local_addr,
            shared,
            running,
            _tasks: tasks,
        })
    }

    /// Where it gossips.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Its figures.
    pub fn stats(&self) -> GossipStats {
        let heard = self.shared.exchange.lock().count_heard(Instant::now());
        self.shared
            .counters
            .read(u64::try_from(heard).unwrap_or(u64::MAX))
    }

    /// Ends it: nothing more is asked, answered or heard of.
    pub fn stop(&self) {
        self.running.iter().for_each(AbortHandle::abort);
    }

    /// What it suggests, now and later.
    pub fn discovery(&self) -> Arc<dyn Discovery> {
        Arc::<Shared>::clone(&self.shared)
    }
}

impl Discovery for Shared {
    fn members(&self) -> Vec<Suggestion> {
        self.exchange.lock().members(Instant::now())
    }
}

impl Shared {
    /// Takes one packet in; gives the one that answers it.
    fn receive(&self, from: SocketAddr, bytes: &[u8]) -> Option<Outgoing> {
        self.counters.receive();
        let now = Instant::now();
        let is_within = self
            .budget
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1))
            .is_ok();
        let handled = match is_within {
            true => self.exchange.lock().handle(from, bytes, now),
            false => Err(DropReason::Flood),
        };
        handled.unwrap_or_else(|reason| {
            self.counters.drop_packet(reason);
            if self.warnings.lock().admit(reason, now) {
                tracing::warn!(%from, reason = reason.name(), "dropped a packet of gossip; more within a minute are only counted");
            }
            None
        })
    }
}

/// Asks, and answers who asks, until it is aborted.
async fn converse(shared: Arc<Shared>, socket: UdpSocket, mut seeds: mpsc::Receiver<Vec<SocketAddr>>) {
    let mut rounds = tokio::time::interval(GOSSIP_INTERVAL);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Skip);
    // One byte more than a packet has, so that one that is longer is seen to be.
    let mut buffer = [0; GOSSIP_PACKET_BYTES + 1];
    loop {
        // What is due goes before what comes: a flood must not keep this node from asking.
        let outgoing = tokio::select! {
            biased;
            _ = rounds.tick() => {
                shared.budget.store(GOSSIP_PACKETS_PER_ROUND_MAX, Ordering::Relaxed);
                shared.exchange.lock().round(Instant::now())
            }
            Some(found) = seeds.recv() => {
                let now = Instant::now();
                let mut exchange = shared.exchange.lock();
                exchange.meet(found, now);
                // At the start there was nobody to ask in the first round.
                match exchange.count_heard(now) {
                    0 => exchange.round(now),
                    _ => Vec::new(),
                }
            }
            received = socket.recv_from(&mut buffer) => match received {
                Ok((length, from)) => {
                    let bytes = buffer.get(..length).unwrap_or_default();
                    shared.receive(from, bytes).into_iter().collect()
                }
                Err(error) => {
                    tracing::debug!(%error, "gossip cannot receive");
                    tokio::time::sleep(ACCEPT_RETRY).await;
                    Vec::new()
                }
            },
        };
        for (to, datagram) in outgoing {
            send(&shared, &socket, to, &datagram).await;
        }
    }
}

/// What does not go out is as good as lost on the way: it is asked again.
async fn send(shared: &Shared, socket: &UdpSocket, to: SocketAddr, datagram: &[u8]) {
    // A socket for IPv6 knows IPv4 addresses by their names in IPv6.
    let to = match (socket.local_addr().map(|own| own.is_ipv6()), to.ip()) {
        (Ok(true), IpAddr::V4(ip)) => SocketAddr::new(ip.to_ipv6_mapped().into(), to.port()),
        _ => to,
    };
    match socket.send_to(datagram, to).await {
        Ok(_) => shared.counters.send(),
        Err(error) => tracing::debug!(%to, %error, "gossip cannot send"),
    }
}

/// Resolves the seeds again and again, for as long as somebody takes them.
async fn resolve(seeds: Vec<String>, found: mpsc::Sender<Vec<SocketAddr>>) {
    loop {
        let mut addresses = Vec::new();
        for seed in &seeds {
            match lookup_host(seed).await {
                Ok(all) => addresses.extend(all),
                Err(error) => tracing::debug!(%seed, %error, "a seed of gossip has no address"),
            }
        }
        if found.send(addresses).await.is_err() {
            return;
        }
        tokio::time::sleep(GOSSIP_RESOLVE_INTERVAL).await;
    }
}
