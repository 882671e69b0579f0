//! Nodes with their disks, and what tests do with them.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use concord_core::command::{Command, Lifetime};
use concord_core::ids::{NodeId, Revision, Timestamp};
use concord_core::key::Key;
use concord_core::machine::Machine;
use concord_core::reply::Reply;
use concord_core::store::Store;
use concord_core::value::Value;
use concord_raft::log::Host;
use concord_raft::ports::{Clock, Disk, Entropy, Ports, Transport};
use concord_raft::sim_disk::SimDisk;
use concord_raft::{
    DataDirectory, Node, NodeConfig, NodeStatus, ProposeError, ReadConsistency, Role, StartError, StartMode,
};
use tokio::time::Instant;

use crate::network::{Web, pass};

const ROOT: &str = "/data";
/// Nothing in these tests takes longer than this, in simulated time.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Counts up from a seed: distinct ids, and the same in every run.
#[derive(Debug)]
struct Draws(AtomicU64);

impl Entropy for Draws {
    fn fill(&self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let n = self
                .0
                .fetch_add(1, Ordering::Relaxed)
                .wrapping_mul(0x9e37_79b9_7f4a_7c15);
            chunk.copy_from_slice(&(n ^ (n >> 29)).to_le_bytes()[..chunk.len()]);
        }
    }
}

/// Simulated time as wall time.
#[derive(Debug)]
struct Wall(Instant);

impl Clock for Wall {
    fn now(&self) -> Timestamp {
        Timestamp::new(1_700_000_000_000 + u64::try_from(self.0.elapsed().as_millis()).unwrap())
    }
}

/// One node's place: what stays when the node stops.
pub(crate) struct Place {
    pub(crate) config: NodeConfig,
    pub(crate) address: String,
    pub(crate) disk: SimDisk,
    seed: u64,
    node: Option<Node<Store>>,
    /// How it reaches the others.
    transport: Option<Arc<dyn Transport>>,
}

pub(crate) struct Cluster {
    pub(crate) web: Web,
    pub(crate) places: Vec<Place>,
    began: Instant,
}

impl Cluster {
    /// Places for `count` nodes, none started.
    pub(crate) fn new(count: usize) -> Self {
        let mut cluster = Self {
            web: Web::new(),
            places: Vec::new(),
            began: Instant::now(),
        };
        for _ in 0..count {
            cluster.add_place();
        }
        cluster
    }

    pub(crate) fn add_place(&mut self) -> usize {
        let n = self.places.len();
        let address = format!("node-{n}:1");
        let mut config = NodeConfig::new(ROOT);
        config.node_id = Some(NodeId::new(n as u64 + 1));
        config.peer_address = Some(address.clone());
        config.log.segment_bytes = 64 << 10;
        config.host = Host::Task;
        let seed = n as u64 + 1;
        self.places.push(Place {
            config,
            address,
            disk: SimDisk::new(seed),
            seed,
            node: None,
            transport: None,
        });
        n
    }

    pub(crate) fn addresses(&self) -> Vec<String> {
        self.places.iter().map(|place| place.address.clone()).collect()
    }

    pub(crate) fn seeds(&self) -> StartMode {
        StartMode::Seeds(self.addresses())
    }

    /// Three nodes in one cluster, with a leader.
    pub(crate) async fn of_three() -> Self {
        let mut cluster = Self::new(3);
        cluster.form_all().await;
        cluster
    }

    pub(crate) async fn form_all(&mut self) {
        let mode = self.seeds();
        let all: Vec<usize> = (0..self.places.len()).collect();
        for n in &all {
            self.start(*n).await.unwrap();
        }
        let forming = all.iter().map(|n| {
            let (node, mode) = (self.node(*n).clone(), mode.clone());
            async move { node.form(mode).await }
        });
        for formed in futures::future::join_all(forming).await {
            formed.unwrap();
        }
        self.leader().await;
    }

    pub(crate) async fn start(&mut self, n: usize) -> Result<(), StartError> {
        let place = &mut self.places[n];
        place.seed += 1_000_000;
        let entropy = Arc::new(Draws(AtomicU64::new(place.seed)));
        let disk: Arc<dyn Disk> = Arc::new(place.disk.clone());
        let (node_id, root) = (place.config.node_id, Path::new(ROOT));
        let directory = DataDirectory::open(root, node_id, Arc::clone(&disk), &*entropy)?;
        let transport = self.web.transport(&place.address, directory.identity());
        place.transport = Some(Arc::clone(&transport));
        let ports = Ports {
            disk,
            transport,
            clock: Arc::new(Wall(self.began)),
            entropy,
        };
        let node = Node::start(place.config.clone(), directory, ports).await?;
        self.web.listen(&place.address, node.inbound());
        place.node = Some(node);
        Ok(())
    }

    pub(crate) fn node(&self, n: usize) -> &Node<Store> {
        self.places[n].node.as_ref().expect("the node was started")
    }

    /// What says in the name of a node whatever a test wants it to say.
    pub(crate) fn voice(&self, n: usize) -> Arc<dyn Transport> {
        Arc::clone(self.places[n].transport.as_ref().expect("the node was started"))
    }

    pub(crate) fn id(&self, n: usize) -> NodeId {
        self.node(n).status().node_id
    }

    /// Stops a node in good order.
    pub(crate) async fn stop(&mut self, n: usize) {
        let node = self.places[n].node.take().expect("the node was started");
        node.shutdown().await;
        self.web.hang_up(&self.places[n].address);
    }

    /// The process dies: what it has not synced may be lost with the power.
    pub(crate) async fn crash(&mut self, n: usize) {
        self.web.hang_up(&self.places[n].address);
        let place = &mut self.places[n];
        // What the dying node still writes goes to a disk that nobody reads again.
        let survivor = place.disk.fork(place.seed);
        place.disk.kill();
        survivor.power_cut();
        place.disk = survivor;
        let node = place.node.take().expect("the node was started");
        node.shutdown().await;
    }

    /// The running node that leads with the agreement of a majority, by place.
    pub(crate) async fn leader(&self) -> usize {
        self.leader_other_than(usize::MAX).await
    }

    pub(crate) async fn leader_other_than(&self, other: usize) -> usize {
        let deadline = Instant::now() + PATIENCE;
        loop {
            for (n, place) in self.places.iter().enumerate().filter(|(n, _)| *n != other) {
                let Some(node) = &place.node else { continue };
                let deadline = Instant::now() + Duration::from_secs(2);
                if node.status().role == Role::Leader
                    && node.read(ReadConsistency::Strong, deadline).await.is_ok()
                {
                    return n;
                }
            }
            assert!(Instant::now() < deadline, "no leader: {:#?}", self.statuses());
            pass(Duration::from_millis(20)).await;
        }
    }

    pub(crate) fn statuses(&self) -> Vec<NodeStatus> {
        self.places
            .iter()
            .filter_map(|place| place.node.as_ref())
            .map(Node::status)
            .collect()
    }

    /// Waits for a node's status to become what it should.
    pub(crate) async fn until(&self, n: usize, what: &str, condition: impl Fn(&NodeStatus) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !condition(&self.node(n).status()) {
            assert!(Instant::now() < deadline, "not {what}: {:#?}", self.statuses());
            pass(Duration::from_millis(20)).await;
        }
    }

    pub(crate) async fn try_put(&self, n: usize, key: &str, value: &str) -> Result<Revision, ProposeError> {
        let deadline = Instant::now() + PATIENCE;
        let reply = self.node(n).propose(put(key, value), deadline).await?;
        let Reply::Written { revision, .. } = reply else {
            panic!("not written: {reply:?}");
        };
        Ok(revision)
    }

    pub(crate) async fn put(&self, n: usize, key: &str, value: &str) -> Revision {
        self.try_put(n, key, value).await.unwrap()
    }

    /// A linearizable read.
    pub(crate) async fn get(&self, n: usize, key: &str) -> Option<String> {
        let read = self
            .node(n)
            .read(ReadConsistency::Strong, Instant::now() + PATIENCE)
            .await
            .unwrap();
        let record = read.view.get_pinned(key.as_bytes())?;
        Some(String::from_utf8(record.value().unwrap().into_owned()).unwrap())
    }

    /// Waits until all running nodes have applied the same, and checks that their states
    /// are the same to the byte (I4, I9).
    pub(crate) async fn converge(&self) {
        let leader = self.leader().await;
        let target = self.node(leader).published().applied;
        let mut states = Vec::new();
        for n in 0..self.places.len() {
            if self.places[n].node.is_some() {
                self.until(n, "caught up", |status| status.applied_index >= target)
                    .await;
            }
        }
        // Clock ticks may flow; compare once all stand at the same entry.
        let deadline = Instant::now() + PATIENCE;
        loop {
            states.clear();
            let running = self.places.iter().filter_map(|place| place.node.as_ref());
            states.extend(running.map(Node::published));
            if states.iter().all(|state| state.applied == states[0].applied) {
                break;
            }
            assert!(Instant::now() < deadline, "never at the same entry");
            pass(Duration::from_millis(3)).await;
        }
        let bytes: Vec<Vec<Bytes>> = states
            .iter()
            .map(|state| Store::snapshot(&state.view).collect())
            .collect();
        assert!(bytes.iter().all(|state| *state == bytes[0]), "replicas differ");
    }
}

pub(crate) fn put(key: &str, value: &str) -> Bytes {
    let command = Command::Put {
        key: Key::copy_of(key.as_bytes()).unwrap(),
        value: Value::text(value).into(),
        lifetime: Lifetime::Forever,
        condition: None,
        return_previous: false,
    };
    let mut bytes = Vec::new();
    command.encode(&mut bytes);
    Bytes::from(bytes)
}
