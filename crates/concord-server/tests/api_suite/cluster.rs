//! Nodes in this process, on free ports, in directories that go with the test.

use concord_server::{Concord, Config, NodeId, PeerConfig, RootToken, Secret};
use tempfile::TempDir;

use crate::patience::{PATIENCE, eventually};

/// The first token of clusters with authentication.
pub(crate) const ROOT: &str = "sk_concord_cm9vdC1yb290LXJvb3Qtcm9vdC1yb290LXJvb3Qtcm8";

/// A cluster of this process.
pub(crate) struct Cluster {
    nodes: Vec<Concord>,
    dirs: Vec<TempDir>,
}

pub(crate) fn secret() -> Secret {
    Secret::new("only for the tests of this file")
}

impl Cluster {
    /// Starts one node alone, has the others join it, and waits until all of them vote.
    pub(crate) async fn start(size: usize) -> Self {
        Self::start_as(size, |config| config).await
    }

    /// As [`Cluster::start`], with authentication, and this token of the role `admin`.
    pub(crate) async fn start_with_auth(size: usize) -> Self {
        let cluster = Self::start_as(size, |config| {
            config.with_auth().root_token(RootToken::Given(Secret::new(ROOT)))
        })
        .await;
        for node in &cluster.nodes {
            // It was given, so nobody is told, but then it is there.
            assert!(node.root_token().await.is_none());
        }
        cluster
    }

    /// As [`Cluster::start`], with other settings.
    pub(crate) async fn start_as(size: usize, shape: impl Fn(Config) -> Config) -> Self {
        let dirs: Vec<TempDir> = (0..size).map(|_| tempfile::tempdir().unwrap()).collect();
        let mut nodes: Vec<Concord> = Vec::new();
        for dir in &dirs {
            let mut config = shape(Config::at(dir.path()).http("127.0.0.1:0"));
            if size > 1 {
                let mut peers = PeerConfig::new("127.0.0.1:0", secret());
                if let Some(first) = nodes.first() {
                    peers = peers.join(first.peer_address().unwrap());
                }
                config = config.peers(peers);
            }
            let node = Concord::open(config).await.unwrap();
            node.wait_until_ready(PATIENCE).await.unwrap();
            nodes.push(node);
        }
        let cluster = Self { nodes, dirs };
        cluster.wait_for_voters(size).await;
        cluster
    }

    async fn wait_for_voters(&self, count: usize) {
        eventually("all nodes vote", async || {
            let votes = |node: &Concord| node.status().unwrap().voters().count() == count;
            self.nodes.iter().all(votes).then_some(())
        })
        .await;
    }

    pub(crate) fn node(&self, place: usize) -> &Concord {
        &self.nodes[place]
    }

    /// Has another node lead: this one, or any. Asks again while the answer is that it may be asked again: a node of a
    /// machine under load can miss its heartbeats.
    pub(crate) async fn move_leadership(&self, to: Option<NodeId>) {
        let moved = async {
            while let Err(error) = self.nodes[0].transfer_leadership(to.map(NodeId::get)).await {
                assert!(["not_ready", "timeout"].contains(&error.code()), "{error}");
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, moved)
            .await
            .expect("leadership moves");
    }

    pub(crate) fn dir(&self, place: usize) -> &std::path::Path {
        self.dirs[place].path()
    }

    pub(crate) fn url(&self, place: usize) -> String {
        format!("http://{}", self.nodes[place].http_address().unwrap())
    }

    /// Stops all nodes and gives their directories.
    pub(crate) async fn stop(self) -> Vec<TempDir> {
        for node in &self.nodes {
            node.shutdown().await.unwrap();
        }
        self.dirs
    }
}
