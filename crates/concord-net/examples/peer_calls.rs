//! Measures calls between two nodes over loopback: round trips a second and their times.
//!
//! Each node has a runtime of its own, as two processes would, so that a round trip
//! wakes threads on both sides.
//!
//! `cargo run --release -p concord-net --example peer_calls -- [SECONDS] [REQUEST BYTES]`

#![expect(clippy::print_stdout, reason = "its output is the point")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use concord_core::ids::NodeId;
use concord_net::{ClusterSecret, Listener, NetConfig, TcpTransport};
use concord_raft::ports::{Duplex, Inbound, Lane, PeerAddress, PeerIdentity, Transport};
use futures::future::BoxFuture;

struct Echo;

fn node(id: u64) -> PeerIdentity {
    PeerIdentity {
        node_id: NodeId::new(id),
        store_id: u128::from(id),
        cluster_id: Some(7),
    }
}

impl Inbound for Echo {
    fn admit(&self, _: &PeerIdentity, _: Lane) -> Result<(), String> {
        Ok(())
    }
    fn call(self: Arc<Self>, _: PeerIdentity, _: Lane, request: Bytes) -> BoxFuture<'static, Bytes> {
        Box::pin(async move { request })
    }
    fn stream(self: Arc<Self>, _: PeerIdentity, _: Lane, _: Duplex) -> BoxFuture<'static, ()> {
        Box::pin(async {})
    }
    fn identity(&self) -> PeerIdentity {
        node(2)
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let server = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    let secret = ClusterSecret::new(vec![1; 32])?;
    let listener = server.block_on(Listener::bind(
        "127.0.0.1:0",
        secret.clone(),
        NetConfig::default(),
    ))?;
    let address = listener.local_addr().to_string();
    let _entered = server.enter();
    let serving = listener.serve(Arc::new(Echo));
    let client = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    let measured = client.block_on(client.spawn(measure(secret, address)))?;
    server.block_on(serving.shutdown());
    measured.map_err(Into::into)
}

async fn measure(secret: ClusterSecret, address: String) -> Result<(), String> {
    let seconds: f64 = std::env::args()
        .nth(1)
        .and_then(|text| text.parse().ok())
        .unwrap_or(2.0);
    let request_bytes: usize = std::env::args()
        .nth(2)
        .and_then(|text| text.parse().ok())
        .unwrap_or(100);
    let peer = PeerAddress {
        node_id: Some(NodeId::new(2)),
        address,
    };
    let transport = Arc::new(TcpTransport::new(
        Arc::new(|| node(1)),
        secret,
        NetConfig::default(),
    ));
    let request = Bytes::from(vec![42; request_bytes]);
    for callers in [1_usize, 64, 1024] {
        let until = Instant::now() + Duration::from_secs_f64(seconds);
        let tasks: Vec<_> = (0..callers)
            .map(|_| {
                let (transport, peer, request) = (Arc::clone(&transport), peer.clone(), request.clone());
                tokio::spawn(async move {
                    let mut times = Vec::new();
                    while Instant::now() < until {
                        let began = Instant::now();
                        transport
                            .call(&peer, Lane::Control, request.clone(), Duration::from_secs(5))
                            .await?;
                        times.push(began.elapsed());
                    }
                    Ok::<_, concord_raft::ports::TransportError>(times)
                })
            })
            .collect();
        let mut times = Vec::new();
        for task in tasks {
            let answered = task.await.map_err(|error| error.to_string())?;
            times.extend(answered.map_err(|error| error.to_string())?);
        }
        times.sort();
        let at = |share: usize| times.get(times.len() * share / 1000).copied().unwrap_or_default();
        let rate = f64::from(u32::try_from(times.len()).unwrap_or(u32::MAX)) / seconds;
        println!(
            "{callers:>5} callers: {rate:>9.0} calls/s  p50 {:?}  p99 {:?}  p99.9 {:?}",
            at(500),
            at(990),
            at(999)
        );
    }
    transport.close();
    Ok(())
}
