//! Where everything of a cluster is: its directory, its secret, its ports. Written down
//! in `cluster.json`, so that the same directory means the same cluster next time.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::Failure;

const NODES_MAX: u16 = 9;
/// Peer ports lie this far above the HTTP ports.
const PEER_OFFSET: u16 = 1000;
const SECRET_BYTES: usize = 32;

/// A cluster on this machine.
#[derive(Debug)]
pub(super) struct Plan {
    dir: PathBuf,
    is_temporary: bool,
    shape: Shape,
}

/// What must stay the same when the cluster is started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Shape {
    nodes: u16,
    base_port: u16,
}

/// One node's place in the plan.
#[derive(Clone, Debug)]
pub(super) struct Seat {
    /// From 1.
    pub(super) id: u64,
    pub(super) http: SocketAddr,
    pub(super) peer: SocketAddr,
    pub(super) data_dir: PathBuf,
}

impl Plan {
    /// Makes or finds the directory. Without one it is temporary.
    pub(super) fn prepare(
        dir: Option<PathBuf>,
        nodes: Option<u16>,
        base_port: Option<u16>,
    ) -> Result<Self, Failure> {
        let is_temporary = dir.is_none();
        let dir = match dir {
            Some(dir) => std::path::absolute(dir).map_err(|e| e.to_string())?,
            None => std::env::temp_dir().join(format!("concord-cluster-{}", hex(&random(8)?))),
        };
        private_dir(&dir)?;
        let plan = Self {
            shape: shape(&dir, nodes, base_port)?,
            dir,
            is_temporary,
        };
        plan.write_secret()?;
        Ok(plan)
    }

    /// The directory.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Whether the directory stays.
    pub(super) fn is_resumable(&self) -> bool {
        !self.is_temporary
    }

    /// The file with the secret that the nodes share.
    pub(super) fn secret_file(&self) -> PathBuf {
        self.dir.join("secret")
    }

    /// The nodes, in order.
    pub(super) fn seats(&self) -> Vec<Seat> {
        (1..=self.shape.nodes)
            .map(|id| Seat {
                id: u64::from(id),
                http: local(self.shape.base_port + id - 1),
                peer: local(self.shape.base_port + PEER_OFFSET + id),
                data_dir: self.dir.join(format!("node-{id}")),
            })
            .collect()
    }

    /// The peer addresses that form the cluster.
    pub(super) fn seeds(&self) -> String {
        self.seats()
            .iter()
            .map(|seat| seat.peer.to_string())
            .collect::<Vec<_>>()
            .join(",")
    }

    /// Refuses before anything is started if a port is taken.
    pub(super) fn check_ports(&self) -> Result<(), Failure> {
        for seat in self.seats() {
            for (address, what) in [(seat.http, "HTTP"), (seat.peer, "peers")] {
                TcpListener::bind(address).map_err(|e| {
                    format!(
                        "node {} cannot use {address} for {what}: {e}. Is this cluster running already? \
                         --base-port chooses other ports for a new one",
                        seat.id
                    )
                })?;
            }
        }
        Ok(())
    }

    /// What the user wants to know once it runs.
    pub(super) fn summary(&self, leader: Option<u64>, binary: &Path) -> String {
        let mut text = String::from("\nThe cluster is ready.\n\n");
        for seat in self.seats() {
            let role = if leader == Some(seat.id) { "   leader" } else { "" };
            text.push_str(&format!("  node {}   http://{}{role}\n", seat.id, seat.http));
        }
        let endpoints = self
            .seats()
            .iter()
            .map(|s| format!("http://{}", s.http))
            .collect::<Vec<_>>()
            .join(",");
        text.push_str(&format!("\n  data   {}", self.dir.display()));
        text.push_str(if self.is_temporary {
            " (removed at the end)\n"
        } else {
            "\n"
        });
        text.push_str(&format!(
            "  try    CONCORD_ENDPOINTS={endpoints} {} status\n",
            binary.display()
        ));
        if let Some(first) = self.seats().first() {
            text.push_str(&format!(
                "         curl -X PUT http://{0}/api/v1/kv/hello -H 'content-type: text/plain' -d world\n         curl http://{0}/api/v1/kv/hello\n",
                first.http
            ));
        }
        text.push_str("  stop   Ctrl-C\n");
        text
    }

    fn write_secret(&self) -> Result<(), Failure> {
        let path = self.secret_file();
        let mut options = fs::OpenOptions::new();
        match options.write(true).create_new(true).mode(0o600).open(&path) {
            Ok(mut file) => file
                .write_all(format!("{}\n", hex(&random(SECRET_BYTES)?)).as_bytes())
                .and_then(|()| file.sync_all())
                .map_err(|e| format!("{}: {e}", path.display())),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            Err(e) => Err(format!("{}: {e}", path.display())),
        }
    }
}

impl Drop for Plan {
    fn drop(&mut self) {
        if self.is_temporary {
            // Best effort: it lies in the system's temporary directory.
            let _ = fs::remove_dir_all(&self.dir);
        }
    }
}

/// The shape written down in `dir`, or else the one asked for, which is then written down.
fn shape(dir: &Path, nodes: Option<u16>, base_port: Option<u16>) -> Result<Shape, Failure> {
    let path = dir.join("cluster.json");
    let shape = match fs::read(&path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map_err(|e| format!("{}: {e}", path.display()))?,
        Err(e) if e.kind() == io::ErrorKind::NotFound => Shape {
            nodes: nodes.unwrap_or(3),
            base_port: base_port.unwrap_or(4001),
        },
        Err(e) => return Err(format!("{}: {e}", path.display())),
    };
    if nodes.is_some_and(|nodes| nodes != shape.nodes) {
        return Err(format!(
            "{} holds a cluster of {} nodes",
            dir.display(),
            shape.nodes
        ));
    }
    if base_port.is_some_and(|port| port != shape.base_port) {
        // Members know each other by address, so the ports belong to the cluster.
        return Err(format!(
            "{} holds a cluster on base port {}",
            dir.display(),
            shape.base_port
        ));
    }
    if !(1..=NODES_MAX).contains(&shape.nodes) {
        return Err(format!("--nodes must be 1 to {NODES_MAX}"));
    }
    let is_low = shape.base_port < 1024;
    if is_low || shape.base_port.checked_add(PEER_OFFSET + NODES_MAX).is_none() {
        return Err(format!(
            "--base-port must be 1024 to {}",
            u16::MAX - PEER_OFFSET - NODES_MAX
        ));
    }
    let text = serde_json::to_vec_pretty(&shape).map_err(|e| e.to_string())?;
    fs::write(&path, text).map_err(|e| format!("{}: {e}", path.display()))?;
    Ok(shape)
}

fn private_dir(dir: &Path) -> Result<(), Failure> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.map_err(|e| format!("{}: {e}", dir.display()))
}

fn local(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

fn random(count: usize) -> Result<Vec<u8>, Failure> {
    let mut bytes = vec![0; count];
    let source = fs::File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes));
    source.map_err(|e| format!("no randomness: {e}"))?;
    Ok(bytes)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn temporary() -> PathBuf {
        std::env::temp_dir().join(format!("concord-xtask-test-{}", hex(&random(8).unwrap())))
    }

    #[test]
    fn a_directory_means_the_same_cluster_next_time() {
        let dir = temporary();
        let first = Plan::prepare(Some(dir.clone()), Some(5), Some(7001)).unwrap();
        let secret = fs::read(first.secret_file()).unwrap();
        assert_eq!(secret.len(), 2 * SECRET_BYTES + 1);
        assert_eq!(
            fs::metadata(first.secret_file()).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert_eq!(fs::metadata(&dir).unwrap().permissions().mode() & 0o777, 0o700);

        let again = Plan::prepare(Some(dir.clone()), None, None).unwrap();
        assert_eq!(again.seeds(), first.seeds());
        assert_eq!(fs::read(again.secret_file()).unwrap(), secret);
        assert!(
            Plan::prepare(Some(dir.clone()), Some(3), None).is_err(),
            "another number of nodes"
        );
        assert!(
            Plan::prepare(Some(dir.clone()), None, Some(8001)).is_err(),
            "other ports"
        );
        drop((first, again));
        assert!(dir.exists(), "a named directory stays");
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn a_directory_that_was_not_named_is_removed() {
        let plan = Plan::prepare(None, None, None).unwrap();
        let dir = plan.dir().to_owned();
        assert!(dir.join("secret").exists());
        assert_eq!(
            plan.seats().iter().map(|s| s.http.port()).collect::<Vec<_>>(),
            [4001, 4002, 4003]
        );
        drop(plan);
        assert!(!dir.exists());
    }

    #[test]
    fn impossible_shapes_are_refused() {
        for (nodes, port) in [(0, 4001), (10, 4001), (3, 80), (3, 65_000)] {
            let dir = temporary();
            assert!(
                Plan::prepare(Some(dir.clone()), Some(nodes), Some(port)).is_err(),
                "{nodes} {port}"
            );
            fs::remove_dir_all(dir).unwrap();
        }
    }

    #[test]
    fn a_taken_port_is_named() {
        let dir = temporary();
        let taken = TcpListener::bind(local(0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        let plan = Plan {
            dir,
            is_temporary: true,
            shape: Shape {
                nodes: 1,
                base_port: port,
            },
        };
        assert!(plan.check_ports().unwrap_err().contains(&port.to_string()));
    }
}
